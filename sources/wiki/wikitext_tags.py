"""The first loop over wikitext: XML's entities, comments, nowiki, tags, and what lies within the tags that hold no prose.

The text comes as the dump holds it (`<` as &lt; and so on) and leaves as wikitext without a tag. As MediaWiki does, a
reference or a formula ends at the first closing tag of its name, whatever is between. One that never closes, and a <ref>
that does not before the next heading, loses only its tag; a comment that never closes ends with its line.
"""

from typing import Any, Final

import numpy as np

from sources.wiki.wikitext_bytes import (
    BREAK,
    HOLE,
    NOTHING,
    PROTECTED,
    SHIELDED,
    Bytes,
    Places,
    Table,
    compiled,
    hash_name,
    look_up,
)

# What becomes of a tag. The number of a kind is also its place among the searches for closing tags; 0 is comments'.
TAG_BREAK: Final = 1  # ends a line
TAG_NOWIKI: Final = 2  # its contents are text, whatever they look like
TAG_REFERENCE: Final = 3  # dropped with its contents, which never reach over a heading
TAG_NESTED: Final = 4  # dropped with its contents, in which the same tag may open again
TAG_CONTENTS: Final = 5  # dropped with its contents: this number and those above, one a name

_PLAIN: Final = np.ones(256, np.bool_)  # bytes that are copied as they are
_PLAIN[[*range(32), ord("&"), ord("<"), 0x7F]] = False
_PLAIN[[9, 10]] = True
_IN_NAME: Final = np.zeros(256, np.bool_)
_IN_NAME[[*b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"]] = True
_SHIELD: Final = np.arange(256).astype(np.uint8)
_SHIELD[[*SHIELDED]] = np.arange(PROTECTED, PROTECTED + len(SHIELDED))
_SHIELD[:9] = NOTHING
_SHIELD[11:32] = NOTHING


@compiled
def strip_tags(
    data: Bytes,
    begins: Places,
    ends: Places,
    tags: Table,
    kinds: int,
    out: Bytes,
    bounds: Places,
) -> None:
    """Writes the texts data[begins:ends] without tags to `out`, one after the other, and their bounds (int64 [n + 1]).

    `tags` says what becomes of each (TAG_BREAK and so on, all below `kinds`). `out` must hold as many bytes as the texts.
    """
    unclosed = np.zeros(kinds, np.int64)  # up to which byte each kind is known to have no closing tag
    to = 0
    for row in range(len(begins)):
        bounds[row] = to
        unclosed[:] = 0
        to = _strip(data, begins[row], ends[row], tags, unclosed, out, to)
    bounds[len(begins)] = to


@compiled
def _strip(
    data: Bytes,
    at: int,
    end: int,
    tags: Table,
    unclosed: Places,
    out: Bytes,
    to: int,
) -> int:
    begin = to
    while True:
        while at < end and _PLAIN[data[at]]:
            out[to] = data[at]
            to += 1
            at += 1
        if at >= end:
            break
        byte, size = _character(data, at, end)
        if byte != 60:
            if _PLAIN[byte] or byte == 38:
                out[to] = byte
                to += 1
            at += size
        elif at + size + 3 <= end and data[at + size] == 33 and data[at + size + 1] == 45 and data[at + size + 2] == 45:
            at = _after_comment(data, at + size + 3, end, unclosed)
            if (to == begin or out[to - 1] == 10) and at < end and data[at] == 10:
                at += 1  # a comment that has a line for itself takes the line with it
        else:
            at, to = _tag(data, at, at + size, end, tags, unclosed, out, to)
    return to


@compiled
def _character(data: Bytes, at: int, end: int) -> Any:
    """The character at a byte, XML's own entities resolved, and how many bytes it takes."""
    byte = data[at]
    if byte == 38 and at + 3 < end:
        second, third, fourth = data[at + 1], data[at + 2], data[at + 3]
        if third == 116 and fourth == 59:  # t;
            if second == 108:
                return np.uint8(60), 4
            if second == 103:
                return np.uint8(62), 4
        if at + 4 < end and second == 97 and third == 109 and fourth == 112 and data[at + 4] == 59:
            return byte, 5
        if (
            at + 5 < end
            and second == 113
            and third == 117
            and fourth == 111
            and data[at + 4] == 116
            and data[at + 5] == 59
        ):
            return np.uint8(34), 6
    return byte, 1


@compiled
def _after_comment(data: Bytes, at: int, end: int, unclosed: Places) -> int:
    """The byte after the comment whose contents start at `at`; kind 0 of `unclosed` is that of comments."""
    if at >= unclosed[0]:
        for place in range(at, end - 2):
            if data[place] == 45 and data[place + 1] == 45:
                byte, size = _character(data, place + 2, end)
                if byte == 62:
                    return int(place + 2 + size)
        unclosed[0] = end
    while at < end and data[at] != 10:
        at += 1
    return at


@compiled
def _tag(  # noqa: PLR0911  (each kind of tag leaves by itself)
    data: Bytes,
    at: int,
    after: int,
    end: int,
    tags: Table,
    unclosed: Places,
    out: Bytes,
    to: int,
) -> Any:
    """What follows the `<` at byte `at`, whose next character is at `after`: the next byte to read and to write."""
    closing = after < end and data[after] == 47
    name = after + 1 if closing else after
    name_end = name
    while name_end < end and _IN_NAME[data[name_end]]:
        name_end += 1
    if name_end == name or not (_IN_NAME[data[name]] and data[name] > 64):
        out[to] = 60
        return after, to + 1
    kind = look_up(tags, hash_name(data, name, name_end))
    closed, last, place = _end_of_tag(data, name_end, end)
    if not closed:
        if kind == 0:
            out[to] = 60
            return after, to + 1
        return place, to
    if kind == TAG_BREAK:
        out[to] = BREAK
        return place, to + 1
    if closing or kind < TAG_NOWIKI:
        return place, to
    if last == 47:
        out[to] = NOTHING
        return place, to + 1
    contents_end, after_close = _closing_tag(data, place, end, name, name_end, kind, unclosed)
    if contents_end < 0:
        return place, to
    if kind == TAG_NOWIKI:
        return after_close, _shield(data, place, contents_end, out, to)
    out[to] = HOLE
    return after_close, to + 1


@compiled
def _end_of_tag(data: Bytes, at: int, end: int) -> Any:
    """Whether a tag has its `>`, the character before that, and the next byte (that of a `<` before the `>`)."""
    last = np.uint8(0)
    while at < end:
        byte, size = _character(data, at, end)
        if byte == 62:
            return True, last, at + size
        if byte == 60:
            return False, last, at
        last = byte
        at += size
    return False, last, at


@compiled
def _closing_tag(data: Bytes, at: int, end: int, name: int, name_end: int, kind: int, unclosed: Places) -> Any:
    """Where the contents that start at `at` end and the first byte after their closing tag; -1 where there is none.

    A search that fails is remembered in `unclosed`, so that all searches of a text together are linear.
    """
    if at < unclosed[kind]:
        return -1, at
    size = name_end - name
    depth = 1
    place = at
    while place < end:
        byte = data[place]
        if byte == 10 and kind == TAG_REFERENCE and place + 2 < end and data[place + 1] == 61 and data[place + 2] == 61:
            break
        if _PLAIN[byte]:
            place += 1
            continue
        byte, width = _character(data, place, end)
        inside = place + width
        if byte == 60 and inside < end:
            closing = data[inside] == 47
            first = inside + 1 if closing else inside
            if (closing or kind == TAG_NESTED) and _same_name(data, name, size, first, end):
                depth += -1 if closing else 1
                if depth == 0:
                    _, _, after_close = _end_of_tag(data, first + size, end)
                    return place, after_close
        place = inside
    unclosed[kind] = place
    return -1, at


@compiled
def _same_name(data: Bytes, name: int, size: int, at: int, end: int) -> bool:
    if at + size > end or (at + size < end and _IN_NAME[data[at + size]]):
        return False
    for step in range(size):
        one, other = data[name + step], data[at + step]
        if one != other and (one | 32 != other | 32 or one < 65):
            return False
    return True


@compiled
def _shield(data: Bytes, at: int, end: int, out: Bytes, to: int) -> int:
    """Copies the contents of a nowiki; characters that are markup elsewhere become private bytes."""
    while at < end:
        byte, size = _character(data, at, end)
        out[to] = _SHIELD[byte]
        to += 1
        at += size
    return to
