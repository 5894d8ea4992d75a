"""Columns of a task file as texts, labels and numbers; a value that will not do is told with its file and line."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.evaluate.files import EvaluationDataError
from trainer.evaluate.tasks.rows import Rows

log = logging.getLogger(__name__)


def flattened(rows: Rows, fields: Sequence[str]) -> Rows:
    """One row for each element, where rows hold lists in `fields` (mteb's older layout); rows as they are otherwise.

    Fields that hold no lists are repeated. Raises EvaluationDataError where the lists of a row differ in length.
    """
    if not any(isinstance(value, list) for field in fields for value in rows.columns[field]):
        return rows
    columns: dict[str, list[Any]] = {name: [] for name in rows.columns}
    counts = []
    for row in range(len(rows)):
        lengths = {len(value) if isinstance(value := rows.columns[field][row], list) else -1 for field in fields}
        if len(lengths) > 1 or lengths == {-1}:
            raise EvaluationDataError(
                f"{rows.place(row)} must hold lists of equal length in {' and '.join(fields)}. Correct it."
            )
        counts.append(lengths.pop())
        for name, column in columns.items():
            value = rows.columns[name][row]
            column.extend(value if name in fields else [value] * counts[-1])
    parts, start = [], 0
    for file, unit, numbers in rows.parts:
        repeats = counts[start : start + len(numbers)]
        parts.append((file, unit, np.repeat(np.array(numbers, np.int64), repeats).tolist()))
        start += len(numbers)
    return Rows(columns, parts, rows.found)


def texts(rows: Rows, field: str) -> list[str]:
    """The strings of a field. An empty text is kept and counted: C-MTEB has some, and models embed them."""
    column = rows.columns[field]
    for row, value in enumerate(column):
        if not isinstance(value, str):
            raise EvaluationDataError(
                f"{rows.place(row)} has no text in {field} (found {value!r:.80}). Correct or remove it."
            )
    empty = sum(not value.strip() for value in column)
    if empty:
        log.warning("%s: %d rows have an empty %s; they are evaluated like all others", rows.files, empty, field)
    return column


def text_lists(rows: Rows, field: str) -> list[list[str]]:
    """The lists of strings of a field."""
    column = rows.columns[field]
    for row, value in enumerate(column):
        if not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
            raise EvaluationDataError(
                f"{rows.place(row)} must hold a list of texts in {field} (found {value!r:.80}). Correct it; TSV and CSV cannot "
                f"hold lists, JSON lines and Parquet can."
            )
    return column


def numbers(rows: Rows, field: str) -> npt.NDArray[np.float64]:
    """The finite numbers of a field, float64 [n]."""
    values = np.empty(len(rows), np.float64)
    for row, value in enumerate(rows.columns[field]):
        try:
            values[row] = math.nan if isinstance(value, bool | None) else float(value)
        except (TypeError, ValueError):
            values[row] = math.nan
        if not math.isfinite(values[row]):
            raise EvaluationDataError(
                f"{rows.place(row)} has no finite number in {field} (found {value!r:.80}). Correct or remove it."
            )
    return values


def labels(rows: Rows, field: str = "label") -> list[int] | list[str]:
    """The labels of a field: all whole numbers (also written as text), or all strings."""
    column = [_label(value) for value in rows.columns[field]]
    for row, label in enumerate(column):
        if label is None:
            raise EvaluationDataError(
                f"{rows.place(row)} has no label in {field} (found {rows.columns[field][row]!r:.80}): a label is a whole number or "
                f"a string. Correct or remove it."
            )
    if all(isinstance(label, int) for label in column):
        return [int(label) for label in column if label is not None]
    return [str(label) for label in column if label is not None]


def _label(value: Any) -> int | str | None:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if not isinstance(value, str) or not value.strip():
        return None
    text = value.strip()
    return int(text) if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() else text


def zero_or_one(rows: Rows, field: str = "label") -> npt.NDArray[np.bool_]:
    """Labels that are 0 or 1, both of which occur, bool [n]."""
    values = labels(rows, field)
    for row, value in enumerate(values):
        if value not in (0, 1):
            raise EvaluationDataError(
                f"{rows.place(row)} has the label {value!r}: a pair's label is 1 (they belong together) or 0. Correct or "
                f"remove it."
            )
    return np.array(values, np.int64).astype(np.bool_)


def codes(names: Sequence[int] | Sequence[str], values: Sequence[int] | Sequence[str]) -> npt.NDArray[np.int64]:
    """The places of `values` in `names`, int64 [n]."""
    place = {name: code for code, name in enumerate(names)}
    return np.fromiter((place[value] for value in values), np.int64, len(values))
