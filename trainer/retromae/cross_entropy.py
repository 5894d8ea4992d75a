"""Losses over a vocabulary without the matrix of all logits: one tile of rows at a time, each with its gradient at once.

In:  states [n, H] behind the head's transform, the output weights [V, H] and bias [V] (tied or not), what each should say.
Out: the sum of the losses, and its gradient by the states; that by weight and bias is added to theirs.

Since the gradient of a cross entropy needs only its own row of logits, a tile's logits are made once and never again: no
recomputation, and memory O(one tile + n * H), for any vocabulary. This module imports torch at once and is imported where a
loss is computed.
"""

from dataclasses import dataclass
from typing import Final

import torch

_TILE_BYTES: Final = {"cpu": 1 << 28, "cuda": 1 << 30}  # of float32 logits: the weights' gradient is read once a tile


@dataclass(frozen=True)
class OutputLayer:
    """What turns states into logits: states @ weight.T + bias."""

    weight: torch.Tensor  # [V, H]; its .grad is added to
    bias: torch.Tensor | None  # [V]
    computing: torch.Tensor  # `weight` in the type products are computed in

    @classmethod
    def of(cls, weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype) -> "OutputLayer":
        """Of a head's parameters; products in `dtype`, sums in float32 (or wider)."""
        return cls(weight, bias, weight.detach().to(dtype))

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """[n, V] in the weights' own type, without graph."""
        logits = (states @ self.computing.T).to(self.weight.dtype)
        return logits if self.bias is None else logits.add_(self.bias.detach())

    def add_gradients(self, of_logits: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Carry the gradient of logits [n, V] on to weight and bias; returns that of the states [n, H]."""
        if self.bias is not None:
            _gradient(self.bias).add_(of_logits.sum(dim=0))
        cast = of_logits.to(self.computing.dtype)
        if cast.dtype == self.weight.dtype:
            _gradient(self.weight).addmm_(cast.T, states)
        else:
            _gradient(self.weight).add_(cast.T @ states)
        return (cast @ self.computing).to(self.weight.dtype)


def tiled_cross_entropy(
    states: torch.Tensor, layer: OutputLayer, targets: torch.Tensor, scale: torch.Tensor, rows: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of -log softmax(logits)[target] over the rows (a scalar), and the gradient [n, H] of `scale` times it.

    states [n, H] in any float type, targets int64 [n] below V, scale a scalar; `rows` of a tile, by memory if None. Adds
    `scale` times the gradients to layer.weight.grad and layer.bias.grad. Deterministic on the CPU.
    """
    states = states.detach()
    loss = torch.zeros((), dtype=layer.weight.dtype, device=states.device)
    gradient = torch.empty(states.shape, dtype=layer.weight.dtype, device=states.device)
    height = rows or _rows_of_a_tile(layer)
    for top in range(0, len(states), height):
        tile = slice(top, top + height)
        of_tile = states[tile].to(layer.computing.dtype)
        logits, target = layer.logits(of_tile), targets[tile, None]
        log_sum = logits.logsumexp(dim=1, keepdim=True)
        loss += (log_sum - logits.gather(1, target)).sum()
        shares = logits.sub_(log_sum).exp_()
        shares.scatter_(1, target, shares.gather(1, target) - 1)
        gradient[tile] = layer.add_gradients(shares.mul_(scale), of_tile)
    return loss, gradient


def bag_of_words_loss(
    states: torch.Tensor, layer: OutputLayer, lengths: list[int], words: torch.Tensor, scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """DupMAE's loss summed over texts, and the gradient [t, H] of `scale` times it (arXiv 2305.02564, section 3.2).

    states [t, H] of the texts' tokens end to end, `lengths` of the texts in tokens, words int64 [t] the tokens they should
    say. Of each text the largest logit of each vocabulary entry over its tokens, log softmax of these, and the mean over
    the text's tokens of what their entries have, negated. Gradients as in tiled_cross_entropy.
    """
    states = states.detach()
    loss = torch.zeros((), dtype=layer.weight.dtype, device=states.device)
    gradient = torch.empty(states.shape, dtype=layer.weight.dtype, device=states.device)
    start = 0
    for length in lengths:
        text = slice(start, start + length)
        of_text = states[text].to(layer.computing.dtype)
        largest, place = _largest_logits(of_text, layer)
        log_shares = largest.log_softmax(dim=0)
        said = words[text]
        loss -= log_shares[said].mean()
        of_largest = log_shares.exp()
        of_largest -= torch.bincount(said, minlength=len(of_largest)).to(of_largest.dtype) / length
        of_largest *= scale
        gradient[text] = _largest_gradients(of_text, layer, of_largest, place)
        start += length
    return loss, gradient


def _largest_logits(states: torch.Tensor, layer: OutputLayer) -> tuple[torch.Tensor, torch.Tensor]:
    """[V]: the largest logit over the rows, and the first row that has it."""
    largest = torch.full((len(layer.weight),), -torch.inf, dtype=layer.weight.dtype, device=states.device)
    place = torch.zeros(len(layer.weight), dtype=torch.int64, device=states.device)
    height = _rows_of_a_tile(layer)
    for top in range(0, len(states), height):
        of_tile, row = layer.logits(states[top : top + height]).max(dim=0)
        larger = of_tile > largest
        largest = torch.where(larger, of_tile, largest)
        place = torch.where(larger, row + top, place)
    return largest, place


def _largest_gradients(
    states: torch.Tensor, layer: OutputLayer, of_largest: torch.Tensor, place: torch.Tensor
) -> torch.Tensor:
    """Carry the gradient [V] of the largest logits on to the weights, and to the states they came from."""
    if layer.bias is not None:
        _gradient(layer.bias).add_(of_largest)
    gradient = torch.zeros(states.shape, dtype=layer.weight.dtype, device=states.device)
    of_weight = _gradient(layer.weight)
    for left in range(0, len(place), _ENTRIES):
        entries = slice(left, left + _ENTRIES)
        each = of_largest[entries, None]
        of_weight[entries].add_(states[place[entries]].to(each.dtype) * each)
        gradient.index_add_(0, place[entries], layer.computing[entries].to(each.dtype) * each)
    return gradient


_ENTRIES: Final = 16_384  # vocabulary entries whose states are gathered at once


def _rows_of_a_tile(layer: OutputLayer) -> int:
    return max(16, _TILE_BYTES[layer.weight.device.type] // (4 * len(layer.weight)))


def _gradient(weight: torch.Tensor) -> torch.Tensor:
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad
