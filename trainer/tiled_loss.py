"""log-sum-exp over a matrix of scores that never exists as a whole.

In:  embeddings of b queries and of C columns (passages), and pairs (query, column) that are to be left out.
Out: for each query log(sum over its columns of exp(<q, c> / t)), with gradient; memory O(one tile + (b + C) * D).

The forward pass goes over tiles of queries x columns and keeps the maximum and the sum so far; the backward pass makes
each tile again (Inf-CLIP, arXiv:2410.17243, section 3.2, without its ring). This module imports torch at once and is
imported where a loss is computed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch

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
        result = queries.new_full((len(queries),), _NOTHING)
        for rows, _, logits in tiles:
            result[rows] = torch.logaddexp(result[rows], torch.logsumexp(logits, dim=1))
        context.save_for_backward(queries, columns, result)
        context.rest = (temperature, left_out, tile)
        return result

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        queries, columns, result = context.saved_tensors
        temperature, left_out, tile = context.rest
        scale = gradients[0] / temperature
        of_queries, of_columns = torch.zeros_like(queries), torch.zeros_like(columns)
        # exp(-inf - -inf) is no number: a query without columns has no gradient.
        finite = result.nan_to_num(neginf=0.0)
        for rows, cut, logits in _Tiles(queries, columns, temperature, left_out, tile):
            weights = logits.sub_(finite[rows, None]).exp_().mul_(scale[rows, None])
            of_queries[rows].addmm_(weights, columns[cut])
            of_columns[cut].addmm_(weights.T, queries[rows])
        return of_queries, of_columns, None, None, None


class _Tiles:
    """The logits <q, c> / t of each tile, -inf where a column does not count for a query."""

    def __init__(
        self,
        queries: torch.Tensor,
        columns: torch.Tensor,
        temperature: float,
        left_out: LeftOut,
        tile: tuple[int, int],
    ) -> None:
        self.queries, self.columns, self.temperature, self.left_out = queries, columns, temperature, left_out
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
                yield rows, cut, self._logits(number, rows, cut)
                number += 1

    def _logits(self, number: int, rows: slice, cut: slice) -> torch.Tensor:
        logits = self.queries[rows] @ self.columns[cut].T
        if self.left_out.ceilings is not None:
            logits.masked_fill_(logits > self.left_out.ceilings[rows, None], _NOTHING)
        if (guide := self.left_out.guide) is not None:
            says = guide.queries[rows] @ guide.columns[cut].T
            logits.masked_fill_(says > guide.ceilings[rows, None], _NOTHING)
        if self.left_out.columns is not None:
            logits.masked_fill_(self.left_out.columns[cut], _NOTHING)
        logits.div_(self.temperature)
        pairs = slice(self.starts[number], self.starts[number + 1])
        query, column = self.pairs[0][pairs], self.pairs[1][pairs]
        logits.view(-1).index_fill_(0, (query - rows.start) * logits.shape[1] + (column - cut.start), _NOTHING)
        return logits
