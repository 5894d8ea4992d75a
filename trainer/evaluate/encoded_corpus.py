"""A corpus's dense and lexical vectors on disk, a file a block of passages; a killed evaluation goes on from whole blocks."""

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.m3_heads import Output
from trainer.sparse_vectors import SparseVectors
from trainer.vector_files import VectorFiles

if TYPE_CHECKING:
    from trainer.encoder import Encoder
    from trainer.encoder_processes import EncoderPool


@dataclass(frozen=True)
class LexicalBlock:
    """The lexical vectors of the rows first to end."""

    first: int
    end: int
    path: Path

    def read(self) -> SparseVectors:
        """From disk."""
        with np.load(self.path, allow_pickle=False) as arrays:
            return SparseVectors(arrays["offsets"], arrays["token_ids"], arrays["weights"])


@dataclass(frozen=True)
class EncodedCorpus:
    """What was asked for; the rest is None or empty."""

    dense: VectorFiles | None
    lexical: list[LexicalBlock]


def encode_corpus(
    encoder: "Encoder | EncoderPool",
    blocks: Iterator[pa.Array],
    outputs: Collection[Output],
    folder: Path,
    embedded: Callable[[Literal["query", "passage"], pa.Array], npt.NDArray[Any]] | None = None,
) -> EncodedCorpus:
    """Encode passages block by block into `folder`, which is of this model, corpus, outputs and size of blocks alone.

    Blocks whose files are there are not encoded again. `embedded` gives dense vectors where nothing else is asked for.
    """
    dense: list[Path] = []
    lexical: list[LexicalBlock] = []
    first = 0
    for number, texts in enumerate(blocks):
        paths: dict[Output, Path] = {
            "dense": folder / f"dense-{number:06d}.npy",
            "lexical": folder / f"lexical-{number:06d}.npz",
        }
        if not all(paths[output].exists() for output in outputs):
            _write_block(encoder, texts, {output: paths[output] for output in outputs}, embedded)
        dense.append(paths["dense"])
        lexical.append(LexicalBlock(first, first + len(texts), paths["lexical"]))
        first += len(texts)
    return EncodedCorpus(
        VectorFiles.open(dense) if "dense" in outputs else None, lexical if "lexical" in outputs else []
    )


def _write_block(
    encoder: "Encoder | EncoderPool",
    texts: pa.Array,
    paths: dict[Output, Path],
    embedded: Callable[[Literal["query", "passage"], pa.Array], npt.NDArray[Any]] | None,
) -> None:
    if embedded is not None and paths.keys() == {"dense"}:
        vectors = embedded("passage", texts)
        _write_whole(paths["dense"], lambda stream: np.save(stream, vectors, allow_pickle=False))
        return
    made = encoder.encode_all(texts, "passage", frozenset(paths))
    if made.dense is not None:
        dense = made.dense
        _write_whole(paths["dense"], lambda stream: np.save(stream, dense, allow_pickle=False))
    if made.lexical is not None:
        sparse = made.lexical
        _write_whole(
            paths["lexical"],
            lambda stream: np.savez(stream, offsets=sparse.offsets, token_ids=sparse.token_ids, weights=sparse.weights),
        )


def _write_whole(path: Path, write: Callable[[Any], None]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as stream:
            write(stream)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
