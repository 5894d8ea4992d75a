"""Pairs of sentences that people judged: similar ones are pairs, others are negatives of their first sentence."""

import math
from collections.abc import Iterator
from typing import Any

from sources.families.negatives import RawNegative
from sources.fields import LARGEST_LABEL
from sources.formats.json_records import shown
from sources.records import BadRecord, RawPair


def number_of(label: Any) -> float | None:
    """A label as a number; None where there is none. Raises BadRecord where it is none that a float32 can hold."""
    if label is None or label == "":
        return None
    try:
        number = float(label)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= LARGEST_LABEL:  # so that nan fails too
        raise BadRecord("unknown_label", f"label: expected a number, found {shown(label)}")
    return number


def is_similar(label: Any) -> bool | None:
    """Whether a label of 0 or 1 says that two sentences mean the same; None where there is no label. Raises BadRecord."""
    number = number_of(label)
    if number not in (None, 0, 1):
        raise BadRecord("unknown_label", f"label: expected 0 or 1, found {shown(label)}")
    return None if number is None else number == 1


def similarity(
    first: str | None,
    second: str | None,
    label: Any,
    document_id: str | None = None,
    kind: str | None = None,
) -> Iterator[RawPair | RawNegative]:
    """The pair (label 1) or the negative (label 0) that two sentences make; nothing where they have no label."""
    similar = is_similar(label)
    if similar:
        yield RawPair(first, second, kind, document_id=document_id)
    elif similar is not None:
        yield RawNegative(first, second, kind)
