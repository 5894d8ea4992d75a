"""What each rule of a filter drops on a sample, alone and after the rules before it, with texts on both sides of its
threshold: `pairmill filter --explain`."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from filters.decide import failures
from filters.facts import Facts, Side
from filters.measure import measure
from filters.rules import RULES, Rule
from filters.settings import FilterSettings
from pipelines.filter_input import ROWS

SHOWN_CHARACTERS: Final = 120


@dataclass(frozen=True)
class Example:
    """A pair beside a threshold: what was measured on which side, and what the threshold is there."""

    query: str
    positive: str
    language: str  # of the side: claimed, else measured
    side: str
    value: float | None  # None where the rule asks for more than one number
    threshold: float | None


@dataclass(frozen=True)
class Effect:
    """What one rule does to the sample."""

    setting: str
    threshold: Any
    reason: str
    explanation: str
    alone: int  # rows it drops by itself
    first: int  # rows it is the first to drop, in the order of the rules
    kept: list[Example]  # the nearest to the threshold that it lets pass
    dropped: list[Example]  # the nearest beyond


@dataclass(frozen=True)
class Explanation:
    """`rows` of `seen` pairs were looked at; `passed` pass all rules."""

    seen: int
    rows: int
    passed: int
    effects: list[Effect]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class _Seen:
    """What is gathered of one rule over the batches: counts, and candidates as (distance, row of the table, side ...)."""

    alone: int = 0
    first: int = 0

    def __post_init__(self) -> None:
        self.kept: list[tuple[float, int, Example]] = []
        self.dropped: list[tuple[float, int, Example]] = []


def explain(pairs: pa.Table, seen: int, settings: FilterSettings, examples: int) -> Explanation:
    """Measure and decide a table of pairs, rule by rule."""
    found: dict[int, _Seen] = {}
    passed = row = 0
    for batch in pairs.combine_chunks().to_batches(max_chunksize=ROWS):
        measured = measure(batch, settings, settings.families() | {"text"})
        facts = Facts(measured, settings, batch["kind"], batch["query_lang"], batch["positive_lang"])
        open_rows = np.ones(batch.num_rows, np.bool_)
        for number, failed in failures(facts):
            rule = found.setdefault(number, _Seen())
            rule.alone += int(failed.sum())
            rule.first += int((failed & open_rows).sum())
            open_rows &= ~failed
            _add_examples(rule, RULES[number], facts, batch, failed, row, examples)
        passed += int(open_rows.sum())
        row += batch.num_rows
    effects = [_effect(RULES[number], of_rule, settings) for number, of_rule in found.items()]
    return Explanation(seen, pairs.num_rows, passed, effects)


def _effect(rule: Rule, seen: _Seen, settings: FilterSettings) -> Effect:
    kept, dropped = ([example for _, _, example in examples] for examples in (seen.kept, seen.dropped))
    threshold = getattr(settings, rule.setting)
    if rule.setting == "personal_data":
        threshold = ", ".join(settings.personal_data.kinds)
    return Effect(rule.setting, threshold, rule.reason, rule.explanation, seen.alone, seen.first, kept, dropped)


def _add_examples(
    seen: _Seen,
    rule: Rule,
    facts: Facts,
    batch: pa.RecordBatch,
    failed: NDArray[np.bool_],
    first_row: int,
    examples: int,
) -> None:
    """Keep the `examples` pairs nearest to the threshold on each side; the earlier where two are as near."""
    if rule.drops in ("judged", "true"):
        for row in np.flatnonzero(failed)[:examples].tolist():
            seen.dropped.append((0.0, first_row + row, _example(facts, batch, row, "pair", None, None)))
        del seen.dropped[examples:]
        return
    distances = np.stack([rule.distance(facts, side).astype(np.float64) for side in rule.sides])
    distances[~np.isfinite(distances)] = np.nan  # where the rule does not apply
    judged = np.flatnonzero(~np.isnan(distances).all(axis=0))
    if not len(judged):
        return
    sides = np.nanargmax(distances[:, judged], axis=0)
    worst = distances[sides, judged]
    for nearest, chosen in ((seen.kept, worst <= 0), (seen.dropped, worst > 0)):
        places = np.flatnonzero(chosen)
        places = places[np.argsort(np.abs(worst[places]), kind="stable")[:examples]]
        for place in places.tolist():
            row, side = int(judged[place]), rule.sides[int(sides[place])]
            value = float(facts.of_side(rule.measure, side)[row])
            limit = float(np.broadcast_to(facts.limit(rule.setting, side), len(failed))[row])
            found = _example(facts, batch, row, side, value, limit)
            nearest.append((abs(float(worst[place])), first_row + row, found))
        nearest.sort(key=lambda each: each[:2])
        del nearest[examples:]


def _example(
    facts: Facts, batch: pa.RecordBatch, row: int, side: Side, value: float | None, threshold: float | None
) -> Example:
    query, positive = (_shortened(batch[name][row].as_py()) for name in ("query", "positive"))
    return Example(query, positive, facts.language(side, row), side, value, threshold)


def explanation_table(explanation: Explanation) -> Group:
    """The rules with what they drop, then the examples of those that dropped something."""
    table = Table(header_style="bold")
    table.add_column("rule", overflow="fold")
    table.add_column("reason", overflow="fold")
    for column in ("alone", "%", "in order", "%"):
        table.add_column(column, justify="right")
    idle = [effect.setting for effect in explanation.effects if not effect.alone]
    for effect in explanation.effects:
        if effect.alone:
            shown = [
                text for rows in (effect.alone, effect.first) for text in (f"{rows:,}", _percent(rows, explanation))
            ]
            table.add_row(escape(f"{effect.setting} = {_threshold(effect.threshold)}"), effect.reason, *shown)
    dropped = explanation.rows - explanation.passed
    table.add_section()
    table.add_row("all rules together", "", "", "", f"{dropped:,}", _percent(dropped, explanation))
    of_all = f"{explanation.rows:,} of {explanation.seen:,} pairs looked at, {explanation.passed:,} pass"
    nothing = f"drop nothing here: {', '.join(dict.fromkeys(idle))}" if idle else ""
    return Group(table, of_all, escape(nothing), *_shown_examples(explanation.effects))


def _shown_examples(effects: Sequence[Effect]) -> Iterator[RenderableType]:
    for effect in effects:
        if not effect.alone:
            continue
        yield ""
        yield f"[bold]{escape(f'{effect.setting} = {_threshold(effect.threshold)}')}[/]  {escape(effect.explanation)}"
        for word, colour, examples in (("kept", "green", effect.kept), ("dropped", "red", effect.dropped)):
            for example in examples:
                number = "" if example.value is None else f" {example.side} {example.value:.4g}"
                own = example.threshold is not None and example.threshold != effect.threshold  # of its language
                limit = f" (threshold {example.threshold:.4g})" if own else ""
                texts = escape(f"{example.language}  {example.query}  →  {example.positive}")
                yield f"  [{colour}]{word}[/]{number}{limit}  {texts}"


def _threshold(value: Any) -> str:
    return "by language" if value is None else str(value)


def _percent(rows: int, explanation: Explanation) -> str:
    return f"{100 * rows / max(explanation.rows, 1):.2f}"


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
