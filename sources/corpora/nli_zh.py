"""NLI-zh (shibing624/nli_zh) and the sets it gathers: ATEC, BQ, LCQMC, PAWSX, STS-B; AFQMC has the same layout.

Label 1 makes a pair; label 0 a negative of the pairs with the same first sentence, as C-Pack used them. STS-B is known by
its name in the path: its labels are grades from 0 to 5, kept as `label`; rows below `min_grade` are knowingly no pair.
PAWS-X comes in seven languages, each in a folder of its own.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import Field

from sources.families.negatives import RawNegative
from sources.families.path_language import language_of_path
from sources.families.similarity import number_of, similarity
from sources.record_formats import Format, Record
from sources.records import BadRecord, Layout, NegativesSettings, RawPair, record_source
from sources.source import Split

_GRADED: Final = re.compile(r"(?<![a-z])sts-?b", re.IGNORECASE)

_language_of_folder: Final = language_of_path(r"x-final/([a-z]{2})/")


def _language(split: Split) -> str:
    return _language_of_folder(split) or "zho_Hans"


class NliZhSettings(NegativesSettings):
    """Settings of nli_zh."""

    min_grade: float = Field(4, ge=0, le=5, description="STS-B: least grade of a pair, from 0 to 5")


def _judged(record: Record, settings: NliZhSettings) -> Iterator[RawPair | RawNegative]:
    return similarity(record["sentence1"], record["sentence2"], record["label"])


def _graded(record: Record, settings: NliZhSettings) -> Iterator[RawPair]:
    grade = number_of(record["label"])
    if grade is not None and not 0 <= grade <= 5:
        raise BadRecord("unknown_label", f"label: expected a grade from 0 to 5, found {grade:g}")
    if grade is not None and grade >= settings.min_grade:
        yield RawPair(record["sentence1"], record["sentence2"], label=grade)


def _layouts(split: Split, settings: NliZhSettings) -> Sequence[Layout]:
    graded = _GRADED.search("/".join(split.path.split("/")[-2:]))
    pairs = _graded if graded else _judged
    return [Layout({"sentence1": str, "sentence2": str, "label": kind}, pairs) for kind in (str, int, float)]


SOURCE: Final = record_source(
    name="nli_zh",
    summary="Chinese pairs of sentences judged for similarity: ATEC, BQ, LCQMC, PAWSX, STS-B",
    kinds=("paraphrase",),
    languages="zho_Hans; PAWS-X's tables as their folders say",
    layout="SET.{train,valid,test}.data (a table without a header: sentence1, sentence2, label), hub rows, AFQMC's JSON "
    "lines, PAWS-X's tables with an id: the same fields; STS-B in the name of the file or its folder",
    license="those of the sets; the collection is CC-BY-4.0",
    obtain="https://huggingface.co/datasets/shibing624/nli_zh",
    verified="code that reads the .data files; real rows (AFQMC, PAWS-X)",
    layouts=_layouts,
    Settings=NliZhSettings,
    language=_language,
    format=Format(
        other="tsv", columns=(("sentence1", "sentence2", "label"), ("id", "sentence1", "sentence2", "label"))
    ),
    gathers_negatives=True,
)
