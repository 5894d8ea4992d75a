"""Members of archives as files: .zip and .tar, plain or compressed, read as streams; nothing is ever unpacked to disk.

A member is named ARCHIVE!/MEMBER (`corpus.zip!/en/a.txt`): the name ends as the member's does, so what reads the ending
or the folders of a name needs to know nothing of archives. A member's name is never a path on a file system: it is
looked up in the archive's own list. What cannot be printed, % and bytes that are no UTF-8 stand as %XX.

What would be unsafe to read, or would lose something, is refused with an error that names archive and member
(sources.files.archive_member): absolute names and `..`, links and devices, sparse and encrypted members, two members of one
name or of the same bytes, too many of them, decompression bombs.
"""

import os
import re
from functools import lru_cache
from typing import BinaryIO, Final, cast
from urllib.parse import unquote_to_bytes

import fsspec

from sources.files.archive_member import quoted
from sources.files.tar_archive import TarArchive
from sources.files.zip_archive import ZipArchive
from sources.source import SourceError

MARK: Final = "!/"

_ENDING: Final = r"\.(?:zip|tar|tgz|tbz2?|txz|tzst|tar\.(?:gz|bz2|xz|zst))"
_ARCHIVE: Final = re.compile(rf"{_ENDING}\Z", re.IGNORECASE)
_MEMBER: Final = re.compile(rf"(.*?{_ENDING}){MARK}(.*)", re.IGNORECASE | re.DOTALL)
_UNREADABLE: Final = re.compile(r"\.(?:7z|rar)\Z", re.IGNORECASE)


def is_archive(path: str) -> bool:
    """Whether the ending says that a file is an archive whose members can be read.

    Raises SourceError for the archives that cannot be: .7z and .rar.
    """
    if _UNREADABLE.search(path):
        raise SourceError(
            f"{path}: archives of this kind cannot be read: unpack it first, and name the files; or leave it out with a glob"
        )
    return _ARCHIVE.search(path) is not None


def split_member(path: str) -> tuple[str, str] | None:
    """The archive and the member that a path names, `a.zip!/b.txt`; None where it names no member."""
    if MARK not in path:
        return None
    found = _MEMBER.fullmatch(path)
    return (found[1], unquote_to_bytes(found[2]).decode("utf-8", "surrogateescape")) if found else None


def member_path(archive: str, name: str) -> str:
    """The path of a member: ARCHIVE!/MEMBER."""
    return f"{archive}{MARK}{quoted(name)}"


def member_names(archive: str) -> list[str]:
    """The names of an archive's members, in its order. Raises SourceError where any is refused."""
    return _archive(archive).names()


def open_member(archive: str, name: str) -> BinaryIO:
    """A member's bytes, seekable; read in order from the start, they are checked against the archive's checksum.

    Reading raises DamagedFileError, with the fault, after the last bytes that can be read. Raises SourceError where the
    archive cannot be opened or has no such member.
    """
    return cast(BinaryIO, _archive(archive).open(name))


def member_size(archive: str, name: str) -> int:
    """Bytes of the member itself, however it is stored. Raises SourceError."""
    return _archive(archive).find(name).size


def member_sizes(archive: str) -> dict[str, int]:
    """Bytes of every member, by its name. Raises SourceError."""
    opened = _archive(archive)
    return {name: opened.find(name).size for name in opened.names()}


def stored_share(archive: str, name: str) -> float:
    """Stored bytes of the archive for each byte of the member, about; at most 1. Raises SourceError."""
    return _archive(archive).stored_share(name)


def stored_apart(archive: str, name: str) -> bool:
    """Whether the member can be read from any byte: neither it nor the archive around it is compressed."""
    return _archive(archive).stored_apart(name)


def _archive(path: str) -> ZipArchive | TarArchive:
    """The archive with its list of members, kept while the file stays the same."""
    try:
        system, name = fsspec.core.url_to_fs(path)
        info = system.info(name)
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"cannot open {path!r}: {error}") from error
    state = str([info.get(key) for key in ("size", "mtime", "ETag", "etag", "updated")])
    return _kept_archive(path, state, os.getpid())  # open files must not be shared with a forked process


@lru_cache(maxsize=4)
def _kept_archive(path: str, state: str, process: int) -> ZipArchive | TarArchive:
    return ZipArchive(path) if path.lower().endswith(".zip") else TarArchive(path)
