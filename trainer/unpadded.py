"""The forward pass of BERT-like encoders over texts laid end to end: no padding is multiplied.

In:  a loaded transformers model (BERT, RoBERTa, XLM-RoBERTa, CamemBERT), token ids int64 [t] of texts end to end.
Out: the hidden states of its last layer [t, H], those of the transformers forward but for rounding.

Linear layers, GELU and LayerNorm see the t tokens and nothing else; the three projections of attention are one product.
Attention runs over groups of texts of equal length on a CPU, where its kernel needs no mask, and over one padded group
on a GPU, where many small kernels would cost more than the padding of a batch that was sorted by length.

On a CPU the products of linear layers and of attention may be those of numbers rounded to 16-bit integers
(trainer/integer_layers.py, trainer/integer_products.py), each text by itself; all else stays float32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

    Linear: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

# transformers names the positions of these from pad_token_id + 1 on, and a padding token inside a text gets none.
_POSITIONS_AFTER_PADDING: Final = frozenset({"roberta", "xlm-roberta", "camembert"})
_SUPPORTED: Final = _POSITIONS_AFTER_PADDING | {"bert"}


@dataclass(frozen=True)
class _Layer:
    """One layer; its query, key and value are one linear layer [3 H, H]."""

    attention_in: "Linear"
    attention_out: "Linear"
    attention_norm: "tuple[torch.Tensor, torch.Tensor]"
    inner: "Linear"
    outer: "Linear"
    norm: "tuple[torch.Tensor, torch.Tensor]"


class UnpaddedEncoder:
    """A BERT-like encoder without padding.

    It shares its weights with the model that it was made of. That model stays usable, but not with `integers`: linear
    layers are then kept rounded to 16 bits, and nowhere else.
    """

    def __init__(self, model: Any, *, integers: bool = False) -> None:
        """`model` is one that `can_be_unpadded`, already on its device and in its computing type; `integers`: float32 on a
        CPU that has the instructions (trainer.integer_products.can_multiply_integers)."""
        config = model.config
        self.integers = integers
        self.heads = int(config.num_attention_heads)
        self.epsilon = float(config.layer_norm_eps)
        self.first_position = config.pad_token_id + 1 if config.model_type in _POSITIONS_AFTER_PADDING else 0
        self.padding_id = config.pad_token_id
        embeddings = model.embeddings
        self.words = embeddings.word_embeddings.weight
        # One sort of text only, so that its type embedding can be added to the positions' once.
        self.positions = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
        self.embeddings_norm = _weights(embeddings.LayerNorm)
        self.layers = [_layer(each, _integer_linear if integers else _float_linear) for each in model.encoder.layer]

    def __call__(self, ids: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> "torch.Tensor":
        """Hidden states [t, H] of n texts end to end: ids [t], lengths [n] >= 1, longest first."""
        import torch

        device = self.words.device
        positions = torch.from_numpy(self._positions(ids, lengths)).to(device)
        hidden = torch.nn.functional.embedding(torch.from_numpy(ids).to(device), self.words)
        hidden += self.positions[positions]
        hidden = self._normalised(hidden, self.embeddings_norm)
        groups = _groups(lengths, device, self.integers)
        for layer in self.layers:
            hidden = self._layer(hidden, layer, groups)
        return hidden

    def _positions(self, ids: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        starts = np.cumsum(lengths) - lengths
        if self.first_position == 0:
            return np.arange(len(ids)) - np.repeat(starts, lengths)
        counted = ids != self.padding_id
        before = np.concatenate([[0], np.cumsum(counted)])
        within = before[1:] - np.repeat(before[starts], lengths)
        positions: npt.NDArray[np.int64] = np.where(counted, within + self.padding_id, self.padding_id)
        return positions

    def _layer(self, hidden: "torch.Tensor", layer: _Layer, groups: "_Groups") -> "torch.Tensor":
        import torch

        attended = groups.attend(layer.attention_in(hidden), self.heads)
        hidden = self._normalised(layer.attention_out(attended).add_(hidden), layer.attention_norm)
        inner = torch.ops.aten.gelu_(layer.inner(hidden))
        return self._normalised(layer.outer(inner).add_(hidden), layer.norm)

    def _normalised(self, hidden: "torch.Tensor", norm: "tuple[torch.Tensor, torch.Tensor]") -> "torch.Tensor":
        import torch

        return torch.nn.functional.layer_norm(hidden, (hidden.shape[-1],), *norm, self.epsilon)


def can_be_unpadded(model: Any) -> bool:
    """Whether UnpaddedEncoder computes what this transformers model does; all others go through their own forward."""
    config = model.config
    return bool(
        config.model_type in _SUPPORTED
        and config.hidden_act == "gelu"
        and getattr(config, "position_embedding_type", "absolute") in ("absolute", None)
        and not config.is_decoder
        and not getattr(config, "add_cross_attention", False)
        and type(model).__name__ in ("BertModel", "RobertaModel", "XLMRobertaModel", "CamembertModel")
    )


@dataclass(frozen=True)
class _EqualLengths:
    """Runs of texts of one length, as they lie: (first token, number of texts, length)."""

    runs: list[tuple[int, int, int]]

    def attend(self, projected: "torch.Tensor", heads: int) -> "torch.Tensor":
        """Attention [t, H] of query, key and value side by side [t, 3 H]."""
        import torch

        attended = [
            _attention(projected[at : at + n * long].view(n, long, -1), heads, None) for at, n, long in self.runs
        ]
        parts = [each.flatten(0, 1) for each in attended]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


@dataclass(frozen=True)
class _Padded:
    """All texts, padded to the longest one for attention alone."""

    places: "torch.Tensor"  # int64 [t]: where each token lies in the padded [n * longest]
    mask: "torch.Tensor | None"  # bool [n, 1, 1, longest]; None where all are equally long
    shape: tuple[int, int]  # n, longest

    def attend(self, projected: "torch.Tensor", heads: int) -> "torch.Tensor":
        """Attention [t, H] of query, key and value side by side [t, 3 H]."""
        count, longest = self.shape
        if self.mask is None:
            return _attention(projected.view(count, longest, -1), heads, None).flatten(0, 1)
        padded = projected.new_zeros(count * longest, projected.shape[1])
        padded[self.places] = projected
        attended = _attention(padded.view(count, longest, -1), heads, self.mask)
        return attended.reshape(count * longest, -1)[self.places]


@dataclass(frozen=True)
class _InIntegers:
    """Each text by itself, on a CPU."""

    lengths: npt.NDArray[np.int64]

    def attend(self, projected: "torch.Tensor", heads: int) -> "torch.Tensor":
        """Attention [t, H] of query, key and value side by side [t, 3 H]."""
        import torch

        from trainer.integer_products import attend

        return torch.from_numpy(attend(projected.detach().numpy(), self.lengths, heads))


_Groups = _EqualLengths | _Padded | _InIntegers


def _groups(lengths: npt.NDArray[np.int64], device: "torch.device", integers: bool) -> _Groups:
    if integers:
        return _InIntegers(lengths)
    return _equal_lengths(lengths) if device.type == "cpu" else _one_padded_group(lengths, device)


def _equal_lengths(lengths: npt.NDArray[np.int64]) -> _EqualLengths:
    starts = np.flatnonzero(np.concatenate([[True], lengths[1:] != lengths[:-1]]))
    counts = np.diff(np.concatenate([starts, [len(lengths)]]))
    tokens = (np.cumsum(lengths) - lengths)[starts]
    return _EqualLengths(list(zip(tokens.tolist(), counts.tolist(), lengths[starts].tolist(), strict=True)))


def _one_padded_group(lengths: npt.NDArray[np.int64], device: "torch.device") -> _Padded:
    import torch

    longest = int(lengths.max())
    mask = np.arange(longest) < lengths[:, None]
    places = torch.from_numpy(np.flatnonzero(mask)).to(device)
    masked = None if mask.all() else torch.from_numpy(mask).to(device)[:, None, None, :]
    return _Padded(places, masked, (len(lengths), longest))


def _attention(projected: "torch.Tensor", heads: int, mask: "torch.Tensor | None") -> "torch.Tensor":
    """[n, L, H] of query, key and value [n, L, 3 H]."""
    import torch

    count, long, width = projected.shape
    query, key, value = projected.view(count, long, 3, heads, width // (3 * heads)).permute(2, 0, 3, 1, 4)
    attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return attended.transpose(1, 2).reshape(count, long, width // 3)


def _layer(layer: Any, linear: "Callable[[list[Any]], Linear]") -> _Layer:
    return _Layer(
        attention_in=linear([getattr(layer.attention.self, name) for name in ("query", "key", "value")]),
        attention_out=linear([layer.attention.output.dense]),
        attention_norm=_weights(layer.attention.output.LayerNorm),
        inner=linear([layer.intermediate.dense]),
        outer=linear([layer.output.dense]),
        norm=_weights(layer.output.LayerNorm),
    )


def _float_linear(modules: list[Any]) -> "Linear":
    """Linear layers with the same input as one, which shares its weights with them."""
    import torch

    weight, bias = _stacked(modules)
    parts = zip(modules, weight.chunk(len(modules)), bias.chunk(len(modules)), strict=True)
    for each, its_weight, its_bias in parts:
        each.weight.data, each.bias.data = its_weight, its_bias  # no second copy in memory
    return partial(torch.nn.functional.linear, weight=weight, bias=bias)


def _integer_linear(modules: list[Any]) -> "Linear":
    """The same of rounded weights; those of the modules are emptied."""
    from trainer.integer_layers import IntegerLinear

    made = IntegerLinear(*_stacked(modules))
    for each in modules:
        each.weight.data = each.weight.data.new_empty(0)  # no second copy in memory
    return made


def _stacked(modules: list[Any]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Weight [sum of the modules' m, K] and bias [sum of m]."""
    import torch

    if len(modules) == 1:
        return modules[0].weight.data, modules[0].bias.data
    return torch.cat([each.weight.data for each in modules]), torch.cat([each.bias.data for each in modules])


def _weights(module: Any) -> "tuple[torch.Tensor, torch.Tensor]":
    return module.weight, module.bias
