"""A model in shards: of each weight, its gradient and its moments a rank keeps its own rows (torch's FSDP2, `fully_shard`).

In:  an encoder and M3's heads, whole on the CPU of each rank.
Out: the same modules with weights that are DTensors on the device. The weights of a layer are gathered from all ranks for
     its forward and again for its backward pass, and given up after each (ZeRO, arXiv:1910.02054; FSDP, arXiv:2304.11277).

To gather takes all ranks: they run the encoder equally often (`Shards.in_common`), and a tensor becomes whole by a call that
all make (`Shards.whole`). Losses are parts of one sum over the ranks, so gradients are added up, not averaged.

This module imports torch at once and is imported where a model is sharded.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from trainer.distributed import Ranks
from trainer.m3_heads import Output
from trainer.optimizer import layer_names
from trainer.run_identity import TrainingError

_ALL: Final = 1 << 62  # graphs: more than there are chunks


@dataclass(frozen=True)
class Shards:
    """What was sharded, and how to use it together."""

    ranks: Ranks
    device: torch.device
    parts: tuple[tuple[FSDPModule, nn.Module], ...]  # the encoder, then each head, and its `_outline`
    gradients_too: bool  # summed over the ranks after each chunk; else once a step, being whole until then

    @property
    def gradient_bytes(self) -> int:
        """What whole gradients take on each rank from a step's first backward pass to its last."""
        if self.gradients_too:
            return 0
        numbers = 0
        for module, _ in self.parts:
            assert isinstance(module, nn.Module)
            numbers += sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
        return 4 * numbers

    def in_common(self, chunks: int, kept: int) -> tuple[int, int]:
        """How many chunks every rank embeds in a step, and how many of them keep their graphs, where this one has
        `chunks` and would keep the graphs of `kept`. A rank with fewer embeds something else that often."""
        most, fewest = self.ranks.largest([chunks, -(kept if kept < chunks else _ALL)])
        return most, min(most, -fewest)

    def before_backward(self, *, last: bool) -> None:
        """To be called before each chunk's backward pass: whether the gradients are summed over the ranks with it."""
        for module, _ in self.parts:
            module.set_requires_gradient_sync(self.gradients_too or last)

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        """All of a tensor that may be a shard, on the first rank's CPU. All ranks call it at the same time."""
        plain = tensor.detach()
        if isinstance(plain, DTensor):
            rows = len(plain)
            most = max(_rows_of_ranks(rows, self.ranks.count))  # all but the last ranks have as many
            plain = self.ranks.gather_rows(plain.to_local(), [most] * self.ranks.count)[:rows]
        return plain.cpu() if self.ranks.leads else plain

    def fill(self, tensor: torch.Tensor, whole: torch.Tensor | None) -> None:
        """Replace `tensor` by the `whole` that the first rank has; the others give None. All call it at the same time."""
        if whole is None:
            whole = torch.empty(tensor.shape, dtype=tensor.dtype, device=self.device)
        received = whole.to(self.device, tensor.dtype)
        self.ranks.take_over([received])
        plain = tensor.detach()
        if isinstance(plain, DTensor):
            rows = _rows_of_ranks(len(plain), self.ranks.count)
            first = sum(rows[: self.ranks.rank])
            plain.to_local().copy_(received[first : first + rows[self.ranks.rank]])
        else:
            plain.copy_(received)

    def copies(self) -> list[nn.Module]:
        """The encoder and each head as they are now, whole, on the CPU of the first rank; the others' have no weights.

        All ranks call it at the same time. A weight is whole on each of them for as long as it takes to hand it over.
        """
        found = []
        for module, outline in self.parts:
            assert isinstance(module, nn.Module)
            copied: dict[int, Any] = {}
            of_outline = dict(outline.named_parameters())
            for name, weight in module.named_parameters():
                whole = self.whole(weight)
                if self.ranks.leads:
                    copied[id(of_outline[name])] = nn.Parameter(whole, weight.requires_grad)
            found.append(copy.deepcopy(outline, copied))
        return found


def shard(
    encoder: nn.Module,
    heads: Mapping[Output, nn.Linear],
    device: torch.device,
    dtype: torch.dtype,
    ranks: Ranks,
    *,
    gradients_too: bool,
) -> Shards:
    """Shard `encoder` layer by layer, and `heads`, in place: the first rank's weights, on `device`.

    With `dtype` bfloat16 the matrices of layers are gathered in it, and their gradients summed in float32; all else is
    gathered in float32: so it goes in autocast. Autocast alone would keep a cast copy of each matrix until the backward
    pass, which is what sharding is there to avoid.

    Raises TrainingError for a model without layers, with weights that several layers share or that have no rows.
    """
    if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
        raise TrainingError(
            f"This torch ({torch.__version__}) cannot shard for training by sums of gradients. Install a newer one (2.13 "
            f"does), or set sharding none."
        )
    layers = _layers(encoder)
    parts = [encoder, *heads.values()]
    outlines = [_outline(part) for part in parts]
    for part in parts:
        ranks.take_over([weight.detach() for weight in part.parameters()])
    mesh = init_device_mesh(device.type, (ranks.count,))
    wide = MixedPrecisionPolicy(cast_forward_inputs=False)
    narrow = wide
    if dtype is torch.bfloat16:
        narrow = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    for layer in layers:
        for module in _no_matrices(layer) if dtype is torch.bfloat16 else ():
            fully_shard(module, mesh=mesh, reshard_after_forward=True, mp_policy=wide)
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, mp_policy=narrow)
    sharded = [fully_shard(part, mesh=mesh, reshard_after_forward=True, mp_policy=wide) for part in parts]
    for module in (each for part in parts for each in part.modules() if isinstance(each, FSDPModule)):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)  # gloo has no sum with a factor
    return Shards(ranks, device, tuple(zip(sharded, outlines, strict=True)), gradients_too)


def _layers(encoder: nn.Module) -> list[nn.Module]:
    """The layers of an encoder. Raises TrainingError where there are none, a weight is not of one of them alone or has no rows."""
    names = layer_names([name for name, _ in encoder.named_modules()])
    if not names:
        raise TrainingError(
            f"{type(encoder).__name__} has no modules that are named as layers are (layer.0, layers.0, block.0), so there is "
            f"nothing to shard one after another. Set sharding none."
        )
    owners: dict[int, str] = {}
    for name, weight in encoder.named_parameters(remove_duplicate=False):
        owner = next((layer for layer in names if name.startswith(f"{layer}.")), "")
        if owners.setdefault(id(weight), owner) != owner:
            raise TrainingError(
                f"{type(encoder).__name__} uses {name} in several layers, which cannot be sharded. Set sharding none."
            )
        if weight.ndim == 0 or not weight.is_contiguous():
            raise TrainingError(
                f"{type(encoder).__name__}'s weight {name} of shape {list(weight.shape)} has no rows one after another to shard. "
                f"Set sharding none."
            )
    return [encoder.get_submodule(name) for name in names]


def _no_matrices(layer: nn.Module) -> list[nn.Module]:
    """Of a layer the modules whose weights autocast does not cast: norms and tables."""
    found = []
    for module in layer.modules():
        own = list(module.parameters(recurse=False))
        table = isinstance(module, nn.Embedding) or all(weight.ndim < 2 for weight in own)
        if own and table and len(own) == len(list(module.parameters())):
            found.append(module)
    return found


def _outline(module: nn.Module) -> nn.Module:
    """A copy with its buffers but without its weights."""
    empty: dict[int, Any] = {
        id(weight): nn.Parameter(torch.empty_like(weight, device="meta"), weight.requires_grad)
        for weight in module.parameters()
    }
    return copy.deepcopy(module, empty)


def _rows_of_ranks(rows: int, ranks: int) -> list[int]:
    """How many of a tensor's rows each rank keeps: as torch.chunk cuts, as DTensor's Shard(0) does."""
    most = -(-rows // ranks)
    return [max(0, min(most, rows - rank * most)) for rank in range(ranks)]


class ShardedGradients:
    """The gradients of sharded weights: what trainer.distributed.FlatGradients is for whole ones.

    The step's last backward pass has summed them over the ranks; what is left to tell each other are the numbers `tail`, and
    the squares of each rank's rows for the norm.
    """

    def __init__(self, model: nn.Module, tail: int, device: torch.device) -> None:
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._told = torch.zeros(tail + 1, dtype=torch.float64, device=device)
        self.tail = self._told[:tail]

    def clear(self) -> None:
        self._told.zero_()
        for weight in self.weights:
            weight.grad = None

    def add_up(self, ranks: Ranks) -> None:
        for weight in self.weights:
            if weight.grad is None:  # in no text's graph: weights decay all the same
                weight.grad = torch.zeros_like(weight)
        for rows in self._rows():
            self._told[-1] += torch.linalg.vector_norm(rows).double().square()
        ranks.add_up(self._told)

    def clip(self, largest: float) -> float:
        """Scale the gradients down to the norm `largest`; returns the norm they had."""
        norm = math.sqrt(float(self._told[-1]))
        if norm > largest:  # not where it is no number
            torch._foreach_mul_(self._rows(), largest / (norm + 1e-6))
        return norm

    def _rows(self) -> list[torch.Tensor]:
        gradients: Sequence[Any] = [weight.grad for weight in self.weights]
        return [own for gradient in gradients if (own := gradient.to_local()).numel()]
