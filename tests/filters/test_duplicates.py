"""Keys, ranks and membership against dictionaries."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from filters.duplicates import (
    combined_keys,
    dedup_key,
    first_of_each,
    fold,
    in_any_group,
    key_halves,
    keys_of_halves,
    order_of_keys,
    rank_in_group,
)

KEYS = st.lists(st.integers(0, 5), max_size=40)


def keys(numbers):
    """Keys of which 0-2 and 3-5 share their first half, so that both halves matter."""
    return pa.array([bytes([n // 3] * 8 + [n % 3] * 8) for n in numbers], pa.binary(16))


def folded(*texts):
    return fold(pa.array(texts)).to_pylist()


def test_case_white_space_and_punctuation_make_no_difference():
    assert folded("Hello,  World!", "hello world", "“HELLO” - world…") == ["hello world"] * 3


def test_punctuation_between_digits_and_letters_still_separates():
    assert folded("1.5", "15", "and/or", "andor") == ["1 5", "15", "and or", "andor"]


def test_symbols_and_meaningful_punctuation_stay():
    assert folded("C", "C#", "C++", "50 %", "@home") == ["c", "c#", "c++", "50 %", "@home"]


def test_scripts_without_spaces_take_none():
    assert folded("你好，世界！", "你好 世界", "中 a", "ไทย ไทย") == ["你好世界", "你好世界", "中a", "ไทยไทย"]


def test_ways_of_encoding_one_character_are_one():
    assert folded("ﬁn", "１２３", "can\u00adnot", "ΟΔΟΣ", "οδος") == ["fin", "123", "cannot", "οδοσ", "οδοσ"]
    assert folded("e\u0301", "É", "é") == ["e\u0301"] * 3
    assert folded("한", "\u1112\u1161\u11ab", "ｶﾞ", "ガ")[::2] == folded("\u1112\u1161\u11ab", "ガ")


def test_a_voiced_kana_takes_no_space_either():
    assert folded("が abc") == folded("がabc")


def test_a_text_of_punctuation_alone_keeps_itself():
    assert folded("...", "?!", "", None) == ["...", "?!", "", ""]


def test_letters_that_grow_when_folded_fit():
    assert folded("Ⱥ" * 5) == ["ⱥ" * 5]


def test_a_key_is_the_xxh3_of_the_folded_text():
    assert dedup_key(pa.array(["Title: One"])).to_pylist() == [xxhash.xxh3_128_digest(b"title one")]


def test_keys_do_not_depend_on_slices_chunks_or_offsets():
    texts = pa.array(["a", "Ä b", None, "中", "d."])
    whole = dedup_key(texts)
    assert dedup_key(texts.slice(1, 3)).equals(whole.slice(1, 3))
    assert dedup_key(pa.chunked_array([texts.slice(0, 1), texts.slice(1)])).equals(whole)
    assert dedup_key(texts.cast(pa.large_string())).equals(whole)
    assert len(dedup_key(texts.slice(0, 0))) == 0


@given(st.text(max_size=30))
def test_punctuation_and_space_around_a_word_change_nothing(text):
    assert fold(pa.array([f" ({text} word). "])).equals(fold(pa.array([f"{text} word"])))


@given(st.text(max_size=30))
def test_every_form_of_unicode_normalisation_has_one_key(text):
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    assert len(set(dedup_key(pa.array([text, *forms])).to_pylist())) == 1


@given(KEYS, st.randoms())
def test_ranks_are_those_of_a_sorted_group(numbers, random):
    positions = list(range(len(numbers)))
    random.shuffle(positions)
    groups = {}
    for number, position in zip(numbers, positions, strict=True):
        groups.setdefault(number, []).append(position)
    expected = [sorted(groups[n]).index(p) for n, p in zip(numbers, positions, strict=True)]
    assert rank_in_group(keys(numbers), np.array(positions, np.int64)).tolist() == expected
    assert first_of_each(keys(numbers), np.array(positions, np.int64)).tolist() == [rank == 0 for rank in expected]


def test_of_equal_positions_the_first_row_is_kept():
    assert first_of_each(keys([1, 1, 2]), [7, 7, 7]).tolist() == [True, False, True]


@given(KEYS, KEYS)
def test_membership_is_that_of_a_set(left, right):
    assert in_any_group(keys(left), keys(right)).tolist() == [number in set(right) for number in left]


def test_ranks_of_a_slice_look_at_the_slice_only():
    assert rank_in_group(keys([1, 1, 1]).slice(1), np.array([5, 4])).tolist() == [1, 0]


def test_null_keys_and_missing_positions_are_refused():
    with pytest.raises(ValueError, match="null"):
        first_of_each(pa.array([None], pa.binary(16)), [0])
    with pytest.raises(ValueError, match="positions"):
        first_of_each(keys([1, 2]), [0])


TEXT_KEYS = [bytes(16), b"a" + bytes(15), bytes(15) + b"a"]
KINDS = (pa.binary(16), pa.uint64(), pa.uint64())
KEYS = st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=20)


@given(KEYS)
def test_halves_sort_as_the_bytes_do_and_become_the_keys_again(keys):
    array = pa.array(keys, pa.binary(16))
    high, low = key_halves(array)
    assert [keys[row] for row in order_of_keys(high, low)] == sorted(keys)
    assert keys_of_halves(high, low).equals(array)


@given(st.lists(st.tuples(st.sampled_from(TEXT_KEYS), st.integers(0, 2), st.integers(0, 3)), max_size=20))
def test_combined_keys_are_equal_where_all_columns_are(rows):
    keys, numbers, others = (pa.array([row[n] for row in rows], kind) for n, kind in enumerate(KINDS))
    combined = combined_keys(keys, numbers, others).to_pylist()
    assert [[one == other for other in combined] for one in combined] == [
        [one == other for other in rows] for one in rows
    ]
    turned = combined_keys(keys, others, numbers).to_pylist()
    assert all(one != other for one, other, row in zip(combined, turned, rows, strict=True) if row[1] != row[2])


@given(st.lists(st.tuples(st.sampled_from(TEXT_KEYS), st.integers(0, 2), st.integers(0, 2)), max_size=20))
def test_rows_equal_in_the_first_order_go_by_the_next(rows):
    rank = rank_in_group(pa.array([row[0] for row in rows], pa.binary(16)), *([row[n] for row in rows] for n in (1, 2)))
    ordered = sorted(range(len(rows)), key=lambda row: (rows[row][1:], row))
    groups = {}
    for row in ordered:
        groups.setdefault(rows[row][0], []).append(row)
    assert rank.tolist() == [groups[rows[row][0]].index(row) for row in range(len(rows))]
