"""A shuffled order of any length of which any part is known without making the rest.

A Feistel network over the bits of the index, walked until it lands inside the range (Black and Rogaway, "Ciphers with
arbitrary finite domains", 2002): position i of a billion costs as much as position i of ten.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

_ROUNDS: Final = 8


class Permutation:
    """A permutation of 0 .. size - 1, drawn by `keys` (uint64 [8]; see `key_bits`)."""

    def __init__(self, size: int, keys: UInt64) -> None:
        self.size = size
        self._keys = keys
        self._half = np.uint64(max(1, -(-max(size - 1, 1).bit_length() // 2)))
        self._mask = np.uint64((1 << int(self._half)) - 1)

    def __call__(self, positions: Int64) -> Int64:
        """The items at `positions` (int64 [m], each below `size`)."""
        items = self._encrypted(positions.astype(np.uint64))
        outside = np.flatnonzero(items >= self.size)
        while len(outside):
            items[outside] = self._encrypted(items[outside])
            outside = outside[items[outside] >= self.size]
        return items.astype(np.int64)

    def _encrypted(self, numbers: UInt64) -> UInt64:
        left, right = numbers >> self._half, numbers & self._mask
        for key in self._keys:
            left, right = right, left ^ (mixed(right ^ key) & self._mask)
        result: UInt64 = (left << self._half) | right
        return result


def mixed(numbers: UInt64) -> UInt64:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): each input bit changes half of the output bits."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: UInt64 = numbers ^ (numbers >> np.uint64(31))
    return result


def key_bits(seed: int, *numbers: int, count: int = _ROUNDS) -> UInt64:
    """`count` raw 64-bit numbers of the stream (seed, numbers ...): Philox's raw bits, which numpy guarantees."""
    generator = np.random.Philox(np.random.SeedSequence([seed, *numbers]))
    return np.atleast_1d(np.asarray(generator.random_raw(count), np.uint64))
