"""SQuAD and the corpora of its layout."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.sources.reading_all import Everything, write

MILL = "A mill grinds grain. It stands by the river."
KILN = "A kiln burns clay."
ASKED = {"id": "q1", "question": "What does a mill grind?", "answers": [{"text": "grain", "answer_start": 14}]}
IMPOSSIBLE = {"id": "q2", "question": "Who built the mill?", "answers": [], "is_impossible": True}
ALSO_ASKED = {"id": "q3", "question": "What does a kiln burn?", "answers": [{"text": "clay"}], "is_impossible": False}


def article(title: str | None, *paragraphs: Any) -> dict[str, Any]:
    return ({"title": title} if title else {}) | {"paragraphs": list(paragraphs)}


def squad(*articles: Any) -> str:
    return json.dumps({"version": "v2.0", "data": articles})


def paragraph(context: Any, *questions: Any) -> dict[str, Any]:
    return {"context": context, "qas": list(questions)}


CRAFTS = article("Crafts", paragraph(MILL, ASKED, IMPOSSIBLE), paragraph(KILN, ALSO_ASKED))


def test_each_question_pairs_with_its_paragraph_and_one_without_answer_is_no_pair(tmp_path: Path) -> None:
    found = Everything("squad", write(tmp_path / "train-v2.0.json", squad(CRAFTS)), license="CC-BY-SA-4.0")
    assert found.sides == [("What does a mill grind?", MILL), ("What does a kiln burn?", KILN)]
    pair = found.pairs[0]
    assert (pair["kind"], pair["document_id"], pair["license"]) == ("question_context", "squad:Crafts", "CC-BY-SA-4.0")
    assert (pair["query_lang"], pair["positive_lang"]) == ("eng_Latn", "eng_Latn")
    assert (found.records, found.quarantine, found.rejects) == (1, [], [])


def test_the_answers_come_where_they_are_asked_for(tmp_path: Path) -> None:
    several = ASKED | {"answers": [{"text": "grain"}, {"text": "grain"}, {"text": "grain."}]}
    file = write(tmp_path / "dev-v1.1.json", squad(article("Crafts", paragraph(MILL, several))))
    found = Everything("squad", file, kinds=["question_answer"])
    assert found.sides == [("What does a mill grind?", "grain"), ("What does a mill grind?", "grain.")]
    assert {pair["kind"] for pair in found.pairs} == {"question_answer"}


def test_a_question_whose_answers_are_kept_back_is_a_pair(tmp_path: Path) -> None:
    hidden = {"id": "q1", "question": "What does a mill grind?"}
    assert len(Everything("squad", write(tmp_path / "a.json", squad(article("C", paragraph(MILL, hidden))))).pairs) == 1


def test_bad_questions_and_paragraphs_are_quarantined_and_the_rest_of_the_article_arrives(tmp_path: Path) -> None:
    bad_questions = [{"id": "x"}, {"question": 5}, ASKED | {"answers": [True]}, "what?"]
    bad_paragraphs = [{"qas": []}, {"context": MILL}, paragraph(["x"]), 3]
    whole = article("Crafts", *bad_paragraphs, paragraph(MILL, *bad_questions, ASKED), paragraph(None, ALSO_ASKED))
    found = Everything("squad", write(tmp_path / "a.json", squad({"title": "T"}, {"paragraphs": "x"}, whole)))
    assert found.sides == [("What does a mill grind?", MILL)]
    assert [row["reason"] for row in found.rejects] == ["empty_positive"]
    reasons = ["missing_field", "missing_field", "wrong_type", "wrong_type"]
    reasons += ["missing_field", "wrong_type", "wrong_type", "wrong_type"]
    assert found.reasons == [("entry", 1, "missing_field"), ("entry", 2, "wrong_type")] + [
        ("entry", 3, reason) for reason in reasons
    ]
    assert found.records == 3 + len(reasons)


@pytest.mark.parametrize(
    ("name", "document", "languages"),
    [
        ("MLQA_V1/dev/dev-context-de-question-vi.json", "mlqa:Crafts", ("vie_Latn", "deu_Latn")),
        ("translate-test-context-de-question-de.json", "mlqa:Crafts", ("eng_Latn", "eng_Latn")),
        ("mlqa-translate-train/hi_squad-translate-train-dev-v1.1.json", "mlqa:Crafts", ("hin_Deva", "hin_Deva")),
        ("xquad.zh.json", "xquad:Crafts", ("zho_Hans", "zho_Hans")),
        ("train-v1.1-es.json", "squad:Crafts", ("spa_Latn", "spa_Latn")),
        ("DRCD_dev.json", "drcd:Crafts", ("zho_Hant", "zho_Hant")),
        ("jaquad/train/part_0000.json", "jaquad:Crafts", ("jpn_Jpan", "jpn_Jpan")),
        ("FQuAD_v1.0_train.json", "fquad:Crafts", ("fra_Latn", "fra_Latn")),
        ("SQuAD_it-train.json", "squad_it:Crafts", ("ita_Latn", "ita_Latn")),
        ("sberquad/train-v1.1.json", "sberquad:Crafts", ("rus_Cyrl", "rus_Cyrl")),
        ("mine.json", "squad:Crafts", ("und", "und")),
    ],
)
def test_corpus_and_languages_are_those_that_the_path_names(
    tmp_path: Path, name: str, document: str, languages: tuple[str, str]
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    pair = Everything("squad", write(tmp_path / name, squad(CRAFTS))).pairs[0]
    assert (pair["document_id"], pair["query_lang"], pair["positive_lang"]) == (document, *languages)


def test_the_setting_says_the_language_unless_the_file_name_does(tmp_path: Path) -> None:
    files = [write(tmp_path / name, squad(CRAFTS)) for name in ("train-v1.1.json", "xquad.de.json", "mine.json")]
    assert [Everything("squad", file, language="pl").pairs[0]["query_lang"] for file in files] == [
        "pol_Latn",
        "deu_Latn",
        "pol_Latn",
    ]


def test_gold_passages_of_tydi_name_the_language_in_the_ids_of_questions(tmp_path: Path) -> None:
    finnish = ASKED | {"id": "finnish-12-1"}
    found = Everything(
        "squad", write(tmp_path / "tydiqa-goldp-v1.1-dev.json", squad(article("C", paragraph(MILL, finnish))))
    )
    assert found.pairs[0]["query_lang"] == found.pairs[0]["positive_lang"] == "fin_Latn"


def test_marks_left_by_the_tool_that_made_arcd_are_taken_off(tmp_path: Path) -> None:
    marked = ASKED | {"question": " - متى بنيت الطاحونة؟ ال"}
    found = Everything("squad", write(tmp_path / "arcd-train.json", squad(article("C", paragraph(MILL, marked)))))
    assert found.sides == [("متى بنيت الطاحونة؟", MILL)]


def test_rows_of_a_hub_and_paragraphs_of_mrqa_are_read(tmp_path: Path) -> None:
    rows = [
        {"title": "C", "context": MILL, "question": "q1", "answers": {"text": ["grain"], "answer_start": [14]}},
        {"title": "C", "context": MILL, "question": "q2", "answers": {"text": [], "answer_start": []}},
        {"title": "", "context": KILN, "question": "q3", "answers": {"text": ["clay"], "answer_start": [14]}},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "squad_v2.parquet")
    found = Everything("squad", tmp_path / "squad_v2.parquet", kinds=["question_context", "question_answer"])
    assert found.sides == [("q1", MILL), ("q1", "grain"), ("q3", KILN), ("q3", "clay")]
    mrqa = [{"header": {"dataset": "SQuAD"}}, {"context": KILN, "qas": [{"question": "q3", "answers": ["clay"]}]}]
    lines = "".join(json.dumps(record) + "\n" for record in mrqa)
    of_mrqa = Everything("squad", write(tmp_path / "mrqa.jsonl", lines))
    assert (of_mrqa.sides, of_mrqa.quarantine, of_mrqa.records) == ([("q3", KILN)], [], 2)
    # Both paragraphs without a title are the same document.
    assert found.pairs[2]["document_id"].removeprefix("squad:") == of_mrqa.pairs[0]["document_id"].removeprefix("mrqa:")


def test_articles_are_the_documents(tmp_path: Path) -> None:
    crafts = article("Crafts", 3, paragraph(["x"]), *CRAFTS["paragraphs"])
    found = Everything("squad", write(tmp_path / "xquad.en.json", squad(crafts)), documents=True)
    (document,) = found.documents
    assert len(found.pairs) == 2
    assert (document["document_id"], document["title"], document["language"]) == ("xquad:Crafts", "Crafts", "eng_Latn")
    assert document["text"] == f"{MILL} {KILN}"
