"""What a job tells of itself while it runs, through files in JOB/_progress, so that any runner's workers can tell it.

a worker   TaskProgress.beat(...)   writes _progress/TASK.json, at most once a second (every 15 s on an object store)
the job    announce(...)            writes how many tasks and units there are
the parent read_progress(...)       adds up committed parts and running tasks: for the display and the watchdog
"""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipelines import storage
from pipelines.shards import PARTS

PROGRESS: Final = "_progress"
ANNOUNCED: Final = "_announced.json"
ERROR: Final = "_error.json"
SIGN_SECONDS: Final = 30.0


class TaskProgress:
    """The running task's signs of life."""

    def __init__(self, folder: str, task: str) -> None:
        self._url = storage.join(folder, PROGRESS, f"{task}.json")
        self._interval = 1.0 if storage.is_local(folder) else 15.0
        self._last = 0.0

    def beat(self, rows: int, done: float = 0.0) -> None:
        """Say how many rows were read so far, and what share (0 to 1) of the task that is, where known."""
        now = time.monotonic()
        if now - self._last >= self._interval:
            self._last = now
            with contextlib.suppress(OSError):  # the work itself tells of a disk that fails
                _write_unsynced(self._url, {"rows": rows, "done": round(done, 4)})


@contextmanager
def signs_of_life(task: TaskProgress) -> Iterator[Callable[[int, float], None]]:
    """For work that tells nothing for long: a batch that may take a day, a corpus that is read, BM25.

    Gives a function that tells rows and the share done; the watchdog hears every half minute, whether it is called or not.
    """
    ended, latest = threading.Event(), (0, 0.0)

    def beat(rows: int, done: float) -> None:
        nonlocal latest
        latest = rows, done
        task.beat(rows, done)

    def repeat() -> None:
        turns = 0
        while not ended.wait(SIGN_SECONDS):
            turns += 1
            task.beat(latest[0], latest[1] + (turns % 2) * 1e-4)  # the watchdog looks for a change

    task.beat(0)
    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield beat
    finally:
        ended.set()
        thread.join()


def _write_unsynced(url: str, value: Any) -> None:
    """A progress file may be lost in a crash, so it is renamed into place without waiting for the disk."""
    filesystem, path = storage.split_url(url)
    content = json.dumps(value).encode()
    if storage.is_local(url):
        temporary = Path(f"{path}.{os.getpid()}{storage.TEMPORARY}")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    else:
        filesystem.pipe_file(path, content)


def announce(folder: str, tasks: Sequence[str], unit: str = "rows") -> None:
    """Before the work starts: the names of all tasks of the job, finished ones included, and what their rows are."""
    _write_unsynced(storage.join(folder, PROGRESS, ANNOUNCED), {"tasks": list(tasks), "unit": unit})


def report_error(folder: str, kind: str, message: str, otherwise: Path | None = None) -> None:
    """A worker's error, in words for the user; the parent shows it instead of the runner's wrapping of it.

    `otherwise` is a file elsewhere, for a disk that takes no more."""
    words = {"kind": kind, "message": message}
    try:
        storage.write_json(storage.join(folder, PROGRESS, ERROR), words)
    except OSError as error:
        logging.getLogger(__name__).warning("the error could not be written to %s: %s", folder, error)
        if otherwise is not None:
            otherwise.write_text(json.dumps(words), "utf-8")


def clear(folder: str) -> None:
    storage.remove(storage.join(folder, PROGRESS))


@dataclass(frozen=True)
class Progress:
    """Where a job stands: tasks committed of all, rows, the share done; `sign` changes whenever anything moved."""

    tasks: int
    committed: int
    rows: int
    done: float
    unit: str
    sign: tuple[object, ...]


class ProgressReader:
    """Reads where a job stands, again and again; what is committed is read once."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._committed_rows: dict[str, int] = {}
        self.poll_seconds = 0.25 if storage.is_local(folder) else 15.0

    def read(self) -> Progress:
        progress_folder = storage.join(self._folder, PROGRESS)
        names = storage.list_files(progress_folder, ".json")
        announced = _read(storage.join(progress_folder, ANNOUNCED)) if ANNOUNCED in names else {}
        tasks: list[str] = announced.get("tasks", [])
        committed = {
            name.removesuffix(".json") for name in storage.list_files(storage.join(self._folder, PARTS), ".json")
        }
        finished = [task for task in tasks if task in committed]
        rows, share, signs = 0, float(len(finished)), []
        for name in names:
            task = name.removesuffix(".json")
            if name.startswith("_"):
                continue
            if task not in self._committed_rows:
                state = _read(storage.join(progress_folder, name))
                signs.append((name, state.get("rows"), state.get("done")))
                if task in committed:
                    self._committed_rows[task] = int(state.get("rows", 0))
                else:
                    rows += int(state.get("rows", 0))
                    share += float(state.get("done", 0.0))
        rows += sum(self._committed_rows.values())
        done = share / len(tasks) if tasks else 0.0
        unit = str(announced.get("unit", "rows"))
        return Progress(len(tasks), len(finished), rows, min(done, 1.0), unit, (len(finished), len(tasks), *signs))


def _read(url: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = storage.read_json(url)
    except (OSError, ValueError):
        return {}  # replaced or cleared between listing and reading, torn, or a store that does not answer this time
    return content
