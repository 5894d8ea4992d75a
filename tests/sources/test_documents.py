"""The source of whole documents, which keeps their line breaks."""

import json
import unicodedata

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from sources.documents import DocumentSettings, plain_text, read, splits


def documents_of(path, **settings):
    chosen = DocumentSettings(**settings)
    steps = [step for split in splits(str(path), chosen, 1 << 30) for step in read(split, chosen)]
    rows = [row for step in steps for row in step.documents.to_pylist()]
    return rows, [row for step in steps for row in step.quarantine.to_pylist()]


def write(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def test_line_breaks_and_indents_are_kept(tmp_path):
    text = "Heading\r\n\r\n\r\n\r\nA paragraph  \nof two lines.\n\n    code = 1\n\n"
    rows, _ = documents_of(write(tmp_path / "a.jsonl", {"text": text}))
    assert rows[0]["text"] == "Heading\n\nA paragraph\nof two lines.\n\n    code = 1"


def test_what_a_record_says_is_kept_and_the_rest_is_told_by_the_settings(tmp_path):
    told = {"id": 7, "title": " A  title ", "text": "x", "language": "de", "license": "MIT", "url": "http://a/"}
    file = write(tmp_path / "a.jsonl", told, {"text": "y", "id": ""})
    rows, _ = documents_of(file, language="fr", license="CC0-1.0", label="mine")
    names = ("document_id", "title", "language", "license", "url", "source")
    assert [rows[0][name] for name in names] == ["7", "A title", "deu_Latn", "MIT", "http://a/", "mine"]
    size = len(json.dumps(told)) + 1
    assert [rows[1][name] for name in names] == [f"a.jsonl:{size}", None, "fra_Latn", "CC0-1.0", None, "mine"]


def test_a_language_that_nobody_tells_is_unknown(tmp_path):
    rows, _ = documents_of(write(tmp_path / "a.jsonl", {"text": "x"}))
    assert rows[0]["language"] == "und"


def test_records_that_are_no_documents_are_quarantined_and_empty_texts_left_out(tmp_path):
    file = write(tmp_path / "a.jsonl", {"text": 3}, {"body": "x"}, {"text": " \n "}, {"text": None}, {"text": "good"})
    with file.open("a") as stream:
        stream.write("{broken\n")
    rows, quarantined = documents_of(file)
    assert [row["text"] for row in rows] == ["good"]
    assert [(row["position"], row["reason"]) for row in quarantined] == [
        (1, "wrong_type"),
        (2, "missing_field"),
        (6, "invalid_json"),
    ]


def test_every_kind_of_line_end_ends_a_line():
    assert plain_text(pa.array(["a\r\nb\rc\u2028d\u2029e\x0bf\x0cg\x85h"])).to_pylist() == ["a\nb\nc\nd\ne\nf\ng\nh"]


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=60))
def test_plain_text_changes_nothing_the_second_time(text):
    once = plain_text(pa.array([text], pa.string()))
    assert plain_text(once) == once
    assert unicodedata.is_normalized("NFC", once[0].as_py())


def test_a_missing_text_stays_missing():
    assert plain_text(pa.array([None], pa.string())).to_pylist() == [None]
