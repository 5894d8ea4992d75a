"""The run folder: where its parts lie, and the lock that keeps a second writer out."""

import contextlib
import fcntl
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipelines import storage
from pipelines.errors import UserError

LOCK: Final = ".lock"
REMOTE_LOCK: Final = "_LOCK.json"
REMOTE_BEAT_SECONDS: Final = 20.0
REMOTE_STALE_SECONDS: Final = 120.0


@dataclass(frozen=True)
class RunFolder:
    """One run's folder, local or on an object store; every job has one folder in it, named after the job."""

    url: str

    def job(self, name: str) -> str:
        return storage.join(self.url, name)

    @property
    def recipe(self) -> str:
        return storage.join(self.url, "recipe.yaml")


def absolute(run: RunFolder) -> RunFolder:
    """The same folder by its whole path, which means the same to every process."""
    return RunFolder(str(storage.split_url(run.url)[1])) if storage.is_local(run.url) else run


@contextlib.contextmanager
def locked(run: RunFolder, wait_seconds: float = 10.0) -> Iterator[tuple[int, ...]]:
    """Hold the run folder against a second writer; yields the file descriptors a child process must inherit to hold it too.

    Locally the kernel's file lock: it goes with the last process that holds it, however that one ends, so there is no stale
    lock to clear. On an object store a lock object that is renewed every 20 seconds and counts as abandoned after 120.

    Raises:
        UserError: another process holds the folder (its host, process and start are named).
    """
    if storage.is_local(run.url):
        with _file_lock(Path(storage.split_url(run.url)[1]), wait_seconds) as descriptor:
            yield (descriptor,)
    else:
        with _object_lock(run.url):
            yield ()


@contextlib.contextmanager
def _file_lock(folder: Path, wait_seconds: float) -> Iterator[int]:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = os.pread(descriptor, 500, 0).decode(errors="replace").strip() or "another process"
                    raise UserError(
                        f"{folder} is in use by {holder}. Two writers would spoil the run: wait for the other one, stop it, or name another run folder with --run-folder."
                    ) from None
                time.sleep(0.1)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _holder().encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _object_lock(url: str) -> Iterator[None]:
    lock, holder, ended = storage.join(url, REMOTE_LOCK), f"{_holder()} ({uuid.uuid4().hex[:8]})", threading.Event()
    held = storage.read_json(lock) if storage.exists(lock) else None
    if held is not None and time.time() - held["beat"] < REMOTE_STALE_SECONDS:
        raise UserError(
            f"{url} is in use by {held['holder']} (seen {time.time() - held['beat']:.0f} s ago). Wait for it, stop it, or name another run folder; a lock that is not renewed counts as abandoned after {REMOTE_STALE_SECONDS:.0f} s."
        )

    def beat() -> None:
        storage.write_json(lock, {"holder": holder, "beat": time.time()})

    def ours() -> bool:
        return bool(storage.exists(lock) and storage.read_json(lock)["holder"] == holder)

    def renew() -> None:
        while not ended.wait(REMOTE_BEAT_SECONDS):
            try:
                if ours():
                    beat()
            except OSError as error:  # the store did not answer; the next beat is in time still
                logging.getLogger(__name__).warning("the lock %s could not be renewed: %s", lock, error)

    beat()
    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if ours():
            storage.remove(lock)


def _holder() -> str:
    return f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"


def append_log(run: RunFolder, event: dict[str, object]) -> None:
    """Add one line to the run's log.jsonl (local run folders; on an object store events go to the terminal alone).

    A line that the disk does not take is told to the terminal: it must not hide the error that it is about."""
    if storage.is_local(run.url):
        path = Path(storage.split_url(run.url)[1]) / "log.jsonl"
        try:
            with path.open("a") as stream:
                stream.write(json.dumps(event, ensure_ascii=False, default=str) + "\n")
        except OSError as error:
            logging.getLogger(__name__).warning("%s could not be written: %s", path, error)
