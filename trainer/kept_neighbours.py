"""Nearest neighbours that were found before, brought up to date: only what is new is searched.

    1. passages are told by their vectors: a corpus of then is matched with that of now (`match`), so that rows may move
    2. of a query that was searched then, the added passages alone are searched, and what it kept is merged with them
    3. queries that are new, or that kept too little, are searched in full

The result is that of trainer.search.top_k over the whole corpus, bit for bit: a score depends on its two vectors alone, and
lists hold every passage that scores above their bound.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from trainer.compiled import compiled
from trainer.inner_products import Floats, Rows
from trainer.ragged import Ragged
from trainer.search import Found, top_k
from trainer.search_settings import SearchSettings
from trainer.vector_files import VectorFiles

Keys = npt.NDArray[np.uint64]  # [n, 2]: 128 bits of each vector
Positions = npt.NDArray[np.int64]

_ROWS_AT_ONCE: Final = 16_384
_KEYS_AT_ONCE: Final = 4_000_000  # matched at once, some 100 bytes each
_SLACK: Final = 4  # one more in so many than is needed is kept: passages may go before the list must be made anew


class KeptLists(NamedTuple):
    """For each of Q queries every passage that scores above a bound, best first: positions in the corpus of their time."""

    keys: Keys  # [Q, 2] of the queries' vectors
    bounds: Floats  # [Q]; -inf: the list holds all passages there were
    positions: Ragged  # int32
    scores: Floats  # beside them

    def __len__(self) -> int:
        return len(self.keys)


class KeptSource(Protocol):
    """Where lists of an earlier time are found."""

    def find(self, keys: Keys) -> Positions:
        """A number for each key, -1 where there is no list: int64 [n]."""
        ...

    def take(self, numbers: Positions) -> KeptLists:
        """The lists of these numbers, in their order."""
        ...


def vector_keys(vectors: npt.NDArray[np.float16], salt: int = 0) -> Keys:
    """128 bits of each vector [n, D]: equal vectors have equal keys, others hardly ever."""
    keys = np.empty((len(vectors), 2), np.uint64)
    _hash_rows(np.ascontiguousarray(vectors, np.float16).view(np.uint16), np.uint64(salt), keys)
    return keys


def keys_of_rows(corpus: VectorFiles, rows: Rows | None) -> Keys:
    """The keys of a corpus's vectors, or those of `rows`, in their order. Memory holds some thousand vectors."""
    keys = [vector_keys(block) for _, block in corpus.blocks(_ROWS_AT_ONCE, rows)]
    return np.concatenate([np.empty((0, 2), np.uint64), *keys])


@dataclass(frozen=True)
class Match:
    """What became of the passages of then."""

    now: Positions  # [passages then]: the position of each now, -1 where it is gone
    added: Positions  # positions now, ascending, of those that are new


def match(then: Keys, now: Keys, at_once: int = _KEYS_AT_ONCE) -> Match:
    """Match the vectors of two corpora, each with its own positions. Of equal vectors it does not matter which is which.

    Beside the result, memory holds 4 bytes for each key, and what `at_once` keys take: the others are matched one part after
    the other.
    """
    parts = -(-(len(then) + len(now)) // at_once)
    if parts <= 1:
        return _match(then, now)
    of_then, of_now = _parts_of(then, parts), _parts_of(now, parts)
    matched, added = np.full(len(then), -1, np.int64), [np.empty(0, np.int64)]
    for part in range(parts):
        places_then, places_now = np.flatnonzero(of_then == part), np.flatnonzero(of_now == part)
        of_part = _match(then[places_then], now[places_now])
        there = of_part.now >= 0
        matched[places_then[there]] = places_now[of_part.now[there]]
        added.append(places_now[of_part.added])
    return Match(matched, np.sort(np.concatenate(added)))


def _parts_of(keys: Keys, parts: int) -> npt.NDArray[np.uint32]:
    """uint32 [n]: the part of each key."""
    of_keys = np.empty(len(keys), np.uint32)
    for start in range(0, len(keys), _ROWS_AT_ONCE):
        block = slice(start, start + _ROWS_AT_ONCE)
        of_keys[block] = keys[block, 1] % np.uint64(parts)
    return of_keys


def _match(then: Keys, now: Keys) -> Match:
    keys = np.concatenate([then, now])
    is_now = np.arange(len(keys)) >= len(then)
    order = np.lexsort((is_now, keys[:, 1], keys[:, 0]))
    ordered, side = keys[order], is_now[order]
    starts = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)][: len(keys)])
    sizes = np.diff(np.r_[starts, len(keys)])
    group = np.repeat(np.arange(len(starts)), sizes)
    before = np.bincount(group, weights=~side, minlength=len(starts)).astype(np.int64)
    place = np.arange(len(keys)) - starts[group]  # in its group, those of then first
    partner = np.where(side, place - before[group], place + before[group])
    matched = np.where(side, partner < before[group], partner < sizes[group])
    matched_now = np.full(len(then), -1, np.int64)
    pairs = np.flatnonzero(matched & ~side)
    matched_now[order[pairs]] = order[starts[group[pairs]] + partner[pairs]] - len(then)
    return Match(matched_now, np.sort(order[side & ~matched] - len(then)))


@dataclass
class KeptSearch:
    """The nearest passages of queries, from what was found before where that is enough.

    `lists` collects what is to be kept for the next time, in positions of this corpus; `searched` counts the queries that
    were searched in full.
    """

    corpus: VectorFiles  # float16
    rows: Rows | None  # the part that is searched, ascending; positions count in it
    settings: SearchSettings
    before: KeptSource | None
    match: Match | None  # of the corpora of before and now; None with `before` None
    salt: int = 0  # of the queries' keys: tells parts of a corpus apart in one source

    def __post_init__(self) -> None:
        self.lists: list[KeptLists] = []
        self.searched = 0
        self.size = len(self.corpus) if self.rows is None else len(self.rows)
        self._position = None
        if self.rows is not None:
            self._position = np.full(len(self.corpus), -1, np.int32)
            self._position[self.rows] = np.arange(len(self.rows), dtype=np.int32)

    def top_k(
        self, queries: npt.NDArray[np.float16], depths: Rows, on_block: Callable[[int, int], None] | None = None
    ) -> Found:
        """The depths[q] (int64 [Q], at least 1) best rows of each query, as trainer.search.top_k has them; further columns
        hold more of the ranking, or row -1."""
        deepest = int(depths.max(initial=1))
        found = Found(
            np.full((len(queries), deepest), -np.inf, np.float32), np.full((len(queries), deepest), -1, np.int64)
        )
        keys = vector_keys(queries, self.salt)
        numbers = np.full(len(queries), -1, np.int64) if self.before is None else self.before.find(keys)
        open_queries = np.ones(len(queries), np.bool_)
        known = np.flatnonzero(numbers >= 0)
        if len(known):
            done = self._go_on(queries[known], numbers[known], keys[known], depths[known], known, found, on_block)
            open_queries[known[done]] = False
        fresh = np.flatnonzero(open_queries)
        if len(fresh):
            self._search(queries[fresh], keys[fresh], fresh, found, on_block)
        there = found.rows >= 0
        if self.rows is not None:
            found.rows[there] = self.rows[found.rows[there]]
        return found

    def _keeps(self, depth: int) -> int:
        return min(self.size, depth + max(16, depth // _SLACK))

    def _search(
        self,
        queries: npt.NDArray[np.float16],
        keys: Keys,
        places: Positions,
        found: Found,
        on_block: Callable[[int, int], None] | None,
    ) -> None:
        """Search in full; put the result into the lines `places` of `found`."""
        keeps = self._keeps(found.rows.shape[1])
        result = top_k(queries, self.corpus, keeps, self.settings, rows=self.rows, on_block=on_block)
        positions = self._positions(result.rows)
        width = min(keeps, found.rows.shape[1])
        found.rows[places, :width] = positions[:, :width]
        found.scores[places, :width] = result.scores[:, :width]
        bounds = np.full(len(queries), -np.inf, np.float32)
        if keeps < self.size:
            bounds = result.scores[:, -1].copy()  # of equal scores some may be missing
        self.lists.append(_lists(keys, positions, result.scores, result.scores > bounds[:, None], bounds))
        self.searched += len(queries)

    def _go_on(
        self,
        queries: npt.NDArray[np.float16],
        numbers: Positions,
        keys: Keys,
        depths: Rows,
        places: Positions,
        found: Found,
        on_block: Callable[[int, int], None] | None,
    ) -> npt.NDArray[np.bool_]:
        """Merge what was kept with what is new; which queries have all they need, which are then in `found`."""
        assert self.before is not None
        assert self.match is not None
        kept = self.before.take(numbers)
        width = found.rows.shape[1]
        keeps = self._keeps(width)
        added = self._added(queries, kept.bounds, keeps, on_block)
        scores = np.full((len(queries), keeps), -np.inf, np.float32)
        positions = np.full((len(queries), keeps), -1, np.int64)
        bounds = kept.bounds.copy()
        now = self.match.now[kept.positions.values]
        _merge(kept.positions.offsets, now, kept.scores, added.rows, added.scores, positions, scores, bounds)
        lengths = (positions >= 0).sum(axis=1)
        enough: npt.NDArray[np.bool_] = (lengths >= np.minimum(depths, self.size)) | np.isneginf(bounds)
        width = min(width, keeps)
        found.rows[places[enough], :width] = positions[enough, :width]
        found.scores[places[enough], :width] = scores[enough, :width]
        self.lists.append(
            _lists(keys[enough], positions[enough], scores[enough], positions[enough] >= 0, bounds[enough])
        )
        return enough

    def _added(
        self,
        queries: npt.NDArray[np.float16],
        bounds: Floats,
        keeps: int,
        on_block: Callable[[int, int], None] | None,
    ) -> Found:
        """Of the passages that are new those above the bounds, by position: at most `keeps` of a query are needed."""
        assert self.match is not None
        new = self.match.added
        if len(new) == 0:
            return Found(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64))
        rows = new if self.rows is None else self.rows[new]
        most = min(len(new), keeps + 1)  # one more than is kept tells the bound of those that are not
        result = top_k(queries, self.corpus, most, self.settings, rows=rows, above=bounds, on_block=on_block)
        return result._replace(rows=self._positions(result.rows))

    def _positions(self, rows: Rows) -> Positions:
        """Where rows of the corpus stand in the part that is searched; -1 stays."""
        return rows if self._position is None else np.where(rows < 0, -1, self._position[rows])


def _lists(keys: Keys, positions: Rows, scores: Floats, chosen: npt.NDArray[np.bool_], bounds: Floats) -> KeptLists:
    lists = Ragged.with_lengths(positions[chosen].astype(np.int32), chosen.sum(axis=1))
    return KeptLists(keys, bounds, lists, scores[chosen])


@compiled
def _merge(
    offsets: Rows,
    kept: Rows,
    kept_scores: Floats,
    added: Rows,
    added_scores: Floats,
    positions: Rows,
    scores: Floats,
    bounds: Floats,
) -> None:
    """Merge each query's kept positions (-1: gone; best first, but equal scores in any order) with its added ones (best
    first, then -1) into a line of `positions` and `scores`. What does not fit raises the bound."""
    most = positions.shape[1]
    for query in range(len(bounds)):
        size = offsets[query + 1] - offsets[query]
        left, left_scores, count = np.empty(size, np.int64), np.empty(size, np.float32), 0
        for at in range(offsets[query], offsets[query + 1]):
            if kept[at] < 0:
                continue
            place = count
            while place > 0 and left_scores[place - 1] == kept_scores[at] and left[place - 1] > kept[at]:
                left[place], left_scores[place] = left[place - 1], left_scores[place - 1]
                place -= 1
            left[place], left_scores[place] = kept[at], kept_scores[at]
            count += 1
        first, second, found = 0, 0, 0
        over = np.float32(-np.inf)
        while True:
            has_second = second < added.shape[1] and added[query, second] >= 0
            if first >= count and not has_second:
                break
            take_first = first < count
            if take_first and has_second:
                score = added_scores[query, second]
                take_first = left_scores[first] > score or (
                    left_scores[first] == score and left[first] < added[query, second]
                )
            if take_first:
                position, score = left[first], left_scores[first]
                first += 1
            else:
                position, score = added[query, second], added_scores[query, second]
                second += 1
            if found == most:
                over = score
                break
            positions[query, found], scores[query, found] = position, score
            found += 1
        if over > bounds[query]:
            bounds[query] = over
            while found > 0 and scores[query, found - 1] <= over:
                found -= 1
                positions[query, found], scores[query, found] = -1, -np.inf


@compiled
def _hash_rows(words: npt.NDArray[np.uint16], salt: np.uint64, keys: Keys) -> None:
    """Two chains of multiplications (FNV-1a's prime, and the golden ratio's) over each row, mixed at the end."""
    for row in range(len(words)):
        one, two = np.uint64(0xCBF29CE484222325) ^ salt, np.uint64(0x9E3779B97F4A7C15) + salt
        for place in range(words.shape[1]):
            word = np.uint64(words[row, place])
            one = (one ^ word) * np.uint64(0x100000001B3)
            two = (two ^ (two >> np.uint64(29)) ^ word) * np.uint64(0x9E3779B97F4A7C15)
        keys[row, 0], keys[row, 1] = _mixed(one), _mixed(two)


@compiled
def _mixed(value: np.uint64) -> Any:
    """The last step of MurmurHash3."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))
