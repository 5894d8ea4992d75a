"""What a rank gets for a step: token ids, which passages belong to which query, and which are no negatives after all.

In:  the rows of all ranks (batch_plan), and the packed data.
Out: a `Batch` of one rank.

Every rank knows the rows of all, so that it can tell which passages of the others are no negatives of its queries
without asking them. The passages of all ranks are numbered in slots: query i of all ranks' queries has the slots
i * (1 + n) to (i + 1) * (1 + n) - 1, its positive first. What is masked is a short sorted list of (query, slot) and no
matrix: a step of 65,536 pairs would have one of 4 GB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.batch_plan import RankRows
from trainer.ragged import Ragged, ranges

if TYPE_CHECKING:
    from trainer.training_data import TrainingData

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
UInt64 = npt.NDArray[np.uint64]

SEGMENTS: Final = 3  # M3 appendix A.1: a text is cut in three
SHUFFLED_FROM: Final = 100  # tokens; FlagEmbedding research/BGE_M3/data.py shuffle_text: 100 characters


class MaskedPairs(NamedTuple):
    """Pairs (queries[i], columns[i]), sorted by query, then column, each once: int64 [m] both."""

    queries: Int64
    columns: Int64


@dataclass(frozen=True)
class Batch:
    """One rank's b pairs with n negatives each. A passage that several of them name is stored, and encoded, once."""

    rows: Int64  # [b] pair rows of this rank
    query_tokens: Ragged  # int32, b lists
    passage_tokens: Ragged  # int32, P <= b * (1 + n) lists
    slots: Int64  # [b, 1 + n] index into the P passages, the positive first; -1 where a pair has no such negative
    counts: Int64  # [ranks] pairs of each rank
    rank: int
    empty: Int64  # [e] slots of all ranks that hold no passage, ascending
    forbidden: MaskedPairs  # (own query from 0, slot of all ranks): no negative of that query; never its own positive
    forbidden_backward: (
        MaskedPairs  # (own symmetric pair from 0, query of all ranks): its positive is no negative there
    )
    symmetric: Bool  # [b] pairs whose two sides are of one kind: the loss goes both ways
    in_batch: bool  # false: a query's negatives are its own ones only (FlagEmbedding: no_in_batch_neg)
    positive_scores: Float32  # [b] NaN where not known
    negative_scores: Float32  # [b, n] NaN where not known
    dataset: str  # of the first pair
    pad_token_id: int

    @property
    def first_query(self) -> int:
        """The number, among the queries of all ranks, of this rank's first."""
        return int(self.counts[: self.rank].sum())

    @property
    def group_width(self) -> int:
        """1 + n: slots a query."""
        return int(self.slots.shape[1])

    @property
    def tokens(self) -> int:
        """Tokens of the texts, without padding."""
        return len(self.query_tokens.values) + len(self.passage_tokens.values)

    @property
    def squared_lengths(self) -> int:
        """The sum of the squares of all texts' lengths: what attention costs (trainer.model_flops)."""
        return int(sum(np.square(texts.lengths).sum() for texts in (self.query_tokens, self.passage_tokens)))

    @property
    def query_lengths(self) -> Int64:
        return self.query_tokens.lengths

    @property
    def passage_lengths(self) -> Int64:
        return self.passage_tokens.lengths

    @cached_property
    def query_ids(self) -> Int32:
        """[b, longest query], padded."""
        return self.query_tokens.matrix(self.pad_token_id)

    @cached_property
    def passage_ids(self) -> Int32:
        """[P, longest passage], padded."""
        return self.passage_tokens.matrix(self.pad_token_id)

    def forbidden_matrix(self) -> Bool:
        """[b, slots of all ranks]: what `forbidden` and `empty` list. For tests and small batches."""
        matrix = np.zeros((len(self.rows), int(self.counts.sum()) * self.group_width), np.bool_)
        matrix[self.forbidden.queries, self.forbidden.columns] = True
        matrix[:, self.empty] = True
        return matrix


def collate(data: "TrainingData", ranks: Sequence[RankRows], rank: int, pad_token_id: int) -> Batch:
    """The batch of `rank`. `ranks` are the rows of the step, of every rank in order (BatchPlan.rows)."""
    own = ranks[rank]
    counts = np.array([len(each.rows) for each in ranks], np.int64)
    first = int(counts[:rank].sum())
    all_rows = np.concatenate([each.rows for each in ranks])
    all_slots = _passage_rows(data, all_rows, np.concatenate([each.negatives for each in ranks]))
    slots = all_slots[first : first + len(own.rows)]
    passages, inverse = np.unique(slots[slots >= 0], return_inverse=True)
    numbered = np.full(slots.shape, -1, np.int64)
    numbered[slots >= 0] = inverse
    passage_tokens = data.passage_tokens.take(passages)
    if own.shuffle is not None:
        seeds = _seeds_of(passages, all_slots[:, 0], np.concatenate([_shuffle(each) for each in ranks]))
        _shuffle_segments(passage_tokens, seeds, data.special_tokens)
    clusters = np.where(all_slots.ravel() >= 0, data.passage_cluster[np.maximum(all_slots.ravel(), 0)], 0)
    scores = _negative_scores(data, own)
    return Batch(
        rows=own.rows,
        query_tokens=_query_tokens(data, own),
        passage_tokens=passage_tokens,
        slots=numbered,
        counts=counts,
        rank=rank,
        empty=np.flatnonzero(all_slots.ravel() < 0),
        forbidden=_forbidden(data, own.rows, first, all_slots, clusters),
        forbidden_backward=_forbidden_backward(data, own.rows, first, all_rows, clusters[:: slots.shape[1]]),
        symmetric=np.asarray(data.symmetric[own.rows]),
        in_batch=own.in_batch,
        positive_scores=np.asarray(data.positive_score[own.rows], np.float32),
        negative_scores=scores,
        dataset=data.dataset_of(int(all_rows[0])),
        pad_token_id=pad_token_id,
    )


def _passage_rows(data: "TrainingData", rows: Int64, chosen: Int64) -> Int64:
    """[B, 1 + n]: the positive's passage row, then those of the chosen negatives; -1 for none."""
    slots = np.full((len(rows), 1 + chosen.shape[1]), -1, np.int64)
    slots[:, 0] = data.positive[rows]
    present = chosen >= 0
    positions = data.negatives.offsets[rows][:, None] + np.maximum(chosen, 0)
    slots[:, 1:][present] = data.negatives.values[positions[present]]
    return slots


def _negative_scores(data: "TrainingData", own: RankRows) -> Float32:
    scores = np.full(own.negatives.shape, np.nan, np.float32)
    offsets = data.negative_scores.offsets
    known = (own.negatives >= 0) & (offsets[own.rows + 1] > offsets[own.rows])[:, None]
    positions = offsets[own.rows][:, None] + np.maximum(own.negatives, 0)
    scores[known] = data.negative_scores.values[positions[known]]
    return scores


def _query_tokens(data: "TrainingData", own: RankRows) -> Ragged:
    """With the instruction that pack put before them, or without where the plan drew so and the query has one."""
    tokens = data.query_tokens.take(own.rows)
    if own.plain is None or not own.plain.any():
        return tokens
    without = data.plain_query_tokens.take(own.rows)
    taken = own.plain & (without.lengths > 0)
    lengths = np.where(taken, without.lengths, tokens.lengths)
    starts = np.where(taken, without.offsets[:-1] + len(tokens.values), tokens.offsets[:-1])
    return Ragged.with_lengths(np.concatenate([tokens.values, without.values])[ranges(starts, lengths)], lengths)


def _forbidden(data: "TrainingData", rows: Int64, first: int, all_slots: Int64, clusters: Int64) -> MaskedPairs:
    """Slots whose passage is in the cluster of the query or of any positive known for a query of its cluster.

    Equal passages are always of one cluster.
    """
    width = all_slots.shape[1]
    present = np.flatnonzero(all_slots.ravel() >= 0)
    by_cluster = present[np.argsort(clusters[present], kind="stable")]
    owner, cluster = data.known_clusters(rows)
    low, high = (np.searchsorted(clusters[by_cluster], cluster, side=side) for side in ("left", "right"))
    columns = by_cluster[ranges(low, high - low)]
    return _sorted_pairs(np.repeat(owner, high - low), columns, (first + np.arange(len(rows))) * width, len(clusters))


def _forbidden_backward(
    data: "TrainingData", rows: Int64, first: int, all_rows: Int64, positives: Int64
) -> MaskedPairs:
    """Queries of all ranks that a symmetric pair's positive answers too: by their own rule of what is no negative."""
    symmetric = np.flatnonzero(data.symmetric[rows])
    if not len(symmetric):
        return MaskedPairs(np.empty(0, np.int64), np.empty(0, np.int64))
    query, cluster = data.known_clusters(all_rows)
    by_cluster = np.argsort(cluster, kind="stable")
    wanted = positives[first + symmetric]
    low, high = (np.searchsorted(cluster[by_cluster], wanted, side=side) for side in ("left", "right"))
    columns = query[by_cluster[ranges(low, high - low)]]
    return _sorted_pairs(np.repeat(symmetric, high - low), columns, first + np.arange(len(rows)), len(all_rows))


def _sorted_pairs(owners: Int64, columns: Int64, own: Int64, width: int) -> MaskedPairs:
    """The distinct pairs in order, but for each owner's own column `own[owner]`."""
    other = columns != own[owners]
    keys = np.unique(owners[other] * width + columns[other])
    return MaskedPairs(*np.divmod(keys, max(width, 1)))


def _shuffle(rows: RankRows) -> UInt64:
    return np.zeros(len(rows.rows), np.uint64) if rows.shuffle is None else rows.shuffle


def _seeds_of(passages: Int64, positives: Int64, seeds: UInt64) -> UInt64:
    """Of each passage row in `passages` (ascending) the seed of the step's pair whose positive it is; 0: none.

    Of the pairs of all ranks: a positive that is another rank's negative is the same text there.
    """
    found = np.zeros(len(passages), np.uint64)
    drawn = np.flatnonzero(seeds > 0)
    place = np.searchsorted(passages, positives[drawn])
    here = passages[np.minimum(place, len(passages) - 1)] == positives[drawn]
    found[place[here]] = seeds[drawn[here]]
    return found


def _shuffle_segments(tokens: Ragged, seeds: UInt64, special_tokens: tuple[int, int]) -> None:
    """Cut the texts with a seed in three and join the parts in another order, in place; special tokens stay.

    M3 appendix A.1: a long text's first sentences tell what it is about, and a model would read no further.
    """
    before, after = special_tokens
    for passage in np.flatnonzero(seeds > 0).tolist():
        seed = seeds[passage]
        low, high = int(tokens.offsets[passage]) + before, int(tokens.offsets[passage + 1]) - after
        if high - low <= SHUFFLED_FROM:
            continue
        size = (high - low) // SEGMENTS + 1
        parts = [tokens.values[start : min(start + size, high)].copy() for start in range(low, high, size)]
        # The seed's low bits, 0 to 5, are the order of the three parts.
        chosen = _ORDERS[int(seed) % len(_ORDERS)]
        tokens.values[low:high] = np.concatenate([parts[part] for part in chosen])


_ORDERS: Final[tuple[tuple[int, ...], ...]] = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


def rank_rows(rows: Int64, chosen: npt.NDArray[np.integer[Any]]) -> RankRows:
    """Rows and the negatives chosen for them, with nothing drawn beside."""
    return RankRows(np.asarray(rows, np.int64), np.asarray(chosen, np.int64))
