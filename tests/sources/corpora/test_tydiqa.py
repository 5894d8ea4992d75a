"""TyDi QA: the primary task and the gold passages."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sources.reading_all import Everything, write

FIRST, SECOND = "Mylly jauhaa viljaa.", "Se seisoo joen äärellä, ja joki virtaa hiljaa."
ARTICLE = f"\n{FIRST}\n\n{SECOND}\n"


def place(text: str) -> dict[str, int]:
    """In bytes of UTF-8, as the corpus counts."""
    start = ARTICLE.encode().index(text.encode())
    return {"plaintext_start_byte": start, "plaintext_end_byte": start + len(text.encode())}


NOWHERE = {"plaintext_start_byte": -1, "plaintext_end_byte": -1}


def chose(candidate: int, minimal: dict[str, int] = NOWHERE) -> dict[str, Any]:
    return {"passage_answer": {"candidate_index": candidate}, "minimal_answer": minimal, "yes_no_answer": "NONE"}


def record(*annotations: Any) -> dict[str, Any]:
    return {
        "annotations": list(annotations),
        "document_plaintext": ARTICLE,
        "document_title": "Mylly",
        "document_url": "https://fi.wikipedia.org/wiki/Mylly",
        "example_id": 9,
        "language": "finnish",
        "passage_answer_candidates": [place(FIRST), place(SECOND)],
        "question_text": "Missä mylly seisoo?",
    }


def lines(*records: Any) -> str:
    return "".join(json.dumps(one) + "\n" for one in records)


def test_each_passage_that_an_annotator_chose_is_a_pair(tmp_path: Path) -> None:
    good = record(chose(1, place("äärellä")), chose(-1), chose(1), chose(0))
    found = Everything("tydiqa", write(tmp_path / "tydiqa-v1.0-dev.jsonl", lines(good, record(chose(-1)))))
    assert found.sides == [("Missä mylly seisoo?", SECOND), ("Missä mylly seisoo?", FIRST)]
    pair = found.pairs[0]
    assert (pair["kind"], pair["document_id"], pair["url"]) == (
        "question_context",
        "tydiqa:Mylly",
        "https://fi.wikipedia.org/wiki/Mylly",
    )
    assert (pair["query_lang"], pair["positive_lang"]) == ("fin_Latn", "fin_Latn")
    assert (found.records, found.quarantine) == (2, [])


def test_agreement_and_answers_are_chosen_by_settings(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", lines(record(chose(1, place("äärellä")), chose(1), chose(0))))
    assert [positive for _, positive in Everything("tydiqa", file, min_annotators=2).sides] == [SECOND]
    assert Everything("tydiqa", file, kinds=["question_answer"]).sides == [("Missä mylly seisoo?", "äärellä")]


def test_articles_are_the_documents(tmp_path: Path) -> None:
    found = Everything("tydiqa", write(tmp_path / "a.jsonl", lines(record(chose(-1)))), documents=True)
    (document,) = found.documents
    assert (document["document_id"], document["title"], document["language"]) == ("tydiqa:Mylly", "Mylly", "fin_Latn")
    assert document["text"] == f"{FIRST} {SECOND}"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(chose(2)), "wrong_value"),
        (record(chose(0, {"plaintext_start_byte": 0, "plaintext_end_byte": 9999})), "wrong_value"),
        (
            record(
                chose(0, {"plaintext_start_byte": 0, "plaintext_end_byte": ARTICLE.encode().index("ä".encode()) + 1})
            ),
            "wrong_value",
        ),
        (record({"minimal_answer": NOWHERE}), "missing_field"),
        (record({"passage_answer": {"candidate_index": "1"}, "minimal_answer": NOWHERE}), "wrong_type"),
        (record(chose(0)) | {"passage_answer_candidates": ["x"]}, "wrong_type"),
        (record() | {"language": 3}, "wrong_type"),
        ({"question_text": "q"}, "missing_field"),
    ],
)
def test_records_that_cannot_be_used_are_quarantined(tmp_path: Path, bad: Any, reason: str) -> None:
    found = Everything("tydiqa", write(tmp_path / "a.jsonl", lines(bad, record(chose(0)))))
    assert found.reasons == [("line", 1, reason)]
    assert [positive for _, positive in found.sides] == [FIRST]


def test_gold_passages_are_read_and_name_the_same_article(tmp_path: Path) -> None:
    question = {"id": "finnish-9-0", "question": "Missä mylly seisoo?", "answers": [{"text": "äärellä"}]}
    article = {"title": "Mylly", "paragraphs": [{"context": SECOND, "qas": [question]}]}
    file = write(tmp_path / "tydiqa-goldp-v1.1-dev.json", json.dumps({"data": [article]}))
    found = Everything("tydiqa", file)
    assert found.sides == [("Missä mylly seisoo?", SECOND)]
    assert (found.pairs[0]["document_id"], found.pairs[0]["query_lang"]) == ("tydiqa:Mylly", "fin_Latn")
