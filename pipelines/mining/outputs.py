"""The last stage: the rows of the input with their negatives, in the input's order, in the form that is asked for.

    same            the rows as they came, the negatives put in; the default
    flagembedding   {"query", "pos": [...], "neg": [...], "pos_scores", "neg_scores"}
    triplets        {"anchor", "positive", "negative"}, one row a positive and negative
    columns         {"anchor", "positive", "negative_1", ..., "negative_n"}, one row a positive
    labeled-list    {"anchor", "documents": [...], "labels": [1, ..., 0, ...]}
    qrels           TSV: query-id, corpus-id, rank, score, origin (of a BEIR folder)

Negatives that came with a row stand first. Scores are the judge's where one was asked, else the encoder's.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.mining.bad_rows import MiningInputError
from pipelines.mining.blocks import MiningJob, block_paths
from pipelines.mining.index import Index, load_index, passage_ids, passage_texts, query_texts
from pipelines.mining.progress import NoProgress, Progress
from pipelines.mining.reading import facts_of
from pipelines.mining.row_files import LINE
from pipelines.mining.texts import StoredRows, Texts
from pipelines.mining.work import read_arrow
from trainer.ragged import Ragged

OutputFormat = Literal["same", "flagembedding", "triplets", "columns", "labeled-list", "qrels"]
CURATED: Final = "curated"
RELABELLED: Final = "relabelled"
_ROWS: Final = 1024  # of output at a time: a row may have fifteen passages, and each is held three times
_LONG_NUMBER: Final = re.compile(rb"\d{19}")


@dataclass(frozen=True)
class OutputSettings:
    """How the result is written."""

    path: str
    format: OutputFormat = "same"
    scores: bool | None = None  # None: where the form has room for them
    keep_without_negatives: bool = False
    negatives: int = 7  # columns that the form columns has


@dataclass(frozen=True)
class Passage:
    """A positive or negative of an output row."""

    text: str
    id: str | None
    score: float | None
    rank: int | None = None
    origin: str = CURATED


@dataclass(frozen=True)
class MinedRow:
    """One pair row with what was mined for it."""

    query: str
    query_id: str | None
    positives: list[Passage]  # those of the row, then the relabelled ones
    relabelled: int  # how many of them are relabelled ones
    curated: list[Passage]
    mined: list[Passage]
    first_of_query: bool  # whether no row before has the same query

    @property
    def negatives(self) -> list[Passage]:
        return [*self.curated, *self.mined]


@dataclass
class Written:
    """What was written and why some rows were not."""

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)


def write_output(job: MiningJob, output: OutputSettings, progress: Progress) -> Written:
    """Write the output file whole, or not at all. Raises MiningInputError where Parquet cannot hold the rows."""
    written = Written()
    blocks = _blocks(job, output, written, progress)
    if output.format == "qrels":
        _write_lines(output.path, (line for block in blocks for line in block.lines()), _QRELS_HEADER)
    elif output.path.endswith((".parquet", ".pq")):
        try:
            _write_parquet(output.path, lambda: _blocks(job, output, Written(), NoProgress()), blocks)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise MiningInputError(
                f"--output {output.path}: the rows cannot be written as Parquet, which has one type a column ({error}). Write"
                f" JSON lines: --output mined.jsonl --work {job.output.folder.parent} goes on with what was mined."
            ) from None
    else:
        _write_lines(output.path, (line for block in blocks for line in block.lines()))
    return written


@dataclass(frozen=True)
class _OutputBlock:
    """New rows: `places` says which of the kept rows each goes with, where those are written too."""

    rows: list[dict[str, Any]]
    places: list[int]
    kept: pa.RecordBatch | None
    as_tsv: bool = False

    def lines(self) -> Iterator[bytes]:
        if self.as_tsv:
            for row in self.rows:
                yield "\t".join("" if value is None else str(value) for value in row.values()).encode() + b"\n"
            return
        for record in self.records():
            yield _line(record)

    def records(self) -> Iterator[dict[str, Any]]:
        if self.kept is None:
            yield from self.rows
            return
        if _is_json(self.kept):
            lines = self.kept.column(0).to_pylist()
            yield from (_loaded(lines[place]) | row for place, row in zip(self.places, self.rows, strict=True))
            return
        records = self.kept.to_pylist()
        yield from (records[place] | row for place, row in zip(self.places, self.rows, strict=True))

    def table(self) -> pa.Table:
        """As a table; columns that were kept as Arrow keep their types."""
        if self.kept is None or _is_json(self.kept):
            return _table_of(list(self.records()))
        kept = pa.Table.from_batches([self.kept]).take(pa.array(self.places, pa.int64()))
        added = _table_of(self.rows)
        for name in added.column_names:
            column = added[name]
            if name in kept.column_names:
                kept = kept.set_column(kept.column_names.index(name), name, column)
            else:
                kept = kept.append_column(name, column)
        return kept


def _is_json(kept: pa.RecordBatch) -> bool:
    return bool(kept.schema.names == [LINE] and pa.types.is_large_binary(kept.schema.field(LINE).type))


def _table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table of all their fields; pyarrow's from_pylist takes those of the first row alone."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _array_of(name, [row.get(name) for row in rows]) for name in names})


def _array_of(name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise pa.ArrowInvalid(f"the field {name!r}: {error}") from None


def _loaded(line: bytes) -> dict[str, Any]:
    """The object of a line; orjson would round whole numbers of more than 64 bits."""
    record: dict[str, Any] = json.loads(line) if _LONG_NUMBER.search(line) else orjson.loads(line)
    return record


def _line(record: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, default=json_value) + b"\n"
    except orjson.JSONEncodeError:  # of a number of more than 64 bits
        return json.dumps(record, default=json_value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def json_value(value: Any) -> Any:
    """Values that JSON has no form for: ids in hexadecimal, all else in words."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _blocks(job: MiningJob, output: OutputSettings, written: Written, progress: Progress) -> Iterator[_OutputBlock]:
    rows = _Rows.open(job)
    start = 0
    for unit in job.units:
        if unit.kind == "corpus":
            continue
        facts = facts_of(job.read, unit)
        form = _FORMS[output.format](facts, output)
        kept_rows = read_arrow(job.read.file(f"{unit.name}.rows.arrow")) if output.format == "same" else None
        for first in range(0, facts["rows"], _ROWS):
            count = min(_ROWS, facts["rows"] - first)
            mined = rows.mined(np.arange(start + first, start + first + count))
            made = [(place, new) for place, row in enumerate(mined) for new in _made(row, form, output, written)]
            kept = None if kept_rows is None else _one_batch(kept_rows.slice(first, count))
            yield _OutputBlock([new for _, new in made], [place for place, _ in made], kept, output.format == "qrels")
            progress.advance(count)
        start += facts["rows"]


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0]


def _made(
    row: MinedRow, form: "Callable[[MinedRow], list[dict[str, Any]] | None]", output: OutputSettings, written: Written
) -> list[dict[str, Any]]:
    """The output rows of a pair row; counts what it has, and why it gives none."""
    if not row.negatives:
        written.counts["rows_without_negatives"] += 1
        if not output.keep_without_negatives:
            return []
    new = form(row)
    if new is None:
        written.counts["rows_with_too_few_for_the_columns"] += 1
        return []
    if row.first_of_query:
        written.counts["relabelled"] += row.relabelled
        written.origins.update(passage.origin for passage in row.mined)
    written.rows += len(new)
    return new


@dataclass(frozen=True)
class _Rows:
    """All that output rows are made of."""

    index: Index
    passages: Texts
    ids: Texts
    queries: Texts
    query_ids: StoredRows
    mined_queries: StoredRows

    @classmethod
    def open(cls, job: MiningJob) -> "_Rows":
        index = load_index(job.index)
        files = [job.read.file(f"{unit.name}.queries.arrow") for unit in job.units if unit.kind != "corpus"]
        return cls(
            index,
            passage_texts(job.read, job.units, index),
            passage_ids(job.read, job.units, index),
            query_texts(job.read, job.units, index),
            StoredRows(files, ["id"]),
            StoredRows(block_paths(job, index.queries)),
        )

    def mined(self, pair_rows: npt.NDArray[np.int64]) -> list[MinedRow]:
        """The pair rows of these numbers."""
        numbers = np.asarray(self.index.query_of[pair_rows])
        found = self.mined_queries.take(numbers)
        positives, curated = self.index.positives.take(pair_rows), self.index.negatives.take(pair_rows)
        scored = "positive_judge_scores" if found["positive_judge_scores"].null_count == 0 else "positive_scores"
        judged = scored == "positive_judge_scores"
        lists = {
            "positives": _passage_lists(self, positives, _looked_up(positives, found, "positive_rows", scored)),
            "curated": _passage_lists(
                self,
                curated,
                # A judge does not see what came with the row: no score of its scale.
                None if judged else _looked_up(curated, found, "curated_rows", "curated_scores"),
            ),
            "relabelled": self._found(found, RELABELLED, judged),
            "mined": self._found(found, "negative", judged),
        }
        queries = self.queries.take(numbers).to_pylist()
        ids = self.query_ids.take(pair_rows).column(0).to_pylist()
        first = (np.asarray(self.index.query_first[numbers]) == pair_rows).tolist()
        return [
            MinedRow(
                queries[row],
                ids[row],
                [*lists["positives"][row], *lists["relabelled"][row]],
                len(lists["relabelled"][row]),
                lists["curated"][row],
                lists["mined"][row],
                first[row],
            )
            for row in range(len(pair_rows))
        ]

    def _found(self, found: pa.RecordBatch, side: str, judged: bool) -> list[list[Passage]]:
        """The mined negatives or the relabelled positives of each row."""
        rows = Ragged.of_arrow(found[f"{side}_rows"])
        scores = found[f"{side}_judge_scores" if judged else f"{side}_scores"].flatten()
        if side == RELABELLED:
            return _passage_lists(self, rows, scores, None, pa.array([RELABELLED] * len(scores), pa.string()))
        return _passage_lists(
            self, rows, scores, found["negative_ranks"].flatten(), found["negative_origins"].flatten()
        )


def _passage_lists(
    rows: _Rows, lists: Ragged, scores: pa.Array | None, ranks: pa.Array | None = None, origins: pa.Array | None = None
) -> list[list[Passage]]:
    texts = rows.passages.take(lists.values).to_pylist()
    ids = rows.ids.take(lists.values).to_pylist()
    nothing = [None] * len(texts)
    columns = (
        texts,
        ids,
        nothing if scores is None else _rounded(scores),
        nothing if ranks is None else ranks.to_pylist(),
        [CURATED] * len(texts) if origins is None else origins.to_pylist(),
    )
    passages = [Passage(*values) for values in zip(*columns, strict=True)]
    bounds = lists.offsets.tolist()
    return [passages[start:end] for start, end in itertools.pairwise(bounds)]


def _rounded(scores: pa.Array) -> list[float | None]:
    """float32 as the shortest decimal that is it; None where there is none (NaN: not judged)."""
    values = scores.to_numpy(zero_copy_only=False).astype(np.float32)
    return [None if np.isnan(value) else float(str(value)) for value in values]


def _looked_up(wanted: Ragged, found: pa.RecordBatch, rows: str, scores: str) -> pa.Array:
    """The scores of the wanted passages: each is among the `rows` of its own query, which ascend."""
    known = Ragged.of_arrow(found[rows])
    stride = int(max(known.values.max(initial=0), wanted.values.max(initial=0))) + 1
    places = np.searchsorted(known.owners * stride + known.values, wanted.owners * stride + wanted.values)
    return found[scores].flatten().take(pa.array(places))


# The forms: of the facts of a unit (its form and the names of its fields) and the settings, a function of a row.
_Form = Callable[[MinedRow], list[dict[str, Any]] | None]


def _texts(passages: Sequence[Passage]) -> list[str]:
    return [passage.text for passage in passages]


def _lists(row: MinedRow, *, scores: bool) -> dict[str, Any]:
    """pos and neg as FlagEmbedding has them; scores only where all are known, for it takes no null."""
    lists: dict[str, Any] = {"pos": _texts(row.positives), "neg": _texts(row.negatives)}
    if scores and all(passage.score is not None for passage in (*row.positives, *row.negatives)):
        lists["pos_scores"] = [passage.score for passage in row.positives]
        lists["neg_scores"] = [passage.score for passage in row.negatives]
    return lists


def _flagembedding(facts: dict[str, Any], output: OutputSettings) -> _Form:
    return lambda row: [{"query": row.query, **_lists(row, scores=output.scores is not False)}]


def _same(facts: dict[str, Any], output: OutputSettings) -> _Form:
    match facts.get("form"):
        case "flagembedding" | "beir":
            return lambda row: [_same_lists(row, facts, output)]
        case "pairs":
            return lambda row: [_same_pair(row, facts, output)]
    return lambda row: _same_columns(row, facts, output)


def _same_lists(row: MinedRow, facts: dict[str, Any], output: OutputSettings) -> dict[str, Any]:
    new = _lists(row, scores=output.scores is not False)
    for ours, theirs in (("pos", facts.get("fields", {}).get("positive")), ("neg", _only_negative(facts))):
        if theirs and theirs != ours:
            new[theirs] = new.pop(ours)
    if any(passage.id is not None for passage in row.negatives):
        new["neg_ids"] = [passage.id for passage in row.negatives]
    new["neg_ranks"] = [passage.rank for passage in row.negatives]
    new["neg_origins"] = [passage.origin for passage in row.negatives]
    if row.relabelled:
        new["relabelled"] = row.relabelled
    return new


def _only_negative(facts: dict[str, Any]) -> str | None:
    names = facts.get("fields", {}).get("negatives", [])
    return names[0] if len(names) == 1 else None


def _same_pair(row: MinedRow, facts: dict[str, Any], output: OutputSettings) -> dict[str, Any]:
    new: dict[str, Any] = {_only_negative(facts) or "negatives": _texts(row.negatives)}
    if output.scores is not False:
        new["positive_score"] = row.positives[0].score
        new["negative_scores"] = [passage.score for passage in row.negatives]
        new["negative_ranks"] = [passage.rank for passage in row.negatives]
        new["negative_origins"] = [passage.origin for passage in row.negatives]
    if row.relabelled:
        new["relabelled"] = _texts(row.positives[-row.relabelled :])  # a row of ours has one positive
    return new


def _same_columns(row: MinedRow, facts: dict[str, Any], output: OutputSettings) -> list[dict[str, Any]] | None:
    """The mined negatives in columns behind those that came; a relabelled positive is a row of its own."""
    if len(row.mined) < output.negatives and not output.keep_without_negatives:
        return None
    names = facts["fields"]["negatives"]
    mined = [*_texts(row.mined), *[None] * output.negatives][: output.negatives]
    new: dict[str, Any] = {}
    number = len(names)
    for text in mined:
        number += 1
        while f"negative_{number}" in names:
            number += 1
        new[f"negative_{number}"] = text
    rows = []
    for passage in _own_positives(row):
        scores = {"scores": _scores_of([passage, *row.negatives])} if output.scores else {}
        changed = {facts["fields"]["positive"]: passage.text} if passage.origin == RELABELLED else {}
        rows.append({**changed, **new, **scores})
    return rows


def _own_positives(row: MinedRow) -> list[Passage]:
    """The positives that give a row each: relabelled ones once a query, whatever rows it has."""
    own = len(row.positives) - (0 if row.first_of_query else row.relabelled)
    return row.positives[:own]


def _scores_of(passages: Sequence[Passage]) -> list[float | None]:
    return [passage.score for passage in passages]


def _triplets(facts: dict[str, Any], output: OutputSettings) -> _Form:
    def rows(row: MinedRow) -> list[dict[str, Any]]:
        return [
            {"anchor": row.query, "positive": positive.text, "negative": negative.text}
            | ({"scores": _scores_of([positive, negative])} if output.scores else {})
            for positive in _own_positives(row)
            for negative in row.negatives
        ]

    return rows


def _columns(facts: dict[str, Any], output: OutputSettings) -> _Form:
    def rows(row: MinedRow) -> list[dict[str, Any]] | None:
        chosen = row.negatives[: output.negatives]
        if len(chosen) < output.negatives:
            return None
        named = {f"negative_{number}": passage.text for number, passage in enumerate(chosen, 1)}
        return [
            {"anchor": row.query, "positive": positive.text, **named}
            | ({"scores": _scores_of([positive, *chosen])} if output.scores else {})
            for positive in _own_positives(row)
        ]

    return rows


def _labeled_list(facts: dict[str, Any], output: OutputSettings) -> _Form:
    def rows(row: MinedRow) -> list[dict[str, Any]]:
        documents = [*row.positives, *row.negatives]
        labels = [1] * len(row.positives) + [0] * len(row.negatives)
        new = {"anchor": row.query, "documents": _texts(documents), "labels": labels}
        return [new | ({"scores": _scores_of(documents)} if output.scores else {})]

    return rows


_QRELS_HEADER: Final = b"query-id\tcorpus-id\trank\tscore\torigin\n"


def _qrels(facts: dict[str, Any], output: OutputSettings) -> _Form:
    def rows(row: MinedRow) -> list[dict[str, Any]]:
        return [
            {"query": row.query_id, "passage": each.id, "rank": each.rank, "score": each.score, "origin": each.origin}
            for each in row.mined
        ]

    return rows


_FORMS: Final[dict[str, Callable[[dict[str, Any], OutputSettings], _Form]]] = {
    "same": _same,
    "flagembedding": _flagembedding,
    "triplets": _triplets,
    "columns": _columns,
    "labeled-list": _labeled_list,
    "qrels": _qrels,
}


def _write_lines(path: str, lines: Iterator[bytes], header: bytes = b"") -> None:
    with storage.atomic_write(path) as stream:
        stream.write(header)
        for line in lines:
            stream.write(line)


def _write_parquet(path: str, again: Callable[[], Iterator[_OutputBlock]], blocks: Iterator[_OutputBlock]) -> None:
    """Two passes: rows that came as JSON have fields of their own, and a Parquet file has one schema from its start."""
    schema: pa.Schema | None = None
    for block in again():
        found = block.table().schema if block.rows else pa.schema([])
        schema = found if schema is None else pa.unify_schemas([schema, found], promote_options="permissive")
    schema = schema or pa.schema([])
    with (
        storage.atomic_write(path) as stream,
        pq.ParquetWriter(stream, schema, compression="zstd", store_schema=False) as writer,
    ):
        for block in blocks:
            if block.rows:
                writer.write_table(_cast(block.table(), schema))


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
