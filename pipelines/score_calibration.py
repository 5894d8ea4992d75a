"""Where to cut: what each threshold of job score would keep, by language, source and kind, and pairs on both sides of the cut.

Reads what the job wrote, the dropped pairs too, and encodes nothing: `pairmill score --calibrate 10 --input RUN`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table

from pipelines.job import HELD_OUT, PAIRS
from pipelines.jobs.score import thresholds
from pipelines.recipe import ScoreSettings
from pipelines.rejected import shown_text
from pipelines.report.row_choice import SmallestIds, joined, rows_at
from pipelines.shards import REJECTS, read_batches

ROLES: Final = (PAIRS, HELD_OUT, REJECTS)
DIMENSIONS: Final = ("language", "source", "kind")
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
STEP: Final = 0.05
USUAL: Final = tuple(round(0.30 + STEP * n, 2) for n in range(7))  # around C-Pack's 0.43
COSINES: Final = np.arange(-1000, 1001) / 1000
RANKS: Final = np.array([1, 2, 5, 10, 20, 50, 100])  # E5 keeps the best 2, Arctic-Embed 2.0 the best 20
MARGINS: Final = np.array([1.0, 1.02, 1.04, 1.06, 1.08, 1.1, 1.2])  # stopes keeps 1.06
LADDERS: Final = {"relevance": COSINES, "pool_rank": RANKS, "bitext_margin": MARGINS}
BAND: Final = 0.05  # pairs so near to their cut are shown
SHOWN_GROUPS: Final = 20
_MIDDLE: Final = (1, 2, 3)  # of QUANTILES, for the terminal
_COLUMNS: Final = ("pair_id", "source", "kind", "query_lang", "positive_lang", "scores")
_SHOWN: Final = ("query", "positive", "kind", "query_lang", "positive_lang", "source", "scores")

Tell = Callable[[int], None]
# Of a group of pairs: how many reach 0, 1, ... steps of each ladder; under "decided" the unscored, the dropped, the kept.
_Counts = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class CalibrationRow:
    """One group of pairs. Shares are of the scored; where there is none they are empty, and None."""

    name: str
    scored: int
    not_scored: int
    quantiles: tuple[float, ...]  # of the relevance, at QUANTILES
    kept: tuple[float, ...]  # the share that each threshold of the grid would keep
    kept_now: float | None  # by the present thresholds for relevance
    histogram: tuple[int, ...]  # pairs by relevance: 100 bins of 0.02 from -1
    by_rank: tuple[float, ...] | None  # the share among the best RANKS of the pool; None where not measured
    by_margin: tuple[float, ...] | None  # the share with margins of MARGINS or more; None where not measured


@dataclass(frozen=True)
class BesideCut:
    """A pair near the threshold that decides about it."""

    relevance: float
    threshold: float
    query: str
    positive: str
    kind: str
    language: str
    source: str


@dataclass(frozen=True)
class Calibration:
    """What the scores of a run say about thresholds."""

    threshold: float  # that of pairs without one of their own
    grid: tuple[float, ...]
    whole: CalibrationRow
    groups: dict[str, list[CalibrationRow]]  # by dimension; the largest first
    under: list[BesideCut]  # dropped for less than BAND
    over: list[BesideCut]  # kept by less than BAND

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        ladders = {"quantiles_at": QUANTILES, "ranks": RANKS.tolist(), "margins": MARGINS.tolist()}
        return {**ladders, **asdict(self)}


def calibration(
    urls: Iterable[str], settings: ScoreSettings, samples: int, tell: Tell = lambda rows: None
) -> Calibration | None:
    """Read the shards that job score wrote (ROLES) once; None where no pair is scored.

    Of each side of the cut up to `samples` pairs are shown, in turn from each source and language, chosen by their ids, which
    are hashes: the same on every run. `tell` gets the number of rows of every batch.
    """
    counts: dict[tuple[str, ...], _Counts] = {}
    under, over = SmallestIds(samples), SmallestIds(samples)
    for url in urls:
        first_row = 0
        for batch in read_batches(url, _COLUMNS):
            relevance, cut = _score(batch, "relevance"), thresholds(batch, settings).to_numpy()
            dropped = relevance < cut
            _count(counts, batch, np.where(np.isnan(relevance), 0, np.where(dropped, 1, 2)))
            near = np.abs(relevance - cut) < BAND
            strata = joined(batch["source"], batch["query_lang"])
            for chosen, side in ((under, near & dropped), (over, near & ~dropped)):
                of_side = pc.if_else(pa.array(side), strata, pa.scalar(None, pa.string()))
                chosen.add(url, first_row, batch["pair_id"], of_side)
            first_row += batch.num_rows
            tell(batch.num_rows)
    if not sum(int(found["relevance"].sum()) for found in counts.values()):
        return None
    whole = _sum(counts.values())
    grid = grid_around(settings.threshold if settings.threshold > -1 else _quantile(whole["relevance"], 0.5))
    groups = {dimension: list(_rows(counts, place, grid)) for place, dimension in enumerate(DIMENSIONS)}
    beside = [_beside(chosen, samples, settings) for chosen in (under, over)]
    return Calibration(settings.threshold, grid, _row("all", whole, grid), groups, *beside)


def grid_around(cut: float) -> tuple[float, ...]:
    """Seven thresholds: 0.30 to 0.60, or, for encoders whose cosines lie elsewhere, around `cut`."""
    if USUAL[0] - STEP <= cut <= USUAL[-1] + STEP:
        return USUAL
    steps = (round(STEP * (round(cut / STEP) + n), 2) for n in range(-3, 4))
    return tuple(step for step in steps if -1 <= step <= 1)


def _score(batch: pa.RecordBatch, name: str) -> NDArray[np.float32]:
    """A score of each pair, float32 [rows]; NaN where it was not measured."""
    values = pc.struct_field(batch["scores"], name)
    found: NDArray[np.float32] = pc.if_else(pc.is_valid(batch["scores"]), values, None).fill_null(np.nan).to_numpy()
    return found


def _count(counts: dict[tuple[str, ...], _Counts], batch: pa.RecordBatch, decided: NDArray[np.int64]) -> None:
    """Add a batch to the counts of its (language, source, kind)."""
    one = pc.equal(batch["query_lang"], batch["positive_lang"])
    both = pc.binary_join_element_wise(batch["query_lang"], batch["positive_lang"], " → ")
    names = joined(pc.if_else(one, batch["query_lang"], both), batch["source"], batch["kind"]).dictionary_encode()
    codes = names.indices.to_numpy()
    groups = [tuple(name.split("\x00")) for name in names.dictionary.to_pylist()]
    found = {"decided": _counted(codes, decided, len(groups), 3)}
    for name, steps in LADDERS.items():
        values = (
            _score(batch, name).astype(np.float64).round(4)
        )  # as job score rounds them, in float64 as the steps are
        reached = np.where(np.isnan(values), -1, np.searchsorted(steps, values, "right"))
        found[name] = _counted(codes, reached, len(groups), len(steps) + 1)
    for place, group in enumerate(groups):
        counts[group] = _sum([*([counts[group]] if group in counts else []), {n: c[place] for n, c in found.items()}])


def _counted(codes: NDArray[np.int64], places: NDArray[np.int64], groups: int, size: int) -> NDArray[np.int64]:
    """How often each place (-1: none) comes up in each group: int64 [groups, size]."""
    known = places >= 0
    flat = np.bincount(codes[known].astype(np.int64) * size + places[known], minlength=groups * size)
    return flat.reshape(groups, size)


def _sum(counts: Iterable[_Counts]) -> _Counts:
    first, *others = counts
    total = {name: found.copy() for name, found in first.items()}
    for other in others:
        for name, found in other.items():
            total[name] += found
    return total


def _rows(counts: dict[tuple[str, ...], _Counts], place: int, grid: Sequence[float]) -> Iterator[CalibrationRow]:
    """A row for each value at one place of the groups' names, the largest first."""
    found: dict[str, list[_Counts]] = {}
    for group, of_group in counts.items():
        found.setdefault(group[place], []).append(of_group)
    sums = {name: _sum(of_name) for name, of_name in found.items()}
    for name in sorted(sums, key=lambda name: (-int(sums[name]["decided"].sum()), name)):
        yield _row(name, sums[name], grid)


def _row(name: str, counts: _Counts, grid: Sequence[float]) -> CalibrationRow:
    relevance = counts["relevance"]
    scored, places = int(relevance.sum()), [int(np.searchsorted(COSINES, step)) for step in grid]
    not_scored, _, kept = counts["decided"].tolist()
    bins = relevance[1:-1].reshape(100, 20).sum(axis=1)
    bins[0] += relevance[0]
    bins[-1] += relevance[-1]  # a cosine of 1
    return CalibrationRow(
        name,
        scored,
        not_scored,
        tuple(_quantile(relevance, part) for part in QUANTILES if scored),
        tuple(int(relevance[place + 1 :].sum()) / scored for place in places if scored),
        kept / scored if scored else None,
        tuple(bins.tolist()),
        _shares(np.cumsum(counts["pool_rank"])[:-1], counts["pool_rank"].sum()),
        _shares(np.cumsum(counts["bitext_margin"][::-1])[::-1][1:], counts["bitext_margin"].sum()),
    )


def _shares(rows: NDArray[np.int64], of: int) -> tuple[float, ...] | None:
    return tuple((rows / of).tolist()) if of else None


def _quantile(relevance: NDArray[np.int64], part: float) -> float:
    """The thousandth at or below which at least `part` of the pairs lie."""
    total = np.cumsum(relevance)
    place = int(np.searchsorted(total, max(part * total[-1], 1)))
    return float(COSINES[max(place - 1, 0)])


def _beside(chosen: SmallestIds, samples: int, settings: ScoreSettings) -> list[BesideCut]:
    places = [place for _, place in chosen.in_turn(samples)]
    rows = rows_at([(place.url, place.row) for place in places], _SHOWN)
    found = []
    for place in places:
        row = rows[place.url, place.row]
        of_language = settings.threshold_by_language.get(row["query_lang"], settings.threshold)
        cut = settings.threshold_by_source.get(row["source"], of_language)
        languages = " → ".join(dict.fromkeys((row["query_lang"], row["positive_lang"])))
        texts = (row["query"], row["positive"], row["kind"], languages, row["source"])
        found.append(BesideCut(round(row["scores"]["relevance"], 4), cut, *texts))
    return sorted(found, key=lambda pair: -pair.relevance)


def calibration_view(found: Calibration) -> Group:
    """All of it for a terminal."""
    parts: list[RenderableType] = []
    for dimension, rows in found.groups.items():
        parts += [_relevance_table(found, dimension, rows), ""]
    for title, steps, name in (
        ("% of positives among the best of the pool", RANKS, "by_rank"),
        ("% of translations with so high a ratio margin", MARGINS, "by_margin"),
    ):
        rows = [row for rows in found.groups.values() for row in rows if getattr(row, name)]
        if rows:
            parts += [_ladder_table(title, [f"{step:g}" for step in steps], rows, name), ""]
    for words, colour, pairs in (
        ("kept, just above", "green", found.over),
        ("dropped, just below", "red", found.under),
    ):
        if pairs:
            parts.append(f"[bold {colour}]{words} the threshold[/]")
            parts += [_shown_pair(pair) for pair in pairs]
    return Group(*parts)


def _relevance_table(found: Calibration, dimension: str, rows: Sequence[CalibrationRow]) -> Table:
    """Shares in percent; narrow enough for 80 columns."""
    columns = (*(f"{QUANTILES[place]:.0%}" for place in _MIDDLE), *(_short(step, "≥") for step in found.grid), "kept")
    unscored = any(row.not_scored for row in rows)
    table = _table(
        f"relevance by {dimension}: quantiles, and % kept by thresholds (now {found.threshold:g})",
        dimension,
        ("scored", *(["not"] if unscored else []), *columns),
    )
    for row in [*rows[:SHOWN_GROUPS], *([found.whole] if len(rows) > 1 else [])]:
        shares = [*row.kept, row.kept_now] if row.kept_now is not None else []
        numbers = [_short(row.quantiles[place]) for place in _MIDDLE if row.scored]
        numbers += [f"{100 * share:.0f}" for share in shares]
        sizes = [f"{row.scored:,}", *([f"{row.not_scored:,}"] if unscored else [])]
        table.add_row(shown_text(row.name), *sizes, *numbers)
    if len(rows) > SHOWN_GROUPS:
        table.caption = f"and {len(rows) - SHOWN_GROUPS:,} more"
    return table


def _ladder_table(title: str, steps: Sequence[str], rows: Sequence[CalibrationRow], name: str) -> Table:
    table = _table(title, "", steps)
    for row in rows[: 3 * SHOWN_GROUPS]:
        table.add_row(shown_text(row.name), *(f"{100 * share:.0f}" for share in getattr(row, name)))
    return table


def _table(title: str, first: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", box=None, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _short(value: float, before: str = "") -> str:
    """0.43 as .43"""
    return before + f"{value:.2f}".replace("0.", ".", 1)


def _shown_pair(pair: BesideCut) -> str:
    where = shown_text(f"{pair.source}, {pair.kind}, {pair.language}")
    query, positive = (shown_text(" ".join(text.split())) for text in (pair.query, pair.positive))
    return f"  [bold]{pair.relevance:.3f}[/] (threshold {pair.threshold:g})  {where}\n    {query}\n    → {positive}"
