"""Paths, decompression and lines."""

import bz2
import gzip
import lzma
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sources.files.reading import ByteStream, LineReader, LongRecord, base_name, byte_splits, expand_paths
from sources.source import SourceError, Split
from tests.sources.reading_all import write

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
ENDINGS = pytest.mark.parametrize("ending", COMPRESS)


def noise(size: int) -> bytes:
    """Lines that do not compress well."""
    return b"\n".join(random.Random(7).randbytes(40).hex().encode() for _ in range(size // 81)) + b"\n"


def lines_of(split: Split, max_line: int = 1 << 20, block: int = 1 << 20) -> list[tuple[int, bytes]]:
    reader = LineReader(split, max_line, block)
    found: list[tuple[int, bytes]] = []
    for piece in reader:
        if isinstance(piece, LongRecord):
            found.append((piece.offset, b"LONG"))
        else:
            found += zip(piece.offsets.tolist(), piece.lines, strict=True)
    return found


def test_patterns_give_sorted_files_once_and_no_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "_hidden.txt", ".dot.txt", "in/c.txt", "odd[1].txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, "x")
    names = [Path(path).name for path in expand_paths([str(tmp_path), f"{tmp_path}/*.txt"])]
    assert names == ["a.txt", "b.txt", "c.txt", "odd[1].txt"]
    assert expand_paths([f"{tmp_path}/odd[1].txt"]) == [f"{tmp_path}/odd[1].txt"]


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\*\.gz"):
        expand_paths([f"{tmp_path}/nothing*.gz"])


def test_files_in_memory_are_found_and_read() -> None:
    with fsspec.open("memory://test_reading/a.txt.gz", "wb") as file:
        file.write(gzip.compress(b"one\ntwo\n"))
    (path,) = expand_paths(["memory://test_reading/*.gz"])
    assert b"".join(ByteStream(path)) == b"one\ntwo\n"
    assert base_name(path) == "a.txt"


@ENDINGS
def test_several_members_are_read_as_one(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"f{ending}", COMPRESS[ending](b"one\n") + COMPRESS[ending](b"two\n"))
    stream = ByteStream(str(path))
    assert b"".join(stream) == b"one\ntwo\n"
    assert stream.fault is None
    assert stream.position == path.stat().st_size


@ENDINGS
def test_a_truncated_file_gives_what_decompresses_and_then_the_fault(tmp_path: Path, ending: str) -> None:
    text = noise(2_000_000)
    packed = COMPRESS[ending](text)
    path = write(tmp_path / f"f{ending}", packed[: len(packed) // 2])
    stream = ByteStream(str(path))
    got = b"".join(stream)
    assert text.startswith(got)
    assert len(got) > len(text) // 4  # bz2 gives whole blocks of 900 kB only
    assert stream.fault is not None
    assert (stream.fault.reason, stream.fault.position) == ("truncated_file", len(packed) // 2)


@ENDINGS
def test_a_damaged_member_gives_what_comes_before_it(tmp_path: Path, ending: str) -> None:
    first = COMPRESS[ending](b"good\n" * 1000)
    path = write(tmp_path / f"f{ending}", first + b"no such thing")
    stream = ByteStream(str(path))
    assert b"".join(stream) == b"good\n" * 1000
    assert stream.fault is not None
    assert stream.fault.reason == "corrupt_file"


def test_a_wrong_checksum_loses_no_byte_and_is_told(tmp_path: Path) -> None:
    text = noise(100_000)
    packed = bytearray(gzip.compress(text))
    packed[-6] ^= 1
    stream = ByteStream(str(write(tmp_path / "f.gz", bytes(packed))))
    assert b"".join(stream) == text
    assert stream.fault is not None
    assert stream.fault.reason == "corrupt_file"


def test_an_empty_compressed_file_is_truncated_and_an_empty_plain_one_is_empty(tmp_path: Path) -> None:
    packed, plain = ByteStream(str(write(tmp_path / "f.gz", b""))), ByteStream(str(write(tmp_path / "f", b"")))
    assert b"".join(packed) == b"".join(plain) == b""
    assert packed.fault is not None
    assert plain.fault is None


@ENDINGS
def test_a_bomb_comes_in_small_chunks(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"f{ending}", COMPRESS[ending](bytes(100 << 20)))
    tracemalloc.start()
    total = sum(len(chunk) for chunk in ByteStream(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 100 << 20
    assert peak < 80 << 20


@pytest.mark.parametrize("ending", [".bz2", ".zst"])
def test_a_bomb_ends_at_a_thousand_times_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr("sources.files.reading.SAFE_SIZE", 1 << 20)
    path = write(tmp_path / f"f{ending}", COMPRESS[ending](bytes(100 << 20)))
    stream = ByteStream(str(path))
    assert sum(len(chunk) for chunk in stream) < 70 << 20
    assert stream.fault is not None
    assert stream.fault.reason == "decompression_bomb"


def test_a_window_that_wants_too_much_memory_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    packed = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    path = write(tmp_path / "f.zst", packed.compress(noise(100_000)) + packed.flush())
    with pytest.raises(SourceError, match=r"f.zst: its window is larger than 128 MiB.*zstd -d --long=31"):
        list(ByteStream(str(path)))
    monkeypatch.setattr("sources.files.decompression.XZ_MEMORY", 1 << 20)
    path = write(tmp_path / "f.xz", lzma.compress(noise(100_000)))
    with pytest.raises(SourceError, match=r"f.xz: to decompress it takes more than 1 MiB.*xz -d"):
        list(ByteStream(str(path)))


def test_utf16_is_read_as_utf8(tmp_path: Path) -> None:
    path = write(tmp_path / "f.txt", "один\nдва\n".encode("utf-16"))
    assert [line for _, line in lines_of(Split(str(path)))] == ["один".encode(), "два".encode()]


PIECES = st.lists(st.sampled_from([b"a", b"bcd" * 9, b"\n", b"\n", b"\r\n", b"\r", b"\xe4\xb8\xad"]), max_size=30)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES, target=st.integers(1, 40), block=st.sampled_from([1, 7, 1 << 20]))
def test_any_split_and_any_block_gives_the_lines_of_python(
    tmp_path: Path, pieces: list[bytes], target: int, block: int
) -> None:
    data = b"".join(pieces)
    expected, offset = [], 0
    for line in data.split(b"\n"):
        expected.append((offset, line.removesuffix(b"\r")))
        offset += len(line) + 1
    if not data or data.endswith(b"\n"):
        expected.pop()
    path = str(write(tmp_path / "lines.txt", data))
    assert [line for split in byte_splits(path, target) for line in lines_of(split, block=block)] == expected


def test_a_byte_order_mark_is_no_text_but_counts_in_offsets(tmp_path: Path) -> None:
    path = write(tmp_path / "f.txt", b"\xef\xbb\xbfa\nb")
    assert lines_of(Split(str(path))) == [(3, b"a"), (5, b"b")]


@pytest.mark.parametrize("block", [1, 64, 1 << 20])
def test_a_line_over_the_limit_is_marked_and_the_next_is_read(tmp_path: Path, block: int) -> None:
    path = write(tmp_path / "f.txt", b"a\n" + b"x" * 2000 + b"\nb\n" + b"y" * 1001)
    assert lines_of(Split(str(path)), max_line=1000, block=block) == [
        (0, b"a"),
        (2, b"LONG"),
        (2003, b"b"),
        (2005, b"LONG"),
    ]


def test_a_line_of_100_megabytes_is_never_held(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    with path.open("wb") as file:
        file.write(b"first\n")
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b"\nlast\n")
    tracemalloc.start()
    found = lines_of(Split(str(path)), max_line=16 << 20, block=4 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(0, b"first"), (6, b"LONG"), (7 + (100 << 20), b"last")]
    assert peak < 64 << 20
