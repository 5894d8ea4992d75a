"""A gigabyte that fits into a few thousand bytes, records without end, files that lie: bounded memory, bounded disk, a clear end.

Each is read by `pairmill extract` in a process of its own whose address space beyond a plain run is limited.
"""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.security.hostile import assert_shows_nothing_unseen, every_file

GIGABYTE = 1 << 30
PIECE = bytes(1 << 24)
PIECES = GIGABYTE // len(PIECE)
MOST_MEMORY = 900 << 20  # Beam and Arrow take some 300 MB of it; the bomb alone is 1,024
MOST_DISK = 20 << 20
GOOD = json.dumps({"title": "a good title", "body": "a good body of some words"}).encode() + b"\n"

MEASURED = """
import sys
from pathlib import Path
from pipelines import job_process
from pipelines.run_folder import RunFolder
import traceback
code = 0
try:
    job_process.execute(sys.argv[1], RunFolder(sys.argv[2]), "extract")
except Exception as error:
    print(type(error).__name__, error)
    code = 1
# ru_maxrss would begin with the peak of the process that started this one.
[peak] = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print("PEAK", int(peak) * 1024)
sys.exit(code)
"""


def _tar(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf()


def _zip(folder: Path) -> Path:
    path = folder / "bomb.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.jsonl", "w", force_zip64=True) as stream,
    ):
        stream.write(GOOD)
        for _ in range(PIECES):
            stream.write(PIECE)
    return path


def _repeated(name: str, compress: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        head = _tar("a.jsonl", GIGABYTE) if ".tar" in name else GOOD
        path.write_bytes(compress(head) + compress(PIECE) * PIECES)
        return path

    return write


def _nested(folder: Path) -> Path:
    inner = gzip.compress(GOOD) + gzip.compress(PIECE) * PIECES
    path = folder / "nested.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jsonl.gz", inner)
    return path


def _doubly_packed(folder: Path) -> Path:
    """A gzip of a gzip: what comes out is no text, and is not unpacked again."""
    path = folder / "twice.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.compress(PIECE) * PIECES))
    return path


def _one_line(folder: Path) -> Path:
    path = folder / "line.jsonl"
    with path.open("wb") as stream:
        stream.write(GOOD + b'{"title": "')
        for _ in range(100):
            stream.write(b"x" * 1_000_000)
        stream.write(b'"}\n' + GOOD)
    return path


def _deep(folder: Path) -> Path:
    path = folder / "deep.jsonl"
    deep = [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000, b'{"title":' + b"[" * 100_000]
    path.write_bytes(GOOD + b"\n".join(deep) + b"\n" + GOOD)
    return path


def _deep_array(folder: Path) -> Path:
    path = folder / "deep.json"
    path.write_bytes(b"[" + GOOD.strip() + b"," + b"[" * 100_000 + b"]" * 100_000 + b"," + GOOD + b"]")
    return path


def _huge_numbers(folder: Path) -> Path:
    path = folder / "numbers.jsonl"
    rows = [
        b'{"title": "a", "body": "b", "n": ' + number + b"}" for number in (b"9" * 100_000, b"1e999999", b"-1e-999999")
    ]
    path.write_bytes(GOOD + b"\n".join(rows) + b"\n" + GOOD)
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "gz": _repeated("bomb.jsonl.gz", gzip.compress),
    "bz2": _repeated("bomb.jsonl.bz2", bz2.compress),
    "xz": _repeated("bomb.jsonl.xz", lambda data: lzma.compress(data, preset=0)),
    "zst": _repeated("bomb.jsonl.zst", zstandard.ZstdCompressor().compress),
    "tar.gz": _repeated("bomb.tar.gz", gzip.compress),
    "tar.bz2": _repeated("bomb.tar.bz2", bz2.compress),
    "zip": _zip,
    "gz in zip": _nested,
    "gz in gz": _doubly_packed,
    "a line of 100 MB": _one_line,
    "nested 100,000 deep": _deep,
    "an array nested 100,000 deep": _deep_array,
    "numbers of 100,000 digits": _huge_numbers,
}


def _extract(folder: Path, path: Path) -> "subprocess.CompletedProcess[str]":
    recipe = folder / "recipe.yaml"
    source = {"source": "jsonl", "paths": [str(path)], "query": "title", "positive": "body", "language": "en"}
    recipe.write_text(json.dumps({"name": "x", "sources": [source], "extract": {"max_quarantined_share": 1.0}}))
    return subprocess.run(
        [sys.executable, "-c", MEASURED, str(recipe), str(folder / "run")],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "temporary")},
    )


@pytest.mark.parametrize("kind", FILES)
def test_a_bomb_ends_within_bounded_memory_and_disk(tmp_path: Path, kind: str) -> None:
    (tmp_path / "temporary").mkdir()
    path = FILES[kind](tmp_path)
    done = _extract(tmp_path, path)
    assert "PEAK" in done.stdout, done.stderr[-2000:]
    assert int(done.stdout.split("PEAK")[1]) < MOST_MEMORY, done.stdout
    for word in ("RecursionError", "MemoryError", "OverflowError", "Traceback"):
        assert word not in done.stdout + done.stderr
    written = sum(file.stat().st_size for file in every_file(tmp_path) if file not in (path, tmp_path / "recipe.yaml"))
    assert written < MOST_DISK
    assert_shows_nothing_unseen(done.stdout)


def _parquet(rows: int = 3) -> bytes:
    sink = BytesIO()
    pq.write_table(pa.table({"title": [f"title {n}" for n in range(rows)], "body": ["some words"] * rows}), sink)
    return sink.getvalue()


def _lies() -> dict[str, bytes]:
    whole = _parquet()
    size = int.from_bytes(whole[-8:-4], "little")
    footer = whole[-8 - size : -8]
    return {
        "a footer longer than the file": whole[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1",
        "a footer of no length": whole[:-8] + bytes(4) + b"PAR1",
        "no data before the footer": b"PAR1" + footer + whole[-8:],
        "a footer of zeros": whole[: -8 - size] + bytes(size) + whole[-8:],
        "only the magic": b"PAR1PAR1",
        "half": whole[: len(whole) // 2],
        "pages turned round": whole[:4] + whole[4 : -8 - size][::-1] + whole[-8 - size :],
        **{
            f"byte {place} of the footer": whole[: -8 - size + place] + b"\xff" + whole[-8 - size + place + 1 :]
            for place in range(0, size, 37)
        },
    }


def test_a_parquet_file_that_lies_is_refused_or_set_aside_in_words(tmp_path: Path) -> None:
    for number, content in enumerate(_lies().values()):
        (tmp_path / f"{number}.parquet").write_bytes(content)
    probe = """
import sys
from pathlib import Path
from sources.catalogue import load_source
from sources.source import SourceError
from pipelines.preview import preview_pairs
for path in sorted(Path(sys.argv[1]).glob("*.parquet")):
    try:
        preview_pairs("table", [str(path)], {"query": "title", "positive": "body"}, 5)
    except ValueError as error:
        assert type(error).__name__ in ("SourceError", "UserError"), (path, type(error), error)
        assert str(path.name) in str(error), error
print("ENDED")
"""
    done = subprocess.run(
        [sys.executable, "-c", probe, str(tmp_path)], capture_output=True, text=True, timeout=200, check=False
    )
    assert "ENDED" in done.stdout, done.stderr[-3000:]
