"""Where the threshold of job score stands: keep rates by language, source and kind, histograms, and pairs on both sides of it."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.report.charts import Histogram, histogram
from pipelines.report.distributions import RELEVANCE_EDGES, Tell
from pipelines.report.finished_run import FinishedRun
from pipelines.report.text import Clipped
from pipelines.score_calibration import (
    MARGINS,
    QUANTILES,
    RANKS,
    ROLES,
    BesideCut,
    CalibrationRow,
    calibration,
)

SHOWN_ROWS: Final = 20  # of each dimension
SHOWN_HISTOGRAMS: Final = 6


@dataclass(frozen=True)
class Dimension:
    """The rows of one dimension, the largest first, and how many more there are."""

    name: str
    rows: list[CalibrationRow]
    more: int


@dataclass(frozen=True)
class LanguageHistogram:
    """The pairs of one language by relevance."""

    language: str
    scored: int
    median: float
    chart: Histogram


@dataclass(frozen=True)
class Beside:
    """A pair near the threshold."""

    pair: BesideCut
    query: Clipped
    positive: Clipped


@dataclass(frozen=True)
class ThresholdView:
    """What the page shows below the histogram of all pairs."""

    grid: tuple[float, ...]
    quantiles: tuple[float, ...]
    dimensions: list[Dimension]
    ranks: list[CalibrationRow]  # of the languages whose pool ranks were measured
    rank_steps: list[int]
    margins: list[CalibrationRow]
    margin_steps: list[float]
    histograms: list[LanguageHistogram]
    sides: list[tuple[str, list[Beside]]]


def threshold_view(finished: FinishedRun, samples: int, tell: Tell) -> ThresholdView | None:
    """None where job score is not finished or scored nothing."""
    settings = finished.recipe.score
    urls = finished.urls("score", *ROLES)
    found = calibration(urls, settings, samples, tell) if settings is not None else None
    if found is None:
        return None
    languages = found.groups["language"]
    shown = [
        Dimension(name, [*rows[:SHOWN_ROWS], *([found.whole] if len(rows) > 1 else [])], max(0, len(rows) - SHOWN_ROWS))
        for name, rows in found.groups.items()
    ]
    histograms = [_histogram(row, found.threshold) for row in languages[:SHOWN_HISTOGRAMS] if row.scored]
    sides = [
        (words, [Beside(pair, Clipped.of(pair.query), Clipped.of(pair.positive)) for pair in pairs])
        for words, pairs in (("Kept, just above", found.over), ("Dropped, just below", found.under))
        if pairs
    ]
    return ThresholdView(
        found.grid,
        QUANTILES,
        shown,
        [row for row in languages[:SHOWN_ROWS] if row.by_rank],
        RANKS.tolist(),
        [row for row in languages[:SHOWN_ROWS] if row.by_margin],
        MARGINS.tolist(),
        histograms if len(histograms) > 1 else [],
        sides,
    )


def _histogram(row: CalibrationRow, threshold: float) -> LanguageHistogram:
    edges = np.round(RELEVANCE_EDGES, 2).tolist()
    chart = histogram(
        edges,
        row.histogram,
        label=f"{row.name}: pairs by relevance",
        unit="relevance",
        marks=[(threshold, f"{threshold:g}")] if threshold > -1 else [],
        muted_below=threshold,
    )
    return LanguageHistogram(row.name, row.scored, row.quantiles[QUANTILES.index(0.5)], chart)
