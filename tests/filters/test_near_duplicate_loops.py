"""The edit distance and the buckets against plain Python."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.near_duplicate_loops import (
    BITS,
    LENGTH,
    class_distance,
    cut_buckets,
    edit_distance,
    equal_bits,
    hash_bytes,
    hash_numbers,
    least_edits,
    put_facts,
    shared_keys,
)

TEXTS = st.text("abc", max_size=14)


# Around the borders of the words of 64 bits that the table is computed in.
LONG = st.sampled_from([63, 64, 65, 127, 128, 129, 200]).flatmap(lambda n: st.text("abcd中文", min_size=n, max_size=n))


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


@settings(deadline=None, max_examples=300)
@given(st.text("abcd中文", min_size=1, max_size=64), st.text("abcd中文", max_size=90), st.integers(0, 90))
def test_the_distance_of_classes_is_the_edit_distance_up_to_the_most_asked_for(left, right, most):
    found = class_distance(codes(left), codes(right), most)
    assert min(found, most + 1) == min(levenshtein(left, right), most + 1)


@settings(deadline=None, max_examples=100)
@given(
    LONG, st.lists(st.tuples(st.integers(0, 199), st.sampled_from(["", "b", "cc"])), max_size=30), st.integers(0, 40)
)
def test_the_distance_of_classes_of_longer_texts_is_the_edit_distance(left, edits, most):
    right = list(left)
    for place, replacement in edits:
        right[place % len(right)] = replacement
    right = "".join(right)
    found = class_distance(codes(left), codes(right), most)
    assert min(found, most + 1) == min(levenshtein(left, right), most + 1)


@settings(deadline=None)
@given(st.text("abÂáāŁ", min_size=1, max_size=64), st.text("abÂáāŁ", max_size=70))
def test_the_distance_of_classes_is_no_more_than_the_edit_distance(left, right):
    assert class_distance(codes(left), codes(right), 100) <= levenshtein(left, right)


@settings(deadline=None, max_examples=200)
@given(st.text("ab ", min_size=50, max_size=90), st.lists(st.integers(0, 49), max_size=12), st.integers(0, 14))
def test_the_edit_distance_of_longer_texts_is_levenshteins(left, places, most):
    right = list(left)
    for place in places:
        right[place] = "x" if place % 2 else ""
    right = "".join(right)
    space = np.empty(2 * len(right) + 2, np.int64)
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


def facts_of(*texts):
    encoded = [text.encode() for text in texts]
    bounds, data = np.cumsum([0, *map(len, encoded)]), np.frombuffer(b"".join(encoded), np.uint8)
    facts = np.full((len(texts), BITS + 2), 99, np.uint64)
    put_facts(np.zeros((len(texts), 128), np.uint8), bounds, data, facts)
    return facts


@settings(deadline=None, max_examples=400)
@given(st.text("abcpq 中文ж", max_size=40), st.text("abcpq 中文ж", max_size=40))
def test_counts_of_characters_tell_edits_that_are_needed_at_least(left, right):
    facts = facts_of(left, right)
    assert facts[:, LENGTH].tolist() == [len(left), len(right)]
    assert least_edits(facts, 0, 1) == least_edits(facts, 1, 0) <= levenshtein(left, right)


def test_counts_of_characters_tell_edits_of_different_letters_exactly():
    facts = facts_of("abcdef", "abcxyz", "abc", "", "a" * 40)
    assert [least_edits(facts, 0, other) for other in range(5)] == [0, 3, 3, 6, 14]  # counts end at 15


@settings(deadline=None)
@given(st.integers(1, 150), st.integers(0, 10**6))
def test_equal_bits_are_those_of_the_places_and_those_beyond(places, seed):
    signatures = np.random.default_rng(seed).integers(0, 256, (2, places), np.uint8)
    facts = np.empty((2, BITS + -(-places // 64)), np.uint64)
    put_facts(signatures, np.zeros(3, np.int64), np.empty(0, np.uint8), facts)
    assert equal_bits(facts, 0, 1) == (signatures[0] % 2 == signatures[1] % 2).sum() + -places % 64


def test_any_other_byte_gives_another_key():
    base = bytes(range(30))
    changed = [base[:place] + b"\xff" + base[place + 1 :] for place in range(30)] + [base[:end] for end in range(31)]
    assert len({int(hash_bytes(np.frombuffer(data, np.uint8))) for data in changed}) == 61
