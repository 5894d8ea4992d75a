"""Embeddings of a task's texts, each distinct text encoded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.backbone import Role


class TextEncoder(Protocol):
    """What tasks need of an encoder: trainer.encoder.Encoder and EncoderPool have it."""

    def encode(self, texts: pa.Array | Sequence[str], role: Role) -> npt.NDArray[np.float32]:
        """Embeddings float32 [n, D] of `texts`, in their order."""


@dataclass(frozen=True)
class TextVectors:
    """Embeddings of n texts, stored once for each of the d distinct ones."""

    distinct: npt.NDArray[np.float32]  # [d, D], in the order in which the texts first occur
    rows: npt.NDArray[np.int64]  # [n], the row of each text's embedding

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, texts: npt.NDArray[np.int64] | slice) -> npt.NDArray[np.float32]:
        """The embeddings [m, D] of some of the n texts."""
        return self.distinct[self.rows[texts]]


def text_vectors(encoder: TextEncoder, texts: Sequence[str], role: Role) -> TextVectors:
    """Encode the distinct texts of `texts` in the order in which they first occur."""
    numbered = pa.array(texts, pa.large_string()).dictionary_encode()
    return TextVectors(encoder.encode(numbered.dictionary, role), numbered.indices.to_numpy().astype(np.int64))
