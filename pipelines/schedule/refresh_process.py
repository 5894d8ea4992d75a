"""One refresh as a process of its own, so that a crash or a lack of memory does not end the scheduler."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from pipelines import storage
from pipelines.run_folder import RunFolder

STOP_SECONDS: Final = 10.0
KEPT_BY_GATE: Final = 3
_POLL_SECONDS: Final = 0.5
_ENDED: Final = {
    0: "done",
    1: "failed",
    2: "failed: a mistake in the recipe, its inputs or the options, or the run folder is in use",
    KEPT_BY_GATE: "done; the gate kept the old model",
    130: "interrupted",
    143: "ended by SIGTERM",
}


def refresh_command(recipe: str, run_folder: str, options: tuple[str, ...]) -> tuple[str, ...]:
    """The command line of a refresh by this Python."""
    return (
        *(sys.executable, "-m", "pipelines.command_line", "refresh", recipe, "--run-folder", run_folder),
        *options,
    )


def is_done(code: int) -> bool:
    """Whether a refresh did its work; a model that the gate kept back is a result, not a failure."""
    return code in (0, KEPT_BY_GATE)


def describe_exit(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"killed by {name}" + (" (the system ends a process so that is out of memory)" if code == -9 else "")
    return _ENDED.get(code, f"failed with exit code {code}")


def run_refresh(
    command: tuple[str, ...], output: IO[bytes] | None, stopping: threading.Event, started: Callable[[int], None]
) -> int:
    """Run a command to its end and return its exit code (negative: the signal that ended it).

    Args:
        output: where its output goes; None: to ours.
        stopping: when this is set the process gets SIGTERM, and SIGKILL after 10 s.
        started: called with the process id.
    """
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONSAFEPATH": "1"},  # a folder `pipelines` where the user stands is not ours
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # a Ctrl-C reaches it through us alone
    )
    try:
        started(process.pid)
        while process.poll() is None:
            if stopping.wait(_POLL_SECONDS):
                break
    finally:
        _end(process)
    return process.returncode


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()))
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def output_file(run: RunFolder, moment: datetime, keep: int) -> Iterator[IO[bytes] | None]:
    """RUN/logs/schedule-TIME.log for a refresh's output; of older ones the latest are kept, `keep` in all.

    Of a run folder on an object store there is none: the output goes where the scheduler's own goes."""
    if not storage.is_local(run.url):
        yield None
        return
    folder = Path(storage.split_url(run.url)[1]) / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"schedule-{moment:%Y%m%dT%H%M%S.%f}"
    with (folder / f"{stem}.log").open("ab") as stream:
        for old in sorted(folder.glob("schedule-*.log"))[:-keep]:
            old.unlink(missing_ok=True)
        yield stream
