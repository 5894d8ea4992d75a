"""The gradient of a large embedding table, added up row by row where it is.

torch makes a gradient of the whole table for each backward pass and adds it to the one before: with 250,000 words of 1,024
dimensions 1 GB to fill and to add for each chunk of a batch, although a chunk has a thousand words. Imports torch at once.
"""

from typing import Any

import torch


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, token_ids: torch.Tensor, weight: torch.Tensor, padding: int | None) -> torch.Tensor:
        context.save_for_backward(token_ids)
        context.weight, context.padding = weight, padding
        return torch.nn.functional.embedding(token_ids, weight)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[None, None, None]:
        (token_ids,), weight = context.saved_tensors, context.weight
        ids, rows = token_ids.ravel(), gradients[0].reshape(-1, weight.shape[1])
        if context.padding is not None:
            kept = torch.nonzero(ids != context.padding).ravel()
            ids, rows = ids[kept], rows[kept]
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        weight.grad.index_add_(0, ids, rows.to(weight.grad.dtype))
        return None, None, None


def add_gradients_in_place(table: torch.nn.Module) -> None:
    """Let `table`, a torch.nn.Embedding, add its gradient to the rows of `weight.grad` that were looked up.

    The sum is that of torch up to rounding. For the CPU: there it is in a fixed order and saves time and memory; a GPU would
    add in any order.
    """
    if not isinstance(table, torch.nn.Embedding) or table.max_norm is not None or table.scale_grad_by_freq:
        return
    apply: Any = _Lookup.apply

    def forward(token_ids: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = apply(token_ids, table.weight, table.padding_idx)
        return result

    table.__dict__["forward"] = forward
