"""What a file of records may look like, and the blocks of records that its reader gives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, Literal, Protocol

from sources.reading import EXCERPT, Fault, LongRecord, Reader, base_name
from sources.source import Split

ROWS: Final = 4096  # most records of one step
Record = dict[str, Any]
Bad = dict[int, tuple[str, str]]  # index of the record in its batch: (reason, detail)


@dataclass(frozen=True)
class Format:
    """How a corpus's files hold their records, beyond what their names say.

    The ending of a name decides: .parquet, .csv, .tsv, .json, .jsonl (compressed or not); for all others `other` does.

    `columns` names the columns of tables without a header: several tuples where the corpus comes with different numbers
    of columns. A first row that holds the name of a required field is a header all the same.
    `within` is the member of a JSON object whose array holds the records (`data` of SQuAD). `members` says that each
    member of the outermost object is a record: it comes as {"key": its name, "value": its value}.
    Where the outermost value is an array, its elements are the records whatever is said here.
    """

    other: Literal["json", "tsv", "csv"] = "json"
    columns: tuple[tuple[str, ...], ...] = ()
    quoting: bool | None = None  # whether cells of a table may be in double quotes; None: only in .csv
    within: str | None = None
    members: bool = False

    def kind_of(self, path: str) -> Literal["parquet", "csv", "tsv", "json"]:
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
    lost: int = 0  # records lost beyond these: one may stand for a whole damaged part of a file

    def place(self, index: int) -> tuple[int, str]:
        """Position and unit of a record, as quarantine shows them."""
        return (int(self.offsets[index]), "byte") if self.numbers is None else (int(self.numbers[index]), self.unit)

    def excerpt(self, index: int) -> bytes:
        """How the record begins."""
        if self.lines is not None:
            return bytes(self.lines[index][:EXCERPT])
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


def open_records(split: Split, format: Format, longest: int, known_names: frozenset[str]) -> Records:
    """The records of a split; `known_names` are fields that tell a header from a row. Raises SourceError."""
    kind = format.kind_of(split.path)
    if kind == "json":
        from sources.json_records import JsonRecords

        return JsonRecords(split, format, longest)
    from sources.table_records import ParquetRecords, TableRecords

    return ParquetRecords(split, longest) if kind == "parquet" else TableRecords(split, format, longest, known_names)


def record_splits(path: str, format: Format, target_bytes: int) -> list[Split]:
    """Byte ranges of JSON lines and of tables without quotes, row groups of Parquet; one split for all else."""
    from sources.json_records import json_splits
    from sources.table_records import table_splits

    split = json_splits if format.kind_of(path) == "json" else table_splits
    return split(path, format, target_bytes)
