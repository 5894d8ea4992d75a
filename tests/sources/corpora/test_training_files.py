"""Training files of other libraries: FlagEmbedding, sentence-transformers, BAAI-MTP."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.source import SourceError
from tests.sources.reading_all import Everything, write


def jsonl(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def parquet(path: Path, *rows: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def judged(found: Everything) -> list[tuple[str, str, list[str] | None, float | None]]:
    return [(pair["query"], pair["positive"], pair["negatives"], pair["label"]) for pair in found.pairs]


def test_flag_embedding_gives_a_pair_for_each_positive(tmp_path: Path) -> None:
    rows = [
        {"query": "q", "pos": ["a", "b"], "neg": ["x", "y"], "pos_scores": [0.5, 2], "neg_scores": [0.25, 0]},
        {"query": "r", "pos": ["c"], "prompt": "Find: ", "type": "normal"},
        {"query": "s", "pos": [], "neg": ["x"]},
        {"query": "t", "pos": ["d", 4], "neg": []},
        {"query": "u", "pos": ["e"], "neg": [None]},
        {"query": "v", "pos": ["f"], "neg": None, "pos_scores": [0.5, 0.75]},
        {"query": "w", "pos": "g", "neg": ["z"]},
        {"query": "x", "neg": ["z"]},
        {"query": "y", "pos": ["h"], "pos_scores": [1e300]},
    ]
    found = Everything("flag_embedding", write(tmp_path / "a.jsonl", jsonl(*rows)), kind="question_answer")
    assert judged(found) == [
        ("q", "a", ["x", "y"], 0.5),
        ("q", "b", ["x", "y"], 2.0),
        ("r", "c", None, None),
        ("t", "d", None, None),
        ("w", "g", ["z"], None),
    ]
    assert {pair["kind"] for pair in found.pairs} == {"question_answer"}
    assert len({pair["document_id"] for pair in found.pairs[:2]}) == 1
    assert [(bad["query"], bad["reason"]) for bad in found.rejects] == [("s", "empty_positive")]
    assert found.reasons == [
        ("line", 4, "wrong_type"),
        ("line", 5, "wrong_type"),
        ("line", 6, "wrong_number_of_scores"),
        ("line", 8, "missing_field"),
        ("line", 9, "unknown_label"),
    ]


def test_flag_embedding_translations_are_known_by_their_folder(tmp_path: Path) -> None:
    (tmp_path / "parallel_news").mkdir()
    path = write(tmp_path / "parallel_news" / "a.jsonl", jsonl({"query": "day", "pos": ["Tag"]}))
    assert Everything("flag_embedding", path).pairs[0]["kind"] == "parallel"
    plain = write(tmp_path / "a.jsonl", jsonl({"query": "day", "pos": ["Tag"]}))
    assert Everything("flag_embedding", plain).pairs[0]["kind"] == "other"


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown kind 'nonsense'"):
        Everything("flag_embedding", tmp_path / "a.jsonl", kind="nonsense")


def test_many_pairs_of_one_long_query_come_in_bounded_steps(tmp_path: Path) -> None:
    from sources.catalogue import load_source
    from sources.records import STEP_TEXT

    record = {"query": "q" * 100_000, "pos": [f"p{n}" for n in range(1000)]}
    path = write(tmp_path / "a.jsonl", jsonl(record))
    source = load_source("flag_embedding")
    settings = source.Settings()
    (split,) = source.splits(str(path), settings, 1 << 40)
    sizes = [(step.records, step.pairs.num_rows) for step in source.read(split, settings)]
    assert sum(records for records, _ in sizes) == 1
    assert sum(pairs for _, pairs in sizes) == 1000
    assert all(pairs * 100_000 <= STEP_TEXT + 200_000 for _, pairs in sizes)


def test_sentence_transformers_lines_of_lists(tmp_path: Path) -> None:
    rows = [["a", "p"], ["b", "p", "n1", "n2"], ["c"], ["d", "p", 3], []]
    data = (jsonl(*rows) + '["e", "p"\n').encode()
    found = Everything("sentence_transformers", write(tmp_path / "pairs.jsonl.gz", gzip.compress(data)))
    assert judged(found) == [("a", "p", None, None), ("b", "p", ["n1", "n2"], None)]
    assert found.reasons == [
        ("line", 3, "too_few_texts"),
        ("line", 4, "wrong_type"),
        ("line", 5, "too_few_texts"),
        ("line", 6, "invalid_json"),
    ]
    nested = Everything("sentence_transformers", write(tmp_path / "a.json", json.dumps([["a", "p"], ["b", "p"]])))
    assert nested.sides == [("a", "p"), ("b", "p")]


def test_sentence_transformers_objects(tmp_path: Path) -> None:
    rows = [
        {"set": ["one", "two", "three"]},
        {"query": "q", "pos": ["p1", "p2"], "neg": ["n"]},
        {"texts": ["a", "b"], "label": 0.9},
        {"texts": ["a", "c"], "label": 0.1},
        {"set": ["alone"]},
        {"something": "else"},
    ]
    found = Everything("sentence_transformers", write(tmp_path / "a.jsonl", jsonl(*rows)))
    assert [row[:3] for row in judged(found)] == [
        ("one", "two", None),
        ("two", "three", None),
        ("q", "p1", ["n"]),
        ("q", "p2", ["n"]),
        ("a", "b", None),
    ]
    assert [pair["kind"] for pair in found.pairs] == ["paraphrase"] * 2 + ["other"] * 3
    assert found.reasons == [("line", 5, "too_few_texts"), ("line", 6, "missing_field")]


def test_sentence_transformers_tables_are_known_by_their_columns(tmp_path: Path) -> None:
    triplet = {"anchor": "a", "positive": "p", "negative_1": "n1", "negative_2": "n2", "negative_3": None}
    found = Everything("sentence_transformers", parquet(tmp_path / "a.parquet", triplet))
    assert judged(found) == [("a", "p", ["n1", "n2"], None)]
    answer = Everything("sentence_transformers", parquet(tmp_path / "b.parquet", {"question": "q", "answer": "a"}))
    assert [(pair["query"], pair["positive"], pair["kind"]) for pair in answer.pairs] == [("q", "a", "question_answer")]
    text = Everything("sentence_transformers", write(tmp_path / "c.csv", "title,abstract\nT,A\n"), kind="other")
    assert [(pair["query"], pair["positive"], pair["kind"]) for pair in text.pairs] == [("T", "A", "other")]


def test_sentence_transformers_scores_decide_what_is_a_pair(tmp_path: Path) -> None:
    rows = [
        {"sentence1": "a", "sentence2": "b", "score": 0.9},
        {"sentence1": "a", "sentence2": "c", "score": 0.3},
        {"sentence1": "a", "sentence2": "d", "score": None},
        {"sentence1": "a", "sentence2": "e", "score": "high"},
        {"sentence1": "a", "sentence2": "f", "label": 1},
        {"sentence1": "a", "sentence2": "g", "label": 0},
        {"sentence1": "a", "sentence2": "h"},
    ]
    path = write(tmp_path / "a.jsonl", jsonl(*rows))
    found = Everything("sentence_transformers", path)
    assert [(positive, None if label is None else round(label, 3)) for _, positive, _, label in judged(found)] == [
        ("b", 0.9),
        ("f", 1.0),
        ("h", None),
    ]
    assert found.reasons == [("line", 4, "unknown_label")]
    assert "c" in [pair["positive"] for pair in Everything("sentence_transformers", path, min_score=0.25).pairs]


@pytest.mark.parametrize(
    ("record", "pairs", "kind"),
    [
        ({"query": "q", "pos": ["a", "b"], "neg": ["n"]}, [("q", "a", ["n"]), ("q", "b", ["n"])], "other"),
        ({"query": "q", "pos": "a"}, [("q", "a", None)], "other"),
        ({"text_pair": ["q", "a"], "id": 1}, [("q", "a", None)], "other"),
        (["q", "a"], [("q", "a", None)], "other"),
        ({"title": "q", "text": "a"}, [("q", "a", None)], "title_body"),
        ({"question": "q", "answer": "a"}, [("q", "a", None)], "question_answer"),
    ],
)
def test_mtp_takes_plausible_fields(
    tmp_path: Path, record: Any, pairs: list[tuple[str, str, list[str] | None]], kind: str
) -> None:
    found = Everything("mtp", write(tmp_path / "a.jsonl", jsonl(record)), language="zh")
    assert [row[:3] for row in judged(found)] == pairs
    assert {(pair["kind"], pair["query_lang"]) for pair in found.pairs} == {(kind, "zho_Hans")}


def test_mtp_refuses_unknown_fields_and_names_those_it_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", jsonl(*({"left": "q", "right": "a"} for _ in range(3))))
    with pytest.raises(SourceError, match="found 'left', 'right'"):
        Everything("mtp", path)


def test_mtp_lists_of_another_length_are_quarantined(tmp_path: Path) -> None:
    rows = [["q", "a"], ["q", "a", "n"], {"text_pair": ["q", None]}]
    found = Everything("mtp", write(tmp_path / "a.jsonl", jsonl(*rows)))
    assert found.sides == [("q", "a")]
    assert found.reasons == [("line", 2, "wrong_number_of_texts"), ("line", 3, "wrong_type")]


def test_only_fields_of_texts_are_negatives(tmp_path: Path) -> None:
    row = {
        "query": "q",
        "positive": "p",
        "negative": "a",
        "negative_2": ["b"],
        "negative_scores": [0.5],
        "negatives": [],
    }
    assert judged(Everything("sentence_transformers", write(tmp_path / "a.jsonl", jsonl(row)))) == [
        ("q", "p", ["a", "b"], None)
    ]


def test_pairs_of_very_many_positives_and_negatives_are_quarantined_and_not_multiplied_out(tmp_path: Path) -> None:
    row = {"query": "q", "pos": ["p"] * 50_000, "neg": ["n"] * 50_000}
    found = Everything("flag_embedding", write(tmp_path / "a.jsonl", jsonl(row)))
    assert (found.pairs, found.reasons) == ([], [("line", 1, "too_many_pairs")])
