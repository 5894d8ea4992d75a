"""The files of a run folder as they lie there: path, size and age, local or on an object store."""

import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines import storage


@dataclass(frozen=True)
class FoundFile:
    """A file below a folder: `path` is relative to it, `modified` in seconds since 1970 (0 where the store does not say)."""

    path: str
    bytes: int
    modified: float

    @property
    def steps(self) -> tuple[str, ...]:
        return tuple(self.path.split("/"))

    def age(self) -> float:
        """Seconds since the file was written."""
        return max(0.0, time.time() - self.modified)


def files_below(folder: str, through: Collection[str] = ()) -> list[FoundFile]:
    """All files below a folder, sorted by path; none where there is no such folder. Links are not followed, but for folders
    directly in it that are named in `through`: a job's folder may lie on another disk."""
    if storage.is_local(folder):
        root = Path(str(storage.split_url(folder)[1]))
        linked = [root / name for name in sorted(through) if (root / name).is_symlink() and (root / name).is_dir()]
        found_here = [file for each in (root, *linked) for file in _local_files(each, root)]
        return sorted(found_here, key=lambda file: file.path)
    filesystem, path = storage.split_url(folder)
    filesystem.invalidate_cache(path)
    root_path = str(path).rstrip("/")
    try:
        entries: dict[str, dict[str, Any]] = filesystem.find(path, detail=True)
    except FileNotFoundError:
        return []
    found = [
        FoundFile(name[len(root_path) :].lstrip("/"), int(info.get("size") or 0), _time_of(info))
        for name, info in entries.items()
    ]
    return sorted(found, key=lambda file: file.path)


def _local_files(top: Path, root: Path) -> Iterator[FoundFile]:
    for folder, _, names in os.walk(top):
        for name in names:
            path = Path(folder, name)
            try:
                state = path.lstat()
            except FileNotFoundError:  # a cache that another run shares may lose a file meanwhile
                continue
            yield FoundFile(path.relative_to(root).as_posix(), state.st_size, state.st_mtime)


def _time_of(info: dict[str, Any]) -> float:
    """Object stores name the time of an object differently; 0 is older than any limit."""
    stamp = next((info[name] for name in ("mtime", "LastModified", "updated", "created") if info.get(name)), 0.0)
    if isinstance(stamp, datetime):
        return stamp.timestamp()
    return float(stamp) if isinstance(stamp, int | float) else 0.0
