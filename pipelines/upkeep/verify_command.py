"""`pairmill verify RUN`: is everything in the run folder what its records say?

Files are read by a few threads (hashing lets the others run), a piece at a time. Nothing is changed.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from pipelines import storage
from pipelines.recipe import JOBS, Recipe, load_recipe
from pipelines.report.text import visible
from pipelines.run_folder import RunFolder, locked
from pipelines.shards import ShardFile
from pipelines.upkeep import check_records, check_stores
from pipelines.upkeep.check_beside import check_beside
from pipelines.upkeep.check_files import CheckedFile, check_file
from pipelines.upkeep.findings import Finding
from pipelines.upkeep.leftovers import JobRecords, find_leftovers
from pipelines.upkeep.run_files import FoundFile, files_below

_THREADS: Final = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Verified:
    """What a look through a run found."""

    findings: tuple[Finding, ...]
    files: int
    bytes: int

    @property
    def faults(self) -> list[Finding]:
        return [each for each in self.findings if each.level == "fault"]

    def as_json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "bytes": self.bytes,
            "faults": len(self.faults),
            "findings": [each.as_json() for each in self.findings],
        }


def verify(run: RunFolder, quick: bool = False, advance: Callable[[int, int], None] | None = None) -> Verified:
    """Compare a run folder with its records: manifests, parts, shards, embeddings, answers, models.

    Args:
        quick: sizes and Parquet footers alone; no sha256.
        advance: is told bytes read and bytes to read.

    Raises:
        UserError: the recipe cannot be read, or another process writes into the run.
    """
    recipe = load_recipe(run.recipe)
    with _held(run):
        files = files_below(run.url, through=(*JOBS, "embeddings", "models"))
        records, findings = check_records.read_records(run, files)
        checked, of_files = _check_shards(run, records, quick, advance or _tell_nobody)
        findings += of_files
        for job, of_job in records.items():
            findings += check_records.check_sums(job, of_job)
            for name, part in of_job.parts.items():
                counted = {file.path: reasons for file in part.files if (reasons := checked.get((job, file.path)))}
                findings += check_records.check_part(job, name, part, counted)
            findings += check_records.check_named_alike(job, of_job)
            findings += check_records.check_inputs(job, records)
        findings += check_records.check_fingerprints(recipe, run, records)
        findings += check_beside(run, files, records, quick)
        findings += _check_stores(recipe, run, records, files, quick)
        findings += _leftovers(run, files, records)
    return Verified(tuple(findings), len(files), sum(file.bytes for file in files))


@contextlib.contextmanager
def _held(run: RunFolder) -> Iterator[None]:
    """The lock, where the folder can be written to: what is read while another process writes would look like faults."""
    if storage.is_local(run.url) and not os.access(str(storage.split_url(run.url)[1]), os.W_OK):
        yield
        return
    with locked(run, wait_seconds=1.0):
        yield


def _tell_nobody(done: int, total: int) -> None:
    """Of who does not want to know."""


def _check_shards(
    run: RunFolder, records: Mapping[str, JobRecords], quick: bool, advance: Callable[[int, int], None]
) -> tuple[dict[tuple[str, str], Counter[str]], list[Finding]]:
    """The reasons counted in rejects, by (job, path), and the faults of all files that records name."""
    named: dict[tuple[str, str], ShardFile] = {}
    for job, of_job in records.items():
        listed = of_job.manifest.files if of_job.manifest else []
        for file in [*(file for part in of_job.parts.values() for file in part.files), *listed]:
            named[job, file.path] = file
    total, done = sum(file.bytes for file in named.values()), 0

    def advanced(read: int) -> None:
        nonlocal done
        done += read
        advance(done, total)

    def check(entry: tuple[tuple[str, str], ShardFile]) -> tuple[tuple[str, str], CheckedFile]:
        (job, _), file = entry
        return entry[0], check_file(run.job(job), job, file, quick, advanced)

    reasons: dict[tuple[str, str], Counter[str]] = {}
    findings: list[Finding] = []
    with ThreadPoolExecutor(_THREADS) as threads:
        for key, checked in threads.map(check, sorted(named.items(), key=lambda entry: entry[0])):
            findings += checked.faults
            if checked.reasons is not None:
                reasons[key] = checked.reasons
    return reasons, findings


def _check_stores(
    recipe: Recipe, run: RunFolder, records: Mapping[str, JobRecords], files: list[FoundFile], quick: bool
) -> list[Finding]:
    findings: list[Finding] = []
    store = check_stores.store_folder(recipe, run)
    if store is not None and store.is_dir():
        segments, unreadable = check_stores.read_segments(store)
        findings += unreadable
        with ThreadPoolExecutor(_THREADS) as threads:
            for of_segment in threads.map(lambda segment: check_stores.check_segment(segment, quick), segments):
                findings += of_segment
    findings += check_stores.check_answers(run, files, quick)
    findings += check_stores.check_versions(run, quick)
    trained = records.get("train")
    findings += check_stores.check_trained(run, None if trained is None else trained.manifest, quick)
    return findings


def _leftovers(run: RunFolder, files: list[FoundFile], records: Mapping[str, JobRecords]) -> Iterator[Finding]:
    """A note for each kind of leftover."""
    found: dict[str, list[FoundFile]] = {}
    for each in find_leftovers(run, files, records):
        found.setdefault(each.why, []).append(each.file)
    for why, of_kind in sorted(found.items()):
        size = sum(file.bytes for file in of_kind)
        words = f"{why} ({len(of_kind)} such files, {size:,} bytes)"
        yield Finding(of_kind[0].path, words, "`pairmill clean RUN` removes it.", level="note")


def verify_shown(console: Console, run: RunFolder, quick: bool) -> Verified:
    """As verify, with a bar on a terminal."""
    columns = (TextColumn("verifying"), BarColumn(bar_width=24), DownloadColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("verifying", total=None)
        return verify(run, quick, lambda done, total: bar.update(task, completed=done, total=total))


def finding_line(finding: Finding) -> str:
    """One line, with nothing in it that a terminal would act on."""
    words = f"{finding.level}: {finding.file}: {finding.what.rstrip('.')}. {finding.remedy}"
    return str(visible(" ".join(words.split())))


def summary_line(run: RunFolder, found: Verified, quick: bool) -> str:
    """What was looked at, and whether all of it is well."""
    how = "sizes and row counts" if quick else "every byte"
    looked = f"{found.files:,} files, {found.bytes:,} bytes, by {how}"
    name = Path(run.url).name if storage.is_local(run.url) else run.url
    if not found.faults:
        return str(visible(f"{name} is whole: {looked}."))
    count = len(found.faults)
    return str(visible(f"{name}: {count} {'fault' if count == 1 else 'faults'} in {looked}."))
