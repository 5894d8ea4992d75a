import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from synth.answer_cache import Cache, Claim, Limits, Loss, StoredAnswer
from synth.errors import AnswerCacheError

ROOT = Path(__file__).parents[2]
NO_LIMIT = Limits()


def answer(key: str, money: float = 1.0) -> StoredAnswer:
    return StoredAnswer(key, "yes", None, "", "stop", "m", 10, 5, False, money, 0.5, "m")


def claim(cache: Cache, *keys: str, limits: Limits = NO_LIMIT, seconds: float = 60.0) -> list:
    return cache.claim([Claim(key, 100, 2.0) for key in keys], "account", limits, seconds)


def test_a_stored_answer_is_found_by_every_process(tmp_path):
    with closing(Cache(tmp_path / "a")) as one, closing(Cache(tmp_path / "a")) as other:
        assert claim(one, "k") == ["ours"]
        one.settle("account", [answer("k")], [], [])
        assert claim(other, "k") == [answer("k")]
        assert other.look_up(["k", "l"]) == {"k": answer("k")}


def test_a_leased_request_is_somebody_elses_until_it_is_returned(tmp_path):
    with closing(Cache(tmp_path / "a")) as one, closing(Cache(tmp_path / "a")) as other:
        assert claim(one, "k", "l") == ["ours", "ours"]
        assert claim(other, "k", "m") == ["elsewhere", "ours"]
        one.settle("account", [], ["k"], [])
        assert claim(other, "k", "l") == ["ours", "elsewhere"]


def test_a_lease_that_ran_out_is_void_and_its_reserve_is_lost(tmp_path):
    with closing(Cache(tmp_path / "a")) as one, closing(Cache(tmp_path / "a")) as other:
        claim(one, "k", seconds=-1)
        assert claim(other, "k") == ["ours"]
        spent = other.spent("account")
    assert (spent.lost, spent.lost_tokens, spent.lost_money) == (1, 100, 2.0)
    assert (spent.reserved_tokens, spent.reserved_money) == (100, 2.0)


def test_leases_of_a_closed_or_killed_process_are_void(tmp_path):
    killed = (
        "import os, sys; from tests.synth.test_answer_cache import *; "
        "cache = Cache(Path(sys.argv[1])); print(claim(cache, 'k')); sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", killed, str(tmp_path / "a")]
    child = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert child.stdout.strip() == "['ours']"
    with closing(Cache(tmp_path / "a")) as cache:
        assert cache.spent("account").lost == 1
        assert claim(cache, "k") == ["ours"]
    with closing(Cache(tmp_path / "a")) as cache:
        assert cache.spent("account").lost == 2
        assert claim(cache, "k") == ["ours"]
    assert list((tmp_path / "a-owners").iterdir()) == []


def test_the_budget_counts_what_was_paid_lost_and_reserved(tmp_path):
    limits = Limits(money=7.0)
    with closing(Cache(tmp_path / "a")) as one, closing(Cache(tmp_path / "a")) as other:
        assert claim(one, "a", "b", limits=limits) == ["ours", "ours"]  # 4 reserved
        assert claim(other, "c", "d", limits=limits) == ["ours", "denied"]  # 6
        one.settle("account", [answer("a", money=0.5)], ["b"], [Loss(100, 2.0)])  # 0.5 paid, 2 lost, 2 reserved
        assert claim(other, "d", "e", limits=limits) == ["ours", "denied"]  # 6.5
        assert other.spent("account").money_in_all == 6.5
        assert claim(other, "a", "e", limits=Limits(tokens=0)) == [answer("a", money=0.5), "denied"]


def test_accounts_are_apart(tmp_path):
    with closing(Cache(tmp_path / "a")) as cache:
        cache.settle("one", [answer("k", money=3.0)], [], [])
        assert cache.spent("one").money == 3.0
        assert cache.spent("other").money_in_all == 0.0


def test_many_threads_and_caches_take_each_request_once(tmp_path):
    taken: list[str] = []

    def take() -> None:
        with closing(Cache(tmp_path / "a")) as cache:
            for start in range(0, 200, 10):
                keys = [str(number) for number in range(start, start + 10)]
                ours = [key for key, outcome in zip(keys, claim(cache, *keys), strict=True) if outcome == "ours"]
                cache.settle("account", [answer(key) for key in ours], [], [])
                taken.extend(ours)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken, key=int) == [str(number) for number in range(200)]
    with closing(Cache(tmp_path / "a")) as cache:
        spent = cache.spent("account")
    assert (spent.answers, spent.money, spent.reserved_money) == (200, 200.0, 0)


def test_a_file_of_another_kind_is_told(tmp_path):
    (tmp_path / "a").write_text("a diary, not a database" * 100)
    with pytest.raises(AnswerCacheError, match="file of another program"):
        Cache(tmp_path / "a")


def test_a_database_of_another_version_is_told(tmp_path):
    with closing(sqlite3.connect(tmp_path / "a")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(AnswerCacheError, match="layout 99"):
        Cache(tmp_path / "a")


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AnswerCacheError, match="folder that can be written"):
        Cache(tmp_path / "file" / "a")


def test_what_was_claimed_for_a_file_that_was_never_sent_is_not_lost(tmp_path):
    cache = Cache(tmp_path / "a")
    cache.claim([Claim("k", 100, 2.0)], "account", NO_LIMIT, 60.0, at_risk=False)
    cache.close()
    with closing(Cache(tmp_path / "a")) as other:
        assert claim(other, "k") == ["ours"]
        assert other.spent("account").lost == 0


def test_leases_last_as_long_as_they_are_renewed(tmp_path):
    with closing(Cache(tmp_path / "a")) as one, closing(Cache(tmp_path / "a")) as other:
        claim(one, "k", "l", seconds=-1)
        one.renew(60.0)
        assert claim(other, "k", "l") == ["elsewhere", "elsewhere"]


def test_the_time_of_an_answer_is_that_of_the_latest(tmp_path):
    with closing(Cache(tmp_path / "a")) as cache:
        old = [replace(answer(f"old {n}"), seconds=100.0) for n in range(10)]
        cache.settle("account", [*old, *(answer(f"new {n}") for n in range(1000))], [], [])
        assert cache.seconds_of_an_answer("m") == 0.5
