"""The loops of MinHash signatures, compiled by numba; imported where needed (see filters.loops).

Signatures are made by fast similarity sketching (Dahlgaard, Knudsen, Thorup 2017, "Fast similarity sketching", FOCS):
in rounds, each shingle is thrown into one bin by the round's hash, and each bin keeps the least it was given in the
first round that gave it any. Two sets agree in a bin with their Jaccard similarity as probability, and estimates
spread no more than those of as many independent permutations; the work is a few hashes a shingle, not one for each
permutation. Of what a bin keeps, 8 bits are stored (Li and Koenig 2010, "b-bit minwise hashing", WWW).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from filters.loops import compiled, encode
from filters.shingle_loops import (
    GOLDEN,
    Codes,
    Hashes,
    distinct,
    fold_text,
    hash_shingles,
    is_in_view,
    longest_text,
    mix,
)
from filters.shingles import CODE_POINT, SHORT, VIEWS

Signatures = NDArray[np.uint8]  # [rows, permutations]

EMPTY: Final = 0xFFFFFFFFFFFFFFFF
LOW_HALF: Final = 0xFFFFFFFF
ROUNDS_OF_REPETITIONS: Final = 3  # after as many, shingles are mostly few that repeat, if there are many


@compiled
def throw_shingles(hashes: Hashes, count: int, turn: int, least: Hashes) -> None:
    """One round: throws each shingle into a bin, where a value of this round stays if nothing smaller is there."""
    bins = np.uint64(len(least))
    salt = np.uint64(turn + 1) * np.uint64(GOLDEN)
    high = np.uint64(turn) << np.uint64(32)
    for place in range(count):
        value = mix(hashes[place] + salt)
        chosen = ((value >> np.uint64(32)) * bins) >> np.uint64(32)
        least[chosen] = min(least[chosen], high | (value & np.uint64(LOW_HALF)))


@compiled
def throw_into(chosen: int, hashes: Hashes, count: int, turn: int, least: Hashes) -> None:
    """A round in which all shingles go into one bin."""
    salt = np.uint64(turn + 1) * np.uint64(GOLDEN)
    high = np.uint64(turn) << np.uint64(32)
    for place in range(count):
        value = high | (mix(hashes[place] + salt) & np.uint64(LOW_HALF))
        least[chosen] = min(least[chosen], value)


@compiled
def empty_bins(least: Hashes) -> int:
    """Bins that were given nothing yet."""
    empty = 0
    for place in range(len(least)):
        empty += least[place] == np.uint64(EMPTY)
    return empty


@compiled
def sign_shingles(hashes: Hashes, count: int, least: Hashes, signature: NDArray[np.uint8]) -> None:
    """Fills the signature of a set of shingles, which may hold equal ones and is reordered; count is 1 at least."""
    bins = len(signature)
    least[:] = np.uint64(EMPTY)
    for turn in range(bins):
        throw_shingles(hashes, count, turn, least)
        if empty_bins(least) == 0:
            break
        if turn == ROUNDS_OF_REPETITIONS and count > bins:
            count = distinct(hashes, count)
    for place in range(bins):  # the last rounds have a bin each, so that none stays empty
        if least[place] == np.uint64(EMPTY):
            throw_into(place, hashes, count, bins + place, least)
    for place in range(bins):
        signature[place] = np.uint8(mix(least[place]) & np.uint64(0xFF))


@compiled
def sketch_texts(
    bounds: NDArray[Any],
    data: NDArray[np.uint8],
    folding: Codes,
    settings: NDArray[np.float64],
    rows: NDArray[np.int64],
    views: NDArray[np.uint8],
    signatures: Signatures,
    folded_bounds: NDArray[np.int64],
    folded_data: NDArray[np.uint8],
) -> int:
    """Writes a sketch for each view of each text: how many. folded_data gets short texts as they were folded, in UTF-8.

    The arrays must hold 3 sketches a text; folded_data 3/2 of the texts' bytes, and one.
    """
    longest = longest_text(bounds)
    codes = np.empty(longest + 1, np.uint32)
    words = np.empty(longest + 1, np.uint64)
    hashes = np.empty(longest + 1, np.uint64)
    least = np.empty(signatures.shape[1], np.uint64)
    written = 0
    folded = 0
    for row in range(len(bounds) - 1):
        count, found, letters, cjk, unspaced = fold_text(data, bounds[row], bounds[row + 1], folding, codes, words)
        for view in range(len(VIEWS)):
            if not is_in_view(view, count, letters, cjk, unspaced, settings):
                continue
            shingles = hash_shingles(codes, count, words, found, view, cjk >= unspaced, settings, hashes)
            sign_shingles(hashes, shingles, least, signatures[written])
            rows[written] = row
            views[written] = view
            folded_bounds[written] = folded
            if view == SHORT:
                for place in range(count):
                    folded = encode(np.int64(codes[place] & np.uint32(CODE_POINT)), folded_data, folded)
            written += 1
    folded_bounds[written] = folded
    return written


@compiled
def agreement(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> int:
    """In how many places two signatures agree."""
    equal = 0
    for place in range(len(left)):
        equal += left[place] == right[place]
    return equal


@compiled
def agreements(signatures: Signatures, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """In how many places the signatures of each pair of rows agree: int64 [pairs]."""
    result = np.empty(len(left), np.int64)
    for pair in range(len(left)):
        result[pair] = agreement(signatures[left[pair]], signatures[right[pair]])
    return result


@compiled
def hash_bands(signatures: Signatures, first: int, size: int, view: int) -> Hashes:
    """The key of each row's places first..first + size: uint64 [rows]; equal places of a view give equal keys."""
    keys = np.empty(len(signatures), np.uint64)
    start = mix(np.uint64(len(VIEWS) * first + view + 1))
    for row in range(len(signatures)):
        key = start
        eight = np.uint64(0)
        for place in range(size):
            eight = eight << np.uint64(8) | np.uint64(signatures[row, first + place])
            if place & 7 == 7:
                key = mix(key ^ eight)
                eight = np.uint64(0)
        keys[row] = mix(key ^ eight)
    return keys
