"""The finished part of a run folder: the manifests the page is made from."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines import storage
from pipelines.job import HELD_OUT, PAIR_JOBS, PAIRS
from pipelines.manifest import Manifest, read_manifest
from pipelines.recipe import Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import ShardFile

REPORT = "report"


@dataclass(frozen=True)
class FinishedRun:
    """The manifests of the finished jobs, in order. A job behind an unfinished one counts as unfinished: what it wrote is of
    earlier shards, to which its row numbers no longer fit."""

    recipe: Recipe
    run: RunFolder
    manifests: dict[str, Manifest]

    @classmethod
    def read(cls, recipe: Recipe, run: RunFolder) -> "FinishedRun":
        manifests: dict[str, Manifest] = {}
        for job in jobs_before_report(recipe):
            manifest = read_manifest(run.job(job))
            if manifest is None:
                break
            manifests[job] = manifest
        return cls(recipe, run, manifests)

    def files(self, job: str, *roles: str) -> list[ShardFile]:
        """The Parquet shards of some roles of a job, in shard order; none where it is not finished."""
        manifest = self.manifests.get(job)
        return [f for f in manifest.files_of(*roles) if f.path.endswith(".parquet")] if manifest else []

    def urls(self, job: str, *roles: str) -> list[str]:
        return [storage.join(self.run.job(job), file.path) for file in self.files(job, *roles)]

    def pairs_job(self, before: str | None = None) -> str | None:
        """The last finished job that writes pairs; with `before`, the one whose pairs that job reads."""
        jobs = self.recipe.jobs()
        until = jobs[: jobs.index(before)] if before else jobs
        found = [job for job in until if job in PAIR_JOBS and job in self.manifests]
        return found[-1] if found else None

    def kept_urls(self) -> list[str]:
        """The shards of the pairs kept so far: those for training, then those held out."""
        job = self.pairs_job()
        return [*self.urls(job, PAIRS), *self.urls(job, HELD_OUT)] if job else []


def jobs_before_report(recipe: Recipe) -> Sequence[str]:
    return [job for job in recipe.jobs() if job != REPORT]
