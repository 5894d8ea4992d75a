"""BEIR: layouts and kinds; what every source of judgements does is in test_judged_pairs."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tests.sources.judged_folder import folder, lines, read_folder, table

CORPUS = [{"_id": "1", "title": "Oak", "text": "A tree."}, {"_id": "2", "title": "Elm", "text": "Another tree."}]
QUERIES = [{"_id": "1", "text": "what is an oak"}, {"_id": "2", "text": "what is an elm"}]
QRELS = [("query-id", "corpus-id", "score"), ("1", "1", "1"), ("2", "2", "1"), ("1", "2", "0")]
SIDES = [("what is an oak", "Oak A tree."), ("what is an elm", "Elm Another tree.")]


def a_set(name: str) -> dict[str, str]:
    return {
        f"{name}/corpus.jsonl": lines(*CORPUS),
        f"{name}/queries.jsonl": lines(*QUERIES),
        f"{name}/qrels/train.tsv": table(*QRELS),
    }


def test_sets_side_by_side_keep_their_ids_and_kinds_apart(tmp_path: Path) -> None:
    place = folder(tmp_path, a_set("trees") | a_set("quora") | a_set("cqadupstack/gardening") | a_set("scidocs"))
    found = read_folder("beir", place)
    kinds = {pair["document_id"]: (pair["kind"], pair["symmetric"]) for pair in found.pairs}
    assert kinds == {
        **{f"beir:gardening:{number}": ("question_question", True) for number in "12"},
        **{f"beir:quora:{number}": ("question_question", True) for number in "12"},
        **{f"beir:scidocs:{number}": ("citation", False) for number in "12"},
        **{f"beir:trees:{number}": ("question_context", False) for number in "12"},
    }


def test_the_kind_can_be_said(tmp_path: Path) -> None:
    found = read_folder("beir", folder(tmp_path, a_set("quora")), kind="paraphrase")
    assert {pair["kind"] for pair in found.pairs} == {"paraphrase"}
    with pytest.raises(ValidationError, match="unknown kind 'chat'"):
        read_folder("beir", tmp_path, kind="chat")


def test_the_test_split_is_read_only_when_asked_for(tmp_path: Path) -> None:
    files = a_set("trees") | {"trees/qrels/test.tsv": table(QRELS[0], ("2", "1", "1"))}
    place = folder(tmp_path, files)
    assert read_folder("beir", place).sides == SIDES
    assert read_folder("beir", place, split="test").sides == [("what is an elm", "Oak A tree.")]


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_parquet_in_parts_and_judgements_as_parquet_are_read(tmp_path: Path) -> None:
    judgements = [{"query-id": row[0], "corpus-id": row[1], "score": float(row[2])} for row in QRELS[1:]]
    for number, record in enumerate(CORPUS):
        write_parquet(tmp_path / f"trees/corpus/corpus-0000{number}-of-00002.parquet", [record])
    write_parquet(tmp_path / "trees/queries/queries-00000-of-00001.parquet", QUERIES)
    write_parquet(tmp_path / "trees/qrels/train-00000-of-00001.parquet", judgements)
    found = read_folder("beir", tmp_path)
    assert found.sides == SIDES
    assert [pair["negatives"] for pair in found.pairs] == [["Elm Another tree."], None]
    assert [pair["document_id"] for pair in found.pairs] == ["beir:trees:1", "beir:trees:2"]


def test_judgements_of_trec_json_lines_and_compressed_files_are_read(tmp_path: Path) -> None:
    files = {
        "trees/corpus.jsonl.gz": lines(*CORPUS),
        "trees/queries.train.jsonl.gz": lines(*QUERIES),
        "trees/qrels.train.tsv": "1 0 1 1\n2 0 2 1\n",
    }
    assert read_folder("beir", folder(tmp_path / "a", files)).sides == SIDES
    del files["trees/qrels.train.tsv"]
    files["trees/qrels/train.jsonl"] = lines(
        *(dict(zip(QRELS[0], (*row[:2], int(row[2])), strict=True)) for row in QRELS[1:])
    )
    assert read_folder("beir", folder(tmp_path / "b", files)).sides == SIDES


def test_records_may_say_their_languages(tmp_path: Path) -> None:
    files = a_set("trees")
    files["trees/queries.jsonl"] = lines(QUERIES[0] | {"lang": "de"}, QUERIES[1])
    files["trees/corpus.jsonl"] = "".join(json.dumps(row | {"language": "fr"}) + "\n" for row in CORPUS)
    found = read_folder("beir", folder(tmp_path, files), language="en")
    assert [(pair["query_lang"], pair["positive_lang"]) for pair in found.pairs] == [
        ("deu_Latn", "fra_Latn"),
        ("eng_Latn", "fra_Latn"),
    ]
