"""Wikitext to plain text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.wikitext import sections, unescape_entities


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("'''Bold''' and ''slanted''", "Bold and slanted"),
        ("a [[link]], a [[page|label]] and [[a (b)|a]]s", "a link, a label and as"),
        ("see [http://x.org the site] or [http://x.org]", "see the site or"),
        ("a{{cite|x={{y}}|z}}b", "ab"),
        ("fact.<ref>source</ref> Next.<ref name=x /> End<ref name=y>a<!-- b --></ref>.", "fact. Next. End."),
        ("a<!-- hidden -->b", "ab"),
        ("[[File:A.jpg|thumb|A [[cat]] on a [[mat|rug]]]]After", "After"),
        ("[[Datei:A.jpg]]a[[Kategorie:B]]b[[fr:Page]]c [[:Category:D]]", "abc Category:D"),
        ("x\n{| class=wikitable\n|-\n| a || {{b}}\n|}\ny", "x\ny"),
        ("a {{lang|fr|mot}} b {{nowrap|c d}} {{convert|5|km|mi}}", "a mot b c d 5 km"),
        ("H<sub>2</sub>O&nbsp;&ndash; water", "H2O – water"),
        ("Name ({{IPA|x}}; {{lang-la}}), born", "Name, born"),
        ("Name ( ; born 1900 ) here", "Name (born 1900) here"),
        ("__NOTOC__text", "text"),
        ("unclosed {{template stays", "unclosed template stays"),
        ("unclosed [[link stays", "unclosed link stays"),
        ("unclosed <ref>note stays", "unclosed note stays"),
        ("-{zh-hans:汉字;zh-hant:漢字}-好", "汉字好"),
        ("1 < 2 and {x}", "1 < 2 and {x}"),
    ],
)
def test_markup_goes_and_words_stay(wikitext: str, text: str) -> None:
    assert " ".join(section.text for section in sections(wikitext)) == text


@pytest.mark.parametrize("number", ["&#" + "9" * 5000 + ";", "&#x" + "F" * 5000 + ";", "&#99999999;"])
def test_a_number_beyond_all_characters_is_the_replacement_character(number: str) -> None:
    assert unescape_entities(f"a{number}b &amp; &#65;") == "a\ufffdb & A"
    (section,) = sections(f"word {number} &#x41;")
    assert section.text == "word \ufffd A"


@pytest.mark.parametrize("wikitext", ["[}}[]][", "[()[a]()]", "'()'a'()'", "[()[''"])
def test_holes_that_close_leave_no_marks_behind(wikitext: str) -> None:
    text = "".join(section.text for section in sections(wikitext + " some words"))
    assert not any(mark in text for mark in ("[[", "]]", "''"))


def test_sections_know_the_headings_above_them_and_hold_their_own_text_only() -> None:
    page = "lead\n== A ==\na\n=== [[B]] ===\n* b\n* c\n==C==\n''c''\n==== D ====\nd"
    assert [(section.path, section.text, section.list_share) for section in sections(page)] == [
        ((), "lead", 0.0),
        (("A",), "a", 0.0),
        (("A", "B"), "b\nc", 1.0),
        (("C",), "c", 0.0),
        (("C", "D"), "d", 0.0),
    ]


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(
        st.sampled_from(
            [
                "{{",
                "}}",
                "{|",
                "|}",
                "[[",
                "]]",
                "[",
                "]",
                "|",
                "==",
                "'''",
                "<ref>",
                "</ref>",
                "<!--",
                "-->",
                "//x",
                "(",
                "",
                ")",
                ",",
                "a",
                ":",
                "*",
                "\n",
            ]
        ),
        max_size=30,
    )
)
def test_any_markup_however_broken_gives_sections(pieces: list[str]) -> None:
    for section in sections("".join(pieces)):
        assert "[[" not in section.text
        assert "''" not in section.text


@pytest.mark.parametrize(
    "piece",
    [
        "{{",
        "{|\n",
        "\n{|",
        "[[",
        "[//",
        "<ref>",
        "<a",
        "<!--",
        "{{lang|",
        "{{nowrap ",
        "==",
        "(",
        ",",
        " ",
        "\n",
        "'",
        "[[a|",
        "}}{{{|\n",
        "-{",
        "( ,",
        "{{cvt|1",
        "== \n",
        "&",
        "http://",
    ],
)
def test_hostile_repetition_takes_linear_time(piece: str) -> None:
    begin = time.process_time()
    list(sections(piece * (200_000 // len(piece)) + "x"))
    assert time.process_time() - begin < 5
