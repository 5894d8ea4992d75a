"""Candidates by a float32 matrix product on the CPU."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from trainer.inner_products import UNDERFLOW, Floats, Rows, error_bound, in_threads
from trainer.search_blocks import Best, Block, Queries
from trainer.top_k_loops import GROUP, fill_largest, scan


class CpuScreen:
    """Blocks of numpy's BLAS; every core then scans the scores of its share of the queries."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._scores = np.empty(0, np.float32)

    def load(self, block: Block) -> Block:
        return block

    def merge(self, queries: Queries, block: Block, best: Best) -> None:
        """Bring the rows of the block into the best of these queries."""
        rough = self._room(len(queries.vectors), len(block.vectors))
        np.matmul(queries.vectors, block.vectors.T, out=rough)
        errors = error_bound(queries.vectors.shape[1]) * queries.norms * block.largest + UNDERFLOW
        scan_in_threads(self._threads, rough, errors, queries, block, best)

    def finish(self) -> None:
        """Nothing is left to do."""

    def _room(self, queries: int, columns: int) -> Floats:
        """The same memory each time: fresh pages would cost a tenth of the product."""
        if self._scores.size < queries * columns:
            self._scores = np.empty(queries * columns, np.float32)
        return self._scores[: queries * columns].reshape(queries, columns)


def scan_in_threads(
    threads: ThreadPoolExecutor,
    rough: Floats,
    errors: npt.NDArray[np.float64],
    queries: Queries,
    block: Block,
    best: Best,
) -> None:
    """Offer the rows of the block whose rough scores [B, C], wrong by `errors` [B] at most, allow it."""

    def work(part: slice) -> None:
        scan_scores(rough[part], errors[part], queries.vectors[part], block, best.scores[part], best.rows[part])

    with best.lock:
        in_threads(threads, len(rough), work)


def scan_scores(
    rough: Floats, errors: npt.NDArray[np.float64], vectors: Floats, block: Block, scores: Floats, found: Rows
) -> None:
    """As scan_in_threads, in one thread: `scores` and `found` [B, k] are the best so far."""
    largest = np.empty((len(rough), -(-rough.shape[1] // GROUP)), np.float32)
    fill_largest(rough, largest)
    scan(rough, largest, errors, vectors, block.vectors, block.first_row, scores, found)
