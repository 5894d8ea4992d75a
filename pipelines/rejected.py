"""Samples of what a run dropped, for a terminal: by job, reason, source and language.

The rows are those with the smallest pair ids, a random sample that is the same on every run and machine.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.markup import escape
from rich.table import Table

from pipelines import storage
from pipelines.errors import UserError
from pipelines.manifest import Manifest
from pipelines.report.row_choice import SmallestIds, rows_at
from pipelines.report.text import visible
from pipelines.shards import REJECTS, read_batches

SHOWN_CHARACTERS = 300
_COLUMNS = ("query", "positive", "kind", "query_lang", "positive_lang", "source", "document_id", "reason")


@dataclass(frozen=True)
class Wanted:
    """Which dropped pairs are asked for; None: any."""

    reason: str | None = None
    source: str | None = None
    language: str | None = None  # of either side

    def mask(self, batch: pa.RecordBatch) -> pa.Array:
        """bool[rows] of a batch with the columns reason, source, query_lang and positive_lang."""
        mask = pa.array([True] * batch.num_rows, pa.bool_())
        if self.reason is not None:
            mask = pc.and_(mask, pc.equal(batch["reason"], self.reason))
        if self.source is not None:
            mask = pc.and_(mask, pc.equal(batch["source"], self.source))
        if self.language is not None:
            sides = [pc.equal(batch[name], self.language) for name in ("query_lang", "positive_lang")]
            mask = pc.and_(mask, pc.or_(*sides))
        return mask


@dataclass(frozen=True)
class Rejected:
    """One dropped pair: the job that dropped it, and its columns."""

    job: str
    row: dict[str, Any]


def rejected_samples(folders: Sequence[tuple[str, Manifest]], wanted: Wanted, rows: int) -> list[Rejected]:
    """Up to `rows` dropped pairs of each reason of each job. `folders` are (job folder, manifest) of finished jobs.

    Raises:
        UserError: a reason, source or language that no pair was dropped for; the message lists those there are.
    """
    found = []
    for folder, manifest in folders:
        chosen = SmallestIds(rows)
        for file in manifest.files_of(REJECTS):
            url = storage.join(folder, file.path)
            first_row = 0
            for batch in read_batches(url, ["pair_id", "reason", "source", "query_lang", "positive_lang"]):
                stratum = pc.if_else(wanted.mask(batch), batch["reason"], pa.scalar(None, pa.string()))
                chosen.add(url, first_row, batch["pair_id"], stratum)
                first_row += batch.num_rows
        places = chosen.in_turn(rows * max(1, len(manifest.dropped)))
        content = rows_at([(place.url, place.row) for _, place in places], _COLUMNS)
        ordered = sorted(places, key=lambda item: (-manifest.dropped.get(item[0], 0), item))
        found += [Rejected(manifest.job, content[place.url, place.row]) for _, place in ordered]
    if not found:
        raise UserError(_nothing(folders, wanted))
    return found


def _nothing(folders: Sequence[tuple[str, Manifest]], wanted: Wanted) -> str:
    manifests = [manifest for _, manifest in folders]
    reasons = sorted({reason for manifest in manifests for reason in manifest.dropped})
    if not reasons:
        return "No pair was dropped by the finished jobs of this run."
    asked = {"reason": wanted.reason, "source": wanted.source, "language": wanted.language}
    words = ", ".join(f"{name} {value!r}" for name, value in asked.items() if value is not None)
    sources = sorted({source for manifest in manifests for source in manifest.funnel})
    languages = sorted({name for m in manifests for found in m.languages.values() for name in found})
    return (
        f"No pair was dropped with {words}. Reasons there are: {', '.join(reasons)}; sources: {', '.join(sources)};"
        f" languages: {', '.join(languages[:40])}."
    )


def rejected_table(found: Sequence[Rejected]) -> Table:
    table = Table(header_style="bold", show_lines=True)
    for column in ("job, reason", "source, languages", "query", "positive"):
        table.add_column(column, overflow="fold")
    for sample in found:
        row = sample.row
        languages = " → ".join(dict.fromkeys((row["query_lang"], row["positive_lang"])))
        cells = (f"{sample.job}\n{row['reason']}", f"{row['source']}\n{languages}", row["query"], row["positive"])
        table.add_row(*(shown_text(cell) for cell in cells))
    return table


def rejected_json(sample: Rejected) -> str:
    return json.dumps({"job": sample.job, **sample.row}, ensure_ascii=False)


def shown_text(text: str) -> str:
    """A text as a terminal shows it: cut, control characters visible, no markup."""
    seen = str(visible(text))
    return escape(seen if len(seen) <= SHOWN_CHARACTERS else seen[: SHOWN_CHARACTERS - 1] + "…")
