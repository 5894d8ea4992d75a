"""The training's curves and the evaluation's rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pipelines import storage
from pipelines.evaluate_moved import SideBySide
from pipelines.report.charts import LineChart, line_chart
from pipelines.report.finished_run import FinishedRun

METRICS_LINES: Final = "metrics.jsonl"
METRICS_ROWS: Final = "metrics.json"
MOVED: Final = "moved.json"
COMPARISONS: Final = "metrics.comparisons.json"
FIGURES: Final = (("ndcg@10", "nDCG@10"), ("mrr@10", "MRR@10"), ("recall@100", "Recall@100"))
HEADLINE: Final = "ndcg@10"
TRAINED, UNTRAINED = "trained", "untrained"
_MODEL_ORDER: Final = (TRAINED, UNTRAINED, "bm25")


@dataclass(frozen=True)
class Training:
    loss: LineChart | None
    rate: LineChart | None
    steps: int
    first_loss: float | None  # smoothed
    last_loss: float | None
    smoothing: int  # steps


def training(finished: FinishedRun) -> Training | None:
    if "train" not in finished.manifests:
        return None
    stages = finished.manifests["train"].details.get("stages") or []
    last = [str(stage["name"]) for stage in stages[-1:]]
    lines = _metric_lines(storage.join(finished.run.job("train"), *last, METRICS_LINES))
    if not lines:
        return Training(None, None, 0, None, None, 0)
    steps = [line["step"] for line in lines]
    losses = [line["loss"] for line in lines]
    window = max(5, len(lines) // 10) | 1
    smooth = smoothed(losses, window)
    rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
    return Training(
        line_chart(steps, [(losses, "raw"), (smooth, "smooth")], label="Loss by step"),
        line_chart(steps, [(rates, "smooth")], label="Learning rate by step", digits=0)
        if len(rates) == len(steps)
        else None,
        int(steps[-1]),
        smooth[0],
        smooth[-1],
        window,
    )


def _metric_lines(url: str) -> list[dict[str, float]]:
    """The lines that have a step and a finite loss, by step."""
    if not storage.exists(url):
        return []
    with storage.open_for_reading(url) as stream:
        lines = [orjson.loads(line) for line in stream.read().splitlines() if line.strip()]
    finite = (line for line in lines if "step" in line and math.isfinite(line.get("loss") or math.nan))
    return sorted(finite, key=lambda line: float(line["step"]))


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean of `window` values, an odd number, around each value; fewer at the ends. Centred, so the curve does not lag."""
    half = window // 2
    totals = [0.0]
    for value in values:
        totals.append(totals[-1] + value)
    bounds = ((max(0, n - half), min(len(values), n + half + 1)) for n in range(len(values)))
    return [(totals[high] - totals[low]) / (high - low) for low, high in bounds]


@dataclass(frozen=True)
class ModelFigures:
    model: str
    values: list[float | None]  # in the order of FIGURES
    deltas: list[float | None]  # against the untrained model, of the trained one alone


@dataclass(frozen=True)
class Comparison:
    """What the models reach on one set of queries."""

    data: str
    kind: str
    language: str
    mode: str
    queries: int | None
    corpus: int | None
    models: list[ModelFigures]
    is_overall: bool  # over all queries, not those of one kind or language

    def value(self, model: str, figure: str = HEADLINE) -> float | None:
        number = [name for name, _ in FIGURES].index(figure)
        return next((m.values[number] for m in self.models if m.model == model), None)


@dataclass(frozen=True)
class OtherFigures:
    """What the models reach on a task of another kind than retrieval, or on a set with answers: its main metric."""

    data: str
    language: str
    task: str
    metric: str
    models: list[tuple[str, float | None, float | None]]  # name, value, difference of the trained to the untrained


@dataclass(frozen=True)
class Published:
    """A figure of a paper on a benchmark that was evaluated."""

    benchmark: str
    language: str
    metric: str
    model: str
    mode: str
    value: float
    source: str


@dataclass(frozen=True)
class Evaluation:
    comparisons: list[Comparison]
    others: list[OtherFigures]
    published: list[Published]
    moved: bool  # whether the page of the queries that training moved is there
    headline: Comparison | None  # of the rows over all queries, the one where the trained model is best
    axis: tuple[float, float]  # tenths around all values of the headline figure


def evaluation(finished: FinishedRun) -> Evaluation | None:
    manifest = finished.manifests.get("evaluate")
    if manifest is None:
        return None
    url = storage.join(finished.run.job("evaluate"), METRICS_ROWS)
    rows: list[dict[str, Any]] = storage.read_json(url) if storage.exists(url) else manifest.details.get("metrics", [])
    comparisons = _compared([row for row in rows if _has_figures(row)])
    overall = [c for c in comparisons if c.is_overall] or comparisons
    with_trained = [c for c in overall if c.value(TRAINED) is not None]
    headline = max(with_trained, key=lambda c: c.value(TRAINED) or 0.0, default=None)
    return Evaluation(
        comparisons,
        _others([row for row in rows if not _has_figures(row)]),
        _published(finished),
        moved(finished) is not None,
        headline,
        _axis(comparisons),
    )


def _has_figures(row: dict[str, Any]) -> bool:
    """Whether the row is of retrieval with judged documents."""
    return row.get("task", "retrieval") == "retrieval" and HEADLINE in row


def _others(rows: Sequence[dict[str, Any]]) -> list[OtherFigures]:
    groups: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        metric = str(row.get("main_metric") or next((name for name in row if "@" in name), ""))
        key = (str(row.get("data")), str(row.get("language") or "all"), str(row.get("task")), metric)
        groups.setdefault(key, []).append(row)
    found = []
    for (data, language, task, metric), of_group in groups.items():
        before = next((row.get(metric) for row in of_group if row.get("model") == UNTRAINED), None)
        models = []
        for row in sorted(of_group, key=_model_rank):
            value = row.get(metric)
            known = value is not None and before is not None and row.get("model") == TRAINED
            models.append((str(row.get("model")), value, float(value or 0) - float(before or 0) if known else None))
        found.append(OtherFigures(data, language, task, metric, models))
    return found


def _published(finished: FinishedRun) -> list[Published]:
    url = storage.join(finished.run.job("evaluate"), COMPARISONS)
    rows = storage.read_json(url)["published"] if storage.exists(url) else []
    return [
        Published(
            row["benchmark"],
            row["language"] or "",
            row["metric"],
            row["model"],
            row["mode"],
            row["value"],
            row["source"],
        )
        for row in rows
    ]


def moved(finished: FinishedRun) -> SideBySide | None:
    """Which queries training moved most; None where the evaluation kept none, or is not finished."""
    url = storage.join(finished.run.job("evaluate"), MOVED)
    if "evaluate" not in finished.manifests or not storage.exists(url):
        return None
    with storage.open_for_reading(url) as stream:
        return SideBySide.model_validate_json(stream.read())


def _axis(comparisons: Sequence[Comparison]) -> tuple[float, float]:
    values = [value for c in comparisons for model in c.models if (value := c.value(model.model)) is not None]
    if not values:
        return 0.0, 1.0
    return max(0.0, math.floor(10 * min(values) - 0.5) / 10), min(1.0, math.ceil(10 * max(values) + 0.5) / 10)


def _compared(rows: Sequence[dict[str, Any]]) -> list[Comparison]:
    groups: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        # BM25 has no mode of its own: it stands beside every mode of the encoders.
        modes = [_mode(row)] if not _is_bm25(row) else _modes_beside(row, rows)
        for mode in modes:
            key = (str(row.get("data")), str(row.get("kind") or "all"), str(row.get("language") or "all"), mode)
            groups.setdefault(key, []).append(row)
    overall: dict[tuple[str, str], tuple[str, str, str, str]] = {}
    for key in groups:  # trainer.evaluate writes the row of all queries first
        overall.setdefault((key[0], key[3]), key)
    return [
        _comparison(*key, group, is_overall=key in overall.values() or group[0].get("scope") == "all")
        for key, group in groups.items()
    ]


def _mode(row: dict[str, Any]) -> str:
    return str(row.get("mode") or "dense")


def _is_bm25(row: dict[str, Any]) -> bool:
    return str(row.get("model")).partition("-")[0] == "bm25"


def _modes_beside(bm25: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[str]:
    modes = [_mode(row) for row in rows if not _is_bm25(row) and row.get("data") == bm25.get("data")]
    return list(dict.fromkeys(modes)) or [_mode(bm25)]


def _comparison(
    data: str, kind: str, language: str, mode: str, rows: Sequence[dict[str, Any]], *, is_overall: bool
) -> Comparison:
    untrained = next((row for row in rows if row.get("model") == UNTRAINED), None)
    models = [
        _figures(row, untrained if row.get("model") == TRAINED else None) for row in sorted(rows, key=_model_rank)
    ]
    return Comparison(data, kind, language, mode, rows[0].get("queries"), rows[0].get("corpus"), models, is_overall)


def _model_rank(row: dict[str, Any]) -> tuple[int, str]:
    model = str(row.get("model"))
    return (_MODEL_ORDER.index(model) if model in _MODEL_ORDER else len(_MODEL_ORDER), model)


def _figures(row: dict[str, Any], untrained: dict[str, Any] | None) -> ModelFigures:
    values = [row.get(name) for name, _ in FIGURES]
    before = [untrained.get(name) if untrained else None for name, _ in FIGURES]
    deltas = [None if now is None or then is None else now - then for now, then in zip(values, before, strict=True)]
    return ModelFigures(str(row.get("model")), values, deltas)
