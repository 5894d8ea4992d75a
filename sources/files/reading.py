"""Opening files: paths and patterns, their decompressed bytes as a stream, and whole lines in blocks.

Any path fsspec knows works (local, memory://, gs://, s3://, hf://), and so do the members of archives
(sources.files.archives). A fault in a compressed stream is no exception: everything that decompresses before it comes first,
then `ByteStream.fault` says what is wrong and where.
"""

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import chain, pairwise
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final, Protocol

import fsspec
import numpy as np
import numpy.typing as npt

from sources.files import archives
from sources.files.archive_member import LARGEST_RATIO, SAFE_SIZE, open_stored_file
from sources.files.decompression import CHUNK as CHUNK  # noqa: PLC0414  # others have it from here
from sources.files.decompression import (
    DECOMPRESSORS,
    TOO_MUCH_MEMORY,
    DamagedFileError,
    DecompressedBytes,
    Decompressor,
)
from sources.files.decompression import Fault as Fault  # noqa: PLC0414
from sources.files.encodings import HEAD, as_utf8, encoding_of
from sources.source import SourceError, Split

BLOCK: Final = 4 << 20  # bytes of a block of lines
MAX_LINE: Final = 16 << 20  # longest line kept, in bytes
EXCERPT: Final = 512  # bytes kept of a record that is too long
HUB: Final = "hub://"  # a data set by its name: no file (sources.formats.hub_rows)
UTF8_MARK: Final = codecs.BOM_UTF8

Offsets = npt.NDArray[np.int64]


class NoFileError(SourceError):
    """A path, folder or glob that names no file."""


def expand_paths(patterns: Sequence[str]) -> list[str]:
    """The files that paths, globs and folders (searched in depth) name, sorted, each once; for archives, their members.

    Members of archives are named `ARCHIVE!/MEMBER`, and so may a pattern be, or `zip://MEMBER::ARCHIVE`; a `*` in the
    member's part matches any characters, `/` too. Hidden files (a name that starts with `.` or `_`) are left out of
    globs, folders and archives. Raises SourceError naming the pattern when it matches nothing, and for what cannot be
    read: .7z and .rar archives, members that are refused (sources.files.archives), and archives inside of archives. Data sets on
    the hub (hub://) stay as they are.
    """
    return sorted({path for pattern in patterns for path in _expand(pattern)})


def file_pattern(pattern: str) -> str:
    """The part of a pattern that names files: for members, the archive's."""
    named = _archive_and_member(pattern)
    return named[0] if named else pattern


_CHAINED: Final = re.compile(r"(?:zip|tar)://(.*)::(.+)", re.DOTALL)


def _archive_and_member(pattern: str) -> tuple[str, str] | None:
    chained = _CHAINED.fullmatch(pattern)
    return (chained[2], chained[1]) if chained else archives.split_member(pattern)


def _expand(pattern: str) -> Iterator[str]:
    if pattern.startswith(HUB):
        yield pattern
        return
    named = _archive_and_member(pattern)
    for path in _expand_files(named[0] if named else pattern):
        if archives.is_archive(path):
            yield from _members(path, named[1] if named else "", pattern)
        elif named:
            raise SourceError(f"{pattern!r}: {path} is no archive whose members can be named")
        else:
            yield path


def _members(archive: str, wanted: str, pattern: str) -> Iterator[str]:
    """The paths of an archive's members: one of the very name wanted, those that match, or for "" all that are not hidden."""
    names = archives.member_names(archive)
    if wanted in names:
        names = [wanted]
    elif wanted:
        names = [name for name in names if fnmatchcase(name, wanted) and not _hidden(PurePosixPath(name).name, "")]
    else:
        names = [name for name in names if not _hidden(name, "")]
    if not names:
        raise SourceError(f"{archive}: no member matches {pattern!r}: name one, or give a glob")
    for name in names:
        if archives.is_archive(name):
            raise SourceError(
                f"{archive}: member {name!r} is an archive inside of an archive: unpack the outer one, or leave it out with a"
                f" glob such as {archive}{archives.MARK}*.txt"
            )
        yield archives.member_path(archive, name)


def _expand_files(pattern: str) -> list[str]:
    try:
        system, path = fsspec.core.url_to_fs(pattern)
    except (ValueError, ImportError) as error:
        raise SourceError(f"cannot open {pattern!r}: {error}") from error
    if system.isfile(path):  # before the glob: a file's own name may hold [ or *
        return [_full_name(system, path)]
    found = system.find(path) if system.isdir(path) else [name for name in system.glob(path) if system.isfile(name)]
    names = [_full_name(system, name) for name in found if not _hidden(name, path)]
    if not names:
        raise NoFileError(f"no file matches {pattern!r}: give a file, a folder that holds files, or a glob")
    return names


_HIDDEN: Final = re.compile(r"(?:^|/)(?:_|\.(?!/|\Z))")


def _hidden(name: str, root: str) -> bool:
    below = name.removeprefix(root) if name.startswith(root) else PurePosixPath(name).name
    return _HIDDEN.search(below) is not None


def _full_name(system: Any, path: str) -> str:
    local = "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,))
    return path if local else str(system.unstrip_protocol(path))


def open_stored(path: str) -> BinaryIO:
    """The stored bytes of a file or of a member of an archive, seekable. Raises SourceError when it cannot be opened.

    Reading a member raises DamagedFileError after the last bytes that the archive still gives.
    """
    member = archives.split_member(path)
    return open_stored_file(path) if member is None else archives.open_member(*member)


def stored_size(path: str) -> int | None:
    """Bytes of the file on storage; None where the storage does not say, and for what can only be read from its start:
    a compressed member of an archive is one split."""
    member = archives.split_member(path)
    if member is not None:
        return archives.member_size(*member) if archives.stored_apart(*member) else None
    try:
        system, name = fsspec.core.url_to_fs(path)
        size = system.size(name)
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"cannot open {path!r}: {error}") from error
    return None if size is None else int(size)


def input_size(path: str) -> int | None:
    """Bytes that positions in a file count up to: of the file on storage, or of a member itself; None where not known."""
    member = archives.split_member(path)
    return stored_size(path) if member is None else archives.member_size(*member)


def one_split(path: str) -> list[Split]:
    """The split of a file that can only be read from its start to its end."""
    return [Split(path, size=input_size(path))]


def base_name(path: str) -> str:
    """The file's name without its folders and without the ending of its compression: `a/b.jsonl.gz` is `b.jsonl`."""
    return without_compression(path.rstrip("/").rsplit("/", 1)[-1])


def without_compression(name: str) -> str:
    """A name without the ending of its compression: `b.jsonl.gz` is `b.jsonl`."""
    stem, _, ending = name.rpartition(".")
    return stem if stem and f".{ending.lower()}" in DECOMPRESSORS else name


def is_compressed(path: str) -> bool:
    """Whether the ending says that the file is compressed."""
    return PurePosixPath(path).suffix.lower() in DECOMPRESSORS


class ByteStream:
    """The decompressed bytes of stored bytes [start, end) of a file, once, in chunks of about CHUNK bytes.

    `position` is the stored byte reached; `fault`, set when the chunks have run out, why they should have gone on.
    Text in another encoding, seen (sources.files.encodings) or told, comes as UTF-8.
    """

    def __init__(self, path: str, start: int = 0, end: int | None = None, encoding: str | None = None) -> None:
        self.path, self.start, self.end, self.encoding = path, start, end, encoding
        self.position = start
        self.member = start  # stored byte where the compressed member of the last chunk starts
        self.fault: Fault | None = None

    def __iter__(self) -> Iterator[bytes]:
        with open_stored(self.path) as file:
            make = DECOMPRESSORS.get(PurePosixPath(self.path).suffix.lower())
            chunks = self._stored(file) if make is None else self._decompressed(file, make)
            yield from chunks if self.start else as_utf8(chunks, self.encoding)

    def _stored(self, file: BinaryIO) -> Iterator[bytes]:
        file.seek(self.position)
        try:
            while chunk := file.read(CHUNK if self.end is None else min(CHUNK, self.end - self.position)):
                self.position += len(chunk)
                yield chunk
        except DamagedFileError as error:
            self.fault = error.fault

    def _decompressed(self, file: BinaryIO, make: Callable[[], Decompressor]) -> Iterator[bytes]:
        stream = DecompressedBytes(file, make, self.start, self.end)
        member = archives.split_member(self.path)
        ratio = LARGEST_RATIO * (archives.stored_share(*member) if member else 1)  # bombs may lie inside of bombs
        given = 0
        for chunk in stream:
            self.position, self.member = stream.position, stream.member
            given += len(chunk)
            if given > max(SAFE_SIZE, ratio * (stream.position - self.start)):
                detail = f"its first {stream.position:,} bytes give {given:,}: decompress it yourself if that is right"
                self.fault = Fault("decompression_bomb", stream.position, detail)
                return
            yield chunk
        self.position, self.member, self.fault = stream.position, stream.member, stream.fault
        if self.fault is not None and self.fault.reason == TOO_MUCH_MEMORY:
            raise SourceError(f"{self.path}: {self.fault.detail}")


def byte_splits(path: str, target_bytes: int) -> list[Split]:
    """One split for a compressed file, or one that is not in UTF-8; byte ranges of about `target_bytes` for a plain one."""
    size = stored_size(path)
    if size is None or is_compressed(path) or size <= target_bytes or _is_recoded(path):
        return one_split(path)
    parts = max(1, round(size / max(1, target_bytes)))
    cuts = [size * part // parts for part in range(parts + 1)]
    return [Split(path, start, end, size) for start, end in pairwise(cuts) if start < end]


def _is_recoded(path: str) -> bool:
    with open_stored(path) as file:
        try:
            return encoding_of(file.read(HEAD)) is not None
        except DamagedFileError:  # whoever reads it tells
            return False


@dataclass(frozen=True)
class RecordBlock:
    """Whole records, one a line, each line ended by a newline but perhaps the last.

    `offsets` says at which byte of the decompressed file each starts: an identity that does not depend on the splits.
    """

    data: bytes
    offsets: Offsets
    first: int | None  # number of the first record, from 1; None in a split that does not start the file
    regular: bool = True  # whether every parser of CSV finds just these records in `data`; lines of other formats do

    @cached_property
    def lines(self) -> list[bytes]:
        """The records without newlines and carriage returns at their ends."""
        lines = self.data.split(b"\n")
        if self.data.endswith(b"\n"):
            lines.pop()
        return [line.removesuffix(b"\r") for line in lines] if b"\r" in self.data else lines

    def place(self, row: int, unit: str) -> tuple[int, str]:
        """Position and unit of a record, as quarantine shows them: its number where known, else its byte."""
        return (int(self.offsets[row]), "byte") if self.first is None else (self.first + row, unit)


@dataclass(frozen=True)
class LongRecord:
    """A record longer than the limit: only its first bytes were kept."""

    head: bytes
    offset: int
    number: int | None

    def place(self, unit: str) -> tuple[int, str]:
        """Position and unit, as quarantine shows them."""
        return (self.offset, "byte") if self.number is None else (self.number, unit)


Block = RecordBlock | LongRecord


class Reader(Protocol):
    """What cuts a split into records; the attributes are LineReader's."""

    cut_off: bytes

    @property
    def position(self) -> int: ...

    @property
    def fault(self) -> Fault | None: ...

    def __iter__(self) -> Iterator[Block]: ...


class LineReader:
    r"""The lines of a split as blocks of about `block` bytes: a line belongs to the split in which it starts.

    A line ends at \n (or \r\n, or the end of the file); one longer than `max_line` bytes comes as LongRecord, never
    held in memory. A UTF-8 mark at the start of the file is left out. `position` is the stored byte reached. Once the
    blocks have run out, `fault` says what ended the file early and `cut_off` holds the unfinished line before it.
    """

    def __init__(self, split: Split, max_line: int = MAX_LINE, block: int = BLOCK) -> None:
        self._split, self._max_line, self._block = split, max_line, block
        self.cut_off = b""
        start = max(0, split.start - 1)  # is the byte before a newline?
        self._stream = ByteStream(split.path, start, split.end, split.encoding)

    @property
    def position(self) -> int:
        """The stored byte reached."""
        return self._stream.position

    @property
    def fault(self) -> Fault | None:
        """Why the lines end before they should; None while they run and for a whole file."""
        return self._stream.fault

    def __iter__(self) -> Iterator[Block]:
        offset, chunks = self._first_line()
        cutter = _LineCutter(offset, 1 if self._split.start == 0 else None, self._max_line)
        waiting: list[bytes] = []
        size, last = 0, b"\n"
        for chunk in chunks:
            last = chunk[-1:] or last
            waiting.append(chunk)
            size += len(chunk)
            if size >= self._block:
                yield from cutter.cut(b"".join(waiting))
                waiting, size = [], 0
        if last != b"\n" and self._split.end is not None:
            waiting.append(b"")
            for chunk in _rest_of_line(self._split):
                yield from cutter.cut(b"".join(waiting) + chunk)
                waiting = []
        if self.fault is None:
            yield from cutter.cut(b"".join(waiting), last=True)
        else:
            yield from cutter.cut(b"".join(waiting))
            self.cut_off = cutter.tail

    def _first_line(self) -> tuple[int, Iterator[bytes]]:
        """Where the first line of the split starts, and the bytes from there."""
        chunks = iter(self._stream)
        if self._split.start == 0:
            head = b""
            while len(head) < len(UTF8_MARK) and (chunk := next(chunks, b"")):
                head += chunk
            text = head.removeprefix(UTF8_MARK)
            return len(head) - len(text), chain([text], chunks)
        offset = self._split.start - 1
        for chunk in chunks:
            if newline := chunk.find(b"\n") + 1:
                return offset + newline, chain([chunk[newline:]], chunks)
            offset += len(chunk)
        return offset, iter(())


def _rest_of_line(split: Split) -> Iterator[bytes]:
    for chunk in ByteStream(split.path, split.end or 0):
        newline = chunk.find(b"\n") + 1
        yield chunk[:newline] if newline else chunk
        if newline:
            return


class _LineCutter:
    """Cuts bytes that come in any pieces into blocks of whole lines, dropping the inside of lines that are too long."""

    def __init__(self, offset: int, number: int | None, max_line: int) -> None:
        self._offset, self._number, self._max_line = offset, number, max_line
        self.tail = b""  # the start of a line whose end has not come
        self._dropped = 0  # bytes of it already dropped, after its first _head
        self._head = min(EXCERPT, max_line)

    def cut(self, data: bytes, last: bool = False) -> Iterator[Block]:
        data = self.tail + data
        end = len(data) if last else data.rfind(b"\n") + 1
        lines, self.tail = data[:end], data[end:]
        if self._dropped and (lines or last):
            newline = lines.find(b"\n") + 1 or len(lines)
            yield self._long(lines[: min(self._head, newline)], self._dropped + newline)
            lines, self._dropped = lines[newline:], 0
        if lines:
            yield from self._blocks(lines)
        if len(self.tail) > self._max_line:
            self._dropped += len(self.tail) - self._head
            self.tail = self.tail[: self._head]

    def _blocks(self, lines: bytes) -> Iterator[Block]:
        newlines = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n"))
        starts = np.concatenate(([0], newlines + 1))
        starts = starts[starts < len(lines)]
        ends = np.append(starts[1:], len(lines))
        begin = 0
        sizes = ends - starts
        sizes[: len(newlines)] -= 1
        for row in np.flatnonzero(sizes > self._max_line).tolist():
            yield from self._block(lines, starts[begin:row], int(starts[row]))
            yield self._long(lines[starts[row] : starts[row] + EXCERPT], int(ends[row] - starts[row]))
            begin = row + 1
        yield from self._block(lines, starts[begin:], len(lines))

    def _block(self, lines: bytes, starts: Offsets, end: int) -> Iterator[RecordBlock]:
        if not len(starts):
            return
        yield RecordBlock(lines[starts[0] : end], starts - starts[0] + self._offset, self._number)
        self._advance(len(starts), end - int(starts[0]))

    def _long(self, head: bytes, size: int) -> LongRecord:
        record = LongRecord(head, self._offset, self._number)
        self._advance(1, size)
        return record

    def _advance(self, lines: int, size: int) -> None:
        self._offset += size
        self._number = None if self._number is None else self._number + lines
