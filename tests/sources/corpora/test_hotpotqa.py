"""HotpotQA: files and hub rows."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.sources.reading_all import Everything, write

CONTEXT = [
    ["Mill", ["A mill grinds.", " It needs a river."]],
    ["Kiln", ["A kiln burns."]],
    ["River", ["A river flows."]],
    ["Empty", []],
]
GOOD = {
    "_id": "5a",
    "question": "What flows by a mill?",
    "answer": "a river",
    "supporting_facts": [["Mill", 1], ["River", 0], ["Mill", 0], ["Sea", 0]],
    "context": CONTEXT,
}


def test_named_paragraphs_are_positives_and_the_others_negatives(tmp_path: Path) -> None:
    found = Everything("hotpotqa", write(tmp_path / "hotpot_train_v1.1.json", json.dumps([GOOD], indent=1)))
    assert found.sides == [
        ("What flows by a mill?", "Mill A mill grinds. It needs a river."),
        ("What flows by a mill?", "River A river flows."),
    ]
    assert [pair["negatives"] for pair in found.pairs] == [["Kiln A kiln burns."]] * 2
    assert [pair["document_id"] for pair in found.pairs] == ["hotpotqa:Mill", "hotpotqa:River"]
    assert found.pairs[0]["kind"] == "question_context"


def test_titles_negatives_and_answers_are_chosen_by_settings(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", json.dumps([GOOD]))
    bare = Everything("hotpotqa", file, with_title=False, max_negatives=0).pairs[1]
    assert (bare["positive"], bare["negatives"] or []) == ("A river flows.", [])
    assert Everything("hotpotqa", file, kinds=["question_answer"]).sides == [("What flows by a mill?", "a river")]


def test_rows_of_a_hub_give_the_same_pairs(tmp_path: Path) -> None:
    titles, sentences = zip(*CONTEXT, strict=True)
    row = GOOD | {
        "supporting_facts": {"title": ["Mill", "River"], "sent_id": [1, 0]},
        "context": {"title": list(titles), "sentences": list(sentences)},
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    expected = Everything("hotpotqa", write(tmp_path / "a.json", json.dumps([GOOD]))).pairs
    assert Everything("hotpotqa", tmp_path / "a.parquet").pairs == expected


def test_a_test_question_is_no_pair_and_bad_records_are_quarantined(tmp_path: Path) -> None:
    hidden = {"_id": "5b", "question": "q", "context": CONTEXT}
    bad = [
        GOOD | {"context": [["Mill"]]},
        GOOD | {"context": [["Mill", "text"]]},
        GOOD | {"context": [["Mill", [1]]]},
        GOOD | {"context": [[1, ["a"]]]},
        GOOD | {"supporting_facts": [[1, 2]]},
        GOOD | {"supporting_facts": "Mill"},
        {"question": "q"},
    ]
    found = Everything("hotpotqa", write(tmp_path / "a.json", json.dumps([hidden, *bad, GOOD])))
    assert found.reasons == [("entry", number, "wrong_type") for number in range(2, 8)] + [
        ("entry", 8, "missing_field")
    ]
    assert len(found.pairs) == 2


def test_columns_of_a_hub_that_are_not_of_one_length_are_quarantined(tmp_path: Path) -> None:
    row = {
        "question": "q",
        "context": {"title": ["t", "u"], "sentences": [["a"]]},
        "supporting_facts": {"title": ["t"]},
    }
    found = Everything("hotpotqa", write(tmp_path / "a.jsonl", json.dumps(row)))
    assert (found.pairs, found.reasons) == ([], [("line", 1, "wrong_value")])
