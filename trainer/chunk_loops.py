"""The loop of trainer.chunks, compiled by numba; imported where it is needed, because numba takes half a second to load."""

from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.compiled import compiled

Int64 = npt.NDArray[np.int64]


def cuts_with_least_padding(descending: Int64, tokens: int, chunk_cost: int) -> Int64:
    """Where chunks begin, and the number of texts: int64 [chunks + 1], of lengths in falling order.

    Least sum over chunks of (texts * longest + chunk_cost) with texts * longest <= tokens, or one text.
    """
    cuts: Int64 = _cuts(descending, tokens, chunk_cost)
    return cuts


@compiled
def _cuts(descending: Int64, tokens: int, chunk_cost: int) -> Any:
    count = len(descending)
    # best[i]: the least cost of the texts from i on; its first chunk ends at end[i].
    best = np.zeros(count + 1, np.int64)
    end = np.zeros(count + 1, np.int64)
    for start in range(count - 1, -1, -1):
        longest = descending[start]
        most = max(1, tokens // max(1, longest))
        best[start] = np.iinfo(np.int64).max
        for stop in range(start + 1, min(start + most, count) + 1):
            cost = (stop - start) * longest + chunk_cost + best[stop]
            if cost < best[start]:
                best[start] = cost
                end[start] = stop
    cuts = np.zeros(count + 1, np.int64)
    chunks = 0
    while cuts[chunks] < count:
        cuts[chunks + 1] = end[cuts[chunks]]
        chunks += 1
    return cuts[: chunks + 1]
