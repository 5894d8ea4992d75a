"""M3's loss over dense, lexical and multi-vector scores (equations 2 to 6), in blocks of rows.

In:  outputs of a rank's rows (queries; in the other direction positives) and of the columns they are compared with.
Out: the rank's part of the loss and of its parts as numbers; gradients in `.grad` of the values given.

    L_s     = -log(exp(s(q, p*) / t) / sum over p of exp(s(q, p) / t)), for each output's score s
    s_inter = w1 s_dense + w2 s_lexical + w3 s_multi_vector
    L       = (l1 L_dense + l2 L_lexical + l3 L_multi_vector + L_inter) / 4
    L'      = (l1 K_dense + l2 K_lexical + l3 K_multi_vector) / 3,  K_s = -sum over p of softmax(s_inter / t) log softmax(s / t)
    loss    = (L + L') / 2 while the sum of scores teaches, else L

With two outputs the same sums are divided by 3 and 2; without s_inter L is divided by the number of outputs; of one output
alone the loss is L_s. Only matrices of one block's rows by all columns are made, and each block's graph is gone before the
next. This module imports torch at once and is imported where a loss is computed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from trainer.lexical_product import lexical_scores
from trainer.loss import Direction, GuideEmbeddings, distance_from, one_after_the_other, teacher_shares
from trainer.m3_heads import Output
from trainer.m3_settings import M3LossSettings
from trainer.max_similarity import max_similarity
from trainer.text_rows import TextRows

Int64 = npt.NDArray[np.int64]

_NOTHING: Final = float("-inf")
# Of a block's matrices. On the CPU blocks as small as one row cost time, on a GPU memory is what there is for it.
_BLOCK_BYTES: Final = {"cpu": 128 << 20, "cuda": 2 << 30}
_MATRICES: Final = 24  # that rows x columns come to with their gradients


@dataclass(frozen=True)
class Candidates:
    """What rows are compared with in one output: columns first, first + 1, ... among all."""

    rows: TextRows
    first: int
    texts: "torch.Tensor | None"  # int64 [c]: the text of each column; None: text i is column first + i
    padded_to: int | None = None  # of multi_vector: see max_similarity

    @property
    def columns(self) -> int:
        return len(self.rows) if self.texts is None else len(self.texts)


@dataclass(frozen=True)
class Comparison:
    """Rows, and the columns they are compared with: one direction of the loss on one rank."""

    rows: Mapping[Output, TextRows]  # of m texts each; gradients are added to their values' .grad
    columns: Mapping[Output, Candidates]  # likewise
    direction: Direction
    numbers: torch.Tensor  # int64 [m], ascending: which of this rank's queries (or positives) each row is
    weights: torch.Tensor  # [m]: what each row's loss is multiplied by
    column_count: int  # of all columns; the dense score, or the widest there is, has all
    in_batch: bool
    teacher: torch.Tensor | None  # [m, width] scores of a reranker, NaN where not known
    guide: GuideEmbeddings | None  # `queries` of the m rows, `columns` of all


def m3_loss(
    comparisons: Sequence[Comparison],
    settings: M3LossSettings,
    *,
    self_distillation: bool,
    block_bytes: int | None = None,
) -> tuple[float, tuple[float, ...]]:
    """The loss, and its parts as settings.part_names says, each the weighted sum over all rows.

    Leaf tensors of the comparisons' values get their gradients. `self_distillation`: whether the step is one in which the
    sum of scores teaches. `block_bytes` bounds a block's matrices (one row at least). Deterministic on the CPU.
    """
    names = settings.part_names or ("loss_dense",)
    total: dict[str, torch.Tensor] = {}
    for comparison in comparisons:
        device = comparison.weights.device
        # Autocast would compute the products in bf16: divided by a temperature of 0.02, its rounding is 0.1 of a logit.
        with torch.autocast(device.type, enabled=False), torch.enable_grad():
            for rows in _blocks(comparison, block_bytes or _BLOCK_BYTES[device.type]):
                block = _Block(comparison, settings, rows)
                for name, value in block.learn(self_distillation=self_distillation).items():
                    total[name] = total[name] + value if name in total else value
    told = ["loss", *names]
    values = torch.stack([total.get(name, torch.zeros_like(total["loss"])) for name in told]).tolist()
    return values[0], tuple(values[1:])


def _blocks(comparison: Comparison, most_bytes: int) -> Iterator[tuple[int, int]]:
    """First and last row + 1 of each block: as many as fit, one at least."""
    any_rows = next(iter(comparison.rows.values()))
    size = any_rows.values.element_size()
    cost = np.full(len(any_rows), comparison.column_count * size * _MATRICES, np.int64)
    if "multi_vector" in comparison.rows:
        # Where each maximum was, and its gradient.
        cost += comparison.rows["multi_vector"].lengths * len(comparison.columns["multi_vector"].rows) * (4 + size)
    first, ends = 0, np.cumsum(cost)
    while first < len(cost):
        before = int(ends[first - 1]) if first else 0
        end = max(first + 1, int(np.searchsorted(ends, before + most_bytes, side="right")))
        yield first, end
        first = end


class _Block:
    """A few rows against all columns."""

    def __init__(self, comparison: Comparison, settings: M3LossSettings, rows: tuple[int, int]) -> None:
        self.comparison, self.settings, self.rows = comparison, settings, rows
        self.leaves = {output: each.part(*rows).as_leaf() for output, each in comparison.rows.items()}
        direction = comparison.direction
        first = (comparison.numbers[slice(*rows)] + direction.first) * direction.width
        self.own = first[:, None] + torch.arange(direction.width, device=first.device)  # [m, width] own columns
        scores = {output: self._scores(output) for output in settings.outputs}
        self.left_out, self.own_empty = self._left_out(scores)
        self.logits = {output: each / settings.temperature for output, each in scores.items()}

    def learn(self, *, self_distillation: bool) -> dict[str, torch.Tensor]:
        """The weighted sums of the block's losses, after adding their gradients to the values'."""
        losses = self._losses(self_distillation=self_distillation)
        weights = self.comparison.weights[slice(*self.rows)]
        (losses["loss"] * weights).sum().backward()  # type: ignore[no-untyped-call]
        for output, leaf in self.leaves.items():
            _add_gradient(self.comparison.rows[output], self.rows, leaf.values.grad)
        return {name: (loss.detach() * weights).sum() for name, loss in losses.items()}

    def _scores(self, output: Output) -> torch.Tensor:
        """[m, c] of the columns that this output is compared with."""
        rows, columns = self.leaves[output], self.comparison.columns[output]
        if output == "dense":
            scores = rows.values @ columns.rows.values.T
        elif output == "lexical":
            scores = lexical_scores(rows, columns.rows)
        else:
            scores = max_similarity(rows, columns.rows, padded_to=columns.padded_to)
        # Transposed, since the way back from a selection of rows is the faster one.
        return scores if columns.texts is None else scores.T.index_select(0, columns.texts).T.contiguous()

    def _left_out(self, scores: dict[Output, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """bool [m, C], the columns that do not count, and [m, width], own ones that hold no passage."""
        comparison, direction = self.comparison, self.comparison.direction
        left_out = self.own.new_zeros(len(self.own), comparison.column_count, dtype=torch.bool)
        numbers = comparison.numbers[slice(*self.rows)]
        low, high = torch.searchsorted(direction.rows, torch.stack([numbers[0], numbers[-1] + 1])).tolist()
        left_out[torch.searchsorted(numbers, direction.rows[low:high]), direction.columns[low:high]] = True
        own_empty = torch.zeros_like(self.own, dtype=torch.bool)
        if direction.empty is not None:
            left_out |= direction.empty
            own_empty = direction.empty[self.own]
        if self.settings.false_negative_margin is not None:
            dense = scores["dense"].detach()
            left_out |= dense > dense.gather(1, self.own[:, :1]) + self.settings.false_negative_margin
        if comparison.guide is not None:
            guide = comparison.guide.queries[slice(*self.rows)] @ comparison.guide.columns.T
            left_out |= guide > guide.gather(1, self.own[:, :1]) - self.settings.guide_margin
        if not comparison.in_batch:
            left_out |= torch.ones_like(left_out).scatter_(1, self.own, False)
        left_out.scatter_(1, self.own[:, :1], False)  # a row's first own column always counts
        return left_out, own_empty

    def _losses(self, *, self_distillation: bool) -> dict[str, torch.Tensor]:
        """[m] each: "loss" and its parts."""
        settings, outputs = self.settings, self.settings.outputs
        parts = {f"loss_{output}": self._loss(self.logits[output], self._first(output)) for output in outputs}
        if len(outputs) == 1:
            return {"loss": parts[f"loss_{outputs[0]}"], **parts}
        total = self._weighted([parts[f"loss_{output}"] for output in outputs])
        if not settings.ensemble:
            return {"loss": total / len(outputs), **parts}
        first, summed = self._summed()
        parts["loss_ensemble"] = self._loss(summed, first)
        total = (total + parts["loss_ensemble"]) / (len(outputs) + 1)
        if self_distillation:
            parts["loss_distillation"] = self._distillation(summed.detach(), first)
            total = (total + parts["loss_distillation"]) / 2
        return {"loss": total, **parts}

    def _first(self, output: Output) -> int:
        return self.comparison.columns[output].first

    def _weighted(self, losses: list[torch.Tensor]) -> torch.Tensor:
        weights = [self.settings.loss_weight(output) for output in self.settings.outputs]
        return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum(dim=0)

    def _summed(self) -> tuple[int, torch.Tensor]:
        """The first column that all outputs are compared with, and the weighted sum of their logits from there on."""
        columns = self.comparison.columns
        first, count = max(each.first for each in columns.values()), min(each.columns for each in columns.values())
        weighted = [
            self.settings.score_weight(output) * self._cut(output, first, count) for output in self.settings.outputs
        ]
        return first, torch.stack(weighted).sum(dim=0)

    def _cut(self, output: Output, first: int, count: int) -> torch.Tensor:
        low = first - self._first(output)
        return self.logits[output][:, low : low + count]

    def _counted(self, logits: torch.Tensor, first: int) -> torch.Tensor:
        return logits.masked_fill(self.left_out[:, first : first + logits.shape[1]], _NOTHING)

    def _loss(self, logits: torch.Tensor, first: int) -> torch.Tensor:
        """[m] M3's equation 2, or what is learnt from a reranker's scores, of logits [m, c] from column `first` on."""
        own, counted = self.own - first, self._counted(logits, first)
        teacher, settings = self.comparison.teacher, self.settings
        plain = torch.logsumexp(counted, dim=1) - counted.gather(1, own[:, :1]).squeeze(1)
        if teacher is None or settings.distillation == "none":
            return plain
        shares = teacher_shares(teacher[slice(*self.rows)], self.own_empty, settings.teacher_temperature, logits.dtype)
        student = logits.gather(1, own).masked_fill(self.own_empty, _NOTHING)
        if settings.distillation == "kl_div":
            return plain + distance_from(shares, student)
        others = _log_sum_exp_or_nothing(counted.scatter(1, own, _NOTHING))
        return one_after_the_other(shares, counted.gather(1, own), student, others)

    def _distillation(self, summed: torch.Tensor, first: int) -> torch.Tensor:
        """[m] M3's equations 5 and 6: the sum of scores teaches each of them."""
        count = summed.shape[1]
        left_out = self.left_out[:, first : first + count]
        teacher = torch.softmax(self._counted(summed, first), dim=1)
        losses = []
        for output in self.settings.outputs:
            logarithms = torch.log_softmax(self._counted(self._cut(output, first, count), first), dim=1)
            losses.append(-(teacher * logarithms.masked_fill(left_out, 0.0)).sum(dim=1))
        return self._weighted(losses) / len(losses)


def _log_sum_exp_or_nothing(logits: torch.Tensor) -> torch.Tensor:
    """[m] -inf, with no gradient, for a row that is -inf throughout."""
    nothing = (logits == _NOTHING).all(dim=1)
    return torch.logsumexp(logits.masked_fill(nothing[:, None], 0.0), dim=1).masked_fill(nothing, _NOTHING)


def _add_gradient(texts: TextRows, rows: tuple[int, int], gradient: torch.Tensor | None) -> None:
    """To the .grad of all texts' values that of the texts from row to row."""
    if gradient is None:
        return
    if texts.values.grad is None:
        texts.values.grad = torch.zeros_like(texts.values)
    low, high = int(texts.offsets[rows[0]]), int(texts.offsets[rows[1]])
    texts.values.grad[low:high] += gradient
