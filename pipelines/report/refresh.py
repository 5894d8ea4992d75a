"""The run's refreshes on its page: the gate's last decision, the alerts of the newest refresh, and the history."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.refresh import history
from pipelines.refresh.metric_rows import finite, main_metric
from pipelines.refresh.records import Alert, GateDecision, RefreshRecord, SetDecision
from pipelines.refresh.status_view import files_in_words, pairs_at_the_end
from pipelines.run_folder import RunFolder

SHOWN: Final = 20


@dataclass(frozen=True)
class HistoryRow:
    """One refresh. Differences are to the shown one before that got as far."""

    number: int
    started: str
    outcome: str
    files: str
    pairs: int | None
    pairs_difference: int | None
    figure: float | None  # of the new model: its main metric on the first set
    figure_difference: float | None
    version: int | None
    alerts: int
    error: str | None


@dataclass(frozen=True)
class Refreshes:
    rows: list[HistoryRow]  # the newest first
    figure: str  # what `figure` is of: "held_out ndcg@10"
    decided: int | None  # the refresh whose decision this is
    decision: GateDecision | None
    sets: list[SetDecision]  # of the decision, those that failed first, then by what was lost
    alerts: tuple[Alert, ...]  # of the newest refresh
    version: int | None


def refreshes(run: RunFolder) -> Refreshes | None:
    """None of a run that was never refreshed. Refreshes that found nothing new are left out."""
    records = [each for each in history.read_all(run, history.RECENT) if each.outcome != "nothing_new"]
    if not records:
        return None
    decided = next((each for each in reversed(records) if each.gate is not None), None)
    decision = decided.gate if decided else None
    chosen = _first_set(records)
    return Refreshes(
        rows=_rows(records[-SHOWN:], chosen),
        figure="" if chosen is None else f"{chosen[0]} {chosen[3]}",
        decided=None if decided is None else decided.number,
        decision=decision,
        sets=sorted(decision.sets, key=lambda each: (each.passes, each.difference or 0.0)) if decision else [],
        alerts=records[-1].alerts,
        version=records[-1].version,
    )


def _first_set(records: Sequence[RefreshRecord]) -> tuple[str, str | None, str | None, str] | None:
    """Data, language, mode and metric of the newest refresh's first row over all queries."""
    rows = (row for record in reversed(records) for row in record.metrics if row.get("scope") == "all")
    row = next(rows, None)
    return None if row is None else (str(row.get("data")), row.get("language"), row.get("mode"), main_metric(row))


def _rows(records: Sequence[RefreshRecord], chosen: tuple[str, str | None, str | None, str] | None) -> list[HistoryRow]:
    rows: list[HistoryRow] = []
    pairs_before: int | None = None
    figure_before: float | None = None
    for record in records:
        pairs = None if record.outcome == "failed" else pairs_at_the_end(record)
        figure = _figure(record, chosen)
        rows.append(
            HistoryRow(
                record.number,
                record.started[:16].replace("T", " "),
                record.outcome.replace("_", " "),
                files_in_words(record.changes),
                pairs,
                None if pairs is None or pairs_before is None else pairs - pairs_before,
                figure,
                None if figure is None or figure_before is None else figure - figure_before,
                record.version,
                len(record.alerts),
                record.error,
            )
        )
        pairs_before = pairs_before if pairs is None else pairs
        figure_before = figure_before if figure is None else figure
    return rows[::-1]


def _figure(record: RefreshRecord, chosen: tuple[str, str | None, str | None, str] | None) -> float | None:
    for row in record.metrics if chosen is not None else ():
        if (
            chosen is not None
            and row.get("scope") == "all"
            and (row.get("data"), row.get("language"), row.get("mode")) == chosen[:3]
        ):
            return finite(row.get(chosen[3]))
    return None
