"""Products of vectors rounded to 16-bit integers: about twice as fast as float32 on most CPUs, and far closer to it than bfloat16.

In:  vectors float32 [n, K] and [m, K]; or queries, keys and values of texts.
Out: their inner products float32 [n, m]; or attention, two such products with a softmax between them.

A row is rounded to integers times a step of its own, a NORM-th of its L2 norm, or a MOST-th of its largest number where
that is more (in attention always the first). No sum of products of two rows then leaves an int32 (Cauchy and Schwarz: at
most NORM * NORM < 2^30). Sums of integers are exact: the same bits in any order and on any number of threads. (Attention
sums weights in float32, too: in other registers single ones may be rounded otherwise.)

The inner loop is vpmaddwd, sixteen products an instruction where a fused multiply-add of float32 does eight, or with
AVX512-VNNI vpdpwssd, thirty-two products and their sums where it does sixteen; compilers do not find them in a product of
matrices, so it is put together here. All that is compiled together is in this file (see trainer.compiled).

Where the CPU adds integers beside multiplying them, half of the multiplications are made additions (S. Winograd, A New
Algorithm for Inner Product, 1968). With rows x and y cut into halves x1 x2 and y1 y2,

    x y = sum (x1 + y2) (x2 + y1) - sum x1 x2 - sum y1 y2

and the last two sums belong to a row alone. Overflows on the way do no harm, as the result has none: the same bits again.
Numbers lie between -MOST and MOST, so that the sum of two is an int16.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from typing import Any, Final, TypeAlias

import llvmlite.binding
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from trainer.compiled import compiled

Floats: TypeAlias = npt.NDArray[np.float32]
Integers: TypeAlias = npt.NDArray[np.int16]
Sums: TypeAlias = npt.NDArray[np.int32]
Rows: TypeAlias = npt.NDArray[np.int64]

NORM: Final = 32_700.0  # of a rounded row; the largest int16 less what the rounding of 10,000 numbers can add
MOST: Final = 16_383.0  # of a number of a rounded row: half of the largest int16
_SMALLEST_STEP: Final = 1e-37  # its inverse is finite
_UNROLLED: Final = 2  # pairs of products a turn of the inner loop; in halves one of each half: no other number there
_PADDED_TO: Final = 2 * _UNROLLED  # numbers of a row
_CACHE_LINE: Final = 64  # bytes
_ABREAST: Final = 64  # scores that a loop takes at a time: whole registers, several under way

# 2 ** f = 1 + f (a + f (b + f (c + f (d + f e)))) for f from -0.5 to 0.5: the five of least relative error, 1.9e-7 in float32.
_A, _B, _C, _D, _E = (
    np.float32(each) for each in (0.693147004, 0.240222424, 0.0555073358, 0.00967151299, 0.00132647273)
)
_LOST: Final = np.float32(1e-3)  # of a sum of weights, to rounding: bfloat16 may lose four times as much of each
_LEAST_POWER: Final = np.float32(-60)  # of 2: so small a weight is rounded to 0, and its square is no subnormal number


def _features() -> dict[str, bool]:
    """What this CPU has, in LLVM's words."""
    name, others = (getattr(config, each, None) for each in ("CPU_NAME", "CPU_FEATURES"))
    if others or name not in (None, "", llvmlite.binding.get_host_cpu_name()):  # numba compiles for another CPU
        return {}
    try:
        return dict(llvmlite.binding.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot tell on this platform
        return {}


def _has_wide_registers(features: dict[str, bool]) -> bool:
    """Whether sums of products of 16-bit integers are one instruction on 512 bits."""
    return all(features.get(name) for name in ("avx512f", "avx512bw", "avx512vnni"))


def _adds_beside_products() -> bool:
    """Whether additions of 16-bit integers take no time from products: Zen 4 has two units for both and two for sums alone.

    Intel's CPUs up to now have the same units for both. Zen 5 was not measured.
    """
    return _WIDE and llvmlite.binding.get_host_cpu_name() == "znver4"


_WIDE: Final = _has_wide_registers(_features())
_IN_HALVES: Final = _adds_beside_products()
_LANES: Final = 16 if _WIDE else 8  # int32 or float32 in a register
_REGISTER: Final = 4 * _LANES  # bytes
_COLUMNS: Final = 2 * _LANES  # of a tile
_ROWS: Final = 12 if _WIDE else 6  # of a tile: 24 of 32, or 12 of 16 registers hold sums
_ROWS_ABREAST: Final = 264  # whole tiles that stay in the second cache while a panel passes


@dataclass(frozen=True)
class Rounded:
    """Rows of integers and the step of each: a vector is about integers * step."""

    integers: Integers  # [n filled up to whole tiles with whatever, K filled up with 0]
    steps: Floats  # [n filled up to whole tiles]
    halves: Sums  # [n filled up to whole tiles]: less the product of a row's two halves; 0 where nobody asks for it
    count: int  # n


@dataclass(frozen=True)
class Panels:
    """Rounded rows laid out as `multiply` reads them: [panel, pair of numbers, row of the panel, number of the pair]."""

    integers: Integers  # [panels, K / 2, _COLUMNS, 2]
    steps: Floats  # [panels * _COLUMNS]
    added: Floats  # [panels * _COLUMNS], to every product
    halves: Sums  # [panels * _COLUMNS], as in Rounded
    count: int  # m

    @classmethod
    def empty(cls, count: int, width: int) -> "Panels":
        """Room for `count` rows of `width` numbers, all 0."""
        panels = -(-count // _COLUMNS)
        integers = _aligned((panels, _filled_up(width) // 2, _COLUMNS, 2))
        integers[:] = 0
        steps, added = np.zeros((2, panels * _COLUMNS), np.float32)
        return cls(integers, steps, added, np.zeros(panels * _COLUMNS, np.int32), count)


@cache
def can_multiply_integers() -> bool:
    """Whether this CPU has the instructions that `multiply` is made of."""
    return bool(_features().get("avx2"))


@cache
def integers_are_faster() -> bool:
    """Whether `multiply` beats float32: yes, unless float32 has registers twice as wide (AVX-512 without VNNI)."""
    features = _features()
    return can_multiply_integers() and (_has_wide_registers(features) or not features.get("avx512f"))


def rounded(vectors: Floats) -> Rounded:
    """The rows of float32 [n, K]. A row that is not finite gets the step NaN, as will its products.

    Raises ValueError for other types: bits are read as those of float32.
    """
    if vectors.dtype != np.float32:
        raise ValueError(f"Vectors to be rounded are float32, not {vectors.dtype}.")
    count, width = vectors.shape
    rows = -(-count // _ROWS) * _ROWS
    integers, steps = _aligned((rows, _filled_up(width))), np.empty(rows, np.float32)
    halves = np.zeros(rows, np.int32)
    _round(vectors, 0, 1, count, MOST, integers, steps)
    if _IN_HALVES:
        _multiply_halves(integers, count, halves)
    return Rounded(integers, steps, halves, count)


def lay_out(rows: Rounded, panels: Panels, first: int = 0) -> None:
    """Put rows into panels, from row `first` on."""
    here = slice(first, first + rows.count)
    _lay_out(rows.integers[: rows.count], panels.integers, first)
    panels.steps[here] = rows.steps[: rows.count]
    panels.halves[here] = rows.halves[: rows.count]


def rounding_errors(vectors: Floats, rows: Rounded) -> npt.NDArray[np.float64]:
    """The L2 norm of what rounding took from each row of float32 [n, K], rather too large than too small: float64 [n]."""
    errors = np.empty(rows.count, np.float64)
    _measure(vectors, rows.integers, rows.steps, errors)
    return errors


def multiply(rows: Rounded, columns: Panels, products: Floats) -> None:
    """products [n, m], C order = rows . columns + what is added; in one thread, without Python's lock.

    Raises ValueError for sizes that do not belong together: machine code does not look.
    """
    _check_widths(rows, columns)
    if products.shape != (rows.count, columns.count) or products.dtype != np.float32 or not products.flags.c_contiguous:
        raise ValueError(
            f"{rows.count} rows and {columns.count} columns do not make products of shape {products.shape}, {products.dtype}: "
            f"float32 in C order is needed."
        )
    _multiply(
        rows.integers,
        rows.steps,
        rows.halves,
        columns.integers,
        columns.steps,
        columns.added,
        columns.halves,
        products,
    )


def products_above(
    rows: Rounded, columns: Panels, least: Floats, counts: Rows, places: npt.NDArray[np.int32], values: Floats
) -> None:
    """Of the products of each row that are `least` [n] or more: how many, and the first r of them.

    counts [n] tells how many there are, places and values [n, r] their columns in ascending order and what they are. The
    products themselves never leave the first cache. In one thread, without Python's lock. Raises ValueError as multiply.
    """
    _check_widths(rows, columns)
    shapes = [least.shape, counts.shape, places.shape[:1], values.shape[:1]]
    if shapes != [(rows.count,)] * 4 or places.shape != values.shape:
        raise ValueError(f"{rows.count} rows do not have bars, counts, places and values of lengths {shapes}.")
    _products_above(
        rows.integers,
        rows.steps,
        rows.halves,
        columns.integers,
        columns.steps,
        columns.added,
        columns.halves,
        columns.count,
        least,
        counts,
        places,
        values,
    )


def attend(projected: Floats, lengths: Rows, heads: int) -> Floats:
    """softmax(q k^T / sqrt(d)) v of each text and head (arXiv:1706.03762, eq. 1): float32 [t, H], H = heads * d.

    `projected` float32 [t, 3 H] has the queries, keys and values of texts of these lengths int64 [n], end to end. A query's
    weights are rounded as a row is, by a step of their own, and divided by the sum of the integers; where that sum shows
    that many small ones were lost beside a large one, what rounding took is multiplied, too. What a text gets does not
    depend on the others. In one thread, without Python's lock. Raises ValueError for sizes that do not belong together.
    """
    tokens, all_parts = projected.shape
    width, rest = divmod(all_parts, 3 * heads)
    whole_numbers = lengths.dtype == np.int64 and lengths.ndim == 1 and lengths.min(initial=0) >= 0
    if (
        rest
        or not whole_numbers
        or lengths.sum() != tokens
        or not projected.flags.c_contiguous
        or projected.dtype != np.float32
    ):
        raise ValueError(
            f"Projections of shape {projected.shape}, {projected.dtype}, are not those of {heads} heads and texts of "
            f"{lengths.sum()} tokens (lengths {lengths.dtype}): float32 [tokens, 3 * heads * d] in C order and int64 [texts] are "
            f"needed."
        )
    most = -(-int(lengths.max(initial=0)) // _ABREAST) * _ABREAST
    keys = _aligned((most // _COLUMNS, _filled_up(width) // 2, _COLUMNS, 2))
    values = _aligned((-(-width // _COLUMNS), most // 2, _COLUMNS, 2))
    attended = np.empty((tokens, heads * width), np.float32)
    parts = projected.reshape(-1, width) if tokens else np.empty((0, width), np.float32)
    _attend(projected, parts, lengths, np.float32(np.log2(np.e) / np.sqrt(width)), keys, values, attended)
    return attended


def _check_widths(rows: Rounded, columns: Panels) -> None:
    if rows.integers.shape[1] != 2 * columns.integers.shape[1]:
        raise ValueError(
            f"Rows of {rows.integers.shape[1]} numbers and columns of {2 * columns.integers.shape[1]} do not make products."
        )


def _filled_up(width: int) -> int:
    return -(-width // _PADDED_TO) * _PADDED_TO


def _aligned(shape: tuple[int, ...]) -> Integers:
    """Memory that begins with a cache line."""
    size = 2 * int(np.prod(shape))
    memory = np.empty(size + _CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + size].view(np.int16).reshape(shape)


@partial(compiled, fastmath={"reassoc", "contract"})  # the factor of 1.0001 has room for sums in any order
def _round(vectors: Floats, first: int, apart: int, count: int, most: float, integers: Integers, steps: Floats) -> None:
    """`count` rows, which lie `apart` rows after each other from `first` on; no number above `most`."""
    bits = vectors.view(np.int32)
    for row in range(np.uint64(count)):  # with a sign, numba looks whether it counts from the end
        of = np.uint64(first) + row * np.uint64(apart)
        squares = np.float32(0)
        for place in range(vectors.shape[1]):
            squares += vectors[of, place] * vectors[of, place]
        total = np.float64(squares)
        if not 1e-30 < total < 1e38:  # too small or large to be summed in float32, or not finite
            total = np.float64(0)
            for place in range(vectors.shape[1]):
                total += np.float64(vectors[of, place]) * np.float64(vectors[of, place])
        step = max(np.sqrt(total) * (1.0001 / NORM), _SMALLEST_STEP)
        if most < NORM:
            largest = np.int32(0)  # of bits: see _largest
            for place in range(np.uint64(vectors.shape[1])):
                largest = max(largest, bits[of, place] & np.int32(0x7FFFFFFF))
            step = max(step, np.float64(_as_float(largest)) * (1.0001 / most))
        steps[row] = step if np.isfinite(total) else np.nan
        inverse = np.float32(1.0 / step)
        for place in range(vectors.shape[1]):
            integers[row, place] = np.int16(np.rint(vectors[of, place] * inverse))
        for place in range(vectors.shape[1], integers.shape[1]):
            integers[row, place] = 0


@compiled
def _multiply_halves(integers: Integers, count: int, halves: Sums) -> None:
    """Less the product of each row's first half with its second; whatever it is for a row that is not finite."""
    half = np.uint64(integers.shape[1] // 2)
    for row in range(np.uint64(count)):
        total = np.int32(0)
        for place in range(half):
            total += np.int32(integers[row, place]) * np.int32(integers[row, half + place])
        halves[row] = -total


@compiled
def _lay_out(rows: Integers, panels: Integers, first: int) -> None:
    for row in range(rows.shape[0]):
        panel, place = (first + row) // _COLUMNS, (first + row) % _COLUMNS
        for pair in range(panels.shape[1]):
            panels[panel, pair, place, 0] = rows[row, 2 * pair]
            panels[panel, pair, place, 1] = rows[row, 2 * pair + 1]


@partial(compiled, fastmath={"reassoc", "contract"})
def _measure(vectors: Floats, integers: Integers, steps: Floats, errors: npt.NDArray[np.float64]) -> None:
    for row in range(vectors.shape[0]):
        squares = np.float64(0)
        for place in range(vectors.shape[1]):
            error = np.float64(vectors[row, place]) - np.float64(integers[row, place]) * np.float64(steps[row])
            squares += error * error
        errors[row] = 1.0001 * np.sqrt(squares)


@compiled
def _multiply(
    rows: Integers,
    steps: Floats,
    halves: Sums,
    panels: Integers,
    column_steps: Floats,
    added: Floats,
    column_halves: Sums,
    products: Floats,
) -> None:
    count, columns = products.shape
    bytes_of_row = 2 * rows.shape[1]
    turns = panels.shape[1] // _UNROLLED
    edge = np.empty((_ROWS, _COLUMNS), np.float32)  # a tile that lies only partly inside
    for first in range(0, count, _ROWS_ABREAST):
        last = min(first + _ROWS_ABREAST, count)
        for panel in range(panels.shape[0]):
            column = panel * _COLUMNS
            for row in range(first, last, _ROWS):
                inside = row + _ROWS <= count and column + _COLUMNS <= columns
                out = products.ctypes.data + 4 * (row * columns + column) if inside else edge.ctypes.data
                _tile_of_rows(
                    rows.ctypes.data + row * bytes_of_row,
                    bytes_of_row,
                    panels.ctypes.data + column * bytes_of_row,
                    turns,
                    steps.ctypes.data + 4 * row,
                    column_steps.ctypes.data + 4 * column,
                    added.ctypes.data + 4 * column,
                    out,
                    4 * columns if inside else 4 * _COLUMNS,
                    halves.ctypes.data + 4 * row,
                    column_halves.ctypes.data + 4 * column,
                )
                if not inside:
                    height, width = min(_ROWS, count - row), min(_COLUMNS, columns - column)
                    products[row : row + height, column : column + width] = edge[:height, :width]


@compiled
def _products_above(
    rows: Integers,
    steps: Floats,
    halves: Sums,
    panels: Integers,
    column_steps: Floats,
    added: Floats,
    column_halves: Sums,
    columns: int,
    least: Floats,
    counts: Rows,
    places: npt.NDArray[np.int32],
    values: Floats,
) -> None:
    bytes_of_row = 2 * rows.shape[1]
    turns = panels.shape[1] // _UNROLLED
    tile, hits = np.empty((_ROWS, _COLUMNS), np.float32), np.empty(_ROWS, np.uint32)
    bars = np.full(rows.shape[0], np.nan, np.float32)  # which no number reaches, whatever fills the last tile up
    bars[: len(least)] = least
    counts[:] = 0
    for first in range(0, len(least), _ROWS_ABREAST):
        last = min(first + _ROWS_ABREAST, len(least))
        for panel in range(panels.shape[0]):
            column = panel * _COLUMNS
            for row in range(first, last, _ROWS):
                _tile_of_rows_and_hits(
                    rows.ctypes.data + row * bytes_of_row,
                    bytes_of_row,
                    panels.ctypes.data + column * bytes_of_row,
                    turns,
                    steps.ctypes.data + 4 * row,
                    column_steps.ctypes.data + 4 * column,
                    added.ctypes.data + 4 * column,
                    tile.ctypes.data,
                    4 * _COLUMNS,
                    halves.ctypes.data + 4 * row,
                    column_halves.ctypes.data + 4 * column,
                    bars.ctypes.data + 4 * row,
                    hits.ctypes.data,
                )
                for line in range(np.uint64(_ROWS)):
                    bits = np.uint64(hits[line])
                    if column + _COLUMNS > columns:
                        bits &= np.uint64((1 << (columns - column)) - 1)
                    while bits:
                        place, at = _lowest_bit(bits), np.uint64(row) + line
                        found = np.uint64(counts[at])
                        if found < np.uint64(places.shape[1]):
                            places[at, found], values[at, found] = np.uint64(column) + place, tile[line, place]
                        counts[at] = found + np.uint64(1)
                        bits &= bits - np.uint64(1)


@compiled
def _attend(
    projected: Floats, parts: Floats, lengths: Rows, scale: Any, keys: Integers, values: Integers, attended: Floats
) -> None:
    """`parts` are the same as rows [t * 3 * heads, width]; `keys` [panels, width / 2, _COLUMNS, 2] and `values` [panels, keys /
    2, _COLUMNS, 2] are memory for those of a text and head."""
    width, most, all_heads, filled = parts.shape[1], 2 * values.shape[1], attended.shape[1], 2 * keys.shape[1]
    apart = 3 * all_heads // width
    key_pairs, value_pairs = keys.view(np.int32), values.view(np.int32)
    rounded_rows, steps = np.empty((most + _ROWS, filled), np.int16), np.zeros(most + _ROWS, np.float32)
    row_pairs = rounded_rows.view(np.int32)
    key_steps, beyond = np.empty(most, np.float32), np.empty(most, np.float32)
    inverses, value_steps = np.empty(all_heads, np.float32), np.zeros(values.shape[0] * _COLUMNS, np.float32)
    scores, weights, weight_steps = (
        np.empty((_ROWS, most), np.float32),
        np.zeros((_ROWS, most), np.int16),
        np.zeros(_ROWS, np.float32),
    )
    bits = scores.view(np.int32)
    scales, edge = np.empty(_ROWS, np.float32), np.empty((_ROWS, _COLUMNS), np.float32)
    start = 0
    for long in lengths:
        end, turns = start + long, -(-long // _ABREAST)
        key_steps[long:], beyond[:long], beyond[long:] = 0, 0, -np.inf  # added to the scores of what is no key
        _invert_norms(projected, start, end, 2 * all_heads, inverses)
        for head in range(0, all_heads, width):
            first_part = start * apart + head // width
            _round(parts, first_part + apart // 3, apart, long, NORM, rounded_rows, key_steps)
            _lay_out_keys(row_pairs, long, key_pairs)
            _lay_out_values(projected, start, end, 2 * all_heads + head, inverses[head : head + width], value_pairs)
            for place in range(width):
                value_steps[place] = np.float32(1) / inverses[head + place]
            _round(parts, first_part, apart, long, NORM, rounded_rows, steps)
            for row in range(long):
                steps[row] *= scale
            for first in range(0, long, _ROWS):
                height = min(_ROWS, long - first)
                for column in range(0, turns * _ABREAST, _COLUMNS):
                    _tile(
                        rounded_rows.ctypes.data + 2 * filled * first,
                        2 * filled,
                        keys.ctypes.data + 2 * filled * column,
                        filled // _PADDED_TO,
                        steps.ctypes.data + 4 * first,
                        key_steps.ctypes.data + 4 * column,
                        beyond.ctypes.data + 4 * column,
                        scores.ctypes.data + 4 * column,
                        4 * most,
                    )
                coarse = _weigh(scores, bits, turns, height, weights, weight_steps, scales)
                for rest in range(2 if coarse else 1):
                    if rest:
                        _weigh_rest(scores, turns, weights, weight_steps, scales)
                    here = attended[start + first : start + first + height, head : head + width]
                    _add_weighted(weights, weight_steps, values, value_steps, long, here, bool(rest), edge)
        start = end


@compiled
def _lay_out_keys(rows: npt.NDArray[np.int32], count: int, panels: npt.NDArray[np.int32]) -> None:
    """Rows [count, pairs] as panels [panel, pair, row of the panel, 1]; a pair of numbers is an int32 in both."""
    for key in range(np.uint64(count)):
        for pair in range(np.uint64(panels.shape[1])):
            panels[key // np.uint64(_COLUMNS), pair, key % np.uint64(_COLUMNS), 0] = rows[key, pair]


@compiled
def _add_weighted(
    weights: Integers,
    weight_steps: Floats,
    values: Integers,
    value_steps: Floats,
    count: int,
    attended: Floats,
    rest: bool,
    edge: Floats,
) -> None:
    """attended [_ROWS or fewer, width] = weights . values of `count` keys, or with `rest` added to it; `edge` is memory for a tile."""
    height, width = attended.shape
    nothing = np.zeros(_COLUMNS, np.float32)
    for place in range(0, width, _COLUMNS):
        direct = not rest and height == _ROWS and place + _COLUMNS <= width
        _tile(
            weights.ctypes.data,
            2 * weights.shape[1],
            values.ctypes.data + 2 * weights.shape[1] * place,
            -(-count // _PADDED_TO),
            weight_steps.ctypes.data,
            value_steps.ctypes.data + 4 * place,
            nothing.ctypes.data,
            attended.ctypes.data + 4 * place if direct else edge.ctypes.data,
            attended.strides[0] if direct else 4 * _COLUMNS,
        )
        if not direct:
            for line in range(height):
                for column in range(min(_COLUMNS, width - place)):
                    before = attended[line, place + column] if rest else np.float32(0)
                    attended[line, place + column] = before + edge[line, column]


@partial(compiled, fastmath={"reassoc", "contract"})
def _invert_norms(projected: Floats, first: int, end: int, at: int, inverses: Floats) -> None:
    """NORM over the norm of each column from `at` on, over the rows from `first` to `end`."""
    squares = np.zeros(len(inverses), np.float64)
    for row in range(np.uint64(first), np.uint64(end)):
        for place in range(np.uint64(len(inverses))):
            value = np.float64(projected[row, np.uint64(at) + place])
            squares[place] += value * value
    for place in range(len(inverses)):
        step = max(np.sqrt(squares[place]) * (1.0001 / NORM), _SMALLEST_STEP)
        inverses[place] = np.float32(1.0 / step) if np.isfinite(squares[place]) else np.nan


@compiled
def _lay_out_values(
    projected: Floats, first: int, end: int, at: int, inverses: Floats, pairs: npt.NDArray[np.int32]
) -> None:
    """The columns from `at` on, rounded, as panels: the two numbers of a pair are of two rows from `first` to `end`."""
    for panel in range(np.uint64(pairs.shape[0])):
        place = panel * np.uint64(_COLUMNS)
        here, columns = np.uint64(at) + place, min(np.uint64(_COLUMNS), np.uint64(len(inverses)) - place)
        for pair in range(np.uint64((end - first + 1) // 2)):
            row = np.uint64(first) + np.uint64(2) * pair
            after = min(row + np.uint64(1), np.uint64(end - 1))  # beyond the last any number will do: its weight is 0
            for column in range(columns):
                one = np.int32(np.rint(projected[row, here + column] * inverses[place + column]))
                other = np.int32(np.rint(projected[after, here + column] * inverses[place + column]))
                pairs[panel, pair, column, 0] = (one & np.int32(0xFFFF)) | (other << np.int32(16))


@partial(compiled, fastmath={"reassoc", "contract"})
def _weigh(
    scores: Floats,
    bits: npt.NDArray[np.int32],
    turns: int,
    height: int,
    weights: Integers,
    steps: Floats,
    scales: Floats,
) -> bool:
    """2 ** scores of _ROWS lines as integers, and 1 / their sum; NaN for what is not finite.

    `bits` are the scores seen as int32; there are `turns` times as many as loops take at once: a rest would take them long.
    Line after line in each pass, so that one line's sums need not be there before the next line is begun.

    Returns whether of the first `height` lines one lost too much; then the steps are those of the sum before rounding.
    """
    largest, totals, squares = np.empty(_ROWS, np.float32), np.empty(_ROWS, np.float32), np.empty(_ROWS, np.float32)
    for line in range(np.uint64(_ROWS)):
        largest[line] = _largest(bits, line, turns)
    for line in range(np.uint64(_ROWS)):
        total, square = np.float32(0), np.float32(0)
        for place in range(np.uint64(turns * _ABREAST)):
            power = scores[line, place] - largest[line]
            power = _LEAST_POWER if power < _LEAST_POWER else power  # NaN stays
            whole = np.rint(power)
            rest = power - whole
            value = np.float32(1) + rest * (_A + rest * (_B + rest * (_C + rest * (_D + rest * _E))))
            value *= _as_float((np.int32(whole) + np.int32(127)) << np.int32(23))
            scores[line, place] = value
            total += value
            square += value * value
        totals[line], squares[line] = total, square
    coarse = False
    for line in range(np.uint64(_ROWS)):
        scale, total = np.float32(NORM) / np.sqrt(squares[line]), np.float32(0)
        for place in range(np.uint64(turns * _ABREAST)):
            weight = np.rint(scores[line, place] * scale)
            weights[line, place] = np.int32(weight)
            total += weight  # exact below 2^24
        scales[line], totals[line] = scale, totals[line] * scale
        steps[line] = np.float32(1) / total if np.isfinite(totals[line]) else np.float32(np.nan)
        if line < np.uint64(height) and abs(totals[line] - total) > _LOST * total:
            coarse = True
    if coarse:
        steps[:] = np.float32(1) / totals
    return coarse


@compiled
def _weigh_rest(scores: Floats, turns: int, weights: Integers, steps: Floats, scales: Floats) -> None:
    """What rounding took from the weights as integers, larger than they by the same factor for all, and their steps.

    `scores` are powers of 2 by now, and `scales` what they were multiplied by.
    """
    factor = np.float32(NORM / (0.5 * np.sqrt(turns * _ABREAST)))  # a norm of NORM at most
    for line in range(np.uint64(_ROWS)):
        for place in range(np.uint64(turns * _ABREAST)):
            lost = scores[line, place] * scales[line] - np.float32(weights[line, place])
            weights[line, place] = np.int32(np.rint(lost * factor))
        steps[line] /= factor


@compiled
def _largest(bits: npt.NDArray[np.int32], line: int, turns: int) -> Any:
    """Of float32 seen as int32: compilers find it in whole registers of those alone, because floats may be NaN."""
    largest = np.int32(-(2**31))
    for place in range(np.uint64(turns * _ABREAST)):
        largest = max(largest, _in_order(bits[line, place]))
    return _as_float(_in_order(largest))


@compiled
def _in_order(bits: Any) -> Any:
    """An int32 that is as much larger or smaller than others as the float32 of these bits, and back."""
    return bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))


def _as_float_kind(context: Any, bits: Any) -> Any:
    """The float32 of these bits, an int32."""
    return types.float32(types.int32), lambda context, builder, signature, arguments: builder.bitcast(
        arguments[0], ir.FloatType()
    )


_as_float: Any = intrinsic(_as_float_kind)


def _lowest_bit_kind(context: Any, bits: Any) -> Any:
    """The place of the lowest bit that is set of a uint64 that is not 0."""
    return types.uint64(types.uint64), lambda context, builder, signature, arguments: builder.cttz(
        arguments[0], ir.Constant(ir.IntType(1), 1)
    )


_lowest_bit: Any = intrinsic(_lowest_bit_kind)


def _tile_kind(
    context: Any,
    rows: Any,
    bytes_of_row: Any,
    panel: Any,
    turns: Any,
    steps: Any,
    column_steps: Any,
    added: Any,
    products: Any,
    bytes_of_line: Any,
) -> Any:
    """Machine code of one tile: addresses and sizes in bytes; products of _ROWS rows and a panel, in float32.

    Both products of a pair are added by the multiplication; sums are int32, made float32 and scaled at the end. LLVM makes
    one instruction of multiplication and sum where the CPU has it.
    """
    return types.void(*[types.intp] * 9), _write_tile


def _tile_of_rows_kind(
    context: Any,
    rows: Any,
    bytes_of_row: Any,
    panel: Any,
    turns: Any,
    steps: Any,
    column_steps: Any,
    added: Any,
    products: Any,
    bytes_of_line: Any,
    halves: Any,
    column_halves: Any,
) -> Any:
    """As _tile, of rows none of whose numbers is above MOST, in halves where that is faster."""
    return types.void(*[types.intp] * 11), _write_tile


def _tile_of_rows_and_hits_kind(
    context: Any,
    rows: Any,
    bytes_of_row: Any,
    panel: Any,
    turns: Any,
    steps: Any,
    column_steps: Any,
    added: Any,
    products: Any,
    bytes_of_line: Any,
    halves: Any,
    column_halves: Any,
    least: Any,
    hits: Any,
) -> Any:
    """As _tile_of_rows; and hits, uint32 [_ROWS]: bit j is set where product j of the row is its `least` or more."""
    return types.void(*[types.intp] * 13), _write_tile


_tile: Any = intrinsic(_tile_kind)
_tile_of_rows: Any = intrinsic(_tile_of_rows_kind)
_tile_of_rows_and_hits: Any = intrinsic(_tile_of_rows_and_hits_kind)


def _write_tile(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    code = _TileCode(builder, *arguments[:9])
    halves, least_and_hits = arguments[9:11] if _IN_HALVES else (), arguments[11:]
    code.scale(code.sums_in_halves(*halves) if halves else code.sums(), *least_and_hits)
    return context.get_dummy_value()


_SUMS: Final = ir.VectorType(ir.IntType(32), _LANES)
_PAIRS: Final = ir.VectorType(ir.IntType(16), 2 * _LANES)
_FLOATS: Final = ir.VectorType(ir.FloatType(), _LANES)
_REGISTERS: Final = range(_COLUMNS // _LANES)
_Line: TypeAlias = list[Any]  # of a row: a register of sums for every _LANES columns


class _TileCode:
    """Writes one tile's instructions; arguments are values of LLVM: addresses, and sizes in bytes."""

    def __init__(
        self,
        builder: Any,
        rows: Any,
        bytes_of_row: Any,
        panel: Any,
        turns: Any,
        steps: Any,
        column_steps: Any,
        added: Any,
        products: Any,
        bytes_of_line: Any,
    ) -> None:
        self.builder = builder
        self.rows, self.bytes_of_row, self.panel, self.turns = rows, bytes_of_row, panel, turns
        self.steps, self.column_steps, self.added = steps, column_steps, added
        self.products, self.bytes_of_line = products, bytes_of_line

    def sums(self) -> list[_Line]:
        """The products of int16 rows and columns: a register of int32 for each row and _LANES columns."""

        def add_products(turn: Any, sums: list[_Line]) -> None:
            for step in range(_UNROLLED):
                pair = self.builder.add(self.builder.mul(turn, _number(_UNROLLED)), _number(step))
                columns = self._column_pairs(pair)
                for row, line in enumerate(sums):
                    both = self._row_pair(row, pair)
                    for each in _REGISTERS:
                        line[each] = self._plus_product(line[each], both, columns[each])

        return self._loop([[ir.Constant(_SUMS, [0] * _LANES) for _ in _REGISTERS] for _ in range(_ROWS)], add_products)

    def sums_in_halves(self, halves: Any, column_halves: Any) -> list[_Line]:
        """The same, with a multiplication for two pairs: one of the rows' first half and one of their second."""
        of_columns = [self._load(column_halves, _number(_REGISTER * each), _SUMS, 4) for each in _REGISTERS]
        beginnings = []
        for row in range(_ROWS):
            of_row = self._everywhere(self._load(halves, _number(4 * row), ir.IntType(32), 4), _SUMS)
            beginnings.append([self.builder.add(of_row, each) for each in of_columns])

        def add_products(turn: Any, sums: list[_Line]) -> None:
            other = self.builder.add(turn, self.turns)
            first, second = self._column_pairs(turn), self._column_pairs(other)
            for row, line in enumerate(sums):
                its_first, its_second = self._row_pair(row, turn), self._row_pair(row, other)
                for each in _REGISTERS:
                    left = self.builder.add(its_first, second[each])
                    right = self.builder.add(its_second, first[each])
                    line[each] = self._plus_product(line[each], left, right)

        return self._loop(beginnings, add_products)

    def scale(self, sums: list[_Line], least: Any = None, hits: Any = None) -> None:
        """Store sums * steps + what is added, in float32; and which of them are `least` or more."""
        builder = self.builder
        scales = [self._load(self.column_steps, _number(_REGISTER * each), _FLOATS, 4) for each in _REGISTERS]
        offsets = [self._load(self.added, _number(_REGISTER * each), _FLOATS, 4) for each in _REGISTERS]
        for row, line in enumerate(sums):
            step = self._everywhere(self._load(self.steps, _number(4 * row), ir.FloatType(), 4), _FLOATS)
            values = []
            for each in _REGISTERS:
                scaled = builder.fmul(builder.fmul(builder.sitofp(line[each], _FLOATS), step), scales[each])
                values.append(builder.fadd(scaled, offsets[each]))
                place = builder.add(builder.mul(self.bytes_of_line, _number(row)), _number(_REGISTER * each))
                self._store(values[each], self.products, place)
            if hits is not None:
                bar = self._everywhere(self._load(least, _number(4 * row), ir.FloatType(), 4), _FLOATS)
                self._store(self._bits(values, bar), hits, _number(4 * row))

    def _loop(self, beginnings: list[_Line], add_products: Callable[[Any, list[_Line]], None]) -> list[_Line]:
        """`add_products` for each turn, to sums that begin with `beginnings`."""
        builder, before = self.builder, self.builder.block
        loop, end = (builder.append_basic_block(name) for name in ("products", "scaling"))
        builder.branch(loop)
        builder.position_at_end(loop)
        turn = builder.phi(ir.IntType(64))
        begun = [[builder.phi(_SUMS) for _ in _REGISTERS] for _ in beginnings]
        sums = [list(line) for line in begun]
        add_products(turn, sums)
        next_turn = builder.add(turn, _number(1))
        turn.add_incoming(_number(0), before)
        turn.add_incoming(next_turn, loop)
        for phi, first, later in zip(*(chain(*each) for each in (begun, beginnings, sums)), strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(later, loop)
        builder.cbranch(builder.icmp_signed("<", next_turn, self.turns), loop, end)
        builder.position_at_end(end)
        return sums

    def _plus_product(self, total: Any, left: Any, right: Any) -> Any:
        kind = ir.FunctionType(_SUMS, [_PAIRS, _PAIRS])
        name = "llvm.x86.avx512.pmaddw.d.512" if _WIDE else "llvm.x86.avx2.pmadd.wd"
        multiply_pairs = cgutils.get_or_insert_function(self.builder.module, kind, name)  # type: ignore[no-untyped-call]
        return self.builder.add(total, self.builder.call(multiply_pairs, [left, right]))

    def _row_pair(self, row: int, pair: Any) -> Any:
        """A pair of the row's numbers, for every column."""
        place = self.builder.add(self.builder.mul(self.bytes_of_row, _number(row)), self.builder.mul(pair, _number(4)))
        return self.builder.bitcast(self._everywhere(self._load(self.rows, place, ir.IntType(32), 4), _SUMS), _PAIRS)

    def _column_pairs(self, pair: Any) -> list[Any]:
        place = self.builder.mul(pair, _number(4 * _COLUMNS))
        return [
            self._load(self.panel, self.builder.add(place, _number(_REGISTER * each)), _PAIRS, _REGISTER)
            for each in _REGISTERS
        ]

    def _bits(self, values: list[Any], bar: Any) -> Any:
        """An int32 with bit j set where value j is the bar or more."""
        bits, kind = ir.Constant(ir.IntType(32), 0), ir.IntType(32)
        for each in _REGISTERS:
            few = self.builder.bitcast(self.builder.fcmp_ordered(">=", values[each], bar), ir.IntType(_LANES))
            bits = self.builder.or_(
                bits, self.builder.shl(self.builder.zext(few, kind), ir.Constant(kind, _LANES * each))
            )
        return bits

    def _everywhere(self, value: Any, kind: Any) -> Any:
        nothing, first = ir.Constant(kind, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        single = self.builder.insert_element(nothing, value, first)
        return self.builder.shuffle_vector(single, nothing, ir.Constant(_SUMS, [0] * _LANES))

    def _load(self, address: Any, offset: Any, kind: Any, align: int) -> Any:
        place = self.builder.inttoptr(self.builder.add(address, offset), kind.as_pointer())
        return self.builder.load(place, align=align)

    def _store(self, value: Any, address: Any, offset: Any) -> None:
        place = self.builder.inttoptr(self.builder.add(address, offset), value.type.as_pointer())
        self.builder.store(value, place, align=4)


def _number(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)
