"""The files in deploy/: what they call is what pairmill has, and they hold no secrets."""

import ast
import configparser
import re
import shutil
import subprocess
from pathlib import Path

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
