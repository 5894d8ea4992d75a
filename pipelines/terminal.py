"""What reaches the terminal: names and texts come from data, and a terminal obeys control characters.

Everything a command prints goes through `TerminalConsole` or `echo`; in both, control characters, bidirectional overrides
and lone surrogates are shown as \\u escapes instead of being sent.
"""

from collections.abc import Iterable

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from pipelines.report.text import visible


class TerminalConsole(Console):
    """A console that sends no control character which is part of a text; its own (colours, live lines) stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def echo(text: str) -> None:
    """One line on standard output. JSON stays JSON of the same value: its strings know the same escapes."""
    typer.echo(visible(text))
