"""Reranking: are the relevant candidates of a query scored above the others?

mteb: mean average precision of the first 1,000 candidates (C-Pack's metric), and the reciprocal rank within the first 10. Queries
and candidates have their own prompts; a score is the inner product, as in retrieval. Of equal scores those of irrelevant
candidates come first: by trec_eval's rule the larger document id, and mteb names them "negative..." and "apositive...".
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from trainer.evaluate.tasks.kinds import Reranking, TaskSettings
from trainer.evaluate.tasks.text_vectors import TextEncoder, TextVectors, text_vectors

DEPTH: Final = 1000  # ranks that count towards average precision
_CANDIDATES_AT_ONCE: Final = 8192  # 64 MiB of float64 with 1,024 dimensions, for queries and for candidates


def reranking_figures(encoder: TextEncoder, data: Reranking, _: TaskSettings) -> dict[str, float | None]:
    """map@1000 and mrr@10, 0 to 1: means over the queries."""
    counts = np.array(
        [(len(positive), len(negative)) for positive, negative in zip(data.positives, data.negatives, strict=True)]
    )
    offsets = np.append(0, np.cumsum(counts.sum(axis=1)))
    relevant = np.repeat(np.tile([True, False], len(counts)), counts.ravel())
    candidates = [text for pair in zip(data.positives, data.negatives, strict=True) for texts in pair for text in texts]
    scores = _scores(
        text_vectors(encoder, data.queries, "query"), text_vectors(encoder, candidates, "passage"), offsets
    )
    average_precision, reciprocal_rank = ranking_values(scores, relevant, offsets)
    return {"map@1000": float(average_precision.mean()), "mrr@10": float(reciprocal_rank.mean())}


def _scores(queries: TextVectors, candidates: TextVectors, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Inner products of each query with its own candidates, summed in float64: equal texts have equal scores."""
    query_of = np.repeat(np.arange(len(queries)), np.diff(offsets))
    scores = np.empty(len(candidates), np.float32)
    for start in range(0, len(scores), _CANDIDATES_AT_ONCE):
        part = slice(start, start + _CANDIDATES_AT_ONCE)
        scores[part] = np.vecdot(
            queries.take(query_of[part]).astype(np.float64), candidates.take(part).astype(np.float64)
        )
    return scores


def ranking_values(
    scores: npt.NDArray[np.float32], relevant: npt.NDArray[np.bool_], offsets: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Average precision at DEPTH and reciprocal rank at 10 of each query, float64 [Q] each.

    Candidates offsets[q] to offsets[q + 1] of scores [n] and relevant [n] are those of query q, one of them relevant at least.
    """
    query_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((relevant, -scores, query_of))  # by query, falling score, irrelevant first
    ranked = relevant[order]
    rank = np.arange(len(scores)) - offsets[query_of] + 1
    above = np.cumsum(ranked)
    found = above - np.append(0, above)[offsets[query_of]]
    precision = np.where(ranked & (rank <= DEPTH), found / rank, 0.0)
    totals = np.add.reduceat(relevant, offsets[:-1], dtype=np.int64)
    first_rank = np.minimum.reduceat(np.where(ranked, rank, len(scores) + 1), offsets[:-1])
    return (
        np.add.reduceat(precision, offsets[:-1]) / totals,
        np.where(first_rank <= 10, 1 / first_rank, 0.0),
    )
