"""Rows of tab-separated values without quoting, where a quote is a character: columns as Arrow arrays, block by block.

For corpora of one known shape and millions of rows: NLLB, CCMatrix, WikiAtomicEdits. Tables whose columns the user names
are sources.table's.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from sources.reading import LineReader, LongRecord, RecordBlock
from sources.schema import QuarantineRows
from sources.source import SourceError, Split

FEW: Final = 3  # a file whose first rows, so many, are all of another width is no file of the corpus
_LONE_RETURN: Final = re.compile(rb"\r(?!\n)")  # ends a row to Arrow
_Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RowBlock:
    """Some rows: string arrays of one length by column, where each starts, and the bad rows among them."""

    columns: dict[str, pa.Array]
    offsets: _Rows  # byte of the decompressed file
    quarantine: pa.RecordBatch
    records: int  # bad rows included
    position: int  # stored byte reached


def read_rows(split: Split, names: Sequence[str], source: str, longest: int) -> Iterator[RowBlock]:
    """The rows of a split. `names` are those of all columns of the file, "" for one that is not wanted.

    Rows of another width, with NUL or no UTF-8 are quarantined, blank ones are none. Raises SourceError where the file
    cannot be opened, or begins with rows of another width only.
    """
    reader = LineReader(split, longest)
    quarantine = QuarantineRows(source, split.path, "line")
    checked = split.start > 0
    for block in reader:
        if isinstance(block, LongRecord):
            place, unit = block.place("line")
            quarantine.add(place, "line_too_long", block.head, unit)
            yield RowBlock({}, np.zeros(0, np.int64), quarantine.take(), 1, reader.position)
            continue
        columns, kept, bad = _parse(block, names)
        if not checked and not len(kept) and len(bad) >= FEW:
            raise _of_another_width(split.path, block, names)
        checked = checked or len(kept) > 0
        for row in sorted(bad):
            place, unit = block.place(row, "line")
            reason, detail = bad[row]
            quarantine.add(place, reason, (f"{detail} | " if detail else "").encode() + block.lines[row], unit)
        yield RowBlock(columns, block.offsets[kept], quarantine.take(), len(kept) + len(bad), reader.position)
    if (fault := reader.fault) is not None:
        quarantine.add(fault.position, fault.reason, f"{fault.detail} | ".encode() + reader.cut_off, "byte")
        yield RowBlock({}, np.zeros(0, np.int64), quarantine.take(), 1, reader.position)


def _parse(block: RecordBlock, names: Sequence[str]) -> tuple[dict[str, pa.Array], _Rows, dict[int, tuple[str, str]]]:
    """The columns of the good rows, which they are, and why the bad ones are."""
    bad = _rows_with_nul(block)
    try:
        return _parse_without(block, names, bad)
    except pa.ArrowInvalid:  # a cell that is wanted is no UTF-8
        return _parse_without(block, names, _undecodable(block) | bad)


def _parse_without(
    block: RecordBlock, names: Sequence[str], bad: dict[int, tuple[str, str]]
) -> tuple[dict[str, pa.Array], _Rows, dict[int, tuple[str, str]]]:
    left_out = [*bad, *_blank(block)]
    kept = np.delete(np.arange(len(block.offsets)), left_out) if left_out else np.arange(len(block.offsets))
    lines = block.lines if left_out else []
    data = b"\n".join([lines[row] for row in kept.tolist()]) + b"\n" if left_out else block.data
    if b"\r" in data:
        data = _LONE_RETURN.sub(b" ", data)
    if not len(kept):
        return {name: pa.array([], pa.string()) for name in names if name}, kept, bad
    table, wrong = _read_table(data, names)
    width = {
        row: ("wrong_number_of_columns", f"{found} columns, expected {len(names)}") for row, found in wrong.items()
    }
    bad = bad | {int(kept[row]): why for row, why in width.items()}
    kept = np.delete(kept, list(wrong)) if wrong else kept
    wanted = [name for name in names if name]
    return {name: table.column(at).combine_chunks() for at, name in enumerate(wanted)}, kept, bad


def _read_table(data: bytes, names: Sequence[str]) -> tuple[pa.Table, dict[int, int]]:
    """The wanted columns of the rows of the right width, and how many columns the other rows have."""
    wrong: dict[int, int] = {}

    def note(row: pyarrow.csv.InvalidRow) -> str:
        wrong[row.number - 1] = row.actual_columns
        return "skip"

    numbered = [str(number) for number in range(len(names))]
    table = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=numbered),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter="\t", quote_char=False, ignore_empty_lines=False, invalid_row_handler=note
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(numbered, pa.string()),
            include_columns=[number for number, name in zip(numbered, names, strict=True) if name],
            strings_can_be_null=False,
        ),
    )
    return table, wrong


def _rows_with_nul(block: RecordBlock) -> dict[int, tuple[str, str]]:
    if b"\0" not in block.data:
        return {}
    return {row: ("nul_byte", "") for row, line in enumerate(block.lines) if b"\0" in line}


def _undecodable(block: RecordBlock) -> dict[int, tuple[str, str]]:
    wrong = ((row, _first_wrong_byte(line)) for row, line in enumerate(block.lines))
    return {row: ("invalid_utf8", f"byte {place} of the row") for row, place in wrong if place}


def _first_wrong_byte(line: bytes) -> int:
    """The number of the first byte, from 1, that is no UTF-8; 0 where all are."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return error.start + 1
    return 0


def _blank(block: RecordBlock) -> list[int]:
    bounds = np.append(block.offsets - block.offsets[0], len(block.data))
    short = np.flatnonzero(np.diff(bounds) <= len(b"\r\n"))
    return [row for row in short.tolist() if not block.data[bounds[row] : bounds[row + 1]].strip(b"\r\n")]


def _of_another_width(path: str, block: RecordBlock, names: Sequence[str]) -> SourceError:
    first = next(line for line in block.lines if line.strip())
    cells = first.decode("utf-8", "replace").split("\t")
    return SourceError(
        f"{path}: the first row has {len(cells)} columns, expected {len(names)}; it begins"
        f" {' | '.join(cells)[:200]!r}. Name the source that fits, or use table and name the columns"
    )
