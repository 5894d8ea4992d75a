"""mc4, cc100, oscar, cc_net and web_text: pages that mostly come without a title."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.sources.reading_all import Everything, write

PAGE = "How to mill | Our site\nHow to mill\nTake grain.\nMill it."
SIDES = ("How to mill", "Take grain. Mill it.")


def lines(*records: Any) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def zipped(path: Path, *records: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, gzip.compress(lines(*records), mtime=0))


ROW = {"text": PAGE, "timestamp": "2019-01-01T00:00:00Z", "url": "http://example.org/mill"}


def test_pages_of_mc4_give_their_first_line_and_the_rest(tmp_path: Path) -> None:
    rows = [
        ROW,
        ROW | {"text": "The mill grinds.\nIt stands by the river."},  # no title by the rule
        ROW | {"text": None},
        ROW | {"text": 7},
        {"text": PAGE},
    ]
    path = zipped(tmp_path / "multilingual" / "c4-af.tfrecord-00000-of-00064.json.gz", *rows)
    read = Everything("mc4", path)
    assert read.sides == [SIDES]
    (pair,) = read.pairs
    assert (pair["kind"], pair["url"], pair["document_id"]) == (
        "title_body",
        ROW["url"],
        "c4-af.tfrecord-00000-of-00064.json:0",
    )
    assert (pair["query_lang"], pair["positive_lang"]) == ("afr_Latn", "afr_Latn")
    assert [row["reason"] for row in read.rejects] == ["empty_query"]
    assert read.reasons == [("line", 4, "wrong_type"), ("line", 5, "missing_field")]
    assert read.records == 5


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("c4-zh-Latn.tfrecord-00000-of-00001.json.gz", "zho_Latn"),
        ("c4-iw-validation.tfrecord-00000-of-00001.json.gz", "heb_Hebr"),
        ("c4-und.tfrecord-00000-of-00001.json.gz", "und"),
        ("en/c4-train.00000-of-01024.json.gz", "eng_Latn"),
        ("realnewslike/c4-validation.00000-of-00001.json.gz", "eng_Latn"),
        ("pages.json.gz", "und"),
    ],
)
def test_the_names_of_mc4s_files_tell_the_language(tmp_path: Path, name: str, language: str) -> None:
    assert Everything("mc4", zipped(tmp_path / name, ROW)).pairs[0]["query_lang"] == language


def test_the_title_rule_can_be_chosen_and_switched_off(tmp_path: Path) -> None:
    path = zipped(tmp_path / "c4-en.tfrecord-0.json.gz", ROW, ROW | {"text": "The mill grinds.\nBy the river."})
    read = Everything("mc4", path, title_rule="first_line")
    assert read.sides == [SIDES, ("The mill grinds.", "By the river.")]
    assert Everything("mc4", path, max_title_characters=10).sides == []
    read = Everything("mc4", path, title_rule="none", documents=True)
    assert (read.sides, len(read.documents), read.documents[1]["text"]) == ([], 2, "The mill grinds. By the river.")
    assert (read.documents[0]["language"], read.documents[0]["url"]) == ("eng_Latn", ROW["url"])


def test_documents_of_cc100_are_divided_by_blank_lines(tmp_path: Path) -> None:
    text = f"{PAGE}\n\nA single paragraph\n\n\nMills of the world\n\xa0\nThey grind.\n".encode() + b"\nb\xff\nd\n"
    read = Everything("cc100", write(tmp_path / "sr.txt.xz", lzma.compress(text)))
    assert read.sides == [SIDES, ("Mills of the world", "They grind.")]
    assert [pair["document_id"] for pair in read.pairs] == ["sr.txt:0", f"sr.txt:{text.index(b'Mills of')}"]
    assert {pair["positive_lang"] for pair in read.pairs} == {"srp_Cyrl"}
    assert read.reasons == [("line", 13, "invalid_utf8")]
    assert read.records == 4


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("zh-Hant.txt", "zho_Hant"),
        ("bn_rom.txt", "ben_Latn"),
        ("my_zaw.txt", "mya_Mymr"),
        ("ast.txt", "ast_Latn"),
        ("documents.txt", "und"),
    ],
)
def test_the_names_of_cc100s_files_tell_the_language(tmp_path: Path, name: str, language: str) -> None:
    assert Everything("cc100", write(tmp_path / name, PAGE)).pairs[0]["query_lang"] == language


ANNOTATED = {
    "content": PAGE,
    "warc_headers": {"warc-target-uri": "http://example.org/mill", "content-length": 3},
    "metadata": {"identification": {"label": "fr", "prob": 0.75}, "quality_warnings": None},
}


def test_records_of_oscar_2301_keep_language_probability_and_url(tmp_path: Path) -> None:
    rows = [
        ANNOTATED,
        ANNOTATED | {"metadata": {"identification": None}, "warc_headers": None},
        ANNOTATED | {"metadata": "x"},
        {"content": PAGE},
    ]
    read = Everything("oscar", zipped(tmp_path / "de_meta_part_1.jsonl.gz", *rows), documents=True)
    assert read.sides == [SIDES] * 2
    first, second = read.pairs
    assert (first["query_lang"], first["url"]) == ("fra_Latn", "http://example.org/mill")
    assert first["scores"]["positive_language_probability"] == 0.75
    assert (second["query_lang"], second["url"], second["scores"]) == ("deu_Latn", None, None)
    assert [row["language"] for row in read.documents] == ["fra_Latn", "deu_Latn"]
    assert read.reasons == [("line", 3, "wrong_type"), ("line", 4, "missing_field")]


def test_rows_of_the_hub_hold_oscars_annotations_in_meta(tmp_path: Path) -> None:
    meta = {key: ANNOTATED[key] for key in ("warc_headers",)} | ANNOTATED["metadata"]
    table = pa.Table.from_pylist([{"id": 0, "text": PAGE, "meta": meta}])
    pq.write_table(table, tmp_path / "train.parquet")
    (pair,) = Everything("oscar", tmp_path / "train.parquet").pairs
    assert (pair["query_lang"], pair["url"]) == ("fra_Latn", "http://example.org/mill")
    assert pair["scores"]["positive_language_probability"] == 0.75


@pytest.mark.parametrize("name", ["ceb_part_12.txt.gz", "ceb_dedup.txt.gz", "ceb.txt.gz"])
def test_oscars_plain_text_is_divided_by_blank_lines(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, gzip.compress(f"{PAGE}\n\none line only\n".encode(), mtime=0))
    read = Everything("oscar", path)
    assert (read.sides, read.records, read.pairs[0]["query_lang"]) == ([SIDES], 2, "ceb_Latn")


def test_pages_of_cc_net_have_titles_or_their_own(tmp_path: Path) -> None:
    page = {"url": "http://example.org", "raw_content": "Mills\nThey grind.", "language": "pt", "language_score": 0.5}
    rows = [
        page | {"title": "Mills"},
        page | {"title": ""},
        page | {"title": "Mills", "raw_content": "Mills"},
        page | {"title": "Mills", "language_score": "high"},
        {"url": "u", "title": "t"},
    ]
    read = Everything("cc_net", zipped(tmp_path / "pt_head_0000.json.gz", *rows), documents=True)
    assert read.sides == [("Mills", "They grind.")] * 2
    assert {pair["positive_lang"] for pair in read.pairs} == {"por_Latn"}
    assert [pair["scores"]["positive_language_probability"] for pair in read.pairs] == [0.5, 0.5]
    assert [row["reason"] for row in read.rejects] == ["empty_positive"]
    assert [(row["title"], row["text"]) for row in read.documents] == [
        ("Mills", "They grind."),
        ("", "Mills They grind."),
    ]
    assert read.reasons == [("line", 4, "wrong_type"), ("line", 5, "missing_field")]


def test_titles_languages_and_urls_of_web_texts_are_found_in_the_record_or_its_metadata(tmp_path: Path) -> None:
    rows = [
        {"id": "d1", "text": "They grind.", "metadata": {"title": "Mills", "url": "u1", "language": "en"}},  # Dolma
        {"id": "<urn:1>", "text": PAGE, "url": "u2", "language": "rus", "language_script": "Cyrl", "language_score": 1},
        {"text": PAGE, "meta": {"language": 5, "url": None}, "metadata": "none"},
        {"text": "one line"},
        {"text": ""},
        {"text": {"a": "b"}},
        {"content": PAGE},
    ]
    path = zipped(tmp_path / "fi" / "0.jsonl.gz", *rows)
    read = Everything("web_text", path)
    assert read.sides == [("Mills", "They grind."), SIDES, SIDES]
    assert [(pair["document_id"], pair["url"], pair["query_lang"]) for pair in read.pairs] == [
        ("web_text:d1", "u1", "eng_Latn"),
        ("web_text:<urn:1>", "u2", "rus_Cyrl"),
        (f"0.jsonl:{len(lines(*rows[:2]))}", None, "fin_Latn"),
    ]
    assert read.pairs[1]["scores"]["positive_language_probability"] == 1.0
    assert [row["reason"] for row in read.rejects] == ["empty_query"]
    assert read.reasons == [("line", 6, "wrong_type"), ("line", 7, "missing_field")]


@pytest.mark.parametrize(
    ("folders", "language"),
    [
        ("me/data/rus_Cyrl/train", "rus_Cyrl"),
        ("me/culturax/vi", "vie_Latn"),
        ("me/fineweb/data/CC-MAIN-2020-05", "und"),
        ("hr/srv/fineweb/data/train", "und"),
    ],
)
def test_a_folder_tells_the_language_only_where_it_is_near_the_file(
    tmp_path: Path, folders: str, language: str
) -> None:
    (tmp_path / folders).mkdir(parents=True)
    found = Everything("web_text", write(tmp_path / folders / "000.jsonl", lines({"text": PAGE})))
    assert found.pairs[0]["query_lang"] == language


@pytest.mark.parametrize("score", [1e300, 2**63, True, "0.9", [1], None])
def test_a_score_that_is_none_is_left_out_and_the_page_kept(tmp_path: Path, score: Any) -> None:
    row = {"text": PAGE, "language_score": score}
    found = Everything("web_text", write(tmp_path / "a.jsonl", lines(row)))
    assert found.sides == [SIDES]
    kept = found.pairs[0]["scores"]
    assert kept == (None if score != 2**63 else kept | {"positive_language_probability": 2.0**63})
