"""The contrastive objective: pairs of pack's shards in, gradients of InfoNCE over embeddings of all ranks out.

Which rows a step has comes from the batch plan, and dropout is drawn from (seed, step, rank, chunk). Of several ranks each
embeds its own texts; embeddings are exchanged, and each computes the loss of its own queries against the passages of all.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer.batch import Batch
from trainer.batch_plan import BatchPlan, RankRows
from trainer.distributed import Ranks
from trainer.gradient_cache import CachedEmbeddings, TextEncoder, joined
from trainer.loss import GuideEmbeddings, LossSettings, contrastive_loss, loss_masks
from trainer.training_data import TrainingData
from trainer.training_run import RunSettings, StepFigures

if TYPE_CHECKING:
    import torch

    from trainer.backbone import Backbone

_STEP_STREAM: Final = 3  # beside batch_plan's streams of the same seed


class ContrastiveSettings(LossSettings, RunSettings):
    """What the contrastive objective reads of a run's settings."""


@dataclass(frozen=True)
class PlannedBatch:
    """What a rank needs for a step."""

    batch: Batch
    rows: list[RankRows]  # of all ranks


class ContrastiveObjective:
    """`trainer.training_run.Objective` of pairs."""

    unit = "pairs"
    part_names: tuple[str, ...] = ()

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
        self.encoder = _text_encoder(backbone, device, dtype)
        self.model = self.encoder.model
        self.guide = None if guide is None else _text_encoder(guide, device, dtype)
        _prepare(self.model, settings, device)
        # Whether any rank may need the queries of all: known without asking, since all ranks see all data.
        self.both_ways = bool(data.symmetric.any())

    def prepare(self, step: int) -> PlannedBatch:
        rows = self.plan.rows(step)
        batch = self.data.collate(rows, self.ranks.rank, self.encoder.pad_token_id)
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
        loss, gradients = self._loss(batch, embedded.embeddings, texts)
        embedded.backward(scaled(gradients))
        return StepFigures(loss, len(batch.rows), batch.tokens, embedded.padded_tokens, batch.squared_lengths)

    def epoch(self, step: int) -> int:
        return self.plan.place(step)[0]

    def blamed(self, prepared: PlannedBatch) -> dict[str, Any]:
        rows = np.concatenate([each.rows for each in prepared.rows])
        pairs = [self.data.pair_id[row].tobytes().hex() for row in rows]
        return {"dataset": prepared.batch.dataset, "rows": rows.tolist(), "ids": pairs}

    def as_backbone(self) -> "Backbone":
        return replace(self.backbone, prompts=prompts_of_training(self.data, self.backbone))

    def _loss(self, batch: Batch, embeddings: "torch.Tensor", texts: Any) -> "tuple[float, torch.Tensor]":
        """This rank's part of the loss, and the gradient of the whole loss by its embeddings [texts, D]."""
        import torch

        own = _OwnAndAll(batch, embeddings, self.ranks, self.device, both_ways=self.both_ways)
        guide = None
        if self.guide is not None:
            read = CachedEmbeddings(self.guide, texts, (0,), tokens_at_once=0).embeddings
            guide = _OwnAndAll(batch, read, self.ranks, self.device, both_ways=True).as_guide()
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


def _text_encoder(backbone: "Backbone", device: "torch.device", dtype: "torch.dtype") -> TextEncoder:
    model: Any = backbone.model
    pad = int(backbone.tokenizer.pad_token_id)
    return TextEncoder(model.to(device), backbone.pooling, backbone.normalise, pad, device, dtype)


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
