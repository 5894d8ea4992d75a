"""Articles in JATS (and NLM) XML: title, abstracts, the text of the sections, without formulae, figures and tables.

No entity that a file declares is expanded (such a file is refused), no DTD is loaded; namespaces do not count.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from html.entities import html5
from typing import Final
from xml.etree import ElementTree as ET

from sources.files.encodings import HEAD, xml_encoding
from sources.records import BadRecord

DEEPEST: Final = 100  # elements inside of each other
MOST_TAGS: Final = 1_000_000


@dataclass(frozen=True)
class Abstract:
    """A title with its abstract; those that are translations name their language."""

    title: str
    text: str
    language: str | None


@dataclass(frozen=True)
class Section:
    """A section's own paragraphs, one a line, without those of sections inside of it; headings from the outermost."""

    path: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Article:
    """One article. The texts before the first heading of the body are a section without path."""

    title: str
    ids: dict[str, str]  # by pub-id-type: doi, pmc, pmid ...
    language: str | None
    license: str | None  # as SPDX writes it, where it is one of Creative Commons
    abstracts: list[Abstract]  # the article's own first; empty where it has none
    sections: list[Section]


def parse_articles(data: bytes) -> list[Article]:
    """The articles of a file: one, or those inside of a set.

    `data` are the bytes as they are stored: the file says what they are encoded in.
    Raises BadRecord where it is no XML, declares entities, is nested too deeply, or has no <article> with a title.
    """
    root = _parse(_decoded(data))
    found = [root] if _name(root) == "article" else [element for element in root.iter() if _name(element) == "article"]
    if not found:
        raise BadRecord("no_article", f"the outermost element is <{_name(root)[:100]}>, expected <article>")
    return [_article(element) for element in found]


def _decoded(data: bytes) -> str:
    try:
        name = xml_encoding(data[:HEAD])
    except LookupError as error:
        raise BadRecord("unknown_encoding", str(error.args[0])) from error
    try:
        return data.decode(name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BadRecord("invalid_utf8" if name == "utf-8" else "invalid_text", str(error)) from error


def _parse(text: str) -> ET.Element:
    if "<!ENTITY" in text:
        raise BadRecord("entity_declaration", "the file declares entities of its own, which are never expanded")
    if text.count("<") > MOST_TAGS:  # each element takes some hundred bytes of memory
        raise BadRecord("too_many_tags", f"more than {MOST_TAGS:,}")
    parser = ET.XMLParser()  # noqa: S314  # without declarations there is nothing to expand, and no DTD is loaded
    parser.entity.update(_characters())
    try:
        parser.feed(text)
        root = parser.close()
    except ET.ParseError as error:
        raise BadRecord("invalid_xml", str(error)) from error
    assert isinstance(root, ET.Element)
    return root


@cache
def _characters() -> dict[str, str]:
    """The named characters that the JATS DTD declares; HTML's names are the same ones."""
    return {name[:-1]: text for name, text in html5.items() if name.endswith(";")}


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _child(element: ET.Element | None, *path: str) -> ET.Element | None:
    """The first descendant along the names of children."""
    for name in path:
        element = next((child for child in element if _name(child) == name), None) if element is not None else None
    return element


def _children(element: ET.Element | None, name: str) -> Iterator[ET.Element]:
    return (child for child in element if _name(child) == name) if element is not None else iter(())


def _attribute(element: ET.Element, name: str) -> str | None:
    """An attribute by its name without namespace."""
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)


def _article(element: ET.Element) -> Article:
    meta = _child(element, "front", "article-meta")
    titles = _child(meta, "title-group")
    heading = _child(titles, "article-title")
    title = _line(heading) if heading is not None else ""
    if meta is None or not title:
        raise BadRecord("missing_title", "no <article-title> in front/article-meta/title-group")
    ids = {number.get("pub-id-type", ""): (number.text or "").strip() for number in _children(meta, "article-id")}
    language = _attribute(element, "lang")
    own = next(_abstract_texts(meta), None)
    abstracts = [Abstract(title, own, language)] if own else []
    return Article(
        title=title,
        ids={name: value for name, value in ids.items() if value},
        language=language,
        license=_license(meta),
        abstracts=[*abstracts, *_translations(meta, titles)],
        sections=_sections(_child(element, "body")),
    )


_NO_SUMMARY: Final = frozenset({"graphical", "key-points", "highlights", "web-summary", "object-id"})


def _abstract_texts(meta: ET.Element) -> Iterator[str]:
    """The abstract; where there is none, a shorter form such as the text for the table of contents."""
    found = sorted(_children(meta, "abstract"), key=lambda abstract: abstract.get("abstract-type") is not None)
    for abstract in found:
        if abstract.get("abstract-type") not in _NO_SUMMARY and (text := _abstract_text(abstract)):
            yield text


def _abstract_text(abstract: ET.Element) -> str:
    """All paragraphs of an abstract; the headings inside of it (Background, Methods ...) begin lines of their own."""
    title = _child(abstract, "title")  # "Abstract"
    return _text(abstract, lambda element: element is title)


def _translations(meta: ET.Element, titles: ET.Element | None) -> Iterator[Abstract]:
    title_in = {
        _attribute(group, "lang"): _line(heading)
        for group in _children(titles, "trans-title-group")
        if (heading := _child(group, "trans-title")) is not None
    }
    for abstract in _children(meta, "trans-abstract"):
        language = _attribute(abstract, "lang")
        title, text = title_in.get(language), _abstract_text(abstract)
        if language and title and text:
            yield Abstract(title, text, language)


_CREATIVE_COMMONS: Final = re.compile(
    r"creativecommons\.org/(?:licenses/(by(?:-nc|-nd|-sa){0,2})/(\d\.\d)|publicdomain/(zero)/1\.0)"
)


def _license(meta: ET.Element) -> str | None:
    for license in _children(_child(meta, "permissions"), "license"):
        addresses = [_attribute(element, "href") or "" for element in license.iter()]
        addresses += [element.text or "" for element in license.iter() if _name(element) == "license_ref"]
        for address in addresses:
            if found := _CREATIVE_COMMONS.search(address):
                return "CC0-1.0" if found[3] else f"CC-{found[1].upper()}-{found[2]}"
    return None


_APPARATUS: Final = frozenset(
    {
        "supporting information",
        "supplementary material",
        "supplementary materials",
        "supplementary data",
        "supplementary information",
        "additional files",
        "acknowledgments",
        "acknowledgements",
        "acknowledgment",
        "acknowledgement",
        "competing interests",
        "conflict of interest",
        "conflicts of interest",
        "conflict of interest statement",
        "declaration of interest",
        "author contributions",
        "authors' contributions",
        "authors’ contributions",
        "funding",
        "abbreviations",
        "data availability",
        "data availability statement",
        "ethics statement",
        "disclosure",
        "disclosures",
        "references",
        "pre-publication history",
        "publisher's note",
        "publisher’s note",
    }
)


def _sections(body: ET.Element | None) -> list[Section]:
    """The sections of the body in its order; those about the article, not its subject, are left out."""
    if body is None:
        return []
    found: list[Section] = []
    _add_sections(body, (), found)
    return [section for section in found if section.text]


def _add_sections(element: ET.Element, path: tuple[str, ...], found: list[Section]) -> None:
    if len(path) > DEEPEST:
        raise BadRecord("nested_too_deeply", f"more than {DEEPEST} sections inside of each other")
    place = len(found)
    parts: list[str] = []
    inside: list[tuple[ET.Element, str]] = []
    queue = list(element)[::-1]
    while queue:
        child = queue.pop()
        title = _child(child, "title")
        if _name(child) == "sec":
            heading = _line(title) if title is not None else ""
            if heading:
                inside.append((child, heading))
            else:  # without a heading it belongs to the section around it
                queue += [grandchild for grandchild in child if _name(grandchild) not in ("title", "label")][::-1]
        elif _name(child) not in _HEADS and _name(child) not in _DROPPED:
            parts.append(_text(child))
    found.insert(place, Section(path, "\n".join(part for part in parts if part)))
    for section, heading in inside:
        if heading.casefold() not in _APPARATUS and section.get("sec-type") != "supplementary-material":
            _add_sections(section, (*path, heading), found)


_HEADS: Final = frozenset({"title", "label", "sec-meta"})
_DROPPED: Final = frozenset(
    [
        "disp-formula",
        "disp-formula-group",
        "inline-formula",
        "math",
        "tex-math",
        "fig",
        "fig-group",
        "table-wrap",
        "table-wrap-group",
        "table",
        "graphic",
        "inline-graphic",
        "media",
        "supplementary-material",
        "inline-supplementary-material",
        "chem-struct-wrap",
        "ref-list",
        "fn",
        "fn-group",
        "label",
        "object-id",
        "alternatives",
        "floats-group",
        "processing-meta",
    ]
)
_BLOCKS: Final = frozenset(
    [
        "p",
        "title",
        "list",
        "list-item",
        "def-item",
        "def",
        "disp-quote",
        "boxed-text",
        "sec",
        "speech",
        "verse-group",
        "verse-line",
        "preformat",
        "code",
        "attrib",
    ]
)
_BREAK, _HOLE = "\u2029", "\x01"  # between blocks; where a reference was left out (no XML holds \x01)
_NUMBERS: Final = re.compile(r"[\s\d,;–—\-\[\]()*†‡]*+[a-z]?[\s\])]*+")
_HOLES: Final = re.compile(rf" ?{_HOLE}(?:[ ,;–—-]*+{_HOLE})*+")
_EMPTY_BRACKETS: Final = re.compile(r" ?[\[(][ ,;–—-]*+[\])]")
_SPACE_BEFORE: Final = re.compile(r" ([.,;:)\]])")


def _line(element: ET.Element) -> str:
    """The text of a title, on one line and without any references."""
    return _text(element, lambda child: _name(child) == "xref").replace("\n", " ")


def _text(element: ET.Element, is_left_out: Callable[[ET.Element], bool] | None = None) -> str:
    """The paragraphs of an element, one a line, without numbers of references."""
    parts: list[str] = []
    _add_text(element, parts, is_left_out, 0)
    lines = [" ".join(line.split()) for line in "".join(parts).split(_BREAK)]
    return "\n".join(tidied for line in lines if line and (tidied := _tidied(line)))


def _add_text(
    element: ET.Element, parts: list[str], is_left_out: Callable[[ET.Element], bool] | None, depth: int
) -> None:
    if depth > DEEPEST:
        raise BadRecord("nested_too_deeply", f"more than {DEEPEST} elements inside of each other")
    if element.text:
        parts.append(element.text)
    for child in element:
        name = _name(child)
        if name == "xref" and child.get("ref-type") == "bibr" and _NUMBERS.fullmatch("".join(child.itertext())):
            parts.append(_HOLE)
        elif name not in _DROPPED and not (is_left_out and is_left_out(child)):
            mark = _BREAK if name in _BLOCKS else " " if name == "break" else ""
            parts.append(mark)
            _add_text(child, parts, is_left_out, depth + 1)
            parts.append(mark)
        if child.tail:
            parts.append(child.tail)


def _tidied(line: str) -> str:
    """A line without what the references and formulae left behind: empty brackets, blanks before punctuation."""
    if _HOLE in line:
        line = _HOLES.sub("", line)
    if "(" in line or "[" in line:
        line = _EMPTY_BRACKETS.sub("", line)
    return _SPACE_BEFORE.sub(r"\1", line).strip()
