"""What members of all archives have in common: the file that one is read as, and what of them is refused.

The limits are far from any corpus: text compresses 3 to 20 times, deflate cannot go beyond 1,032.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from io import RawIOBase
from typing import Any, BinaryIO, Final

from sources.files.decompression import CHUNK, DamagedFileError, Fault
from sources.files.steady import open_steadily
from sources.source import SourceError

MOST_MEMBERS: Final = 1_000_000
LARGEST_RATIO: Final = 1000  # times its stored bytes that a member, or all of an archive, may grow to
SAFE_SIZE: Final = 1 << 30  # bytes that they may have whatever the ratio


def open_stored_file(path: str) -> BinaryIO:
    """The stored bytes of a file that is no member of an archive, seekable. Raises SourceError when it cannot be opened."""
    try:
        return open_steadily(path)
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"cannot open {path!r}: {error}") from error


def quoted(name: str) -> str:
    """A member's name that can be printed and stored: % and what cannot be printed (control characters, marks that turn
    the direction of a line, bytes that are no UTF-8) as %XX."""
    if name.isprintable() and "%" not in name:
        return name
    return "".join(letter if letter.isprintable() and letter != "%" else _escaped(letter) for letter in name)


def _escaped(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))


def refused(archive: str, name: str, why: str) -> SourceError:
    """The error for an archive with a member that is not read."""
    return SourceError(f"{archive}: member {quoted(name)!r} {why}: unpack it yourself, and name the files")


def too_many(archive: str) -> SourceError:
    """The error for an archive of more than MOST_MEMBERS members."""
    return SourceError(f"{archive}: more than {MOST_MEMBERS:,} members: unpack it yourself, and name the files")


_ABSOLUTE: Final = re.compile(r"[/\\]|[A-Za-z]:[/\\]")


def check_name(archive: str, name: str) -> None:
    """Raise SourceError for names that lead out of a folder: no corpus has them, and no one should unpack them."""
    if not name:
        raise refused(archive, name, "has no name")
    if _ABSOLUTE.match(name):
        raise refused(archive, name, "has an absolute name")
    if ".." in name and ".." in re.split(r"[/\\]", name):
        raise refused(archive, name, "has a name with `..`")


class MemberFile(RawIOBase):
    """A member as a seekable file: chunks in order, started again where someone seeks back (or, where that is cheap, on)."""

    def __init__(self, size: int, chunks_from: Callable[[int], Iterator[bytes]], cheap: bool, crc: int | None) -> None:
        self._size, self._chunks_from, self._cheap = size, chunks_from, cheap
        self._crc, self._crc_so_far = crc, 0
        self._place = 0  # what tell() says
        self._chunks: Iterator[bytes] | None = None
        self._waiting = memoryview(b"")
        self._reached = 0  # where _waiting starts
        self._checked = 0  # bytes from the start that the checksum covers
        self._damage: DamagedFileError | None = None  # met after the chunks so far

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = max(0, offset + (0, self._place, self._size)[whence])
        return self._place

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes, fewer only at the end or before damage; the next call then raises DamagedFileError."""
        left = max(0, self._size - self._place)
        wanted = left if size is None or size < 0 else min(size, left)
        parts: list[bytes] = []
        try:
            self._go_to(self._place)
            while wanted > 0:
                if not self._waiting and not self._next_chunk():
                    break
                part = self._waiting[:wanted]
                parts.append(bytes(part))
                self._pass(len(part))
                wanted -= len(part)
            if self._reached == self._size:
                self._finish()
        except DamagedFileError as error:
            self._damage = error
            if not parts:
                raise
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._place += len(data)
        return data

    def close(self) -> None:
        self._end_chunks()
        super().close()

    def _go_to(self, place: int) -> None:
        if (
            self._chunks is None
            or place < self._reached
            or (self._cheap and place > self._reached + len(self._waiting))
        ):
            self._end_chunks()
            self._reached = place if self._cheap else 0
            self._chunks = self._chunks_from(self._reached)
        while self._reached < place and (self._waiting or self._next_chunk()):
            self._pass(min(place - self._reached, len(self._waiting)))

    def _next_chunk(self) -> bool:
        assert self._chunks is not None
        if self._damage is not None:
            raise self._damage
        chunk = next(self._chunks, b"")
        if self._checked == self._reached:
            self._crc_so_far = zlib.crc32(chunk, self._crc_so_far)
            self._checked += len(chunk)
        self._waiting = memoryview(chunk)
        return bool(chunk)

    def _pass(self, size: int) -> None:
        self._waiting = self._waiting[size:]
        self._reached += size

    def _finish(self) -> None:
        """At the end: what the archive still has to say of the member, and the checksum."""
        if self._damage is not None:
            raise self._damage
        if self._chunks is not None:
            next(self._chunks, b"")
        if self._crc is not None and self._checked == self._size and self._crc_so_far != self._crc:
            raise DamagedFileError(Fault("corrupt_file", self._size, "the archive's checksum is another"))

    def _end_chunks(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
        self._chunks, self._waiting, self._damage = None, memoryview(b""), None


def stored_chunks(archive: str, start: int, size: int, skip: int) -> Iterator[bytes]:
    """Bytes [skip, size) of what is stored from byte `start` of a file."""
    with open_stored_file(archive) as file:
        place, end = start + skip, start + size
        while place < end:
            file.seek(place)
            chunk = file.read(min(CHUNK, end - place))
            if not chunk:
                raise DamagedFileError(Fault("truncated_file", place - start, f"{archive} ends inside of this member"))
            place += len(chunk)
            yield chunk
