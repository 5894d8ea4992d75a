"""Exact top-k by inner product: every query against every corpus row, in bounded memory.

In:  queries [Q, D] and corpus rows [N, D], in memory, memory-mapped or as a stream of arrays.
Out: for each query its k best corpus rows and their scores, best first, equal scores by the lower row.

The result is defined without regard to blocks, threads or devices: the score of a pair is the inner product summed in
float64 in one fixed order and rounded to float32. Matrix products in fp32 round differently with the shape of a block
and the place of a row in it, so they only screen: a row goes on where its fp32 score could, within the bound on the
rounding error of an inner product (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.5), still
reach the k best.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

import numba
import numpy as np
import numpy.typing as npt

_UNIT_ROUNDOFF: Final = 2.0**-24  # of float32
_DEVICE_SLACK: Final = 64  # candidates beyond k that a GPU hands over; where they are too few, the block is scanned
_NORM_BLOCK: Final = 4096

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
_Arrays = TypeVar("_Arrays", "_Queries", "_Found")


class _Queries(NamedTuple):
    vectors: Floats  # [B, D]
    errors: npt.NDArray[np.float64]  # [B]: how far a screened score can be from the true one


class _Block(NamedTuple):
    vectors: Floats  # [C, D]
    first_row: int


class _Found(NamedTuple):
    """The best so far. Each line is a heap whose first entry is the worst kept."""

    scores: Floats  # [B, k]
    rows: Rows  # [B, k]


def exact_top_k(
    queries: npt.NDArray[Any],
    corpus: npt.NDArray[Any] | Iterable[npt.NDArray[Any]],
    k: int,
    *,
    query_block: int = 1024,
    corpus_block: int = 16_384,
    device: str = "cpu",
) -> tuple[Floats, Rows]:
    """The `k` corpus rows of largest inner product with each query: scores float32 [Q, k], row numbers int64 [Q, k].

    `queries` is [Q, D]; `corpus` is one [N, D] array or an iterable of such arrays, numbered through; float32 or
    float16, memory-mapped ones included; each is read once. Equal scores are ordered by the lower row. A corpus of
    fewer than `k` rows leaves row -1 and score -inf at the end. Beside the result, memory holds one block of scores
    (query_block x corpus_block, float32) and one of corpus rows. `device` is where the matrix products run: "cpu", or
    a torch device such as "cuda" or "cuda:1".

    Raises ValueError for k < 1, for rows of another dimension, and for a query or corpus row that is not finite.
    """
    if k < 1:
        raise ValueError(f"k = {k}: a search for the best rows needs k of at least 1.")
    if queries.ndim != 2:
        raise ValueError(f"queries must be a [Q, D] array, found shape {queries.shape}.")
    found = _Found(np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64))
    errors = error_bound(queries.shape[1]) * norms_of(queries, "query", 0)
    parts = [slice(start, start + query_block) for start in range(0, len(queries), query_block)]
    merge = _merge_on_cpu if device == "cpu" else _merge_on_device(device)
    with ThreadPoolExecutor(available_cores(), "top-k") as threads:
        for block in corpus_blocks(corpus, corpus_block, queries.shape[1]):
            largest = float(norms_of(block.vectors, "corpus", block.first_row).max())
            for part in parts:
                vectors = np.ascontiguousarray(queries[part], np.float32)
                merge(threads, _Queries(vectors, errors[part] * largest), block, _part(found, part))
    for part in parts:
        order = np.lexsort((found.rows[part], -found.scores[part]), axis=1)
        for best in found:
            best[part] = np.take_along_axis(best[part], order, axis=1)
    return found.scores, found.rows


def _part(arrays: _Arrays, part: slice | Rows) -> _Arrays:
    """The lines `part` of each array of a tuple of arrays."""
    return type(arrays)(*(array[part] for array in arrays))  # type: ignore[arg-type]


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def corpus_blocks(
    corpus: npt.NDArray[Any] | Iterable[npt.NDArray[Any]], corpus_block: int, dimension: int
) -> Iterator[_Block]:
    first_row = 0
    for array in [corpus] if isinstance(corpus, np.ndarray) else corpus:
        if array.ndim != 2 or array.shape[1] != dimension:
            raise ValueError(
                f"The corpus has an array of shape {array.shape}, the queries have {dimension} dimensions: embed both "
                f"with the same model."
            )
        for start in range(0, len(array), corpus_block):
            vectors = np.ascontiguousarray(array[start : start + corpus_block], np.float32)
            yield _Block(vectors, first_row)
            first_row += len(vectors)


def norms_of(vectors: npt.NDArray[Any], what: str, first_row: int) -> npt.NDArray[np.float64]:
    """L2 norms [n] of vectors [n, D]."""
    norms = np.empty(len(vectors), np.float64)
    for start in range(0, len(vectors), _NORM_BLOCK):
        block = np.asarray(vectors[start : start + _NORM_BLOCK], np.float32)
        norms[start : start + _NORM_BLOCK] = np.sqrt(np.einsum("nd,nd->n", block, block))
    bad = np.flatnonzero(~np.isfinite(norms))
    if len(bad):
        raise ValueError(
            f"The embedding of {what} row {first_row + int(bad[0])} is not finite. Embed it again in fp32."
        )
    return norms


def error_bound(dimension: int) -> float:
    """How far an fp32 inner product of two unit vectors, and the exact one rounded to float32, can be apart.

    |computed - exact| <= gamma_D |x|.|y| with gamma_D = D u / (1 - D u), in whatever order the D products are summed;
    4 u more for the roundings of the exact one and of the thresholds it is compared with.
    """
    rounding = (dimension + 4) * _UNIT_ROUNDOFF
    return 1.01 * rounding / (1 - rounding)  # 1.01: the norms are computed in fp32 themselves


def _merge_on_cpu(threads: ThreadPoolExecutor, queries: _Queries, block: _Block, found: _Found) -> None:
    """Bring the rows of one corpus block into the best found so far for one block of queries."""
    screened = queries.vectors @ block.vectors.T
    in_threads(
        threads, len(screened), lambda part: _scan(screened[part], _part(queries, part), block, _part(found, part))
    )


def _merge_on_device(device: str) -> Callable[[ThreadPoolExecutor, _Queries, _Block, _Found], None]:
    """As `_merge_on_cpu`, with the matrix product and a first choice of candidates on a torch device."""
    import torch

    resident: dict[int, torch.Tensor] = {}  # the corpus block at hand, by the number of its first row

    def merge(threads: ThreadPoolExecutor, queries: _Queries, block: _Block, found: _Found) -> None:
        if block.first_row not in resident:
            resident.clear()
            resident[block.first_row] = torch.from_numpy(block.vectors).to(device)
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")  # TF32 would break the error bound
        try:
            screened = torch.from_numpy(queries.vectors).to(device) @ resident[block.first_row].T
        finally:
            torch.set_float32_matmul_precision(precision)
        width = min(found.scores.shape[1] + _DEVICE_SLACK, len(block.vectors))
        best, columns = (tensor.cpu().numpy() for tensor in torch.topk(screened, width, dim=1))
        before = _Found(found.scores.copy(), found.rows.copy())
        in_threads(
            threads,
            len(best),
            lambda part: _merge_candidates(best[part], columns[part], _part(queries, part), block, _part(found, part)),
        )
        if width == len(block.vectors):
            return
        # Where even the last candidate could be among the k best, rows that were not handed over could be too.
        doubtful = np.flatnonzero(best[:, -1] + queries.errors >= found.scores[:, 0])
        if len(doubtful):
            kept = _part(before, doubtful)
            all_scores = screened[torch.from_numpy(doubtful).to(device)].cpu().numpy()
            _scan(all_scores, _part(queries, doubtful), block, kept)
            found.scores[doubtful], found.rows[doubtful] = kept

    return merge


def in_threads(threads: ThreadPoolExecutor, count: int, work: Callable[[slice], None]) -> None:
    step = max(1, -(-count // available_cores()))
    for done in [threads.submit(work, slice(start, start + step)) for start in range(0, count, step)]:
        done.result()


# Compiled in each process (about a second) rather than cached: a cache needs a folder that can be written.
@numba.njit(nogil=True)
def _scan(screened: Floats, queries: _Queries, block: _Block, found: _Found) -> None:
    """Offer every row of the block whose screened score [B, C] allows it."""
    for query in range(screened.shape[0]):
        scores, rows, error = found.scores[query], found.rows[query], queries.errors[query]
        # The k best screened scores come first, without inner products: no row 2 errors below them is among the best.
        best = np.full(len(scores), -np.inf, np.float32)
        unused = np.zeros(len(scores), np.int64)
        least = np.float32(scores[0] - error)
        for column in range(screened.shape[1]):
            if screened[query, column] >= least:
                _offer(best, unused, screened[query, column], 0)
                least = max(least, best[0])
        least = np.float32(max(scores[0] - error, best[0] - 2 * error))
        for column in range(screened.shape[1]):
            if screened[query, column] >= least:
                score = inner_product(queries.vectors[query], block.vectors[column])
                _offer(scores, rows, score, block.first_row + column)
                least = max(least, np.float32(scores[0] - error))


@numba.njit(nogil=True)
def _merge_candidates(best: Floats, columns: Rows, queries: _Queries, block: _Block, found: _Found) -> None:
    """Offer the candidates [B, m] of the block: their screened scores `best` and their places `columns` in it."""
    for query in range(best.shape[0]):
        scores, rows = found.scores[query], found.rows[query]
        for place in range(best.shape[1]):
            if best[query, place] + queries.errors[query] >= scores[0]:
                column = columns[query, place]
                score = inner_product(queries.vectors[query], block.vectors[column])
                _offer(scores, rows, score, block.first_row + column)


@numba.njit(nogil=True)
def inner_product(left: Floats, right: Floats) -> np.float32:
    """Float64 sums of the (exact) float64 products in four lanes, added in one fixed order, rounded to float32."""
    first = second = third = fourth = 0.0
    whole = len(left) // 4 * 4
    for start in range(0, whole, 4):
        first += np.float64(left[start]) * np.float64(right[start])
        second += np.float64(left[start + 1]) * np.float64(right[start + 1])
        third += np.float64(left[start + 2]) * np.float64(right[start + 2])
        fourth += np.float64(left[start + 3]) * np.float64(right[start + 3])
    for index in range(whole, len(left)):
        first += np.float64(left[index]) * np.float64(right[index])
    return np.float32((first + second) + (third + fourth))


@numba.njit(nogil=True)
def _offer(scores: Floats, rows: Rows, score: np.float32, row: int) -> None:
    """Put (score, row) in place of the worst entry of the heap if it is better: larger, or equal and of lower row."""
    if score < scores[0] or (score == scores[0] and row > rows[0]):
        return
    place, size = 0, len(scores)
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            scores[other] < scores[child] or (scores[other] == scores[child] and rows[other] > rows[child])
        ):
            child = other
        if scores[child] > score or (scores[child] == score and rows[child] < row):
            break
        scores[place], rows[place] = scores[child], rows[child]
        place = child
    scores[place], rows[place] = score, row
