"""pairmill's own leftovers in the system's folder for temporary files: what no living process holds.

An entry is pairmill's by a name that only tempfile gives, `pairmill-` and eight characters, by rights that its user alone has,
and by holding no run: who names a run folder /tmp/pairmill-mine keeps it. An entry is held where a living process has it in its command line, has a file in it open
or mapped, or is a pairmill process that is older than the entry.
"""

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from pipelines.manifest import MANIFEST
from pipelines.run_folder import LOCK, REMOTE_LOCK
from pipelines.upkeep.run_files import FoundFile, files_below

PREFIX: Final = "pairmill-"
_NAME: Final = re.compile(rf"{PREFIX}((evaluate|upload|bm25|corpus|vectors)-)?[a-z0-9_]{{8}}")
_OF_RUNS: Final = frozenset({MANIFEST, LOCK, REMOTE_LOCK})
LEAST_AGE_SECONDS: Final = 3600.0  # a process in another container has its files here, and cannot be seen
_OURS: Final = ("pairmill", "pipelines.", "trainer.")


@dataclass(frozen=True)
class TemporaryEntry:
    """A file or folder directly in the system's folder for temporary files."""

    path: Path
    bytes: int
    modified: float

    def as_file(self) -> FoundFile:
        return FoundFile(str(self.path), self.bytes, self.modified)


def abandoned_entries(folder: Path | None = None) -> list[TemporaryEntry]:
    """This user's entries `pairmill-*` that are at least an hour old and held by no process, by name."""
    root = folder or Path(tempfile.gettempdir())
    entries = [entry for path in sorted(root.glob(f"{PREFIX}*")) if (entry := _entry(path)) is not None]
    if not entries:
        return []
    processes = list(_living())
    return [entry for entry in entries if not any(process.holds(entry) for process in processes)]


def _entry(path: Path) -> TemporaryEntry | None:
    """None for what is not pairmill's or not this user's, or too young, or a link."""
    if not _NAME.fullmatch(path.name):
        return None
    try:
        state = path.lstat()
    except FileNotFoundError:
        return None
    is_plain = stat.S_ISDIR(state.st_mode) or stat.S_ISREG(state.st_mode)
    if state.st_uid != os.getuid() or not is_plain or state.st_mode & 0o077:
        return None
    inside = files_below(str(path)) if stat.S_ISDIR(state.st_mode) else []
    if any(file.steps[-1] in _OF_RUNS for file in inside):
        return None
    entry = TemporaryEntry(
        path,
        sum(file.bytes for file in inside) if inside else state.st_size,
        max([state.st_mtime, *(file.modified for file in inside)]),
    )
    return entry if FoundFile("", 0, entry.modified).age() >= LEAST_AGE_SECONDS else None


@dataclass(frozen=True)
class _Living:
    words: str
    started: float
    files: frozenset[str]

    def holds(self, entry: TemporaryEntry) -> bool:
        path = str(entry.path)
        if path in self.words or any(file == path or file.startswith(f"{path}/") for file in self.files):
            return True
        return self.started < entry.modified and any(name in self.words for name in _OURS)


def _living() -> Iterator[_Living]:
    """The processes there are, this one left out; of those of other users only the command line is known."""
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error):
            words, started = " ".join(process.cmdline()), process.create_time()
            files: set[str] = set()
            with contextlib.suppress(psutil.Error, OSError):
                files |= {file.path for file in process.open_files()}
                files |= {each.path for each in process.memory_maps(grouped=True) if each.path.startswith("/")}
                files.add(process.cwd())
            yield _Living(words, started, frozenset(files))
