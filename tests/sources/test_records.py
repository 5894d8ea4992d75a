"""What every source of records does: formats, layouts, types, quarantine, ids, kinds, documents."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.record_formats import Format, Record
from sources.records import (
    BadRecord,
    Layout,
    RawDocument,
    RawPair,
    RecordSettings,
    field_of,
    joined_texts,
    record_id,
    record_source,
)
from sources.schema import PAIR, QUARANTINE, REJECT
from sources.source import Source, SourceError, Split
from tests.sources.reading_all import write

WHOLE = 1 << 40


def title_and_body(record: Record, chosen: RecordSettings) -> Iterator[RawPair]:
    yield RawPair(record["title"], record["body"], document_id=record.get("id"))
    if record.get("summary"):
        yield RawPair(record["summary"], record["body"], "summary_body")


def headline_and_story(record: Record, chosen: RecordSettings) -> Iterator[RawPair]:
    yield RawPair(record["headline"], field_of(record["story"], "text", str))


def document(record: Record, chosen: RecordSettings) -> RawDocument:
    return RawDocument(record["title"], record["body"], document_id=record.get("id"))


LAYOUTS = (
    Layout({"title": str, "body": str}, title_and_body, {"summary": str, "id": str}, document),
    Layout({"headline": str, "story": dict}, headline_and_story),
)


def made(**changes: Any) -> Source:
    facts = dict.fromkeys(("summary", "languages", "layout", "license", "obtain", "verified"), "")
    kinds = ("title_body", "summary_body")
    return record_source(**{"name": "news", "kinds": kinds, "layouts": LAYOUTS, **facts, **changes})


class Read:
    def __init__(self, source: Source, path: Path, target_bytes: int = WHOLE, **chosen: Any) -> None:
        self.settings = source.Settings(**chosen)
        self.splits = source.splits(str(path), self.settings, target_bytes)
        steps = [step for split in self.splits for step in source.read(split, self.settings)]
        self.pairs = pa.Table.from_batches([step.pairs for step in steps], PAIR).to_pylist()
        self.rejects = pa.Table.from_batches([step.rejects for step in steps], REJECT).to_pylist()
        self.quarantine = pa.Table.from_batches([step.quarantine for step in steps], QUARANTINE).to_pylist()
        self.documents = [row for step in steps for row in step.documents.to_pylist()]
        self.records = sum(step.records for step in steps)
        self.lost = sum(step.lost for step in steps)
        self.sides = [(pair["query"], pair["positive"]) for pair in self.pairs]
        self.reasons = [(bad["unit"], bad["position"], bad["reason"]) for bad in self.quarantine]


def lines(*records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


GOOD = {"title": "A mill", "body": "It grinds grain."}


def test_each_record_takes_the_first_layout_that_has_its_fields(tmp_path: Path) -> None:
    file = write(tmp_path / "news.jsonl", lines(GOOD, {"headline": "Rain", "story": {"text": "It rained."}}))
    assert Read(made(), file).sides == [("A mill", "It grinds grain."), ("Rain", "It rained.")]


def test_bad_records_are_quarantined_with_their_line_and_the_others_arrive(tmp_path: Path) -> None:
    bad = [
        b'{"title": "no body"}',
        b'{"title": 3, "body": "b"}',
        b'{"title": "t", "body": "b", "summary": ["x"]}',
        b'{"headline": "h", "story": {"words": 1}}',
        b'{"headline": "h", "story": {"text": ["x"]}}',
        b'{"title": "cut',
        b'["a list"]',
        b'{"title": "\xff", "body": "b"}',
        b'{"title": "\0", "body": "b"}',
    ]
    rows = [lines(GOOD).encode().strip(), b"", *bad, b'{"title": null, "body": "b"}']
    read = Read(made(), write(tmp_path / "news.jsonl", b"\n".join(rows)))
    assert read.sides == [("A mill", "It grinds grain.")]
    reasons = ["missing_field", *["wrong_type"] * 2, "missing_field", "wrong_type"]
    reasons += ["invalid_json", "not_an_object", "invalid_utf8", "nul_byte"]
    assert read.reasons == [("line", number, reason) for number, reason in enumerate(reasons, 3)]
    assert [row["reason"] for row in read.rejects] == ["empty_query"]
    assert read.records == len(bad) + 2  # the blank line is no record


def test_a_file_of_another_corpus_is_refused_with_the_fields_it_has(tmp_path: Path) -> None:
    file = write(tmp_path / "news.jsonl", lines(*[{"text": "t", "url": "u"}] * 3))
    with pytest.raises(SourceError, match=r"expected \(title, body\) or \(headline, story\), found 'text', 'url'"):
        Read(made(), file)


def test_one_wrong_record_is_quarantined_and_not_taken_for_another_corpus(tmp_path: Path) -> None:
    assert Read(made(), write(tmp_path / "a.jsonl", lines({"text": "t"}))).reasons == [("line", 1, "missing_field")]


def test_an_array_of_records_is_read_like_lines(tmp_path: Path) -> None:
    file = write(tmp_path / "news.json", json.dumps([GOOD, 3, GOOD | {"title": "B"}], indent=1))
    read = Read(made(), file)
    assert [query for query, _ in read.sides] == ["A mill", "B"]
    assert read.reasons == [("entry", 2, "not_an_object")]


@pytest.mark.parametrize("indent", [None, 2])
def test_records_within_a_member_of_an_object(tmp_path: Path, indent: int | None) -> None:
    whole = {"version": "1", "meta": {"a": [1, 2], "b": 3}, "other": [{"title": "x"}], "data": [GOOD, GOOD], "z": [7]}
    read = Read(made(format=Format(within="data")), write(tmp_path / "a.json", json.dumps(whole, indent=indent)))
    assert (len(read.pairs), read.reasons, read.records) == (2, [], 2)


def test_a_file_whose_records_lie_elsewhere_is_refused_with_the_members_it_has(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", json.dumps({"rows": [GOOD], "more": {"a": 1}}, indent=1))
    with pytest.raises(
        SourceError, match="no member 'data' that is an array; members that hold others: 'rows', 'more'"
    ):
        Read(made(format=Format(within="data")), file)


def test_lines_are_read_as_lines_where_no_object_holds_the_records(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", lines(GOOD, GOOD))
    assert len(Read(made(format=Format(within="data")), file).pairs) == 2
    assert len(Read(made(format=Format(members=True)), file).pairs) == 2


def test_each_member_of_an_object_is_a_record(tmp_path: Path) -> None:
    def of_member(record: Record, chosen: RecordSettings) -> Iterator[RawPair]:
        yield RawPair(record["key"], field_of(record["value"], "body", str))

    source = made(format=Format(members=True), layouts=(Layout({"key": str, "value": dict}, of_member),))
    content = {"first": GOOD, 'sec"o\\nd': {"body": "{[,"}, "third": {}}
    read = Read(source, write(tmp_path / "a.json", json.dumps(content, indent=1)))
    assert read.sides == [("first", "It grinds grain."), ('sec"o\\nd', "{[,")]
    assert read.reasons == [("entry", 3, "missing_field")]


def test_a_bad_part_of_a_record_is_quarantined_alone(tmp_path: Path) -> None:
    def of_each(record: Record, chosen: RecordSettings) -> Iterator[RawPair | BadRecord]:
        for text in record["bodies"]:
            yield RawPair(record["title"], text) if text else BadRecord("missing_field", "no text")

    source = made(layouts=(Layout({"title": str, "bodies": list}, of_each),))
    file = write(
        tmp_path / "a.jsonl", lines({"title": "t", "bodies": ["a", "", "b", ""]}, {"title": "u", "bodies": []})
    )
    read = Read(source, file)
    assert read.sides == [("t", "a"), ("t", "b")]
    assert read.reasons == [("line", 1, "missing_field")] * 2
    assert read.records == 4


def test_layouts_may_depend_on_the_file_that_is_read(tmp_path: Path) -> None:
    def of_split(split: Split, chosen: RecordSettings) -> list[Layout]:
        def pairs(record: Record, chosen: RecordSettings) -> Iterator[RawPair]:
            yield RawPair(record["title"], record["body"], query_language=Path(split.path).stem)

        return [Layout({"title": str, "body": str}, pairs)]

    source = made(layouts=of_split)
    languages = [
        Read(source, write(tmp_path / name, lines(GOOD))).pairs[0]["query_lang"] for name in ("de.jsonl", "fr.jsonl")
    ]
    assert languages == ["deu_Latn", "fra_Latn"]


def test_a_cut_array_gives_what_came_before_and_says_so(tmp_path: Path) -> None:
    text = json.dumps({"data": [GOOD, GOOD, GOOD]})
    read = Read(made(format=Format(within="data")), write(tmp_path / "a.json", text[:-30]))
    assert len(read.pairs) == 2
    assert [reason for _, _, reason in read.reasons] == ["truncated_file"]


def test_a_truncated_gzip_is_quarantined_and_the_rest_arrives(tmp_path: Path) -> None:
    packed = gzip.compress(lines(*[GOOD | {"title": f"title {n}" * 5} for n in range(2000)]).encode(), mtime=0)
    read = Read(made(), write(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2]))
    assert len(read.pairs) > 100
    assert [reason for _, _, reason in read.reasons] == ["truncated_file"]


TABLE = Format(other="tsv", columns=(("title", "body"), ("id", "title", "body")))


def test_a_table_without_header_is_told_by_its_number_of_columns(tmp_path: Path) -> None:
    read = Read(made(format=TABLE), write(tmp_path / "a.txt", 'one\t"two" said\nragged\n\n1\t2\t3\nx\t\n'))
    assert read.sides == [("one", '"two" said')]
    assert read.reasons == [("line", 2, "wrong_number_of_columns"), ("line", 4, "wrong_number_of_columns")]
    assert [row["reason"] for row in read.rejects] == ["empty_positive"]
    assert Read(made(format=TABLE), write(tmp_path / "b.txt", "7\tone\ttwo\n")).sides == [("one", "two")]


def test_a_header_is_known_by_the_names_of_fields(tmp_path: Path) -> None:
    read = Read(made(format=TABLE), write(tmp_path / "a.tsv", "body\ttitle\textra\nb\tt\te\n"))
    assert (read.sides, read.records) == ([("t", "b")], 1)


def test_a_table_of_an_unknown_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has 4 columns, expected 2 columns \(title, body\) or 3 columns"):
        Read(made(format=TABLE), write(tmp_path / "a.tsv", "1\t2\t3\t4\n"))


def test_cells_of_csv_may_be_quoted_and_hold_newlines(tmp_path: Path) -> None:
    text = 'title,body\n"a ""mill""","two\nlines"\nb,"c"x\nd,e\n'
    read = Read(made(), write(tmp_path / "a.csv", text))
    assert read.sides == [('a "mill"', "two lines"), ("d", "e")]
    assert read.reasons == [("row", 3, "invalid_csv")]


def test_rows_of_parquet_are_records(tmp_path: Path) -> None:
    table = pa.table({"title": ["a", None, "c"], "body": ["b", "b", "d"], "summary": ["s", "", None]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    read = Read(made(), tmp_path / "a.parquet")
    assert read.sides == [("a", "b"), ("s", "b"), ("c", "d")]
    assert [pair["document_id"] for pair in read.pairs] == ["a.parquet:0", "a.parquet:0", "a.parquet:2"]


def test_a_damaged_row_group_costs_its_rows_only(tmp_path: Path) -> None:
    table = pa.table({"title": [f"title {n}" for n in range(60)], "body": [f"body {n}" * 9 for n in range(60)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=20, compression="zstd")
    group = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(1)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    start = group.column(1).dictionary_page_offset or group.column(1).data_page_offset
    data[start : start + 60] = b"\xff" * 60
    read = Read(made(), write(tmp_path / "a.parquet", bytes(data)))
    assert [pair["query"] for pair in read.pairs] == [f"title {n}" for n in (*range(20), *range(40, 60))]
    assert read.reasons == [("row", 21, "corrupt_file")]
    assert (read.records, read.lost) == (41, 19)


def test_kinds_can_be_chosen_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", lines(GOOD | {"summary": "grinding"}))
    assert Read(made(), file).sides == [("A mill", GOOD["body"]), ("grinding", GOOD["body"])]
    assert Read(made(), file, kinds=["summary_body"]).sides == [("grinding", GOOD["body"])]
    assert Read(made(usual_kinds=("title_body",)), file).sides == [("A mill", GOOD["body"])]
    with pytest.raises(SourceError, match="has no pairs of kind 'review'; it has title_body, summary_body"):
        Read(made(), file, kinds=["review"])


def test_languages_licence_and_ids(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", lines(GOOD, GOOD | {"id": "n7"}))
    first, second = Read(made(language="zh"), file, license="CC0-1.0", label="mine").pairs
    assert (first["query_lang"], first["positive_lang"], first["license"]) == ("zho_Hans", "zho_Hans", "CC0-1.0")
    assert (first["source"], first["document_id"], second["document_id"]) == ("mine", "a.jsonl:0", "n7")
    assert Read(made(language="zh"), file, language="de").pairs[0]["query_lang"] == "deu_Latn"
    assert Read(made(), file).pairs[0]["query_lang"] == "und"


def test_the_language_may_be_taken_from_the_path_and_the_users_own_comes_before(tmp_path: Path) -> None:
    def of_name(split: Split) -> str | None:
        return Path(split.path).stem

    file = write(tmp_path / "fr.jsonl", lines(GOOD))
    assert Read(made(language=of_name), file).pairs[0]["query_lang"] == "fra_Latn"
    assert Read(made(language=of_name), file, language="de").pairs[0]["query_lang"] == "deu_Latn"


def test_documents_are_written_where_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", lines(GOOD | {"id": "n7"}, {"title": "t", "body": ""}))
    assert Read(made(), file).documents == []
    assert [
        (row["document_id"], row["title"], row["text"]) for row in Read(made(), file, documents=True).documents
    ] == [("n7", "A mill", "It grinds grain.")]


def test_a_record_longer_than_the_limit_is_quarantined(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", lines(GOOD, GOOD | {"body": "x" * 500}, GOOD))
    read = Read(made(), file, max_record_bytes=200)
    assert (len(read.pairs), read.reasons) == (2, [("line", 2, "line_too_long")])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_split_gives_the_same_pairs(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("split")
    bodies = data.draw(st.lists(st.text(max_size=30), min_size=1, max_size=30))
    table = data.draw(st.booleans())
    if table:
        text = "title\tbody\n" + "".join(f"t{n}\tb{n}\n" for n in range(len(bodies)))
    else:
        text = lines(*({"title": f"t{n}", "body": f"b{body}"} for n, body in enumerate(bodies)))
    file = write(folder / ("a.tsv" if table else "a.jsonl"), text)
    whole, parts = Read(made(), file), Read(made(), file, target_bytes=data.draw(st.integers(20, 200)))
    assert parts.pairs == whole.pairs
    assert parts.records == whole.records


def test_a_later_split_of_bad_records_does_not_fail(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", lines(GOOD, *[{"x": 1}] * 1500))
    source = made()
    steps = list(source.read(Split(str(file), 60, file.stat().st_size), source.Settings()))
    assert sum(step.quarantine.num_rows for step in steps) == sum(step.records for step in steps) > 1400


def test_a_record_takes_the_first_layout_whose_types_fit(tmp_path: Path) -> None:
    def named(record: Record, chosen: RecordSettings) -> Iterator[RawPair]:
        yield RawPair(record["title"], f"{type(record['body']).__name__} {record['body']}")

    layouts = tuple(Layout({"title": str, "body": kind}, named) for kind in (int, str))
    rows = [{"title": "t", "body": 1}, {"title": "t", "body": "1"}, {"title": "t", "body": [1]}, {"title": "t"}]
    read = Read(made(layouts=layouts), write(tmp_path / "a.jsonl", lines(*rows)))
    assert read.sides == [("t", "int 1"), ("t", "str 1")]
    assert read.reasons == [("line", 3, "wrong_type"), ("line", 4, "missing_field")]


def test_rows_may_lack_their_last_cells_only_where_the_format_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "title\tbody\tvotes\nt\ta\t3\nt\tb\nt\nt\tc\t3\t4\n")
    short = Read(made(format=Format(short_rows=True)), path)
    assert short.sides == [("t", "a"), ("t", "b")]
    assert short.reasons == [("line", 4, "missing_field"), ("line", 5, "wrong_number_of_columns")]
    assert Read(made(), path).reasons == [("line", number, "wrong_number_of_columns") for number in (3, 4, 5)]


@pytest.mark.parametrize("text", ['["t", "a"]\n["t", "b"]\n', '[["t", "a"],\n ["t", "b"]]', ' [ "t", "a"]\n["t", "b"]'])
def test_lists_of_texts_are_records_where_the_format_says_so(tmp_path: Path, text: str) -> None:
    def of_list(record: Record, chosen: RecordSettings) -> Iterator[RawPair]:
        yield RawPair(*record["texts"])

    source = made(layouts=(Layout({"texts": list}, of_list),), format=Format(lists="texts"))
    assert Read(source, write(tmp_path / "a.json", text)).sides == [("t", "a"), ("t", "b")]


def test_one_record_of_very_many_long_pairs_comes_in_steps(tmp_path: Path) -> None:
    def each(record: Record, chosen: RecordSettings) -> Iterator[RawPair]:
        for number in range(400):
            yield RawPair(record["title"], f"{number}", negatives=[record["body"]])

    source = made(layouts=(Layout({"title": str, "body": str}, each),))
    path = write(tmp_path / "a.jsonl", lines({"title": "t", "body": "b" * 100_000}))
    chosen = source.Settings()
    (split,) = source.splits(str(path), chosen, WHOLE)
    steps = [(step.records, step.pairs.num_rows) for step in source.read(split, chosen)]
    assert steps == [(1, 168), (0, 168), (0, 64)]  # 168 pairs of 100,001 characters or more reach 16 Mi


def test_the_layout_of_a_record_does_not_depend_on_the_records_around_it(tmp_path: Path) -> None:
    def named(name: str) -> Any:
        return lambda record, chosen: iter([RawPair(name, record["body"])])

    layouts = (Layout({"title": str, "body": str}, named("title")), Layout({"story": str, "body": str}, named("story")))
    both, one = {"title": "t", "story": "s", "body": "b"}, {"story": "s", "body": "c"}
    source = made(layouts=layouts)
    assert Read(source, write(tmp_path / "a.jsonl", lines(both))).sides == [("title", "b")]
    assert Read(source, write(tmp_path / "b.jsonl", lines(one, both, one))).sides == [
        ("story", "c"),
        ("title", "b"),
        ("story", "c"),
    ]


def repeated(pairs: int) -> Source:
    def each(record: Record, chosen: RecordSettings) -> Iterator[RawPair]:
        for number in range(pairs):
            yield RawPair(f"{number}", record["body"])

    return made(layouts=(Layout({"body": str}, each),))


def test_a_record_that_would_make_millions_of_pairs_is_quarantined_before_they_are_made(tmp_path: Path) -> None:
    read = Read(repeated(1 << 60), write(tmp_path / "a.jsonl", lines({"body": ""}, {"body": "b"})))
    assert (read.sides, read.reasons) == ([], [("line", 1, "too_many_pairs"), ("line", 2, "too_many_pairs")])


def test_a_long_text_in_very_many_pairs_of_one_record_is_quarantined(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", lines({"body": "b" * (12 << 20)}, {"body": "short"}))
    read = Read(repeated(100), file)  # 1.2 GiB of the first
    assert read.reasons == [("line", 1, "too_many_pairs")]
    assert len(read.pairs) == 100


def test_of_very_many_bad_parts_a_hundred_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    def each(record: Record, chosen: RecordSettings) -> Iterator[RawPair | BadRecord]:
        yield RawPair("t", "b")
        for _ in range(250):
            yield BadRecord("wrong_type", "")

    read = Read(made(layouts=(Layout({"body": str}, each),)), write(tmp_path / "a.jsonl", lines({"body": "b"})))
    assert (len(read.pairs), len(read.quarantine), read.records, read.lost) == (1, 100, 101, 150)


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_lines_are_lines_whatever_the_length_of_the_first(tmp_path: Path, size: int) -> None:
    rows = [GOOD | {"body": "b" * size}, GOOD]
    assert len(Read(made(format=Format(within="data")), write(tmp_path / "a.jsonl", lines(*rows))).pairs) == 2


def test_a_damaged_first_line_costs_itself_only(tmp_path: Path) -> None:
    read = Read(made(format=Format(within="data")), write(tmp_path / "a.jsonl", '{"title": \n' + lines(GOOD, GOOD)))
    assert (len(read.pairs), read.reasons) == (2, [("line", 1, "invalid_json")])


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_a_row_of_parquet_that_is_no_utf8_is_quarantined_alone(tmp_path: Path) -> None:
    bodies = pa.array([b"one", b"\xff\xfe", b"three"], pa.binary()).view(pa.string())
    read = Read(made(), parquet(tmp_path / "a.parquet", {"title": ["a", "b", "c"], "body": bodies}))
    assert read.sides == [("a", "one"), ("c", "three")]
    assert read.reasons == [("row", 2, "invalid_utf8")]
    assert read.quarantine[0]["excerpt"].endswith("| b | \\xff\\xfe")


def test_a_row_of_parquet_that_is_too_long_is_quarantined_with_its_start(tmp_path: Path) -> None:
    columns = {"title": ["a", "b", "c"], "body": ["x", "y" * 5000, "z"], "tags": [["t"], ["t"], ["t" * 5000]]}
    read = Read(made(), parquet(tmp_path / "a.parquet", columns), max_record_bytes=1000)
    assert (read.sides, read.reasons) == ([("a", "x")], [("row", 2, "line_too_long"), ("row", 3, "line_too_long")])
    assert read.quarantine[0]["excerpt"].startswith("b | yyy")


@pytest.mark.parametrize("kind", [pa.dictionary(pa.int32(), pa.string()), pa.string_view(), pa.large_string()])
def test_the_limit_of_a_row_counts_its_own_texts_only(tmp_path: Path, kind: pa.DataType) -> None:
    bodies = pa.array([f"{number}" * 400 for number in range(9)]).cast(kind)
    read = Read(
        made(), parquet(tmp_path / "a.parquet", {"title": list("abcdefghi"), "body": bodies}), max_record_bytes=500
    )
    assert (len(read.pairs), read.reasons) == (9, [])


def test_columns_that_make_no_pairs_are_not_read(tmp_path: Path) -> None:
    far = pa.array([2**31 - 1], pa.int32()).cast(pa.date32())  # beyond Python's calendar
    columns = {
        "title": ["a"],
        "body": ["b"],
        "image": [{"bytes": b"\x89", "path": "p"}],
        "embedding": [[0.5] * 768],
        "raw": [b"\xff"],
        "day": far,
    }
    seen: list[Record] = []

    def pairs(record: Record, chosen: RecordSettings) -> Iterator[RawPair]:
        seen.append(record)
        yield RawPair(record["title"], record["body"])

    path = parquet(tmp_path / "a.parquet", columns)
    Read(made(layouts=(Layout({"title": str}, pairs),)), path)
    Read(made(layouts=(Layout({"title": str}, pairs, {"embedding": list}),)), path)
    assert [set(record) for record in seen] == [{"title", "body", "image"}, {"title", "body", "image", "embedding"}]
    assert seen[0]["image"] == {"path": "p"}
    named = made(layouts=(Layout({"title": str}, pairs, {"day": str}),))
    assert Read(named, path).reasons == [("row", 1, "unreadable_value")]


def test_a_text_that_parquet_holds_once_for_many_rows_comes_in_small_steps(tmp_path: Path) -> None:
    rows = 100_000
    body = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["b" * 500_000]))
    columns = {"title": ["t"] * rows, "body": body}
    path = parquet(tmp_path / "a.parquet", columns, store_schema=False)  # 50 GB, if it were written out
    assert path.stat().st_size < 1 << 20
    source = made()
    chosen = source.Settings()
    (split,) = source.splits(str(path), chosen, WHOLE)
    steps = source.read(split, chosen)
    assert [next(steps).pairs.num_rows for _ in range(4)] == [34, 30] * 2  # 64 rows decoded, 16 MiB a step


def test_texts_of_a_list_are_joined_and_one_that_is_none_is_named() -> None:
    assert joined_texts(["a", "", "b"], " ", "lines") == "a  b"
    assert joined_texts(None, " ", "lines") == ""
    with pytest.raises(BadRecord, match="lines: expected a text, found a number"):
        joined_texts(["a", 7], " ", "lines")


def test_ids_of_a_corpus_are_texts_and_whole_numbers() -> None:
    ids = ["a", 7, 0, "", None, True, 1.5, ["a"], {"a": 1}]
    assert [record_id("news", one) for one in ids] == ["news:a", "news:7", "news:0", *[None] * 6]


@pytest.mark.parametrize("whole", [False, True])
def test_the_shape_of_a_file_is_that_of_its_text_in_the_encoding_that_is_told(tmp_path: Path, whole: bool) -> None:
    text = json.dumps({"data": [GOOD, GOOD]}, indent=1) if whole else lines(GOOD, GOOD)
    source = made(format=Format(within="data"))
    chosen = source.Settings()
    path = write(tmp_path / "a.json", text.encode("utf-16-le"))  # without a mark
    steps = source.read(Split(str(path), encoding="utf-16-le"), chosen)
    assert [step.pairs.num_rows for step in steps] == [2]
