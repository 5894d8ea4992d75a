"""The five kinds of tasks beside retrieval, as they are once read, and the settings of their protocols.

Protocols are those of mteb 2.26's C-MTEB, "MTEB(cmn, v1)"; where the papers say otherwise, the field says so.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from trainer.backbone import Role

TaskKind = Literal["sts", "pair_classification", "classification", "clustering", "reranking"]
MAIN_METRICS: Final[dict[TaskKind, str]] = {
    "sts": "cosine_spearman",
    "pair_classification": "max_accuracy",  # mteb's Ocnli and Cmnli; the C-Pack paper prints AP, which is in the row, too
    "classification": "accuracy",
    "clustering": "v_measure",
    "reranking": "map@1000",
}


class TaskSettings(BaseModel):
    """How a task is evaluated. A task folder may hold these as task.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: TaskKind | None = Field(None, description="default: told by the fields of the files")
    split: str | None = Field(None, description="default: the first of test, validation and dev that is there")
    symmetric_role: Role = Field(
        "passage",
        description="whose prompt stands before the texts of all kinds but reranking: passage for BGE (its instruction is "
        "for queries of retrieval only), query for E5",
    )
    samples_per_label: int = Field(
        8, ge=1, description="classification: training texts of each label; mteb: 8, 32 in most of C-MTEB"
    )
    experiments: int = Field(10, ge=1, description="classification: draws of training texts; mteb: 10, 5 for IFlyTek")
    iterations: int = Field(100, ge=1, description="classification: max_iter of the logistic regression; mteb")
    kmeans_batch: int = Field(500, ge=1, description="clustering: mteb's code; the MTEB and C-Pack papers say 32")
    seed: int = Field(42, ge=0, lt=2**32, description="of the draws and of k-means; mteb's")


@dataclass(frozen=True)
class ScoredPairs:
    """Two texts a row and how alike people find them."""

    first: list[str]
    second: list[str]
    scores: npt.NDArray[np.float64]  # [n], any scale


@dataclass(frozen=True)
class LabelledPairs:
    """Two texts a row and whether they belong together."""

    first: list[str]
    second: list[str]
    labels: npt.NDArray[np.bool_]  # [n], both values occur


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and their labels, as numbers of `names`."""

    texts: list[str]
    labels: npt.NDArray[np.int64]  # [n], below len(names)
    names: list[str]  # integers in order of value, or strings in order of code points


@dataclass(frozen=True)
class Classification:
    """Texts to draw training texts from, and texts to be classified; both have the same `names`."""

    train: LabelledTexts
    test: LabelledTexts


@dataclass(frozen=True)
class Clustering:
    """Sets that are clustered one by one; the figure is the mean."""

    sets: list[LabelledTexts]


@dataclass(frozen=True)
class Reranking:
    """Queries, each with candidates that are relevant and candidates that are not (at least one of both)."""

    queries: list[str]
    positives: list[list[str]]
    negatives: list[list[str]]


TaskData = ScoredPairs | LabelledPairs | Classification | Clustering | Reranking


@dataclass(frozen=True)
class Task:
    """A task as read from its files."""

    name: str
    kind: TaskKind
    split: str
    subsets: dict[str | None, TaskData]  # by language; None where the rows name none
    settings: TaskSettings
