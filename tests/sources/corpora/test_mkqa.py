"""MKQA: the file of all languages and those of one."""

import gzip
import json
from pathlib import Path
from typing import Any

from tests.sources.reading_all import Everything, write

GOOD = {
    "example_id": -5,
    "query": "what grinds grain",
    "queries": {"en": "what grinds grain", "de": "Was mahlt Korn?", "zh_tw": "什麼磨穀物", "fr": "quoi"},
    "answers": {
        "en": [{"type": "entity", "text": "a mill", "aliases": ["mill"]}],
        "de": [{"type": "entity", "text": "eine Mühle"}],
        "zh_tw": [{"type": "entity", "text": "磨坊"}],
        "fr": [{"type": "long_answer", "text": None}],
    },
}


def lines(*records: Any) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def test_each_language_pairs_its_question_with_its_answer(tmp_path: Path) -> None:
    found = Everything("mkqa", write(tmp_path / "mkqa.jsonl.gz", gzip.compress(lines(GOOD))))
    assert [(pair["query"], pair["positive"], pair["query_lang"], pair["positive_lang"]) for pair in found.pairs] == [
        ("what grinds grain", "a mill", "eng_Latn", "eng_Latn"),
        ("Was mahlt Korn?", "eine Mühle", "deu_Latn", "deu_Latn"),
        ("什麼磨穀物", "磨坊", "zho_Hant", "zho_Hant"),
    ]
    assert {pair["document_id"] for pair in found.pairs} == {"mkqa:-5"}


def test_parallel_questions_and_single_languages_are_chosen_by_settings(tmp_path: Path) -> None:
    file = write(tmp_path / "mkqa.jsonl", lines(GOOD))
    found = Everything("mkqa", file, kinds=["parallel"], languages=["deu_Latn", "zh_tw"])
    assert found.sides == [("what grinds grain", "Was mahlt Korn?"), ("what grinds grain", "什麼磨穀物")]
    assert [(pair["query_lang"], pair["positive_lang"], pair["symmetric"]) for pair in found.pairs] == [
        ("eng_Latn", "deu_Latn", True),
        ("eng_Latn", "zho_Hant", True),
    ]


def test_a_bad_language_is_quarantined_and_the_others_arrive(tmp_path: Path) -> None:
    queries = GOOD["queries"] | {"de": 5}  # type: ignore[operator]
    answers = GOOD["answers"] | {"zh_tw": 7}  # type: ignore[operator]
    bad = {"queries": queries, "answers": answers}
    found = Everything("mkqa", write(tmp_path / "mkqa.jsonl", lines(bad, {"queries": {}}, GOOD)))
    assert found.reasons == [("line", 1, "wrong_type"), ("line", 1, "wrong_type"), ("line", 2, "missing_field")]
    assert [positive for _, positive in found.sides] == ["a mill", "a mill", "eine Mühle", "磨坊"]


def test_a_file_of_one_language_is_named_by_it(tmp_path: Path) -> None:
    record = {"id": "1", "question": "Was mahlt Korn?", "answers": ["eine Mühle", "Mühle"]}
    found = Everything("mkqa", write(tmp_path / "de.jsonl", lines(record)))
    assert found.sides == [("Was mahlt Korn?", "eine Mühle"), ("Was mahlt Korn?", "Mühle")]
    assert found.pairs[0]["query_lang"] == "deu_Latn"
