"""Outputs of texts in training as rows end to end: one a text, one a token, or one a distinct token of a text."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainer.ragged import ranges

if TYPE_CHECKING:
    import torch

    from trainer.distributed import Ranks

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TextRows:
    """Text i of n has the rows offsets[i] to offsets[i + 1]."""

    values: "torch.Tensor"  # [r] weights or [r, d] vectors, float32 or float64
    offsets: Int64  # [n + 1]
    tokens: "torch.Tensor | None" = None  # int64 [r]: of lexical weights the token ids, ascending in a text

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64:
        return np.diff(self.offsets)

    @classmethod
    def one_a_text(cls, values: "torch.Tensor") -> "TextRows":
        """From vectors [n, d] of n texts."""
        return cls(values, np.arange(len(values) + 1))

    def part(self, first: int, end: int) -> "TextRows":
        """The texts `first` to `end`; views."""
        low, high = int(self.offsets[first]), int(self.offsets[end])
        tokens = None if self.tokens is None else self.tokens[low:high]
        return TextRows(self.values[low:high], self.offsets[first : end + 1] - low, tokens)

    def take(self, texts: Int64) -> "tuple[TextRows, torch.Tensor]":
        """The texts of these numbers, in their order, as a copy; and which rows they are of: int64."""
        import torch

        lengths = self.lengths[texts]
        rows = torch.from_numpy(ranges(self.offsets[texts], lengths)).to(self.values.device)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        tokens = None if self.tokens is None else self.tokens.index_select(0, rows)
        return TextRows(self.values.index_select(0, rows), offsets, tokens), rows

    def as_leaf(self) -> "TextRows":
        """The same rows, cut off from their graph, with gradient."""
        return replace(self, values=self.values.detach().requires_grad_())

    def of_all_ranks(self, ranks: "Ranks") -> "tuple[TextRows, list[int], Int64]":
        """The texts of all ranks in rank order, without graph; the rows of each rank, and the texts of each rank."""
        import torch

        if ranks.count == 1:
            return self, [len(self.values)], np.array([len(self)])
        device, each = self.values.device, [1] * ranks.count
        sizes = ranks.gather_rows(torch.tensor([[len(self.values), len(self)]], device=device), each).cpu().numpy()
        rows, texts = sizes[:, 0].tolist(), sizes[:, 1]
        lengths = ranks.gather_rows(torch.from_numpy(self.lengths).to(device), texts.tolist()).cpu().numpy()
        tokens = None if self.tokens is None else ranks.gather_rows(self.tokens, rows)
        values = ranks.gather_rows(self.values, rows)
        return TextRows(values, np.concatenate([[0], np.cumsum(lengths)]), tokens), rows, texts
