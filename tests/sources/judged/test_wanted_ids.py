"""Finding wanted ids."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.judged.wanted_ids import WantedIds, distinct, pair_hashes

IDS = st.lists(st.text(st.sampled_from("ab0é#"), max_size=4), max_size=30)


@settings(deadline=None)
@given(wanted=st.lists(st.text(st.sampled_from("ab0é#"), max_size=4), unique=True, max_size=30), asked=IDS)
def test_each_wanted_id_is_found_by_its_number_and_no_other(wanted: list[str], asked: list[str]) -> None:
    numbers = {name: number for number, name in enumerate(wanted)}
    sliced = pa.array(["x", *asked, "y"]).slice(1, len(asked))
    found = WantedIds(pa.array(wanted, pa.string())).find(sliced)
    assert found.tolist() == [numbers.get(name, -1) for name in asked]


def test_ids_that_differ_beyond_a_thousand_bytes_are_told_apart() -> None:
    long = "x" * 3000
    wanted = WantedIds(pa.array([long + "a", long + "b"]))
    assert wanted.find(pa.array([long + "b", long, long + "c"])).tolist() == [1, -1, -1]


def test_an_id_that_only_shares_the_hash_is_not_taken_for_a_wanted_one() -> None:
    wanted = WantedIds(pa.array(["one", "two"]))
    wanted.ids = pa.array(["one", "other"])  # as if "two" and "other" had one hash
    assert wanted.find(pa.array(["two", "one"])).tolist() == [-1, 0]


@settings(deadline=None)
@given(parts=st.lists(IDS, max_size=4))
def test_distinct_ids_keep_the_order_of_their_first_appearance(parts: list[list[str]]) -> None:
    every = [name for part in parts for name in part]
    expected = list(dict.fromkeys(every))
    ids, numbers = distinct(pa.chunked_array([pa.array(part, pa.string()) for part in parts], pa.string()))
    assert ids.to_pylist() == expected
    assert numbers.tolist() == [expected.index(name) for name in every]


def test_ids_of_one_hash_are_still_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.judged.wanted_ids._hash", lambda ids: np.zeros(len(ids), np.uint64))
    ids, numbers = distinct(pa.chunked_array([["a", "b", "a"]]))
    assert (ids.to_pylist(), numbers.tolist()) == (["a", "b"], [0, 1, 0])


def test_rows_of_two_ids_hash_alike_only_where_both_are_the_same() -> None:
    first, second = pa.array(["a", "a", "b", "ab", "a"]), pa.array(["b", "b", "a", "", "bb"])
    hashes = pair_hashes(first, second).tolist()
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4
