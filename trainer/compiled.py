"""Machine code for loops over arrays."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any], fastmath: bool | set[str] = False) -> Callable[..., Any]:
    """numba's machine code for a function, from its cache where there is one; runs without Python's lock.

    The cache is beside the source, else in the user's cache folder or the one NUMBA_CACHE_DIR names. It is made anew
    when the function's own file changes, not when another file does: functions that call each other belong in one file.
    `fastmath` is numba's.
    """
    try:
        fast: Callable[..., Any] = numba.njit(cache=True, nogil=True, fastmath=fastmath)(function)
    except RuntimeError:  # no writable folder for a cache: every process compiles for itself
        fast = numba.njit(nogil=True, fastmath=fastmath)(function)
    return fast
