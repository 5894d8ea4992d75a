"""What `pairmill forget` and `pairmill lineage` show. Names and ids come from data: markup and control characters are escaped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from pipelines.forget.command import Choices, Done
from pipelines.forget.lineage import Lineage
from pipelines.report.text import visible

_SHOWN: Final = 20  # places of each kind
_LONGEST: Final = 100


def shown(text: Any) -> str:
    """A string of the data as a terminal may show it."""
    words = str(visible(str(text)))
    return escape(words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…")


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str, str], None]]:
    """Takes (step, file); a line that moves on a terminal, nothing elsewhere."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("starting")
        looked_at = 0

        def tell(step: str, path: str) -> None:
            nonlocal looked_at
            looked_at += 1
            bar.update(task, description=f"{step}, {looked_at:,} files  {shown(path)}")

        yield tell


def print_done(console: Console, done: Done, choices: Choices) -> None:
    """What was found, what went, what is left, and what to do next."""

    def say(words: str) -> None:
        console.print(words, highlight=False, soft_wrap=True)

    if not done.found:
        say("Nothing in this run is of such a document (is it written as in the data?)." + _kept_out(choices))
    for place, rows in done.counts.items():
        say(f"{shown(place):<28} {rows:,} rows")
    if done.shared:
        say(f"{done.shared:,} of its texts stay: other documents have them, too.")
    _print_files(say, done, choices)
    if done.models:
        say("Models whose training data held it: " + ", ".join(shown(each["model"]) for each in done.models))
    if done.removed_models:
        say("Models removed: " + ", ".join(shown(name) for name in done.removed_models))
    elif done.models and not choices.dry_run:
        say("Weights cannot be searched: train anew (pairmill refresh), or delete these models with --remove-models.")
    for path, what in list(done.left.items())[:_SHOWN]:
        say(f"[bold red]Left:[/] {shown(path)} holds {shown(what)}")
    if not choices.dry_run and not done.left:
        say(
            f"{done.swept.files:,} files were looked into, and none holds any of it. `pairmill run` makes again what was removed."
        )


def _kept_out(choices: Choices) -> str:
    return "" if choices.dry_run else " It is kept out from now on all the same."


def _print_files(say: Callable[[str], None], done: Done, choices: Choices) -> None:
    verb = "would be" if choices.dry_run else "were"
    say(
        f"{len(done.swept.deleted):,} files that jobs make again {verb} deleted, {len(done.swept.edited):,} logs and records {verb} edited"
        + ("." if choices.dry_run else f", {done.answers:,} answers and {done.vectors:,} vectors removed.")
    )
    if choices.dry_run:
        for path, what in list(done.swept.deleted.items())[:_SHOWN]:
            say(f"  {shown(path)}: {shown(what)}")
        if len(done.swept.deleted) > _SHOWN:
            say(f"  and {len(done.swept.deleted) - _SHOWN:,} more (--json lists all)")


def print_lineage(console: Console, found: Lineage) -> None:
    """Counts by job, the first places of each kind, models and tombstones."""
    table = Table(title="What came of it", title_justify="left", header_style="bold")
    for column in ("job", "what"):
        table.add_column(column)
    table.add_column("number", justify="right")
    table.add_column("for example: shard, row, id")
    for job, what, number in found.counts():
        first = next(use for use in found.uses if (use.job, use.what) == (job, what))
        reason = f" ({first.reason})" if first.reason else ""
        table.add_row(job, shown(what), f"{number:,}", shown(f"{first.path}, {first.row}, {first.id}{reason}"))
    console.print(table if found.uses else "Nothing in the run's shards came of it.")
    for model in found.models:
        told = ", ".join(f"{number:,} {kind}" for kind, number in model.items() if kind != "model")
        console.print(f"In the training data of {shown(model['model'])}: {told}", highlight=False, soft_wrap=True)
    for each in found.tombstones:
        models = f"; it was in the data of {', '.join(map(shown, each['models']))}" if each["models"] else ""
        console.print(f"Forgotten on {shown(each['forgotten'])}{models}", highlight=False, soft_wrap=True)
