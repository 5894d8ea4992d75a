"""What a judge says about mined candidates: which stay negatives, which are left out, which become positives.

In:  the candidates of each query and its positives, each with the judge's score: probability-like, 0 to 1, larger is more
     relevant. NaN: the judge gave no answer.
Out: `Verdicts`: a mask each of the candidates kept, dropped and relabelled, and counts by reason.

A judge reads query and passage together: a cross-encoder (trainer/reranker.py) or an LLM (synth/judge.py). Relabelling is
RLHN's (arXiv 2505.16967): what is found to be relevant helps more as a positive than left out, and both more than the
query's removal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainer.ragged import Ragged

# In the order they are asked: the first that applies is the one that is counted.
JUDGE_REASONS: Final = {
    "query_with_too_many_relevant": "its query has more than most_relevant passages that the judge finds relevant",
    "relabelled": "the judge finds it as relevant as the positives: it is a positive now",
    "judged_relevant": "the judge scores it max_score or more",
    "judged_near_positive": "the judge scores it as high as max_share_of_positive of the lowest positive",
    "judged_within_margin": "the judge scores it less than margin below the lowest positive",
}


class Judge(Protocol):
    """Scores pairs of a query and a passage."""

    @property
    def name(self) -> str:
        """What decides the scores: model, its weights, prompt. It enters the fingerprints of what was judged."""

    def score(
        self, queries: pa.Array, passages: pa.Array, on_batch: Callable[[int], None] = ...
    ) -> npt.NDArray[np.float32]:
        """Relevance float32 [n], 0 to 1, of `passages` [n] for `queries` [n]; NaN where there is no answer.

        `on_batch` gets the number of pairs done so far: signs of life.
        """


class JudgeSettings(BaseModel):
    """Which candidates are judged, and what follows from their scores."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: int = Field(
        25,
        ge=1,
        description="candidates of a query that are judged: the first allowed ones in the order of choice, which for "
        "sampling top is the nearest; RLHN asks for 25 at once",
    )
    max_score: float | None = Field(
        0.5,
        gt=0,
        le=1,
        description="candidates judged so high or higher are no negatives (ours; RocketQA takes only those below 0.1); of the "
        "grades 0 to 3 an LLM gives, 2 and 3; null: no limit",
    )
    max_share_of_positive: float | None = Field(
        0.95,
        gt=0,
        description="of the lowest positive's judge score a negative must stay under (NV-Retriever's TopK-PercPos, which "
        "sentence-transformers applies to cross-encoder scores too); null: no limit",
    )
    margin: float | None = Field(
        None, ge=0, description="a negative stays this far under the lowest positive's judge score; null: no limit"
    )
    relabel_above: float | None = Field(
        None,
        gt=0,
        le=1,
        description="candidates judged so high or higher, and no lower than the lowest positive, become positives; 0.9 in "
        "RocketQA (arXiv 2010.08191); null: none",
    )
    most_relevant: int | None = Field(
        None,
        ge=0,
        description="a query with more candidates dropped or relabelled by the judge gets no negatives: it asks for too much; "
        "7 in RLHN; null: no limit",
    )

    @model_validator(mode="after")
    def _relabels_what_is_no_negative(self) -> "JudgeSettings":
        if self.relabel_above is not None and self.max_score is not None and self.relabel_above < self.max_score:
            raise ValueError(
                f"relabel_above {self.relabel_above:g} is below max_score {self.max_score:g}: a passage cannot be a "
                "positive where it would still do as a negative. Raise relabel_above, or lower max_score."
            )
        return self


@dataclass(frozen=True)
class Verdicts:
    """What becomes of each candidate; the three masks divide the candidates."""

    keep: npt.NDArray[np.bool_]  # [n] stays a candidate; the ones without an answer too
    drop: npt.NDArray[np.bool_]  # [n]
    relabel: npt.NDArray[np.bool_]  # [n] is a positive of its query from now on
    counts: dict[str, int]  # candidates by JUDGE_REASONS, plus judged, unjudged and doubted_positives


def judge_candidates(candidates: Ragged, positives: Ragged, settings: JudgeSettings) -> Verdicts:
    """Decide on the judged candidates of Q queries.

    candidates  Q lists, float32 [n] in all: the judge's scores of the candidates of each query
    positives   Q lists, float32 [p] in all: those of its positives

    The lowest of a query's positives is the reference, as for the encoder's scores. A candidate or positive of score NaN is
    unjudged: it decides nothing, and nothing is decided about it. Where no positive was judged, only max_score speaks,
    and nothing is relabelled. `counts` has, beside the reasons, how many candidates were judged and unjudged, and how
    many positives (`doubted_positives`) the judge scores below max_score: where there are many, the judge, its prompt or
    the pairs are bad.

    Raises ValueError for a score that is neither NaN nor between 0 and 1, and for lists of different numbers of queries.
    """
    if len(candidates) != len(positives):
        raise ValueError(f"There are candidates of {len(candidates)} queries, and positives of {len(positives)}.")
    check_scores(candidates.values)
    check_scores(positives.values)
    scores, query_of = candidates.values, candidates.owners
    reference = lowest(positives)[query_of]
    relabel = np.zeros(len(scores), np.bool_)
    if settings.relabel_above is not None:
        relabel = (scores >= np.float32(settings.relabel_above)) & (scores >= reference)
    rules = {
        # What is relevant enough to be a positive, but for a better one, is no negative either.
        "judged_relevant": _at_least(scores, settings.max_score or settings.relabel_above),
        "judged_near_positive": _at_least(scores, settings.max_share_of_positive, reference),
        "judged_within_margin": np.zeros(len(scores), np.bool_)
        if settings.margin is None
        else scores >= reference - np.float32(settings.margin),
    }
    too_many = np.zeros(len(scores), np.bool_)
    if settings.most_relevant is not None:
        relevant = relabel | np.logical_or.reduce(list(rules.values()))
        found = np.bincount(query_of[relevant], minlength=len(candidates))
        too_many = (found > settings.most_relevant)[query_of]
    counts, keep = {}, np.ones(len(scores), np.bool_)
    for reason, applies in {"query_with_too_many_relevant": too_many, "relabelled": relabel, **rules}.items():
        counts[reason] = int(np.count_nonzero(applies & keep))
        keep = keep & ~applies
    unjudged = int(np.count_nonzero(np.isnan(scores)))
    doubted = int(np.count_nonzero(positives.values < np.float32(settings.max_score or 0.0)))
    counts |= {"judged": len(scores) - unjudged, "unjudged": unjudged, "doubted_positives": doubted}
    relabel = relabel & ~too_many
    return Verdicts(keep, ~keep & ~relabel, relabel, counts)


def lowest(scores: Ragged) -> npt.NDArray[np.float32]:
    """The lowest score that is not NaN of each of Q lists: float32 [Q], NaN where there is none."""
    found = np.full(len(scores), np.inf, np.float32)
    judged = ~np.isnan(scores.values)
    np.minimum.at(found, scores.owners[judged], scores.values[judged])
    found[np.isinf(found)] = np.nan
    return found


def check_scores(scores: npt.NDArray[np.float32]) -> None:
    """Raise ValueError for a score that is neither NaN nor between 0 and 1."""
    outside = (scores < 0) | (scores > 1)
    if outside.any():
        raise ValueError(
            f"A judge's score is {scores[outside][0]:g}: scores must lie between 0 and 1, NaN for no answer."
        )


def _at_least(
    scores: npt.NDArray[np.float32], limit: float | None, of: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.bool_]:
    """Whether scores [n] reach `limit`, or `limit` times `of` [n]; none does where the limit is None or NaN."""
    if limit is None:
        return np.zeros(len(scores), np.bool_)
    found: npt.NDArray[np.bool_] = scores >= (np.float32(limit) if of is None else np.float32(limit) * of)
    return found
