"""The loop that tells which rows are in a query's own list."""

import numpy as np
import numpy.typing as npt

from trainer.compiled import compiled

Int64 = npt.NDArray[np.int64]


@compiled
def mark_members(rows: Int64, values: Int64, offsets: Int64, found: npt.NDArray[np.bool_]) -> None:
    """found [Q, K]: whether rows [Q, K] are among the values offsets[q] to offsets[q + 1], which ascend; no -1 ever is."""
    for query in range(len(rows)):
        first, end = offsets[query], offsets[query + 1]
        if first == end:
            continue
        for place in range(rows.shape[1]):
            row = rows[query, place]
            low, high = first, end
            while low < high:
                middle = (low + high) // 2
                if values[middle] < row:
                    low = middle + 1
                else:
                    high = middle
            found[query, place] = row >= 0 and low < end and values[low] == row
