"""Hard negatives out of a ranking: which of the nearest passages are safe to train against.

In:  for each query its ranking (rows and scores [Q, K], best first), the score of its positive, and the rows that are
     not allowed (its positives, the same document, the same text).
Out: a `Selection`: rows, scores and ranks of the chosen negatives, query by query, and what was dropped why.

The window over the ranking is FlagEmbedding's (scripts/hn_mine.py, range_for_sampling); the ceiling that the positive's
score sets is NV-Retriever's (arXiv 2407.15831: TopK-PercPos, TopK-MarginPos, TopK-Abs).
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

_QUERIES_AT_ONCE: Final = 16_384
DRAWS_A_NEGATIVE: Final = 20  # lots drawn at once for each random negative, as some fall on excluded rows
RANDOM_RANK: Final = -1

# In the order they are asked: the first that applies is the one that is counted.
REASONS: Final = {
    "excluded": "is a positive of the query, or of the same document or text",
    "outside_window": "its rank is outside rank_window",
    "above_share_of_positive": "scores as high as max_share_of_positive of the positive: likely another right answer",
    "above_margin": "scores less than margin below the positive",
    "above_max_score": "scores max_score or more",
    "too_few": "would have been chosen, but the query had fewer than `fewest` such candidates",
    "not_needed": "could have been chosen, but others were",
}


class NegativeSettings(BaseModel):
    """How negatives are chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank_window: tuple[int, int] = Field(
        (2, 200),
        description="ranks [lo, hi) from 0 that may be negatives; 2-200 in FlagEmbedding's README (10-210 its default)",
    )
    negatives: int = Field(7, ge=1, description="a query; M3 appendix B.1")
    max_share_of_positive: float | None = Field(
        0.95,
        gt=0,
        description="of the positive's score a negative must stay under; NV-Retriever TopK-PercPos; null: no limit",
    )
    margin: float | None = Field(
        None, ge=0, description="a negative stays this far under the positive; TopK-MarginPos, 0.05"
    )
    max_score: float | None = Field(None, description="a negative stays under this; TopK-Abs, 0.7")
    sampling: Literal["top", "uniform", "softmax"] = Field(
        "top",
        description="the hardest allowed ones, any of them at random, or at random with odds exp(score / temperature)",
    )
    temperature: float = Field(
        0.05, gt=0, description="of softmax sampling: cosines this far apart have odds of e to 1 (ours)"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="of sampling and of random negatives")
    fill_with_random: bool = Field(
        False, description="queries with too few are filled up with random passages, marked by rank -1; after `fewest`"
    )
    fewest: int = Field(1, ge=0, description="a query that would get fewer gets none: it is never padded in silence")

    @model_validator(mode="after")
    def _window_holds_something(self) -> "NegativeSettings":
        low, high = self.rank_window
        if not 0 <= low < high:
            raise ValueError(f"rank_window {low, high} holds no rank: write [lo, hi] with 0 <= lo < hi.")
        if self.fewest > self.negatives:
            raise ValueError(f"fewest {self.fewest} is above negatives {self.negatives}: no query would get any.")
        return self


@dataclass(frozen=True)
class Selection:
    """The chosen negatives: those of query q are the entries offsets[q] to offsets[q + 1], hardest first."""

    offsets: npt.NDArray[np.int64]  # [Q + 1]
    rows: npt.NDArray[np.int64]  # [total]
    scores: npt.NDArray[np.float32]  # [total]
    ranks: npt.NDArray[np.int32]  # [total], from 0, excluded rows not counted; -1: drawn at random
    dropped: dict[str, int]  # candidates by reason; with the chosen ones they are all the candidates there were

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many negatives each query got: fewer than asked for where its ranking held too few that are safe."""
        return np.diff(self.offsets)


def select_negatives(
    rows: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32],
    positive_scores: npt.NDArray[np.float32],
    excluded: pa.Array | tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    settings: NegativeSettings,
    *,
    query_ids: pa.Array | npt.NDArray[Any],
) -> Selection:
    """Choose up to `settings.negatives` negatives for each of Q queries from its K nearest rows.

    rows, scores     [Q, K], best first, as `exact_top_k` gives them; row -1 is no row
    positive_scores  [Q], the score of the positive (the lowest, where a query has several), of the same encoder
    excluded         per query the rows that must not be negatives: a list array, or (offsets [Q + 1], rows)
    query_ids        [Q] binary(16) or integers; they, not the place of a query, decide its uniform sample

    The rank of a row is its place in the ranking once excluded rows are taken out. A negative stays under
    max_share_of_positive x s+, the positive's score; where s+ is negative, under s+ - (1 - share) |s+|, so that the
    ceiling is below the positive there too (the product would be above it).

    Raises ValueError where the shapes do not fit together, or a positive's score is not finite.
    """
    offsets, forbidden = _as_offsets(excluded)
    queries = len(rows)
    if not (rows.shape == scores.shape and rows.ndim == 2 and queries == len(positive_scores) == len(query_ids)):
        raise ValueError(
            f"rows {rows.shape} and scores {scores.shape} must be [Q, K], with a positive score and an id for each "
            f"query; found {len(positive_scores)} scores and {len(query_ids)} ids."
        )
    if len(offsets) != queries + 1:
        raise ValueError(f"excluded rows are given for {len(offsets) - 1} queries, the ranking has {queries}.")
    unknown = np.flatnonzero(~np.isfinite(positive_scores))
    if len(unknown):
        raise ValueError(
            f"The positive's score of query {int(unknown[0])} is {positive_scores[unknown[0]]}: score it first."
        )
    keys = _query_keys(query_ids)
    parts = []
    for start in range(0, queries, _QUERIES_AT_ONCE):
        block = slice(start, start + _QUERIES_AT_ONCE)
        is_excluded = _is_excluded(rows[block], offsets[start : start + _QUERIES_AT_ONCE + 1], forbidden)
        ranks = np.cumsum((rows[block] >= 0) & ~is_excluded, axis=1, dtype=np.int32) - 1
        positive = positive_scores[block, None].astype(np.float64)
        parts.append(_select(_Ranking(rows[block], scores[block], ranks, positive, is_excluded, keys[block]), settings))
    return _joined(parts)


class _Ranking(NamedTuple):
    rows: npt.NDArray[np.int64]  # [Q, K]
    scores: npt.NDArray[np.float32]  # [Q, K]
    ranks: npt.NDArray[np.int32]  # [Q, K]
    positive_scores: npt.NDArray[np.float64]  # [Q, 1]
    is_excluded: npt.NDArray[np.bool_]  # [Q, K]
    keys: npt.NDArray[np.uint64]  # [Q]


def _as_offsets(
    excluded: pa.Array | tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if isinstance(excluded, tuple):
        return excluded
    if isinstance(excluded, pa.ChunkedArray):
        excluded = excluded.combine_chunks()
    lengths = excluded.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return offsets, excluded.flatten().cast(pa.int64()).to_numpy(zero_copy_only=False)


def _query_keys(query_ids: pa.Array | npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """64 bits for each query that depend on its id alone."""
    if isinstance(query_ids, np.ndarray):
        if query_ids.dtype.kind not in "iu":
            raise ValueError(f"query_ids are {query_ids.dtype}; integers or a binary(16) Arrow array are needed.")
        return query_ids.astype(np.uint64)
    if isinstance(query_ids, pa.ChunkedArray):
        query_ids = query_ids.combine_chunks()
    if query_ids.type != pa.binary(16) or query_ids.null_count:
        raise ValueError(f"query_ids are {query_ids.type}; integers or a binary(16) array without nulls are needed.")
    words = np.frombuffer(query_ids.buffers()[1], "<u8").reshape(-1, 2)
    return words[query_ids.offset : query_ids.offset + len(query_ids), 0]


def _is_excluded(
    rows: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64], forbidden: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """bool [Q, K]: whether a row is among its query's forbidden ones; (query, row) is compared as one number."""
    flat = forbidden[offsets[0] : offsets[-1]]
    if len(flat) == 0 or rows.size == 0:
        return np.zeros(rows.shape, np.bool_)
    query_of = np.repeat(np.arange(len(rows)), np.diff(offsets))
    stride = max(int(rows.max()), int(flat.max())) + 2
    known = np.unique(query_of * stride + flat + 1)
    wanted = np.arange(len(rows))[:, None] * stride + rows + 1
    place = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    found: npt.NDArray[np.bool_] = (known[place] == wanted) & (rows >= 0)
    return found


def _select(ranking: _Ranking, settings: NegativeSettings) -> Selection:
    allowed, dropped = ranking.rows >= 0, {}
    for reason, applies in _rules(ranking, settings).items():
        dropped[reason] = int(np.count_nonzero(allowed & applies))
        allowed = allowed & ~applies
    if settings.sampling == "top":
        chosen = allowed & (np.cumsum(allowed, axis=1) <= settings.negatives)
    else:
        chosen = _drawn(allowed, ranking, settings)
    lacking = np.count_nonzero(chosen, axis=1) < settings.fewest
    dropped["too_few"] = int(np.count_nonzero(chosen[lacking]))
    allowed[lacking] = chosen[lacking] = False
    dropped["not_needed"] = int(np.count_nonzero(allowed & ~chosen))
    offsets = np.concatenate([[0], np.cumsum(np.count_nonzero(chosen, axis=1), dtype=np.int64)])
    return Selection(offsets, ranking.rows[chosen], ranking.scores[chosen], ranking.ranks[chosen], dropped)


def _rules(ranking: _Ranking, settings: NegativeSettings) -> dict[str, npt.NDArray[np.bool_]]:
    """For each reason but the last a mask [Q, K] of the candidates it speaks against."""
    scores, positive = ranking.scores, ranking.positive_scores
    low, high = settings.rank_window
    rules = {
        "excluded": ranking.is_excluded,
        "outside_window": (ranking.ranks < low) | (ranking.ranks >= high),
    }
    if settings.max_share_of_positive is not None:
        rules["above_share_of_positive"] = scores >= positive - (1 - settings.max_share_of_positive) * np.abs(positive)
    if settings.margin is not None:
        rules["above_margin"] = scores >= positive - settings.margin
    if settings.max_score is not None:
        rules["above_max_score"] = scores >= settings.max_score
    return rules


def _drawn(allowed: npt.NDArray[np.bool_], ranking: _Ranking, settings: NegativeSettings) -> npt.NDArray[np.bool_]:
    """Mask [Q, K] of a sample of the allowed candidates without replacement, by a hash of (seed, query, rank).

    Uniform: the smallest hashes. Softmax: the largest of score / temperature + Gumbel noise made of the hash (Kool et al.
    2019, arXiv 1903.06059: the Gumbel-top-k trick draws one after the other with those odds).
    """
    stream = _mixed(ranking.keys ^ _mixed(np.array([settings.seed], np.uint64)))
    lots = _mixed(stream[:, None] + ranking.ranks.astype(np.uint64))
    if settings.sampling == "uniform":
        losing = lots >> np.uint64(1)
        losing[~allowed] = np.iinfo(np.uint64).max
    else:
        uniform = ((lots >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        losing = np.log(-np.log(uniform)) - ranking.scores / settings.temperature
        losing[~allowed] = np.inf
    order = np.argsort(losing, axis=1, kind="stable")[:, : settings.negatives]
    chosen = np.zeros(allowed.shape, np.bool_)
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen & allowed


def fill_with_random(
    selection: Selection,
    queries: npt.NDArray[Any],
    corpus: npt.NDArray[Any],
    excluded: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    settings: NegativeSettings,
    query_ids: pa.Array | npt.NDArray[Any],
) -> Selection:
    """The selection with random rows of the corpus behind the negatives of queries that got too few.

    queries [Q, D] and corpus [N, D] are the vectors that the random rows are scored by; `excluded` is (offsets [Q + 1], rows).
    The rows follow from the query's id and the seed alone; they are none of the excluded ones or of its own negatives.
    Fewer than asked for come only where the corpus holds no more.
    """
    keys = _query_keys(query_ids)
    seed = _mixed(np.array([settings.seed + 1], np.uint64))
    rows, scores, ranks = [], [], []
    for query, count in enumerate(selection.counts.tolist()):
        own = slice(int(selection.offsets[query]), int(selection.offsets[query + 1]))
        forbidden = excluded[1][excluded[0][query] : excluded[0][query + 1]]
        taken = np.union1d(forbidden, selection.rows[own])
        drawn = _random_rows(_mixed(keys[query : query + 1] ^ seed), settings.negatives - count, len(corpus), taken)
        vectors = np.asarray(corpus[drawn], np.float32)
        rows.append(np.concatenate([selection.rows[own], drawn]))
        scores.append(np.concatenate([selection.scores[own], vectors @ np.asarray(queries[query], np.float32)]))
        ranks.append(np.concatenate([selection.ranks[own], np.full(len(drawn), RANDOM_RANK, np.int32)]))
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in rows], dtype=np.int64)])
    return Selection(
        offsets,
        np.concatenate([np.empty(0, np.int64), *rows]),
        np.concatenate([np.empty(0, np.float32), *scores]),
        np.concatenate([np.empty(0, np.int32), *ranks]),
        selection.dropped,
    )


def _random_rows(
    key: npt.NDArray[np.uint64], count: int, corpus_rows: int, taken: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Up to `count` distinct rows below corpus_rows that are not `taken` (sorted), in the order they are drawn."""
    free = corpus_rows - len(taken)
    if free <= DRAWS_A_NEGATIVE * count:  # few are left: the hash orders them
        rows = np.setdiff1d(np.arange(corpus_rows), taken)
        return rows[np.argsort(_mixed(key + rows.astype(np.uint64)), kind="stable")[:count]]
    draws = np.empty(0, np.int64)
    number = 0
    while len(draws) < count:
        step = np.arange(number, number + DRAWS_A_NEGATIVE * count, dtype=np.uint64)
        lots = (_mixed(key + step) % np.uint64(corpus_rows)).astype(np.int64)
        joined = np.concatenate([draws, lots[~np.isin(lots, taken)]])
        _, first = np.unique(joined, return_index=True)
        draws = joined[np.sort(first)]
        number += len(step)
    return draws[:count]


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's output function: 64 bits to 64 bits, each output bit depending on all input bits."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _joined(parts: list[Selection]) -> Selection:
    if not parts:
        empty = np.empty(0, np.int64)
        return Selection(np.zeros(1, np.int64), empty, empty.astype(np.float32), empty.astype(np.int32), {})
    counts = np.concatenate([part.counts for part in parts])
    return Selection(
        np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.ranks for part in parts]),
        {reason: sum(part.dropped[reason] for part in parts) for reason in parts[0].dropped},
    )
