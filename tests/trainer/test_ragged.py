import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from trainer.ragged import Ragged, ranges

LISTS = st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=6)


@given(LISTS, st.data())
def test_taking_lists_is_what_it_is_in_python(lists, data):
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8)) if lists else []
    taken = Ragged.of(lists).take(np.array(rows, np.int64))
    assert taken.lists() == [lists[row] for row in rows]
    assert taken.offsets[0] == 0


@given(LISTS)
def test_lists_survive_arrow_and_grouping_by_owner(lists):
    ragged = Ragged.of(lists)
    assert Ragged.of_arrow(ragged.arrow(pa.int64())).lists() == lists
    assert Ragged.grouped(ragged.owners, ragged.values, len(ragged)).lists() == lists
    assert ragged.owners.tolist() == [number for number, each in enumerate(lists) for _ in each]


def test_a_null_list_is_an_empty_one_and_slices_mean_what_they_show():
    lists = pa.array([[9], [1, 2], None, [3]], pa.list_(pa.int64()))
    assert Ragged.of_arrow(lists.slice(1)).lists() == [[1, 2], [], [3]]
    assert Ragged.of_arrow(pa.chunked_array([lists.slice(0, 2), lists.slice(3)])).lists() == [[9], [1, 2], [3]]


def test_lists_are_padded_to_the_longest_of_those_asked_for():
    matrix, lengths = Ragged.of([[1], [2, 3], [4, 5, 6]]).padded(np.array([1, 0]), -1)
    assert matrix.tolist() == [[2, 3], [1, -1]]
    assert lengths.tolist() == [2, 1]
    assert Ragged.empty(2).matrix(-1).shape == (2, 0)


def test_ranges_are_the_numbers_from_each_start():
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
