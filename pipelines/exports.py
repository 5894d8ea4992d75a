"""Pairs and mined negatives as the JSON lines other trainers read."""

import contextlib
from collections import Counter
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.shards import ShardFile
from trainer.packing import flagembedding_rows

FLAGEMBEDDING: Final = "export/flagembedding"
FLAGEMBEDDING_IN_BATCH: Final = "export/flagembedding_in_batch"


def flagembedding_lines(pairs: pa.RecordBatch, mined: pa.RecordBatch, texts: pa.Array) -> Any:
    """JSON lines (bytes) of PAIR rows and the mined rows beside them; `texts` are the passages by row number.

    Negatives that came with the source stand before the mined ones; such a row has no scores, for they have none.
    """
    rows = mined["negative_rows"].flatten()
    offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(mined["negative_rows"]).to_numpy())])
    negatives = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts.take(rows).cast(pa.string()))
    scores = mined["negative_scores"]
    curated = pc.greater(pc.list_value_length(pairs["negatives"]).fill_null(0), 0)
    if pc.any(curated).as_py():
        both = zip(pairs["negatives"].to_pylist(), negatives.to_pylist(), strict=True)
        negatives = pa.array([[*(first or []), *then] for first, then in both], pa.list_(pa.string()))
        scores = pc.if_else(curated, pa.scalar(None, scores.type), scores)
    return flagembedding_rows(
        pairs["query"],
        pairs["positive"],
        negatives,
        positive_scores=mined["positive_score"],
        negative_scores=scores,
    )


class FlagEmbeddingExport:
    """The JSON lines of one pair shard, pairs with and without negatives in two files: FlagEmbedding divides by the number of
    negatives, so a file that mixes them stops its trainer. A file without lines would stop it too, and is not written."""

    def __init__(self, folder: str, name: str, *, enabled: bool) -> None:
        self._folder, self._name = folder, name
        self._roles = (FLAGEMBEDDING, FLAGEMBEDDING_IN_BATCH) if enabled else ()
        self._streams: dict[str, Any] = {}
        self._rows: Counter[str] = Counter()
        self._open = contextlib.ExitStack()
        self.files: list[ShardFile] = []

    def __enter__(self) -> "FlagEmbeddingExport":
        return self

    def write(self, pairs: pa.RecordBatch, mined: pa.RecordBatch, texts: pa.Array) -> None:
        curated = pc.greater(pc.list_value_length(pairs["negatives"]).fill_null(0), 0)
        has_negatives = pc.or_(curated, pc.greater(pc.list_value_length(mined["negative_rows"]), 0))
        for role, chosen in zip(self._roles, (has_negatives, pc.invert(has_negatives)), strict=False):
            for line in flagembedding_lines(pairs.filter(chosen), mined.filter(chosen), texts):
                self._stream(role).write(line)
                self._rows[role] += 1

    def _stream(self, role: str) -> Any:
        if role not in self._streams:
            self._streams[role] = self._open.enter_context(storage.atomic_write(self._url(role)))
        return self._streams[role]

    def _url(self, role: str) -> str:
        return storage.join(self._folder, role, f"{self._name}.jsonl")

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._open.__exit__(kind, error, trace)
        for role, stream in sorted(self._streams.items()):
            path = f"{role}/{self._name}.jsonl"
            rows, size, digest = self._rows[role], stream.bytes, stream.sha256
            self.files.append(ShardFile(role=role, path=path, rows=rows, bytes=size, sha256=digest))
