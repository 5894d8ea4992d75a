"""csl and scitldr: papers with abstracts."""

import json
from pathlib import Path
from typing import Any

from tests.sources.reading_all import Everything, write


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_the_table_of_csl_gives_titles_with_abstracts(tmp_path: Path) -> None:
    rows = [
        "磨坊研究\t本文研究磨坊。\t磨坊_粮食\t农学\t农学",
        "题目\t\t词\t工学\t工学",
        "缺列\t摘要",
    ]
    read = Everything("csl", write(tmp_path / "csl.tsv", "\n".join(rows) + "\n"))
    assert read.sides == [("磨坊研究", "本文研究磨坊。")]
    (pair,) = read.pairs
    assert (pair["kind"], pair["query_lang"], pair["document_id"]) == ("title_abstract", "zho_Hans", "csl.tsv:0")
    assert [row["reason"] for row in read.rejects] == ["empty_positive"]
    assert read.reasons == [("line", 3, "wrong_number_of_columns")]


def test_the_benchmark_of_csl_gives_pairs_of_its_title_task_only(tmp_path: Path) -> None:
    rows = ['to title\t 本文研究"磨坊".\t磨坊研究', "to category\t磨坊研究\t农学"]
    read = Everything("csl", write(tmp_path / "dev.tsv", "\n".join(rows)))
    assert (read.sides, read.records) == ([("磨坊研究", '本文研究"磨坊".')], 2)


def test_rows_of_csl_have_ids(tmp_path: Path) -> None:
    rows = [
        {"doc_id": "csl-000001", "title": "磨坊研究", "abstract": "摘要一", "keywords": ["磨坊"]},
        {"id": 2, "title": "磨坊研究", "abst": "摘要二"},
        {"id": 3, "abst": "没有题目"},
        {"id": 4, "title": "题目", "abstract": 4},
    ]
    read = Everything("csl", write(tmp_path / "csl.jsonl", lines(*rows)))
    assert read.sides == [("磨坊研究", "摘要一"), ("磨坊研究", "摘要二")]
    assert [pair["document_id"] for pair in read.pairs] == ["csl:csl-000001", "csl:2"]
    assert read.reasons == [("line", 3, "missing_field"), ("line", 4, "wrong_type")]


def test_each_summary_of_scitldr_goes_with_the_abstract(tmp_path: Path) -> None:
    paper = {
        "source": ["Mills grind.", "We show how."],
        "source_labels": [0, 1],
        "paper_id": "P1",
        "target": ["How mills grind.", "On mills."],
        "title": "Mills",
    }
    rows = [
        paper,
        paper | {"paper_id": None, "title": None, "target": []},
        paper | {"source": ["a", 3]},
        paper | {"target": ["a", None]},
        paper | {"source": None, "target": []},
        {"source": ["a"]},
    ]
    read = Everything("scitldr", write(tmp_path / "train.jsonl", lines(*rows)))
    abstract = "Mills grind. We show how."
    assert [(pair["kind"], pair["query"], pair["positive"]) for pair in read.pairs] == [
        ("summary_body", "How mills grind.", abstract),
        ("summary_body", "On mills.", abstract),
        ("title_abstract", "Mills", abstract),
    ]
    assert {pair["document_id"] for pair in read.pairs} == {"scitldr:P1"}
    assert {pair["query_lang"] for pair in read.pairs} == {"eng_Latn"}
    assert [row["reason"] for row in read.rejects] == ["empty_positive"]
    assert read.reasons == [("line", 3, "wrong_type"), ("line", 4, "wrong_type"), ("line", 6, "missing_field")]
