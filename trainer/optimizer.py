"""From gradients to weights: AdamW, the learning rate of each step and layer, and the running average of weights."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import torch

# "encoder.layer.3.", "layers.11.", "transformer.layer.0.": the names of layers in Hugging Face encoders.
_LAYER: Final = re.compile(r"(?:^|\.)(?:layer|layers|h|blocks?)\.(\d+)\.")


class OptimizerSettings(BaseModel):
    """The optimisation of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1, description="optimiser steps (M3 unsupervised: 25,000)")
    learning_rate: float = Field(1e-5, gt=0, description="AdamW's, at its highest (FlagEmbedding, BGE fine-tuning)")
    warmup_ratio: float = Field(0.1, ge=0, le=1, description="share of the steps with rising rate (M3 appendix B.1)")
    schedule: Literal["linear", "cosine", "wsd", "constant"] = Field(
        "linear",
        description="of the learning rate after warm-up; wsd: constant, then falling at the end (MiniCPM section 4.2)",
    )
    decay_ratio: float = Field(
        0.1, gt=0, le=1, description="share of the steps in which wsd falls to 0 (MiniCPM section 4.3)"
    )
    weight_decay: float = Field(0.01, ge=0, description="not on biases and layer norms (M3 appendix B.1)")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="AdamW (torch and transformers default)")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="AdamW (torch and transformers default)")
    adam_epsilon: float = Field(1e-8, gt=0, description="AdamW (torch and transformers default)")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="each layer's rate is this times that of the one above it (ELECTRA: 0.8 to 0.9)"
    )
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm (transformers default)")
    average_decay: float | None = Field(
        None, gt=0, lt=1, description="the model is the running average of its weights with this decay; none: the last"
    )


def learning_rate(step: int, settings: OptimizerSettings) -> float:
    """The rate of `step` (from 0): rises linearly to the highest in the last warm-up step, then as `schedule` says.

    linear falls towards 0, cosine along half a wave, wsd stays and falls linearly in its last share, constant stays.
    """
    import math

    warmup = round(settings.warmup_ratio * settings.steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    left = settings.steps - step
    if settings.schedule == "linear":
        share = left / (settings.steps - warmup)
    elif settings.schedule == "cosine":
        share = (1 - math.cos(math.pi * left / (settings.steps - warmup))) / 2
    elif settings.schedule == "wsd":
        share = min(1.0, left / max(1, round(settings.decay_ratio * settings.steps)))
    else:
        share = 1.0
    return settings.learning_rate * share


def adamw(model: "torch.nn.Module", settings: OptimizerSettings) -> "torch.optim.Optimizer":
    """AdamW in fp32, one kernel for all weights; `set_learning_rate` gives each group its rate."""
    import torch

    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    depth = 1 + max((layer for name in names if (layer := _layer(name)) is not None), default=-1)
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            # Biases and the scales of layer norms are vectors.
            decay = settings.weight_decay if weight.ndim >= 2 else 0.0
            groups.setdefault((decay, _share_of_rate(name, depth, settings.layer_decay)), []).append(weight)
    return torch.optim.AdamW(
        [{"params": weights, "weight_decay": decay, "share": share} for (decay, share), weights in groups.items()],
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True,
    )


def set_learning_rate(optimizer: "torch.optim.Optimizer", rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def layer_names(modules: Iterable[str]) -> list[str]:
    """Of the names of a model's modules, parents first, those of its layers; not of layers within layers."""
    found: list[str] = []
    for name in modules:
        match = _LAYER.search(f"{name}.")
        if match is not None and match.end() == len(name) + 1:
            found.append(name)
    return found


def _layer(name: str) -> int | None:
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def _share_of_rate(name: str, depth: int, layer_decay: float) -> float:
    """1 for what comes after the layers, layer_decay for the last layer ... layer_decay ** (depth + 1) for embeddings."""
    layer = _layer(name)
    if layer is not None:
        return float(layer_decay ** (depth - layer))
    return float(layer_decay ** (depth + 1)) if "embed" in name else 1.0


class WeightAverage:
    """The running average of a model's weights, by name: average = d * average + (1 - d) * weight after each step.

    d is (1 + step) / (10 + step) at first, until it reaches `decay`, so that the first weights do not linger.
    """

    def __init__(self, model: "torch.nn.Module", decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Any] = dict(model.named_parameters())
        self.averages: dict[str, torch.Tensor] = {
            name: weight.detach().clone() for name, weight in self.weights.items()
        }

    def update(self, step: int) -> None:
        """Take in the weights after `step` (from 0)."""
        import torch

        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averages.values()), list(self.weights.values()), 1 - decay)

    def put_in(self) -> None:
        """Make the averages the model's weights."""
        import torch

        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(self.averages[name])
