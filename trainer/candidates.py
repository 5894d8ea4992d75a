"""Candidates for negatives from one or several searches, as one ranking a query.

In:  what each source found for Q queries: rows [Q, K], best first.
Out: a `Ranking` (trainer.negatives): the fused order, each candidate with its dense score, its sources and its rank in each.

Sources of the literature: the encoder itself (ANCE, arXiv 2007.00808), BM25 (DPR, arXiv 2004.04906), an M3 model's lexical
weights, and ensembles of them (NV-Retriever, arXiv 2407.15831, section 4.2). Whatever found a candidate, the rules of
selection compare dense scores, which are of one scale with the positive's.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.inner_products import inner_products
from trainer.mining_settings import CandidateSettings
from trainer.negatives import Ranking
from trainer.vector_files import VectorFiles

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

RANDOM: Final = "random"


def fused(
    found: Sequence[Rows],
    settings: CandidateSettings,
    queries: npt.NDArray[Any],
    dense_scores: Floats | None,
    corpus: VectorFiles,
) -> Ranking:
    """The candidates of all sources as one ranking.

    found         for each of settings.sources its rows [Q, K], best first, -1 at the end where it found fewer
    queries       [Q, D] dense vectors, and `corpus` those of the passages: for the candidates that dense did not find
    dense_scores  [Q, K] of the source dense; None where it is not among the sources

    Candidates of one rank in the fused order go by the source that comes first (union) or by row (reciprocal rank).
    """
    if len(found) == 1:
        ranking = Ranking.of_one_source(found[0], np.empty(0, np.float32))
        scores = inner_products(queries, corpus, found[0]) if dense_scores is None else dense_scores
        return ranking._replace(scores=scores)
    query, row, source, rank = _entries(found)
    stride = int(row.max(initial=0)) + 1
    keys, group = np.unique(query * stride + row, return_inverse=True)
    ranks = np.full((len(keys), len(found)), -1, np.int32)
    ranks[group, source] = rank
    order = _fused_order(keys // stride, keys % stride, ranks, settings)
    keys, ranks = keys[order], ranks[order]
    owner = keys // stride
    place = np.arange(len(keys)) - np.searchsorted(owner, owner)
    shape = (len(queries), int(place.max(initial=-1)) + 1)
    rows = np.full(shape, -1, np.int64)
    rows[owner, place] = keys % stride
    origins = np.zeros(shape, np.uint8)
    origins[owner, place] = (ranks >= 0) @ (1 << np.arange(len(found)))
    source_ranks = np.full((*shape, len(found)), -1, np.int32)
    source_ranks[owner, place] = ranks
    return Ranking(
        rows, _dense_scores(rows, source_ranks, settings, queries, dense_scores, corpus), origins, source_ranks
    )


def _entries(found: Sequence[Rows]) -> tuple[Rows, Rows, Rows, Rows]:
    """Query, row, source and rank of every candidate, int64 [n] each."""
    parts = []
    for source, rows in enumerate(found):
        query, rank = np.nonzero(rows >= 0)
        parts.append(np.stack([query, rows[query, rank], np.full(len(query), source), rank]))
    columns = np.concatenate(parts, axis=1).astype(np.int64)
    return columns[0], columns[1], columns[2], columns[3]


def _fused_order(query: Rows, row: Rows, ranks: npt.NDArray[np.int32], settings: CandidateSettings) -> Rows:
    """The order int64 [n] that puts each query's candidates together, best first; ranks are [n, S]."""
    if settings.fusion == "reciprocal_rank":
        shares = np.where(ranks >= 0, 1.0 / (settings.reciprocal_rank_constant + 1.0 + np.abs(ranks)), 0.0)
        return np.lexsort((row, -shares.sum(axis=1), query))
    known = np.where(ranks >= 0, ranks, np.iinfo(np.int32).max)
    return np.lexsort((known.argmin(axis=1), known.min(axis=1), query))


def _dense_scores(
    rows: Rows,
    source_ranks: npt.NDArray[np.int32],
    settings: CandidateSettings,
    queries: npt.NDArray[Any],
    dense_scores: Floats | None,
    corpus: VectorFiles,
) -> Floats:
    """float32 [Q, K]: what the source dense gave, and for the other candidates the product itself; -inf where no row is."""
    if dense_scores is None:
        return inner_products(queries, corpus, rows)
    rank = source_ranks[:, :, settings.sources.index("dense")]
    scores = inner_products(queries, corpus, np.where(rank < 0, rows, -1))
    query, place = np.nonzero(rank >= 0)
    scores[query, place] = dense_scores[query, rank[query, place]]
    return scores


def origin_names(origins: npt.NDArray[np.uint8], sources: Sequence[str]) -> pa.Array:
    """The sources of each candidate in words: string [n], such as "dense", "dense+bm25", or "random" for none."""
    names = [
        "+".join(source for number, source in enumerate(sources) if code >> number & 1) or RANDOM
        for code in range(1 << len(sources))
    ]
    return pa.array(names, pa.string()).take(pa.array(origins))
