"""Judged queries and a corpus: what all retrieval layouts are read into."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.evaluate.stored_texts import ArrowStrings, text_blocks

Layout = Literal["beir", "miracl", "mrtydi", "mldr", "mkqa"]


@dataclass(frozen=True)
class RetrievalData:
    """Judged queries and the corpus to be searched. The corpus is in falling order of document id (trainer.evaluate.stored_texts).

    Either `relevance` judges documents, or (MKQA) a document is relevant where it holds one of the query's `answers`.
    """

    name: str
    document_ids: Sequence[str]
    documents: Sequence[str]  # title and text
    query_ids: list[str]  # those that are judged, in the order of the file
    queries: list[str]
    relevance: Mapping[str, Mapping[str, int]]  # by query id and document id
    kinds: list[str | None]  # of each query
    languages: list[str | None]  # of each query
    layout: Layout = "beir"
    answers: list[list[str]] | None = None  # of each query
    notes: Mapping[str, int] = field(default_factory=dict)  # what is odd: how often

    @cached_property
    def texts_digest(self) -> bytes:
        """A hash of the corpus's texts in their order: sets that share a corpus share it."""
        return _text_digest(self.documents)

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits: a hash of corpus, queries and judgements, whatever files and order they came in."""
        content = hashlib.sha256(_text_digest(self.document_ids) + self.texts_digest)
        judged = ((query, *pair) for query in sorted(self.relevance) for pair in sorted(self.relevance[query].items()))
        for value in (
            *sorted(zip(self.query_ids, self.queries, strict=True)),
            *judged,
            *sorted(zip(self.query_ids, self.answers or (), strict=False)),
        ):
            content.update(repr(value).encode("utf-8", "backslashreplace"))
        return content.hexdigest()[:32]


def _text_digest(texts: Sequence[str]) -> bytes:
    """Lengths and bytes are hashed apart, so that the cut into blocks does not matter."""
    lengths, content = hashlib.sha256(), hashlib.sha256()
    for block in [texts.array] if isinstance(texts, ArrowStrings) else text_blocks(texts):
        lengths.update(pc.binary_length(block).cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes())
        wide = block.cast(pa.large_string())
        offsets = np.frombuffer(wide.buffers()[1], np.int64)[wide.offset : wide.offset + len(wide) + 1]
        if wide.buffers()[2] is not None:
            content.update(memoryview(wide.buffers()[2])[int(offsets[0]) : int(offsets[-1])])
    return lengths.digest() + content.digest()
