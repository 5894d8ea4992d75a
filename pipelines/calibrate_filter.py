"""Thresholds by language from a user's clean texts: `pairmill filter --calibrate`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from rich.table import Table

from filters.calibrate import CleanTexts, calibrate, rules_to_calibrate
from filters.calibration import ANY, Calibration, calibration_key
from filters.facts import row_languages
from filters.measure import measure
from filters.rules import Family
from filters.settings import FilterSettings
from pipelines import storage


def calibrate_files(
    batches: Iterator[pa.RecordBatch],
    settings: FilterSettings,
    *,
    keep: float,
    min_texts: int,
    min_length: int,
    output: str,
) -> Calibration:
    """Measure the positives of PAIR (or REJECT) batches, derive the thresholds that are `calibrated` in the settings, and
    write them. Raises CalibrationError where nothing is to calibrate, or no language has enough texts."""
    rules = rules_to_calibrate(settings)
    families: set[Family] = {"text", "language", *(rule.family for rule in rules)}
    languages: list[str] = []
    lengths: list[Any] = []
    values: dict[str, list[Any]] = {rule.setting: [] for rule in rules}
    for batch in batches:
        measured = measure(batch, settings, families)
        found = row_languages(measured, "positive", batch["positive_lang"])
        languages += [found.values[place] for place in found.places.tolist()]
        lengths.append(measured["positive_length"].to_numpy())
        for rule in rules:
            values[rule.setting].append(measured[f"positive_{rule.measure}"].to_numpy(zero_copy_only=False))
    texts = CleanTexts(
        languages,
        np.concatenate([np.empty(0, np.int32), *lengths]),
        {name: np.concatenate([np.empty(0, np.float32), *each]) for name, each in values.items()},
    )
    calibration = calibrate(texts, settings, keep=keep, min_texts=min_texts, min_length=min_length)
    storage.write_json(output, calibration.model_dump(mode="json"))
    return calibration


def calibration_table(calibration: Calibration) -> Table:
    """The languages with their texts, the share kept, and whose thresholds they have."""
    table = Table(header_style="bold")
    for column, side in (("language", "left"), ("texts", "right"), ("kept", "right"), ("thresholds of", "left")):
        table.add_column(column, justify="right" if side == "right" else "left")
    for language, texts in sorted(calibration.texts.items()):
        names = (calibration_key(language), language.rpartition("_")[2], ANY)
        own = next(name for name in names if name in calibration.thresholds)
        kept = calibration.kept.get(language)
        whose = "itself" if own == language else f"{own}: it has too few texts"
        table.add_row(language, f"{texts:,}", "" if kept is None else f"{kept:.1%}", whose)
    return table
