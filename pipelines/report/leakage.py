"""What decontaminate found: pairs by evaluation set and rule, and some of them beside the query they leak."""

from dataclasses import dataclass
from typing import Any, Final

from pipelines.jobs.decontaminate import LEAKS, RULES
from pipelines.report.distributions import Tell
from pipelines.report.finished_run import FinishedRun
from pipelines.report.row_choice import SmallestIds, joined, rows_at
from pipelines.report.text import Clipped
from pipelines.shards import read_batches

SHOWN_LEAKS: Final = 20


@dataclass(frozen=True)
class LeakSample:
    """A training text and the evaluation query it is, or holds; the query is None for a passage of a set."""

    evaluation_set: str
    rule: str
    dropped: bool
    source: str
    side: str
    text: Clipped
    evaluation_text: Clipped | None
    evaluation_id: str


@dataclass(frozen=True)
class SetRow:
    """One evaluation set: its texts, how many of its queries were found, and the pairs by rule, in the order of `rules`."""

    name: str
    queries: int
    queries_found: int
    passages: int
    unreadable: int
    pairs: list[int]


@dataclass(frozen=True)
class Leakage:
    rules: list[str]
    sets: list[SetRow]
    samples: list[LeakSample]


def leakage(finished: FinishedRun, tell: Tell) -> Leakage | None:
    """None where decontaminate is not finished."""
    manifest = finished.manifests.get("decontaminate")
    if manifest is None:
        return None
    leaks = manifest.details["leaks"]
    sets = [
        SetRow(
            name,
            texts["queries"],
            texts["queries_found"],
            texts["passages"],
            texts["unreadable"],
            [leaks.get(name, {}).get(rule, 0) for rule in RULES],
        )
        for name, texts in manifest.details["evaluation_sets"].items()
    ]
    return Leakage([rule.replace("_", " ") for rule in RULES], sets, _samples(finished, tell))


def _samples(finished: FinishedRun, tell: Tell) -> list[LeakSample]:
    """In turn from each set and rule."""
    chosen = SmallestIds(SHOWN_LEAKS)
    for url in finished.urls("decontaminate", LEAKS):
        first_row = 0
        for batch in read_batches(url, ["pair_id", "set", "rule"]):
            chosen.add(url, first_row, batch["pair_id"], joined(batch["set"], batch["rule"]))
            first_row += batch.num_rows
            tell(batch.num_rows)
    places = [place for _, place in chosen.in_turn(SHOWN_LEAKS)]
    columns = ["set", "rule", "dropped", "source", "side", "text", "evaluation_id", "evaluation_text"]
    rows = rows_at([(place.url, place.row) for place in places], columns)
    return [_sample(rows[place.url, place.row]) for place in places]


def _sample(row: dict[str, Any]) -> LeakSample:
    text = row["evaluation_text"]
    return LeakSample(
        row["set"],
        row["rule"].replace("_", " "),
        row["dropped"],
        row["source"],
        row["side"],
        Clipped.of(row["text"]),
        None if text is None else Clipped.of(text),
        row["evaluation_id"] or "",
    )
