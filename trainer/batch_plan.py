"""Which pairs are in which step: batches drawn from one seed, the same on every rank and after every restart.

In:  per pair its group (data set, kind or language), length group, cluster of its query and of its positive, and its
     number of negatives.
Out: `BatchPlan.rows(step)`: for each rank the pair rows of that step and the negatives chosen for them.

A batch holds pairs of one group and one length group (M3 section 3.4; FlagEmbedding research/BGE_M3/data.py never mixes
files in a batch), and no two pairs of one query cluster or one positive cluster: one would be the other's false
negative.

Any step is known without those before it:

    step -> epoch, place in it       every epoch has the same number of batches: a division
    place -> bucket, batch of it     a permutation of the epoch's batches (trainer.permutation); a bucket is a group and
                                     length group, and has a fixed number of batches an epoch
    batch -> window                  a bucket's shuffled rows are cut into windows of some batches; rows of a window that
                                     conflict change places in it, and those that fit nowhere in it wait for the next
                                     epoch, which shuffles anew

so a restart costs one window, whatever the step and however large the data.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainer.permutation import Permutation, key_bits, mixed

if TYPE_CHECKING:
    from trainer.training_data import TrainingData

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

# Batch size of each length group as a share of the first: M3 Table 9, fine-tune column (1,152 768 480 ... 192).
TABLE_9_SHARES: Final = tuple(size / 1152 for size in (1152, 768, 480, 432, 336, 336, 288, 240, 192))
# The same of its unsupervised column (67,200 54,720 37,248 ... 9,984).
TABLE_9_UNSUPERVISED_SHARES: Final = tuple(
    size / 67_200 for size in (67_200, 54_720, 37_248, 27_648, 21_504, 17_280, 15_072, 12_288, 9_984)
)

# Separates the random streams drawn from one seed; the loop has stream 3.
_EPOCH_STREAM: Final = 1
_NEGATIVES_STREAM: Final = 2
_ROWS_STREAM: Final = 4
_TEXTS_STREAM: Final = 5
_POSITIVES_STREAM: Final = 6

_ROWS_PER_WINDOW: Final = 1 << 18
_FEWEST_BATCHES_PER_WINDOW, _MOST_BATCHES_PER_WINDOW = 8, 256
_ROWS_KEPT: Final = 1 << 24  # in planned windows: 128 MB
_ROUNDS_OF_MOVES: Final = 16  # nearly all rows that fit have found a place by then
_GREEDY_STARTS: Final = 16

GroupBy = Literal["dataset", "kind", "language", "none"]


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
    batch_sizes: tuple[int, ...] = Field(
        (),
        description="instead of all those: the batch size of each length group; the last holds for all further groups",
    )
    datasets: tuple[str, ...] = Field(
        (),
        description="data sets whose pairs take part; empty: all (M3 and C-Pack: unlabelled ones first, then labelled)",
    )
    kinds: tuple[str, ...] = Field((), description="kinds of pairs that take part; empty: all")
    group_by: GroupBy = Field(
        "dataset", description="what all pairs of a batch have in common (FlagEmbedding: the file)"
    )
    sampling_weights: dict[str, float] = Field(
        {}, description="by group: how often its pairs are drawn an epoch, relative to 1 for the others (ours)"
    )
    sampling_temperature: float = Field(
        1.0,
        ge=1,
        description="groups are drawn in proportion to size ** (1 / this): 1 as they are, larger more evenly "
        "(Arivazhagan et al. 2019, section 3)",
    )
    positives: Literal["all", "one"] = Field(
        "all",
        description="of the pairs of one query: all go into an epoch, or one drawn anew each epoch (FlagEmbedding draws one)",
    )
    negatives: int = Field(1, ge=0, description="hard negatives a pair and step (C-Pack stage 3: 1; M3: 7)")
    require_negatives: bool = Field(
        False, description="stop where a pair has no negative at all, instead of using none"
    )
    own_negatives_only: tuple[str, ...] = Field(
        (), description="data sets whose queries see their own negatives only (FlagEmbedding: no_in_batch_neg)"
    )
    instruction_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of the queries that keep the instruction pack put before them; below 1 pack must have kept "
        "the plain ones too (packing.keep_plain_queries)",
    )
    segment_shuffle: float = Field(
        0.0,
        ge=0,
        le=1,
        description="with this probability a positive of more than 100 tokens is cut in three and permuted "
        "(M3 appendix A.1; released scripts: 0.002)",
    )
    smallest_batch: int = Field(2, ge=2, description="a batch of fewer pairs is left out; at least the number of ranks")
    data_cache: str | None = Field(
        None,
        description="folder for decoded shards, where the data folder cannot be written to; several may share it",
    )

    @field_validator("batch_sizes")
    @classmethod
    def _batches_of_two(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if any(size < 2 for size in sizes):
            raise ValueError(f"a batch needs 2 pairs or more, or there is nothing to compare with; found {sizes}")
        return sizes

    @field_validator("sampling_weights")
    @classmethod
    def _weights_above_zero(cls, weights: dict[str, float]) -> dict[str, float]:
        wrong = {name: weight for name, weight in weights.items() if not weight > 0}
        if wrong:
            raise ValueError(f"weights are above 0 (leave a data set out of pack to train without it); found {wrong}")
        return weights


@dataclass(frozen=True)
class PlanColumns:
    """What the plan must know of N pairs."""

    group: npt.NDArray[np.integer[Any]]  # [N] codes of the group_by column; all zero for "none"
    length_group: npt.NDArray[np.integer[Any]]  # [N]
    length: npt.NDArray[np.integer[Any]]  # [N] tokens
    query_cluster: Int64  # [N]
    positive_cluster: Int64  # [N]
    negatives: npt.NDArray[np.integer[Any]]  # [N] how many each pair has
    group_names: tuple[str, ...] = ()  # what the codes of `group` stand for
    own_negatives_only: Bool | None = None  # [N]
    chosen: Bool | None = None  # [N] pairs that take part; None: all

    def __len__(self) -> int:
        return len(self.group) if self.chosen is None else int(self.chosen.sum())

    def usable(self, rows: Bool) -> Bool:
        """Those of the rows bool [N] that take part."""
        return rows if self.chosen is None else rows & self.chosen


@dataclass(frozen=True)
class RankRows:
    """One rank's share of a step, and what is drawn for it."""

    rows: Int64  # [b] pair rows
    negatives: Int64  # [b, n] indexes into each pair's list of negatives, -1 where it has fewer than n
    plain: Bool | None = None  # [b] queries that go without their instruction; None: none does
    shuffle: UInt64 | None = None  # [b] the order of a shuffled positive's segments; 0 for as it is; None: all 0
    in_batch: bool = True  # false: own negatives only


@dataclass(frozen=True)
class Bucket:
    """The pairs of one group and length group, and the batches an epoch has of them."""

    group: int
    length_group: int
    rows: Int64  # by unit, then in row order
    units: Int64 | None  # [U + 1] where each unit begins in `rows`; None where each row is one
    batch_size: int
    batches: int  # of one shuffle of all units
    drawn: int  # of an epoch: `batches` times the weight
    in_batch: bool
    spare: Int64  # rows without conflict, for a window in which no batch can be made

    @property
    def size(self) -> int:
        return len(self.rows) if self.units is None else len(self.units) - 1

    @property
    def window(self) -> int:
        """Batches planned at once."""
        fitting = _ROWS_PER_WINDOW // self.batch_size
        return max(_FEWEST_BATCHES_PER_WINDOW, min(_MOST_BATCHES_PER_WINDOW, fitting))


class BatchPlan:
    """The batches of `steps` steps over `ranks` processes: a pure function of its arguments.

    Raises BatchPlanError where no batch of `smallest_batch` pairs can be made, or `ranks` exceeds it, or a named group
    is not there.
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
        _check_negatives(columns, settings)
        self.buckets = _buckets(columns, settings)
        if not self.buckets:
            raise BatchPlanError(
                f"{len(columns)} pairs give no batch of at least {settings.smallest_batch} pairs of one group "
                f"and length group with different queries and positives. Add data, or group by something coarser "
                f"(group_by none)."
            )
        self._first_batches = np.cumsum([0, *(bucket.drawn for bucket in self.buckets)])
        self._windows: OrderedDict[tuple[int, int, int], list[Int64]] = OrderedDict()
        self._rows_kept = 0

    @property
    def batches_per_epoch(self) -> int:
        return int(self._first_batches[-1])

    @property
    def left_out(self) -> int:
        """Pairs that no batch of an epoch has room for: those of too small a bucket, and each bucket's last few.

        Conflicts leave out more of them; `epoch_batches` shows how many.
        """
        taken = sum(min(bucket.size, bucket.batches * bucket.batch_size) for bucket in self.buckets)
        units = sum(bucket.size for bucket in self.buckets)
        return len(self.columns) - sum(len(bucket.rows) for bucket in self.buckets) + units - taken

    def place(self, step: int) -> tuple[int, int]:
        """The epoch of `step`, and which of its batches it is."""
        return divmod(step, self.batches_per_epoch)

    def rows(self, step: int) -> list[RankRows]:
        """The pairs of `step` (from 0) for each rank, and what is drawn for them.

        Dealt out by length, so that ranks get near-equal numbers of pairs and of tokens. Which pairs a step has, and
        what is drawn for each, does not depend on the number of ranks.
        """
        if not 0 <= step < self.steps:
            raise BatchPlanError(f"There is no step {step}: the plan has steps 0 to {self.steps - 1}.")
        bucket, rows = self.batch(*self.place(step))
        negatives = _choose_negatives(self.columns.negatives[rows], self.settings.negatives, self.seed, step)
        plain, shuffle = self._drawn_for_texts(step, len(rows))
        return [
            RankRows(
                rows[part],
                negatives[part],
                None if plain is None else plain[part],
                None if shuffle is None else shuffle[part],
                bucket.in_batch,
            )
            for part in _dealt(np.asarray(self.columns.length[rows]), self.ranks)
        ]

    def batch(self, epoch: int, index: int) -> tuple[Bucket, Int64]:
        """The bucket and pair rows of one of an epoch's batches."""
        shuffled = Permutation(self.batches_per_epoch, key_bits(self.seed, _EPOCH_STREAM, epoch))
        drawn = int(shuffled(np.array([index]))[0])
        number = int(np.searchsorted(self._first_batches, drawn, side="right")) - 1
        bucket = self.buckets[number]
        # A weight draws a bucket's batches faster or slower than epochs pass: it has epochs of its own.
        own_epoch, own_index = divmod(epoch * bucket.drawn + drawn - int(self._first_batches[number]), bucket.batches)
        window, within = divmod(own_index, bucket.window)
        return bucket, self._window(number, own_epoch, window)[within]

    def epoch_batches(self, epoch: int = 0) -> Iterator[tuple[Bucket, Int64]]:
        """All batches of an epoch, bucket by bucket: the same as its steps have, in another order."""
        for number, bucket in enumerate(self.buckets):
            for drawn in range(epoch * bucket.drawn, (epoch + 1) * bucket.drawn):
                own_epoch, own_index = divmod(drawn, bucket.batches)
                window, within = divmod(own_index, bucket.window)
                yield bucket, self._window(number, own_epoch, window)[within]

    def _window(self, number: int, epoch: int, window: int) -> list[Int64]:
        key = (number, epoch, window)
        if key not in self._windows:
            self._windows[key] = self._plan_window(number, epoch, window)
            self._rows_kept += sum(map(len, self._windows[key]))
            while self._rows_kept > _ROWS_KEPT and len(self._windows) > 1:
                _, dropped = self._windows.popitem(last=False)
                self._rows_kept -= sum(map(len, dropped))
        self._windows.move_to_end(key)
        return self._windows[key]

    def _plan_window(self, number: int, epoch: int, window: int) -> list[Int64]:
        """The rows of each batch of a window."""
        bucket = self.buckets[number]
        first = window * bucket.window
        batches = min(bucket.window, bucket.batches - first)
        positions = np.arange(first * bucket.batch_size, min((first + batches) * bucket.batch_size, bucket.size))
        units = Permutation(bucket.size, key_bits(self.seed, _ROWS_STREAM, epoch, number))(positions)
        rows = self._row_of_units(bucket, number, epoch, units)
        placed = place_apart(
            self.columns.query_cluster[rows], self.columns.positive_cluster[rows], bucket.batch_size, batches
        )
        order = np.argsort(placed, kind="stable")
        cuts = np.searchsorted(placed[order], np.arange(batches + 1))
        made = [rows[order[low:high]] for low, high in pairwise(cuts)]
        whole = [batch for batch in made if len(batch) >= self.settings.smallest_batch] or [bucket.spare]
        # Too many rows of few clusters leave batches that are too small: others take their place.
        return [
            batch if len(batch) >= self.settings.smallest_batch else whole[index % len(whole)]
            for index, batch in enumerate(made)
        ]

    def _row_of_units(self, bucket: Bucket, number: int, epoch: int, units: Int64) -> Int64:
        if bucket.units is None:
            return bucket.rows[units]
        key = key_bits(self.seed, _POSITIVES_STREAM, epoch, number, count=1)
        count = bucket.units[units + 1] - bucket.units[units]
        drawn = mixed(units.astype(np.uint64) ^ key) % count.astype(np.uint64)
        return bucket.rows[bucket.units[units] + drawn.astype(np.int64)]

    def _drawn_for_texts(self, step: int, count: int) -> tuple[Bool | None, UInt64 | None]:
        share, shuffled = self.settings.instruction_share, self.settings.segment_shuffle
        if share == 1 and shuffled == 0:
            return None, None
        bits = key_bits(self.seed, _TEXTS_STREAM, step, count=3 * count).reshape(3, count)
        plain, chosen = _below(bits[0], share), _below(bits[1], shuffled)
        return ~plain if share < 1 else None, np.where(chosen, bits[2] | np.uint64(1 << 63), 0) if shuffled else None


def plan_columns(data: "TrainingData", settings: BatchPlanSettings) -> PlanColumns:
    """What the plan must know of the pairs of `data`.

    Raises BatchPlanError where a data set or kind that is named is not there, or a data set of `own_negatives_only` has no
    negatives.
    """
    column = {"dataset": "dataset", "kind": "kind", "language": "query_lang"}.get(settings.group_by)
    group, names = data.labels[column] if column else (np.zeros(len(data), np.int32), ["all"])
    counts = data.negatives.lengths
    return PlanColumns(
        group=group,
        length_group=data.length_group,
        length=data.length,
        query_cluster=data.query_cluster,
        positive_cluster=data.positive_cluster,
        negatives=counts,
        group_names=tuple(names),
        own_negatives_only=_own_only(data, settings, counts),
        chosen=_chosen(data, settings),
    )


def _chosen(data: "TrainingData", settings: BatchPlanSettings) -> Bool | None:
    """[N] the pairs of the data sets and kinds that are named; None where none is."""
    chosen: Bool | None = None
    for setting, label, given in (("datasets", "dataset", settings.datasets), ("kinds", "kind", settings.kinds)):
        if given:
            codes, names = data.labels[label]
            _check_names(setting, given, names)
            of_these = np.isin(codes, [names.index(name) for name in given])
            chosen = of_these if chosen is None else chosen & of_these
    return chosen


def _own_only(data: "TrainingData", settings: BatchPlanSettings, counts: Int64) -> Bool | None:
    if not settings.own_negatives_only:
        return None
    codes, names = data.labels["dataset"]
    _check_names("own_negatives_only", settings.own_negatives_only, names)
    own = np.isin(codes, [names.index(name) for name in settings.own_negatives_only])
    for name in settings.own_negatives_only:
        if not (counts[codes == names.index(name)] > 0).any():
            raise BatchPlanError(
                f"own_negatives_only names {name}, but none of its pairs has a negative: there would be nothing to "
                f"compare with. Mine negatives for it, or take it out of own_negatives_only."
            )
    return own


def _check_names(setting: str, given: Any, names: Any) -> None:
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise BatchPlanError(f"{setting} names {', '.join(unknown)}, but the data have: {', '.join(sorted(names))}.")


def _check_negatives(columns: PlanColumns, settings: BatchPlanSettings) -> None:
    if settings.own_negatives_only and settings.negatives == 0:
        raise BatchPlanError("own_negatives_only needs negatives: set `negatives` to 1 or more.")
    without = int(columns.usable(np.asarray(columns.negatives) == 0).sum()) if settings.require_negatives else 0
    if without:
        raise BatchPlanError(
            f"{without} of {len(columns)} pairs have no negative, and require_negatives asks for them. Run mine "
            f"with looser settings (or its random fill) and pack again, or set require_negatives to false."
        )


def _buckets(columns: PlanColumns, settings: BatchPlanSettings) -> list[Bucket]:
    """The buckets that give at least one batch, by group and length group."""
    own = np.zeros(len(columns.group), np.bool_) if columns.own_negatives_only is None else columns.own_negatives_only
    usable = np.flatnonzero(columns.usable(~own | (np.asarray(columns.negatives) > 0)))
    keys = (columns.length_group[usable], own[usable], columns.group[usable])
    order = usable[np.lexsort((columns.query_cluster[usable], *keys) if settings.positives == "one" else keys)]
    changes = np.zeros(max(len(order) - 1, 0), np.bool_)
    for key in (columns.length_group, own, columns.group):
        changes |= key[order[1:]] != key[order[:-1]]
    weights = _weights(columns, settings)
    made = []
    for rows in np.split(order.astype(np.int64), np.flatnonzero(changes) + 1):
        if len(rows):
            bucket = _bucket(columns, settings, rows, weights, in_batch=not bool(own[rows[0]]))
            if bucket is not None:
                made.append(bucket)
    return made


def _bucket(
    columns: PlanColumns, settings: BatchPlanSettings, rows: Int64, weights: dict[int, float], *, in_batch: bool
) -> Bucket | None:
    """The bucket of these rows; None where they give no batch."""
    units = None
    if settings.positives == "one":
        clusters = columns.query_cluster[rows]
        units = np.concatenate([[0], np.flatnonzero(clusters[1:] != clusters[:-1]) + 1, [len(rows)]])
    group, length_group = int(columns.group[rows[0]]), int(columns.length_group[rows[0]])
    size = batch_size_of(settings, length_group, int(columns.length[rows].max()))
    count = len(rows) if units is None else len(units) - 1
    batches, rest = divmod(count, size)
    batches += rest >= settings.smallest_batch
    spare = _apart(columns, rows, settings.smallest_batch)
    if not batches or spare is None:
        return None
    drawn = max(1, round(batches * weights.get(group, 1.0)))
    return Bucket(group, length_group, rows, units, size, batches, drawn, in_batch, spare)


def batch_size_of(settings: BatchPlanSettings, length_group: int, longest: int) -> int:
    """Pairs a batch of a length group whose longest text has `longest` tokens."""
    if settings.batch_sizes:
        size = settings.batch_sizes[min(length_group, len(settings.batch_sizes) - 1)]
    elif settings.tokens_per_batch is not None:
        size = min(settings.batch_size, settings.tokens_per_batch // longest)
    else:
        size = round(settings.batch_size * settings.length_shares[min(length_group, len(settings.length_shares) - 1)])
    return max(settings.smallest_batch, size)


def _weights(columns: PlanColumns, settings: BatchPlanSettings) -> dict[int, float]:
    """By code of a group: how many times an epoch goes through its pairs. As they are: once each.

    With a temperature T group d has the share size_d ** (1 / T) of an epoch, which stays as long as it was.
    """
    _check_names("sampling_weights", settings.sampling_weights, columns.group_names)
    taking_part = columns.group if columns.chosen is None else columns.group[columns.chosen]
    sizes = np.bincount(taking_part, minlength=len(columns.group_names)).astype(np.float64)
    factors = np.ones(len(sizes))
    for name, weight in settings.sampling_weights.items():
        factors[columns.group_names.index(name)] = weight
    if settings.sampling_temperature != 1:
        wanted = factors * np.where(sizes > 0, sizes, 1) ** (1 / settings.sampling_temperature) * (sizes > 0)
        factors = wanted / wanted.sum() * sizes.sum() / np.maximum(sizes, 1)
    return dict(enumerate(factors.tolist()))


def _apart(columns: PlanColumns, rows: Int64, count: int) -> Int64 | None:
    """`count` of the rows without a cluster in common, found greedily; None where there are none."""
    queries, positives = columns.query_cluster[rows], columns.positive_cluster[rows]
    for start in range(min(_GREEDY_STARTS, len(rows))):
        free = np.ones(len(rows), np.bool_)
        chosen, row = [], start
        while True:
            chosen.append(row)
            free &= (queries != queries[row]) & (positives != positives[row])
            if len(chosen) == count:
                return np.asarray(rows[np.sort(chosen)], np.int64)
            if not free.any():
                break
            row = int(np.argmax(free))
    return None


def place_apart(queries: Int64, positives: Int64, size: int, batches: int) -> Int64:
    """A batch (0 .. batches - 1, at most `size` rows each) for each row, no two rows of a batch sharing a cluster.

    Row i starts in batch i // size. In each round the rows that meet an earlier one of their cluster change places with
    others; a row that has moved less often stays before one that has more. Rows that still meet one after the last
    round get `batches`: no place.
    """
    placed = np.arange(len(queries)) // size
    moves = np.zeros(len(queries), np.int64)
    for turn in range(_ROUNDS_OF_MOVES + 1):
        clashes = _clashes(placed, queries, moves) | _clashes(placed, positives, moves)
        clashing, others = np.flatnonzero(clashes), np.flatnonzero(~clashes)
        if not len(clashing):
            break
        if turn == _ROUNDS_OF_MOVES:
            placed[clashing] = batches
            break
        count = min(len(clashing), len(others))
        start = int(mixed(np.array([turn], np.uint64))[0] % np.uint64(len(others)))
        partners = others[(start + np.arange(count) * (len(others) // count)) % len(others)]
        leaving = np.concatenate([clashing[:count], partners])
        placed[leaving] = placed[np.concatenate([partners, clashing[:count]])]
        placed[clashing[count:]] = np.roll(placed[clashing[count:]], 1)
        moves[clashing] += 1
    return placed


def _clashes(placed: Int64, clusters: Int64, moves: Int64) -> Bool:
    """Whether a row shares batch and cluster with one that has moved less often, or as often and is before it."""
    order = np.lexsort((moves, clusters, placed))
    again = np.zeros(len(placed), np.bool_)
    ordered_batches, ordered_clusters = placed[order], clusters[order]
    again[order[1:]] = (ordered_batches[1:] == ordered_batches[:-1]) & (ordered_clusters[1:] == ordered_clusters[:-1])
    return again


def _dealt(lengths: npt.NDArray[np.integer[Any]], ranks: int) -> list[Int64]:
    """The positions of each rank: all, longest first, dealt out back and forth."""
    if ranks == 1:
        return [np.arange(len(lengths))]
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    turn, seat = np.divmod(np.arange(len(order)), ranks)
    owner = np.where(turn % 2 == 0, seat, ranks - 1 - seat)
    return [order[owner == rank] for rank in range(ranks)]


def _choose_negatives(available: npt.NDArray[np.integer[Any]], wanted: int, seed: int, step: int) -> Int64:
    """[B, wanted] distinct indexes below `available` [B] of each row, at random; -1 where a row has too few."""
    if wanted == 0:
        return np.empty((len(available), 0), np.int64)
    most = max(int(available.max(initial=0)), wanted)
    # 63 bits, so that the largest number is free to put the negatives a row does not have last.
    bits = key_bits(seed, _NEGATIVES_STREAM, step, count=len(available) * most)
    keys = bits.reshape(-1, most) >> np.uint64(1)
    keys[np.arange(most) >= available[:, None]] = np.iinfo(np.uint64).max
    chosen = np.argsort(keys, axis=1, kind="stable")[:, :wanted].astype(np.int64)
    chosen[np.arange(wanted) >= available[:, None]] = -1
    return chosen


def _below(bits: UInt64, share: float) -> Bool:
    """True with the probability `share`."""
    result: Bool = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share
    return result
