"""TSV, CSV and Parquet."""

import bz2
import csv
import gzip
import io
import random
import time
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sources.catalogue import load_source
from sources.files.reading import RecordBlock
from sources.formats.quoted_rows import QuotedRowReader
from sources.source import SourceError, Split
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


@pytest.mark.parametrize("longest", [16 << 20, 20])
def test_a_quote_that_never_closes_costs_its_line_only(tmp_path: Path, longest: int) -> None:
    path = write(tmp_path / "a.csv", 'query,positive\na,b\n"c,d\ne,f\ng,h\ni,j\nk,l\nm,n\n')
    found = Everything("table", path, max_line_bytes=longest)
    assert found.sides == [("a", "b"), ("e", "f"), ("g", "h"), ("i", "j"), ("k", "l"), ("m", "n")]
    assert found.reasons == [("row", 3, "invalid_csv")]
    assert found.records == 7


def test_quotes_inside_of_cells_are_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'query,positive\n5" disk,a floppy\nfoo,bar\nbaz,7" reel\nlast,row\n')
    found = Everything("table", path)
    assert found.sides == [('5" disk', "a floppy"), ("foo", "bar"), ("baz", '7" reel'), ("last", "row")]
    assert found.records == 4


@pytest.mark.parametrize("ending", ["tsv", "csv"])
def test_blank_rows_are_none(tmp_path: Path, ending: str) -> None:
    text = "query,positive\n\na,b\n\r\nc,d\n\n".replace(",", "," if ending == "csv" else "\t")
    found = Everything("table", write(tmp_path / f"a.{ending}", text))
    assert found.sides == [("a", "b"), ("c", "d")]
    assert (found.records, found.rejects) == (2, [])
    assert [pair["document_id"].split(":")[1] for pair in found.pairs] == ["16", "22"]


def test_a_lone_carriage_return_loses_no_row_in_silence(tmp_path: Path) -> None:
    found = Everything("table", write(tmp_path / "a.csv", "query,positive\na,b\rc,d\ne,f\n"))
    assert found.sides == [("e", "f")]
    assert found.reasons == [("row", 2, "invalid_csv")]


def test_a_row_longer_than_the_limit_is_one_bad_row(tmp_path: Path) -> None:
    cell = "\n".join(["word"] * 20)
    found = Everything("table", write(tmp_path / "a.csv", f'query,positive\na,"{cell}"\nb,c\n'), max_line_bytes=60)
    assert found.sides == [("b", "c")]
    assert found.reasons == [("row", 2, "line_too_long")]


def rows_by_pythons_csv(text: str) -> tuple[list[list[str]], int]:
    """The rows that Python's csv reads, and how many it cannot; an irregular row counts line by line."""
    good: list[list[str]] = []
    bad = 0
    lines = io.StringIO(text, newline="\n").readlines()
    loose = csv.reader(iter(lines))
    begin = 0
    for _ in loose:
        part, begin = lines[begin : loose.line_num], loose.line_num
        for piece in ["".join(part)] if strictly("".join(part)) else part:
            if piece.strip():
                cells = strictly(piece)
                good += [cells] if cells and len(cells) == 2 else []
                bad += not (cells and len(cells) == 2)
    return good, bad


def strictly(row: str) -> list[str] | None:
    try:
        return next(csv.reader(io.StringIO(row, newline=""), strict=True), [])
    except csv.Error:
        return None


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.sampled_from(['"', '"', ",", ",", "a", "b", "\n", "\n", "\r\n", " ", '""', 'a,"', '",b\n']), max_size=40
    ),
    block=st.sampled_from([5, 64, 4 << 20]),
)
def test_stray_quotes_or_not_the_rows_are_those_of_pythons_csv(
    tmp_path: Path, pieces: list[str], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.files.reading.CHUNK", block)
    text = "".join(pieces)
    path = write(tmp_path / "a.csv", text)
    reader = QuotedRowReader(Split(str(path)), ",", block=block)
    rows = [row for part in reader if isinstance(part, RecordBlock) for row in cut(part)]
    assert b"".join(rows) == text.encode()
    good, bad = rows_by_pythons_csv(text)
    found = Everything("table", write(tmp_path / "b.csv", "query,positive\n" + text))
    assert found.records == len(good) + bad == len(found.pairs) + len(found.rejects) + len(found.quarantine)
    tidy = [tuple(" ".join(cell.split()) for cell in row) for row in good]
    assert found.sides == [row for row in tidy if row[0] and row[1] and row[0] != row[1]]


def cut(block: RecordBlock) -> list[bytes]:
    bounds = [*(block.offsets - block.offsets[0]).tolist(), len(block.data)]
    return [block.data[begin:end] for begin, end in pairwise(bounds)]


@pytest.mark.parametrize("line", ['a",b,"c\n', '"a\n', '",\n', '"""\n', 'x,"""\n', '""a"\n', '"a""\n', '"\r\r\n'])
def test_hostile_quotes_take_linear_time(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "a.csv", line * (2_000_000 // len(line)))
    begin = time.process_time()
    size = sum(len(part.data) for part in QuotedRowReader(Split(str(path)), ",") if isinstance(part, RecordBlock))
    assert size == path.stat().st_size
    assert time.process_time() - begin < 4


@pytest.mark.parametrize("delimiter", ["¦", '"', "\n", ",,", ""])
def test_a_delimiter_that_can_be_none_is_refused(delimiter: str) -> None:
    with pytest.raises(ValidationError, match="delimiter"):
        load_source("table").Settings(delimiter=delimiter)


@pytest.mark.parametrize("delimiter", [";", "|", "^", "]", "-", "%", " ", "\\"])
def test_any_other_delimiter_cuts_cells(tmp_path: Path, delimiter: str) -> None:
    text = 'query,positive\n"a,\nb",c\nd" x,e\n'.replace(",", delimiter)
    found = Everything("table", write(tmp_path / "a.csv", text), delimiter=delimiter)
    sides = [(f"a{delimiter} b".replace("  ", " "), "c")]
    if delimiter != " ":
        sides.append(('d" x', "e"))
    assert found.sides == sides


def test_a_header_that_is_no_csv_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.csv: the first row is no row of CSV .*quoting: false"):
        Everything("table", write(tmp_path / "a.csv", '"query" x,positive\na,b\n'))


def test_labels_that_a_float32_does_not_hold_are_null(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "query\tpositive\tn\na\tb\t1e39\nc\td\t2\ne\tf\ttrue\ng\th\t-1e999\n")
    assert [pair["label"] for pair in Everything("table", path, label_field="n").pairs] == [None, 2.0, None, None]
    numbers = pa.array([1e300, float("nan"), float("-inf"), 3.0, None])
    table = pa.table({"query": [*"abcde"], "positive": ["p"] * 5, "n": numbers})
    pq.write_table(table, tmp_path / "a.parquet")
    found = Everything("table", tmp_path / "a.parquet", label_field="n")
    assert [pair["label"] for pair in found.pairs] == [None, None, None, 3.0, None]


def test_document_ids_start_with_the_name_that_a_split_is_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "query\tpositive\na\tb\n")
    pq.write_table(pa.table({"query": ["a"], "positive": ["b"]}), tmp_path / "a.parquet")
    source = load_source("table")
    for file, place in ((path, 15), (tmp_path / "a.parquet", 0)):
        split = Split(str(file), name=f"x/{file.name}")
        ids = [str(one) for step in source.read(split, source.Settings()) for one in step.pairs["document_id"]]
        assert ids == [f"x/{file.name}:{place}"]


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


@pytest.mark.parametrize("labels", [pa.array([[1.0]]), pa.array([True]), pa.array([{"a": 1}])])
def test_a_label_column_of_another_type_is_an_error_and_no_damage(tmp_path: Path, labels: pa.Array) -> None:
    pq.write_table(pa.table({"query": ["q"], "positive": ["p"], "n": labels}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="label column 'n' is of type"):
        Everything("table", tmp_path / "a.parquet", label_field="n")
    with pytest.raises(SourceError, match="id column 'n' is of type"):
        pq.write_table(pa.table({"query": ["q"], "positive": ["p"], "n": [[1]]}), tmp_path / "b.parquet")
        Everything("table", tmp_path / "b.parquet", document_id="n")


def test_an_error_of_ours_is_no_damage_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"query": ["q"], "positive": ["p"]}), tmp_path / "a.parquet")

    def fail(*_: object) -> None:
        raise pa.ArrowInvalid("ours")

    monkeypatch.setattr("sources.table.map_columns", fail)
    with pytest.raises(pa.ArrowInvalid, match="ours"):
        Everything("table", tmp_path / "a.parquet")


def test_the_rows_before_the_damage_of_a_row_group_are_kept(tmp_path: Path) -> None:
    texts = [random.Random(row).randbytes(100).hex() for row in range(300)]
    path = tmp_path / "a.parquet"
    table = pa.table({"query": [f"q{row}" for row in range(300)], "positive": texts})
    pq.write_table(table, path, use_dictionary=False, data_page_size=1000, write_batch_size=10, compression="none")
    data = path.read_bytes()
    place = data.index(texts[200].encode()) - 100
    path.write_bytes(data[:place] + b"\xff" * 300 + data[place + 300 :])
    source = load_source("table")
    steps = list(source.read(Split(str(path)), source.Settings()))
    kept = sum(step.pairs.num_rows for step in steps)
    assert kept >= 128
    assert sum(step.records for step in steps) == 300
    assert kept + sum(step.quarantine.num_rows + step.lost for step in steps) == 300
    assert steps[-1].quarantine["reason"].to_pylist() == ["corrupt_file"]


def test_columns_that_arrow_keeps_as_dictionaries_are_read(tmp_path: Path) -> None:
    kinds = pa.array(["a", None, "b", "a"]).dictionary_encode()
    table = pa.table({"query": ["1", "2", "3", "4"], "positive": kinds, "n": pa.array(["5", "x", "6", None])})
    pq.write_table(table.set_column(2, "n", table["n"].dictionary_encode()), tmp_path / "a.parquet")
    found = Everything("table", tmp_path / "a.parquet", label_field="n", url="n", document_id="n")
    assert [(pair["query"], pair["positive"], pair["label"]) for pair in found.pairs] == [
        ("1", "a", 5.0),
        ("3", "b", 6.0),
        ("4", "a", None),
    ]
    assert [reject["reason"] for reject in found.rejects] == ["empty_positive"]


def test_a_damaged_row_group_counts_all_its_rows(tmp_path: Path) -> None:
    texts = [random.Random(row).randbytes(100).hex() for row in range(300)]
    table = pa.table({"query": [f"q{row}" for row in range(300)], "positive": texts})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=100, use_dictionary=False)
    place = pq.ParquetFile(path).metadata.row_group(1).column(1).data_page_offset
    data = bytearray(path.read_bytes())
    data[place : place + 5000] = b"\xff" * 5000
    path.write_bytes(data)
    source = load_source("table")
    steps = list(source.read(Split(str(path)), source.Settings()))
    assert sum(step.pairs.num_rows for step in steps) == 200
    assert sum(step.records for step in steps) == 300
    assert sum(step.quarantine.num_rows + step.lost for step in steps) == 100
    (bad,) = [row for step in steps for row in step.quarantine.to_pylist()]
    assert (bad["position"], bad["reason"]) == (101, "corrupt_file")
    assert "100 rows are lost" in bad["excerpt"]


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_long_text_repeated_in_a_dictionary_comes_in_small_steps(tmp_path: Path, dictionary: bool) -> None:
    texts = ["x" * 100_000 if row % 2 else "short" for row in range(600)]
    table = pa.table({"query": [f"q{row}" for row in range(600)], "positive": texts, "neg": [[text] for text in texts]})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=dictionary, compression="zstd")
    source = load_source("table")
    largest = rows = 0
    for step in source.read(Split(str(tmp_path / "a.parquet")), source.Settings(negatives="neg")):
        largest, rows = max(largest, step.pairs.nbytes), rows + step.pairs.num_rows
    assert rows == 600
    assert largest < 10 << 20


def test_texts_of_parquet_that_are_too_long_or_no_utf8_are_quarantined(tmp_path: Path) -> None:
    raw = pa.array([b"a", b"b\xff", b"c", b"d"])
    texts = pa.StringArray.from_buffers(4, *raw.buffers()[1:])
    table = pa.table({"query": texts, "positive": ["p", "p", "p" * 500, "p"]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = Everything("table", tmp_path / "a.parquet", max_line_bytes=400)
    assert [(pair["query"], pair["document_id"]) for pair in found.pairs] == [
        ("a", "a.parquet:0"),
        ("d", "a.parquet:3"),
    ]
    assert found.reasons == [("row", 2, "invalid_utf8"), ("row", 3, "line_too_long")]
    assert found.records == 4


def test_a_truncated_parquet_file_is_one_quarantine_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"query": ["q"] * 100, "positive": ["p"] * 100}), tmp_path / "whole.parquet")
    data = (tmp_path / "whole.parquet").read_bytes()
    found = Everything("table", write(tmp_path / "a.parquet", data[:-20]), 50)
    assert found.reasons == [("byte", 0, "truncated_file")]
    assert Everything("table", write(tmp_path / "b.parquet", "text")).reasons == [("byte", 0, "not_parquet")]
