"""Counts over whole shards: languages, kinds, licences and lengths of the kept pairs, token lengths, relevance.

Shards are read once, batch by batch; what is held is counts.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.job import PAIRS
from pipelines.jobs.dedup import PASSAGES
from pipelines.measured import MEASUREMENTS
from pipelines.report.charts import Histogram, Segment, histogram, log_edges, segments, short_number
from pipelines.report.finished_run import FinishedRun
from pipelines.report.row_choice import SmallestIds, joined
from pipelines.shards import read_batches

LONGEST: Final = 1 << 18  # above the 190,000 characters the filter's presets let pass; longer ones count as this long
SHOWN_LANGUAGES: Final = 20
SHOWN_KINDS: Final = 7  # colours of the palette; the rest share one
RELEVANCE_EDGES: Final = np.round(np.arange(-1, 1.0001, 0.02), 2)

Tell = Callable[[int], None]


class LengthCounts:
    """How many texts have each length."""

    def __init__(self) -> None:
        self._counts = np.zeros(0, np.int64)

    def add(self, lengths: "np.ndarray[Any, Any]") -> None:
        found = np.bincount(np.minimum(lengths, LONGEST))
        if len(found) > len(self._counts):
            self._counts = np.pad(self._counts, (0, len(found) - len(self._counts)))
        self._counts[: len(found)] += found

    @property
    def highest(self) -> int:
        return max(len(self._counts) - 1, 0)

    def quantile(self, part: float) -> int:
        """The smallest length that at least this part of the texts do not exceed."""
        cumulated = np.cumsum(self._counts)
        return int(np.searchsorted(cumulated, part * cumulated[-1])) if len(cumulated) else 0

    def in_bins(self, edges: Sequence[int]) -> list[int]:
        filled = np.pad(self._counts, (0, max(0, edges[-1] - len(self._counts))))
        return [int(filled[low:high].sum()) for low, high in pairwise(edges)]

    def chart(self, label: str, unit: str, edges: Sequence[int] | None = None) -> Histogram:
        edges = edges or log_edges(self.highest)
        median = self.quantile(0.5)
        words = f"median {short_number(median)}"
        return histogram(
            edges, self.in_bins(edges), label=label, unit=unit, logarithmic=True, marks=[(max(median, 1), words)]
        )


@dataclass
class KeptPairs:
    """What one pass over the kept pairs counts."""

    samples: SmallestIds
    kinds_by_language: Counter[tuple[str, str]] = field(default_factory=Counter)
    licences_by_source: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    query_lengths: LengthCounts = field(default_factory=LengthCounts)
    positive_lengths: LengthCounts = field(default_factory=LengthCounts)
    rows: int = 0

    _COLUMNS = ("pair_id", "query", "positive", "kind", "query_lang", "positive_lang", "source", "license")

    @classmethod
    def read(cls, urls: Iterable[str], samples: int, tell: Tell) -> "KeptPairs":
        found = cls(SmallestIds(samples))
        for url in urls:
            first_row = 0
            for batch in read_batches(url, cls._COLUMNS):
                found._add(batch)
                found.samples.add(url, first_row, batch["pair_id"], joined(batch["source"], batch["kind"]))
                first_row += batch.num_rows
                tell(batch.num_rows)
        return found

    def _add(self, batch: pa.RecordBatch) -> None:
        one = pc.equal(batch["query_lang"], batch["positive_lang"])
        both = pc.binary_join_element_wise(batch["query_lang"], batch["positive_lang"], " → ")
        language = pc.if_else(one, batch["query_lang"], both)
        self.kinds_by_language.update(counted(language, batch["kind"]))
        self.licences_by_source.update(counted(batch["source"], batch["license"]))
        self.query_lengths.add(pc.utf8_length(batch["query"]).to_numpy())
        self.positive_lengths.add(pc.utf8_length(batch["positive"]).to_numpy())
        self.rows += batch.num_rows


def counted(left: pa.Array, right: pa.Array) -> dict[tuple[Any, Any], int]:
    """How often each pair of values stands in one row."""
    counts = pa.table({"left": left, "right": right}).group_by(["left", "right"]).aggregate([([], "count_all")])
    return {(row["left"], row["right"]): row["count_all"] for row in counts.to_pylist()}


@dataclass(frozen=True)
class LanguageRow:
    language: str
    rows: int
    bar: list[Segment]


@dataclass(frozen=True)
class Languages:
    rows: list[LanguageRow]
    kinds: list[tuple[str, str, int]]  # (kind, tone, rows): the legend
    left_out: int  # languages, or pairs of languages, that have no row of their own
    left_out_pairs: int


def languages(kept: KeptPairs) -> Languages:
    """The bars of the most frequent languages, divided by kind."""
    kinds, totals = Counter[str](), Counter[str]()
    for (language, kind), rows in kept.kinds_by_language.items():
        kinds[kind] += rows
        totals[language] += rows
    ordered = sorted(kinds, key=lambda kind: (-kinds[kind], kind))
    tone = {kind: f"tone-{min(n, SHOWN_KINDS) + 1}" for n, kind in enumerate(ordered)}
    shown = sorted(totals, key=lambda language: (-totals[language], language))
    rows_shown = []
    for language in shown[:SHOWN_LANGUAGES]:
        parts = [
            (kept.kinds_by_language[language, kind], tone[kind], f"{kind}: {kept.kinds_by_language[language, kind]:,}")
            for kind in ordered
        ]
        rows_shown.append(LanguageRow(language, totals[language], segments(parts, totals[shown[0]])))
    rest = shown[SHOWN_LANGUAGES:]
    legend = [(kind, tone[kind], kinds[kind]) for kind in ordered]
    return Languages(rows_shown, legend, len(rest), sum(totals[language] for language in rest))


@dataclass(frozen=True)
class Lengths:
    """One histogram with its caption."""

    title: str
    median: int
    at_95: int
    longest: int
    unit: str
    chart: Histogram


def character_lengths(kept: KeptPairs) -> list[Lengths]:
    edges = log_edges(max(kept.query_lengths.highest, kept.positive_lengths.highest))
    return [
        _lengths("Queries", kept.query_lengths, "characters", edges),
        _lengths("Positives", kept.positive_lengths, "characters", edges),
    ]


def token_lengths(finished: FinishedRun, tell: Tell) -> list[Lengths]:
    """Tokens of the packed queries and passages, special ones included, after truncation."""
    found = []
    for title, role, column in (("Packed queries", PAIRS, "query_length"), ("Packed passages", PASSAGES, "length")):
        counts = LengthCounts()
        for url in finished.urls("pack", role):
            for batch in read_batches(url, [column]):
                counts.add(batch[column].to_numpy())
                tell(batch.num_rows)
        if counts.highest:
            found.append(_lengths(title, counts, "tokens", log_edges(counts.highest)))
    return found


def _lengths(title: str, counts: LengthCounts, unit: str, edges: Sequence[int]) -> Lengths:
    chart = counts.chart(f"{title} by length in {unit}", unit, edges)
    return Lengths(title, counts.quantile(0.5), counts.quantile(0.95), counts.highest, unit, chart)


@dataclass(frozen=True)
class Relevance:
    chart: Histogram
    threshold: float
    scored: int
    below: int
    not_scored: int


def relevance(finished: FinishedRun, tell: Tell) -> Relevance | None:
    """Every scored pair's relevance, the dropped ones included, from what job score measured."""
    manifest = finished.manifests.get("score")
    if manifest is None:
        return None
    threshold = float(manifest.settings["threshold"])
    counts, scored, below, not_scored = np.zeros(len(RELEVANCE_EDGES) - 1, np.int64), 0, 0, 0
    for url in finished.urls("score", MEASUREMENTS):
        for batch in read_batches(url, ["relevance"]):
            values = batch["relevance"].drop_null().to_numpy()
            # A cosine of equal vectors may round to just above 1.
            counts += np.histogram(np.clip(values, -1, 1), RELEVANCE_EDGES)[0]
            scored += len(values)
            below += int((values < np.float32(threshold)).sum())
            not_scored += batch["relevance"].null_count
            tell(batch.num_rows)
    chart = histogram(
        RELEVANCE_EDGES.tolist(),
        counts.tolist(),
        label="Pairs by relevance",
        unit="relevance",
        marks=[(threshold, f"threshold {threshold:g}")],
        muted_below=threshold,
    )
    return Relevance(chart, threshold, scored, below, not_scored)
