"""How well the two sides of a pair belong together, judged by their embeddings: cosine, rank in a pool, bitext margin.

In:  queries and positives [n, D], row i of both being one pair; a pool of passages, memory-mapped or streamed.
Out: numbers [n]; what is kept is decided elsewhere.

rank in a pool   consistency filter of E5 (Wang et al. 2022, arXiv 2212.03533, section 3.1): a pair stays where its positive is
                 among the k best of a pool of random passages and itself (k = 2 of 1 M; Arctic-Embed 2.0: 20 of 3 M)
margin           ratio margin of Artetxe and Schwenk (2019, arXiv 1811.01136, equation 2), k = 4
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trainer.inner_products import UNDERFLOW, available_cores, error_bound, in_threads, widened
from trainer.search import exact_top_k
from trainer.search_blocks import corpus_blocks
from trainer.top_k_loops import count_better, fill_products

Floats = npt.NDArray[np.float32]
QUERY_BLOCK: Final = 1024
POOL_BLOCK: Final = 16_384
MARGIN_NEIGHBOURS: Final = 4


def cosines(queries: npt.NDArray[Any], positives: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The cosine of each pair, float64 [n], of vectors [n, D] of any length but 0."""
    left, right = np.asarray(queries, np.float64), np.asarray(positives, np.float64)
    norms = np.sqrt(np.einsum("nd,nd->n", left, left) * np.einsum("nd,nd->n", right, right))
    similarity: npt.NDArray[np.float64] = np.einsum("nd,nd->n", left, right) / norms
    return similarity


def ranks_in_pool(
    queries: npt.NDArray[Any],
    positives: npt.NDArray[Any],
    pool: npt.NDArray[Any] | Iterable[npt.NDArray[Any]],
) -> npt.NDArray[np.int32]:
    """How many passages of the pool score higher with each query than its positive does: int32 [n], 0 is best.

    `pool` is [P, D] or an iterable of such arrays, read once. Scores are inner products as exact_top_k defines them, so that
    the ranks do not depend on blocks or threads, and a copy of the positive in the pool never ranks above it. Memory
    holds one block of scores. Raises ValueError as exact_top_k does.
    """
    if queries.shape != positives.shape or queries.ndim != 2:
        raise ValueError(f"queries {queries.shape} and positives {positives.shape} must be [n, D], one row a pair.")
    ranks = np.zeros(len(queries), np.int32)
    errors = np.empty(len(queries), np.float64)
    own = np.empty(len(queries), np.float32)
    for start in range(0, len(queries), QUERY_BLOCK):
        part = slice(start, start + QUERY_BLOCK)
        vectors, norms = widened(queries[part], "query", start)
        errors[part] = error_bound(queries.shape[1]) * norms
        itself = np.arange(len(vectors))[:, None]
        fill_products(vectors, widened(positives[part], "positive", start)[0], itself, own[part, None])
    room = np.empty(min(len(queries), QUERY_BLOCK) * POOL_BLOCK, np.float32)  # fresh pages cost a tenth of a product
    with ThreadPoolExecutor(available_cores(), "pool") as threads:
        for block in corpus_blocks(pool, POOL_BLOCK, queries.shape[1]):
            for start in range(0, len(queries), QUERY_BLOCK):
                part = slice(start, start + QUERY_BLOCK)
                vectors = _contiguous(queries[part])
                shape = (len(vectors), len(block.vectors))
                rough = room[: shape[0] * shape[1]].reshape(shape)
                np.matmul(vectors, block.vectors.T, out=rough)
                allowed = errors[part] * block.largest + UNDERFLOW
                _count_in_threads(threads, rough, vectors, block.vectors, own[part], allowed, ranks[part])
    return ranks


def bitext_margins(
    sources: npt.NDArray[Any], targets: npt.NDArray[Any], neighbours: int = MARGIN_NEIGHBOURS
) -> npt.NDArray[np.float64]:
    """The ratio margin of each translation pair: float64 [n].

    cos(x, y) / (mean cosine of x and its k nearest targets / 2 + mean cosine of y and its k nearest sources / 2), the k
    nearest being sought among the rows given, which are normalised first. With fewer rows than k, among all there are.
    """
    left, right = _normalised(sources), _normalised(targets)
    count = min(neighbours, len(left))
    if count == 0:
        return np.zeros(0, np.float64)
    forward, _ = exact_top_k(left, right, count)
    backward, _ = exact_top_k(right, left, count)
    around = (forward.mean(axis=1, dtype=np.float64) + backward.mean(axis=1, dtype=np.float64)) / 2
    margins: npt.NDArray[np.float64] = cosines(left, right) / around
    return margins


def _normalised(vectors: npt.NDArray[Any]) -> Floats:
    wide = np.asarray(vectors, np.float32)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: Floats = wide / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit


def _contiguous(vectors: npt.NDArray[Any]) -> Floats:
    return np.ascontiguousarray(vectors, np.float32)


def _count_in_threads(
    threads: ThreadPoolExecutor,
    rough: Floats,
    queries: Floats,
    block: Floats,
    own: Floats,
    errors: npt.NDArray[np.float64],
    ranks: npt.NDArray[np.int32],
) -> None:
    in_threads(
        threads,
        len(queries),
        lambda part: count_better(rough[part], queries[part], block, own[part], errors[part], ranks[part]),
    )
