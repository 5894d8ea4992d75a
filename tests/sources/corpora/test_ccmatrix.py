"""CCMatrix in its three shapes."""

import gzip
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.files.reading import expand_paths
from sources.source import SourceError
from tests.sources.reading_all import Everything, write

ROWS = [
    {"id": 0, "score": 1.25, "translation": {"en": "A dog.", "nl": "Een hond."}},
    {"id": 1, "score": 1.125, "translation": {"en": 'A "cat".', "nl": "Een kat."}},
]
SIDES = [("A dog.", "Een hond."), ('A "cat".', "Een kat.")]


def read(path: Path, **settings: object) -> Everything:
    return Everything("ccmatrix", [Path(found) for found in expand_paths([str(path)])], **settings)


def check(found: Everything) -> None:
    assert found.sides == SIDES
    assert [pair["scores"]["bitext_margin"] for pair in found.pairs] == [1.25, 1.125]
    assert {(pair["query_lang"], pair["positive_lang"], pair["kind"], pair["source"]) for pair in found.pairs} == {
        ("eng_Latn", "nld_Latn", "parallel", "ccmatrix")
    }


def test_rows_of_the_hub_are_read(tmp_path: Path) -> None:
    check(read(write(tmp_path / "en-nl.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "train.parquet")
    check(read(tmp_path / "train.parquet"))


def test_the_original_tables_are_read(tmp_path: Path) -> None:
    rows = "".join(f"{row['score']}\t{row['translation']['en']}\t{row['translation']['nl']}\n" for row in ROWS)  # type: ignore[index]
    check(read(write(tmp_path / "en-nl.bitextf.tsv.gz", gzip.compress(rows.encode()))))


def test_the_moses_archive_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "en-nl.txt.zip", "w") as archive:
        archive.writestr("README", "about")
        archive.writestr("CCMatrix.en-nl.en", "".join(f"{first}\n" for first, _ in SIDES))
        archive.writestr("CCMatrix.en-nl.nl", "".join(f"{second}\n" for _, second in SIDES))
        archive.writestr("CCMatrix.en-nl.scores", "1.25\n1.125\n")
    check(read(tmp_path / "en-nl.txt.zip"))


def test_a_row_without_two_languages_is_quarantined(tmp_path: Path) -> None:
    rows = [ROWS[0], {"id": 2, "score": 1.0, "translation": {"en": "alone"}}]
    found = read(write(tmp_path / "x.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))
    assert found.sides == SIDES[:1]
    assert [reason for _, _, reason in found.reasons] == ["wrong_type"]


def test_a_table_whose_name_says_no_languages_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "data.tsv", "1.2\ta\tb\n")
    with pytest.raises(SourceError, match=r"data\.tsv: .* set source_language and target_language"):
        read(path)
    (pair,) = read(path, source_language="en", target_language="zh-Hant").pairs
    assert (pair["query_lang"], pair["positive_lang"]) == ("eng_Latn", "zho_Hant")
