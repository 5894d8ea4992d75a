"""The contrastive loss: InfoNCE over in-batch and hard negatives.

In:  embeddings of B queries and of their passages, and which of those are no negatives of a query after all.
Out: one number, with gradient.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DEFAULT_TEMPERATURE = 0.02  # FlagEmbedding research/BGE_M3/arguments.py; not in the M3 paper. BGE v1: 0.01 (README)


class LossShapeError(ValueError):
    """Tensors given to a loss do not fit together. The message names the shapes."""


def info_nce(
    queries: "torch.Tensor",
    passages: "torch.Tensor",
    temperature: float = DEFAULT_TEMPERATURE,
    forbidden: "torch.Tensor | None" = None,
    symmetric: "torch.Tensor | None" = None,
) -> "torch.Tensor":
    """The mean over B queries of -log(exp(s(q, p*) / t) / sum over p in {p*, P'} of exp(s(q, p) / t)).

    M3 equation 2 with dense scores, s(q, p) = <e_q, e_p>; C-Pack section 3.4 sums over the queries of
    a passage instead of the passages of a query: the direction that `symmetric` adds.

    queries    [B, D], any float type; computed in fp32
    passages   [B * (1 + n), D]: for each query its positive, then its n negatives; P' takes in the other queries' too
    forbidden  bool [B, B * (1 + n)]: true where passage j is no negative of query i (the same passage as its positive
               or of its cluster, another known positive, an empty slot); a query's own positive is never forbidden
    symmetric  bool [B]: for these pairs the loss is the mean of both directions, the other one from the positive to its
               query among all B queries; forbidden there as in the first direction

    Returns a float32 scalar. Raises LossShapeError where the shapes do not fit.
    """
    import torch
    from torch.nn.functional import cross_entropy

    count = len(queries)
    if count == 0 or len(passages) % count or (forbidden is not None and forbidden.shape != (count, len(passages))):
        raise LossShapeError(
            f"info_nce needs B queries, B * (1 + n) passages and a [B, B * (1 + n)] mask; found queries "
            f"{tuple(queries.shape)}, passages {tuple(passages.shape)}, forbidden "
            f"{None if forbidden is None else tuple(forbidden.shape)}."
        )
    # Autocast would compute the products in bf16: divided by a temperature of 0.02, its rounding is 0.1 of a logit.
    with torch.autocast(queries.device.type, enabled=False):
        logits = queries.float() @ passages.float().T / temperature
        own = torch.arange(count, device=queries.device) * (len(passages) // count)
        if forbidden is not None:
            excluded = forbidden.clone()
            excluded[torch.arange(count, device=queries.device), own] = False
            logits = logits.masked_fill(excluded, float("-inf"))
        loss: torch.Tensor = cross_entropy(logits, own, reduction="none")
        if symmetric is not None:
            backward = cross_entropy(logits[:, own].T, torch.arange(count, device=queries.device), reduction="none")
            loss = torch.where(symmetric, (loss + backward) / 2, loss)
        return loss.mean()
