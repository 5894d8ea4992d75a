"""What a scheduler must know after it was ended or killed: RUN/schedule/state.json."""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pipelines import storage
from pipelines.run_folder import RunFolder

FOLDER: Final = "schedule"
STATE: Final = "state.json"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_CLOCK_SECONDS: Final = 2.0  # the system tells when it started in whole seconds, and may tell one more or less


@dataclass(frozen=True)
class RefreshProcess:
    """A refresh that a scheduler started; boot and start tell it from a later process of the same number."""

    host: str
    pid: int
    started: float  # seconds from the system's start to the process's: a clock that is set changes nothing
    boot: str = ""  # which start of the system that was

    @classmethod
    def of(cls, pid: int) -> "RefreshProcess":
        try:
            started = _since_boot(psutil.Process(pid))
        except psutil.NoSuchProcess:
            started = 0.0
        return cls(socket.gethostname(), pid, started, _boot())

    def is_alive(self) -> bool:
        if (self.host, self.boot) != (socket.gethostname(), _boot()) or self.pid == os.getpid():
            return False
        try:
            process = psutil.Process(self.pid)
            same = abs(_since_boot(process) - self.started) < _CLOCK_SECONDS
            return same and bool(process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


def _since_boot(process: psutil.Process) -> float:
    return float(process.create_time() - psutil.boot_time())


def _boot() -> str:
    """Linux's name for this run of the system; "" elsewhere."""
    return _BOOT.read_text().strip() if _BOOT.exists() else ""


class ScheduleState(BaseModel):
    """Moments are UTC."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str
    timezone: str | None
    next_due: AwareDatetime | None = None
    running: RefreshProcess | None = None  # a refresh that had not ended when this was written
    last_started: AwareDatetime | None = None
    last_ended: AwareDatetime | None = None
    last_exit_code: int | None = None


def schedule_folder(run: RunFolder) -> RunFolder:
    """Where a run's scheduler keeps its state and its lock."""
    return RunFolder(storage.join(run.url, FOLDER))


def read_state(run: RunFolder) -> ScheduleState | None:
    """The last scheduler's state; None where there is none, or none that can be read (then no run counts as missed)."""
    url = storage.join(schedule_folder(run).url, STATE)
    if not storage.exists(url):
        return None
    try:
        return ScheduleState.model_validate(storage.read_json(url))
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError):
        return None


def write_state(run: RunFolder, state: ScheduleState) -> None:
    storage.write_json(storage.join(schedule_folder(run).url, STATE), state.model_dump(mode="json"))
