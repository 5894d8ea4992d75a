"""Semantic textual similarity: does the cosine of two texts order pairs as people do?

C-Pack appendix A and mteb: Spearman's correlation of the cosine with the scores; Pearson's beside it. mteb computes cosines
in float32 as 1 - |u - v|^2 / 2 of unit vectors; so does this, because rounding makes ties, which Spearman sees.
"""

import logging

import numpy as np

from trainer.evaluate.tasks.kinds import ScoredPairs, TaskSettings
from trainer.evaluate.tasks.pair_scores import pair_scores
from trainer.evaluate.tasks.text_vectors import TextEncoder

log = logging.getLogger(__name__)


def sts_figures(encoder: TextEncoder, data: ScoredPairs, settings: TaskSettings) -> dict[str, float | None]:
    """cosine_spearman and cosine_pearson, -1 to 1; None (with a warning) where all cosines are equal."""
    from scipy.stats import pearsonr, spearmanr

    cosines = pair_scores(encoder, data.first, data.second, settings.symmetric_role, ("cosine",))["cosine"]
    if np.ptp(cosines) == 0:
        log.warning("all cosines are %.6f: the model embeds all texts alike, and no correlation is defined", cosines[0])
        return {"cosine_spearman": None, "cosine_pearson": None}
    return {
        "cosine_spearman": float(spearmanr(data.scores, cosines).statistic),
        "cosine_pearson": float(pearsonr(data.scores, cosines).statistic),
    }
