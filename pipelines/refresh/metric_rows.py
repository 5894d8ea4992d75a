"""Reading rows of evaluate's metrics.json: which metric counts, and whether it has a value."""

import math
from collections.abc import Mapping
from typing import Any


def main_metric(row: Mapping[str, Any]) -> str:
    """The metric that counts first: a task's own; nDCG@10 of retrieval, answer_recall@100 of sets with answers (M3 table 2)."""
    told = row.get("main_metric")
    return str(told) if told else "ndcg@10" if "ndcg@10" in row else "answer_recall@100"


def finite(value: object) -> float | None:
    """A number as it is; None for what is none, NaN and infinity."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
