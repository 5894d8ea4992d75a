"""The questions of a shard of documents as rows: those kept with where they came from, pairs for training, and rejects."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.job import DOCUMENTS, PAIRS, Job
from pipelines.manifest import fingerprint
from pipelines.progress import TaskProgress
from pipelines.question_export import KIND
from pipelines.question_sample import PARAGRAPH, PARAGRAPHS, Sample
from pipelines.question_verdicts import VERDICT
from pipelines.shards import REJECTS, Part, ShardFile, ShardSet, Tally, commit_part, read_batches
from sources import schema
from synth.sampling import SPLITS

QUESTIONS: Final = "questions"
QUESTION: Final = pa.schema(
    [
        pa.field("question_id", pa.string(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("hard_negatives", pa.list_(pa.string())),
        pa.field("paragraph", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("language", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # train, dev or test
        pa.field("number", pa.int32(), nullable=False),  # of the paragraph in its document, and its characters there
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("model", pa.string()),  # as the server names it
        pa.field("prompt", pa.string(), nullable=False),  # hash of the template
        pa.field(
            "asked_with", pa.string(), nullable=False
        ),  # hash of the manifest's details.asked_with: model, parameters ...
        pa.field("request", pa.string(), nullable=False),  # sha256 of the request, under which the answer is kept
        pa.field("tries", pa.int32(), nullable=False),
        pa.field("input_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("rank_in_document", pa.int32()),  # of the paragraph, 1 is the nearest; null: not measured
        pa.field("rank_in_pool", pa.int32()),  # the same among all asked about in the language
        pa.field("judged", pa.float32()),  # 0 to 1; null: not judged
    ]
)
_SCHEMAS: Final = {QUESTIONS: QUESTION, PAIRS: schema.PAIR, REJECTS: schema.REJECT}
_COUNTED_BY: Final = {"source": "source", "query_lang": "language", "positive_lang": "language"}
_OF_ANSWER: Final = ("question", "hard_negatives", "model", "request", "tries", "input_tokens", "output_tokens")


def write(
    job: Job, sample: Sample, asked: pa.Table, verdicts: pa.Table, answered: str, *, into_training: bool
) -> list[Part]:
    """The questions, pairs and rejects of each shard of chosen documents, from ASKED and VERDICT rows in the sample's order.

    `answered` is a hash of both: the same job may have run before with fewer answers.
    """
    from pipelines.transforms import Task

    answers = pa.table({name: asked[name] for name in _OF_ANSWER} | {name: verdicts[name] for name in VERDICT.names})
    key = fingerprint(job=job.fingerprint, answered=answered)
    tasks, first = [], 0
    for documents, paragraphs in zip(sample.files(DOCUMENTS), sample.files(PARAGRAPHS), strict=True):
        rows = answers.slice(first, paragraphs.rows)
        first += paragraphs.rows
        payload = sample.url(documents), sample.url(paragraphs), rows
        tasks.append(Task(f"questions-{_stem(documents)}", key, payload))
    facts = job.plan.settings["asked"]
    constant = {"prompt": facts["prompt"], "asked_with": fingerprint(**facts)}
    task = partial(write_questions, job.folder, constant, into_training)
    return job.run_tasks(tasks, task, bytes_to_read=sum(file.bytes for file in sample.files(DOCUMENTS)))


def _stem(file: ShardFile) -> str:
    return file.path.rsplit("/", 1)[-1].removesuffix(".parquet")


def write_questions(
    folder: str, constant: Mapping[str, str], into_training: bool, task: Any, progress: TaskProgress
) -> Part:
    """One shard of documents, its paragraphs and what came of them -> its questions, pairs and rejects."""
    documents_url, paragraphs_url, answers = task.payload
    about = pa.Table.from_batches(list(read_batches(paragraphs_url)), PARAGRAPH)
    asked = about.rename_columns({"text": "paragraph"})
    for name in answers.column_names:
        asked = asked.append_column(name, answers[name])
    for name, value in constant.items():
        asked = asked.append_column(name, pa.repeat(pa.scalar(value), len(asked)))
    tally = Tally()
    with ShardSet(folder, task.name, _SCHEMAS, always=[QUESTIONS, PAIRS]) as shards:
        for documents in read_batches(documents_url, rows=64):
            rows = asked.filter(pc.is_in(asked["document_id"], value_set=documents["document_id"])).combine_chunks()
            kept = rows.filter(rows["reason"].is_null())
            rejects = _rejects(rows.filter(rows["reason"].is_valid()), documents)
            tally.add(_counted(rows), "in")
            tally.add(_counted(kept), "out")
            tally.add_rejects(rejects)
            shards.write(REJECTS, rejects)
            shards.write(QUESTIONS, kept.select(QUESTION.names).cast(QUESTION))
            if into_training:
                train = kept.filter(pc.equal(kept["split"], SPLITS[0]))
                shards.write(PAIRS, _training_pairs(train, documents))
            progress.beat(tally.total("in"))
    return commit_part(folder, task.name, task.fingerprint, shards.files, tally, [QUESTIONS])


def _counted(rows: pa.Table) -> pa.RecordBatch:
    """What a tally counts by."""
    columns = {name: _column(rows, of) for name, of in _COUNTED_BY.items()}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _column(rows: pa.Table, name: str) -> pa.Array:
    return rows[name].combine_chunks()


def _of_document(rows: pa.Table, documents: pa.RecordBatch, name: str) -> pa.Array:
    """A column of the document of each row."""
    places = pc.index_in(_column(rows, "document_id"), value_set=documents["document_id"])
    return documents[name].take(places)


def _training_pairs(rows: pa.Table, documents: pa.RecordBatch) -> pa.RecordBatch:
    """PAIR rows: each question with its whole document."""
    if not len(rows):
        return pa.RecordBatch.from_pylist([], schema.PAIR)
    pairs, _ = schema.make_pairs(
        query=_column(rows, "question"),
        positive=_of_document(rows, documents, "text"),
        kind=KIND,
        source=rows["source"][0].as_py(),  # a shard is of one source
        document_id=_column(rows, "document_id"),
        query_lang=_column(rows, "language"),
        positive_lang=_column(rows, "language"),
        negatives=_column(rows, "hard_negatives"),
        url=_of_document(rows, documents, "url"),
        license=_of_document(rows, documents, "license"),
    )
    return pairs


def _rejects(rows: pa.Table, documents: pa.RecordBatch) -> pa.RecordBatch:
    """REJECT rows; the positive is the paragraph, which is what the question was written about."""
    query = schema.normalise_text(_column(rows, "question"))
    positive = schema.normalise_text(_column(rows, "paragraph"))
    kind = pa.repeat(pa.scalar(KIND), len(rows))
    source, document_id = _column(rows, "source"), _column(rows, "document_id")
    columns = {
        "pair_id": schema.pair_ids(source, document_id, kind, query, positive),
        "query": query,
        "positive": positive,
        "kind": kind,
        "query_lang": _column(rows, "language"),
        "positive_lang": _column(rows, "language"),
        "source": source,
        "document_id": document_id,
        "url": _of_document(rows, documents, "url"),
        "license": _of_document(rows, documents, "license"),
        "symmetric": pa.repeat(pa.scalar(False), len(rows)),
        "reason": _column(rows, "reason"),
    }
    filled = [columns.get(field.name, pa.nulls(len(rows), field.type)) for field in schema.REJECT]
    return pa.RecordBatch.from_arrays(filled, schema=schema.REJECT)
