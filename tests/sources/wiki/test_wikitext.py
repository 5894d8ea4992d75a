"""Wikitext to plain text."""

import re
import time
from html.entities import html5

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.schema import normalise_text
from sources.wiki.wikitext import Stripped, Stripper, sections, unescape_entities


def plain(wikitext: str) -> str:
    return " ".join(section.text for section in sections(wikitext))


def strip(xml: bytes, *namespaces: str) -> Stripped:
    return Stripper(namespaces).strip(xml, np.array([0], np.int64), np.array([len(xml)], np.int64))


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("'''Bold''' and ''slanted''", "Bold and slanted"),
        ("a [[link]], a [[page|label]] and [[a (b)|a]]s", "a link, a label and as"),
        ("see [http://x.org the site] or [http://x.org]", "see the site or"),
        ("see [[http://x.org the site]] at https://x.org/a_(b). Or //x", "see the site at. Or //x"),
        ("a{{cite|x={{y}}|z}}b", "ab"),
        ("fact.<ref>source</ref> Next.<ref name=x /> End<ref name=y>a<!-- b --></ref>.", "fact. Next. End."),
        ("a<!-- hidden -->b", "ab"),
        ("a\n<!-- its own line -->\nb", "a\nb"),
        ("[[File:A.jpg|thumb|A [[cat]] on a [[mat|rug]]]]After", "After"),
        ("[[Datei:A.jpg]]a[[Kategorie:B]]b[[fr:Page]]c [[:Category:D]]", "abc Category:D"),
        (
            "[[CSI: Miami]], [[wikt:word|word]], [[Star Trek: Picard|Picard]], [[#History]]",
            "CSI: Miami, word, Picard, History",
        ),
        ("x\n{| class=wikitable\n|-\n| a || {{b}}\n|}\ny", "x\ny"),
        ("x\n:{|\n| a\n{|\n| inner\n|}\n| b\n|}\ny", "x\ny"),
        ("{{clear}}{|\n| a\nb\n|}\ny", "y"),
        ("a <table><tr><td>b<table>c</table></td></tr></table>d", "a d"),
        ("a {{lang|fr|mot}} b {{nowrap|c d}} {{convert|5|km|mi}}", "a mot b c d 5 km"),
        ("H<sub>2</sub>O&nbsp;&ndash; water", "H2O – water"),
        ("Name ({{IPA|x}}; {{lang-la}}), born", "Name, born"),
        ("Name ( ; born 1900 ) here", "Name (born 1900) here"),
        ("名前（{{読み|x}}、、1900年 - ）は", "名前（1900年 -）は"),
        ("call main() now", "call main() now"),
        ("word&nbsp;, next ''one'' . End", "word, next one. End"),
        ("__NOTOC__text __БЕЗ_ЗМІСТУ__and __init__", "text and __init__"),
        ("unclosed <ref>note stays", "unclosed note stays"),
        ("-{zh-hans:汉字;zh-hant:漢字}-好-{H|zh-cn:甲;zh-tw:乙}-", "汉字好"),
        ("1 < 2 and {x} and a <b", "1 < 2 and {x} and a <b"),
        ("<nowiki>[[not a link]] ''this''</nowiki> {{<nowiki/>x", "[[not a link]] ''this''"),
        ("<math>a<b</math> and <syntaxhighlight lang=c>int a; {{</syntaxhighlight>end", "and end"),
        ("<gallery>\nFile:A.jpg|a\n</gallery>text<br>more<br/>lines", "text\nmore\nlines"),
        ("<ref name=a {{x}} \n|</ref>after", "after"),
        ("{{{parameter}}} here", "here"),
        ("a\n----\nb", "a\nb"),
        ("a\n| row of no table\n! head\n|}\nb", "a\nb"),
        ("&#65;&#x42;&eacute;&nosuch;&amp;&#150;&#0;", "ABé&nosuch;&–\ufffd"),
        ("x" + "\u200b" + "y\u00ad\u200ez\u3000w\u2009v", "x\u200byz w v"),
    ],
)
def test_markup_goes_and_words_stay(wikitext: str, text: str) -> None:
    assert plain(wikitext) == text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{lang|fr|mot}}", "mot"),
        ("{{Lang-la|verbum|links=no}}", "verbum"),
        ("{{nowrap|1=a = b}}", "a = b"),
        ("{{nowrap|{{lang|fr|[[mot|le mot]]}}}}", "le mot"),
        ("{{convert|5|km|mi|0}}", "5 km"),
        ("{{convert|5|to|10|km}}", "5 to 10 km"),
        ("{{formatnum:1900}}", "1900"),
        ("{{circa|1900}}", "c. 1900"),
        ("{{As of|2014|lc=y}}", "as of 2014"),
        ("{{date|1|mai|1900}}", "1 mai 1900"),
        ("{{нп|Назва|слово|en|Word}}", "слово"),
        ("{{Не перекладено|Назва||en|Word}}", "Назва"),
        ("{{snd}}", "–"),
        ("{{Infobox|lang|fr|mot}}", ""),
        ("{{lang|fr}}", ""),
    ],
)
def test_known_templates_leave_their_words(template: str, words: str) -> None:
    assert plain(f"before {template} after").removeprefix("before ").removesuffix("after").strip() == words


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("lead {{template goes\nnext line", "lead\nnext line"),
        ("{{Infobox\n| a = b\n| c = d\nprose\n== H ==\nmore}}", "prose more"),
        ("{{open\n== H ==\ntext }} here\n{{x}}", "text here"),
        ("unclosed [[link stays", "unclosed link stays"),
        ("unclosed [[target|label\nand\n\nnext ]] line", "unclosed label\nand\nnext line"),
        ("a [[File:x.jpg|thumb|caption\n\nprose", "a\nprose"),
        ("a [[File:x.jpg\nprose", "a\nprose"),
        ("{|\n| cell\nprose", "prose"),
        ("a <!-- never closed\nprose", "a\nprose"),
        ("a<ref>note\n== H ==\nprose</ref> more", "anote prose more"),
        ("see [http://x.org the site\nprose", "see the site\nprose"),
        ("a }} b ]] c |} d", "a b c |} d"),
        ("'''bold never ends\nprose", "bold never ends\nprose"),
    ],
)
def test_what_never_closes_eats_no_more_than_its_paragraph_and_leaves_no_mark(wikitext: str, text: str) -> None:
    assert plain(wikitext) == text


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("l'''Iliade'' e dell'''Odissea''", "lIliade e dellOdissea"),  # two bold marks: MediaWiki finds no apostrophe
        ("dell'''Iliade'' di Omero", "dell'Iliade di Omero"),
        ("la '''b''' e l'''opera''", "la b e l'opera"),
        ("l'''a''' '''b'''''c''", "la bc"),
        ("''''four''''", "'four'"),
        ("it's the boys' own", "it's the boys' own"),
    ],
)
def test_apostrophes_before_italics_stay_by_mediawikis_rule(wikitext: str, text: str) -> None:
    assert plain(wikitext) == text


def test_names_of_files_and_categories_are_those_of_the_wiki() -> None:
    xml = b"a[[Rajtas:x.jpg|b]] [[RAJTAS: y]] [[Rajtasok:c]]d"
    assert strip(xml, "Rajtas").text.decode() == "a Rajtasok:cd"
    assert "Rajtas:" not in strip("[[файл:x]][[ФАЙЛ:y]][[Файл:z]][[ Файл : w]]".encode()).text.decode()


def test_only_templates_that_mark_a_disambiguation_page_mark_it() -> None:
    for template in (
        "{{disambig}}",
        "{{Disambiguation|geo}}",
        "{{Begriffsklärung}}",
        "{{曖昧さ回避}}",
        "{{Багатозначність}}",
    ):
        assert strip(f"A {template}".encode()).disambiguation.tolist() == [True], template
    for template in ("{{Nota disambigua|x}}", "{{disambiguation needed}}", "disambig", "[[disambig]]"):
        assert strip(f"A {template}".encode()).disambiguation.tolist() == [False], template


@pytest.mark.parametrize("number", ["&#" + "9" * 5000 + ";", "&#x" + "F" * 5000 + ";", "&#99999999;"])
def test_a_number_beyond_all_characters_is_the_replacement_character(number: str) -> None:
    assert unescape_entities(f"a{number}b &amp; &#65;") == "a\ufffdb & A"
    (section,) = sections(f"word {number} &#x41;")
    assert section.text == "word \ufffd A"


def test_every_named_entity_is_its_character() -> None:
    names = sorted(name for name in html5 if name.endswith(";"))
    expected = normalise_text(pa.array([f"x{html5[name]}y" for name in names])).to_pylist()
    found = normalise_text(pa.array([plain(f"x&{name}y") for name in names])).to_pylist()
    assert [name for name, a, b in zip(names, found, expected, strict=True) if a != b] == []


@pytest.mark.parametrize("wikitext", ["[}}[]][", "[()[a]()]", "'()'a'()'", "[()[''"])
def test_holes_that_close_leave_no_marks_behind(wikitext: str) -> None:
    text = plain(wikitext + " some words")
    assert not any(mark in text for mark in ("[[", "]]", "''"))


def test_sections_know_the_headings_above_them_and_hold_their_own_text_only() -> None:
    page = "lead\n== A ==\na\n=== [[B]] ===\n* b\n* c\n==C==<!-- x -->\n''c''\n==== D {{x}} ====  \nd\n== {{x}} ==\ne"
    assert [(section.path, section.text, section.list_share) for section in sections(page)] == [
        ((), "lead", 0.0),
        (("A",), "a", 0.0),
        (("A", "B"), "b\nc", 1.0),
        (("C",), "c", 0.0),
        (("C", "D"), "d", 0.0),
        ((), "e", 0.0),
    ]


@pytest.mark.parametrize(
    ("line", "heading", "text"),
    [
        ("== A ==", "A", "x"),
        ("=A=", "A", "x"),
        ("=== A ==", "A", "x"),
        ("== a = b ==", "a = b", "x"),
        ("== A == and words", "A", "and words\nx"),
        ("== A<br>B ==", "A B", "x"),
        ("======= A =======", "A", "x"),
    ],
)
def test_a_heading_is_found_however_it_is_written(line: str, heading: str, text: str) -> None:
    (section,) = sections(f"{line}\nx")
    assert (section.path, section.text) == ((heading,), text)


@pytest.mark.parametrize("line", ["==", "====", "a == b ==", " == b"])
def test_other_lines_with_equals_signs_are_no_headings(line: str) -> None:
    assert [section.path for section in sections(f"{line}\nwords")] == [()]


def test_a_heading_is_cut_at_500_bytes_between_characters() -> None:
    (section,) = sections(f"== {'ж' * 5000} ==\nx")
    assert section.path == ("ж" * 249,)


def test_the_share_of_lists_is_by_characters() -> None:
    (section,) = sections("prose of 20 letters.\n* item\n# item\n: item\n; item\n|-\n")
    assert (section.characters, section.list_share) == (20 + 4 * 4, 16 / 36)


def test_sections_left_out_take_those_inside_them_along() -> None:
    stripped = strip(b"a\n== B ==\nb\n=== C ===\nc\n== D ==\nd\n=== B ===\ne\n=== E ===\nf")
    ((number, found),) = stripped.pages({"b"})
    assert (number, [section.path for section in found]) == (0, [(), ("D",), ("D", "E")])


def test_pages_of_a_block_do_not_see_each_other() -> None:
    texts = ["{{open", "}} a [[b", "c]] == d", "<ref>e", "f</ref> g", "", "<!-- h", "--&gt; i"]
    xml = "".join(texts).replace("<", "&lt;").encode()
    ends = np.cumsum([len(text.replace("<", "&lt;")) for text in texts])
    stripped = Stripper().strip(xml, np.array([0, *ends[:-1]], np.int64), ends.astype(np.int64))
    found = {number: [section.text for section in part] for number, part in stripped.pages()}
    assert found == {n: [s.text for s in sections(text.replace("&gt;", ">"))] for n, text in enumerate(texts)}


def without_templates(text: str) -> str:
    """The law of templates on one line, by regular expressions: the innermost go until none is left, then the rest."""
    while (shorter := re.sub(r"\{\{[^{}]*\}\}", "", text)) != text:
        text = shorter
    return text.partition("{{")[0].replace("}}", "")


@settings(deadline=None, max_examples=300)  # the first call compiles
@given(st.lists(st.sampled_from(["{{", "}}", "a", "b|", "word"]), max_size=40))
def test_templates_go_as_far_as_they_balance(pieces: list[str]) -> None:
    text = "x" + "".join(pieces)
    assert plain(text) == re.sub(r"\|+", "|", without_templates(text))


def wikitext_and_words() -> st.SearchStrategy[tuple[str, str]]:
    """Well-formed markup, and the words that it shows."""
    words = st.text("abcжя漢", min_size=1, max_size=5).map(lambda text: (text, text))

    def joined(parts: list[tuple[str, str]]) -> tuple[str, str]:
        return "".join(part[0] for part in parts), "".join(part[1] for part in parts)

    def wrap(inner: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[tuple[str, str]]:
        return st.one_of(
            inner.map(lambda part: (f"{{{{note|{part[0]}}}}}", "")),
            inner.map(lambda part: (f"{{{{nowrap|{part[0]}}}}}", part[1])),
            inner.map(lambda part: (f"<b class='x'>{part[0]}</b>", part[1])),
            inner.map(lambda part: (f"<math>{part[0]}</math>", "")),
            inner.map(lambda part: (f"[[File:x|{part[0]}]]", "")),
            st.tuples(words, words).map(lambda two: (f"[[{two[0][0]}|{two[1][0]}]]", two[1][1])),
            words.map(lambda part: (f"<!--{part[0]}-->", "")),
            words.map(lambda part: (f"<nowiki>{part[0]}</nowiki>", part[1])),
            st.lists(inner, max_size=3).map(joined),
        )

    return st.lists(st.recursive(words, wrap, max_leaves=12), max_size=5).map(joined)


@settings(deadline=None)
@given(wikitext_and_words())
def test_well_formed_markup_shows_its_words(both: tuple[str, str]) -> None:
    wikitext, words = both
    assert plain(f"start {wikitext}") == f"start {words}".strip()


MARKUP = "{{ }} {| |} [[ ]] [ ] | == ''' <ref> </ref> <!-- --> <nowiki> </nowiki> <math> <br> //x http:// ( ) , a : * -{ }- & ; ' _"


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([*MARKUP.split(), "\n", " ", "é", "、", "（", "）", "\u00a0", "File:", "lang|"]), max_size=40
    )
)
def test_any_markup_however_broken_gives_sections_without_marks(pieces: list[str]) -> None:
    markup = "".join(piece for piece in pieces if "nowiki" not in piece)
    for section in sections(markup):
        for text in (section.text, *section.path):
            assert not re.search(r"\[\[|\]\]|\{\{|\}\}|''|\|\||<ref|[\x00-\x09\x0b-\x1f]", text)
    for section in sections("".join(pieces)):
        assert section.characters == len(section.text.replace("\n", ""))
        lines = section.text.split("\n")
        assert normalise_text(pa.array(lines)).to_pylist() == lines


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 50), st.text(max_size=60))
def test_any_bytes_give_text_and_any_text_gives_utf8(data: bytes, skip: int, text: str) -> None:
    strip(data)
    begin = min(skip, len(data))
    Stripper().strip(data, np.array([begin], np.int64), np.array([len(data)], np.int64))
    strip(text.encode()).text.decode()
    for section in sections(text):
        assert "\x00" not in section.text


HOSTILE = (
    *[
        "{{",
        "[[",
        "[//",
        "<ref>",
        "<a",
        "<!--",
        "<!---->",
        "{{lang|",
        "==",
        "(",
        ",",
        "'",
        "[[a|",
        "-{",
        "{{cvt|1",
        "&",
        "http://",
        "|",
        "]]",
        "}}",
        "|}",
        "{{a}}",
        "[[File:a|",
        "<math>",
        "<nowiki>",
    ],
    *[
        "<table>",
        "</ref>",
        "<ref",
        "{{nowrap|a}}",
        "-{a;}-",
        "{{{",
        "}}}",
        "&#",
        "&#1",
        "&a",
        "__",
        "__A",
        "''<br>",
        "'''''",
        "（",
        "）",
        ",)",
        "(,)",
        "{{x}})",
        "[[File:a|[[b]]",
    ],
    *(
        "{|\n",
        "\n{|",
        "\n|}\n{|",
        "{{nowrap ",
        " ",
        "\n",
        "\n\n",
        "}}{{{|\n",
        "( ,",
        "== \n",
        "==\n=",
        "= =\n",
        "=a=\n",
        " ''",
        "\t",
    ),
)


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_repetition_takes_linear_time(piece: str) -> None:
    sections("compiled")
    begin = time.process_time()
    sections(piece * (200_000 // len(piece)) + "x")
    assert time.process_time() - begin < 1


@pytest.mark.parametrize(
    ("opening", "closing"), [("{{", "}}"), ("[[a|", "]]"), ("{{nowrap|", "}}"), ("-{", "}-"), ("<table>", "</table>")]
)
def test_deep_nesting_takes_linear_time(opening: str, closing: str) -> None:
    sections("compiled")
    begin = time.process_time()
    sections(opening * 100_000 + "words " * 10_000 + closing * 100_000)
    assert time.process_time() - begin < 1
