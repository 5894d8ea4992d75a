"""Dumps of tables as XML with one row a line: `<row Id="1" Body="..." />`, every column an attribute."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from sources.files.reading import LineReader, LongRecord
from sources.formats.extracted_rows import ExtractedRows
from sources.records import EARLY, BadRecord
from sources.source import SourceError, Split

_ROW: Final = re.compile(rb'\s*<row((?:\s+[A-Za-z]++="[^"<]*+")*+)\s*/>\s*')
_ATTRIBUTE: Final = re.compile(rb'([A-Za-z]++)="([^"]*+)"')
_FRAME: Final = re.compile(rb"\s*(?:<\?xml[^<>]*\?>\s*|</?[a-z]+\s*/?>\s*)*+", re.IGNORECASE)
_NUMBERED: Final = re.compile(r"&#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));")
_WHOLE_NUMBER: Final = re.compile(rb"-?[0-9]{1,18}")


class XmlRow(NamedTuple):
    """The attributes of a row, as the file has them, and the number of its line."""

    fields: dict[bytes, bytes]
    place: int
    line: bytes

    def text(self, name: bytes) -> str:
        """The text of an attribute. Raises BadRecord where it lacks or is no UTF-8."""
        value = self.fields.get(name)
        if value is None:
            raise BadRecord("missing_field", f"no {name.decode()}")
        try:
            return unescape_attribute(value.decode())
        except UnicodeDecodeError as error:
            raise BadRecord("invalid_utf8", f"byte {error.start + 1} of {name.decode()}") from error

    def number(self, name: bytes) -> int:
        """A whole number of at most 18 digits. Raises BadRecord where it lacks or is none."""
        value = self.fields.get(name)
        if value is None:
            raise BadRecord("missing_field", f"no {name.decode()}")
        if not _WHOLE_NUMBER.fullmatch(value):
            raise BadRecord("wrong_type", f"{name.decode()}: expected a whole number")
        return int(value)


class XmlRows:
    """The rows of a whole file, block by block. Rows are counted in `rows`; what is no row is quarantined there.

    Raises SourceError where the first lines hold no row.
    """

    def __init__(self, path: str, longest: int, rows: ExtractedRows) -> None:
        self._path, self._rows = path, rows
        self._reader = LineReader(Split(path), longest)
        self._seen = self._right = 0

    @property
    def position(self) -> int:
        """The stored byte reached."""
        return self._reader.position

    def bad(self, row: XmlRow, error: BadRecord) -> None:
        """Put a row that has been counted into quarantine."""
        self._quarantine(row.place, error, row.line)

    def __iter__(self) -> Iterator[list[XmlRow]]:
        for block in self._reader:
            if isinstance(block, LongRecord):
                self._rows.count()
                self._quarantine(block.number or 0, BadRecord("line_too_long", ""), block.head)
                continue
            yield self._parse(block.lines, block.first or 1)
            if self._seen >= EARLY:
                self._fail_without_rows()
        if self._reader.fault is None:
            self._fail_without_rows()
            return
        fault = self._reader.fault
        self._rows.count()
        excerpt = f"{fault.detail} | ".encode() + self._reader.cut_off
        self._rows.bad(fault.position, fault.reason, excerpt, unit="byte", file=self._path)

    def _parse(self, lines: list[bytes], first: int) -> list[XmlRow]:
        found: list[XmlRow] = []
        for place, line in enumerate(lines, first):
            if row := _ROW.fullmatch(line):
                found.append(XmlRow(dict(_ATTRIBUTE.findall(row[1])), place, line))
            elif not _FRAME.fullmatch(line):
                self._seen += 1
                self._rows.count()
                self._quarantine(place, BadRecord("malformed_row", "expected one whole <row .../> in the line"), line)
        self._rows.count(len(found))
        self._seen, self._right = self._seen + len(found), self._right + len(found)
        return found

    def _fail_without_rows(self) -> None:
        if self._seen and not self._right:
            raise SourceError(f"{self._path}: no line is a whole <row .../>: expected an XML dump with one row a line")

    def _quarantine(self, place: int, error: BadRecord, line: bytes) -> None:
        excerpt = f"{error.detail} | ".encode() + line if error.detail else line
        self._rows.bad(place, error.reason, excerpt, file=self._path)


def unescape_attribute(text: str) -> str:
    """XML's own entities and numbered characters; a number that is no character is U+FFFD."""
    if "&" not in text:
        return text
    text = text.replace("&#xA;", "\n").replace("&#xD;", "")
    if "&#" in text:
        text = _NUMBERED.sub(_character, text)
    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&apos;", "'")
    return text.replace("&amp;", "&")


def _character(number: re.Match[str]) -> str:
    code = int(number[1], 16) if number[1] else int(number[2])
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else "\ufffd"
