"""Exact top-k by M3's lexical score: the sum, over the tokens two texts share, of the products of their weights.

In:  `SparseVectors` of queries and of a corpus.
Out: as trainer.search, scores summed in float64 in the order of token ids and rounded to float32. Rows that score 0
     (no shared token) are not found.

Source: M3-Embedding (arXiv 2402.03216), section 3.2, "lexical retrieval". The corpus is inverted a block at a time: for
each token the rows that have it. A query adds up the lists of its tokens, so the work is what two texts share.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trainer.compiled import compiled
from trainer.inner_products import Floats, Rows, available_cores, in_threads
from trainer.search_blocks import Found
from trainer.sparse_vectors import SparseVectors
from trainer.top_k_loops import offer_sums, sort_heaps

_ROWS_AT_ONCE: Final = 32_768  # float64 sums of so many rows stay in a core's cache


def lexical_top_k(queries: SparseVectors, corpus: SparseVectors, k: int, *, rows_at_once: int = _ROWS_AT_ONCE) -> Found:
    """The `k` corpus rows of largest lexical score with each query: best first, equal scores by the lower row.

    Beside the result, memory holds one block of `rows_at_once` rows inverted, and 8 bytes of such a row on each core.
    Fewer than `k` rows of a score above 0 leave row -1 and score -inf at the end. Raises ValueError for k < 1 and for a
    weight that is negative or not finite.
    """
    search = LexicalSearch(queries, k, rows_at_once=rows_at_once)
    search.add(corpus)
    return search.found()


class LexicalSearch:
    """lexical_top_k of a corpus that comes in parts: rows are numbered through."""

    def __init__(self, queries: SparseVectors, k: int, *, rows_at_once: int = _ROWS_AT_ONCE) -> None:
        """Raises ValueError as lexical_top_k does."""
        if k < 1:
            raise ValueError(f"k = {k}: a search for the best rows needs k of at least 1.")
        _check(queries, "query")
        self._queries, self._rows_at_once, self._rows = queries, rows_at_once, 0
        self._scores = np.full((len(queries), k), -np.inf, np.float32)
        self._found = np.full((len(queries), k), -1, np.int64)

    def add(self, corpus: SparseVectors) -> None:
        """Search the next rows of the corpus. Raises ValueError for a weight that is negative or not finite."""
        _check(corpus, "corpus", self._rows)
        tokens = 1 + max(int(side.token_ids.max(initial=-1)) for side in (self._queries, corpus))
        with ThreadPoolExecutor(available_cores(), "lexical") as threads:
            for first in range(0, len(corpus), self._rows_at_once):
                count = min(self._rows_at_once, len(corpus) - first)
                low, high = corpus.offsets[first], corpus.offsets[first + count]
                offsets = corpus.offsets[first : first + count + 1] - low
                inverted = _invert(offsets, corpus.token_ids[low:high], corpus.weights[low:high], tokens)
                in_threads(threads, len(self._queries), partial(self._offer, inverted, count, self._rows + first))
        self._rows += len(corpus)

    def _offer(self, inverted: Any, count: int, first_row: int, part: slice) -> None:
        offsets = self._queries.offsets[part.start : part.stop + 1]
        queries = (offsets, self._queries.token_ids, self._queries.weights)
        offer_sums(*queries, *inverted, count, first_row, self._scores[part], self._found[part])

    def found(self) -> Found:
        """The best rows of all that was added; nothing can be added then."""
        with ThreadPoolExecutor(available_cores(), "lexical") as threads:
            in_threads(threads, len(self._queries), lambda part: sort_heaps(self._scores[part], self._found[part]))
        return Found(self._scores, self._found)


def _check(vectors: SparseVectors, what: str, first_row: int = 0) -> None:
    bad = np.flatnonzero(~(np.isfinite(vectors.weights) & (vectors.weights >= 0)))
    if len(bad):
        row = first_row + int(np.searchsorted(vectors.offsets, bad[0], side="right")) - 1
        raise ValueError(
            f"The lexical vector of {what} row {row} has a weight of {vectors.weights[bad[0]]}: weights are 0 or more and "
            f"finite. Encode the text again in fp32."
        )


@compiled
def _invert(offsets: Rows, token_ids: npt.NDArray[np.int32], weights: Floats, tokens: int) -> Any:
    """For each token the rows that have it and their weights: starts [tokens + 1], rows, weights."""
    starts = np.zeros(tokens + 2, np.int64)
    for place in range(len(token_ids)):
        starts[token_ids[place] + 2] += 1
    for token in range(tokens):
        starts[token + 2] += starts[token + 1]
    rows, sorted_weights = np.empty(len(token_ids), np.int32), np.empty(len(token_ids), np.float32)
    for row in range(len(offsets) - 1):
        for place in range(offsets[row], offsets[row + 1]):
            at = starts[token_ids[place] + 1]
            rows[at], sorted_weights[at] = row, weights[place]
            starts[token_ids[place] + 1] += 1
    return starts[: tokens + 1], rows, sorted_weights
