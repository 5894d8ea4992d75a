"""The gate: whether a newly trained model takes the place of the current version.

In:  what job evaluate left: evaluate/metrics.json and metrics.queries.parquet, systems "trained" and "current".
Out: a `GateDecision` with a row a set, and one sentence of reason.

A set fails where more than `max_loss` of its metric is lost and the paired randomisation test of
trainer.evaluate.significance says that it is no chance. Tasks have no values by query: there the difference alone counts.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipelines import storage
from pipelines.errors import JobFailed, UserError
from pipelines.evaluate_results import queries_file
from pipelines.job import finished
from pipelines.jobs.evaluate import METRICS, OTHER, TRAINED, planned_settings
from pipelines.manifest import read_manifest
from pipelines.recipe import Recipe
from pipelines.refresh import versions
from pipelines.refresh.metric_rows import finite, main_metric
from pipelines.refresh.records import GateDecision, SetDecision
from pipelines.refresh.settings import GateSettings
from pipelines.run_folder import RunFolder

CURRENT: Final = "current"  # the current version's name in evaluate.others
_ROUNDING: Final = 1e-9  # 0.8 - 0.7 is a little more than 0.1

Row = dict[str, Any]


@dataclass(frozen=True)
class _Set:
    """An evaluation set in one language, with the rows over all its queries that each of the two models has, by mode."""

    data: str
    language: str | None
    new: dict[str, Row]
    current: dict[str, Row]

    @property
    def title(self) -> str:
        return f"{self.data} ({self.language})" if self.language else self.data

    @property
    def is_retrieval(self) -> bool:
        return any(row.get("task") == "retrieval" for row in (*self.new.values(), *self.current.values()))


def decide(recipe: Recipe, run: RunFolder, *, even_rejected: bool = False) -> GateDecision:
    """Whether train's model is to become the current version. What was rolled back by hand is not, unless `even_rejected`.

    Raises UserError for a set, metric or mode that the evaluation does not have, JobFailed where evaluate did not run on
    these two models.
    """
    training = finished(run, "train").fingerprint
    new = versions.trained_fingerprint(run)
    turned_down = versions.rejected(run, model=new, train=training)
    if turned_down is not None and not even_rejected:
        whose = f"Version {turned_down.version}" if turned_down.version else "This model"
        when = turned_down.when[:10]
        return GateDecision(
            promoted=False,
            reason=f"{whose} was turned down by a roll-back on {when}; only a newer training is promoted.",
        )
    check_settings(recipe, run)
    current = versions.current(run)
    if current is None:
        return GateDecision(promoted=True, reason="There is no promoted version yet: this is the first.")
    if current.fingerprint == new:
        return GateDecision(promoted=True, reason=f"The new model is version {current.number}, bit for bit.")
    if recipe.evaluate is None:
        return GateDecision(promoted=True, reason="The recipe has no section evaluate: nothing was compared.")
    _check_evaluated(run, training, current.fingerprint)
    folder = Path(storage.split_url(run.job("evaluate"))[1])
    rows: list[Row] = storage.read_json(str(folder / METRICS))
    return decision(rows, queries_file(folder / METRICS), recipe.refresh.gate, recipe.evaluate.modes[0], current.number)


def check_settings(recipe: Recipe, run: RunFolder) -> None:
    """Raises UserError for a set, metric or mode of the gate that the last evaluation did not have, if that was by the same
    settings: a slip of the pen is told before a training of days, not after it."""
    last = read_manifest(run.job("evaluate"))
    if recipe.evaluate is None or last is None or last.settings != planned_settings(recipe.evaluate):
        return
    file = storage.join(run.job("evaluate"), METRICS)
    if storage.exists(file):
        decision(storage.read_json(file), Path(), recipe.refresh.gate, recipe.evaluate.modes[0], 0)


def decision(
    rows: Sequence[Row], by_query: Path, settings: GateSettings, first_mode: str, version: int
) -> GateDecision:
    """What the settings make of the rows of metrics.json and the file of values by query (it need not be there).

    `version`: the number of the current one, for the sentence. Raises UserError as `decide` does.
    """
    sets = _chosen(_sets(rows), settings.sets)
    metrics = _metrics(sets, settings.metric)
    compared = [_compared(each, metrics[each.title], settings, first_mode, by_query) for each in sets]
    return GateDecision(
        promoted=all(each.passes for each in compared),
        reason=_reason(compared, settings, version),
        sets=tuple(compared),
    )


def _check_evaluated(run: RunFolder, training: str, current: str) -> None:
    inputs = finished(run, "evaluate").inputs
    trained = next((each.get("fingerprint") for each in inputs if each.get("job") == "train"), None)
    beside = next((each.get("model") for each in inputs if each.get(OTHER) == CURRENT), None)
    if (trained, beside) != (training, current):
        raise JobFailed(
            f"Job evaluate in {run.job('evaluate')} did not compare train's model with the current version: "
            f"{'it is of an earlier training' if trained != training else 'that version was not beside it'}. "
            "`pairmill refresh RECIPE` evaluates both."
        )


def _sets(rows: Sequence[Row]) -> list[_Set]:
    found: dict[tuple[str, str | None], _Set] = {}
    for row in rows:
        if row.get("scope") != "all" or row.get("model") not in (TRAINED, CURRENT):
            continue
        of = found.setdefault((row["data"], row["language"]), _Set(row["data"], row["language"], {}, {}))
        (of.new if row["model"] == TRAINED else of.current)[row["mode"]] = row
    return list(found.values())


def _chosen(sets: Sequence[_Set], names: Sequence[str]) -> list[_Set]:
    """Those of these names ("held_out", or "miracl (ar)" for one language of a set); all where none is named."""
    if not names:
        return list(sets)
    known = list(dict.fromkeys(name for each in sets for name in (each.data, each.title)))
    for name in names:
        if name not in known:
            raise UserError(
                f"refresh.gate.sets names {name!r}, and there is no such evaluation set{_nearest(name, known)}. "
                f"The sets are {', '.join(known)}."
            )
    return [each for each in sets if each.data in names or each.title in names]


def _metrics(sets: Sequence[_Set], wanted: str | None) -> dict[str, str]:
    """By title, the metric that counts: the wanted one where the set has it, else the set's main one."""
    rows = {each.title: next(iter((each.new | each.current).values())) for each in sets}
    known = list(dict.fromkeys(name for row in rows.values() for name in _figures(row)))
    if wanted is not None and sets and wanted not in known:
        raise UserError(
            f"refresh.gate.metric is {wanted!r}, and no evaluation set has it{_nearest(wanted, known)}. "
            f"They have {', '.join(known)}; evaluate.metrics adds others."
        )
    return {title: wanted if wanted is not None and wanted in row else main_metric(row) for title, row in rows.items()}


def _figures(row: Row) -> list[str]:
    told = ("queries", "corpus", "examples")
    return [name for name, value in row.items() if isinstance(value, int | float) and name not in told]


def _compared(of: _Set, metric: str, settings: GateSettings, first_mode: str, by_query: Path) -> SetDecision:
    mode = _mode(of, settings.mode, first_mode)
    now, before = _value(of.new.get(mode), metric), _value(of.current.get(mode), metric)
    p_value = None
    if now is None or before is None:
        passes = before is None  # nothing says that what has no figure is not worse
    else:
        p_value = _p_value(by_query, of, mode, metric)
        passes = before - now <= settings.max_loss + _ROUNDING or not _is_significant(p_value, settings.p_value)
    return SetDecision(
        data=of.data,
        language=of.language,
        mode=mode,
        metric=metric,
        current=before,
        new=now,
        difference=None if now is None or before is None else now - before,
        p_value=p_value,
        passes=passes,
    )


def _mode(of: _Set, wanted: str | None, first: str) -> str:
    there = list(dict.fromkeys([*of.current, *of.new]))
    if wanted is not None and wanted in there:
        return wanted
    if wanted is not None and of.is_retrieval:  # tasks have one mode only
        raise UserError(
            f"refresh.gate.mode is {wanted!r}, and {of.title} was evaluated in {', '.join(there)} only. Name one of these, or add "
            f"{wanted} to evaluate.modes."
        )
    return first if first in there else there[0]


def _value(row: Row | None, metric: str) -> float | None:
    return None if row is None else finite(row.get(metric))


def _is_significant(p_value: float | None, below: float) -> bool:
    return p_value is None or below >= 1 or p_value < below


def _p_value(file: Path, of: _Set, mode: str, metric: str) -> float | None:
    """Of the paired randomisation test; None where there are no values by query."""
    first, second = _by_query(file, of, mode, metric, CURRENT), _by_query(file, of, mode, metric, TRAINED)
    if not first or first.keys() != second.keys():
        return None
    import numpy as np

    from trainer.evaluate.significance import randomisation_p_value

    return randomisation_p_value(np.array([second[query] - first[query] for query in sorted(first)]))


def _by_query(file: Path, of: _Set, mode: str, metric: str, model: str) -> dict[str, float]:
    if not file.is_file():
        return {}
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if metric not in pq.read_schema(file).names:
        return {}
    whose = (pc.field("data") == of.data) & (pc.field("mode") == mode) & (pc.field("model") == model)
    language = pc.field("set_language")
    whose &= language.is_null() if of.language is None else language == of.language
    table = pq.read_table(file, columns=["query_id", metric], filters=whose)
    values = [finite(value) for value in table[metric].to_pylist()]
    return {
        query: value for query, value in zip(table["query_id"].to_pylist(), values, strict=True) if value is not None
    }


def _reason(compared: Sequence[SetDecision], settings: GateSettings, version: int) -> str:
    if not compared:
        return "No set was evaluated: nothing was compared."
    failed = [each for each in compared if not each.passes]
    worst = min(failed or compared, key=lambda each: -math.inf if each.difference is None else each.difference)
    figures = in_words(worst)
    allowed = "nothing may be lost" if not settings.max_loss else f"{settings.max_loss:g} may be lost"
    if failed:
        where = "" if len(compared) == 1 else f" on {len(failed)} of {len(compared)} sets, most"
        return f"The new model loses against version {version}{where} on {figures}; {allowed}."
    where = "" if len(compared) == 1 else f" any of {len(compared)} sets; it does worst on"
    return f"The new model passes against version {version} on{where} {figures}."


def in_words(each: SetDecision) -> str:
    """held_out (dense): ndcg@10 0.4120 to 0.3700 (-0.0420, p 0.003)"""
    title = f"{each.data} ({each.language})" if each.language else each.data
    values = " to ".join("no value" if value is None else f"{value:.4f}" for value in (each.current, each.new))
    told = [] if each.difference is None else [f"{each.difference:+.4f}"]
    if each.p_value is not None:
        told.append("p < 0.001" if each.p_value < 0.001 else f"p {each.p_value:.3f}")
    mode = f", {each.mode}" if each.mode and each.mode != "dense" else ""
    return f"{title}{mode}: {each.metric} {values}" + (f" ({', '.join(told)})" if told else "")


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
