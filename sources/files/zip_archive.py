"""Zip archives: the list of members at the end, and members that are stored, deflated, bzip2 or Zstandard streams."""

import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

from sources.files.archive_member import (
    LARGEST_RATIO,
    MOST_MEMBERS,
    SAFE_SIZE,
    MemberFile,
    check_name,
    open_stored_file,
    quoted,
    refused,
    stored_chunks,
    too_many,
)
from sources.files.decompression import DECOMPRESSORS, DamagedFileError, DecompressedBytes, Decompressor, Fault, deflate
from sources.source import SourceError

LARGEST_LIST: Final = 256 << 20  # bytes of the list of members


@dataclass(frozen=True, slots=True)
class ZipMember:
    header: int  # byte of its local header
    stored: int  # bytes of the archive that it takes
    size: int
    method: int  # 0: stored
    crc: int


_METHODS: Final[dict[int, Callable[[], Decompressor]]] = {
    8: deflate,
    12: DECOMPRESSORS[".bz2"],
    93: DECOMPRESSORS[".zst"],
}
_ENTRY: Final = b"PK\x01\x02"


class ZipArchive:
    """A zip archive: its list of members is read once."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        with open_stored_file(archive) as file:
            entries = self._entries(file)[::-1]
            self._stored = file.seek(0, 2)
        self._members: dict[str, ZipMember] = {}
        while entries:  # each goes as its member comes: a million of either take 300 MB
            self._add(entries.pop())
        self._check_totals()

    def _entries(self, file: BinaryIO) -> list[zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(cast(BinaryIO, _ListReader(file, self._archive))) as opened:
                return opened.infolist()
        except (zipfile.BadZipFile, NotImplementedError, OSError, UnicodeError) as error:
            raise SourceError(
                f"{self._archive}: no zip archive, or one that is cut off ({error}): its list of members, at the end, cannot be"
                " read. Fetch it again, or unpack what can be unpacked and name the files"
            ) from error

    def _add(self, entry: zipfile.ZipInfo) -> None:
        name = entry.filename
        if name.endswith("/"):  # a folder
            return
        check_name(self._archive, name)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise refused(self._archive, name, "is a link")
        if entry.flag_bits & 0x1:
            raise refused(self._archive, name, "is encrypted")
        if entry.compress_type and entry.compress_type not in _METHODS:
            raise refused(self._archive, name, f"is compressed by method {entry.compress_type}, which is not read here")
        if not entry.compress_type and entry.file_size != entry.compress_size:
            raise refused(
                self._archive, name, f"claims {entry.file_size:,} bytes, not compressed, in {entry.compress_size:,}"
            )
        if entry.file_size > max(SAFE_SIZE, LARGEST_RATIO * entry.compress_size):
            raise refused(
                self._archive, name, f"claims {entry.file_size:,} bytes of {entry.compress_size:,} stored ones"
            )
        if name in self._members:
            raise refused(self._archive, name, "is in it twice")
        self._members[name] = ZipMember(
            entry.header_offset, entry.compress_size, entry.file_size, entry.compress_type, entry.CRC
        )

    def _check_totals(self) -> None:
        """Members may share their stored bytes, each of them harmless."""
        stored = sum(member.stored for member in self._members.values())
        total = sum(member.size for member in self._members.values())
        if stored > self._stored or total > max(SAFE_SIZE, LARGEST_RATIO * self._stored):
            raise SourceError(
                f"{self._archive}: its members claim {total:,} bytes, {stored:,} as they are stored; the archive has"
                f" {self._stored:,}: unpack it yourself, and name the files, if that is right"
            )

    def names(self) -> list[str]:
        """The names of all members, in the archive's order."""
        return list(self._members)

    def find(self, name: str) -> ZipMember:
        """A member by its name. Raises SourceError where there is none."""
        if name not in self._members:
            raise SourceError(f"{self._archive}: no member {quoted(name)!r}")
        return self._members[name]

    def stored_share(self, name: str) -> float:
        """Stored bytes for each byte of the member, at most 1."""
        member = self.find(name)
        return min(1.0, member.stored / max(1, member.size))

    def stored_apart(self, name: str) -> bool:
        """Whether the member can be read from any byte."""
        return self.find(name).method == 0

    def open(self, name: str) -> MemberFile:
        """The member as a file. Raises SourceError where there is none."""
        member = self.find(name)

        def chunks_from(place: int) -> Iterator[bytes]:
            start = self._data_start(member)
            if member.method == 0:
                return stored_chunks(self._archive, start, member.size, place)
            return self._decompressed(member, start)

        return MemberFile(member.size, chunks_from, member.method == 0, member.crc)

    def _data_start(self, member: ZipMember) -> int:
        header = b""
        if 0 <= member.header < self._stored:
            with open_stored_file(self._archive) as file:
                file.seek(member.header)
                header = file.read(30)
        if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
            raise DamagedFileError(Fault("corrupt_file", 0, f"no header of the member at byte {member.header}"))
        lengths = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        return member.header + 30 + sum(lengths)

    def _decompressed(self, member: ZipMember, start: int) -> Iterator[bytes]:
        """The member's bytes, never more than it says it has."""
        with open_stored_file(self._archive) as file:
            stream = DecompressedBytes(file, _METHODS[member.method], start, start + member.stored)
            left = member.size
            for chunk in stream:
                if len(chunk) > left:
                    yield chunk[:left]
                    raise DamagedFileError(Fault("corrupt_file", member.size, "more bytes than the archive says"))
                left -= len(chunk)
                yield chunk
            if left:
                why = stream.fault.detail if stream.fault else "fewer bytes than the archive says"
                raise DamagedFileError(Fault("corrupt_file", member.size - left, why))


class _ListReader:
    """The file as the zip library sees it: it reads the list of members in one go, which is bounded here."""

    def __init__(self, file: BinaryIO, archive: str) -> None:
        self._file, self._archive = file, archive

    def read(self, size: int = -1) -> bytes:
        if size > LARGEST_LIST:
            raise SourceError(f"{self._archive}: its list of members takes {size:,} bytes: unpack it first")
        data = self._file.read(size)
        if data.count(_ENTRY) > MOST_MEMBERS:
            raise too_many(self._archive)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True
