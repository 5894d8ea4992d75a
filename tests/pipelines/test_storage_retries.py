"""A storage that fails at set moments, below pipelines.storage and sources' own reading."""

import errno
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import storage
from sources.files import steady
from sources.files.reading import open_stored
from sources.files.steady import TRIES, ChangedFileError, SteadyFile, is_passing, open_steadily, retried

CONTENT = bytes(range(256)) * 40


class Busy(OSError):
    """What gcsfs and s3fs raise: an OSError without errno, with the server's status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class FlakyFileSystem(MemoryFileSystem):
    """Files in memory; each operation raises the errors that are queued for it, one a call, before it works."""

    protocol = "flaky"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    errors: ClassVar[dict[str, list[Any]]] = {}
    calls: ClassVar[list[str]] = []
    version = "1"

    def _fail(self, operation: str) -> int | None:
        self.calls.append(operation)
        queue = self.errors.get(operation, [])
        if not queue:
            return None
        error = queue.pop(0)
        if isinstance(error, BaseException):
            raise error
        return error

    def exists(self, path: str, **kwargs: Any) -> bool:
        self._fail("exists")
        return bool(super().exists(path, **kwargs))

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        self._fail("ls")
        return super().ls(path, detail=detail, **kwargs)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        self._fail("info")
        return {**super().info(path, **kwargs), "ETag": FlakyFileSystem.version}

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        self._fail(f"open {mode}")
        if mode == "rb":
            return _FlakyReader(self, super()._open(path, mode, **kwargs).getvalue())
        return _FlakyWriter(self, self._strip_protocol(path))


class _FlakyReader(io.BytesIO):
    def __init__(self, system: FlakyFileSystem, content: bytes) -> None:
        super().__init__(content)
        self._system = system

    def readinto(self, buffer: Any) -> int:
        cut = self._system._fail("read")
        if cut is None:
            return super().readinto(buffer)
        return super().readinto(memoryview(buffer)[:cut])  # a short read; of 0 bytes: the connection just ended


class _FlakyWriter(io.BytesIO):
    """Appears in the store when it is closed, as an upload does."""

    def __init__(self, system: FlakyFileSystem, path: str) -> None:
        super().__init__()
        self._system, self._path, self._given_up = system, path, False

    def write(self, data: Any) -> int:
        self._system._fail("write")
        return super().write(data)

    def discard(self) -> None:
        self._given_up = True

    def close(self) -> None:
        if not self.closed and not self._given_up:
            self._system._fail("close")
            self._system.pipe_into_store(self._path, self.getvalue())
        super().close()


def _pipe_into_store(self: FlakyFileSystem, path: str, content: bytes) -> None:
    from fsspec.implementations.memory import MemoryFile

    file = MemoryFile(self, path, content)
    file.commit()


FlakyFileSystem.pipe_into_store = _pipe_into_store
fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(steady, "_FIRST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(steady, "LONGEST_WAIT_SECONDS", 0.0)
    FlakyFileSystem.errors, FlakyFileSystem.calls, FlakyFileSystem.version = {}, [], "1"
    FlakyFileSystem.store.clear()
    yield


def put(url: str, content: bytes = CONTENT) -> str:
    with storage.atomic_write(url) as stream:
        stream.write(content)
    FlakyFileSystem.calls.clear()
    return url


def test_a_read_that_breaks_in_the_middle_goes_on_from_the_byte_it_had_reached(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = put("flaky://data/file")
    FlakyFileSystem.errors = {"read": [100, ConnectionResetError("reset"), 50, Busy(503), 0, TimeoutError()]}
    with caplog.at_level(logging.WARNING), storage.open_for_reading(url) as stream:
        assert stream.read() == CONTENT
    assert FlakyFileSystem.calls.count("open rb") == 5  # once, and after each of the four breaks
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "read flaky://data/file at byte 100 failed (ConnectionResetError: reset)",
        "read flaky://data/file at byte 150 failed (Busy: HTTP 503)",
        f"read flaky://data/file at byte 150 failed (ConnectionResetError: it ended at byte 150 of {len(CONTENT)})",
        "read flaky://data/file at byte 150 failed (TimeoutError: )",
    ]


def test_corpora_are_read_on_in_the_same_way() -> None:
    url = put("flaky://data/file")
    FlakyFileSystem.errors = {"read": [1000, OSError(errno.EIO, "Input/output error")]}
    with open_stored(url) as file:
        file.seek(500)
        assert file.read(9000) == CONTENT[500:9500]


def test_a_parquet_file_is_read_over_a_line_that_breaks_again_and_again() -> None:
    sink = io.BytesIO()
    table = pa.table({"text": [f"παράδειγμα {n}" for n in range(5000)]})
    pq.write_table(table, sink, row_group_size=500)
    url = put("flaky://data/rows.parquet", sink.getvalue())
    FlakyFileSystem.errors = {"read": [error for _ in range(5) for error in (700, ConnectionResetError("reset"))]}
    with storage.open_for_reading(url) as stream, pq.ParquetFile(stream) as parquet:
        assert parquet.read().equals(table)


@given(
    places=st.lists(st.tuples(st.integers(0, len(CONTENT)), st.integers(0, 3000)), max_size=6),
    errors=st.lists(st.sampled_from([0, 1, 700, "reset", "busy"]), max_size=4),
)
@settings(deadline=None, max_examples=50)
def test_whatever_breaks_the_bytes_are_those_of_the_file(places: list[tuple[int, int]], errors: list[Any]) -> None:
    FlakyFileSystem.errors = {}
    url = put("flaky://data/file")
    of_kind = {"reset": ConnectionResetError("reset"), "busy": Busy(429)}
    FlakyFileSystem.errors = {"read": [of_kind.get(error, error) for error in errors]}
    with open_steadily(url) as stream:
        for start, length in places:
            stream.seek(start)
            assert stream.read(length) == CONTENT[start : start + length]


def test_a_file_that_changed_meanwhile_is_not_mixed_from_two() -> None:
    url = put("flaky://data/file")
    with SteadyFile(url) as file:
        assert file.readinto(bytearray(10)) == 10
        FlakyFileSystem.version = "2"
        FlakyFileSystem.errors = {"read": [ConnectionResetError("reset")]}
        with pytest.raises(ChangedFileError, match="changed while it was read, at byte 10"):
            file.readinto(bytearray(10))


def test_tries_are_bounded_and_the_last_error_is_told() -> None:
    url = put("flaky://data/file")
    FlakyFileSystem.errors = {"exists": [Busy(503)] * (TRIES - 1) + [Busy(504)]}
    with pytest.raises(Busy, match="HTTP 504"):
        storage.exists(url)
    assert FlakyFileSystem.calls.count("exists") == TRIES


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("gone"),
        PermissionError("forbidden"),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        OSError(errno.EROFS, os.strerror(errno.EROFS)),
        Busy(403),
        Busy(404),
        ValueError("no such protocol"),
        KeyError("x"),
        KeyboardInterrupt(),
    ],
)
def test_what_another_try_cannot_mend_is_not_tried_again(error: BaseException) -> None:
    assert not is_passing(error)
    calls = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        retried("call", call)
    assert len(calls) == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET, errno.EBUSY])
def test_errors_of_a_moment_are_tried_again(number: int) -> None:
    queue: list[BaseException] = [OSError(number, os.strerror(number)), TimeoutError(), ConnectionResetError()]

    def call() -> str:
        if queue:
            raise queue.pop(0)
        return "done"

    assert retried("call", call) == "done"


def test_an_upload_that_fails_is_sent_again_from_its_start() -> None:
    FlakyFileSystem.errors = {
        "write": [Busy(503)],
        "close": [ConnectionResetError("reset")],
        "open wb": [TimeoutError()],
    }
    url = put("flaky://data/file")
    with storage.open_for_reading(url) as stream:
        assert stream.read() == CONTENT
    assert storage.size_of(url) == len(CONTENT)


def test_an_upload_that_fails_for_good_leaves_no_object() -> None:
    FlakyFileSystem.errors = {"close": [Busy(503)] * TRIES}
    with pytest.raises(Busy):
        put("flaky://data/file")
    FlakyFileSystem.errors = {}
    assert not storage.exists("flaky://data/file")


def test_a_block_that_fails_uploads_nothing() -> None:
    with pytest.raises(RuntimeError), storage.atomic_write("flaky://data/file") as stream:
        stream.write(b"half")
        raise RuntimeError
    assert not storage.exists("flaky://data/file")


def test_lists_and_sizes_are_asked_for_again() -> None:
    url = put("flaky://data/file")
    FlakyFileSystem.errors = {"ls": [Busy(502), Busy(429)], "info": [TimeoutError()]}
    assert storage.list_files("flaky://data") == ["file"]
    assert storage.size_of(url) == len(CONTENT)
    FlakyFileSystem.errors = {"ls": [Busy(503)]}
    assert storage.list_tree("flaky://data") == ["file"]


class _FailingFile(io.FileIO):
    """A local file whose writes and reads fail at set moments, some of them after a part of the bytes."""

    queue: ClassVar[list[tuple[int, int]]] = []  # (bytes that get through, errno)

    def write(self, data: Any) -> int:
        if self.queue:
            part, number = self.queue.pop(0)
            super().write(memoryview(data)[:part])
            raise OSError(number, os.strerror(number))
        return super().write(data)


@pytest.fixture
def failing_files(monkeypatch: pytest.MonkeyPatch) -> type[_FailingFile]:
    monkeypatch.setattr(steady, "open", lambda path, mode, buffering: _FailingFile(path, mode), raising=False)
    _FailingFile.queue = []
    return _FailingFile


def test_a_local_write_that_fails_half_way_is_made_again_at_its_place(
    failing_files: type[_FailingFile], tmp_path: Path
) -> None:
    failing_files.queue = [(0, errno.EIO), (3000, errno.ETIMEDOUT), (17, errno.ESTALE)]
    with storage.atomic_write(str(tmp_path / "file")) as stream:
        stream.write(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_told_at_once_with_the_file(failing_files: type[_FailingFile], tmp_path: Path) -> None:
    failing_files.queue = [(100, errno.ENOSPC)] * 3
    words = r"No space left on device: '.*/\.file\.tmp-[0-9a-f]{8}'"
    with pytest.raises(OSError, match=words) as caught, storage.atomic_write(str(tmp_path / "file")) as stream:
        stream.write(CONTENT)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


class _StaleFile(io.FileIO):
    """A local file whose handle goes stale at the second read."""

    reads: ClassVar[int] = 0

    def readinto(self, buffer: Any) -> int:
        _StaleFile.reads += 1
        if _StaleFile.reads == 2:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return super().readinto(buffer)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_stale_local_file_is_read_on_unless_it_is_another_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, replaced: bool
) -> None:
    monkeypatch.setattr(steady, "open", lambda path, mode, buffering: _StaleFile(path, mode), raising=False)
    monkeypatch.setattr(_StaleFile, "reads", 0)
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(CONTENT)
    other.write_bytes(b"x" * len(CONTENT))
    found = bytearray(10)
    with SteadyFile(str(path)) as file:
        assert file.readinto(found) == 10
        if not replaced:
            assert file.readinto(found) == 10 and found == CONTENT[10:20]
            return
        other.replace(path)
        with pytest.raises(ChangedFileError, match="changed while it was read, at byte 10"):
            file.readinto(found)


def test_a_written_file_that_somebody_removed_is_an_error_though_an_older_one_has_its_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), storage.atomic_write(str(path)) as stream:
        stream.write(b"new")
        for temporary in tmp_path.glob(".file*"):
            temporary.unlink()
    assert path.read_bytes() == b"old"


def test_a_rename_whose_answer_got_lost_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace, calls = Path.replace, []

    def losing(self: Path, target: Path) -> Path:
        calls.append(1)
        found = replace(self, target)
        if len(calls) == 1:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        return found

    monkeypatch.setattr(Path, "replace", losing)
    with storage.atomic_write(str(tmp_path / "file")) as stream:
        stream.write(b"new")
    assert (len(calls), (tmp_path / "file").read_bytes()) == (2, b"new")


def _answered(status: int, **told: Any) -> OSError:
    error = OSError(f"HTTP {status}")
    error.response = told or type("Answer", (), {"status_code": status})()  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize("status", [429, 503, 404])
def test_a_status_that_only_the_answer_tells_counts(status: int) -> None:
    assert is_passing(_answered(status)) == (status != 404)
    assert is_passing(_answered(status, ResponseMetadata={"HTTPStatusCode": status})) == (status != 404)


def test_a_local_file_reads_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with open_steadily(str(path)) as stream:
        assert os.fstat(stream.fileno()).st_size == len(CONTENT)
        assert stream.seek(-5, io.SEEK_END) == len(CONTENT) - 5
        assert stream.read() == CONTENT[-5:]
        stream.seek(0)
        assert b"".join(iter(lambda: stream.read(777), b"")) == CONTENT
    with pytest.raises(FileNotFoundError, match="missing"):
        open_steadily(str(tmp_path / "missing"))


def test_removing_from_a_store_takes_a_name_for_a_name() -> None:
    for name in ("a*", "ab", "a[b]", "folder/x*", "folder/xy"):
        put(f"flaky://data/{name}")
    storage.remove("flaky://data/a*")
    storage.remove("flaky://data/a[b]")
    storage.remove("flaky://data/folder/x*")
    storage.remove("flaky://data/a?")
    assert storage.list_tree("flaky://data") == ["ab", "folder/xy"]
    storage.remove("flaky://data/folder")
    assert storage.list_tree("flaky://data") == ["ab"]
