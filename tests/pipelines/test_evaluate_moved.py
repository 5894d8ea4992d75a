"""Which queries moved: ranks, passages and values as by hand, of judged sets and of sets with answers."""

import numpy as np
import pytest

from pipelines.evaluate_moved import side_by_side
from pipelines.evaluate_sets import EvaluationSet
from pipelines.evaluate_settings import EvaluationFolder
from pipelines.evaluate_systems import Result
from pipelines.report.side_by_side import render
from trainer.evaluate import RetrievalData
from trainer.evaluate.metrics import per_query_table, query_values
from trainer.search_blocks import Found

TEXTS = ["<script>alert(1)</script> river", "garden", "market \u202e hidden", "harbour"]


def data_of(**changes):
    told = {
        "name": "made", "document_ids": ["d3", "d2", "d1", "d0"], "documents": TEXTS[::-1], "query_ids": ["q0", "q1", "q2"],
        "queries": ["river?", "garden & more?", "nothing"], "relevance": {"q0": {"d0": 1}, "q1": {"d1": 2, "d9": 1}, "q2": {"d9": 1}},
        "kinds": [None] * 3, "languages": ["en", "de", "de"],
    }  # fmt: skip
    return RetrievalData(**(told | changes))


def result(system, data, rankings, metric="ndcg@10"):
    """Rankings of document numbers, best first."""
    rows = np.array([[3 - document for document in ranking] for ranking in rankings], np.int64)
    scores = np.tile(-np.arange(rows.shape[1], dtype=np.float32), (len(rows), 1))
    values = query_values(data, scores, rows)
    of = EvaluationSet(EvaluationFolder(path="made"), "made", None, "made", retrieval=data)
    overall = {"queries": 3, "corpus": 4, **{name: float(value.mean()) for name, value in values.items()}}
    return Result(system, "dense", of, [overall], per_query_table(data, values), Found(scores, rows))


@pytest.fixture
def shown():
    data = data_of()
    first = result("old", data, [[1, 2, 0], [1, 0, 2], [0, 1, 2]])
    second = result("new", data, [[0, 1, 2], [3, 2, 1], [1, 0, 2]])
    return side_by_side([first, second], "old", "new", 5)


def test_gain_and_loss_come_with_passages_and_ranks_of_both(shown):
    [of_set] = shown.sets
    [gained], [lost] = of_set.gained, of_set.lost  # q2 is 0 for both
    # q0: relevant d0 goes from rank 3 (1 / log2(4)) to rank 1
    assert (gained.query_id, gained.first, gained.second) == ("q0", pytest.approx(0.5), 1.0)
    assert [(p.document_id, p.first_rank, p.second_rank, p.relevant) for p in gained.passages] == [
        ("d1", 1, 2, False), ("d0", 3, 1, True),
    ]  # fmt: skip
    # q1: of d1 (grade 2) and d9, which is not in the corpus, d1 falls from rank 1 to 3
    assert lost.query_id == "q1" and lost.second < lost.first
    assert [(p.document_id, p.first_rank, p.second_rank, p.relevant) for p in lost.passages] == [
        ("d1", 1, 3, True), ("d3", None, 1, False),
    ]  # fmt: skip
    assert (of_set.metric, of_set.size, of_set.better, of_set.worse, of_set.depth) == ("ndcg@10", 3, 1, 1, 3)


def test_only_so_many_of_each_language_are_kept():
    data = data_of(relevance={"q0": {"d0": 1}, "q1": {"d1": 1}, "q2": {"d2": 1}})
    first = result("old", data, [[1, 0], [0, 1], [0, 1]])
    second = result("new", data, [[0, 1], [1, 0], [2, 0]])
    [of_set] = side_by_side([first, second], "old", "new", 1).sets
    assert [(query.language, query.query_id) for query in of_set.gained] == [("de", "q2"), ("en", "q0")]


def test_where_answers_decide_the_passage_that_holds_one_is_the_relevant_one():
    data = data_of(relevance={}, answers=[["RIVER"], ["market"], ["nobody"]], layout="mkqa")
    first = result("old", data, [[1, 2], [0, 1], [0, 1]], "answer_recall@100")
    second = result("new", data, [[1, 0], [0, 2], [0, 1]], "answer_recall@100")
    [of_set] = side_by_side([first, second], "old", "new", 5).sets
    assert of_set.metric == "answer_recall@100"
    assert {query.query_id: [p.document_id for p in query.passages if p.relevant] for query in of_set.gained} == {
        "q0": ["d0"], "q1": ["d2"],
    }  # fmt: skip


def test_the_page_escapes_what_the_data_hold_and_filters_by_language(shown):
    page = render(shown).decode()
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page and "garden &amp; more?" in page
    assert "\u202e" not in page and "below 3" in page
    assert 'id="show-0"' in page and "body:has(#show-1:checked) :is(.moved:not(.of-1)," in page
    assert render(shown) == render(type(shown).model_validate_json(shown.model_dump_json()))


def test_a_text_that_is_cut_is_told_to_be_cut():
    data = data_of(documents=["harbour", "market", "garden", "river " * 500])
    first = result("old", data, [[1, 2, 0], [1, 0, 2], [0, 1, 2]])
    second = result("new", data, [[0, 1, 2], [3, 2, 1], [1, 0, 2]])
    shown = side_by_side([first, second], "old", "new", 5)
    assert "cut at 2,000 characters" in render(shown).decode()


def test_a_rank_is_told_to_be_below_what_both_systems_kept():
    data = data_of()
    first = result("old", data, [[1, 0], [1, 0], [0, 1]])
    second = result("new", data, [[0, 1, 2], [3, 2, 1], [1, 0, 2]])
    [of_set] = side_by_side([first, second], "old", "new", 5).sets
    assert of_set.depth == 2


def test_a_corpus_is_looked_through_a_few_times_however_many_queries_have_answers(monkeypatch):
    from pipelines import evaluate_moved

    looked = []
    texts = evaluate_moved._texts
    monkeypatch.setattr(evaluate_moved, "_texts", lambda *given: looked.append(given) or texts(*given))
    data = data_of(relevance={}, answers=[["RIVER"], ["market"], ["nobody"]], layout="mkqa")
    first = result("old", data, [[1, 2], [0, 1], [0, 1]], "answer_recall@100")
    second = result("new", data, [[1, 0], [0, 2], [0, 1]], "answer_recall@100")
    side_by_side([first, second], "old", "new", 5)
    assert len(looked) == 2  # the ranked, and those shown


def test_a_set_of_one_system_only_is_left_out():
    data = data_of()
    first = result("old", data, [[1, 2, 0], [1, 0, 2], [0, 1, 2]])
    assert side_by_side([first], "old", "new", 5).sets == ()
