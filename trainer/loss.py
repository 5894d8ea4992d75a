"""The contrastive loss over embeddings: InfoNCE with in-batch, cross-rank and hard negatives, and distillation.

In:  embeddings of a rank's b queries and of the passages of all ranks, and which of those are no negatives after all.
Out: one number with gradient, the rank's part of the mean over the queries of all ranks: the parts of all ranks add up
     to the loss of the same batch on one rank, and so do their gradients.

The passages of all ranks stand in slots: global query i has the slots i * (1 + n) to i * (1 + n) + n, its positive first.
A query's own slots are computed as they stand, all others in tiles (trainer.tiled_loss), so that no matrix of all
queries by all passages is made. A column is a slot, or, in the direction from a positive to its query, a query.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import torch

    from trainer.batch import Batch
    from trainer.tiled_loss import LeftOut

DEFAULT_TEMPERATURE = 0.02  # FlagEmbedding research/BGE_M3/arguments.py; not in the M3 paper. BGE v1: 0.01 (README)
_NOTHING: Final = float("-inf")


class LossShapeError(ValueError):
    """Tensors given to a loss do not fit together. The message names the shapes."""


class LossSettings(BaseModel):
    """What the loss computes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(
        DEFAULT_TEMPERATURE, gt=0, description="tau of M3 eq. 2 (FlagEmbedding default 0.02; BGE v1 0.01)"
    )
    false_negative_margin: float | None = Field(
        None,
        description="a passage whose score is above the positive's by more than this is no negative (Qwen3-Embedding "
        "section 3.1: 0.1); none: all are",
    )
    guide_model: str | None = Field(
        None,
        description="folder of a model with the same tokenizer; what it scores above the positive is no negative "
        "(GISTEmbed, arXiv:2402.16829)",
    )
    guide_margin: float = Field(
        0.0, description="what the guide scores above the positive's less this is no negative (GISTEmbed: 0)"
    )
    distillation: Literal["none", "kl_div", "m3_kd_loss"] = Field(
        "none",
        description="learn from the scores of positive and negatives: kl_div beside the loss, m3_kd_loss in its place "
        "(FlagEmbedding abc/finetune/embedder/AbsModeling.py distill_loss)",
    )
    teacher_temperature: float = Field(
        1.0, gt=0, description="the teacher's scores are divided by this before the softmax (FlagEmbedding: 1)"
    )


@dataclass(frozen=True)
class Direction:
    """Which column is each row's own, and which are no negatives: for one direction of the loss, on one rank."""

    first: int  # row i's own columns begin at (first + i) * width
    width: int  # own columns a row
    rows: "torch.Tensor"  # int64 [m], with `columns` the pairs that are no negatives, sorted; never an own first column
    columns: "torch.Tensor"  # int64 [m]
    empty: "torch.Tensor | None" = None  # bool [C]: columns without a passage


@dataclass(frozen=True)
class LossMasks:
    """What a rank's loss must know beside embeddings. Made from a Batch by `loss_masks`."""

    forward: Direction  # from queries to passages
    backward: Direction | None  # from positives to queries; None where no pair of this rank is symmetric
    symmetric: "torch.Tensor | None"  # bool [b]; None with `backward`
    in_batch: bool  # false: own negatives only
    teacher: "torch.Tensor | None"  # float32 [b, 1 + n] scores to learn from, NaN where not known
    queries: int  # of all ranks: what the mean is over


@dataclass(frozen=True)
class GuideEmbeddings:
    """The guide model's embeddings of the same texts, in the same order as the trained model's."""

    queries: "torch.Tensor"  # [b, G]
    columns: "torch.Tensor"  # [C, G]
    all_queries: "torch.Tensor"  # [Q, G]


def loss_masks(batch: "Batch", device: "torch.device | str" = "cpu") -> LossMasks:
    """The masks of a rank's batch, as tensors on `device`."""
    import numpy as np
    import torch

    def indexes(values: object) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.int64).to(device)

    total = int(batch.counts.sum())
    empty = None
    if len(batch.empty):
        empty = torch.zeros(total * batch.group_width, dtype=torch.bool, device=device)
        empty[indexes(batch.empty)] = True
    forward = Direction(
        batch.first_query,
        batch.group_width,
        indexes(batch.forbidden.queries),
        indexes(batch.forbidden.columns),
        empty,
    )
    backward = symmetric = None
    if batch.symmetric.any() and batch.in_batch:
        symmetric = torch.from_numpy(np.array(batch.symmetric)).to(device)
        pairs = batch.forbidden_backward
        backward = Direction(batch.first_query, 1, indexes(pairs.queries), indexes(pairs.columns))
    scores = np.concatenate([batch.positive_scores[:, None], batch.negative_scores], axis=1)
    teacher = None if np.isnan(scores).all() else torch.from_numpy(scores).to(device)
    return LossMasks(forward, backward, symmetric, batch.in_batch, teacher, total)


def contrastive_loss(
    queries: "torch.Tensor",
    passages: "torch.Tensor",
    masks: LossMasks,
    settings: LossSettings,
    all_queries: "torch.Tensor | None" = None,
    guide: GuideEmbeddings | None = None,
) -> "torch.Tensor":
    """The rank's part of the mean over all queries of -log(exp(s(q, p*) / t) / sum over p in {p*, P'} of exp(s(q, p) / t)).

    M3 equation 2 with dense scores, s(q, p) = <e_q, e_p>; C-Pack section 3.4 sums over the queries of a passage instead
    of the passages of a query: the direction that symmetric pairs have beside the first, each counting half.

    queries      [b, D] this rank's
    passages     [C, D] of all ranks, one a slot; an empty slot may hold any finite numbers
    all_queries  [Q, D] of all ranks; needed where masks.backward is there (one rank: `queries` are taken)

    Half floats are computed in float32, float64 as it is. Returns a scalar of that type. Raises LossShapeError where
    the shapes do not fit.
    """
    import torch

    all_queries = queries if all_queries is None else all_queries
    _check_shapes(queries, passages, all_queries, masks)
    # Autocast would compute the products in bf16: divided by a temperature of 0.02, its rounding is 0.1 of a logit.
    with torch.autocast(queries.device.type, enabled=False):
        queries, passages, all_queries = (_at_least_float32(each) for each in (queries, passages, all_queries))
        scores = _Scores(queries, passages, masks.forward, settings, guide)
        losses = _losses(scores, masks, settings)
        if masks.backward is not None and masks.symmetric is not None:
            own = slice(masks.forward.first, masks.forward.first + len(queries))
            mirrored = None
            if guide is not None:
                guide_positives = guide.columns[:: masks.forward.width][own]
                mirrored = GuideEmbeddings(guide_positives, guide.all_queries, guide.queries)
            back = _Scores(passages[:: masks.forward.width][own], all_queries, masks.backward, settings, mirrored)
            losses = torch.where(masks.symmetric, (losses + back.cross_entropy()) / 2, losses)
        return losses.sum() / masks.queries


def _losses(scores: "_Scores", masks: LossMasks, settings: LossSettings) -> "torch.Tensor":
    """[b] the loss of each query, from the query to the passages."""
    if settings.distillation == "none" or masks.teacher is None:
        return scores.cross_entropy() if masks.in_batch else scores.own_cross_entropy()
    teacher = teacher_shares(masks.teacher, scores.own_empty, settings.teacher_temperature, scores.own.dtype)
    if settings.distillation == "kl_div":
        contrastive = scores.cross_entropy() if masks.in_batch else scores.own_cross_entropy()
        return contrastive + distance_from(teacher, scores.student)
    others = scores.others() if masks.in_batch else scores.own.new_full((len(scores.own),), _NOTHING)
    return one_after_the_other(teacher, scores.own, scores.student, others)


def teacher_shares(
    raw: "torch.Tensor", own_empty: "torch.Tensor", temperature: float, dtype: "torch.dtype"
) -> "torch.Tensor":
    """[b, 1 + n] a teacher's distribution over own slots that have a score; all zero where the positive has none.

    `raw` [b, 1 + n] are its scores, NaN where not known; `own_empty` bool, the slots without a passage.
    """
    import torch

    known = torch.isfinite(raw) & ~own_empty
    known = known & known[:, :1]
    logits = raw.to(dtype).nan_to_num(0.0) / temperature
    weights = torch.softmax(logits.masked_fill(~known, _NOTHING), dim=1)
    return weights.masked_fill(~known[:, :1], 0.0)


def distance_from(teacher: "torch.Tensor", student: "torch.Tensor") -> "torch.Tensor":
    """[b] -sum over columns of teacher * log(softmax of student): FlagEmbedding's kl_div, which leaves the entropy of the
    teacher out: the gradient is that of the Kullback-Leibler divergence. Both [b, c]; student -inf where none."""
    import torch

    logarithms = torch.log_softmax(student, dim=1)
    return -(teacher * logarithms.masked_fill(teacher == 0, 0.0)).sum(dim=1)


def one_after_the_other(
    teacher: "torch.Tensor", own: "torch.Tensor", student: "torch.Tensor", others: "torch.Tensor"
) -> "torch.Tensor":
    """[b] the sum over own columns k of teacher_k * -log(share of column k among all columns but own ones before k).

    FlagEmbedding's m3_kd_loss. A row without a teacher has the plain loss. Logits: `own` [b, 1 + n], -inf for no
    negatives, `student` the same, -inf for empty slots only, `others` [b] log-sum-exp of all other columns.
    """
    import torch

    unknown = (teacher == 0).all(dim=1)
    weights = teacher.clone()
    weights[unknown, 0] = 1.0
    losses = torch.zeros_like(others)
    for place in range(own.shape[1]):
        # The column itself counts even where the masks leave it out as a negative: the teacher has a score for it.
        later = torch.cat([student[:, place, None], own[:, place + 1 :], others[:, None]], dim=1)
        target = student[:, place].masked_fill(weights[:, place] == 0, 0.0)
        total = torch.logsumexp(later.masked_fill((weights[:, place] == 0)[:, None], 0.0), dim=1)
        losses = losses + weights[:, place] * (total - target)
    return losses


class _Scores:
    """Scores of rows against their own columns, kept, and against all others, summed up in tiles."""

    def __init__(
        self,
        rows: "torch.Tensor",
        columns: "torch.Tensor",
        direction: Direction,
        settings: LossSettings,
        guide: GuideEmbeddings | None,
    ) -> None:
        import torch

        self.rows, self.columns, self.direction, self.settings = rows, columns, direction, settings
        first = (torch.arange(len(rows), device=rows.device) + direction.first) * direction.width
        self.own_columns = first[:, None] + torch.arange(direction.width, device=rows.device)
        low, high = direction.first * direction.width, (direction.first + len(rows)) * direction.width
        group = columns[low:high].view(len(rows), direction.width, -1)
        products = torch.einsum("bd,bgd->bg", rows, group)
        self.own_empty = torch.zeros_like(self.own_columns, dtype=torch.bool)
        if direction.empty is not None:
            self.own_empty = direction.empty[self.own_columns]
        self.ceilings = None
        if settings.false_negative_margin is not None:
            self.ceilings = products[:, 0].detach() + settings.false_negative_margin
        self.guide, self.guide_ceilings = guide, None
        if guide is not None:
            own_positive = (guide.queries * guide.columns[first]).sum(dim=1)
            self.guide_ceilings = own_positive - settings.guide_margin
        self.own = (products / settings.temperature).masked_fill(self._own_left_out(products), _NOTHING)
        self.student = (products / settings.temperature).masked_fill(self.own_empty, _NOTHING)

    def _own_left_out(self, products: "torch.Tensor") -> "torch.Tensor":
        """bool [b, width]: own columns that are no negatives; the first one always counts."""
        direction = self.direction
        left_out = self.own_empty.clone()
        place = direction.columns - (direction.rows + direction.first) * direction.width
        own = (place >= 0) & (place < direction.width)
        left_out[direction.rows[own], place[own]] = True
        if self.ceilings is not None:
            left_out |= products.detach() > self.ceilings[:, None]
        if self.guide is not None and self.guide_ceilings is not None:
            own_guide = self.guide.columns[self.own_columns]
            left_out |= (self.guide.queries[:, None] * own_guide).sum(dim=2) > self.guide_ceilings[:, None]
        left_out[:, 0] = False
        return left_out

    def others(self) -> "torch.Tensor":
        """[b] log-sum-exp over all columns but a row's own."""
        from trainer.tiled_loss import log_sum_exp_of_scores

        return log_sum_exp_of_scores(self.rows, self.columns, self.settings.temperature, self._left_out())

    def _left_out(self) -> "LeftOut":
        import torch

        from trainer.tiled_loss import Guide, LeftOut

        direction = self.direction
        own_rows = torch.arange(len(self.rows), device=self.rows.device).repeat_interleave(direction.width)
        guide = None
        if self.guide is not None and self.guide_ceilings is not None:
            guide = Guide(self.guide.queries, self.guide.columns, self.guide_ceilings)
        return LeftOut(
            torch.cat([direction.rows, own_rows]),
            torch.cat([direction.columns, self.own_columns.ravel()]),
            direction.empty,
            self.ceilings,
            guide,
        )

    def cross_entropy(self) -> "torch.Tensor":
        """[b] -log of the share of the own first column among all that count."""
        import torch

        everything = torch.cat([self.own, self.others()[:, None]], dim=1)
        return torch.logsumexp(everything, dim=1) - self.own[:, 0]

    def own_cross_entropy(self) -> "torch.Tensor":
        """[b] the same among the own columns only."""
        import torch

        return torch.logsumexp(self.own, dim=1) - self.own[:, 0]


def _at_least_float32(tensor: "torch.Tensor") -> "torch.Tensor":
    import torch

    return tensor if tensor.dtype is torch.float64 else tensor.float()


def _check_shapes(
    queries: "torch.Tensor", passages: "torch.Tensor", all_queries: "torch.Tensor", masks: LossMasks
) -> None:
    forward = masks.forward
    fits = (
        len(queries) > 0
        and queries.shape[1:] == passages.shape[1:] == all_queries.shape[1:]
        and len(passages) == masks.queries * forward.width
        and forward.first + len(queries) <= masks.queries
        and (masks.backward is None or len(all_queries) == masks.queries)
    )
    if not fits:
        raise LossShapeError(
            f"The loss needs b queries of this rank, from number {forward.first} on of the {masks.queries} of all ranks, "
            f"and {forward.width} passages for each of all ranks; found queries {tuple(queries.shape)}, passages "
            f"{tuple(passages.shape)}, queries of all ranks {tuple(all_queries.shape)}."
        )
