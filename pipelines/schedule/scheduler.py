"""Waits for the times of a schedule and runs a refresh at each, one at a time.

The scheduler compares with the clock every half minute instead of sleeping to the next time, so that a machine that was suspended
or whose clock was set is noticed. One thread waits and runs, so two refreshes can't overlap; times that pass while one
runs are passed over.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from pipelines.errors import UserError
from pipelines.run_folder import RunFolder, locked
from pipelines.schedule.cron_times import CronTimes, count_between
from pipelines.schedule.refresh_process import describe_exit, is_done, output_file, run_refresh
from pipelines.schedule.state import RefreshProcess, ScheduleState, read_state, schedule_folder, write_state

LOOK_SECONDS: Final = 30.0
LATE_SECONDS: Final = 300.0

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Schedule:
    """What runs when.

    Attributes:
        command: a refresh's command line.
        missed: whether times that passed while the scheduler or the machine was off are made up by one run, or left out
            (a start up to 5 minutes late counts as in time).
        retries: how often a failed refresh is tried again.
        retry_after: seconds before the first retry; twice as long before each further one.
        keep_logs: files of refreshes' output that stay.
    """

    run: RunFolder
    times: CronTimes
    command: tuple[str, ...]
    missed: Literal["run", "skip"] = "run"
    once_now: bool = False
    retries: int = 2
    retry_after: float = 600.0
    keep_logs: int = 30


class Scheduler:
    """Runs a schedule until `stopping` is set.

    Args:
        tell: gets an event at every start, end, retry, missed or passed over time; see docs/scheduling.md.
        now: the clock (tests set another).
    """

    def __init__(
        self,
        schedule: Schedule,
        tell: Tell,
        stopping: threading.Event,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._schedule = schedule
        self._tell_event = tell
        self._stopping = stopping
        self._now = now
        self._state = ScheduleState(cron=schedule.times.expression, timezone=schedule.times.zone_name)

    def run(self) -> None:
        """Raises UserError: another scheduler holds the run folder."""
        with _one_scheduler(self._schedule.run):
            due = self._first_due()
            while self._wait_until(due):
                if self._is_too_late(due):
                    self._tell("missed", times=count_between(self._schedule.times, due, self._now()), made_up=False)
                else:
                    self._refresh_with_retries(due)
                due = self._next_due(due)
            self._tell("stopped")

    def _first_due(self) -> datetime:
        kept = read_state(self._schedule.run)
        if kept is not None and kept.running is not None:
            self._wait_for_orphan(kept.running)
        if kept is not None:
            self._state = self._state.model_copy(
                update={name: getattr(kept, name) for name in ("last_started", "last_ended", "last_exit_code")}
            )
        now = self._now()
        makes_up = self._missed(kept, now)
        due = now if makes_up or self._schedule.once_now else self._schedule.times.after(now)
        self._keep(next_due=due.astimezone(UTC), running=None)
        self._tell("scheduled", next=_text(due))
        return due

    def _missed(self, kept: ScheduleState | None, now: datetime) -> bool:
        """Whether a run must be made up: its time passed, or it had not ended, when the last scheduler was there."""
        if kept is None:
            return False
        same = (kept.cron, kept.timezone) == (self._state.cron, self._state.timezone)
        passed = count_between(self._schedule.times, kept.next_due, now) if same and kept.next_due else 0
        if not passed and kept.running is None:
            return False
        makes_up = self._schedule.missed == "run"
        self._tell("missed", times=passed, unfinished=kept.running is not None, made_up=makes_up)
        return makes_up

    def _wait_for_orphan(self, process: RefreshProcess) -> None:
        """A scheduler that was killed may have left its refresh running; a second one would only find the folder locked."""
        if process.is_alive():
            self._tell("waiting", pid=process.pid)
        while process.is_alive() and not self._stopping.wait(1.0):
            continue

    def _wait_until(self, due: datetime) -> bool:
        """False: stopped before."""
        while (left := (due - self._now()).total_seconds()) > 0:
            if self._stopping.wait(min(left, LOOK_SECONDS)):
                return False
        return not self._stopping.is_set()

    def _is_too_late(self, due: datetime) -> bool:
        return self._schedule.missed == "skip" and self._now() - due > timedelta(seconds=LATE_SECONDS)

    def _next_due(self, due: datetime) -> datetime:
        now = self._now()
        following = self._schedule.times.after(due)
        if not self._is_too_late(due) and (passed := count_between(self._schedule.times, following, now)):
            self._tell("passed_over", times=passed)
        found = self._schedule.times.after(max(now, due))
        self._keep(next_due=found.astimezone(UTC))
        return found

    def _refresh_with_retries(self, due: datetime) -> None:
        for attempt in range(self._schedule.retries + 1):
            code = self._refresh(due, attempt)
            if is_done(code) or self._stopping.is_set() or attempt == self._schedule.retries:
                return
            wait = self._schedule.retry_after * 2**attempt
            self._tell("retry", attempt=attempt + 1, of=self._schedule.retries, after_seconds=wait)
            if self._stopping.wait(wait):
                return

    def _refresh(self, due: datetime, attempt: int) -> int:
        begun, clock = self._now(), time.monotonic()
        with output_file(self._schedule.run, begun, self._schedule.keep_logs) as output:
            log = output.name if output else None

            def started(pid: int) -> None:
                self._keep(running=RefreshProcess.of(pid), last_started=begun)
                self._tell("started", due=_text(due), attempt=attempt, pid=pid, log=log)

            code = run_refresh(self._schedule.command, output, self._stopping, started)
        interrupted = self._stopping.is_set() and not is_done(code)
        ended = {"last_ended": self._now(), "last_exit_code": code}
        self._keep(**ended, **({} if interrupted else {"running": None}))
        self._tell(
            "ended",
            exit_code=code,
            outcome=describe_exit(code),
            seconds=round(time.monotonic() - clock, 1),
            attempt=attempt,
            log=log,
            next=_text(self._schedule.times.after(max(self._now(), due))),
        )
        return code

    def _keep(self, **changes: Any) -> None:
        self._state = self._state.model_copy(update=changes)
        write_state(self._schedule.run, self._state)

    def _tell(self, event: str, **facts: Any) -> None:
        self._tell_event({"time": _text(self._now()), "event": event, **facts})


@contextlib.contextmanager
def _one_scheduler(run: RunFolder) -> Any:
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(schedule_folder(run), wait_seconds=0))
        except UserError as error:
            raise UserError(f"There is a scheduler for this run already: {error}") from None
        yield


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
