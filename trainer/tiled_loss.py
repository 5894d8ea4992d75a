"""log-sum-exp over a matrix of scores that never exists as a whole.

In:  embeddings of b queries and of C columns (passages), and pairs (query, column) that are to be left out.
Out: for each query log(sum over its columns of exp(<q, c> / t)), with gradient; memory O(one tile + (b + C) * D).

The forward pass goes over tiles of queries x columns and keeps the maximum and the sum so far; the backward pass makes
each tile again (Inf-CLIP, arXiv:2410.17243, section 3.2, without its ring). What a tile's products go through is compiled
on CUDA (trainer.fused). This module imports torch at once and is imported where a loss is computed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch

from trainer.fused import Fused

_TILE: Final = {"cpu": (512, 2048), "cuda": (4096, 8192)}  # queries, columns: 4 MB stay in a CPU's cache; 128 MB
_NOTHING: Final = float("-inf")


@dataclass(frozen=True)
class Guide:
    """Embeddings of another model, that says which columns look like false negatives (GISTEmbed, arXiv:2402.16829)."""

    queries: torch.Tensor  # [b, G]
    columns: torch.Tensor  # [C, G]
    ceilings: torch.Tensor  # [b]: a column whose guide score is above is left out


@dataclass(frozen=True)
class LeftOut:
    """Which columns do not count."""

    query: torch.Tensor  # int64 [m], local numbers, with `column` in any order; a pair may occur more than once
    column: torch.Tensor  # int64 [m]
    columns: torch.Tensor | None = None  # bool [C]: columns that count for no query
    ceilings: torch.Tensor | None = None  # [b]: a column whose score <q, c> is above is left out (Qwen3-Embedding)
    guide: Guide | None = None


def log_sum_exp_of_scores(
    queries: torch.Tensor,
    columns: torch.Tensor,
    temperature: float,
    left_out: LeftOut,
    tile: tuple[int, int] | None = None,
) -> torch.Tensor:
    """[b]: log of the sum of exp(<q, c> / temperature) over the columns that count; -inf where there are none.

    queries [b, D] and columns [C, D], both float32 or both float64, on one device; the result has their dtype.
    `tile` is (queries, columns) of one tile. Deterministic on the CPU.
    """
    apply: Any = _LogSumExp.apply
    result: torch.Tensor = apply(queries, columns, temperature, left_out, tile or _TILE[queries.device.type])
    return result


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        queries: torch.Tensor,
        columns: torch.Tensor,
        temperature: float,
        left_out: LeftOut,
        tile: tuple[int, int],
    ) -> torch.Tensor:
        tiles = _Tiles(queries, columns, temperature, left_out, tile)
        sums = queries.new_full((len(queries), 1), _NOTHING)
        for rows, cut, products in tiles:
            sums[rows] = _sums_with(products, sums[rows], tiles.temperature, *tiles.masks(rows, cut))
        result = sums.squeeze(1)
        context.save_for_backward(queries, columns, result)
        context.rest = (temperature, left_out, tile)
        return result

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        queries, columns, result = context.saved_tensors
        temperature, left_out, tile = context.rest
        scale = (gradients[0] / temperature)[:, None]
        of_queries, of_columns = torch.zeros_like(queries), torch.zeros_like(columns)
        # exp(-inf - -inf) is no number: a query without columns has no gradient.
        finite = result.nan_to_num(neginf=0.0)[:, None]
        tiles = _Tiles(queries, columns, temperature, left_out, tile)
        for rows, cut, products in tiles:
            weights = _weights(products, finite[rows], scale[rows], tiles.temperature, *tiles.masks(rows, cut))
            of_queries[rows].addmm_(weights, columns[cut])
            of_columns[cut].addmm_(weights.T, queries[rows])
        return of_queries, of_columns, None, None, None


@Fused
def _sums_with(
    products: torch.Tensor, sums: torch.Tensor, temperature: torch.Tensor, *masks: torch.Tensor | None
) -> torch.Tensor:
    """[r, 1]: log(exp(sums) + sum over the tile's columns of exp(logit)), from `sums` [r, 1] of the columns before."""
    return torch.logaddexp(sums, torch.logsumexp(_logits(products, temperature, *masks), dim=1, keepdim=True))


@Fused
def _weights(
    products: torch.Tensor,
    sums: torch.Tensor,
    scale: torch.Tensor,
    temperature: torch.Tensor,
    *masks: torch.Tensor | None,
) -> torch.Tensor:
    """[r, c]: scale * exp(logit - sums), the gradient of the products; `sums` over all columns and `scale` are [r, 1]."""
    return _logits(products, temperature, *masks).sub_(sums).exp_().mul_(scale)


def _logits(
    products: torch.Tensor,
    temperature: torch.Tensor,
    ceilings: torch.Tensor | None,
    says: torch.Tensor | None,
    guide_ceilings: torch.Tensor | None,
    absent: torch.Tensor | None,
) -> torch.Tensor:
    """[r, c]: products / temperature, -inf where a column does not count; in place, but where it is compiled.

    temperature [1, 1], ceilings [r, 1], the guide's scores [r, c] with ceilings [r, 1], absent bool [1, c].
    """
    if torch.compiler.is_compiling():
        products = products.clone()  # which the compiler leaves out, and with it the writing of logits nobody reads
    if ceilings is not None:
        products.masked_fill_(products > ceilings, _NOTHING)
    if says is not None and guide_ceilings is not None:
        products.masked_fill_(says > guide_ceilings, _NOTHING)
    if absent is not None:
        products.masked_fill_(absent, _NOTHING)
    return products.div_(temperature)


class _Tiles:
    """The products <q, c> of each tile, -inf for the pairs left out, and masks for the rest."""

    def __init__(
        self,
        queries: torch.Tensor,
        columns: torch.Tensor,
        temperature: float,
        left_out: LeftOut,
        tile: tuple[int, int],
    ) -> None:
        self.queries, self.columns, self.left_out = queries, columns, left_out
        self.temperature = queries.new_full((1, 1), temperature)
        self.height, self.width = tile
        across = -(-len(columns) // self.width)
        down = -(-len(queries) // self.height)
        number = (left_out.query // self.height) * across + left_out.column // self.width
        order = torch.argsort(number, stable=True)
        self.pairs = (left_out.query[order], left_out.column[order])
        counts = torch.bincount(number, minlength=across * down) if across * down else number.new_zeros(0)
        self.starts = [0, *torch.cumsum(counts, 0).tolist()]

    def __iter__(self) -> Iterator[tuple[slice, slice, torch.Tensor]]:
        number = 0
        for top in range(0, len(self.queries), self.height):
            rows = slice(top, min(top + self.height, len(self.queries)))
            for left in range(0, len(self.columns), self.width):
                cut = slice(left, min(left + self.width, len(self.columns)))
                yield rows, cut, self._products(number, rows, cut)
                number += 1

    def _products(self, number: int, rows: slice, cut: slice) -> torch.Tensor:
        products = self.queries[rows] @ self.columns[cut].T
        pairs = slice(self.starts[number], self.starts[number + 1])
        query, column = self.pairs[0][pairs], self.pairs[1][pairs]
        products.view(-1).index_fill_(0, (query - rows.start) * products.shape[1] + (column - cut.start), _NOTHING)
        return products

    def masks(self, rows: slice, cut: slice) -> tuple[torch.Tensor | None, ...]:
        """What `_logits` takes beside products and temperature."""
        ceilings, guide, absent = self.left_out.ceilings, self.left_out.guide, self.left_out.columns
        return (
            None if ceilings is None else ceilings[rows, None],
            None if guide is None else guide.queries[rows] @ guide.columns[cut].T,
            None if guide is None else guide.ceilings[rows, None],
            # absent[None, cut] has strides that would be compiled for again.
            None if absent is None else absent[cut][None],
        )
