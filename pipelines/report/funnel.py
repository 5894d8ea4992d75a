"""The funnel: rows in, out and dropped, by job, source, language and reason, from the manifests alone."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pipelines.job import HELD_OUT, module_of
from pipelines.manifest import Manifest
from pipelines.report.charts import Segment, segments
from pipelines.report.finished_run import FinishedRun

FUNNEL_JOBS: Final = (
    "extract",
    "synthesize",
    "filter",
    "decontaminate",
    "dedup",
    "score",
    "pack",
)  # mine drops no pair
_BESIDE: Final = "synthesize"  # what comes in are paragraphs, and extract's pairs pass it by: no stage of the funnel
LANGUAGES_SHOWN: Final = 12
_DROP: Final = "drop:"

# Of sources.schema.make_pairs, which extract and every source adapter go through.
EXTRACT_REASONS: Final = {
    "empty_query": "Nothing was left of the query when control characters and white space were taken out.",
    "empty_positive": "Nothing was left of the positive when control characters and white space were taken out.",
    "query_equals_positive": "The two sides are the same text.",
    "licence_not_allowed": "Its licence is not among `licences.only`, or it names none.",
    "forgotten": "The document was taken down (pairmill forget): its rows are counted, and kept nowhere.",
}


@dataclass(frozen=True)
class Reason:
    """Why a job dropped pairs. `anchor` is made of numbers alone: no string of the data enters a link."""

    job: str
    name: str
    explanation: str
    rows: int
    anchor: str


@dataclass(frozen=True)
class Row:
    """One source in one job."""

    source: str
    rows_in: int
    rows_out: int
    dropped: list[tuple[Reason, int]]
    bar: list[Segment]


@dataclass(frozen=True)
class LanguageRow:
    """One language or direction of one source in one job."""

    job: str
    language: str
    row: Row


@dataclass(frozen=True)
class Stage:
    """One job: its rows by source, and its bar in the picture, whose whole width is the largest stage's rows in."""

    job: str
    rows_in: int
    rows_out: int
    held_out: int
    rows: list[Row]
    bar: list[Segment]
    connector: (
        str  # points of the polygon that leads to the next stage's bar, in a box of 100 x 100; "" behind the last
    )


def explanations(job: str) -> Mapping[str, str]:
    """What a job says of its reasons."""
    return EXTRACT_REASONS if job == "extract" else getattr(module_of(job), "REASONS", {})


def reasons(finished: FinishedRun) -> list[Reason]:
    """Every reason that dropped a pair, by job, the most frequent first."""
    found: list[Reason] = []
    for job in FUNNEL_JOBS:
        manifest = finished.manifests.get(job)
        if manifest is None:
            continue
        known = explanations(job)
        for name, rows in sorted(manifest.dropped.items(), key=lambda item: (-item[1], item[0])):
            if rows:
                found.append(Reason(job, name, _sentence(known.get(name, "")), rows, f"reason-{len(found) + 1}"))
    return found


def _sentence(words: str) -> str:
    """With a capital, but where it begins with a setting's name, and a full stop."""
    if not words:
        return ""
    capital = words[0] if {".", "_"} & set(words.partition(" ")[0]) else words[0].upper()
    return f"{capital}{words[1:].rstrip('.')}."


def stages(finished: FinishedRun, all_reasons: list[Reason]) -> list[Stage]:
    manifests = [finished.manifests[job] for job in FUNNEL_JOBS if job in finished.manifests and job != _BESIDE]
    widest = max((manifest.rows_in for manifest in manifests), default=0)
    following: list[Manifest | None] = [*manifests[1:], None]
    return [
        _stage(finished, manifest, following[number], all_reasons, widest) for number, manifest in enumerate(manifests)
    ]


def by_language(finished: FinishedRun, all_reasons: list[Reason]) -> list[LanguageRow]:
    """The most frequent languages of each source in each job that drops rows, the others summed up; sources of one
    language are left out."""
    rows = []
    for manifest in (finished.manifests[job] for job in FUNNEL_JOBS if job in finished.manifests):
        of_job = {reason.name: reason for reason in all_reasons if reason.job == manifest.job}
        for source in manifest.languages if of_job else ():
            for language, counts in frequent_languages(manifest, source, LANGUAGES_SHOWN):
                rows.append(LanguageRow(manifest.job, language, _row(source, counts, of_job)))
    return rows


def frequent_languages(manifest: Manifest, source: str, shown: int) -> list[tuple[str, Mapping[str, int]]]:
    """(language, counts) of a source of several languages, the most frequent first; those beyond `shown` as one row."""
    languages = {language: counts for language, counts in manifest.languages[source].items() if counts.get("in")}
    if len(languages) < 2:
        return []
    ordered = sorted(languages.items(), key=lambda item: (-item[1]["in"], item[0]))
    found: list[tuple[str, Mapping[str, int]]] = [*ordered[:shown]]
    rest = ordered[shown:]
    if rest:
        total: Counter[str] = Counter()
        for _, counts in rest:
            total.update(counts)
        found.append((f"{len(rest)} more", total))
    return found


def _stage(
    finished: FinishedRun, manifest: Manifest, following: Manifest | None, all_reasons: list[Reason], widest: int
) -> Stage:
    job = manifest.job
    held_out = sum(file.rows for file in finished.files(job, HELD_OUT))
    kept = manifest.rows_out - held_out
    of_job = {reason.name: reason for reason in all_reasons if reason.job == job}
    parts = [(kept, "kept", f"{kept:,} kept"), (held_out, "held-out", f"{held_out:,} held out for evaluation")]
    parts += [(r.rows, "dropped", f"{r.rows:,} dropped: {r.name}. {r.explanation}") for r in of_job.values()]
    return Stage(
        job,
        manifest.rows_in,
        manifest.rows_out,
        held_out,
        [_row(source, counts, of_job) for source, counts in manifest.funnel.items() if counts.get("in")],
        segments(parts, widest or 1),
        _connector(kept if following and following.job == "pack" else manifest.rows_out, following, widest),
    )


def _connector(rows: int, following: Manifest | None, widest: int) -> str:
    if following is None or not widest:
        return ""
    top, bottom = 100 * rows / widest, 100 * following.rows_in / widest
    return f"0,0 {top:.3f},0 {bottom:.3f},100 0,100"


def _row(source: str, counts: Mapping[str, int], of_job: Mapping[str, Reason]) -> Row:
    dropped = [
        (of_job[name], rows)
        for key, rows in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if key.startswith(_DROP) and rows and (name := key.removeprefix(_DROP)) in of_job
    ]
    rows_in, lost = counts["in"], sum(rows for _, rows in dropped)
    bar = segments([(rows_in - lost, "kept", ""), (lost, "dropped", "")], rows_in)
    return Row(source, rows_in, rows_in - lost, dropped, bar)
