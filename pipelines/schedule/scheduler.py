"""Waits for the times of a schedule and runs a refresh at each, one at a time.

The scheduler compares with the clock every half minute instead of sleeping to the next time, so that a machine that was suspended
or whose clock was set is noticed. One thread waits and runs, so two refreshes can't overlap; times that pass while one
runs are passed over. A disk that takes no state, log or event ends no schedule: what could not be written is told.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, Any, Final, Literal

from pipelines.errors import UserError
from pipelines.run_folder import RunFolder, locked
from pipelines.schedule.cron_times import CronTimes, count_between
from pipelines.schedule.refresh_process import describe_exit, is_done, output_file, run_refresh
from pipelines.schedule.state import RefreshProcess, ScheduleState, read_state, schedule_folder, write_state

LOOK_SECONDS: Final = 30.0
LATE_SECONDS: Final = 300.0
SET_BACK_SECONDS: Final = 3 * 3600.0  # as cron: a clock that is set back by less runs nothing twice
NOT_STARTED: Final = 71  # exit code of a refresh that the system could not start (EX_OSERR)

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
            while due is not None and (due := self._reached(due)) is not None:
                begun = self._now()
                if not self._is_late(due, begun) or self._makes_up_late(due, begun):
                    self._refresh_with_retries(due)
                due = self._next_due(due, begun)
            self._tell("stopped")

    def _first_due(self) -> datetime | None:
        """None: stopped while a refresh that the last scheduler left was waited for."""
        kept = read_state(self._schedule.run)
        if kept is not None and kept.running is not None and not self._orphan_ended(kept.running):
            return None
        if kept is not None:
            self._state = self._state.model_copy(
                update={name: getattr(kept, name) for name in ("last_started", "last_ended", "last_exit_code")}
            )
        now = self._now()
        due = self._made_up(kept, now) or (now if self._schedule.once_now else self._schedule.times.after(now))
        self._keep(next_due=due.astimezone(UTC), running=None)
        self._tell("scheduled", next=_text(due))
        return due

    def _made_up(self, kept: ScheduleState | None, now: datetime) -> datetime | None:
        """When the run is due that makes up for times that passed, or for one that had not ended, while no scheduler was there."""
        if kept is None:
            return None
        same = (kept.cron, kept.timezone) == (self._state.cron, self._state.timezone)
        passed = count_between(self._schedule.times, kept.next_due, now) if same and kept.next_due else 0
        if not passed and kept.running is None:
            return None
        latest = self._schedule.times.after(now - timedelta(seconds=LATE_SECONDS))
        if passed and self._schedule.missed == "skip" and latest <= now:
            return latest  # in time still
        makes_up = self._schedule.missed == "run"
        self._tell("missed", times=passed, unfinished=kept.running is not None, made_up=makes_up)
        return now if makes_up else None

    def _orphan_ended(self, process: RefreshProcess) -> bool:
        """A scheduler that was killed may have left its refresh running; a second one would only find the folder locked.

        False: stopped while it ran; the next scheduler finds it in the state as this one did."""
        if process.is_alive():
            self._tell("waiting", pid=process.pid)
        while process.is_alive():
            if self._stopping.wait(1.0):
                return False
        return True

    def _reached(self, due: datetime) -> datetime | None:
        """Waits for a time and returns it, or an earlier one where the clock was set back; None: stopped before."""
        looked = self._now()
        while (left := (due - looked).total_seconds()) > 0:
            if self._stopping.wait(min(left, LOOK_SECONDS)):
                return None
            now = self._now()
            if (looked - now).total_seconds() > SET_BACK_SECONDS:
                due = self._schedule.times.after(now)
                self._keep(next_due=due.astimezone(UTC))
                self._tell("scheduled", next=_text(due))
            looked = now
        return None if self._stopping.is_set() else due

    @staticmethod
    def _is_late(due: datetime, begun: datetime) -> bool:
        return (begun - due).total_seconds() > LATE_SECONDS

    def _makes_up_late(self, due: datetime, begun: datetime) -> bool:
        """Whether one run makes up for times that passed while the machine slept; they are told."""
        makes_up = self._schedule.missed == "run"
        passed = count_between(self._schedule.times, due.astimezone(UTC), begun)
        self._tell("missed", times=passed, unfinished=False, made_up=makes_up)
        return makes_up

    def _next_due(self, due: datetime, begun: datetime) -> datetime:
        """The next time after one that was due and begun then; tells of those that passed meanwhile."""
        now, times = self._now(), self._schedule.times
        told = begun if self._is_late(due, begun) else due
        if passed := count_between(times, times.after(told), now):
            self._tell("passed_over", times=passed)
        found = self._following(due)
        self._keep(next_due=found.astimezone(UTC))
        return found

    def _following(self, due: datetime) -> datetime:
        """The next time from now on, but not the same again where the clock was set back a little."""
        now = self._now()
        was_set_back = (due - now).total_seconds() > SET_BACK_SECONDS
        return self._schedule.times.after(now if was_set_back else max(now, due))

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
        with contextlib.ExitStack() as held:
            output = self._output(held, begun)
            log = output.name if output else None

            def started(pid: int) -> None:
                following = self._following(due).astimezone(UTC)
                self._keep(running=RefreshProcess.of(pid), last_started=begun, next_due=following)
                self._tell("started", due=_text(due), attempt=attempt, pid=pid, log=log)

            try:
                code = run_refresh(self._schedule.command, output, self._stopping, started)
                outcome = describe_exit(code)
            except (
                OSError
            ) as error:  # no memory, no process left, a Python that was replaced: the next try may fare better
                code, outcome = NOT_STARTED, f"could not be started: {error}"
        interrupted = self._stopping.is_set() and not is_done(code)
        ended = {"last_ended": self._now(), "last_exit_code": code}
        self._keep(**ended, **({} if interrupted else {"running": None}))
        self._tell(
            "ended",
            exit_code=code,
            outcome=outcome,
            seconds=round(time.monotonic() - clock, 1),
            attempt=attempt,
            log=log,
            next=_text(self._following(due)),
        )
        return code

    def _output(self, held: contextlib.ExitStack, begun: datetime) -> IO[bytes] | None:
        """The file of a refresh's output; None, our own output, where there is none or the disk takes none."""
        try:
            return held.enter_context(output_file(self._schedule.run, begun, self._schedule.keep_logs))
        except OSError as error:
            self._tell("not_written", what="the refresh's log", error=str(error))
            return None

    def _keep(self, **changes: Any) -> None:
        self._state = self._state.model_copy(update=changes)
        try:
            write_state(self._schedule.run, self._state)
        except OSError as error:
            self._tell("not_written", what="the schedule's state", error=str(error))

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
