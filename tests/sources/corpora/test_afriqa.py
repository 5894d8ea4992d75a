"""AfriQA: gold passages and files of questions."""

import json
from pathlib import Path
from typing import Any

from tests.sources.reading_all import Everything, write

PASSAGE = "The mill at the river grinds maize."
GOOD = {
    "id": "0",
    "context": PASSAGE,
    "title": "Mill",
    "question_lang": "Kinu husaga nini?",
    "question_translated": "What does the mill grind?",
    "answer_lang": "mahindi",
    "answer_pivot": {"answer_start": [29], "text": ["maize"]},
}


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_the_question_and_its_translation_pair_with_the_passage(tmp_path: Path) -> None:
    bad = [{"context": PASSAGE, "question_lang": "q"}, GOOD | {"context": 3}, GOOD | {"answer_pivot": {"words": 1}}]
    file = write(tmp_path / "gold_span_passages.afriqa.swa.en.test.json", lines(GOOD, *bad))
    found = Everything("afriqa", file)
    assert [
        (*sides, pair["query_lang"], pair["positive_lang"])
        for sides, pair in zip(found.sides, found.pairs, strict=True)
    ] == [
        ("Kinu husaga nini?", PASSAGE, "swa_Latn", "eng_Latn"),
        ("What does the mill grind?", PASSAGE, "eng_Latn", "eng_Latn"),
    ]
    assert {pair["document_id"] for pair in found.pairs} == {"afriqa:Mill"}
    assert found.reasons == [("line", 2, "missing_field"), ("line", 3, "wrong_type"), ("line", 4, "wrong_type")]


def test_answers_come_in_the_language_of_their_question(tmp_path: Path) -> None:
    file = write(tmp_path / "gold_span_passages.afriqa.fon.fr.train.json", lines(GOOD))
    found = Everything("afriqa", file, kinds=["question_answer"])
    assert found.sides == [("Kinu husaga nini?", "mahindi"), ("What does the mill grind?", "maize")]
    assert [pair["query_lang"] for pair in found.pairs] == ["fon_Latn", "fra_Latn"]


def test_files_of_questions_hold_their_answers_as_the_text_of_a_list(tmp_path: Path) -> None:
    record = {
        "question": "Kinu husaga nini?",
        "translated_question": "What does the mill grind?",
        "answers": "['mahindi', 'nafaka']",
        "translated_answer": "['maize'",
        "lang": "swa",
    }
    file = write(tmp_path / "queries.afriqa.swa.en.dev.json", lines(record))
    found = Everything("afriqa", file, kinds=["question_answer"])
    assert found.sides == [
        ("Kinu husaga nini?", "mahindi"),
        ("Kinu husaga nini?", "nafaka"),
        ("What does the mill grind?", "['maize'"),
    ]
    assert Everything("afriqa", file).pairs == []
