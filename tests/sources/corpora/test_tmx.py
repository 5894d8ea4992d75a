"""Translation memories."""

import gzip
import zipfile
from pathlib import Path

import pytest

from sources.files.reading import expand_paths
from sources.source import SourceError
from tests.sources.reading_all import Everything, write

HEAD = '<?xml version="1.0" encoding="{}"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n<tmx version="1.4"><header srclang="en"/><body>\n'
TAIL = "</body></tmx>\n"


def unit(*texts: tuple[str, str], attributes: str = "", inside: str = "") -> str:
    variants = "".join(f'<tuv xml:lang="{language}"><seg>{text}</seg></tuv>\n' for language, text in texts)
    return f"<tu{attributes}>\n{inside}{variants}</tu>\n"


def read(folder: Path, *units: str, encoding: str = "UTF-8", **settings: object) -> Everything:
    text = HEAD.format(encoding) + "".join(units) + TAIL
    return Everything("tmx", write(folder / "x.tmx", text.encode(encoding)), **settings)


def test_a_unit_is_a_pair(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        unit(("en", "a dog"), ("de", "ein Hund")),
        unit(("en", "a cat"), ("de", "eine Katze"), attributes=' tuid="c7"'),
    )
    assert found.sides == [("a dog", "ein Hund"), ("a cat", "eine Katze")]
    assert [pair["document_id"] for pair in found.pairs] == ["x.tmx:1", "x.tmx:c7"]
    assert {(pair["query_lang"], pair["positive_lang"], pair["kind"]) for pair in found.pairs} == {
        ("eng_Latn", "deu_Latn", "parallel")
    }
    assert found.records == 2


def test_english_is_paired_with_each_other_language_by_default(tmp_path: Path) -> None:
    texts = unit(("de", "Hund"), ("en", "dog"), ("fr", "chien"))
    assert read(tmp_path, texts).sides == [("dog", "Hund"), ("dog", "chien")]
    assert read(tmp_path, texts, pivot="fr").sides == [("chien", "Hund"), ("chien", "dog")]
    assert read(tmp_path, texts, directions="all").sides == [("dog", "Hund"), ("dog", "chien"), ("Hund", "chien")]
    assert read(tmp_path, texts, languages=["de", "fr"]).sides == [("Hund", "chien")]


def test_two_variants_in_one_language_are_paraphrases(tmp_path: Path) -> None:
    found = read(tmp_path, unit(("en-GB", "a lorry"), ("en-US", "a truck")), unit(("en", "alone")))
    assert [(pair["kind"], pair["query"], pair["positive"]) for pair in found.pairs] == [
        ("paraphrase", "a lorry", "a truck")
    ]
    assert found.records == 2
    assert read(tmp_path, unit(("en-GB", "a lorry"), ("en-US", "a truck")), kinds=["parallel"]).pairs == []


@pytest.mark.parametrize("extra", ["", "<note>x</note>"], ids=["plain", "by expat"])
def test_references_are_resolved(tmp_path: Path, extra: str) -> None:
    found = read(tmp_path, unit(("en", "a &lt;b&gt; &amp;amp; &quot;c&apos;"), ("de", "d &amp; e"), inside=extra))
    assert found.sides == [("a <b> &amp; \"c'", "d & e")]
    found = read(tmp_path, unit(("en", "&#65;&#x42;"), ("de", "<![CDATA[x < y]]>"), inside=extra))
    assert found.sides == [("AB", "x < y")]


def test_codes_of_formatting_are_no_text(tmp_path: Path) -> None:
    text = 'press <bpt i="1">&lt;b<sub>no</sub>&gt;</bpt>here<ept i="1">&lt;/b&gt;</ept> <hi>now</hi><ph/>!'
    assert read(tmp_path, unit(("en", text), ("de", "jetzt"))).sides == [("press here now!", "jetzt")]


def test_properties_are_no_text_and_give_the_address(tmp_path: Path) -> None:
    text = (
        '<tu><prop type="score">0.8</prop><tuv xml:lang="en"><prop type="source-document">https://one.example</prop>'
        '<seg>dog</seg></tuv><tuv lang="de"><seg>Hund</seg></tuv></tu>'
    )
    (pair,) = read(tmp_path, text).pairs
    assert (pair["query"], pair["positive"], pair["url"]) == ("dog", "Hund", "https://one.example")


def test_an_entity_that_a_file_declares_is_not_expanded(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE tmx [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
    good = unit(("en", "dog"), ("de", "Hund"))
    text = f"<?xml version='1.0'?>{bomb}<tmx><body>{unit(('en', '&b;'), ('de', 'x'))}{unit(('en', '&f;'), ('de', 'x'))}{good}"
    found = Everything("tmx", write(tmp_path / "x.tmx", text))
    assert found.sides == [("dog", "Hund")]
    assert found.reasons == [("unit", 1, "invalid_xml"), ("unit", 2, "invalid_xml")]


def test_a_unit_in_bad_shape_costs_itself_only(tmp_path: Path) -> None:
    good = unit(("en", "dog"), ("de", "Hund"))
    bad = "<tu><tuv xml:lang='en'><seg>a & b</seg></tuv></tu>"
    found = read(
        tmp_path,
        good,
        bad,
        "<tu><tuv><tu></tuv></tu>",
        good,
        unit(("en", "x" * 5000), ("de", "y")),
        good,
        max_record_bytes=2000,
    )
    assert found.sides == [("dog", "Hund")] * 3
    assert found.reasons == [("unit", 2, "invalid_xml"), ("unit", 3, "invalid_xml"), ("unit", 5, "unit_too_long")]
    assert found.records == 6


def test_a_unit_without_end_is_told(tmp_path: Path) -> None:
    text = HEAD.format("UTF-8") + unit(("en", "dog"), ("de", "Hund")) + "<tu><tuv xml:lang='en'><seg>cut o"
    path = write(tmp_path / "x.tmx", text)
    found = Everything("tmx", path)
    assert found.sides == [("dog", "Hund")]
    assert found.reasons == [("byte", path.stat().st_size, "truncated_file")]


def test_a_truncated_archive_gives_the_units_before(tmp_path: Path) -> None:
    text = (
        HEAD.format("UTF-8")
        + "".join(unit(("en", f"dog {n * 7919 % 10007}"), ("de", f"Hund {n}")) for n in range(20_000))
        + TAIL
    )
    packed = gzip.compress(text.encode())
    found = Everything("tmx", write(tmp_path / "x.tmx.gz", packed[: len(packed) // 2]))
    assert 5000 < len(found.pairs) < 15_000
    assert found.reasons == [("byte", len(packed) // 2, "truncated_file")]


def test_a_file_without_units_is_no_tmx(tmp_path: Path) -> None:
    assert Everything("tmx", write(tmp_path / "x.tmx", "<html>no</html>")).reasons == [("byte", 0, "not_a_tmx")]


@pytest.mark.parametrize("encoding", ["UTF-16", "ISO-8859-1", "windows-1252", "UTF-8"])
def test_the_encoding_of_the_head_counts(tmp_path: Path, encoding: str) -> None:
    assert read(tmp_path, unit(("en", "a bear"), ("de", "ein Bär")), encoding=encoding).sides == [("a bear", "ein Bär")]


def test_members_of_archives_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "de-en.tmx.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("de-en.tmx", HEAD.format("UTF-8") + unit(("en", "dog"), ("de", "Hund")) + TAIL)
    (path,) = expand_paths([str(tmp_path / "de-en.tmx.zip")])
    assert Everything("tmx", path).sides == [("dog", "Hund")]


@pytest.mark.parametrize("size", [1, 7, 50, 333])
def test_units_may_be_cut_anywhere_by_the_chunks_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("sources.files.reading.CHUNK", size)
    long = unit(("en", "x" * 400), ("de", "y"))
    good = unit(("en", "dog"), ("de", "Hund"))
    found = read(tmp_path, good, long, good.replace("</tu>", "</tu  >"), good, max_record_bytes=300)
    assert found.sides == [("dog", "Hund")] * 3
    assert found.reasons == [("unit", 2, "unit_too_long")]


@pytest.mark.parametrize("encoding", ["gb2312", "utf-16", "shift_jis", "iso-8859-1"])
def test_units_in_the_encoding_that_the_file_declares(tmp_path: Path, encoding: str) -> None:
    text = {"iso-8859-1": "Müller"}.get(encoding, "日本人山水小中国")
    found = read(tmp_path, *[unit(("en", "a mill"), ("zh", text))] * 20, encoding=encoding)
    assert found.sides == [("a mill", text)] * 20


def test_an_encoding_that_is_not_known_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tmx", HEAD.format("rot13") + unit(("en", "a"), ("de", "b")) + TAIL)
    with pytest.raises(SourceError, match=r"x.tmx: it says to be encoded in 'rot13'"):
        Everything("tmx", path)


def test_hostile_units_cost_themselves_only(tmp_path: Path) -> None:
    deep = "<tu>" + "<a>" * 1000 + "</a>" * 1000 + "</tu>"
    many = unit(*[("en", f"text {number}") for number in range(1001)])
    large = unit(*[("en", f"{number}" * 20_000) for number in range(100)])
    found = read(tmp_path, deep, many, large, unit(("en", "a dog"), ("de", "ein Hund")), directions="all")
    assert found.sides == [("a dog", "ein Hund")]
    reasons = [("unit", 1, "invalid_xml"), ("unit", 2, "invalid_xml"), ("unit", 3, "too_many_pairs")]
    assert (found.records, found.reasons) == (4, reasons)


def test_a_file_of_tiny_gzip_members_is_read(tmp_path: Path) -> None:
    text = HEAD.format("UTF-8") + unit(("en", "a dog"), ("de", "ein Hund " * 500)) + TAIL
    data = text.encode()
    packed = b"".join(gzip.compress(data[at : at + 7]) for at in range(0, len(data), 7))
    found = Everything("tmx", write(tmp_path / "x.tmx.gz", packed))
    assert found.sides == [("a dog", ("ein Hund " * 500).strip())]
