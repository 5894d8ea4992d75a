"""A linear layer whose products are those of 16-bit integers: for a forward without training, on a CPU.

In:  the weights and biases of a layer, rounded once; rows float32 [t, K], rounded on their way in.
Out: rows . weights + biases, float32 [t, m], within about 1e-4 of the norms (see trainer.integer_products).
"""

from typing import TYPE_CHECKING

from trainer.integer_products import Panels, lay_out, multiply, rounded

if TYPE_CHECKING:
    import torch


class IntegerLinear:
    """One layer. The product of a row is the same whatever rows are beside it; a row that is not finite gives NaN."""

    def __init__(self, weight: "torch.Tensor", bias: "torch.Tensor") -> None:
        """Weight float32 [m, K] and bias float32 [m], both on the CPU; neither is kept."""
        self._panels = Panels.empty(*weight.shape)
        lay_out(rounded(weight.detach().contiguous().numpy()), self._panels)
        self._panels.added[: len(bias)] = bias.detach().numpy()

    def __call__(self, rows: "torch.Tensor") -> "torch.Tensor":
        """The layer's output for rows float32 [t, K], in the calling thread alone."""
        import torch

        products = torch.empty(len(rows), self._panels.count, dtype=torch.float32)
        multiply(rounded(rows.detach().contiguous().numpy()), self._panels, products.numpy())
        return products
