"""Finding wanted ids among many: the judged passages among the millions of a collection, without a Python object a row."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Numbers = npt.NDArray[np.int64]  # of ids; -1: none
Codes = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]

HASHED_ROWS: Final = 65_536
_WEIGHTS: Final = np.random.default_rng(20240501).integers(1, 1 << 63, 1024, np.uint64) * np.uint64(2) + np.uint64(1)


class WantedIds:
    """Ids with their numbers 0 to n-1, found by hash and then compared: about 30 bytes an id beside the ids themselves.

    Arrow's own look-up would build its table anew for every block of rows. `ids` holds each id once, and no null.
    """

    def __init__(self, ids: pa.Array) -> None:
        hashes = _hash(ids)
        self.ids = ids
        self._order = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._order]
        # Most ids of a collection are not wanted: one look at the first bits of the hash sends seven of eight away.
        self._shift = np.uint64(64 - max(1, (8 * len(ids)).bit_length()))
        self._starts = np.zeros(1 << (64 - int(self._shift)), np.bool_)
        self._starts[hashes >> self._shift] = True

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, ids: pa.Array) -> Numbers:
        """The number of each id of a string array without nulls; -1 for one that is not wanted."""
        codes = np.full(len(ids), -1, np.int64)
        if not len(self.ids):
            return codes
        hashes = _hash(ids)
        likely = np.flatnonzero(self._starts[hashes >> self._shift])
        places = np.minimum(np.searchsorted(self._sorted, hashes[likely]), len(self._sorted) - 1)
        equal = self._sorted[places] == hashes[likely]
        alike, found = likely[equal], self._order[places[equal]]
        same = pc.equal(self.ids.take(pa.array(found)), ids.take(pa.array(alike))).to_numpy(zero_copy_only=False)
        codes[alike[same]] = found[same]
        return codes


def distinct(ids: pa.ChunkedArray) -> tuple[pa.Array, Codes]:
    """The distinct ids in the order of their first appearance, and the number of each row's id. No nulls.

    By hash, which takes a tenth of the memory of Arrow's dictionaries; these do it where two ids have one hash.
    """
    rows = ids.combine_chunks() if ids.num_chunks else pa.array([], pa.string())
    firsts, codes = np.unique(_hash(rows), return_index=True, return_inverse=True)[1:]
    order = np.argsort(firsts)
    number = np.empty(len(order), np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    named, numbers = rows.take(pa.array(firsts[order])), number[codes]
    if pc.all(pc.equal(named.take(pa.array(numbers)), rows)).as_py() is not False:
        return named, numbers
    encoded = rows.dictionary_encode()
    return encoded.dictionary, np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int32)


def pair_hashes(first: pa.Array, second: pa.Array) -> Hashes:
    """A hash of each row of two columns of ids."""
    return np.asarray(_hash(first) * np.uint64(0x9E3779B97F4A7C15) + _hash(second), np.uint64)


def _hash(ids: pa.Array) -> Hashes:
    """A hash of each id, in steps: on the way each byte of an id takes some thirty."""
    steps = [_hash_step(ids.slice(start, HASHED_ROWS)) for start in range(0, len(ids), HASHED_ROWS)]
    return np.concatenate([np.zeros(0, np.uint64), *steps])


def _hash_step(ids: pa.Array) -> Hashes:
    """Multilinear: each byte times a fixed random number of its place in the id, summed modulo 2^64."""
    sizes = np.asarray(pc.binary_length(ids).to_numpy(zero_copy_only=False), np.int64)
    ends = np.cumsum(sizes)
    if not len(sizes) or not ends[-1]:
        return np.zeros(len(sizes), np.uint64)
    starts = ends - sizes
    data = np.frombuffer(ids.buffers()[2], np.uint8, ends[-1], _first_byte(ids))
    places = np.arange(ends[-1]) - np.repeat(starts, sizes)
    sums = np.zeros(ends[-1] + 1, np.uint64)
    np.cumsum((data + np.uint64(1)) * _WEIGHTS[places % len(_WEIGHTS)], out=sums[1:])
    hashes = sums[ends] - sums[starts]
    hashes ^= hashes >> np.uint64(32)  # the low bits, of which little is lost, into the high ones
    return np.asarray(hashes * np.uint64(0x9E3779B97F4A7C15), np.uint64)


def _first_byte(ids: pa.Array) -> int:
    offsets = np.frombuffer(ids.buffers()[1], np.int32, len(ids) + 1, ids.offset * 4)
    return int(offsets[0])
