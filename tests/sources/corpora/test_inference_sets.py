"""Inference sets: entailed hypotheses are positives of their premise, contradicted ones its negatives."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.sources.reading_all import Everything, write

Row = dict[str, Any]


def jsonl(*records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def table(header: str, *rows: str) -> str:
    return "".join(row.replace("|", "\t") + "\n" for row in (header, *rows))


def parquet(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def judged(found: Everything) -> list[tuple[str, str, list[str] | None]]:
    return [(pair["query"], pair["positive"], pair["negatives"]) for pair in found.pairs]


SNLI_HEADER = "gold_label|sentence1_parse|sentence1|sentence2|captionID|pairID|label1|label2"
SNLI_ROWS = (
    "neutral|( x )|A dog runs.|It is late.|12.jpg#4|12.jpg#4r1n|neutral|neutral",
    "contradiction|( x )|A dog runs.|The dog sleeps.|12.jpg#4|12.jpg#4r1c|contradiction",  # a short row
    "entailment|( x )|A dog runs.|An animal moves.|12.jpg#4|12.jpg#4r1e|entailment|",
    '-|( x )|A "big cat.|A cat.|13.jpg#0|13.jpg#0r1n|neutral|entailment',
    'entailment|( x )|A "big cat.|A cat.|13.jpg#0|13.jpg#0r1e|entailment|entailment',
    "maybe|( x )|A bird.|A wing.|14.jpg#0|14.jpg#0r1e|entailment|entailment",
    "entailment|( x )|cut off",
    "entailment|( x )|A tree.||15.jpg#0|15.jpg#0r1e|entailment|entailment",
    "entailment|( x )|A tree.|A plant.|15.jpg#0|15.jpg#0r1e|entailment|entailment|one too many",
)


def test_snli_rows_of_a_premise_become_pairs_with_negatives(tmp_path: Path) -> None:
    found = Everything("snli", write(tmp_path / "snli_1.0_train.txt", table(SNLI_HEADER, *SNLI_ROWS)))
    assert judged(found) == [
        ("A dog runs.", "An animal moves.", ["The dog sleeps."]),
        ('A "big cat.', "A cat.", None),
    ]
    assert {pair["kind"] for pair in found.pairs} == {"nli"}
    assert {(pair["query_lang"], pair["positive_lang"]) for pair in found.pairs} == {("eng_Latn", "eng_Latn")}
    assert [pair["document_id"] for pair in found.pairs] == ["snli:12.jpg", "snli:13.jpg"]
    assert [(bad["query"], bad["reason"]) for bad in found.rejects] == [("A tree.", "empty_positive")]
    assert found.reasons == [
        ("line", 7, "unknown_label"),
        ("line", 8, "missing_field"),
        ("line", 10, "wrong_number_of_columns"),
    ]
    assert found.records == len(SNLI_ROWS)


def test_snli_is_read_from_json_lines_and_hub_rows_too(tmp_path: Path) -> None:
    raw = [
        {
            "gold_label": "entailment",
            "sentence1": "p",
            "sentence2": "e",
            "captionID": "1.jpg#0",
            "pairID": "1.jpg#0r1e",
        },
        {"gold_label": "contradiction", "sentence1": "p", "sentence2": "c", "captionID": "1.jpg#0", "pairID": "x"},
        {"gold_label": "entailment", "sentence1": "p", "sentence2": 3},
    ]
    found = Everything("snli", write(tmp_path / "snli_1.0_dev.jsonl", jsonl(*raw) + "{broken\n"))
    assert judged(found) == [("p", "e", ["c"])]
    assert found.reasons == [("line", 3, "wrong_type"), ("line", 4, "invalid_json")]
    rows: list[Row] = [
        {"premise": "p", "hypothesis": "e", "label": 0},
        {"premise": "p", "hypothesis": "n", "label": 1},
        {"premise": "p", "hypothesis": "c", "label": 2},
        {"premise": "p", "hypothesis": "d", "label": -1},
        {"premise": "p", "hypothesis": "f", "label": 0},
        {"premise": "p", "hypothesis": "f", "label": 7},
    ]
    hub = Everything("snli", parquet(tmp_path / "train.parquet", rows))
    assert judged(hub) == [("p", "e", ["c"]), ("p", "f", ["c"])]
    assert {pair["document_id"] for pair in hub.pairs} == {"train.parquet:0"}
    assert hub.reasons == [("row", 6, "unknown_label")]


MNLI_ROWS = [
    {"gold_label": "entailment", "sentence1": "p1", "sentence2": "e1", "promptID": "71", "pairID": "71e"},
    {"gold_label": "neutral", "sentence1": "p2", "sentence2": "n2", "promptID": "72", "pairID": "72n"},
    {"gold_label": "entailment", "sentence1": "p2", "sentence2": "e2", "promptID": "72", "pairID": "72e"},
    {"gold_label": "contradiction", "sentence1": "p1", "sentence2": "c1", "promptID": "71", "pairID": "71c"},
]


def test_multi_nli_premises_are_gathered_though_their_rows_are_apart(tmp_path: Path) -> None:
    found = Everything("multi_nli", write(tmp_path / "multinli_1.0_train.jsonl", jsonl(*MNLI_ROWS)), target_bytes=50)
    assert judged(found) == [("p1", "e1", ["c1"]), ("p2", "e2", None)]
    assert [pair["document_id"] for pair in found.pairs] == ["multi_nli:71", "multi_nli:72"]
    rows = ["|".join([row["gold_label"], row["sentence1"], row["sentence2"], row["promptID"]]) for row in MNLI_ROWS]
    text = table("gold_label|sentence1|sentence2|promptID|label1", *rows)
    assert Everything("multi_nli", write(tmp_path / "a.txt", text)).pairs == found.pairs


def test_a_file_without_labels_is_refused_with_the_fields_it_has(tmp_path: Path) -> None:
    path = write(tmp_path / "test.json", jsonl(*({"id": n, "sentence1": "a", "sentence2": "b"} for n in range(3))))
    with pytest.raises(ValueError, match=r"expected \(sentence1, sentence2, label\), found 'id', 'sentence1'"):
        Everything("cmnli", path)


def test_all_nli_reads_one_split_of_the_table(tmp_path: Path) -> None:
    text = table(
        "split|dataset|filename|sentence1|sentence2|label",
        "train|MultiNLI|train.tsv|p|e|entailment",
        "dev|SNLI|dev.tsv|p|dev e|entailment",
        "train|SNLI|train.tsv|p|c|contradiction",
        "train|SNLI|train.tsv|p",
    )
    path = write(tmp_path / "AllNLI.tsv.gz", gzip.compress(text.encode()))
    found = Everything("all_nli", path)
    assert judged(found) == [("p", "e", ["c"])]
    assert found.reasons == [("line", 5, "wrong_number_of_columns")]
    assert judged(Everything("all_nli", path, split="dev")) == [("p", "dev e", None)]


def test_all_nli_reads_lines_of_lists_and_hub_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "AllNLI.jsonl", jsonl(["p", "e", "c"], ["q", "f", "d"], ["r"], ["s", "t", 1], {"a": 1}))
    found = Everything("all_nli", path)
    assert judged(found) == [("p", "e", ["c"]), ("q", "f", ["d"])]
    assert found.reasons == [
        ("line", 3, "wrong_number_of_texts"),
        ("line", 4, "wrong_type"),
        ("line", 5, "missing_field"),
    ]
    rows = [{"anchor": "p", "positive": "e", "negative": "c"}, {"anchor": "q", "positive": "f", "negative": None}]
    assert judged(Everything("all_nli", parquet(tmp_path / "a.parquet", rows))) == [("p", "e", ["c"]), ("q", "f", None)]
    rows = [{"premise": "p", "hypothesis": "e", "label": 0}, {"premise": "p", "hypothesis": "c", "label": 2}]
    assert judged(Everything("all_nli", parquet(tmp_path / "b.parquet", rows))) == [("p", "e", ["c"])]


def test_simcse_triplets_are_pairs_with_one_negative(tmp_path: Path) -> None:
    text = 'sent0,sent1,hard_neg\n"p, one","e ""1""",c1\np2,e2,\np3,e3\np4,"two\nlines",c4\n'
    found = Everything("simcse_nli", write(tmp_path / "nli_for_simcse.csv", text))
    assert judged(found) == [("p, one", 'e "1"', ["c1"]), ("p2", "e2", None), ("p4", "two lines", ["c4"])]
    assert found.reasons == [("row", 4, "wrong_number_of_columns")]


XNLI_HEADER = "language|gold_label|sentence1|sentence2|promptID|pairID"
XNLI_ROWS = (
    "de|entailment|Hallo.|Ein Gruß.|1|1",
    "sw|entailment|Habari.|Salamu.|1|1",
    "de|contradiction|Hallo.|Kein Gruß.|1|2",
    "fr|neutral|Salut.|Il pleut.|1|3",
)


def test_xnli_rows_are_gathered_within_their_language(tmp_path: Path) -> None:
    found = Everything("xnli", write(tmp_path / "xnli.dev.tsv", table(XNLI_HEADER, *XNLI_ROWS)))
    assert judged(found) == [("Hallo.", "Ein Gruß.", ["Kein Gruß."]), ("Habari.", "Salamu.", None)]
    assert [(pair["query_lang"], pair["positive_lang"]) for pair in found.pairs] == [
        ("deu_Latn", "deu_Latn"),
        ("swa_Latn", "swa_Latn"),
    ]
    assert {pair["document_id"] for pair in found.pairs} == {"xnli:1"}


def test_xnli_translated_into_english_is_english_whatever_its_language_column_says(tmp_path: Path) -> None:
    text = table(XNLI_HEADER, "ar|entailment|Hello.|A greeting.|1|1", "ar|contradiction|Hello.|No greeting.|1|2")
    found = Everything("xnli", write(tmp_path / "xnli.test.en.tsv", text))
    assert judged(found) == [("Hello.", "A greeting.", ["No greeting."])]
    assert found.pairs[0]["query_lang"] == "eng_Latn"


@pytest.mark.parametrize(
    ("name", "fields", "language"),
    [
        ("multinli.train.sw.tsv", "premise|hypo|label", "swa_Latn"),
        ("multinli.train.zh.tsv", "premise|hypo|label", "zho_Hans"),
        ("en/XNLI/tr/train.tsv", "premise|hypothesis|label", "tur_Latn"),
    ],
)
def test_xnli_training_files_name_their_language(tmp_path: Path, name: str, fields: str, language: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    text = table(fields, "p|e|entailment", "p|c|contradictory", "p|n|neutral")
    found = Everything("xnli", write(tmp_path / name, text))
    assert judged(found) == [("p", "e", ["c"])]
    assert found.pairs[0]["query_lang"] == found.pairs[0]["positive_lang"] == language


def test_xnli_hub_rows_of_all_languages_give_a_pair_each(tmp_path: Path) -> None:
    def row(label: int, german: str, swahili: str) -> Row:
        hypothesis = {"language": ["de", "sw"], "translation": [german, swahili]}
        return {"premise": {"de": "Hallo.", "sw": "Habari."}, "hypothesis": hypothesis, "label": label}

    bad = {"premise": {"de": "Hallo."}, "hypothesis": {"language": ["sw"], "translation": ["x"]}, "label": 0}
    records = [row(0, "Gruß.", "Salamu."), row(2, "Regen.", "Mvua."), bad]
    found = Everything("xnli", write(tmp_path / "all.jsonl", jsonl(*records)))
    assert judged(found) == [("Hallo.", "Gruß.", ["Regen."]), ("Habari.", "Salamu.", ["Mvua."])]
    assert [pair["query_lang"] for pair in found.pairs] == ["deu_Latn", "swa_Latn"]
    assert found.reasons == [("line", 3, "missing_field")]


def test_xnli_fifteen_ways_is_parallel_text(tmp_path: Path) -> None:
    found = Everything("xnli", write(tmp_path / "xnli.15way.orig.tsv", table("ar|de|en|zh", "مرحبا|Hallo|Hello|你好")))
    assert [(pair["query"], pair["positive"], pair["positive_lang"], pair["kind"]) for pair in found.pairs] == [
        ("Hello", "مرحبا", "ara_Arab", "parallel"),
        ("Hello", "Hallo", "deu_Latn", "parallel"),
        ("Hello", "你好", "zho_Hans", "parallel"),
    ]


CMNLI = [
    {"sentence1": "前提", "sentence2": "推论", "label": "entailment"},
    {"sentence1": "前提", "sentence2": "矛盾", "label": "contradiction"},
    {"sentence1": "前提", "sentence2": "中立", "label": "neutral"},
    {"sentence1": "前提", "sentence2": "不明", "label": "-"},
    {"sentence1": "前提", "sentence2": "坏的", "label": ["entailment"]},
]


def test_cmnli_lines_and_hub_rows_differ_in_their_labels(tmp_path: Path) -> None:
    found = Everything("cmnli", write(tmp_path / "train.json", jsonl(*CMNLI)))
    assert judged(found) == [("前提", "推论", ["矛盾"])]
    assert found.pairs[0]["query_lang"] == "zho_Hans"
    assert found.reasons == [("line", 5, "wrong_type")]
    numbers = {"neutral": 0, "entailment": 1, "contradiction": 2}
    rows = [{**row, "label": numbers[row["label"]]} for row in CMNLI[:3] if isinstance(row["label"], str)]
    assert judged(Everything("cmnli", parquet(tmp_path / "train.parquet", rows))) == judged(found)


def test_ocnli_pairs_of_a_premise_share_its_id(tmp_path: Path) -> None:
    rows = [{**row, "prem_id": "lit_635", "id": n, "label0": None} for n, row in enumerate(CMNLI[:4])]
    found = Everything(
        "ocnli", write(tmp_path / "train.50k.json", jsonl(*rows, {"sentence1": "甲", "sentence2": None}))
    )
    assert judged(found) == [("前提", "推论", ["矛盾"])]
    assert found.pairs[0]["document_id"] == "ocnli:lit_635"
    assert found.reasons == [("line", 5, "missing_field")]
