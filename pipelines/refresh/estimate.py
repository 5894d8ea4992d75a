"""How long jobs will take and what they will write, from what they took and wrote before.

Of the times a job really ran, the one with the nearest share of new data is taken, and scaled: by the rows that are new for
jobs that work on the difference, by all rows for the others. Nothing is made up where there is no history.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipelines import storage
from pipelines.disk_space import needed_bytes
from pipelines.manifest import Manifest
from pipelines.recipe import Recipe
from pipelines.refresh.records import RefreshRecord, SourceChange
from pipelines.run_folder import RunFolder

# Jobs that keep what they measured, asked or encoded, and whose time goes into what is new.
BY_DIFFERENCE: Final = frozenset({"extract", "synthesize", "filter", "score", "mine"})
_LEAST_SHARE: Final = 0.001
_START_SECONDS: Final = 2.0  # a process and its imports, however little there is to do


@dataclass(frozen=True)
class PastRun:
    """One time that a job really ran."""

    rows: int  # that came in
    share: float  # of the data that were new, 0 to 1
    seconds: float


@dataclass(frozen=True)
class Volume:
    """How much data a job is going to see."""

    rows: int | None  # None: not known
    share: float  # of it that is new to the job


def share_of_new(changes: Sequence[SourceChange]) -> float:
    """The bytes of new and changed files by those of all; 1 where nothing is known."""
    total = sum(change.bytes for change in changes)
    return sum(change.new_bytes for change in changes) / total if total else 1.0


def past_runs(records: Sequence[RefreshRecord], manifest: Manifest | None, job: str) -> list[PastRun]:
    """When a job ran, newest last; of a run without refreshes what its manifest says."""
    found = []
    for record in records:
        # A job that ran though no file changed ran for its settings: over everything.
        share = share_of_new(record.changes) if any(change.any for change in record.changes) else 1.0
        found += [PastRun(each.rows_in, share, each.seconds) for each in record.jobs if each.job == job and each.ran]
    if not found and manifest is not None and manifest.seconds:
        found.append(PastRun(manifest.rows_in, 1.0, manifest.seconds))
    return [past for past in found if past.seconds > 0]


def expected_seconds(job: str, volume: Volume, past: Sequence[PastRun]) -> float | None:
    """Seconds a job will take; None without history."""
    if not past:
        return None
    share = max(volume.share, _LEAST_SHARE)
    nearest = min(reversed(past), key=lambda each: abs(math.log(max(each.share, _LEAST_SHARE) / share)))
    growth = volume.rows / nearest.rows if volume.rows and nearest.rows else 1.0
    if job in BY_DIFFERENCE:
        growth *= share / max(nearest.share, _LEAST_SHARE)
    return max(nearest.seconds * growth, min(nearest.seconds, _START_SECONDS))


def expected_bytes(job: str, recipe: Recipe, run: RunFolder, volume: Volume, manifest: Manifest | None) -> int | None:
    """Bytes a job will write; None where that cannot be told."""
    if job in ("evaluate", "report"):
        return None  # next to nothing
    if manifest is None or job == "train":
        return needed_bytes(recipe, run, job) or None
    written = sum(file.bytes for file in manifest.files)
    growth = volume.rows / manifest.rows_in if volume.rows and manifest.rows_in else 1.0
    share = volume.share if job in BY_DIFFERENCE else 1.0
    vectors = _folder_bytes(storage.join(run.url, "embeddings")) * volume.share if job in ("score", "mine") else 0.0
    return round(written * growth * share + vectors)


def _folder_bytes(folder: str) -> int:
    root = Path(storage.split_url(folder)[1])
    if not storage.is_local(folder) or not root.is_dir():
        return 0
    return sum(file.stat().st_size for file in root.rglob("*") if file.is_file())


@dataclass(frozen=True)
class Asking:
    """What job synthesize would ask an LLM, at most: answers it has had already cost nothing."""

    requests: int
    money: float


def expected_requests(volume: Volume, manifest: Manifest | None) -> Asking | None:
    """From the requests and the money of the job's last run; None without one."""
    if manifest is None:
        return None
    by_language = manifest.details.get("by_language", {}).values()
    tries = sum(each.get("tries", 0) for each in by_language)
    money = sum(each.get("money", 0.0) for each in by_language)
    growth = volume.rows / manifest.rows_in if volume.rows and manifest.rows_in else 1.0
    return Asking(math.ceil(tries * growth * volume.share), money * growth * volume.share)
