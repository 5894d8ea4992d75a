"""The files in deploy/: what they call is what pairmill has, and they hold no secrets."""

import ast
import configparser
import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pipelines import command_line
from pipelines.schedule.cron_times import CronTimes

DEPLOY = Path(__file__).parents[3] / "deploy"
COMMANDS = {
    command.name or command.callback.__name__ for command in command_line.app.registered_commands if command.callback
}


def _unit(name: str) -> configparser.RawConfigParser:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / name)
    return unit


def test_the_service_of_the_timer_runs_once_and_knows_the_exit_codes() -> None:
    unit = _unit("pairmill-refresh.service")["Service"]
    assert unit["Type"] == "oneshot"
    assert unit["SuccessExitStatus"] == "3"
    assert unit["KillSignal"] == "SIGTERM"
    assert int(unit["TimeoutStopSec"]) > 10  # a refresh takes up to 10 s to end
    assert unit["EnvironmentFile"].startswith("-/etc/")
    assert "Environment" not in unit


def test_the_timer_makes_missed_times_up() -> None:
    timer = _unit("pairmill-refresh.timer")
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Timer"]["Unit"] == "pairmill-refresh.service"
    assert timer["Install"]["WantedBy"] == "timers.target"


def test_the_schedulers_service_takes_its_end_by_sigterm_for_success() -> None:
    unit = _unit("pairmill-schedule.service")["Service"]
    assert unit["SuccessExitStatus"] == "143"
    assert unit["Restart"] == "on-failure"


def test_units_are_what_systemd_accepts(tmp_path: Path) -> None:
    """By systemd itself where it is there; the program that the units call is not, so a stand-in takes its place."""
    program = tmp_path / "pairmill"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in (DEPLOY / "systemd").iterdir():
        text = path.read_text().replace("/srv/pairmill/.venv/bin/pairmill", str(program))
        (tmp_path / path.name).write_text(text)
        sections = re.findall(r"^\[(\w+)\]$", text, re.MULTILINE)
        assert set(sections) <= {"Unit", "Service", "Timer", "Install"}
        for line in text.splitlines():
            assert not line or line.startswith(("#", "[")) or re.match(r"[A-Z]\w+=\S", line), line
    if analyse := shutil.which("systemd-analyze"):
        units = sorted(str(tmp_path / path.name) for path in (DEPLOY / "systemd").iterdir())
        done = subprocess.run([analyse, "verify", *units], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_command_that_is_called_is_one_of_pairmill() -> None:
    for path in sorted(DEPLOY.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            for name in re.findall(r"bin/pairmill (\w+)", path.read_text()):
                assert name in COMMANDS, (path, name)
    calls = ast.unparse(ast.parse((DEPLOY / "airflow" / "pairmill_refresh.py").read_text()))
    assert "'refresh'" in calls
    assert "'verify'" in calls
    assert {"refresh", "verify", "schedule"} <= COMMANDS


def test_the_lines_for_cron_have_times_that_cron_knows() -> None:
    lines = [line for line in (DEPLOY / "cron" / "pairmill").read_text().splitlines() if re.match(r"[\d*]", line)]
    assert lines
    for line in lines:
        CronTimes(" ".join(line.split()[:5]), "UTC")
        assert "%" not in line  # cron takes it for the end of the line


def test_the_dag_allows_one_run_at_a_time_and_does_not_catch_up() -> None:
    calls = ast.unparse(ast.parse((DEPLOY / "airflow" / "pairmill_refresh.py").read_text()))
    assert "max_active_runs=1" in calls
    assert "catchup=False" in calls
    assert "'retry_exponential_backoff': True" in calls


def test_no_file_holds_a_key() -> None:
    for path in sorted(DEPLOY.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            assert not re.search(r"(?i)(api_?key|token|password|secret)\s*=\s*\S", path.read_text()), path


def _cron_line(folder: Path, pairmill: str) -> str:
    """The command of the line for cron, with `folder` in place of /srv/pairmill and a stand-in for pairmill."""
    program = folder / ".venv/bin/pairmill"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{pairmill}\n")
    program.chmod(0o755)
    (folder / "runs").mkdir()
    (folder / "environment").write_text("KEY=value\n")
    line = next(line for line in (DEPLOY / "cron" / "pairmill").read_text().splitlines() if re.match(r"[\d*]", line))
    return line.split(maxsplit=6)[6].replace("/srv/pairmill", str(folder))


@pytest.mark.parametrize(("code", "is_mailed"), [(0, False), (3, False), (1, True), (2, True), (143, True)])
def test_the_line_for_cron_mails_failures_alone(tmp_path: Path, code: int, is_mailed: bool) -> None:
    line = _cron_line(tmp_path, f'echo "$KEY"; exit {code}')
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert ("pairmill refresh failed" in done.stdout, done.stderr) == (is_mailed, "")
    assert (tmp_path / "runs/refresh.jsonl").read_text() == "value\n"  # the key came from its file


def test_the_line_for_cron_leaves_a_time_out_while_the_last_refresh_runs(tmp_path: Path) -> None:
    line = _cron_line(tmp_path, "touch ran")
    held = ["flock", str(tmp_path / "runs/schedule.lock"), "bash", "-c", line]
    done = subprocess.run(held, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")
    assert not (tmp_path / "ran").exists()


class _Task:
    """Stands where Airflow's tasks stand in the DAG's last line."""

    def __rshift__(self, other: object) -> object:
        return other


class FailedForGood(Exception):
    pass


class Skipped(Exception):
    pass


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[..., Any]]:
    """The DAG's tasks as functions, with stand-ins for what the file imports of Airflow; PAIRMILL_COMMAND is tmp_path/pairmill."""
    tasks: dict[str, Callable[..., Any]] = {}

    def task(function: Callable[..., Any]) -> Callable[..., _Task]:
        tasks[function.__name__] = function
        return lambda *given: _Task()

    variable = SimpleNamespace(get=lambda name, default: default)
    sdk = {"Variable": variable, "dag": lambda **settings: lambda function: function, "task": task}
    exceptions = {"AirflowFailException": FailedForGood, "AirflowSkipException": Skipped}
    trigger = {"CronTriggerTimetable": lambda *given, **named: None}
    for name, content in {"sdk": sdk, "sdk.exceptions": exceptions, "timetables.trigger": trigger}.items():
        monkeypatch.setitem(sys.modules, f"airflow.{name}", SimpleNamespace(**content))  # type: ignore[arg-type]
    for name in ("airflow", "airflow.timetables"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name, value in {"COMMAND": "pairmill", "RECIPE": "recipe.yaml", "RUN_FOLDER": "run"}.items():
        monkeypatch.setenv(f"PAIRMILL_{name}", str(tmp_path / value))
    runpy.run_path(str(DEPLOY / "airflow" / "pairmill_refresh.py"))
    return tasks


def _stand_in(folder: Path, code: int, outcome: str) -> None:
    """A pairmill whose refresh ends with a code, and whose status tells an outcome on standard output alone."""
    told = json.dumps({"refreshes": [{"outcome": outcome}]})
    status = f"if [ $1 = status ]; then echo a warning >&2; echo '{told}'; exit 0; fi"
    (folder / "pairmill").write_text(f"#!/bin/sh\n{status}\nexit {code}\n")
    (folder / "pairmill").chmod(0o755)


@pytest.mark.parametrize(
    ("code", "outcome", "is_new"),
    [(0, "promoted", True), (3, "kept", False), (0, "nothing_new", False), (0, "data_only", False)],
)
def test_what_follows_a_promotion_is_left_out_where_there_is_no_new_model(
    dag: dict[str, Callable[..., Any]], tmp_path: Path, code: int, outcome: str, is_new: bool
) -> None:
    _stand_in(tmp_path, code, outcome)
    found = dag["refresh"]()
    assert found == outcome
    if is_new:
        dag["promoted"](found)
    else:
        with pytest.raises(Skipped, match=outcome):
            dag["promoted"](found)


def test_a_mistake_of_the_users_fails_the_task_for_good_and_a_failure_is_tried_again(
    dag: dict[str, Callable[..., Any]], tmp_path: Path
) -> None:
    _stand_in(tmp_path, 2, "failed")
    with pytest.raises(FailedForGood, match="exit code 2"):
        dag["refresh"]()
    _stand_in(tmp_path, 1, "failed")
    with pytest.raises(RuntimeError, match="exit code 1"):
        dag["refresh"]()
    with pytest.raises(RuntimeError, match="exit code 1"):
        dag["plan"]()
