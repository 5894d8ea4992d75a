"""A document's text cut into blocks: what an author set apart as a paragraph, a heading, an item, a row of a table.

Three kinds of text are told apart by their lines:

    wrapped   lines were broken at a width: a block is the lines between two blank ones (plain text, Markdown, manuals)
    lines     each line is a paragraph (what is left of wiki pages and of most extractors)
    folded    no lines: the whole is one block, and sentences are all there is to cut at

Positions are characters of the text.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

WIDEST_WRAPPED: Final = 110  # columns: texts are wrapped at 65 to 100
_MOST_WIDER: Final = 20  # one line in so many may be wider: an address, a row of a table
_SHORT_HEADING: Final = 100  # columns
_WIDEST_ROW: Final = 1_000  # characters; rows are shorter
_DEEP: Final = 4  # columns beyond the text's own indent: code, or what belongs to a list item

_LINE: Final = re.compile(r"[^\n]*\n?")
_WIDE: Final = re.compile(r"[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60]")
_ENDS_A_SENTENCE: Final = re.compile(r"[.!?…。！？｡।॥۔؟။።।:：;；,，、][\"'”’»«」』）)\]]*\Z")
_ASKS: Final = re.compile(r"[?？؟]\W*\Z")
_ATX_HEADING: Final = re.compile(r"#{1,6}\s")
_UNDERLINE: Final = re.compile(r"[=\-~^\"'`#*+.:_]{3,}\Z")
_FENCE: Final = re.compile(r"(```|~~~|<pre\b|</pre>|----+BEGIN)")
_ITEM: Final = re.compile(
    r"(?:[*•‣◦▪●○·∙–—+\-]\s"  # bullets
    r"|[(（]?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)）]\s"  # 1. a) (iv)
    r"|\d{1,3}(?:\.\d{1,3})+\.?\s"  # 1.2.3
    r"|[(（]?[一二三四五六七八九十]{1,3}[、.)）]"
    r"|[①-⑳㉠-㉭]"
    r"|:\s{2,})"  # Markdown's definitions
)
_NUMBERED_SENTENCE: Final = re.compile(r"[(（]\d{1,3}[a-z]?[)）]\s")  # the subsections of statutes: (1) ...
_ROW: Final = re.compile(r"[|+].*[|+]\Z|.*\s\|\s.*\s\|\s|.*\t.*\t|\S.*\S {3,}\S.* {3,}\S|[+|=\-]{4,}\Z|\{\||\|[-}]")
_FRONT_MATTER: Final = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


class Block(NamedTuple):
    """A part of the text, without the white space around it."""

    start: int
    end: int
    kind: str  # prose, heading, list, table, code


class _Line(NamedTuple):
    start: int
    end: int  # without the end of the line and white space before it
    indent: int  # columns
    text: str


def text_blocks(text: str, sections: Sequence[Mapping[str, Any]] | None = None) -> list[Block]:
    """The blocks of a text in its order; `sections` as DOCUMENT has them: a section's first line is its heading.

    What is prose by its layout need not be any by its words: see synth.prose.
    """
    lines = _lines(text)
    titles = _section_titles(text, sections)
    if _is_wrapped(lines):
        return _wrapped_blocks(lines, titles)
    return [Block(line.start, line.end, _kind_of_line(line, titles)) for line in lines if line.text]


def is_folded(text: str) -> bool:
    """Whether a text has no lines to go by."""
    return "\n" not in text.strip()


def _lines(text: str) -> list[_Line]:
    """All lines, blank ones with an empty text; front matter is left out."""
    lines = []
    front = _FRONT_MATTER.match(text)
    for found in _LINE.finditer(text, front.end() if front else 0):
        raw = found[0]
        bare = raw.strip()
        begin = found.start() + len(raw) - len(raw.lstrip())
        indent = len(raw[: begin - found.start()].expandtabs(8)) if bare else 0
        lines.append(_Line(begin, begin + len(bare), indent, bare))
    return lines


def _section_titles(text: str, sections: Sequence[Mapping[str, Any]] | None) -> dict[int, int]:
    """Where headings of sections start and end."""
    found = {}
    for section in sections or ():
        heading = (section["path"] or "").rsplit(" > ", 1)[-1]
        start = section["start"]
        if heading and text.startswith(heading, start):
            found[start] = start + len(heading)
    return found


def columns(text: str) -> int:
    """Columns of a line on a terminal: Chinese, Japanese and Korean characters take two."""
    return len(text) + (0 if text.isascii() else len(_WIDE.findall(text)))


def _is_wrapped(lines: list[_Line]) -> bool:
    """Whether the lines that others follow are all of a width, and end where the width does, not where a sentence ends."""
    inner = [line.text for line, after in pairwise(lines) if line.text and after.text]
    widths = sorted(columns(line.text) for line in lines if line.text)
    if not inner or sum(width > WIDEST_WRAPPED for width in widths) > 1 + len(widths) / _MOST_WIDER:
        return False
    long = [text for text in inner if columns(text) > 0.6 * widths[len(widths) * 9 // 10]]
    return sum(not _ENDS_A_SENTENCE.search(text) for text in long) > len(long) / 3


def _wrapped_blocks(lines: list[_Line], titles: Mapping[int, int]) -> list[Block]:
    own_indent = _own_indent(lines)
    blocks: list[Block] = []
    gathered: list[_Line] = []
    fenced = False
    for line in [*lines, _Line(0, 0, 0, "")]:
        if _FENCE.match(line.text):
            fenced = not fenced or line.text.startswith("</pre")
        starts_anew = not line.text or _starts_a_block(line, titles)
        if gathered and starts_anew:
            blocks.append(_block(gathered, own_indent, titles))
            gathered = []
        if fenced and line.text:
            blocks.append(Block(line.start, line.end, "code"))
            continue
        if line.text:
            gathered.append(line)
    return blocks


def _own_indent(lines: list[_Line]) -> int:
    """The indent of most of the text."""
    weights: Counter[int] = Counter()
    for line in lines:
        weights[line.indent] += len(line.text)
    return weights.most_common(1)[0][0] if weights else 0


def _starts_a_block(line: _Line, titles: Mapping[int, int]) -> bool:
    return (
        line.start in titles
        or bool(_ITEM.match(line.text + " "))
        or bool(_ATX_HEADING.match(line.text))
        or _is_row(line)
    )


def _block(lines: list[_Line], own_indent: int, titles: Mapping[int, int]) -> Block:
    first, last = lines[0], lines[-1]
    return Block(first.start, last.end, _kind_of_wrapped(lines, own_indent, titles))


def _kind_of_wrapped(lines: list[_Line], own_indent: int, titles: Mapping[int, int]) -> str:
    first = lines[0]
    underlined = len(lines) == 2 and _UNDERLINE.match(lines[1].text)
    if underlined or first.start in titles or _ATX_HEADING.match(first.text):
        return "heading"
    if 2 * sum(map(_is_row, lines)) >= len(lines):
        return "table"
    if _is_item(first.text) or lines[-1].text.startswith(":   "):
        return "list"
    if first.indent >= own_indent + _DEEP:
        return "code"
    return "heading" if len(lines) == 1 and _is_heading(first.text) else "prose"


def _kind_of_line(line: _Line, titles: Mapping[int, int]) -> str:
    if line.start in titles or _ATX_HEADING.match(line.text):
        return "heading"
    if _is_row(line):
        return "table"
    if _is_item(line.text):
        return "list"
    return "heading" if _is_heading(line.text) else "prose"


def _is_row(line: _Line) -> bool:
    return len(line.text) <= _WIDEST_ROW and bool(_ROW.match(line.text))


def _is_item(text: str) -> bool:
    return bool(_ITEM.match(text + " ")) and not _NUMBERED_SENTENCE.match(text)


def _is_heading(text: str) -> bool:
    """A short line that is no sentence, or a question: headings of answers are."""
    return columns(text) <= _SHORT_HEADING and (not _ENDS_A_SENTENCE.search(text) or bool(_ASKS.search(text)))
