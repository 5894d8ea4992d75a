"""Whether a local input file changed, told by its content: a file that was only touched, copied or moved is the same file.

RUN/refresh/content-NAME.json keeps for each file the size, the times and the xxh3-128 of its bytes when they were last read. A
file is read again only where its size or one of its times differs from what is kept, or where it was written so shortly before
it was read that a later change might not show in its times. The store is a cache: where it is missing, broken or of another
version, files are read again and nothing else happens.
"""

import json
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import xxhash

from pipelines import storage
from pipelines.run_folder import RunFolder

REFRESH: Final = "refresh"  # the folder of a run that holds what refreshes keep
_VERSION: Final = 1
_BLOCK: Final = 4 << 20  # bytes read at once
_THREADS: Final = 8  # of reading: a disk or a network file system serves some files at once
_UNSURE_NS: Final = 2_000_000_000  # FAT's times have steps of 2 s, others finer ones
_BEAT_SECONDS: Final = 0.5


@dataclass(frozen=True)
class _Known:
    """A file as it was when its bytes were read."""

    bytes: int
    mtime_ns: int
    ctime_ns: int
    content: str  # xxh3-128, hex
    read_ns: int  # when reading began

    def is_of(self, found: os.stat_result) -> bool:
        same = (self.bytes, self.mtime_ns, self.ctime_ns) == (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        return same and abs(self.read_ns - max(self.mtime_ns, self.ctime_ns)) >= _UNSURE_NS


@dataclass(frozen=True)
class _Watching:
    beat: Callable[[int, int], None]
    keep: bool
    read: dict[str, _Known] = field(default_factory=dict)  # what nothing was kept of


_UNWATCHED: Final = _Watching(lambda done, total: None, keep=True)
_WATCHING: ContextVar[_Watching | None] = ContextVar("watching", default=None)


def _watching() -> _Watching:
    return _WATCHING.get() or _UNWATCHED


@contextmanager
def watching_hashes(beat: Callable[[int, int], None], *, keep: bool = True) -> Iterator[None]:
    """While the block runs, `beat(bytes read, bytes to read)` is called twice a second where file contents are read for long;
    without `keep` no store is written."""
    token = _WATCHING.set(_Watching(beat, keep))
    try:
        yield
    finally:
        _WATCHING.reset(token)


class ContentStore:
    """The content hashes of local files, kept in a run folder under a name of their user's."""

    def __init__(self, run: RunFolder, name: str) -> None:
        self._url = storage.join(run.url, REFRESH, f"content-{name}.json")
        self._known: dict[str, _Known] | None = None
        self._asked: dict[str, _Known] = {}

    def read(self, paths: Collection[str]) -> dict[str, tuple[int, str]]:
        """(bytes, content hash) of each of the paths that is a local regular file; others are left out.

        Raises OSError for a file that is there and cannot be read.
        """
        if self._known is None:
            self._known = _load(self._url)
        to_read: dict[str, int] = {}
        for path in dict.fromkeys(paths):
            if path in self._asked or not storage.is_local(path):
                continue
            found = _regular_file(path)
            if found is None:
                continue
            known = self._known.get(path) or _watching().read.get(path)
            if known is not None and known.is_of(found):
                self._asked[path] = known
            else:
                to_read[path] = found.st_size
        read = _read_all(to_read)
        self._asked |= read
        _watching().read.update({} if _watching().keep else read)
        return {path: (self._asked[path].bytes, self._asked[path].content) for path in paths if path in self._asked}

    def save(self) -> None:
        """Keep what was asked for, and nothing else, where that is not what is kept already."""
        if not self._asked or self._asked == self._known or not _watching().keep:
            return
        files = {path: list(vars(known).values()) for path, known in sorted(self._asked.items())}
        content = json.dumps({"version": _VERSION, "files": files}, ensure_ascii=True, separators=(",", ":"))
        try:
            with storage.atomic_write(self._url, sync=False) as stream:
                stream.write(content.encode())
        except OSError as error:  # a cache that cannot be kept must not stop a run
            logging.getLogger(__name__).warning("%s could not be written: %s", self._url, error)
        self._known = dict(self._asked)


def _regular_file(path: str) -> os.stat_result | None:
    try:
        found = Path(_local(path)).stat()
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _local(path: str) -> str:
    return str(storage.split_url(path)[1]) if path.startswith("file://") else path


def _load(url: str) -> dict[str, _Known]:
    try:
        content = storage.read_json(url)
        if content["version"] != _VERSION:
            return {}
        return {path: _known(values) for path, values in content["files"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logging.getLogger(__name__).warning("%s cannot be read and is made anew: %s", url, error)
        return {}


def _known(values: Any) -> _Known:
    size, mtime_ns, ctime_ns, content, read_ns = values
    if not (isinstance(content, str) and len(content) == 32 and all(type(each) is int for each in (size, read_ns))):
        raise ValueError(f"no record of a file: {values!r:.80}")
    return _Known(size, mtime_ns, ctime_ns, content, read_ns)


def _read_all(sizes: Mapping[str, int]) -> dict[str, _Known]:
    if not sizes:
        return {}
    counter = _Counter(sum(sizes.values()))
    with ThreadPoolExecutor(min(_THREADS, len(sizes), 2 * (os.cpu_count() or 1))) as threads:
        futures = {path: threads.submit(_hashed, path, counter) for path in sizes}
        try:
            return {path: future.result() for path, future in futures.items()}
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


class _Counter:
    """Bytes read by all threads; tells them now and then."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._lock = threading.Lock()
        self._next = time.monotonic() + _BEAT_SECONDS
        self._beat = _watching().beat  # threads do not inherit the context

    def add(self, read: int) -> None:
        with self._lock:
            self._done += read
            now = time.monotonic()
            if now >= self._next:
                self._next = now + _BEAT_SECONDS
                self._beat(self._done, self._total)


def _hashed(path: str, counter: _Counter) -> _Known:
    """Read a file; again where it changed meanwhile, and as of the last time where it never stands still."""
    known = _hashed_once(path, counter)
    for _ in range(2):
        after = Path(_local(path)).stat()
        if (known.bytes, known.mtime_ns, known.ctime_ns) == (after.st_size, after.st_mtime_ns, after.st_ctime_ns):
            return known
        known = _hashed_once(path, counter)
    return replace(known, mtime_ns=-1)  # read again next time


def _hashed_once(path: str, counter: _Counter) -> _Known:
    content, buffer, started = xxhash.xxh3_128(), memoryview(bytearray(_BLOCK)), time.time_ns()
    with Path(_local(path)).open("rb", buffering=0) as stream:
        found = os.fstat(stream.fileno())
        while read := stream.readinto(buffer):
            content.update(buffer[:read])
            counter.add(read)
    return _Known(found.st_size, found.st_mtime_ns, found.st_ctime_ns, content.hexdigest(), started)
