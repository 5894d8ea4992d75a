"""Pack's shards in memory, as flat numpy arrays, and batches cut from them.

In:  a folder with pairs/*.parquet (packing.PACKED_PAIR), passages/*.parquet (packing.PACKED_PASSAGE) and, from pack,
     _MANIFEST.json, against which every shard is checked.
Out: `TrainingData`, whose `collate` turns pair rows into a padded `Batch`.

Passages are stored once and named by row number; ids and clusters are integers from here on.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.packing import PACKED_PAIR, PACKED_PASSAGE

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]

MANIFEST: Final = "_MANIFEST.json"
_ROWS_PER_READ: Final = 65_536


class TrainingDataError(ValueError):
    """A folder of packed data cannot be trained on. The message names the file, what is wrong and the remedy."""


@dataclass(frozen=True)
class Ragged:
    """Lists of different lengths in one flat array: list i is values[offsets[i]:offsets[i + 1]]."""

    values: npt.NDArray[Any]
    offsets: Int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64:
        return np.diff(self.offsets)

    def gather(self, rows: Int64) -> tuple[npt.NDArray[Any], Int64]:
        """The items of the lists `rows`, one list after the other, and the length of each."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        return self.values[_ranges(self.offsets[rows], lengths)], lengths

    def padded(self, rows: Int64, fill: int) -> tuple[npt.NDArray[Any], Int64]:
        """The lists `rows` as a matrix [rows, longest], filled up with `fill`; and their lengths."""
        values, lengths = self.gather(rows)
        matrix = np.full((len(rows), int(lengths.max(initial=0))), fill, self.values.dtype)
        matrix[np.arange(matrix.shape[1]) < lengths[:, None]] = values
        return matrix, lengths


def _ranges(starts: Int64, lengths: Int64) -> Int64:
    """The numbers starts[0], starts[0] + 1, ... (lengths[0] of them), starts[1], ... in one array."""
    return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(int(lengths.sum()))


@dataclass(frozen=True)
class Batch:
    """B pairs with n negatives each, ready for the model. Distinct passages are stored, and encoded, once."""

    rows: Int64  # [B] pair rows
    query_ids: Int32  # [B, longest query] token ids, padded with the pad token
    query_lengths: Int64  # [B] tokens
    passage_ids: Int32  # [P, longest passage], P <= B * (1 + n) distinct passages
    passage_lengths: Int64  # [P] tokens
    slots: Int64  # [B, 1 + n] index into the P passages, the positive first; -1 where a pair has no such negative
    forbidden: (
        Bool  # [B, B * (1 + n)] the slots that are no negative of this query: its own positive's like, and absent
    )
    symmetric: Bool  # [B] pairs whose two sides are of one kind

    @property
    def tokens(self) -> int:
        return int(self.query_lengths.sum() + self.passage_lengths.sum())


@dataclass(frozen=True)
class TrainingData:
    """All pairs and passages of one pack folder."""

    folder: Path
    fingerprint: str  # sha256 over the names and contents of the shards
    details: dict[str, Any]  # `details` of pack's manifest; empty without one
    pair_id: npt.NDArray[np.uint8]  # [N, 16]
    query_tokens: Ragged  # int32, N lists
    positive: Int64  # [N] passage row
    negatives: Ragged  # int64 passage rows, N lists
    positive_score: Float32  # [N] NaN where not known
    negative_scores: Ragged  # float32, N lists, each empty or as long as its negatives
    query_cluster: Int64  # [N] cluster codes, in one numbering with passage_cluster
    passage_cluster: Int64  # [P]
    passage_tokens: Ragged  # int32, P lists
    labels: dict[str, tuple[Int32, list[str]]]  # dataset, kind, query_lang: codes [N] and what they stand for
    symmetric: Bool  # [N]
    length_group: Int32  # [N]
    length: Int32  # [N] tokens of the longest of query, positive and negatives
    largest_token_id: int
    _known: Ragged = field(repr=False)  # for each query cluster (by code): cluster codes of all its positives

    @classmethod
    def open(cls, folder: str | Path) -> "TrainingData":
        """Read and check a pack folder.

        Raises TrainingDataError where a shard is missing, changed since pack wrote it, not listed, of another schema,
        or points to passages that are not there; and where there are no pairs.
        """
        folder = Path(folder)
        pair_files, passage_files = _shards(folder, "pairs"), _shards(folder, "passages")
        fingerprint, details = _check_files(folder, [*pair_files, *passage_files])
        passages = _read_passages(passage_files)
        pairs = _read_pairs(pair_files)
        _check_passage_rows(pairs, len(passages["token_ids"]), folder)
        query_cluster, passage_cluster = _shared_codes(pairs["query_cluster_id"], passages["cluster_id"])
        return cls(
            folder=folder,
            fingerprint=fingerprint,
            details=details,
            pair_id=pairs["pair_id"],
            query_tokens=pairs["query_token_ids"],
            positive=pairs["positive"],
            negatives=pairs["negatives"],
            positive_score=pairs["positive_score"],
            negative_scores=pairs["negative_scores"],
            query_cluster=query_cluster,
            passage_cluster=passage_cluster,
            passage_tokens=passages["token_ids"],
            labels={name: _codes(pairs[name]) for name in ("dataset", "kind", "query_lang")},
            symmetric=pairs["symmetric"],
            length_group=pairs["length_group"],
            length=pairs["length"],
            largest_token_id=max(
                int(tokens.values.max(initial=0)) for tokens in (pairs["query_token_ids"], passages["token_ids"])
            ),
            _known=_known_positives(query_cluster, passage_cluster[pairs["positive"]]),
        )

    def __len__(self) -> int:
        return len(self.positive)

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

    def collate(self, rows: Int64, chosen: npt.NDArray[np.integer[Any]], pad_token_id: int) -> Batch:
        """A `Batch` of the pairs `rows` [B] with the negatives `chosen` [B, n]: indexes into each pair's own list, -1
        for none (see batch_plan)."""
        positions = self.negatives.offsets[rows][:, None] + np.maximum(chosen, 0)
        present = chosen >= 0
        slots = np.full((len(rows), 1 + chosen.shape[1]), -1, np.int64)
        slots[:, 0] = self.positive[rows]
        slots[:, 1:][present] = self.negatives.values[positions[present]]
        passages, inverse = np.unique(slots[slots >= 0], return_inverse=True)
        forbidden = self._forbidden(rows, slots)
        slots[slots >= 0] = inverse
        query_ids, query_lengths = self.query_tokens.padded(rows, pad_token_id)
        passage_ids, passage_lengths = self.passage_tokens.padded(passages, pad_token_id)
        return Batch(
            rows, query_ids, query_lengths, passage_ids, passage_lengths, slots, forbidden, self.symmetric[rows]
        )

    def _forbidden(self, rows: Int64, slots: Int64) -> Bool:
        """[B, B * (1 + n)]: slots whose passage is in the cluster of the query or of any positive known for a query of
        its cluster, the own positive excepted; and empty slots. Equal passages are always of one cluster."""
        columns = slots.ravel()
        clusters = np.where(columns >= 0, self.passage_cluster[np.maximum(columns, 0)], -1)
        forbidden = np.broadcast_to(clusters < 0, (len(rows), len(clusters))).copy()
        known, counts = self._known.gather(self.query_cluster[rows])
        owner = np.concatenate([np.repeat(np.arange(len(rows)), counts), np.arange(len(rows))])
        cluster = np.concatenate([known, self.query_cluster[rows]])
        order = np.argsort(clusters, kind="stable")
        first, last = (np.searchsorted(clusters[order], cluster, side=side) for side in ("left", "right"))
        forbidden[np.repeat(owner, last - first), order[_ranges(first, last - first)]] = True
        forbidden[np.arange(len(rows)), np.arange(len(rows)) * slots.shape[1]] = False
        return forbidden


def _shards(folder: Path, part: str) -> list[Path]:
    files = sorted((folder / part).glob("*.parquet"))
    if not files:
        raise TrainingDataError(
            f"{folder / part} holds no *.parquet files. --data names the output folder of the pack job, with pairs/ "
            f"and passages/ in it: run pack first, or correct the path."
        )
    return files


def _check_files(folder: Path, files: list[Path]) -> tuple[str, dict[str, Any]]:
    """The fingerprint of the shards and the manifest's details; raises where they are not what pack wrote."""
    found = {file.relative_to(folder).as_posix(): file for file in files}
    manifest = _manifest(folder)
    listed = {entry["path"]: entry for entry in manifest.get("files", []) if entry["path"].endswith(".parquet")}
    listed = {path: entry for path, entry in listed.items() if path.startswith(("pairs/", "passages/"))}
    if manifest:
        for name, paths in (
            ("is missing", listed.keys() - found.keys()),
            ("was not written by pack", found.keys() - listed.keys()),
        ):
            if paths:
                raise TrainingDataError(
                    f"{folder / min(paths)} {name} ({MANIFEST} lists {len(listed)} shards). Run pack again."
                )
    digest = hashlib.sha256()
    for path, file in found.items():
        sha256 = _sha256(file)
        if manifest and sha256 != listed[path]["sha256"]:
            raise TrainingDataError(
                f"{file} was changed since pack wrote it: it has {file.stat().st_size} bytes and sha256 {sha256[:12]}, "
                f"{MANIFEST} says {listed[path]['bytes']} bytes and {listed[path]['sha256'][:12]}. Run pack again."
            )
        digest.update(f"{path}\0{sha256}\n".encode())
    return digest.hexdigest(), dict(manifest.get("details") or {})


def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    if not file.exists():
        return {}
    try:
        manifest = json.loads(file.read_text("utf-8"))
        entries = manifest["files"]
        if not all({"path", "sha256", "bytes"} <= entry.keys() for entry in entries):
            raise KeyError("path, sha256 and bytes of each file")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise TrainingDataError(f"{file} is not a manifest that pack wrote ({error}). Run pack again.") from error
    return dict(manifest)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_passages(files: list[Path]) -> dict[str, Any]:
    columns = _read_columns(files, PACKED_PASSAGE, ["token_ids", "length", "cluster_id"])
    _check_lengths(columns["token_ids"], columns["length"], files, "token_ids")
    return columns


def _read_pairs(files: list[Path]) -> dict[str, Any]:
    columns = _read_columns(files, PACKED_PAIR, PACKED_PAIR.names)
    if not len(columns["positive"]):
        raise TrainingDataError(
            f"{files[0].parent} holds no pairs at all, so there is nothing to train on. The manifests of the jobs "
            f"before pack say where the rows were dropped, and why."
        )
    _check_lengths(columns["query_token_ids"], columns["query_length"], files, "query_token_ids")
    counts, scores = columns["negatives"].lengths, columns["negative_scores"].lengths
    wrong = np.flatnonzero((scores != 0) & (scores != counts))
    if len(wrong):
        raise TrainingDataError(
            f"{files[0].parent}: pair row {wrong[0]} has {counts[wrong[0]]} negatives and {scores[wrong[0]]} scores of "
            f"negatives. Run pack again."
        )
    return columns


def _check_lengths(tokens: Ragged, lengths: Int32, files: list[Path], name: str) -> None:
    wrong = np.flatnonzero((tokens.lengths != lengths) | (lengths < 1))
    if len(wrong) or int(tokens.values.min(initial=0)) < 0:
        row = int(wrong[0]) if len(wrong) else int(np.argmin(tokens.values))
        raise TrainingDataError(
            f"{files[0].parent}: column {name} holds an empty list, a negative id, or a list whose length is not the "
            f"one beside it (near row {row}). Run pack again."
        )


def _check_passage_rows(pairs: dict[str, Any], passages: int, folder: Path) -> None:
    for name, rows in (("positive", pairs["positive"]), ("negatives", pairs["negatives"].values)):
        wrong = rows[(rows < 0) | (rows >= passages)]
        if len(wrong):
            raise TrainingDataError(
                f"{folder}: column {name} points to passage row {wrong[0]}, but there are {passages} passages. The "
                f"shards of pairs and passages do not belong together: run pack again."
            )


def _read_columns(files: list[Path], schema: pa.Schema, names: list[str]) -> dict[str, Any]:
    """Each named column over all files: Ragged for lists, [rows, 16] bytes for ids, Arrow for strings, else numpy."""
    pieces: dict[str, list[pa.Array]] = {name: [] for name in names}
    for batch in _batches(files, schema, names):
        for name in names:
            column = batch[name]
            # Names repeat: kept as codes, they take 4 bytes a row.
            pieces[name].append(column.dictionary_encode() if pa.types.is_string(column.type) else column)
    return {name: _joined(pieces.pop(name), schema.field(name)) for name in names}


def _batches(files: list[Path], schema: pa.Schema, names: list[str]) -> Iterable[pa.RecordBatch]:
    for path in files:
        try:
            file = pq.ParquetFile(path)
            found = {field.name: field.type for field in file.schema_arrow}
            wrong = [field for field in schema if found.get(field.name) != field.type]
            if wrong:
                raise TrainingDataError(
                    f"{path}: column {wrong[0].name} should be {wrong[0].type}, found "
                    f"{found.get(wrong[0].name, 'none')}. It was not written by this version's pack: run pack again."
                )
            yield from file.iter_batches(_ROWS_PER_READ, columns=names)
        except (pa.ArrowInvalid, OSError) as error:
            raise TrainingDataError(f"{path} is not a readable Parquet file ({error}). Run pack again.") from error


def _joined(pieces: list[pa.Array], column: pa.Field) -> Any:
    if not column.nullable and any(piece.null_count for piece in pieces):
        raise TrainingDataError(f"Column {column.name} of the packed data holds nulls. Run pack again.")
    if pa.types.is_list(column.type):
        flat = [piece.flatten() for piece in pieces]
        if any(values.null_count for values in flat):
            raise TrainingDataError(f"Column {column.name} of the packed data holds nulls. Run pack again.")
        lengths = [np.diff(np.asarray(piece.offsets)) for piece in pieces]
        offsets = np.concatenate([np.zeros(1, np.int64), *lengths]).cumsum(dtype=np.int64)
        empty = np.empty(0, column.type.value_type.to_pandas_dtype())
        return Ragged(np.concatenate([empty, *flat]), offsets)
    if pa.types.is_string(column.type):
        return pa.chunked_array(pieces, pa.dictionary(pa.int32(), pa.string())).unify_dictionaries()
    if pa.types.is_fixed_size_binary(column.type):
        ids = [np.frombuffer(piece.buffers()[1], np.uint8)[16 * piece.offset :][: 16 * len(piece)] for piece in pieces]
        return np.concatenate([np.empty(0, np.uint8), *ids]).reshape(-1, 16)
    kind = column.type.to_pandas_dtype()
    arrays = [piece.to_numpy(zero_copy_only=False).astype(kind) for piece in pieces]
    return np.concatenate([np.empty(0, kind), *arrays])


def _codes(encoded_chunks: pa.ChunkedArray) -> tuple[Int32, list[str]]:
    """Codes [rows] into the sorted distinct strings, so that the code of a name does not depend on row order."""
    encoded = encoded_chunks.combine_chunks()
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), np.int32)
    rank[order] = np.arange(len(names), dtype=np.int32)
    return rank[np.asarray(encoded.indices)], [names[index] for index in order]


def _shared_codes(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> tuple[Int64, Int64]:
    """One numbering of the 16-byte ids of both arrays: equal ids, and only those, get equal codes."""
    both = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(left) + len(right), [None, pa.py_buffer(np.concatenate([left, right]))]
    )
    codes = np.asarray(both.dictionary_encode().indices).astype(np.int64)
    return codes[: len(left)], codes[len(left) :]


def _known_positives(query_cluster: Int64, positive_cluster: Int64) -> Ragged:
    """For each query cluster, by code, the distinct clusters of the positives of all pairs in it."""
    order = np.lexsort((positive_cluster, query_cluster))
    queries, positives = query_cluster[order], positive_cluster[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (queries[1:] != queries[:-1]) | (positives[1:] != positives[:-1])
    queries, positives = queries[first], positives[first]
    return Ragged(positives, np.searchsorted(queries, np.arange(int(queries.max(initial=-1)) + 2)))
