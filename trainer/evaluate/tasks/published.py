"""C-MTEB's tasks: their splits and settings, as mteb 2.26 runs them in "MTEB(cmn, v1)"."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from trainer.evaluate.tasks.kinds import TaskKind


@dataclass(frozen=True)
class PublishedTask:
    """A task of the benchmark. `settings` are those that differ from the defaults of TaskSettings."""

    kind: TaskKind
    split: str
    settings: dict[str, Any] = field(default_factory=dict)


_MANY: Final = {"samples_per_label": 32}
# By name, folded: see `published_task`.
CMTEB: Final[dict[str, PublishedTask]] = {
    "tnews": PublishedTask("classification", "validation", _MANY),
    "iflytek": PublishedTask("classification", "validation", _MANY | {"experiments": 5}),
    "multilingualsentiment": PublishedTask("classification", "validation", _MANY),  # mteb: validation and test
    "jdreview": PublishedTask("classification", "test", _MANY),
    "onlineshopping": PublishedTask("classification", "test", _MANY),
    "waimai": PublishedTask("classification", "test", _MANY),
    "clsclusterings2s": PublishedTask("clustering", "test"),
    "clsclusteringp2p": PublishedTask("clustering", "test"),
    "thunewsclusterings2s": PublishedTask("clustering", "test"),
    "thunewsclusteringp2p": PublishedTask("clustering", "test"),
    "ocnli": PublishedTask("pair_classification", "validation"),
    "cmnli": PublishedTask("pair_classification", "validation"),
    "t2reranking": PublishedTask("reranking", "dev"),
    "mmarcoreranking": PublishedTask("reranking", "dev"),
    "mmarco": PublishedTask("reranking", "dev"),
    "cmedqav1": PublishedTask("reranking", "test"),
    "cmedqav2": PublishedTask("reranking", "test"),
    "atec": PublishedTask("sts", "test"),
    "bq": PublishedTask("sts", "test"),
    "lcqmc": PublishedTask("sts", "test"),
    "pawsx": PublishedTask("sts", "test"),
    "stsb": PublishedTask("sts", "test"),
    "afqmc": PublishedTask("sts", "validation"),
    "qbqtc": PublishedTask("sts", "test"),
}


def published_task(name: str) -> PublishedTask | None:
    """The task of C-MTEB that a folder of this name holds: TNews, TNews-classification and tnews are one; None for others."""
    folded = re.sub(r"[-_](classification|reranking)$", "", name.lower())
    return CMTEB.get(folded)
