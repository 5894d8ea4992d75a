"""Natural Questions in its three layouts, and NQ-open."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.sources.reading_all import Everything, write

PAGE = "<H1> Mill </H1> <P> A mill ( `` grinder '' ) , the miller 's , grinds 1,000 sacks . </P> <Ul> <Li> Grain </Li> </Ul>"
TOKENS = PAGE.split(" ")
PARAGRAPH, LIST = (TOKENS.index("<P>"), TOKENS.index("</P>") + 1), (TOKENS.index("<Ul>"), len(TOKENS))
SHORT = (TOKENS.index("1,000"), TOKENS.index("sacks") + 1)
TEXT = 'A mill ("grinder"), the miller\'s, grinds 1,000 sacks.'
URL = "https://en.wikipedia.org//w/index.php?title=Wind_mill_%28old%29&amp;oldid=1"
ADDRESS = "https://en.wikipedia.org//w/index.php?title=Wind_mill_%28old%29&oldid=1"


def span(place: tuple[int, int]) -> dict[str, int]:
    return {"start_token": place[0], "end_token": place[1]}


def marked(long: tuple[int, int], *shorts: tuple[int, int]) -> dict[str, Any]:
    return {"long_answer": span(long), "short_answers": [span(short) for short in shorts], "yes_no_answer": "NONE"}


def example(*annotations: Any) -> dict[str, Any]:
    page = {"document_text": PAGE, "document_url": URL, "example_id": 5}
    return {"question_text": "what does a mill grind", "annotations": list(annotations)} | page


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_the_long_answer_comes_as_running_text_without_tags(tmp_path: Path) -> None:
    file = write(tmp_path / "v1.0-simplified_nq-train.jsonl", lines(example(marked(PARAGRAPH, SHORT))))
    found = Everything("natural_questions", file)
    assert found.sides == [("what does a mill grind", TEXT)]
    pair = found.pairs[0]
    assert (pair["kind"], pair["document_id"], pair["url"], pair["query_lang"]) == (
        "question_context",
        "natural_questions:Wind mill (old)",
        ADDRESS,
        "eng_Latn",
    )
    assert Everything("natural_questions", file, kinds=["question_answer"]).sides == [
        ("what does a mill grind", "1,000 sacks")
    ]


def test_each_different_answer_counts_once_and_tables_and_lists_can_be_left_out(tmp_path: Path) -> None:
    record = example(marked(PARAGRAPH), marked(PARAGRAPH), marked(LIST), marked((-1, -1)))
    file = write(tmp_path / "nq.jsonl", lines(record, example(marked((-1, -1)))))
    assert [positive for _, positive in Everything("natural_questions", file).sides] == [TEXT, "Grain"]
    found = Everything("natural_questions", file, paragraphs_only=True)
    assert ([positive for _, positive in found.sides], found.records, found.quarantine) == ([TEXT], 2, [])


def test_full_files_and_hub_rows_give_the_same(tmp_path: Path) -> None:
    full = example(marked(PARAGRAPH, SHORT)) | {"document_tokens": [{"token": token} for token in TOKENS]}
    del full["document_text"]
    row = {
        "id": "5",
        "document": {"title": "Wind mill (old)", "url": URL, "tokens": {"token": TOKENS}},
        "question": {"text": "what does a mill grind"},
        "annotations": {
            "long_answer": [span(PARAGRAPH)],
            "short_answers": [{"start_token": [SHORT[0]], "end_token": [SHORT[1]], "text": ["x"]}],
        },
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "nq.parquet")
    kinds = ["question_context", "question_answer"]
    files = [write(tmp_path / "nq-dev.jsonl", lines(full)), tmp_path / "nq.parquet"]
    expected = [(TEXT, "natural_questions:Wind mill (old)"), ("1,000 sacks", "natural_questions:Wind mill (old)")]
    for file in files:
        found = Everything("natural_questions", file, kinds=kinds)
        assert [(pair["positive"], pair["document_id"]) for pair in found.pairs] == expected


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (example(marked((3, 9999))), "wrong_value"),
        (example(marked((5, 5))), "wrong_value"),
        (example({"long_answer": span(PARAGRAPH)}), "missing_field"),
        (example({"long_answer": {"start_token": 1}, "short_answers": []}), "wrong_type"),
        (example({"long_answer": span(PARAGRAPH), "short_answers": ["x"]}), "wrong_type"),
        ({"question_text": "q", "document_text": PAGE}, "missing_field"),
        (example() | {"annotations": "x"}, "wrong_type"),
    ],
)
def test_records_that_cannot_be_used_are_quarantined(tmp_path: Path, bad: Any, reason: str) -> None:
    found = Everything("natural_questions", write(tmp_path / "nq.jsonl", lines(bad, example(marked(PARAGRAPH)))))
    assert found.reasons == [("line", 1, reason)]
    assert len(found.pairs) == 1


def test_questions_of_nq_open_pair_with_each_answer(tmp_path: Path) -> None:
    records = [{"question": "q1", "answer": ["grain", "corn"]}, {"question": "q2", "answer": "x"}, {"question": "q3"}]
    found = Everything("nq_open", write(tmp_path / "NQ-open.dev.jsonl", lines(*records)))
    assert found.sides == [("q1", "grain"), ("q1", "corn")]
    assert found.pairs[0]["kind"] == "question_answer"
    assert found.reasons == [("line", 2, "wrong_type"), ("line", 3, "missing_field")]
