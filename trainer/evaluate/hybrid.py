"""Dense, lexical and multi-vector scores of one pool of passages for each query, and their weighted sums.

In:  pools, int64 [Q, m] rows of the corpus, ascending, -1 first for none; outputs of an M3 model in blocks of the corpus.
Out: scores float32 [Q, m]; rankings by weights; the weights that do best on judged queries.

Source: M3-Embedding (arXiv 2402.03216v4), section 4: Dense+Sparse ranks the union of the 1,000 best of both, All and Multi-vec
the 200 best of dense. Every passage of a pool has all its scores computed; none counts as 0 because one method missed it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainer.evaluate.retrieval_data import Layout, RetrievalData
from trainer.evaluate.stored_texts import take_texts
from trainer.m3_heads import Output
from trainer.m3_scores import hybrid_scores
from trainer.search_blocks import Found

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Weights = Mapping[Output, float]

# Passages of no pool score -inf, which a weight below 0 would rank first.
_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_WEIGHTED_AT_ONCE: Final = 2**22


class HybridWeights(BaseModel):
    """w1 s_dense + w2 s_lexical + w3 s_multi_vector (M3 equation 1). Defaults: MIRACL and MKQA (M3 section 4.1, 4.2)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dense_lexical: tuple[_Weight, _Weight] = Field((1.0, 0.3), description="(w1, w2) of Dense+Sparse; M3 section 4.1")
    all: tuple[_Weight, _Weight, _Weight] = Field((1.0, 0.3, 1.0), description="(w1, w2, w3) of All; M3 section 4.1")

    @field_validator("dense_lexical", "all")
    @classmethod
    def _one_counts(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if not any(weights):
            raise ValueError("all weights are 0, and nothing would be ranked: give one of them a weight above 0")
        return weights

    def of(self, mode: str) -> Weights:
        """The weights by output of the mode "dense+lexical" or "all"."""
        names: tuple[Output, ...] = ("dense", "lexical", "multi_vector")
        return dict(zip(names, self.all if mode == "all" else self.dense_lexical, strict=False))


_MLDR: Final = HybridWeights(dense_lexical=(0.2, 0.8), all=(0.15, 0.5, 0.35))  # M3 section 4.3
PUBLISHED_WEIGHTS: Final[Mapping[Layout, HybridWeights]] = {
    "miracl": HybridWeights(),
    "mkqa": HybridWeights(),
    "mldr": _MLDR,
}


def weights_for(data: RetrievalData) -> HybridWeights:
    """The paper's weights for its benchmarks, those of MIRACL for others."""
    return PUBLISHED_WEIGHTS.get(data.layout, HybridWeights())


@dataclass(frozen=True)
class Pool:
    """For each query some passages and what they score."""

    rows: Rows  # [Q, m], ascending, -1 (first) for none
    scores: Mapping[Output, Floats]  # each [Q, m], -inf for none

    def ranked(self, weights: Weights, depth: int) -> Found:
        """The best `depth` by weighted sums; equal sums by the lower row."""
        scores = np.full((len(self.rows), depth), -np.inf, np.float32)
        rows = np.full((len(self.rows), depth), -1, np.int64)
        at_once = max(1, _WEIGHTED_AT_ONCE // max(1, self.rows.shape[1]))
        for start in range(0, len(rows), at_once):
            part = slice(start, start + at_once)
            together = hybrid_scores({name: score[part] for name, score in self.scores.items()}, weights)
            order = np.argsort(-together, axis=1, kind="stable")[:, :depth]
            width = order.shape[1]
            scores[part, :width] = np.take_along_axis(together, order, axis=1)
            rows[part, :width] = np.take_along_axis(self.rows[part], order, axis=1)
        rows[np.isneginf(scores)] = -1
        return Found(scores, rows)


def union(*rankings: Rows) -> Rows:
    """The rows of several rankings int64 [Q, k] of the same queries, each once: a pool's rows."""
    together = np.sort(np.concatenate(rankings, axis=1), axis=1)
    together[:, 1:][together[:, 1:] == together[:, :-1]] = -1
    together.sort(axis=1)
    widest = int((together >= 0).sum(axis=1).max(initial=1))
    return together[:, -max(1, widest) :]


@dataclass(frozen=True)
class Part:
    """What of a pool lies in one block of the corpus, as lines of the queries that have something there."""

    queries: Rows  # [u]
    rows: Rows  # [u, w], counted from the block's first row; -1 for none
    places: Rows  # [u, w], places in the flat pool; -1 for none


class PoolPlaces:
    """A pool's entries in the order of the corpus: each block is asked for what of it lies there."""

    def __init__(self, rows: Rows) -> None:
        self._shape, flat = rows.shape, rows.ravel()
        places = np.flatnonzero(flat >= 0)
        self._places = places[np.argsort(flat[places], kind="stable")]
        self._rows = flat[self._places]

    @property
    def distinct(self) -> Rows:
        """The rows that some query has in its pool, ascending."""
        return np.unique(self._rows)

    def part(self, first: int, end: int) -> Part | None:
        """The entries of the rows first to end; None where there is none."""
        low, high = np.searchsorted(self._rows, [first, end])
        if low == high:
            return None
        places = np.sort(self._places[low:high])
        order = np.argsort(self._places[low:high])
        queries, starts, counts = np.unique(places // self._shape[1], return_index=True, return_counts=True)
        line = np.repeat(np.arange(len(queries)), counts)
        column = np.arange(len(places)) - np.repeat(starts, counts)
        part = Part(queries, *(np.full((len(queries), int(counts.max())), -1, np.int64) for _ in range(2)))
        part.rows[line, column] = self._rows[low:high][order] - first
        part.places[line, column] = places
        return part


def fill_scores(
    rows: Rows, blocks: Iterable[tuple[int, int, Callable[[Part], Floats]]], places: PoolPlaces | None = None
) -> Floats:
    """Scores [Q, m] of a pool from blocks (first row, end, scores [u, w] of a Part): float32, -inf for none."""
    places = places or PoolPlaces(rows)
    scores = np.full(rows.size, -np.inf, np.float32)
    for first, end, score in blocks:
        part = places.part(first, end)
        if part is not None:
            there = part.places >= 0
            scores[part.places[there]] = score(part)[there]
    return scores.reshape(rows.shape)


def tuned_weights(
    data: RetrievalData, pool: Pool, outputs: Sequence[Output], *, cutoff: int = 10, step: float = 0.05
) -> tuple[dict[Output, float], float]:
    """The weights, adding up to 1, of largest mean nDCG@cutoff on judged queries, and that value.

    First the grid of all multiples of `step`, then coordinate search from the best: steps of a half and a quarter of it, two
    weights at a time, as long as one is better. Of equals the first (most weight on the first outputs) is kept. The scores
    are computed once, whatever weights are tried.
    """
    gains, ideal = pool_gains(data, pool.rows, cutoff)

    def value(weights: tuple[float, ...]) -> float:
        if not any(weights):
            return -1.0
        found = _gains_in_order(pool, dict(zip(outputs, weights, strict=True)), gains, cutoff)
        return float(np.where(ideal > 0, found / np.where(ideal > 0, ideal, 1), 0).mean())

    best = max(_grid(len(outputs), round(1 / step)), key=value)
    most = value(best)
    for finer in (step / 2, step / 4):
        improved = True
        while improved:
            improved = False
            for candidate in _neighbours(best, finer):
                if (at := value(candidate)) > most:
                    best, most, improved = candidate, at, True
    return dict(zip(outputs, best, strict=True)), most


def _grid(size: int, steps: int) -> Iterator[tuple[float, ...]]:
    def parts(size: int, left: int) -> Iterator[tuple[int, ...]]:
        if size == 1:
            yield (left,)
            return
        for first in range(left, -1, -1):
            for others in parts(size - 1, left - first):
                yield (first, *others)

    for counts in parts(size, steps):
        yield tuple(count / steps for count in counts)


def _neighbours(weights: tuple[float, ...], step: float) -> Iterator[tuple[float, ...]]:
    for up in range(len(weights)):
        for down in range(len(weights)):
            if up != down and weights[down] >= step - 1e-12:
                moved = [round(weight, 12) for weight in weights]
                moved[up], moved[down] = round(moved[up] + step, 12), max(0.0, round(moved[down] - step, 12))
                yield tuple(moved)


def pool_gains(data: RetrievalData, rows: Rows, cutoff: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The grades of a pool's passages [Q, m], below 0 as 0, and the largest DCG@cutoff [Q] that a ranking can have."""
    discounts = 1 / np.log2(np.arange(2, cutoff + 2))
    known = np.unique(rows[rows >= 0])
    row_of = dict(zip(take_texts(data.document_ids, known).to_pylist(), known.tolist(), strict=True))
    gains, ideal = np.zeros(rows.shape), np.zeros(len(rows))
    for query, query_id in enumerate(data.query_ids):
        judged = {document: grade for document, grade in data.relevance[query_id].items() if grade > 0}
        best = np.sort(np.array(list(judged.values()), np.float64))[::-1][:cutoff]
        ideal[query] = best @ discounts[: len(best)]
        there = [(row_of[document], grade) for document, grade in judged.items() if document in row_of]
        for row, grade in there:
            gains[query, np.flatnonzero(rows[query] == row)] = grade
    return gains, ideal


def _gains_in_order(
    pool: Pool, weights: Weights, gains: npt.NDArray[np.float64], cutoff: int
) -> npt.NDArray[np.float64]:
    """DCG@cutoff [Q] of the ranking by these weights."""
    discounts = 1 / np.log2(np.arange(2, cutoff + 2))
    found = np.zeros(len(gains))
    at_once = max(1, _WEIGHTED_AT_ONCE // max(1, gains.shape[1]))
    relevant = np.asarray((gains > 0).any(axis=1))
    for start in range(0, len(gains), at_once):
        part = np.flatnonzero(relevant[start : start + at_once]) + start
        together = hybrid_scores({name: score[part] for name, score in pool.scores.items()}, weights)
        order = _first(together, cutoff)
        found[part] = np.take_along_axis(gains[part], order, axis=1) @ discounts[: order.shape[1]]
    return found


def _first(scores: Floats, count: int) -> npt.NDArray[np.intp]:
    """The columns [Q, count] of the largest scores, largest first, equal ones by the lower column."""
    if scores.shape[1] > 4 * count:
        least = -np.partition(-scores, count - 1, axis=1)[:, count - 1 : count]
        scores = np.where(scores >= least, scores, -np.inf)
        width = int((scores >= least).sum(axis=1).max(initial=1))
        columns = np.sort(np.argsort(scores < least, axis=1, kind="stable")[:, :width], axis=1)
        within = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")[:, :count]
        return np.take_along_axis(columns, within, axis=1)
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]
