"""Classification: a logistic regression on the embeddings of a few texts of each label.

mteb: 10 draws of 8 texts a label (C-MTEB: mostly 32), max_iter 100; accuracy, macro F1, and for two labels average precision,
each the mean of the draws. The draws are those of mteb with the same seed.
"""

import logging
import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from trainer.evaluate.tasks.kinds import Classification, TaskSettings
from trainer.evaluate.tasks.text_vectors import TextEncoder, text_vectors

log = logging.getLogger(__name__)


def classification_figures(
    encoder: TextEncoder, data: Classification, settings: TaskSettings
) -> dict[str, float | None]:
    """accuracy, f1 (macro), f1_weighted, ap (None unless the evaluated texts have two labels; the larger is the positive), 0
    to 1, and accuracy_std, the standard deviation over the draws."""
    draws = list(drawn_rows(data.train.labels, settings.samples_per_label, settings.experiments, settings.seed))
    union = np.unique(np.concatenate(draws))  # only these are encoded
    train = text_vectors(encoder, [data.train.texts[row] for row in union], settings.symmetric_role)
    test = text_vectors(encoder, data.test.texts, settings.symmetric_role)
    asked = test.take(slice(None))
    results = []
    for draw in draws:
        learnt = train.take(np.searchsorted(union, draw))
        predicted = _predicted(learnt, data.train.labels[draw], asked, settings)
        results.append(_figures(data.test.labels, predicted))
    figures = {name: _mean([result[name] for result in results]) for name in results[0]}
    return figures | {"accuracy_std": float(np.std([result["accuracy"] for result in results]))}


def _mean(values: list[float]) -> float | None:
    return None if np.isnan(values).any() else float(np.mean(values))


def drawn_rows(
    labels: npt.NDArray[np.int64], samples_per_label: int, experiments: int, seed: int
) -> Iterator[npt.NDArray[np.int64]]:
    """The training rows of each experiment, int64, in their shuffled order: of each label the first few.

    labels [n]. mteb shuffles with the same seed each time, but goes on from the order of the experiment before.
    """
    rows = np.arange(len(labels))
    for _ in range(experiments):
        np.random.RandomState(seed).shuffle(rows)
        yield rows[_rank_among_equals(labels[rows]) < samples_per_label]


def _rank_among_equals(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many equal values stand before each."""
    order = np.argsort(values, kind="stable")
    grouped = values[order]
    starts = np.flatnonzero(np.append(True, grouped[1:] != grouped[:-1]))
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(values)) - np.repeat(starts, np.diff(np.append(starts, len(values))))
    return ranks


def _predicted(
    learnt: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    asked: npt.NDArray[np.float32],
    settings: TaskSettings,
) -> npt.NDArray[np.int64]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=settings.iterations, random_state=settings.seed)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(learnt, labels)
    if told:
        log.info("the logistic regression stopped after %d iterations, as the protocol has it", settings.iterations)
    return np.asarray(model.predict(asked), np.int64)


def _figures(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> dict[str, float]:
    """Of one draw; `ap` is NaN where there are not two labels."""
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score

    present = np.unique(labels)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "f1_weighted": float(f1_score(labels, predicted, average="weighted", zero_division=0)),
        "ap": float(average_precision_score(labels == present[-1], predicted)) if len(present) == 2 else np.nan,
    }
