"""What an ablation comes to: a row a variant, a column a set, mean and standard deviation over the seeds.

In:  the finished runs (pipelines.ablation).
Out: `AblationTable`, as JSON, Markdown and for a terminal, laid out as C-Pack's table 3 and M3's tables 5 and 6.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from pipelines.ablation import BESIDE, AblationRun, metrics_of, values_by_query

AVERAGE: Final = "average"

Key = tuple[str, str | None, str]  # data, language, mode


@dataclass(frozen=True)
class Column:
    """One set in one mode, by its main metric."""

    data: str
    language: str | None
    mode: str
    metric: str

    @property
    def title(self) -> str:
        """Its head in the table."""
        words = [self.data, *([self.language] if self.language else []), *([self.mode] if self.mode != "dense" else [])]
        return " ".join(words)


@dataclass(frozen=True)
class Cell:
    """One variant on one set."""

    mean: float
    deviation: float | None  # of the sample (n - 1); None for one seed
    values: tuple[float, ...]  # by seed
    difference: float | None = None  # of the mean to the first variant's; None for it, and where the data differ
    p_value: float | None = None  # paired randomisation over queries, of values that are means over the seeds


@dataclass(frozen=True)
class AblationTable:
    """All of it. A cell that is None: the variant has no such set."""

    seeds: tuple[int, ...]
    columns: list[Column]
    rows: dict[str, list[Cell | None]]  # by variant, then BESIDE; the last cell of several is the mean of all columns
    other_data: list[str]  # columns (titles) whose data are not the same in all variants, and not compared therefore

    def as_json(self) -> dict[str, Any]:
        """For ablation.json."""
        return {
            "seeds": list(self.seeds),
            "columns": [{**asdict(column), "title": column.title} for column in self.columns],
            "rows": [
                {"name": name, "cells": [cell and asdict(cell) for cell in cells]} for name, cells in self.rows.items()
            ],
            "not_compared": self.other_data,
        }


def ablation_table(runs: Sequence[AblationRun]) -> AblationTable:
    """Read the evaluations of all runs."""
    by_variant: dict[str, list[AblationRun]] = {}
    for run in runs:
        by_variant.setdefault(run.variant.name, []).append(run)
    metrics = {name: [_figures(run, "trained") for run in of_variant] for name, of_variant in by_variant.items()}
    columns = list(dict.fromkeys(column for figures in metrics.values() for each in figures for column in each))
    first = next(iter(by_variant))
    prints = {
        column: {each[column][1] for figures in metrics.values() for each in figures if column in each}
        for column in columns
    }
    queries = {name: _mean_values(of_variant) for name, of_variant in by_variant.items()}
    rows: dict[str, list[Cell | None]] = {}
    for name, figures in metrics.items():
        cells = [_cell(figures, column) for column in columns]
        if name != first:
            cells = [
                _against_first(cell, rows[first][place], column, queries[first], queries[name])
                if len(prints[column]) == 1
                else cell
                for place, (cell, column) in enumerate(zip(cells, columns, strict=True))
            ]
        rows[name] = cells
    others = [column.title for column in columns if len(prints[column]) > 1]
    means = {name: _average(cells) for name, cells in rows.items()}
    for name, of_variant in means.items():
        rows[name] += of_variant if name == first or others else [_to_first(each, means[first]) for each in of_variant]
    rows |= _beside(runs[0], columns)
    return AblationTable(tuple(dict.fromkeys(run.seed for run in runs)), columns, rows, others)


def _figures(run: AblationRun, model: str) -> dict[Column, tuple[float, str]]:
    """(main metric, fingerprint of the data) by column."""
    found = {}
    for row in metrics_of(run):
        metric = _main_metric(row)
        value = row.get(metric)
        if row["model"] == model and value is not None:
            mode = "dense" if model == "bm25" else row["mode"]
            found[Column(row["data"], _language(row), mode, metric)] = (float(value), row["data_fingerprint"])
    return found


def _language(row: Mapping[str, Any]) -> str | None:
    """That of the set; of tasks none: the row is for all languages."""
    return None if row["task"] != "retrieval" else row["language"]


def _main_metric(row: Mapping[str, Any]) -> str:
    if "main_metric" in row:
        return str(row["main_metric"])
    return "ndcg@10" if "ndcg@10" in row else "answer_recall@100"


def _cell(figures: Sequence[Mapping[Column, tuple[float, str]]], column: Column) -> Cell | None:
    values = tuple(each[column][0] for each in figures if column in each)
    return _of_values(values) if len(values) == len(figures) else None


def _of_values(values: tuple[float, ...]) -> Cell:
    return Cell(mean(values), stdev(values) if len(values) > 1 else None, values)


def _mean_values(runs: Sequence[AblationRun]) -> dict[Key, Any]:
    """By set the mean over the seeds of every query's values, as a table with query_id."""
    import pyarrow as pa

    tables: dict[Key, list[Any]] = {}
    for run in runs:
        for key, table in values_by_query(run):
            tables.setdefault(key, []).append(table)
    found = {}
    for key, of_key in tables.items():
        names = [name for name in of_key[0].column_names if "@" in name]
        together = pa.concat_tables(of_key).group_by("query_id").aggregate([(name, "mean") for name in names])
        found[key] = together.rename_columns([name.removesuffix("_mean") for name in together.column_names])
    return found


def _against_first(
    cell: Cell | None, first: Cell | None, column: Column, before: Mapping[Key, Any], after: Mapping[Key, Any]
) -> Cell | None:
    if cell is None or first is None:
        return cell
    key = (column.data, column.language, column.mode)
    p_value = None
    if key in before and key in after and column.metric in before[key].column_names:
        from trainer.evaluate import compare

        p_value = compare(before[key], after[key], column.metric).p_value
    return Cell(cell.mean, cell.deviation, cell.values, cell.mean - first.mean, p_value)


def _average(cells: Sequence[Cell | None]) -> list[Cell | None]:
    """The unweighted mean of several columns, as the papers' last one; none of a single column."""
    if len(cells) < 2:
        return []
    known = [cell for cell in cells if cell is not None]
    if len(known) < len(cells):
        return [None]
    return [_of_values(tuple(mean(values) for values in zip(*(each.values for each in known), strict=True)))]


def _to_first(cell: Cell | None, first: Sequence[Cell | None]) -> Cell | None:
    """A mean of all columns with its difference to the first variant's."""
    if cell is None or not first or first[0] is None:
        return cell
    return Cell(cell.mean, cell.deviation, cell.values, cell.mean - first[0].mean)


def _beside(run: AblationRun, columns: Sequence[Column]) -> dict[str, list[Cell | None]]:
    rows: dict[str, list[Cell | None]] = {}
    for model in BESIDE:
        figures = _figures(run, model)
        if figures:
            cells = [_of_values((figures[column][0],)) if column in figures else None for column in columns]
            rows[model] = [*cells, *_average(cells)]
    return rows


def _heads(table: AblationTable) -> list[str]:
    return [
        *(f"{column.title}\n{column.metric}" for column in table.columns),
        *([AVERAGE] if len(table.columns) > 1 else []),
    ]


def ablation_view(table: AblationTable) -> Table:
    """For a terminal: mean ± deviation, and below it the difference to the first variant, * where p < 0.05."""
    view = Table(
        title=f"Ablation, seeds {', '.join(map(str, table.seeds))}", title_justify="left", header_style="bold", box=None
    )
    view.add_column("variant", overflow="fold")
    for head in _heads(table):
        view.add_column(escape(head), justify="right")
    for name, cells in table.rows.items():
        style = "dim" if name in BESIDE else ""
        view.add_row(escape(name), *(_shown(cell) for cell in cells), style=style)
    notes = ["below each value the difference to the first variant; *: p < 0.05, paired randomisation over queries"]
    if table.other_data:
        notes.append(f"not compared, since variants differ in their data: {', '.join(table.other_data)}")
    view.caption, view.caption_justify = escape("; ".join(notes)), "left"
    return view


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    shown = f"{cell.mean:.4f}" + ("" if cell.deviation is None else f" ±{cell.deviation:.4f}")
    if cell.difference is None:
        return shown
    colour = "green" if cell.difference > 0 else "red" if cell.difference < 0 else "dim"
    star = "*" if cell.p_value is not None and cell.p_value < 0.05 else ""
    return f"{shown}\n[{colour}]{cell.difference:+.4f}{star}[/]"


def as_markdown(table: AblationTable) -> str:
    """The same as a Markdown table."""
    heads = [head.replace("\n", ", ").replace("|", "\\|") for head in _heads(table)]
    lines = [f"| variant | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for name, cells in table.rows.items():
        figures = [_plain(cell) for cell in cells]
        lines.append(f"| {name.replace('|', chr(92) + '|')} | {' | '.join(figures)} |")
    seeds = ", ".join(map(str, table.seeds))
    lines += [
        "",
        f"Mean ± standard deviation over the seeds {seeds}; in brackets the difference to the first variant, * where p < 0.05.",
    ]
    return "\n".join(lines) + "\n"


def _plain(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    shown = f"{cell.mean:.4f}" + ("" if cell.deviation is None else f" ± {cell.deviation:.4f}")
    star = "*" if cell.p_value is not None and cell.p_value < 0.05 else ""
    return shown if cell.difference is None else f"{shown} ({cell.difference:+.4f}{star})"
