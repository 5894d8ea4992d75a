"""What `pairmill refresh` shows: the sources' changes, the jobs as they run, the decision; and the plan of --dry-run."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines import storage
from pipelines.display import choose_display, duration, funnel_table, metrics_table
from pipelines.manifest import read_manifest
from pipelines.recipe import Recipe
from pipelines.refresh.changes import without_empty_paths
from pipelines.refresh.command import Refreshed, RefreshOptions, refresh
from pipelines.refresh.model_choice import check_training
from pipelines.refresh.plan import RefreshPlan, plan_work
from pipelines.refresh.records import RefreshRecord, SourceChange
from pipelines.report.text import size, visible
from pipelines.run_folder import RunFolder


def refresh_shown(
    console: Console, recipe: Recipe, run: RunFolder, options: RefreshOptions, *, log_json: bool
) -> Refreshed:
    """Refresh, on a terminal, in plain lines, or as JSON lines. Raises what refresh raises."""

    def tell_changes(changes: Sequence[SourceChange]) -> None:
        if log_json:
            _line({"event": "changes", "changes": [change.model_dump(mode="json") for change in changes]})
        else:
            _print(console, describe_changes(changes))

    with choose_display(console, log_json) as display:
        done = refresh(recipe, run, display, tell_changes, options)
    if log_json:
        _line({"event": "refreshed", **done.record.model_dump(mode="json", include=_TOLD), "not_told": done.not_told})
        return done
    if done.record.outcome != "nothing_new":
        manifests = [manifest for job in recipe.jobs() if (manifest := read_manifest(run.job(job))) is not None]
        console.print(funnel_table(manifests))
        evaluated = next((manifest for manifest in manifests if manifest.job == "evaluate"), None)
        if evaluated is not None:
            console.print(metrics_table(evaluated.details["metrics"]))
    for sentence in (*describe_end(done.record), *done.not_told):
        _print(console, sentence)
    _print(console, f"Report: {storage.join(run.url, 'report', 'index.html')}")
    return done


_TOLD = {"number", "outcome", "seconds", "gate", "version", "alerts"}


def _line(content: dict[str, Any]) -> None:
    sys.stdout.write(visible(json.dumps({"time": round(time.time(), 3)} | content, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def _print(console: Console, words: str) -> None:
    console.print(visible(words), highlight=False, markup=False, soft_wrap=True)


def describe_changes(changes: Sequence[SourceChange]) -> str:
    """One sentence: which sources have new, changed or gone files."""
    told = []
    for change in changes:
        kinds = {"new": change.new, "changed": change.changed, "gone": change.gone}
        words = ", ".join(f"{files:,} {kind}" for kind, files in kinds.items() if files)
        if words:
            told.append(f"{change.label}: {words} of {change.unchanged + change.new + change.changed:,} files")
    return f"Sources: {'; '.join(told)}." if told else "Sources: no file is new, changed or gone."


def describe_end(record: RefreshRecord) -> list[str]:
    """The outcome, and what someone should look at, in sentences."""
    outcome = {
        "nothing_new": "Nothing is new",
        "data_only": "The data are up to date; there is no new model to decide about",
        "promoted": f"The new model is version {record.version}",
        "kept": "The gate kept the new model back",
        "failed": "The refresh failed",
    }[record.outcome]
    reason = f": {record.gate.reason}" if record.gate is not None else ""
    first = f"Refresh {record.number} in {duration(record.seconds)}: {outcome}{reason}".rstrip(".") + "."
    if record.outcome == "kept" and record.version is not None:
        first += f" Version {record.version} stays current."
    return [first, *(f"Alert: {alert.message}" for alert in record.alerts)]


def show_plan(console: Console, recipe: Recipe, run: RunFolder, options: RefreshOptions, *, as_json: bool) -> None:
    """Show what a refresh would do. Raises what plan_work raises."""
    if options.allow_gone:
        recipe = without_empty_paths(recipe)
    check_training(recipe)
    plan = plan_work(recipe, run)
    if as_json:
        sys.stdout.write(visible(json.dumps(plan.as_json(), ensure_ascii=False)) + "\n")
        return
    _print(console, describe_changes(plan.changes) if plan.problem is None else plan.problem)
    print_plan(console, plan)


def print_plan(console: Console, plan: RefreshPlan) -> None:
    """The table of jobs, and what they come to together."""
    console.print(plan_table(plan))
    for sentence in describe_plan(plan):
        _print(console, sentence)


def plan_table(plan: RefreshPlan) -> Table:
    """A line a job: what it would do and why, rows it reads, bytes it writes, time."""
    table = Table(title="Plan", title_justify="left", header_style="bold")
    for column in ("job", "would"):
        table.add_column(column, no_wrap=True)
    table.add_column("because")
    for column in ("rows", "to write", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for job in plan.jobs:
        rows = f"{job.rows:,}" if job.rows else ""  # 0: of a job that does not count rows
        if not job.runs:
            table.add_row(job.job, "skip", "up to date", rows, "", "", style="dim")
            continue
        seconds = "no history" if job.seconds is None else f"about {duration(job.seconds)}"
        written = "" if job.bytes is None else size(job.bytes)
        table.add_row(job.job, "run", escape(visible(job.why)), rows, written, seconds)
    return table


def describe_plan(plan: RefreshPlan) -> list[str]:
    """Time, disk and LLM requests of all jobs together, in sentences."""
    if not plan.running:
        return ["Every job is up to date."]
    known = len(plan.without_history) < len(plan.running)
    told = [f"About {duration(plan.seconds)}" if known else "No job that would run has run before"]
    if known and plan.without_history:
        told[0] += f", and the time of {', '.join(plan.without_history)}, which nothing is known of"
    told[0] += "."
    if plan.disk_free is not None:
        need = plan.disk_needed
        short = " That is not enough: make room first." if need > plan.disk_free else ""
        told.append(f"Disk: about {size(need)} to write, {size(plan.disk_free)} free.{short}")
    for job in plan.running:
        if job.asking is not None:
            told.append(
                f"LLM: at most about {job.asking.requests:,} requests, {job.asking.money:,.2f} of the currency of the prices."
            )
        elif job.job == "synthesize":
            told.append("LLM: no history; run extract, then `pairmill synthesize --dry-run` counts the requests.")
    return told
