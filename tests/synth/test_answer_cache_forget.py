from contextlib import closing
from dataclasses import replace

from synth.answer_cache import Cache
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
