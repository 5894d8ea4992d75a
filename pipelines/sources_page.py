"""The sources as a page: for `pairmill sources`, and as the table of docs/sources.md.

python -m pipelines.sources_page docs/sources.md     writes the table anew, between its two marks
"""

import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from sources.catalogue import load_source, source_names
from sources.source import Source

START: Final = "<!-- table of the sources: start (written by `make docs`) -->"
END: Final = "<!-- table of the sources: end -->"
_COLUMNS: Final = (
    "source",
    "files and fields",
    "pairs",
    "languages",
    "licence",
    "where to get it",
    "layout checked on",
)


def sources_overview() -> Table:
    """One line a source: its name, what it gives, and what it is."""
    table = Table(header_style="bold", caption="pairmill sources NAME tells all about one")
    for column in ("source", "pairs", "languages", "what"):
        table.add_column(column, overflow="fold")
    for source in map(load_source, source_names()):
        table.add_row(*map(escape, (source.name, ", ".join(source.kinds), source.languages, source.summary)))
    return table


def source_details(source: Source) -> Group:
    """All about one source, with its settings."""
    facts = Table(show_header=False, box=None)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for name, fact in zip(_COLUMNS, _facts(source), strict=True):
        facts.add_row(name, escape(fact))
    settings = Table(header_style="bold", title="settings", title_justify="left")
    for column in ("name", "default", "what it does"):
        settings.add_column(column, overflow="fold")
    for name, field in source.Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        settings.add_row(name, "" if default is None else escape(str(default)), escape(field.description or ""))
    return Group(escape(source.summary), facts, settings)


def source_as_json(source: Source) -> dict[str, Any]:
    """The facts of a source for machines."""
    return {
        "name": source.name,
        "summary": source.summary,
        "kinds": list(source.kinds),
        "languages": source.languages,
        "layout": source.layout,
        "license": source.license,
        "obtain": source.obtain,
        "verified": source.verified,
        "settings": source.Settings.model_json_schema()["properties"],
    }


def markdown_table() -> str:
    """The table of docs/sources.md."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS)]
    rows += [tuple(_cell(fact) for fact in _facts(load_source(name))) for name in source_names()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _facts(source: Source) -> tuple[str, ...]:
    name, kinds = source.name, ", ".join(source.kinds)
    return name, source.layout, kinds, source.languages, source.license, source.obtain, source.verified


def _cell(fact: str) -> str:
    return fact.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def with_new_table(page: str) -> str:
    """The page with the table between the marks written anew. Raises ValueError where it has no marks."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"the page lacks the line {START!r} or {END!r}")
    return f"{before}{START}\n\n{markdown_table()}\n\n{END}{after}"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_new_table(file.read_text("utf-8")), "utf-8")
