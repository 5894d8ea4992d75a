"""A refresh of one recipe as an Airflow DAG: tell what would be done, do it, check the run folder.

Put this file into Airflow's DAG folder. Airflow needs no pairmill beside it: the tasks call the `pairmill` of another Python
environment. What they call is set by environment variables, or by Airflow variables of the same name in small letters:

    PAIRMILL_COMMAND     the pairmill to call, with its path; default: pairmill
    PAIRMILL_RECIPE      the recipe (needed)
    PAIRMILL_RUN_FOLDER  the run folder (needed)
    PAIRMILL_FOLDER      where the commands stand; default: the recipe's folder
    PAIRMILL_OPTIONS     more options of `pairmill refresh`, as a shell would take them
    PAIRMILL_CRON        when; default: Mondays at 3:00
    PAIRMILL_TIMEZONE    of PAIRMILL_CRON; default: UTC
    PAIRMILL_RETRIES     of a failed task, the first after 10 minutes; default: 2

The last three are read from the environment alone.
"""

import json
import logging
import os
import shlex
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import Variable, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.timetables.trigger import CronTriggerTimetable

KEPT_BY_GATE = 3
USERS_MISTAKE = 2
STOP_SECONDS = 10

log = logging.getLogger("airflow.task")


def setting(name: str, default: str = "") -> str:
    """An environment variable (read when the file is parsed, so it must not ask Airflow's database)."""
    return os.environ.get(name, default)


def task_setting(name: str, default: str = "") -> str:
    """The same, or an Airflow variable; asked only while a task runs."""
    return setting(name) or str(Variable.get(name.lower(), default=default) or default)


def command(*arguments: str) -> list[str]:
    return [*shlex.split(task_setting("PAIRMILL_COMMAND", "pairmill")), *arguments]


def folder() -> str:
    return task_setting("PAIRMILL_FOLDER") or str(Path(task_setting("PAIRMILL_RECIPE")).parent)


def last_outcome(run_folder: str) -> str:
    """What came of the last refresh: promoted, kept, data_only or nothing_new."""
    told = subprocess.run(
        command("status", run_folder, "--json", "--history", "1"),
        cwd=folder(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return str(json.loads(told.stdout)["refreshes"][-1]["outcome"])


def pairmill(*arguments: str) -> int:
    """Run one pairmill command with its output in the task's log; its exit code. Ends it when Airflow ends the task."""
    log.info("running pairmill %s", arguments[0])
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        for line in process.stdout or ():
            log.info("%s", line.rstrip("\n"))
        return process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def needed(name: str) -> str:
    found = task_setting(name)
    if not found:
        raise AirflowFailException(f"Set the environment variable {name}, or the Airflow variable {name.lower()}.")
    return found


def fail_on(code: int, what: str) -> None:
    """A mistake of the user's is not tried again; anything else is."""
    if code == USERS_MISTAKE:
        raise AirflowFailException(f"{what} ended with exit code 2: a mistake in the recipe or its inputs; see the log")
    if code != 0:
        raise RuntimeError(f"{what} ended with exit code {code}; see the log")


@dag(
    dag_id="pairmill_refresh",
    schedule=CronTriggerTimetable(setting("PAIRMILL_CRON", "0 3 * * 1"), timezone=setting("PAIRMILL_TIMEZONE", "UTC")),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": int(setting("PAIRMILL_RETRIES", "2")),
        "retry_delay": timedelta(minutes=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(hours=2),
    },
    tags=["pairmill"],
    doc_md=__doc__,
)
def pairmill_refresh() -> None:
    @task
    def plan() -> None:
        """Into the log: each job with what it would do, rows, time, money and disk."""
        arguments = ["refresh", needed("PAIRMILL_RECIPE"), "--run-folder", needed("PAIRMILL_RUN_FOLDER"), "--dry-run"]
        fail_on(pairmill(*arguments, *shlex.split(task_setting("PAIRMILL_OPTIONS"))), "The plan")

    @task
    def refresh() -> str:
        """The refresh, and what came of it: "promoted" where there is a new model. That the gate kept the old one is a result
        and not a failure."""
        arguments = ["refresh", needed("PAIRMILL_RECIPE"), "--run-folder", needed("PAIRMILL_RUN_FOLDER")]
        code = pairmill(*arguments, *shlex.split(task_setting("PAIRMILL_OPTIONS")))
        if code == KEPT_BY_GATE:
            log.info("The gate kept the old model; pairmill status says why.")
            return "kept"
        fail_on(code, "The refresh")
        return last_outcome(needed("PAIRMILL_RUN_FOLDER"))

    @task
    def verify() -> None:
        """Manifests, checksums and counts of the run folder."""
        fail_on(pairmill("verify", needed("PAIRMILL_RUN_FOLDER")), "The check of the run folder")

    @task
    def promoted(outcome: str) -> None:
        """What shall happen with a new model goes after this one: it is skipped where the refresh brought none."""
        if outcome != "promoted":
            raise AirflowSkipException(f"no new model was promoted: {outcome}")

    outcome = refresh()
    plan() >> outcome >> verify() >> promoted(outcome)


pairmill_refresh()
