"""Texts in a temporary file."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.files.stored_texts import StoredTexts

COUNT = 20
TEXT = st.one_of(st.none(), st.text(st.sampled_from("aé𝄞\n"), max_size=5), st.just("long " * 500))


@settings(deadline=None)
@given(
    additions=st.lists(st.lists(st.tuples(st.integers(0, COUNT - 1), TEXT), min_size=1, max_size=8), max_size=6),
    asked=st.lists(st.integers(0, COUNT - 1), max_size=30),
)
def test_any_texts_can_be_taken_in_any_order_and_the_first_of_a_number_counts(
    additions: list[list[tuple[int, str | None]]], asked: list[int]
) -> None:
    stored = StoredTexts(COUNT)
    expected: dict[int, str] = {}
    for addition in additions:
        stored.add(np.array([number for number, _ in addition]), pa.array([text for _, text in addition], pa.string()))
        for number, text in addition:
            expected.setdefault(number, text or "")
    taken = stored.take(np.array(asked, np.int32))
    taken.validate(full=True)
    assert taken.to_pylist() == [expected.get(number) for number in asked]
    assert stored.sizes().tolist() == [len(expected.get(number, "").encode()) for number in range(COUNT)]
    assert stored.missing.tolist() == [number not in expected for number in range(COUNT)]


def test_nothing_stored_is_nothing_taken() -> None:
    assert StoredTexts(2).take(np.array([1, 0])).to_pylist() == [None, None]
    assert StoredTexts(0).take(np.zeros(0, np.int64)).to_pylist() == []
