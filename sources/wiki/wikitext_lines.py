# ruff: noqa: PLR1714, SIM109  (numba compiles `a == b or a == c` to two comparisons, `a in {b, c}` to a set)
"""The last loop over wikitext: lines become headings, paragraphs and list items; small marks and entities are resolved.

A line is a heading where it starts with `==` (or starts and ends with `=`). Table rows that no table holds, rules and
lines without a letter go. Runs of white space become one space, characters that carry no text go (those of
sources.schema.normalise_text), and so do the brackets and commas that dropped templates leave: `Name ( ; ), born`.
"""

from html import unescape
from html.entities import html5
from typing import Any, Final

import numpy as np

from sources.wiki.wikitext_bytes import (
    BREAK,
    HOLE,
    NOTHING,
    OPENED,
    PROTECTED,
    SHIELDED,
    Bytes,
    Places,
    Table,
    compiled,
    hash_exactly,
    look_up,
    make_table,
)

# Columns of a section: its page, the level of its heading (0: the lead), where heading, text and all of it end in the
# output, the text's characters, and how many of them lie in list items.
PAGE, LEVEL, HEADING, TEXT, END, CHARACTERS, LISTED = range(7)
COLUMNS: Final = 7
LONGEST_HEADING: Final = 500  # bytes; the rest of a longer one is not kept

_PLAIN: Final = np.ones(256, np.bool_)
_PLAIN[[*range(33), *b"'&_()[]{}|", 0x7F, 0xC2, 0xE1, 0xE2, 0xE3, 0xEF]] = False
_NO_TEXT: Final = np.zeros(256, np.bool_)
_NO_TEXT[[*b" \t\r", NOTHING, HOLE]] = True
_CLEARED: Final = np.frombuffer(SHIELDED, np.uint8)
_DIGIT: Final = np.full(256, 99, np.uint8)
_DIGIT[[*b"0123456789abcdef"]] = range(16)
_DIGIT[[*b"ABCDEF"]] = range(10, 16)
_ALPHANUMERIC: Final = np.zeros(256, np.bool_)
_ALPHANUMERIC[[*b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"]] = True
_CAPITAL: Final = np.zeros(256, np.bool_)
_CAPITAL[[*b"ABCDEFGHIJKLMNOPQRSTUVWXYZ_", *range(0x80, 256)]] = True
# What a number between 128 and 159 means in HTML: windows-1252.
_LOW: Final = np.array([ord(unescape(f"&#{number};")) for number in range(128, 160)], np.int64)

_NAMED: Final = sorted(name for name in html5 if name.endswith(";"))
ENTITIES: Final = make_table({name[:-1].encode(): row + 1 for row, name in enumerate(_NAMED)})
_VALUES: Final = np.array([[*map(ord, html5[name].ljust(2, "\0"))] for name in _NAMED], np.int64)


@compiled
def write_lines(
    data: Bytes,
    bounds: Places,
    entities: Table,
    out: Bytes,
    sections: Places,
) -> int:
    """Writes the headings and texts of the sections of the texts data[bounds[n]:bounds[n + 1]]; how many sections.

    sections: int64 [one for each text and each line that starts with `=`, COLUMNS]. `out` must hold twice as many bytes
    as the texts (an entity of five letters may stand for two characters of three bytes).
    """
    to = 0
    count = 0
    for row in range(len(bounds) - 1):
        count, to = _write_page(data, bounds[row], bounds[row + 1], entities, out, to, sections, count, row)
    return count


@compiled
def _write_page(
    data: Bytes,
    at: int,
    end: int,
    entities: Table,
    out: Bytes,
    to: int,
    sections: Places,
    count: int,
    page: int,
) -> Any:
    _open_section(sections, count, page, 0, to, to)
    while at <= end:
        line_end = at
        while line_end < end and data[line_end] != 10:
            line_end += 1
        level, begin, heading_end = _heading(data, at, line_end)
        if level:
            sections[count, END] = to
            count += 1
            heading = to
            to = _write_heading(data, begin, heading_end, entities, out, to)
            _open_section(sections, count, page, level, heading, to)
            at = heading_end + level
            while at < line_end and data[at] == 61:
                at += 1
        to = _write_line(data, at, line_end, entities, out, to, sections[count])
        at = line_end + 1
    sections[count, END] = to
    return count + 1, to


@compiled
def _open_section(sections: Places, count: int, page: int, level: int, heading: int, text: int) -> None:
    section = sections[count]
    section[PAGE], section[LEVEL] = page, level
    section[HEADING], section[TEXT] = heading, text
    section[CHARACTERS] = section[LISTED] = 0


@compiled
def _heading(data: Bytes, at: int, end: int) -> Any:
    """The level of the heading that a line is, and the bounds of its words; level 0 where it is none."""
    no_heading = 0, at, at
    if at >= end or data[at] != 61:
        return no_heading
    begin = at
    while begin < end and data[begin] == 61:
        begin += 1
    last = end
    while last > begin and (_NO_TEXT[data[last - 1]]):
        last -= 1
    close = last
    while close > begin and data[close - 1] == 61:
        close -= 1
    if close == last:  # == Heading == and words on the same line
        if begin - at < 2:
            return no_heading
        close = begin
        while close + 1 < last and not (data[close] == 61 and data[close + 1] == 61):
            close += 1
        if close + 1 >= last:
            return no_heading
        last = close + 2
    level = min(begin - at, last - close, 6)
    if close == begin:
        return no_heading
    return level, begin, close


@compiled
def _write_heading(data: Bytes, at: int, end: int, entities: Table, out: Bytes, to: int) -> int:
    begin = to
    end = min(end, at + LONGEST_HEADING)
    while end > at and data[end - 1] != 61 and data[end] & 0xC0 == 0x80:
        end -= 1
    while at < end:
        to, at = _write_words(data, at, end, entities, out, begin, to)
        out[to] = 32
        to += 1
    while to > begin and out[to - 1] == 32:
        to -= 1
    return to


@compiled
def _write_line(
    data: Bytes,
    at: int,
    end: int,
    entities: Table,
    out: Bytes,
    to: int,
    section: Places,
) -> int:
    """Writes a paragraph or list item (its pieces where <br> parts it) and counts its characters; the next byte."""
    listed = at < end and (data[at] == 42 or data[at] == 35 or data[at] == 58 or data[at] == 59)
    while at < end and (data[at] == 42 or data[at] == 35 or data[at] == 58 or data[at] == 59 or data[at] == 61):
        at += 1
    at = _first_word(data, at, end)
    while at < end:
        begin = to
        if to > section[TEXT]:
            out[to] = 10
            to += 1
        first = to
        to, at = _write_words(data, at, end, entities, out, first, to)
        while to > first and out[to - 1] == 32:
            to -= 1
        characters = _count_characters(out, first, to)
        if characters < 4 and not _has_word(out, first, to):
            to = begin
            continue
        section[CHARACTERS] += characters
        if listed:
            section[LISTED] += characters
    return to


@compiled
def _first_word(data: Bytes, at: int, end: int) -> int:
    """The byte where the words of a line start; its end for the row of a table and a rule."""
    while at < end and _NO_TEXT[data[at]]:
        at += 1
    if at == end:
        return at
    byte, following = data[at], data[at + 1] if at + 1 < end else np.uint8(32)
    if byte == 124 or byte == 125 or (byte == 33 and following == 32) or (byte == 123 and following == 124):
        return end
    if byte == 45 and at + 3 < end and following == 45 and data[at + 2] == 45 and data[at + 3] == 45:
        while at < end and data[at] == 45:
            at += 1
    return at


@compiled
def _count_characters(out: Bytes, at: int, end: int) -> int:
    count = 0
    for place in range(at, end):
        count += out[place] & 0xC0 != 0x80
    return count


@compiled
def _has_word(out: Bytes, at: int, end: int) -> bool:
    """Whether there is a letter or digit: in ASCII, or any character beyond but for general and CJK punctuation."""
    for place in range(at, end):
        byte = out[place]
        if _ALPHANUMERIC[byte]:
            return True
        if byte >= 0xC3 and byte != 0xE2 and not (byte == 0xE3 and out[place + 1] == 0x80):
            return True
    return False


@compiled
def _write_words(  # noqa: PLR0912, PLR0915  (one branch for each mark)
    data: Bytes, at: int, end: int, entities: Table, out: Bytes, begin: int, to: int
) -> Any:
    """Writes words up to the end or a <br>: the next byte to write and to read. `begin` is where the line starts."""
    literal = -2  # where the run of quotes with a literal one is; -2: not looked for yet
    hole = -1  # where in the output the last hole is
    while True:
        while at < end and _PLAIN[data[at]]:
            out[to] = data[at]
            to += 1
            at += 1
        if at >= end:
            break
        byte = data[at]
        if byte == 32:
            at += 1
            following = data[at] if at < end else np.uint8(32)
            wanted = to > begin and out[to - 1] != 32
            if wanted and (following > 59 or not _ends_clause(data, at, end)):
                out[to] = byte
                to += 1
        elif byte >= 0xC2:
            if byte == 0xE3 and at + 3 <= end and data[at + 1] != 0x80:
                out[to], out[to + 1], out[to + 2] = byte, data[at + 1], data[at + 2]
                to += 3
                at += 3
            else:
                at, to = _write_character(data, at, end, out, begin, to)
                to = _before_clause_end(data, at, end, out, begin, to)
                if _after_bracket(out, begin, to):
                    at = _after_marks(data, at, end)
        elif byte == 40:
            out[to] = byte
            to += 1
            after = _after_marks(data, at + 1, end)
            if after > at + 1:
                hole = to
            at = after
        elif byte == 41:
            to = _close_bracket(out, begin, to, 1, hole)
            at += 1
            to = _before_clause_end(data, at, end, out, begin, to)
        elif byte == 39:
            if literal == -2 and at + 1 < end and data[at + 1] == 39:
                literal = _literal_quote(data, at, end)
            at, to = _write_quotes(data, at, end, literal, out, begin, to)
            to = _before_clause_end(data, at, end, out, begin, to)
        elif byte == 38:
            at, to = _write_entity(data, at, end, entities, out, begin, to)
            to = _before_clause_end(data, at, end, out, begin, to)
        elif byte == 95:
            after = _after_switch(data, at, end)
            if after == at:
                out[to] = byte
                to += 1
                after += 1
            at = after
        elif byte == 9:
            to = _write_space(out, begin, to)
            at += 1
        elif byte == HOLE:
            hole = to
            at += 1
        elif byte == BREAK:
            return to, at + 1
        elif byte == OPENED:
            return to, end
        elif PROTECTED <= byte < PROTECTED + len(_CLEARED):
            out[to] = _CLEARED[byte - PROTECTED]
            to += 1
            at += 1
        else:
            if byte > 32 and byte != 0x7F and not (to > begin and out[to - 1] == byte):  # [ ] { } |
                out[to] = byte
                to += 1
            at += 1
    return to, at


@compiled
def _write_space(out: Bytes, begin: int, to: int) -> int:
    """One space, none at the start of a line, after another one or after an opening bracket."""
    if to == begin or out[to - 1] == 32 or _after_bracket(out, begin, to):
        return to
    out[to] = 32
    return to + 1


@compiled
def _after_bracket(out: Bytes, begin: int, to: int) -> bool:
    """Whether ( or （ is the last character."""
    if to > begin and out[to - 1] == 40:
        return True
    return to > begin + 2 and out[to - 1] == 0x88 and out[to - 2] == 0xBC and out[to - 3] == 0xEF


@compiled
def _ends_clause(data: Bytes, at: int, end: int) -> bool:
    """Whether a comma or full stop with a space behind it follows a space: what was between them is gone."""
    while at < end and (data[at] == HOLE or data[at] == NOTHING or data[at] == 32):
        at += 1
    if at == end or not (data[at] == 44 or data[at] == 46 or data[at] == 59):
        return False
    return at + 1 == end or data[at + 1] <= 32


@compiled
def _before_clause_end(data: Bytes, at: int, end: int, out: Bytes, begin: int, to: int) -> int:
    """The next byte to write: without the space last written where a comma or full stop follows that ends a clause."""
    if to > begin and out[to - 1] == 32 and _ends_clause(data, at, end):
        return to - 1
    return to


@compiled
def _after_marks(data: Bytes, at: int, end: int) -> int:
    """The byte after the spaces, holes and commas that follow an opening bracket."""
    while at < end:
        byte = data[at]
        if byte == 32 or byte == HOLE or byte == NOTHING or byte == 44 or byte == 59 or byte == 58:
            at += 1
        elif at + 3 <= end and _is_wide_mark(byte, data[at + 1], data[at + 2]):
            at += 3
        else:
            break
    return at


@compiled
def _is_wide_mark(first: int, second: int, third: int) -> bool:
    """Whether three bytes are the wide space or one of 、 ， ； ：."""
    if first == 0xE3:
        return second == 0x80 and third <= 0x81
    return first == 0xEF and second == 0xBC and (third == 0x8C or third == 0x9B or third == 0x9A)


@compiled
def _write_character(data: Bytes, at: int, end: int, out: Bytes, begin: int, to: int) -> Any:
    """A character that starts with C2, E1, E2, E3 or EF: one of those that stand for spaces, marks or nothing, or not."""
    first = data[at]
    size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if at + size > end:
        return end, to
    second, third = data[at + 1], data[at + size - 1]
    if _is_space(first, second, third):
        return at + size, _write_space(out, begin, to)
    if _is_no_text(first, second, third):
        return at + size, to
    if first == 0xEF and second == 0xBC and third == 0x89:
        return at + 3, _close_bracket(out, begin, to, 3, -1)
    for step in range(size):
        out[to + step] = data[at + step]
    return at + size, to + size


@compiled
def _is_space(first: int, second: int, third: int) -> bool:
    """White space beyond ASCII, by its bytes; `third` is the last one."""
    if first == 0xC2:
        return second == 0xA0 or second == 0x85
    if first == 0xE3:
        return second == 0x80 and third == 0x80
    if first == 0xE2:
        if second == 0x80:
            return third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF
        return second == 0x81 and third == 0x9F
    return first == 0xE1 and second == 0x9A and third == 0x80


@compiled
def _is_no_text(first: int, second: int, third: int) -> bool:
    """Control and format characters beyond ASCII that carry no text, by their bytes."""
    if first == 0xC2:
        return second < 0xA0 or second == 0xAD
    if first == 0xE2:
        if second == 0x80:
            return third == 0x8E or third == 0x8F or 0xAA <= third <= 0xAE
        return second == 0x81 and 0xA6 <= third <= 0xA9
    if first == 0xEF:
        return (second == 0xBB and third == 0xBF) or (second == 0xBF and third >= 0xBE)
    return False


@compiled
def _close_bracket(out: Bytes, begin: int, to: int, size: int, hole: int) -> int:
    """A closing bracket of `size` bytes: takes the commas before it along, and its opening one where all is empty."""
    back = to
    while True:
        width = _mark_before(out, begin, back)
        if width == 0:
            break
        back -= width
    if _after_bracket(out, begin, back) and (back < to or hole == to or size == 3):
        return back - (1 if out[back - 1] == 40 else 3)
    while to > begin and (out[to - 1] == 32 or out[to - 1] == 44 or out[to - 1] == 59):
        to -= 1
    while to > begin + 2 and out[to - 1] == 0x81 and out[to - 2] == 0x80 and out[to - 3] == 0xE3:
        to -= 3
    if size == 1:
        out[to] = 41
    else:
        out[to], out[to + 1], out[to + 2] = 0xEF, 0xBC, 0x89
    return to + size


@compiled
def _mark_before(out: Bytes, begin: int, to: int) -> int:
    """Bytes of the space, comma, colon, dash or the like that ends at `to`; 0 for any other character."""
    if to == begin:
        return 0
    last = out[to - 1]
    if last < 0x80:
        mark = last == 32 or last == 44 or last == 59 or last == 58 or last == 47 or last == 45
        return 1 if mark else 0
    if to >= begin + 2 and last == 0xB7 and out[to - 2] == 0xC2:  # ·
        return 2
    if to < begin + 3:
        return 0
    first, second = out[to - 3], out[to - 2]
    mark = _is_wide_mark(first, second, last) or (first == 0xE3 and second == 0x83 and last == 0xBB)  # ・
    mark = mark or (first == 0xE2 and second == 0x80 and (last == 0x93 or last == 0x94 or last == 0xA2))  # – — •
    return 3 if mark else 0


@compiled
def _write_quotes(data: Bytes, at: int, end: int, literal: int, out: Bytes, begin: int, to: int) -> Any:
    """A run of quotes: two are italics, three bold, five both; those beyond are quotes."""
    after = at
    while after < end and data[after] == 39:
        after += 1
    run = after - at
    kept = run == 1 or at == literal or run == 4 or run > 5
    if kept and not (to > begin and out[to - 1] == 39):  # '' would be markup again
        out[to] = 39
        to += 1
    return after, to


@compiled
def _literal_quote(data: Bytes, at: int, end: int) -> int:
    """Where the bold mark is whose first quote is an apostrophe (l'''opera''), by MediaWiki's rule; -1 for none.

    On a line with odd numbers of bold and italic marks it is one after a single letter, else after a word, else a space.
    """
    bold = italic = 0
    after_letter = -1
    after_word = -1
    after_space = -1
    begin = at
    while at < end and data[at] != BREAK:
        if data[at] != 39:
            at += 1
            continue
        first = at
        while at < end and data[at] == 39:
            at += 1
        run = at - first
        if run >= 5:
            bold += 1
            italic += 1
        elif run >= 3:
            bold += 1
            if run == 3:
                if first == 0 or data[first - 1] <= 32:
                    after_space = first if after_space < 0 else after_space
                elif first > 1 and data[first - 2] <= 32 and after_letter < 0:
                    after_letter = first
                elif after_word < 0:
                    after_word = first
        elif run == 2:
            italic += 1
    if bold % 2 == 0 or italic % 2 == 0 or begin == end:
        return -1
    if after_letter >= 0:
        return after_letter
    return after_word if after_word >= 0 else after_space


@compiled
def _after_switch(data: Bytes, at: int, end: int) -> int:
    """The byte after a __SWITCH__ (in capitals, or in a script that is not Latin); `at` where there is none."""
    if at + 4 >= end or data[at + 1] != 95 or data[at + 2] == 95:
        return at
    for place in range(at + 2, min(end - 1, at + 80)):
        if not _CAPITAL[data[place]]:
            return at
        if data[place] == 95 and data[place + 1] == 95:
            return place + 2
    return at


@compiled
def _write_entity(data: Bytes, at: int, end: int, entities: Table, out: Bytes, begin: int, to: int) -> Any:
    """The character of &name; or &#number; (U+FFFD for no character); an ampersand where it is neither."""
    place = at + 1
    if place + 1 < end and data[place] == 35:
        base = 16 if data[place + 1] | 32 == 120 else 10
        place += 2 if base == 16 else 1
        first = place
        number = 0
        while place < end and _DIGIT[data[place]] < base:
            number = min(number * base + _DIGIT[data[place]], 0x110000)
            place += 1
        if place > first and place < end and data[place] == 59:
            return place + 1, _write_code(_known(number), out, begin, to)
    else:
        while place < end and _ALPHANUMERIC[data[place]]:
            place += 1
        if place < end and data[place] == 59:
            row = look_up(entities, hash_exactly(data, at + 1, place))
            if row:
                to = _write_code(_VALUES[row - 1, 0], out, begin, to)
                if _VALUES[row - 1, 1]:
                    to = _write_code(_VALUES[row - 1, 1], out, begin, to)
                return place + 1, to
    out[to] = 38
    return at + 1, to + 1


@compiled
def _known(number: int) -> int:
    if 128 <= number < 160:
        return int(_LOW[number - 128])
    if number == 0 or number > 0x10FFFF or 0xD800 <= number < 0xE000:
        return 0xFFFD
    return number


@compiled
def _write_code(code: int, out: Bytes, begin: int, to: int) -> int:
    """Writes a character by its number."""
    if code <= 32:
        return _write_space(out, begin, to) if code == 32 or 9 <= code <= 13 or 28 <= code <= 31 else to
    if code < 0x80:
        if code == 0x7F:
            return to
        out[to] = code
        return to + 1
    size = 2 if code < 0x800 else 3 if code < 0x10000 else 4
    for step in range(size - 1, 0, -1):
        out[to + step] = 0x80 | code & 0x3F
        code >>= 6
    out[to] = code | (0xF0 << (4 - size)) & 0xFF
    _, to = _write_character(out, to, to + size, out, begin, to)
    return to
