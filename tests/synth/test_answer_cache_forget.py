import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from synth.answer_cache import BatchRow, Cache, Claim
from synth.errors import AnswerCacheError
from tests.synth.test_answer_cache import answer, claim


def test_answers_are_forgotten_by_request_and_by_text_and_leave_no_bytes(tmp_path):
    with closing(Cache(tmp_path / "a")) as cache:
        keys = [f"k{number}" for number in range(200)]
        claim(cache, *keys)
        texts = {"k1": "die Mauer aus Granit", "k2": "the wall", "k3": "a wall of Granit as well"}
        cache.settle("account", [replace(answer(key), text=texts.get(key, "yes")) for key in keys], [], [])
        spent = cache.spent("account")
        assert cache.forget({"k2", "unknown"}, lambda text: b"Granit" in text) == 3
        assert set(cache.look_up(keys)) == set(keys) - {"k1", "k2", "k3"}
        assert cache.spent("account") == spent  # what was paid stays paid
        left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert b"Granit" not in left and b"the wall" not in left
        assert cache.forget({"k2"}) == 0


def test_a_forgotten_request_may_be_asked_again(tmp_path):
    with closing(Cache(tmp_path / "a")) as cache:
        claim(cache, "k")
        cache.settle("account", [answer("k")], [], [])
        cache.forget({"k"})
        assert claim(cache, "k") == ["ours"]


def test_a_process_that_was_killed_before_the_file_was_written_anew_leaves_no_bytes(tmp_path):
    keys = [f"k{number}" for number in range(200)]
    with closing(Cache(tmp_path / "a")) as cache:
        claim(cache, *keys)
        texts = {key: f"die Mauer aus Granit {key} " * 300 for key in keys[:20]}
        cache.settle("account", [replace(answer(key), text=texts.get(key, "yes")) for key in keys], [], [])
        with closing(sqlite3.connect(tmp_path / "a")) as killed, killed:
            killed.execute("DELETE FROM answers WHERE text LIKE '%Granit%'")
        assert any(b"Granit" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert cache.forget(keys[:20]) == 0
        assert [path for path in tmp_path.rglob("*") if path.is_file() and b"Granit" in path.read_bytes()] == []


def test_bytes_that_another_process_reads_still_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("synth.answer_cache._BUSY_SECONDS", 0.1)
    with closing(Cache(tmp_path / "a")) as cache, closing(sqlite3.connect(tmp_path / "a")) as other:
        claim(cache, "k")
        cache.settle("account", [replace(answer("k"), text="die Mauer aus Granit")], [], [])
        other.execute("BEGIN")
        other.execute("SELECT * FROM answers").fetchall()
        with pytest.raises(AnswerCacheError, match="another process reads it"):
            cache.forget({"k"})
        other.rollback()
        assert cache.forget({"k"}) == 0
        assert [path for path in tmp_path.rglob("*") if path.is_file() and b"Granit" in path.read_bytes()] == []


def test_an_answer_that_a_batch_brings_later_is_not_kept(tmp_path):
    with closing(Cache(tmp_path / "a")) as cache:
        claim(cache, "forgotten", "other")
        row = BatchRow("b", str(tmp_path / "b.jsonl"), "server", "submitted", "file", "batch", 2)
        cache.add_batch(row, [Claim(key, 100, 2.0) for key in ("forgotten", "other")], "account")
        assert cache.forget({"forgotten"}) == 0
        kept = cache.settle_batch("b", "account", [answer("forgotten"), answer("other")])
        assert [each.key for each in kept] == ["other"]
        assert cache.look_up(["forgotten"]) == {}
        assert (cache.spent("account").lost, cache.spent("account").lost_money) == (1, 2.0)
