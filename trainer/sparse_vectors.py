"""Lexical vectors: for each text the weights of the vocabulary's tokens that are not zero (M3, section 3.2 "lexical retrieval").

In:  one weight a token of a text.
Out: `SparseVectors`, rows of (token id, weight) end to end; nothing as wide as the vocabulary is ever made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class SparseVectors:
    """n vectors end to end: row r is token_ids[offsets[r]:offsets[r + 1]], ascending and distinct, and their weights."""

    offsets: npt.NDArray[np.int64]  # [n + 1]
    token_ids: npt.NDArray[np.int32]  # [t]
    weights: npt.NDArray[np.float32]  # [t]

    def __post_init__(self) -> None:
        """Raises ValueError where the three arrays do not belong together."""
        total = int(self.offsets[-1]) if len(self.offsets) else -1
        if not (len(self.offsets) and self.offsets[0] == 0 and total == len(self.token_ids) == len(self.weights)):
            raise ValueError(
                f"Sparse vectors need offsets from 0 to the number of tokens: found {len(self.token_ids)} token ids, "
                f"{len(self.weights)} weights and offsets {self.offsets[:1]} to {total}."
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: npt.NDArray[np.int64]) -> Self:
        """The vectors of these rows (int64 [m]), in their order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        places = np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return type(self)(offsets, self.token_ids[places], self.weights[places])

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The vectors of all parts, one after the other."""
        lengths = [np.diff(part.offsets) for part in parts]
        offsets = np.zeros(sum(len(each) for each in lengths) + 1, np.int64)
        np.cumsum(np.concatenate([*lengths, np.zeros(0, np.int64)]), out=offsets[1:])
        return cls(
            offsets,
            np.concatenate([*(part.token_ids for part in parts), np.zeros(0, np.int32)]),
            np.concatenate([*(part.weights for part in parts), np.zeros(0, np.float32)]),
        )

    @classmethod
    def largest_of_each_token(
        cls,
        token_ids: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float32],
        left_out: npt.NDArray[np.int32],
    ) -> Self:
        """The vectors of n texts of t tokens end to end (offsets int64 [n + 1]), each token with a weight.

        A token that occurs several times in a text counts once, with its largest weight; weights that are not positive
        and the tokens `left_out` (special ones) are no part of the vector. FlagEmbedding's rule for M3 (modeling.py,
        sparse_embedding). Raises nothing: a NaN weight stays out.
        """
        count = len(offsets) - 1
        rows = np.repeat(np.arange(count), np.diff(offsets))
        kept = (weights > 0) & ~np.isin(token_ids, left_out)
        rows, ids, kept_weights = rows[kept], token_ids[kept], weights[kept]
        order = np.lexsort((kept_weights, ids, rows))
        rows, ids, kept_weights = rows[order], ids[order], kept_weights[order]
        # The last of each run of one token in one row has the largest weight.
        last = np.ones(len(rows), np.bool_)
        last[:-1] = (rows[1:] != rows[:-1]) | (ids[1:] != ids[:-1])
        ends = np.searchsorted(rows[last], np.arange(count + 1)).astype(np.int64)
        return cls(ends, ids[last], kept_weights[last])
