"""Candidates by products of 16-bit integers on the CPU: about twice as fast as float32.

Scores are compared where they are made, and only those are kept that may be among the k best of their query. Which those
are is known from the blocks before, or else guessed from a sample of the block: the score that a little more than k of
its rows should reach. Where fewer than k do, or too many, all scores of the query are looked at.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.cpu_search import CpuScreen, scan_scores
from trainer.inner_products import UNDERFLOW, Floats, Rows, error_bound, in_threads
from trainer.integer_products import Panels, Rounded, lay_out, multiply, products_above, rounded, rounding_errors
from trainer.search_blocks import Best, Block, Queries
from trainer.top_k_loops import fill_kth_largest, offer_candidates, settle_guesses

_SAMPLED_EVERY: Final = 17  # rows; no power of two, as what rows have in common may come every so many
_QUERIES_AT_ONCE: Final = 256  # of a core: the more, the less often the block comes from memory
_CANDIDATES_AT_ONCE: Final = 2**19  # of a core: 8 bytes each
_WHOLE_LINES: Final = 48  # of all scores of a query at a time
_LARGEST_NORM: Final = 1e30  # of vectors whose products of integers cannot overflow on their way back to float32


class RoundedBlock(NamedTuple):
    """Corpus rows as integers."""

    block: Block
    panels: Panels
    sample: Panels  # every _SAMPLED_EVERY-th row
    rounding: float  # the largest L2 norm of what a row lost


class IntegerCpuScreen:
    """Every core takes its share of the queries."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._wide = CpuScreen(threads)

    def load(self, block: Block) -> RoundedBlock:
        panels, rounding = Panels.empty(*block.vectors.shape), np.empty(len(block.vectors), np.float64)

        def work(part: slice) -> None:
            rows = rounded(block.vectors[part])
            rounding[part] = rounding_errors(block.vectors[part], rows)
            lay_out(rows, panels, part.start)

        in_threads(self._threads, len(block.vectors), work)
        chosen = np.ascontiguousarray(block.vectors[::_SAMPLED_EVERY])
        sample = Panels.empty(*chosen.shape)
        lay_out(rounded(chosen), sample)
        return RoundedBlock(block, panels, sample, float(rounding.max(initial=0.0)))

    def merge(self, queries: Queries, loaded: RoundedBlock, best: Best) -> None:
        """Bring the rows of the block into the best of these queries."""
        if max(loaded.block.largest, queries.norms.max(initial=0.0)) > _LARGEST_NORM:
            self._wide.merge(queries, loaded.block, best)
            return
        at_once = min(_QUERIES_AT_ONCE, max(1, _CANDIDATES_AT_ONCE // _room(best.scores.shape[1])))

        def work(part: slice) -> None:
            for start in range(part.start, part.stop, at_once):
                few = slice(start, min(start + at_once, part.stop))
                its = Queries(queries.number, queries.vectors[few], queries.norms[few])
                _merge_few(its, loaded, best.scores[few], best.rows[few])

        with best.lock:
            in_threads(self._threads, len(queries.vectors), work)

    def finish(self) -> None:
        """Nothing is left to do."""


def _merge_few(queries: Queries, loaded: RoundedBlock, scores: Floats, found: Rows) -> None:
    """What one core does at a time: `scores` and `found` [B, k] are the best so far."""
    block, k = loaded.block, scores.shape[1]
    rows = rounded(queries.vectors)
    errors = _errors(queries, rows, loaded)
    known = (scores[:, 0] - errors).astype(np.float32)  # below, no row is better than the worst so far
    guesses = np.full(len(known), -np.inf, np.float32)
    if block.first_row == 0 or np.isneginf(known).any():  # else k rows are known, which say more than a sample
        guesses = _guesses(rows, loaded.sample, k)
    guesses[guesses - 2 * errors <= known] = -np.inf
    least = np.maximum(known, (guesses - 2 * errors).astype(np.float32))
    starts, candidates, failed = _candidates(rows, loaded.panels, least, guesses, errors, k)
    offer_candidates(starts, candidates, queries.vectors, block.vectors, block.first_row, scores, found)
    if failed.any():
        again = np.flatnonzero(failed)
        few = Queries(queries.number, queries.vectors[again], queries.norms[again])
        its_scores, its_rows = scores[again], found[again]
        _merge_all_scores(few, loaded, errors[again], its_scores, its_rows)
        scores[again], found[again] = its_scores, its_rows


def _errors(queries: Queries, rows: Rounded, loaded: RoundedBlock) -> npt.NDArray[np.float64]:
    """How far the product of each query's integers can be from the exact score.

    |x~ y~ - x y| <= |x~ - x| |y~| + |x| |y~ - y|, and a few roundings to float32 of what is at most |x~| |y~|.
    """
    rounding, longest = rounding_errors(queries.vectors, rows), loaded.block.largest + loaded.rounding
    of_rounding = rounding * longest + queries.norms * loaded.rounding
    return of_rounding + error_bound(8) * (queries.norms + rounding) * longest + UNDERFLOW


def _guesses(rows: Rounded, sample: Panels, k: int) -> Floats:
    """A score for each query that a little more than k rows of the block should reach; -inf where k is too large for that."""
    expected = k / _SAMPLED_EVERY  # of the k best, in the sample
    rank = int(expected + 3 * expected**0.5) + 2
    guesses = np.full(rows.count, -np.inf, np.float32)
    if rank <= sample.count // 4:
        products = np.empty((rows.count, sample.count), np.float32)
        multiply(rows, sample, products)
        fill_kth_largest(products, rank, guesses)
    return guesses


def _candidates(
    rows: Rounded, panels: Panels, least: Floats, guesses: Floats, errors: npt.NDArray[np.float64], k: int
) -> tuple[Rows, npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Columns candidates[starts[q] : starts[q + 1]] of each query, and for which queries all scores are to be looked at."""
    failed = np.isneginf(least)
    starts = np.zeros(rows.count + 1, np.int64)
    if failed.all():
        return starts, np.empty(0, np.int32), failed
    shape = (rows.count, _room(k))
    counts, columns, values = np.empty(len(least), np.int64), np.empty(shape, np.int32), np.empty(shape, np.float32)
    products_above(rows, panels, np.where(failed, np.float32(np.inf), least), counts, columns, values)
    settle_guesses(counts, columns, values, guesses, errors, k, starts, failed)
    return starts, columns.reshape(-1)[: starts[-1]], failed


def _room(k: int) -> int:
    """Candidates of a query: twice as many as the guess should give, and some more for small k."""
    return 4 * k + 1024


def _merge_all_scores(
    queries: Queries, loaded: RoundedBlock, errors: npt.NDArray[np.float64], scores: Floats, found: Rows
) -> None:
    block = loaded.block
    for start in range(0, len(errors), _WHOLE_LINES):
        few = slice(start, start + _WHOLE_LINES)
        vectors = queries.vectors[few]
        rough = np.empty((len(vectors), len(block.vectors)), np.float32)
        multiply(rounded(vectors), loaded.panels, rough)
        scan_scores(rough, errors[few], vectors, block, scores[few], found[few])
