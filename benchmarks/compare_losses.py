"""Our loss beside FlagEmbedding's on the same tensors in float64: values and gradients.

    PYTHONPATH=. PYTHON benchmarks/compare_losses.py

PYTHON has FlagEmbedding (and pydantic, numpy). Prints the largest relative difference of each of their dense losses: in
batch, own group only, and both kinds of distillation. m3_kd_loss without in-batch negatives is left out: theirs looks for
columns that its local scores do not have.
"""

import torch
from FlagEmbedding.finetune.embedder.encoder_only.base.modeling import BiEncoderOnlyEmbedderModel

from trainer.loss import Direction, LossMasks, LossSettings, contrastive_loss

QUERIES, GROUP, DIMENSION, TEMPERATURE = 24, 8, 32, 0.02


def main() -> None:
    torch.manual_seed(0)
    raw = [torch.randn(rows, DIMENSION, dtype=torch.float64) for rows in (QUERIES, QUERIES * GROUP)]
    teacher = torch.randn(QUERIES, GROUP, dtype=torch.float64)
    cells = [("none", True), ("none", False), ("kl_div", True), ("kl_div", False), ("m3_kd_loss", True)]
    for distillation, in_batch in cells:
        results = []
        for loss in (theirs, ours):
            leaves = [each.clone().requires_grad_() for each in raw]
            value = loss(
                *[torch.nn.functional.normalize(each, dim=1) for each in leaves], teacher, distillation, in_batch
            )
            value.backward()
            results.append((value.detach(), torch.cat([leaf.grad for leaf in leaves])))
        (their_loss, their_gradient), (our_loss, our_gradient) = results
        print(
            f"{distillation:10} {'in batch' if in_batch else 'own group':9} loss {float(our_loss):.6f}"
            f"  difference {float((our_loss - their_loss).abs() / their_loss):.1e}"
            f"  of the gradient {float((our_gradient - their_gradient).norm() / their_gradient.norm()):.1e}"
        )


def theirs(queries: torch.Tensor, passages: torch.Tensor, teacher: torch.Tensor, distillation: str, in_batch: bool):
    model = BiEncoderOnlyEmbedderModel(torch.nn.Identity(), temperature=TEMPERATURE, normalize_embeddings=True)
    model.kd_loss_type = distillation
    targets = None if distillation == "none" else torch.softmax(teacher, dim=1)
    compute = model._compute_in_batch_neg_loss if in_batch else model._compute_no_in_batch_neg_loss
    return compute(queries, passages, teacher_targets=targets)[1]


def ours(queries: torch.Tensor, passages: torch.Tensor, teacher: torch.Tensor, distillation: str, in_batch: bool):
    nothing = torch.empty(0, dtype=torch.int64)
    masks = LossMasks(
        Direction(0, GROUP, nothing, nothing),
        None,
        None,
        in_batch,
        teacher,
        QUERIES,
    )
    return contrastive_loss(queries, passages, masks, LossSettings(temperature=TEMPERATURE, distillation=distillation))


if __name__ == "__main__":
    main()
