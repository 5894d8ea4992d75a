"""score: the relevance of a pair's two sides, the cosine of an encoder's vectors (C-Pack, section 3.2: drop below 0.43).

Pairs in a language the encoder cannot read (`reads`) are kept and marked as not scored: relevance null. Measures, then
decides: another threshold reads the kept measurements.
"""

from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.job import HELD_OUT, PAIRS, Job, Outcome, Plan, pair_plan, pairs_before
from pipelines.manifest import fingerprint
from pipelines.measured import measurement_file, with_measurements, with_scores
from pipelines.progress import TaskProgress
from pipelines.recipe import Recipe, ScoreSettings
from pipelines.run_folder import RunFolder
from pipelines.shards import REJECTS, Part, ShardSet, Tally, commit_part
from sources import schema
from trainer.backbone import model_fingerprint

if TYPE_CHECKING:
    from trainer.encoder import Encoder

VERSION = 1
MEASURED = pa.schema([("pair_id", pa.binary(16)), ("relevance", pa.float32())])
REASONS = {"low_relevance": "the encoder finds the two sides unrelated (cosine below the threshold)"}
DECIMALS = 4  # of the cosine: below the noise of a bf16 forward, so that a repeated run decides alike

_SCHEMAS = {PAIRS: schema.PAIR, HELD_OUT: schema.PAIR, REJECTS: schema.REJECT}


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.score is not None
    model = model_fingerprint(recipe.score.encoder.model)
    return pair_plan(recipe, run, "score", recipe.score, (PAIRS, HELD_OUT), model_fingerprint=model)


def execute(job: Job) -> Outcome:
    from pipelines.transforms import Task

    settings = job.recipe.score
    assert settings is not None
    before = pairs_before(job.recipe, job.run, "score")
    tasks = []
    for file in before.files_of(PAIRS, HELD_OUT):
        stem = file.path.rsplit("/", 1)[-1].removesuffix(".parquet")
        name = stem if file.role == PAIRS else f"{stem}-{file.role}"
        measuring = fingerprint(
            version=VERSION,
            input=file.sha256,
            encoder=settings.encoder.model_dump(mode="json"),
            model=job.plan.settings["model_fingerprint"],
            reads=settings.reads,
        )
        key = fingerprint(measuring=measuring, threshold=settings.threshold)
        tasks.append(Task(name, key, (storage.join(job.run.job(before.job), file.path), file.role, measuring)))
    size = sum(file.bytes for file in before.files_of(PAIRS, HELD_OUT))
    parts = job.run_tasks(tasks, partial(write_scored, job.folder, settings), bytes_to_read=size, encoder=True)
    return Outcome(parts, {"not_scored": sum(part.details["not_scored"] for part in parts)})


@cache
def load_encoder(settings_json: str) -> "Encoder":
    """One encoder a process."""
    from trainer.encoder import Encoder, EncoderSettings

    return Encoder(EncoderSettings.model_validate_json(settings_json))


def write_scored(folder: str, settings: ScoreSettings, task: Any, progress: TaskProgress) -> Part:
    url, role, measuring = task.payload
    measure = partial(measure_relevance, settings, progress)
    tally, not_scored, rows = Tally(), 0, 0
    with ShardSet(folder, task.name, _SCHEMAS, always=[role]) as shards:
        for batch, measured in with_measurements(folder, task.name, measuring, url, MEASURED, measure):
            relevance = measured["relevance"]
            low = pc.less(relevance, pa.scalar(settings.threshold, pa.float32())).fill_null(False)
            reason = pc.if_else(low, pa.scalar("low_relevance"), pa.scalar(None, pa.string()))
            kept, rejects = schema.split_rejects(with_scores(batch, {"relevance": relevance}), reason)
            tally.add(batch, "in")
            tally.add(kept, "out")
            tally.add_rejects(rejects)
            shards.write(role, kept)
            shards.write(REJECTS, rejects)
            not_scored += relevance.null_count
            rows += batch.num_rows
            progress.beat(rows)
    files = [*shards.files, measurement_file(folder, task.name)]
    return commit_part(
        folder, task.name, task.fingerprint, files, tally, [PAIRS, HELD_OUT], details={"not_scored": not_scored}
    )


def measure_relevance(settings: ScoreSettings, progress: TaskProgress, batch: pa.RecordBatch) -> pa.RecordBatch:
    """PAIR batch -> MEASURED batch: the cosine of query and positive, null where the encoder cannot read a side."""
    readable = readable_rows(batch, settings.reads)
    relevance = np.full(batch.num_rows, np.nan, np.float32)
    if readable.any():
        encoder = load_encoder(settings.encoder.model_dump_json())
        encoder.on_batch = progress.beat
        rows = batch.filter(pa.array(readable))
        queries = encoder.encode(rows["query"], "query")
        positives = encoder.encode(rows["positive"], "passage")
        relevance[readable] = np.einsum("nd,nd->n", queries.astype(np.float64), positives.astype(np.float64)).round(
            DECIMALS
        )
    column = pa.array(relevance, pa.float32(), mask=~readable)
    return pa.RecordBatch.from_arrays([batch["pair_id"], column], schema=MEASURED)


def readable_rows(batch: pa.RecordBatch, reads: tuple[str, ...]) -> np.ndarray[Any, Any]:
    """bool[rows]: whether the encoder can read both sides; empty `reads` means it reads everything."""
    if not reads:
        return np.ones(batch.num_rows, bool)
    languages = pa.array(list(reads))
    both = pc.and_(pc.is_in(batch["query_lang"], languages), pc.is_in(batch["positive_lang"], languages))
    result: np.ndarray[Any, Any] = both.to_numpy(zero_copy_only=False)
    return result
