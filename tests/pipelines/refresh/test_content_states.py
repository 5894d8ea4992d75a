"""Whether a file changed is told by its bytes, and its bytes are read no more often than that takes."""

import json
import os
from pathlib import Path

import pytest
import xxhash

from pipelines.refresh import content_states
from pipelines.refresh.content_states import ContentStore, watching_hashes
from pipelines.run_folder import RunFolder


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The names of the files whose bytes are read. Files just written count as old."""
    read: list[str] = []
    whole = content_states._hashed_once

    def counted(path, counter):
        read.append(Path(path).name)
        return whole(path, counter)

    monkeypatch.setattr(content_states, "_hashed_once", counted)
    monkeypatch.setattr(content_states, "_UNSURE_NS", 0)
    return read


def states(folder: Path, *names: str) -> dict[str, tuple[int, str]]:
    store = ContentStore(RunFolder(str(folder / "run")), "extract")
    found = store.read([str(folder / name) for name in names])
    store.save()
    return {Path(path).name: state for path, state in found.items()}


def test_the_state_is_the_size_and_the_hash_of_the_bytes(tmp_path, reads):
    big = os.urandom(content_states._BLOCK + 17)
    (tmp_path / "a.txt").write_bytes("Straße 東京 мост".encode())
    (tmp_path / "b.bin").write_bytes(big)
    (tmp_path / "empty").touch()
    assert states(tmp_path, "a.txt", "b.bin", "empty") == {
        "a.txt": (23, xxhash.xxh3_128_hexdigest("Straße 東京 мост".encode())),
        "b.bin": (len(big), xxhash.xxh3_128_hexdigest(big)),
        "empty": (0, xxhash.xxh3_128_hexdigest(b"")),
    }


def test_a_file_is_read_once_while_its_size_and_times_stay(tmp_path, reads):
    (tmp_path / "a").write_text("one")
    first = states(tmp_path, "a")
    assert states(tmp_path, "a") == first
    assert reads == ["a"]


def test_a_touched_file_is_read_again_and_is_the_same(tmp_path, reads):
    (tmp_path / "a").write_text("one")
    first = states(tmp_path, "a")
    os.utime(tmp_path / "a", (10**9, 10**9))
    assert states(tmp_path, "a") == first
    assert reads == ["a", "a"]


def test_other_bytes_of_the_same_size_and_time_are_another_file(tmp_path, reads):
    (tmp_path / "a").write_text("one")
    os.utime(tmp_path / "a", (10**9, 10**9))
    first = states(tmp_path, "a")
    (tmp_path / "a").write_text("two")
    os.utime(tmp_path / "a", (10**9, 10**9))
    assert states(tmp_path, "a") != first


def test_a_file_written_just_before_it_was_read_is_not_trusted_yet(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(content_states, "_UNSURE_NS", 10**12)
    (tmp_path / "a").write_text("one")
    states(tmp_path, "a")
    states(tmp_path, "a")
    assert reads == ["a", "a"]


def test_files_that_are_no_longer_asked_for_are_forgotten(tmp_path, reads):
    for name in "ab":
        (tmp_path / name).write_text(name)
    states(tmp_path, "a", "b")
    states(tmp_path, "a")
    kept = json.loads((tmp_path / "run/refresh/content-extract.json").read_text())
    assert list(kept["files"]) == [str(tmp_path / "a")]


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", '{"version": 1}', '{"version": 9, "files": {}}', "\x00\xff", "OTHER"]
)
def test_a_broken_store_is_made_anew(tmp_path, reads, broken):
    (tmp_path / "a").write_text("one")
    first = states(tmp_path, "a")
    file = tmp_path / "run/refresh/content-extract.json"
    whole = file.read_text()
    file.write_text(broken if broken != "OTHER" else whole.replace("[3,", '["3",'))
    assert states(tmp_path, "a") == first
    assert reads == ["a", "a"]
    assert states(tmp_path, "a") == first
    assert reads == ["a", "a"]


def test_what_is_no_regular_local_file_is_left_out(tmp_path, reads):
    (tmp_path / "folder").mkdir()
    store = ContentStore(RunFolder(str(tmp_path / "run")), "extract")
    assert store.read([str(tmp_path / "folder"), str(tmp_path / "none"), "memory://a", "gs://b/c"]) == {}
    store.save()
    assert not (tmp_path / "run").exists()


def test_long_reading_is_told_and_a_look_alone_keeps_nothing(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(content_states, "_BEAT_SECONDS", 0)
    (tmp_path / "a").write_bytes(bytes(2 * content_states._BLOCK))
    told = []
    with watching_hashes(lambda done, total: told.append((done, total)), keep=False):
        states(tmp_path, "a")
        states(tmp_path, "a")
    assert reads == ["a"]  # once, though nothing is kept
    total = 2 * content_states._BLOCK
    assert told == [(total // 2, total), (total, total)]
    assert not (tmp_path / "run").exists()


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("one")
    whole, times = content_states._hashed_once, []

    def changing(path, counter):
        found = whole(path, counter)
        if not times:
            Path(path).write_text("three")
        times.append(1)
        return found

    monkeypatch.setattr(content_states, "_hashed_once", changing)
    assert states(tmp_path, "a")["a"] == (5, xxhash.xxh3_128_hexdigest(b"three"))
