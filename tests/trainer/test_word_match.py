import itertools
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainer.word_match import holds, words_of


def words(*texts):
    found = words_of(pa.array(texts, pa.string()))
    return [bytes(found.data[start:end]).decode() for start, end in itertools.pairwise(found.bounds)]


def held(whole, part):
    return bool(holds(words_of(pa.array([whole])), np.array([0]), words_of(pa.array([part])), np.array([0]))[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", " hello world "),
        ("", " "),
        (" ?! ", " "),
        ("don't", " don t "),
        ("e\u0301TÉ", " été "),  # composed first
        ("北京a大学", " 北 京 a 大 学 "),
        ("서울은", " 서 울 은 "),
        ("हिन्दी", " हिन्दी "),  # vowel signs and virama are marks, not separators
        ("Ⱥ𐐀", " ⱥ𐐨 "),  # grows from two bytes to three; four bytes
        ("𠀀x", " 𠀀 x "),
        ("x\U000e0041y", " x y "),  # above what is written
    ],
)
def test_words_are_letters_digits_and_marks_in_lower_case(text, expected):
    assert words(text) == [expected]


def test_texts_are_kept_apart_and_nulls_and_slices_are_understood():
    texts = pa.array(["no", "One two", None, "THREE", "no"])
    found = words_of(texts.slice(1, 3))
    assert bytes(found.data).decode() == " one two   three "
    assert found.lengths.tolist() == [7, -1, 5]
    assert len(words_of(pa.array([], pa.string()))) == 0
    assert words_of(pa.chunked_array([["a"], ["b"]]).cast(pa.large_string())).lengths.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("whole", "part", "expected"),
    [
        ("It was Paris, in 1900.", "paris", True),
        ("comparison", "paris", False),
        ("New York's streets", "york s", True),
        ("New York", "york new", False),
        ("我在北京大学学习", "京大", True),
        ("我在北京大学学习", "大京", False),
        ("paris", "in paris", False),
        ("paris", "", False),
        ("", "", False),
        ("same", "SAME!", True),
    ],
)
def test_a_text_holds_another_as_whole_words(whole, part, expected):
    assert held(whole, part) is expected


def plain_words(text):
    """The definition, character by character."""
    spaced = []
    for character in unicodedata.normalize("NFC", text):
        if unicodedata.category(character)[0] not in "LNM":
            spaced.append(" ")
        elif re.match("[\u0e00-\u0eff\u3040-\u318f\u4e00-\u9fff\uac00-\ud7af]", character):
            spaced.append(f" {character} ")
        else:
            spaced.append(character.lower())
    return "".join(spaced).split()


LETTERS = st.text(st.sampled_from("abAB .,-éÉ京大กぁ서9"), max_size=12)


@settings(max_examples=300)
@given(LETTERS, LETTERS)
@example("aaaaab aaab", "aaab")
def test_words_and_search_are_those_of_a_plain_restatement(whole, part):
    left, right = plain_words(whole), plain_words(part)
    assert words(whole, part) == ["".join(f" {word}" for word in each) + " " for each in (left, right)]
    inside = any(left[at : at + len(right)] == right for at in range(len(left) - len(right) + 1))
    assert held(whole, part) is (bool(right) and inside)
