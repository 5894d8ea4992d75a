"""Pairs to read: kept ones, dropped ones with their reason, and records that could not be read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow.compute as pc

from pipelines.job import HELD_OUT
from pipelines.report.distributions import Tell, counted
from pipelines.report.finished_run import FinishedRun
from pipelines.report.funnel import FUNNEL_JOBS, Reason
from pipelines.report.row_choice import Place, SmallestIds, rows_at
from pipelines.report.text import Clipped
from pipelines.shards import QUARANTINE, REJECTS, read_batches

SHOWN_COLUMNS: Final = (
    "query", "positive", "kind", "query_lang", "positive_lang", "source", "document_id", "url", "license", "label", "scores",
)  # fmt: skip
EXAMPLES_A_REASON: Final = 3


@dataclass(frozen=True)
class Sample:
    """One pair as the page shows it."""

    query: Clipped
    positive: Clipped
    kind: str
    language: str
    source: str
    document_id: str
    url: str | None
    license: str | None
    scores: list[tuple[str, str]]
    held_out: bool = False


@dataclass(frozen=True)
class DroppedSamples:
    reason: Reason
    samples: list[Sample]


def kept_samples(chosen: SmallestIds, wanted: int) -> list[Sample]:
    places = [place for _, place in chosen.in_turn(wanted)]
    rows = rows_at([(place.url, place.row) for place in places], SHOWN_COLUMNS)
    return [_sample(rows[place.url, place.row], place) for place in places]


def dropped_samples(finished: FinishedRun, reasons: Sequence[Reason], wanted: int, tell: Tell) -> list[DroppedSamples]:
    """Up to `wanted` dropped pairs, in turn from each reason of each job, in the order of `reasons`."""
    chosen = SmallestIds(wanted)
    for job in FUNNEL_JOBS:
        for url in finished.urls(job, REJECTS):
            first_row = 0
            for batch in read_batches(url, ["pair_id", "reason"]):
                stratum = pc.binary_join_element_wise(job, batch["reason"], "\x00")
                chosen.add(url, first_row, batch["pair_id"], stratum)
                first_row += batch.num_rows
                tell(batch.num_rows)
    found = chosen.in_turn(wanted)
    rows = rows_at([(place.url, place.row) for _, place in found], SHOWN_COLUMNS)
    of_reason: dict[str, list[Sample]] = {}
    for stratum, place in found:
        of_reason.setdefault(stratum, []).append(_sample(rows[place.url, place.row], place))
    return [
        DroppedSamples(reason, of_reason[f"{reason.job}\x00{reason.name}"])
        for reason in reasons
        if f"{reason.job}\x00{reason.name}" in of_reason
    ]


def _sample(row: dict[str, Any], place: Place) -> Sample:
    languages = (row["query_lang"], row["positive_lang"])
    return Sample(
        query=Clipped.of(row["query"]),
        positive=Clipped.of(row["positive"]),
        kind=row["kind"],
        language=" → ".join(dict.fromkeys(languages)),
        source=row["source"],
        document_id=row["document_id"],
        url=row["url"],
        license=row["license"],
        scores=_scores({"label": row["label"], **(row["scores"] or {})}),
        held_out=f"/{HELD_OUT}/" in place.url,
    )


def _scores(measured: dict[str, float | None]) -> list[tuple[str, str]]:
    """(name, value) of what was measured; the two sides' language probabilities as one."""
    sides = [measured.pop(f"{side}_language_probability", None) for side in ("query", "positive")]
    shown = [(name.replace("_", " "), f"{value:.3f}") for name, value in measured.items() if value is not None]
    if None not in sides:
        shown.append(("language probability", " / ".join(f"{value:.2f}" for value in sides)))
    return shown


@dataclass(frozen=True)
class Unread:
    """Records of one source that could not be read for one reason."""

    source: str
    reason: str
    rows: int
    examples: list[dict[str, Any]]


def quarantined(finished: FinishedRun) -> list[Unread]:
    """By source and reason, the most frequent first, with the first few records of each."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for url in finished.urls("extract", QUARANTINE):
        for batch in read_batches(url, rows=1024):
            for key, rows in counted(batch["source"], batch["reason"]).items():
                counts[key] += rows
                of_key = examples.setdefault(key, [])
                if len(of_key) < EXAMPLES_A_REASON:
                    match = pc.and_(pc.equal(batch["source"], key[0]), pc.equal(batch["reason"], key[1]))
                    of_key.extend(batch.filter(match).slice(0, EXAMPLES_A_REASON - len(of_key)).to_pylist())
    ordered = sorted(counts, key=lambda key: (-counts[key], key))
    return [Unread(*key, counts[key], examples[key]) for key in ordered]
