"""How alike the two texts of each pair are, in mteb's four ways."""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from trainer.backbone import Role
from trainer.evaluate.tasks.text_vectors import TextEncoder, text_vectors

Measure = Literal["cosine", "dot", "euclidean", "manhattan"]
MEASURES: Final[tuple[Measure, ...]] = ("cosine", "dot", "euclidean", "manhattan")
_PAIRS_AT_ONCE: Final = 8192


def pair_scores(
    encoder: TextEncoder,
    first: Sequence[str],
    second: Sequence[str],
    role: Role,
    measures: Sequence[Measure] = MEASURES,
) -> dict[Measure, npt.NDArray[np.float64]]:
    """Scores float64 [n] of the pairs (first[i], second[i]) by measure, the higher the more alike: distances are negative.

    They are computed in float32 by scikit-learn's functions, as in mteb: the last bits decide about ties.
    """
    vectors = text_vectors(encoder, [*first, *second], role)
    count = len(first)
    scores = {measure: np.empty(count, np.float64) for measure in measures}
    for start in range(0, count, _PAIRS_AT_ONCE):
        end = min(start + _PAIRS_AT_ONCE, count)
        left, right = vectors.take(slice(start, end)), vectors.take(slice(count + start, count + end))
        for measure in measures:
            scores[measure][start:end] = _score(measure, left, right)
    return scores


def _score(measure: Measure, left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    from sklearn.metrics.pairwise import paired_cosine_distances, paired_euclidean_distances, paired_manhattan_distances

    if measure == "cosine":
        return np.asarray(1 - paired_cosine_distances(left, right))
    if measure == "dot":
        return np.asarray(np.vecdot(left, right))
    if measure == "euclidean":
        return -np.asarray(paired_euclidean_distances(left, right))
    return -np.asarray(paired_manhattan_distances(left, right))
