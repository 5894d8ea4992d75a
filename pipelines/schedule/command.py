"""What `pairmill schedule` does with its options: the times it prints, the events it logs, the signals that end it."""

import _thread
import contextlib
import json
import logging
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, AnyStr, Final

from pipelines.errors import UserError
from pipelines.recipe import load_recipe
from pipelines.report.text import visible
from pipelines.run_folder import RunFolder, absolute
from pipelines.schedule.cron_times import CronTimes
from pipelines.schedule.refresh_process import refresh_command
from pipelines.schedule.scheduler import Schedule, Scheduler

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)", re.ASCII)
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Scheduling:
    """The command's options; `options` are handed on to every refresh."""

    recipe: str
    cron: str
    timezone: str | None
    run_folder: str | None
    missed: str
    once_now: bool
    retries: int
    retry_after: str
    keep_logs: int
    log: str | None
    log_json: bool
    options: tuple[str, ...]


def next_times(cron: str, timezone: str | None, number: int) -> list[str]:
    """The next times of a cron expression, with weekday and difference to UTC."""
    times = islice(CronTimes(cron, timezone).following(datetime.now(UTC)), number)
    return [f"{each:%a %Y-%m-%d %H:%M %z}" for each in times]


def schedule(asked: Scheduling, say: Callable[[str], None]) -> int:
    """Run the schedule until a signal ends it; returns the exit code: 143 after SIGTERM, 130 after Ctrl-C.

    Raises:
        UserError: a recipe, cron expression, time zone or duration that is none; another scheduler of the same run.
    """
    found = _schedule(asked)
    stopping = threading.Event()
    with _log(asked, say) as tell, _ends_on_signals(stopping) as received:
        Scheduler(found, tell, stopping).run()
    return 128 + (received[0] if received else signal.SIGTERM)


def _schedule(asked: Scheduling) -> Schedule:
    if asked.missed not in ("run", "skip"):
        raise UserError(f"--missed {asked.missed}: write run (make up for times that were missed) or skip.")
    recipe = load_recipe(asked.recipe)  # a slip of the pen is told now, not at the first time of the schedule
    folder = asked.run_folder or f"runs/{recipe.name}"
    run = absolute(RunFolder(folder))
    return Schedule(
        run=run,
        times=CronTimes(asked.cron, asked.timezone),
        command=refresh_command(asked.recipe, run.url, asked.options),
        missed="run" if asked.missed == "run" else "skip",
        once_now=asked.once_now,
        retries=asked.retries,
        retry_after=_seconds(asked.retry_after),
        keep_logs=asked.keep_logs,
    )


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise UserError(f"--retry-after {text}: write a duration as 90s, 10m, 2h or 1d.")
    return float(found[1]) * _SECONDS[found[2]]


@contextlib.contextmanager
def _ends_on_signals(stopping: threading.Event) -> Iterator[list[int]]:
    """SIGTERM and Ctrl-C set `stopping`; the same signal once more ends this process at once.

    Another thread sets it: the one that the signal interrupted may hold the event's lock, and would wait for itself for ever."""
    received: list[int] = []

    def stop(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)
        _thread.start_new_thread(stopping.set, ())

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _log(asked: Scheduling, say: Callable[[str], None]) -> Iterator[Callable[[dict[str, Any]], None]]:
    with contextlib.ExitStack() as held:
        file = None
        if asked.log:
            Path(asked.log).parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(Path(asked.log).open("ab", buffering=0))

        def tell(event: dict[str, Any]) -> None:
            line = json.dumps(event, ensure_ascii=False) + "\n"
            if file:
                _write_or_warn(file, line.encode())
            if asked.log_json:
                _write_or_warn(sys.stdout, line)
            else:
                say(visible(describe(event)))

        yield tell


def _write_or_warn(stream: IO[AnyStr], line: AnyStr) -> None:
    """A line that a full disk or a reader that is gone does not take ends no schedule."""
    try:
        stream.write(line)
        stream.flush()
    except OSError as error:
        logging.getLogger(__name__).warning("%s could not be written: %s", stream.name, error)


def describe(event: dict[str, Any]) -> str:
    """One event of the scheduler in words."""
    clock = datetime.fromisoformat(event["time"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{clock}  {_WORDS[event['event']](event)}"


def _local(text: str) -> str:
    return datetime.fromisoformat(text).astimezone().strftime("%a %Y-%m-%d %H:%M")


def _told_missed(event: dict[str, Any]) -> str:
    times = event["times"]
    what = f"{times:,} {'time' if times == 1 else 'times'} passed while nothing ran here" if times else ""
    unfinished = "the end of the last refresh was not seen" if event.get("unfinished") else ""
    return f"{' and '.join(filter(None, (what, unfinished)))}; {'made up now' if event['made_up'] else 'left out'}"


_WORDS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "scheduled": lambda event: f"next refresh: {_local(event['next'])}",
    "missed": _told_missed,
    "waiting": lambda event: f"waiting for the refresh that the last scheduler left running (process {event['pid']})",
    "started": lambda event: f"refresh started (process {event['pid']}); log: {event['log'] or 'below'}",
    "ended": lambda event: f"refresh {event['outcome']}, {event['seconds']:,.0f} s; next: {_local(event['next'])}",
    "retry": lambda event: f"trying again in {event['after_seconds']:,.0f} s ({event['attempt']} of {event['of']})",
    "passed_over": lambda event: f"{event['times']:,} times passed while the refresh ran; not made up",
    "not_written": lambda event: f"{event['what']} could not be written: {event['error']}",
    "stopped": lambda event: "stopped",
}
