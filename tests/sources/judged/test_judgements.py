"""Judgements as arrays: negatives of files, and those of each query."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.formats.column_blocks import read_columns
from sources.judged.judgements import (
    QRELS,
    RANKED,
    TRIPLES,
    JudgedIds,
    JudgementRows,
    NegativeRows,
    grades,
    negatives_by_query,
    rank_in_group,
)
from tests.sources.judged_folder import table
from tests.sources.reading_all import write


def judged(folder: Path, qrels: str, ranked: str = "", most: int = 16) -> JudgedIds:
    rows = JudgementRows()
    for block in read_columns(str(write(folder / "qrels.tsv", qrels)), QRELS, "test", 1000):
        rows.add(block, 0)
    queries, codes = rows.query_ids()
    negatives = NegativeRows(queries, codes, most)
    for block in read_columns(str(write(folder / "ranked.tsv", ranked)), RANKED, "test", 1000):
        negatives.add(block)
    return rows.finish(queries, codes, negatives)


def negatives(ids: JudgedIds, highest: float = 0, most: int = 16, without: str = "") -> dict[str, list[str]]:
    names = ids.passage_ids.ids.to_pylist()
    found = negatives_by_query(ids, highest, most, np.array([name not in without.split() for name in names]))
    queries = ids.query_ids.ids.to_pylist()
    starts, passages = found.rows(np.arange(len(queries)))
    return {
        query: [names[code] for code in passages[starts[number] : starts[number + 1]]]
        for number, query in enumerate(queries)
    }


QRELS_ROWS = table(("q1", 0, "a", 2), ("q2", 0, "b", 1), ("q1", 0, "c", 0), ("q1", 0, "d", 1), ("q2", 0, "c", 0))


def test_judgements_are_numbers_into_their_ids(tmp_path: Path) -> None:
    ids = judged(tmp_path, QRELS_ROWS)
    assert ids.query_ids.ids.to_pylist() == ["q1", "q2"]
    assert ids.passage_ids.ids.to_pylist() == ["a", "b", "c", "d"]
    assert ids.query.tolist() == [0, 1, 0, 0, 1]
    assert ids.passage.tolist() == [0, 1, 2, 3, 2]
    assert ids.grade.tolist() == [2, 1, 0, 1, 0]
    assert ids.line.tolist() == [1, 2, 3, 4, 5]


def test_passages_judged_low_are_negatives_and_those_between_are_neither(tmp_path: Path) -> None:
    ids = judged(tmp_path, QRELS_ROWS)
    assert negatives(ids) == {"q1": ["c"], "q2": ["c"]}
    assert negatives(ids, highest=1) == {"q1": ["c", "d"], "q2": ["b", "c"]}


def test_ranked_passages_follow_the_judged_negatives_without_the_relevant_ones(tmp_path: Path) -> None:
    ranked = table(("q1", "a", 1), ("q1", "e", 2), ("q1", "c", 3), ("q1", "d", 4), ("q1", "f", 5), ("q9", "e", 1))
    ids = judged(tmp_path, QRELS_ROWS, ranked)
    assert negatives(ids) == {"q1": ["c", "e", "f"], "q2": ["c"]}
    assert negatives(ids, most=2) == {"q1": ["c", "e"], "q2": ["c"]}
    assert negatives(ids, most=2, without="e") == {"q1": ["c", "f"], "q2": ["c"]}


def test_only_so_many_ranked_passages_are_kept_as_may_be_needed(tmp_path: Path) -> None:
    ranked = table(*((query, f"p{number}", number) for number in range(100) for query in ("q1", "q2", "q3")))
    ids = judged(tmp_path, table(("q1", 0, "p0", 1), ("q1", 0, "p1", 1), ("q2", 0, "a", 1)), ranked, most=3)
    assert np.bincount(ids.negative_query).tolist() == [5, 4]  # 3 and as many as were judged
    assert negatives(ids, most=3) == {"q1": ["p2", "p3", "p4"], "q2": ["p0", "p1", "p2"]}


def test_triples_give_each_pair_once(tmp_path: Path) -> None:
    rows = JudgementRows()
    data = table(("1", "a", "x"), ("2", "b", "x"), ("1", "a", "y"), ("1", "c", "x"))
    path = str(write(tmp_path / "t.tsv", data))
    for _ in range(2):  # as if the same rows came in two blocks
        for block in read_columns(path, TRIPLES, "test", 1000):
            rows.add_new(block, 0)
    queries, codes = rows.query_ids()
    ids = rows.finish(queries, codes, NegativeRows(queries, codes, 4))
    pairs = zip(
        ids.query_ids.ids.take(pa.array(ids.query)), ids.passage_ids.ids.take(pa.array(ids.passage)), strict=True
    )
    assert [(str(query), str(passage)) for query, passage in pairs] == [("1", "a"), ("2", "b"), ("1", "c")]
    assert np.isnan(ids.grade).all()


def test_grades_are_numbers_or_nothing() -> None:
    found = grades(pa.array(["1", " -2.5 ", "x", "", None, "1e99"]))
    assert found[:2].tolist() == [1.0, -2.5]
    assert not np.isfinite(found[2:]).any()


@settings(deadline=None)
@given(groups=st.lists(st.integers(0, 4), max_size=20))
def test_the_rank_counts_those_of_the_same_group_before(groups: list[int]) -> None:
    expected = [groups[:place].count(group) for place, group in enumerate(groups)]
    assert rank_in_group(np.array(groups, np.int64)).tolist() == expected
