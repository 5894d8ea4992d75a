"""Which entries of a run's embedding store none of its texts has any more.

In use are the texts of the last job's pairs (query, positive, the negatives that came with them), of dedup's passages, and of
the evaluation sets: their vectors stay. Texts of documents and questions that synthesize compares are encoded again if they
are asked for: they are not looked up here, so their vectors count as unused.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines import storage
from pipelines.job import EVALUATION, HELD_OUT, PAIR_JOBS, PAIRS
from pipelines.manifest import Manifest, read_manifest
from pipelines.run_folder import RunFolder
from pipelines.shards import read_batches
from trainer.embedding_store import EmbeddingSpace, Segment, text_keys

Keys = npt.NDArray[np.uint64]  # [n, 2]
_ROWS: Final = 4096


@dataclass(frozen=True)
class UnusedEntries:
    """A segment with entries that no current text has."""

    segment: Segment
    unused: int

    @property
    def bytes(self) -> int:
        """What goes with them."""
        return self.unused * (16 + 2 * self.segment.dimension)


def keys_in_use(run: RunFolder, jobs: Sequence[str]) -> Keys | None:
    """The keys of the run's current texts, sorted; None where no job has written pairs, so that nothing can be said.

    16 bytes a text are in memory, and the texts of one batch.
    """
    manifests: dict[str, Manifest] = {}
    for job in jobs:
        manifest = read_manifest(run.job(job))
        if manifest is not None:
            manifests[job] = manifest
    of_pairs = [job for job in PAIR_JOBS if job in manifests and job not in ("extract", "synthesize")]
    if not of_pairs:
        return None
    found = [np.zeros((0, 2), np.uint64)]
    for job in of_pairs[-2:]:  # what score dropped it reads again when a threshold changes
        for file in manifests[job].files_of(PAIRS, HELD_OUT):
            for batch in read_batches(storage.join(run.job(job), file.path), ["query", "positive", "negatives"], _ROWS):
                found += [text_keys(texts) for texts in _texts(batch)]
    if "dedup" in manifests:
        for file in manifests["dedup"].files_of("passages"):
            for batch in read_batches(storage.join(run.job("dedup"), file.path), ["text"], _ROWS):
                found.append(text_keys(batch["text"]))
    found += [text_keys(texts) for texts in _evaluation_texts(run)]
    return np.unique(np.concatenate(found), axis=0)


def _texts(batch: pa.RecordBatch) -> Iterator[pa.Array]:
    yield batch["query"]
    yield batch["positive"]
    yield batch["negatives"].flatten()


def _evaluation_texts(run: RunFolder) -> Iterator[pa.Array]:
    import orjson

    for name in ("queries.jsonl", "corpus.jsonl"):
        url = storage.join(run.job("pack"), EVALUATION, name)
        if not storage.exists(url):
            continue
        with storage.open_for_reading(url) as stream:
            texts: list[Any] = []
            for line in stream:
                texts.append(orjson.loads(line)["text"])
                if len(texts) == _ROWS:
                    yield pa.array(texts, pa.string())
                    texts = []
            yield pa.array(texts, pa.string())


def unused_entries(segments: Sequence[Segment], used: Keys) -> Iterator[UnusedEntries]:
    """The segments that hold entries with none of these keys (sorted, distinct)."""
    for segment in segments:
        unused = int((~_is_used(_keys_of(segment), used)).sum())
        if unused:
            yield UnusedEntries(segment, unused)


def drop_unused(segment: Segment, used: Keys) -> None:
    """Put a segment of the used entries in a segment's place; none where no entry is used. Killed between the two, the store
    has both, and lookups find the same vectors."""
    keys = _keys_of(segment)
    kept = _is_used(keys, used)
    if kept.any():
        vectors = np.load(segment.path("vectors"), mmap_mode="r", allow_pickle=False)
        EmbeddingSpace(segment.folder, segment.dimension).add(np.ascontiguousarray(keys[kept]), vectors[kept])
    segment.delete()


def _keys_of(segment: Segment) -> Keys:
    keys: Keys = np.load(segment.path("keys"), mmap_mode="r", allow_pickle=False)
    return keys


def _is_used(keys: Keys, used: Keys) -> npt.NDArray[np.bool_]:
    """bool [n]: which of the keys [n, 2] are among those sorted ones."""
    pair = np.dtype([("high", np.uint64), ("low", np.uint64)])
    of_keys, of_used = np.ascontiguousarray(keys).view(pair).ravel(), np.ascontiguousarray(used).view(pair).ravel()
    found: npt.NDArray[np.bool_] = np.isin(of_keys, of_used)
    return found
