"""cc_news and xlsum: articles with titles, descriptions and summaries."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.sources.reading_all import Everything, write


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


NEWS = {
    "title": "Mill reopens",
    "text": "Mill reopens\nThe mill grinds again.",
    "domain": "example.org",
    "date": "2018-03-01",
    "description": "After ten years.",
    "url": "http://example.org/1",
    "image_url": "",
}


def sides(read: Everything) -> list[tuple[str, str, str, str]]:
    return [(pair["kind"], pair["query"], pair["positive"], pair["query_lang"]) for pair in read.pairs]


def test_english_news_give_title_and_description_with_the_text(tmp_path: Path) -> None:
    rows = [NEWS, NEWS | {"description": None}, NEWS | {"title": None, "description": ""}, NEWS | {"text": 1}]
    read = Everything("cc_news", write(tmp_path / "train.jsonl", lines(*rows, {"title": "x"})), documents=True)
    body = "The mill grinds again."
    assert sides(read) == [
        ("title_body", "Mill reopens", body, "eng_Latn"),
        ("summary_body", "After ten years.", body, "eng_Latn"),
        ("title_body", "Mill reopens", body, "eng_Latn"),
    ]
    assert {pair["url"] for pair in read.pairs} == {"http://example.org/1"}
    assert read.pairs[0]["document_id"] == read.pairs[1]["document_id"] == "train.jsonl:0"
    assert [row["reason"] for row in read.rejects] == ["empty_query"]
    assert read.reasons == [("line", 4, "wrong_type"), ("line", 5, "missing_field")]
    assert [row["text"] for row in read.documents][:2] == [body, body]


def test_news_in_many_languages_have_maintext(tmp_path: Path) -> None:
    rows = [
        {"title": "t", "maintext": "b", "url": "u", "language": "tr"},
        {"title": "t", "maintext": "b", "url": "u", "date_publish": None},
        {"title": "t", "maintext": ["b"], "url": "u"},
    ]
    read = Everything("cc_news", write(tmp_path / "2016_af.jsonl", lines(*rows)))
    assert sides(read) == [("title_body", "t", "b", "tur_Latn"), ("title_body", "t", "b", "afr_Latn")]
    assert read.reasons == [("line", 3, "wrong_type")]


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("de.jsonl", "deu_Latn"),
        ("de/part-0.jsonl", "deu_Latn"),
        ("2019/2019-de.train.jsonl", "deu_Latn"),
        ("news.jsonl", "und"),
    ],
)
def test_files_or_folders_of_news_tell_the_language(tmp_path: Path, name: str, language: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    path = write(tmp_path / name, lines({"title": "t", "text": "b", "url": "u"}))
    assert sides(Everything("cc_news", path)) == [("title_body", "t", "b", language)]


def test_rows_with_plain_text_have_the_url_that_was_asked_for(tmp_path: Path) -> None:
    row = {"requested_url": "u", "plain_text": "b", "title": "t", "language": "pt", "tags": ["x"]}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    read = Everything("cc_news", tmp_path / "a.parquet")
    assert (sides(read), read.pairs[0]["url"]) == ([("title_body", "t", "b", "por_Latn")], "u")


ARTICLE = {
    "id": "news-7",
    "url": "http://example.org/7",
    "title": "磨坊",
    "summary": "磨坊重开。",
    "text": "镇上的磨坊重开了。",
}


def test_summaries_of_xlsum_go_with_titles_and_where_asked_with_texts(tmp_path: Path) -> None:
    rows = [ARTICLE, ARTICLE | {"id": None, "summary": ""}, ARTICLE | {"title": 1}, {"title": "t", "text": "b"}]
    path = write(tmp_path / "chinese_simplified_val.jsonl", lines(*rows))
    read = Everything("xlsum", path, documents=True)
    assert sides(read) == [
        ("title_body", "磨坊", "镇上的磨坊重开了。", "zho_Hans"),
        ("title_abstract", "磨坊", "磨坊重开。", "zho_Hans"),
        ("title_body", "磨坊", "镇上的磨坊重开了。", "zho_Hans"),
    ]
    second = f"chinese_simplified_val.jsonl:{len(lines(ARTICLE))}"
    assert [pair["document_id"] for pair in read.pairs] == ["xlsum:news-7", "xlsum:news-7", second]
    assert {pair["url"] for pair in read.pairs} == {ARTICLE["url"]}
    assert [row["reason"] for row in read.rejects] == ["empty_positive"]
    assert read.reasons == [("line", 3, "wrong_type"), ("line", 4, "missing_field")]
    assert [row["document_id"] for row in read.documents] == ["xlsum:news-7", second]
    asked = Everything("xlsum", path, kinds=["summary_body"])
    assert sides(asked) == [("summary_body", "磨坊重开。", "镇上的磨坊重开了。", "zho_Hans")]


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("serbian_latin_train.jsonl", "srp_Latn"),
        ("pidgin/xlsum-train.jsonl", "pcm_Latn"),
        ("tu_train.jsonl", "tur_Latn"),
        ("train.jsonl", "und"),
    ],
)
def test_the_names_of_summary_files_tell_the_language(tmp_path: Path, name: str, language: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    read = Everything("xlsum", write(tmp_path / name, lines({"title": "t", "summary": "s", "text": "b"})))
    assert {pair["positive_lang"] for pair in read.pairs} == {language}


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("english-corpora/xlsum/hindi_train.jsonl", "hin_Deva"),
        ("es/mlsum/de_train.jsonl", "deu_Latn"),
        ("xlsum/chinese_traditional/train.jsonl", "zho_Hant"),
        ("xlsum/train.jsonl", "und"),
    ],
)
def test_the_last_language_in_the_path_is_that_of_xlsum(tmp_path: Path, path: str, language: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    row = json.dumps({"title": "t", "summary": "s", "text": "b"})
    assert Everything("xlsum", write(tmp_path / path, row)).pairs[0]["query_lang"] == language
