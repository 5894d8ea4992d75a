"""Scores of query and passage from M3's three outputs: dense, lexical, multi-vector, and their weighted sum.

In:  outputs of queries and passages (trainer.encoder), and for each query the passage rows to score: int64 [Q, m], -1 for
     none. Lists of different lengths become such a matrix by `Ragged.matrix(-1)`; pairs are rows of one column.
Out: float32 [Q, m], -inf where the row is -1. Sums are float64 in one fixed order, rounded once: a score is the same bits
     in whatever company it is computed.

Source: M3-Embedding (arXiv 2402.03216), section 3.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.inner_products import error_bound, inner_products, widened
from trainer.m3_heads import Output
from trainer.m3_score_loops import add_largest_products, fill_lexical_scores
from trainer.sparse_vectors import SparseVectors
from trainer.vector_files import VectorFiles

if TYPE_CHECKING:
    from trainer.encoder import Encoder, M3Outputs
    from trainer.encoder_processes import EncoderPool

Floats: TypeAlias = npt.NDArray[np.float32]
Rows: TypeAlias = npt.NDArray[np.int64]

# What FlagEmbedding's README gives compute_score for pairs; the papers' weights for a search are in trainer/evaluate.
PAIR_WEIGHTS: Final[Mapping[Output, float]] = {"dense": 0.4, "lexical": 0.2, "multi_vector": 0.4}
# 4 MiB of float32 each, which the processor's cache holds: half the time of 64 MiB (measured: 1,024 dimensions).
_VALUES_AT_ONCE: Final = 2**20  # of passage vectors widened to float32
_PRODUCTS_AT_ONCE: Final = 2**20  # of query and passage vectors


def dense_scores(queries: npt.NDArray[Any], passages: npt.NDArray[Any] | VectorFiles, rows: Rows) -> Floats:
    """Inner products of queries [Q, D] with their own rows of the passages [P, D]; float16 or float32.

    Raises IndexError for a row that there is not, ValueError for shapes that do not fit, or NaN.
    """
    files = passages if isinstance(passages, VectorFiles) else VectorFiles.of(passages)
    return inner_products(queries, files, rows)


def lexical_scores(queries: SparseVectors, passages: SparseVectors, rows: Rows) -> Floats:
    """The sum, over the tokens a query and a passage share, of the products of their weights.

    Raises IndexError for a row that there is not, ValueError where rows has not one line a query.
    """
    rows = _checked_rows(rows, len(queries), len(passages))
    scores = np.empty(rows.shape, np.float32)
    of_queries = (queries.offsets, queries.token_ids, queries.weights)
    fill_lexical_scores(*of_queries, passages.offsets, passages.token_ids, passages.weights, rows, scores)
    return scores


def multi_vector_scores(
    query_vectors: npt.NDArray[Any],
    query_offsets: Rows,
    passage_vectors: npt.NDArray[Any],
    passage_offsets: Rows,
    rows: Rows,
) -> Floats:
    """The mean, over a query's vectors, of the largest product with a vector of the passage (late interaction).

    Vectors are float16 or float32 [t, d]: those of query q are query_offsets[q] to query_offsets[q + 1] (int64 [Q + 1]),
    of passages likewise. `passage_vectors` may be a memory map: about 4 MiB of it are in memory at a time, or one passage.
    A query or passage without vectors scores 0.

    Raises IndexError for a row that there is not, ValueError for shapes that do not fit, NotFiniteError for NaN.
    """
    rows = _checked_rows(rows, len(query_offsets) - 1, len(passage_offsets) - 1)
    if query_vectors.ndim != 2 or passage_vectors.ndim != 2 or query_vectors.shape[1] != passage_vectors.shape[1]:
        raise ValueError(
            f"Token vectors of queries {query_vectors.shape} and of passages {passage_vectors.shape} do not fit together: "
            f"encode both with the same model."
        )
    scores = np.full(rows.shape, -np.inf, np.float32)
    for query in range(len(rows)):
        first, end = int(query_offsets[query]), int(query_offsets[query + 1])
        places = np.flatnonzero(rows[query] >= 0)
        if len(places):
            vectors, norms = widened(query_vectors[first:end], "query token", first)
            sums = _sums_of_largest(vectors, norms, passage_vectors, passage_offsets, rows[query, places])
            scores[query, places] = sums / max(1, end - first)
    return scores


def _sums_of_largest(
    query: Floats, norms: npt.NDArray[np.float64], vectors: npt.NDArray[Any], offsets: Rows, passages: Rows
) -> npt.NDArray[np.float64]:
    """For each of `passages` [n] the sum over the query's vectors [t, d] of the largest product: float64 [n]."""
    lengths = (offsets[1:] - offsets[:-1])[passages]
    sums = np.zeros(len(passages), np.float64)
    bound = error_bound(query.shape[1])
    for part in _blocks(lengths, _VALUES_AT_ONCE // query.shape[1]):
        starts = offsets[passages[part]].tolist()
        gathered = [vectors[start : start + n] for start, n in zip(starts, lengths[part].tolist(), strict=True)]
        block, block_norms = widened(np.concatenate(gathered), "passage token", starts[0])
        ends = np.concatenate([[0], np.cumsum(lengths[part])])
        at_once = max(1, _PRODUCTS_AT_ONCE // max(1, len(block)))
        for first in range(0, len(query), at_once):
            some = slice(first, first + at_once)
            rough = query[some] @ block.T
            add_largest_products(rough, bound, query[some], norms[some], block, block_norms, ends, sums[part])
    return sums


def _blocks(lengths: Rows, most: int) -> list[slice]:
    """Runs of passages that have `most` vectors together, or are one passage."""
    blocks, start, ends = [], 0, np.cumsum(lengths)
    while start < len(lengths):
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + most, side="right")))
        blocks.append(slice(start, end))
        start = end
    return blocks


def hybrid_scores(scores: Mapping[Output, Floats], weights: Mapping[Output, float], *, divided: bool = False) -> Floats:
    """w1 s_dense + w2 s_lexical + w3 s_multi_vector (M3 equation 1) of scores [Q, m] alike; an output without weight, or
    with weight 0, is left out. `divided`: by the sum of the weights, as FlagEmbedding's compute_score does.

    Raises ValueError for a weight without its scores, and where no weight is left.
    """
    used = {output: weight for output, weight in weights.items() if weight}
    missing = sorted(used.keys() - scores.keys())
    if missing or not used or (divided and sum(used.values()) <= 0):
        raise ValueError(
            f"Weights {dict(weights)} do not go with scores of {sorted(scores)}: give a weight above 0 for at least one of them, "
            f"and none for what was not scored."
        )
    total = sum(weight * scores[output].astype(np.float64) for output, weight in sorted(used.items()))
    hybrid: Floats = np.asarray(total / (sum(used.values()) if divided else 1.0), np.float32)
    return hybrid


@dataclass(frozen=True)
class PairScores:
    """Scores of n pairs, float32 [n]; None where an output was not there."""

    dense: Floats | None
    lexical: Floats | None
    multi_vector: Floats | None
    dense_and_lexical: Floats | None  # weighted, divided by the sum of the weights
    all: Floats | None  # of all three, likewise


def score_pairs(
    queries: "M3Outputs", passages: "M3Outputs", weights: Mapping[Output, float] = PAIR_WEIGHTS
) -> PairScores:
    """Query i with passage i, as FlagEmbedding's BGEM3FlagModel.compute_score, by the outputs that both have.

    Raises ValueError where there are not as many passages as queries.
    """
    if len(queries) != len(passages):
        raise ValueError(f"{len(queries)} queries and {len(passages)} passages are no pairs: give as many of both.")
    rows = np.arange(len(queries), dtype=np.int64)[:, None]
    found: dict[Output, Floats] = {}
    if queries.dense is not None and passages.dense is not None:
        found["dense"] = dense_scores(queries.dense, passages.dense, rows)[:, 0]
    if queries.lexical is not None and passages.lexical is not None:
        found["lexical"] = lexical_scores(queries.lexical, passages.lexical, rows)[:, 0]
    if queries.token_vectors is not None and passages.token_vectors is not None:
        assert queries.token_offsets is not None and passages.token_offsets is not None
        of_queries = (queries.token_vectors, queries.token_offsets)
        of_passages = (passages.token_vectors, passages.token_offsets)
        found["multi_vector"] = multi_vector_scores(*of_queries, *of_passages, rows)[:, 0]

    def together(*outputs: Output) -> Floats | None:
        chosen = {output: weights.get(output, 0.0) for output in outputs}
        there = all(output in found for output in outputs) and any(chosen.values())
        return hybrid_scores(found, chosen, divided=True) if there else None

    return PairScores(
        found.get("dense"),
        found.get("lexical"),
        found.get("multi_vector"),
        together("dense", "lexical"),
        together("dense", "lexical", "multi_vector"),
    )


def encode_and_score_pairs(
    encoder: "Encoder | EncoderPool",
    queries: Sequence[str],
    passages: Sequence[str],
    weights: Mapping[Output, float] = PAIR_WEIGHTS,
) -> PairScores:
    """Score pairs of texts by all outputs that the model has; a text that occurs several times is encoded once.

    Raises what Encoder.encode_all raises, and ValueError where there are not as many passages as queries.
    """
    return score_pairs(_encoded(encoder, queries, "query"), _encoded(encoder, passages, "passage"), weights)


def _encoded(encoder: "Encoder | EncoderPool", texts: Sequence[str], role: Any) -> "M3Outputs":
    distinct = pa.array(texts, pa.large_string()).dictionary_encode()
    outputs = encoder.encode_all(distinct.dictionary, role, encoder.outputs)
    return outputs.take(distinct.indices.to_numpy().astype(np.int64))


def _checked_rows(rows: Rows, queries: int, passages: int) -> Rows:
    rows = np.ascontiguousarray(rows, np.int64)
    if rows.ndim != 2 or len(rows) != queries:
        raise ValueError(f"rows of shape {rows.shape} do not fit {queries} queries: give one line of rows for each.")
    if rows.size and not -1 <= int(rows.min()) <= int(rows.max()) < passages:
        wrong = int(rows[(rows < -1) | (rows >= passages)][0])
        raise IndexError(f"Row {wrong} was asked for; there are {passages:,} passages, numbered from 0 (-1 for none).")
    return rows
