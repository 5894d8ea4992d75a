"""Files of a run that no manifest names: the held-out set, figures, the page, records of refreshes and of what was forgotten."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.data_card.write import CROISSANT
from pipelines.job import EVALUATION
from pipelines.run_folder import RunFolder
from pipelines.shards import ShardFile
from pipelines.sketches import sketches_fault
from pipelines.upkeep.check_files import check_file
from pipelines.upkeep.findings import Finding
from pipelines.upkeep.leftovers import JobRecords
from pipelines.upkeep.run_files import FoundFile

_RECORDS: Final = re.compile(
    r"refresh/\d{6}\.json|refresh/state\.json|forgotten\.json|evaluate/metrics(\.comparisons)?\.json"
    r"|[a-z]+/_(measured|sketched)/[^/]+\.json"
)
_RESULTS: Final = re.compile(r"evaluate/metrics\.queries\.parquet|report/(index|side_by_side)\.html")
_OF_FINISHED: Final = {"evaluate": "evaluate/metrics.json", "report": "report/index.html"}


def check_beside(
    run: RunFolder, files: Sequence[FoundFile], records: Mapping[str, JobRecords], quick: bool
) -> Iterator[Finding]:
    """Their faults: a finished job's result that is missing, JSON that is none, a held-out set that the card does not know."""
    paths = {file.path: file for file in files}
    for job, path in _OF_FINISHED.items():
        finished = job in records and records[job].manifest is not None
        if finished and (path not in paths or not paths[path].bytes):
            remedy = f"Delete {job}/_MANIFEST.json and run the recipe again."
            yield Finding(path, f"job {job} is finished, and this file is missing or empty", remedy)
    for path in sorted(paths):
        if _RECORDS.fullmatch(path):
            content = _json(run, path)
            if content is None:
                yield Finding(path, "it is no JSON", _remedy(path))
            elif "/_sketched/" in path:
                yield from _check_sketches(run, path, content, quick)
    for path in sorted(paths):
        job, what = path.split("/", 1)[0], _cut_short(run, path) if _RESULTS.fullmatch(path) else None
        if what is not None:
            yield Finding(path, what, f"Delete {job}/_MANIFEST.json and run the recipe again.")
    pack = records.get("pack")
    if pack is not None and pack.manifest is not None:
        yield from _check_held_out(run, quick)


def _cut_short(run: RunFolder, path: str) -> str | None:
    """What is wrong with a table or a page that no record has the bytes of; None where its end is there."""
    with storage.open_for_reading(storage.join(run.url, path)) as stream:
        if path.endswith(".html"):
            whole = stream.read().rstrip().endswith(b"</html>")
            return None if whole else "the page is cut short"
        try:
            pq.read_metadata(stream)
        except pa.ArrowException as error:
            return f"it cannot be read ({error})"
    return None


def _check_sketches(run: RunFolder, path: str, record: Any, quick: bool) -> Iterator[Finding]:
    """The files of one shard's sketches against their record: later runs read them again."""
    job, name = path.split("/", 1)[0], path.rsplit("/", 1)[-1].removesuffix(".json")
    fault = sketches_fault(run.job(job), name, record if isinstance(record, dict) else {}, quick)
    if fault is not None:
        yield Finding(f"{job}/{fault[0]}", fault[1], _remedy(path))


def _remedy(path: str) -> str:
    if path.startswith("evaluate/"):
        return "Delete evaluate/_MANIFEST.json and run the recipe again."
    if path == "forgotten.json":
        return "Put it back from a copy: without it forgotten documents would come back with their sources."
    if "/_" in path:
        return f"Delete {path}: what it records is made anew."
    return "Delete it; it tells of one refresh, and nothing is made from it."


def _json(run: RunFolder, path: str) -> Any:
    try:
        return storage.read_json(storage.join(run.url, path))
    except (OSError, ValueError, RecursionError):
        return None


def _check_held_out(run: RunFolder, quick: bool) -> Iterator[Finding]:
    """The held-out set against the sizes and sha256 that croissant.json has of it."""
    described = _json(run, f"pack/{CROISSANT}")
    if not isinstance(described, dict):
        return  # it is among the manifest's files: what is wrong with it is told there
    for each in described.get("distribution", []):
        if str(each.get("contentUrl", "")).startswith(f"{EVALUATION}/"):
            size = int(str(each["contentSize"]).split(" ", 1)[0])
            file = ShardFile(role="evaluation", path=each["contentUrl"], rows=0, bytes=size, sha256=each["sha256"])
            for fault in check_file(run.job("pack"), "pack", file, quick, _tell_nobody).faults:
                yield Finding(fault.file, fault.what, "Delete pack/_MANIFEST.json and run the recipe again.")


def _tell_nobody(read: int) -> None:
    """These files are small."""
