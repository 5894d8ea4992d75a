"""Alerts: what moved from one refresh to the next more than the recipe allows.

In:  the record of the last refresh that brought the data to its end, and the record of this one.
Out: `Alert`s. Only what both refreshes counted is compared: a job that did not come to its end is no alert of its own.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipelines.job import PAIR_JOBS
from pipelines.refresh.metric_rows import finite, main_metric
from pipelines.refresh.records import Alert, JobRecord, RefreshRecord
from pipelines.refresh.settings import AlertSettings

_DROP: Final = "drop:"
_ROUNDING: Final = 1e-9
Counts = Mapping[str, int]


def find(previous: RefreshRecord | None, now: RefreshRecord, settings: AlertSettings) -> tuple[Alert, ...]:
    """The alerts of a refresh, sources first. Of the first one (`previous` None) only training can give any."""
    if previous is None:
        return tuple(_loss(None, now, settings))
    return (
        *_sources(previous, now, settings),
        *_languages(previous, now, settings),
        *_keep_rates(previous, now, settings),
        *_loss(previous, now, settings),
        *_metrics(previous, now, settings),
    )


def _sources(previous: RefreshRecord, now: RefreshRecord, settings: AlertSettings) -> Iterator[Alert]:
    """Sources that give fewer pairs, or none."""
    shrinks = settings.source_shrinks
    before, after = _job(previous, "extract"), _job(now, "extract")
    if shrinks is None or before is None or after is None:
        return
    for source, counts in before.funnel.items():
        had, has = _out(counts), _out(after.funnel.get(source, {}))
        if had == 0 or had - has < shrinks * had - _ROUNDING:
            continue
        words = (
            f"Source {source} gave {had:,} pairs in refresh {previous.number} and gives none now: its files are gone, or "
            "cannot be read."
            if has == 0
            else f"Source {source} gives {has:,} pairs, {(had - has) / had:.1%} fewer than the {had:,} of refresh {previous.number}."
        )
        yield Alert(kind="source_shrinks", subject=source, message=words, before=had, now=has)


def _languages(previous: RefreshRecord, now: RefreshRecord, settings: AlertSettings) -> Iterator[Alert]:
    """Languages, or directions, of which no pair comes to the end of the chain any more."""
    last = next((job for job in reversed(PAIR_JOBS) if _languages_of(previous, job) and _job(now, job)), None)
    if not settings.language_gone or last is None:
        return
    after = _languages_of(now, last)
    for language, had in _languages_of(previous, last).items():
        if had >= settings.language_least and not after.get(language):
            words = f"No pair in {language} comes out of {last}; in refresh {previous.number} {had:,} did."
            yield Alert(kind="language_gone", subject=language, message=words, before=had, now=0)


def _languages_of(record: RefreshRecord, job: str) -> dict[str, int]:
    """Pairs that come out of a job, by language; none where the job does not count them."""
    found = _job(record, job)
    total: dict[str, int] = {}
    for languages in found.languages.values() if found else ():
        for language, counts in languages.items():
            total[language] = total.get(language, 0) + _out(counts)
    return total


def _keep_rates(previous: RefreshRecord, now: RefreshRecord, settings: AlertSettings) -> Iterator[Alert]:
    """Jobs that keep another share of a source's pairs than last time."""
    moves = settings.keep_rate_moves
    if moves is None:
        return
    for job in now.jobs:
        before = _job(previous, job.job)
        for source, counts in job.funnel.items():
            had = before.funnel.get(source, {}) if before else {}
            if min(had.get("in", 0), counts.get("in", 0)) < settings.keep_rate_least:
                continue
            first, second = (_out(each) / each["in"] for each in (had, counts))
            if abs(second - first) >= moves - _ROUNDING:
                words = (
                    f"Job {job.job} keeps {second:.1%} of the {counts['in']:,} pairs of {source}; in refresh {previous.number} "
                    f"it kept {first:.1%} of {had['in']:,}."
                )
                yield Alert(
                    kind="keep_rate_moves", subject=f"{job.job} {source}", message=words, before=first, now=second
                )


def _loss(previous: RefreshRecord | None, now: RefreshRecord, settings: AlertSettings) -> Iterator[Alert]:
    """Training that ends with a loss that is no number, or far above the last one."""
    trained = _job(now, "train")
    if settings.loss_rises is None or trained is None:
        return
    before = finite(previous.final_loss) if previous else None
    after = finite(now.final_loss)
    if after is None:
        if trained.ran or before is not None:
            last = "" if before is None else f"; last time it was {before:.4f}"
            words = f"Training ended without a loss that is a number{last}."
            yield Alert(kind="loss_rises", subject="train", message=words, before=before)
    elif before is not None and before > 0 and after > settings.loss_rises * before:
        words = (
            f"Training ended with a loss of {after:.4f}, {after / before:.2f} times the {before:.4f} of "
            f"refresh {previous.number if previous else 0}."
        )
        yield Alert(kind="loss_rises", subject="train", message=words, before=before, now=after)


def _metrics(previous: RefreshRecord, now: RefreshRecord, settings: AlertSettings) -> Iterator[Alert]:
    """Main metrics of the new model, over all queries of a set, against those of the last refresh's new model."""
    falls = settings.metric_falls
    rows = {_whose(row): row for row in now.metrics if row.get("scope") == "all"}
    for before in previous.metrics if falls is not None else ():
        row, metric = rows.get(_whose(before)), main_metric(before)
        had = finite(before.get(metric))
        if before.get("scope") != "all" or row is None or had is None or falls is None:
            continue
        has = finite(row.get(metric))
        if has is not None and had - has < falls - _ROUNDING:
            continue
        data, language, mode = _whose(row)
        title = f"{data} ({language})" if language else str(data)
        same = before.get("data_fingerprint") == row.get("data_fingerprint")
        words = (
            f"{metric} of the new model on {title}, {mode}, is {'undefined' if has is None else f'{has:.4f}'}; in refresh "
            f"{previous.number} it was {had:.4f}" + ("." if same else ", and the set has changed since.")
        )
        yield Alert(kind="metric_falls", subject=title, message=words, before=had, now=has)


def _whose(row: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return (row.get("data"), row.get("language"), row.get("mode"))


def _job(record: RefreshRecord, name: str) -> JobRecord | None:
    return next((job for job in record.jobs if job.job == name), None)


def _out(counts: Counts) -> int:
    """Pairs that a job let through: those that went in less those dropped."""
    return counts.get("in", 0) - sum(rows for key, rows in counts.items() if key.startswith(_DROP))
