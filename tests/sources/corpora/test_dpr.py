"""DPR's training files and its Wikipedia."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.sources.reading_all import Everything, write


def passage(title: str, text: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "text": text} | more


GOOD = {
    "dataset": "nq_train_psgs_w100",
    "question": "what does a mill grind",
    "answers": ["grain", "corn"],
    "positive_ctxs": [passage("Mill", "A mill grinds grain.", score=1000), passage("Corn", "Corn is ground in mills.")],
    "hard_negative_ctxs": [passage("Kiln", "A kiln burns clay."), passage("", "A press squeezes.")],
    "negative_ctxs": [passage("Loom", "A loom weaves.")],
}


def test_the_first_positive_comes_with_its_title_and_the_hard_negatives(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps([GOOD, GOOD | {"positive_ctxs": []}], indent=1).encode())
    found = Everything("dpr", write(tmp_path / "biencoder-nq-train.json.gz", packed))
    assert found.sides == [("what does a mill grind", "Mill A mill grinds grain.")]
    pair = found.pairs[0]
    assert pair["negatives"] == ["Kiln A kiln burns clay.", "A press squeezes."]
    assert (pair["kind"], pair["document_id"], pair["query_lang"]) == (
        "question_context",
        "dpr_wikipedia:Mill",
        "eng_Latn",
    )
    assert (found.records, found.quarantine) == (2, [])


@pytest.mark.parametrize(
    ("chosen", "positives", "negatives"),
    [
        ({"max_positives": None, "with_title": False}, ["A mill grinds grain.", "Corn is ground in mills."], 2),
        ({"negatives": "all"}, ["Mill A mill grinds grain."], 3),
        ({"negatives": "none"}, ["Mill A mill grinds grain."], 0),
        ({"max_negatives": 1}, ["Mill A mill grinds grain."], 1),
        ({"kinds": ["question_answer"]}, ["grain", "corn"], 0),
    ],
)
def test_settings_choose_positives_and_negatives(
    tmp_path: Path, chosen: dict[str, Any], positives: list[str], negatives: int
) -> None:
    found = Everything("dpr", write(tmp_path / "a.json", json.dumps([GOOD])), **chosen)
    assert [positive for _, positive in found.sides] == positives
    assert {len(pair["negatives"] or []) for pair in found.pairs} == {negatives}


def test_what_a_reader_is_given_names_gold_passages_and_those_without_an_answer(tmp_path: Path) -> None:
    contexts = [
        passage("Mill", "A mill grinds grain.", isgold=True, hasanswer=True),
        passage("Corn", "It becomes grain.", isgold=False, hasanswer=True),
        passage("Kiln", "A kiln burns clay.", isgold=False, hasanswer=False),
    ]
    unjudged = [passage("Mill", "m", has_answer=True), passage("Kiln", "k", has_answer=False), passage("Loom", "l")]
    records = [{"question": "q1", "answers": ["grain"], "ctxs": contexts}, {"question": "q2", "ctxs": unjudged}]
    found = Everything("dpr", write(tmp_path / "nq.jsonl", "\n".join(map(json.dumps, records))), with_title=False)
    assert [(*sides, pair["negatives"]) for sides, pair in zip(found.sides, found.pairs, strict=True)] == [
        ("q1", "A mill grinds grain.", ["A kiln burns clay."]),
        ("q2", "m", ["k"]),
    ]


def test_records_of_dpr_that_cannot_be_used_are_quarantined(tmp_path: Path) -> None:
    bad = [
        GOOD | {"positive_ctxs": ["a text"]},
        GOOD | {"positive_ctxs": [{"title": "no text"}]},
        GOOD | {"hard_negative_ctxs": [{"text": 3}]},
        GOOD | {"answers": {}},
        {"question": "q", "ctxs": ["x"]},
        {"question": "q"},
        3,
    ]
    found = Everything("dpr", write(tmp_path / "a.json", json.dumps([*bad, GOOD])))
    assert [reason for _, _, reason in found.reasons] == [
        "wrong_type",
        "missing_field",
        "wrong_type",
        "wrong_type",
        "wrong_type",
        "missing_field",
        "not_an_object",
    ]
    assert len(found.pairs) == 1


def test_passages_of_the_wikipedia_pair_with_their_title_without_the_quotes_of_the_table(tmp_path: Path) -> None:
    table = (
        'id\ttext\ttitle\n1\t"A mill (""grinder"") grinds."\tMill\n2\tPlain "text" here.\t"The ""Mill"""\n'
        'ragged\trow\n3\t""\tKiln\n4\tA kiln.\tKiln\n'
    )
    found = Everything("dpr_wikipedia", write(tmp_path / "psgs_w100.tsv", table))
    assert found.sides == [
        ("Mill", 'A mill ("grinder") grinds.'),
        ('The "Mill"', 'Plain "text" here.'),
        ("Kiln", "A kiln."),
    ]
    assert [pair["document_id"] for pair in found.pairs][::2] == ["dpr_wikipedia:Mill", "dpr_wikipedia:Kiln"]
    assert found.pairs[0]["kind"] == "title_body"
    assert found.reasons == [("line", 4, "wrong_number_of_columns")]
    assert [row["reason"] for row in found.rejects] == ["empty_positive"]
    assert Everything("dpr_wikipedia", tmp_path / "psgs_w100.tsv", 40).pairs == found.pairs


def test_a_title_that_is_no_text_is_not_put_before_the_passage(tmp_path: Path) -> None:
    row = {"question": "q", "positive_ctxs": [{"title": {"a": 1}, "text": "p"}]}
    found = Everything("dpr", write(tmp_path / "a.json", json.dumps([row])))
    assert (found.pairs, found.reasons) == ([], [("entry", 1, "wrong_type")])
