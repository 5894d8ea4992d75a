"""The tables of `pairmill evaluate`: systems side by side on each set, published results beside them, and by language."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from pipelines.evaluate_compare import SetComparison, by_set, lost_modes, partner_of
from pipelines.evaluate_published import PublishedRow
from pipelines.evaluate_systems import RUN_MODE, MetricRow, Result, shown_name

_LANGUAGES_SHOWN = 30


def evaluation_view(
    results: Sequence[Result], comparisons: Sequence[SetComparison], published: Sequence[PublishedRow] = ()
) -> Group:
    """All of it for a terminal."""
    found = {(each.data, each.language, each.second, each.second_mode): each for each in comparisons}
    parts: list[RenderableType] = []
    for of_set in by_set(results):
        of = of_set[0].of
        beside = [row for row in published if (row.data, row.language) == (of.name, of.language)]
        parts += [_set_table(of_set, found, beside), *_comparison_lines(of_set, found), *_groups_table(of_set), ""]
    means = [row for row in published if row.data is None or row.language == "average"]
    if means:
        parts += [_means_table(means, results), ""]
    if any(each.main and each.main.p_value is not None for each in comparisons):
        parts.append("[dim]Δ: difference to the first system; p: two-sided paired randomisation test.[/]")
    return Group(*parts)


def _set_table(
    of_set: Sequence[Result],
    found: dict[tuple[str, str | None, str, str], SetComparison],
    published: Sequence[PublishedRow],
) -> Table:
    of, metrics = of_set[0].of, _metrics(of_set)
    table = _table(f"{of.title}, {of.kind}: {_size(of_set[0])}", "system")
    for metric in metrics:
        table.add_column(metric, justify="right", no_wrap=True)
    comparing = any(_key(each) in found for each in of_set)
    for column in ("Δ", "p") if comparing else ():
        table.add_column(column, justify="right", no_wrap=True)
    for each in of_set:
        values = [_number(each.overall.get(metric)) for metric in metrics]
        table.add_row(_named(each), *values, *(_difference(found.get(_key(each))) if comparing else ()))
    for row in published:
        values = [_number(row.value) if metric == row.metric else "" for metric in metrics]
        table.add_row(f"{escape(row.model)} {row.mode} [dim](published)[/]", *values, style="italic")
    if published:
        table.caption = f"published: {escape('; '.join(dict.fromkeys(row.source for row in published)))}"
    return table


def _key(each: Result) -> tuple[str, str | None, str, str]:
    return (each.of.name, each.of.language, each.system, each.mode)


def _named(each: Result) -> str:
    """A system and its mode; BM25 is its own mode."""
    name = escape(shown_name(each.system))
    return name if each.mode in ("bm25", RUN_MODE) else f"{name} [dim]{each.mode}[/]"


def _metrics(of_set: Sequence[Result]) -> list[str]:
    """The main metric, then the others of the first system that all systems have, at most three of them."""
    main = of_set[0].metric
    told = ("queries", "corpus", "examples")
    others = [
        name
        for name, value in of_set[0].overall.items()
        if name not in (main, *told) and isinstance(value, float) and all(name in each.overall for each in of_set)
    ]
    return [main, *others[:3]]


def _size(result: Result) -> str:
    row = result.overall
    if result.of.task is not None:
        return f"{row['examples']:,} examples"
    return f"{row['queries']:,} queries, {row['corpus']:,} passages"


def _difference(beside: SetComparison | None) -> tuple[str, str]:
    main = beside.main if beside else None
    if main is None:
        return ("", "")
    colour = "green" if main.difference > 0 else "red" if main.difference < 0 else "dim"
    return (f"[{colour}]{main.difference:+.4f}[/]", "" if main.p_value is None else _p_value(main.p_value))


def _comparison_lines(
    of_set: Sequence[Result], found: dict[tuple[str, str | None, str, str], SetComparison]
) -> Iterator[str]:
    """Each difference with its interval, and modes that a system lacks, in words."""
    for each in of_set:
        beside = found.get(_key(each))
        main = beside.main if beside else None
        if beside is not None and main is not None and main.p_value is not None:
            yield (
                f"  {escape(shown_name(beside.second))} {beside.second_mode} against {escape(shown_name(beside.first))} "
                f"{beside.first_mode}: {main.metric} {main.difference:+.4f} (95 %: {main.low:+.4f} to {main.high:+.4f}); "
                f"{main.better:,} queries better, {main.worse:,} worse"
            )
    of_these = [found[_key(each)] for each in of_set if _key(each) in found]
    for system in dict.fromkeys(each.second for each in of_these):
        yield from (f"  {escape(words)}" for words in lost_modes(of_these, system))


def _p_value(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-"


def _groups_table(of_set: Sequence[Result]) -> Iterator[Table]:
    """The main metric by language and kind, where a set has several."""
    of, metric = of_set[0].of, of_set[0].metric
    names = [_group(row) for row in of_set[0].rows if row is not of_set[0].overall]
    names = [name for name in names if name]
    if not names:
        return
    table = _table(f"{of.title}: {metric} by language and kind", "")
    table.add_column("", justify="right")
    for each in of_set:
        table.add_column(_named(each), justify="right")
    for name in names[:_LANGUAGES_SHOWN]:
        rows = [next((row for row in each.rows if _group(row) == name), None) for each in of_set]
        size = next(row.get("queries") or row.get("examples") for row in rows if row)
        values = [_beside_partner(each, of_set, name, metric) for each in of_set]
        table.add_row(escape(name), f"{size:,}", *values)
    if len(names) > _LANGUAGES_SHOWN:
        table.caption = f"and {len(names) - _LANGUAGES_SHOWN} more in the file"
    yield table


def _group(row: dict[str, str | int | float | None]) -> str:
    """The name of a row's queries; "" of all queries."""
    if row.get("kind") not in (None, "all"):
        return str(row["kind"])
    return str(row["language"] or "")


def _beside_partner(each: Result, of_set: Sequence[Result], name: str, metric: str) -> str:
    value = _value(each, name, metric)
    partner = partner_of(each, of_set)
    before = None if partner is None else _value(partner, name, metric)
    if value is None:
        return "-"
    if before is None:
        return f"{value:.4f}"
    colour = "green" if value > before else "red" if value < before else "dim"
    return f"{value:.4f} [{colour}]{value - before:+.3f}[/]"


def _value(result: Result, name: str, metric: str) -> float | None:
    row = next((row for row in result.rows if row is not result.overall and _group(row) == name), None)
    value = None if row is None else row.get(metric)
    return float(value) if isinstance(value, float) else None


def _means_table(published: Sequence[PublishedRow], results: Sequence[Result]) -> Table:
    """Means over languages or sets: those published, and ours of the same sets."""
    table = _table("Means", "benchmark")
    for column in ("metric", "system", "mode"):
        table.add_column(column)
    table.add_column("mean", justify="right")
    for benchmark, metric in dict.fromkeys((row.benchmark, row.metric) for row in published):
        for system, mode, value in means_of(results, benchmark, metric):
            table.add_row(benchmark, metric, escape(shown_name(system)), mode, f"{value:.4f}")
        for row in published:
            if (row.benchmark, row.metric) == (benchmark, metric):
                named = f"{escape(row.model)} [dim](published)[/]"
                table.add_row(benchmark, metric, named, row.mode, f"{row.value:.4f}", style="italic")
    table.caption = f"published: {escape('; '.join(dict.fromkeys(row.source for row in published)))}"
    return table


def means_of(results: Sequence[Result], benchmark: str, metric: str) -> list[tuple[str, str, float]]:
    """(system, mode, unweighted mean) over the sets of a benchmark that a published mean is of."""
    from pipelines.evaluate_published import is_of, published_tables

    table = next(each for each in published_tables() if (each.benchmark, each.metric) == (benchmark, metric))
    values: dict[tuple[str, str], list[float]] = {}
    for result in results:
        value = result.overall.get(metric)
        if is_of(result.of, table) and isinstance(value, float):
            values.setdefault((result.system, result.mode), []).append(value)
    most = max(map(len, values.values()), default=0)
    return [(*system, sum(each) / len(each)) for system, each in values.items() if len(each) == most]


def mteb_view(rows: Sequence[MetricRow]) -> Table:
    """The main metrics of mteb's own tasks: a row a task, split and language, a column a model."""
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    table = _table("mteb", "task")
    for column in ("split", "language", "metric"):
        table.add_column(column, overflow="fold")
    for model in models:
        table.add_column(escape(shown_name(model)), justify="right", no_wrap=True)
    groups: dict[tuple[str, ...], dict[str, MetricRow]] = {}
    for row in rows:
        key = tuple(str(row[name] or "") for name in ("data", "split", "language", "main_metric"))
        groups.setdefault(key, {})[str(row["model"])] = row
    for key, of_group in groups.items():
        values = [of_group.get(model, {}).get("main_score", of_group.get(model, {}).get(key[3])) for model in models]
        table.add_row(*map(escape, key), *map(_number, values))
    return table


def files_line(files: Sequence[Path]) -> str:
    """Which files were written."""
    return f"Written: {', '.join(map(str, files))}"


def _table(title: str, first: str) -> Table:
    table = Table(title=escape(title), title_justify="left", header_style="bold", box=None, padding=(0, 1, 0, 0))
    table.caption_justify = "left"
    table.add_column(first, overflow="fold")
    return table
