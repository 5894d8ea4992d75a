"""The packed data that a run trains on: memory-mapped columns, and batches cut from them.

In:  the output folder of pack.
Out: `TrainingData`, whose `collate` turns the rows of a step into a `Batch` (trainer.batch).

Passages are stored once and named by row number; clusters are numbers from here on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.batch import Batch, collate, rank_rows
from trainer.batch_plan import RankRows
from trainer.packed_columns import MANIFEST, TrainingDataError, open_columns
from trainer.ragged import Ragged

__all__ = ["MANIFEST", "Batch", "Ragged", "TrainingData", "TrainingDataError"]

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]

_COMMON_SPECIAL_TOKENS = (1, 1)  # [CLS] text [SEP], <s> text </s>


@dataclass(frozen=True)
class TrainingData:
    """All pairs and passages of one pack folder: N pairs, P passages. Arrays are mapped from disk."""

    folder: Path
    fingerprint: str  # sha256 over the names and contents of the shards
    details: dict[str, Any]  # `details` of pack's manifest; empty without one
    pair_id: npt.NDArray[np.uint8]  # [N, 16]
    query_tokens: Ragged  # int32, N lists
    plain_query_tokens: Ragged  # int32, N lists: the queries without instruction; empty where pack kept none
    positive: Int64  # [N] passage row
    negatives: Ragged  # int64 passage rows, N lists
    positive_score: Float32  # [N] NaN where not known
    negative_scores: Ragged  # float32, N lists, each empty or as long as its negatives; NaN where one has none
    query_cluster: Int64  # [N] cluster codes, in one numbering with passage_cluster
    passage_cluster: Int64  # [P]
    passage_tokens: Ragged  # int32, P lists
    labels: dict[str, tuple[Int32, list[str]]]  # dataset, kind, query_lang: codes [N] and what they stand for
    symmetric: Bool  # [N]
    length_group: Int32  # [N]
    length: Int32  # [N] tokens of the longest of query, positive and negatives
    largest_token_id: int
    longest_text: int  # tokens
    several_queries: Int64  # [S] codes of the query clusters with more than one known positive, ascending
    several_positives: Ragged  # int64, S lists: the clusters of those positives

    @classmethod
    def open(cls, folder: str | Path, cache: str | Path | None = None) -> "TrainingData":
        """Check a pack folder and map its columns; they are decoded first where that has not been done.

        `cache`: where decoded columns are kept (default: FOLDER/_decoded).

        Raises TrainingDataError where a shard is missing, changed since pack wrote it, not listed, of another schema,
        or points to passages that are not there; and where there are no pairs.
        """
        columns = open_columns(Path(folder), None if cache is None else Path(cache))
        flat = ("pair_id", "positive", "positive_score", "query_cluster", "passage_cluster", "symmetric")
        lists = ("query_tokens", "plain_query_tokens", "negatives", "negative_scores", "passage_tokens")
        return cls(
            folder=Path(folder),
            fingerprint=columns.fingerprint,
            details=columns.details,
            labels=columns.labels(),
            largest_token_id=columns.facts["largest_token_id"],
            longest_text=columns.facts["longest_text"],
            several_queries=columns.column("known_queries"),
            several_positives=columns.lists("known_clusters"),
            **{name: columns.column(name) for name in (*flat, "length_group", "length")},  # type: ignore[arg-type]
            **{name: columns.lists(name) for name in lists},  # type: ignore[arg-type]
        )

    def __len__(self) -> int:
        return len(self.positive)

    @cached_property
    def positive_cluster(self) -> Int64:
        """[N] the cluster of each pair's positive."""
        return self.passage_cluster[self.positive]

    @property
    def special_tokens(self) -> tuple[int, int]:
        """How many special tokens stand before and after every text."""
        before, after = self.details.get("special_tokens") or _COMMON_SPECIAL_TOKENS
        return int(before), int(after)

    def dataset_of(self, row: int) -> str:
        codes, names = self.labels["dataset"]
        return names[int(codes[row])]

    def check_model(self, tokenizer_fingerprint: str, vocabulary_size: int) -> None:
        """Raise TrainingDataError where the token ids were not made for this tokenizer (backbone.tokenizer_fingerprint)
        or do not fit into an embedding table of `vocabulary_size` rows."""
        packed_with = self.details.get("tokenizer_fingerprint")
        if packed_with is not None and packed_with != tokenizer_fingerprint:
            raise TrainingDataError(
                f"{self.folder} was packed with another tokenizer (fingerprint {packed_with[:12]}) than the model's "
                f"({tokenizer_fingerprint[:12]}): the token ids mean other words. Run pack again with this model."
            )
        if self.largest_token_id >= vocabulary_size:
            raise TrainingDataError(
                f"{self.folder} holds token id {self.largest_token_id}, but the model's vocabulary has "
                f"{vocabulary_size} entries. Run pack again with this model."
            )

    def check_lengths(self, longest: int, mcls_every: int | None = None) -> None:
        """Raise TrainingDataError where a text has more than the `longest` tokens that the model takes, with `mcls_every`
        before the [CLS] that it puts in."""
        if self.longest_text > longest:
            many_cls = "" if mcls_every is None else f" beside the [CLS] that mcls_every {mcls_every} puts in"
            remedy = "" if mcls_every is None else ", or raise mcls_every"
            raise TrainingDataError(
                f"{self.folder} holds a text of {self.longest_text} tokens, but the model takes at most {longest}{many_cls}. "
                f"Run pack again with this model, or with shorter max_query_length and max_passage_length{remedy}."
            )

    @property
    def query_instruction(self) -> str:
        """What pack put before the queries of all pairs that have two kinds of sides, where it is one for all of them.

        Where data sets or kinds have different ones: the common one of its settings. "" where pack left no settings.
        """
        packing = self.details.get("packing") or {}
        common, given = str(packing.get("query_instruction", "")), packing.get("query_instructions") or {}
        (datasets, dataset_names), (kinds, kind_names) = self.labels["dataset"], self.labels["kind"]
        asymmetric = ~np.asarray(self.symmetric)
        places = np.bincount(datasets[asymmetric].astype(np.int64) * len(kind_names) + kinds[asymmetric])
        found = {
            given.get(dataset_names[dataset], given.get(kind_names[kind], common))
            for dataset, kind in zip(*np.divmod(np.flatnonzero(places), len(kind_names)), strict=True)
        }
        return str(found.pop()) if len(found) == 1 else common

    def check_instructions(self, instruction_share: float) -> None:
        """Raise TrainingDataError where queries are to go without their instruction, but pack kept them with it only."""
        if instruction_share < 1 and not len(self.plain_query_tokens.values):
            raise TrainingDataError(
                f"instruction_share is {instruction_share}, but {self.folder} holds no queries without instruction. Pack "
                f"with an instruction and packing.keep_plain_queries, or leave instruction_share at 1."
            )

    def known_clusters(self, rows: Int64) -> tuple[Int64, Int64]:
        """(owner, cluster): for each of `rows` (by its place in them) the clusters that are no negatives of its query.

        That of the query itself, of its positive, and of all positives known for any query of its cluster. Not sorted;
        a pair may come twice.
        """
        owners, queries = np.arange(len(rows)), self.query_cluster[rows]
        place = np.minimum(np.searchsorted(self.several_queries, queries), max(len(self.several_queries) - 1, 0))
        found = (
            np.flatnonzero(self.several_queries[place] == queries)
            if len(self.several_queries)
            else np.empty(0, np.int64)
        )
        more, counts = self.several_positives.gather(place[found])
        return (
            np.concatenate([owners, owners, np.repeat(found, counts)]),
            np.concatenate([queries, self.passage_cluster[self.positive[rows]], more]),
        )

    def collate(
        self, ranks: Sequence[RankRows] | Int64, rank: int | npt.NDArray[np.integer[Any]], pad_token_id: int
    ) -> Batch:
        """The `Batch` of `rank` in a step whose rows are `ranks` (BatchPlan.rows: all ranks' rows, in order).

        Also takes the rows [B] and chosen negatives [B, n] of a single rank.
        """
        if isinstance(ranks, np.ndarray):
            return collate(self, [rank_rows(ranks, np.asarray(rank))], 0, pad_token_id)
        return collate(self, ranks, int(rank), pad_token_id)
