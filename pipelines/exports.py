"""Pairs and mined negatives as the JSON lines other trainers read."""

import contextlib
from collections import Counter
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.shards import ShardFile
from trainer.packing import flagembedding_rows
from trainer.ragged import Ragged

FLAGEMBEDDING: Final = "export/flagembedding"
FLAGEMBEDDING_IN_BATCH: Final = "export/flagembedding_in_batch"


class ExportedRows(NamedTuple):
    """Columns of `flagembedding_rows`."""

    query: pa.Array  # string
    positives: pa.Array  # list<string>
    negatives: pa.Array  # list<string>
    positive_scores: pa.Array  # list<float>; null where one is not known
    negative_scores: pa.Array  # list<float>; null where one is not known

    def filter(self, chosen: pa.Array) -> "ExportedRows":
        return ExportedRows(*(column.filter(chosen) for column in self))


def exported_rows(pairs: pa.RecordBatch, mined: pa.RecordBatch, texts: pa.Array) -> ExportedRows:
    """PAIR rows and the mined rows beside them, as texts; `texts` are the passages by row number.

    Passages that a judge found to answer a query, too, stand behind its positive, and are no negatives. Negatives that
    came with the source stand before the mined ones; such a row has no scores, for they have none.
    """
    answers = _texts_of(mined["relabelled_rows"], texts) if "relabelled_rows" in mined.schema.names else None
    answer_scores = None if answers is None else mined["relabelled_judge_scores"].to_pylist()
    columns: tuple[list[Any], ...] = ([], [], [], [])
    rows = zip(
        pairs["positive"].to_pylist(),
        pairs["negatives"].to_pylist(),
        _texts_of(mined["negative_rows"], texts),
        mined["positive_score"].to_pylist(),
        mined["negative_scores"].to_pylist(),
        answers or [[]] * pairs.num_rows,
        answer_scores or [None] * pairs.num_rows,
        strict=True,
    )
    for positive, curated, found, score, scores, more, of_more in rows:
        positives, of_positives = [positive, *more], [score, *(of_more or [None] * len(more))]
        negatives = [text for text in dict.fromkeys([*(curated or []), *found]) if text not in positives]
        scored = None not in of_positives and negatives == found and scores is not None
        for column, value in zip(
            columns, (positives, negatives, of_positives if scored else None, scores if scored else None), strict=True
        ):
            column.append(value)
    kinds = (pa.string(), pa.string(), pa.float32(), pa.float32())
    arrays = (pa.array(column, pa.list_(kind)) for column, kind in zip(columns, kinds, strict=True))
    return ExportedRows(pairs["query"], *arrays)


def _texts_of(rows: pa.Array, texts: pa.Array) -> list[list[str]]:
    """The passages that lists of row numbers name; a null list is an empty one."""
    lists = Ragged.of_arrow(rows)
    return Ragged(texts.take(pa.array(lists.values)).to_numpy(zero_copy_only=False), lists.offsets).lists()


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
        rows = exported_rows(pairs, mined, texts)
        has_negatives = pc.greater(pc.list_value_length(rows.negatives), 0)
        for role, chosen in zip(self._roles, (has_negatives, pc.invert(has_negatives)), strict=False):
            of_role = rows.filter(chosen)
            for line in flagembedding_rows(
                of_role.query,
                of_role.positives,
                of_role.negatives,
                positive_scores=of_role.positive_scores,
                negative_scores=of_role.negative_scores,
            ):
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
