"""The index of all evaluation sets, in files that the workers map into memory: JOB/index/*.arrow.

    queries.arrow           every query of every set once: set, id, text, and the row of its text among all distinct ones
    query-NAME.arrow        the tables of filters.leakage.QueryIndex over the distinct texts
    passages-NUMBER-*.arrow the keys of a set's passages: 8 bytes each, no text

While it is built, the queries of all sets are held in memory, and the keys of one set's passages: 30 million take 1 GB.
JOB/index/_INDEX.json is written last and says of which files and settings the index was made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.leakage import INDEX_VERSION, KeyTable, LeakageSettings, QueryIndex, build_query_index, text_keys
from filters.minhash import SKETCH_VERSION
from pipelines import storage
from pipelines.errors import JobFailed, UserError
from pipelines.evaluation_sets import EvaluationTexts, read_evaluation_set
from pipelines.manifest import fingerprint
from pipelines.progress import TaskProgress
from pipelines.recipe import DecontaminateSettings, EvaluationSet

INDEX: Final = "index"
RECORD: Final = "_INDEX.json"
FEW_RECORDS: Final = 10  # so many unreadable records are always let pass
ROWS_AT_ONCE: Final = 1 << 20

QUERIES: Final = pa.schema(
    [
        pa.field("text_row", pa.int64(), nullable=False),  # of the QueryIndex; rows are sorted by it
        pa.field("set", pa.int32(), nullable=False),
        pa.field("id", pa.large_string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
    ]
)


def index_fingerprint(settings: DecontaminateSettings, files: list[dict[str, Any]]) -> str:
    """What an index is made of: the files, how they are read, and the rules."""
    rules = {name: getattr(settings, name) for name in LeakageSettings.model_fields}
    limit = settings.max_unreadable_share  # it is looked at while the index is built
    return fingerprint(version=index_version(), rules=rules, sets=set_settings(settings), files=files, limit=limit)


def index_version() -> str:
    """Changes where an index of the same sets does."""
    return f"{INDEX_VERSION}.{SKETCH_VERSION}"


def set_settings(settings: DecontaminateSettings) -> list[dict[str, Any]]:
    """The sets without their paths: the files themselves say what they are."""
    places = {"paths", "queries", "corpus"}
    return [each.model_dump(mode="json", exclude=places) for each in settings.evaluation_sets]


def build_index(folder: str, settings: DecontaminateSettings, key: str) -> None:
    """Read all sets and write the index into the job's folder; nothing is done where it is there already.

    Raises:
        UserError: a file cannot be read, or a set holds neither a query nor a passage.
        JobFailed: more than max_unreadable_share of a set's records cannot be read.
    """
    record = storage.join(folder, INDEX, RECORD)
    made = storage.read_record(record)
    if made is not None and made["fingerprint"] == key and _is_whole(folder, made):
        return
    storage.remove(storage.join(folder, INDEX))
    progress, rows = TaskProgress(folder, INDEX), 0
    counts, pieces = {}, []
    for number, entry in enumerate(settings.evaluation_sets):
        found = _SetTexts(number)
        for texts in read_evaluation_set(entry):
            found.add(texts)
            rows += texts.records
            progress.beat(rows)
        counts[entry.name] = _checked(entry, found, settings.max_unreadable_share)
        pieces.append(found.queries())
        if found.passage_keys:
            _write_tables(folder, f"passages-{number:03d}", KeyTable.of(found.taken_passages()).tables())
    index = _write_queries(folder, pa.concat_tables(pieces), settings)
    sizes = storage.tree_sizes(storage.join(folder, INDEX))
    content = {"fingerprint": key, "sets": counts, "ngrams_left_out": index.ngrams_left_out, "bytes": sizes}
    storage.write_json(record, content)


def _is_whole(folder: str, made: Mapping[str, Any]) -> bool:
    """Whether the files of an index are as long as they were written."""
    sizes = storage.tree_sizes(storage.join(folder, INDEX))
    return "bytes" in made and all(sizes.get(name) == size for name, size in made["bytes"].items())


class _SetTexts:
    """The distinct queries of one set, and the keys of its passages."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._queries: list[pa.Table] = []
        self._query_keys: list[NDArray[np.uint64]] = []
        self.passage_keys: list[NDArray[np.uint64]] = []
        self.records = self.unreadable = self.passages = 0

    def add(self, found: EvaluationTexts) -> None:
        self.records += found.records
        self.unreadable += found.unreadable
        if not len(found.texts):
            return
        keys = text_keys(found.texts)
        if found.role == "corpus":
            self.passage_keys.append(keys)
            return
        self._query_keys.append(keys)
        self._queries.append(pa.table({"id": found.ids, "text": found.texts}))

    def queries(self) -> pa.Table:
        """The first of each text: id, text, set, key."""
        if not self._queries:
            empty = pa.array([], pa.large_string())
            return pa.table(
                {"id": empty, "text": empty, "set": pa.array([], pa.int32()), "key": pa.array([], pa.uint64())}
            )
        keys = np.concatenate(self._query_keys)
        first = np.sort(np.unique(keys, return_index=True)[1])
        large = pa.schema([("id", pa.large_string()), ("text", pa.large_string())])
        table = pa.concat_tables(self._queries).cast(large).take(pa.array(first))
        table = table.append_column("set", pa.array(np.full(len(first), self._number, np.int32)))
        return table.append_column("key", pa.array(keys[first]))

    def taken_passages(self) -> NDArray[np.uint64]:
        """The keys of all passages; they are forgotten here."""
        keys, at = np.empty(sum(map(len, self.passage_keys)), np.uint64), 0
        while self.passage_keys:
            part = self.passage_keys.pop()
            keys[at : at + len(part)] = part
            at += len(part)
        return keys


def _checked(entry: EvaluationSet, found: _SetTexts, limit: float) -> dict[str, int]:
    """How many texts a set has. Raises UserError where it has none, JobFailed where too many records are unreadable."""
    queries, passages = found.queries().num_rows, sum(map(len, found.passage_keys))
    if found.unreadable > FEW_RECORDS and found.unreadable > limit * found.records:
        raise JobFailed(
            f"{found.unreadable} of {found.records} records of evaluation set {entry.name!r} could not be read, more than "
            f"decontaminate.max_unreadable_share = {limit:g} allows: their leaks would not be seen. Mend the files or the "
            "set's fields, or raise the share if losing them is right."
        )
    if not queries and not passages:
        raise UserError(
            f"Evaluation set {entry.name!r} holds no query and no passage: {', '.join((*entry.paths, *entry.queries, *entry.corpus))} "
            "gave none. Name its files and fields; `pairmill preview SOURCE PATH` shows what a source makes of them."
        )
    return {"queries": queries, "passages": passages, "unreadable": found.unreadable}


def _write_queries(folder: str, queries: pa.Table, settings: DecontaminateSettings) -> QueryIndex:
    """Queries that several sets share are looked for once."""
    keys = queries["key"].to_numpy()
    _, first, of_key = np.unique(keys, return_index=True, return_inverse=True)
    text_row = np.argsort(np.argsort(first, kind="stable"), kind="stable")[of_key]  # numbered as they come
    order = np.lexsort((queries["set"].to_numpy(), text_row))
    table = pa.table([text_row, queries["set"], queries["id"], queries["text"]], schema=QUERIES).take(pa.array(order))
    _write_table(folder, "queries", table)
    texts = queries["text"].take(pa.array(np.sort(first))).combine_chunks()
    index = build_query_index(texts, settings)
    _write_tables(folder, "query", index.tables())
    return index


@dataclass(frozen=True)
class LeakIndex:
    """The index of a job's folder, mapped into memory where the folder is local."""

    folder: str
    sets: tuple[str, ...]

    @cached_property
    def queries(self) -> QueryIndex:
        return QueryIndex.of_tables(self._tables("query"))

    @cached_property
    def members(self) -> pa.Table:
        """QUERIES: every query of every set."""
        return _read_table(storage.join(self.folder, INDEX, "queries.arrow"))

    @cached_property
    def first_member(self) -> NDArray[np.int64]:
        """Where the members of each distinct text start: int64 [texts + 1]."""
        rows = self.members["text_row"].to_numpy()
        return np.searchsorted(rows, np.arange(self.queries.queries + 1))

    @cached_property
    def passages(self) -> dict[int, KeyTable]:
        """The passages of each set that has some, by the set's number."""
        tables = {number: self._tables(f"passages-{number:03d}") for number in range(len(self.sets))}
        return {number: KeyTable.of_tables(of) for number, of in tables.items() if of}

    def _tables(self, name: str) -> dict[str, pa.Table]:
        folder = storage.join(self.folder, INDEX)
        files = [file for file in storage.list_files(folder, ".arrow") if file.startswith(f"{name}-")]
        ends = [(file.removeprefix(f"{name}-").removesuffix(".arrow"), file) for file in files]
        return {end: _read_table(storage.join(folder, file)) for end, file in ends}


def index_record(folder: str) -> dict[str, Any]:
    """What is said of the index beside it: sets (queries, passages and unreadable records of each), ngrams_left_out."""
    record: dict[str, Any] = storage.read_json(storage.join(folder, INDEX, RECORD))
    return record


def _write_tables(folder: str, name: str, tables: dict[str, pa.Table]) -> None:
    for end, table in tables.items():
        _write_table(folder, f"{name}-{end}", table)


def _write_table(folder: str, name: str, table: pa.Table) -> None:
    url = storage.join(folder, INDEX, f"{name}.arrow")
    with storage.atomic_write(url) as stream, pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def _read_table(url: str) -> pa.Table:
    if storage.is_local(url):
        return pa.ipc.open_file(pa.memory_map(str(storage.split_url(url)[1]))).read_all()
    with storage.open_for_reading(url) as stream:
        return pa.ipc.open_file(pa.py_buffer(stream.read())).read_all()
