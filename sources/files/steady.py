"""Files that are read on, and calls that are made again, where a storage fails for a moment.

Errors of a moment are those that another try may not have: a connection that broke, a time-out, a server that is busy (HTTP 429,
5xx), and EIO, ESTALE or ETIMEDOUT of a network disk. A full disk, a missing file or a refused one are none of them.
"""

import asyncio
import errno
import http.client
import io
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO, Final, TypeVar, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

TRIES: Final = 6
LONGEST_WAIT_SECONDS: Final = 20.0
_FIRST_WAIT_SECONDS: Final = 0.25
_BUFFER: Final = 1 << 20
_PASSING: Final = frozenset(
    {
        *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ECONNRESET, errno.ECONNABORTED),
        errno.EBUSY,  # what s3fs makes of SlowDown and ServiceUnavailable
        *(errno.ECONNREFUSED, errno.EPIPE, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET),
    }
)
_PASSING_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_CLIENTS: Final = frozenset(
    {"aiohttp", "botocore", "aiobotocore", "urllib3", "requests", "httpx", "httpcore", "gcsfs", "huggingface_hub"}
)
_OF_CONNECTIONS: Final = (
    *("Timeout", "Connect", "Disconnected", "Incomplete", "Payload", "Protocol", "ChunkedEncoding", "ReadError"),
    "WriteError",
)

Result = TypeVar("Result")
log = logging.getLogger(__name__)


class ChangedFileError(OSError):
    """A file that had to be opened again is another one by now."""


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed if it is made again."""
    if isinstance(
        error, ChangedFileError | FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError
    ):
        return False
    if isinstance(error, TimeoutError | ConnectionError | asyncio.TimeoutError | http.client.IncompleteRead):
        return True
    status = _status(error)
    if status is not None:
        return status in _PASSING_STATUS
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _PASSING
    of_client = type(error).__module__.partition(".")[0] in _CLIENTS
    return of_client and any(word in type(error).__name__ for word in _OF_CONNECTIONS)


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error of a client tells, its own or that of the answer it keeps."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):  # botocore
        told = answer.get("ResponseMetadata")
        status = told.get("HTTPStatusCode") if isinstance(told, dict) else None
        return status if isinstance(status, int) else None
    found = (getattr(each, name, None) for each in (error, answer) for name in ("status", "code", "status_code"))
    return next((code for code in found if isinstance(code, int)), None)


def retried(what: str, call: Callable[[], Result]) -> Result:
    """What `call` returns; it is made up to TRIES times where it fails for a moment, with growing, random waits between.

    `what` says in the log what is tried again: "read gs://bucket/file". The last error is raised as it came.
    """
    tries = Retrying(
        retry=retry_if_exception(is_passing),
        stop=stop_after_attempt(TRIES),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
        before_sleep=lambda state: _tell(what, state),
        reraise=True,
    )
    return tries(call)


def named(error: OSError, path: str) -> OSError:
    """The error with the file it is about: reading and writing an open file do not tell it."""
    if error.errno is None or error.filename is not None:
        return error
    return OSError(error.errno, error.strerror, path)


def _tell(what: str, state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0.0
    log.warning(
        "%s failed (%s: %s); try %d of %d in %.1f s",
        what,
        type(error).__name__,
        error,
        state.attempt_number + 1,
        TRIES,
        wait,
    )


def open_steadily(path: str) -> BinaryIO:
    """A file of any storage, seekable, for reading. A read that fails for a moment is made again from the byte it had reached,
    on the file opened anew.

    Raises OSError, or ValueError and ImportError for a storage that fsspec does not know; while reading ChangedFileError
    where the file is another one when it is opened again.
    """
    return cast(BinaryIO, io.BufferedReader(SteadyFile(path), _BUFFER))


class SteadyFile(io.RawIOBase):
    """The raw side of open_steadily."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._system, self._inside = fsspec.core.url_to_fs(path)
        self._is_local = isinstance(self._system, LocalFileSystem)
        self._position = 0
        self._file: Any = None
        self._state: tuple[Any, ...] = ()  # of a file in a store
        self._opened_first: tuple[int, ...] | None = None  # of a local one
        self._file = retried(f"open {path}", self._opened)

    def _opened(self) -> Any:
        if self._is_local:
            return self._opened_locally()
        info = self._system.info(self._inside)
        state = (info.get("size"), *(str(info.get(name)) for name in ("ETag", "etag", "generation", "updated")))
        if self._state and state != self._state:
            raise ChangedFileError(
                f"{self._path} changed while it was read, at byte {self._position}: let its writer finish, then run again."
            )
        self._state = state
        return self._system.open(self._inside, "rb")

    def _opened_locally(self) -> Any:
        file = open(self._inside, "rb", buffering=0)  # noqa: PTH123, SIM115  # closed with this object
        found = os.fstat(file.fileno())
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        if self._opened_first is not None and state != self._opened_first:
            file.close()
            raise ChangedFileError(
                f"{self._path} changed while it was read, at byte {self._position}: let its writer finish, then run again."
            )
        self._opened_first = state
        return file

    def readinto(self, buffer: Any) -> int:
        try:
            return retried(f"read {self._path} at byte {self._position}", lambda: self._read(buffer))
        except OSError as error:
            raise named(error, self._path) from error

    def _read(self, buffer: Any) -> int:
        try:
            if self._file is None:
                self._file = self._opened()
                self._file.seek(self._position)
            read = int(self._file.readinto(buffer) or 0)
            size = self._state[0] if self._state else None
            if read == 0 and len(buffer) and isinstance(size, int) and self._position < size:
                raise ConnectionResetError(f"it ended at byte {self._position} of {size}")
        except Exception as error:
            if is_passing(error):
                self._let_go()
            raise
        self._position += read
        return read

    def _let_go(self) -> None:
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except Exception as error:  # of what is broken already
            log.debug("closing %s: %s", self._path, error)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += self._size()
        if offset < 0:
            raise ValueError(f"{self._path}: there is no byte {offset}")
        if self._file is not None:
            self._file.seek(offset)
        self._position = offset
        return offset

    def _size(self) -> int:
        if self._state and isinstance(self._state[0], int):
            return self._state[0]
        if self._file is None:
            self._file = retried(f"open {self._path}", self._opened)
        return int(self._file.seek(0, io.SEEK_END))

    def tell(self) -> int:
        return self._position

    def fileno(self) -> int:
        """Of a local file."""
        if self._file is None or not self._is_local:
            raise io.UnsupportedOperation("fileno")
        return int(self._file.fileno())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._let_go()
        super().close()


class SteadyWriter(io.RawIOBase):
    """A new local file, written in order; a write that fails for a moment is made again from where it was to begin."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path, self._position = path, 0
        self._file = retried(f"create {path}", lambda: open(path, "wb", buffering=0))  # noqa: SIM115, PTH123

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < view.nbytes:
                rest = view[done:]
                done += retried(f"write {self._path} at byte {self._position}", partial(self._write, rest))
        except OSError as error:
            raise named(error, self._path) from error
        return done

    def _write(self, view: memoryview) -> int:
        if self._file.tell() != self._position:  # a failed write may have moved it
            self._file.seek(self._position)
        written = int(self._file.write(view) or 0)
        self._position += written
        return written

    def fileno(self) -> int:
        return self._file.fileno()

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def create_steadily(path: str) -> io.BufferedWriter:
    """A new local file for writing, as open(path, "wb")."""
    return io.BufferedWriter(SteadyWriter(path), _BUFFER)
