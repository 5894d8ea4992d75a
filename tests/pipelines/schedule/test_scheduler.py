"""The scheduler with real child processes (small ones of this test's own) and a clock that the test sets."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.errors import UserError
from pipelines.run_folder import RunFolder, locked
from pipelines.schedule.command import Scheduling, _log, describe
from pipelines.schedule.cron_times import CronTimes
from pipelines.schedule.refresh_process import describe_exit, is_done, refresh_command
from pipelines.schedule.scheduler import Schedule, Scheduler
from pipelines.schedule.state import RefreshProcess, ScheduleState, read_state, schedule_folder, write_state

START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that the test sets."""

    def __init__(self, start: datetime = START) -> None:
        self.moment = start

    def __call__(self) -> datetime:
        return self.moment


class Stopping(threading.Event):
    """Waiting for a time of the schedule moves the clock instead, and further by `asleep`, as on a suspended machine."""

    def __init__(self, clock: Clock, asleep: timedelta = timedelta(0)) -> None:
        super().__init__()
        self._clock, self._asleep = clock, asleep

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is None or timeout <= 1:
            return super().wait(timeout)
        self._clock.moment += timedelta(seconds=timeout) + self._asleep
        return self.is_set()


class Recorder:
    """Keeps events, and stops after so many ends of refreshes."""

    def __init__(self, stopping: threading.Event, ends: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._stopping, self._ends = stopping, ends

    def __call__(self, event: dict[str, Any]) -> None:
        json.dumps(event)
        assert describe(event)
        self.events.append(event)
        if event["event"] == "ended":
            self._ends -= 1
            if self._ends == 0:
                self._stopping.set()

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]


def _python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def _schedule(folder: Path, command: tuple[str, ...], cron: str = "0 3 * * *", **settings: Any) -> Schedule:
    return Schedule(RunFolder(str(folder)), CronTimes(cron, "UTC"), command, **settings)


def _run(schedule: Schedule, ends: int, clock: Clock | None = None, asleep: timedelta = timedelta(0)) -> Recorder:
    clock = clock or Clock()
    stopping = Stopping(clock, asleep)
    recorder = Recorder(stopping, ends)
    Scheduler(schedule, recorder, stopping, clock).run()
    return recorder


def test_a_refresh_runs_at_each_time_and_its_output_is_kept_in_a_log(tmp_path: Path) -> None:
    found = _run(_schedule(tmp_path, _python("print('hello'); import sys; print('trouble', file=sys.stderr)")), ends=2)
    assert [event["due"] for event in found.named("started")] == [
        "2026-11-02T03:00:00+00:00",
        "2026-11-03T03:00:00+00:00",
    ]
    assert [event["exit_code"] for event in found.named("ended")] == [0, 0]
    logs = sorted((tmp_path / "logs").glob("schedule-*.log"))
    assert len(logs) == 2
    assert set(logs[0].read_text().split()) == {"hello", "trouble"}
    assert found.events[-1]["event"] == "stopped"


def test_only_the_latest_logs_stay_and_no_other_file_is_touched(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "train.log").write_text("kept")
    (tmp_path / "logs" / "schedule-20200101T000000.000000.log").write_text("old")
    _run(_schedule(tmp_path, _python("print(1)"), keep_logs=2), ends=3)
    names = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert len(names) == 3
    assert "train.log" in names
    assert "schedule-20200101T000000.000000.log" not in names


def test_a_model_kept_back_by_the_gate_is_done_and_not_tried_again(tmp_path: Path) -> None:
    found = _run(_schedule(tmp_path, _python("raise SystemExit(3)"), retries=2, retry_after=0.0), ends=1)
    assert [event["exit_code"] for event in found.named("ended")] == [3]
    assert "gate" in found.named("ended")[0]["outcome"]
    assert not found.named("retry")


def test_a_failed_refresh_is_tried_again_with_growing_pauses_until_it_works(tmp_path: Path) -> None:
    code = "import sys, pathlib; p = pathlib.Path(sys.argv[1]); n = len(p.read_text()) if p.exists() else 0; p.write_text('x' * (n + 1)); sys.exit(0 if n == 2 else 1)"
    found = _run(_schedule(tmp_path, _python(code, str(tmp_path / "tries")), retries=4, retry_after=0.01), ends=3)
    assert [event["exit_code"] for event in found.named("ended")] == [1, 1, 0]
    assert [event["after_seconds"] for event in found.named("retry")] == [0.01, 0.02]


def test_after_the_last_retry_the_scheduler_goes_on_with_the_next_time(tmp_path: Path) -> None:
    found = _run(_schedule(tmp_path, _python("raise SystemExit(1)"), retries=1, retry_after=0.0), ends=4)
    assert [(event["due"][:10], event["attempt"]) for event in found.named("started")] == [
        ("2026-11-02", 0),
        ("2026-11-02", 1),
        ("2026-11-03", 0),
        ("2026-11-03", 1),
    ]


def test_a_refresh_that_is_killed_does_not_end_the_scheduler(tmp_path: Path) -> None:
    found = _run(
        _schedule(tmp_path, _python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), retries=0), ends=2
    )
    assert [event["exit_code"] for event in found.named("ended")] == [-9, -9]
    assert "SIGKILL" in found.named("ended")[0]["outcome"]


def test_once_now_runs_at_once_and_then_by_the_schedule(tmp_path: Path) -> None:
    found = _run(_schedule(tmp_path, _python("pass"), once_now=True), ends=2)
    assert [event["due"] for event in found.named("started")] == [
        "2026-11-01T12:00:00+00:00",
        "2026-11-02T03:00:00+00:00",
    ]


@pytest.mark.parametrize("missed", ["run", "skip"])
def test_times_missed_while_the_scheduler_was_off_are_made_up_once_or_left_out(tmp_path: Path, missed: Any) -> None:
    _run(_schedule(tmp_path, _python("pass")), ends=1)  # its next time would be 3 November
    later = Clock(datetime(2026, 11, 6, 12, 0, tzinfo=UTC))
    found = _run(_schedule(tmp_path, _python("pass"), missed=missed), ends=1, clock=later)
    assert [event["times"] for event in found.named("missed")] == [4]  # 3, 4, 5 and 6 November
    assert found.named("missed")[0]["made_up"] is (missed == "run")
    due = "2026-11-06T12:00:00+00:00" if missed == "run" else "2026-11-07T03:00:00+00:00"
    assert [event["due"] for event in found.named("started")] == [due]


def test_another_cron_expression_has_missed_nothing(tmp_path: Path) -> None:
    _run(_schedule(tmp_path, _python("pass")), ends=1)
    later = Clock(datetime(2026, 11, 6, 12, 0, tzinfo=UTC))
    found = _run(_schedule(tmp_path, _python("pass"), cron="0 5 * * *"), ends=1, clock=later)
    assert not found.named("missed")


def test_a_refresh_that_had_not_ended_is_made_up(tmp_path: Path) -> None:
    gone = RefreshProcess(psutil.os.uname().nodename, 2**22 + 1, 1.0)
    (tmp_path / "schedule").mkdir()
    write_state(
        RunFolder(str(tmp_path)),
        ScheduleState(cron="0 3 * * *", timezone="UTC", next_due=START + timedelta(days=1), running=gone),
    )
    found = _run(_schedule(tmp_path, _python("pass")), ends=1)
    assert found.named("missed")[0]["unfinished"] is True
    assert found.named("started")[0]["due"] == "2026-11-01T12:00:00+00:00"


def test_a_refresh_that_a_killed_scheduler_left_running_is_waited_for(tmp_path: Path) -> None:
    orphan = subprocess.Popen(_python("import time; time.sleep(1.5)"))
    (tmp_path / "schedule").mkdir()
    state = ScheduleState(cron="0 3 * * *", timezone="UTC", running=RefreshProcess.of(orphan.pid))
    write_state(RunFolder(str(tmp_path)), state)
    found = _run(_schedule(tmp_path, _python("pass")), ends=1)
    assert [event["pid"] for event in found.named("waiting")] == [orphan.pid]
    assert orphan.poll() is None or orphan.wait() == 0
    orphan.wait()


def test_a_process_is_told_by_its_start_and_the_systems_whatever_the_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orphan = subprocess.Popen(_python("import time; time.sleep(60)"))
    try:
        kept = RefreshProcess.of(orphan.pid)
        assert kept.is_alive()
        assert not replace(kept, started=kept.started + 60).is_alive()  # a later process of the same number
        assert not replace(kept, boot="another").is_alive()
        set_by, told = 86_400.0, psutil.boot_time()
        created = psutil.Process.create_time
        monkeypatch.setattr(psutil, "boot_time", lambda: told + set_by)  # both follow the clock
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) + set_by)
        assert kept.is_alive()
    finally:
        orphan.kill()
        orphan.wait()
    assert not kept.is_alive()


def test_a_machine_that_slept_over_a_time_runs_late_or_not_at_all(tmp_path: Path) -> None:
    asleep = timedelta(days=1, hours=7)  # from 12:00 on 1 November to 19:00 on the 2nd
    found = _run(_schedule(tmp_path / "a", _python("pass"), missed="run"), ends=1, asleep=asleep)
    assert [event["due"][:10] for event in found.named("started")] == ["2026-11-02"]
    clock = Clock()
    stopping = Stopping(clock, asleep)
    events: list[dict[str, Any]] = []

    def tell(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "missed":
            stopping.set()

    Scheduler(_schedule(tmp_path / "b", _python("pass"), missed="skip"), tell, stopping, clock).run()
    assert [event["event"] for event in events] == ["scheduled", "missed", "stopped"]


def test_times_that_pass_while_a_refresh_runs_are_passed_over(tmp_path: Path) -> None:
    clock = Clock()
    stopping = Stopping(clock)
    events: list[dict[str, Any]] = []

    def tell(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "started":
            clock.moment += timedelta(days=2, hours=1)  # the refresh takes two days
        if event["event"] == "passed_over":
            stopping.set()

    Scheduler(_schedule(tmp_path, _python("pass")), tell, stopping, clock).run()
    assert [event["times"] for event in events if event["event"] == "passed_over"] == [2]
    kept = read_state(RunFolder(str(tmp_path)))
    assert kept is not None
    assert kept.next_due == datetime(2026, 11, 5, 3, 0, tzinfo=UTC)


def test_times_that_pass_while_a_refresh_runs_are_told_where_missed_ones_are_left_out_too(tmp_path: Path) -> None:
    clock = Clock()
    stopping = Stopping(clock)
    events: list[dict[str, Any]] = []

    def tell(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "started":
            clock.moment += timedelta(days=2, hours=1)
        if event["event"] in ("passed_over", "missed"):
            stopping.set()

    Scheduler(_schedule(tmp_path, _python("pass"), missed="skip"), tell, stopping, clock).run()
    assert [event["event"] for event in events] == ["scheduled", "started", "ended", "passed_over", "stopped"]
    assert events[3]["times"] == 2


def test_times_slept_over_are_missed_and_made_up_once_not_passed_over(tmp_path: Path) -> None:
    asleep = timedelta(days=3)
    found = _run(_schedule(tmp_path, _python("pass")), ends=1, asleep=asleep)
    # 12:00 on 1 November, asleep until 12:00 on the 4th: the 2nd, 3rd and 4th at 3:00
    assert [(event["times"], event["made_up"]) for event in found.named("missed")] == [(3, True)]
    assert not found.named("passed_over")


def test_a_start_a_little_late_is_in_time_where_missed_times_are_left_out(tmp_path: Path) -> None:
    _run(_schedule(tmp_path, _python("pass")), ends=1)  # its next time would be 3:00 on 3 November
    four_minutes_late = Clock(datetime(2026, 11, 3, 3, 4, tzinfo=UTC))
    found = _run(_schedule(tmp_path, _python("pass"), missed="skip"), ends=1, clock=four_minutes_late)
    assert [event["due"] for event in found.named("started")] == ["2026-11-03T03:00:00+00:00"]
    assert not found.named("missed")


def test_the_time_whose_refresh_a_kill_cut_off_does_not_count_as_missed(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def tell(event: dict[str, Any]) -> None:
        if event["event"] == "started":
            raise Killed

    clock = Clock()
    with pytest.raises(Killed):
        Scheduler(_schedule(tmp_path, _python("pass")), tell, Stopping(clock), clock).run()
    found = _run(_schedule(tmp_path, _python("pass")), ends=1, clock=clock)
    assert [(event["times"], event["unfinished"]) for event in found.named("missed")] == [(0, True)]


def test_a_scheduler_stopped_while_it_waits_for_a_refresh_leaves_word_of_it_to_the_next(tmp_path: Path) -> None:
    orphan = subprocess.Popen(_python("import time; time.sleep(60)"))
    try:
        state = ScheduleState(cron="0 3 * * *", timezone="UTC", running=RefreshProcess.of(orphan.pid))
        write_state(RunFolder(str(tmp_path)), state)
        clock = Clock()
        stopping = Stopping(clock)
        events: list[dict[str, Any]] = []

        def tell(event: dict[str, Any]) -> None:
            events.append(event)
            stopping.set()

        Scheduler(_schedule(tmp_path, _python("pass")), tell, stopping, clock).run()
        assert [event["event"] for event in events] == ["waiting", "stopped"]
        assert read_state(RunFolder(str(tmp_path))) == state
    finally:
        orphan.kill()
        orphan.wait()


@pytest.mark.parametrize(("set_back", "due"), [(timedelta(days=1200), "2023-07-"), (timedelta(hours=2), "2026-11-02")])
def test_a_clock_that_is_set_back_by_more_than_three_hours_gives_another_next_time(
    tmp_path: Path, set_back: timedelta, due: str
) -> None:
    class SetBack(Stopping):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal set_back
            if timeout is not None and timeout > 1:
                self._clock.moment -= set_back
                set_back = timedelta(0)
            return super().wait(timeout)

    clock = Clock()
    stopping = SetBack(clock)
    found = Recorder(stopping, 1)
    Scheduler(_schedule(tmp_path, _python("pass")), found, stopping, clock).run()
    # 1 November 2026 less 1,200 days is 20 July 2023
    assert found.named("started")[0]["due"].startswith(due)


def test_a_disk_that_takes_no_state_and_no_log_ends_no_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pipelines.schedule.scheduler.write_state", full)
    monkeypatch.setattr("pipelines.schedule.scheduler.output_file", full)
    found = _run(_schedule(tmp_path, _python("raise SystemExit(3)")), ends=2)
    assert [event["exit_code"] for event in found.named("ended")] == [3, 3]
    assert {event["what"] for event in found.named("not_written")} == {"the refresh's log", "the schedule's state"}


def test_a_refresh_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    found = _run(_schedule(tmp_path, (str(tmp_path / "no-python"),), retries=1, retry_after=0.0), ends=2)
    assert [event["exit_code"] for event in found.named("ended")] == [71, 71]
    assert "no-python" in found.named("ended")[0]["outcome"]


def test_the_log_of_events_on_a_full_disk_ends_no_schedule(caplog: pytest.LogCaptureFixture) -> None:
    if not Path("/dev/full").exists():
        return
    asked = Scheduling("a", "b", None, None, "run", False, 0, "1s", 1, "/dev/full", False, ())
    said: list[str] = []
    with _log(asked, said.append) as tell:
        tell({"time": "2026-11-23T02:00:00+00:00", "event": "stopped"})
    assert said[0].endswith("stopped")
    assert "/dev/full could not be written" in caplog.text


SIGNAL_WHILE_LOCKED = """
import os, signal, threading
from pipelines.schedule.command import _ends_on_signals
stopping = threading.Event()
with _ends_on_signals(stopping) as received:
    with stopping._cond:  # as wait() holds it now and then
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopping.wait(10)
assert received == [signal.SIGTERM]
"""


def test_a_signal_that_comes_while_the_event_is_locked_is_no_deadlock() -> None:
    done = subprocess.run([sys.executable, "-c", SIGNAL_WHILE_LOCKED], timeout=30, check=False)
    assert done.returncode == 0


def test_a_second_scheduler_of_the_same_run_is_refused_and_named(tmp_path: Path) -> None:
    with (
        locked(schedule_folder(RunFolder(str(tmp_path)))),
        pytest.raises(UserError, match=f"scheduler for this run already.*process {os.getpid()}"),
    ):
        _run(_schedule(tmp_path, _python("pass")), ends=1)


def test_a_broken_state_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "schedule").mkdir()
    for content in (
        b"",
        b'{"cron": "0 3',
        b"[]",
        b"\xff",
        b'{"cron": 1}',
        b'{"cron":"a","timezone":null,"running":{"pid":"x"}}',
    ):
        (tmp_path / "schedule" / "state.json").write_bytes(content)
        assert read_state(RunFolder(str(tmp_path))) is None


def test_exit_codes_are_told_in_words() -> None:
    assert [is_done(code) for code in (0, 3, 1, 2, 130, -9)] == [True, True, False, False, False, False]
    assert describe_exit(7) == "failed with exit code 7"
    assert "memory" in describe_exit(-9)


def test_the_refresh_is_run_by_this_python_with_the_run_folder_and_the_options() -> None:
    command = refresh_command("a.yaml", "/runs/a", ("--set", "train.steps=5"))
    assert command[0] == sys.executable
    assert command[3:] == ("refresh", "a.yaml", "--run-folder", "/runs/a", "--set", "train.steps=5")


DRIVER = """
import sys
from pipelines.schedule import command, scheduler
from pipelines.schedule.command import Scheduling, schedule
command.refresh_command = lambda recipe, folder, options: (sys.executable, "-c", options[0])
asked = Scheduling(sys.argv[1], "0 3 * * *", "UTC", sys.argv[2], "run", True, 0, "1s", 5, sys.argv[2] + ".events", True, (sys.argv[3],))
sys.exit(schedule(asked, print))
"""


def _start(tmp_path: Path, child: str) -> subprocess.Popen[str]:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nsources: [{source: jsonl, paths: [none.jsonl]}]\n")
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(recipe), str(tmp_path / "run"), child], stdout=subprocess.PIPE, text=True
    )


def _line(process: "subprocess.Popen[str]", event: str) -> dict[str, Any]:
    assert process.stdout
    while True:
        line = process.stdout.readline()
        assert line, "the scheduler ended"
        found = json.loads(line)
        if found["event"] == event:
            return dict(found)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_refresh_and_then_the_scheduler(tmp_path: Path, number: signal.Signals, code: int) -> None:
    ready = tmp_path / "ready"
    child = f"import signal, sys, time, pathlib\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\npathlib.Path({str(ready)!r}).touch()\ntime.sleep(60)"
    scheduler = _start(tmp_path, child)
    pid = _line(scheduler, "started")["pid"]
    while not ready.exists():
        time.sleep(0.02)
    scheduler.send_signal(number)
    assert _line(scheduler, "ended")["exit_code"] == 143
    assert scheduler.wait(20) == code
    assert not psutil.pid_exists(pid)
    kept = read_state(RunFolder(str(tmp_path / "run")))
    assert kept is not None
    assert kept.running is not None, "the next start takes the refresh up again"
    lines = [json.loads(line) for line in (tmp_path / "run.events").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["scheduled", "started", "ended", "stopped"]


def test_a_killed_scheduler_leaves_no_lock_behind(tmp_path: Path) -> None:
    scheduler = _start(tmp_path, "import time; time.sleep(60)")
    pid = _line(scheduler, "started")["pid"]
    try:
        with pytest.raises(UserError), locked(schedule_folder(RunFolder(str(tmp_path / "run"))), wait_seconds=0):
            pytest.fail("the lock was free")
        scheduler.kill()
        scheduler.wait()
        with locked(schedule_folder(RunFolder(str(tmp_path / "run"))), wait_seconds=5):
            assert psutil.pid_exists(pid)  # the refresh goes on; a new scheduler waits for it
    finally:
        os.kill(pid, signal.SIGKILL)
