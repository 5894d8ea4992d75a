"""Memory that a process has freed and its allocator keeps, given back to the system when there is much of it.

Chunks of texts differ in size, and with them the tensors of their forward and backward passes. glibc's allocator finds room
for each in the gaps that others left, seldom all of it: after some hundred chunks a process holds several times what one
chunk needs (measured: docs/benchmarks.md). Given back after each chunk, its pages would have to be cleared again for the
next: a fifth of the time. Given back when they have grown by 128 MiB it takes no time that can be measured.
"""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

_GROWTH: Final = 128 * 1024 * 1024
_STATM: Final = Path("/proc/self/statm")


class FreeMemory:
    """To be told between pieces of work; whole where the system or its allocator has no such call: nothing happens."""

    def __init__(self, growth: int = _GROWTH) -> None:
        """`growth`: bytes beyond the least seen since free memory was last given back."""
        self._growth = growth
        self._least: int | None = None

    def between(self) -> None:
        """Give free memory back where the process has grown too much."""
        give_back = _give_back()
        if give_back is None:
            return
        held = resident_bytes()
        self._least = held if self._least is None else min(held, self._least)
        if held > self._least + self._growth:
            give_back(0)
            self._least = None  # the next piece of work takes its part again


@cache
def _give_back() -> "Callable[[int], int] | None":
    """glibc's malloc_trim; None elsewhere."""
    if not _STATM.exists():
        return None
    call = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if call is None:
        return None
    call.argtypes, call.restype = [ctypes.c_size_t], ctypes.c_int
    return lambda kept: int(call(kept))


def resident_bytes() -> int:
    """What this process holds in memory now, give or take some MiB on machines of many cores. For systems with /proc."""
    return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
