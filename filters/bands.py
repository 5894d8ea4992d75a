"""Locality-sensitive hashing by bands: which texts are compared at all, and how likely a similar pair is among them.

A signature is cut into bands of a few places; two texts are candidates if they agree in all places of a band (Indyk and
Motwani 1998; Leskovec, Rajaraman, Ullman, "Mining of massive datasets", 3.4).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bands:
    """How a signature is cut: `bands` bands of `rows` places each; places that are left over are in no band."""

    bands: int
    rows: int

    def chance_of_candidate(self, similarity: Any) -> NDArray[np.float64]:
        """The S-curve: the probability that two texts of a Jaccard similarity are candidates: float64, as similarity."""
        chance: NDArray[np.float64] = 1 - (1 - np.asarray(similarity, np.float64) ** self.rows) ** self.bands
        return chance

    def keys(self, signatures: NDArray[np.uint8], band: int, view: int = 0) -> NDArray[np.uint64]:
        """The key of each signature in a band: uint64 [rows]. Bands and views have keys of their own."""
        from filters import minhash_loops

        keys: NDArray[np.uint64] = minhash_loops.hash_bands(signatures, band * self.rows, self.rows, view)
        return keys


def choose_bands(permutations: int, similarity: float, weight_of_missed: float = 0.9) -> Bands:
    """The bands and rows with the least error at a target similarity.

    The error is the area under the S-curve below the target (pairs compared in vain) and that above the curve beyond it
    (pairs missed), the second weighted by weight_of_missed, the first by the rest. A high weight is right where
    candidates are verified: one compared in vain costs a moment, one missed is lost.
    """
    if not 0 < similarity < 1:
        raise ValueError(f"The target similarity is {similarity}; it must lie between 0 and 1.")
    steps = (np.arange(1000) + 0.5) / 1000
    below = steps < similarity

    def error(cut: Bands) -> float:
        chance = cut.chance_of_candidate(steps)
        in_vain, missed = chance[below].sum(), (1 - chance[~below]).sum()
        return float((1 - weight_of_missed) * in_vain + weight_of_missed * missed)

    return min((Bands(permutations // rows, rows) for rows in range(1, permutations + 1)), key=error)
