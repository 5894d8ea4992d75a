"""What a job is: a module in pipelines/jobs with a VERSION, `plan` and `execute`.

    check_inputs(recipe)            of some: files of its own that lack are an error before the first job runs
    plan(recipe, run) -> Plan       cheap, without Beam or torch: the settings and inputs that decide the fingerprint
    execute(job)      -> Outcome    the work; runs in a process of its own (pipelines.job_process)

VERSION is raised by hand when a change of code changes what a job writes; that job and all that follow it run again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from pipelines import progress, storage
from pipelines.errors import JobFailed
from pipelines.manifest import (
    Manifest,
    fingerprint,
    input_names,
    merge_parts,
    read_manifest,
    settings_dump,
)
from pipelines.recipe import JOBS, Recipe
from pipelines.run_folder import RunFolder
from pipelines.runner import Load, RunnerSettings, run_pipeline
from pipelines.shards import PARTS, Part, ShardFile, read_part
from sources.schema import SCHEMA_VERSION

PAIRS = "pairs"
HELD_OUT = "held_out"
DOCUMENTS = "documents"
BESIDE = "beside"  # in a manifest's details: bytes of files that are no shards, by path
MODEL_FINGERPRINT = "model_fingerprint"  # in train's details: of the model it wrote
EVALUATION = "evaluation/held_out"  # below pack: a folder of its own layout, written anew each time
# The jobs whose `pairs` role is a PAIR shard.
PAIR_JOBS = ("extract", "synthesize", "filter", "decontaminate", "dedup", "score")


@dataclass(frozen=True)
class Plan:
    """What decides whether a job is up to date."""

    settings: dict[str, Any]
    inputs: list[dict[str, Any]]

    def fingerprint(self, job: str, version: int) -> str:
        return fingerprint(job=job, version=version, schema=SCHEMA_VERSION, settings=self.settings, inputs=self.inputs)


@dataclass(frozen=True)
class Outcome:
    """What goes into a job's manifest."""

    parts: list[Part]
    details: dict[str, Any] = field(default_factory=dict)
    files: list[ShardFile] = field(default_factory=list)  # beside those of the parts


@dataclass(frozen=True)
class Job:
    """A job that is about to run, with all it may need."""

    name: str
    recipe: Recipe
    run: RunFolder
    plan: Plan
    fingerprint: str

    @property
    def folder(self) -> str:
        return self.run.job(self.name)

    @property
    def runner(self) -> RunnerSettings:
        return self.recipe.runner

    def manifest(self, job: str) -> Manifest:
        return finished(self.run, job)

    def run_tasks(
        self,
        tasks: Sequence[Any],
        write: Callable[[Any, progress.TaskProgress], Part],
        *,
        bytes_to_read: int,
        encoder: bool = False,
        keep_records: bool = False,
    ) -> list[Part]:
        """Do the tasks that are not committed yet, on the recipe's runner; returns the parts of all of them, in order.

        With `keep_records` a task's earlier record stays for `write`, which takes it (take_part) before it writes a file.
        """
        progress.announce(self.folder, [task.name for task in tasks])
        open_tasks = [task for task in tasks if not is_committed(self.folder, task.name, task.fingerprint)]
        if not keep_records:
            forget_parts(self.folder, [task.name for task in open_tasks])
        if open_tasks:

            def build(pipeline: Any) -> None:
                import apache_beam as beam

                from pipelines.transforms import WriteShards

                tasks_to_do = pipeline | "tasks" >> beam.Create(open_tasks, reshuffle=False)
                _ = tasks_to_do | WriteShards(self.name, self.folder, write)

            run_pipeline(self.runner, Load(len(open_tasks), bytes_to_read, encoder), self.name, build)
        return self.parts([task.name for task in tasks])

    def parts(self, tasks: Sequence[str]) -> list[Part]:
        parts = []
        for task in tasks:
            part = read_part(self.folder, task)
            if part is None:
                raise JobFailed(
                    f"Job {self.name}: task {task} ended without committing its shards, though the runner reported success."
                )
            parts.append(part)
        return parts


def forget_parts(folder: str, tasks: Sequence[str]) -> None:
    """Remove the records of tasks that are about to run: a record must not outlive the files it describes."""
    for task in tasks:
        storage.remove(storage.join(folder, PARTS, f"{task}.json"))


def take_part(folder: str, task: str) -> Part | None:
    """The record of a task's earlier fingerprint, which is removed: a record must not outlive the files it describes."""
    part = read_part(folder, task)
    forget_parts(folder, [task])
    return part


def is_whole(folder: str, manifest: Manifest) -> bool:
    """Whether all files a manifest names are there with as many bytes as were written."""
    sizes = storage.tree_sizes(folder)
    expected = {file.path: file.bytes for file in manifest.files} | manifest.details.get(BESIDE, {})
    return all(sizes.get(path) == size for path, size in expected.items())


def is_committed(folder: str, task: str, task_fingerprint: str) -> bool:
    part = read_part(folder, task)
    return part is not None and part.fingerprint == task_fingerprint


def finished(run: RunFolder, job: str) -> Manifest:
    """The manifest of a finished job. Raises JobFailed where it is not finished."""
    manifest = read_manifest(run.job(job))
    if manifest is None:
        raise JobFailed(f"Job {job} has no manifest in {run.job(job)}: run it first with `pairmill run`.")
    return manifest


def pairs_before(recipe: Recipe, run: RunFolder, job: str) -> Manifest:
    """The manifest of the nearest job before `job` that writes pairs."""
    before = [other for other in recipe.jobs()[: recipe.jobs().index(job)] if other in PAIR_JOBS]
    return finished(run, before[-1])


def pair_plan(recipe: Recipe, run: RunFolder, job: str, settings: BaseModel, roles: Sequence[str], **more: Any) -> Plan:
    """The plan of a job that reads pair shards of the given roles; `more` adds to the settings (a model's fingerprint ...)."""
    before = pairs_before(recipe, run, job)
    return Plan(settings_dump(settings) | more, input_names(before.files_of(*roles), before.job))


def build_manifest(job: Job, version: str, outcome: Outcome, seconds: float) -> Manifest:
    merged = merge_parts(outcome.parts)
    return Manifest(
        job=job.name,
        pairmill=version,
        fingerprint=job.fingerprint,
        settings=job.plan.settings,
        inputs=job.plan.inputs,
        rows_in=merged.rows_in,
        rows_out=merged.rows_out,
        dropped=merged.dropped,
        funnel=merged.funnel,
        languages=merged.languages,
        files=[*merged.files, *outcome.files],
        details=outcome.details | {"tasks": len(outcome.parts)},
        seconds=round(seconds, 2),
    )


def remove_stale_files(folder: str, manifest: Manifest, parts: Sequence[Part]) -> None:
    """Delete shards and parts of earlier fingerprints that the new manifest does not name."""
    named = {file.path for file in manifest.files}
    for path in storage.list_tree(folder, (".parquet", ".jsonl", ".npy")):
        if path not in named and not path.startswith(("_", EVALUATION)):
            storage.remove(storage.join(folder, path))
    tasks = {part.task for part in parts}
    for name in storage.list_files(storage.join(folder, PARTS)):
        if name.removesuffix(".json") not in tasks:
            storage.remove(storage.join(folder, PARTS, name))


def module_of(job: str) -> Any:
    """The module pipelines.jobs.JOB."""
    import importlib

    if job not in JOBS:
        raise ValueError(f"no job named {job!r}")
    return importlib.import_module(f"pipelines.jobs.{job}")
