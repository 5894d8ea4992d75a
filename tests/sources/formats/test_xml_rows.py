"""Dumps of tables as XML: rows, values, hostile lines."""

import time
from pathlib import Path

import pytest

from sources.formats.extracted_rows import ExtractedRows
from sources.formats.xml_rows import XmlRow, XmlRows, unescape_attribute
from sources.records import BadRecord
from sources.source import Split
from tests.sources.reading_all import write


def read(path: Path) -> tuple[list[XmlRow], list[tuple[int, str]]]:
    """The rows of a file, and (line, reason) of what is none."""
    gathered = ExtractedRows("test", Split(str(path)), "line", ("other",), frozenset({"other"}), None, None)
    rows = [row for block in XmlRows(str(path), 1 << 20, gathered) for row in block]
    bad = gathered.take(0).quarantine.to_pylist()
    return rows, [(row["position"], row["reason"]) for row in bad]


def test_rows_come_with_their_lines_and_the_lines_around_them_count_for_nothing(tmp_path: Path) -> None:
    text = '<?xml version="1.0"?>\n<tags>\n  <row Id="1" Name="a &lt; b" />\n\n<row Id="x"/>\n  <row Id="2">\n</tags>\n'
    rows, bad = read(write(tmp_path / "Tags.xml", text))
    assert [(row.place, row.fields) for row in rows] == [(3, {b"Id": b"1", b"Name": b"a &lt; b"}), (5, {b"Id": b"x"})]
    assert bad == [(6, "malformed_row")]
    assert (rows[0].number(b"Id"), rows[0].text(b"Name")) == (1, "a < b")
    for what, reason in (
        (lambda: rows[1].number(b"Id"), "wrong_type"),
        (lambda: rows[1].text(b"Name"), "missing_field"),
    ):
        with pytest.raises(BadRecord) as raised:
            what()
        assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a&#xA;b&#xD;c", "a\nbc"),
        ("&lt;p&gt; &quot;x&quot; &apos;y&apos;", "<p> \"x\" 'y'"),
        ("&amp;lt;&amp;#39;", "&lt;&#39;"),
        ("&#233;&#x1F375;", "é\U0001f375"),
        ("&#xD800;&#x110000;&#9999999;", "\ufffd\ufffd\ufffd"),
        ("&unknown; & x", "&unknown; & x"),
    ],
)
def test_the_entities_of_xml_are_read_once(value: str, text: str) -> None:
    assert unescape_attribute(value) == text


@pytest.mark.parametrize("piece", [" ", '<row a="', '<row a="b" ', 'a="b" ', "<posts> ", "</", '"', "<?xml ?"])
def test_hostile_lines_take_linear_time(tmp_path: Path, piece: str) -> None:
    path = write(tmp_path / "Posts.xml", '<row Id="1"/>\n' + piece * 50_000 + "!\n<row " + piece * 50_000 + "\n")
    start = time.perf_counter()
    read(path)
    assert time.perf_counter() - start < 5  # a quadratic expression would take minutes
