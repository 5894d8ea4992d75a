"""The edit distance and the buckets against plain Python."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.near_duplicate_loops import cut_buckets, edit_distance, hash_numbers, shared_keys

TEXTS = st.text("abc", max_size=14)


def levenshtein(left, right):
    """The whole table, by its definition."""
    above = list(range(len(right) + 1))
    for line, one in enumerate(left, 1):
        row = [line]
        for column, other in enumerate(right, 1):
            row.append(min(above[column - 1] + (one != other), above[column] + 1, row[-1] + 1))
        above = row
    return above[-1]


def codes(text):
    return np.array([ord(character) for character in text], np.int64)


@settings(deadline=None, max_examples=400)  # the first call compiles
@given(TEXTS, TEXTS, st.integers(0, 14))
def test_the_edit_distance_is_levenshteins_up_to_the_most_asked_for(left, right, most):
    space = np.full(2 * len(right) + 2, 99, np.int64)  # what an earlier call left there
    found = edit_distance(codes(left), len(left), codes(right), len(right), most, space)
    assert min(found, most + 1) == min(levenshtein(left, right), most + 1)


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=60))
def test_every_row_that_shares_its_key_is_found_and_buckets_hold_what_shares_one(numbers):
    keys = np.array(numbers, np.uint64)
    shared = shared_keys(keys)
    assert {row for row in range(len(keys)) if numbers.count(numbers[row]) > 1} <= set(shared.tolist())
    shared = shared[np.argsort(keys[shared])]
    starts = cut_buckets(keys[shared], shared)
    buckets = [shared[start:end].tolist() for start, end in pairwise(starts)]
    assert all(bucket == sorted(bucket) for bucket in buckets)
    assert all(len({numbers[row] for row in bucket}) == 1 for bucket in buckets)
    assert len({numbers[bucket[0]] for bucket in buckets}) == len(buckets)


def test_texts_with_the_same_numbers_share_a_key():
    texts = [b"1998 and 11", b"in 1998: 11", b"199811", b"11 1998", b"1998 and 12", b"none", b""]
    bounds = np.cumsum([0, *map(len, texts)])
    keys = hash_numbers(bounds, np.frombuffer(b"".join(texts), np.uint8)).tolist()
    assert keys[0] == keys[1]
    assert keys[5] == keys[6]
    assert len(set(keys)) == 5
    assert [key & 255 for key in keys] == [2, 2, 1, 2, 2, 0, 0]
