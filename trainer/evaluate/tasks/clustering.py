"""Clustering: does k-means on the embeddings find the labels?

mteb's C-MTEB: each set is clustered by mini-batch k-means into as many clusters as it has labels; the figure is the mean V-measure
of the sets.
"""

import logging

import numpy as np
import numpy.typing as npt

from trainer.evaluate.tasks.kinds import Clustering, LabelledTexts, TaskSettings
from trainer.evaluate.tasks.text_vectors import TextEncoder, text_vectors

log = logging.getLogger(__name__)


def clustering_figures(encoder: TextEncoder, data: Clustering, settings: TaskSettings) -> dict[str, float | None]:
    """v_measure, 0 to 1, the mean of the sets, and v_measure_std. A set of one label counts as 1, as in mteb."""
    asked = [each for each in data.sets if len(each.names) > 1]
    alone = len(data.sets) - len(asked)
    if alone:
        log.warning("%d of %d sets have one label only and count as found (mteb's rule)", alone, len(data.sets))
    vectors = text_vectors(encoder, [text for each in asked for text in each.texts], settings.symmetric_role)
    values, start = [1.0] * alone, 0
    for each in asked:
        values.append(_v_measure(vectors.take(slice(start, start + len(each.texts))), each, settings))
        start += len(each.texts)
    return {"v_measure": float(np.mean(values)), "v_measure_std": float(np.std(values))}


def _v_measure(vectors: npt.NDArray[np.float32], data: LabelledTexts, settings: TaskSettings) -> float:
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.metrics import v_measure_score

    clusters = MiniBatchKMeans(
        n_clusters=len(data.names), batch_size=settings.kmeans_batch, n_init="auto", random_state=settings.seed
    ).fit(vectors)
    return float(v_measure_score(data.labels, clusters.labels_))
