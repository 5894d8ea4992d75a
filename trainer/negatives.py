"""Hard negatives out of a ranking: which of the nearest passages are safe to train against.

In:  for each query its ranking (rows and scores [Q, K], best first), the score of its positive, and the rows that are
     not allowed (its positives, the same document, the same text).
Out: a `Selection`: rows, scores and ranks of the chosen negatives, query by query, and what was dropped why.

    rank_candidates    the rules that need scores and ranks only; what is left, in the order it would be chosen
    screened           rules that need texts, asked of no more candidates than are needed
    chosen_first       the first so many of each query

The window over the ranking is FlagEmbedding's (scripts/hn_mine.py, range_for_sampling); the ceiling that the positive's
score sets is NV-Retriever's (arXiv 2407.15831: TopK-PercPos, TopK-MarginPos, TopK-Abs).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainer.ragged import Ragged, ranges

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

_QUERIES_AT_ONCE: Final = 16_384
RANDOM_TRIES: Final = 64  # random rows looked at for each that is wanted, where rules refuse most of them
DRAWS_A_NEGATIVE: Final = 20  # lots drawn at once for each random negative, as some fall on excluded rows
RANDOM_RANK: Final = -1

# In the order they are asked: the first that applies is the one that is counted.
REASONS: Final = {
    "excluded": "is a positive of the query, or of the same document or text",
    "outside_window": "its rank is outside rank_window",
    "above_share_of_positive": "scores as high as max_share_of_positive of the positive: likely another right answer",
    "above_margin": "scores less than margin below the positive",
    "above_max_score": "scores max_score or more",
    "below_min_score": "scores less than min_score: too easy",
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
    min_score: float | None = Field(
        None, description="a negative has at least this score; sentence-transformers' min_score; null: no limit"
    )
    ranks_among: Literal["not_excluded", "all", "allowed"] = Field(
        "not_excluded",
        description="what rank_window counts: candidates that are not excluded; all of the ranking, positives too "
        "(FlagEmbedding's hn_mine); or those that the rules on scores allow (sentence-transformers)",
    )
    sampling: Literal["top", "uniform", "softmax"] = Field(
        "top",
        description="the hardest allowed ones, any of them at random, or at random with odds exp(score / temperature)",
    )
    temperature: float = Field(
        0.05, gt=0, description="of softmax sampling: cosines this far apart have odds of e to 1 (ours)"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="of sampling and of random negatives")
    fill_with_random: bool = Field(
        False,
        description="queries with too few are filled up with random passages, marked by rank -1; after `fewest`. They obey "
        "all rules but rank_window and min_score; a judge is not asked about them",
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
    """The chosen negatives: those of query q are the entries offsets[q] to offsets[q + 1], in the ranking's order."""

    offsets: Int64  # [Q + 1]
    rows: Int64  # [total]
    scores: Float32  # [total]
    ranks: npt.NDArray[np.int32]  # [total], from 0, counted as ranks_among says; -1: drawn at random
    origins: npt.NDArray[np.uint8]  # [total] the sources that found it, a bit each; 0: drawn at random
    source_ranks: npt.NDArray[np.int32]  # [total, S] its rank in each source's own ranking, -1 where it is not in it
    judge_scores: Float32 | None = None  # [total] NaN where not judged; None without a judge
    dropped: dict[str, int] = field(
        default_factory=dict
    )  # by reason; with the chosen ones all the candidates there were

    @property
    def counts(self) -> Int64:
        """How many negatives each query got: fewer than asked for where its ranking held too few that are safe."""
        return np.diff(self.offsets)

    @property
    def judged(self) -> Ragged | None:
        """The judge's scores of each query's negatives."""
        return None if self.judge_scores is None else Ragged(self.judge_scores, self.offsets)

    def take(self, queries: Int64) -> "Selection":
        """The negatives of these queries, in that order; `dropped` as it is."""
        lengths = self.counts[queries]
        places = ranges(self.offsets[queries], lengths)
        return self._at(places, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

    def _at(self, places: Int64, offsets: Int64) -> "Selection":
        judged = None if self.judge_scores is None else self.judge_scores[places]
        return Selection(
            offsets,
            self.rows[places],
            self.scores[places],
            self.ranks[places],
            self.origins[places],
            self.source_ranks[places],
            judged,
            self.dropped,
        )

    @classmethod
    def concatenate(cls, parts: "Sequence[Selection]") -> "Selection":
        """The queries of all parts, one after the other; what was dropped is added up."""
        if not parts:
            nothing = np.empty(0, np.int64)
            shapes = (nothing.astype(np.float32), nothing.astype(np.int32), nothing.astype(np.uint8))
            return cls(np.zeros(1, np.int64), nothing, *shapes, np.empty((0, 1), np.int32))
        dropped: dict[str, int] = {}
        for part in parts:
            for reason, count in part.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + count
        judged = [part.judge_scores for part in parts if part.judge_scores is not None]
        return cls(
            np.concatenate([[0], np.cumsum(np.concatenate([part.counts for part in parts]), dtype=np.int64)]),
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.ranks for part in parts]),
            np.concatenate([part.origins for part in parts]),
            np.concatenate([part.source_ranks for part in parts]),
            np.concatenate(judged) if judged else None,
            dropped,
        )


class Ranking(NamedTuple):
    """What was found for each of Q queries: up to K candidates, best first. Row -1 is no candidate."""

    rows: Int64  # [Q, K]
    scores: Float32  # [Q, K] of the encoder that scores the positives
    origins: npt.NDArray[np.uint8]  # [Q, K] the sources that found it, a bit each
    source_ranks: npt.NDArray[np.int32]  # [Q, K, S] from 0, -1 where the source did not find it

    @classmethod
    def of_one_source(cls, rows: Int64, scores: Float32) -> "Ranking":
        """A ranking that one search gave."""
        ranks = np.where(rows >= 0, np.arange(rows.shape[1], dtype=np.int32), np.int32(-1)).astype(np.int32)
        return cls(rows, scores, (rows >= 0).astype(np.uint8), ranks[:, :, None])


@dataclass(frozen=True)
class Ranked:
    """A ranking after the rules on scores and ranks."""

    ranking: Ranking
    ranks: npt.NDArray[np.int32]  # [Q, K]
    open: (
        Ragged  # of each query the candidates that are left, as places in the flattened ranking, in the order of choice
    )
    dropped: dict[str, int]

    def rows(self, places: Ragged) -> Ragged:
        """The corpus rows of some candidates."""
        return Ragged(self.ranking.rows.reshape(-1)[places.values], places.offsets)


Excluded: TypeAlias = pa.Array | pa.ChunkedArray | Ragged | tuple[Int64, Int64]


def select_negatives(
    rows: Int64,
    scores: Float32,
    positive_scores: Float32,
    excluded: Excluded,
    settings: NegativeSettings,
    *,
    query_ids: pa.Array | npt.NDArray[Any],
) -> Selection:
    """Choose up to `settings.negatives` negatives for each of Q queries from its K nearest rows.

    rows, scores     [Q, K], best first, as `top_k` gives them; row -1 is no row
    positive_scores  [Q], the score of the positive (the lowest, where a query has several), of the same encoder
    excluded         per query the rows that must not be negatives: a list array, Ragged, or (offsets [Q + 1], rows)
    query_ids        [Q] binary(16) or integers; they, not the place of a query, decide its uniform sample

    The rank of a row is its place in the ranking once excluded rows are taken out (`ranks_among` says otherwise). A
    negative stays under max_share_of_positive x s+, the positive's score; where s+ is negative, under
    s+ - (1 - share) |s+|, so that the ceiling is below the positive there too (the product would be above it).

    Raises ValueError where the shapes do not fit together, or a positive's score is not finite.
    """
    excluded = as_ragged(excluded)
    _check_shapes(rows, scores, positive_scores, excluded, query_ids)
    keys = query_keys(query_ids)
    parts = []
    for start in range(0, len(rows), _QUERIES_AT_ONCE):
        block = np.arange(start, min(start + _QUERIES_AT_ONCE, len(rows)))
        ranking = Ranking.of_one_source(rows[block], scores[block])
        ranked = rank_candidates(ranking, positive_scores[block], excluded.take(block), settings, keys[block])
        parts.append(chosen_first(ranked, ranked.open, settings))
    return Selection.concatenate(parts)


def _check_shapes(
    rows: Int64, scores: Float32, positive_scores: Float32, excluded: Ragged, query_ids: pa.Array | npt.NDArray[Any]
) -> None:
    if not (rows.shape == scores.shape and rows.ndim == 2 and len(rows) == len(positive_scores) == len(query_ids)):
        raise ValueError(
            f"rows {rows.shape} and scores {scores.shape} must be [Q, K], with a positive score and an id for each "
            f"query; found {len(positive_scores)} scores and {len(query_ids)} ids."
        )
    if len(excluded) != len(rows):
        raise ValueError(f"excluded rows are given for {len(excluded)} queries, the ranking has {len(rows)}.")
    unknown = np.flatnonzero(~np.isfinite(positive_scores))
    if len(unknown):
        raise ValueError(
            f"The positive's score of query {int(unknown[0])} is {positive_scores[unknown[0]]}: score it first."
        )


def as_ragged(lists: Excluded) -> Ragged:
    """int64 lists, however they are given."""
    if isinstance(lists, Ragged):
        return lists
    if isinstance(lists, tuple):
        return Ragged(np.asarray(lists[1], np.int64), np.asarray(lists[0], np.int64))
    found = Ragged.of_arrow(lists)
    return Ragged(found.values.astype(np.int64), found.offsets)


def query_keys(query_ids: pa.Array | npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """64 bits for each query that depend on its id alone: uint64 [Q]. Raises ValueError for ids of another type."""
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


def rank_candidates(
    ranking: Ranking,
    positive_scores: Float32,
    excluded: Ragged,
    settings: NegativeSettings,
    keys: npt.NDArray[np.uint64],
) -> Ranked:
    """Apply the rules that need scores and ranks only; order what is left as it would be chosen.

    positive_scores [Q] are finite, excluded lists rows, keys [Q] are what `query_keys` gives. The order of choice is the
    ranking's ("top") or that of a draw without replacement by a hash of (seed, query, rank).
    """
    present = ranking.rows >= 0
    is_excluded = _is_excluded(ranking.rows, excluded)
    rules = {"excluded": is_excluded}
    on_scores = _rules_on_scores(ranking.scores, positive_scores[:, None].astype(np.float64), settings)
    counted = present if settings.ranks_among == "all" else present & ~is_excluded
    if settings.ranks_among == "allowed":
        rules |= on_scores
        counted = counted & ~np.logical_or.reduce([is_excluded, *on_scores.values()])
    ranks = np.cumsum(counted, axis=1, dtype=np.int32) - 1
    low, high = settings.rank_window
    rules["outside_window"] = (ranks < low) | (ranks >= high)
    rules |= on_scores
    allowed, dropped = present, {}
    for reason, applies in rules.items():
        dropped[reason] = int(np.count_nonzero(allowed & applies))
        allowed = allowed & ~applies
    places = np.flatnonzero(allowed)
    queries = places // max(1, allowed.shape[1])
    if settings.sampling != "top":
        places = places[_drawn(keys, ranks.reshape(-1)[places], ranking, places, queries, settings)]
    return Ranked(ranking, ranks, Ragged.grouped(queries, places, len(allowed)), dropped)


def _is_excluded(rows: Int64, excluded: Ragged) -> npt.NDArray[np.bool_]:
    """bool [Q, K]: whether a row is among its query's excluded ones."""
    from trainer.member_loops import mark_members  # numba takes a second to load, and settings are read without mining

    found = np.zeros(rows.shape, np.bool_)
    order = np.lexsort((excluded.values, excluded.owners))
    mark_members(rows, excluded.values[order], excluded.offsets, found)
    return found


def _rules_on_scores(
    scores: Float32, positive: npt.NDArray[np.float64], settings: NegativeSettings
) -> dict[str, npt.NDArray[np.bool_]]:
    """For each reason a mask [Q, K] of the candidates it speaks against; `positive` is [Q, 1] (or both are [m])."""
    rules = {}
    if settings.max_share_of_positive is not None:
        rules["above_share_of_positive"] = scores >= positive - (1 - settings.max_share_of_positive) * np.abs(positive)
    if settings.margin is not None:
        rules["above_margin"] = scores >= positive - settings.margin
    if settings.max_score is not None:
        rules["above_max_score"] = scores >= settings.max_score
    if settings.min_score is not None:
        rules["below_min_score"] = scores < settings.min_score
    return rules


def too_close(scores: Float32, positives: Float32, settings: NegativeSettings) -> npt.NDArray[np.bool_]:
    """Which scores [m] are too high beside the lowest positives' [m] for a negative, however it was found: bool [m]."""
    rules = _rules_on_scores(scores, positives.astype(np.float64), settings)
    rules.pop("below_min_score", None)
    found: npt.NDArray[np.bool_] = np.logical_or.reduce([np.zeros(len(scores), np.bool_), *rules.values()])
    return found


def _drawn(
    keys: npt.NDArray[np.uint64],
    ranks: npt.NDArray[np.int32],
    ranking: Ranking,
    places: Int64,
    queries: Int64,
    settings: NegativeSettings,
) -> Int64:
    """The order int64 [n] in which a draw without replacement takes n candidates, query by query, by a hash of (seed,
    query, rank).

    Uniform: the smallest hashes first. Softmax: the largest of score / temperature + Gumbel noise made of the hash (Kool
    et al. 2019, arXiv 1903.06059: the Gumbel-top-k trick draws one after the other with those odds).
    """
    stream = mixed(keys ^ mixed(np.array([settings.seed], np.uint64)))[queries]
    lots = mixed(stream + ranks.astype(np.uint64))
    if settings.sampling == "uniform":
        return _ascending(lots, queries, len(keys))
    uniform = ((lots >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    losing = np.log(-np.log(uniform)) - ranking.scores.reshape(-1)[places] / settings.temperature
    return np.lexsort((losing, queries))


def _ascending(lots: npt.NDArray[np.uint64], queries: Int64, count: int) -> Int64:
    """The order int64 [n] in which the lots of each query ascend; queries ascend already.

    A lot's lowest bits give way to its place in its query's line, so that lines of numbers are sorted rather than their
    places: a fortieth of the time that numpy.lexsort takes for all.
    """
    lengths = np.bincount(queries, minlength=count)
    starts = np.cumsum(lengths) - lengths
    longest = int(lengths.max(initial=0))
    there = np.arange(longest) < lengths[:, None]
    place_bits = np.uint64((1 << longest.bit_length()) - 1)
    lines = np.full(there.shape, np.iinfo(np.uint64).max, np.uint64)
    lines[there] = lots & ~place_bits
    lines |= np.arange(longest, dtype=np.uint64)
    lines[~there] = np.iinfo(np.uint64).max
    lines.sort(axis=1)
    order: Int64 = ((lines & place_bits).astype(np.int64) + starts[:, None])[there]
    return order


def screened(
    ranked: Ranked,
    most: int,
    find_faults: Callable[[Int64, Int64], npt.NDArray[np.int8]],
    reasons: Sequence[str],
) -> tuple[Ragged, dict[str, int]]:
    """Of each query the first `most` open candidates without a fault, in the order of choice; and the faults found.

    find_faults gets query numbers and corpus rows, int64 [m] each, and tells for each pair its fault: a number of
    `reasons`, or -1. It is asked in rounds, twice as many a round for the queries that still lack candidates, so that
    what one query is asked about depends on that query alone.
    """
    places, offsets = ranked.open.values, ranked.open.offsets
    passed = np.zeros(len(places), np.bool_)
    asked, found = offsets[:-1].copy(), np.zeros(len(ranked.open), np.int64)
    counts, rows, at_least = np.zeros(len(reasons), np.int64), ranked.ranking.rows.reshape(-1), 1
    while True:
        wanted = np.minimum(np.maximum(most - found, at_least), offsets[1:] - asked)
        queries = np.flatnonzero((found < most) & (wanted > 0))
        if len(queries) == 0:
            break
        lengths = wanted[queries]
        entries = ranges(asked[queries], lengths)
        owners = np.repeat(queries, lengths)
        faults = find_faults(owners, rows[places[entries]])
        passed[entries] = faults < 0
        counts += np.bincount(faults[faults >= 0], minlength=len(reasons))
        found += np.bincount(owners[faults < 0], minlength=len(found))
        asked[queries] += lengths
        at_least *= 2
    kept = Ragged.grouped(ranked.open.owners[passed], places[passed], len(ranked.open))
    return first_of_each(kept, most), dict(zip(reasons, counts.tolist(), strict=True))


def first_of_each(lists: Ragged, most: int) -> Ragged:
    """The first `most` values of each list."""
    lengths = np.minimum(lists.lengths, most)
    return Ragged.with_lengths(lists.values[ranges(lists.offsets[:-1], lengths)], lengths)


def chosen_first(
    ranked: Ranked,
    places: Ragged,
    settings: NegativeSettings,
    dropped: dict[str, int] | None = None,
    judge_scores: Float32 | None = None,
) -> Selection:
    """The first `negatives` of each query's candidates `places` (as Ranked.open), in the ranking's order.

    `dropped` are the candidates that were dropped since, by reason; judge_scores [len(places.values)] go along.
    """
    lengths = np.minimum(places.lengths, settings.negatives)
    lacking = lengths < settings.fewest
    reasons = ranked.dropped | (dropped or {})
    reasons["too_few"] = int(lengths[lacking].sum())
    lengths[lacking] = 0
    present = int(np.count_nonzero(ranked.ranking.rows >= 0))
    reasons["not_needed"] = present - int(lengths.sum()) - sum(reasons.values())
    entries = ranges(places.offsets[:-1], lengths)
    # The places of a query's candidates are all above those of the query before: sorting keeps the queries apart.
    entries = entries[np.argsort(places.values[entries], kind="stable")]
    at = places.values[entries]
    ranking = ranked.ranking
    return Selection(
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        ranking.rows.reshape(-1)[at],
        ranking.scores.reshape(-1)[at],
        ranked.ranks.reshape(-1)[at],
        ranking.origins.reshape(-1)[at],
        ranking.source_ranks.reshape(-1, ranking.source_ranks.shape[2])[at],
        None if judge_scores is None else judge_scores[entries],
        reasons,
    )


def fill_with_random(
    selection: Selection,
    corpus_rows: int | Int64,
    excluded: Excluded,
    settings: NegativeSettings,
    query_ids: pa.Array | npt.NDArray[Any],
    score: Callable[[Int64, Int64], Float32],
    allowed: Callable[[Int64, Int64, Float32], npt.NDArray[np.bool_]] | None = None,
) -> Selection:
    """The selection with random rows of the corpus behind the negatives of queries that got too few.

    corpus_rows  how many rows the corpus has, or the row numbers that count (int64 [n], ascending)
    score        the scores float32 [m] of pairs of a query number and a row, int64 [m] each
    allowed      which of such pairs, with their scores, may be negatives: bool [m]; None: all

    The rows follow from the query's id and the seed alone; they are none of the excluded ones or of its own negatives.
    Fewer than asked for come only where the corpus holds no more, or RANDOM_TRIES a row gave too few that are allowed.
    """
    excluded = as_ragged(excluded)
    keys = mixed(query_keys(query_ids) ^ mixed(np.array([settings.seed + 1], np.uint64)))
    missing = settings.negatives - selection.counts
    lacking = np.flatnonzero(missing > 0)
    found = [np.empty(0, np.int64)] * len(lacking)
    tries, still = missing[lacking], np.arange(len(lacking))
    while len(still):  # each time twice as many rows are looked at, from the first on: they are the same ones again
        draws = []
        for query, count in zip(lacking[still].tolist(), tries[still].tolist(), strict=True):
            own = selection.rows[selection.offsets[query] : selection.offsets[query + 1]]
            forbidden = excluded.values[excluded.offsets[query] : excluded.offsets[query + 1]]
            draws.append(_random_rows(keys[query : query + 1], count, corpus_rows, np.union1d(forbidden, own)))
        drawn, wanted = Ragged.of(draws), missing[lacking[still]]
        if allowed is None:
            passed = drawn
        else:
            owners = lacking[still][drawn.owners]
            keep = allowed(owners, drawn.values, score(owners, drawn.values))
            passed = Ragged.grouped(drawn.owners[keep], drawn.values[keep], len(drawn))
        for number, rows, count in zip(still.tolist(), passed.lists(), wanted.tolist(), strict=True):
            found[number] = np.array(rows[:count], np.int64)
        lacks = (passed.lengths < wanted) & (drawn.lengths == tries[still]) & (tries[still] < RANDOM_TRIES * wanted)
        still = still[lacks]
        tries[still] *= 2
    added = Ragged.of(found)
    return _with_random(selection, lacking, added, score(lacking[added.owners], added.values))


def _with_random(selection: Selection, lacking: Int64, added: Ragged, scores: Float32) -> Selection:
    """The selection with the rows `added` behind those of the queries `lacking`."""
    more = np.zeros(len(selection.counts), np.int64)
    more[lacking] = added.lengths
    offsets = np.concatenate([[0], np.cumsum(selection.counts + more, dtype=np.int64)])
    old = ranges(offsets[:-1], selection.counts)
    new = ranges(offsets[lacking] + selection.counts[lacking], added.lengths)

    def merged(column: npt.NDArray[Any], random: Any) -> npt.NDArray[Any]:
        whole = np.empty((int(offsets[-1]), *column.shape[1:]), column.dtype)
        whole[old], whole[new] = column, random
        return whole

    return replace(
        selection,
        offsets=offsets,
        rows=merged(selection.rows, added.values),
        scores=merged(selection.scores, scores),
        ranks=merged(selection.ranks, RANDOM_RANK),
        origins=merged(selection.origins, 0),
        source_ranks=merged(selection.source_ranks, RANDOM_RANK),
        judge_scores=None if selection.judge_scores is None else merged(selection.judge_scores, np.nan),
    )


def _random_rows(key: npt.NDArray[np.uint64], count: int, corpus_rows: int | Int64, taken: Int64) -> Int64:
    """Up to `count` distinct rows of the corpus that are not `taken` (sorted), in the order they are drawn."""
    size = corpus_rows if isinstance(corpus_rows, int) else len(corpus_rows)
    if size - len(taken) <= DRAWS_A_NEGATIVE * count:  # few are left: the hash orders them
        rows = np.setdiff1d(np.arange(size) if isinstance(corpus_rows, int) else corpus_rows, taken)
        return rows[np.argsort(mixed(key + rows.astype(np.uint64)), kind="stable")[:count]]
    draws = np.empty(0, np.int64)
    number = 0
    while len(draws) < count:
        step = np.arange(number, number + DRAWS_A_NEGATIVE * count, dtype=np.uint64)
        lots = (mixed(key + step) % np.uint64(size)).astype(np.int64)
        rows = lots if isinstance(corpus_rows, int) else corpus_rows[lots]
        joined = np.concatenate([draws, rows[~np.isin(rows, taken)]])
        _, first = np.unique(joined, return_index=True)
        draws = joined[np.sort(first)]
        number += len(step)
    return draws[:count]


def mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's output function: 64 bits to 64 bits, each output bit depending on all input bits."""
    scrambled = values + np.uint64(0x9E3779B97F4A7C15)
    scrambled = (scrambled ^ (scrambled >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    scrambled = (scrambled ^ (scrambled >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return scrambled ^ (scrambled >> np.uint64(31))
