"""Files that are not in UTF-8."""

import bz2
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.files.encodings import as_utf8, encoding_of
from sources.source import SourceError
from tests.sources.reading_all import Everything, write

CHINESE = "磨坊在河边，石磨由水轮带动。一天可以磨三百斤麦子，请问面粉怎样保存？"


@pytest.mark.parametrize(
    ("text", "encoding", "seen"),
    [
        (CHINESE, "gb18030", "gb18030"),
        ("id,title\n1," + CHINESE, "gb18030", "gb18030"),
        (CHINESE, "utf-8", None),
        ("plain", "utf-8", None),
        ("", "utf-8", None),
        ("Größe, Süße, Fußgänger; façade, déjà vu, señor", "latin-1", None),
        ("Мельница стоит у реки, и вода вертит колесо.", "cp1251", None),
        ("Мельница стоит у реки, и вода вертит колесо.", "koi8-r", None),
        ("水車小屋は川のほとりにあります。粉はどう保存しますか。", "euc-jp", None),
        ("mill", "utf-16", "utf-16"),
    ],
)
def test_the_encoding_is_seen_where_it_is_sure(text: str, encoding: str, seen: str | None) -> None:
    assert encoding_of(text.encode(encoding)) == seen


@given(st.text(alphabet=CHINESE + "abc ,.\n", min_size=20), st.integers(0, 10**6), st.integers(0, 255))
def test_utf8_with_a_broken_byte_stays_utf8(text: str, place: int, byte: int) -> None:
    data = bytearray((CHINESE + text).encode())
    data[place % len(data)] = byte
    assert encoding_of(bytes(data)) is None


@given(st.text(), st.lists(st.integers(0, 60)), st.sampled_from(["gb18030", "utf-16", "utf-8"]))
def test_chunks_may_be_cut_anywhere(text: str, cuts: list[int], encoding: str) -> None:
    data = text.encode(encoding, "replace")
    bounds = [0, *sorted(cuts), len(data)]
    chunks = [data[start:end] for start, end in pairwise(bounds)]
    assert b"".join(as_utf8(chunks, encoding)).decode() == data.decode(encoding)


def test_a_table_in_gb18030_is_read_and_one_in_another_encoding_when_told(tmp_path: Path) -> None:
    rows = f"query,positive\n磨坊在哪里？,{CHINESE}\n"
    assert Everything("table", write(tmp_path / "a.csv", rows.encode("gb18030"))).sides == [("磨坊在哪里？", CHINESE)]
    rows = "query,positive\nМельница,Вода вертит колесо.\n" * 40
    read = Everything("table", write(tmp_path / "b.csv", rows.encode("cp1251")), target_bytes=100, encoding="cp1251")
    assert read.sides[0] == ("Мельница", "Вода вертит колесо.")
    assert len(read.splits) == 1


@pytest.mark.parametrize("array", [True, False])
def test_json_in_a_told_encoding(tmp_path: Path, array: bool) -> None:
    text = json.dumps({"query": "Мельница", "positive": "Вода вертит колесо."}, ensure_ascii=False)
    data = (f"[{text}]" if array else text).encode("koi8-r")
    read = Everything("jsonl", write(tmp_path / "a.json", data), encoding="koi8-r")
    assert read.sides == [("Мельница", "Вода вертит колесо.")]


def test_compressed_text_in_gb18030_is_read(tmp_path: Path) -> None:
    data = bz2.compress(f"query\tpositive\n磨坊\t{CHINESE}\n".encode("gb18030"))
    assert Everything("table", write(tmp_path / "a.tsv.bz2", data)).sides == [("磨坊", CHINESE)]


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="unknown encoding 'klingon'"):
        Everything("table", write(tmp_path / "a.tsv", "query\tpositive\n"), encoding="klingon")
