"""Lists of different lengths in one flat array: the positives of queries, the token ids of texts.

>>> Ragged.of([[3, 4], [], [5]]).take(np.array([2, 0])).lists()
[[5], [3, 4]]
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """List i is values[offsets[i]:offsets[i + 1]]. `offsets` is int64 [n + 1] and begins with 0."""

    values: npt.NDArray[Any]
    offsets: Int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64:
        return np.diff(self.offsets)

    @property
    def owners(self) -> Int64:
        """The number of the list that each value is in: int64 [values]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @classmethod
    def of(cls, lists: Iterable[Sequence[Any] | npt.NDArray[Any]], dtype: npt.DTypeLike = np.int64) -> "Ragged":
        """From Python lists or arrays."""
        arrays = [np.asarray(each, dtype) for each in lists]
        return cls.with_lengths(np.concatenate([np.empty(0, dtype), *arrays]), [len(each) for each in arrays])

    @classmethod
    def with_lengths(cls, values: npt.NDArray[Any], lengths: Sequence[int] | npt.NDArray[np.integer[Any]]) -> "Ragged":
        """The values cut into lists of these lengths, one after the other."""
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(values, offsets)

    @classmethod
    def empty(cls, count: int, dtype: npt.DTypeLike = np.int64) -> "Ragged":
        """`count` empty lists."""
        return cls(np.empty(0, dtype), np.zeros(count + 1, np.int64))

    @classmethod
    def of_arrow(cls, lists: pa.Array | pa.ChunkedArray) -> "Ragged":
        """From a list array without nulls inside; a null list is an empty one."""
        if isinstance(lists, pa.ChunkedArray):
            lists = lists.combine_chunks()
        lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        return cls.with_lengths(lists.flatten().to_numpy(zero_copy_only=False), lengths)

    @classmethod
    def concatenate(cls, parts: "Iterable[Ragged]", dtype: npt.DTypeLike = np.int64) -> "Ragged":
        """The lists of all parts, one after the other; of type `dtype` where there are none."""
        parts = list(parts)
        lengths = np.concatenate([np.empty(0, np.int64), *(part.lengths for part in parts)])
        return cls.with_lengths(np.concatenate([np.empty(0, dtype), *(part.values for part in parts)]), lengths)

    @classmethod
    def grouped(cls, owners: Int64, values: npt.NDArray[Any], count: int) -> "Ragged":
        """From (owner, value) pairs sorted by owner: the values of owner i are list i of `count`."""
        return cls(values, np.searchsorted(owners, np.arange(count + 1)).astype(np.int64))

    def arrow(self, value_type: pa.DataType) -> pa.ListArray:
        """As an Arrow list array. Raises pyarrow.ArrowInvalid for 2**31 values and more."""
        return pa.ListArray.from_arrays(pa.array(self.offsets, pa.int32()), pa.array(self.values, value_type))

    def lists(self) -> list[list[Any]]:
        """As Python lists: for tests and displays."""
        return [part.tolist() for part in np.split(self.values, self.offsets[1:-1])] if len(self) else []

    def gather(self, rows: Int64) -> tuple[npt.NDArray[Any], Int64]:
        """The items of the lists `rows`, one list after the other, and the length of each."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        return self.values[ranges(self.offsets[rows], lengths)], lengths

    def take(self, rows: Int64) -> "Ragged":
        """The lists `rows`, in that order."""
        return Ragged.with_lengths(*self.gather(rows))

    def padded(self, rows: Int64, fill: Any) -> tuple[npt.NDArray[Any], Int64]:
        """The lists `rows` as a matrix [rows, longest], filled up with `fill`; and their lengths."""
        values, lengths = self.gather(rows)
        matrix = np.full((len(rows), int(lengths.max(initial=0))), fill, self.values.dtype)
        matrix[np.arange(matrix.shape[1]) < lengths[:, None]] = values
        return matrix, lengths

    def matrix(self, fill: Any) -> npt.NDArray[Any]:
        """All lists as a matrix [n, longest], filled up with `fill`."""
        return self.padded(np.arange(len(self)), fill)[0]


def ranges(starts: Int64, lengths: Int64) -> Int64:
    """The numbers starts[0], starts[0] + 1, ... (lengths[0] of them), starts[1], ... in one array."""
    return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(int(lengths.sum()))
