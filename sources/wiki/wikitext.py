"""Wikitext to plain text: templates, tables, references, files and markup go; words, paragraphs and lists stay.

Three loops over the bytes of many pages at once, each compiled and linear in time whatever the markup:

    wikitext_tags      the dump's escapes, comments, tags and what lies in <ref>, <math> and the like
    wikitext_brackets  templates, tables, links, addresses
    wikitext_lines     headings, list items, quotes, entities, white space

Templates are not expanded; those that only wrap or measure words of the sentence give them back (wikitext_names).
"""

import html
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_NO_CHARACTER: Final = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{7,});?")


class Section(NamedTuple):
    """A section's own text, without that of the sections inside it; the lead has no path."""

    path: tuple[str, ...]
    text: str  # paragraphs and list items, one a line
    characters: int  # of the lines, the newlines between them not counted
    list_share: float  # share of the characters that lie in list items


@dataclass(frozen=True)
class Stripped:
    """The plain text of some pages: their sections one after the other, each its heading and then its text."""

    text: bytes  # UTF-8
    sections: NDArray[np.int64]  # [sections, wikitext_lines.COLUMNS]
    disambiguation: NDArray[np.bool_]  # [pages]: whether a template says that the page is one

    def pages(self, without: Collection[str] = ()) -> Iterator[tuple[int, list[Section]]]:
        """The number of each page and its sections that hold text, the lead first.

        Sections under a heading in `without` (case folded) are left out, and those inside them.
        """
        found: list[Section] = []
        path: list[str] = []
        levels: list[int] = []
        shut = 0  # level of the heading that is left out; 0: none
        last = 0
        for page, level, heading, begin, end, characters, listed in self.sections.tolist():
            if level == 0:
                if page:
                    yield last, found
                found, path, levels, shut, last = [], [], [], 0, page
            else:
                while levels and levels[-1] >= level:
                    levels.pop()
                    path.pop()
                title = self.text[heading:begin].decode()
                levels.append(level)
                path.append(title)
                if not shut or level <= shut:
                    shut = level if title.casefold() in without else 0
            if characters and not shut:
                text = self.text[begin:end].decode()
                found.append(Section(tuple(filter(None, path)), text, characters, listed / characters))
        if len(self.sections):
            yield last, found


class Stripper:
    """Strips the pages of one wiki, whose names for files and categories are `namespaces`, beside those known."""

    def __init__(self, namespaces: Iterable[str] = ()) -> None:
        self._namespaces = tuple(namespaces)

    @cached_property
    def _tables(self) -> Any:
        from sources.wiki.wikitext_bytes import make_table
        from sources.wiki.wikitext_names import KNOWN_NAMESPACES, TAGS, TEMPLATES, namespace_names

        namespaces = namespace_names([*KNOWN_NAMESPACES, *self._namespaces])
        return make_table(TAGS), make_table(TEMPLATES), make_table(namespaces)

    def strip(self, xml: bytes, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> Stripped:
        """The pages whose wikitext, escaped as XML, is xml[begins:ends] (int64 [pages] each).

        Bytes that are not UTF-8 give bytes that are not; nothing outside the pages is read.
        """
        from sources.wiki import wikitext_lines
        from sources.wiki.wikitext_brackets import resolve_brackets
        from sources.wiki.wikitext_lines import ENTITIES, write_lines
        from sources.wiki.wikitext_tags import strip_tags

        tags, templates, namespaces = self._tables
        data = np.frombuffer(xml, np.uint8)
        size = int((ends - begins).sum()) + 16
        bounds, later_bounds = np.empty(len(begins) + 1, np.int64), np.empty(len(begins) + 1, np.int64)
        without_tags, without_brackets = np.empty(size, np.uint8), np.empty(size, np.uint8)
        strip_tags(data, begins, ends, tags, int(tags.numbers.max()) + 1, without_tags, bounds)
        disambiguation = np.zeros(len(begins), np.bool_)
        resolve_brackets(without_tags, bounds, templates, namespaces, without_brackets, later_bounds, disambiguation)
        written = without_brackets[: later_bounds[-1]]
        rows = int(np.count_nonzero((written[:-1] == ord("\n")) & (written[1:] == ord("=")))) + 2 * len(begins)
        sections = np.empty((rows, wikitext_lines.COLUMNS), np.int64)
        out = np.empty(2 * len(written) + 16, np.uint8)
        count = write_lines(without_brackets, later_bounds, ENTITIES, out, sections)
        sections = sections[:count]
        end = int(sections[-1, wikitext_lines.END]) if count else 0
        return Stripped(out[:end].tobytes(), sections, disambiguation)


def sections(wikitext: str) -> list[Section]:
    """The plain text of a page, section by section, the lead first. Any text is accepted, broken markup included."""
    xml = html.escape(wikitext, quote=False).encode("utf-8", "replace")
    stripped = _STRIPPER.strip(xml, np.array([0], np.int64), np.array([len(xml)], np.int64))
    return [section for _, found in stripped.pages() for section in found]


_STRIPPER: Final = Stripper()


def unescape_entities(text: str) -> str:
    """HTML's named and numbered characters; a number beyond all characters is U+FFFD, however long it is."""
    return html.unescape(_NO_CHARACTER.sub("\ufffd", text)) if "&" in text else text
