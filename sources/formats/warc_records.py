"""The records of WARC files (ISO 28500), plain or compressed record by record, whatever is damaged in between.

Behind a damaged member of a .warc.gz, reading goes on at the next member that begins a record.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from sources.files.decompression import DamagedFileError
from sources.files.reading import CHUNK, EXCERPT, ByteStream, Fault, is_compressed, open_stored

MOST_FAULTS: Final = 1000  # damaged members of a file behind which reading goes on
LONGEST_HEADER: Final = 64 << 10
_MARK: Final = b"WARC/"
_BREAK: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"^content-length:[ \t]*([0-9]{1,15})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_TYPE: Final = re.compile(rb"^warc-type:[ \t]*([a-z]{1,40})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_MEMBER: Final = b"\x1f\x8b\x08"


@dataclass(frozen=True, slots=True)
class WarcRecord:
    """One record: all its bytes, its type (response, request ...), and where it starts."""

    data: bytes
    kind: str
    place: int  # stored byte of the record, or of the compressed member that holds it


@dataclass(frozen=True, slots=True)
class BadWarcRecord:
    """What is no record or cannot be read: one or more records, the first of them at `place`."""

    reason: str
    detail: str
    head: bytes
    place: int


class WarcRecords:
    """The records of a whole file, each of at most `longest` bytes; longer ones and damage come as BadWarcRecord."""

    def __init__(self, path: str, longest: int) -> None:
        self._path, self._longest = path, longest
        self._stream = self._bytes_from(0)

    @property
    def position(self) -> int:
        """The stored byte reached."""
        return self._stream.position

    def _bytes_from(self, start: int) -> ByteStream:
        """The bytes as they are: texts in other encodings lie in between, and lengths count their bytes."""
        return ByteStream(self._path, start, encoding="utf-8")

    def __iter__(self) -> Iterator[WarcRecord | BadWarcRecord]:
        compressed = is_compressed(self._path)
        for tries in count(1):
            cutter = _Cutter(self._longest, compressed)
            held: WarcRecord | BadWarcRecord | None = None  # until its member's checksum is known to be right
            for chunk in self._stream:
                for record in cutter.cut(chunk, self._stream):
                    if held is not None:
                        yield held
                    held = record
            fault = self._stream.fault or cutter.fault(self._stream.position)
            if held is not None and (fault is None or not compressed or held.place != self._stream.member):
                yield held
            if fault is None:
                return
            yield BadWarcRecord(fault.reason, fault.detail, cutter.rest[:EXCERPT], cutter.place_of(fault, self._stream))
            if fault.reason != "corrupt_file" or not self._path.lower().endswith(".gz") or tries == MOST_FAULTS:
                return
            after = _next_member(self._path, max(self._stream.member + 1, self._stream.start + 1))
            if after is None:
                return
            self._stream = self._bytes_from(after)


def _next_member(path: str, start: int) -> int | None:
    """The first stored byte from `start` on where a gzip member begins whose first bytes are those of a record."""
    with open_stored(path) as file:
        place, tail = start, b""
        while True:
            file.seek(place)
            try:
                chunk = file.read(CHUNK)
            except DamagedFileError:  # of the archive that holds the file
                return None
            if not chunk:
                return None
            data = tail + chunk
            at = data.find(_MEMBER)
            while at >= 0:
                found = place - len(tail) + at
                if _begins_record(path, found):
                    return found
                at = data.find(_MEMBER, at + 1)
            place += len(chunk)
            tail = data[1 - len(_MEMBER) :]


def _begins_record(path: str, place: int) -> bool:
    with open_stored(path) as file:
        file.seek(place)
        try:
            return zlib.decompressobj(wbits=31).decompress(file.read(4096), len(_MARK)).startswith(_MARK)
        except (zlib.error, DamagedFileError):
            return False


class _Cutter:
    """Cuts the bytes of a stream into records."""

    def __init__(self, longest: int, compressed: bool) -> None:
        self._longest, self._compressed = longest, compressed
        self.rest = b""  # what has come of the next record
        self._waiting: list[bytes] = []  # more of it, not yet joined
        self._size = self._needed = 0  # bytes of both, and how many there must be to go on
        self._place = 0  # of the first byte of rest
        self._member = 0  # stored byte of the compressed member that the last chunk came from
        self._skip = 0  # bytes to drop: the contents of a record that is too long
        self._lost = False  # whether rest is what follows something that is no record

    def fault(self, position: int) -> Fault | None:
        """Why the last record is none: None where the stream ends after a whole one."""
        self._join()
        if self._skip or (self.rest.strip(b"\r\n") and not self._lost):
            return Fault("truncated_file", position, "the last record does not end")
        return None

    def place_of(self, fault: Fault, stream: ByteStream) -> int:
        """Where what cannot be read starts: a record, or the damage."""
        self._join()
        return self._place if self.rest else max(stream.member, stream.start) if self._compressed else fault.position

    def cut(self, chunk: bytes, stream: ByteStream) -> Iterator[WarcRecord | BadWarcRecord]:
        """The records that end in a chunk that the stream has just given."""
        here = stream.member if self._compressed else stream.position - len(chunk)
        if self._compressed and here != self._member:
            if chunk.startswith(_MARK):  # a record never goes on in the member of another one
                yield from self._give_up()
            self._member = here
        if self._skip:
            dropped = min(self._skip, len(chunk))
            self._skip -= dropped
            chunk = chunk[dropped:]
            here += 0 if self._compressed else dropped
        if not self._size:
            self._place = here
        known = self._size
        self._waiting.append(chunk)
        self._size += len(chunk)
        if self._size < self._needed:
            return
        self._join()
        yield from self._records(here, known)
        self._size = len(self.rest)

    def _give_up(self) -> Iterator[BadWarcRecord]:
        """End a record that is shorter than it says."""
        self._join()
        if self.rest.strip(b"\r\n") and not self._lost:
            yield BadWarcRecord("truncated_record", "it is shorter than it says", self.rest[:EXCERPT], self._place)
        self.rest = b""
        self._size = self._needed = self._skip = 0
        self._lost = False

    def _join(self) -> None:
        if self._waiting:
            self.rest = b"".join([self.rest, *self._waiting])
            self._waiting = []

    def _records(self, here: int, known: int) -> Iterator[WarcRecord | BadWarcRecord]:
        """`here` is the place of the byte at `known` in rest."""
        data, at, first = self.rest, 0, self._place

        def place_of(byte: int) -> int:
            if byte < known:
                return first if self._compressed else first + byte
            return here if self._compressed else here + byte - known

        while True:
            while data[at : at + 1] in (b"\r", b"\n"):
                at += 1
            self._needed = 0
            if len(data) - at < len(_MARK):
                break
            if not data.startswith(_MARK, at):
                if not self._lost:
                    yield BadWarcRecord("malformed_record", "no WARC header", data[at : at + EXCERPT], place_of(at))
                    self._lost = True
                at = _next_mark(data, at)
                if not data.startswith(_MARK, at):
                    break
                continue
            self._lost = False
            end = data.find(_BREAK, at, at + LONGEST_HEADER)
            if end < 0 and len(data) - at < LONGEST_HEADER:
                break
            length = _LENGTH.search(data, at, end) if end >= 0 else None
            if length is None:
                what = "its header does not end" if end < 0 else "its header has no Content-Length"
                yield BadWarcRecord("malformed_record", what, data[at : at + EXCERPT], place_of(at))
                self._lost = True
                at = _next_mark(data, at + 1)
                continue
            after = end + len(_BREAK) + int(length[1])
            if after - at > self._longest:
                yield BadWarcRecord("record_too_long", "", data[at : at + EXCERPT], place_of(at))
                self._skip = max(0, after - len(data))
                at = min(after, len(data))
                continue
            if after > len(data):
                self._needed = after - at
                break
            kind = _TYPE.search(data, at, end)
            yield WarcRecord(data[at:after], kind[1].decode().lower() if kind else "", place_of(at))
            at = after
        self._place = place_of(at)
        self.rest = data[at:]


def _next_mark(data: bytes, at: int) -> int:
    """Where the next record may start: after a line break; else the last bytes, which may begin such a place."""
    found = data.find(b"\n" + _MARK, at)
    return found + 1 if found >= 0 else max(at, len(data) - len(_MARK))
