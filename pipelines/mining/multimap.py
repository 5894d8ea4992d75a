"""Keys to the rows of each, as two sorted arrays that may lie in memory-mapped files."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Multimap:
    """n distinct (key, row) pairs, by key, then row."""

    keys: Keys  # [n]
    rows: Rows  # [n]

    @classmethod
    def of(cls, keys: npt.NDArray[Any], rows: npt.NDArray[Any]) -> "Multimap":
        keys, rows = distinct_pairs(np.asarray(keys, np.uint64), np.asarray(rows, np.int64))
        return cls(keys, rows)

    def shared(self, other: "Multimap") -> int:
        """How many pairs are in both."""
        both = distinct_pairs(np.concatenate([self.keys, other.keys]), np.concatenate([self.rows, other.rows]))[0]
        return len(self.keys) + len(other.keys) - len(both)

    def follow(self, starts: Rows, keys: npt.NDArray[Any]) -> tuple[Rows, Rows]:
        """From (start, key) pairs to all (start, row) pairs, each once, by start, then row: int64 [m] twice."""
        wanted = np.asarray(keys, np.uint64)
        first = np.searchsorted(self.keys, wanted, "left")
        counts = np.searchsorted(self.keys, wanted, "right") - first
        index = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        return distinct_pairs(np.repeat(starts, counts), np.asarray(self.rows[index]))


def distinct_pairs(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> tuple[Any, Any]:
    """Pairs of numbers each once, sorted."""
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    new = np.ones(len(first), bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[new], second[new]
