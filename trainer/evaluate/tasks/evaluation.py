"""A task's figures as rows, like those of retrieval.

Out: rows {model, data, task, split, language, mode, examples, main_metric, metrics ...}: one for each language; of several,
the last is their unweighted mean (mteb's mean over subsets), whose language is null.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from trainer.evaluate.metrics import MetricRow
from trainer.evaluate.tasks.classification import classification_figures
from trainer.evaluate.tasks.clustering import clustering_figures
from trainer.evaluate.tasks.kinds import MAIN_METRICS, Classification, Clustering, Reranking, Task, TaskData, TaskKind
from trainer.evaluate.tasks.pair_classification import pair_classification_figures
from trainer.evaluate.tasks.reranking import reranking_figures
from trainer.evaluate.tasks.sts import sts_figures
from trainer.evaluate.tasks.text_vectors import TextEncoder

_FIGURES: Final[dict[TaskKind, Callable[..., dict[str, float | None]]]] = {
    "sts": sts_figures,
    "pair_classification": pair_classification_figures,
    "classification": classification_figures,
    "clustering": clustering_figures,
    "reranking": reranking_figures,
}


def evaluate_task(encoder: TextEncoder, task: Task, *, model: str = "trained") -> list[MetricRow]:
    """Evaluate `encoder` on `task`; `model` names it in the rows. Raises EmbeddingError as the encoder does."""
    rows: list[MetricRow] = [
        {
            "model": model,
            "data": task.name,
            "task": task.kind,
            "split": task.split,
            "language": language,
            "mode": "dense",
            "examples": _examples(data),
            "main_metric": MAIN_METRICS[task.kind],
            **_FIGURES[task.kind](encoder, data, task.settings),
        }
        for language, data in task.subsets.items()
    ]
    return [*rows, _mean(rows)] if len(rows) > 1 else rows


def _examples(data: TaskData) -> int:
    """What is judged: pairs, texts or queries."""
    if isinstance(data, Classification):
        return len(data.test.texts)
    if isinstance(data, Clustering):
        return sum(len(each.texts) for each in data.sets)
    return len(data.queries) if isinstance(data, Reranking) else len(data.first)


def _mean(rows: list[MetricRow]) -> MetricRow:
    mean: MetricRow = dict(rows[0]) | {"language": None}
    for name, value in rows[0].items():
        values: list[Any] = [row[name] for row in rows]
        if name == "examples":
            mean[name] = sum(values)
        elif name not in ("model", "data", "task", "split", "language", "mode", "main_metric"):
            numbers = [each for each in values if each is not None]
            mean[name] = float(np.mean(numbers)) if numbers else value
    return mean
