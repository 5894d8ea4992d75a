"""Records of JSON: one object a line, or the elements of an array, or the members of an object."""

from collections.abc import Iterator
from typing import Any, Final, Literal

import orjson

from sources.files.reading import (
    MAX_LINE,
    UTF8_MARK,
    ByteStream,
    LineReader,
    LongRecord,
    Reader,
    byte_splits,
    stored_size,
)
from sources.formats.json_array import ArrayReader
from sources.record_formats import ROWS, Bad, BlockRecords, Format, Record, RecordBatch
from sources.source import Split

Shape = Literal["lines", "array", "within", "members"]
_TYPE_NAMES: Final = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def json_splits(path: str, format: Format, target_bytes: int) -> list[Split]:
    """Byte ranges of plain JSON lines; one split for a compressed file, an array or an object of records."""
    parts = byte_splits(path, target_bytes)
    return parts if len(parts) == 1 or _shape_of(path, format) == "lines" else [Split(path, size=stored_size(path))]


class JsonRecords(BlockRecords):
    """The records of a split of JSON."""

    def __init__(self, split: Split, format: Format, longest: int) -> None:
        self._lists = format.lists
        self._shape: Shape = "lines" if split.start else _shape_of(split.path, format, split.encoding)
        reader = _reader(split, longest, format.within, self._shape)
        super().__init__(reader, "line" if self._shape == "lines" else "entry")

    def __iter__(self) -> Iterator[RecordBatch]:
        for block in self.reader:
            if isinstance(block, LongRecord):
                yield self.too_long(block)
                continue
            lines, offsets, first = block.lines, block.offsets.tolist(), block.first
            for start in range(0, len(lines), ROWS):
                end = min(start + ROWS, len(lines))
                numbers = None if first is None else range(first + start, first + end)
                records, bad, blank = self._parse(lines[start:end])
                batch = RecordBatch(records, bad, offsets[start:end], numbers, self.unit, lines[start:end])
                yield batch.without(blank)

    def _parse(self, lines: list[bytes]) -> tuple[list[Record | None], Bad, list[int]]:
        if self._shape != "members":
            return parse_objects(lines, self._lists)
        records, bad, blank = parse_objects([b"{%s}" % line for line in lines])
        named = (None if record is None else next(iter(record.items()), None) for record in records)
        return [None if member is None else {"key": member[0], "value": member[1]} for member in named], bad, blank


def _reader(split: Split, longest: int, within: str | None, shape: Shape) -> Reader:
    if shape == "lines":
        return LineReader(split, longest)
    return ArrayReader(split.path, longest, within if shape == "within" else None, split.encoding)


def _shape_of(path: str, format: Format, encoding: str | None = None) -> Shape:
    """What the outermost value of a file is, by how it begins: an array, one object that holds records, or lines."""
    head = _head(path, encoding)
    if head.startswith(b"["):
        list_of_texts = head[1:].lstrip().startswith((b'"', b"]"))
        return "lines" if format.lists and list_of_texts else "array"
    if not format.within and not format.members:
        return "lines"
    whole: Shape = "within" if format.within else "members"
    line, _, rest = head.partition(b"\n")
    try:
        first = orjson.loads(line)
    except orjson.JSONDecodeError:  # the object goes on after the line, or the line is damaged and the next one is not
        return whole if head.startswith(b"{") and not rest.startswith(b"{") else "lines"
    if type(first) is not dict or not first:
        return "lines"
    holds_records = format.within in first or (format.members and all(type(value) is dict for value in first.values()))
    return whole if holds_records else "lines"


def _head(path: str, encoding: str | None) -> bytes:
    """The start of a file without blanks: its first line, where that is none of a record too long, and a part of the next."""
    head = b""
    for chunk in ByteStream(path, encoding=encoding):
        head = (head + chunk).removeprefix(UTF8_MARK).lstrip()
        if len(head) > MAX_LINE or (head and not head.startswith(b"{")) or 0 <= head.find(b"\n") < len(head) - 1:
            break
    return head


def parse_objects(lines: list[bytes], lists: str | None = None) -> tuple[list[Record | None], Bad, list[int]]:
    """The object of each line (None where it holds none), why lines are bad, and which are blank.

    With `lists` an array counts as an object with the one field of that name.
    """
    records: list[Record | None] = []
    bad: Bad = {}
    blank: list[int] = []
    for index, line in enumerate(lines):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            records.append(None)
            if line.strip():
                bad[index] = json_fault(line, error)
            else:
                blank.append(index)
            continue
        if type(record) is dict:
            records.append(record)
        elif lists and type(record) is list:
            records.append({lists: record})
        else:
            records.append(None)
            bad[index] = ("not_an_object", f"found {type_name(record)}")
    return records, bad, blank


def json_fault(line: bytes, error: orjson.JSONDecodeError) -> tuple[str, str]:
    """Reason and detail of a line that is no JSON."""
    if b"\0" in line:
        return "nul_byte", ""
    try:
        line.decode()
    except UnicodeDecodeError as fault:
        return "invalid_utf8", f"byte {fault.start + 1} of the record"
    return "invalid_json", error.msg


def shown(value: Any) -> str:
    """A value for a message, cut short; of a list or an object only what it is: it may be of any size and depth."""
    if type(value) is str:
        return repr(value[:50])
    return str(value) if type(value) in (int, float, bool, type(None)) else type_name(value)


def type_name(value: Any) -> str:
    """What a value is, in words: of JSON, or by its Python type where a row of Parquet holds others."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)
