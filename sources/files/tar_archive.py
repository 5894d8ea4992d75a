"""Tar archives, plain or compressed: ustar, GNU and pax headers, read as far as someone asks for."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sources.files.archive_member import (
    MOST_MEMBERS,
    MemberFile,
    check_name,
    open_stored_file,
    quoted,
    refused,
    too_many,
)
from sources.files.decompression import CHUNK, DECOMPRESSORS, DamagedFileError, Decompressor, Fault
from sources.files.tar_bytes import CompressedBytes, Cursor, PlainBytes
from sources.source import SourceError

LARGEST_HEADER: Final = 1 << 20  # bytes of a long name or of the extended header of a member
_COMPRESSION: Final = {"tgz": ".gz", "tbz": ".bz2", "tbz2": ".bz2", "txz": ".xz", "tzst": ".zst"}


@dataclass(frozen=True, slots=True)
class TarMember:
    start: int  # byte of its contents in the (decompressed) tar
    size: int
    order: int  # its number


_BLOCK: Final = 512
_LARGEST: Final = 1 << 60  # bytes that no file has
_REGULAR: Final = (b"0", b"\0", b"7")
_REFUSED_TYPES: Final = {
    b"1": "is a link",
    b"2": "is a link",
    b"3": "is a device",
    b"4": "is a device",
    b"6": "is a pipe",
    b"M": "goes on from another volume",
    b"S": "is a sparse file",
}
_IGNORED_TYPES: Final = (b"5", b"D", b"V", b"g")  # folders, GNU's label and list; defaults for all members


class TarArchive:
    """A tar archive: its headers are read as far as someone asks for, its bytes through a _Bytes."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        with open_stored_file(archive) as file:
            self._stored = file.seek(0, 2)
        make = _compression_of(archive)
        self._bytes = PlainBytes(archive) if make is None else CompressedBytes(archive, make)
        self._members: dict[str, TarMember] = {}
        self._next = 0  # byte of the next header
        self._complete = False
        self._fault: Fault | None = None  # why the headers end before they should
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The names of all members, in the archive's order. Raises SourceError where any is refused."""
        with self._lock:
            self._read_headers(lambda: False)
            if self._fault is not None and not self._members:
                raise SourceError(
                    f"{self._archive}: no tar archive, or one that is damaged at its start ({self._fault.detail}): fetch it"
                    " again"
                )
            return list(self._members)

    def find(self, name: str) -> TarMember:
        """A member by its name. Raises SourceError where there is none."""
        with self._lock:
            self._read_headers(lambda: name in self._members)
        if name not in self._members:
            raise SourceError(f"{self._archive}: no member {quoted(name)!r}")
        return self._members[name]

    def stored_share(self, name: str) -> float:
        """Stored bytes of the archive for each byte of the tar as far as the member's end, at most 1."""
        member = self.find(name)
        return min(1.0, self._stored / max(1, member.start + member.size))

    def stored_apart(self, name: str) -> bool:
        """Whether the member can be read from any byte; one that is cut off is read from its start, which tells it."""
        member = self.find(name)
        return isinstance(self._bytes, PlainBytes) and member.start + member.size <= self._stored

    def open(self, name: str) -> MemberFile:
        """The member as a file. Raises SourceError where there is none."""
        member = self.find(name)
        plain = isinstance(self._bytes, PlainBytes)
        return MemberFile(member.size, lambda skip: self._chunks(member, skip), plain, None)

    def _chunks(self, member: TarMember, skip: int) -> Iterator[bytes]:
        cursor = self._bytes.cursor(member.start + skip)
        try:
            left = member.size - skip
            while left and (chunk := cursor.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk
            if left:
                raise DamagedFileError(cursor.fault or self._cut_off(member.size - left))
        finally:
            self._bytes.give_back(cursor)
        self._check_what_follows(member)

    def _cut_off(self, place: int) -> Fault:
        return Fault("truncated_file", place, f"{self._archive} ends inside of this member")

    def _check_what_follows(self, member: TarMember) -> None:
        """Damage between two members is told with the one before it: no other could tell that the rest is lost."""
        with self._lock:
            self._read_headers(lambda: len(self._members) > member.order + 1)
            fault = self._fault if len(self._members) == member.order + 1 else None
        if fault is not None:
            detail = f"{self._archive} is damaged after this member, what follows is lost: {fault.detail}"
            raise DamagedFileError(Fault(fault.reason, member.size, detail))

    def _read_headers(self, enough: Callable[[], bool]) -> None:
        """Read the headers of more members, until there are enough or no more."""
        if self._complete or enough():
            return
        cursor = self._bytes.cursor(self._next)
        try:
            while not self._complete and not enough():
                self._take(cursor)
        except _DamagedHeader as damage:
            self._complete = True
            self._fault = cursor.fault or Fault("corrupt_file", self._next, str(damage))
            if self._fault.reason == "decompression_bomb":
                raise SourceError(f"{self._archive}: {self._fault.detail}: unpack it yourself") from damage
        finally:
            self._bytes.give_back(cursor)

    def _take(self, cursor: Cursor) -> None:
        """Read one member's header, with those that extend it and those of folders before it."""
        extended: dict[str, bytes] = {}
        while True:
            cursor.skip_to(self._next)
            header = cursor.read(_BLOCK)
            if header == bytes(_BLOCK) or not (header or cursor.fault):  # a bare end is one to GNU tar, too
                self._complete = True
                return
            kind, name, size = _parse_header(header)
            data = self._next + _BLOCK
            size = int(extended["size"]) if "size" in extended and kind in _REGULAR else size
            self._next = data + -(-size // _BLOCK) * _BLOCK
            if kind in (b"L", b"x", b"X"):
                extended |= self._extension(cursor, kind, size)
            elif kind not in (b"K", *_IGNORED_TYPES):
                break
            elif kind != b"K":
                extended = {}
        name = extended.get("path", name)
        self._add(name.decode("utf-8", "surrogateescape"), kind, data, size, extended)

    def _extension(self, cursor: Cursor, kind: bytes, size: int) -> dict[str, bytes]:
        if size > LARGEST_HEADER:
            raise SourceError(f"{self._archive}: a member's header of {size:,} bytes: unpack it first")
        data = cursor.read(size)
        if len(data) < size:
            raise _DamagedHeader("it ends inside of a header")
        return {"path": data.rstrip(b"\0")} if kind == b"L" else dict(_extended_fields(data))

    def _add(self, name: str, kind: bytes, start: int, size: int, extended: dict[str, bytes]) -> None:
        if kind in _REFUSED_TYPES:
            raise refused(self._archive, name, _REFUSED_TYPES[kind])
        if any(key.startswith("GNU.sparse") for key in extended):
            raise refused(self._archive, name, "is a sparse file")
        check_name(self._archive, name)
        while name.startswith("./"):
            name = name[2:].lstrip("/")
        if name.endswith("/"):  # a folder, of the first tar
            return
        if name in self._members:
            raise refused(self._archive, name, "is in it twice")
        if len(self._members) == MOST_MEMBERS:
            raise too_many(self._archive)
        self._members[name] = TarMember(start, size, len(self._members))


class _DamagedHeader(ValueError):
    """No header where one should be."""


def _compression_of(archive: str) -> Callable[[], Decompressor] | None:
    ending = archive.lower().rpartition(".")[2]
    return DECOMPRESSORS.get(_COMPRESSION.get(ending, f".{ending}"))


def _parse_header(header: bytes) -> tuple[bytes, bytes, int]:
    """Type, name and size. Raises _DamagedHeader where the checksum is not that of a header."""
    if len(header) < _BLOCK:
        raise _DamagedHeader("it ends inside of a header")
    if _number(header[148:156]) not in _checksums(header):
        raise _DamagedHeader("the checksum of a header is another")
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return header[156:157], prefix + b"/" + name if prefix else name, _number(header[124:136])


def _checksums(header: bytes) -> Iterator[int]:
    """The sum of the bytes, those of the sum itself taken for spaces; and that of signed bytes, which old tars wrote."""
    summed = header[:148] + b" " * 8 + header[156:]
    yield sum(summed)
    yield sum(summed) - 256 * sum(byte > 127 for byte in summed)


def _number(text: bytes) -> int:
    """Octal digits, or with a high first bit, binary."""
    if text[0] & 0x80:
        number = int.from_bytes(bytes([text[0] & 0x7F]) + text[1:], "big")
        if number > _LARGEST:  # a negative one, too
            raise _DamagedHeader("a number of a header is too large")
        return number
    digits = text.partition(b"\0")[0].strip()
    if digits and not (digits.isdigit() and max(digits) <= ord("7")):
        raise _DamagedHeader("a number of a header is none")
    return int(digits or b"0", 8)


def _extended_fields(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The records of an extended header, each `length key=value` and a newline."""
    place = 0
    while place < len(data):
        length = re.compile(rb"(\d{1,8}) ").match(data, place)
        end = place + int(length[1]) if length else 0
        if length is None or end <= length.end() or end > len(data) or data[end - 1 : end] != b"\n":
            raise _DamagedHeader("an extended header is none")
        key, _, value = data[length.end() : end - 1].partition(b"=")
        if key == b"size" and not re.fullmatch(rb"\d{1,18}", value):
            raise _DamagedHeader("the size of an extended header is none")
        yield key.decode("utf-8", "replace"), value
        place = end
