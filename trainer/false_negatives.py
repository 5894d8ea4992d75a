"""How many mined negatives answer their query after all: an estimate from a judged sample.

sample = SampledNegatives(200)                     # the same pairs whatever their order
for query, negatives in rows:
    sample.add(query, negatives)
str(estimate_share(judge.score(*sample.texts())))  # "6.0% (3.5% to 10.2%) of 200 judged"
"""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from trainer.judge import check_scores

Z: Final = 1.959964  # of a 95 % interval
RELEVANT: Final = 0.5  # a judge's score from which a passage counts as an answer: of LLM grades 0 to 3, 2 and 3


@dataclass(frozen=True)
class Estimate:
    """The share of false negatives, with its 95 % interval (Wilson 1927)."""

    judged: int
    found: int  # false negatives among the judged
    unjudged: int  # sampled, but the judge gave no answer
    share: float  # NaN where none was judged
    low: float
    high: float

    def __str__(self) -> str:
        """In words."""
        if not self.judged:
            return f"not known: none of {self.unjudged:,} was judged"
        words = f"{self.share:.1%} ({self.low:.1%} to {self.high:.1%}) of {self.judged:,} judged"
        return words + (f", {self.unjudged:,} without an answer" if self.unjudged else "")


def wilson_interval(found: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share of `found` in `of`, which also holds near 0 and 1 (Wilson 1927, score interval).

    Without any, nothing is known: (0, 1).
    """
    if of == 0:
        return 0.0, 1.0
    share = found / of
    centre = share + Z * Z / (2 * of)
    half = Z * math.sqrt(share * (1 - share) / of + Z * Z / (4 * of * of))
    scale = 1 + Z * Z / of
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def estimate_share(scores: npt.NDArray[np.float32], relevant: float = RELEVANT) -> Estimate:
    """The share of a judged sample that scores `relevant` or more; `scores` float32 [n], NaN for no answer.

    Raises ValueError for a score outside of 0 to 1.
    """
    check_scores(scores)
    judged = int(np.count_nonzero(~np.isnan(scores)))
    found = int(np.count_nonzero(scores >= np.float32(relevant)))
    share = found / judged if judged else math.nan
    return Estimate(judged, found, len(scores) - judged, share, *wilson_interval(found, judged))


class SampledNegatives:
    """A sample of (query, negative) from a stream of any length: those of the smallest hashes of both texts and the seed.

    The same pairs give the same sample in any order; equal pairs count as one.
    """

    def __init__(self, wanted: int, seed: int = 0) -> None:
        self._wanted = wanted
        self._seed = seed
        self._held: list[tuple[int, str, str]] = []  # a heap, the largest hash on top (negated)
        self._keys: set[int] = set()
        self.seen = 0

    def add(self, query: str, negatives: Iterable[str]) -> None:
        """Take in the negatives of one query."""
        of_query = xxhash.xxh3_64_intdigest(query.encode(), seed=self._seed)
        for negative in negatives:
            self.seen += 1
            key = xxhash.xxh3_64_intdigest(negative.encode(), seed=of_query)
            if key in self._keys or (len(self._held) == self._wanted and key >= -self._held[0][0]):
                continue
            heapq.heappush(self._held, (-key, query, negative))
            self._keys.add(key)
            if len(self._held) > self._wanted:
                self._keys.remove(-heapq.heappop(self._held)[0])

    def texts(self) -> tuple[pa.Array, pa.Array]:
        """The queries and their negatives: two string arrays [n], in the order of the hashes."""
        held = sorted(self._held, reverse=True)
        return pa.array([row[1] for row in held], pa.string()), pa.array([row[2] for row in held], pa.string())
