"""Documents of plain text files, divided by blank lines or by lines that begin them."""

import gzip
import lzma
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.files.reading import BLOCK
from sources.formats.text_records import BLANK_LINES, text_record
from sources.record_formats import BadText, Format, Record, RecordBatch, TextFormat, open_records, record_splits
from tests.sources.reading_all import write

LINES = Format(other="text", text=BLANK_LINES)
Place = tuple[int, int | None]  # byte, line


def batches(path: Path, format: Format = LINES, target: int = 1 << 40, longest: int = 1 << 20) -> Iterator[RecordBatch]:
    for split in record_splits(str(path), format, target):
        yield from open_records(split, format, longest, frozenset())


def documents(path: Path, format: Format = LINES, target: int = 1 << 40) -> list[tuple[int, str]]:
    """Byte and text of each document."""
    return [
        (offset, record["text"])
        for batch in batches(path, format, target)
        for offset, record in zip(batch.offsets, batch.records, strict=True)
        if record is not None
    ]


def by_hand(text: str) -> list[str]:
    """The documents of a text, by another way: line by line."""
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip(" \t\r"):
            found[-1].append(line)
        else:
            found.append([])
    return ["\n".join(lines) for lines in found if lines]


def test_blank_lines_divide_documents_which_know_their_byte_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\n\none\nmore of one\n \t\r\n\ntwo\n\n\n\nthree")
    (batch,) = batches(path)
    assert [record and record["text"] for record in batch.records] == ["one\nmore of one", "two", "three"]
    assert list(batch.offsets) == [2, 23, 30]
    assert [batch.place(index) for index in range(3)] == [(3, "line"), (7, "line"), (11, "line")]
    assert batch.bad == {}


def test_a_file_of_blank_lines_holds_nothing(tmp_path: Path) -> None:
    assert documents(write(tmp_path / "a.txt", "\n \n\n")) == []
    assert documents(write(tmp_path / "b.txt", "")) == []


def test_documents_reach_over_blocks(tmp_path: Path) -> None:
    texts = ["\n".join(f"line {line} of {number}" for line in range(60_000)) for number in range(10)]
    path = write(tmp_path / "a.txt", "\n\n".join(texts))
    assert path.stat().st_size > 2 * BLOCK
    found = [record["text"] for batch in batches(path, longest=BLOCK) for record in batch.records if record is not None]
    assert found == texts


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(st.sampled_from(["", "", " ", "a", "bb ccc", "\r", "dddddddddd"]), min_size=1, max_size=40),
    target=st.integers(1, 60),
)
def test_any_splits_give_the_same_documents(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], target: int
) -> None:
    text = "\n".join(lines)
    path = write(tmp_path_factory.mktemp("splits") / "a.txt", text)
    whole = documents(path)
    assert [found for _, found in whole] == [found.strip() for found in by_hand(text)]
    assert documents(path, target=target) == whole
    assert all(text.encode()[offset:].decode().startswith(found) for offset, found in whole)


def test_documents_that_are_no_text_are_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"good\n\nb\xffd\n\nn\0l\n\nlong" + b"x" * 50 + b"\nlonger\n\nlast")
    (batch,) = batches(path, longest=30)
    assert [record and record["text"] for record in batch.records] == ["good", None, None, None, "last"]
    assert batch.bad == {
        1: ("invalid_utf8", "byte 2 of the document"),
        2: ("nul_byte", ""),
        3: ("line_too_long", "the document is"),
    }
    assert batch.excerpt(3).startswith(b"longx")


def test_a_document_of_many_lines_may_be_too_long_and_costs_no_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one\n\n" + "some words\n" * 1000 + "\ntwo")
    (batch,) = batches(path, longest=500)
    assert [record and record["text"] for record in batch.records] == ["one", None, "two"]
    assert batch.bad[1][0] == "line_too_long"
    assert len(batch.excerpt(1)) <= 512


def test_what_is_cut_off_is_said_and_not_given(tmp_path: Path) -> None:
    packed = lzma.compress(b"".join(b"document %d of some\nlines\n\n" % number for number in range(20_000)))
    path = write(tmp_path / "a.txt.xz", packed[: len(packed) // 2])
    (split,) = record_splits(str(path), LINES, 100)
    records = open_records(split, LINES, 1 << 20, frozenset())
    found = [record["text"] for batch in records for record in batch.records if record is not None]
    assert 0 < len(found) < 20_000
    assert found == [f"document {number} of some\nlines" for number in range(len(found))]
    assert records.fault is not None
    assert records.fault.reason == "truncated_file"
    assert b"document" in records.cut_off or not records.cut_off


def headed(data: bytes) -> Record | None:
    record = text_record(data)
    if record is not None and not record["text"].startswith("# "):
        raise BadText("no_heading", "")
    return record


HEADINGS = Format(other="text", text=TextFormat(re.compile(rb"\n(?=# )"), headed, closing=b"END", or_json=True))


def test_lines_that_begin_documents_belong_to_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "\n# one\nof\n\none\n# two\nEND\n")
    assert documents(path, HEADINGS) == [(1, "# one\nof\n\none"), (15, "# two\nEND")]
    for target in range(1, 24):
        assert documents(path, HEADINGS, target) == documents(path, HEADINGS)


def test_what_comes_before_the_first_such_line_is_bad(tmp_path: Path) -> None:
    (batch,) = batches(write(tmp_path / "a", "stray\n# one\n"), HEADINGS)
    assert (batch.bad, [record is None for record in batch.records]) == ({0: ("no_heading", "")}, [True, False])


@pytest.mark.parametrize(("end", "whole"), [("END\n", True), ("END", False), ("EN\n", False)])
def test_a_closed_document_before_a_cut_is_given(tmp_path: Path, end: str, whole: bool) -> None:
    packed = gzip.compress(f"# one\n{end}".encode(), mtime=0)
    path = write(tmp_path / "a.gz", packed[:-8])  # without the trailer: all of the text, and a fault
    (split,) = record_splits(str(path), HEADINGS, 100)
    records = open_records(split, HEADINGS, 1 << 20, frozenset())
    found = [record["text"] for batch in records for record in batch.records if record is not None]
    assert found == (["# one\nEND"] if whole else [])
    assert records.fault is not None
    assert records.cut_off == (b"" if whole else f"# one\n{end}".encode())


@pytest.mark.parametrize("text", ['{"text": "# one"}\n', '\n[{"text": "# one"}]'])
def test_a_file_that_begins_as_json_is_json_where_it_may_be(tmp_path: Path, text: str) -> None:
    assert [found for _, found in documents(write(tmp_path / "a", text), HEADINGS)] == ["# one"]


@pytest.mark.parametrize("target", [1 << 40, 40])
def test_a_line_too_long_that_begins_a_document_costs_that_document_only(tmp_path: Path, target: int) -> None:
    path = write(tmp_path / "a", "# one\n# " + "x" * 300 + "\nmore\n# three\n")
    found = list(batches(path, HEADINGS, target, longest=100))
    texts = [record and record["text"] for batch in found for record in batch.records]
    assert texts == ["# one", None, "# three"]
    assert [reason for batch in found for reason, _ in batch.bad.values()] == ["line_too_long"]
