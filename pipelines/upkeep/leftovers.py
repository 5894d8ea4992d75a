"""What lies in a run folder that nothing needs any more, told by what pairmill itself calls it.

    unfinished   temporary names, half-written folders, the shuffle's files, progress of a job that was killed
    superseded   shards and records that neither a manifest nor a committed part names, sketches and measurements of shards
                 that are gone

A file whose name or place pairmill does not know is never among them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pipelines import progress
from pipelines.job import EVALUATION
from pipelines.manifest import Manifest
from pipelines.recipe import JOBS
from pipelines.run_folder import RunFolder
from pipelines.shards import PARTS, Part
from pipelines.upkeep.run_files import FoundFile

UNFINISHED: Final = "unfinished"
SUPERSEDED: Final = "superseded"

_SHARD_ENDINGS: Final = (".parquet", ".jsonl", ".npy")
# The roles that jobs write shards of; beside these, the roles of a job's own manifest and parts count.
_ROLES: Final = frozenset(
    {
        *("pairs", "rejects", "documents", "quarantine", "held_out", "passages", "measurements", "mined", "embeddings"),
        *("texts", "text_keys", "questions", "paragraphs", "asked", "verdicts", "facts", "export", "leaks"),
    }
)
_TEMPORARY: Final = re.compile(
    r"\..+\.tmp-[0-9a-f]{8}"  # pipelines.storage
    r"|.+\.\d+\.tmp-"  # pipelines.progress
    r"|\.[0-9a-f]{32}"  # trainer.embedding_store
)
_HALF_FOLDER: Final = re.compile(
    r".+\.(partial|replaced)"
)  # trainer.checkpoint, trainer.export, trainer.packed_columns
_CORPUS_FOLDER: Final = re.compile(r"\.corpus-[a-z0-9_]{8}")  # trainer.evaluate.load
_SKETCH_PART: Final = re.compile(r"(\.(texts|rows|sketches))?\.arrow$")
_FOLDERS: Final = frozenset({*JOBS, "embeddings", "models", "refresh", "schedule", "_forgetting"})
_TOP_TEMPORARY: Final = (".recipe.yaml.", ".forgotten.json.")
_OF_KILLED_JOBS: Final = {
    "_exchange": "the shuffle of a job that was killed",
    progress.PROGRESS: "the progress of a job that was killed",
}
_SPACE: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Leftover:
    """A file that can go, and why."""

    file: FoundFile
    kind: str  # UNFINISHED, SUPERSEDED, or what else `pairmill clean` removes
    why: str


@dataclass(frozen=True)
class JobRecords:
    """What a job says that it has: its manifest, and the parts its tasks committed."""

    manifest: Manifest | None
    parts: Mapping[str, Part]  # by the name of the file in _parts, without .json

    @property
    def named(self) -> frozenset[str]:
        """The paths of all files that the manifest or a part names."""
        of_parts = (file.path for part in self.parts.values() for file in part.files)
        return frozenset(of_parts) | frozenset(file.path for file in (self.manifest.files if self.manifest else ()))

    @property
    def roles(self) -> frozenset[str]:
        """The first steps of those paths, and the roles every job may write."""
        return _ROLES | frozenset(path.split("/", 1)[0] for path in self.named)


def find_leftovers(run: RunFolder, files: Iterable[FoundFile], records: Mapping[str, JobRecords]) -> Iterator[Leftover]:
    """The leftovers among a run's files. Only right while nothing writes into the run: hold its lock."""
    listed = list(files)
    paths = frozenset(file.path for file in listed)
    for file in listed:
        why = _unfinished(file)
        if why:
            yield Leftover(file, UNFINISHED, why)
        elif file.steps[0] in records and len(file.steps) > 1:
            reason = _superseded(file, records[file.steps[0]], paths)
            if reason:
                yield Leftover(file, SUPERSEDED, reason)


def _unfinished(file: FoundFile) -> str | None:
    *folders, name = file.steps
    if (folders[0] not in _FOLDERS) if folders else not name.startswith(_TOP_TEMPORARY):
        return None  # another run's, say, whose folder lies in this one's, and which may be at work
    if _TEMPORARY.fullmatch(name) and _is_ours(file):
        return "a temporary file of a writer that was killed"
    if len(folders) > 1 and folders[0] in JOBS and folders[1] in _OF_KILLED_JOBS:
        return _OF_KILLED_JOBS[folders[1]]
    ours = folders[:1] in (["train"], ["pack"], ["models"])
    if ours and (any(_HALF_FOLDER.fullmatch(step) for step in folders[1:]) or name == "metrics.jsonl.partial"):
        return "a folder that was not finished"
    if any(_CORPUS_FOLDER.fullmatch(step) for step in folders):
        return "an evaluation corpus that was not finished"
    return None


def _is_ours(file: FoundFile) -> bool:
    """Whether a temporary name lies where pairmill writes such: 32 hex digits alone are told by their folder, too."""
    if not re.fullmatch(r"\.[0-9a-f]{32}", file.steps[-1]):
        return True
    return len(file.steps) > 1 and _SPACE.fullmatch(file.steps[-2]) is not None


def _superseded(file: FoundFile, job: JobRecords, paths: frozenset[str]) -> str | None:
    name, inside = file.steps[0], file.path.split("/", 1)[1]
    if len(file.steps) < 3 or inside.startswith(EVALUATION):
        return None
    folder, rest = inside.split("/", 1)
    if folder in job.roles and inside.endswith(_SHARD_ENDINGS):
        measured = f"{name}/_measured/{rest.removesuffix('.parquet')}.json" in paths
        kept = inside in job.named or (folder == "measurements" and measured)  # a task is to decide by them again
        return None if kept else "a shard that neither the manifest nor a committed part names"
    return _superseded_record(name, folder, rest, job, paths)


def _superseded_record(name: str, folder: str, rest: str, job: JobRecords, paths: frozenset[str]) -> str | None:
    stem = rest.removesuffix(".json")
    if folder == PARTS and job.manifest is not None and stem in job.parts:
        files = {each.path for each in job.parts[stem].files}
        if files and not files & {each.path for each in job.manifest.files}:
            return "the record of a task that the finished job no longer has"
    if folder == "_measured" and f"{name}/measurements/{stem}.parquet" not in paths:
        return "the record of measurements that are gone"
    if folder == "_sketched" and f"{name}/sketches/{stem}.texts.arrow" not in paths:
        return "the record of sketches that are gone"
    if name == "dedup" and folder in ("sketches", "clusters") and rest.endswith(".arrow") and job.manifest is not None:
        shard = _SKETCH_PART.sub("", rest)
        return None if shard in _input_stems(job.manifest) else "sketches of a shard that is gone"
    return None


def _input_stems(manifest: Manifest) -> set[str]:
    return {str(each.get("path", "")).rsplit("/", 1)[-1].removesuffix(".parquet") for each in manifest.inputs}
