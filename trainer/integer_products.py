"""Products of vectors rounded to 16-bit integers: about twice as fast as float32 on most CPUs, and far closer to it than bfloat16.

In:  vectors float32 [n, K] and [m, K]; or queries, keys and values of texts.
Out: their inner products float32 [n, m]; or attention, two such products with a softmax between them.

A row is rounded to integers times a step of its own, a NORM-th of its L2 norm. No sum of products of two rows, nor any
part of it, then leaves an int32 (Cauchy and Schwarz: at most NORM * NORM < 2^30). Sums of integers are exact: the same
bits in any order and on any number of threads. (Attention sums weights in float32, too: in other registers single ones may be
rounded otherwise.)

The inner loop is vpmaddwd, sixteen products an instruction where a fused multiply-add of float32 does eight, or with
AVX512-VNNI vpdpwssd, thirty-two products and their sums where it does sixteen; compilers do not find them in a product of
matrices, so it is put together here. All that is compiled together is in this file (see trainer.compiled).
"""

from dataclasses import dataclass
from functools import cache, partial
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
Rows: TypeAlias = npt.NDArray[np.int64]

NORM: Final = 32_700.0  # of a rounded row; the largest int16 less what the rounding of 10,000 numbers can add
_SMALLEST_STEP: Final = 1e-37  # its inverse is finite
_UNROLLED: Final = 2  # pairs of products a turn of the inner loop
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
    if any(getattr(config, name, None) for name in ("CPU_NAME", "CPU_FEATURES")):  # numba compiles for another CPU
        return {}
    try:
        return dict(llvmlite.binding.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot tell on this platform
        return {}


def _has_wide_registers(features: dict[str, bool]) -> bool:
    """Whether sums of products of 16-bit integers are one instruction on 512 bits."""
    return all(features.get(name) for name in ("avx512f", "avx512bw", "avx512vnni"))


_WIDE: Final = _has_wide_registers(_features())
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
    count: int  # n


@dataclass(frozen=True)
class Panels:
    """Rounded rows laid out as `multiply` reads them: [panel, pair of numbers, row of the panel, number of the pair]."""

    integers: Integers  # [panels, K / 2, _COLUMNS, 2]
    steps: Floats  # [panels * _COLUMNS]
    added: Floats  # [panels * _COLUMNS], to every product
    count: int  # m

    @classmethod
    def empty(cls, count: int, width: int) -> "Panels":
        """Room for `count` rows of `width` numbers, all 0."""
        panels = -(-count // _COLUMNS)
        integers = _aligned((panels, _filled_up(width) // 2, _COLUMNS, 2))
        integers[:] = 0
        steps, added = np.zeros((2, panels * _COLUMNS), np.float32)
        return cls(integers, steps, added, count)


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
    """The rows of float32 [n, K], C order. A row that is not finite gets the step NaN, as will its products."""
    count, width = vectors.shape
    rows = -(-count // _ROWS) * _ROWS
    integers, steps = _aligned((rows, _filled_up(width))), np.empty(rows, np.float32)
    _round(vectors, 0, 1, count, integers, steps)
    return Rounded(integers, steps, count)


def lay_out(rows: Rounded, panels: Panels, first: int = 0) -> None:
    """Put rows into panels, from row `first` on."""
    here = slice(first, first + rows.count)
    _lay_out(rows.integers[: rows.count], panels.integers, first)
    panels.steps[here] = rows.steps[: rows.count]


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
    _multiply(rows.integers, rows.steps, columns.integers, columns.steps, columns.added, products)


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
        columns.integers,
        columns.steps,
        columns.added,
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
def _round(vectors: Floats, first: int, apart: int, count: int, integers: Integers, steps: Floats) -> None:
    """`count` rows, which lie `apart` rows after each other from `first` on."""
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
        steps[row] = step if np.isfinite(total) else np.nan
        inverse = np.float32(1.0 / step)
        for place in range(vectors.shape[1]):
            integers[row, place] = np.int16(np.rint(vectors[of, place] * inverse))
        for place in range(vectors.shape[1], integers.shape[1]):
            integers[row, place] = 0


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
    panels: Integers,
    column_steps: Floats,
    added: Floats,
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
                _tile(
                    rows.ctypes.data + row * bytes_of_row,
                    bytes_of_row,
                    panels.ctypes.data + column * bytes_of_row,
                    turns,
                    steps.ctypes.data + 4 * row,
                    column_steps.ctypes.data + 4 * column,
                    added.ctypes.data + 4 * column,
                    out,
                    4 * columns if inside else 4 * _COLUMNS,
                )
                if not inside:
                    height, width = min(_ROWS, count - row), min(_COLUMNS, columns - column)
                    products[row : row + height, column : column + width] = edge[:height, :width]


@compiled
def _products_above(
    rows: Integers,
    steps: Floats,
    panels: Integers,
    column_steps: Floats,
    added: Floats,
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
                _tile_and_hits(
                    rows.ctypes.data + row * bytes_of_row,
                    bytes_of_row,
                    panels.ctypes.data + column * bytes_of_row,
                    turns,
                    steps.ctypes.data + 4 * row,
                    column_steps.ctypes.data + 4 * column,
                    added.ctypes.data + 4 * column,
                    tile.ctypes.data,
                    4 * _COLUMNS,
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
            _round(parts, first_part + apart // 3, apart, long, rounded_rows, key_steps)
            _lay_out_keys(row_pairs, long, key_pairs)
            _lay_out_values(projected, start, end, 2 * all_heads + head, inverses[head : head + width], value_pairs)
            for place in range(width):
                value_steps[place] = np.float32(1) / inverses[head + place]
            _round(parts, first_part, apart, long, rounded_rows, steps)
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


def _tile_and_hits_kind(
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
    least: Any,
    hits: Any,
) -> Any:
    """As _tile; and hits, uint32 [_ROWS]: bit j is set where product j of the row is its `least` or more."""
    return types.void(*[types.intp] * 11), _write_tile


_tile: Any = intrinsic(_tile_kind)
_tile_and_hits: Any = intrinsic(_tile_and_hits_kind)


def _write_tile(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    rows, bytes_of_row, panel, turns, steps, column_steps, added, products, bytes_of_line, *least_and_hits = arguments
    halves = ir.VectorType(ir.IntType(16), 2 * _LANES)
    sums_type, floats = ir.VectorType(ir.IntType(32), _LANES), ir.VectorType(ir.FloatType(), _LANES)
    kind = ir.FunctionType(sums_type, [halves, halves])
    name = "llvm.x86.avx512.pmaddw.d.512" if _WIDE else "llvm.x86.avx2.pmadd.wd"
    multiply_pairs = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
    registers = range(_COLUMNS // _LANES)

    def number(value: int) -> Any:
        return ir.Constant(ir.IntType(64), value)

    def load(address: Any, offset: Any, kind: Any, align: int) -> Any:
        return builder.load(builder.inttoptr(builder.add(address, offset), kind.as_pointer()), align=align)

    def everywhere(value: Any, kind: Any) -> Any:
        single = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), ir.Constant(sums_type, [0] * _LANES))

    before = builder.block
    loop, end = (builder.append_basic_block(name) for name in ("products", "scaling"))
    builder.branch(loop)
    builder.position_at_end(loop)
    turn = builder.phi(ir.IntType(64))
    turn.add_incoming(number(0), before)
    begun = [[builder.phi(sums_type) for _ in registers] for _ in range(_ROWS)]
    sums: list[list[Any]] = [list(line) for line in begun]
    for step in range(_UNROLLED):
        pair = builder.add(builder.mul(turn, number(_UNROLLED)), number(step))
        place = builder.mul(pair, number(4 * _COLUMNS))
        columns = [load(panel, builder.add(place, number(_REGISTER * each)), halves, _REGISTER) for each in registers]
        for row in range(_ROWS):
            place = builder.add(builder.mul(bytes_of_row, number(row)), builder.mul(pair, number(4)))
            both = builder.bitcast(everywhere(load(rows, place, ir.IntType(32), 4), sums_type), halves)
            for each in registers:
                product = builder.call(multiply_pairs, [both, columns[each]])
                sums[row][each] = builder.add(sums[row][each], product)
    next_turn = builder.add(turn, number(1))
    turn.add_incoming(next_turn, loop)
    for row in range(_ROWS):
        for each in registers:
            begun[row][each].add_incoming(ir.Constant(sums_type, [0] * _LANES), before)
            begun[row][each].add_incoming(sums[row][each], loop)
    builder.cbranch(builder.icmp_signed("<", next_turn, turns), loop, end)
    builder.position_at_end(end)
    scales = [load(column_steps, number(_REGISTER * each), floats, 4) for each in registers]
    offsets = [load(added, number(_REGISTER * each), floats, 4) for each in registers]
    for row in range(_ROWS):
        step = everywhere(load(steps, number(4 * row), ir.FloatType(), 4), floats)
        hits = ir.Constant(ir.IntType(32), 0)
        for each in registers:
            values = builder.fmul(builder.fmul(builder.sitofp(sums[row][each], floats), step), scales[each])
            values = builder.fadd(values, offsets[each])
            place = builder.add(builder.mul(bytes_of_line, number(row)), number(_REGISTER * each))
            builder.store(values, builder.inttoptr(builder.add(products, place), floats.as_pointer()), align=4)
            if least_and_hits:
                least = everywhere(load(least_and_hits[0], number(4 * row), ir.FloatType(), 4), floats)
                bits = builder.bitcast(builder.fcmp_ordered(">=", values, least), ir.IntType(_LANES))
                shifted = builder.shl(builder.zext(bits, hits.type), ir.Constant(hits.type, _LANES * each))
                hits = builder.or_(hits, shifted)
        if least_and_hits:
            place = builder.add(least_and_hits[1], number(4 * row))
            builder.store(hits, builder.inttoptr(place, hits.type.as_pointer()), align=4)
    return context.get_dummy_value()
