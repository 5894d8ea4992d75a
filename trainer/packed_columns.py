"""Pack's shards as flat arrays on disk, memory-mapped.

In:  a pack folder: pairs/*.parquet (packing.PACKED_PAIR), passages/*.parquet (packing.PACKED_PASSAGE), _MANIFEST.json.
Out: `PackedColumns`: a folder with one .npy file a column, checked, and what the manifest says of it.

Parquet is compressed and cannot be read at a row; so it is decoded once, into DATA/_decoded/FINGERPRINT, and every process
of the machine maps the same files: no rank holds token ids of its own, and the next run starts at once. Pack does not
write such files itself, because they are several times larger than what is copied to the training machine.
"""

import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.packing import PACKED_PAIR, PACKED_PASSAGE
from trainer.ragged import Ragged

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

MANIFEST: Final = "_MANIFEST.json"
DECODED: Final = "_decoded"
LABELS: Final = ("dataset", "kind", "query_lang")
_FORMAT: Final = 1  # of the decoded files: another number is another folder
_ROWS_PER_READ: Final = 16_384
_HEADER_BYTES: Final = 128
_ASKED_FOR: Final = {"texts": " with pack.texts in its recipe"}  # a part that pack writes only then
_FACTS: Final = "facts.json"
_OWN_FOLDER: Final = re.compile(r"[0-9a-f]{32}-\d+(\.partial)?")  # what decoding makes in a cache, and may remove
_ID_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)  # odd; 2^64 over the golden ratio


class TrainingDataError(ValueError):
    """A folder of packed data cannot be trained on. The message names the file, what is wrong and the remedy."""


@dataclass(frozen=True)
class PackedColumns:
    """The decoded columns of a pack folder."""

    folder: Path  # of the .npy files
    fingerprint: str  # sha256 over the names and contents of the shards
    details: dict[str, Any]  # `details` of pack's manifest; empty without one
    facts: dict[str, Any]  # pairs, passages, largest_token_id, longest_text, names of each label

    def column(self, name: str) -> npt.NDArray[Any]:
        """A flat column, memory-mapped."""
        array: npt.NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array

    def lists(self, name: str) -> Ragged:
        """A column of lists, memory-mapped."""
        return Ragged(self.column(name), self.column(f"{name}.offsets"))

    def labels(self) -> dict[str, tuple[Int32, list[str]]]:
        """For each of LABELS the codes [N] and what they stand for, in the order of the names."""
        return {name: (self.column(name), self.facts["names"][name]) for name in LABELS}


def open_columns(folder: Path, cache: Path | None = None) -> PackedColumns:
    """Check the shards of a pack folder and decode them, unless that has been done.

    Decoded files are kept in FOLDER/_decoded, or in a folder of their own in `cache`, which several pack folders may
    share. Several processes may call this at once: one decodes, the others wait. Files of earlier shards are removed.

    Raises TrainingDataError where a shard is missing, changed since pack wrote it, not listed, of another schema or
    holds rows that cannot be trained on; where there are no pairs; and where the cache cannot be written to.
    """
    cache = folder / DECODED if cache is None else cache / name_in_cache(folder)
    return PackedColumns(*decode_once(folder, ("pairs", "passages"), cache, _decode))


def decode_once(
    folder: Path, parts: Sequence[str], cache: Path, decode: Callable[[dict[str, list[Path]], Path], dict[str, Any]]
) -> tuple[Path, str, dict[str, Any], dict[str, Any]]:
    """What `decode` made of the shards of some parts of a pack folder: the folder of .npy files in `cache`, the shards'
    fingerprint, the manifest's details, and the facts that `decode` gave.

    `decode` is called with the shards of each part and the folder to write into, once for shards of one fingerprint.
    Raises TrainingDataError as open_columns does.
    """
    shards = {part: _shards(folder, part) for part in parts}
    with _locked(cache):
        files = [file for of_part in shards.values() for file in of_part]
        fingerprint, details = _checked_files(folder, files, parts, cache / "checked.json")
        decoded = cache / f"{fingerprint[:32]}-{_FORMAT}"
        facts = _facts(decoded)
        if facts is None:
            facts = _whole_or_not(decode, shards, decoded)
            for other in cache.iterdir():
                if _OWN_FOLDER.fullmatch(other.name) and other != decoded:
                    shutil.rmtree(other, ignore_errors=True)
    return decoded, fingerprint, details, facts


def _whole_or_not(
    decode: Callable[[dict[str, list[Path]], Path], dict[str, Any]], shards: dict[str, list[Path]], folder: Path
) -> dict[str, Any]:
    """Decode into `folder`, which appears with all columns or not at all; returns the facts."""
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        for old in (partial, folder):  # of a process that was killed; not whole
            if old.exists():
                shutil.rmtree(old)
        partial.mkdir(parents=True)
        facts = decode(shards, partial)
        facts = facts | {"bytes": _sizes(partial)}
        (partial / _FACTS).write_text(json.dumps(facts, ensure_ascii=False), "utf-8")
        partial.replace(folder)
        return facts
    except OSError as error:
        raise _no_room(partial.parent, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def name_in_cache(folder: Path) -> str:
    """The name of a pack folder's own folder in a cache that several share."""
    path = folder.resolve()
    return f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        stream = (cache / "lock").open("a")
        fcntl.flock(stream, fcntl.LOCK_EX)
    except OSError as error:
        raise TrainingDataError(
            f"The shards are decoded into {cache} before training, and that folder cannot be written to ({error}). Name "
            f"another one with room for about 4 bytes a token: data_cache."
        ) from error
    with stream:
        yield


def _facts(decoded: Path) -> dict[str, Any] | None:
    """What a decoding wrote last; None where there is none, or a file of it is not as long as it was."""
    try:
        facts: dict[str, Any] = json.loads((decoded / _FACTS).read_text("utf-8"))
        whole = facts["bytes"] == _sizes(decoded)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if whole else None


def _sizes(decoded: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in sorted(decoded.glob("*.npy"))}


def _shards(folder: Path, part: str) -> list[Path]:
    files = sorted((folder / part).glob("*.parquet"))
    if not files:
        raise TrainingDataError(
            f"{folder / part} holds no *.parquet files. --data names the output folder of the pack job, with {part}/ "
            f"in it: run pack first{_ASKED_FOR.get(part, '')}, or correct the path."
        )
    return files


def _checked_files(
    folder: Path, files: list[Path], parts: Sequence[str], seen_file: Path
) -> tuple[str, dict[str, Any]]:
    """The fingerprint of the shards and the manifest's details; raises where they are not what pack wrote."""
    found = {file.relative_to(folder).as_posix(): file for file in files}
    manifest = _manifest(folder)
    listed = {entry["path"]: entry for entry in manifest.get("files", []) if entry["path"].endswith(".parquet")}
    listed = {path: entry for path, entry in listed.items() if path.partition("/")[0] in parts}
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
    hashes = _hashes(found, seen_file)
    for path, file in found.items():
        if manifest and hashes[path] != listed[path]["sha256"]:
            raise TrainingDataError(
                f"{file} was changed since pack wrote it: it has {file.stat().st_size} bytes and sha256 "
                f"{hashes[path][:12]}, {MANIFEST} says {listed[path]['bytes']} bytes and {listed[path]['sha256'][:12]}. "
                f"Run pack again."
            )
        digest.update(f"{path}\0{hashes[path]}\n".encode())
    return digest.hexdigest(), dict(manifest.get("details") or {})


def _hashes(files: dict[str, Path], seen_file: Path) -> dict[str, str]:
    """The sha256 of each file; of one hashed before, as it was then, where size, inode and times are the same.

    A file's time of change cannot be set, as that of its content can.
    """
    try:
        seen: dict[str, Any] = json.loads(seen_file.read_text("utf-8"))
    except (OSError, ValueError):
        seen = {}
    now: dict[str, list[Any]] = {}
    for path, file in files.items():
        stat = file.stat()
        mark = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        before: Any = seen.get(path)
        known = isinstance(before, list) and before[:-1] == mark
        now[path] = before if known else [*mark, _sha256(file)]
    if now != seen:
        partial = seen_file.with_name(f"{seen_file.name}.partial")
        try:
            partial.write_text(json.dumps(now), "utf-8")
            partial.replace(seen_file)
        except OSError as error:
            raise _no_room(seen_file.parent, error) from error
    return {path: str(entry[-1]) for path, entry in now.items()}


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


def _decode(shards: dict[str, list[Path]], folder: Path) -> dict[str, Any]:
    """Write the columns to `folder`; returns the facts."""
    passages = _decode_passages(shards["passages"], folder)
    pairs = _decode_pairs(shards["pairs"], folder, passages["passages"])
    _write_known_positives(folder)
    longest = max(pairs.pop("longest_text"), passages.pop("longest_text"))
    largest = max(pairs.pop("largest_token_id"), passages.pop("largest_token_id"))
    return pairs | passages | {"longest_text": longest, "largest_token_id": largest}


def _no_room(cache: Path, error: OSError) -> TrainingDataError:
    return TrainingDataError(
        f"The decoded shards cannot be written to {cache} ({error}). Make room there (about 4 bytes a token), or name "
        f"another folder: data_cache."
    )


def _decode_passages(files: list[Path], folder: Path) -> dict[str, Any]:
    facts = {"passages": 0, "longest_text": 0, "largest_token_id": 0}
    with ColumnWriters(folder) as write:
        for file, batch in shard_batches(files, PACKED_PASSAGE, ["token_ids", "length", "cluster_id"]):
            _texts(file, batch, "token_ids", "length", facts)
            write.lists("passage_tokens", batch["token_ids"], np.int32)
            write.flat("passage_cluster", cluster_codes(batch["cluster_id"]))
            facts["passages"] += batch.num_rows
    return facts


def _decode_pairs(files: list[Path], folder: Path, passages: int) -> dict[str, Any]:
    facts = {"pairs": 0, "longest_text": 0, "largest_token_id": 0}
    codes: dict[str, dict[str, int]] = {name: {} for name in LABELS}
    with ColumnWriters(folder) as write:
        for file, batch in shard_batches(files, PACKED_PAIR, PACKED_PAIR.names):
            _texts(file, batch, "query_token_ids", "query_length", facts)
            for name in ("positive", "negatives", "known_positives"):
                _check_passage_rows(file, name, batch[name], passages)
            _check_scores(file, batch, facts["pairs"])
            write.lists("query_tokens", batch["query_token_ids"], np.int32)
            write.lists("plain_query_tokens", batch["plain_query_token_ids"], np.int32)
            write.flat("pair_id", id_bytes(batch["pair_id"]))
            write.flat("query_cluster", cluster_codes(batch["query_cluster_id"]))
            write.flat("positive", np.asarray(batch["positive"]).astype(np.int64))
            write.lists("negatives", batch["negatives"], np.int64)
            write.lists("known_positives", batch["known_positives"], np.int64)
            write.flat("positive_score", batch["positive_score"].to_numpy(zero_copy_only=False).astype(np.float32))
            write.lists("negative_scores", batch["negative_scores"], np.float32)
            for name in ("length_group", "length"):
                write.flat(name, np.asarray(batch[name]).astype(np.int32))
            write.flat("symmetric", batch["symmetric"].to_numpy(zero_copy_only=False).astype(np.bool_))
            for name in LABELS:
                write.flat(name, _coded(batch[name], codes[name]))
            facts["pairs"] += batch.num_rows
    if not facts["pairs"]:
        raise TrainingDataError(
            f"{files[0].parent} holds no pairs at all, so there is nothing to train on. The manifests of the jobs "
            f"before pack say where the rows were dropped, and why."
        )
    return facts | {"names": {name: _sorted_codes(folder / f"{name}.npy", codes[name]) for name in LABELS}}


def cluster_codes(ids: pa.Array) -> Int64:
    """A number a 16-byte id: int64. Different ids of a billion have one number with a chance of about 3 %, and then one
    negative is masked for nothing."""
    halves = id_bytes(ids).view(np.uint64)
    codes: Int64 = (halves[:, 0] ^ (halves[:, 1] * _ID_MULTIPLIER)).view(np.int64)
    return codes


def id_bytes(ids: pa.Array) -> npt.NDArray[np.uint8]:
    """The ids of a binary(16) column: uint8 [rows, 16]."""
    flat = np.frombuffer(ids.buffers()[1], np.uint8)[16 * ids.offset :][: 16 * len(ids)]
    return flat.reshape(-1, 16)


def _coded(names: pa.Array, codes: dict[str, int]) -> Int32:
    """A number for each name, in the order in which they first come."""
    encoded = names.dictionary_encode()
    of_batch = [codes.setdefault(name, len(codes)) for name in encoded.dictionary.to_pylist()]
    coded: Int32 = np.array(of_batch, np.int32)[np.asarray(encoded.indices)]
    return coded


def _sorted_codes(file: Path, codes: dict[str, int]) -> list[str]:
    """Renumber a column of codes so that they follow the order of the names, and not that of the rows."""
    names = sorted(codes)
    rank = np.empty(len(names), np.int32)
    rank[[codes[name] for name in names]] = np.arange(len(names), dtype=np.int32)
    column = np.load(file, mmap_mode="r+", allow_pickle=False)
    for start in range(0, len(column), 1 << 20):
        column[start : start + (1 << 20)] = rank[column[start : start + (1 << 20)]]
    column.flush()
    return names


def _write_known_positives(folder: Path) -> None:
    """For each query cluster with more positives than its pairs have one each: their clusters, distinct and sorted.

    Sorting takes some 50 bytes of memory a pair, once.
    """
    query = np.load(folder / "query_cluster.npy", mmap_mode="r", allow_pickle=False)
    positive = np.load(folder / "positive.npy", mmap_mode="r", allow_pickle=False)
    passage_cluster = np.load(folder / "passage_cluster.npy", mmap_mode="r", allow_pickle=False)
    more = Ragged(*(np.load(folder / f"known_positives{end}.npy", mmap_mode="r") for end in ("", ".offsets")))
    queries = np.concatenate([query, query[more.owners]])
    positives = passage_cluster[np.concatenate([positive, more.values])]
    order = np.lexsort((positives, queries))
    queries, positives = queries[order], positives[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (queries[1:] != queries[:-1]) | (positives[1:] != positives[:-1])
    queries, positives = queries[first], positives[first]
    clusters, counts = np.unique(queries, return_counts=True)
    several = np.repeat(counts > 1, counts)
    known = Ragged.with_lengths(positives[several], counts[counts > 1])
    np.save(folder / "known_clusters.npy", known.values)
    np.save(folder / "known_clusters.offsets.npy", known.offsets)
    np.save(folder / "known_queries.npy", clusters[counts > 1])


def shard_batches(
    files: list[Path], schema: pa.Schema, names: list[str], rows: int = _ROWS_PER_READ
) -> Iterator[tuple[Path, pa.RecordBatch]]:
    """The columns `names` of shards of a schema, in batches of so many `rows`, with the file. Raises TrainingDataError where a file is
    not of that schema, or holds nulls that it does not allow."""
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
            for batch in file.iter_batches(rows, columns=names):
                _check_nulls(path, batch, schema)
                yield path, batch
        except (pa.ArrowInvalid, OSError) as error:
            raise TrainingDataError(f"{path} is not a readable Parquet file ({error}). Run pack again.") from error


def _check_nulls(path: Path, batch: pa.RecordBatch, schema: pa.Schema) -> None:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        inside = pa.types.is_list(column.type) and column.flatten().null_count
        if inside or (column.null_count and not schema.field(name).nullable):
            raise TrainingDataError(f"{path}: column {name} holds nulls. Run pack again.")


def _texts(file: Path, batch: pa.RecordBatch, ids: str, length: str, facts: dict[str, Any]) -> None:
    """Check a column of token ids against the lengths beside it, and note the longest text and the largest id."""
    tokens, lengths = Ragged.of_arrow(batch[ids]), np.asarray(batch[length])
    wrong = np.flatnonzero((tokens.lengths != lengths) | (lengths < 1))
    if len(wrong) or int(tokens.values.min(initial=0)) < 0:
        raise TrainingDataError(
            f"{file}: column {ids} holds an empty list, a negative id, or a list whose length is not the one beside it. "
            f"Run pack again."
        )
    facts["longest_text"] = max(facts["longest_text"], int(lengths.max(initial=0)))
    facts["largest_token_id"] = max(facts["largest_token_id"], int(tokens.values.max(initial=0)))


def _check_passage_rows(file: Path, name: str, column: pa.Array, passages: int) -> None:
    rows = np.asarray(column.flatten() if pa.types.is_list(column.type) else column)
    wrong = rows[(rows < 0) | (rows >= passages)]
    if len(wrong):
        raise TrainingDataError(
            f"{file}: column {name} points to passage row {wrong[0]}, but there are {passages} passages. The shards of "
            f"pairs and passages do not belong together: run pack again."
        )


def _check_scores(file: Path, batch: pa.RecordBatch, first_row: int) -> None:
    counts, scores = (Ragged.of_arrow(batch[name]).lengths for name in ("negatives", "negative_scores"))
    wrong = np.flatnonzero((scores != 0) & (scores != counts))
    if len(wrong):
        row = int(wrong[0])
        raise TrainingDataError(
            f"{file}: pair row {first_row + row} has {counts[row]} negatives and {scores[row]} scores of negatives. Run "
            f"pack again."
        )


class ColumnWriters:
    """The columns of a folder, each appended to as rows come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, _Column] = {}
        self._ends: dict[str, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "ColumnWriters":
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def flat(self, name: str, values: npt.NDArray[Any]) -> None:
        if name not in self._open:
            stream = self._stack.enter_context((self._folder / f"{name}.npy").open("wb"))
            self._open[name] = _Column(stream, values.dtype, values.shape[1:])
            self._stack.callback(self._open[name].finish)
        self._open[name].append(values)

    def lists(self, name: str, column: pa.Array, dtype: type[np.generic]) -> None:
        lists = Ragged.of_arrow(column)
        if name not in self._open:
            self.flat(f"{name}.offsets", np.zeros(1, np.int64))
        end = self._ends.get(name, 0)
        self.flat(name, lists.values.astype(dtype, copy=False))
        self.flat(f"{name}.offsets", lists.offsets[1:] + end)
        self._ends[name] = end + len(lists.values)


class _Column:
    """A .npy file whose length is known only at its end: the header is written last, into room kept for it."""

    def __init__(self, stream: BinaryIO, dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> None:
        self._stream, self._dtype, self._row_shape, self._rows = stream, dtype, row_shape, 0
        stream.write(bytes(_HEADER_BYTES))

    def append(self, values: npt.NDArray[Any]) -> None:
        self._stream.write(np.ascontiguousarray(values, self._dtype).tobytes())
        self._rows += len(values)

    def finish(self) -> None:
        shape = (self._rows, *self._row_shape)
        described = repr({"descr": self._dtype.str, "fortran_order": False, "shape": shape}).encode()
        header = described.ljust(_HEADER_BYTES - 11) + b"\n"
        self._stream.seek(0)
        self._stream.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
