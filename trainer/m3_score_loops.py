"""The loops of M3's lexical and multi-vector scores. All that call each other are in this file: see trainer.compiled."""

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from trainer.compiled import compiled

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.int64]
Tokens: TypeAlias = npt.NDArray[np.int32]

_LANES: Final = 32  # partial sums of an inner product, as in trainer.top_k_loops


@compiled
def fill_lexical_scores(
    query_offsets: Rows,
    query_tokens: Tokens,
    query_weights: Floats,
    passage_offsets: Rows,
    passage_tokens: Tokens,
    passage_weights: Floats,
    rows: Rows,
    scores: Floats,
) -> None:
    """scores [Q, m]: the products of the weights of shared tokens, summed in float64 in the order of token ids."""
    for query in range(rows.shape[0]):
        for place in range(rows.shape[1]):
            passage = rows[query, place]
            if passage < 0:
                scores[query, place] = -np.inf
                continue
            one, other = query_offsets[query], passage_offsets[passage]
            one_end, other_end = query_offsets[query + 1], passage_offsets[passage + 1]
            total = 0.0
            while one < one_end and other < other_end:
                if query_tokens[one] == passage_tokens[other]:
                    total += np.float64(query_weights[one]) * np.float64(passage_weights[other])
                    one += 1
                    other += 1
                elif query_tokens[one] < passage_tokens[other]:
                    one += 1
                else:
                    other += 1
            scores[query, place] = total


@compiled
def add_largest_products(
    rough: Floats,
    bound: float,
    queries: Floats,
    query_norms: Doubles,
    passages: Floats,
    passage_norms: Doubles,
    offsets: Rows,
    sums: Doubles,
) -> None:
    """Add to sums [n] of each passage (vectors offsets[i] to offsets[i + 1]) the largest product of each query vector.

    `rough` [t, T] are the products within `bound` times both norms; only those that may be the largest are computed
    again, in float64, so that neither rough's rounding nor its blocks are seen in the result.
    """
    lanes = np.empty(_LANES)
    for passage in range(len(offsets) - 1):
        start, end = offsets[passage], offsets[passage + 1]
        if start == end:
            continue
        longest = 0.0
        for column in range(start, end):
            longest = max(longest, passage_norms[column])
        total = sums[passage]
        for token in range(queries.shape[0]):
            highest = rough[token, start]
            for column in range(start + 1, end):
                highest = max(highest, rough[token, column])
            least = np.float64(highest) - 2 * bound * query_norms[token] * longest
            largest = -np.inf
            for column in range(start, end):
                if rough[token, column] >= least:
                    largest = max(largest, _product(queries[token], passages[column], lanes))
            total += largest
        sums[passage] = total


@compiled
def _product(left: Any, right: Any, lanes: Doubles) -> float:
    """Summed in float64 in lanes that are added in one fixed order; unsigned indices as in top_k_loops.inner_product."""
    width = np.uint64(_LANES)
    whole = np.uint64(len(left) // _LANES)
    for lane in range(width):
        lanes[lane] = 0.0
    for turn in range(whole):
        for lane in range(width):
            at = turn * width + lane
            lanes[lane] += np.float64(left[at]) * np.float64(right[at])
    done = whole * width
    for last in range(done, np.uint64(len(left))):
        lanes[last - done] += np.float64(left[last]) * np.float64(right[last])
    while width > 1:
        width = width // np.uint64(2)
        for lane in range(width):
            lanes[lane] += lanes[lane + width]
    return float(lanes[0])
