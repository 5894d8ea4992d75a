"""The backward pass of trainer.max_similarity on a CPU, compiled by numba: sums over a few rows instead of products of
matrices that are nearly all zero."""

from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.compiled import compiled

Floats = npt.NDArray[np.floating[Any]]
Int64 = npt.NDArray[np.int64]


@compiled
def add_to_queries(
    passages: Floats,
    places: npt.NDArray[np.int32],
    owners: Int64,
    gradients: Floats,
    of_queries: Floats,
    first: int,
    end: int,
) -> None:
    """of_queries[i] += sum over p of gradients[owners[i], p] * passages[places[i, p]], for token rows first to end.

    Places are rows of `passages`; -1 for none.
    """
    for passage in range(places.shape[1]):  # outermost: its vectors stay in the cache
        for token in range(first, end):
            row = places[token, passage]
            gradient = gradients[owners[token], passage]
            if row >= 0 and gradient != 0.0:
                for at in range(passages.shape[1]):
                    of_queries[token, at] += gradient * passages[row, at]


@compiled
def add_to_passages(
    queries: Floats,
    places: npt.NDArray[np.int32],
    owners: Int64,
    gradients: Floats,
    of_passages: Floats,
    first: int,
    end: int,
) -> None:
    """of_passages[places[i, p]] += gradients[owners[i], p] * queries[i], for passages first to end.

    No two passages share a row, so that parts of the passages may run at once.
    """
    for passage in range(first, end):
        for token in range(places.shape[0]):
            row = places[token, passage]
            gradient = gradients[owners[token], passage]
            if row >= 0 and gradient != 0.0:
                for at in range(queries.shape[1]):
                    of_passages[row, at] += gradient * queries[token, at]
