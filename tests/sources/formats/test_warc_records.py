"""Records of WARC files: cutting, damage, limits."""

import gzip
import random
from pathlib import Path

import pytest

from sources.formats.warc_records import BadWarcRecord, WarcRecord, WarcRecords
from tests.sources.reading_all import write


def record(number: int, body: bytes = b"", kind: str = "response", length: int | None = None) -> bytes:
    body = body or b"body %d" % number
    header = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:{number}>\r\n"
    return (
        header.encode() + b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body + b"\r\n\r\n"
    )


def read(path: Path, longest: int = 1 << 20) -> list[tuple[str, int]]:
    """(kind or reason, place) of everything in a file."""
    found = list(WarcRecords(str(path), longest))
    return [(item.kind if isinstance(item, WarcRecord) else item.reason, item.place) for item in found]


def places(parts: list[bytes]) -> list[int]:
    return [sum(map(len, parts[:number])) for number in range(len(parts))]


@pytest.mark.parametrize("packed", [False, True])
def test_every_record_comes_whole_with_its_place(tmp_path: Path, packed: bool) -> None:
    chance = random.Random(1)
    bodies = [chance.randbytes(chance.choice([3, 700, 3_000_000])) for _ in range(25)]
    records = [record(number, body) for number, body in enumerate(bodies)]
    parts = [gzip.compress(data) for data in records] if packed else records
    path = write(tmp_path / ("a.warc.gz" if packed else "a.warc"), b"".join(parts))
    found = list(WarcRecords(str(path), 4_000_000))
    assert all(isinstance(item, WarcRecord) for item in found)
    assert [item.place for item in found] == places(parts)
    assert [item.data + b"\r\n\r\n" for item in found if isinstance(item, WarcRecord)] == records


def test_a_file_compressed_as_a_whole_is_read_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.warc.gz", gzip.compress(record(1) + record(2, kind="request") + record(3)))
    assert [kind for kind, _ in read(path)] == ["response", "request", "response"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_record_that_is_too_long_is_passed_over(tmp_path: Path, packed: bool) -> None:
    records = [record(1), record(2, b"x" * 5_000_000), record(3)]
    parts = [gzip.compress(data) for data in records] if packed else records
    path = write(tmp_path / ("a.warc.gz" if packed else "a.warc"), b"".join(parts))
    assert read(path, 1000) == list(zip(["response", "record_too_long", "response"], places(parts), strict=True))


def test_behind_a_damaged_member_reading_goes_on(tmp_path: Path) -> None:
    parts = [gzip.compress(record(number, random.Random(number).randbytes(5000))) for number in range(6)]
    start = places(parts)
    damaged = parts[2][:2000] + bytes(40) + parts[2][2040:]
    found = read(write(tmp_path / "a.warc.gz", b"".join([*parts[:2], damaged, *parts[3:]])))
    assert [kind for kind, _ in found] == ["response"] * 2 + ["corrupt_file"] + ["response"] * 3
    assert [place for _, place in found] == start


def test_a_truncated_file_gives_its_records_and_says_where_it_breaks(tmp_path: Path) -> None:
    parts = [gzip.compress(record(number, b"%d" % number * 3000)) for number in range(3)]
    whole = b"".join(parts)
    assert read(write(tmp_path / "a.warc.gz", whole[:-10])) == [
        ("response", 0),
        ("response", len(parts[0])),
        ("truncated_file", len(parts[0]) + len(parts[1])),
    ]
    plain = record(1) + record(2)
    assert read(write(tmp_path / "b.warc", plain[:-8])) == [("response", 0), ("truncated_file", len(record(1)))]


def test_a_record_shorter_than_it_says_does_not_swallow_the_next_members(tmp_path: Path) -> None:
    parts = [
        gzip.compress(data)
        for data in (record(1), record(2, length=9000), record(3), record(4, length=10**12), record(5))
    ]
    path = write(tmp_path / "a.warc.gz", b"".join(parts))
    reasons = ["response", "truncated_record", "response", "record_too_long", "response"]
    assert read(path) == list(zip(reasons, places(parts), strict=True))


def test_what_is_no_record_is_one_row_and_reading_goes_on_behind_it(tmp_path: Path) -> None:
    junk = b"not a record\nneither\n" * 200_000
    headless = b"WARC/1.0\r\nWARC-Type: response\r\n\r\nno length\r\n\r\n"
    path = write(tmp_path / "a.warc", record(1) + junk + record(2) + headless + record(3))
    first = len(record(1))
    assert read(path) == [
        ("response", 0),
        ("malformed_record", first),
        ("response", first + len(junk)),
        ("malformed_record", first + len(junk) + len(record(2))),
        ("response", first + len(junk) + len(record(2)) + len(headless)),
    ]


def test_a_header_without_end_is_no_record(tmp_path: Path) -> None:
    path = write(tmp_path / "a.warc", b"WARC/1.0\r\n" + b"X: y\r\n" * 200_000 + b"\r\n" + record(1))
    assert [kind for kind, _ in read(path)] == ["malformed_record", "response"]


def test_a_file_of_something_else_is_one_bad_record(tmp_path: Path) -> None:
    (found,) = WarcRecords(str(write(tmp_path / "a.warc", "hello\n" * 1000)), 1000)
    assert isinstance(found, BadWarcRecord)
    assert found.reason == "malformed_record"
    assert list(WarcRecords(str(write(tmp_path / "b.warc", "")), 1000)) == []


def test_damage_without_end_is_followed_so_far_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.formats.warc_records.MOST_FAULTS", 5)
    member = bytearray(gzip.compress(record(1, random.Random(2).randbytes(500))))
    member[-6] ^= 1
    found = read(write(tmp_path / "a.warc.gz", bytes(member) * 20))
    assert [kind for kind, _ in found] == ["corrupt_file"] * 5
