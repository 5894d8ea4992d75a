"""JSON lines and JSON arrays."""

import bz2
import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sources.catalogue import load_source
from sources.files.reading import LongRecord, RecordBlock
from sources.formats.json_array import ArrayReader
from sources.source import SourceError, Split
from tests.sources.reading_all import Everything, write


def jsonl(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def numbered(count: int) -> list[dict[str, str]]:
    return [{"query": f"q{number}", "positive": f"p{number} " * (number % 7 + 1)} for number in range(count)]


def test_each_record_is_a_pair_that_names_its_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", jsonl({"query": "q1", "positive": "p1"}, {"query": "q2", "positive": "p2"}))
    found = Everything("jsonl", path, language="de", license="CC0-1.0", kind="question_answer", label="mine")
    assert found.sides == [("q1", "p1"), ("q2", "p2")]
    first, second = found.pairs
    assert (first["document_id"], second["document_id"]) == ("a.jsonl:0", "a.jsonl:34")
    assert (first["source"], first["license"], first["kind"]) == ("mine", "CC0-1.0", "question_answer")
    assert first["query_lang"] == first["positive_lang"] == "deu_Latn"
    assert found.records == 2


def test_all_fields_can_be_named_and_nested(tmp_path: Path) -> None:
    record = {
        "text": {"en": "cat", "de": "Katze"},
        "neg": ["Hund", ""],
        "id": 7,
        "link": "http://x/1",
        "score": 2,
        "lang": "en",
        "to": "de",
    }
    found = Everything(
        "jsonl",
        write(tmp_path / "a.json", jsonl(record)),
        query="text.en",
        positive="text.de",
        negatives="neg",
        document_id="id",
        url="link",
        label_field="score",
        query_language_field="lang",
        positive_language_field="to",
    )
    (pair,) = found.pairs
    assert (pair["query"], pair["positive"], pair["negatives"]) == ("cat", "Katze", ["Hund"])
    assert (pair["document_id"], pair["url"], pair["label"]) == ("7", "http://x/1", 2.0)
    assert (pair["query_lang"], pair["positive_lang"]) == ("eng_Latn", "deu_Latn")


def test_a_list_of_positives_gives_a_pair_each_and_an_empty_one_a_reject(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        jsonl(
            {"query": "a", "pos": ["1", "2"], "neg": ["9"]},
            {"query": "b", "pos": []},
            {"query": "c", "pos": "3"},
        ),
    )
    found = Everything("jsonl", path, positive="pos", negatives="neg")
    assert found.sides == [("a", "1"), ("a", "2"), ("c", "3")]
    assert [pair["negatives"] for pair in found.pairs] == [["9"], ["9"], None]
    assert [(reject["query"], reject["reason"]) for reject in found.rejects] == [("b", "empty_positive")]


def test_exactly_the_bad_lines_are_quarantined_with_their_reasons(tmp_path: Path) -> None:
    good = b'{"query": "q", "positive": "p"}\n'
    bad = [
        (b'{"query": "\xff", "positive": "p"}', "invalid_utf8"),
        (b'{"query": "\x00", "positive": "p"}', "nul_byte"),
        (b'{"query": "q", "positive"', "invalid_json"),
        (b'["q", "p"]', "not_an_object"),
        (b"12", "not_an_object"),
        (b'{"query": "q", "other": "p"}', "missing_field"),
        (b'{"query": 5, "positive": "p"}', "wrong_type"),
        (b'{"query": "q", "positive": ["p", {}]}', "wrong_type"),
        (b'{"query": ["q"], "positive": ["p"]}', "wrong_type"),
        (b'{"query": "q", "positive": "' + b"p" * 500 + b'"}', "line_too_long"),
    ]
    data = good + b"\r\n" + b"".join(line + b"\n" + good for line, _ in bad) + good
    found = Everything("jsonl", write(tmp_path / "a.jsonl", data), max_line_bytes=400)
    assert found.sides == [("q", "p")] * 12
    assert found.reasons == [("line", 3 + 2 * index, reason) for index, (_, reason) in enumerate(bad)]
    excerpts = [row["excerpt"] for row in found.quarantine]
    assert "no positive; found query, other" in excerpts[5]
    assert "found a number" in excerpts[6]
    assert found.records == 12 + len(bad)


def test_null_is_an_empty_text_and_an_absent_optional_field_is_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", jsonl({"query": None, "positive": "p"}, {"query": "q", "positive": "p"}))
    found = Everything("jsonl", path, url="url", document_id="id", label_field="score")
    assert [reject["reason"] for reject in found.rejects] == ["empty_query"]
    assert found.pairs[0]["url"] is None
    assert found.pairs[0]["label"] is None


def test_a_field_that_no_record_has_fails_early_and_lists_those_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", jsonl(*[{"question": "q", "answer": {"text": "a"}}] * 1000))
    with pytest.raises(SourceError, match=r"no field 'query'; found are 'question', 'answer\.text'"):
        Everything("jsonl", path)


def test_a_few_records_without_the_field_are_bad_records_and_no_wrong_name(tmp_path: Path) -> None:
    found = Everything("jsonl", write(tmp_path / "a.jsonl", jsonl(*[{"question": "q"}] * 999)))
    assert [reason for _, _, reason in found.reasons] == ["missing_field"] * 999
    assert found.records == 999


def test_a_later_split_of_bad_records_only_is_quarantined(tmp_path: Path) -> None:
    good, bad = jsonl(*numbered(2000)), jsonl(*[{"question": "q"}] * 2000)
    found = Everything("jsonl", write(tmp_path / "a.jsonl", good + bad), len(bad) // 2)
    assert len(found.splits) > 2
    assert (len(found.pairs), len(found.quarantine), found.records) == (2000, 2000, 4000)


def test_lists_of_queries_and_lists_of_positives_may_be_mixed(tmp_path: Path) -> None:
    records = [
        {"query": ["a", "b"], "positive": "1", "url": "x"},
        {"query": "c", "positive": ["2", "3"], "url": "y"},
        {"query": "d", "positive": "4", "url": "z"},
        {"query": [], "positive": "5", "url": "u"},
        {"query": "e", "positive": [], "url": "v"},
        {"query": ["f"], "positive": "6", "url": "w"},
    ]
    found = Everything("jsonl", write(tmp_path / "a.jsonl", jsonl(*records)), url="url")
    assert [(pair["query"], pair["positive"], pair["url"]) for pair in found.pairs] == [
        ("a", "1", "x"),
        ("b", "1", "x"),
        ("c", "2", "y"),
        ("c", "3", "y"),
        ("d", "4", "z"),
        ("f", "6", "w"),
    ]
    assert [(row["query"], row["positive"], row["url"], row["reason"]) for row in found.rejects] == [
        ("", "5", "u", "empty_query"),
        ("e", "", "v", "empty_positive"),
    ]


def test_labels_are_numbers_that_a_float32_holds_and_nothing_else(tmp_path: Path) -> None:
    labels = [1, 0.5, True, False, 1e300, -1e39, "2", None]
    records = [{"query": f"q{index}", "positive": "p", "score": label} for index, label in enumerate(labels)]
    found = Everything("jsonl", write(tmp_path / "a.jsonl", jsonl(*records)), label_field="score")
    assert [pair["label"] for pair in found.pairs] == [1.0, 0.5, None, None, None, None, None, None]


def test_document_ids_start_with_the_name_that_a_split_is_given(tmp_path: Path) -> None:
    path = write(tmp_path / "part-0.jsonl.gz", gzip.compress(jsonl(*numbered(1)).encode()))
    chosen = load_source("jsonl").Settings()

    def ids(name: str | None) -> list[str]:
        steps = load_source("jsonl").read(Split(str(path), name=name), chosen)
        return [str(one) for step in steps for one in step.pairs["document_id"]]

    assert ids("a/part-0.jsonl.gz") == ["a/part-0.jsonl:0"]
    assert ids(None) == ["part-0.jsonl:0"]


def test_an_array_of_many_short_elements_takes_bounded_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", "[" + "0," * 1_000_000 + "0]")
    tracemalloc.start()
    rows = sum(len(block.offsets) for block in ArrayReader(str(path), 1000) if isinstance(block, RecordBlock))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 1_000_001
    assert peak < 80 << 20


def test_unknown_kinds_and_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="unknown kind 'chat'"):
        Everything("jsonl", "x", kind="chat")
    with pytest.raises(ValidationError, match="querry"):
        Everything("jsonl", "x", querry="q")


@pytest.mark.parametrize("name", ["empty.jsonl", "blank.jsonl", "empty.json"])
def test_an_empty_file_gives_nothing(tmp_path: Path, name: str) -> None:
    content = {"empty.jsonl": "", "blank.jsonl": "\n \n\r\n", "empty.json": " [ ]\n"}[name]
    found = Everything("jsonl", write(tmp_path / name, content))
    assert (found.pairs, found.quarantine, found.records) == ([], [], 0)


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_a_file_cut_in_the_middle_gives_its_whole_lines_and_one_quarantine_row(
    tmp_path: Path, ending: str, pack: Any
) -> None:
    records = numbered(20_000 if ending == ".gz" else 90_000)
    packed = pack(jsonl(*records).encode())
    found = Everything("jsonl", write(tmp_path / f"a.jsonl{ending}", packed[: len(packed) * 2 // 3]))
    count = len(found.sides)
    assert count > 5000
    assert found.sides == [(record["query"], record["positive"].strip()) for record in records[:count]]
    assert found.reasons == [("byte", len(packed) * 2 // 3, "truncated_file")]
    assert found.records == count + 1


@pytest.mark.parametrize("target", [10, 100, 1000, 1 << 30])
def test_any_split_gives_the_same_pairs(tmp_path: Path, target: int) -> None:
    records = numbered(60)
    plain = write(tmp_path / "a.jsonl", jsonl(*records))
    packed = write(tmp_path / "a.jsonl.gz", gzip.compress(jsonl(*records).encode()))
    found = Everything("jsonl", plain, target)
    assert len(found.pairs) == 60
    assert found.pairs == Everything("jsonl", packed).pairs


def test_a_later_split_names_the_byte_of_a_bad_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", jsonl(*numbered(10)) + "bad\n" + jsonl(*numbered(2)))
    offset = len(jsonl(*numbered(10)))
    assert Everything("jsonl", path).reasons == [("line", 11, "invalid_json")]
    assert Everything("jsonl", path, offset // 2 + 10).reasons == [("byte", offset, "invalid_json")]


def test_a_record_of_100_megabytes_is_quarantined_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(jsonl(*numbered(1)).encode() + b'{"query": "')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n' + jsonl(*numbered(2)).encode())
    tracemalloc.start()
    found = Everything("jsonl", path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.pairs) == 3
    assert found.reasons == [("line", 2, "line_too_long")]
    assert peak < 100 << 20


def test_documents_are_written_beside_the_pairs(tmp_path: Path) -> None:
    record = {"query": "q", "positive": "p", "id": "d1", "title": " T ", "text": "long  text"}
    found = Everything(
        "jsonl", write(tmp_path / "a.jsonl", jsonl(record)), documents=True, document_id="id", language="fr"
    )
    (document,) = found.documents
    assert (document["document_id"], document["title"], document["text"]) == ("d1", "T", "long text")
    assert document["language"] == "fra_Latn"


def test_an_array_is_read_like_lines(tmp_path: Path) -> None:
    records = [*numbered(3), {"query": 'a "b", [c] \\', "positive": '{x}, \\"]'}]
    pretty = write(tmp_path / "a.json", json.dumps(records, indent=2))
    found = Everything("jsonl", pretty, 10)
    assert found.sides == [(record["query"], record["positive"].strip()) for record in records]
    assert found.pairs[0]["document_id"] == "a.json:4"
    assert len(found.splits) == 1


def test_bad_elements_of_an_array_are_quarantined_by_number(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json", '[{"query": "q", "positive": "p"}, 5, {"query": nope}, {"query": "r", "positive": "s"}]'
    )
    found = Everything("jsonl", path)
    assert found.sides == [("q", "p"), ("r", "s")]
    assert found.reasons == [("entry", 2, "not_an_object"), ("entry", 3, "invalid_json")]


def test_an_array_that_is_not_closed_gives_its_whole_elements(tmp_path: Path) -> None:
    data = json.dumps(numbered(3))
    found = Everything("jsonl", write(tmp_path / "a.json", data[:-10]))
    assert found.sides == [("q0", "p0"), ("q1", "p1 p1")]
    assert found.reasons == [("byte", len(data) - 10, "truncated_file")]


def test_a_long_element_of_an_array_is_quarantined(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json.dumps([*numbered(1), {"query": "x" * 5000}, *numbered(1)]))
    found = Everything("jsonl", path, max_line_bytes=1000)
    assert found.sides == [("q0", "p0")] * 2
    assert found.reasons == [("entry", 2, "line_too_long")]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.recursive(
            st.none() | st.integers() | st.text(st.sampled_from('a"\\[]{},\n '), max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=6,
    ),
    chunk=st.integers(1, 9),
    indent=st.sampled_from([None, 1]),
)
def test_an_array_in_any_chunks_gives_its_elements(
    tmp_path: Path, values: list[Any], chunk: int, indent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.files.reading.CHUNK", chunk)
    reader = ArrayReader(str(write(tmp_path / "a.json", json.dumps(values, indent=indent))), 1 << 20)
    found = [json.loads(line) for block in reader if not isinstance(block, LongRecord) for line in block.lines]
    assert found == values
    assert reader.fault is None
