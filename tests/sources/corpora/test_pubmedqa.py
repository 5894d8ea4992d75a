"""PubMedQA: the files by PubMed id and the hub rows."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.sources.reading_all import Everything, write

PAPER = {"QUESTION": "Do mills help?", "CONTEXTS": ["We asked.", "We milled."], "LABELS": [], "LONG_ANSWER": "They do."}
SIDES = [("Do mills help?", "We asked. We milled."), ("Do mills help?", "They do.")]


def test_each_paper_gives_its_abstract_and_its_conclusion(tmp_path: Path) -> None:
    papers = {
        "11": PAPER,
        "12": {"QUESTION": "q", "CONTEXTS": ["c"]},
        "13": {"CONTEXTS": []},
        "14": PAPER | {"CONTEXTS": [1]},
        "15": PAPER | {"LONG_ANSWER": ["x"]},
        "16": "yes",
        "17": PAPER | {"CONTEXTS": []},
    }
    found = Everything("pubmedqa", write(tmp_path / "ori_pqal.json", json.dumps(papers, indent=4)))
    assert found.sides == [*SIDES, ("q", "c"), SIDES[1]]
    assert [(pair["kind"], pair["document_id"]) for pair in found.pairs[:2]] == [
        ("question_context", "pubmedqa:11"),
        ("question_answer", "pubmedqa:11"),
    ]
    assert found.reasons == [
        ("entry", 3, "missing_field"),
        ("entry", 4, "wrong_type"),
        ("entry", 5, "wrong_type"),
        ("entry", 6, "wrong_type"),
    ]
    assert [(row["document_id"], row["reason"]) for row in found.rejects] == [("pubmedqa:17", "empty_positive")]


def test_rows_of_a_hub_are_read(tmp_path: Path) -> None:
    row = {
        "pubid": 11,
        "question": "Do mills help?",
        "context": {"contexts": PAPER["CONTEXTS"]},
        "long_answer": "They do.",
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    found = Everything("pubmedqa", tmp_path / "a.parquet")
    assert found.sides == SIDES
    assert found.pairs[0]["document_id"] == "pubmedqa:11"
