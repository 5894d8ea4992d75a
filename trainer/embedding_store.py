"""Embeddings kept on disk, found by what was encoded and how: no text is encoded twice by the same model.

    store = EmbeddingStore(folder)
    space = store.space(encoder_identity(encoder, "passage"), encoder.dimension)
    vectors = embed(encoder, "passage", texts, space.reader(), space)

A space holds the vectors of one way of encoding; in it a vector is found by the 128-bit hash of its text.

    STORE/SPACE/space.json            what the space is of
    STORE/SPACE/NAME.keys.npy         uint64 [n, 2]: hashes of texts, ascending by their first half
    STORE/SPACE/NAME.vectors.npy      float16 [n, D], in the same order
    STORE/SPACE/NAME.json             written last: rows, dimension, sha256 of both; a segment without it does not exist

Segments never change and are named by their content, so any number of processes may write at once, and a killed one
leaves nothing that is taken for whole. They are merged and deleted only while no other job uses the store. A reader sees the segments it was opened on and no later ones: what a job finds
does not depend on the other workers, so that it ends with the same bytes however it is divided.
"""

import fcntl
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sources.schema import text_ids

if TYPE_CHECKING:
    from trainer.encoder import Encoder
    from trainer.encoder_processes import EncoderPool

Keys = npt.NDArray[np.uint64]  # [n, 2]
Vectors = npt.NDArray[np.float16]  # [n, D]

PARTS: Final[tuple[Literal["keys", "vectors"], ...]] = ("keys", "vectors")
_MAPPED_AT_ONCE: Final = 512  # vectors; the kernel maps up to 64 KiB around each
SEGMENT_ROWS: Final = 1 << 20  # segments are merged up to this size
SMALL_SEGMENTS: Final = 32  # from so many segments below half of it on they are merged
_STORE_VERSION: Final = 1

_LOG: Final = logging.getLogger(__name__)
_in_use: dict[Path, IO[bytes]] = {}  # the stores this process uses, locked until it ends


class EmbeddingStoreError(ValueError):
    """The store cannot be used. The message names the file and the remedy."""


class EmbeddingStore:
    """A folder of spaces. `max_bytes` is what the segments of all spaces may take; None: no limit."""

    def __init__(self, folder: str | Path, max_bytes: int | None = None) -> None:
        self.folder = Path(folder).expanduser()
        self.max_bytes = max_bytes

    def space(self, identity: Mapping[str, Any], dimension: int) -> "EmbeddingSpace":
        """The space of one way of encoding, made where it is new."""
        described = json.dumps({"store": _STORE_VERSION, "dimension": dimension, **identity}, sort_keys=True)
        folder = self.folder / hashlib.sha256(described.encode()).hexdigest()[:32]
        if not (folder / "space.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            _write_whole(folder / "space.json", described.encode())
        return EmbeddingSpace(folder, dimension)

    def begin_use(self, *, tidy: bool) -> None:
        """For the beginning of a job: from here on no process tidies the store until this one ends.

        With `tidy` this one does first, where no other uses it: not for a job that goes on, whose segments might go. A job
        that is killed uses the store no longer. Where some job always does, it grows beyond max_bytes.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder.resolve() / "in_use.lock"
        if path not in _in_use:
            _in_use[path] = path.open("ab")
        lock = _in_use[path]
        if _locked_alone(lock):
            self.remove_torn_segments()
            if tidy:
                self.tidy()
        fcntl.flock(lock, fcntl.LOCK_SH)

    def remove_torn_segments(self) -> None:
        """Delete segments whose files a crash of the machine cut short: their texts are encoded again."""
        for space in self.spaces():
            for segment in space.segments():
                if segment.is_torn():
                    _LOG.warning(
                        "%s: a file of this segment was cut short; its texts are encoded again", segment.record
                    )
                    segment.delete()

    def tidy(self) -> None:
        """Merge small segments and keep to max_bytes. Who still opens readers may miss what was merged."""
        for space in self.spaces():
            space.merge_small_segments()
        self.evict()

    def evict(self) -> int:
        """Delete the segments that were used least recently until the store fits max_bytes: the bytes freed."""
        if self.max_bytes is None:
            return 0
        segments = [segment for space in self.spaces() for segment in space.segments()]
        total, freed = sum(segment.bytes for segment in segments), 0
        for segment in sorted(segments, key=lambda segment: (segment.last_used, segment.name)):
            if total - freed <= self.max_bytes:
                break
            segment.delete()
            freed += segment.bytes
        return freed

    def forget(self, keys: Keys) -> int:
        """Remove the vectors of these text_keys from every space: how many there were. What is left of a segment is a new one.

        Raises EmbeddingStoreError where another process uses the store: it may be reading them now.
        """
        if not self.folder.is_dir():
            return 0
        with self.held_alone() as alone:
            if not alone:
                raise EmbeddingStoreError(
                    f"The embedding store {self.folder} is in use by another run, which may be reading what is to be"
                    " forgotten. Run the same command again when that run has ended."
                )
            return sum(space.forget(keys) for space in self.spaces())

    @contextmanager
    def held_alone(self) -> Iterator[bool]:
        """Whether no other process uses the store, whose folder is there; while the block runs none begins to."""
        with (self.folder / "in_use.lock").open("ab") as lock:
            yield _locked_alone(lock)

    def spaces(self) -> "list[EmbeddingSpace]":
        """The spaces there are, by name."""
        described = sorted(self.folder.glob("*/space.json"))
        return [EmbeddingSpace(path.parent, json.loads(path.read_text())["dimension"]) for path in described]

    def verify(self) -> list[str]:
        """What is wrong with the files of the store, one sentence a fault; reads every byte."""
        return [fault for space in self.spaces() for segment in space.segments() if (fault := segment.fault())]


@dataclass(frozen=True)
class Segment:
    """One segment of a space."""

    folder: Path
    name: str
    rows: int
    dimension: int
    sha256: dict[str, str]  # of the keys and the vectors

    @property
    def record(self) -> Path:
        return self.folder / f"{self.name}.json"

    def path(self, part: Literal["keys", "vectors"]) -> Path:
        return self.folder / f"{self.name}.{part}.npy"

    @property
    def bytes(self) -> int:
        return self.rows * (16 + 2 * self.dimension)

    @property
    def last_used(self) -> int:
        """Nanoseconds; reading a segment touches its record."""
        try:
            return self.record.stat().st_mtime_ns
        except FileNotFoundError:  # another process deleted it
            return 0

    def rows_of(self, keys: Keys) -> npt.NDArray[np.intp]:
        """The rows of those of n keys that the segment has, ascending; none where it was deleted meanwhile."""
        opened = _open(self)
        if opened is None:
            return np.zeros(0, np.intp)
        with opened.file:
            return np.flatnonzero(_among(opened.keys, keys))

    def delete(self) -> None:
        """The record goes first: what is left of a deletion that was cut short is no segment. Open maps stay readable."""
        for path in (self.record, self.path("keys"), self.path("vectors")):
            path.unlink(missing_ok=True)

    def is_torn(self) -> bool:
        """Whether a file is missing or has another size than its array."""
        for part, row_bytes in (("keys", 16), ("vectors", 2 * self.dimension)):
            path = self.folder / f"{self.name}.{part}.npy"
            header = path.stat().st_size - self.rows * row_bytes if path.exists() else 0
            if header <= 0 or header % 64:  # numpy pads the header to whole blocks of 64 bytes
                return True
        return False

    def fault(self) -> str | None:
        for part in PARTS:
            path = self.path(part)
            if not path.exists():
                return f"{path} is missing. Delete {self.record}; its texts are then encoded again."
            with path.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != self.sha256[part]:
                    return f"{path} is not what was written. Delete {self.record}; its texts are then encoded again."
        return None


class EmbeddingSpace:
    """The vectors of one way of encoding."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self.folder, self.dimension = folder, dimension

    def segments(self) -> list[Segment]:
        """The segments there are now, by name."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            if path.name == "space.json":
                continue
            try:
                record = json.loads(path.read_bytes())
            except FileNotFoundError:  # another process deleted it
                continue
            found.append(Segment(self.folder, path.stem, record["rows"], self.dimension, record["sha256"]))
        return found

    def reader(self, names: Sequence[str] | None = None) -> "EmbeddingReader":
        """A view of the segments of these names (those that are still there), or of all there are now."""
        wanted = None if names is None else set(names)
        return EmbeddingReader(
            [each for each in self.segments() if wanted is None or each.name in wanted], self.dimension
        )

    def add(self, keys: Keys, vectors: Vectors) -> str | None:
        """Keep the vectors [n, D] of n distinct keys as a new segment: its name; None for no rows."""
        if len(keys) == 0:
            return None
        if vectors.shape != (len(keys), self.dimension):
            raise ValueError(f"{len(keys)} keys need vectors [{len(keys)}, {self.dimension}], found {vectors.shape}.")
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        return self._write(np.ascontiguousarray(keys[order]), np.ascontiguousarray(vectors[order], np.float16))

    def _write(self, keys: Keys, vectors: Vectors) -> str:
        content = hashlib.sha256(keys.data)
        content.update(vectors.data)  # gigabytes where segments are merged: no copy
        name = content.hexdigest()[:32]
        digests = {
            "keys": _write_array(self.folder / f"{name}.keys.npy", keys),
            "vectors": _write_array(self.folder / f"{name}.vectors.npy", vectors),
        }
        record = json.dumps({"rows": len(keys), "dimension": self.dimension, "sha256": digests}, sort_keys=True)
        _write_whole(self.folder / f"{name}.json", record.encode())
        return name

    def forget(self, keys: Keys) -> int:
        """Remove the vectors of some keys, while no other process uses the store: how many there were."""
        gone = 0
        for segment in self.segments():
            opened = _open(segment)
            if opened is None:
                continue
            with opened.file:
                kept = ~_among(opened.keys, keys)
                if kept.all():
                    continue
                name = self.add(np.array(opened.keys[kept]), opened.take(np.flatnonzero(kept)))
            gone += int(len(kept) - kept.sum())
            if name != segment.name:
                segment.delete()
        return gone

    def merge_small_segments(self) -> None:
        """Make few segments of many: a lookup asks every segment."""
        small = [segment for segment in self.segments() if segment.rows < SEGMENT_ROWS // 2]
        if len(small) >= SMALL_SEGMENTS:
            for group in _groups(small, SEGMENT_ROWS):
                self._merge(group)

    def _merge(self, group: Sequence[Segment]) -> None:
        reader = EmbeddingReader(group, self.dimension)
        keys = np.concatenate([each.keys for each in reader.opened]) if reader.opened else np.zeros((0, 2), np.uint64)
        distinct = np.unique(keys, axis=0)
        vectors, found = reader.lookup(distinct)
        name = self.add(distinct[found], vectors[found])
        for segment in group:
            if segment.name != name:
                segment.delete()


@dataclass(frozen=True)
class _Opened:
    keys: Keys  # mapped
    file: IO[bytes]  # of the vectors: open, so that they can be read though another process deletes the segment
    offset: int  # bytes before the first vector
    dimension: int

    def take(self, rows: npt.NDArray[np.intp]) -> Vectors:
        """The vectors of these rows. Mapped a part at a time, forwards: mapped pages count as memory of the process."""
        taken = np.empty((len(rows), self.dimension), np.float16)
        order = np.argsort(rows, kind="stable")
        for start in range(0, len(rows), _MAPPED_AT_ONCE):
            part = order[start : start + _MAPPED_AT_ONCE]
            mapped = np.memmap(self.file, np.float16, "r", self.offset, (len(self.keys), self.dimension))
            taken[part] = mapped[rows[part]]
            del mapped
        return taken


class EmbeddingReader:
    """Finds vectors in some segments, which stay open."""

    def __init__(self, segments: Sequence[Segment], dimension: int) -> None:
        self.dimension = dimension
        self.names = [segment.name for segment in segments]
        self.opened = [opened for segment in segments if (opened := _open(segment)) is not None]

    def lookup(self, keys: Keys) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        """The vectors float16 [n, D] of n keys, and which of them were found: bool [n]; the others' vectors are 0."""
        vectors = np.zeros((len(keys), self.dimension), np.float16)
        found = np.zeros(len(keys), np.bool_)
        for segment in self.opened:
            missing = np.flatnonzero(~found)
            if len(missing) == 0:
                break
            wanted = keys[missing]
            places = np.searchsorted(segment.keys[:, 0], wanted[:, 0])
            inside = places < len(segment.keys)
            inside[inside] = (segment.keys[places[inside]] == wanted[inside]).all(axis=1)
            vectors[missing[inside]] = segment.take(places[inside])
            found[missing[inside]] = True
        return vectors, found


def embed(
    encoder: "Encoder | EncoderPool",
    role: Literal["query", "passage"],
    texts: pa.Array,
    reader: EmbeddingReader,
    space: EmbeddingSpace,
) -> Vectors:
    """Embeddings float16 [n, D] of texts, in their order: those the reader finds, the others encoded and kept.

    A text that occurs several times is encoded once. Vectors are rounded to float16 whether they were found or not.
    Raises EmbeddingError as encode_rounded does.
    """
    keys, place = np.unique(text_keys(texts), axis=0, return_inverse=True)
    place = place.reshape(-1)
    vectors, found = reader.lookup(keys)
    if not found.all():
        first = np.full(len(keys), len(texts), np.int64)
        np.minimum.at(first, place, np.arange(len(texts)))
        # In the order of the texts, not of the hashes: texts of one document stay together, and lengths alike.
        missing = np.flatnonzero(~found)
        missing = missing[np.argsort(first[missing], kind="stable")]
        encoded = encode_rounded(encoder, role, texts.take(pa.array(first[missing])))
        space.add(keys[missing], encoded)
        vectors[missing] = encoded
    whole: Vectors = vectors[place]
    return whole


def encode_rounded(encoder: "Encoder | EncoderPool", role: Literal["query", "passage"], texts: pa.Array) -> Vectors:
    """Embeddings float16 [n, D]. Raises EmbeddingError as Encoder.encode does, and for a value beyond float16's range."""
    from trainer.encoder import EmbeddingError

    with np.errstate(over="ignore"):  # told below
        encoded: Vectors = encoder.encode(texts, role).astype(np.float16)
    if not np.isfinite(encoded).all():
        raise EmbeddingError(
            f"{encoder.settings.model} gives values beyond the range of float16: set normalise to true."
        )
    return encoded


def text_keys(texts: pa.Array) -> Keys:
    """The 128-bit hashes of texts as two numbers each: uint64 [n, 2]."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if len(texts) == 0:
        return np.zeros((0, 2), np.uint64)
    return np.frombuffer(text_ids(texts).buffers()[1], ">u8").reshape(-1, 2).astype(np.uint64)


def encoder_identity(encoder: "Encoder | EncoderPool", role: Literal["query", "passage"]) -> dict[str, Any]:
    """All that decides an encoder's vectors of a role, besides the text."""
    from trainer.backbone import model_fingerprint
    from trainer.encoder import ARITHMETIC

    settings = encoder.settings
    return {
        "arithmetic": ARITHMETIC,
        "model": model_fingerprint(settings.model),
        "prompt": encoder.prompt(role),
        "max_length": encoder.max_length(role),
        "pooling": settings.pooling,
        "normalise": settings.normalise,
        "dtype": str(encoder.dtype),
        **({} if settings.mcls_every is None else {"mcls_every": settings.mcls_every}),
    }


def _open(segment: Segment) -> _Opened | None:
    """The arrays of a segment, mapped; None where it was deleted meanwhile. Raises EmbeddingStoreError where it is broken."""
    try:
        keys = np.load(segment.path("keys"), mmap_mode="r", allow_pickle=False)
        file = segment.path("vectors").open("rb")
        vectors = np.load(segment.path("vectors"), mmap_mode="r", allow_pickle=False)
        os.utime(segment.record)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError) as error:
        raise EmbeddingStoreError(
            f"Segment {segment.record} of the embedding store cannot be read ({error}). Delete that file: its texts are"
            " then encoded again."
        ) from None
    shapes = (keys.dtype, keys.shape, vectors.dtype, vectors.shape)
    if shapes != (np.uint64, (segment.rows, 2), np.float16, (segment.rows, segment.dimension)):
        raise EmbeddingStoreError(
            f"Segment {segment.record} of the embedding store holds {shapes}, not {segment.rows} rows of"
            f" {segment.dimension} dimensions. Delete that file: its texts are then encoded again."
        )
    return _Opened(keys, file, int(vectors.offset), segment.dimension)


def _among(keys: Keys, wanted: Keys) -> npt.NDArray[np.bool_]:
    """Which of n keys are wanted: bool [n]."""
    pairs = np.dtype([("high", np.uint64), ("low", np.uint64)])
    found: npt.NDArray[np.bool_] = np.isin(
        np.ascontiguousarray(keys).view(pairs).reshape(-1), np.ascontiguousarray(wanted).view(pairs).reshape(-1)
    )
    return found


def _groups(segments: Sequence[Segment], most_rows: int) -> Iterator[list[Segment]]:
    """Segments in groups of two and more that hold at most so many rows together."""
    group: list[Segment] = []
    for segment in sorted(segments, key=lambda segment: (segment.rows, segment.name)):
        if group and sum(each.rows for each in group) + segment.rows > most_rows:
            if len(group) > 1:
                yield group
            group = []
        group.append(segment)
    if len(group) > 1:
        yield group


def _locked_alone(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_array(path: Path, array: npt.NDArray[Any]) -> str:
    """Write an .npy file that appears whole; its sha256."""
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as stream:
            np.lib.format.write_array(stream, array, allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
        with temporary.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
