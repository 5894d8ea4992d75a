"""What synthesize did in each language, and some kept questions beside their paragraphs."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from pipelines.job import module_of
from pipelines.question_rows import QUESTIONS
from pipelines.report.distributions import Tell
from pipelines.report.finished_run import FinishedRun
from pipelines.report.row_choice import SmallestIds, rows_at
from pipelines.report.text import Clipped
from pipelines.shards import read_batches
from sources.schema import text_ids

SHOWN_QUESTIONS: Final = 12
_DROP: Final = "drop:"


@dataclass(frozen=True)
class LanguageFigures:
    """One language: documents asked about and beside them, questions, what they cost."""

    language: str
    documents: int
    distractors: int
    asked: int
    kept: int
    rejected: list[tuple[str, str, int]]  # (reason, explanation, questions), the most frequent first
    input_tokens: int
    output_tokens: int
    seconds: float
    money: float


@dataclass(frozen=True)
class WrittenQuestion:
    question: Clipped
    paragraph: Clipped
    language: str
    source: str
    title: str | None
    split: str
    rank: int | None  # of the paragraph in the pool, 1 is the nearest


@dataclass(frozen=True)
class Synthesized:
    languages: list[LanguageFigures]
    questions: list[WrittenQuestion]
    details: dict[str, Any]
    notes: list[str]


def synthesized(finished: FinishedRun, tell: Tell) -> Synthesized | None:
    """None where synthesize is not finished, or not in the recipe."""
    manifest = finished.manifests.get("synthesize")
    if manifest is None:
        return None
    rejected: dict[str, Counter[str]] = {}
    for of_source in manifest.languages.values():
        for language, counts in of_source.items():
            found = {name.removeprefix(_DROP): rows for name, rows in counts.items() if name.startswith(_DROP)}
            rejected.setdefault(language, Counter()).update(found)
    figures = manifest.details["by_language"].items()
    rows = [_figures(language, values, rejected.get(language, Counter())) for language, values in figures]
    return Synthesized(
        rows, _questions(finished, tell), manifest.details, module_of("synthesize").notes(manifest.details)
    )


def _figures(language: str, values: dict[str, Any], rejected: Counter[str]) -> LanguageFigures:
    known = module_of("synthesize").REASONS
    documents = values["documents"]
    ordered = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    return LanguageFigures(
        language=language,
        documents=sum(rows for split, rows in documents.items() if split != "corpus"),
        distractors=documents.get("corpus", 0),
        asked=values.get("paragraphs", 0),
        kept=values.get("kept", 0),
        rejected=[(reason, known.get(reason, ""), rows) for reason, rows in ordered],
        input_tokens=values.get("input_tokens", 0),
        output_tokens=values.get("output_tokens", 0),
        seconds=values.get("seconds", 0.0),
        money=values.get("money", 0.0),
    )


def _questions(finished: FinishedRun, tell: Tell) -> list[WrittenQuestion]:
    """In turn from each language, those of the smallest hashes."""
    chosen = SmallestIds(SHOWN_QUESTIONS)
    for url in finished.urls("synthesize", QUESTIONS):
        first_row = 0
        for batch in read_batches(url, ["question_id", "language"]):
            chosen.add(url, first_row, text_ids(batch["question_id"]), batch["language"])
            first_row += batch.num_rows
            tell(batch.num_rows)
    places = [place for _, place in chosen.in_turn(SHOWN_QUESTIONS)]
    columns = ["question", "paragraph", "language", "source", "title", "split", "rank_in_pool"]
    rows = rows_at([(place.url, place.row) for place in places], columns)
    return [_question(rows[place.url, place.row]) for place in places]


def _question(row: dict[str, Any]) -> WrittenQuestion:
    return WrittenQuestion(
        Clipped.of(row["question"]),
        Clipped.of(row["paragraph"]),
        row["language"],
        row["source"],
        row["title"],
        row["split"],
        row["rank_in_pool"],
    )
