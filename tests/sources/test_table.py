"""TSV, CSV and Parquet."""

import bz2
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.source import SourceError
from tests.sources.reading_all import Everything, write


def test_a_table_with_a_header_is_read_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'id\tquestion\tanswer\tscore\n7\tq "1\ta1\t2.5\n8\tq2\ta2\tx\n')
    found = Everything("table", path, query="question", positive="answer", document_id="id", label_field="score")
    assert found.sides == [('q "1', "a1"), ("q2", "a2")]
    assert [(pair["document_id"], pair["label"]) for pair in found.pairs] == [("7", 2.5), ("8", None)]
    assert found.records == 2


def test_a_table_without_header_is_read_by_number_or_by_given_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "x\tq1\ta1\nx\tq2\ta2\n")
    by_number = Everything("table", path, header=False, query="1", positive="2")
    by_name = Everything("table", path, header=False, column_names=("id", "q", "a"), query="q", positive="a")
    assert by_number.sides == by_name.sides == [("q1", "a1"), ("q2", "a2")]
    assert by_number.pairs[1]["document_id"] == "a.tsv:8"


def test_quoted_cells_may_hold_newlines_commas_and_quotes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'query,positive\r\n"a, ""b""","one\r\ntwo"\r\nc,d\r\n')
    found = Everything("table", path)
    assert found.sides == [('a, "b"', "one two"), ("c", "d")]


def test_exactly_the_bad_rows_are_quarantined(tmp_path: Path) -> None:
    rows = [
        b"query\tpositive",
        b"a\tb",
        b"only one",
        b"c\td\te",
        b"f\xff\tg",
        b"h\x00\ti",
        b"",
        b"j\tk",
        b"l\t" + b"m" * 99,
    ]
    path = write(tmp_path / "a.tsv", b"\n".join(rows))
    found = Everything("table", path, max_line_bytes=60)
    assert found.sides == [("a", "b"), ("j", "k")]
    assert found.reasons == [
        ("line", 3, "ragged_row"),
        ("line", 4, "ragged_row"),
        ("line", 5, "invalid_utf8"),
        ("line", 6, "nul_byte"),
        ("line", 9, "line_too_long"),
    ]
    assert "1 cells where the table has 2" in found.quarantine[0]["excerpt"]
    assert found.records == 7


def test_a_quote_that_never_closes_is_one_bad_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'query,positive\na,b\n"c,d\ne,f\n')
    found = Everything("table", path)
    assert found.sides == [("a", "b")]
    assert [reason for _, _, reason in found.reasons] == ["invalid_csv"]


def test_an_empty_cell_is_a_reject(tmp_path: Path) -> None:
    found = Everything("table", write(tmp_path / "a.tsv", "query\tpositive\nq\t\n\tp\n"))
    assert [reject["reason"] for reject in found.rejects] == ["empty_positive", "empty_query"]


@pytest.mark.parametrize("name", ["a.tsv", "a.parquet"])
def test_a_wrong_column_name_lists_those_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("tsv"):
        write(path, "question\tanswer\nq\ta\n")
    else:
        pq.write_table(pa.table({"question": ["q"], "answer": ["a"]}), path)
    with pytest.raises(SourceError, match=r"no field 'query'; found are 'question', 'answer'"):
        Everything("table", path)


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
def test_an_empty_table_gives_nothing(tmp_path: Path, name: str) -> None:
    found = Everything("table", write(tmp_path / name, ""))
    assert (found.records, found.quarantine) == (0, [])


@pytest.mark.parametrize("target", [7, 64, 300, 1 << 30])
def test_any_split_gives_the_same_pairs(tmp_path: Path, target: int) -> None:
    data = "query\tpositive\n" + "".join(f"q{row}\t{'p' * (row % 9 + 1)}\n" for row in range(50))
    plain, packed = write(tmp_path / "a.tsv", data), write(tmp_path / "a.tsv.bz2", bz2.compress(data.encode()))
    found = Everything("table", plain, target)
    assert len(found.pairs) == 50
    assert found.pairs == Everything("table", packed).pairs


def test_a_table_cut_in_the_middle_gives_its_whole_rows(tmp_path: Path) -> None:
    data = "query\tpositive\n" + "".join(f"q{row}\tp{row * row}\n" for row in range(20_000))
    packed = gzip.compress(data.encode())
    found = Everything("table", write(tmp_path / "a.tsv.gz", packed[: len(packed) // 2]))
    assert found.sides == [(f"q{row}", f"p{row * row}") for row in range(len(found.sides))]
    assert len(found.sides) > 1000
    assert found.reasons == [("byte", len(packed) // 2, "truncated_file")]


@pytest.mark.parametrize("target", [100, 1 << 30])
def test_parquet_is_read_by_row_groups_with_nested_columns_and_lists(tmp_path: Path, target: int) -> None:
    rows = [{"t": {"en": f"e{row}", "de": f"d{row}"}, "neg": [f"n{row}"], "n": row} for row in range(30)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=10)
    found = Everything("table", path, target, query="t.en", positive="t.de", negatives="neg", document_id="n")
    assert found.sides == [(f"e{row}", f"d{row}") for row in range(30)]
    assert found.pairs[29]["negatives"] == ["n29"]
    assert found.pairs[29]["document_id"] == "29"
    assert len(found.splits) == (1 if target > 100_000 else -(-path.stat().st_size // 100))


def test_lists_of_positives_and_nulls_in_parquet(tmp_path: Path) -> None:
    table = pa.table({"query": ["a", "b", None], "pos": pa.array([["1", "2"], [], ["3"]])})
    pq.write_table(table, tmp_path / "a.parquet")
    found = Everything("table", tmp_path / "a.parquet", positive="pos")
    assert found.sides == [("a", "1"), ("a", "2")]
    assert sorted(reject["reason"] for reject in found.rejects) == ["empty_positive", "empty_query"]


def test_a_column_of_numbers_is_no_column_of_texts(tmp_path: Path) -> None:
    pq.write_table(pa.table({"query": [1], "positive": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="column 'query' is of type int64"):
        Everything("table", tmp_path / "a.parquet")


def test_a_truncated_parquet_file_is_one_quarantine_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"query": ["q"] * 100, "positive": ["p"] * 100}), tmp_path / "whole.parquet")
    data = (tmp_path / "whole.parquet").read_bytes()
    found = Everything("table", write(tmp_path / "a.parquet", data[:-20]), 50)
    assert found.reasons == [("byte", 0, "truncated_file")]
    assert Everything("table", write(tmp_path / "b.parquet", "text")).reasons == [("byte", 0, "not_parquet")]
