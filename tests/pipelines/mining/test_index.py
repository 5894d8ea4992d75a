"""The stages before vectors, on files whose texts are letters."""

import numpy as np
import pytest

from pipelines.mining.exclusions import known_passages
from pipelines.mining.index import load_index, passage_texts, query_texts, write_index
from pipelines.mining.inputs import InputSettings
from pipelines.mining.multimap import Multimap
from pipelines.mining.progress import NoProgress
from pipelines.mining.reading import read_unit, units_of
from pipelines.mining.work import Work
from tests.pipelines.mining.conftest import write_jsonl

PAIRS = [
    {"query": "q", "pos": ["a", "b"], "neg": ["x"], "doc": "d1"},
    {"query": "r", "pos": ["c"], "doc": "d2"},
    {"query": "Q.", "pos": ["d"], "neg": ["y", "a"]},
    {"query": "q", "pos": ["a"]},
]
CORPUS = [
    {"text": "c", "doc": "d1"},
    {"text": "e", "doc": "d2"},
    {"text": "e", "doc": "d3"},
    {"text": "Q!", "doc": "d3"},
    {"text": "B", "doc": "d4"},
]
# Numbers by first occurrence: the corpus, then the positives and negatives of each row.
NUMBERED = ["c", "e", "Q!", "B", "a", "b", "x", "d", "y"]


@pytest.fixture
def opened(tmp_path):
    pairs, corpus = write_jsonl(tmp_path / "pairs.jsonl", PAIRS), write_jsonl(tmp_path / "corpus.jsonl", CORPUS)
    settings = InputSettings(pairs=(pairs,), corpus=(corpus,), document_field="doc")
    work, units = Work(tmp_path / "work"), units_of([corpus], [pairs])
    read, index = work.stage("read"), work.stage("index")
    for unit in units:
        read_unit(read, unit, units, settings, NoProgress())
    counts = write_index(index, read, units)
    return load_index(index), counts, read, units


def test_texts_are_numbered_once_in_the_order_they_come(opened):
    index, counts, read, units = opened
    assert passage_texts(read, units, index).take(np.arange(9)).to_pylist() == NUMBERED
    assert query_texts(read, units, index).take(np.array([2, 0, 1])).to_pylist() == ["Q.", "q", "r"]
    assert index.query_of.tolist() == [0, 1, 2, 0]
    assert index.positives.lists() == [[4, 5], [0], [7], [4]]
    assert index.negatives.lists() == [[6], [], [8, 4], []]
    assert counts["duplicate_texts"] == 13 - 9


def test_the_corpus_and_positives_are_searched_but_negatives_that_came_are_not(opened):
    index, counts, _, _ = opened
    assert index.searched.tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert counts["positives_not_in_corpus"] == 3


def test_what_is_known_of_a_query_is_what_all_its_rows_say(opened):
    index, _, _, _ = opened
    known = known_passages(index, None, np.arange(3))
    # q and Q. are one query: positives a, b, d; B says what b does, Q! what the query does; document d1 holds c too; x, y
    # and a came as negatives.
    assert known.positives.lists() == [[4, 5, 7], [0], [4, 5, 7]]
    assert known.curated.lists() == [[4, 6, 8], [], [4, 6, 8]]
    assert known.excluded.lists()[0] == known.excluded.lists()[2] == [0, 2, 3, 4, 5, 6, 7, 8]
    # r: c, what is in its documents d1 (a and b of the first row) and d2 (e).
    assert known.excluded.lists()[1] == [0, 1, 4, 5]


def test_near_duplicates_of_what_is_known_are_excluded_too(opened):
    index, _, _, _ = opened
    clusters = Multimap.of(np.array([5, 1]), np.array([1, 1])), Multimap.of(np.array([1, 1]), np.array([5, 1]))
    assert known_passages(index, clusters, np.array([0])).excluded.lists() == [[0, 1, 2, 3, 4, 5, 6, 7, 8]]


def test_blocks_of_queries_make_no_difference(opened):
    index, _, _, _ = opened
    whole = known_passages(index, None, np.arange(3)).excluded.lists()
    assert [known_passages(index, None, np.array([n])).excluded.lists()[0] for n in range(3)] == whole
