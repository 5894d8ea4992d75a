"""The score of a query and a passage: their inner product, summed in float64 in one fixed order, rounded to float32.

In:  vectors float16 or float32 [n, D].
Out: scores that are the same bits wherever and in whatever company they are computed, and the bound within which a
     matrix product in less precision agrees with them.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from trainer.compiled import compiled
from trainer.top_k_loops import fill_products
from trainer.vector_files import VectorFiles

Floats: TypeAlias = npt.NDArray[np.float32]
Rows: TypeAlias = npt.NDArray[np.int64]

UNDERFLOW: Final = 1e-34  # error_bound leaves out what is lost below 1e-38, the smallest normal float32
_UNIT_ROUNDOFF: Final = 2.0**-24  # of float32
_GATHERED_BYTES: Final = 2**26
_ANY_ORDER: Final = {"reassoc", "contract"}  # for norms: they enter bounds, which have room for it
_LEAST_SQUARES: Final = 1e-30  # squares below 1e-38 that were lost to float32 are nothing beside it
_MOST_SQUARES: Final = 1e38
_EXPONENT_SHIFT: Final = np.float32(2.0**112)  # between the exponents of float16 (bias 15) and float32 (bias 127)


class NotFiniteError(ValueError):
    """An embedding holds NaN or infinity."""


def inner_products(queries: npt.NDArray[Any], corpus: VectorFiles, rows: Rows) -> Floats:
    """The score of each query [Q, D] with its own corpus rows, int64 [Q, m]: float32 [Q, m], -inf where the row is -1.

    The same bits that a search gives. Memory holds 64 MiB of corpus rows at a time. Raises IndexError for a row that
    the corpus does not have, ValueError for another dimension or another number of lines.
    """
    rows = np.asarray(rows, np.int64)
    if queries.ndim != 2 or queries.shape[1] != corpus.dimension or rows.ndim != 2 or len(rows) != len(queries):
        raise ValueError(
            f"queries {queries.shape}, rows {rows.shape} and a corpus of {corpus.dimension} dimensions do not belong "
            f"together: give one line of rows for each query, and embed both with the same model."
        )
    scores = np.empty(rows.shape, np.float32)
    at_once = max(1, _GATHERED_BYTES // (4 * corpus.dimension * max(1, rows.shape[1])))
    for start in range(0, len(rows), at_once):
        part = slice(start, start + at_once)
        wanted, places = np.unique(rows[part], return_inverse=True)
        none = int(np.searchsorted(wanted, 0)) if len(wanted) and wanted[0] == -1 else 0
        vectors, _ = widened(corpus.take(wanted[none:]), "corpus", 0)
        columns = places.reshape(rows[part].shape) - none
        fill_products(widened(queries[part], "query", start)[0], vectors, columns, scores[part])
    return scores


def widened(
    vectors: npt.NDArray[Any], what: str, first_row: int, threads: ThreadPoolExecutor | None = None
) -> tuple[Floats, npt.NDArray[np.float64]]:
    """The vectors [n, D] as float32, C order (no copy where they are so already), and their L2 norms float64 [n].

    Raises NotFiniteError naming `what` and the row, counted from `first_row`, of the first vector with NaN or infinity.
    """
    half = vectors.dtype == np.float16
    source: npt.NDArray[Any] = np.ascontiguousarray(vectors, np.float16 if half else np.float32)
    wide: Floats = np.empty(source.shape, np.float32) if half else source
    norms = np.empty(len(source), np.float64)

    def convert(part: slice) -> None:
        if half:
            _widen(source[part].view(np.uint16), wide[part], norms[part])
        else:
            _measure(source[part], norms[part])

    if threads is None:
        convert(slice(0, len(source)))
    else:
        in_threads(threads, len(source), convert)
    bad = np.flatnonzero(~np.isfinite(norms))
    if len(bad):
        raise NotFiniteError(
            f"The embedding of {what} row {first_row + int(bad[0])} is not finite. Embed it again in fp32."
        )
    return wide, norms


def error_bound(dimension: int, roundoff: float = _UNIT_ROUNDOFF) -> float:
    """How far a product of two unit vectors that is summed in float32, and the exact one rounded to float32, can be apart.

    |computed - exact| <= gamma_D |x|.|y| with gamma_D = D u / (1 - D u), in whatever order the D products are summed
    (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.5); 4 u more for the roundings of the exact
    one and of the thresholds it is compared with.
    """
    rounding = (dimension + 4) * roundoff
    return 1.01 * rounding / (1 - rounding)  # 1.01: the norms are computed in fp32 themselves


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(threads: ThreadPoolExecutor, count: int, work: Callable[[slice], None]) -> None:
    """Do `work` on 0 to `count`, cut into one slice for each core."""
    step = max(1, -(-count // available_cores()))
    for done in [threads.submit(work, slice(start, min(start + step, count))) for start in range(0, count, step)]:
        done.result()


@partial(compiled, fastmath=_ANY_ORDER)
def _widen(halves: npt.NDArray[np.uint16], wide: Floats, norms: npt.NDArray[np.float64]) -> None:
    """float16 bits as float32, exactly, several at a time; a norm is NaN where a value is not finite."""
    bits = wide.view(np.uint32)
    for row in range(halves.shape[0]):
        largest = np.uint16(0)
        for place in range(halves.shape[1]):
            half = halves[row, place]
            magnitude = half & np.uint16(0x7FFF)
            largest = max(largest, magnitude)
            bits[row, place] = (np.uint32(magnitude) << np.uint32(13)) | (np.uint32(half & 0x8000) << np.uint32(16))
        squares = np.float32(0)
        for place in range(halves.shape[1]):
            value = wide[row, place] * _EXPONENT_SHIFT
            wide[row, place] = value
            squares += value * value
        norms[row] = np.nan if largest >= 0x7C00 else np.sqrt(np.float64(squares))


@partial(compiled, fastmath=_ANY_ORDER)
def _measure(vectors: Floats, norms: npt.NDArray[np.float64]) -> None:
    for row in range(vectors.shape[0]):
        squares = np.float32(0)
        for place in range(vectors.shape[1]):
            squares += vectors[row, place] * vectors[row, place]
        exact = np.float64(squares)
        if not _LEAST_SQUARES <= exact <= _MOST_SQUARES:  # too small or large for float32, or not finite
            exact = np.float64(0)
            for place in range(vectors.shape[1]):
                exact += np.float64(vectors[row, place]) * np.float64(vectors[row, place])
        norms[row] = np.sqrt(exact)
