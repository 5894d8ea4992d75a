"""What `pairmill status` shows of refreshes, and `pairmill rollback --list` of versions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from pipelines.errors import UserError
from pipelines.manifest import read_manifest
from pipelines.refresh import history, versions
from pipelines.refresh.metric_rows import finite, main_metric
from pipelines.refresh.records import JobRecord, RefreshRecord, SourceChange
from pipelines.refresh.versions import Rejected, Version
from pipelines.report.text import duration, visible
from pipelines.run_folder import RunFolder

SHOWN: Final = 5
_COLOURS: Final = {"promoted": "green", "data_only": "green", "kept": "yellow", "failed": "red", "nothing_new": "dim"}


def refreshes_view(run: RunFolder, count: int = SHOWN) -> Group | None:
    """The last refreshes, the differences of the newest one with data, its alerts and the gate's decision; None of a run that was never refreshed."""
    records = history.read_all(run, max(count, history.RECENT))
    if not records or count == 0:
        return None
    shown = records[-count:]
    parts: list[RenderableType] = [_refreshes_table(shown)]
    newest = history.latest_with_data(records)
    if newest is not None:
        before = history.latest_with_data([each for each in records if each.number < newest.number])
        parts += _details(newest, before)
    parts += _current_line(run)
    last = records[-1]
    if last.outcome == "failed" and last.error:
        parts.append(f"[red]Refresh {last.number} failed:[/] {_plain(last.error)}")
    return Group(*parts)


def status_json(run: RunFolder, jobs: Sequence[str], count: int = SHOWN) -> dict[str, Any]:
    """For programs: each job's counts (null where it is not finished), the current version's number, and the last records as
    they were written."""
    manifests = {job: read_manifest(run.job(job)) for job in jobs}
    current = versions.current_if_whole(run)
    records = history.read_all(run, count) if count else []
    return {
        "jobs": {
            job: manifest
            and {"finished": manifest.finished, **history.job_record(manifest, True).model_dump(mode="json")}
            for job, manifest in manifests.items()
        },
        "version": None if current is None else current.number,
        "refreshes": [json.loads(record.model_dump_json()) for record in records],
    }


def versions_table(run: RunFolder) -> Table:
    """The versions there are, the current one marked."""
    current, given_up = versions.current(run), versions.rejected_ones(run)
    table = _table("Versions")
    for column in ("version", "promoted", "refresh", "fingerprint", ""):
        table.add_column(column, justify="right" if column in ("version", "refresh") else "left")
    for each in versions.all_versions(run):
        mark = "[green]current[/]" if current and each.number == current.number else _turned_down(each, given_up)
        table.add_row(
            str(each.number),
            _moment(each.promoted),
            _plain(str(each.facts.get("refresh", ""))),
            each.fingerprint[:16],
            mark,
        )
    return table


def versions_json(run: RunFolder) -> list[dict[str, Any]]:
    """The same for programs."""
    current, given_up = versions.current(run), versions.rejected_ones(run)
    return [
        {
            **each.model_dump(mode="json"),
            "current": current is not None and each.number == current.number,
            "rejected": any(other.fingerprint == each.fingerprint for other in given_up),
            "model": str(versions.model_folder(run, each.number)),
        }
        for each in versions.all_versions(run)
    ]


def _turned_down(version: Version, given_up: Sequence[Rejected]) -> str:
    found = next((each for each in given_up if each.fingerprint == version.fingerprint), None)
    return f"rolled back {_moment(found.when)}" if found else ""


def _refreshes_table(records: Sequence[RefreshRecord]) -> Table:
    table = _table("Refreshes")
    for column in ("", "started", "took"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for column in ("files", "pairs", "version", "alerts"):
        table.add_column(column, justify="right")
    before: RefreshRecord | None = None
    for record in records:
        colour = _COLOURS[record.outcome]
        table.add_row(
            str(record.number),
            _moment(record.started),
            duration(record.seconds),
            f"[{colour}]{record.outcome.replace('_', ' ')}[/]",
            _files(record.changes),
            _with_difference(pairs_at_the_end(record), pairs_at_the_end(before)),
            "" if record.version is None else str(record.version),
            f"[yellow]{len(record.alerts)}[/]" if record.alerts else "",
        )
        before = record if record.jobs and record.outcome != "failed" else before
    return table


def pairs_at_the_end(record: RefreshRecord | None) -> int | None:
    """Rows that the last job of the funnel let through."""
    jobs = [job for job in record.jobs if job.funnel] if record else []
    return jobs[-1].rows_out if jobs else None


def files_in_words(changes: Sequence[SourceChange]) -> str:
    """3 new, 1 changed, 2 gone"""
    counts = {name: sum(getattr(each, name) for each in changes) for name in ("new", "changed", "gone") if changes}
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)


def _files(changes: Sequence[SourceChange]) -> str:
    return files_in_words(changes) or "-"


def _current_line(run: RunFolder) -> Iterator[RenderableType]:
    """Which version is current: after a roll-back another one than the last refresh has told."""
    try:
        now = versions.current(run)
    except UserError as error:
        yield f"[red]{_plain(str(error))}[/]"
        return
    if now is not None:
        yield f"Current version: {now.number}, promoted {_moment(now.promoted)}"


def _details(newest: RefreshRecord, before: RefreshRecord | None) -> Iterator[RenderableType]:
    yield ""
    yield _jobs_table(newest, before)
    figures = _figures_line(newest, before)
    if figures:
        yield figures
    if newest.gate is not None:
        verdict = "[green]promoted[/]" if newest.gate.promoted else "[yellow]not promoted[/]"
        yield f"Gate: {verdict}. {_plain(newest.gate.reason)}"
    for alert in newest.alerts:
        yield f"[yellow]Alert:[/] {_plain(alert.message)}"


def _jobs_table(newest: RefreshRecord, before: RefreshRecord | None) -> Table:
    beside = "" if before is None else f", and the difference to refresh {before.number}"
    table = _table(f"Refresh {newest.number} by job{beside}")
    table.add_column("job")
    for column in ("took", "in", "out", "kept"):
        table.add_column(column, justify="right")
    table.add_column("dropped, by reason")
    for job in newest.jobs:
        earlier = next((each for each in before.jobs if each.job == job.job), None) if before else None
        table.add_row(
            job.job,
            duration(job.seconds) if job.ran else "[dim]up to date[/]",
            _with_difference(job.rows_in or None, earlier.rows_in if earlier else None),
            _with_difference(job.rows_out or None, earlier.rows_out if earlier else None),
            f"{job.rows_out / job.rows_in:.1%}" if job.rows_in and job.funnel else "",
            _reasons(job, earlier),
        )
    return table


def _reasons(job: JobRecord, earlier: JobRecord | None) -> str:
    had: Mapping[str, int] = earlier.dropped if earlier else job.dropped
    ordered = sorted(job.dropped.items(), key=lambda item: -item[1])
    return ", ".join(f"{_plain(name)} {_with_difference(rows, had.get(name, 0))}" for name, rows in ordered)


def _figures_line(newest: RefreshRecord, before: RefreshRecord | None) -> str:
    """The new model's main metrics over all queries of the sets."""
    earlier = {_whose(row): row for row in before.metrics} if before else {}
    told = []
    for row in newest.metrics:
        value = finite(row.get(main_metric(row)))
        if row.get("scope") != "all" or value is None:
            continue
        had = finite(earlier.get(_whose(row), {}).get(main_metric(row)))
        difference = "" if had is None else f" ({value - had:+.4f})"
        told.append(f"{_plain(str(row.get('data')))} {main_metric(row)} {value:.4f}{difference}")
    return f"New model: {'; '.join(told)}" if told else ""


def _whose(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row.get("data"), row.get("language"), row.get("mode"), row.get("scope"))


def _with_difference(now: int | None, before: int | None) -> str:
    if now is None:
        return ""
    moved = now - before if before is not None else 0
    return f"{now:,}" + (f" [dim]{moved:+,}[/]" if moved else "")


def _plain(text: str) -> str:
    """A text from outside as a terminal shows it: control characters visible, no markup."""
    return escape(str(visible(text)))


def _moment(stamp: str) -> str:
    """2026-05-04T03:00:12+00:00 -> 2026-05-04 03:00"""
    return _plain(stamp[:16].replace("T", " "))


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", header_style="bold", box=None, padding=(0, 2, 0, 0))
