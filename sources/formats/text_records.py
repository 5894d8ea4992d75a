"""Records of plain text: whole documents, divided by blank lines or by lines that begin the next one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sources.files.reading import (
    BLOCK,
    CHUNK,
    EXCERPT,
    UTF8_MARK,
    Block,
    ByteStream,
    Fault,
    LineReader,
    LongRecord,
    byte_splits,
)
from sources.formats.json_records import JsonRecords, json_splits
from sources.record_formats import ROWS, Bad, BadText, Format, Record, RecordBatch, Records, TextFormat
from sources.source import Split


def text_splits(path: str, format: Format, target_bytes: int) -> list[Split]:
    """Byte ranges of a plain file: a document belongs to the range that holds the line which divides it from the last."""
    return json_splits(path, format, target_bytes) if _holds_json(path, format) else byte_splits(path, target_bytes)


def open_text(split: Split, format: Format, longest: int) -> Records:
    """The documents of a split, or its JSON records where the format allows both."""
    if _holds_json(split.path, format, split.encoding):
        return JsonRecords(split, format, longest)
    assert format.text is not None
    return TextRecords(split, format.text, longest)


def _holds_json(path: str, format: Format, encoding: str | None = None) -> bool:
    if format.text is None or not format.text.or_json:
        return False
    for chunk in ByteStream(path, encoding=encoding):
        if text := chunk.removeprefix(UTF8_MARK).lstrip():
            return text.startswith((b"{", b"["))
    return False


def text_record(data: bytes) -> Record | None:
    """{"text": the document}; None where it holds white space only. Raises BadText."""
    if b"\0" in data:
        raise BadText("nul_byte", "")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadText("invalid_utf8", f"byte {error.start + 1} of the document") from error
    return None if not text or text.isspace() else {"text": text}


BLANK_LINES: Final = TextFormat(re.compile(rb"\n(?=[ \t\r]*+\n)[ \t\r\n]*+"), text_record)


@dataclass
class _Document:
    """A document whose end has not come."""

    offset: int  # byte of the decompressed file
    number: int | None  # of its first line
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    too_long: bool = False

    def add(self, piece: bytes, longest: int, long_line: bool = False) -> None:
        self.size += len(piece)
        if not self.too_long:
            self.parts.append(piece)
        if long_line or self.size > longest:
            self.too_long = True
            self.parts = [self.head]

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)

    @property
    def head(self) -> bytes:
        return self.data[:EXCERPT]


class TextRecords:
    """The documents of a split, in memory bounded by the longest one allowed."""

    unit = "line"

    def __init__(self, split: Split, format: TextFormat, longest: int) -> None:
        self._split, self._format, self._longest = split, format, longest
        self._lines = LineReader(split, longest)
        self._open = _Document(0, 1) if split.start == 0 else None  # a later split starts with the end of another's
        self.cut_off = b""

    @property
    def position(self) -> int:
        """The stored byte reached."""
        return self._lines.position

    @property
    def fault(self) -> Fault | None:
        """Why the documents end before they should."""
        return self._lines.fault

    def __iter__(self) -> Iterator[RecordBatch]:
        waiting: list[_Document] = []
        size = 0
        for document in self._documents():
            waiting.append(document)
            size += document.size
            if len(waiting) >= ROWS or size >= BLOCK:
                yield self._batch(waiting)
                waiting, size = [], 0
        yield self._batch(waiting)

    def _documents(self) -> Iterator[_Document]:
        for block in self._lines:
            yield from self._finished(block)
        if self._open is None:
            return
        if self.fault is not None:
            closing = self._format.closing
            if closing is not None and self._open.data.rstrip().endswith(closing):
                yield self._open
                self._open = None
            self.cut_off = ((self._open.head if self._open else b"") + self._lines.cut_off)[:EXCERPT]
            return
        if self._split.end is not None:
            for block in LineReader(Split(self._split.path, self._split.end), self._longest, CHUNK):
                if (finished := next(self._finished(block), None)) is not None:
                    yield finished
                    return
        yield self._open

    def _finished(self, block: Block) -> Iterator[_Document]:
        """The documents that end in a block; the last one stays open."""
        if isinstance(block, LongRecord):
            finished = None
            if self._format.divider.match(b"\n" + block.head):
                finished, self._open = self._open, _Document(block.offset, block.number)
            if self._open is not None:
                self._open.add(block.head, self._longest, long_line=True)
            if finished is not None:
                yield finished
            return
        data, first, number = block.data, int(block.offsets[0]), block.first
        at = 0
        for match in self._format.divider.finditer(b"\n" + data):  # the newline before the block: places are one more
            end, start = max(match.start() - 1, 0), match.end() - 1
            finished = self._open
            if finished is not None:
                finished.add(data[at:end], self._longest)
            if number is not None:
                number += data.count(b"\n", at, start)
            self._open = _Document(first + start, number)
            at = start
            if finished is not None:
                yield finished
        if self._open is not None:
            self._open.add(data[at:], self._longest)

    def _batch(self, documents: list[_Document]) -> RecordBatch:
        records: list[Record | None] = []
        kept: list[_Document] = []
        bad: Bad = {}
        for document in documents:
            record = None
            if document.too_long:
                bad[len(kept)] = ("line_too_long", "the document is")
            else:
                try:
                    record = self._format.record(document.data.rstrip())
                except BadText as error:
                    bad[len(kept)] = error.args
                else:
                    if record is None:
                        continue
            records.append(record)
            kept.append(document)
        offsets = [document.offset for document in kept]
        numbers = [document.number for document in kept if document.number is not None]
        heads = [document.head for document in kept]
        return RecordBatch(records, bad, offsets, numbers if len(numbers) == len(kept) else None, self.unit, heads)
