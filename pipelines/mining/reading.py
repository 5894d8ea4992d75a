"""Stage 1: the inputs once through, row by row into Arrow files, so that nothing later reads them again.

Of each input file a unit NNNN, in the order in which they are named, corpus before pairs:

    NNNN.texts.arrow     passages as they occur: those of a corpus file, or the positives and negatives of pairs
    NNNN.keys.npy        uint64 [n, 2], 128-bit hashes of these texts; NNNN.folds.npy uint64 [n], of their folded forms
    NNNN.queries.arrow   of pairs: one row a pair row (QUERIES); with .query_keys.npy and .query_folds.npy
    NNNN.rows.arrow      of pairs: the rows as they came
    NNNN.bad.jsonl       rows that cannot be used
    NNNN.json            written last: counts; a unit without it is read again

A BEIR folder is a unit for each file of its corpus and one for its queries and judgements.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from filters.duplicates import dedup_key, key_halves
from pipelines import storage
from pipelines.mining.bad_rows import BadRows, MiningInputError
from pipelines.mining.forms import BadRow, Fields, PairRow, fields_of, row_of, with_late_negatives
from pipelines.mining.inputs import ID_NAMES, TEXT_NAMES, InputSettings
from pipelines.mining.progress import Progress
from pipelines.mining.row_files import RowBlock, carrier_of, read_rows
from pipelines.mining.work import Stage, write_array
from sources.files.reading import MAX_LINE
from sources.formats.column_blocks import Columns, read_columns
from sources.schema import text_ids

PASSAGES: Final = pa.schema(
    [
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("id", pa.large_string()),
        pa.field("document", pa.uint64()),  # hash of the document's id
        pa.field("number", pa.int64()),  # the row of the file it came from
    ]
)
QUERIES: Final = pa.schema(
    [
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("id", pa.large_string()),
        pa.field("positives", pa.int32(), nullable=False),  # how many of the unit's texts
        pa.field("negatives", pa.int32(), nullable=False),  # and how many after them
        pa.field("document", pa.uint64()),
        pa.field("answers", pa.list_(pa.large_string())),
    ]
)


@dataclass(frozen=True)
class Unit:
    """One input file: its name among the stage's files, what it is, and how it is read."""

    name: str
    kind: Literal["corpus", "pairs", "beir"]
    path: str
    qrels: str | None = None


def units_of(corpus: Sequence[str], pairs: Sequence[str], *, qrels: str | None = None) -> list[Unit]:
    """The units of a run; with `qrels` the pairs are the queries of a BEIR folder."""
    kind: Literal["pairs", "beir"] = "pairs" if qrels is None else "beir"
    named = [("corpus", path) for path in corpus] + [(kind, path) for path in pairs]
    return [
        Unit(f"{number:04d}", each, path, qrels if each == "beir" else None)  # type: ignore[arg-type]
        for number, (each, path) in enumerate(named)
    ]


def read_unit(stage: Stage, unit: Unit, units: Sequence[Unit], settings: InputSettings, progress: Progress) -> None:
    """Write the files of one unit. Raises MiningInputError and SourceError."""
    with ExitStack() as open_files:
        stream = open_files.enter_context((stage.folder / f"{unit.name}.bad.jsonl").open("w"))
        bad = BadRows(unit.path, stream, allowed=settings.max_bad_share > 0)
        passages = PassageFiles(stage, unit, open_files)
        if unit.kind == "corpus":
            rows = sum(passages.add(block) for block in _corpus_blocks(unit, settings, bad, progress))
            facts: dict[str, Any] = {}
        elif unit.kind == "pairs":
            rows, facts = _read_pairs(stage, unit, settings, bad, passages, open_files, progress)
        else:
            from pipelines.mining.beir_folder import read_judged

            rows, facts = read_judged(stage, unit, units, settings, bad, progress)
        passages.finish()
    storage.write_json(
        str(stage.file(f"{unit.name}.json")), {"rows": rows, "texts": passages.texts, "bad": dict(bad.counts), **facts}
    )


def facts_of(stage: Stage, unit: Unit) -> dict[str, Any]:
    """The counts of a unit that was read."""
    facts: dict[str, Any] = json.loads(stage.file(f"{unit.name}.json").read_text())
    return facts


def check_share(stage: Stage, units: Sequence[Unit], settings: InputSettings) -> Counter[str]:
    """The bad rows of all units by reason. Raises MiningInputError where they are too many."""
    bad: Counter[str] = Counter()
    rows = 0
    for unit in units:
        facts = facts_of(stage, unit)
        bad.update(facts["bad"])
        rows += facts["rows"]
    share = bad.total() / max(1, rows + bad.total())
    if share > settings.max_bad_share:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in bad.most_common())
        raise MiningInputError(
            f"{bad.total():,} of {rows + bad.total():,} rows cannot be used ({reasons}), a share of {share:.2g}; --max-bad-share"
            f" allows {settings.max_bad_share:g}. They are in {stage.folder}/*.bad.jsonl: correct them, or allow more."
        )
    return bad


class PassageFiles:
    """Writes the passages of a unit as they come."""

    def __init__(self, stage: Stage, unit: Unit, open_files: ExitStack) -> None:
        self._stage, self._name = stage, unit.name
        stream = open_files.enter_context(storage.atomic_write(str(stage.file(f"{unit.name}.texts.arrow"))))
        self._writer = open_files.enter_context(pa.ipc.new_file(stream, PASSAGES))
        self._keys: list[npt.NDArray[np.uint64]] = [np.zeros((0, 2), np.uint64)]
        self._folds: list[npt.NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
        self.texts = 0

    def add(self, batch: pa.RecordBatch) -> int:
        """Write a PASSAGES batch: its rows."""
        keys, folds = keys_of(batch["text"])
        self._keys.append(keys)
        self._folds.append(folds)
        self._writer.write_batch(batch)
        self.texts += batch.num_rows
        return int(batch.num_rows)

    def finish(self) -> None:
        write_array(self._stage.file(f"{self._name}.keys.npy"), np.concatenate(self._keys))
        write_array(self._stage.file(f"{self._name}.folds.npy"), np.concatenate(self._folds))


def keys_of(texts: pa.Array) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """128-bit hashes uint64 [n, 2] of texts as they are, and 64-bit ones [n] of their folded forms."""
    if len(texts) == 0:
        return np.zeros((0, 2), np.uint64), np.zeros(0, np.uint64)
    return np.stack(key_halves(text_ids(texts)), axis=1), key_halves(dedup_key(texts))[0]


def hashes_of(names: pa.Array) -> pa.Array:
    """64-bit hashes of ids: uint64 [n], null where there is none."""
    digest = xxhash.xxh3_64_intdigest
    stored = names.cast(pa.large_binary()).to_pylist()
    return pa.array([None if name is None else digest(name) for name in stored], pa.uint64())


def _corpus_blocks(unit: Unit, settings: InputSettings, bad: BadRows, progress: Progress) -> Iterator[pa.RecordBatch]:
    """The passages of a corpus file as PASSAGES batches."""
    for block in read_columns(unit.path, corpus_columns(settings), "mine", MAX_LINE):
        bad.take(block.quarantine, block.lost)
        if len(block.numbers) == 0:
            continue
        text = block.columns[settings.text_field or TEXT_NAMES[0]].fill_null("").cast(pa.large_string())
        whole = _with_title(text, block.columns.get(settings.title_field or ""))
        empty = pc.equal(pc.utf8_trim_whitespace(whole), "").to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(empty).tolist():
            bad.add(int(block.numbers[row]), block.unit, "empty_text", "neither text nor title has a character")
        kept = pa.array(np.flatnonzero(~empty))
        rows = len(block.numbers)
        columns = [
            whole,
            _column(block.columns, _id_field(settings), rows),
            hashes_of(_column(block.columns, settings.document_field or "", rows)),
            pa.array(block.numbers),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=PASSAGES).take(kept)
        progress.advance(rows)


def _column(columns: dict[str, pa.Array], name: str, rows: int) -> pa.Array:
    return columns[name].cast(pa.large_string()) if name in columns else pa.nulls(rows, pa.large_string())


def _with_title(text: pa.Array, title: pa.Array | None) -> pa.Array:
    """Title, a space and the text, as BEIR's and our evaluation have it; texts without a title as they are."""
    if title is None:
        return text
    title = title.fill_null("").cast(pa.large_string())
    joined = pc.utf8_trim_whitespace(pc.binary_join_element_wise(title, text, pa.scalar(" ", pa.large_string())))
    return pc.if_else(pc.equal(title, ""), text, joined)


def corpus_columns(settings: InputSettings) -> Columns:
    """Which fields of a corpus file are read. A field that the user names is looked for under that name alone."""
    text = settings.text_field or TEXT_NAMES[0]
    names: dict[str, tuple[str, ...]] = {text: (text,) if settings.text_field else TEXT_NAMES[1:]}
    if settings.id_field is None:
        names[ID_NAMES[0]] = ID_NAMES[1:]
    for optional in (settings.id_field, settings.title_field, settings.document_field):
        if optional:
            names.setdefault(optional, (optional,))
    return Columns(names, required=(text,), tables=((text,), (_id_field(settings), text)), other="json")


def _id_field(settings: InputSettings) -> str:
    return ID_NAMES[0] if settings.id_field is None else settings.id_field


def _read_pairs(
    stage: Stage,
    unit: Unit,
    settings: InputSettings,
    bad: BadRows,
    passages: PassageFiles,
    open_files: ExitStack,
    progress: Progress,
) -> tuple[int, dict[str, Any]]:
    """Write the queries and the rows of a file of pairs: how many, and in which form."""
    queries = QueryFiles(stage, unit, open_files)
    fields: Fields | None = None
    for block in read_rows(unit.path, bad, [name for name in (settings.query_field, settings.positive_field) if name]):
        if fields is None and block.records:
            fields = _fields(unit.path, block, settings)
        if fields is None:
            continue
        if not settings.negative_fields:
            fields = with_late_negatives(fields, block.records)
        rows, kept = _usable(block, fields, bad)
        texts = [text for row in rows for text in (*row.positives, *row.negatives)]
        passages.add(passage_batch(texts))
        queries.add(query_batch(rows), block.kept.take(pa.array(kept, pa.int64())))
        progress.advance(len(block.records))
    queries.finish()
    facts: dict[str, Any] = {"carrier": carrier_of(unit.path)}
    if fields is not None:
        names = {"query": fields.query, "positive": fields.positive, "negatives": list(fields.negatives)}
        facts |= {"form": fields.form, "fields": names}
    return queries.rows, facts


def _fields(path: str, block: RowBlock, settings: InputSettings) -> Fields:
    names = list(dict.fromkeys(name for record in block.records for name in record))
    return fields_of(
        path,
        names,
        settings.form,
        query=settings.query_field,
        positive=settings.positive_field,
        negatives=settings.negative_fields,
        document=settings.document_field,
        answers=settings.answers_field,
    )


def _usable(block: RowBlock, fields: Fields, bad: BadRows) -> tuple[list[PairRow], list[int]]:
    rows, kept = [], []
    for place, record in enumerate(block.records):
        try:
            rows.append(row_of(record, fields))
        except BadRow as fault:
            bad.add(block.numbers[place], block.unit, fault.reason, fault.detail)
            continue
        kept.append(place)
    return rows, kept


def passage_batch(texts: list[str]) -> pa.RecordBatch:
    """Texts of pairs as PASSAGES: they have no ids."""
    nothing = [pa.nulls(len(texts), field.type) for field in list(PASSAGES)[1:]]
    return pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string()), *nothing], schema=PASSAGES)


def query_batch(rows: list[PairRow]) -> pa.RecordBatch:
    columns = [
        pa.array([row.query for row in rows], pa.large_string()),
        pa.nulls(len(rows), pa.large_string()),
        pa.array([len(row.positives) for row in rows], pa.int32()),
        pa.array([len(row.negatives) for row in rows], pa.int32()),
        hashes_of(pa.array([row.document for row in rows], pa.string())),
        pa.array([row.answers for row in rows], pa.list_(pa.large_string())),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=QUERIES)


class QueryFiles:
    """Writes the queries of a unit, and the rows they came in."""

    def __init__(self, stage: Stage, unit: Unit, open_files: ExitStack) -> None:
        self._stage, self._name, self._open = stage, unit.name, open_files
        self._queries = self._writer("queries", QUERIES)
        self._rows: Any = None
        self._keys: list[npt.NDArray[np.uint64]] = [np.zeros((0, 2), np.uint64)]
        self._folds: list[npt.NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
        self.rows = 0

    def _writer(self, name: str, schema: pa.Schema) -> Any:
        stream = self._open.enter_context(storage.atomic_write(str(self._stage.file(f"{self._name}.{name}.arrow"))))
        return self._open.enter_context(pa.ipc.new_file(stream, schema))

    def add(self, queries: pa.RecordBatch, rows: pa.RecordBatch) -> None:
        if self._rows is None:
            self._rows = self._writer("rows", rows.schema)
        self._queries.write_batch(queries)
        self._rows.write_batch(rows)
        keys, folds = keys_of(queries["text"])
        self._keys.append(keys)
        self._folds.append(folds)
        self.rows += queries.num_rows

    def finish(self) -> None:
        if self._rows is None:
            self._writer("rows", pa.schema([("line", pa.large_binary())]))
        write_array(self._stage.file(f"{self._name}.query_keys.npy"), np.concatenate(self._keys))
        write_array(self._stage.file(f"{self._name}.query_folds.npy"), np.concatenate(self._folds))


def is_read(stage: Stage, unit: Unit) -> bool:
    return stage.has(f"{unit.name}.json")


def bad_rows_of(stage: Stage, units: Sequence[Unit]) -> Iterator[bytes]:
    """All rows that could not be used, as JSON lines."""
    for unit in units:
        yield from Path(stage.file(f"{unit.name}.bad.jsonl")).read_bytes().splitlines(keepends=True)
