"""The bytes of a tar, read from any place on: at once where it is plain, else with as little decompression as can be.

A compressed tar can only be read in order. Within a process, reading goes on where another member's ended, or from the
nearest of the states kept on the way: of a gzip stream about every SPACING bytes, of the others where one of several
streams starts. So N members of a .tar.gz are about one pass in any order; those of a .tar.bz2, .tar.xz or .tar.zst of
one stream are one pass in the archive's order, and start again for each step back.
"""

import threading
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sources.files.archive_member import LARGEST_RATIO, SAFE_SIZE, open_stored_file
from sources.files.decompression import DecompressedBytes, Decompressor, Fault

SPACING: Final = 1 << 20  # bytes of a decompressed tar between two kept states; doubled whenever there are MOST_STATES
MOST_STATES: Final = 512  # of about 40 kB each
MOST_IDLE: Final = 2  # cursors kept for whoever goes on


class Cursor(Protocol):
    """A place in the bytes of a tar, moving on only."""

    fault: Fault | None = None
    place: int = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only where `fault` says why, or at the end."""
        ...

    def skip_to(self, place: int) -> None:
        """Go on to a place further on, or to the end where that comes first."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class _PlainCursor(Cursor):
    def __init__(self, archive: str, place: int) -> None:
        self._file, self.place = open_stored_file(archive), place
        self._end = self._file.seek(0, 2)

    def read(self, size: int) -> bytes:
        self._file.seek(min(self.place, self._end))  # a header may claim sizes that no file system takes
        data = self._file.read(size)
        self.place += len(data)
        return data

    def skip_to(self, place: int) -> None:
        self.place = place

    def close(self) -> None:
        self._file.close()


class PlainBytes:
    """The bytes of a plain tar: any place is reached at once."""

    def __init__(self, archive: str) -> None:
        self._archive = archive

    def cursor(self, place: int) -> Cursor:
        """One at a place."""
        return _PlainCursor(self._archive, place)

    def give_back(self, cursor: Cursor) -> None:
        """End the use of a cursor."""
        cursor.close()


@dataclass(frozen=True, slots=True)
class _State:
    """Where decompression can start: at a stored byte, in the middle of a stream with the decompressor of that place."""

    place: int  # of the decompressed bytes
    stored: int
    decompressor: Decompressor | None = None

    def resume(self) -> Decompressor:
        copy = self.decompressor.copy() if self.decompressor else None
        assert copy is not None
        return copy


class CompressedBytes:
    """The bytes of a compressed tar, with the states from which reading can start again."""

    def __init__(self, archive: str, make: Callable[[], Decompressor]) -> None:
        self._archive, self._make = archive, make
        self._states = [_State(0, 0)]
        self._spacing = SPACING
        self._idle: list[_DecompressedCursor] = []
        self._lock = threading.Lock()

    def cursor(self, place: int) -> Cursor:
        """One at a place, from whichever start is nearest before it."""
        with self._lock:
            state = self._states[bisect_right([state.place for state in self._states], place) - 1]
            near = [cursor for cursor in self._idle if state.place <= cursor.place <= place]
            cursor = max(near, key=lambda cursor: cursor.place, default=None)
            if cursor is not None:
                self._idle.remove(cursor)
        if cursor is None:
            cursor = _DecompressedCursor(self._archive, self._make, state, self._keep)
        cursor.skip_to(place)
        return cursor

    def give_back(self, cursor: Cursor) -> None:
        """End the use of a cursor: whoever reads on from its place takes it over."""
        assert isinstance(cursor, _DecompressedCursor)
        with self._lock:
            self._idle.append(cursor)
            oldest = self._idle.pop(0) if len(self._idle) > MOST_IDLE else None
        if oldest is not None:
            oldest.close()

    def _keep(self, place: int, state: Callable[[], tuple[int, Decompressor | None] | None]) -> None:
        """Keep the state of a place where it is far enough from the last one and there is one."""
        if place < self._states[-1].place + self._spacing or (found := state()) is None:
            return
        with self._lock:
            if place <= self._states[-1].place:
                return
            self._states.append(_State(place, *found))
            if len(self._states) > MOST_STATES:
                self._states = self._states[::2]
                self._spacing *= 2


class _DecompressedCursor(Cursor):
    def __init__(
        self,
        archive: str,
        make: Callable[[], Decompressor],
        state: _State,
        keep: Callable[[int, Callable[[], tuple[int, Decompressor | None] | None]], None],
    ) -> None:
        self._archive, self._keep = archive, keep
        self._file = open_stored_file(archive)
        resume = state.resume if state.decompressor else None
        self._stream = DecompressedBytes(self._file, make, state.stored, resume=resume)
        self._chunks = iter(self._stream)
        self._waiting = memoryview(b"")
        self.place = state.place

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size and (self._waiting or self._next_chunk()):
            part = self._waiting[:size]
            parts.append(bytes(part))
            self._pass(len(part))
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip_to(self, place: int) -> None:
        while self.place < place and (self._waiting or self._next_chunk()):
            self._pass(min(place - self.place, len(self._waiting)))

    def close(self) -> None:
        self._chunks = iter(())
        self._file.close()

    def _pass(self, size: int) -> None:
        self._waiting = self._waiting[size:]
        self.place += size

    def _next_chunk(self) -> bool:
        self._keep(self.place, self._stream.state)
        member = self._stream.member
        chunk = next(self._chunks, b"")
        if chunk and self._stream.member != member:  # a stream starts with it: its decompressor needs nothing of before
            self._keep(self.place, lambda: (self._stream.member, None))
        self._waiting = memoryview(chunk)
        if not chunk:
            self.fault = self.fault or self._stream.fault
        self._check_size(self.place + len(chunk), self._stream.position)
        return bool(self._waiting)

    def _check_size(self, size: int, stored: int) -> None:
        if size > max(SAFE_SIZE, LARGEST_RATIO * stored):
            self.fault = Fault("decompression_bomb", stored, f"its first {stored:,} bytes give {size:,}")
            self._chunks, self._waiting = iter(()), memoryview(b"")
