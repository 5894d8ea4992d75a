"""What one model finds in one set, in each mode.

    dense          exact search by inner product
    lexical        M3's lexical weights, all passages that share a token
    multi_vector   late interaction over the best of dense
    dense+lexical  weighted, over the best of both
    all            the three weighted, over the best of dense

The corpus is encoded once for all modes, a block at a time; dense and lexical vectors lie on disk, token vectors are made for
the passages that are ranked by them, a few at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from trainer.encoder import Encoder, M3Outputs
from trainer.encoder_processes import EncoderPool
from trainer.evaluate.encoded_corpus import EncodedCorpus, encode_corpus
from trainer.evaluate.files import EvaluationError
from trainer.evaluate.hybrid import HybridWeights, Part, Pool, PoolPlaces, fill_scores, union, weights_for
from trainer.evaluate.retrieval_data import RetrievalData
from trainer.evaluate.stored_texts import chosen_blocks, text_blocks
from trainer.lexical_search import LexicalSearch
from trainer.m3_heads import Output
from trainer.m3_scores import dense_scores, lexical_scores, multi_vector_scores
from trainer.search import Found, SearchSettings, top_k

Mode = Literal["dense", "lexical", "multi_vector", "dense+lexical", "all"]
Embed: TypeAlias = Callable[[Literal["query", "passage"], pa.Array], npt.NDArray[Any]]

NEEDS: Final[Mapping[Mode, frozenset[Output]]] = {
    "dense": frozenset({"dense"}),
    "lexical": frozenset({"lexical"}),
    "multi_vector": frozenset({"dense", "multi_vector"}),
    "dense+lexical": frozenset({"dense", "lexical"}),
    "all": frozenset({"dense", "lexical", "multi_vector"}),
}
_PASSAGES_AT_ONCE: Final = 16_384
# Of texts whose token vectors are in memory together: a few hundred MiB, at most 1 GiB with 1,024 dimensions.
_TOKEN_VECTOR_BYTES: Final = 512 * 1024


class RetrievalSettings(BaseModel):
    """What is evaluated, and how deep rankings go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modes: tuple[Mode, ...] = Field(
        ("dense",), min_length=1, description="dense, lexical, multi_vector, dense+lexical, all"
    )
    metrics: tuple[str, ...] | None = Field(None, description="default: ndcg@10, mrr@10, recall@100, map@100")
    depth: int | None = Field(
        None, ge=1, description="documents kept of each ranking; default: what the metrics look at"
    )
    weights: HybridWeights | None = Field(None, description="default: the paper's for its benchmarks, else MIRACL's")
    union_depth: int = Field(1000, ge=1, description="of dense and of lexical for dense+lexical; M3 section 4.1")
    rerank_depth: int = Field(200, ge=1, description="of dense for multi_vector and all; M3 section 4.1")
    work: str | None = Field(None, description="folder of encoded corpora, found again; default: a temporary one")
    search: SearchSettings | None = Field(None, description="default: on the encoder's devices")


class ModelRankings:
    """What one model finds in one set; what several modes share is computed once."""

    def __init__(
        self,
        encoder: Encoder | EncoderPool,
        data: RetrievalData,
        settings: RetrievalSettings,
        folder: Path,
        depth: int,
        embedded: Embed | None = None,
    ) -> None:
        """`folder` for the corpus's vectors; rankings are `depth` deep. Raises EvaluationError for a mode without its outputs."""
        self._encoder, self._data, self._settings, self._folder = encoder, data, settings, folder
        self._depth, self._embedded = depth, embedded
        self._search = settings.search or SearchSettings(devices=encoder.devices)
        self.weights = settings.weights or weights_for(data)
        for mode in settings.modes:
            missing = sorted(NEEDS[mode] - encoder.outputs)
            if missing:
                raise EvaluationError(
                    f"The mode {mode} needs {' and '.join(missing)} outputs, and {encoder.settings.model} gives "
                    f"{' and '.join(sorted(encoder.outputs))} only: leave the mode out, or take an M3 model."
                )

    def ranking(self, mode: Mode) -> Found:
        """The best documents of each query: scores and rows [Q, depth]."""
        if mode == "dense":
            return _cut(self._dense, self._depth)
        if mode == "lexical":
            return _cut(self._lexical, self._depth)
        if mode == "multi_vector":
            return self.reranked.ranked({"multi_vector": 1.0}, self._depth)
        pool = self.both if mode == "dense+lexical" else self.reranked
        return pool.ranked(self.weights.of(mode), self._depth)

    @cached_property
    def both(self) -> Pool:
        """The union of the best of dense and of lexical, with both scores."""
        best = self._settings.union_depth
        rows = union(self._dense.rows[:, :best], self._lexical.rows[:, :best])
        return Pool(rows, {"dense": self._dense_scores(rows), "lexical": self._lexical_scores(rows)})

    @cached_property
    def reranked(self) -> Pool:
        """The best of dense, with the scores that the modes need."""
        rows = union(self._dense.rows[:, : self._settings.rerank_depth])
        scores: dict[Output, npt.NDArray[np.float32]] = {"multi_vector": self._multi_vector_scores(rows)}
        if "all" in self._settings.modes:
            scores |= {"dense": self._dense_scores(rows), "lexical": self._lexical_scores(rows)}
        return Pool(rows, scores)

    @cached_property
    def _queries(self) -> M3Outputs:
        texts = pa.array(self._data.queries, pa.string())
        wanted = frozenset[Output]().union(*(NEEDS[mode] for mode in self._settings.modes))
        if wanted == {"dense"} and self._embedded is not None:
            return M3Outputs(self._embedded("query", texts), None, None, None)
        return self._encoder.encode_all(texts, "query", wanted)

    @cached_property
    def _corpus(self) -> EncodedCorpus:
        outputs = corpus_outputs(self._settings)
        blocks = self._blocks(rows_at_once(self._encoder))
        return encode_corpus(self._encoder, blocks, outputs, self._folder, self._embedded)

    def _blocks(self, rows: int) -> Iterator[pa.Array]:
        return text_blocks(self._data.documents, rows)

    @cached_property
    def _dense(self) -> Found:
        modes = set(self._settings.modes)
        depths = [
            self._depth,
            self._settings.union_depth if "dense+lexical" in modes else 1,
            self._settings.rerank_depth if modes & {"multi_vector", "all"} else 1,
        ]
        queries = self._queries.dense
        assert queries is not None
        return top_k(queries, self._dense_vectors(), max(depths), self._search)

    def _dense_vectors(self) -> Any:
        """The corpus's vectors: a stream where nothing else is asked of them and they are not to be kept."""
        if set(self._settings.modes) == {"dense"} and self._settings.work is None:
            embedded = self._embedded
            if embedded is not None:  # a block is a file of the store
                return (embedded("passage", texts) for texts in self._blocks(rows_at_once(self._encoder)))
            # Smaller blocks than those of files: a search holds up to three of them.
            return (self._encoder.encode(texts, "passage") for texts in self._blocks(_windows(self._encoder)))
        assert self._corpus.dense is not None
        return self._corpus.dense

    @cached_property
    def _lexical(self) -> Found:
        queries = self._queries.lexical
        assert queries is not None
        depth = max(self._depth, self._settings.union_depth if "dense+lexical" in self._settings.modes else 1)
        search = LexicalSearch(queries, depth)
        for block in self._corpus.lexical:
            search.add(block.read())
        return search.found()

    def _dense_scores(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        queries, corpus = self._queries.dense, self._corpus.dense
        assert queries is not None and corpus is not None

        def scored(vectors: npt.NDArray[Any]) -> Callable[[Part], npt.NDArray[np.float32]]:
            return lambda part: dense_scores(queries[part.queries], vectors, part.rows)

        return fill_scores(
            rows,
            ((first, first + len(vectors), scored(vectors)) for first, vectors in corpus.blocks(_PASSAGES_AT_ONCE)),
        )

    def _lexical_scores(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        queries = self._queries.lexical
        assert queries is not None

        def scored(block: Any) -> Callable[[Part], npt.NDArray[np.float32]]:
            return lambda part: lexical_scores(queries.take(part.queries), block.read(), part.rows)

        return fill_scores(rows, ((block.first, block.end, scored(block)) for block in self._corpus.lexical))

    def _multi_vector_scores(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        places = PoolPlaces(rows)

        def scored(wanted: npt.NDArray[np.int64], texts: pa.Array) -> Callable[[Part], npt.NDArray[np.float32]]:
            def score(part: Part) -> npt.NDArray[np.float32]:
                queries = self._queries.take(part.queries)
                passages = self._encoder.encode_all(texts, "passage", frozenset({"multi_vector"}))
                assert queries.token_vectors is not None and queries.token_offsets is not None
                assert passages.token_vectors is not None and passages.token_offsets is not None
                local = np.searchsorted(wanted, part.rows + wanted[0])
                return multi_vector_scores(
                    queries.token_vectors,
                    queries.token_offsets,
                    passages.token_vectors,
                    passages.token_offsets,
                    np.where(part.rows >= 0, local, -1),
                )

            return score

        chosen = chosen_blocks(self._data.documents, places.distinct, _TOKEN_VECTOR_BYTES)
        blocks = ((int(wanted[0]), int(wanted[-1]) + 1, scored(wanted, texts)) for wanted, texts in chosen)
        return fill_scores(rows, blocks, places)


def _cut(found: Found, depth: int) -> Found:
    return Found(found.scores[:, :depth], found.rows[:, :depth], found.recall)


def rows_at_once(encoder: Encoder | EncoderPool) -> int:
    """The most passages of a file."""
    return max(_PASSAGES_AT_ONCE, _windows(encoder))


def _windows(encoder: Encoder | EncoderPool) -> int:
    """Passages that are a window for each process."""
    return encoder.window * len(encoder.devices)


def corpus_outputs(settings: RetrievalSettings) -> frozenset[Output]:
    """What is made of every passage."""
    return frozenset().union(*(NEEDS[mode] for mode in settings.modes)) - {"multi_vector"}
