"""The contrastive objective: pairs of pack's shards in, gradients of InfoNCE over embeddings of all ranks out; of an M3
model with several outputs those of M3's loss (trainer.m3_loss).

Which rows a step has comes from the batch plan, and dropout is drawn from (seed, step, rank, chunk). Of several ranks each
embeds its own texts; embeddings are exchanged, and each computes the loss of its own queries against the passages of all.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

import numpy as np
from pydantic import Field, model_validator

from trainer.backbone import resolve_model_path
from trainer.batch import Batch
from trainer.batch_plan import BatchPlan, RankRows
from trainer.distributed import Ranks
from trainer.gradient_cache import CachedEmbeddings, TextEncoder, joined
from trainer.loss import GuideEmbeddings, contrastive_loss, loss_masks
from trainer.m3_heads import available_outputs, special_tokens
from trainer.m3_settings import M3LossSettings
from trainer.mcls import ManyCls
from trainer.ragged import Ragged
from trainer.training_data import TrainingData
from trainer.training_run import RunSettings, StepFigures

if TYPE_CHECKING:
    import torch

    from trainer.backbone import Backbone
    from trainer.m3_exchange import OutputsOfRanks
    from trainer.m3_heads import Output

log = logging.getLogger(__name__)

_STEP_STREAM: Final = 3  # beside batch_plan's streams of the same seed
_TEXTS_LOOKED_AT: Final = 32  # to choose the sign of a new lexical head, and of each
_TOKENS_LOOKED_AT: Final = 128
_ALONE: Final = Ranks()


class ContrastiveSettings(M3LossSettings, RunSettings):
    """What the contrastive objective reads of a run's settings."""

    mcls_every: int | None = Field(
        None,
        ge=1,
        description="train with a [CLS] before every so many tokens, the embedding their states' mean (M3 appendix B.2 does so at "
        "inference, with 256); encode with the same; none: one [CLS]",
    )
    sharding: Literal["none", "weights", "full"] = Field(
        "none",
        description="of several processes each keeps a part of the weights and moments, and gathers a layer when it is its turn "
        "(FSDP2): for encoders over 1 B weights; weights: gradients are whole on each until the one sum of a step; full: they are "
        "split, too, and summed after each backward pass",
    )

    def shards_over(self, ranks: Ranks) -> bool:
        """Whether each of the ranks keeps only a part of the weights."""
        return self.sharding != "none" and ranks.count > 1

    @model_validator(mode="after")
    def _mcls_is_for_the_dense_output(self) -> Self:
        if self.mcls_every is not None and ("multi_vector" in self.outputs or self.guide_model is not None):
            raise ValueError(
                "mcls_every trains dense and lexical outputs, without a guide_model: leave mcls_every out (it may still be "
                "used in encoding), or take multi_vector out of outputs and leave guide_model out."
            )
        return self


@dataclass(frozen=True)
class PlannedBatch:
    """What a rank needs for a step."""

    batch: Batch
    rows: list[RankRows]  # of all ranks


class ContrastiveObjective:
    """`trainer.training_run.Objective` of pairs."""

    unit = "pairs"

    def __init__(
        self,
        data: TrainingData,
        plan: BatchPlan,
        backbone: "Backbone",
        settings: ContrastiveSettings,
        *,
        device: "torch.device",
        dtype: "torch.dtype",
        ranks: Ranks,
        guide: "Backbone | None" = None,
    ) -> None:
        self.data, self.plan, self.backbone, self.settings = data, plan, backbone, settings
        self.device, self.ranks, self.left_out = device, ranks, plan.left_out
        self.part_names, self._weights_told = settings.part_names, False
        self.encoder = text_encoder(backbone, device, dtype, settings, ranks)
        self.shards = self.encoder.shards
        if self.encoder.mcls is not None:
            data.check_lengths(self.encoder.mcls.longest_before(backbone.max_length), settings.mcls_every)
        if _has_new_lexical_head(settings):
            _begin_with_weights(self.encoder, data.passage_tokens)
        self.model = _all_that_learns(self.encoder)
        self.guide = None if guide is None else text_encoder(guide, device, dtype)
        _prepare(self.encoder.model, settings, device)
        # Whether any rank may need the queries of all: known without asking, since all ranks see all data.
        self.both_ways = bool(data.symmetric.any())

    def prepare(self, step: int) -> PlannedBatch:
        rows = self.plan.rows(step)
        batch = self.data.collate(rows, self.ranks.rank, self.encoder.pad_token_id)
        if self.encoder.mcls is not None:
            inserted = self.encoder.mcls.inserted
            batch = replace(
                batch, query_tokens=inserted(batch.query_tokens), passage_tokens=inserted(batch.passage_tokens)
            )
        return PlannedBatch(batch, rows)

    def learn(self, step: int, prepared: PlannedBatch, scaled: "Callable[[torch.Tensor], torch.Tensor]") -> StepFigures:
        batch = prepared.batch
        texts = joined(batch.query_tokens, batch.passage_tokens)
        embedded = CachedEmbeddings(
            self.encoder,
            texts,
            (self.settings.seed, _STEP_STREAM, step, self.ranks.rank),
            tokens_per_forward=self.settings.tokens_per_forward,
            tokens_at_once=self.settings.tokens_at_once,
        )
        parts: tuple[float, ...] = ()
        if self.settings.dense_only:
            loss, gradients = self._loss(batch, embedded.embeddings, texts)
            embedded.backward(scaled(gradients))
        else:
            loss, parts, of_outputs = self._m3_loss(batch, embedded, texts, step)
            embedded.backward({output: scaled(gradient) for output, gradient in of_outputs.items()})
        return StepFigures(loss, len(batch.rows), batch.tokens, embedded.padded_tokens, batch.squared_lengths, parts)

    def epoch(self, step: int) -> int:
        return self.plan.place(step)[0]

    def blamed(self, prepared: PlannedBatch) -> dict[str, Any]:
        rows = np.concatenate([each.rows for each in prepared.rows])
        pairs = [self.data.pair_id[row].tobytes().hex() for row in rows]
        return {"dataset": prepared.batch.dataset, "rows": rows.tolist(), "ids": pairs}

    def as_backbone(self) -> "Backbone":
        prompts = prompts_of_training(self.data, self.backbone)
        if self.shards is None:
            return replace(self.backbone, prompts=prompts, heads=dict(self.encoder.heads))
        model, *heads = cast("list[Any]", self.shards.copies())
        return replace(
            self.backbone, model=model, prompts=prompts, heads=dict(zip(self.encoder.heads, heads, strict=True))
        )

    def _loss(self, batch: Batch, embeddings: "torch.Tensor", texts: Ragged) -> "tuple[float, torch.Tensor]":
        """This rank's part of the loss, and the gradient of the whole loss by its embeddings [texts, D]."""
        import torch

        own = _OwnAndAll(batch, embeddings, self.ranks, self.device, both_ways=self.both_ways)
        guide = self._guide_embeddings(batch, texts)
        own.require_gradients()
        loss = contrastive_loss(
            own.queries,
            own.all_passages,
            loss_masks(batch, self.device),
            self.settings,
            own.all_queries if self.both_ways else None,
            guide,
        )
        torch.autograd.backward(loss)
        return float(loss.detach()), own.gradient()

    def _m3_loss(
        self, batch: Batch, embedded: CachedEmbeddings, texts: Ragged, step: int
    ) -> "tuple[float, tuple[float, ...], dict[Output, torch.Tensor]]":
        """This rank's part of the loss and of its parts, and the gradients of the whole loss by its outputs."""
        from trainer.m3_exchange import OutputsOfRanks
        from trainer.m3_loss import m3_loss

        left_out = special_tokens(self.backbone.tokenizer)
        found = OutputsOfRanks(
            batch, texts, embedded.outputs, self.ranks, self.settings, left_out, both_ways=self.both_ways
        )
        compared = found.comparisons(loss_masks(batch, self.device), self._guide_embeddings(batch, texts))
        first = self.settings.self_distillation_from
        self._tell_of_no_weights(found, step)
        loss, parts = m3_loss(compared, self.settings, self_distillation=first is not None and step >= first)
        return loss, parts, found.gradients()

    def _tell_of_no_weights(self, found: "OutputsOfRanks", step: int) -> None:
        if self._weights_told or "lexical" not in found.own or len(found.own["lexical"].values):
            return
        self._weights_told = True
        log.warning(
            "step %d: the lexical head gives no token a weight, so that it learns nothing (ReLU). Where that stays so, start "
            "anew with a lower learning_rate or another seed.",
            step + 1,
        )

    def _guide_embeddings(self, batch: Batch, texts: Ragged) -> GuideEmbeddings | None:
        if self.guide is None:
            return None
        read = CachedEmbeddings(self.guide, texts, (0,), tokens_at_once=0).embeddings
        return _OwnAndAll(batch, read, self.ranks, self.device, both_ways=True).as_guide()


def prompts_of_training(data: TrainingData, backbone: "Backbone") -> dict[Any, str]:
    """What stood before the texts in training: pack's instructions, "" meaning none even where the backbone has
    prompts; the backbone's only where pack says nothing."""
    packing = data.details.get("packing")
    if not isinstance(packing, dict):
        return dict(backbone.prompts)
    return {
        "query": data.query_instruction,
        "passage": str(packing.get("passage_instruction", "")),
    }


class _OwnAndAll:
    """This rank's queries and slots, and those of all ranks, from the embeddings of its distinct texts."""

    def __init__(
        self, batch: Batch, embeddings: "torch.Tensor", ranks: Ranks, device: "torch.device", *, both_ways: bool
    ) -> None:
        import torch

        self.ranks, self.embeddings, self.own_queries = ranks, embeddings, len(batch.rows)
        self.query_counts = batch.counts.tolist()
        self.slot_counts = (batch.counts * batch.group_width).tolist()
        # Empty slots (-1) take some text's embedding: they count for no query.
        self.slots = torch.from_numpy(np.maximum(batch.slots, 0).ravel() + self.own_queries).to(device)
        self.queries = embeddings[: self.own_queries]
        self.all_passages = ranks.gather_rows(embeddings.index_select(0, self.slots), self.slot_counts)
        self.all_queries = ranks.gather_rows(self.queries, self.query_counts) if both_ways else self.queries

    def require_gradients(self) -> None:
        for tensor in (self.queries, self.all_passages, self.all_queries):
            tensor.requires_grad_()

    def gradient(self) -> "torch.Tensor":
        """[texts, D]: what the losses of all ranks say of this rank's texts."""
        import torch

        gradient = torch.zeros_like(self.embeddings)
        if self.queries.grad is not None:
            gradient[: self.own_queries] += self.queries.grad
        if self.all_queries is not self.queries:
            of_all = self.all_queries.grad
            of_all = torch.zeros_like(self.all_queries) if of_all is None else of_all
            gradient[: self.own_queries] += self.ranks.sum_to_owners(of_all, self.query_counts)
        of_slots = self.all_passages.grad
        assert of_slots is not None  # every query has a positive
        gradient.index_add_(0, self.slots, self.ranks.sum_to_owners(of_slots, self.slot_counts))
        return gradient

    def as_guide(self) -> GuideEmbeddings:
        return GuideEmbeddings(self.queries, self.all_passages, self.all_queries)


def text_encoder(
    backbone: "Backbone",
    device: "torch.device",
    dtype: "torch.dtype",
    settings: ContrastiveSettings | None = None,
    ranks: Ranks = _ALONE,
) -> TextEncoder:
    """What training embeds texts with: the outputs of `settings`; without them the dense one. Of several ranks sharded
    where the settings say so.

    Raises ModelFolderError where the heads in the model folder, or its [CLS] (mcls_every), do not fit the settings,
    TrainingError for a model that cannot be sharded.
    """
    model: Any = backbone.model
    pad = int(backbone.tokenizer.pad_token_id)
    mcls = None if settings is None or settings.mcls_every is None else ManyCls.of(backbone, settings.mcls_every)
    heads = {} if settings is None else _heads(backbone, settings)
    shards = None
    if settings is not None and settings.shards_over(ranks):
        from trainer.sharding import shard

        shards = shard(model, heads, device, dtype, ranks, gradients_too=settings.sharding == "full")
    else:
        for module in (model, *heads.values()):
            module.to(device)
    outputs: tuple[Output, ...] = ("dense",) if settings is None else settings.outputs
    return TextEncoder(
        model, backbone.pooling, backbone.normalise, pad, device, dtype, outputs, heads, mcls=mcls, shards=shards
    )


def _heads(backbone: "Backbone", settings: ContrastiveSettings) -> "dict[Output, torch.nn.Linear]":
    if settings.dense_only:
        return {}

    from trainer.m3_model import training_heads

    folder = resolve_model_path(settings.model)
    heads = training_heads(folder, settings.outputs, backbone.hidden_size, settings.token_dimension, settings.seed)
    weights = next(backbone.model.parameters())
    return {name: head.to(weights.dtype) for name, head in heads.items()}


def _has_new_lexical_head(settings: ContrastiveSettings) -> bool:
    return "lexical" in settings.outputs and "lexical" not in available_outputs(resolve_model_path(settings.model))


def _begin_with_weights(encoder: TextEncoder, passages: Ragged) -> None:
    """The sign of a new lexical head, from the first passages of the data: the same on all ranks."""
    import torch

    from trainer.m3_model import begin_with_weights

    few = Ragged.of(
        [
            passages.values[low : low + min(high - low, _TOKENS_LOOKED_AT)]
            for low, high in pairwise(passages.offsets[: _TEXTS_LOOKED_AT + 1])
        ]
    )
    with torch.no_grad(), encoder.autocast():
        [weights] = replace(encoder, outputs=("lexical",)).embed(few, np.arange(len(few)), 0)
    begin_with_weights(encoder.heads["lexical"], weights)


def _all_that_learns(encoder: TextEncoder) -> "torch.nn.Module":
    if not encoder.heads:
        return encoder.model

    from trainer.m3_model import EncoderWithHeads

    return EncoderWithHeads(encoder.model, encoder.heads)


def _prepare(model: "torch.nn.Module", settings: RunSettings, device: "torch.device") -> None:
    named: Any = model
    if getattr(named, "pooler", None) is not None:
        named.pooler.requires_grad_(False)  # embeddings do not come from it
    if device.type == "cpu":
        from trainer.embedding_table import add_gradients_in_place

        add_gradients_in_place(named.get_input_embeddings())
    if settings.gradient_checkpointing:
        # The name that transformers 5 has, and the one before.
        if hasattr(named, "activation_checkpointing_enable"):
            named.activation_checkpointing_enable({"use_reentrant": False})
        else:
            named.gradient_checkpointing_enable({"use_reentrant": False})
