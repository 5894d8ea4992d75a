"""Named columns of files of any format."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sources.formats.column_blocks import Columns, read_columns
from sources.source import SourceError
from tests.sources.reading_all import write

COLUMNS = Columns(
    {"id": ("_id", "docid"), "text": ("contents",), "url": ("metadata.url",)},
    required=("id", "text"),
    tables=(("id", "text"), ("id", "", "text")),
)
LONGEST = 1 << 20


def read(path: Path, columns: Columns = COLUMNS, longest: int = LONGEST) -> tuple[list[dict[str, Any]], list[Any]]:
    """The rows, each with its number, and (position, unit, reason) of the bad ones."""
    rows: list[dict[str, Any]] = []
    bad = []
    for block in read_columns(str(path), columns, "test", longest):
        bad += [(row["position"], row["unit"], row["reason"]) for row in block.quarantine.to_pylist()]
        for index, number in enumerate(block.numbers.tolist()):
            rows.append({"number": number} | {name: column[index].as_py() for name, column in block.columns.items()})
    return rows, bad


@pytest.mark.parametrize(
    "header", ["", "_id\tcontents\n", "docid\ttext\n"], ids=["no header", "other names", "own names"]
)
def test_a_table_is_read_with_or_without_a_header(tmp_path: Path, header: str) -> None:
    rows, bad = read(write(tmp_path / "a.tsv", header + '1\tone "quoted\n2\tzwei é\r\n'))
    first = 1 + bool(header)
    assert rows == [
        {"number": first, "id": "1", "text": 'one "quoted'},
        {"number": first + 1, "id": "2", "text": "zwei é"},
    ]
    assert bad == []


def test_columns_that_are_not_wanted_are_passed_over(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.tsv", "1\tx\tone\n"))[0] == [{"number": 1, "id": "1", "text": "one"}]
    rows, _ = read(write(tmp_path / "b.tsv", "x\tcontents\tdocid\nx\tone\t1\n"))
    assert rows == [{"number": 2, "id": "1", "text": "one"}]


def test_exactly_the_bad_rows_of_a_table_are_quarantined(tmp_path: Path) -> None:
    data = b"1\tone\n\n2\n3\tthree\tmore\n4\t\xff\n5\tfi\0ve\n6\tsix\n" + b"7\t" + b"x" * 200 + b"\n8\teight"
    rows, bad = read(write(tmp_path / "a.tsv", data), longest=100)
    assert [(row["number"], row["id"], row["text"]) for row in rows] == [
        (1, "1", "one"),
        (7, "6", "six"),
        (9, "8", "eight"),
    ]
    assert bad == [
        (3, "line", "wrong_number_of_columns"),
        (4, "line", "wrong_number_of_columns"),
        (5, "line", "invalid_utf8"),
        (6, "line", "nul_byte"),
        (8, "line", "line_too_long"),
    ]


def test_a_row_too_short_and_one_too_long_do_not_make_up_for_each_other(tmp_path: Path) -> None:
    rows, bad = read(write(tmp_path / "a.tsv", "1\tone\n2\n3\tthree\tx\n4\tfour\n"))
    assert [row["id"] for row in rows] == ["1", "4"]
    assert [place for place, _, _ in bad] == [2, 3]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(st.text(st.sampled_from('aé"\r '), max_size=3), min_size=1, max_size=4), max_size=8),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_a_table_is_what_splitting_its_lines_gives(tmp_path: Path, rows: list[list[str]], ending: str) -> None:
    lines = ["0\tfirst", *("\t".join(row) for row in rows)]
    path = write(tmp_path / "a.tsv", ending.join(lines))
    cells = [line.removesuffix("\r").split("\t") for line in (ending.join(lines)).split("\n")]
    expected = [
        {"number": number, "id": row[0], "text": row[1]} for number, row in enumerate(cells, 1) if len(row) == 2
    ]
    found, bad = read(path)
    assert found == expected
    assert len(found) + len(bad) == sum(bool("\t".join(row).strip("\r")) for row in cells)


def test_tables_of_trec_may_be_divided_by_runs_of_spaces(tmp_path: Path) -> None:
    columns = Columns({"id": (), "text": ()}, ("id", "text"), (("id", "", "text"),), spaces=True)
    even = read(write(tmp_path / "a.txt", "1 Q0 a\n2 Q0 b\n"), columns)
    uneven = read(write(tmp_path / "b.txt", "1 Q0 a\n2  Q0   b \n"), columns)
    assert even == uneven
    assert [(row["id"], row["text"]) for row in even[0]] == [("1", "a"), ("2", "b")]
    assert read(write(tmp_path / "c.txt", "1 Q0 a\n2 Q0\n"), columns)[1] == [(2, "line", "wrong_number_of_columns")]


def test_json_lines_give_nested_fields_and_numbers_as_text(tmp_path: Path) -> None:
    good = [
        {"_id": "a", "text": "A", "metadata": {"url": "http://a"}},
        {"_id": "b", "text": None, "metadata": {}},
        {"_id": 3, "text": "C"},
        {"docid": "d", "contents": "D", "metadata": 5},
    ]
    expected = [("a", "A", "http://a"), ("b", None, None), ("3", "C", None), ("d", "D", None)]
    rows, bad = read(write(tmp_path / "a.jsonl", "".join(json.dumps(record) + "\n" for record in good)))
    assert [(row["id"], row["text"], row["url"]) for row in rows] == expected
    assert bad == []
    rows, bad = read(write(tmp_path / "b.json", json.dumps(good)))
    assert [(row["id"], row["text"], row["url"]) for row in rows] == expected
    assert bad == []


def test_exactly_the_bad_records_of_json_lines_are_quarantined(tmp_path: Path) -> None:
    good = b'{"_id": "1", "text": "x"}\n'
    bad_lines = [
        (b'{"_id": "2", "text"', "invalid_json"),
        (b'{"_id": "3"}', "missing_field"),
        (b'{"_id": null, "text": "x"}', "missing_field"),
        (b'{"_id": ["4"], "text": "x"}', "wrong_type"),
        (b'{"_id": "5", "text": {}}', "wrong_type"),
        (b"[1]", "not_an_object"),
        (b'{"_id": "\xff", "text": "x"}', "invalid_utf8"),
    ]
    data = good + b"\n" + b"".join(line + b"\n" + good for line, _ in bad_lines)
    rows, bad = read(write(tmp_path / "a.jsonl", data))
    assert [row["number"] for row in rows] == [1, *(4 + 2 * index for index in range(len(bad_lines)))]
    assert bad == [(3 + 2 * index, "line", reason) for index, (_, reason) in enumerate(bad_lines)]


def test_a_text_that_is_no_utf8_among_good_json_lines_is_quarantined(tmp_path: Path) -> None:
    data = b'{"_id": "1", "text": "x"}\n{"_id": "2", "text": "\xe5\xff"}\n{"_id": "3", "text": "z"}\n'
    rows, bad = read(write(tmp_path / "a.jsonl", data))
    assert [row["id"] for row in rows] == ["1", "3"]
    assert bad == [(2, "line", "invalid_utf8")]


def test_parquet_gives_the_same_as_json_lines(tmp_path: Path) -> None:
    records = [
        {"_id": "a", "text": "A", "metadata": {"url": "u"}},
        {"_id": None, "text": "B", "metadata": {"url": None}},
        {"_id": "c", "text": None, "metadata": None},
    ]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(records), path)
    as_lines = write(tmp_path / "a.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    rows, bad = read(path)
    assert rows == read(as_lines)[0]
    assert [row["id"] for row in rows] == ["a", "c"]
    assert bad == [(2, "row", "missing_field")]


def test_ids_of_parquet_may_be_numbers_and_texts_that_are_no_utf8_are_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    broken = pa.array([b"fine", b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"_id": pa.array([7, 8]), "text": broken}), path)
    rows, bad = read(path)
    assert [(row["id"], row["text"]) for row in rows] == [("7", "fine")]
    assert bad == [(2, "row", "invalid_utf8")]
    whole = path.read_bytes()
    assert read(write(tmp_path / "b.parquet", whole[: len(whole) // 2]))[1] == [(0, "byte", "corrupt_file")]


def test_a_file_cut_off_gives_its_whole_rows_and_one_quarantine_row(tmp_path: Path) -> None:
    packed = gzip.compress("".join(f"{number}\ttext {number * 7919}\n" for number in range(50_000)).encode())
    rows, bad = read(write(tmp_path / "a.tsv.gz", packed[: len(packed) // 2]))
    assert [row["id"] for row in rows] == [str(number) for number in range(len(rows))]
    assert len(rows) > 1000
    assert bad == [(len(packed) // 2, "byte", "truncated_file")]


def test_a_file_of_another_corpus_is_refused_with_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"expected the fields id or _id or docid, text or contents; found 'title', 'body'"
    ):
        read(write(tmp_path / "a.jsonl", '{"title": "t", "body": "b"}\n'))
    with pytest.raises(SourceError, match=r"the first row has 4 columns, expected 2 \(id, text\) or 3"):
        read(write(tmp_path / "a.tsv", "1\t2\t3\t4\n"))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"title": ["t"]}), path)
    with pytest.raises(SourceError, match="found 'title'"):
        read(path)
