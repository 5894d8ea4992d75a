"""Files and folders through fsspec: local paths, gs://, s3://, hf:// and memory:// alike.

A file appears under its name only when it is whole: local files are written under a temporary name, synced and renamed; an
object store shows an object only when its upload is complete.
"""

import contextlib
import glob
import hashlib
import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from sources.files.steady import create_steadily, named, open_steadily, retried

TEMPORARY = ".tmp-"
_PIECE = 1 << 20


def is_local(url: str) -> bool:
    return "://" not in url or url.startswith("file://")


def split_url(url: str) -> tuple[Any, str]:
    """The fsspec file system of `url` and the path inside it."""
    filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem, path


def join(folder: str, *names: str) -> str:
    return "/".join([folder.rstrip("/"), *names])


def exists(url: str) -> bool:
    filesystem, path = split_url(url)
    return bool(retried(f"look for {url}", lambda: filesystem.exists(path)))


def list_files(folder: str, suffix: str = "") -> list[str]:
    """Names (not paths) of the files directly in `folder`, sorted; none where there is no such folder."""
    if is_local(folder):
        try:
            with os.scandir(folder) as entries:
                return sorted(
                    e.name for e in entries if e.is_file() and e.name.endswith(suffix) and TEMPORARY not in e.name
                )
        except FileNotFoundError:
            return []
    filesystem, path = split_url(folder)
    filesystem.invalidate_cache(path)
    try:
        entries_found = retried(f"list {folder}", lambda: filesystem.ls(path, detail=True))
    except FileNotFoundError:
        return []
    names = (str(e["name"]).rsplit("/", 1)[-1] for e in entries_found if e["type"] == "file")
    return sorted(name for name in names if name.endswith(suffix))


def list_tree(folder: str, suffixes: tuple[str, ...] = ("",)) -> list[str]:
    """Paths below `folder`, relative to it, of all files with these endings, sorted."""
    filesystem, path = split_url(folder)
    root = str(path).rstrip("/")
    filesystem.invalidate_cache(path)
    found = (str(name) for name in retried(f"list {folder}", lambda: filesystem.find(path)))
    return sorted(name[len(root) :].lstrip("/") for name in found if name.endswith(suffixes))


def tree_sizes(folder: str) -> dict[str, int]:
    """Bytes of all files below `folder`, by path relative to it."""
    filesystem, path = split_url(folder)
    root = str(path).rstrip("/")
    filesystem.invalidate_cache(path)
    found = retried(f"list {folder}", lambda: filesystem.find(path, detail=True))
    return {str(name)[len(root) :].lstrip("/"): int(about["size"]) for name, about in found.items()}


def make_folder(url: str) -> None:
    filesystem, path = split_url(url)
    retried(f"make {url}", lambda: filesystem.makedirs(path, exist_ok=True))


def remove(url: str) -> None:
    """Remove a file or a folder; nothing happens where there is none."""
    filesystem, path = split_url(url)
    if not isinstance(filesystem, LocalFileSystem):
        path = glob.escape(path)  # stores remove all that a pattern matches
    with contextlib.suppress(FileNotFoundError):
        retried(f"remove {url}", lambda: filesystem.rm(path, recursive=True))


def open_for_reading(url: str) -> IO[bytes]:
    """A file, seekable; what fails for a moment is read again (sources.files.steady)."""
    return open_steadily(url)


def read_json(url: str) -> Any:
    with open_for_reading(url) as stream:
        return json.load(stream)


def read_record(url: str) -> Any:
    """The JSON file at `url`, which a job wrote to say that something is done; None where it is not there, or torn.

    Records are written whole, but a disk that loses power may leave them cut short: what they describe is done again."""
    try:
        return read_json(url)
    except FileNotFoundError:
        return None
    except ValueError as error:  # of JSON, or of UTF-8
        logging.getLogger(__name__).warning("%s is no JSON (%s): what it describes is done again", url, error)
        return None


def size_of(url: str) -> int | None:
    """Bytes of the file at `url`; None where there is none."""
    filesystem, path = split_url(url)
    try:
        return int(retried(f"look at {url}", lambda: filesystem.info(path))["size"])
    except FileNotFoundError:
        return None


class HashingStream:
    """A binary stream that counts and hashes what is written through it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.bytes = 0
        self.closed = False
        self._discarding = False

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if self._discarding:
            return view.nbytes
        self._hash.update(view)
        self.bytes += view.nbytes
        self._stream.write(view)
        return view.nbytes

    def flush(self) -> None:
        self._stream.flush()

    def discard(self) -> None:
        """From here on writes go nowhere: the file is given up, and whoever writes it may still want to end it."""
        self._discarding = True

    def close(self) -> None:
        """pyarrow closes what it writes to; the owner of the stream below closes that one."""
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


@contextlib.contextmanager
def atomic_write(url: str, *, sync: bool = True) -> Iterator[HashingStream]:
    """Write a file that appears whole under its name when the block ends, and not at all when it fails.

    Without `sync` a local file may be lost in a crash of the machine (for files that are made anew then)."""
    filesystem, path = split_url(url)
    if isinstance(filesystem, LocalFileSystem):
        target = Path(path)
        retried(f"make {target.parent}", lambda: target.parent.mkdir(parents=True, exist_ok=True))
        temporary = target.with_name(f".{target.name}{TEMPORARY}{uuid.uuid4().hex[:8]}")
        try:
            with create_steadily(str(temporary)) as stream:
                hashing = HashingStream(stream)
                yield hashing
                stream.flush()
                if sync:
                    _sync(stream.fileno(), temporary)
                written = _file_number(os.fstat(stream.fileno()))
            retried(f"rename {temporary}", lambda: _rename(temporary, target, written))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if sync:
            _sync_folder(target.parent)
        return
    # What a store refuses for a moment is sent again, from its start: so the whole of it is at hand until it is there.
    with tempfile.TemporaryFile(prefix="pairmill-upload-") as whole:
        yield HashingStream(whole)
        retried(f"write {url}", lambda: _upload(whole, filesystem, path))


def _rename(temporary: Path, target: Path, written: tuple[int, int]) -> None:
    try:
        temporary.replace(target)
    except FileNotFoundError:
        # Where the target is the file just written, a try before this one succeeded, and its answer got lost. Any other file
        # of that name is an older one: somebody removed what was written.
        if not target.exists() or _file_number(target.stat()) != written:
            raise


def _file_number(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino


def _upload(whole: IO[bytes], filesystem: Any, path: str) -> None:
    whole.seek(0)
    upload = filesystem.open(path, "wb")
    try:
        shutil.copyfileobj(whole, upload, _PIECE)
        upload.close()
    except BaseException:
        with contextlib.suppress(AttributeError):
            upload.discard()  # multipart uploads of s3fs and gcsfs
        with contextlib.suppress(AttributeError):
            upload.closed = True  # else the file object would publish the half when it is thrown away
        raise


def _sync(descriptor: int, path: Path) -> None:
    """Not tried again: after a failed fsync the kernel counts what it lost as written."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise named(error, str(path)) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(url: str, value: Any) -> None:
    with atomic_write(url) as stream:
        stream.write(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n")


def link_or_copy(source: str, target: str) -> None:
    """The local file under a second name, so that it takes no space twice; a copy on a file system without hard links."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def remove_temporary_files(folder: str) -> None:
    """What a killed writer left behind below a local folder."""
    if is_local(folder):
        for leftover in Path(folder).rglob(f".*{TEMPORARY}*"):
            leftover.unlink(missing_ok=True)
