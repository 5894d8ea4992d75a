"""DuReader 2.0: preprocessed and raw files."""

import json
from pathlib import Path
from typing import Any

from tests.sources.reading_all import Everything, write


def page(title: str, paragraphs: Any, selected: bool, related: int | None = None) -> dict[str, Any]:
    found = {"title": title, "paragraphs": paragraphs, "is_selected": selected}
    return found if related is None else found | {"most_related_para": related}


PAGES = [
    page("水磨", ["一", "水磨用水力。"], True, 1),
    page("风磨", ["风磨用风力。"], False, 0),
    page("石磨", ["石磨用人力。", "二"], True, 0),
]
GOOD = {"question": "水磨用什么？", "question_id": 7, "documents": PAGES, "answers": ["水力", "水"], "answer_docs": [0]}
RAW = {
    "question": "石磨呢？",
    "question_id": 8,
    "documents": [page("石磨", ["一", "二"], True), page("x", ["y"], False)],
}


def lines(*records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def test_the_positive_is_the_paragraph_that_agrees_most_with_the_answers(tmp_path: Path) -> None:
    found = Everything("dureader", write(tmp_path / "search.train.json", lines(GOOD, GOOD | {"answer_docs": []})))
    assert found.sides == [("水磨用什么？", "水磨用水力。")]
    pair = found.pairs[0]
    assert (pair["kind"], pair["document_id"], pair["query_lang"]) == ("question_context", "dureader:7:0", "zho_Hans")
    assert pair["negatives"] is None
    assert (found.records, found.quarantine) == (2, [])


def test_selected_pages_count_where_asked_for_and_in_raw_files_with_their_whole_text(tmp_path: Path) -> None:
    file = write(tmp_path / "search.train.json", lines(GOOD, RAW))
    assert Everything("dureader", file, positives="selected").sides == [
        ("水磨用什么？", "水磨用水力。"),
        ("水磨用什么？", "石磨用人力。"),
        ("石磨呢？", "一 二"),
    ]
    assert Everything("dureader", file).sides[1:] == [("石磨呢？", "一 二")]


def test_answers_and_titles_come_where_they_are_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path / "search.train.json", lines(GOOD))
    answers = Everything("dureader", file, kinds=["question_answer"])
    assert answers.sides == [("水磨用什么？", "水力"), ("水磨用什么？", "水")]
    assert answers.pairs[0]["document_id"] == "dureader:7"
    titles = Everything("dureader", file, kinds=["title_body"])
    assert titles.sides == [("水磨", "一 水磨用水力。"), ("风磨", "风磨用风力。"), ("石磨", "石磨用人力。 二")]


def test_records_that_cannot_be_used_are_quarantined(tmp_path: Path) -> None:
    bad = [
        {"question": "q", "documents": PAGES, "answer_docs": [3]},
        {"question": "q", "documents": PAGES, "answer_docs": ["0"]},
        {"question": "q", "documents": [page("t", ["a"], True, 5)], "answer_docs": [0]},
        {"question": "q", "documents": [page("t", [1], True, 0)], "answer_docs": [0]},
        {"question": "q", "documents": [3], "answer_docs": [0]},
        {"question": "q"},
        {"question": "q", "documents": [], "answers": "a"},
    ]
    found = Everything("dureader", write(tmp_path / "search.dev.json", lines(*bad, GOOD)))
    assert [reason for _, _, reason in found.reasons] == [
        *["wrong_value"] * 3,
        *["wrong_type"] * 2,
        "missing_field",
        "wrong_type",
    ]
    assert len(found.pairs) == 1
