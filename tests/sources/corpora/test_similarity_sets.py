"""Sets of judged sentence pairs: similar ones are pairs, others negatives of their first sentence."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.sources.reading_all import Everything, write


def jsonl(*records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def table(*rows: str) -> str:
    return "".join(row.replace("|", "\t") + "\n" for row in rows)


def judged(found: Everything) -> list[tuple[str, str, list[str] | None]]:
    return [(pair["query"], pair["positive"], pair["negatives"]) for pair in found.pairs]


def test_nli_zh_tables_have_no_header(tmp_path: Path) -> None:
    text = table(
        "怎么还款|如何还款|1",
        "怎么还款|怎么借款|0",
        "开户|开通账户|1.0",
        "少一列|0",
        "坏|标签|2",
        "坏|标签|x",
        "无|标签|",
    )
    found = Everything("nli_zh", write(tmp_path / "ATEC.train.data", text))
    assert judged(found) == [("怎么还款", "如何还款", ["怎么借款"]), ("开户", "开通账户", None)]
    assert {(pair["kind"], pair["symmetric"], pair["query_lang"]) for pair in found.pairs} == {
        ("paraphrase", True, "zho_Hans")
    }
    assert [pair["document_id"] for pair in found.pairs] == [
        "ATEC.train.data:0",
        f"ATEC.train.data:{len(table('怎么还款|如何还款|1', '怎么还款|怎么借款|0').encode())}",
    ]
    assert found.reasons == [
        ("line", 4, "wrong_number_of_columns"),
        ("line", 5, "unknown_label"),
        ("line", 6, "unknown_label"),
    ]
    assert found.records == 7


def test_nli_zh_grades_are_labels_where_the_path_says_sts_b(tmp_path: Path) -> None:
    text = table("甲|一|5", "甲|二|4", "甲|三|3", "甲|四|1", "甲|五|6")
    path = write(tmp_path / "STS-B.train.data", text)
    found = Everything("nli_zh", path)
    assert [(pair["positive"], pair["label"], pair["negatives"]) for pair in found.pairs] == [
        ("一", 5.0, None),
        ("二", 4.0, None),
    ]
    assert found.reasons == [("line", 5, "unknown_label")]
    assert [pair["positive"] for pair in Everything("nli_zh", path, min_grade=3).pairs] == ["一", "二", "三"]
    folder = tmp_path / "STS-B"
    folder.mkdir()
    pq.write_table(
        pa.table({"sentence1": ["甲", "甲"], "sentence2": ["一", "二"], "label": [1, 5]}), folder / "train.parquet"
    )
    assert [pair["positive"] for pair in Everything("nli_zh", folder / "train.parquet").pairs] == ["二"]


def test_nli_zh_takes_hub_rows_afqmc_and_tables_with_ids(tmp_path: Path) -> None:
    expected = [("甲", "乙", ["丙"])]
    rows = {"sentence1": ["甲", "甲"], "sentence2": ["乙", "丙"], "label": [1, 0]}
    pq.write_table(pa.table(rows), tmp_path / "train.parquet")
    assert judged(Everything("nli_zh", tmp_path / "train.parquet")) == expected
    lines = [{"sentence1": "甲", "sentence2": "乙", "label": "1"}, {"sentence1": "甲", "sentence2": "丙", "label": "0"}]
    assert judged(Everything("nli_zh", write(tmp_path / "train.json", jsonl(*lines)))) == expected
    text = table("id|sentence1|sentence2|label", "1|甲|乙|1", "2|甲|丙|0")
    assert judged(Everything("nli_zh", write(tmp_path / "translated_train.tsv", text))) == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("zhihu_kol-train.jsonl", "question_answer"),
        ("csl-train.jsonl", "title_abstract"),
        ("nli_zh-train.jsonl", "paraphrase"),
        ("ocnli-train.jsonl", "nli"),
        ("mine.jsonl", "nli"),
    ],
)
def test_nli_zh_all_takes_the_kind_from_the_name_of_the_file(tmp_path: Path, name: str, kind: str) -> None:
    rows = [
        {"text1": "甲", "text2": "乙", "label": 1},
        {"text1": "甲", "text2": "丙", "label": 0},
        {"text1": "甲", "text2": "丁", "label": 3},
        {"text1": "甲", "label": 1},
    ]
    path = write(tmp_path / name, jsonl(*rows))
    found = Everything("nli_zh_all", path)
    assert judged(found) == [("甲", "乙", ["丙"])]
    assert found.pairs[0]["kind"] == kind
    assert found.reasons == [("line", 3, "unknown_label"), ("line", 4, "missing_field")]


def test_simclue_reads_its_three_files(tmp_path: Path) -> None:
    pairs = [
        {"sentence1": "甲", "sentence2": "乙", "label": "1"},
        {"sentence1": "甲", "sentence2": "丙", "label": "0"},
        {"sentence1": "甲", "sentence2": "甲", "label": "1"},
        {"sentence1": "甲", "sentence2": None, "label": "1"},
        {"sentence1": "甲", "sentence2": "丁", "label": "十"},
    ]
    found = Everything("simclue", write(tmp_path / "train_pair.json", jsonl(*pairs)))
    assert judged(found) == [("甲", "乙", ["丙"])]
    assert [bad["reason"] for bad in found.rejects] == ["query_equals_positive", "empty_positive"]
    assert found.reasons == [("line", 5, "unknown_label")]
    positives = [{"query": "甲", "title": "乙"}, {"query": "丙", "title": "丁"}]
    found = Everything("simclue", write(tmp_path / "train_pair_postive.json", jsonl(*positives)))
    assert judged(found) == [("甲", "乙", None), ("丙", "丁", None)]
    ranked = [{"query": "甲", "title": "乙", "neg_title": "丙"}, {"query": "甲", "title": "戊", "neg_title": 4}]
    found = Everything("simclue", write(tmp_path / "train_rank.json", jsonl(*ranked)))
    assert judged(found) == [("甲", "乙", ["丙"])]
    assert found.reasons == [("line", 2, "wrong_type")]


QUORA = (
    "id|qid1|qid2|question1|question2|is_duplicate",
    "0|1|2|How high is it?|What is its height?|1",
    '1|1|3|How high is it?|"How ""deep"" is it?"|0',
    '2|4|5|Why?|"What for,\nand since when?"|1',
    "3|6|7|Who?|Whom?|maybe",
    "4|8|9|Where?",
)


def test_quora_duplicates_are_pairs_and_others_negatives(tmp_path: Path) -> None:
    found = Everything("quora", write(tmp_path / "quora_duplicate_questions.tsv", table(*QUORA)))
    assert judged(found) == [
        ("How high is it?", "What is its height?", ['How "deep" is it?']),
        ("Why?", "What for, and since when?", None),
    ]
    assert [pair["document_id"] for pair in found.pairs] == ["quora:2", "quora:5"]
    assert {(pair["kind"], pair["query_lang"]) for pair in found.pairs} == {("question_question", "eng_Latn")}
    assert found.reasons == [("row", 5, "unknown_label"), ("row", 6, "wrong_number_of_columns")]


def test_quora_hub_rows_hold_both_questions_in_one_field(tmp_path: Path) -> None:
    def row(second: str, number: int, duplicate: bool) -> dict[str, Any]:
        return {"questions": {"id": [1, number], "text": ["How high?", second]}, "is_duplicate": duplicate}

    single = {"questions": {"id": [1], "text": ["How high?"]}, "is_duplicate": True}
    path = write(tmp_path / "a.jsonl", jsonl(row("How deep?", 2, False), row("What height?", 3, True), single))
    found = Everything("quora", path)
    assert judged(found) == [("How high?", "What height?", ["How deep?"])]
    assert found.pairs[0]["document_id"] == "quora:3"
    assert found.reasons == [("line", 3, "wrong_type")]


def test_tables_of_paws_x_are_in_the_language_of_their_folder(tmp_path: Path) -> None:
    text = "id\tsentence1\tsentence2\tlabel\n" + table("1|eins|ein|1")
    for name, language in (("x-final/de", "deu_Latn"), ("x-final/zh", "zho_Hans"), ("de", "zho_Hans")):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (pair,) = Everything("nli_zh", write(tmp_path / name / "dev_2k.tsv", text)).pairs
        assert (pair["query_lang"], pair["positive_lang"]) == (language, language)
