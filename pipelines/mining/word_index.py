"""Stage 5, where BM25 is a source of candidates: the index of words over all passages, memory-mapped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from pipelines.mining.progress import Progress
from pipelines.mining.texts import Texts
from trainer.bm25 import Bm25Index

_AT_ONCE: Final = 8192


def build_word_index(folder: Path, texts: Texts, progress: Progress) -> None:
    """Write the index of all passages into a folder."""
    Bm25Index.build(_blocks(texts, progress), folder)


def _blocks(texts: Texts, progress: Progress) -> Iterator[pa.Array]:
    for start in range(0, len(texts), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(texts)))
        yield texts.take(rows)
        progress.advance(len(rows))
