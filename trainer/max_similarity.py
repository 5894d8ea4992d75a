"""Multi-vector scores with gradient, in tiles (M3, section 3.2 "multi-vector retrieval").

In:  token vectors of queries and passages, of any lengths.
Out: s(q, p) = 1/N sum over the N tokens of q of the largest inner product with a token of p.

The products of a tile are made, their maxima kept, and the tile is forgotten: memory O(tokens + one tile + 4 bytes a query
token and passage), which say where each maximum was. The gradient goes there, to the first of equal ones. Passages are
padded within a tile by their own last vector, which changes no maximum. This module imports torch at once and is imported
where a loss is computed.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from trainer.chunks import chunks_of_like_lengths
from trainer.text_rows import TextRows

Int64 = npt.NDArray[np.int64]

_TILE: Final = {"cpu": (512, 2048), "cuda": (4096, 16_384)}  # query tokens, passage tokens: 4 MB stay in a CPU's cache


def max_similarity(
    queries: TextRows,
    passages: TextRows,
    tile: tuple[int, int] | None = None,
    padded_to: int | None = None,
) -> torch.Tensor:
    """[b, P] scores of queries (values [tq, d]) and passages ([tp, d]), float32 or float64, with gradients to both.

    A text without a token scores 0. Deterministic on the CPU, whatever the number of threads. `tile` is (query tokens,
    passage tokens) of one tile. `padded_to`: passages shorter than that have zero vectors behind them that take part in
    the maximum, as in FlagEmbedding's training.
    """
    apply: Any = _MaxSimilarity.apply
    plan = _Plan.of(queries, passages, tile or _TILE[queries.values.device.type], padded_to)
    scores: torch.Tensor = apply(queries.values, passages.values, plan)
    return scores


@dataclass(frozen=True)
class _Tile:
    """Passages of like lengths, k of them, padded to the longest, L."""

    passages: torch.Tensor  # int64 [k]
    rows: torch.Tensor  # int64 [k * L]: their token vectors, the last one again and again behind short ones
    starts: torch.Tensor  # int64 [k]
    last: torch.Tensor  # int64 [k]: the place of the last token
    padded: torch.Tensor | None  # bool [k]: zero vectors take part


@dataclass(frozen=True)
class _Plan:
    """Which tokens meet in a tile."""

    owners: torch.Tensor  # int64 [tq]: the query of each token
    lengths: torch.Tensor  # [b, 1]: tokens of each query, at least 1
    tiles: list[_Tile]
    height: int  # query tokens of a tile
    queries: int
    passages: int

    @classmethod
    def of(cls, queries: TextRows, passages: TextRows, tile: tuple[int, int], padded_to: int | None) -> "_Plan":
        device, dtype = queries.values.device, queries.values.dtype
        owners = np.repeat(np.arange(len(queries)), queries.lengths)
        there = np.flatnonzero(passages.lengths > 0)
        chunks = chunks_of_like_lengths(passages.lengths[there], tile[1])
        return cls(
            torch.from_numpy(owners).to(device),
            torch.from_numpy(np.maximum(queries.lengths, 1)).to(device, dtype)[:, None],
            [_tile(passages, there[chunk], padded_to) for chunk in chunks],
            tile[0],
            len(queries),
            len(passages),
        )

    def slices(self) -> Iterator[slice]:
        """Of the query tokens."""
        for first in range(0, len(self.owners), self.height):
            yield slice(first, min(first + self.height, len(self.owners)))


def _tile(passages: TextRows, chosen: Int64, padded_to: int | None) -> _Tile:
    device = passages.values.device
    lengths, starts = passages.lengths[chosen], passages.offsets[chosen]
    rows = starts[:, None] + np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)
    padded = None if padded_to is None else torch.from_numpy(lengths < padded_to).to(device)
    numbers = [torch.from_numpy(each).to(device) for each in (chosen, rows.ravel(), starts, lengths - 1)]
    return _Tile(numbers[0], numbers[1], numbers[2], numbers[3], padded)


class _MaxSimilarity(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, queries: torch.Tensor, passages: torch.Tensor, plan: _Plan) -> torch.Tensor:
        scores = queries.new_zeros(plan.queries, plan.passages)
        places = torch.full((len(queries), plan.passages), -1, dtype=torch.int32, device=queries.device)
        for tile in plan.tiles:
            vectors = passages.index_select(0, tile.rows)
            sums = queries.new_zeros(plan.queries, len(tile.passages))
            for cut in plan.slices():
                products = queries[cut] @ vectors.T
                largest, place = products.view(len(products), len(tile.passages), -1).max(dim=2)
                # Of equal vectors a product of the copies may round higher than that of the last token itself.
                place = tile.starts + torch.minimum(place, tile.last)
                if tile.padded is not None:
                    zero = tile.padded & (largest < 0)
                    largest, place = largest.masked_fill(zero, 0.0), place.masked_fill(zero, -1)
                sums.index_add_(0, plan.owners[cut], largest)
                places[cut, tile.passages] = place.to(torch.int32)
            scores[:, tile.passages] = sums / plan.lengths
        context.save_for_backward(queries, passages, places)
        context.plan = plan
        return scores

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        queries, passages, places = context.saved_tensors
        plan: _Plan = context.plan
        each = gradients[0] / plan.lengths  # of each maximum of a query's tokens
        if queries.device.type == "cpu":
            return *_gradients_by_loops(queries, passages, places, plan.owners, each), None
        return *_gradients_by_products(queries, passages, places, plan, each), None


def _gradients_by_loops(
    queries: torch.Tensor, passages: torch.Tensor, places: torch.Tensor, owners: torch.Tensor, each: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    from trainer.max_similarity_loops import add_to_passages, add_to_queries

    of_queries, of_passages = torch.zeros_like(queries), torch.zeros_like(passages)
    shared = [tensor.contiguous().numpy() for tensor in (places, owners, each)]
    count, threads = places.shape, torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        runs = [
            pool.submit(loop, source.detach().contiguous().numpy(), *shared, target.numpy(), first, end)
            for loop, source, target, rows in (
                (add_to_queries, passages, of_queries, count[0]),
                (add_to_passages, queries, of_passages, count[1]),
            )
            for first, end in _shares(rows, threads)
        ]
        for run in runs:
            run.result()
    return of_queries, of_passages


def _shares(rows: int, parts: int) -> list[tuple[int, int]]:
    edges = [rows * part // parts for part in range(parts + 1)]
    return [(first, end) for first, end in pairwise(edges) if end > first]


def _gradients_by_products(
    queries: torch.Tensor, passages: torch.Tensor, places: torch.Tensor, plan: _Plan, each: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """By matrices [query tokens, passage tokens] of a tile that hold a number where a maximum was: for a GPU."""
    of_queries, of_passages = torch.zeros_like(queries), torch.zeros_like(passages)
    for tile in plan.tiles:
        vectors, width = passages.index_select(0, tile.rows), len(tile.rows) // len(tile.passages)
        of_vectors = torch.zeros_like(vectors)
        for cut in plan.slices():
            place = places[cut, tile.passages].long()
            gradient = each[plan.owners[cut]][:, tile.passages].masked_fill(place < 0, 0.0)
            within = (place - tile.starts).clamp_(min=0)
            weights = gradient.new_zeros(*within.shape, width).scatter_(2, within[..., None], gradient[..., None])
            weights = weights.view(len(gradient), -1)
            of_queries[cut].addmm_(weights, vectors)
            of_vectors.addmm_(weights.T, queries[cut])
        of_passages.index_add_(0, tile.rows, of_vectors)  # copies of a last vector have a gradient of zero
    return of_queries, of_passages
