"""Rows of tab-separated values without quoting, where a quote is a character: columns as Arrow arrays, block by block.

For corpora of one known shape and millions of rows: NLLB, CCMatrix, WikiAtomicEdits. Tables whose columns the user names
are sources.table's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sources.files.reading import LineReader, LongRecord, RecordBlock
from sources.schema import QuarantineRows
from sources.source import SourceError, Split

FEW: Final = 3  # a file whose first rows, so many, are all of another width is no file of the corpus
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

    Rows of another width, with NUL, or with a wanted cell that is no UTF-8 are quarantined, blank ones are none. Raises SourceError where the file
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
    characters = np.frombuffer(block.data, np.uint8)
    starts, ends = _bounds_of_rows(block, characters)
    tabs = np.flatnonzero(characters == ord("\t"))
    first = np.searchsorted(tabs, starts)
    width = np.searchsorted(tabs, ends) - first + 1
    filled = ends > starts
    wrong = filled & (width != len(names))
    detail = f"columns, expected {len(names)}"
    bad = {row: ("wrong_number_of_columns", f"{width[row]} {detail}") for row in np.flatnonzero(wrong).tolist()}
    for row in _rows_with_nul(block, characters):
        bad[row] = ("nul_byte", "")
        wrong[row] = True
    kept = np.flatnonzero(filled & ~wrong)
    between = tabs[first[kept, None] + np.arange(len(names) - 1)]
    columns = _cells(block.data, starts[kept], between, ends[kept], names)
    if undecodable := _undecodable(columns):
        bad |= {int(kept[row]): ("invalid_utf8", detail) for row, detail in undecodable.items()}
        good = np.delete(np.arange(len(kept)), list(undecodable))
        columns, kept = {name: cells.take(pa.array(good)) for name, cells in columns.items()}, kept[good]
    return columns, kept, bad


def _bounds_of_rows(block: RecordBlock, characters: npt.NDArray[np.uint8]) -> tuple[_Rows, _Rows]:
    """Where each row starts in the block's bytes, and where it ends, without its newline and carriage return."""
    starts = block.offsets - block.offsets[0]
    ends = np.append(starts[1:] - 1, len(block.data) - block.data.endswith(b"\n"))
    return starts, ends - ((ends > starts) & (characters[ends - 1] == ord("\r")))


def _cells(data: bytes, starts: _Rows, between: _Rows, ends: _Rows, names: Sequence[str]) -> dict[str, pa.Array]:
    """The wanted columns; `between` are the places of the tabs, one row for each row.

    All is cut at once, cells and the tabs between them in turns: a column is every so many pieces.
    """
    bounds = np.empty((len(starts), 2 * len(names)), np.int64)
    bounds[:, 0], bounds[:, -1] = starts, ends
    bounds[:, 1:-1:2], bounds[:, 2::2] = between, between + 1
    offsets = np.append(bounds.ravel(), len(data)).astype(np.int32)
    pieces = pa.StringArray.from_buffers(bounds.size, pa.py_buffer(offsets), pa.py_buffer(data))
    rows = np.arange(len(starts)) * bounds.shape[1]
    return {name: pieces.take(pa.array(rows + 2 * place)) for place, name in enumerate(names) if name}


def _rows_with_nul(block: RecordBlock, characters: npt.NDArray[np.uint8]) -> list[int]:
    if b"\0" not in block.data:
        return []
    places = np.flatnonzero(characters == 0) + block.offsets[0]
    return [int(row) for row in np.unique(np.searchsorted(block.offsets, places, "right") - 1)]


def _undecodable(columns: dict[str, pa.Array]) -> dict[int, str]:
    """The rows with a cell that is no UTF-8, and where in which cell; nobody has looked at the bytes so far."""
    found: dict[int, str] = {}
    for name, cells in columns.items():
        try:
            cells.validate(full=True)
        except pa.ArrowInvalid:
            for row, cell in enumerate(cells.cast(pa.binary()).to_pylist()):
                if place := _first_wrong_byte(cell):
                    found.setdefault(row, f"byte {place} of {name}")
    return found


def _first_wrong_byte(cell: bytes) -> int:
    """The number of the first byte, from 1, that is no UTF-8; 0 where all are."""
    try:
        cell.decode()
    except UnicodeDecodeError as error:
        return error.start + 1
    return 0


def _of_another_width(path: str, block: RecordBlock, names: Sequence[str]) -> SourceError:
    first = next(line for line in block.lines if line.strip())
    cells = first.decode("utf-8", "replace").split("\t")
    return SourceError(
        f"{path}: the first row has {len(cells)} columns, expected {len(names)}; it begins"
        f" {' | '.join(cells)[:200]!r}. Name the source that fits, or use table and name the columns"
    )
