"""Members of archives, read as files."""

import bz2
import gzip
import io
import lzma
import random
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from sources.files import archive_member, tar_bytes, zip_archive
from sources.files.archives import member_path, split_member
from sources.files.reading import (
    ByteStream,
    LineReader,
    base_name,
    byte_splits,
    expand_paths,
    is_compressed,
    open_stored,
    stored_size,
)
from sources.source import SourceError, Split
from tests.sources.reading_all import Everything, write

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lambda data: lzma.compress(data, preset=0),
    ".tar.zst": zstandard.ZstdCompressor().compress,
}
TAR_ENDINGS = pytest.mark.parametrize("ending", COMPRESS)
METHODS = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2}


def noise(size: int, seed: int = 7) -> bytes:
    """Lines that do not compress well."""
    source = random.Random(seed)
    return b"\n".join(source.randbytes(40).hex().encode() for _ in range(size // 81)) + b"\n"


def tar_of(members: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=format) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def read(path: str) -> bytes:
    stream = ByteStream(path)
    data = b"".join(stream)
    assert stream.fault is None
    return data


def read_to_fault(path: str) -> tuple[bytes, str]:
    stream = ByteStream(path)
    data = b"".join(stream)
    assert stream.fault is not None
    return data, stream.fault.reason


MEMBERS = {"en/a.txt": noise(300_000, 1), "de/b.txt": noise(200_000, 2), "empty.txt": b"", "c.txt": b"one\ntwo\n"}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_zip_becomes_its_members(tmp_path: Path, method: int) -> None:
    archive = write_zip(tmp_path / "a.zip", MEMBERS | {"folder/": b""}, method)
    paths = expand_paths([str(archive)])
    assert paths == sorted(f"{archive}!/{name}" for name in MEMBERS)
    assert {path.partition("!/")[2]: read(path) for path in paths} == MEMBERS


@TAR_ENDINGS
@pytest.mark.parametrize("order", ["archive", "sorted", "backwards"])
def test_a_tar_becomes_its_members_in_any_order(tmp_path: Path, ending: str, order: str) -> None:
    archive = write(tmp_path / f"a{ending}", COMPRESS[ending](tar_of(MEMBERS)))
    paths = [member_path(str(archive), name) for name in MEMBERS]
    assert expand_paths([str(archive)]) == sorted(paths)
    paths = {"archive": paths, "sorted": sorted(paths), "backwards": paths[::-1]}[order]
    assert {path.partition("!/")[2]: read(path) for path in paths} == MEMBERS


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read_in_all_formats_of_tar(tmp_path: Path, format: int) -> None:
    long = "/".join(["f" * 60] * 3) + "/a.txt"
    members = {long: b"long", "ü.txt": b"umlaut"} if format != tarfile.USTAR_FORMAT else {long: b"long"}
    archive = write(tmp_path / "a.tar", tar_of(members, format))
    assert {path.partition("!/")[2]: read(path) for path in expand_paths([str(archive)])} == members


def test_reading_a_gzipped_tar_in_any_order_decompresses_it_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_bytes, "SPACING", 1 << 16)
    members = {f"{number:02d}.txt": noise(400_000, number) for number in range(20)}
    archive = write(tmp_path / "a.tar.gz", gzip.compress(tar_of(members), 1))
    given = 0
    chunks = tar_bytes.DecompressedBytes.__iter__

    def counted(stream: tar_bytes.DecompressedBytes):  # type: ignore[no-untyped-def]
        nonlocal given
        for chunk in chunks(stream):
            given += len(chunk)
            yield chunk

    monkeypatch.setattr(tar_bytes.DecompressedBytes, "__iter__", counted)
    names = list(members)
    random.Random(5).shuffle(names)
    for name in names:
        assert read(member_path(str(archive), name)) == members[name]
    assert given < 5 * sum(map(len, members.values()))  # twenty passes would be 20 times as much


def test_states_that_are_kept_of_a_tar_stay_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_bytes, "SPACING", 1 << 10)
    monkeypatch.setattr(tar_bytes, "MOST_STATES", 8)
    members = {f"{number:03d}.txt": noise(100_000, number) for number in range(60)}
    archive = write(tmp_path / "a.tar.gz", gzip.compress(tar_of(members), 1))
    for path in reversed(expand_paths([str(archive)])):
        assert read(path) == members[path.partition("!/")[2]]


def test_members_keep_their_own_compression_ending_and_place(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"de/x.tsv.gz": gzip.compress(b"one\ttwo\n")})
    (path,) = expand_paths([str(archive)])
    assert read(path) == b"one\ttwo\n"
    assert (base_name(path), is_compressed(path)) == ("x.tsv", True)


def test_members_of_archives_in_memory_are_read() -> None:
    with fsspec.open("memory://folder/a.tar.gz", "wb") as file:
        file.write(gzip.compress(tar_of({"a.txt": b"one"})))
    (path,) = expand_paths(["memory://folder/*.tar.gz"])
    assert path == "memory:///folder/a.tar.gz!/a.txt"
    assert read(path) == b"one"


def test_names_of_members_may_hold_any_character(tmp_path: Path) -> None:
    names = ["100%25!/a b.txt", "a.zip!x\n\t.txt", "*[1]?.txt", "::zip://x.txt", "ü\u200b.txt"]
    archive = write_zip(tmp_path / "a.zip", {name: name.encode() for name in names})
    paths = expand_paths([str(archive)])
    assert sorted(read(path).decode() for path in paths) == sorted(names)
    assert all("\n" not in path for path in paths)
    assert [expand_paths([path]) for path in paths] == [[path] for path in paths]


def test_a_name_of_a_tar_that_is_no_utf8_can_be_shown_and_read(tmp_path: Path) -> None:
    archive = write(tmp_path / "a.tar", tar_of({"b\udce4r.txt": b"bear"}, tarfile.GNU_FORMAT))
    (path,) = expand_paths([str(archive)])
    assert path.endswith("!/b%E4r.txt")
    assert read(path) == b"bear"


def test_patterns_choose_members(tmp_path: Path) -> None:
    members = {"a.en": b"x", "d/b.en": b"y", "a.de": b"z", "_h/c.en": b"h", "__MACOSX/d": b"", ".hid": b""}
    archive = write_zip(tmp_path / "a.zip", members)

    def found(pattern: str) -> list[str]:
        return [path.partition("!/")[2] for path in expand_paths([pattern])]

    assert found(str(archive)) == ["a.de", "a.en", "d/b.en"]
    assert found(f"zip://*.en::{archive}") == found(f"{archive}!/*.en") == ["_h/c.en", "a.en", "d/b.en"]
    assert found(f"{archive}!/_h/c.en") == ["_h/c.en"]
    assert found(f"{tmp_path}") == ["a.de", "a.en", "d/b.en"]
    assert found(f"zip://*.de::{tmp_path}/*.zip") == ["a.de"]
    with pytest.raises(SourceError, match=r"no member matches .*\*\.fr"):
        expand_paths([f"{archive}!/*.fr"])


def test_a_member_is_one_split_unless_it_is_stored_as_it_is(tmp_path: Path) -> None:
    text = noise(200_000)
    deflated = str(write_zip(tmp_path / "a.zip", {"a.txt": text})) + "!/a.txt"
    assert byte_splits(deflated, 10_000) == [Split(deflated, size=len(text))]
    assert stored_size(deflated) is None
    stored = str(write_zip(tmp_path / "b.zip", {"a.txt": text}, zipfile.ZIP_STORED)) + "!/a.txt"
    splits = byte_splits(stored, 50_000)
    assert len(splits) == 4
    lines = [line for split in splits for block in LineReader(split) for line in block.lines]  # type: ignore[union-attr]
    assert b"\n".join(lines) + b"\n" == text
    assert stored_size(stored) == len(text)


def test_a_member_can_be_sought_in_either_direction(tmp_path: Path) -> None:
    text = noise(3_000_000)
    for archive in (
        write_zip(tmp_path / "a.zip", {"a": text}),
        write(tmp_path / "a.tgz", gzip.compress(tar_of({"a": text}))),
    ):
        with open_stored(f"{archive}!/a") as file:
            assert file.seek(0, 2) == len(text)
            assert file.read(1) == b""
            for place in (2_500_000, 10, 10, 1_100_000, 0, len(text) - 3):
                file.seek(place)
                assert file.read(5) == text[place : place + 5]


def test_parquet_in_an_archive_is_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    rows = [{"query": f"q{number}", "positive": f"p{number}"} for number in range(5000)]
    pq.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=500)
    archive = write_zip(tmp_path / "a.zip", {"a.parquet": buffer.getvalue()})
    found = Everything("table", f"{archive}!/a.parquet")
    assert found.sides == [(row["query"], row["positive"]) for row in rows]


# Damage


def test_a_wrong_checksum_comes_after_all_bytes(tmp_path: Path) -> None:
    text = noise(100_000)
    archive = write_zip(tmp_path / "a.zip", {"a.txt": text}, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    data[1000] ^= 1
    archive.write_bytes(data)
    given, reason = read_to_fault(f"{archive}!/a.txt")
    assert len(given) == len(text)
    assert reason == "corrupt_file"


@pytest.mark.parametrize("seed", range(5))
def test_damage_inside_of_a_deflated_member_costs_what_follows_it(tmp_path: Path, seed: int) -> None:
    text = noise(2_000_000)
    archive = write_zip(tmp_path / "a.zip", {"a.txt": text, "b.txt": b"whole"})
    data = bytearray(archive.read_bytes())
    for place in random.Random(seed).sample(range(600_000, 600_100), 20):
        data[place] ^= 0xFF
    archive.write_bytes(data)
    given, reason = read_to_fault(f"{archive}!/a.txt")
    assert text[:900_000] == given[:900_000]
    assert reason == "corrupt_file"
    assert read(f"{archive}!/b.txt") == b"whole"


def test_the_line_before_damage_is_quarantined_with_its_reason(tmp_path: Path) -> None:
    lines = b"".join(b'{"query": "q%d", "positive": "p%d"}\n' % (number, number) for number in range(1000))
    archive = write_zip(tmp_path / "a.zip", {"a.jsonl": lines}, zipfile.ZIP_STORED)
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b'"q500"', b'"Q500"', 1))
    found = Everything("jsonl", f"{archive}!/a.jsonl")
    assert len(found.pairs) == 1000
    assert [reason for _, _, reason in found.reasons] == ["corrupt_file"]


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"])
def test_a_truncated_tar_gives_the_members_before_and_what_there_is_of_the_last(tmp_path: Path, ending: str) -> None:
    members = {"a.txt": noise(1_000_000, 1), "b.txt": noise(2_500_000, 2), "c.txt": b"lost"}
    packed = COMPRESS[ending](tar_of(members))
    archive = write(tmp_path / f"a{ending}", packed[: int(len(packed) * 0.75)])
    paths = expand_paths([str(archive)])
    assert [path.partition("!/")[2] for path in paths] == ["a.txt", "b.txt"]
    assert read(paths[0]) == members["a.txt"]
    given, reason = read_to_fault(paths[1])
    assert members["b.txt"].startswith(given)
    assert len(given) > 500_000
    assert reason == "truncated_file"


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_damage_between_members_is_told_with_the_one_before(tmp_path: Path, ending: str) -> None:
    data = bytearray(tar_of({"a.txt": b"a" * 512, "b.txt": b"b" * 512, "c.txt": b"c" * 512}))
    data[2 * 1024 + 10] ^= 0xFF  # in the header of c.txt: two members of a header and a block before it
    archive = write(tmp_path / f"a{ending}", COMPRESS[ending](bytes(data)))
    paths = expand_paths([str(archive)])
    assert len(paths) == 2
    assert read(paths[0]) == b"a" * 512
    stream = ByteStream(paths[1])
    assert b"".join(stream) == b"b" * 512
    assert stream.fault is not None
    assert "what follows is lost" in stream.fault.detail


def test_archives_that_are_none_are_refused(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar", "a.tar.gz"):
        path = write(tmp_path / name, b"no archive at all, and long enough to be looked at" * 20)
        with pytest.raises(SourceError, match=name):
            expand_paths([str(path)])
    cut = write_zip(tmp_path / "cut.zip", MEMBERS)
    cut.write_bytes(cut.read_bytes()[:-30])
    with pytest.raises(SourceError, match=r"cut.zip: no zip archive, or one that is cut off"):
        expand_paths([str(cut)])


@pytest.mark.parametrize("name", ["a.7z", "a.rar", "A.RAR"])
def test_archives_of_other_kinds_are_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, b"7z")
    with pytest.raises(SourceError, match="unpack it first"):
        expand_paths([str(tmp_path / name)])


# What is refused


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.txt", "a/../../up.txt", "C:\\x.txt", "a\\..\\b.txt"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    for archive in (write_zip(tmp_path / "a.zip", {name: b"x"}), write(tmp_path / "a.tar", tar_of({name: b"x"}))):
        with pytest.raises(SourceError, match=r"a\.(zip|tar): member .* (absolute name|with `\.\.`)"):
            expand_paths([str(archive)])


@pytest.mark.parametrize(
    ("kind", "word"),
    [(tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "link"), (tarfile.CHRTYPE, "device"), (tarfile.FIFOTYPE, "pipe")],
)
def test_links_and_devices_of_a_tar_are_refused(tmp_path: Path, kind: bytes, word: str) -> None:
    info = tarfile.TarInfo("odd")
    info.type, info.linkname = kind, "/etc/passwd"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(info)
    path = write(tmp_path / "a.tar", packed.getvalue())
    with pytest.raises(SourceError, match=f"a.tar: member 'odd' is a {word}"):
        expand_paths([str(path)])


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("odd")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(SourceError, match=r"a.zip: member 'odd' is a link"):
        expand_paths([str(tmp_path / "a.zip")])


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"secret.txt": b"x"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(SourceError, match=r"member 'secret.txt' is encrypted"):
        expand_paths([str(archive)])


def test_other_compression_methods_are_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.txt": b"x" * 100}, zipfile.ZIP_LZMA)
    with pytest.raises(SourceError, match=r"member 'a.txt' is compressed by method 14"):
        expand_paths([str(archive)])


def test_archives_inside_of_archives_are_refused_unless_left_out(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"inner.tar.gz": b"x", "a.txt": b"y"})
    with pytest.raises(SourceError, match=r"member 'inner.tar.gz' is an archive inside of an archive"):
        expand_paths([str(archive)])
    assert expand_paths([f"{archive}!/*.txt"]) == [f"{archive}!/a.txt"]


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, pytest.warns(UserWarning):
        archive.writestr("a.txt", "1")
        archive.writestr("a.txt", "2")
    packed = tar_of({"a.txt": b"1"}).rstrip(b"\0").ljust(1024, b"\0") + tar_of({"./a.txt": b"2"})
    write(tmp_path / "a.tar", packed)
    for name in ("a.zip", "a.tar"):
        with pytest.raises(SourceError, match=r"member .*a.txt' is in it twice"):
            expand_paths([str(tmp_path / name)])


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.txt": b"x"})
    data = archive.read_bytes()
    entry = data.index(b"PK\x01\x02")
    changed = bytearray(data[: entry + 46] + data[entry + 51 :])
    changed[entry + 28 : entry + 30] = bytes(2)
    end = changed.index(b"PK\x05\x06")
    changed[end + 12 : end + 16] = struct.pack("<I", end - entry)
    archive.write_bytes(changed)
    for path in (archive, write(tmp_path / "a.tar", tar_of({"": b"x"}))):
        with pytest.raises(SourceError, match="member '' has no name"):
            expand_paths([str(path)])


def test_names_are_shown_without_characters_that_turn_or_clear_a_line(tmp_path: Path) -> None:
    name = "a\x1b[2J\u202e\u2028.txt"
    archive = write_zip(tmp_path / "a.zip", {name: b"x", f"{name}/../b": b"y"})
    with pytest.raises(SourceError) as raised:
        expand_paths([str(archive)])
    assert str(raised.value).isprintable()
    assert "a%1B[2J%E2%80%AE%E2%80%A8.txt" in str(raised.value)


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80" + b"\x7f" * 11, b"77777777777\0"])
def test_a_tar_that_claims_a_member_of_impossible_size_ends_there(tmp_path: Path, size: bytes) -> None:
    data = bytearray(tar_of({"a.txt": b"a" * 512, "b.txt": b"b" * 512}))
    header = data[1024:1536]
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[1024:1536] = header
    path = str(write(tmp_path / "a.tar", data))
    for member in expand_paths([path]):
        assert len(byte_splits(member, 100)) <= 6
        stream = ByteStream(member)
        assert len(b"".join(stream)) <= len(data)
    assert stream.fault is not None
    assert byte_splits(f"{path}!/a.txt", 100)[-1].end == 512


def test_damage_anywhere_is_a_refusal_or_a_fault(tmp_path: Path) -> None:
    chance = random.Random(11)
    members = {"en/a.txt": noise(3000, 1), "b.txt": b"one\n", "x" * 120 + ".txt": b"long"}
    for number in range(300):
        ending = chance.choice([".zip", ".tar", ".tar.gz"])
        if ending == ".zip":
            write_zip(tmp_path / "a.zip", members, chance.choice(list(METHODS.values())))
            data = bytearray((tmp_path / "a.zip").read_bytes())
        else:
            data = bytearray(tar_of(members, chance.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])))
        first = max(0, data.find(b"PK\x01\x02")) if chance.random() < 0.5 else 0
        for _ in range(chance.choice([1, 3])):
            data[chance.randrange(first, len(data))] = chance.choice([0, 255, chance.randrange(256)])
        if ending == ".tar":
            _mend_checksums(data)
        path = write(tmp_path / f"{number}{ending}", gzip.compress(data) if ending == ".tar.gz" else data)
        try:
            for member in expand_paths([str(path)]):
                for split in byte_splits(member, 1000):
                    assert len(b"".join(ByteStream(member, split.start, split.end))) <= 1 << 20
        except SourceError as error:
            assert str(error).startswith(str(path))


def _mend_checksums(data: bytearray) -> None:
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {f"{number}.txt": b"" for number in range(11)}
    monkeypatch.setattr(zip_archive, "MOST_MEMBERS", 10)
    monkeypatch.setattr("sources.files.tar_archive.MOST_MEMBERS", 10)
    for path in (write_zip(tmp_path / "a.zip", members), write(tmp_path / "a.tar", tar_of(members))):
        with pytest.raises(SourceError, match="more than"):
            expand_paths([str(path)])


def test_a_zip_whose_member_claims_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "a.zip", {"zeros.txt": bytes(2_000_000)})
    assert read(f"{archive}!/zeros.txt") == bytes(2_000_000)
    monkeypatch.setattr(zip_archive, "SAFE_SIZE", 1_000_000)
    monkeypatch.setattr(zip_archive, "LARGEST_RATIO", 100)
    copy = write(tmp_path / "b.zip", archive.read_bytes())
    with pytest.raises(SourceError, match=r"member 'zeros.txt' claims 2,000,000 bytes of [\d,]+ stored ones"):
        expand_paths([str(copy)])


def test_a_zip_whose_members_share_their_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_archive, "SAFE_SIZE", 1_000_000)
    archive = write_zip(tmp_path / "a.zip", {"a.txt": noise(500_000)})
    data = archive.read_bytes()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entries = b"".join(data[start:end].replace(b"a.txt", b"%05d" % number) for number in range(900))
    tail = bytearray(data[end:])
    tail[8:16] = struct.pack("<HHI", 900, 900, len(entries))
    archive.write_bytes(data[:start] + entries + tail)
    monkeypatch.setattr(zip_archive, "LARGEST_RATIO", 100)
    with pytest.raises(SourceError, match="its members claim"):
        expand_paths([str(archive)])


def test_a_zip_whose_members_overlap_is_refused_however_small(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.txt": noise(5000), "b.txt": noise(5000)}, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    for entry in (data.index(b"PK\x01\x02"), data.rindex(b"PK\x01\x02")):
        data[entry + 20 : entry + 28] = struct.pack("<II", 9000, 9000)  # stored and own size: over the next member
    archive.write_bytes(data)
    with pytest.raises(SourceError, match=r"its members claim 18,000 bytes, 18,000 as they are stored"):
        expand_paths([str(archive)])


def test_a_stored_member_of_another_size_than_its_bytes_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.txt": b"x" * 100}, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 1 << 29)
    archive.write_bytes(data)
    with pytest.raises(SourceError, match=r"member 'a.txt' claims 536,870,912 bytes, not compressed, in 100"):
        expand_paths([str(archive)])


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_a_compressed_member_that_grows_beyond_what_the_archive_stores_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr("sources.files.reading.SAFE_SIZE", 3_000_000)
    bombs = bz2.compress(bytes(1_000_000)) * 60  # alike, so that the archive stores few bytes of them
    if ending == ".zip":
        archive = write_zip(tmp_path / "a.zip", {"zeros.bz2": bombs})
    else:
        archive = write(tmp_path / "a.tar.gz", gzip.compress(tar_of({"zeros.bz2": bombs})))
    given, reason = read_to_fault(f"{archive}!/zeros.bz2")
    assert reason == "decompression_bomb"
    assert len(given) < 20_000_000


def test_a_member_that_gives_more_than_it_claims_ends_there(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.txt": b"0123456789" * 10})
    data = bytearray(archive.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 50)
    archive.write_bytes(data)
    assert read_to_fault(f"{archive}!/a.txt") == (b"0123456789" * 5, "corrupt_file")


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"])
def test_a_tar_that_grows_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(tar_bytes, "SAFE_SIZE", 1_000_000)
    monkeypatch.setattr(tar_bytes, "LARGEST_RATIO", 50)
    path = write(tmp_path / f"a{ending}", COMPRESS[ending](tar_of({"zeros.txt": bytes(40_000_000), "b.txt": b""})))
    with pytest.raises(SourceError, match=r"its first [\d,]+ bytes give"):
        expand_paths([str(path)])


def test_a_member_of_a_tar_that_grows_without_end_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_bytes, "SAFE_SIZE", 2_000_000)
    monkeypatch.setattr(tar_bytes, "LARGEST_RATIO", 50)
    path = write(tmp_path / "b.tar.gz", gzip.compress(tar_of({"zeros.txt": bytes(200_000_000)})))
    given, reason = read_to_fault(member_path(str(path), "zeros.txt"))
    assert len(given) < 50_000_000
    assert reason == "decompression_bomb"


def test_headers_of_hostile_size_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.txt")
    info.pax_headers = {"comment": "x" * (archive_member.SAFE_SIZE >> 9)}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    path = write(tmp_path / "a.tar", packed.getvalue())
    with pytest.raises(SourceError, match="a member's header of"):
        expand_paths([str(path)])


def test_paths_without_members_are_left_alone() -> None:
    assert split_member("/data/corpus.zip") is None
    assert split_member("/data/odd!/name.txt") is None
    assert split_member("/data/a.ZIP!/b/c.zip!/d") == ("/data/a.ZIP", "b/c.zip!/d")
