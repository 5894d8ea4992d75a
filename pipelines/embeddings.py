"""Embeddings for the jobs: one encoder a process, and the embedding store between jobs and runs.

    vectors = prepare(job)                            in the job's process: which segments of the store may be read
    vectors.embed(settings.encoder, "query", texts)   in a worker: float16 [n, D], found or encoded

What a job finds in the store is settled when it starts and kept in JOB/_store.json: a job that is killed goes on with the
same, and its batches, and so the last bits of its vectors, do not depend on what its own workers wrote meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.job import Job

if TYPE_CHECKING:
    from trainer.embedding_store import EmbeddingReader, EmbeddingSpace
    from trainer.encoder import Encoder, EncoderSettings
    from trainer.encoder_processes import EncoderPool

_SNAPSHOT: Final = "_store.json"


@dataclass(frozen=True)
class Embeddings:
    """Where a job's embeddings come from. Small: it is sent to workers."""

    store: str | None  # a local folder; None: everything is encoded
    readable: tuple[tuple[str, tuple[str, ...]], ...] = ()  # the segments of each space that may be read

    def embed(
        self,
        settings: "EncoderSettings",
        role: Literal["query", "passage"],
        texts: pa.Array,
        on_batch: Callable[[int], None],
    ) -> np.ndarray[Any, Any]:
        """Embeddings float16 [n, D] of texts, in their order. Raises trainer.encoder.EmbeddingError."""
        from trainer.embedding_store import embed, encode_rounded

        encoder = load_encoder(settings.model_dump_json())
        encoder.on_batch = on_batch
        if self.store is None:
            return encode_rounded(encoder, role, texts)
        reader, space = _open(self, settings.model_dump_json(), role)
        return embed(encoder, role, texts, reader, space)


def prepare(job: Job) -> Embeddings:
    """The embeddings of a job that starts or goes on."""
    settings = job.recipe.embeddings
    folder = settings.folder or (storage.join(job.run.url, "embeddings") if storage.is_local(job.run.url) else None)
    if not settings.keep or folder is None:
        return Embeddings(None)
    from trainer.embedding_store import EmbeddingStore

    store = EmbeddingStore(folder, settings.max_bytes)
    url = storage.join(job.folder, _SNAPSHOT)
    found = storage.read_record(url)
    if found is not None and found["fingerprint"] == job.fingerprint:
        store.begin_use(tidy=False)
        return _embeddings(folder, found["spaces"])
    store.begin_use(tidy=True)
    spaces = {space.folder.name: [segment.name for segment in space.segments()] for space in store.spaces()}
    storage.write_json(url, {"fingerprint": job.fingerprint, "spaces": spaces})
    return _embeddings(folder, spaces)


def _embeddings(folder: str, spaces: dict[str, list[str]]) -> Embeddings:
    return Embeddings(folder, tuple((name, tuple(segments)) for name, segments in sorted(spaces.items())))


@cache
def load_encoder(settings_json: str) -> "Encoder | EncoderPool":
    """One encoder a process, or with device "all" one on each of several GPUs."""
    from trainer.encoder import EncoderSettings
    from trainer.encoder_processes import open_encoder

    return open_encoder(EncoderSettings.model_validate_json(settings_json))


@cache
def _open(
    embeddings: Embeddings, settings_json: str, role: Literal["query", "passage"]
) -> "tuple[EmbeddingReader, EmbeddingSpace]":
    from trainer.embedding_store import EmbeddingStore, encoder_identity

    assert embeddings.store is not None
    encoder = load_encoder(settings_json)
    space = EmbeddingStore(embeddings.store).space(encoder_identity(encoder, role), encoder.dimension)
    return space.reader(dict(embeddings.readable).get(space.folder.name, ())), space
