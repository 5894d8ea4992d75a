"""Rows that cannot be used: refused with file, line and remedy, or set aside and counted where the user allows a share."""

import json
from collections import Counter
from typing import IO, Final

import pyarrow as pa

from sources.schema import QUARANTINE, QuarantineRows

REASON_WORDS: Final = {
    "missing_field": "a field is missing",
    "wrong_type": "a field is of another type",
    "not_a_list": "a text stands where a list of texts belongs",
    "not_texts": "a list holds something that is no text",
    "empty_text": "a text is empty",
    "no_positive": "the query has no positive",
    "invalid_utf8": "the bytes are no UTF-8",
    "invalid_json": "the line is no JSON",
    "not_an_object": "the line is no JSON object",
    "line_too_long": "the record is longer than 16 MB",
    "unknown_id": "an id is not in the corpus or among the queries",
    "unreadable_value": "a value cannot be read",
}


class MiningInputError(ValueError):
    """An input of the mining command cannot be used. The message names the file, the place, the value and the remedy."""


class BadRows:
    """Takes the bad rows of one input file.

    With `allowed` false the first one raises MiningInputError; else they are written to `stream`, one JSON object a line.
    """

    def __init__(self, file: str, stream: IO[str], *, allowed: bool) -> None:
        self._rows = QuarantineRows("mine", file, "line")
        self._stream, self._allowed = stream, allowed
        self.counts: Counter[str] = Counter()

    def add(self, position: int, unit: str, reason: str, detail: str, excerpt: bytes | str = "") -> None:
        """Note one bad row; `position` counts `unit`s from 1."""
        shown = excerpt.encode() if isinstance(excerpt, str) else excerpt
        text = f"{detail} | ".encode() + shown if detail and shown else shown or detail.encode()
        self._rows.add(position, reason, text, unit)
        self.take(self._rows.take())

    def take(self, batch: pa.RecordBatch, lost: int = 0) -> None:
        """Note the rows of a QUARANTINE batch; `lost` more stand behind its last row."""
        assert batch.schema == QUARANTINE
        for row in batch.to_pylist():
            if not self._allowed:
                raise MiningInputError(_refusal(row))
            self.counts[row["reason"]] += 1
            row.pop("source")
            self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        if lost:
            self.counts["corrupt_file"] += lost


def _refusal(row: dict[str, object]) -> str:
    words = REASON_WORDS.get(str(row["reason"]), str(row["reason"]).replace("_", " "))
    excerpt = f" ({row['excerpt']})" if row["excerpt"] else ""
    return (
        f"{row['file']}, {row['unit']} {row['position']}: {words}{excerpt}. Correct it, or allow some bad rows to be left"
        " out: --max-bad-share 0.01 writes them, with the reason, to a file beside the output."
    )
