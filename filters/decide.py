"""Turns measurements and thresholds into a reason for each pair: null = keep, else the name of the first rule it fails.

Nothing is measured here: other thresholds decide again on the same columns. filters.rules has the rules and their
order, filters.settings the thresholds.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from filters.facts import Facts, Mask
from filters.facts import MissingMeasureError as MissingMeasureError  # noqa: PLC0414  (others take these from here)
from filters.rules import PASSAGE_KINDS as PASSAGE_KINDS  # noqa: PLC0414
from filters.rules import REASONS as REASONS  # noqa: PLC0414
from filters.rules import RULES
from filters.rules import Family as Family  # noqa: PLC0414
from filters.settings import PRESETS as PRESETS  # noqa: PLC0414
from filters.settings import FilterSettings as FilterSettings  # noqa: PLC0414


def decide(
    measurements: pa.RecordBatch,
    settings: FilterSettings,
    kinds: pa.Array,
    query_lang: pa.Array,
    positive_lang: pa.Array,
) -> pa.Array:
    """The reason each pair is dropped for, as a string array [rows]; null = keep.

    `measurements` are the columns of filters.measure; the others are the PAIR columns. The first rule of RULES that a
    pair fails names the reason. Raises MissingMeasureError where a rule's measurement is missing.
    """
    facts = Facts(measurements, settings, kinds, query_lang, positive_lang)
    first = np.full(len(kinds), -1, np.int32)
    for number, failed in failures(facts):
        if failed.any():
            first[(first < 0) & failed] = number
    names = pa.array([rule.reason for rule in RULES], pa.string())
    return names.take(pa.array(first, mask=first < 0))


def failures(facts: Facts) -> Iterator[tuple[int, Mask]]:
    """The place in RULES of each rule that is switched on, and which rows it drops by itself: bool [rows]."""
    for number in facts.settings.active:
        yield number, RULES[number].fails(facts)
