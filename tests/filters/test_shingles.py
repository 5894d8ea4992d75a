"""Folding, views and shingles against sets made in plain Python."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from filters.shingles import (
    CHARACTERS,
    CODE_POINT,
    DEFAULT_SHINGLES,
    SHORT,
    SPACE,
    WORDS,
    ShingleSettings,
    folding,
    shingle_sets,
)

ONE = ShingleSettings(words=1, cjk_characters=1, unspaced_characters=1, short_characters=1, short_cjk_characters=1)


def sets(view, *texts, sizes=DEFAULT_SHINGLES):
    return [set(shingles.tolist()) for shingles in shingle_sets(pa.array(texts), view, sizes)]


def ngrams(units, size):
    size = min(size, len(units))
    return {tuple(units[at : at + size]) for at in range(len(units) - size + 1)} if units else set()


@settings(deadline=None)  # the first call compiles
@given(st.text("ab c", max_size=40), st.text("ab c", max_size=40))
def test_word_shingles_are_those_of_a_set_of_word_ngrams(left, right):
    expected = [ngrams(text.split(), 5) for text in (left, right)]
    found = sets(WORDS, left, right)
    assert [len(shingles) for shingles in found] == [len(shingles) for shingles in expected]
    assert len(found[0] & found[1]) == len(expected[0] & expected[1])


@settings(deadline=None)  # the first call compiles
@given(st.text("中文字符", max_size=40), st.text("中文字符", max_size=40))
def test_character_shingles_are_those_of_a_set_of_character_ngrams(left, right):
    expected = [ngrams(text, 5) for text in (left, right)]
    found = sets(CHARACTERS, left, right)
    assert [len(shingles) for shingles in found] == [len(shingles) for shingles in expected]
    assert len(found[0] & found[1]) == len(expected[0] & expected[1])


@settings(deadline=None)  # the first call compiles
@given(st.text("abc", min_size=1, max_size=30), st.text("abc", min_size=1, max_size=30))
def test_short_shingles_are_character_trigrams(left, right):
    expected = [ngrams(text, 3) for text in (left, right)]
    found = sets(SHORT, left, right)
    assert [len(shingles) for shingles in found] == [len(shingles) for shingles in expected]
    assert len(found[0] & found[1]) == len(expected[0] & expected[1])


@settings(deadline=None, max_examples=300)  # the first call compiles
@given(st.text("abzAZ09 .#é中ж\n", max_size=60))
def test_letters_read_eight_at_once_are_those_read_one_by_one(text):
    """Wide forms fold to the letters of ASCII, but are read one by one."""
    wide = "".join(chr(ord(letter) + 0xFEE0) if letter.isascii() and letter.isalnum() else letter for letter in text)
    for view in (SHORT, WORDS, CHARACTERS):
        plain, same = shingle_sets(pa.array([text, wide]), view, ONE)
        assert np.array_equal(plain, same)


@settings(deadline=None)
@given(st.lists(st.text("abcdefghijkxyz0189", min_size=1, max_size=30), min_size=1, max_size=20))
def test_different_words_of_any_length_have_different_shingles(words):
    """Words of ASCII are hashed eight letters at a time."""
    assert len(sets(WORDS, " ".join(words), sizes=ONE)[0]) == len(set(words))


def test_short_chinese_is_seen_as_character_pairs():
    whole, changed = sets(SHORT, "如何安装软件", "如何安装硬件")
    assert len(whole) == 5
    assert len(whole & changed) == 3


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Hello, World!", "hello   world"),
        ("Café crème", "cafe\u0301 creme"),
        ("ＡＢＣ１２３", "abc123"),
        ("٣ كتب", "3 كتب"),
        ("你好，世界", "你好 世界"),
        ("ﾃｽﾄ", "テスト"),
        ("can\u00adnot\u200b", "cannot"),
        ("\u2460 first", "1 first"),
    ],
)
def test_what_folding_ignores_makes_no_difference(text, same):
    left, right = sets(SHORT, text, same, sizes=ONE)
    assert left == right != set()


@pytest.mark.parametrize(("text", "other"), [("C#", "C++"), ("50 %", "50"), ("か", "が"), ("一", "二"), ("x²", "x3")])
def test_what_changes_the_meaning_is_kept(text, other):
    left, right = sets(SHORT, text, other, sizes=ONE)
    assert left != right


def test_symbols_part_words_and_are_none():
    assert sets(WORDS, "a=b", sizes=ONE) == sets(WORDS, "a b", sizes=ONE)
    assert sets(WORDS, "a = b", "b a", sizes=ONE)[0] == sets(WORDS, "b a", sizes=ONE)[0]


def test_a_thai_letter_takes_its_marks_but_no_space():
    assert sets(CHARACTERS, "ที่ นี่", sizes=ONE) == sets(CHARACTERS, "ที่นี่", sizes=ONE)
    assert sets(SHORT, "ที่ นี่") == sets(SHORT, "ที่นี่")


def test_texts_without_letters_have_no_word_or_character_shingles():
    for view in (WORDS, CHARACTERS):
        assert sets(view, "", "...", "😀🎉", None) == [set()] * 4


def test_emoji_count_in_short_texts():
    assert len(sets(SHORT, "😀🎉🎈", sizes=ONE)[0]) == 3


def test_folding_grows_no_character_by_more_than_half():
    table = (folding() & CODE_POINT).tolist()
    for code in range(0x110000):
        if table[code] and not 0xD800 <= code < 0xE000:
            assert len(chr(table[code]).encode()) <= 1.5 * len(chr(code).encode())


def test_folding_twice_is_folding_once():
    table = folding()
    folded = table[(table & CODE_POINT)[table > SPACE]]
    again = folding()[folded & CODE_POINT]
    assert (again == folded).mean() > 0.9999
    assert np.array_equal(again[: ord("z")], folded[: ord("z")])


@settings(deadline=None)  # the first call compiles
@given(st.text(max_size=30))
def test_composed_and_decomposed_latin_are_one(text):
    latin = "".join(c for c in text if ord(c) < 0x250)
    forms = [unicodedata.normalize(form, latin) for form in ("NFC", "NFD")]
    left, right = sets(SHORT, *forms, sizes=ONE)
    assert left == right


def test_settings_that_leave_texts_in_no_view_are_refused():
    with pytest.raises(ValidationError, match="in no view"):
        ShingleSettings(short_most=100, long_least=200)
    with pytest.raises(ValidationError, match="in no view"):
        ShingleSettings(unspaced_most=0.2, unspaced_least=0.3)
