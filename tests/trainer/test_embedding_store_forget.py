import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.embedding_store import EmbeddingStore, EmbeddingStoreError

DIMENSION = 4


def keys_of(numbers):
    """Two numbers a key; several share their second half."""
    return np.array([[number, number // 3] for number in numbers], np.uint64).reshape(-1, 2)


def vectors_of(numbers):
    return np.array([[number] * DIMENSION for number in numbers], np.float16).reshape(-1, DIMENSION)


@given(
    st.lists(st.sets(st.integers(0, 60), max_size=20), max_size=4),
    st.sets(st.integers(0, 60), max_size=40),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_what_is_forgotten_is_gone_and_all_else_is_as_it_was(tmp_path_factory, groups, forgotten, in_two_spaces):
    store = EmbeddingStore(tmp_path_factory.mktemp("store"))
    spaces = [store.space({"model": name}, DIMENSION) for name in ("a", "b")[: 1 + in_two_spaces]]
    for space in spaces:
        for group in groups:
            space.add(keys_of(sorted(group)), vectors_of(sorted(group)))
    gone = store.forget(keys_of(sorted(forgotten)))
    # Segments are named by content: equal groups are one.
    distinct = {frozenset(group) for group in groups}
    assert gone == len(spaces) * sum(len(group & forgotten) for group in distinct)
    for space in spaces:
        everything = sorted(set().union(*groups)) if groups else []
        vectors, found = space.reader().lookup(keys_of(everything))
        assert [number for number, is_there in zip(everything, found, strict=True) if is_there] == sorted(
            set(everything) - forgotten
        )
        assert (vectors[found] == vectors_of(sorted(set(everything) - forgotten))).all()
    assert store.verify() == []
    assert store.forget(keys_of(sorted(forgotten))) == 0


def test_no_bytes_of_a_forgotten_vector_are_left_in_any_file(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.space({"model": "a"}, DIMENSION).add(keys_of([1, 2, 3]), vectors_of([1, 2, 3]))
    store.forget(keys_of([2]))
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(vectors_of([2]).tobytes() in content or keys_of([2]).tobytes() in content for content in files)
    assert any(vectors_of([3]).tobytes() in content for content in files)


def test_a_store_that_another_job_reads_is_not_touched(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.space({"model": "a"}, DIMENSION).add(keys_of([1]), vectors_of([1]))
    store.begin_use(tidy=False)
    with pytest.raises(EmbeddingStoreError, match="in use by another run"):
        EmbeddingStore(tmp_path).forget(keys_of([1]))


def test_a_store_that_was_never_made_has_nothing_to_forget(tmp_path):
    assert EmbeddingStore(tmp_path / "none").forget(keys_of([1])) == 0
    assert not (tmp_path / "none").exists()
