"""What a training run would do, without doing it: batches, padding, memory, time.

In:  the packed data, the settings, the model's folder.
Out: a `DryRun`. Counts and padding are those of the plan itself; memory is from the model's shape; time is from a forward and
     backward of some texts of the first step, measured here, without the loss.
"""

import time
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.backbone import resolve_model_path
from trainer.batch_plan import BatchPlan, plan_columns
from trainer.chunks import chunks_of_like_lengths, padded_tokens
from trainer.m3_heads import Output
from trainer.model_flops import ModelShape, activation_bytes, shape_of_folder, training_flops, weight_bytes
from trainer.training_data import TrainingData

if TYPE_CHECKING:
    import torch

    from trainer.gradient_cache import TextEncoder
    from trainer.loop import TrainSettings

_STEPS_LOOKED_AT = 32
_SECOND_FORWARD = 4 / 3  # forward 1, backward 2, and the forward again of gradient caching


@dataclass(frozen=True)
class GroupOfBatches:
    """The batches of one group and length group."""

    group: str
    length_from: int  # tokens
    pairs: int
    batch_size: int
    batches: int  # an epoch
    in_batch: bool


@dataclass(frozen=True)
class DryRun:
    """What was found."""

    steps: int
    pairs: int
    batches_per_epoch: int
    groups: list[GroupOfBatches]
    left_out: int  # pairs that an epoch has no room for
    pairs_per_step: float
    conflicting_share: float  # of a batch's places, left free because the pairs there repeat a query or positive
    tokens_per_step: float
    padding_share: float  # of the tokens that the forwards compute
    flops_per_step: float
    weight_bytes: int  # weights, gradients, moments
    activation_bytes: int  # at once, in the largest step looked at: graphs of forwards, outputs that are one a token
    seconds_per_step: float | None  # None: not measured

    @property
    def epochs(self) -> float:
        return self.steps / self.batches_per_epoch


def dry_run(data_folder: str, settings: "TrainSettings", *, measure: bool = True) -> DryRun:
    """What `train` would do with the same data and settings on this machine, with one process.

    Raises what `train` raises for data and settings that do not fit together.
    """
    from trainer.gradient_cache import TOKENS_PER_FORWARD, tokens_that_fit

    data = TrainingData.open(data_folder, settings.data_cache)
    data.check_instructions(settings.instruction_share)
    check_tokens(data, settings.model)
    plan = BatchPlan(plan_columns(data, settings), settings, settings.seed, settings.steps)
    shape = shape_of_folder(settings.model)
    heads = _heads(settings, shape)
    encoder = _encoder(settings, shape)
    per_forward = settings.tokens_per_forward or TOKENS_PER_FORWARD[encoder.device.type]
    at_once = tokens_that_fit(encoder) if settings.tokens_at_once is None else settings.tokens_at_once
    looked_at = np.unique(np.linspace(0, settings.steps - 1, _STEPS_LOOKED_AT).astype(np.int64))
    sizes = np.array([_sizes(data, plan, int(step), per_forward) for step in looked_at], np.float64)
    pairs, tokens, padded, squared, places = sizes.mean(axis=0)
    largest = int(sizes[:, 2].max())
    learning = sum(weight.numel() for head in heads.values() for weight in head.parameters())
    all_weights = replace(shape, parameters=shape.parameters + learning)
    again = _SECOND_FORWARD if padded > at_once else 1.0
    return DryRun(
        steps=settings.steps,
        pairs=len(plan.columns),
        batches_per_epoch=plan.batches_per_epoch,
        groups=_groups(data, plan),
        left_out=plan.left_out,
        pairs_per_step=float(pairs),
        conflicting_share=float(1 - pairs / places),
        tokens_per_step=float(tokens),
        padding_share=float(1 - sizes[:, 1].sum() / sizes[:, 2].sum()),
        flops_per_step=training_flops(shape, int(tokens), int(squared)),
        weight_bytes=weight_bytes(all_weights, moving_average=settings.average_decay is not None),
        activation_bytes=_kept_bytes(
            settings, shape, heads, largest, at_once, per_forward, data.longest_text, squared / tokens
        )
        + _bytes_of_token_outputs(heads, int(sizes[:, 1].max())),
        seconds_per_step=_seconds_a_token(data, plan, settings, encoder, per_forward) * padded * again
        if measure
        else None,
    )


def check_tokens(data: TrainingData, model: str) -> None:
    """Raise what training would where the data's token ids or lengths are not for this model; reads no weights."""
    from trainer.backbone import load_tokenizer, tokenizer_fingerprint

    tokenizer, longest = load_tokenizer(model)
    data.check_model(tokenizer_fingerprint(tokenizer), len(tokenizer))
    data.check_lengths(longest)


def _encoder(settings: "TrainSettings", shape: ModelShape) -> "TextEncoder":
    """An encoder as training has it, but for its model, of which there are the sizes only."""
    from trainer.backbone import choose_device_and_dtype
    from trainer.gradient_cache import TextEncoder

    sizes: Any = SimpleNamespace(config=SimpleNamespace(hidden_size=shape.hidden, num_hidden_layers=shape.layers))
    return TextEncoder(sizes, "mean", True, 0, *choose_device_and_dtype(settings.device, settings.precision))


def _heads(settings: "TrainSettings", shape: ModelShape) -> "dict[Output, torch.nn.Linear]":
    from trainer.m3_model import training_heads

    folder = resolve_model_path(settings.model)
    return training_heads(folder, settings.outputs, shape.hidden, settings.token_dimension, settings.seed)


def _kept_bytes(
    settings: "TrainSettings",
    shape: ModelShape,
    heads: "dict[Output, torch.nn.Linear]",
    padded: int,
    at_once: int,
    per_forward: int,
    longest: int,
    mean_length: float,
) -> int:
    """Of a step of `padded` tokens: all its graphs, where they fit, else those of `tokens_at_once`; one forward at least."""
    one = max(min(per_forward, padded), longest)
    kept = max(one, padded if padded <= at_once else settings.tokens_at_once or 0)
    squared = max(one * longest, round(kept * mean_length))
    # Of each head its input, what it gives, and of that what is divided by its length or cut off below 0.
    of_heads = sum(4 * kept * (head.in_features + 2 * head.out_features) for head in heads.values())
    return activation_bytes(shape, kept, squared, checkpointed=settings.gradient_checkpointing) + of_heads


def _bytes_of_token_outputs(heads: "dict[Output, torch.nn.Linear]", tokens: int) -> int:
    """Of a step's `tokens` on one process: the outputs of all, their gradient, and the one that a block of the loss adds."""
    return sum(3 * 4 * tokens * head.out_features for head in heads.values())


def _sizes(data: TrainingData, plan: BatchPlan, step: int, per_forward: int) -> tuple[int, int, int, int, int]:
    """Pairs, tokens, tokens with padding, squared lengths of a step, and the pairs it has places for."""
    bucket, _ = plan.batch(*plan.place(step))
    batch = data.collate(plan.rows(step), 0, 0)
    lengths = np.concatenate([batch.query_lengths, batch.passage_lengths])
    padded = padded_tokens(lengths, chunks_of_like_lengths(lengths, per_forward))
    return len(batch.rows), batch.tokens, padded, batch.squared_lengths, min(bucket.batch_size, bucket.size)


def _groups(data: TrainingData, plan: BatchPlan) -> list[GroupOfBatches]:
    edges = data.details.get("length_edges") or []
    return [
        GroupOfBatches(
            group=plan.columns.group_names[bucket.group],
            length_from=int(edges[bucket.length_group]) if bucket.length_group < len(edges) else bucket.length_group,
            pairs=len(bucket.rows),
            batch_size=bucket.batch_size,
            batches=bucket.drawn,
            in_batch=bucket.in_batch,
        )
        for bucket in plan.buckets
    ]


def _seconds_a_token(
    data: TrainingData, plan: BatchPlan, settings: "TrainSettings", sizes: "TextEncoder", per_forward: int
) -> float:
    """From one forward and backward of about as many tokens as training gives a forward."""
    import torch

    from trainer.backbone import load_backbone
    from trainer.contrastive import text_encoder
    from trainer.gradient_cache import CachedEmbeddings, joined

    device = sizes.device
    encoder = text_encoder(load_backbone(settings.model), device, sizes.dtype, settings)
    encoder.model.train()
    batch = data.collate(plan.rows(0), 0, encoder.pad_token_id)
    texts = joined(batch.query_tokens, batch.passage_tokens)
    # Every k-th text, so that queries and passages are among them as they are in the step.
    few = texts.take(np.arange(0, len(texts), -(-len(texts.values) // per_forward)))
    seconds = []
    for _ in range(2):  # the first one also warms up
        started = time.perf_counter()
        embedded = CachedEmbeddings(encoder, few, (0,), tokens_at_once=1 << 40)
        embedded.backward({output: torch.ones_like(found) for output, found in embedded.outputs.items()})
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return seconds[-1] / embedded.padded_tokens
