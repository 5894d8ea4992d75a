"""JSON arrays and objects read as a stream: their elements one after the other, in bounded memory whatever their size."""

import re
from collections.abc import Iterator
from typing import Final

import numpy as np

from sources.files.reading import BLOCK, EXCERPT, UTF8_MARK, Block, ByteStream, Fault, LongRecord, RecordBlock
from sources.source import SourceError

_OVERHEAD: Final = 100  # bytes that an element costs besides its text: short ones fill a block too


def holds_array(path: str, encoding: str | None = None) -> bool:
    """Whether the first character of a file that is not white space is `[`."""
    for chunk in ByteStream(path, encoding=encoding):
        text = chunk.removeprefix(UTF8_MARK).lstrip()
        if text:
            return text.startswith(b"[")
    return False


class ArrayReader:
    """The elements of the arrays of a file as blocks of about BLOCK bytes, with LineReader's interface.

    Cuts at the commas of the outermost level; what lies between two is an element, be it JSON or not. With `within`, the
    elements are those of the array that is this member of the outermost object; with neither array nor object around
    them, there are none. The members of an outermost object come as `"name": value`.
    """

    def __init__(self, path: str, max_element: int, within: str | None = None, encoding: str | None = None) -> None:
        self._path, self._within = path, within
        self._stream, self._max_element = ByteStream(path, encoding=encoding), max_element
        self._broken: Fault | None = None
        self.cut_off = b""

    @property
    def position(self) -> int:
        """The stored byte reached."""
        return self._stream.position

    @property
    def fault(self) -> Fault | None:
        """Why the array ends before its closing bracket; None while it runs and for a whole array."""
        return self._stream.fault or self._broken

    def __iter__(self) -> Iterator[Block]:
        scan = _Scan(level=2 if self._within else 1)
        elements = _Elements(self._max_element)
        member = _Member(self._within) if self._within else None
        offset = 0
        for chunk in self._stream:
            for cut, inside in scan.cuts(chunk):
                before = elements.add(chunk, cut, inside and (member is None or member.open), offset)
                if member is not None:
                    member.pass_cut(before, chunk[cut : cut + 1])
                if elements.size >= BLOCK:
                    yield from elements.take()
            elements.keep_rest(chunk, offset)
            offset += len(chunk)
        self.cut_off = elements.unfinished
        if self._stream.fault is None and scan.depth > 0:
            self._broken = Fault("truncated_file", self.position, "the array is not closed")
        yield from elements.take()
        if member is not None and not member.seen and self.fault is None:
            found = ", ".join(repr(name) for name in member.names) or "none"
            raise SourceError(
                f"{self._path}: no member {self._within!r} that is an array; members that hold others: {found}"
            )


class _Member:
    """Follows the members of an object: whether the one of a name, an array, is open now."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.open = self.seen = False
        self.names: list[str] = []

    def pass_cut(self, before: bytes, mark: bytes) -> None:
        """Note a comma or bracket of the second level and the text between it and the one before."""
        if mark not in (b"[", b"{"):
            self.open = self.open and mark == b","
            return
        key = _KEY.search(before)
        name = key[1].decode("utf-8", "replace") if key else ""
        self.open = mark == b"[" and name == self._name
        self.seen |= self.open
        if len(self.names) < 30:
            self.names.append(name[:50])


_KEY: Final = re.compile(rb'"([^"\\]{0,200})"\s*:\s*\Z')


class _Scan:
    """Finds where elements end, over chunks cut anywhere; `level` is how deep they lie."""

    def __init__(self, level: int = 1) -> None:
        self._level = level
        self._state = np.zeros(3, np.int64)

    @property
    def depth(self) -> int:
        """How many brackets are open."""
        from sources.formats.json_array_loops import DEPTH

        return int(self._state[DEPTH])

    def cuts(self, chunk: bytes) -> Iterator[tuple[int, bool]]:
        """Positions of the commas and brackets that bound elements, and whether what comes before them is one."""
        from sources.formats.json_array_loops import find_cuts

        data = np.frombuffer(chunk, np.uint8)
        words = data[: len(data) // 8 * 8].view(np.uint64)
        cuts, ends = np.empty(len(data), np.int32), np.empty(len(data), np.bool_)
        found = find_cuts(data, words, self._level, self._state, cuts, ends)
        return zip(cuts[:found].tolist(), ends[:found].tolist(), strict=True)


class _Elements:
    """Gathers elements that may lie over several chunks, dropping the inside of those that are too long."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []  # of the element that is not finished
        self._length = 0
        self._start: int | None = None
        self._done: list[Block | tuple[int, bytes]] = []
        self._number = 1
        self._at = 0  # byte of the chunk where the next element starts
        self.size = 0

    @property
    def unfinished(self) -> bytes:
        """The start of the element whose end has not come."""
        return b"".join(self._parts)[:EXCERPT].lstrip()

    def add(self, chunk: bytes, cut: int, inside: bool, offset: int) -> bytes:
        """End an element at a byte of the chunk; outside of an array, drop what came before, which is returned."""
        text, start, length = chunk[self._at : cut], offset + self._at, cut - self._at
        if self._parts:
            self._grow(text, start)
            text, start, length = b"".join(self._parts), self._start or 0, self._length
            self._parts, self._length, self._start = [], 0, None
        self._at = cut + 1
        if not inside or not (line := text.strip()):
            return text
        if length > self._longest:
            self._done.append(LongRecord(line[:EXCERPT], start, None))
            self.size += EXCERPT
            return b""
        if line is not text:
            start += len(text) - len(text.lstrip())
        if b"\n" in line or b"\r" in line:  # between the parts of an element: its texts hold neither
            line = line.replace(b"\n", b" ").replace(b"\r", b" ")
        self._done.append((start, line))
        self.size += len(line) + _OVERHEAD
        return b""

    def keep_rest(self, chunk: bytes, offset: int) -> None:
        """Keep what follows the last cut for the next chunk."""
        self._grow(chunk[self._at :], offset + self._at)
        self._at = 0

    def _grow(self, piece: bytes, offset: int) -> None:
        self._start = offset if self._start is None else self._start
        self._length += len(piece)
        self._parts.append(piece)
        if self._length > self._longest:
            self._parts = [b"".join(self._parts)[:EXCERPT]]

    def take(self) -> Iterator[Block]:
        """The elements finished so far, in order."""
        waiting: list[tuple[int, bytes]] = []
        for element in self._done:
            if isinstance(element, tuple):
                waiting.append(element)
                continue
            yield from self._block(waiting)
            waiting = []
            if isinstance(element, LongRecord):
                yield LongRecord(element.head, element.offset, self._number)
                self._number += 1
        yield from self._block(waiting)
        self._done, self.size = [], 0

    def _block(self, elements: list[tuple[int, bytes]]) -> Iterator[RecordBlock]:
        if elements:
            offsets = np.array([offset for offset, _ in elements], np.int64)
            yield RecordBlock(b"\n".join(line for _, line in elements) + b"\n", offsets, self._number)
            self._number += len(elements)
