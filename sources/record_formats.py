"""What a file of records may look like, and the blocks of records that its reader gives."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final, Literal, Protocol

from sources.files.reading import EXCERPT, Fault, LongRecord, Reader, base_name
from sources.source import Split

ROWS: Final = 4096  # most records of one step
Record = dict[str, Any]
Bad = dict[int, tuple[str, str]]  # index of the record in its batch: (reason, detail)


class BadText(ValueError):
    """A document of a text file that is none: (reason, detail)."""


@dataclass(frozen=True)
class TextFormat:
    """How the documents of a plain text file are divided; sources.formats.text_records reads them.

    `divider` matches from the newline that ends a document to where the next one starts. `record` makes a record of a
    document's bytes, None where they hold nothing, and raises BadText. A document that ends with `closing` is whole even
    where the file is cut off after it.
    """

    divider: re.Pattern[bytes]
    record: Callable[[bytes], Record | None]
    closing: bytes | None = None
    or_json: bool = False  # whether a file of such a name may hold JSON: told by how it begins


@dataclass(frozen=True)
class Format:
    """How a corpus's files hold their records, beyond what their names say.

    The ending of a name decides: .parquet, .csv, .tsv, .json, .jsonl (compressed or not); for all others `other` does.
    `text` says how documents are divided where `other` is "text".

    `columns` names the columns of tables without a header: several tuples where the corpus comes with different numbers
    of columns. A first row that holds the name of a required field is a header all the same.
    `short_rows` says that the last cells of a table's row may lack: such a record has no fields of those names.
    `encoding` is that of tables whose first rows are no UTF-8; no byte of its longer characters may be a mark of a table.
    `within` is the member of a JSON object whose array holds the records (`data` of SQuAD). `members` says that each
    member of the outermost object is a record: it comes as {"key": its name, "value": its value}.
    Where the outermost value is an array, its elements are the records whatever is said here.
    `lists` is for records that are JSON arrays of texts: each comes as {lists: array}; a file that begins with one is
    lines of them.
    """

    other: Literal["json", "tsv", "csv", "text"] = "json"
    text: TextFormat | None = None
    columns: tuple[tuple[str, ...], ...] = ()
    quoting: bool | None = None  # whether cells of a table may be in double quotes; None: only in .csv
    short_rows: bool = False
    encoding: str | None = None
    within: str | None = None
    members: bool = False
    lists: str | None = None

    def kind_of(self, path: str) -> Literal["parquet", "csv", "tsv", "json", "text"]:
        ending = PurePosixPath(base_name(path).lower()).suffix
        match ending:
            case ".parquet" | ".pq":
                return "parquet"
            case ".csv":
                return "csv"
            case ".tsv":
                return "tsv"
            case ".json" | ".jsonl" | ".ndjson":
                return "json"
        return self.other

    def quotes(self, path: str) -> bool:
        """Whether the cells of a table may be quoted, and so hold newlines."""
        kind = self.kind_of(path)
        return kind in ("csv", "tsv") and (kind == "csv" if self.quoting is None else self.quoting)


@dataclass
class RecordBatch:
    """Up to ROWS records in the order of the file; None stands for those that could not be read: `bad` tells why."""

    records: list[Record | None]
    bad: Bad
    offsets: Sequence[int]  # where each starts: byte of the decompressed file, or row of a Parquet file
    numbers: Sequence[int] | None  # of each record, from 1; None where they are not known
    unit: str  # what `numbers` count
    lines: Sequence[bytes] | None = None  # the records as the file has them
    heads: Mapping[int, bytes] = field(default_factory=dict)  # without lines: how records that are None begin
    lost: int = 0  # records lost beyond these: one may stand for a whole damaged part of a file

    def place(self, index: int) -> tuple[int, str]:
        """Position and unit of a record, as quarantine shows them."""
        return (int(self.offsets[index]), "byte") if self.numbers is None else (int(self.numbers[index]), self.unit)

    def excerpt(self, index: int) -> bytes:
        """How the record begins."""
        if self.lines is not None:
            return bytes(self.lines[index][:EXCERPT])
        if self.records[index] is None:
            return self.heads.get(index, b"")
        return str(self.records[index])[:EXCERPT].encode("utf-8", "backslashreplace")

    def without(self, blank: Sequence[int]) -> "RecordBatch":
        """The batch without some records (blank lines, a header): they count for nothing."""
        if not blank:
            return self
        dropped = set(blank)
        kept = [index for index in range(len(self.records)) if index not in dropped]
        new_index = {old: new for new, old in enumerate(kept)}
        return RecordBatch(
            [self.records[index] for index in kept],
            {new_index[index]: why for index, why in self.bad.items() if index in new_index},
            [self.offsets[index] for index in kept],
            None if self.numbers is None else [self.numbers[index] for index in kept],
            self.unit,
            None if self.lines is None else [self.lines[index] for index in kept],
            {new_index[index]: head for index, head in self.heads.items() if index in new_index},
            self.lost,
        )


class Records(Protocol):
    """The records of a split. Once they have run out, `fault` and `cut_off` say what ended them early."""

    @property
    def unit(self) -> str: ...

    @property
    def position(self) -> int: ...

    @property
    def fault(self) -> Fault | None: ...

    @property
    def cut_off(self) -> bytes: ...

    def __iter__(self) -> Iterator[RecordBatch]: ...


class BlockRecords:
    """What records read from a block reader have in common with each other: place and faults are the reader's."""

    def __init__(self, reader: Reader, unit: str) -> None:
        self.reader, self.unit = reader, unit

    @property
    def position(self) -> int:
        """The stored byte reached."""
        return self.reader.position

    @property
    def fault(self) -> Fault | None:
        """Why the records end before they should."""
        return self.reader.fault

    @property
    def cut_off(self) -> bytes:
        """The unfinished record before the fault."""
        return self.reader.cut_off

    def too_long(self, record: LongRecord) -> RecordBatch:
        """The batch of one record that is longer than the limit."""
        numbers = None if record.number is None else [record.number]
        return RecordBatch([None], {0: ("line_too_long", "")}, [record.offset], numbers, self.unit, [record.head])


def open_records(
    split: Split, format: Format, longest: int, known_names: frozenset[str], named: frozenset[str] | None = None
) -> Records:
    """The records of a split. Raises SourceError.

    `known_names` are fields that tell a header from a row; `named` are columns of Parquet that are read whatever they
    hold, default: `known_names`.
    """
    from sources.formats.hub_rows import HubRecords, is_hub_path

    if is_hub_path(split.path):
        return HubRecords(split.path)
    kind = format.kind_of(split.path)
    if kind == "text":
        from sources.formats.text_records import open_text

        return open_text(split, format, longest)
    if kind == "json":
        from sources.formats.json_records import JsonRecords

        return JsonRecords(split, format, longest)
    from sources.formats.table_records import ParquetRecords, TableRecords

    if kind == "parquet":
        return ParquetRecords(split, longest, known_names if named is None else named)
    return TableRecords(split, format, longest, known_names)


def record_splits(path: str, format: Format, target_bytes: int) -> list[Split]:
    """Byte ranges of JSON lines and of tables without quotes, row groups of Parquet; one split for all else."""
    from sources.formats.hub_rows import is_hub_path
    from sources.formats.json_records import json_splits
    from sources.formats.table_records import table_splits

    if is_hub_path(path):
        return [Split(path)]
    if format.kind_of(path) == "text":
        from sources.formats.text_records import text_splits

        return text_splits(path, format, target_bytes)
    split = json_splits if format.kind_of(path) == "json" else table_splits
    return split(path, format, target_bytes)
