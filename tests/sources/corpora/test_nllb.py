"""NLLB's mined bitexts."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.source import SourceError
from tests.sources.reading_all import Everything, write

ROW = (
    'Pes "štěká.',
    "Собака гавкає.",
    "1.25",
    "0.75",
    "0.5",
    "crawl",
    "https://one.example/a",
    "crawl",
    "https://two.example/b",
)


def table(*rows: tuple[str, ...]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def test_a_raw_table_gives_pairs_with_their_scores_and_address(tmp_path: Path) -> None:
    found = Everything(
        "nllb", write(tmp_path / "ces_Latn-ukr_Cyrl.gz", gzip.compress(table(ROW, (*ROW[:6], "", "", ""))))
    )
    first, second = found.pairs
    assert found.sides[0] == ROW[:2]
    assert (first["query_lang"], first["positive_lang"], first["kind"]) == ("ces_Latn", "ukr_Cyrl", "parallel")
    assert {name: value for name, value in first["scores"].items() if value is not None} == {
        "bitext_margin": 1.25,
        "query_language_probability": 0.75,
        "positive_language_probability": 0.5,
    }
    assert (first["url"], second["url"]) == ("https://one.example/a", None)
    assert first["document_id"] == "ces_Latn-ukr_Cyrl:0"
    assert first["license"] == "ODC-By-1.0"


def test_rows_of_the_hub_give_the_same(tmp_path: Path) -> None:
    raw = Everything("nllb", write(tmp_path / "ces_Latn-ukr_Cyrl", table(ROW)))
    row = {
        "translation": {"ces_Latn": ROW[0], "ukr_Cyrl": ROW[1]},
        "laser_score": 1.25,
        "source_sentence_lid": 0.75,
        "target_sentence_lid": 0.5,
        "source_sentence_url": ROW[6],
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "ces_Latn-ukr_Cyrl.parquet")
    write(tmp_path / "ces_Latn-ukr_Cyrl.jsonl", json.dumps(row) + "\n")
    for ending in ("parquet", "jsonl"):
        (pair,) = Everything("nllb", tmp_path / f"ces_Latn-ukr_Cyrl.{ending}").pairs
        apart = ("pair_id", "document_id")
        assert {k: v for k, v in pair.items() if k not in apart} == {
            k: v for k, v in raw.pairs[0].items() if k not in apart
        }


def test_a_score_that_is_no_number_is_null_and_the_pair_stays(tmp_path: Path) -> None:
    rows = [ROW, (*ROW[:2], "", "inf", "x", *ROW[5:])]
    found = Everything("nllb", write(tmp_path / "ces_Latn-ukr_Cyrl", table(*rows)))
    assert found.pairs[0]["scores"]["bitext_margin"] == 1.25
    assert set(found.pairs[1]["scores"].values()) == {None}


def test_ragged_rows_are_quarantined_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "ces_Latn-ukr_Cyrl", table(ROW, ROW[:5], ROW, ("", *ROW[1:])))
    found = Everything("nllb", path)
    assert len(found.pairs) == 2
    assert found.reasons == [("line", 2, "wrong_number_of_columns")]
    assert [reject["reason"] for reject in found.rejects] == ["empty_query"]
    assert found.records == 4


def test_splits_of_a_plain_table_give_the_same_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "ces_Latn-ukr_Cyrl", table(*((f"text {number}", *ROW[1:]) for number in range(500))))
    whole, parts = Everything("nllb", path), Everything("nllb", path, target_bytes=9000)
    assert len(parts.splits) > 3
    assert parts.pairs == whole.pairs


def test_a_table_of_another_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has 3 columns, expected 9"):
        Everything("nllb", write(tmp_path / "en-nl.gz", gzip.compress(b"1.2\tone\teen\n" * 10)))


def test_a_name_without_languages_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"set source_language and target_language"):
        Everything("nllb", write(tmp_path / "part-0.gz", gzip.compress(table(ROW))))
