"""An encoder with M3's further heads, as training has it: one module, so that all of it learns and is kept together.

In:  a model folder, with or without sparse_linear and colbert_linear (trainer.m3_heads).
Out: linear layers for the outputs asked for, read from the folder or new, and the module of encoder and layers.

This module imports torch at once and is imported where a model is trained.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch

from trainer.backbone import ModelFolderError
from trainer.m3_heads import FILE_OF_HEAD, Head, Output, available_outputs, read_head

_HEAD_STREAM: Final = 7  # beside the other streams of the same seed


class EncoderWithHeads(torch.nn.Module):
    """All weights that learn. The parts are called by themselves; there is no forward."""

    def __init__(self, encoder: torch.nn.Module, heads: Mapping[Output, torch.nn.Linear]) -> None:
        super().__init__()
        self.encoder = encoder
        for output, head in heads.items():
            self.add_module(FILE_OF_HEAD[output], head)


def training_heads(
    folder: Path, outputs: tuple[Output, ...], hidden_size: int, token_dimension: int | None, seed: int
) -> dict[Output, torch.nn.Linear]:
    """The heads of `outputs` but "dense", fp32 on the CPU: those that the model folder has, else new ones.

    New ones are torch's Linear as it begins, drawn from `seed`; of "multi_vector" with `token_dimension` numbers a token
    (None: `hidden_size`, as FlagEmbedding's colbert_dim -1). Raises ModelFolderError where the folder's head cannot be
    read or has another dimension.
    """
    there = available_outputs(folder)
    heads = {}
    for number, output in enumerate(FILE_OF_HEAD):
        if output not in outputs:
            continue
        if output in there:
            heads[output] = _linear(read_head(folder, output, hidden_size))
        else:
            width = 1 if output == "lexical" else token_dimension or hidden_size
            heads[output] = _new(hidden_size, width, (seed, _HEAD_STREAM, number))
        found = heads[output].out_features
        if output == "multi_vector" and token_dimension is not None and found != token_dimension:
            raise ModelFolderError(
                f"token_dimension is {token_dimension}, but the multi-vector head of {folder} gives {found} numbers a token. "
                f"Leave token_dimension out to train that head, or start from a folder without {FILE_OF_HEAD[output]}."
            )
    return heads


def begin_with_weights(head: torch.nn.Linear, weights: torch.Tensor) -> None:
    """Of the two equally likely beginnings W, b and -W, -b take the one that gives more tokens a weight, where `weights`
    [t] are what the head gives now.

    The hidden states of an encoder share a direction, so a head drawn at random gives nearly all tokens a weight or nearly
    none (measured with multilingual-e5-small: under 15 % for 4 of 10 seeds); where it gives none, ReLU lets nothing learn.
    """
    if float((weights > 0).double().mean()) < 0.5:
        with torch.no_grad():
            head.weight.neg_()
            head.bias.neg_()


def token_weights(head: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """Lexical weights [t], float32 or wider, of hidden states [t, H]: ReLU(W h + b)."""
    return torch.relu(_wide(head(hidden)).squeeze(-1))


def unit_vectors(head: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """Token vectors [t, d], float32 or wider, of hidden states [t, H]: W h + b divided by its length."""
    return torch.nn.functional.normalize(_wide(head(hidden)), dim=-1)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype is torch.float64 else tensor.float()


def _linear(head: Head) -> torch.nn.Linear:
    rows, columns = head.weight.shape
    layer = torch.nn.Linear(columns, rows, device="meta").to_empty(device="cpu")  # draws no random numbers
    layer.load_state_dict({"weight": head.weight, "bias": head.bias})
    return layer


def _new(hidden_size: int, width: int, seed: tuple[int, ...]) -> torch.nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> np.uint64(1)))
        return torch.nn.Linear(hidden_size, width)
