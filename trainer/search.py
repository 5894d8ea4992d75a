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
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

_UNIT_ROUNDOFF: Final = 2.0**-24  # of float32
_DEVICE_SLACK: Final = 64  # candidates beyond k that a GPU hands over; where they are too few, the block is scanned
_NORM_BLOCK: Final = 4096

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


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
    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    parts = [slice(start, start + query_block) for start in range(0, len(queries), query_block)]
    errors = _error_bound(queries.shape[1]) * _norms(queries, "query", 0)
    first_row = 0
    with ThreadPoolExecutor(_cores(), "top-k") as threads:
        merge = _merge_on_cpu if device == "cpu" else _merge_on_device(device)
        for block in _blocks(corpus, corpus_block, queries.shape[1]):
            largest = float(_norms(block, "corpus", first_row).max())
            for part in parts:
                query_rows = np.ascontiguousarray(queries[part], np.float32)
                merge(threads, query_rows, block, errors[part] * largest, first_row, scores[part], rows[part])
            first_row += len(block)
    for part in parts:
        order = np.lexsort((rows[part], -scores[part]), axis=1)
        scores[part] = np.take_along_axis(scores[part], order, axis=1)
        rows[part] = np.take_along_axis(rows[part], order, axis=1)
    return scores, rows


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _blocks(
    corpus: npt.NDArray[Any] | Iterable[npt.NDArray[Any]], corpus_block: int, dimension: int
) -> Iterator[Floats]:
    for array in [corpus] if isinstance(corpus, np.ndarray) else corpus:
        if array.ndim != 2 or array.shape[1] != dimension:
            raise ValueError(
                f"The corpus has an array of shape {array.shape}, the queries have {dimension} dimensions: embed both "
                f"with the same model."
            )
        for start in range(0, len(array), corpus_block):
            yield np.ascontiguousarray(array[start : start + corpus_block], np.float32)


def _norms(vectors: npt.NDArray[Any], what: str, first_row: int) -> npt.NDArray[np.float64]:
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


def _error_bound(dimension: int) -> float:
    """How far an fp32 inner product of two unit vectors, and the exact one rounded to float32, can be apart.

    |computed - exact| <= gamma_D |x|.|y| with gamma_D = D u / (1 - D u), in whatever order the D products are summed.
    """
    rounding = (dimension + 2) * _UNIT_ROUNDOFF
    return 1.01 * rounding / (1 - rounding)  # 1.01: the norms are computed in fp32 themselves


def _merge_on_cpu(
    threads: ThreadPoolExecutor,
    queries: Floats,
    corpus: Floats,
    errors: npt.NDArray[np.float64],
    first_row: int,
    scores: Floats,
    rows: Rows,
) -> None:
    """Bring the rows of one corpus block [C, D] into the best so far, `scores` and `rows` [B, k], of queries [B, D].

    Each line of `scores` and `rows` is a heap whose first entry is the worst kept.
    """
    screened = queries @ corpus.T
    _in_threads(
        threads,
        len(queries),
        lambda part: _scan(screened[part], queries[part], corpus, errors[part], first_row, scores[part], rows[part]),
    )


def _in_threads(threads: ThreadPoolExecutor, count: int, work: Callable[[slice], None]) -> None:
    step = max(1, -(-count // _cores()))
    for done in [threads.submit(work, slice(start, start + step)) for start in range(0, count, step)]:
        done.result()


def _merge_on_device(device: str) -> Callable[..., None]:
    """As `_merge_on_cpu`, with the matrix product and a first choice of candidates on a torch device."""
    import torch

    resident: dict[int, torch.Tensor] = {}  # the corpus block at hand, by the number of its first row

    def merge(
        threads: ThreadPoolExecutor,
        queries: Floats,
        corpus: Floats,
        errors: npt.NDArray[np.float64],
        first_row: int,
        scores: Floats,
        rows: Rows,
    ) -> None:
        if first_row not in resident:
            resident.clear()
            resident[first_row] = torch.from_numpy(corpus).to(device)
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")  # TF32 would break the error bound
        try:
            screened = torch.from_numpy(queries).to(device) @ resident[first_row].T
        finally:
            torch.set_float32_matmul_precision(precision)
        width = min(scores.shape[1] + _DEVICE_SLACK, len(corpus))
        best, columns = (tensor.cpu().numpy() for tensor in torch.topk(screened, width, dim=1))
        before = scores.copy(), rows.copy()
        _in_threads(
            threads,
            len(queries),
            lambda part: _merge_candidates(
                best[part], columns[part], queries[part], corpus, errors[part], first_row, scores[part], rows[part]
            ),
        )
        # Where even the last candidate could be among the k best, rows that were not handed over could be too.
        doubtful = np.flatnonzero((width < len(corpus)) & (best[:, -1] + errors >= scores[:, 0]))
        if len(doubtful):
            kept_scores, kept_rows = before[0][doubtful], before[1][doubtful]
            all_scores = screened[torch.from_numpy(doubtful).to(device)].cpu().numpy()
            _scan(all_scores, queries[doubtful], corpus, errors[doubtful], first_row, kept_scores, kept_rows)
            scores[doubtful], rows[doubtful] = kept_scores, kept_rows

    return merge


# Compiled in each process (about a second) rather than cached: a cache needs a folder that can be written.
@numba.njit(nogil=True)
def _scan(
    screened: Floats,
    queries: Floats,
    corpus: Floats,
    errors: npt.NDArray[np.float64],
    first_row: int,
    scores: Floats,
    rows: Rows,
) -> None:
    for query in range(screened.shape[0]):
        for column in range(screened.shape[1]):
            if screened[query, column] + errors[query] >= scores[query, 0]:
                score = _inner_product(queries[query], corpus[column])
                _offer(scores[query], rows[query], score, first_row + column)


@numba.njit(nogil=True)
def _merge_candidates(
    best: Floats,
    columns: Rows,
    queries: Floats,
    corpus: Floats,
    errors: npt.NDArray[np.float64],
    first_row: int,
    scores: Floats,
    rows: Rows,
) -> None:
    for query in range(best.shape[0]):
        for place in range(best.shape[1]):
            if best[query, place] + errors[query] >= scores[query, 0]:
                column = columns[query, place]
                score = _inner_product(queries[query], corpus[column])
                _offer(scores[query], rows[query], score, first_row + column)


@numba.njit(nogil=True)
def _inner_product(left: Floats, right: Floats) -> np.float32:
    """Float64 sums of the (exact) float64 products in eight lanes, added in one fixed order, rounded to float32."""
    lanes = np.zeros(8, np.float64)
    whole = len(left) // 8 * 8
    for start in range(0, whole, 8):
        for lane in range(8):
            lanes[lane] += np.float64(left[start + lane]) * np.float64(right[start + lane])
    for index in range(whole, len(left)):
        lanes[index - whole] += np.float64(left[index]) * np.float64(right[index])
    even = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6])
    odd = (lanes[1] + lanes[5]) + (lanes[3] + lanes[7])
    return np.float32(even + odd)


@numba.njit(nogil=True)
def _offer(scores: Floats, rows: Rows, score: np.float32, row: int) -> None:
    """Take (score, row) into the heap in place of its worst entry, if it is better: larger, or equal and of lower row."""
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
