"""The loops of MinHash signatures, compiled by numba; imported where needed (see filters.loops).

Signatures are made by fast similarity sketching (Dahlgaard, Knudsen, Thorup 2017, "Fast similarity sketching", FOCS):
in rounds, each shingle is thrown into one bin by the round's hash, and each bin keeps the least it was given in the
first round that gave it any. Two sets agree in a bin with their Jaccard similarity as probability, and estimates
spread no more than those of as many independent permutations; the work is about one hash a shingle, not one a shingle and
permutation.
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

Signatures = NDArray[np.uint16]  # [rows, permutations]

EMPTY: Final = 0xFFFFFFFFFFFFFFFF
ROUNDS_OF_REPETITIONS: Final = 3  # after as many, shingles are mostly few that repeat, if there are many


@compiled
def sign_shingles(hashes: Hashes, count: int, least: Hashes, signature: NDArray[np.uint16]) -> None:
    """Fills the signature of a set of shingles, which may hold equal ones and is reordered; count is 1 at least."""
    bins = len(signature)
    least[:] = np.uint64(EMPTY)
    empty = bins
    for turn in range(2 * bins):
        salt = np.uint64(turn + 1) * np.uint64(GOLDEN)
        high = np.uint64(turn) << np.uint64(32)
        for place in range(count):
            value = mix(hashes[place] + salt)
            # The last rounds have a bin each, so that none stays empty.
            chosen = np.int64(((value >> np.uint64(32)) * np.uint64(bins)) >> np.uint64(32))
            if turn >= bins:
                chosen = np.int64(turn - bins)
            value = high | (value & np.uint64(0xFFFFFFFF))
            if value < least[chosen]:
                if least[chosen] == np.uint64(EMPTY):
                    empty -= 1
                least[chosen] = value
        if empty == 0:
            break
        if turn == ROUNDS_OF_REPETITIONS and count > bins:
            count = distinct(hashes, count)
    for place in range(bins):
        signature[place] = np.uint16(mix(least[place]) & np.uint64(0xFFFF))


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
def agreement(left: NDArray[np.uint16], right: NDArray[np.uint16]) -> int:
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
def hash_bands(signatures: Signatures, first: int, size: int) -> Hashes:
    """The key of each row's places first..first + size: uint64 [rows]; equal places give equal keys."""
    keys = np.empty(len(signatures), np.uint64)
    for row in range(len(signatures)):
        key = np.uint64(first + 1)
        for place in range(first, first + size):
            key = mix(key + np.uint64(GOLDEN)) ^ np.uint64(signatures[row, place])
        keys[row] = mix(key)
    return keys
