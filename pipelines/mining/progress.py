"""What a stage tells of itself while it runs."""

import json
import sys
import time
from types import TracebackType
from typing import Any, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

PLAIN_EVERY_SECONDS: Final = 10.0


class Progress(Protocol):
    """Takes what the stages do; used as a context."""

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None: ...

    def advance(self, count: int) -> None: ...

    def finish(self, words: str = "") -> None: ...

    def __enter__(self) -> "Progress": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class NoProgress:
    """Says nothing: for functions called from Python."""

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        """Nothing."""

    def advance(self, count: int) -> None:
        """Nothing."""

    def finish(self, words: str = "") -> None:
        """Nothing."""

    def __enter__(self) -> "NoProgress":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Nothing is held open."""


class LiveStages:
    """A bar a stage, with speed and time left."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:>10,.0f} {task.fields[unit]}"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"),
            console=console,
        )
        self._task: Any = None
        self._began, self._count = 0.0, 0

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        self._began, self._count = time.monotonic(), 0
        self._task = self._bars.add_task(stage, total=total, completed=done, unit=unit, speed="", words="")

    def advance(self, count: int) -> None:
        self._count += count
        seconds = max(time.monotonic() - self._began, 1e-9)
        self._bars.update(self._task, advance=count, speed=f"{self._count / seconds:,.0f}/s")

    def finish(self, words: str = "") -> None:
        task = next(task for task in self._bars.tasks if task.id == self._task)
        self._bars.update(self._task, total=max(task.completed, 1), completed=max(task.completed, 1), words=words)

    def __enter__(self) -> "LiveStages":
        self._bars.start()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._bars.stop()


class PlainStages:
    """A line at each stage's end, and every ten seconds before; JSON lines on standard output with `as_json`."""

    def __init__(self, console: Console, *, as_json: bool = False) -> None:
        self._console, self._as_json = console, as_json
        self._stage = self._unit = ""
        self._total: int | None = None
        self._began = self._told = 0.0
        self._done = self._first = 0

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        self._stage, self._unit, self._total = stage, unit, total
        self._began = self._told = time.monotonic()
        self._done = self._first = done
        if self._as_json:
            self._tell("started", "")

    def advance(self, count: int) -> None:
        self._done += count
        if self._done != self._total and time.monotonic() - self._told >= PLAIN_EVERY_SECONDS:
            self._told = time.monotonic()
            self._tell("progress", "")

    def finish(self, words: str = "") -> None:
        self._tell("finished", words)

    def _tell(self, event: str, words: str) -> None:
        seconds = time.monotonic() - self._began
        speed = (self._done - self._first) / max(seconds, 1e-9)
        if self._as_json:
            line = {"event": event, "stage": self._stage, "done": self._done, "total": self._total, "unit": self._unit}
            sys.stdout.write(json.dumps({**line, "seconds": round(seconds, 2), "words": words}) + "\n")
            sys.stdout.flush()
            return
        left = ""
        if event == "progress" and self._total and self._done > self._first:
            left = f", {(self._total - self._done) / speed:,.0f} s left"
        told = f"{self._done:,} {self._unit} in {seconds:,.1f} s, {speed:,.0f}/s{left}{'; ' if words else ''}{words}"
        self._console.print(f"{self._stage:<22} {told}", highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> "PlainStages":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Nothing is held open."""


def choose_progress(console: Console, *, as_json: bool) -> Progress:
    return LiveStages(console) if console.is_terminal and not as_json else PlainStages(console, as_json=as_json)
