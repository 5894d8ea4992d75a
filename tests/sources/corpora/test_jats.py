"""JATS articles: abstracts, sections, what is left out, hostile and damaged files."""

import time
from pathlib import Path
from typing import Any

import pytest

from sources.catalogue import load_source
from sources.families.jats_article import parse_articles
from sources.records import BadRecord
from sources.source import SourceError
from tests.sources.reading_all import Everything, write

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96)//EN" "http://dtd.example.org/jats.dtd">
<article xmlns:mml="http://www.w3.org/1998/Math/MathML" xmlns:xlink="http://www.w3.org/1999/xlink" xml:lang="{language}">
"""
LONG = "Bees were counted at noon on every day of the summer, and again in the evening."
REFERENCE = '<xref ref-type="bibr" rid="b1">{}</xref>'


def article(meta: str = "", body: str = "", title: str = "On bees", language: str = "en") -> str:
    return (
        HEAD.format(language=language)
        + f"<front><article-meta>{meta}<title-group><article-title>{title}</article-title></title-group></article-meta></front>"
        + f"<body>{body}</body></article>"
    )


def only(text: str) -> Any:
    (found,) = parse_articles(text.encode())
    return found


def test_abstract_sections_and_lead_become_pairs(tmp_path: Path) -> None:
    meta = (
        '<article-id pub-id-type="doi">10.1/bees.1</article-id><article-id pub-id-type="pmid">7</article-id>'
        '<permissions><license xlink:href="https://creativecommons.org/licenses/by/4.0/"><license-p>Free</license-p>'
        "</license></permissions>"
        "<abstract><title>Abstract</title><sec><title>Aims</title><p>To count.</p></sec></abstract>"
    )
    body = (
        f"<p>First words. {LONG}</p><sec><title>Methods</title><p>{LONG}</p><p>Twice.</p>"
        f"<sec><title>Where &amp; when</title><p>In June. {LONG}</p></sec></sec>"
        f"<sec><title>Short</title><p>Too short.</p></sec><sec><title>Funding</title><p>{LONG}</p></sec>"
    )
    found = Everything("jats", write(tmp_path / "a.nxml", article(meta, body)), documents=True)
    assert [(row["kind"], row["query"], row["positive"]) for row in found.pairs] == [
        ("title_abstract", "On bees", "Aims To count."),
        ("title_body", "On bees", f"First words. {LONG}"),
        ("subtitle_passage", "On bees Methods", f"{LONG} Twice."),
        ("subtitle_passage", "On bees Methods > Where & when", f"In June. {LONG}"),
    ]
    row = found.pairs[0]
    assert (row["document_id"], row["url"]) == ("jats:10.1/bees.1", "https://doi.org/10.1/bees.1")
    assert (row["license"], row["query_lang"]) == ("CC-BY-4.0", "eng_Latn")
    (document,) = found.documents
    spans = {part["path"]: document["text"][part["start"] : part["end"]] for part in document["sections"]}
    assert spans == {
        "Abstract": "Abstract\nAims\nTo count.",
        "": f"First words. {LONG}",
        "Methods": f"Methods\n{LONG}\nTwice.",
        "Methods > Where & when": f"Where & when\nIn June. {LONG}",
        "Short": "Short\nToo short.",
    }
    assert (document["document_id"], document["title"], found.records) == ("jats:10.1/bees.1", "On bees", 1)


@pytest.mark.parametrize(
    ("paragraph", "text"),
    [
        (f"Known [{REFERENCE.format(1)}, {REFERENCE.format(2)}–{REFERENCE.format(4)}].", "Known."),
        (f"Known {REFERENCE.format('[1]')},{REFERENCE.format('[2]')}. Yes", "Known. Yes"),
        (f"Known<sup>{REFERENCE.format('1a')}</sup>, too", "Known, too"),
        (f"As {REFERENCE.format('Lee (1999)')} says", "As Lee (1999) says"),
        ('See <xref ref-type="fig">Figure 1</xref> (<italic>left</italic>)', "See Figure 1 (left)"),
        ("The sum <inline-formula><mml:math><mml:mi>x</mml:mi></mml:math></inline-formula> grows", "The sum grows"),
        ("So:<disp-formula>E=mc</disp-formula> <fig><caption><p>A bee</p></caption></fig>yes", "So: yes"),
        ("H<sub>2</sub>O<!-- hidden --><?target x?>, &eacute;&alpha;&#x3b2;", "H2O, éαβ"),
        ("<list><list-item><label>1</label><p>one</p></list-item><list-item><p>two</p></list-item></list>", "one\ntwo"),
        ("spread\n   over\tlines", "spread over lines"),
    ],
)
def test_a_paragraph_gives_its_words(paragraph: str, text: str) -> None:
    assert only(article(body=f"<p>{paragraph}</p>")).sections[0].text == text


def test_sections_without_heading_belong_to_the_one_around_them() -> None:
    body = "<sec><title/><p>One.</p></sec><sec><title>A</title><p>Two.</p><sec><p>Three.</p></sec></sec>"
    found = [(section.path, section.text) for section in only(article(body=body)).sections]
    assert found == [((), "One."), (("A",), "Two.\nThree.")]


def test_a_short_summary_stands_in_for_an_abstract_that_lacks() -> None:
    toc = '<abstract abstract-type="toc"><p>In short.</p></abstract>'
    graphic = '<abstract abstract-type="graphical"><p>A picture.</p></abstract>'
    assert [part.text for part in only(article(toc + graphic)).abstracts] == ["In short."]
    assert [part.text for part in only(article(toc + "<abstract><p>At length.</p></abstract>")).abstracts] == [
        "At length."
    ]
    assert only(article(graphic)).abstracts == []


def test_translated_abstracts_have_their_titles_and_languages(tmp_path: Path) -> None:
    text = (
        '<article xml:lang="pt"><front><article-meta><title-group><article-title>Abelhas<xref ref-type="fn">*</xref>'
        '</article-title><trans-title-group xml:lang="en"><trans-title>Bees</trans-title></trans-title-group></title-group>'
        '<abstract><p>Contamos.</p></abstract><trans-abstract xml:lang="en"><p>We count.</p></trans-abstract>'
        '<trans-abstract xml:lang="fr"><p>Sans titre.</p></trans-abstract></article-meta></front></article>'
    )
    found = Everything("jats", write(tmp_path / "a.xml", text))
    assert [(row["query"], row["positive"], row["query_lang"]) for row in found.pairs] == [
        ("Abelhas", "Contamos.", "por_Latn"),
        ("Bees", "We count.", "eng_Latn"),
    ]
    assert found.pairs[0]["document_id"] == "a.xml:a.xml:0"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "invalid_xml"),
        (b"<article><front>", "invalid_xml"),
        (b"<article><front/></article>", "missing_title"),
        (b"<html><body/></html>", "no_article"),
        (b"\xff\xf0", "invalid_utf8"),
        (b'<?xml version="1.0" encoding="rot13"?><article/>', "unknown_encoding"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><article>&b;</article>', "entity_declaration"),
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><article>&b;</article>', "entity_declaration"),
        (b"<article>&nosuch;</article>", "invalid_xml"),
    ],
)
def test_what_is_no_article_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadRecord) as raised:
        parse_articles(data)
    assert raised.value.reason == reason


def test_deeply_nested_elements_are_refused() -> None:
    for name in ("italic", "sec"):
        opened = f"<{name}><title>t</title>" if name == "sec" else f"<{name}>"
        with pytest.raises(BadRecord) as raised:
            parse_articles(article(body=f"<p>{opened * 200}x{f'</{name}>' * 200}</p>").encode())
        assert raised.value.reason == "nested_too_deeply"
    deep = "".join(f"<sec><title>{number}</title>" for number in range(200)) + "<p>x</p>" + "</sec>" * 200
    with pytest.raises(BadRecord):
        parse_articles(article(body=deep).encode())
    with pytest.raises(BadRecord):
        parse_articles(("<x>" * 100_000 + "</x>" * 100_000).encode())


@pytest.mark.parametrize("piece", [" (", "[ ", '<xref ref-type="bibr">1</xref> ', "\u2029 ", "( , "])
def test_hostile_paragraphs_take_linear_time(piece: str) -> None:
    start = time.perf_counter()
    parse_articles(
        article(body=f"<p>{piece * 100_000}</p><p><xref ref-type='bibr'>{' ' * 200_000}X</xref></p>").encode()
    )
    assert time.perf_counter() - start < 5  # a quadratic expression would take minutes


def test_other_encodings_are_read() -> None:
    text = article(title="Über Bienen").replace("UTF-8", "ISO-8859-1")
    assert parse_articles(text.encode("latin-1"))[0].title == "Über Bienen"


def test_files_of_a_folder_are_one_input_and_bad_ones_are_quarantined_by_name(tmp_path: Path) -> None:
    good = article("<abstract><p>We count.</p></abstract>")
    names = {"a.xml": good, "b.xml": "<article>", "c.xml": good.replace("On bees", "On wasps"), "d.xml": "x" * 5000}
    paths = [write(tmp_path / name, text) for name, text in names.items()]
    source = load_source("jats")
    settings = source.Settings(max_record_bytes=4000)
    (file,) = source.gather([str(path) for path in paths], settings)
    steps = [step for split in source.input_splits(file, settings, 1) for step in source.read(split, settings)]
    rows = [row for step in steps for row in step.pairs.to_pylist()]
    assert [row["query"] for row in rows] == ["On bees", "On wasps"]
    assert len({row["document_id"] for row in rows}) == 2
    bad = [row for step in steps for row in step.quarantine.to_pylist()]
    assert sorted((Path(row["file"]).name, row["reason"]) for row in bad) == [
        ("b.xml", "invalid_xml"),
        ("d.xml", "file_too_long"),
    ]
    assert sum(step.records for step in steps) == 4


def test_several_articles_in_one_file_each_count() -> None:
    one = article().split(">", 2)[2]
    assert [found.title for found in parse_articles(f"<set>{one}{one}</set>".encode())] == ["On bees"] * 2


def test_files_without_articles_are_refused(tmp_path: Path) -> None:
    source = load_source("jats")
    settings = source.Settings()
    paths = [str(write(tmp_path / f"{number}.xml", "<note/>")) for number in range(3)]
    (file,) = source.gather(paths, settings)
    with pytest.raises(SourceError, match="hold a JATS <article>"):
        list(source.read(source.input_splits(file, settings, 1)[0], settings))


def test_an_article_is_read_in_the_encoding_that_it_declares(tmp_path: Path) -> None:
    meta = "<abstract><p>" + "本文研究水车与磨坊的历史。" * 20 + "</p></abstract>"
    for encoding in ("gb2312", "utf-16"):
        text = article(meta, title="磨坊").replace("UTF-8", encoding)
        found = Everything("jats", write(tmp_path / f"{encoding}.xml", text.encode(encoding)))
        assert found.sides == [("磨坊", "本文研究水车与磨坊的历史。" * 20)]


def test_an_article_that_would_fill_memory_is_quarantined(tmp_path: Path) -> None:
    sections = f"<sec><title>A</title><p>{LONG}</p></sec>" * 500
    write(tmp_path / "a.xml", article(body=sections, title="title " * 2000))
    write(tmp_path / "b.xml", article(body="<p/>" * 1_000_001))
    write(tmp_path / "c.xml", article(body=sections))
    found = Everything("jats", sorted(tmp_path.iterdir()))
    assert [(row["file"][-5:], row["reason"]) for row in found.quarantine] == [
        ("a.xml", "too_many_pairs"),
        ("b.xml", "too_many_tags"),
    ]
    assert (len(found.pairs), found.records) == (500, 3)


def test_progress_goes_on_with_the_files_read_together(tmp_path: Path) -> None:
    body = f"<sec><title>A</title><p>{LONG}</p></sec>" * 3000
    paths = [write(tmp_path / f"{number}.xml", article(body=body)) for number in range(4)]
    source = load_source("jats")
    (file,) = source.gather([str(path) for path in paths], source.Settings())
    (split,) = source.input_splits(file, source.Settings(), 1)
    positions = [step.position for step in source.read(split, source.Settings())]
    assert positions == sorted(positions)
    assert len(set(positions)) == 5
    assert positions[-1] == split.size == paths[0].stat().st_size
