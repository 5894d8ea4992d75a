"""What the byte loops of wikitext share: compiling, names as numbers, and the private marks that pass between them.

Importing this module costs half a second, for numba, and the first call of a loop some seconds where no compiled code is
cached: import it where a loop is needed, never at the top of a module.
"""

import inspect
import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

# Bytes that XML forbids and that therefore no dump holds: the first loop drops them from its input, the loops give them
# a meaning, the last one writes none.
NOTHING: Final = 0x00  # no character, but keeps its neighbours apart: [<nowiki/>[ is no link
OPENED: Final = 0x01  # a template that never closes: nothing from here to the end of the line
BREAK: Final = 0x02  # <br> and the like
HOLE: Final = 0x04  # here a template, a formula or the like was dropped
PROTECTED: Final = 0x0E  # the first of the bytes that stand for the characters of SHIELDED inside <nowiki>
SHIELDED: Final = b"[]{}|'=*#:;_<!"

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

_SEPARATES: Final = np.zeros(256, np.bool_)  # words of a name
_SEPARATES[[*b" _\t\n"]] = True
_START: Final = 0xCBF2_9CE4_8422_2325
_FACTOR: Final = 1_000_003
LONGEST_NAME: Final = 80  # bytes of a name that is looked up


# numba takes code from its cache while the function's own file is the same; the name of the cache's file must change
# when this file does, whose functions are part of that code.
_VERSION: Final = f"-{zlib.crc32(inspect.getsource(sys.modules[__name__]).encode()):08x}"


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba's machine code for a function, which runs without Python's lock.

    That of the functions without a leading `_` is kept in numba's cache: they hold the code of those they call.
    """
    if not function.__name__.startswith("_"):
        function.__qualname__ += _VERSION
    try:
        fast: Callable[..., Any] = numba.njit(cache=not function.__name__.startswith("_"), nogil=True)(function)
    except RuntimeError:  # no writable folder for a cache: every process compiles for itself
        fast = numba.njit(nogil=True)(function)
    return fast


class Table(NamedTuple):
    """Numbers by name: open addressing, a power of two of places; place `hash & (places - 1)` and those after it."""

    hashes: Places  # 0: an empty place
    numbers: Places


def make_table(numbers: Mapping[bytes, int]) -> Table:
    """The table of some names (UTF-8, as hash_name leaves them: ASCII in lower case, spaces for `_`) and numbers > 0."""
    places = 8
    while places < 4 * len(numbers):
        places *= 2
    table = Table(np.zeros(places, np.int64), np.zeros(places, np.int64))
    for name, number in numbers.items():
        key = _hash_in_python(name)
        at = key & (places - 1)
        while table.hashes[at] not in (0, key):
            at = (at + 1) & (places - 1)
        table.hashes[at], table.numbers[at] = key, number
    return table


def _hash_in_python(name: bytes) -> int:
    value = _START
    for byte in name:
        value = ((value ^ byte) * _FACTOR) & 0xFFFF_FFFF_FFFF_FFFF
        value ^= value >> 29
    value |= 1 << 62  # never the 0 of an empty place
    return value - (1 << 64) if value >> 63 else value


@compiled
def hash_exactly(data: Bytes, at: int, end: int) -> int:
    """The key of the bytes as they are; 0 for more than LONGEST_NAME of them."""
    if end - at > LONGEST_NAME:
        return 0
    value = np.uint64(_START)
    for place in range(at, end):
        value = _mix(value, data[place])
    return int(np.int64(value | np.uint64(1 << 62)))


@compiled
def hash_name(data: Bytes, at: int, end: int) -> int:
    """The key of a name: ASCII in lower case, `_` and runs of white space one space, none at the ends, no marks."""
    if end - at > LONGEST_NAME:
        return 0
    value = np.uint64(_START)
    space = False
    started = False
    for place in range(at, end):
        byte = data[place]
        if _SEPARATES[byte]:
            space = True
        elif byte > 32:
            if space and started:
                value = _mix(value, np.uint8(32))
            space = False
            started = True
            value = _mix(value, np.uint8(byte + 32) if 65 <= byte <= 90 else byte)
    return int(np.int64(value | np.uint64(1 << 62)))


@compiled
def _mix(value: np.uint64, byte: np.uint8) -> np.uint64:
    value = (value ^ np.uint64(byte)) * np.uint64(_FACTOR)
    return value ^ (value >> np.uint64(29))


@compiled
def look_up(table: Table, key: int) -> int:
    """The number of a key; 0 where the table has none."""
    if key == 0:
        return 0
    last = len(table.hashes) - 1
    at = key & last
    while table.hashes[at] != 0:
        if table.hashes[at] == key:
            return int(table.numbers[at])
        at = (at + 1) & last
    return 0
