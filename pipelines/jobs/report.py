"""report: one self-contained HTML page of the run, RUN/report/index.html.

execute        the job: runs after all others, again when one of them has changed
write_report   the page of any run folder, finished or not; `pairmill report` calls it
"""

from collections.abc import Callable
from typing import Any, Final

from pipelines import storage
from pipelines.errors import UserError
from pipelines.job import Job, Outcome, Plan, finished
from pipelines.manifest import settings_dump
from pipelines.progress import TaskProgress, announce
from pipelines.recipe import Recipe
from pipelines.refresh.history import newest_with_data
from pipelines.run_folder import RunFolder

VERSION = 3  # a page of the queries that training moved
PAGE: Final = "report/index.html"
MOVED_PAGE: Final = "report/side_by_side.html"
_TASK: Final = "page"


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    from pipelines.report.finished_run import jobs_before_report

    inputs: list[dict[str, Any]] = [
        {"job": job, "fingerprint": finished(run, job).fingerprint} for job in jobs_before_report(recipe)
    ]
    last = newest_with_data(run)
    if last is not None:  # the page shows what the gate decided, and the history up to there
        inputs.append({"refresh": last.number, "outcome": last.outcome})
    return Plan(settings_dump(recipe.report), inputs)


def execute(job: Job) -> Outcome:
    announce(job.folder, [_TASK])
    progress, rows = TaskProgress(job.folder, _TASK), 0

    def tell(batch_rows: int) -> None:
        nonlocal rows
        rows += batch_rows
        progress.beat(rows)

    write_report(job.recipe, job.run, tell)
    return Outcome([], {"page": PAGE})


def write_report(recipe: Recipe, run: RunFolder, tell: Callable[[int], None] = lambda rows: None) -> str:
    """Write the page of a run and return its URL. Jobs that are not finished are shown as such.

    Raises:
        UserError: a shard that a manifest names is gone.
    """
    from pipelines.report.page import render

    try:
        page = render(recipe, run, tell)
    except FileNotFoundError as error:
        raise UserError(
            f"The report of {run.url} needs {error.filename or error}, which a job wrote and which is gone. Delete that job's "
            "folder and run the recipe again, or put the file back."
        ) from error
    url = storage.join(run.url, PAGE)
    with storage.atomic_write(url) as stream:
        stream.write(page)
    _write_moved(recipe, run)
    return url


def _write_moved(recipe: Recipe, run: RunFolder) -> None:
    """The page of the queries that training moved, where the evaluation kept them; index.html leads to it."""
    from pipelines.report.finished_run import FinishedRun
    from pipelines.report.side_by_side import render
    from pipelines.report.training import moved

    shown, url = moved(FinishedRun.read(recipe, run)), storage.join(run.url, MOVED_PAGE)
    if shown is None:
        storage.remove(url)
        return
    with storage.atomic_write(url) as stream:
        stream.write(render(shown))
