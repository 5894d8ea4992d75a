"""What `pairmill run` shows: a live line per job on a terminal, plain lines elsewhere, JSON lines with --log-json; and the
tables at the end."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from pipelines.launcher import Event
from pipelines.manifest import Manifest
from pipelines.report.funnel import FUNNEL_JOBS, frequent_languages

PLAIN_EVERY_SECONDS = 10.0


class Display(Protocol):
    """Takes events; used as a context."""

    def __call__(self, event: Event) -> None: ...

    def __enter__(self) -> "Display": ...

    def __exit__(self, *error: object) -> None: ...


def choose_display(console: Console, log_json: bool) -> Display:
    if log_json:
        return JsonLines()
    return LiveLines(console) if console.is_terminal else PlainLines(console)


def describe_progress(event: Event) -> str:
    """Tasks done, rows a second and the time left, as far as they are known."""
    state = event.progress
    if state is None or not state.tasks:
        return "starting"
    parts = [f"{state.committed}/{state.tasks} parts"] if state.tasks > 1 else []
    if state.rows:
        parts.append(f"{state.rows:,} {state.unit}")
        if event.seconds > 1:
            speed = state.rows / event.seconds
            parts.append(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2f}/s")
    if state.done > 0.02 and event.seconds > 2:
        left = event.seconds * (1 - state.done) / state.done
        parts.append(f"{duration(left)} left")
    return ", ".join(parts) or "running"


def describe_end(manifest: Manifest) -> str:
    if not manifest.rows_in:
        return ""
    dropped = sum(manifest.dropped.values())
    unreadable = manifest.details.get("quarantined", 0)
    words = f"{manifest.rows_in:,} rows in, {manifest.rows_out:,} out, {dropped:,} dropped"
    return f"{words}, {unreadable:,} records unreadable" if unreadable else words


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


class LiveLines:
    """One line a job, with a bar while it runs."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[elapsed]:>7}  {task.fields[words]}"),
            console=console,
        )
        self._task: Any = None
        self._comparing: Any = None

    def __enter__(self) -> "LiveLines":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        if event.kind == "comparing" and event.progress:
            if self._comparing is None:
                self._comparing = self._progress.add_task("sources", total=1.0, words="", elapsed="")
            words, elapsed = describe_progress(event), duration(event.seconds)
            self._progress.update(self._comparing, completed=event.progress.done, words=words, elapsed=elapsed)
        elif self._comparing is not None:
            self._progress.update(self._comparing, completed=1.0)
            self._comparing = None
        if event.kind in ("started", "skipped"):
            self._task = self._progress.add_task(event.job, total=1.0, words="", elapsed="")
        if event.kind == "skipped" and event.manifest:
            words = f"up to date; {describe_end(event.manifest)}".rstrip("; ")
            self._progress.update(self._task, completed=1.0, words=words)
        elif event.kind == "progress" and event.progress:
            words, elapsed = describe_progress(event), duration(event.seconds)
            self._progress.update(self._task, completed=event.progress.done, words=words, elapsed=elapsed)
        elif event.kind == "finished" and event.manifest:
            words = describe_end(event.manifest)
            self._progress.update(self._task, completed=1.0, words=words, elapsed=duration(event.seconds))


class PlainLines:
    """A line at each job's start and end, and every ten seconds between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = 0.0

    def __enter__(self) -> "PlainLines":
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held open."""

    def __call__(self, event: Event) -> None:
        if event.kind == "skipped" and event.manifest:
            self._line(event.job, f"up to date; {describe_end(event.manifest)}".rstrip("; "))
        elif event.kind == "started":
            self._last = time.monotonic()
        elif event.kind in ("progress", "comparing") and time.monotonic() - self._last > PLAIN_EVERY_SECONDS:
            self._last = time.monotonic()
            self._line(event.job if event.kind == "progress" else "sources", describe_progress(event))
        elif event.kind == "finished" and event.manifest:
            self._line(event.job, f"done in {duration(event.seconds)}; {describe_end(event.manifest)}".rstrip("; "))

    def _line(self, job: str, words: str) -> None:
        self._console.print(f"{job:<9} {words}", highlight=False, markup=False, soft_wrap=True)


class JsonLines:
    """Every event as one JSON object a line on standard output."""

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held open."""

    def __call__(self, event: Event) -> None:
        line: dict[str, Any] = {
            "time": round(time.time(), 3),
            "event": event.kind,
            "job": event.job,
            "seconds": round(event.seconds, 2),
        }
        if event.progress is not None:
            state = event.progress
            line |= {
                "tasks": state.tasks,
                "committed": state.committed,
                "rows": state.rows,
                "done": round(state.done, 4),
            }
        if event.manifest is not None:
            manifest = event.manifest
            line |= {"rows_in": manifest.rows_in, "rows_out": manifest.rows_out, "dropped": manifest.dropped}
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def funnel_table(manifests: Sequence[Manifest], languages: int = 0) -> Table:
    """Rows in and out of every job that drops rows, by source and reason; of sources of several languages, the `languages`
    most frequent ones too."""
    table = Table(title="Funnel", title_justify="left", header_style="bold")
    for column in ("job", "source"):
        table.add_column(column)
    for column in ("in", "out", "kept"):
        table.add_column(column, justify="right")
    table.add_column("dropped, by reason")
    for manifest in manifests:
        if manifest.job not in FUNNEL_JOBS:
            continue
        for source, counts in manifest.funnel.items():
            if not counts.get("in"):
                continue
            table.add_row(manifest.job, escape(source), *_funnel_figures(counts))
            for language, of_language in frequent_languages(manifest, source, languages) if languages else ():
                table.add_row("", f"  {escape(language)}", *_funnel_figures(of_language), style="dim")
    return table


def _funnel_figures(counts: Mapping[str, int]) -> tuple[str, str, str, str]:
    rows_in = counts["in"]
    dropped = {key.removeprefix("drop:"): rows for key, rows in counts.items() if key.startswith("drop:")}
    ordered = sorted(dropped.items(), key=lambda item: -item[1])
    out = rows_in - sum(dropped.values())
    reasons = ", ".join(f"{escape(name)} {rows:,}" for name, rows in ordered)
    return f"{rows_in:,}", f"{out:,}", f"{out / rows_in:.1%}", reasons


def metrics_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The evaluation: retrieval's best known metrics; of other tasks the main one in place of nDCG@10, with its name."""
    table = Table(title="Evaluation", title_justify="left", header_style="bold")
    for column in ("data", "kind", "model"):
        table.add_column(column, no_wrap=True)
    for column in ("queries", "nDCG@10", "MRR@10", "R@100"):
        table.add_column(column, justify="right")
    for row in rows:
        metric = "ndcg@10" if "ndcg@10" in row else row.get("main_metric") or next(n for n in row if "@" in n)
        figures = [row.get(name) for name in (metric, "mrr@10", "recall@100")]
        mode = "" if row["mode"] in ("dense", "bm25") else f" {row['mode']}"
        kind = row.get("kind")
        if row.get("scope") == "all":
            kind = "all"
        elif kind in (None, "all"):
            kind = row.get("language") or "all"
        table.add_row(
            escape(str(row["data"])),
            escape(str(kind if metric == "ndcg@10" else f"{kind} ({metric})")),
            escape(f"{row['model']}{mode}"),
            f"{row.get('queries') or row.get('examples'):,}",
            *("" if figure is None else f"{figure:.3f}" for figure in figures),
        )
    return table
