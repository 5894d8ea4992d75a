"""The longest run of bytes that two texts share, compiled by numba; imported where it is needed (half a second).

Texts come as Arrow holds them: `bounds` (int32 [rows + 1]) into `data` (uint8).
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        fast: Callable[..., Any] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no writable folder for a cache: every process compiles for itself
        fast = numba.njit(nogil=True)(function)
    return fast


@_compiled
def longest_common_runs(
    bounds: NDArray[np.int32],
    data: NDArray[np.uint8],
    other_bounds: NDArray[np.int32],
    other_data: NDArray[np.uint8],
    lengths: NDArray[np.int64],
) -> None:
    """Writes to `lengths` [rows] the bytes of the longest substring that is in both texts of each row.

    Time: the product of the lengths of the two texts (0.2 ms for 100 and 1,500 letters).
    """
    longest_row = 0
    for row in range(len(other_bounds) - 1):
        longest_row = max(longest_row, other_bounds[row + 1] - other_bounds[row])
    runs = np.zeros(longest_row + 1, np.int64)  # [place + 1] the run that ends at this place of the other text
    for row in range(len(bounds) - 1):
        start, other_start = bounds[row], other_bounds[row]
        other_length = other_bounds[row + 1] - other_start
        runs[: other_length + 1] = 0
        best = 0
        for place in range(start, bounds[row + 1]):
            byte = data[place]
            for other in range(other_length, 0, -1):
                if other_data[other_start + other - 1] == byte:
                    runs[other] = runs[other - 1] + 1
                    best = max(best, runs[other])
                else:
                    runs[other] = 0
        lengths[row] = best
