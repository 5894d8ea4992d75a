"""Stage 4: the vectors of passages and of queries, in blocks: NNNNNN.npy, float16 [block, D].

A block is encoded in one go, so its bytes do not depend on what was finished before. With a store of embeddings
(trainer.embedding_store) only texts that it does not hold are encoded; what it held when the stage began is all that the
stage reads of it, so that a resumed stage ends with the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.embeddings import Embeddings, load_encoder
from pipelines.mining.progress import Progress
from pipelines.mining.texts import Texts
from pipelines.mining.work import Stage, read_array, write_array
from trainer.encoder import EncoderSettings
from trainer.sparse_vectors import SparseVectors

Role = Literal["query", "passage"]

_WEIGHTS: Final = ("offsets", "token_ids", "weights")  # of SparseVectors
BLOCK: Final = 8192  # texts; at most so many are encoded again after a kill


def store_facts(folder: str | None, max_bytes: int | None) -> dict[str, Any]:
    """What of a store of embeddings may be read by a stage that begins now. Merges small segments where nobody else reads."""
    if folder is None:
        return {"store": None, "readable": []}
    from trainer.embedding_store import EmbeddingStore

    store = EmbeddingStore(folder, max_bytes)
    store.begin_use(tidy=True)
    readable = [[space.folder.name, [segment.name for segment in space.segments()]] for space in store.spaces()]
    return {"store": folder, "readable": readable}


def embeddings_of(facts: dict[str, Any]) -> Embeddings:
    """Where a stage with such facts has its vectors from; the store is held against tidying."""
    if facts["store"] is not None:
        from trainer.embedding_store import EmbeddingStore

        EmbeddingStore(facts["store"]).begin_use(tidy=False)
    readable = tuple((space, tuple(segments)) for space, segments in facts["readable"])
    return Embeddings(facts["store"], readable)


def encode_texts(
    stage: Stage,
    role: Role,
    texts: Texts,
    settings: EncoderSettings,
    progress: Progress,
    *,
    lexical: bool = False,
) -> dict[str, int]:
    """Write the blocks that are missing: how many texts of all blocks were `encoded`, and `truncated` to the length.

    With `lexical` an M3 model's token weights too; then nothing comes from a store, which holds vectors alone.
    Raises EmbeddingError, and ModelFolderError, as for a model without such weights.
    """
    embeddings = embeddings_of(storage.read_json(str(stage.file("store.json"))))
    counts = {"encoded": 0, "truncated": 0}
    for number, path in enumerate(vector_paths(stage, len(texts))):
        if not path.exists():
            rows = np.arange(number * BLOCK, min((number + 1) * BLOCK, len(texts)))
            _encode_block(path, texts.take(rows), role, settings, None if lexical else embeddings, progress)
        for name, count in storage.read_json(str(_facts_path(path))).items():
            counts[name] += count
    return counts


def _encode_block(
    path: Path,
    texts: pa.Array,
    role: Role,
    settings: EncoderSettings,
    embeddings: Embeddings | None,
    progress: Progress,
) -> None:
    """Write one block; `embeddings` None: with token weights."""
    encoder = load_encoder(settings.model_dump_json())
    truncated, encoded = encoder.truncated, encoder.encoded
    advance = _Advance(progress, encoded)
    if embeddings is not None:
        vectors = embeddings.embed(settings, role, texts, advance)
    else:
        encoder.on_batch = advance
        outputs = encoder.encode_all(texts, role, ("dense", "lexical"))
        assert outputs.dense is not None
        assert outputs.lexical is not None
        vectors = outputs.dense.astype(np.float16)
        _write_weights(path, outputs.lexical)
    advance.to(len(texts) + encoded)
    facts = {"encoded": encoder.encoded - encoded, "truncated": encoder.truncated - truncated}
    storage.write_json(str(_facts_path(path)), facts)
    write_array(path, vectors)  # last: with it the block is finished


def _write_weights(path: Path, weights: SparseVectors) -> None:
    for name in _WEIGHTS:
        write_array(path.with_suffix(f".{name}.npy"), getattr(weights, name))


def read_weights(paths: Sequence[Path]) -> SparseVectors:
    """The token weights beside the vectors of these files, in memory."""
    parts = ([read_array(path.with_suffix(f".{name}.npy")) for name in _WEIGHTS] for path in paths)
    return SparseVectors.concatenate([SparseVectors(*part) for part in parts])


def _facts_path(path: Path) -> Path:
    return path.with_suffix(".json")


def blocks_done(stage: Stage, texts: int) -> int:
    """How many texts have vectors already."""
    return min(texts, BLOCK * sum(path.exists() for path in vector_paths(stage, texts)))


class _Advance:
    """Passes on how many texts of a block are encoded; those found in a store come at its end."""

    def __init__(self, progress: Progress, begun_at: int) -> None:
        self._progress, self._begun_at, self._told = progress, begun_at, 0

    def __call__(self, encoded: int) -> None:
        self.to(encoded)

    def to(self, encoded: int) -> None:
        count = encoded - self._begun_at
        if count > self._told:
            self._progress.advance(count - self._told)
            self._told = count


def vector_paths(stage: Stage, texts: int) -> list[Path]:
    """The files of a stage, those that are missing among them; one of no rows where there are no texts."""
    return [stage.file(f"{number:06d}.npy") for number in range(max(1, -(-texts // BLOCK)))]
