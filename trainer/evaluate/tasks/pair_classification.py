"""Pair classification: can a threshold on the similarity tell pairs that belong together from others?

Average precision (the C-Pack paper's metric), and the best accuracy that any threshold reaches (mteb's main metric for Ocnli and
Cmnli, `max_accuracy`), each for the cosine and as the best of four measures.
"""

import numpy as np
import numpy.typing as npt

from trainer.evaluate.tasks.kinds import LabelledPairs, TaskSettings
from trainer.evaluate.tasks.pair_scores import pair_scores
from trainer.evaluate.tasks.text_vectors import TextEncoder


def pair_classification_figures(
    encoder: TextEncoder, data: LabelledPairs, settings: TaskSettings
) -> dict[str, float | None]:
    """cosine_ap, cosine_accuracy, cosine_f1, and max_ap, max_accuracy, max_f1 over cosine, inner product, and the negative
    Euclidean and Manhattan distances; 0 to 1."""
    scores = pair_scores(encoder, data.first, data.second, settings.symmetric_role)
    by_measure = {measure: threshold_figures(values, data.labels) for measure, values in scores.items()}
    figures: dict[str, float | None] = {f"cosine_{name}": value for name, value in by_measure["cosine"].items()}
    for name in ("ap", "accuracy", "f1"):
        figures[f"max_{name}"] = max(values[name] for values in by_measure.values())
    return figures


def threshold_figures(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Average precision `ap`, and the best `accuracy` and `f1` of all thresholds between two scores.

    scores [n], labels [n], true for pairs that belong together. As in mteb equal scores stay together, and the thresholds
    above and below all scores do not count.
    """
    from sklearn.metrics import average_precision_score

    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    found = np.cumsum(labels[order])[:-1]  # true pairs above each threshold
    taken = np.arange(1, len(scores))
    between = descending[:-1] != descending[1:]
    positives = int(labels.sum())
    right = found + (len(scores) - positives) - (taken - found)
    accuracy = right[between] / len(scores)
    f1 = 2 * found[between] / (taken[between] + positives)
    return {
        "ap": float(average_precision_score(labels, scores)),
        "accuracy": float(accuracy.max(initial=0)),
        "f1": float(f1.max(initial=0)),
    }
