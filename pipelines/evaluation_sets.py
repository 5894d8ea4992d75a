"""The queries and passages of evaluation sets, streamed: through a source's adapter, or from whole files of texts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import UserError
from pipelines.jobs.extract import inputs_with_states
from pipelines.recipe import EvaluationSet, SourceEntry
from pipelines.refresh.content_states import ContentStore
from sources.catalogue import load_source
from sources.files.reading import MAX_LINE, UTF8_MARK, ByteStream
from sources.formats.column_blocks import Columns, read_columns
from sources.schema import normalise_text
from sources.source import WHOLE, SourceError

Role = Literal["queries", "corpus"]

IDS: Final = ("_id", "id", "docid", "doc_id", "pid", "qid", "query_id", "query-id", "question_id", "number")
TEXT_OF: Final = {
    "queries": ("text", "query", "question", "contents", "content", "title"),
    "corpus": ("text", "contents", "content", "passage", "body"),
}
ENDED_EARLY: Final = ("truncated_file", "corrupt_file", "decompression_bomb", "too_much_memory")
TABLES: Final = (("text",), ("id", "text"), ("id", "title", "text"))


@dataclass(frozen=True)
class EvaluationTexts:
    """Some texts of one role of a set, normalised; rows without a text are left out."""

    role: Role
    ids: pa.Array  # string[rows], "" where the file has none
    texts: pa.Array  # string[rows]
    records: int
    unreadable: int  # of the records


def set_files(entry: EvaluationSet, contents: ContentStore | None = None) -> list[dict[str, Any]]:
    """Every file of a set, and what tells whether it changed: local files by their content where `contents` is given.

    Raises:
        UserError: a path that matches nothing; the message names the set and the path.
    """
    files = []
    try:
        for role, source in _roles(entry):
            for identity, _, state in inputs_with_states(source, contents):
                files.append({"evaluation_set": entry.name, "role": role, "path": identity} | state)
    except SourceError as error:
        raise UserError(f"Evaluation set {entry.name!r}: {error}") from None
    return files


def _roles(entry: EvaluationSet) -> Iterator[tuple[str, SourceEntry]]:
    source = entry.entry()
    if source is not None:
        yield "pairs", source
    for role, paths in (("queries", entry.queries), ("corpus", entry.corpus)):
        if paths:
            yield role, SourceEntry(source="jsonl", paths=paths)  # for its paths alone


def read_evaluation_set(entry: EvaluationSet) -> Iterator[EvaluationTexts]:
    """The texts of a set, a few thousand at once.

    Raises:
        UserError: a file that cannot be read, or not to its end: its other texts would not be looked for. The message
            names the set and the file.
    """
    try:
        for role, source in _roles(entry):
            for identity, file, _ in inputs_with_states(source):
                if role == "pairs":
                    yield from _of_pairs(source, file, identity)
                else:
                    yield from _of_file(file.path, "queries" if role == "queries" else "corpus", entry)
    except SourceError as error:
        raise UserError(f"Evaluation set {entry.name!r}: {error}") from None


def _of_pairs(entry: SourceEntry, file: Any, identity: str) -> Iterator[EvaluationTexts]:
    """Queries and positives of what an adapter reads. A query's id is that of the document that answers it."""
    source, settings = load_source(entry.source), entry.adapter_settings()
    for split in source.input_splits(file, settings, WHOLE):
        for read in source.read(replace(split, name=identity), settings):
            _refuse_broken_file(identity, read.quarantine)
            bad, ids = read.quarantine.num_rows + read.lost, read.pairs["document_id"]
            yield EvaluationTexts("queries", ids, read.pairs["query"], read.records, bad)
            yield EvaluationTexts("corpus", ids, read.pairs["positive"], 0, 0)


def _of_file(path: str, role: Role, entry: EvaluationSet) -> Iterator[EvaluationTexts]:
    """The texts of one file; of a passage with a title both the text alone and with its title, as a corpus is used."""
    columns = _columns(path, role, entry)
    field = columns.required[0]
    for block in read_columns(path, columns, entry.name, MAX_LINE):
        _refuse_broken_file(path, block.quarantine)
        bad = block.quarantine.num_rows + block.lost
        rows = len(block.numbers)
        if not rows:
            yield EvaluationTexts(role, pa.array([], pa.string()), pa.array([], pa.string()), bad, bad)
            continue
        ids = block.columns.get("id", pa.nulls(rows, pa.string())).fill_null("")
        texts = normalise_text(block.columns[field]).fill_null("")
        yield _without_empty(role, ids, texts, rows + bad, bad)
        if role == "corpus" and field != "title" and "title" in block.columns:
            titles = normalise_text(block.columns["title"]).fill_null("")
            titled = pc.not_equal(titles, "")
            whole = pc.binary_join_element_wise(titles.filter(titled), texts.filter(titled), " ")
            yield _without_empty(role, ids.filter(titled), whole, 0, 0)


def _refuse_broken_file(name: str, quarantine: pa.RecordBatch) -> None:
    for row in quarantine.to_pylist():
        if row["reason"] in ENDED_EARLY:
            raise SourceError(
                f"{name} is broken ({row['reason']} at {row['unit']} {row['position']}: {row['excerpt'].split(' | ')[0]})."
                " Fetch it again; what cannot be read would not be looked for"
            )


def _without_empty(role: Role, ids: pa.Array, texts: pa.Array, records: int, bad: int) -> EvaluationTexts:
    some = pc.not_equal(texts, "")
    return EvaluationTexts(role, ids.filter(some), texts.filter(some), records, bad)


def _columns(path: str, role: Role, entry: EvaluationSet) -> Columns:
    named = entry.query_field if role == "queries" else entry.text_field
    field, other_names = (named, ()) if named else (TEXT_OF[role][0], TEXT_OF[role][1:])
    names: dict[str, tuple[str, ...]] = {field: (field, *other_names)}
    if field not in ("id", entry.id_field):
        names["id"] = (entry.id_field,) if entry.id_field else IDS
    if role == "corpus" and field != "title":
        names["title"] = ("title",)
    tables = (entry.columns,) if entry.columns else TABLES
    layouts = tuple(tuple(_column_in_table(column, field, names) for column in layout) for layout in tables)
    return Columns(names, (field,), layouts, other="json" if _begins_with_object(path) else "tsv")


def _column_in_table(column: str, field: str, names: dict[str, tuple[str, ...]]) -> str:
    """Which of the columns wanted a column of a table without header is; "" for one that is not read."""
    if column == field or (column in names[field] and "." not in column) or (column == "text" and field not in names):
        return field
    return next((name for name, of in names.items() if column in (name, *of)), "")


def _begins_with_object(path: str) -> bool:
    """Whether a file whose name does not say what it is holds JSON."""
    head = next(iter(ByteStream(path)), b"").removeprefix(UTF8_MARK).lstrip()
    return head.startswith((b"{", b"["))
