"""Published results of the papers, for the benchmarks that were evaluated: published_results.yaml, one row a figure.

A benchmark is told by name: a set's folder (T2Retrieval, narrativeqa) or its layout (miracl, mkqa, mldr). Means over languages
or over several sets are given where all that they are made of was evaluated.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, field_validator

from pipelines.evaluate_sets import EvaluationSet

FILE: Final = "published_results.yaml"
AVERAGE: Final = "average"
NO_VALUE: Final = "-"


@dataclass(frozen=True)
class PublishedRow:
    """One figure of a paper."""

    benchmark: str
    data: str | None  # the evaluated set it stands beside; None for means over several sets
    language: str | None  # "average" for a mean over languages
    metric: str
    model: str
    mode: str
    value: float  # 0 to 1, as ours
    source: str

    def as_json(self) -> dict[str, Any]:
        """For metrics.comparisons.json."""
        return {**asdict(self), "published": True}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    mode: str
    values: tuple[str, ...]

    @field_validator("values", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        return tuple(given.split())


class PublishedTable(BaseModel):
    """One table: a metric of several models by language."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmark: str
    split: str
    metric: str
    source: str
    columns: tuple[str, ...]
    models: tuple[_Model, ...]
    sets: tuple[str, ...] = ()

    @field_validator("columns", "sets", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        return tuple(given.split())


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """The tables of published_results.yaml."""
    content = yaml.safe_load(files("pipelines").joinpath(FILE).read_text("utf-8"))
    return tuple(PublishedTable.model_validate(table) for table in content)


def published_rows(sets: Sequence[EvaluationSet]) -> list[PublishedRow]:
    """The published figures that belong beside these sets, table by table."""
    return [row for table in published_tables() for row in _rows(table, sets)]


def _rows(table: PublishedTable, sets: Sequence[EvaluationSet]) -> Iterator[PublishedRow]:
    if table.sets:
        if set(table.sets) <= {folded(of.benchmark) for of in sets}:
            yield from _column(table, AVERAGE, None, None)
        return
    meant = [of for of in sets if is_of(of, table)]
    divided = _languages_of(table.benchmark)
    for column in table.columns:
        if column != AVERAGE:
            for of in meant:
                if of.language == column:
                    yield from _column(table, column, of.name, column)
        elif divided and divided <= {of.language for of in meant}:
            yield from _column(table, column, meant[0].name, AVERAGE)
        elif not divided:
            for of in meant:
                yield from _column(table, column, of.name, of.language)


def is_of(of: EvaluationSet, table: PublishedTable) -> bool:
    """Whether a set is what a table is of, or one of those that its means are over: MKQA's English is in no mean (M3 table 2)."""
    if table.sets:
        return folded(of.benchmark) in table.sets
    split = of.folder.split in (None, table.split) or table.split == "all"
    languages = _languages_of(table.benchmark)
    return folded(of.benchmark) == table.benchmark and split and (not languages or of.language in languages)


def _languages_of(benchmark: str) -> set[str]:
    tables = (table for table in published_tables() if table.benchmark == benchmark)
    return {column for table in tables for column in table.columns if column != AVERAGE}


def _column(table: PublishedTable, column: str, data: str | None, language: str | None) -> Iterator[PublishedRow]:
    place = table.columns.index(column)
    for model in table.models:
        if model.values[place] != NO_VALUE:
            value = round(float(model.values[place]) / 100, 6)
            yield PublishedRow(
                table.benchmark, data, language, table.metric, model.model, model.mode, value, table.source
            )


def folded(name: str) -> str:
    """A benchmark's name as tables have it: lower case, without -classification and the like behind it."""
    return re.sub(r"[-_]?classification$|[-_](reranking|retrieval)$", "", name.lower())
