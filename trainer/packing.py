"""Texts into token rows: the schemas of pack's shards, and the pure functions that fill them.

In:  passages {passage_id, text, cluster_id} and pairs as Arrow columns, a fast tokenizer.
Out: PACKED_PASSAGE and PACKED_PAIR batches that the trainer reads without tokenising (trainer.training_data), and the
     JSON lines that FlagEmbedding trains on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, field_validator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PACKED_PASSAGE: Final = pa.schema(
    [
        pa.field("passage_id", pa.binary(16), nullable=False),
        pa.field("token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("length", pa.int32(), nullable=False),
        pa.field("cluster_id", pa.binary(16), nullable=False),
    ]
)

PACKED_PAIR: Final = pa.schema(
    [
        pa.field("pair_id", pa.binary(16), nullable=False),
        pa.field("query_token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("query_length", pa.int32(), nullable=False),
        pa.field("query_cluster_id", pa.binary(16), nullable=False),
        pa.field("positive", pa.int64(), nullable=False),  # row number in the passage shards, in the order of names
        pa.field("negatives", pa.list_(pa.int64()), nullable=False),
        pa.field("positive_score", pa.float32()),
        pa.field("negative_scores", pa.list_(pa.float32()), nullable=False),  # empty, or one a negative; NaN: not known
        pa.field("known_positives", pa.list_(pa.int64()), nullable=False),  # passages that answer too: no negatives
        pa.field("plain_query_token_ids", pa.list_(pa.int32()), nullable=False),  # without instruction; empty: not kept
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("query_lang", pa.string(), nullable=False),
        pa.field("symmetric", pa.bool_(), nullable=False),
        pa.field("length_group", pa.int32(), nullable=False),
        pa.field("length", pa.int32(), nullable=False),  # tokens of the longest of query, positive and negatives
    ]
)

# Lower ends, in tokens, of M3's nine length ranges: [0, 500) [500, 1000) [1000, 2000) ... [7000, infinity)
# (FlagEmbedding research/BGE_M3/split_data_by_length.py; the rows of M3 Table 9).
LENGTH_GROUPS: Final = (0, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7000)

_TEXTS_PER_CALL: Final = 4096  # bounds the memory of tokenizer objects, which are many times the size of their ids
_NO_LIMIT: Final = 1_000_000  # transformers writes 1e30 for a tokenizer without a limit


class PackingError(ValueError):
    """Columns given to packing do not fit together. The message names the column, the row and the remedy."""


class PackingSettings(BaseModel):
    """How texts become token rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_query_length: int = Field(512, ge=4, description="tokens, special ones included (M3 appendix B.1)")
    max_passage_length: int = Field(8192, ge=4, description="tokens, special ones included (M3 appendix B.1)")
    query_instruction: str = Field(
        "",
        description="put before every query of an asymmetric pair, with its trailing space (BGE: FlagEmbedding README)",
    )
    query_instructions: dict[str, str] = Field(
        {}, description="by data set or kind, instead of query_instruction; a data set's goes before a kind's"
    )
    keep_plain_queries: bool = Field(
        False, description="keep queries without their instruction too, so that training can use both (BGE v1.5 can)"
    )
    passage_instruction: str = Field("", description="put before every passage; BGE and M3 use none")
    length_edges: tuple[int, ...] = Field(
        LENGTH_GROUPS, description="lower ends of the length groups in tokens (M3: split_data_by_length.py)"
    )
    negatives: int = Field(7, ge=0, description="at most so many negatives are kept of a pair (M3 appendix B.1: 7)")

    @field_validator("length_edges")
    @classmethod
    def _edges_rise_from_zero(cls, edges: tuple[int, ...]) -> tuple[int, ...]:
        if not edges or edges[0] != 0 or any(low >= high for low, high in pairwise(edges)):
            raise ValueError(f"length_edges must start at 0 and rise, as in (0, 500, 1000); found {edges}")
        return edges


@dataclass(frozen=True)
class PackedTexts:
    """Token ids of texts, special tokens included."""

    token_ids: pa.Array  # list<int32>, one list a text
    lengths: pa.Array  # int32, tokens
    truncated: int  # texts that were cut to the maximum length
    plain_token_ids: pa.Array | None = None  # list<int32>: without instruction; empty lists where there is none


class Packer:
    """Turns texts into token ids with one tokenizer and one set of lengths.

    `model_max_length` is the model's own limit (Backbone.max_length); without it, the tokenizer's is taken. Query and
    passage lengths never exceed it. `truncated_queries` and `truncated_passages` count the texts cut so far.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerFast", settings: PackingSettings, model_max_length: int | None = None
    ) -> None:
        limit = model_max_length or min(int(tokenizer.model_max_length), _NO_LIMIT)
        self.settings = settings
        self.max_query_length = min(settings.max_query_length, limit)
        self.max_passage_length = min(settings.max_passage_length, limit)
        self.truncated_queries = 0
        self.truncated_passages = 0
        self._query_tokenizer = _cutting_tokenizer(tokenizer, self.max_query_length)
        self._passage_tokenizer = _cutting_tokenizer(tokenizer, self.max_passage_length)

    def pack_passages(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A PACKED_PASSAGE batch from one with columns passage_id, text and cluster_id; row i stays row i."""
        packed = _tokenise(self._passage_tokenizer, _with_instruction(batch["text"], self.settings.passage_instruction))
        self.truncated_passages += packed.truncated
        return pa.RecordBatch.from_arrays(
            [batch["passage_id"], packed.token_ids, packed.lengths, batch["cluster_id"]], schema=PACKED_PASSAGE
        )

    def pack_queries(
        self,
        texts: pa.Array,
        symmetric: pa.Array | None = None,
        dataset: pa.Array | None = None,
        kind: pa.Array | None = None,
    ) -> PackedTexts:
        """Token ids of queries (string array), each with its instruction: that of its data set, else of its kind (string
        arrays), else the common one. Rows where `symmetric` (bool) is true get none."""
        instructions = self._instructions(len(texts), symmetric, dataset, kind)
        packed = _tokenise(self._query_tokenizer, pc.binary_join_element_wise(instructions, texts, ""))
        self.truncated_queries += packed.truncated
        if not self.settings.keep_plain_queries:
            return packed
        instructed = pc.not_equal(instructions, "")
        plain = _tokenise(self._query_tokenizer, texts.filter(instructed)).token_ids
        places = np.cumsum(np.asarray(instructed)) - 1
        kept = plain.take(pa.array(places, mask=~np.asarray(instructed)))
        return replace(packed, plain_token_ids=pc.fill_null(kept, pa.scalar([], plain.type)))

    def _instructions(
        self, rows: int, symmetric: pa.Array | None, dataset: pa.Array | None, kind: pa.Array | None
    ) -> pa.Array:
        chosen = pa.repeat(pa.scalar(self.settings.query_instruction, pa.string()), rows)
        given = self.settings.query_instructions
        for names in (kind, dataset):
            if names is not None and given:
                place = pc.index_in(names, pa.array(list(given), pa.string()))
                chosen = pc.coalesce(pa.array(list(given.values()), pa.string()).take(place), chosen)
        return chosen if symmetric is None else pc.if_else(symmetric, "", chosen)

    def special_tokens(self) -> tuple[int, int]:
        """How many special tokens the tokenizer puts before and after a text."""
        mask = self._passage_tokenizer.encode("a").special_tokens_mask
        before = mask.index(0) if 0 in mask else len(mask)
        after = mask[::-1].index(0) if 0 in mask else 0
        return before, after


def _with_instruction(texts: pa.Array, instruction: str) -> pa.Array:
    return pc.binary_join_element_wise(instruction, texts, "") if instruction else texts


def _cutting_tokenizer(tokenizer: "PreTrainedTokenizerFast", max_length: int) -> Any:
    """A copy of the Rust tokenizer that cuts at `max_length`; the caller's keeps its own state."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.encode_special_tokens = tokenizer.backend_tokenizer.encode_special_tokens
    copy.no_padding()
    copy.enable_truncation(max_length=max_length, direction=tokenizer.truncation_side)
    return copy


def _tokenise(tokenizer: Any, texts: pa.Array) -> PackedTexts:
    if texts.null_count:
        raise PackingError(
            f"{texts.null_count} of {len(texts)} texts to tokenise are null; every text must be a string."
        )
    flat: list[np.ndarray[Any, np.dtype[np.int32]]] = []
    lengths = np.empty(len(texts), np.int32)
    truncated = 0
    for start in range(0, len(texts), _TEXTS_PER_CALL):
        encodings = tokenizer.encode_batch_fast(texts.slice(start, _TEXTS_PER_CALL).to_pylist())
        ids = [encoding.ids for encoding in encodings]
        lengths[start : start + len(ids)] = [len(row) for row in ids]
        flat.append(np.fromiter(chain.from_iterable(ids), np.int32))
        truncated += sum(bool(encoding.overflowing) for encoding in encodings)
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise PackingError(
            f"a batch of {len(texts)} texts gives {offsets[-1]} tokens, over 2^31: pack smaller batches."
        )
    values = np.concatenate(flat) if flat else np.empty(0, np.int32)
    token_ids = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values))
    return PackedTexts(token_ids, pa.array(lengths), truncated)


def length_groups(lengths: pa.Array | np.ndarray[Any, Any], edges: Sequence[int] = LENGTH_GROUPS) -> pa.Array:
    """The index (int32) of the group of each length in tokens: group g holds [edges[g], edges[g + 1])."""
    return pa.array((np.searchsorted(np.asarray(edges), np.asarray(lengths), side="right") - 1).astype(np.int32))


def pack_pairs(
    *,
    pair_id: pa.Array,
    queries: PackedTexts,
    query_cluster_id: pa.Array,
    positive: pa.Array,
    negatives: pa.Array,
    positive_score: pa.Array | None,
    negative_scores: pa.Array | None,
    dataset: pa.Array,
    kind: pa.Array,
    query_lang: pa.Array,
    symmetric: pa.Array,
    passage_lengths: np.ndarray[Any, np.dtype[np.int32]],
    settings: PackingSettings,
    known_positives: pa.Array | None = None,
) -> pa.RecordBatch:
    """A PACKED_PAIR batch of n rows.

    `positive` (int64 [n]) and `negatives` (list<int64> [n], hardest first) are row numbers in the passage shards, whose
    lengths in tokens are `passage_lengths` (int32 [passages]). Of each list the first `settings.negatives` are kept,
    with their scores (list<float32>, aligned). Missing scores are null and empty lists. `known_positives` (list<int64>
    [n]) are further passages that answer a query: they mask, and are no negatives.

    Raises PackingError where the scores of a row are not one for each of its negatives.
    """
    rows = len(pair_id)
    kept, kept_counts = _first_of_each_list(negatives, settings.negatives)
    if negative_scores is None:
        scores = _empty_lists(rows, pa.float32())
    else:
        _check_aligned(negatives, negative_scores)
        scores, _ = _first_of_each_list(negative_scores, settings.negatives)
    longest = np.maximum(queries.lengths.to_numpy(), passage_lengths[positive.to_numpy()])
    parents = np.repeat(np.arange(rows), kept_counts)
    np.maximum.at(longest, parents, passage_lengths[kept.flatten().to_numpy()])
    plain = queries.plain_token_ids
    return pa.RecordBatch.from_arrays(
        [
            pair_id,
            queries.token_ids,
            queries.lengths,
            query_cluster_id,
            positive,
            kept,
            pa.nulls(rows, pa.float32()) if positive_score is None else positive_score,
            scores,
            _empty_lists(rows, pa.int64()) if known_positives is None else known_positives,
            _empty_lists(rows, pa.int32()) if plain is None else plain,
            dataset,
            kind,
            query_lang,
            symmetric,
            length_groups(longest, settings.length_edges),
            pa.array(longest),
        ],
        schema=PACKED_PAIR,
    )


def _empty_lists(rows: int, value_type: pa.DataType) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, np.int32)), pa.array([], value_type))


def _first_of_each_list(lists: pa.Array, most: int) -> tuple[pa.Array, np.ndarray[Any, np.dtype[np.int64]]]:
    """The lists cut to their first `most` items (null lists become empty), and how many each keeps."""
    counts = np.asarray(pc.list_value_length(lists).fill_null(0), np.int64)
    values = lists.flatten()
    rank = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept_counts = np.minimum(counts, most)
    offsets = np.concatenate([[0], np.cumsum(kept_counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values.filter(pa.array(rank < most))), kept_counts


def _check_aligned(negatives: pa.Array, scores: pa.Array) -> None:
    counts = np.asarray(pc.list_value_length(negatives).fill_null(0))
    score_counts = np.asarray(pc.list_value_length(scores).fill_null(0))
    wrong = np.flatnonzero((score_counts != counts) & (score_counts != 0))
    if len(wrong):
        row = int(wrong[0])
        raise PackingError(
            f"row {row} has {counts[row]} negatives but {score_counts[row]} negative scores; give one score for each "
            f"negative, or none."
        )


def flagembedding_rows(
    query: pa.Array,
    positives: pa.Array,
    negatives: pa.Array,
    *,
    positive_scores: pa.Array | None = None,
    negative_scores: pa.Array | None = None,
    prompt: str | None = None,
) -> Iterator[bytes]:
    """JSON lines, each ending in a line feed, as FlagEmbedding's fine-tuning reads them.

    `query` is string [n]; `positives` string or list<string> [n]; `negatives` list<string> [n]; the scores list<float>
    [n] aligned with them (or float [n] for one positive). Keys: query, pos, neg; pos_scores and neg_scores where a row
    has both; prompt where given (FlagEmbedding examples/finetune/embedder/README.md). FlagEmbedding divides by the
    number of negatives when train_group_size is over 1: rows without negatives are for train_group_size 1 only.
    """
    import orjson  # a machine that only trains need not have it

    no_scores = pa.nulls(len(query))
    columns = (query, positives, negatives, positive_scores, negative_scores)
    lists = (no_scores.to_pylist() if column is None else column.to_pylist() for column in columns)
    for text, positive, negative, positive_score, negative_score in zip(*lists, strict=True):
        row: dict[str, Any] = {"query": text, "pos": _as_list(positive), "neg": negative or []}
        if positive_score is not None and negative_score is not None:
            row["pos_scores"] = _as_list(positive_score)
            row["neg_scores"] = negative_score
        if prompt is not None:
            row["prompt"] = prompt
        yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
