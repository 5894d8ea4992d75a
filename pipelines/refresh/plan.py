"""The plan before the work: what each job would do and why, how long, at what cost. Nothing is written and no process started."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines import storage
from pipelines.errors import JobFailed, UserError
from pipelines.job import Plan, is_whole, module_of
from pipelines.manifest import Manifest, read_manifest
from pipelines.progress import ProgressReader
from pipelines.recipe import Recipe
from pipelines.refresh import history
from pipelines.refresh.changes import Inputs, compare, inputs_before, inputs_now
from pipelines.refresh.content_states import watching_hashes
from pipelines.refresh.estimate import (
    Asking,
    Volume,
    expected_bytes,
    expected_requests,
    expected_seconds,
    past_runs,
    share_of_new,
)
from pipelines.refresh.model_choice import as_seen_by
from pipelines.refresh.records import RefreshRecord, SourceChange
from pipelines.report.text import size
from pipelines.run_folder import RunFolder

_KEYS_SHOWN = 6


@dataclass(frozen=True)
class JobPlan:
    """What one job would do."""

    job: str
    runs: bool
    why: str  # of a job that would run
    rows: int | None = None  # to come in; None: not known
    bytes: int | None = None  # to write
    seconds: float | None = None  # None: no history
    asking: Asking | None = None  # of an LLM


@dataclass(frozen=True)
class RefreshPlan:
    """What a refresh would do."""

    changes: tuple[SourceChange, ...]
    jobs: tuple[JobPlan, ...]
    disk_free: int | None  # None: not a local disk
    problem: str | None = None  # why the sources could not be looked at

    @property
    def running(self) -> tuple[JobPlan, ...]:
        return tuple(job for job in self.jobs if job.runs)

    @property
    def disk_needed(self) -> int:
        return sum(job.bytes or 0 for job in self.running)

    @property
    def seconds(self) -> float:
        return sum(job.seconds or 0.0 for job in self.running)

    @property
    def without_history(self) -> tuple[str, ...]:
        return tuple(job.job for job in self.running if job.seconds is None)

    def as_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {
            "changes": [change.model_dump(mode="json") for change in self.changes],
            "jobs": [asdict(job) for job in self.jobs],
            "seconds": round(self.seconds, 1),
            "without_history": list(self.without_history),
            "disk_needed": self.disk_needed,
            "disk_free": self.disk_free,
            "problem": self.problem,
        }


def plan_work(recipe: Recipe, run: RunFolder) -> RefreshPlan:
    """What `pairmill refresh` and `pairmill run` would do. Raises what reading the sources and the run's files raises, but for
    files that are not there."""
    return _Planning(recipe, run).made()


class _Planning:
    """Goes through the jobs in order, and keeps which of them would run."""

    def __init__(self, recipe: Recipe, run: RunFolder) -> None:
        self._recipe, self._run = recipe, run
        self._records: list[RefreshRecord] = history.read_all(run)
        self._changes: tuple[SourceChange, ...] = ()
        self._share = 1.0
        self._growth = 1.0
        self._running: list[str] = []

    def made(self) -> RefreshPlan:
        with watching_hashes(lambda done, total: None, keep=False):
            return self._made()

    def _made(self) -> RefreshPlan:
        problem = None
        try:
            before, now = inputs_before(self._run), inputs_now(self._recipe, self._run)
            self._changes = compare(before, now)
            self._share, self._growth = share_of_new(self._changes), _bytes(now) / (_bytes(before) or _bytes(now) or 1)
        except UserError as error:
            problem = str(error)
        jobs = []
        for name in self._recipe.jobs():
            job = self._job(name, problem)
            jobs.append(job)
            if job.runs:
                self._running.append(name)
        return RefreshPlan(self._changes, tuple(jobs), _free(self._run), problem)

    def _job(self, name: str, problem: str | None) -> JobPlan:
        manifest = read_manifest(self._run.job(name))
        if problem is not None and name == "extract":
            return JobPlan(name, True, problem)
        reasons, share = self._reasons(name, manifest)
        if not reasons:
            return JobPlan(name, False, "", manifest.rows_in if manifest else None)
        rows = (
            None
            if manifest is None
            else round(manifest.rows_in * (self._growth if self._running or name == "extract" else 1))
        )
        volume = Volume(rows, share)
        return JobPlan(
            name,
            True,
            "; ".join(reasons),
            rows,
            expected_bytes(name, self._recipe, self._run, volume, manifest),
            expected_seconds(name, volume, past_runs(self._records, manifest, name)),
            expected_requests(volume, manifest) if name == "synthesize" else None,
        )

    def _reasons(self, name: str, manifest: Manifest | None) -> tuple[list[str], float]:
        """Why a job would run, nothing where it would not; and the share of its data that is new to it."""
        module, only_new = module_of(name), self._share if any(change.any for change in self._changes) else 1.0
        because = [f"{self._running[-1]} runs"] if self._running else []
        planned = None if manifest is None else self._planned(name)
        if manifest is None or planned is None:
            return [_unfinished(self._run, name)] if manifest is None else because, 1.0
        keys = list(_different(_plain(planned.settings), manifest.settings))
        if keys:
            more = f" and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else ""
            return [f"settings changed: {', '.join(keys[:_KEYS_SHOWN])}{more}", *because], 1.0
        if because:
            return because, only_new
        if planned.fingerprint(name, module.VERSION) == manifest.fingerprint:
            return ([] if is_whole(self._run.job(name), manifest) else ["some of its files are gone"]), 1.0
        if _plain(planned.inputs) == manifest.inputs:
            return ["this version of pairmill writes it differently"], 1.0
        return [self._other_inputs(name)], only_new

    def _planned(self, name: str) -> Plan | None:
        """The job's plan; None where a job before it was never finished."""
        try:
            planned: Plan = module_of(name).plan(as_seen_by(name, self._recipe, self._run), self._run)
        except JobFailed:
            return None
        return planned

    def _other_inputs(self, name: str) -> str:
        if name != "extract":
            return "its inputs changed"
        counts = {kind: sum(getattr(change, kind) for change in self._changes) for kind in ("new", "changed", "gone")}
        told = ", ".join(f"{files:,} {kind}" for kind, files in counts.items() if files)
        new = sum(change.new_bytes for change in self._changes)
        return f"files: {told} ({size(new)} to read)" if told else "its inputs changed"


def _unfinished(run: RunFolder, name: str) -> str:
    state = ProgressReader(run.job(name)).read()
    return f"not finished: {state.committed} of {state.tasks} parts are" if state.tasks else "not run yet"


def _plain(value: Any) -> Any:
    """As it reads from a manifest."""
    return json.loads(json.dumps(value, ensure_ascii=False, default=str))


def _different(now: Any, before: Any, place: str = "") -> Iterator[str]:
    """The names of the settings that differ."""
    if isinstance(now, Mapping) and isinstance(before, Mapping):
        for key in sorted(now.keys() | before.keys()):
            missing = object()
            yield from _different(now.get(key, missing), before.get(key, missing), f"{place}.{key}".lstrip("."))
    elif isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        for number, (one, other) in enumerate(zip(now, before, strict=True)):
            yield from _different(one, other, f"{place}.{number}")
    elif now != before:
        yield place


def _bytes(inputs: Inputs) -> int:
    return sum(each or 0 for files in inputs.values() for each, _ in files.values())


def _free(run: RunFolder) -> int | None:
    if not storage.is_local(run.url):
        return None
    folder = Path(storage.split_url(run.url)[1]).absolute()
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.is_dir())).free
