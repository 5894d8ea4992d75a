"""Embeddings in .npy files, numbered through as one matrix that is never held in memory.

In:  .npy files of float16 or float32 matrices [n, D], or one array.
Out: blocks of rows in order, and any rows gathered.

Nothing stays mapped between two calls: the pages of a mapped file count as memory of the process, and a search that
touches all of them would seem (to a container's limit, too) to hold the corpus. Blocks are read; gathered rows are
mapped a few hundred at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt

Rows: TypeAlias = npt.NDArray[np.int64]
Vectors: TypeAlias = npt.NDArray[Any]  # float16 or float32 [n, D]

DTYPES: Final = (np.dtype(np.float16), np.dtype(np.float32))
_MAPPED_AT_ONCE: Final = 512  # rows; the kernel maps up to 64 KiB around each
_DENSE: Final = 8  # a subset with at least one of so many rows is read through rather than gathered


class VectorFileError(ValueError):
    """A file that is no matrix of embeddings, or does not fit the others."""


class VectorFiles:
    """A float16 or float32 matrix [N, D] whose rows lie in one or several files, or in an array."""

    def __init__(self, parts: "Sequence[_File | _Array]") -> None:
        self._parts = list(parts)
        self._starts: Rows = np.cumsum([0, *(part.rows for part in parts)], dtype=np.int64)
        self.dimension: int = parts[0].dimension
        self.dtype: np.dtype[Any] = parts[0].dtype

    @classmethod
    def open(cls, paths: Sequence[str | Path]) -> Self:
        """The rows of the .npy files, in the order of `paths`. Only their headers are read.

        Raises VectorFileError for no files at all, for one that is no .npy file, holds something else than a float16 or
        float32 matrix in C order, is shorter than its header says, or has another dimension or type than the first.
        """
        if not paths:
            raise VectorFileError("No files of vectors were given: a search needs at least one (it may have no rows).")
        parts = [_read_header(Path(path)) for path in paths]
        first = parts[0]
        for part in parts[1:]:
            if (part.dimension, part.dtype) != (first.dimension, first.dtype):
                raise VectorFileError(
                    f"{part.path} holds {part.dtype} vectors of {part.dimension} dimensions, {first.path} "
                    f"{first.dtype} of {first.dimension}: embed both with the same model and write them alike."
                )
        return cls(parts)

    @classmethod
    def of(cls, array: Vectors) -> Self:
        """The rows of an array [N, D] of float16 or float32. Raises VectorFileError for another shape or type."""
        if array.ndim != 2 or array.shape[1] == 0 or array.dtype not in DTYPES:
            raise VectorFileError(
                f"Vectors must be a float16 or float32 array [N, D], D at least 1, found {array.dtype} of shape {array.shape}."
            )
        return cls([_Array(array)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def take(self, rows: Rows) -> Vectors:
        """The vectors [n, D] of the row numbers `rows` int64 [n], in their order, in the files' type.

        Raises IndexError for a row number below 0 or not below len(self).
        """
        rows = np.asarray(rows, np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            wrong = int(rows[(rows < 0) | (rows >= len(self))][0])
            raise IndexError(f"Row {wrong} was asked for; there are {len(self):,} vectors, numbered from 0.")
        taken = np.empty((len(rows), self.dimension), self.dtype)
        ordered = np.argsort(rows, kind="stable")  # each file is opened once, and read forwards
        borders = np.searchsorted(rows[ordered], self._starts)
        for part, start, low, high in zip(self._parts, self._starts[:-1], borders[:-1], borders[1:], strict=True):
            if low < high:
                places = ordered[low:high]
                part.gather(rows[places] - start, places, taken)
        return taken

    def blocks(self, size: int, rows: Rows | None = None) -> Iterator[tuple[int, Vectors]]:
        """(position of its first row, vectors [at most size, D]) one after another: all rows, or `rows` int64, ascending.

        The position counts rows given out, so it is the row number where `rows` is None. Blocks run on over the ends of
        files. They are read only: an array in memory is not copied.
        """
        if rows is None:
            for start in range(0, len(self), size):
                yield start, self._range(start, min(start + size, len(self)))
            return
        for start in range(0, len(rows), size):
            wanted = rows[start : start + size]
            first, end = int(wanted[0]), int(wanted[-1]) + 1
            if end - first <= _DENSE * len(wanted):
                yield start, self._pick(wanted, size)
            else:
                yield start, self.take(wanted)

    def _range(self, start: int, end: int) -> Vectors:
        """The rows start to end: a view where one array in memory holds them."""
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        part = self._parts[first]
        offset = int(self._starts[first])
        if isinstance(part, _Array) and end <= offset + part.rows:
            return part.array[start - offset : end - offset]
        block = np.empty((end - start, self.dimension), self.dtype)
        self._read(start, block)
        return block

    def _read(self, start: int, into: Vectors) -> None:
        end = start + len(into)
        for part, offset in zip(self._parts, self._starts[:-1].tolist(), strict=True):
            low, high = max(start, offset), min(end, offset + part.rows)
            if low < high:
                part.read(low - offset, into[low - start : high - start])

    def _pick(self, wanted: Rows, size: int) -> Vectors:
        """The rows `wanted`, ascending and close together: what lies between is read too, `size` rows at a time."""
        picked = np.empty((len(wanted), self.dimension), self.dtype)
        done = 0
        for start in range(int(wanted[0]), int(wanted[-1]) + 1, size):
            end = min(start + size, int(wanted[-1]) + 1)
            stop = int(np.searchsorted(wanted, end))
            if stop > done:
                picked[done:stop] = self._range(start, end)[wanted[done:stop] - start]
                done = stop
        return picked


@dataclass(frozen=True)
class _Array:
    array: Vectors

    @property
    def rows(self) -> int:
        return len(self.array)

    @property
    def dimension(self) -> int:
        return int(self.array.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def read(self, start: int, into: Vectors) -> None:
        into[:] = self.array[start : start + len(into)]

    def gather(self, rows: Rows, places: npt.NDArray[np.intp], into: Vectors) -> None:
        into[places] = self.array[rows]


@dataclass(frozen=True)
class _File:
    path: Path
    rows: int
    dimension: int
    dtype: np.dtype[Any]
    offset: int  # bytes before the first row

    def read(self, start: int, into: Vectors) -> None:
        """Fill `into` [n, D], C order, with the rows from `start` on."""
        wanted = memoryview(into.reshape(-1).view(np.uint8).data)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset + start * self.dimension * self.dtype.itemsize)
            done = 0
            while done < len(wanted):
                count = file.readinto(wanted[done:])
                if not count:
                    raise VectorFileError(f"{self.path} became shorter while it was read: make it again.")
                done += count

    def gather(self, rows: Rows, places: npt.NDArray[np.intp], into: Vectors) -> None:
        """Put the rows `rows`, ascending, in the lines `places` of `into`."""
        for start in range(0, len(rows), _MAPPED_AT_ONCE):
            part = slice(start, start + _MAPPED_AT_ONCE)
            mapped = np.memmap(self.path, self.dtype, "r", self.offset, (self.rows, self.dimension))
            into[places[part]] = mapped[rows[part]]
            del mapped  # unmapped at once


def _read_header(path: Path) -> _File:
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
            shape, fortran_order, dtype = read(file)
        except ValueError as error:
            raise VectorFileError(
                f"{path} is no .npy file ({error}). Write it with numpy.save(path, array, allow_pickle=False)."
            ) from error
        offset = file.tell()
        size = file.seek(0, 2)
    if len(shape) != 2 or shape[1] == 0 or dtype not in DTYPES or fortran_order:
        order = ", columns first" if fortran_order else ""
        raise VectorFileError(
            f"{path} holds {dtype} of shape {shape}{order}: vectors must be a float16 or float32 matrix [N, D], rows first. "
            f"Convert it with numpy.save(path, numpy.ascontiguousarray(array, numpy.float16))."
        )
    if size < offset + shape[0] * shape[1] * dtype.itemsize:
        raise VectorFileError(
            f"{path} is cut off: {shape[0]:,} vectors of {shape[1]} dimensions are {shape[0] * shape[1] * dtype.itemsize:,} "
            f"bytes, {size - offset:,} are there. Make it again."
        )
    return _File(path, shape[0], shape[1], dtype, offset)
