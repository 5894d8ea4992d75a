"""Lexical scores with gradient, and nothing as wide as the vocabulary (M3, section 3.2 "lexical retrieval").

In:  one weight a token of texts.
Out: `largest_of_each_token` keeps each distinct token's largest weight; `lexical_scores` is the inner product of every
     query with every passage. Memory O(tokens + a tile).

FlagEmbedding makes a tensor texts x tokens x vocabulary instead. This module imports torch at once and is imported where
a loss is computed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from trainer.text_rows import TextRows

_TILE_BYTES: Final = {"cpu": 4 << 20, "cuda": 256 << 20}  # of one tile's weights: 4 MB stay in a CPU's cache


def largest_of_each_token(
    weights: torch.Tensor,
    token_ids: npt.NDArray[np.integer[Any]],
    lengths: npt.NDArray[np.int64],
    left_out: npt.NDArray[np.integer[Any]],
) -> tuple[TextRows, torch.Tensor]:
    """For n texts (weights [t] and ids [t] end to end, lengths [n]) each distinct token's largest weight, and where it
    stands: int64 positions among the t. Of equal weights the first counts.

    Weights that are not positive and the tokens `left_out` (special ones) are no part of it; NaN stays, so that the
    loss shows it.
    """
    device = weights.device
    ids = torch.from_numpy(np.asarray(token_ids, np.int64)).to(device)
    texts = torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)).to(device)
    special = torch.from_numpy(np.asarray(left_out, np.int64)).to(device)
    places = torch.nonzero(~(weights <= 0) & ~torch.isin(ids, special)).squeeze(1)
    falling = places[torch.argsort(weights[places], descending=True, stable=True)]
    keys = texts[falling] * (int(token_ids.max(initial=0)) + 1) + ids[falling]
    keys, order = torch.sort(keys, stable=True)
    first = torch.ones_like(keys, dtype=torch.bool)
    first[1:] = keys[1:] != keys[:-1]
    chosen = falling[order[first]]
    counts = torch.bincount(texts[chosen], minlength=len(lengths)).cpu().numpy()
    return TextRows(weights[chosen], np.concatenate([[0], np.cumsum(counts)]), ids[chosen]), chosen


def lexical_scores(queries: TextRows, passages: TextRows, tile_bytes: int | None = None) -> torch.Tensor:
    """[b, P]: for each query and passage the sum over the tokens they share of the products of their weights.

    Of float32 or float64, with gradients to both `values`. Deterministic on the CPU. The vocabulary is that of the
    queries, cut into tiles of at most `tile_bytes` bytes of dense weights (one token at least).
    """
    assert queries.tokens is not None and passages.tokens is not None
    apply: Any = _Product.apply
    shared = _Shared.of(queries, passages, tile_bytes or _TILE_BYTES[queries.values.device.type])
    scores: torch.Tensor = apply(queries.values, passages.values, shared)
    return scores


@dataclass(frozen=True)
class _Side:
    """The rows of one side that have a token of the queries, ordered by its number."""

    texts: int
    row: torch.Tensor  # int64 [m]
    text: torch.Tensor  # int64 [m]
    number: torch.Tensor  # int64 [m], ascending
    starts: list[int]  # where each tile begins, and m

    @classmethod
    def of(cls, rows: TextRows, vocabulary: torch.Tensor, width: int) -> "_Side":
        assert rows.tokens is not None
        device = rows.values.device
        text = torch.from_numpy(np.repeat(np.arange(len(rows)), rows.lengths)).to(device)
        number = torch.searchsorted(vocabulary, rows.tokens).clamp_(max=max(0, len(vocabulary) - 1))
        known = torch.nonzero(vocabulary[number] == rows.tokens).squeeze(1) if len(vocabulary) else number[:0]
        number, order = torch.sort(number[known], stable=True)
        row = known[order]
        edges = torch.arange(0, len(vocabulary), width, device=device)
        starts = [*torch.searchsorted(number, edges).tolist(), len(row)]
        return cls(len(rows), row, text[row], number, starts)

    def tile(self, place: int, values: torch.Tensor, width: int, low: int) -> torch.Tensor:
        """Dense weights [texts, width] of the tokens from number `low` on."""
        cut = self._cut(place)
        dense = values.new_zeros(self.texts * width)
        dense[self.text[cut] * width + (self.number[cut] - low)] = values[self.row[cut]]
        return dense.view(self.texts, width)

    def take_gradient(self, place: int, dense: torch.Tensor, low: int, gradient: torch.Tensor) -> None:
        """From the gradient of a tile to that of the rows in it; each row is in one tile."""
        cut = self._cut(place)
        gradient[self.row[cut]] = dense[self.text[cut], self.number[cut] - low]

    def _cut(self, place: int) -> slice:
        return slice(self.starts[place], self.starts[place + 1])


@dataclass(frozen=True)
class _Shared:
    """Tiles of the queries' vocabulary."""

    queries: _Side
    passages: _Side
    vocabulary: int
    width: int

    @classmethod
    def of(cls, queries: TextRows, passages: TextRows, tile_bytes: int) -> "_Shared":
        assert queries.tokens is not None
        vocabulary = torch.unique(queries.tokens)
        bytes_a_token = queries.values.element_size() * (len(queries) + len(passages))
        width = max(1, min(tile_bytes // max(1, bytes_a_token), len(vocabulary)))
        of_queries, of_passages = (_Side.of(side, vocabulary, width) for side in (queries, passages))
        return cls(of_queries, of_passages, len(vocabulary), width)

    def tiles(self) -> Iterator[tuple[int, int, int]]:
        """The number of each tile, its first token's number and its width."""
        for place, low in enumerate(range(0, self.vocabulary, self.width)):
            yield place, low, min(self.width, self.vocabulary - low)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, queries: torch.Tensor, passages: torch.Tensor, shared: _Shared) -> torch.Tensor:
        scores = queries.new_zeros(shared.queries.texts, shared.passages.texts)
        for place, low, width in shared.tiles():
            of_queries = shared.queries.tile(place, queries, width, low)
            scores.addmm_(of_queries, shared.passages.tile(place, passages, width, low).T)
        context.save_for_backward(queries, passages)
        context.shared = shared
        return scores

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        queries, passages = context.saved_tensors
        shared: _Shared = context.shared
        of_queries, of_passages = torch.zeros_like(queries), torch.zeros_like(passages)
        for place, low, width in shared.tiles():
            dense_queries = shared.queries.tile(place, queries, width, low)
            dense_passages = shared.passages.tile(place, passages, width, low)
            shared.queries.take_gradient(place, gradients[0] @ dense_passages, low, of_queries)
            shared.passages.take_gradient(place, gradients[0].T @ dense_queries, low, of_passages)
        return of_queries, of_passages, None
