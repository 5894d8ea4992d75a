"""Connected components: from pairs of alike texts to groups, by union-find."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def representatives(left: Any, right: Any, position: Any) -> NDArray[np.int64]:
    """Of each text, the text of its component with the smallest position: int64 [texts].

    left and right are integers [pairs], indices of texts; position orders the texts and is different for each: integers
    [texts]. Neither the order nor the direction of the pairs makes a difference. A text in no pair represents itself.
    Raises ValueError where a pair names a text that is not there.
    """
    from filters import near_duplicate_loops

    position = np.asarray(position)
    left, right = np.asarray(left, np.int64), np.asarray(right, np.int64)
    if len(left) and not 0 <= min(left.min(), right.min()) <= max(left.max(), right.max()) < len(position):
        raise ValueError(f"A pair names a text that is not among the {len(position)} texts.")
    order = np.argsort(position, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    parents = np.arange(len(order))
    near_duplicate_loops.join_all(parents, rank[left], rank[right])
    near_duplicate_loops.find_roots(parents)
    representative: NDArray[np.int64] = order[parents[rank]]
    return representative
