"""A command with all processes it starts, found by a mark in their environment, however they are related."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

_MARK: Final = "PAIRMILL_CHAOS_TREE"


@dataclass(frozen=True)
class Ended:
    """How a command ended, in words and numbers."""

    code: int
    output: str
    errors: str


@dataclass
class Tree:
    """A running command; what it prints goes into files, so that no pipe fills up."""

    process: subprocess.Popen
    folder: Path
    mark: str
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> "Tree":
        mark = uuid.uuid4().hex
        folder.mkdir(parents=True, exist_ok=True)
        own = {_MARK: mark, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "COLUMNS": "200"}
        with (folder / f"{mark}.out").open("wb") as out, (folder / f"{mark}.err").open("wb") as errors:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env={**os.environ, **own, **(environment or {})},
                start_new_session=True,
            )
        return cls(process, folder, mark)

    def alive(self) -> list[psutil.Process]:
        """All its processes that live, zombies not counted."""
        found = []
        for process in psutil.process_iter(["pid"]):
            try:
                if process.environ().get(_MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found

    def wait(self, seconds: float) -> Ended:
        """Until the command ends. Raises subprocess.TimeoutExpired where it does not, after killing all of it."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise
        return Ended(code, self._read("out"), self._read("err"))

    def ended(self) -> bool:
        return self.process.poll() is not None

    def survivors(self, seconds: float) -> list[str]:
        """Command lines of processes that live `seconds` after the command's end; they are killed then."""
        deadline = time.monotonic() + seconds
        while (left := self.alive()) and time.monotonic() < deadline:
            time.sleep(0.1)
        names = [role_of(process) for process in left]
        self.kill_all()
        return names

    def kill_all(self) -> None:
        for process in self.alive():
            kill(process)
        self.process.wait(30)

    def _read(self, ending: str) -> str:
        return (self.folder / f"{self.mark}.{ending}").read_text("utf-8", "replace")


def kill(process: psutil.Process) -> bool:
    """SIGKILL; False where it is gone already."""
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def role_of(process: psutil.Process) -> str:
    """What a process is, by its command line."""
    try:
        line = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return "gone"
    for words, role in _ROLES:
        if words in line:
            return role
    return "other"


_ROLES: Final = (
    ("pipelines.job_process", "job"),
    ("sdk_worker_main", "Beam worker"),
    ("synth.local_server", "LLM server"),
    ("torch.distributed.run", "torchrun"),
    ("pipelines.command_line train", "rank"),
    ("multiprocessing", "helper process"),
    ("pipelines.command_line", "parent"),
)
