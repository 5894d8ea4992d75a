"""Whether two systems differ by more than chance: paired tests over the values of the same queries.

In:  two tables of values by query (trainer.evaluate.metrics.per_query_table).
Out: `Comparison`: difference of the means, its interval, the p-value.

Fisher's randomisation test: were the systems alike, each query's difference would have either sign with equal chance; p is
the share of sign patterns whose mean is at least as far from 0. It supposes nothing of the distribution (Smucker, Allan and
Carterette, CIKM 2007, recommend it for retrieval). Interval: percentiles of the means of samples of queries with replacement
(Efron's bootstrap). Same values and seed, same numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.evaluate.files import EvaluationError

Floats = npt.NDArray[np.float64]

SAMPLES: Final = 10_000
_VALUES_AT_ONCE: Final = 2**22
_TOLERANCE: Final = 1e-12  # of the sum of all sizes: sums that differ by rounding only are equally far from 0


@dataclass(frozen=True)
class Comparison:
    """The second system against the first, in one metric."""

    metric: str
    queries: int
    first: float  # mean
    second: float
    difference: float  # second - first
    low: float  # of the interval of the difference
    high: float
    p_value: float
    better: int  # queries where the second system's value is larger
    worse: int
    equal: int


def compare(
    first: pa.Table, second: pa.Table, metric: str, *, seed: int = 0, samples: int = SAMPLES, confidence: float = 0.95
) -> Comparison:
    """Compare two systems by the values of one metric for the same queries, in any order.

    Raises EvaluationError where a table lacks the metric, the tables are not of the same queries, a query id
    occurs twice, or a value is NaN.
    """
    one, other = _values(first, metric), _values(second, metric)
    if one.keys() != other.keys():
        differing = sorted(one.keys() ^ other.keys())
        raise EvaluationError(
            f"The two results are not of the same queries: {len(differing)} are in one only, such as {differing[0]!r}. "
            f"Evaluate both systems on the same data."
        )
    queries = sorted(one)
    left, right = (np.array([values[query] for query in queries]) for values in (one, other))
    differences = right - left
    low, high = bootstrap_interval(differences, seed=seed, samples=samples, confidence=confidence)
    return Comparison(
        metric,
        len(queries),
        float(left.mean()),
        float(right.mean()),
        float(differences.mean()),
        low,
        high,
        randomisation_p_value(differences, seed=seed, samples=samples),
        int((differences > 0).sum()),
        int((differences < 0).sum()),
        int((differences == 0).sum()),
    )


def most_moved(first: pa.Table, second: pa.Table, metric: str, count: int) -> tuple[list[str], list[str]]:
    """The ids of the queries that gained most and of those that lost most from first to second, at most `count` of each."""
    one, other = _values(first, metric), _values(second, metric)
    moved = sorted((other[query] - one[query], query) for query in one.keys() & other.keys())
    gained = [query for change, query in sorted(moved, key=lambda each: (-each[0], each[1])) if change > 0]
    lost = [query for change, query in moved if change < 0]
    return gained[:count], lost[:count]


def _values(table: pa.Table, metric: str) -> dict[str, float]:
    if metric not in table.column_names:
        there = ", ".join(name for name in table.column_names if "@" in name)
        raise EvaluationError(f"There is no metric {metric!r} among the results: they have {there}.")
    values = dict(zip(table["query_id"].to_pylist(), table[metric].to_pylist(), strict=True))
    if not values:
        raise EvaluationError("Results of no query cannot be compared.")
    if len(values) < len(table):
        raise EvaluationError(
            f"The results hold {len(table)} values of {metric} for {len(values)} query ids: languages of one set may share ids. "
            f"Compare one language at a time."
        )
    for query, value in values.items():
        if value is None or math.isnan(value):
            raise EvaluationError(f"The {metric} of query {query!r} is NaN: evaluate that system again.")
    return values


def randomisation_p_value(differences: Floats, *, seed: int = 0, samples: int = SAMPLES) -> float:
    """Two-sided p-value of Fisher's paired randomisation test of `differences` [Q].

    Exact where there are no more than `samples` sign patterns; otherwise (hits + 1) / (samples + 1) of that many random
    ones. Queries that do not differ change nothing and are left out.
    """
    moved = differences[differences != 0]
    if len(moved) == 0:
        return 1.0
    observed = abs(moved.sum()) - _TOLERANCE * abs(moved).sum()
    if len(moved) < samples.bit_length():  # 2 ** len <= samples
        patterns = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1) * 2.0 - 1
        return float((abs(patterns @ moved) >= observed).mean())
    random = np.random.default_rng(seed)
    hits = 0
    for count in _parts(samples, len(moved)):
        bits = np.unpackbits(
            np.frombuffer(random.bytes(-(-count * len(moved) // 8)), np.uint8), count=count * len(moved)
        )
        sums = 2 * (bits.reshape(count, len(moved)) @ moved) - moved.sum()
        hits += int((abs(sums) >= observed).sum())
    return (hits + 1) / (samples + 1)


def bootstrap_interval(
    differences: Floats, *, seed: int = 0, samples: int = SAMPLES, confidence: float = 0.95
) -> tuple[float, float]:
    """The percentile interval of the mean of `differences` [Q] over samples of Q queries with replacement."""
    random = np.random.default_rng(seed)
    means = [
        differences[random.integers(0, len(differences), (count, len(differences)))].mean(axis=1)
        for count in _parts(samples, len(differences))
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def _parts(samples: int, queries: int) -> Sequence[int]:
    at_once = max(1, _VALUES_AT_ONCE // max(1, queries))
    return [min(at_once, samples - start) for start in range(0, samples, at_once)]
