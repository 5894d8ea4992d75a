"""Judgements of passages for queries (qrels, triples of ids, ranked lists of negatives) as arrays of numbers.

Ids become numbers once: a million judgements of as many passages take 150 MB while that is done, and 75 MB from then on.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sources.formats.column_blocks import ColumnBlock, Columns, Numbers
from sources.judged.wanted_ids import Hashes, WantedIds, distinct, pair_hashes

Grades = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]

_QUERY: Final = ("query-id", "query_id", "qid", "question_id", "queryid")
_PASSAGE: Final = ("corpus-id", "corpus_id", "pid", "docid", "doc_id", "passage_id", "ans_id", "did")
_NEGATIVE: Final = ("negative", "neg_pid", "neg_ans_id", "negative-id")

# TREC's four columns, BEIR's three with a header, and pairs of ids that are all relevant.
QRELS: Final = Columns(
    names={"query": _QUERY, "passage": _PASSAGE, "grade": ("score", "rel", "relevance", "label", "grade")},
    required=("query", "passage"),
    tables=(("query", "passage"), ("query", "passage", "grade"), ("query", "", "passage", "grade")),
    spaces=True,
)
TRIPLES: Final = Columns(
    names={"query": _QUERY, "passage": ("positive", "pos_pid", "pos_ans_id", "positive-id"), "negative": _NEGATIVE},
    required=("query", "passage", "negative"),
    tables=(("query", "passage", "negative"),),
    spaces=True,
)
# Passages found for a query, the nearest first, among them those that were judged relevant.
RANKED: Final = Columns(
    names={"query": _QUERY, "negative": (*_PASSAGE, *_NEGATIVE)},
    required=("query", "negative"),
    tables=(("query", "negative"), ("query", "negative", ""), ("query", "negative", "", "")),
    spaces=True,
)


@dataclass(frozen=True)
class JudgedIds:
    """Judgements in the order of their files: `query[i]` and `passage[i]` are numbers into the ids.

    `grade` is NaN where the corpus says no more than that the passage is relevant. The negatives of files come in the
    order of those files, at most as many a query as were asked for beside its judged passages.
    """

    query_ids: WantedIds
    passage_ids: WantedIds
    query: Codes
    passage: Codes
    grade: Grades
    file: Codes  # of each judgement: number into the files read
    line: Numbers
    negative_query: Codes
    negative_passage: Codes
    negative_line: Numbers

    def __len__(self) -> int:
        return len(self.query)


@dataclass
class JudgementRows:
    """Collects the rows of files of judgements."""

    _query: list[pa.Array] = field(default_factory=list)
    _passage: list[pa.Array] = field(default_factory=list)
    _grade: list[Grades] = field(default_factory=list)
    _file: list[Codes] = field(default_factory=list)
    _line: list[Numbers] = field(default_factory=list)
    _seen: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))

    def add(self, block: ColumnBlock, file: int) -> None:
        """Take in the rows of a block of QRELS, without nulls in the ids; grades that are no number are refused before."""
        rows = len(block.numbers)
        if not rows:
            return
        self._query.append(block.columns["query"])
        self._passage.append(block.columns["passage"])
        given = block.columns.get("grade")
        self._grade.append(np.full(rows, np.nan, np.float32) if given is None else grades(given))
        self._file.append(np.full(rows, file, np.int32))
        self._line.append(block.numbers)

    def add_new(self, block: ColumnBlock, file: int) -> None:
        """Take in the pairs of ids of a block of TRIPLES that were not there before."""
        if not len(block.numbers):
            return
        hashes = pair_hashes(block.columns["query"], block.columns["passage"])
        first = np.sort(np.unique(hashes, return_index=True)[1])
        places = np.searchsorted(self._seen, hashes[first])
        known = places < len(self._seen)
        known[known] = self._seen[places[known]] == hashes[first][known]
        first = first[~known]
        self._seen = np.sort(np.concatenate([self._seen, hashes[first]]), kind="stable")
        rows = pa.array(first)
        kept = {name: block.columns[name].take(rows) for name in ("query", "passage")}
        self.add(ColumnBlock(kept, block.numbers[first], block.unit, block.quarantine), file)

    def query_ids(self) -> tuple[WantedIds, Codes]:
        """The queries judged and the number of each row's."""
        ids, codes = distinct(pa.chunked_array(self._query, pa.string()))
        return WantedIds(ids), codes

    def finish(self, queries: WantedIds, query: Codes, negatives: "NegativeRows") -> JudgedIds:
        """All rows as arrays."""
        rows = len(query)
        ids, codes = distinct(pa.chunked_array([*self._passage, *negatives.passages], pa.string()))
        return JudgedIds(
            queries,
            WantedIds(ids),
            query,
            codes[:rows],
            np.concatenate([np.zeros(0, np.float32), *self._grade]),
            np.concatenate([np.zeros(0, np.int32), *self._file]),
            np.concatenate([np.zeros(0, np.int64), *self._line]),
            np.concatenate([np.zeros(0, np.int32), *negatives.queries]),
            codes[rows:],
            np.concatenate([np.zeros(0, np.int64), *negatives.lines]),
        )


class NegativeRows:
    """Collects the first negatives of each query from files of any length: memory is that of those kept.

    A relevant passage may be among them, and is taken out later: so many more are kept as passages were judged.
    """

    def __init__(self, queries: WantedIds, judged: Codes, most: int) -> None:
        self._queries = queries
        self._room = np.bincount(judged, minlength=len(queries)) + most if most else np.zeros(len(queries), np.int64)
        self.queries: list[Codes] = []
        self.passages: list[pa.Array] = []
        self.lines: list[Numbers] = []

    @property
    def full(self) -> bool:
        """Whether no query has room for more."""
        return not self._room.any()

    def add(self, block: ColumnBlock) -> None:
        """Take in the rows of a block of RANKED or TRIPLES; those of queries that were not judged are of no use."""
        if not len(block.numbers):
            return
        codes = self._queries.find(block.columns["query"])
        rows = np.flatnonzero(codes >= 0)
        rows = rows[self._room[codes[rows]] > 0]
        rows = rows[rank_in_group(codes[rows]) < self._room[codes[rows]]]
        if not len(rows):
            return
        kept = codes[rows]
        self._room -= np.bincount(kept, minlength=len(self._room))
        self.queries.append(kept.astype(np.int32))
        self.passages.append(block.columns["negative"].take(pa.array(rows)))
        self.lines.append(block.numbers[rows])


def grades(texts: pa.Array) -> Grades:
    """Grades written as numbers; NaN for what is none."""
    number = pc.match_substring_regex(texts, r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")
    numbers = pc.if_else(number, pc.utf8_trim_whitespace(texts), None).cast(pa.float64()).fill_null(np.nan)
    with np.errstate(over="ignore"):  # beyond a float32: infinite, and refused with those that are no number
        return np.asarray(numbers.to_numpy(zero_copy_only=False).astype(np.float32))


def rank_in_group(groups: npt.NDArray[np.integer]) -> Numbers:
    """For each entry how many of the same group come before it."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if len(order) else order
    sizes = np.diff(np.append(starts, len(order)))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return ranks


@dataclass(frozen=True)
class NegativesByQuery:
    """The negatives of each query: numbers of passages, `passages[starts[q]:starts[q + 1]]` for query q."""

    starts: Numbers
    passages: Codes

    def rows(self, queries: npt.NDArray[np.integer]) -> tuple[Numbers, Codes]:
        """Where the negatives of each of some queries start (one entry more than queries), and these negatives."""
        sizes = self.starts[queries + 1] - self.starts[queries]
        starts = np.concatenate(([0], np.cumsum(sizes)))
        places = np.arange(starts[-1]) - np.repeat(starts[:-1] - self.starts[queries], sizes)
        return starts, self.passages[places]


def negatives_by_query(ids: JudgedIds, highest: float, most: int, has_text: npt.NDArray[np.bool_]) -> NegativesByQuery:
    """Up to `most` negatives a query: passages judged at most `highest`, then those of files; each once.

    No passage is one that was judged better for the query, or that has no text (`has_text`, by passage).
    """
    negative = ids.grade <= highest  # never true of NaN
    query = np.concatenate([ids.query[negative], ids.negative_query]).astype(np.int64)
    passage = np.concatenate([ids.passage[negative], ids.negative_passage])
    key = query * max(1, len(ids.passage_ids)) + passage
    better = ids.query[~negative].astype(np.int64) * max(1, len(ids.passage_ids)) + ids.passage[~negative]
    kept = np.sort(np.unique(key, return_index=True)[1])
    kept = kept[has_text[passage[kept]] & ~np.isin(key[kept], better)]
    kept = kept[np.argsort(query[kept], kind="stable")]
    kept = kept[rank_in_group(query[kept]) < most]
    counts = np.bincount(query[kept], minlength=len(ids.query_ids))
    return NegativesByQuery(np.concatenate(([0], np.cumsum(counts))), passage[kept])


def read_all(blocks: Iterable[Iterator[ColumnBlock]]) -> Iterator[tuple[int, ColumnBlock]]:
    """The blocks of several files, each with the number of its file."""
    for number, file in enumerate(blocks):
        for block in file:
            yield number, block


def without_bad_grades(block: ColumnBlock) -> tuple[ColumnBlock, Sequence[int]]:
    """The block without the rows whose grade is no number, and which these are."""
    given = block.columns.get("grade")
    if given is None or not len(given):
        return block, ()
    bad = np.flatnonzero(~np.isfinite(grades(given)) & given.is_valid().to_numpy(zero_copy_only=False))
    if not len(bad):
        return block, ()
    good = np.delete(np.arange(len(given)), bad)
    kept = {name: column.take(pa.array(good)) for name, column in block.columns.items()}
    return ColumnBlock(kept, block.numbers[good], block.unit, block.quarantine, block.lost), bad.tolist()
