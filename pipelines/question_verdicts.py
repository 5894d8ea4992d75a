"""Which questions are rejected by what needs all of them: the round trip, a judge, near-duplicates, in this order.

A question has the first reason that it fails; what a later check would say of it is not asked.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.language import language_group
from pipelines import embeddings, progress, storage
from pipelines.job import DOCUMENTS, Job, forget_parts
from pipelines.manifest import fingerprint
from pipelines.progress import TaskProgress
from pipelines.question_asking import ASKED
from pipelines.question_checking import (
    AskedAbout,
    judged_scores,
    near_duplicates,
    order_of_keeping,
    round_trip_ranks,
)
from pipelines.question_sample import PARAGRAPHS, Sample, document_key
from pipelines.shards import Part, ShardWriter, Tally, commit_part, read_batches, read_part
from pipelines.synthesize_settings import SynthesizeSettings
from synth.paragraphs import paragraph_text, paragraphs
from synth.question_checks import round_trip_reasons

VERDICTS: Final = "verdicts"
VERDICT: Final = pa.schema(
    [
        pa.field("reason", pa.string()),  # null: kept
        pa.field("rank_in_document", pa.int32()),  # of the paragraph, 1 is the nearest; null: not measured
        pa.field("rank_in_pool", pa.int32()),
        pa.field("judged", pa.float32()),  # 0 to 1; null: not judged
    ]
)
Tell = Callable[[int], None]


def decide(job: Job, settings: SynthesizeSettings, sample: Sample, blocks: list[Part], version: int) -> Part:
    """The verdicts on all questions of some blocks (role `asked`), in their order: a part of one shard.

    Raises trainer.encoder.EmbeddingError, synth.errors.ChatError.
    """
    contents = [file.sha256 for part in blocks for file in part.files]
    key = fingerprint(version=version, job=job.fingerprint, asked=contents)
    progress.announce(job.folder, [VERDICTS])
    done = read_part(job.folder, VERDICTS)
    if done is not None and done.fingerprint == key:
        return done
    forget_parts(job.folder, [VERDICTS])
    verdicts = _Verdicts(sample, asked_rows(job.folder, blocks))
    tell = TaskProgress(job.folder, VERDICTS).beat
    if settings.round_trip is not None:
        _round_trip(job, settings, verdicts, tell)
    if settings.judge is not None:
        _judge(settings, verdicts, tell)
    if settings.near is not None:
        _near(settings, verdicts)
    with ShardWriter(job.folder, VERDICTS, VERDICTS, VERDICT) as shard:
        shard.write(verdicts.batch())
    assert shard.file is not None
    return commit_part(job.folder, VERDICTS, key, [shard.file], Tally(), [])


def asked_rows(folder: str, blocks: list[Part]) -> pa.Table:
    """ASKED rows of all blocks."""
    urls = [storage.join(folder, file.path) for part in blocks for file in part.files]
    return pa.Table.from_batches([batch for url in urls for batch in read_batches(url)], ASKED)


class _Verdicts:
    """Reasons, ranks and judgements of all questions while they are decided."""

    def __init__(self, sample: Sample, asked: pa.Table) -> None:
        self.sample, self._asked = sample, asked
        self._reasons = np.array([*asked["reason"].to_pylist(), None], dtype=object)[:-1]
        self._ranks = [np.zeros(len(asked), np.int32), np.zeros(len(asked), np.int32)]
        self._judged = np.full(len(asked), np.nan, np.float32)

    def kept(self) -> npt.NDArray[np.int64]:
        """The rows that nothing rejects so far."""
        return np.array([row for row, reason in enumerate(self._reasons) if reason is None], np.int64)

    def questions(self, rows: npt.NDArray[np.int64]) -> pa.Array:
        return self._asked["question"].take(pa.array(rows)).combine_chunks()

    def about(self, rows: npt.NDArray[np.int64], *columns: str) -> pa.Table:
        """Columns of the paragraphs that some questions are about."""
        return self.sample.rows(PARAGRAPHS, columns).take(pa.array(rows))

    def reject(self, rows: npt.NDArray[np.int64], reason: str) -> None:
        self._reasons[rows] = reason

    def ranked(self, rows: npt.NDArray[np.int64], *ranks: npt.NDArray[np.int32]) -> None:
        for column, values in zip(self._ranks, ranks, strict=True):
            column[rows] = values

    def judged(self, rows: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]) -> None:
        self._judged[rows] = scores

    def batch(self) -> pa.RecordBatch:
        """VERDICT [questions]."""
        columns = [
            pa.array(self._reasons.tolist(), pa.string()),
            *(pa.array(ranks, pa.int32(), mask=ranks == 0) for ranks in self._ranks),
            pa.array(self._judged, pa.float32(), mask=np.isnan(self._judged)),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=VERDICT)


def _round_trip(job: Job, settings: SynthesizeSettings, verdicts: _Verdicts, tell: Tell) -> None:
    assert settings.round_trip is not None
    kept = verdicts.kept()
    if not len(kept):
        return
    about = verdicts.about(kept, "question_id", "text", "source", "document_id", "language")
    asked = AskedAbout(
        about["question_id"].to_pylist(),
        verdicts.questions(kept),
        about["text"].combine_chunks(),
        [document_key(row) for row in about.select(["source", "document_id"]).to_pylist()],
        [language_group(code) for code in about["language"].to_pylist()],
    )
    candidates = _candidates(verdicts.sample, settings, set(asked.documents))
    ranks = round_trip_ranks(asked, candidates, settings.round_trip, embeddings.prepare(job), tell)
    verdicts.ranked(kept, *ranks)
    reasons = round_trip_reasons(*ranks, settings.round_trip).to_pylist()
    for reason in sorted({reason for reason in reasons if reason is not None}):
        verdicts.reject(kept[[each == reason for each in reasons]], reason)


def _candidates(sample: Sample, settings: SynthesizeSettings, wanted: set[str]) -> dict[str, list[str]]:
    """All paragraphs that could be asked about, of the wanted documents."""
    found = {}
    for file in sample.files(DOCUMENTS):
        for batch in read_batches(sample.url(file), ["source", "document_id", "text", "sections"], rows=256):
            for row in batch.to_pylist():
                key, text = document_key(row), row["text"]
                if key in wanted:
                    places = paragraphs(text, row["sections"], settings.paragraphs)
                    found[key] = [paragraph_text(text, start, end) for start, end in places]
    return found


def _judge(settings: SynthesizeSettings, verdicts: _Verdicts, tell: Tell) -> None:
    assert settings.judge is not None
    kept = verdicts.kept()
    texts = verdicts.about(kept, "text")["text"].combine_chunks()
    scores = judged_scores(verdicts.questions(kept), texts, settings.judge, tell)
    verdicts.judged(kept, scores)
    low = np.nan_to_num(scores, nan=1.0) < np.float32(settings.judge.least)  # no answer decides nothing
    verdicts.reject(kept[low], "not_answerable")


def _near(settings: SynthesizeSettings, verdicts: _Verdicts) -> None:
    assert settings.near is not None
    kept = verdicts.kept()
    about = verdicts.about(kept, "question_id", "split")
    order = order_of_keeping(about["question_id"], about["split"])
    verdicts.reject(kept[near_duplicates(verdicts.questions(kept), order, settings.near)], "near_duplicate")
