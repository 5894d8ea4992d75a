"""The first pairs that a source makes of some files, for `pairmill preview`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from pipelines.errors import UserError
from pipelines.recipe import explain_validation
from sources.catalogue import load_source
from sources.files.reading import expand_paths
from sources.packaged import resolve_package_path

SHOWN_CHARACTERS = 160
READ_AT_ONCE = 4 * 2**20
READ_AT_MOST = 256 * 2**20
WINDOW_BYTES = 2**20


@dataclass(frozen=True)
class Preview:
    pairs: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    quarantine: list[dict[str, Any]]

    @staticmethod
    def as_json(row: dict[str, Any]) -> str:
        return json.dumps(
            {key: value.hex() if isinstance(value, bytes) else value for key, value in row.items()}, ensure_ascii=False
        )


def preview_pairs(source: str, paths: Sequence[str], settings: dict[str, Any], rows: int) -> Preview:
    """Read until `rows` pairs are found, or READ_AT_MOST bytes were read, or the files end.

    Raises:
        UserError: a setting the source does not know.
        SourceError: no such source or file, or a file that is not what the source reads.
    """
    adapter = load_source(source)
    if "window_bytes" in adapter.Settings.model_fields:  # or the first pairs would wait for negatives that come late
        settings = {"window_bytes": WINDOW_BYTES} | settings
    try:
        checked = adapter.Settings.model_validate(settings)
    except ValidationError as error:
        raise UserError(explain_validation(error, f"source {source}", {}, adapter.Settings)) from None
    found = Preview([], [], [])
    for file in adapter.gather(expand_paths([resolve_package_path(path) for path in paths]), checked):
        for split in adapter.input_splits(file, checked, READ_AT_ONCE):
            for extracted in adapter.read(split, checked):
                found.pairs.extend(extracted.pairs.slice(0, rows - len(found.pairs)).to_pylist())
                found.rejects.extend(extracted.rejects.slice(0, rows - len(found.rejects)).to_pylist())
                found.quarantine.extend(extracted.quarantine.slice(0, rows - len(found.quarantine)).to_pylist())
                if len(found.pairs) >= rows or extracted.position - split.start > READ_AT_MOST:
                    return found
    return found


def preview_table(found: Preview) -> Group:
    """The pairs as a table, and what could not be read below it."""
    table = Table(header_style="bold", show_lines=True)
    for column in ("kind", "languages", "query", "positive"):
        table.add_column(column, overflow="fold")
    for row in found.pairs:
        languages = (
            row["query_lang"]
            if row["query_lang"] == row["positive_lang"]
            else f"{row['query_lang']} → {row['positive_lang']}"
        )
        table.add_row(row["kind"], languages, _shown(row["query"]), _shown(row["positive"]))
    notes = [
        f"{row['file']}, {row['unit']} {row['position']}: {row['reason']}: {row['excerpt'][:80]}"
        for row in found.quarantine[:5]
    ]
    notes += [
        f"rejected, {row['reason']}: {row['query'][:60]!r} - {row['positive'][:60]!r}" for row in found.rejects[:5]
    ]
    return Group(table, f"{len(found.pairs)} pairs shown", *(escape(note) for note in notes))


def _shown(text: str) -> str:
    return escape(text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…")
