"""Decompression as a stream: gzip, bzip2, xz and Zstandard in steps of bounded size.

A fault in a compressed stream is no exception: everything that decompresses before it comes first, then
`DecompressedBytes.fault` says what is wrong and where.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

import zstandard

CHUNK: Final = 1 << 20  # bytes read from storage at a time, and the most that one decompression step gives


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

    def copy(self) -> "Decompressor | None":
        """Another one in the same state; None where the library cannot copy it."""
        ...


class _Zlib:
    """gzip (wbits 31) and the bare deflate of zip archives (wbits -15)."""

    def __init__(self, wbits: int = 31) -> None:
        self._inner = zlib.decompressobj(wbits=wbits)

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

    def copy(self) -> "_Zlib":
        other = _Zlib()
        other._inner = self._inner.copy()
        return other


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

    def copy(self) -> None:
        return None


class _Zstandard:
    PIECE: Final = 1024  # a block of 4 bytes may give 128 KiB: so a step gives at most 32 MiB of a bomb

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor(max_window_size=ZSTANDARD_WINDOW).decompressobj()
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

    def copy(self) -> None:
        return None


# What a stream may ask for. Zstandard's own limit, 128 MiB, is that of `zstd -d` too: data packed with `--long=31` want
# 2 GiB for each file that is read at the same time.
XZ_MEMORY: Final = 256 << 20
ZSTANDARD_WINDOW: Final = 128 << 20
TOO_MUCH_MEMORY: Final = "too_much_memory"

DECOMPRESSORS: Final[dict[str, Callable[[], Decompressor]]] = {
    ".gz": _Zlib,
    ".bz2": lambda: _Stream(bz2.BZ2Decompressor()),
    ".xz": lambda: _Stream(lzma.LZMADecompressor(memlimit=XZ_MEMORY)),
    ".zst": _Zstandard,
}


def deflate() -> Decompressor:
    """What most members of zip archives are compressed with: deflate without gzip's header."""
    return _Zlib(wbits=-15)


_FAULTS: Final = (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError, zstandard.ZstdError)


@dataclass(frozen=True)
class Fault:
    """Why a file ends before it should, at a byte of the stored file: `truncated_file`, `corrupt_file`,
    `decompression_bomb` (sources.files.archive_member) or `too_much_memory`: decompression needs more than is given."""

    reason: str
    position: int
    detail: str


class DamagedFileError(OSError):
    """Raised by a file whose bytes end before they should, after all bytes before that were read."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


class DecompressedBytes:
    """The decompressed bytes of stored bytes [start, end) of an open file, once, in chunks of about CHUNK bytes.

    `position` is the stored byte reached; `fault`, set when the chunks have run out, why they should have gone on.
    `resume` makes the decompressor of a member that starts before `start`, in the state that it has there.
    """

    def __init__(
        self,
        file: BinaryIO,
        make: Callable[[], Decompressor],
        start: int = 0,
        end: int | None = None,
        resume: Callable[[], Decompressor] | None = None,
    ) -> None:
        self._file, self._make, self._end, self._resume = file, make, end, resume
        self.position = start
        self.member = start  # stored byte where the compressed member of the last chunk starts
        self.fault: Fault | None = None
        self._damage: Fault | None = None  # of the file itself
        self._decompressor: Decompressor | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Every member in turn; zero bytes after a member are padding."""
        rest, empty = b"", True
        if self._resume is not None:
            rest = yield from self._member(self._resume, self.position, b"")
            if self.fault is not None:
                return
            empty = False
        while True:
            rest = rest.lstrip(b"\0") if not empty else rest
            while not rest and (rest := self._read()):
                rest = rest.lstrip(b"\0") if not empty else rest
            if not rest:
                if empty:
                    self.fault = Fault("truncated_file", self.position, "the file is empty")
                self.fault = self._damage or self.fault
                return
            empty, self.member = False, self.position - len(rest)
            rest = yield from self._member(self._make, self.member, rest)
            if self.fault is not None:
                return

    def state(self) -> tuple[int, Decompressor] | None:
        """Between two chunks: the stored byte from where a copy of the decompressor would go on; None where none can."""
        if self._decompressor is None or self._decompressor.done or not self._decompressor.hungry:
            return None
        copy = self._decompressor.copy()
        return None if copy is None else (self.position, copy)

    def _member(self, make: Callable[[], Decompressor], start: int, data: bytes) -> Generator[bytes, None, bytes]:
        """Yields the member's bytes, returns the stored bytes read beyond it."""
        decompressor, given = make(), 0
        self._decompressor = decompressor
        while not decompressor.done:
            if not data and decompressor.hungry and not (data := self._read()):
                while chunk := decompressor.step(b""):  # zlib may still hold some
                    yield chunk
                cut_off = Fault("truncated_file", self.position, "the compressed stream stops before its end")
                self.fault = self._damage or cut_off
                return b""
            try:
                chunk = decompressor.step(data)
            except _FAULTS as error:
                yield from _salvage(self._file, make(), start, self.position, given)
                self.fault = _fault_of(error, self.position - len(data))
                return b""
            data = b""
            given += len(chunk)
            if chunk:
                yield chunk
        return decompressor.rest

    def _read(self) -> bytes:
        self._file.seek(self.position)
        size = CHUNK // 4 if self._end is None else min(CHUNK // 4, self._end - self.position)
        try:
            data = self._file.read(size)
        except DamagedFileError as error:
            self._damage = error.fault
            return b""
        self.position += len(data)
        return data


def _fault_of(error: Exception, place: int) -> Fault:
    """What a decompressor's error says. The libraries tell a stream that wants too much memory by words only."""
    if isinstance(error, zstandard.ZstdError) and "too much memory" in str(error):
        detail = (
            f"its window is larger than {ZSTANDARD_WINDOW >> 20} MiB: decompress it first, `zstd -d --long=31 FILE`"
        )
        return Fault(TOO_MUCH_MEMORY, place, detail)
    if isinstance(error, lzma.LZMAError) and "limit" in str(error):
        detail = f"to decompress it takes more than {XZ_MEMORY >> 20} MiB: decompress it first, `xz -d FILE`"
        return Fault(TOO_MUCH_MEMORY, place, detail)
    return Fault("corrupt_file", place, f"the compressed stream is damaged: {error}")


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
