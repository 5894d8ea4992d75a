"""Opening files: paths and patterns, decompression as a stream, and whole lines in blocks.

Any path fsspec knows works (local, memory://, gs://, s3://, hf://). A fault in a compressed stream is no exception:
everything that decompresses before it comes first, then `ByteStream.fault` says what is wrong and where.
"""

import bz2
import codecs
import lzma
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final, Protocol, cast

import fsspec
import numpy as np
import numpy.typing as npt
import zstandard

from sources.source import SourceError, Split

CHUNK: Final = 1 << 20  # bytes read from storage at a time, and the most that one decompression step gives
BLOCK: Final = 4 << 20  # bytes of a block of lines
MAX_LINE: Final = 16 << 20  # longest line kept, in bytes
EXCERPT: Final = 512  # bytes kept of a record that is too long
UTF8_MARK: Final = codecs.BOM_UTF8
UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Offsets = npt.NDArray[np.int64]


def expand_paths(patterns: Sequence[str]) -> list[str]:
    """The files that paths, globs and folders (searched in depth) name, sorted, each once.

    Hidden files (a name that starts with `.` or `_`) are left out of globs and folders. Raises SourceError naming the
    pattern when it matches nothing.
    """
    return sorted({path for pattern in patterns for path in _expand(pattern)})


def _expand(pattern: str) -> list[str]:
    try:
        system, path = fsspec.core.url_to_fs(pattern)
    except (ValueError, ImportError) as error:
        raise SourceError(f"cannot open {pattern!r}: {error}") from error
    if system.isfile(path):  # before the glob: a file's own name may hold [ or *
        return [_full_name(system, path)]
    found = system.find(path) if system.isdir(path) else [name for name in system.glob(path) if system.isfile(name)]
    names = [_full_name(system, name) for name in found if not _hidden(name, path)]
    if not names:
        raise SourceError(f"no file matches {pattern!r}: give a file, a folder that holds files, or a glob")
    return names


def _hidden(name: str, root: str) -> bool:
    below = name.removeprefix(root) if name.startswith(root) else PurePosixPath(name).name
    return any(part.startswith((".", "_")) for part in PurePosixPath(below).parts)


def _full_name(system: Any, path: str) -> str:
    local = "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,))
    return path if local else str(system.unstrip_protocol(path))


def open_stored(path: str) -> BinaryIO:
    """The stored bytes of a file, seekable. Raises SourceError when it cannot be opened."""
    try:
        return cast(BinaryIO, fsspec.open(path, "rb").open())
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"cannot open {path!r}: {error}") from error


def stored_size(path: str) -> int | None:
    """Bytes of the file on storage; None where the storage does not say."""
    try:
        system, name = fsspec.core.url_to_fs(path)
        size = system.size(name)
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"cannot open {path!r}: {error}") from error
    return None if size is None else int(size)


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


class Decompressor(Protocol):
    """One member (gz), stream (bz2, xz) or frame (zst), decompressed in steps of bounded size."""

    def step(self, data: bytes) -> bytes:
        """Decompress some of `data` and of what was given before; at most about CHUNK bytes."""
        ...

    @property
    def hungry(self) -> bool:
        """Whether the next step needs more data."""
        ...

    @property
    def done(self) -> bool: ...

    @property
    def rest(self) -> bytes:
        """What follows the member in the data given."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    def step(self, data: bytes) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, CHUNK)

    @property
    def hungry(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def done(self) -> bool:
        return self._inner.eof

    @property
    def rest(self) -> bytes:
        return self._inner.unused_data


class _Stream:
    """bz2 and xz: the standard library gives both the same interface."""

    def __init__(self, inner: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._inner = inner

    def step(self, data: bytes) -> bytes:
        return self._inner.decompress(data, CHUNK)

    @property
    def hungry(self) -> bool:
        return self._inner.needs_input

    @property
    def done(self) -> bool:
        return self._inner.eof

    @property
    def rest(self) -> bytes:
        return self._inner.unused_data


class _Zstandard:
    PIECE: Final = 1024  # a block of 4 bytes may give 128 KiB: so a step gives at most 32 MiB of a bomb

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor().decompressobj()
        self._waiting = memoryview(b"")

    def step(self, data: bytes) -> bytes:
        if data:
            self._waiting = memoryview(bytes(self._waiting) + data)
        parts: list[bytes] = []
        size = 0
        while self._waiting and size < CHUNK and not self._inner.eof:
            piece, self._waiting = self._waiting[: self.PIECE], self._waiting[self.PIECE :]
            parts.append(self._inner.decompress(piece))
            size += len(parts[-1])
        return b"".join(parts)

    @property
    def hungry(self) -> bool:
        return not self._waiting

    @property
    def done(self) -> bool:
        return self._inner.eof

    @property
    def rest(self) -> bytes:
        return self._inner.unused_data + bytes(self._waiting)


XZ_MEMORY: Final = 256 << 20

DECOMPRESSORS: Final[dict[str, Callable[[], Decompressor]]] = {
    ".gz": _Gzip,
    ".bz2": lambda: _Stream(bz2.BZ2Decompressor()),
    ".xz": lambda: _Stream(lzma.LZMADecompressor(memlimit=XZ_MEMORY)),
    ".zst": _Zstandard,
}
_FAULTS: Final = (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError, zstandard.ZstdError)


@dataclass(frozen=True)
class Fault:
    """Why a file ends before it should: `truncated_file` or `corrupt_file`, at a byte of the stored file."""

    reason: str
    position: int
    detail: str


class ByteStream:
    """The decompressed bytes of stored bytes [start, end) of a file, once, in chunks of about CHUNK bytes.

    `position` is the stored byte reached; `fault`, set when the chunks have run out, why they should have gone on.
    UTF-16 text with its mark at the start of the file comes as UTF-8.
    """

    def __init__(self, path: str, start: int = 0, end: int | None = None) -> None:
        self.path, self.start, self.end = path, start, end
        self.position = start
        self.member = start  # stored byte where the compressed member of the last chunk starts
        self.fault: Fault | None = None

    def __iter__(self) -> Iterator[bytes]:
        with open_stored(self.path) as file:
            make = DECOMPRESSORS.get(PurePosixPath(self.path).suffix.lower())
            chunks = self._stored(file) if make is None else self._decompressed(file, make)
            yield from chunks if self.start else _as_utf8(chunks)

    def _stored(self, file: BinaryIO) -> Iterator[bytes]:
        file.seek(self.position)
        while chunk := file.read(CHUNK if self.end is None else min(CHUNK, self.end - self.position)):
            self.position += len(chunk)
            yield chunk

    def _decompressed(self, file: BinaryIO, make: Callable[[], Decompressor]) -> Iterator[bytes]:
        """Every member in turn; zero bytes after a member are padding."""
        rest, empty = b"", True
        while True:
            rest = rest.lstrip(b"\0") if not empty else rest
            while not rest and (rest := self._read(file)):
                rest = rest.lstrip(b"\0") if not empty else rest
            if not rest:
                if empty:
                    self.fault = Fault("truncated_file", self.position, "the file is empty")
                return
            empty, self.member = False, self.position - len(rest)
            rest = yield from self._member(file, make, self.member, rest)
            if self.fault is not None:
                return

    def _member(
        self, file: BinaryIO, make: Callable[[], Decompressor], start: int, data: bytes
    ) -> Generator[bytes, None, bytes]:
        """Yields the member's bytes, returns the stored bytes read beyond it."""
        decompressor, given = make(), 0
        while not decompressor.done:
            if not data and decompressor.hungry and not (data := self._read(file)):
                while chunk := decompressor.step(b""):  # zlib may still hold some
                    yield chunk
                self.fault = Fault("truncated_file", self.position, "the compressed stream stops before its end")
                return b""
            try:
                chunk = decompressor.step(data)
            except _FAULTS as error:
                yield from _salvage(file, make(), start, self.position, given)
                place = self.position - len(data)
                self.fault = Fault("corrupt_file", place, f"the compressed stream is damaged: {error}")
                return b""
            data = b""
            given += len(chunk)
            if chunk:
                yield chunk
        return decompressor.rest

    def _read(self, file: BinaryIO) -> bytes:
        file.seek(self.position)
        size = CHUNK // 4 if self.end is None else min(CHUNK // 4, self.end - self.position)
        data = file.read(size)
        self.position += len(data)
        return data


def _salvage(file: BinaryIO, decompressor: Decompressor, start: int, end: int, given: int) -> Iterator[bytes]:
    """What a damaged member still gives after its first `given` bytes: fed again, and byte by byte where it ends.

    A decompressor that raises keeps what it made in the same step: hence the second go, in the smallest steps.
    """
    file.seek(start)
    size = max(end - start - CHUNK // 2, 0)
    made = 0
    try:
        for step in _feed(file, size, decompressor):
            made += len(step)
            if made > given:
                yield step[-(made - given) :]
                given = made
    except _FAULTS:
        return  # the fault that the caller reports


def _feed(file: BinaryIO, size: int, decompressor: Decompressor) -> Iterator[bytes]:
    while not decompressor.done:
        data = b""
        if decompressor.hungry:
            data = file.read(min(CHUNK // 4, size) if size else 1)
            if not data:
                return
            size -= min(size, len(data))
        yield decompressor.step(data)


def _as_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    decoder: codecs.IncrementalDecoder | None = None
    first = True
    for chunk in chunks:
        if first and chunk.startswith(UTF16_MARKS):
            decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        first = False
        yield chunk if decoder is None else decoder.decode(chunk).encode()
    if decoder is not None and (tail := decoder.decode(b"", final=True)):
        yield tail.encode()


def byte_splits(path: str, target_bytes: int) -> list[Split]:
    """One split for a compressed (or UTF-16) file; byte ranges of about `target_bytes` for a plain one."""
    size = stored_size(path)
    if size is None or is_compressed(path) or size <= target_bytes or _is_utf16(path):
        return [Split(path, size=size)]
    parts = max(1, round(size / max(1, target_bytes)))
    cuts = [size * part // parts for part in range(parts + 1)]
    return [Split(path, start, end, size) for start, end in pairwise(cuts) if start < end]


def _is_utf16(path: str) -> bool:
    with open_stored(path) as file:
        return file.read(2).startswith(UTF16_MARKS)


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
        self._stream = ByteStream(split.path, max(0, split.start - 1), split.end)  # is the byte before a newline?

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
