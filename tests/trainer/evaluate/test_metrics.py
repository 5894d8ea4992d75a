import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluate import (
    RetrievalData,
    evaluate_run,
    query_values,
    read_run,
    rows_of_run,
    write_per_query,
    write_run,
)
from trainer.evaluate.files import EvaluationDataError, EvaluationError
from trainer.evaluate.metrics import judged_values, metric_rows, per_query_table
from trainer.evaluate.runs import ranked

METRICS = ("ndcg@3", "ndcg@10", "mrr@2", "mrr@10", "recall@1", "recall@5", "map@4", "map@100", "p@3")
IDS = ["d1", "d10", "d2", "é", "北", "Z", "a"]
FALLING = tuple(sorted(IDS, reverse=True))


def data_of(relevance, documents=FALLING, languages=None, answers=None):
    queries = list(relevance)
    return RetrievalData(
        name="made-up",
        document_ids=list(documents),
        documents=[""] * len(documents),
        query_ids=queries,
        queries=[""] * len(queries),
        relevance=relevance,
        kinds=[None] * len(queries),
        languages=languages or [None] * len(queries),
        answers=answers,
    )


def restated(judged, scores, metric):
    """The metric by its definition: plain Python, no library."""
    name, cutoff = metric.split("@")
    cutoff = int(cutoff)
    order = sorted(scores, key=lambda document: (scores[document], document.encode()), reverse=True)
    grades = [judged.get(document, 0) for document in order]
    relevant = sum(grade >= 1 for grade in judged.values())
    hits = [grade >= 1 for grade in grades]
    if name == "ndcg":
        ideal = sorted((grade for grade in judged.values() if grade > 0), reverse=True)
        best = sum(grade / math.log2(rank + 2) for rank, grade in enumerate(ideal[:cutoff]))
        gained = sum(grade / math.log2(rank + 2) for rank, grade in enumerate(grades[:cutoff]))
        return gained / best if best else 0.0
    if name == "mrr":
        return next((1 / (rank + 1) for rank, hit in enumerate(hits[:cutoff]) if hit), 0.0)
    if name == "recall":
        return sum(hits[:cutoff]) / relevant if relevant else 0.0
    if name == "p":
        return sum(hits[:cutoff]) / cutoff
    precisions = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits[:cutoff]) if hit]
    return sum(precisions) / relevant if relevant else 0.0


judged = st.dictionaries(st.sampled_from(IDS), st.integers(0, 3), min_size=1)
found = st.dictionaries(st.sampled_from(IDS), st.sampled_from([0.0, 0.5, 1.0, -2.0]))


@settings(max_examples=150, deadline=None)
@given(relevance=st.lists(judged, min_size=1, max_size=4), scores=st.lists(found, min_size=4, max_size=4))
def test_metrics_are_those_of_the_definitions_with_ties_and_grades(relevance, scores):
    relevance = {f"q{number}": each for number, each in enumerate(relevance)}
    rankings = [ranked(list(each), list(each.values())) for each in scores[: len(relevance)]]
    values = judged_values(relevance, list(relevance), rankings, METRICS)
    for metric in METRICS:
        expected = [restated(each, one, metric) for each, one in zip(relevance.values(), scores, strict=False)]
        assert values[metric].tolist() == pytest.approx(expected, abs=1e-12), metric


@settings(max_examples=100, deadline=None)
@given(relevance=judged, scores=st.dictionaries(st.sampled_from(IDS), st.sampled_from([0.0, 0.1, 0.7]), min_size=1))
def test_metrics_of_a_ranking_of_rows_are_those_of_pytrec_eval(relevance, scores):
    data = data_of({"q": relevance})
    documents, values = ranked(list(scores), list(scores.values()))
    rows = np.array([[data.document_ids.index(document) for document in documents] + [-1] * (7 - len(documents))])
    padded = np.array([values + [-np.inf] * (7 - len(values))], np.float32)
    got = query_values(data, padded, rows, ("ndcg@5", "recall@5", "map@5", "p@5"))
    measures = {"ndcg_cut.5", "recall.5", "map_cut.5", "P.5"}
    run = {"q": dict(zip(documents, values, strict=True))}
    peer = pytrec_eval.RelevanceEvaluator({"q": relevance}, measures).evaluate(run)["q"]
    assert [got[name][0] for name in ("ndcg@5", "recall@5", "map@5", "p@5")] == pytest.approx(
        [peer[name] for name in ("ndcg_cut_5", "recall_5", "map_cut_5", "P_5")]
    )


def test_a_query_judged_without_any_document_counts_as_zero_and_one_not_judged_has_no_value():
    values = judged_values({"empty": {}}, ["empty", "unjudged"], [(["a"], [1.0])] * 2, ("ndcg@10", "mrr@10"))
    assert [values[metric][0] for metric in ("ndcg@10", "mrr@10")] == [0.0, 0.0]
    assert math.isnan(values["ndcg@10"][1])


def test_an_unknown_metric_is_refused_by_name():
    with pytest.raises(ValueError, match="no metric 'ndcg'"):
        query_values(data_of({"q": {"a": 1}}), np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64), ("ndcg",))


def test_metrics_of_judgements_need_judgements_and_those_of_answers_answers():
    ranking = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64)
    with pytest.raises(ValueError, match="made-up judges documents"):
        query_values(data_of({"q": {"a": 1}}), *ranking, ("answer_recall@20",))
    with pytest.raises(ValueError, match="made-up has answers"):
        query_values(data_of({}, answers=[]), np.zeros((0, 1), np.float32), np.zeros((0, 1), np.int64), ("ndcg@10",))


def test_a_score_that_is_nan_is_refused_with_query_and_document():
    with pytest.raises(ValueError, match="document 'é' for query 'q'"):
        query_values(data_of({"q": {"a": 1}}), np.full((1, 1), np.nan, np.float32), np.array([[1]]))


def test_values_by_query_are_kept_with_kind_and_language(tmp_path):
    data = data_of({"q1": {"a": 1}, "q2": {"Z": 1}}, languages=["en", "zh"])
    a = data.document_ids.index("a")
    values = query_values(data, np.ones((2, 1), np.float32), np.array([[a], [a]]), ("recall@5",))
    path = tmp_path / "queries.parquet"
    write_per_query(path, per_query_table(data, values))
    assert pq.read_table(path).to_pylist() == [
        {"query_id": "q1", "kind": None, "language": "en", "recall@5": 1.0},
        {"query_id": "q2", "kind": None, "language": "zh", "recall@5": 0.0},
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["queries.parquet"]


def test_fingerprints_go_into_every_row():
    rows = metric_rows(
        data_of({"q1": {"a": 1}, "q2": {"Z": 1}}, languages=["en", "zh"]),
        np.ones((2, 1), np.float32),
        np.zeros((2, 1), np.int64),
        model="m",
        mode="dense",
        identity={"code": "pairmill 1"},
    )
    assert [row["code"] for row in rows] == ["pairmill 1"] * 3


@settings(max_examples=40, deadline=None)
@given(scores=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=7, max_size=7))
def test_a_run_file_gives_back_ids_order_and_every_bit_of_the_scores(tmp_path_factory, scores):
    data = data_of({"q": {"a": 1}})
    path = tmp_path_factory.mktemp("run") / "dense.trec"
    documents, values = ranked(data.document_ids, scores)
    rows = np.array([[data.document_ids.index(document) for document in documents]])
    write_run(path, data, np.array([values], np.float32), rows, name="dense")
    run = read_run(path)
    assert run.name == "dense"
    assert run.rankings == {"q": (documents, values)}
    again_scores, again_rows = rows_of_run(run, data)
    assert (again_rows.tolist(), again_scores.tolist()) == (rows.tolist(), [values])


def test_the_ranks_of_a_run_file_are_not_believed(tmp_path):
    (tmp_path / "run").write_text("q Q0 b 1 0.5 x\nq Q0 c 2 0.5 x\nq Q0 a 3 0.9 x\n")
    queries, values = evaluate_run(tmp_path / "run", {"q": {"b": 1}, "absent": {"a": 1}}, ("mrr@10",))
    assert queries == ["absent", "q"]
    assert values["mrr@10"].tolist() == [0.0, pytest.approx(1 / 3)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q Q0 d 1 nan x", "line 2: the score nan of document 'd' cannot be ranked"),
        ("q Q0 d 1 inf x", "line 2: the score inf"),
        ("q Q0 d 1 high x", "line 2, must hold six fields"),
        ("q Q0 d 1 0.5", "line 2, must hold six fields"),
        ("q Q0 first 2 0.5 x", "line 2: document 'first' comes twice"),
    ],
)
def test_a_run_file_that_cannot_be_scored_is_refused_with_its_line(tmp_path, line, message):
    (tmp_path / "run").write_text(f"q Q0 first 1 1 x\n{line}\n")
    with pytest.raises(EvaluationDataError, match=message):
        read_run(tmp_path / "run")


def test_an_empty_run_file_and_a_document_of_another_corpus_are_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(EvaluationDataError, match="holds no ranking"):
        read_run(tmp_path / "run")
    (tmp_path / "run").write_text("q Q0 elsewhere 1 1 x\n")
    with pytest.raises(EvaluationDataError, match="'elsewhere' for query 'q', and made-up has no"):
        rows_of_run(read_run(tmp_path / "run"), data_of({"q": {"a": 1}}))


def test_ids_with_white_space_do_not_go_into_a_run_file(tmp_path):
    data = data_of({"q 1": {"a": 1}})
    with pytest.raises(EvaluationDataError, match="cannot hold 'q 1'"):
        write_run(tmp_path / "run", data, np.ones((1, 1), np.float32), np.zeros((1, 1), np.int64), name="x")
    assert list(tmp_path.iterdir()) == []


def test_metric_rows_are_json(tmp_path):
    rows = metric_rows(
        data_of({"q": {"a": 1}}), np.ones((1, 1), np.float32), np.zeros((1, 1), np.int64), model="m", mode="x"
    )
    assert json.loads(json.dumps(rows)) == rows


def test_a_run_file_cannot_be_scored_by_answers(tmp_path):
    file = tmp_path / "run"
    file.write_text("q Q0 d 1 0.5 tag\n")
    with pytest.raises(EvaluationError, match="answer_recall@20 needs the passages' texts"):
        evaluate_run(file, {"q": {"d": 1}}, ["answer_recall@20"])
