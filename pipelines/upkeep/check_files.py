"""Whether files are what was written: size, sha256, rows of Parquet footers, reasons in rejects, tensors of safetensors."""

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.shards import REJECTS, ShardFile
from pipelines.upkeep.findings import Finding

_PIECE: Final = 1 << 20
_LARGEST_HEADER: Final = 100 * 2**20  # of safetensors: the format's own limit


@dataclass(frozen=True)
class CheckedFile:
    """What became of one file of a manifest: its faults, and, of rejects, the rows of each reason."""

    faults: tuple[Finding, ...] = ()
    reasons: Counter[str] | None = field(default=None)


def check_file(folder: str, job: str, file: ShardFile, quick: bool, advance: Callable[[int], None]) -> CheckedFile:
    """Read one file of a job and compare it with what its manifest says; `quick` leaves out the sha256.

    `advance` is told of bytes read. Memory does not grow with the file.
    """
    url, path = storage.join(folder, file.path), f"{job}/{file.path}"
    remedy = f"Delete it and its record in {job}/_parts, and run the recipe again: its task is done anew."
    try:
        if not storage.exists(url):
            return CheckedFile((Finding(path, "it is missing", "Run the recipe again: its task is done anew."),))
        size, digest = (_size(url), "") if quick else _size_and_sha256(url, advance)
        if size != file.bytes:
            return CheckedFile((Finding(path, f"it has {size} bytes where {file.bytes} were written", remedy),))
        if not quick and digest != file.sha256:
            return CheckedFile((Finding(path, "its sha256 is not that of what was written", remedy),))
        if file.path.endswith(".parquet"):
            return _parquet(url, path, file, remedy)
    except (OSError, pa.ArrowException) as error:
        return CheckedFile((Finding(path, f"it cannot be read ({error})", remedy),))
    return CheckedFile()


def _size(url: str) -> int:
    filesystem, path = storage.split_url(url)
    return int(filesystem.size(path))


def _size_and_sha256(url: str, advance: Callable[[int], None]) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with storage.open_for_reading(url) as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            advance(len(piece))
    return size, digest.hexdigest()


def _parquet(url: str, path: str, file: ShardFile, remedy: str) -> CheckedFile:
    with storage.open_for_reading(url) as stream, pq.ParquetFile(stream) as parquet:
        rows = parquet.metadata.num_rows
        if rows != file.rows:
            return CheckedFile((Finding(path, f"it holds {rows} rows where {file.rows} were written", remedy),))
        if file.role != REJECTS:
            return CheckedFile()
        reasons: Counter[str] = Counter()
        for batch in parquet.iter_batches(columns=["reason"]):
            for entry in pc.value_counts(batch["reason"]).to_pylist():
                reasons[entry["values"]] += entry["counts"]
        return CheckedFile(reasons=reasons)


def check_safetensors(folder: Path, root: Path) -> Iterator[Finding]:
    """Faults of the weights below a folder, told by their headers: a file cut short, a header that is none."""
    for file in sorted(folder.rglob("*.safetensors")):
        path = file.relative_to(root).as_posix()
        fault = _weights_fault(file)
        if fault is not None:
            yield Finding(path, fault, f"Delete {folder.relative_to(root).as_posix()} and run the recipe again.")


def _weights_fault(file: Path) -> str | None:
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        if len(start) < 8:
            return f"it has {size} bytes, which are no weights"
        (length,) = struct.unpack("<Q", start)
        if length > min(size - 8, _LARGEST_HEADER):
            return f"its header tells of {length} bytes, and the file has {size}: it is cut short, or no safetensors"
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            return "its header cannot be read: it is no safetensors"
    wanted = 8 + length + max(ends, default=0)
    return None if wanted == size else f"it has {size} bytes where its header tells of {wanted}"
