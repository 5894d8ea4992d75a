"""Which pairs are in which step: batches drawn from one seed, the same on every rank and after every restart.

In:  per pair its group (data set, kind or language), length group, cluster of its query and of its positive, and its
     number of negatives.
Out: `BatchPlan.rows(step)`: for each rank the pair rows of that step and the negatives chosen for them.

A batch holds pairs of one group and one length group (M3 section 3.4; FlagEmbedding research/BGE_M3/data.py never mixes
files in a batch), and no two pairs of one query cluster or one positive cluster: one would be the other's false
negative. A row that would conflict moves to a later batch of its epoch. Every epoch is shuffled anew from (seed,
epoch); the generator's raw bits are used, whose stream numpy guarantees.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

# Batch size of each length group as a share of the first: M3 Table 9, fine-tune column (1,152 768 480 ... 192).
TABLE_9_SHARES: Final = tuple(size / 1152 for size in (1152, 768, 480, 432, 336, 336, 288, 240, 192))

# Separates the random streams drawn from one seed.
_EPOCH_STREAM: Final = 1
_NEGATIVES_STREAM: Final = 2
_EPOCHS_KEPT: Final = 2


class BatchPlanError(ValueError):
    """No batches can be planned as asked. The message names the numbers and the remedy."""


class BatchPlanSettings(BaseModel):
    """How pairs become batches."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(32, ge=2, description="pairs a step over all ranks, in the first length group (ours)")
    length_shares: tuple[float, ...] = Field(
        TABLE_9_SHARES,
        min_length=1,
        description="batch size of each length group as a share of batch_size; the last holds for all further groups "
        "(M3 Table 9, fine-tune column)",
    )
    tokens_per_batch: int | None = Field(
        None,
        ge=1,
        description="instead of length_shares: a length group's batch size is this over its longest pair, at most "
        "batch_size",
    )
    group_by: Literal["dataset", "kind", "language", "none"] = Field(
        "dataset", description="what all pairs of a batch have in common (FlagEmbedding: the file)"
    )
    negatives: int = Field(1, ge=0, description="hard negatives a pair and step (C-Pack stage 3: 1; M3: 7)")
    smallest_batch: int = Field(2, ge=2, description="a batch of fewer pairs is left out; at least the number of ranks")


@dataclass(frozen=True)
class PlanColumns:
    """What the plan must know of N pairs."""

    group: npt.NDArray[np.integer[Any]]  # [N] codes of the group_by column; all zero for "none"
    length_group: npt.NDArray[np.integer[Any]]  # [N]
    length: npt.NDArray[np.integer[Any]]  # [N] tokens
    query_cluster: Int64  # [N]
    positive_cluster: Int64  # [N]
    negatives: npt.NDArray[np.integer[Any]]  # [N] how many each pair has


@dataclass(frozen=True)
class RankRows:
    """One rank's share of a step."""

    rows: Int64  # [B] pair rows
    negatives: Int64  # [B, n] indexes into each pair's list of negatives, -1 where it has fewer than n


@dataclass(frozen=True)
class EpochPlan:
    """All batches of one epoch: batch i is rows[offsets[i]:offsets[i + 1]]."""

    rows: Int64
    offsets: Int64
    moved: int  # rows that went to a later batch than their shuffled place, because they would conflict
    left_out: int  # rows of batches smaller than smallest_batch; another epoch shuffles them elsewhere

    @property
    def batches(self) -> int:
        return len(self.offsets) - 1


class BatchPlan:
    """The batches of `steps` steps over `ranks` processes. A pure function of its arguments; holds two epochs at most.

    Raises BatchPlanError where no batch of `smallest_batch` pairs can be made, or `ranks` exceeds it.
    """

    def __init__(
        self, columns: PlanColumns, settings: BatchPlanSettings, seed: int, steps: int, ranks: int = 1
    ) -> None:
        if ranks > settings.smallest_batch:
            raise BatchPlanError(
                f"smallest_batch is {settings.smallest_batch}, but there are {ranks} ranks, and each must get a pair. "
                f"Set smallest_batch to at least {ranks}."
            )
        self.columns, self.settings, self.seed, self.steps, self.ranks = columns, settings, seed, steps, ranks
        self._buckets = _buckets(columns)
        self._sizes = [_batch_size(columns, bucket, settings) for bucket in self._buckets]
        self._conflicts = [_rows_that_can_conflict(columns, bucket) for bucket in self._buckets]
        self._epochs: OrderedDict[int, EpochPlan] = OrderedDict()
        self._first_steps = [0]  # of each epoch whose number of batches is known, and of the one after
        if self.epoch(0).batches == 0:
            raise BatchPlanError(
                f"{len(columns.group)} pairs give no batch of at least {settings.smallest_batch} pairs of one group "
                f"and length group with different queries and positives. Add data, or group by something coarser "
                f"(group_by none)."
            )

    def rows(self, step: int) -> list[RankRows]:
        """The pairs and negatives of `step` (from 0) for each rank: near-equal shares, in rank order."""
        if not 0 <= step < self.steps:
            raise BatchPlanError(f"There is no step {step}: the plan has steps 0 to {self.steps - 1}.")
        epoch, index = self.place(step)
        plan = self.epoch(epoch)
        rows = plan.rows[plan.offsets[index] : plan.offsets[index + 1]]
        negatives = _choose_negatives(self.columns.negatives[rows], self.settings.negatives, self.seed, step)
        cuts = [len(rows) * rank // self.ranks for rank in range(self.ranks + 1)]
        return [RankRows(rows[low:high], negatives[low:high]) for low, high in pairwise(cuts)]

    def place(self, step: int) -> tuple[int, int]:
        """The epoch of `step`, and which of its batches it is.

        Where rows conflict, an epoch's number of batches depends on its shuffle, so that the epochs before must be
        planned once to be counted; without conflicts all epochs have the first one's number.
        """
        if not any(len(rows) for rows in self._conflicts):
            return divmod(step, self.epoch(0).batches)
        while self._first_steps[-1] <= step:
            self._first_steps.append(self._first_steps[-1] + self.epoch(len(self._first_steps) - 1).batches)
        epoch = int(np.searchsorted(self._first_steps, step, side="right")) - 1
        return epoch, step - self._first_steps[epoch]

    def epoch(self, epoch: int) -> EpochPlan:
        """The plan of one epoch (from 0)."""
        if epoch not in self._epochs:
            self._epochs[epoch] = self._plan(epoch)
            if len(self._epochs) > _EPOCHS_KEPT:
                self._epochs.popitem(last=False)
        return self._epochs[epoch]

    def _plan(self, epoch: int) -> EpochPlan:
        bits = _random_bits(self.seed, _EPOCH_STREAM, epoch)
        rows: list[Int64] = []
        sizes: list[Int64] = []
        moved = 0
        for bucket, size, conflicting in zip(self._buckets, self._sizes, self._conflicts, strict=True):
            shuffled = bucket[np.argsort(bits(len(bucket)), kind="stable")]
            batch, moved_here = _assign(self.columns, shuffled, size, conflicting)
            moved += moved_here
            rows.append(shuffled[np.argsort(batch, kind="stable")])
            sizes.append(np.bincount(batch))
        all_rows, all_sizes = np.concatenate(rows), np.concatenate(sizes)
        kept = np.flatnonzero(all_sizes >= self.settings.smallest_batch)
        order = kept[np.argsort(bits(len(kept)), kind="stable")]
        starts = np.cumsum(all_sizes) - all_sizes
        offsets = np.concatenate([[0], np.cumsum(all_sizes[order])])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], all_sizes[order])
        planned = all_rows[np.repeat(starts[order], all_sizes[order]) + within]
        return EpochPlan(planned, offsets, moved, len(all_rows) - len(planned))


def _buckets(columns: PlanColumns) -> list[Int64]:
    """The rows of each (group, length group), in row order."""
    order = np.lexsort((columns.length_group, columns.group))
    group, length_group = columns.group[order], columns.length_group[order]
    cuts = np.flatnonzero((group[1:] != group[:-1]) | (length_group[1:] != length_group[:-1])) + 1
    return [bucket.astype(np.int64) for bucket in np.split(order, cuts) if len(bucket)]


def _batch_size(columns: PlanColumns, bucket: Int64, settings: BatchPlanSettings) -> int:
    if settings.tokens_per_batch is not None:
        longest = int(columns.length[bucket].max())
        size = min(settings.batch_size, settings.tokens_per_batch // longest)
    else:
        group = min(int(columns.length_group[bucket[0]]), len(settings.length_shares) - 1)
        size = round(settings.batch_size * settings.length_shares[group])
    return max(settings.smallest_batch, size)


def _rows_that_can_conflict(columns: PlanColumns, bucket: Int64) -> Int64:
    """The rows of a bucket whose query cluster or positive cluster occurs in it more than once, ascending."""
    repeated = np.zeros(len(bucket), np.bool_)
    for clusters in (columns.query_cluster[bucket], columns.positive_cluster[bucket]):
        _, inverse, counts = np.unique(clusters, return_inverse=True, return_counts=True)
        repeated |= counts[inverse] > 1
    return np.sort(bucket[repeated])


def _assign(columns: PlanColumns, shuffled: Int64, size: int, conflicting: Int64) -> tuple[Int64, int]:
    """The batch of each row of a shuffled bucket, and how many rows a conflict moved.

    Only the rows that can conflict are placed one by one; the others fill what those leave free, in shuffled order.
    """
    if not len(conflicting):
        return np.arange(len(shuffled)) // size, 0
    bound = np.flatnonzero(np.isin(shuffled, conflicting, assume_unique=True))
    rows = shuffled[bound]
    wanted = bound // size
    placed = _place_one_by_one(
        wanted, columns.query_cluster[rows], columns.positive_cluster[rows], size, -(-len(shuffled) // size)
    )
    batch = np.empty(len(shuffled), np.int64)
    batch[bound] = placed
    free = np.ones(len(shuffled), np.bool_)
    free[bound] = False
    room = size - np.bincount(placed, minlength=-(-len(shuffled) // size))
    batch[free] = np.repeat(np.arange(len(room)), room)[: int(free.sum())]
    # Batches that conflicts left without rows would otherwise be steps without pairs.
    return np.unique(batch, return_inverse=True)[1].astype(np.int64), int((placed != wanted).sum())


def _place_one_by_one(wanted: Int64, queries: Int64, positives: Int64, size: int, batches: int) -> Int64:
    """A batch for each row, the wanted one or the next after it with room and without the row's clusters.

    A row that finds none up to the end is put into the first earlier one that fits, or else opens a new batch.
    """
    filled = [0] * batches
    # The batch after the last one that holds the cluster: rows come in the order of their wanted batches.
    next_for_query: dict[int, int] = {}
    next_for_positive: dict[int, int] = {}
    taken: set[tuple[str, int, int]] = set()
    placed = np.empty(len(wanted), np.int64)
    late: list[int] = []

    def put(row: int, query: int, positive: int, batch: int) -> None:
        placed[row] = batch
        filled[batch] += 1
        taken.add(("query", query, batch))
        taken.add(("positive", positive, batch))

    keys = list(zip(wanted.tolist(), queries.tolist(), positives.tolist(), strict=True))
    for row, (first, query, positive) in enumerate(keys):
        batch = max(first, next_for_query.get(query, 0), next_for_positive.get(positive, 0))
        while batch < batches and filled[batch] >= size:
            batch += 1
        if batch >= batches:
            late.append(row)
            continue
        put(row, query, positive, batch)
        next_for_query[query] = next_for_positive[positive] = batch + 1
    # No batch before these numbers can take the cluster. They only grow: a frequent cluster is not searched for anew.
    open_from = 0
    from_for_query: dict[int, int] = {}
    from_for_positive: dict[int, int] = {}

    def closed(batch: int, *clusters: tuple[str, int]) -> bool:
        return filled[batch] >= size or any((*cluster, batch) in taken for cluster in clusters)

    def first_open(batch: int, *clusters: tuple[str, int]) -> int:
        while batch < len(filled) and closed(batch, *clusters):
            batch += 1
        return batch

    for row in late:
        _, query, positive = keys[row]
        open_from = first_open(open_from)
        from_for_query[query] = first_open(max(open_from, from_for_query.get(query, 0)), ("query", query))
        from_for_positive[positive] = first_open(
            max(open_from, from_for_positive.get(positive, 0)), ("positive", positive)
        )
        start = max(from_for_query[query], from_for_positive[positive])
        batch = first_open(start, ("query", query), ("positive", positive))
        if batch == len(filled):
            filled.append(0)
        put(row, query, positive, batch)
    return placed


def _choose_negatives(available: npt.NDArray[np.integer[Any]], wanted: int, seed: int, step: int) -> Int64:
    """[B, wanted] distinct indexes below `available` [B] of each row, at random; -1 where a row has too few."""
    if wanted == 0:
        return np.empty((len(available), 0), np.int64)
    most = max(int(available.max(initial=0)), wanted)
    # 63 bits, so that the largest number is free to put the negatives a row does not have last.
    keys = _random_bits(seed, _NEGATIVES_STREAM, step)(len(available) * most).reshape(-1, most) >> np.uint64(1)
    keys[np.arange(most) >= available[:, None]] = np.iinfo(np.uint64).max
    chosen = np.argsort(keys, axis=1, kind="stable")[:, :wanted].astype(np.int64)
    chosen[np.arange(wanted) >= available[:, None]] = -1
    return chosen


def _random_bits(seed: int, purpose: int, number: int) -> Callable[[int], UInt64]:
    """A function that draws so many raw 64-bit numbers from the stream of (seed, purpose, number)."""
    generator = np.random.Philox(np.random.SeedSequence([seed, purpose, number]))
    return lambda count: np.atleast_1d(np.asarray(generator.random_raw(count), np.uint64))
