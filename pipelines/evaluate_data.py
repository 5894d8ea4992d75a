"""What a run's data looks like before anything is trained: `pairmill evaluate-data RUN`.

In:  the manifests of a run's finished jobs, and the shards of job score; nothing is measured again.
Out: `DataQuality`: for each source and language shares of duplicates, leaks and filtered pairs, and how relevance is
     distributed; for the whole run the share of false negatives, where a judge looked at some.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from pipelines.errors import UserError
from pipelines.job import HELD_OUT, PAIRS
from pipelines.recipe import load_recipe
from pipelines.report.false_negatives import false_negatives
from pipelines.report.finished_run import FinishedRun
from pipelines.run_folder import RunFolder
from pipelines.shards import REJECTS, read_batches

QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_STEPS: Final = np.arange(-1000, 1001) / 1000  # of relevance: quantiles are told in thousandths
_MIDDLE: Final = QUANTILES.index(0.5)
_DUPLICATES: Final = ("duplicate_pair", "near_duplicate_pair")
_DROPPING: Final = ("filter", "decontaminate", "dedup", "score")
_BETWEEN: Final = "\x00"

Counts = Mapping[str, int]  # in, out, drop:REASON


@dataclass(frozen=True)
class GroupQuality:
    """The pairs of one source in one language (or direction). A share is None where no job measured it, or there was no pair.

    Shares are of the pairs that came into the job: filtered (filter), leaks (decontaminate), duplicates, near_duplicates and
    leaks_held_out (dedup), below_threshold (score).
    """

    source: str
    language: str
    extracted: (
        int  # and synthesized: what came into the first job that drops pairs, or extract's where none is finished
    )
    kept: int  # by the last finished job that drops pairs, before pack chooses
    filtered: float | None
    leaks: float | None
    duplicates: float | None
    near_duplicates: float | None
    leaks_held_out: float | None
    below_threshold: float | None
    scored: int
    not_scored: int
    relevance: tuple[float, ...] | None  # at QUANTILES, of the scored, dropped ones too

    @property
    def median(self) -> float:
        """Of relevance; not a number where nothing is scored."""
        return float("nan") if self.relevance is None else self.relevance[_MIDDLE]


@dataclass(frozen=True)
class DataQuality:
    """A run's data."""

    groups: list[GroupQuality]  # the lowest median relevance first, those without one last
    false_negatives: dict[str, Any] | None  # of `pairmill judge --estimate`: share, low, high, judged, judge
    judged_candidates: (
        dict[str, int] | None
    )  # of job mine with a judge: how many were judged, and how many found relevant
    unfinished: list[str]  # jobs of the recipe that would tell more

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"quantiles_at": QUANTILES, **asdict(self)}


def data_quality(run: RunFolder, tell: Callable[[int], None] = lambda rows: None) -> DataQuality:
    """Read a run, finished or not. `tell` gets the number of rows of every batch that was read.

    Raises UserError where not even extract is finished.
    """
    recipe = load_recipe(run.recipe)
    finished = FinishedRun.read(recipe, run)
    if "extract" not in finished.manifests:
        raise UserError(f"The run {run.url} has not extracted a pair yet: run it first with `pairmill run`.")
    scores = _relevance(finished.urls("score", PAIRS, HELD_OUT, REJECTS), tell)
    jobs = {name: manifest.languages for name, manifest in finished.manifests.items()}
    last = finished.pairs_job() or "extract"
    counted = (of_job for name, of_job in jobs.items() if name in ("extract", *_DROPPING))
    keys = sorted(
        {(source, each) for of_job in counted for source, found in of_job.items() for each in found} | scores.keys()
    )
    groups = [_group(key, jobs, last, scores.get(key)) for key in keys]
    waited = [job for job in recipe.jobs() if job in _DROPPING and job not in jobs]
    estimate = false_negatives(finished)
    facts = None if estimate is None else {"judge": estimate.judge, **estimate.facts}
    return DataQuality(sorted(groups, key=_worst_first), facts, _judged(finished), waited)


def _judged(finished: FinishedRun) -> dict[str, int] | None:
    """What the judge of job mine said of the candidates; None where none was asked."""
    details = finished.manifests["mine"].details if "mine" in finished.manifests else {}
    judged = details.get("judged", {}).get("judged", 0)
    if not judged:
        return None
    left_out = details.get("candidates_left_out", {})
    return {"judged": judged, "relevant": left_out.get("judged_relevant", 0)}


def _worst_first(group: GroupQuality) -> tuple[bool, float, str, str]:
    return (group.relevance is None, group.median if group.relevance else 0.0, group.source, group.language)


def _group(
    key: tuple[str, str],
    jobs: Mapping[str, Mapping[str, Mapping[str, Counts]]],
    last: str,
    scored: NDArray[np.int64] | None,
) -> GroupQuality:
    counts = {job: of_job.get(key[0], {}).get(key[1], {}) for job, of_job in jobs.items()}
    known = int(scored[:-1].sum()) if scored is not None else 0
    entered = next((counts[job]["in"] for job in _DROPPING if counts.get(job, {}).get("in")), None)
    extracted = counts["extract"].get("out", 0) if entered is None else entered
    return GroupQuality(
        *key,
        extracted=extracted,
        kept=counts[last].get("out", 0) if last in _DROPPING else extracted,
        filtered=_share(counts.get("filter"), None),
        leaks=_share(counts.get("decontaminate"), None),
        duplicates=_share(counts.get("dedup"), _DUPLICATES[:1]),
        near_duplicates=_share(counts.get("dedup"), _DUPLICATES[1:]),
        leaks_held_out=_share(counts.get("dedup"), ("leaks_held_out",)),
        below_threshold=_share(counts.get("score"), ("low_relevance",)),
        scored=known,
        not_scored=int(scored[-1]) if scored is not None else 0,
        relevance=tuple(_quantile(scored[:-1], part) for part in QUANTILES) if scored is not None and known else None,
    )


def _share(counts: Counts | None, reasons: Sequence[str] | None) -> float | None:
    """The share of the rows in that some reasons (None: all) dropped."""
    if not counts or not counts.get("in"):
        return None
    dropped = Counter({name.removeprefix("drop:"): rows for name, rows in counts.items() if name.startswith("drop:")})
    return sum(dropped[reason] for reason in (dropped if reasons is None else reasons)) / counts["in"]


def _relevance(urls: Sequence[str], tell: Callable[[int], None]) -> dict[tuple[str, str], NDArray[np.int64]]:
    """By source and language how many pairs have each thousandth of relevance, int64 [2002]; the last: not scored."""
    found: dict[tuple[str, str], NDArray[np.int64]] = {}
    for url in urls:
        for batch in read_batches(url, ("source", "query_lang", "positive_lang", "scores")):
            places = _places(batch)
            names = _names(batch).dictionary_encode()
            codes = names.indices.to_numpy()
            for code, name in enumerate(names.dictionary.to_pylist()):
                source, language = name.split(_BETWEEN)
                counted = np.bincount(places[codes == code], minlength=len(_STEPS) + 1)
                found[source, language] = counted + found.get((source, language), 0)
            tell(batch.num_rows)
    return found


def _names(batch: pa.RecordBatch) -> pa.Array:
    one = pc.equal(batch["query_lang"], batch["positive_lang"])
    both = pc.binary_join_element_wise(batch["query_lang"], batch["positive_lang"], "-")  # as manifests name directions
    return pc.binary_join_element_wise(batch["source"], pc.if_else(one, batch["query_lang"], both), _BETWEEN)


def _places(batch: pa.RecordBatch) -> NDArray[np.int64]:
    """The thousandth of each pair's relevance as its place in _STEPS; behind them where it has none."""
    values = pc.if_else(pc.is_valid(batch["scores"]), pc.struct_field(batch["scores"], "relevance"), None)
    relevance = values.fill_null(np.nan).to_numpy().astype(np.float64)
    thousandths = np.clip(np.rint(np.nan_to_num(relevance) * 1000), -1000, 1000).astype(np.int64) + 1000
    return np.where(np.isnan(relevance), len(_STEPS), thousandths)


def _quantile(counts: NDArray[np.int64], part: float) -> float:
    """The thousandth at or below which at least `part` of the pairs lie."""
    total = np.cumsum(counts)
    return float(_STEPS[int(np.searchsorted(total, max(part * total[-1], 1)))])


def quality_view(found: DataQuality) -> Group:
    """All of it for a terminal."""
    parts: list[RenderableType] = [_table(found.groups), *_words(found)]
    return Group(*parts)


def _table(groups: Sequence[GroupQuality]) -> Table:
    table = Table(
        title="Data by source and language: shares in %, relevance at 5, 50 and 95 %",
        title_justify="left",
        header_style="bold",
        box=None,
        padding=(0, 1, 0, 0),
    )
    table.add_column("source", overflow="fold")
    table.add_column("language", overflow="fold", min_width=9)
    shares = {name: [share(group) for group in groups] for name, share in _SHARES.items()}
    measured = [name for name, values in shares.items() if any(value is not None for value in values)]
    quantiles = ["5", "50", "95"] if any(group.relevance for group in groups) else []
    for column in ("pairs", *measured, *quantiles):
        table.add_column(column, justify="right", no_wrap=True)
    for row, group in enumerate(groups):
        relevance = [f"{group.relevance[place]:.2f}" for place in (0, _MIDDLE, -1)] if group.relevance else ["-"] * 3
        table.add_row(
            escape(group.source),
            escape(group.language),
            f"{group.extracted:,}",
            *(_percent(shares[name][row]) for name in measured),
            *relevance[: len(quantiles)],
        )
    return table


_SHARES: Final[Mapping[str, Callable[[GroupQuality], float | None]]] = {
    "kept": lambda group: group.kept / group.extracted if group.extracted else None,
    "filt": lambda group: group.filtered,
    "leak": lambda group: group.leaks,
    "dup": lambda group: group.duplicates,
    "near": lambda group: group.near_duplicates,
    "held": lambda group: group.leaks_held_out,
    "low": lambda group: group.below_threshold,
}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}" if share < 0.0995 else f"{100 * share:.0f}"


def _words(found: DataQuality) -> Iterator[str]:
    yield (
        "[dim]Of the pairs that came into each job: filt, dropped by filter; leak, by decontaminate; dup and near, duplicates "
        "and near-duplicates; held, with a held-out text; low, below the threshold of relevance.[/]"
    )
    unscored = sum(group.not_scored for group in found.groups)
    if unscored:
        yield f"Not scored, in languages the encoder cannot read: {unscored:,} pairs."
    candidates = found.judged_candidates
    if candidates is not None:
        share = candidates["relevant"] / candidates["judged"]
        yield f"Of {candidates['judged']:,} mined candidates that the judge scored, {100 * share:.1f} % answer their query, and were left out."
    facts = found.false_negatives
    if facts is None:
        yield "[dim]False negatives: not estimated; `pairmill judge --pairs RUN --estimate 200` looks at mined negatives.[/]"
    elif facts["share"] is None:
        yield f"False negatives: not known, {escape(facts['judge'])} gave no answer about any."
    else:
        yield (
            f"False negatives: {100 * facts['share']:.1f} % of {facts['judged']:,} judged "
            f"({100 * facts['low']:.1f} to {100 * facts['high']:.1f} %, 95 % interval), by {escape(facts['judge'])}."
        )
    if found.unfinished:
        yield f"Not finished, and unknown therefore: {', '.join(found.unfinished)}."
