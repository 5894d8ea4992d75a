"""filter: measures every pair (text, likeness of the sides, language), then decides by thresholds.

The measurements are kept beside the pairs: another threshold reads them and measures nothing (pipelines.measured).
Languages that the corpus did not say are filled in where the measurement is sure.
"""

from functools import partial
from typing import Any, Final

import pyarrow as pa

from filters.decide import REASONS as DECISIONS
from filters.decide import Family, FilterSettings, decide
from filters.language import language_model_sha256
from filters.measure import measure, record_languages
from pipelines import storage
from pipelines.job import PAIRS, Job, Outcome, Plan, pair_plan, pairs_before
from pipelines.manifest import fingerprint
from pipelines.measured import measurement_file, with_measurements
from pipelines.progress import TaskProgress
from pipelines.recipe import Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import REJECTS, Part, ShardSet, Tally, commit_part
from sources import schema

VERSION = 2
REASONS = dict(DECISIONS)
CHEAP: Final[frozenset[Family]] = frozenset({"text", "likeness"})  # always measured: a threshold may be set later

_SCHEMAS = {PAIRS: schema.PAIR, REJECTS: schema.REJECT}


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.filter is not None
    judged = "language" in measured_families(recipe.filter)
    model = language_model_sha256(recipe.filter.language) if judged else None
    return pair_plan(recipe, run, "filter", recipe.filter, (PAIRS,), language_model=model)


def measured_families(settings: FilterSettings) -> frozenset[Family]:
    """Languages only where a rule asks for them: they cost more than all the rest."""
    return settings.families() | CHEAP


def execute(job: Job) -> Outcome:
    from pipelines.transforms import Task

    settings = job.recipe.filter
    assert settings is not None
    before = pairs_before(job.recipe, job.run, "filter")
    tasks = []
    for file in before.files_of(PAIRS):
        measuring = fingerprint(
            version=VERSION,
            input=file.sha256,
            families=sorted(measured_families(settings)),
            language=settings.language.model_dump(mode="json"),
            language_model=job.plan.settings["language_model"],
        )
        key = fingerprint(measuring=measuring, settings=settings.model_dump(mode="json"))
        name = file.path.rsplit("/", 1)[-1].removesuffix(".parquet")
        tasks.append(Task(name, key, (storage.join(job.run.job(before.job), file.path), measuring)))
    size = sum(file.bytes for file in before.files_of(PAIRS))
    parts = job.run_tasks(tasks, partial(write_filtered, job.folder, settings), bytes_to_read=size)
    return Outcome(parts)


def write_filtered(folder: str, settings: FilterSettings, task: Any, progress: TaskProgress) -> Part:
    """One pair shard -> its measurements, the pairs that pass every rule, and the rejects with the first rule they fail."""
    url, measuring = task.payload
    measure_pairs = partial(measure, settings=settings, families=measured_families(settings))
    columns = measure_pairs(pa.RecordBatch.from_pylist([], schema.PAIR)).schema
    tally, rows = Tally(), 0
    with ShardSet(folder, task.name, _SCHEMAS, always=[PAIRS]) as shards:
        for batch, measured in with_measurements(folder, task.name, measuring, url, columns, measure_pairs):
            reason = decide(measured, settings, batch["kind"], batch["query_lang"], batch["positive_lang"])
            judged = record_languages(batch, measured)
            kept, rejects = schema.split_rejects(judged, reason)
            tally.add(judged, "in")
            tally.add(kept, "out")
            tally.add_rejects(rejects)
            shards.write(PAIRS, kept)
            shards.write(REJECTS, rejects)
            rows += batch.num_rows
            progress.beat(rows)
    files = [*shards.files, measurement_file(folder, task.name)]
    return commit_part(folder, task.name, task.fingerprint, files, tally, [PAIRS])
