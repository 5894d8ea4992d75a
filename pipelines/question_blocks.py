"""All paragraphs of a sample are asked about, block by block: a block is committed when its answers are there."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import progress
from pipelines.job import Job, forget_parts, is_committed
from pipelines.manifest import fingerprint
from pipelines.progress import TaskProgress, signs_of_life
from pipelines.question_asking import ASKED, UNANSWERED, QuestionWriter, asked_server, batches_of
from pipelines.question_sample import PARAGRAPHS, Sample
from pipelines.shards import Part, ShardWriter, Tally, commit_part, read_batches
from pipelines.synthesize_settings import SynthesizeSettings
from synth.prompts import load_prompt

ASKED_ROLE: Final = "asked"
_DECIDED_LATER: Final = ("round_trip", "encoder", "judge", "near", "into_training", "export")


def ask(job: Job, settings: SynthesizeSettings, sample: Sample, version: int) -> list[Part]:
    """What the model answered about each paragraph, in the sample's order: a part a block, role `asked`.

    Raises synth.errors.ChatError where the run of requests ends early: what was answered is kept.
    """
    key = _fingerprint(job, settings, sample, version)
    block = rows_of_a_block(settings)
    names = [f"asked-{number:05d}" for number in range(-(-sample.paragraphs // block))]
    progress.announce(job.folder, names, "questions")
    open_names = {name for name in names if not is_committed(job.folder, name, key)}
    forget_parts(job.folder, sorted(open_names))
    if open_names:
        with asked_server(settings, job.folder) as client:
            writer = QuestionWriter(settings, load_prompt(settings.prompt), client, batches_of(settings, job.folder))
            urls = [sample.url(file) for file in sample.files(PARAGRAPHS)]
            for name, rows in zip(names, rows_in_blocks(urls, block), strict=True):
                if name in open_names:
                    _ask_block(job.folder, name, key, writer, rows)
    return job.parts(names)


def _fingerprint(job: Job, settings: SynthesizeSettings, sample: Sample, version: int) -> str:
    deciding = {name: value for name, value in job.plan.settings.items() if name not in _DECIDED_LATER}
    asked_about = [file.sha256 for file in sample.files(PARAGRAPHS)]
    return fingerprint(version=version, settings=deciding, paragraphs=asked_about, block=rows_of_a_block(settings))


def rows_of_a_block(settings: SynthesizeSettings) -> int:
    """Paragraphs that are asked about together; in batch mode as many as the server works on at once, since a block waits
    for the batches of the one before it, up to a day."""
    batch = settings.batch
    return settings.block if batch is None else max(settings.block, batch.at_once * batch.most_requests)


def _ask_block(folder: str, name: str, key: str, writer: QuestionWriter, rows: pa.Table) -> None:
    with signs_of_life(TaskProgress(folder, name)) as beat:
        found = writer.write(rows, lambda answers: beat(answers, min(1.0, answers / len(rows))))
    with ShardWriter(folder, ASKED_ROLE, name, ASKED) as shard:
        shard.write(found)
    assert shard.file is not None
    # With a request that the server never answered the block is open for the next time the job runs.
    waiting = pc.any(pc.is_in(found["reason"], value_set=pa.array(UNANSWERED))).as_py()
    commit_part(folder, name, f"{key} unanswered" if waiting else key, [shard.file], Tally(), [])


def rows_in_blocks(urls: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """The rows of some shards, so many at a time, whatever the shards' sizes."""
    pending: list[pa.RecordBatch] = []
    count = 0
    for url in urls:
        for batch in read_batches(url):
            pending.append(batch)
            count += batch.num_rows
            while count >= rows:
                table: Any = pa.Table.from_batches(pending)
                yield table.slice(0, rows)
                pending = table.slice(rows).to_batches()
                count -= rows
    if count:
        yield pa.Table.from_batches(pending)
