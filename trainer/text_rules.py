"""Rules that need texts: a candidate that says what a positive, the query or an answer says is no negative.

In:  pairs of a query and a candidate passage. Out: the fault of each pair, or none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.ragged import Ragged, ranges
from trainer.word_match import Words, holds, words_of

Int64 = npt.NDArray[np.int64]
Faults = npt.NDArray[np.int8]

# In the order they are asked: the first that applies is the one that is counted.
TEXT_REASONS: Final = {
    "says_the_same": "its words are those of the query or of a positive",
    "contained": "holds the words of a positive, or is held in them",
    "has_answer": "holds an answer of the query",
}
_NONE: Final = -1
_SAME, _CONTAINED, _ANSWER = range(3)
_PAIRS_AT_ONCE: Final = 4096  # texts held at once: candidates, and the positives of their queries
_BYTES_AT_ONCE: Final = 2**28  # of those; words_of takes up to 2 GB
_COMPARED_AT_ONCE: Final = 2**22  # candidates with each positive of their query, which may have a hundred thousand
# Titles and phrases ("see also") are in many passages that do not answer what they do (ours: about four words, or eight
# Chinese characters; in UTF-8, without the spaces around).
SHORTEST_CONTAINED: Final = 24


@dataclass(frozen=True)
class TextRules:
    """The rules for a block of Q queries."""

    take: Callable[[Int64], pa.Array]  # the texts of some corpus rows
    queries: pa.Array  # string [Q]
    positives: Ragged  # Q lists of corpus rows
    answers: pa.Array | None  # list<string> [Q]; None: the rule is not asked
    contained: bool = True

    def find_faults(self, queries: Int64, rows: Int64) -> Faults:
        """The first of TEXT_REASONS that speaks against each of m pairs of a query and a row, by number; -1: none does.

        int8 [m]; the arguments are int64 [m].
        """
        faults = np.full(len(rows), _NONE, np.int8)
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            self._find(queries[part], rows[part], faults[part])
        return faults

    def _find(self, queries: Int64, rows: Int64, faults: Faults) -> None:
        if len(rows) > 1 and self.contained and self.positives.lengths[queries].sum() > _COMPARED_AT_ONCE:
            self._find_halves(queries, rows, faults)
            return
        asked, query_of = np.unique(queries, return_inverse=True)
        passages, passage_of = np.unique(rows, return_inverse=True)
        texts, positives = self.take(passages), self._positives_of(asked)
        if len(rows) > 1 and texts.nbytes + positives.nbytes > _BYTES_AT_ONCE:
            self._find_halves(queries, rows, faults)
            return
        words = words_of(texts)
        if self.contained:
            self._compare_with_queries(asked, query_of, words, passage_of, faults)
            self._compare_with_positives(asked, query_of, words, passage_of, words_of(positives), faults)
        if self.answers is not None:
            self._look_for_answers(asked, query_of, words, passage_of, faults)

    def _find_halves(self, queries: Int64, rows: Int64, faults: Faults) -> None:
        middle = len(rows) // 2
        self._find(queries[:middle], rows[:middle], faults[:middle])
        self._find(queries[middle:], rows[middle:], faults[middle:])

    def _positives_of(self, asked: Int64) -> pa.Array:
        """The distinct positives of some queries, by row."""
        return self.take(np.unique(self.positives.take(asked).values if self.contained else np.empty(0, np.int64)))

    def _compare_with_queries(
        self, asked: Int64, query_of: Int64, words: Words, passage_of: Int64, faults: Faults
    ) -> None:
        texts = words_of(self.queries.take(pa.array(asked)))
        same = texts.lengths[query_of] == words.lengths[passage_of]
        same[same] = holds(words, passage_of[same], texts, query_of[same])
        faults[same] = _SAME

    def _compare_with_positives(
        self, asked: Int64, query_of: Int64, words: Words, passage_of: Int64, texts: Words, faults: Faults
    ) -> None:
        known = self.positives.take(asked)
        _, of = np.unique(known.values, return_inverse=True)
        pair, positive = _each_of(Ragged(of, known.offsets), query_of, faults)
        left, right = words.lengths[passage_of[pair]], texts.lengths[positive]
        fits = np.minimum(left, right) >= SHORTEST_CONTAINED
        fits |= left == right
        pair, positive, left, right = pair[fits], positive[fits], left[fits], right[fits]
        found = np.zeros(len(pair), np.bool_)
        longer = left >= right
        found[longer] = holds(words, passage_of[pair[longer]], texts, positive[longer])
        found[~longer] = holds(texts, positive[~longer], words, passage_of[pair[~longer]])
        faults[pair[found]] = _CONTAINED
        faults[pair[found & (left == right)]] = _SAME

    def _look_for_answers(self, asked: Int64, query_of: Int64, words: Words, passage_of: Int64, faults: Faults) -> None:
        lists, answers = self._answer_words
        wanted = lists.take(asked)
        pair, answer = _each_of(wanted, query_of, faults)
        found = holds(words, passage_of[pair], answers, answer)
        faults[pair[found]] = _ANSWER

    @cached_property
    def _answer_words(self) -> tuple[Ragged, Words]:
        """For each query the numbers of its answers, and the words of all answers."""
        assert self.answers is not None
        flat = self.answers.flatten()
        lengths = self.answers.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        return Ragged.with_lengths(np.arange(len(flat)), lengths), words_of(flat)


def _each_of(lists: Ragged, query_of: Int64, faults: Faults) -> tuple[Int64, Int64]:
    """The number of each pair that has no fault yet, and each value of its query's list: int64 [n] both."""
    pairs = np.flatnonzero(faults == _NONE)
    lengths = lists.lengths[query_of[pairs]]
    values = lists.values[ranges(lists.offsets[query_of[pairs]], lengths)]
    return np.repeat(pairs, lengths), values
