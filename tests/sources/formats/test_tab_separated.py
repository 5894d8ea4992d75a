"""Rows of tab-separated values."""

import gzip
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.formats.tab_separated import RowBlock, read_rows
from sources.source import SourceError, Split
from tests.sources.reading_all import write


def rows_of(path: Path, split: Split | None = None, names: tuple[str, ...] = ("a", "", "c")) -> list[RowBlock]:
    return list(read_rows(split or Split(str(path)), names, "test", 1000))


def texts(blocks: list[RowBlock]) -> list[tuple[str, str]]:
    return [
        pair
        for block in blocks
        if block.columns
        for pair in zip(*(block.columns[name].to_pylist() for name in "ac"), strict=True)
    ]


def bad(blocks: list[RowBlock]) -> list[tuple[str, int, str]]:
    rows = [row for block in blocks for row in block.quarantine.to_pylist()]
    return [(row["unit"], row["position"], row["reason"]) for row in rows]


def test_quotes_and_lone_carriage_returns_are_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "x", 'a "1\tb\tc"\r\nd\re\t"\tf\n')
    assert texts(rows_of(path)) == [('a "1', 'c"'), ("d\re", "f")]


def test_bad_rows_are_quarantined_with_their_line_and_the_others_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "x", b"a\tb\tc\nx\ty\n\n\xff\tb\tc\n\0\tb\tc\nd\te\tf\tg\nlast\tb\tc")
    blocks = rows_of(path)
    assert texts(blocks) == [("a", "c"), ("last", "c")]
    assert bad(blocks) == [
        ("line", 2, "wrong_number_of_columns"),
        ("line", 4, "invalid_utf8"),
        ("line", 5, "nul_byte"),
        ("line", 6, "wrong_number_of_columns"),
    ]
    assert sum(block.records for block in blocks) == 6
    assert [offset for block in blocks for offset in block.offsets.tolist()] == [0, path.read_bytes().index(b"last")]


def test_a_row_that_is_bad_in_two_ways_is_counted_once(tmp_path: Path) -> None:
    path = write(tmp_path / "x", b"a\tb\tc\n\xff\xcf\ty\n\0\xff\ty\nd\t\xff\tf\n\t\t\n")
    blocks = rows_of(path)
    assert texts(blocks) == [("a", "c"), ("d", "f"), ("", "")]  # a cell that is not wanted may hold anything
    assert bad(blocks) == [("line", 2, "wrong_number_of_columns"), ("line", 3, "nul_byte")]
    assert sum(block.records for block in blocks) == 5


def test_a_row_that_is_too_long_is_quarantined(tmp_path: Path) -> None:
    path = write(tmp_path / "x", "a\tb\tc\n" + "x" * 2000 + "\tb\tc\nd\te\tf\n")
    blocks = rows_of(path)
    assert texts(blocks) == [("a", "c"), ("d", "f")]
    assert bad(blocks) == [("line", 2, "line_too_long")]


def test_a_truncated_file_gives_its_whole_rows_and_the_fault(tmp_path: Path) -> None:
    data = b"".join(
        b"%d\tb\t%s\n" % (number, random.Random(number).randbytes(20).hex().encode()) for number in range(5000)
    )
    packed = gzip.compress(data)
    blocks = rows_of(write(tmp_path / "x.gz", packed[: len(packed) // 2]))
    found = [int(first) for first, _ in texts(blocks)]
    assert found == list(range(len(found)))
    assert len(found) > 1000
    assert bad(blocks) == [("byte", len(packed) // 2, "truncated_file")]


def test_a_file_of_another_width_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x", "one\ttwo\n" * 5)
    with pytest.raises(SourceError, match="the first row has 2 columns, expected 3"):
        rows_of(path)


@given(
    rows=st.lists(
        st.lists(st.text(st.characters(exclude_characters="\t\n\r\0", codec="utf-8")), min_size=3, max_size=3)
    ),
    cut=st.integers(0, 200),
)
def test_any_split_gives_each_row_once(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], cut: int
) -> None:
    path = write(tmp_path_factory.mktemp("x") / "x", "".join("\t".join(row) + "\n" for row in rows))
    size = path.stat().st_size
    cut = min(cut, size)
    splits = [Split(str(path), 0, cut), Split(str(path), cut, size)] if 0 < cut < size else [Split(str(path))]
    found = [pair for split in splits for pair in texts(rows_of(path, split))]
    mark = "\ufeff"  # at the start of the file it is no text
    expected = [(row[0], row[2]) for row in rows]
    if expected and expected[0][0].startswith(mark):
        expected[0] = (expected[0][0].removeprefix(mark), expected[0][1])
    assert found == expected
