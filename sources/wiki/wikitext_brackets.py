# ruff: noqa: PLR1714, SIM109  (numba compiles `a == b or a == c` to two comparisons, `a in {b, c}` to a set)
"""The second loop over wikitext: templates, tables, links, addresses and language variants.

Everything is copied to the output as it comes. What opens is put on a stack with its place in the output; when it closes,
its words are there already, with all inside it resolved, and the output goes back to the place or keeps some of them.
Every byte is written once, and moved at most as often as links or known templates may lie in each other.

What never closes eats no page and leaves no mark:

    {{   ends at the next heading: the rest of its line goes (the last loop does it), and lines that start with `|`
    {|   loses its lines that start with `|` or `!`
    [[   ends at the next blank line or heading, and before a `|` at the end of its line; its words stay but for the target
         (all of it goes where the target is a file or a category)
    [//  ends at the end of its line; its words stay
    }} |} ]] that close nothing go
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sources.wiki.wikitext_bytes import HOLE, NOTHING, OPENED, Bytes, Places, Table, compiled, hash_name, look_up

# What becomes of a template. FIRST to THIRD: the argument of that number is the text.
FIRST, SECOND, THIRD = 1, 2, 3
SECOND_OR_FIRST: Final = 4  # the second argument where it has words, else the first
MEASURE: Final = 5  # {{convert|5|km|mi}}: 5 km; {{convert|5|to|10|km}}: 5 to 10 km
ALL: Final = 6  # {{date|1|May|1900}}: every argument without a name, spaces between
FUNCTION: Final = 7  # {{formatnum:1900}}: what follows the colon
CIRCA: Final = 8  # {{circa|1900}}: c. 1900
AS_OF: Final = 9  # {{as of|2014}}: as of 2014
SPACED_DASH: Final = 10
DOT: Final = 11
SPACE: Final = 12
APOSTROPHE: Final = 13
DISAMBIGUATION: Final = 14  # marks the page

# What opens.
TEMPLATE, TABLE, LINK, ADDRESS, VARIANT = range(1, 6)
_KIND, _START, _BAR, _LAST_BAR = range(4)  # columns of the stack; places of bars are 0 where there is none
_DOUBLE: Final = -1  # in place of an address's bar: it opened with two brackets
_DEPTH: Final = 200  # what opens beyond it stays closed: its marks go, its words stay
_LINKS: Final = 8  # links in each other whose labels are moved
_WORDS: Final = 20  # templates in each other whose words are moved

_PLAIN: Final = np.ones(256, np.bool_)
_PLAIN[[*b"{}[]|\n/"]] = False
_SPACE: Final = np.zeros(256, np.bool_)
_SPACE[[*b" \t", NOTHING, HOLE]] = True
_INDENT: Final = _SPACE.copy()
_INDENT[[*b":*#;"]] = True
_ADDRESS_END: Final = np.zeros(256, np.bool_)
_ADDRESS_END[[*range(33), *b'[]<>"{}|', 0x7F]] = True
_LETTER: Final = np.zeros(256, np.bool_)
_LETTER[[*b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]] = True
_SCHEMES: Final = np.zeros((7, 8), np.uint8)  # each with its length before it
for _row, _scheme in enumerate((b"http", b"https", b"ftp", b"ftps", b"irc", b"news", b"mailto")):
    _SCHEMES[_row, 0] = len(_scheme)
    _SCHEMES[_row, 1 : 1 + len(_scheme)] = [*_scheme]


@compiled
def resolve_brackets(
    data: Bytes,
    bounds: Places,
    templates: Table,
    namespaces: Table,
    out: Bytes,
    out_bounds: Places,
    disambiguation: NDArray[np.bool_],
) -> None:
    """Writes the texts (data[bounds[n]:bounds[n + 1]]) without brackets to `out`, and their bounds (int64 [n + 1]).

    Sets disambiguation (bool [n]) for texts with a template that marks such a page. `out` must hold as many bytes as
    the texts and 16 more.
    """
    stack = np.zeros((_DEPTH, 4), np.int64)
    to = 0
    for row in range(len(bounds) - 1):
        out_bounds[row] = to
        to = _resolve(data, bounds[row], bounds[row + 1], templates, namespaces, stack, out, to, disambiguation, row)
    out_bounds[len(bounds) - 1] = to


@compiled
def _resolve(  # noqa: PLR0912, PLR0915  (one branch for each mark)
    data: Bytes,
    at: int,
    end: int,
    templates: Table,
    namespaces: Table,
    stack: Places,
    out: Bytes,
    to: int,
    disambiguation: NDArray[np.bool_],
    row: int,
) -> int:
    begin = to
    depth = 0
    at, to, depth = _line_start(data, at, end, stack, depth, namespaces, out, to)
    while True:
        while at < end and _PLAIN[data[at]]:
            out[to] = data[at]
            to += 1
            at += 1
        if at >= end:
            break
        byte = data[at]
        following = data[at + 1] if at + 1 < end else np.uint8(0)
        if byte == 10:
            out[to] = byte
            at, to, depth = _line_start(data, at + 1, end, stack, depth, namespaces, out, to + 1)
        elif byte == 124:
            if depth > 0:
                top = stack[depth - 1]
                if top[_BAR] == 0:
                    top[_BAR] = to
                top[_LAST_BAR] = to
            out[to] = byte
            to += 1
            at += 1
        elif byte == 123 and following == 123:
            depth = _push(stack, depth, TEMPLATE, to)
            out[to] = OPENED
            to += 1
            at += 2
        elif byte == 125 and following == 125:
            level = _nearest(stack, depth, TEMPLATE)
            at += 2
            if level >= 0:
                start = stack[level, _START]
                depth = level
                if at < end and data[at] == 125 and to > start + 1 and out[start + 1] == 123:
                    at += 1  # {{{parameter}}}
                to = _close_template(out, start, to, stack[level, _BAR], templates, level, disambiguation, row)
        elif byte == 123 and following == 124 and not (at + 2 < end and data[at + 2] == 125):
            start = _line_so_far(out, begin, to)
            if start >= 0:
                depth = _push(stack, depth, TABLE, start)
            out[to] = byte
            out[to + 1] = following
            to += 2
            at += 2
        elif byte == 91 and following == 91 and not _starts_address(data, at + 2, end):
            depth = _push(stack, depth, LINK, to)
            at += 2
        elif byte == 91 and (following == 91 or _starts_address(data, at + 1, end)):
            depth = _push(stack, depth, ADDRESS, to)
            if following == 91 and depth > 0:
                stack[depth - 1, _BAR] = _DOUBLE
            at = _after_address(data, at + (2 if following == 91 else 1), end, False)
        elif byte == 93 and depth > 0 and stack[depth - 1, _KIND] == ADDRESS:
            depth -= 1
            at += 2 if following == 93 and stack[depth, _BAR] == _DOUBLE else 1
        elif byte == 93 and following == 93:
            at += 2
            if depth > 0 and stack[depth - 1, _KIND] == LINK:
                depth -= 1
                to = _close_link(out, to, stack[depth], namespaces, depth)
        elif byte == 47 and following == 47 and to > begin and out[to - 1] == 58:
            size = _scheme_before(out, begin, to - 1)
            if size > 0:
                to -= size + 1
                at = _after_address(data, at, end, True)
            else:
                out[to] = byte
                to += 1
                at += 1
        elif byte == 123 and to > begin and out[to - 1] == 45:
            to -= 1
            depth = _push(stack, depth, VARIANT, to)
            at += 1
        elif byte == 125 and following == 45 and depth > 0 and stack[depth - 1, _KIND] == VARIANT:
            depth -= 1
            to = _close_variant(out, stack[depth, _START], to)
            at += 2
        else:
            out[to] = byte
            to += 1
            at += 1
    _, to = _forget_links(stack, depth, namespaces, out, to)
    return to


@compiled
def _push(stack: Places, depth: int, kind: int, start: int) -> int:
    if depth == len(stack):
        return depth
    stack[depth, _KIND] = kind
    stack[depth, _START] = start
    stack[depth, _BAR] = 0
    stack[depth, _LAST_BAR] = 0
    return depth + 1


@compiled
def _nearest(stack: Places, depth: int, kind: int) -> int:
    """The level of what of a kind was opened last; -1 for none."""
    level = depth - 1
    while level >= 0 and stack[level, _KIND] != kind:
        level -= 1
    return level


@compiled
def _line_start(
    data: Bytes,
    at: int,
    end: int,
    stack: Places,
    depth: int,
    namespaces: Table,
    out: Bytes,
    to: int,
) -> Any:
    """What the start of a line opens and closes: the next byte to read, the next to write, the depth."""
    before = to
    heading = at + 1 < end and data[at] == 61 and data[at + 1] == 61
    first = at
    while first < end and _SPACE[data[first]]:
        first += 1
    if depth > 0:
        if heading or first == end or data[first] == 10:
            depth, to = _forget_links(stack, depth, namespaces, out, to)
            while heading and depth > 0 and stack[depth - 1, _KIND] != TABLE:
                depth -= 1
        else:
            depth, to = _forget_line(stack, depth, namespaces, out, to)
        if to < before:
            out[to] = 10
            to += 1
    following = data[first + 1] if first + 1 < end else np.uint8(0)
    third = data[first + 2] if first + 2 < end else np.uint8(0)
    if depth > 0 and following == 125 and third != 125 and data[first] == 124:
        level = _nearest(stack, depth, TABLE)
        if level >= 0:
            to = stack[level, _START]
            out[to] = HOLE
            return first + 2, to + 1, level
    return at, to, depth


@compiled
def _line_so_far(out: Bytes, begin: int, to: int) -> int:
    """Where the line that is being written starts, if it has nothing but indentation; else -1."""
    while to > begin and _INDENT[out[to - 1]]:
        to -= 1
    return to if to == begin or out[to - 1] == 10 else -1


@compiled
def _forget_line(stack: Places, depth: int, namespaces: Table, out: Bytes, to: int) -> Any:
    """Gives up what cannot go on after the end of a line: addresses, and links whose target is not complete."""
    while depth > 0:
        top = stack[depth - 1]
        if top[_KIND] == LINK and top[_BAR] == 0:
            if _is_wordless(out, top[_START], to, namespaces):
                to = top[_START]
        elif top[_KIND] != ADDRESS:
            break
        depth -= 1
    return depth, to


@compiled
def _forget_links(stack: Places, depth: int, namespaces: Table, out: Bytes, to: int) -> Any:
    """Gives up all that is open but templates and tables, and what is in them: the depth and the next byte to write."""
    level = depth
    while level > 0 and stack[level - 1, _KIND] >= LINK:
        level -= 1
    for link in stack[level:depth]:
        start, bar = link[_START], link[_BAR]
        if link[_KIND] != LINK:
            continue
        if _is_wordless(out, start, bar if bar else to, namespaces):
            return level, start
        if bar:
            _blank(out, start, bar + 1)
    return level, to


@compiled
def _is_wordless(out: Bytes, start: int, end: int, namespaces: Table) -> bool:
    """Whether a link's target is a file, a category or a page in another language."""
    for place in range(start, min(end, start + 60)):
        if out[place] == 58:
            return place > start and look_up(namespaces, hash_name(out, start, place)) != 0
    return False


@compiled
def _close_link(out: Bytes, to: int, link: Places, namespaces: Table, level: int) -> int:
    """What a link leaves, and the next byte to write: its label, its target where it has none, nothing for a file."""
    start, bar, last_bar = link[_START], link[_BAR], link[_LAST_BAR]
    target_end = bar if bar else to
    if _is_wordless(out, start, target_end, namespaces):
        out[start] = NOTHING
        return int(start + 1)
    begin = last_bar + 1
    if not bar or begin == to:
        begin = start
        to = target_end
        if begin < to and (out[begin] == 58 or out[begin] == 35):
            begin += 1
    if level > _LINKS:
        _blank(out, start, begin)
        return to
    return int(_move(out, begin, to, start))


@compiled
def _move(out: Bytes, begin: int, end: int, to: int) -> int:
    """Moves bytes to an earlier place; the byte after them."""
    for place in range(begin, end):
        out[to] = out[place]
        to += 1
    return to


@compiled
def _blank(out: Bytes, begin: int, end: int) -> None:
    for place in range(begin, end):
        out[place] = NOTHING


@compiled
def _close_variant(out: Bytes, start: int, to: int) -> int:
    """What -{flags|zh-hans:A;zh-hant:B}- leaves: its first form; nothing where the flags only set a rule."""
    begin = start
    for place in range(start, to):
        if out[place] == 124:
            if place == start + 1 and (out[start] == 72 or out[start] == 84 or out[start] == 45 or out[start] == 68):
                return start
            begin = place + 1
    end = begin
    while end < to and out[end] != 59:
        end += 1
    place = begin
    while place < end and (_LETTER[out[place]] or out[place] == 45 or out[place] == 32):
        place += 1
    if place < end and out[place] == 58:
        begin = place + 1
    return int(_move(out, begin, end, start))


@compiled
def _starts_address(data: Bytes, at: int, end: int) -> bool:
    """Whether `//`, `scheme://` or `mailto:` starts at a byte."""
    place = at
    while place < end and place < at + 8 and _LETTER[data[place]]:
        place += 1
    if place == at:
        return at + 1 < end and data[at] == 47 and data[at + 1] == 47
    if place + 2 >= end or data[place] != 58:
        return False
    if data[place + 1] == 47 and data[place + 2] == 47:
        return True
    return place == at + 6 and data[at] | 32 == 109 and data[at + 5] | 32 == 111 and data[at + 1] | 32 == 97


@compiled
def _after_address(data: Bytes, at: int, end: int, bare: bool) -> int:
    """The byte after an address; full stops and the like at the end of a bare one are the sentence's."""
    begin = at
    bracket = False  # whether a closing bracket may be the address's own
    while at < end and not _ADDRESS_END[data[at]]:
        bracket = bracket or data[at] == 40
        if data[at] == 39 and at + 1 < end and data[at + 1] == 39:
            break
        at += 1
    while bare and at > begin + 1 and _ends_sentence(data[at - 1], bracket):
        at -= 1
    return at


@compiled
def _ends_sentence(byte: int, bracket: bool) -> bool:
    """Whether the last character of a bare address is rather the sentence's: . , ; or a closing bracket."""
    return byte == 46 or byte == 44 or byte == 59 or (byte == 41 and not bracket)


@compiled
def _scheme_before(out: Bytes, begin: int, to: int) -> int:
    """How many bytes before `to` are the name of a scheme, not the end of a longer word; 0 for none."""
    for row in range(len(_SCHEMES)):
        size = np.int64(_SCHEMES[row, 0])
        if size > to - begin or (size < to - begin and _LETTER[out[to - size - 1]]):
            continue
        same = True
        for step in range(size):
            same = same and (out[to - size + step] | 32) == _SCHEMES[row, 1 + step]
        if same:
            return int(size)
    return 0


@compiled
def _close_template(
    out: Bytes,
    start: int,
    to: int,
    bar: int,
    templates: Table,
    level: int,
    disambiguation: NDArray[np.bool_],
    row: int,
) -> int:
    """What a template leaves at `start`, and the next byte to write: a hole, or the words of one that is known."""
    name_end = bar if bar else to
    action = look_up(templates, hash_name(out, start + 1, name_end)) if level < _WORDS else 0
    if action == DISAMBIGUATION:
        disambiguation[row] = True
    begin, end = 0, 0
    after = start
    if action == 0:
        begin, end = _unlisted(out, start + 1, to, bar, templates)
    elif action <= THIRD:
        begin, end = _argument(out, bar, to, action)
    elif action == SECOND_OR_FIRST:
        begin, end = _argument(out, bar, to, 2)
        if begin == end:
            begin, end = _argument(out, bar, to, 1)
    elif action == MEASURE or action == ALL:
        after = _move_arguments(out, start, bar, to, action)
    elif action == CIRCA or action == AS_OF:
        begin, end = _argument(out, bar, to, 1)
        if begin < end:
            after = _write_prefix(out, start, action)
    else:
        after = _write_fixed(out, start, action)
    if begin < end:
        after = _move(out, begin, end, after)
    if after == start:
        out[start] = HOLE
        after += 1
    return after


@compiled
def _unlisted(out: Bytes, at: int, to: int, bar: int, templates: Table) -> Any:
    """The words of {{lang-xx|words}} and of {{function:words}}; an empty span for other templates."""
    nothing = 0, 0
    if bar and bar - at > 5 and bar - at < 20 and out[at + 4] == 45 and _is_lang(out, at):
        return _argument(out, bar, to, 1)
    if not bar and look_up(templates, hash_name(out, at, _colon(out, at, to))) == FUNCTION:
        return _trimmed(out, _colon(out, at, to) + 1, to)
    return nothing


@compiled
def _is_lang(out: Bytes, at: int) -> bool:
    lower = out[at] | 32, out[at + 1] | 32, out[at + 2] | 32, out[at + 3] | 32
    return lower == (108, 97, 110, 103)


@compiled
def _colon(out: Bytes, at: int, to: int) -> int:
    """Where the colon within the first bytes is; `at` where there is none."""
    for place in range(at, min(to, at + 16)):
        if out[place] == 58:
            return place
    return at


@compiled
def _argument(out: Bytes, bar: int, to: int, number: int) -> Any:
    """The bounds of an argument: the one of that name, else of that place among those without a name."""
    place = bar
    found = 0
    while bar and place < to:
        begin = place + 1
        place = begin
        equals = 0
        while place < to and out[place] != 124:
            if out[place] == 61 and not equals:
                equals = place
            place += 1
        if equals:
            first, last = _trimmed(out, begin, equals)
            if _names(out, first, last, number):
                return _trimmed(out, equals + 1, place)
        else:
            found += 1
            if found == number:
                return _trimmed(out, begin, place)
    return 0, 0


@compiled
def _names(out: Bytes, first: int, last: int, number: int) -> bool:
    """Whether the name of an argument is its number, or `text` or `quote` for the first."""
    if last - first == 1:
        return bool(out[first] == 48 + number)
    if number != 1 or (last - first != 4 and last - first != 5):
        return False
    text = last - first == 4 and out[first] == 116 and out[first + 1] == 101 and out[first + 3] == 116
    quote = last - first == 5 and out[first] == 113 and out[first + 1] == 117 and out[first + 4] == 101
    return text or quote


@compiled
def _trimmed(out: Bytes, begin: int, end: int) -> Any:
    while begin < end and out[begin] <= 32:
        begin += 1
    while end > begin and out[end - 1] <= 32:
        end -= 1
    return begin, end


@compiled
def _move_arguments(out: Bytes, start: int, bar: int, to: int, action: int) -> int:
    """Writes the arguments side by side: all of them, or the two of a measure (four of a range: 5 to 10 km)."""
    count = 8 if action == ALL else 2
    after = start
    number = 1
    while number <= count:
        begin, end = _argument(out, bar, to, number)
        if begin == end:
            break
        if action == MEASURE and number == 2 and _joins(out, begin, end):
            count = 4
        if after > start:
            out[after] = 32
            after += 1
        after = _move(out, begin, end, after)
        number += 1
    return after


@compiled
def _joins(out: Bytes, begin: int, end: int) -> bool:
    """Whether the second argument of a measure joins two numbers: -, –, to, by, and, or, x."""
    first, size = out[begin], end - begin
    if first == 45 or first == 0xE2 or (size == 1 and first == 120):
        return size < 4
    if size == 2:
        return bool(first == 116 or first == 98 or (first == 111 and out[begin + 1] == 114))
    return size == 3 and first == 97 and out[begin + 1] == 110


@compiled
def _write_prefix(out: Bytes, start: int, action: int) -> int:
    """`c. ` or `as of `: never longer than the template's name and bar."""
    text = (99, 46, 32, 0, 0, 0) if action == CIRCA else (97, 115, 32, 111, 102, 32)
    after = start
    for byte in text:
        if byte:
            out[after] = byte
            after += 1
    return after


@compiled
def _write_fixed(out: Bytes, start: int, action: int) -> int:
    """What stands for a template without words."""
    after = start
    if action == SPACE or action == SPACED_DASH or action == DOT:
        out[after] = 32
        after += 1
    if action == SPACED_DASH:
        out[after], out[after + 1], out[after + 2] = 0xE2, 0x80, 0x93
        after += 3
    if action == DOT:
        out[after], out[after + 1] = 0xC2, 0xB7
        after += 2
    if action == SPACED_DASH or action == DOT:
        out[after] = 32
        after += 1
    if action == APOSTROPHE:
        out[after] = 39
        after += 1
    return after
