"""Measures of texts against counts made by hand and against a plain Python reading of the same rules."""

import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import characters
from filters.text_quality import LETTERS_PER_CJK, measure_likeness, measure_text

TEXTS = st.text(
    st.one_of(
        st.sampled_from("aB3 .,-'éßЖя中国かカไทยไम्مر한😀\u200d\ufffd\ue000htpsw:/"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=40,
)


def measured(text):
    return measure_text(pa.array([text])).to_pylist()[0]


def likeness(query, positive):
    sides = pa.array([query]), pa.array([positive])
    return measure_likeness(*sides, *(measure_text(side) for side in sides)).to_pylist()[0]


def test_an_english_sentence_is_measured_as_counted_by_hand():
    row = measured("It's 42 Ümläut, OK?")
    assert (row["characters"], row["words"], row["letters"], row["length"]) == (19, 4, 11, 19)
    visible = 16
    assert row["letter_share"] == pytest.approx(11 / visible)
    assert row["digit_share"] == pytest.approx(2 / visible)
    assert row["symbol_share"] == pytest.approx(3 / visible)
    assert row["upper_share"] == pytest.approx(4 / 11)  # I, Ü, O, K
    assert row["white_share"] == pytest.approx(3 / 19)
    assert (row["longest_run"], row["longest_word"]) == (1, 7)


def test_chinese_letters_are_words_and_count_three_letters_each():
    row = measured("你好，world 2")
    assert row["words"] == 4
    assert row["letters"] == 2 * LETTERS_PER_CJK + 5
    assert row["length"] == 10 + 2 * (LETTERS_PER_CJK - 1)
    assert row["cjk_share"] == pytest.approx(2 / 9)
    assert row["longest_word"] == 6  # the full-width comma and world


def test_marks_of_devanagari_and_thai_belong_to_the_letters():
    assert measured("हिन्दी")["letter_share"] == 1
    assert measured("ภาษาไทยนี้")["letter_share"] == 1
    assert measured("हिन्दी भाषा")["words"] == 2
    assert measured("ไทย")["words"] == 3


def test_joiners_and_variation_selectors_are_no_noise():
    row = measured("می\u200cخواهم ❤\ufe0f")
    assert row["broken_share"] == 0
    assert row["words"] == 1


def test_an_address_is_measured_from_its_start_to_the_next_space_or_other_script():
    url = "https://example.org/a?b=c"
    assert measured(f"see {url} now")["url_share"] == pytest.approx(25 / 31)
    assert measured(f"看{url}吧")["url_share"] == pytest.approx(25 / 27)
    assert measured("www.example.org")["url_share"] == 1
    assert measured("the http protocol, https, w, ww.")["url_share"] == 0
    assert measured(f"see {url} now")["longest_word"] == 3


def test_a_run_is_of_one_visible_character_and_spaces_end_it():
    assert measured("wait.......... ok")["longest_run"] == 10
    assert measured(". . . .")["longest_run"] == 1
    assert measured("啊啊啊啊")["longest_run"] == 4


def test_replacement_control_and_private_characters_are_broken():
    assert measured("caf\ufffd")["broken_share"] == pytest.approx(1 / 4)
    assert measured("a\x01b\ue000")["broken_share"] == pytest.approx(2 / 4)


def test_empty_and_null_texts_have_no_shares():
    rows = measure_text(pa.array(["", None])).to_pylist()
    assert rows[0] == rows[1]
    assert set(rows[0].values()) == {0}


def test_slices_chunks_and_large_strings_measure_alike():
    texts = pa.array(["one", "zwei Wörter", None, "三", "четыре"])
    whole = measure_text(texts)
    assert measure_text(texts.slice(1, 3)).equals(whole.slice(1, 3))
    assert measure_text(texts.cast(pa.large_string())).equals(whole)
    assert measure_text(pa.chunked_array([texts.slice(0, 2), texts.slice(2)])).equals(whole)
    assert measure_text(texts.slice(0, 0)).num_rows == 0


def test_text_cut_within_a_character_is_read_no_further_than_its_end():
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 2, 5], np.int32)), pa.py_buffer(b"a\xe4abc"))
    assert measure_text(broken)["characters"].to_pylist() == [2, 3]


@given(TEXTS)
def test_the_loop_agrees_with_python_reading_the_same_rules(text):
    kinds = [characters.class_of_character()[ord(c)] for c in text]
    words, in_word = 0, False
    for kind in kinds:
        if kind in (characters.CJK, characters.UNSPACED):
            words, in_word = words + 1, False
        elif kind == characters.SPACE:
            in_word = False
        elif kind in (characters.UPPER, characters.LETTER, characters.MARK, characters.DIGIT) and not in_word:
            words, in_word = words + 1, True
    row = measured(text)
    cjk = kinds.count(characters.CJK)
    visible = len(text) - kinds.count(characters.SPACE)
    assert row["characters"] == len(text)
    assert row["words"] == words
    assert row["length"] == len(text) + (LETTERS_PER_CJK - 1) * cjk
    assert row["cjk_share"] == pytest.approx(cjk / max(visible, 1))
    assert row["digit_share"] == pytest.approx(kinds.count(characters.DIGIT) / max(visible, 1))
    assert row["broken_share"] == pytest.approx(kinds.count(characters.BROKEN) / max(len(text), 1))


@given(st.characters(exclude_categories=["Cs"]))
def test_classes_follow_the_general_category_of_each_character(character):
    kind = characters.class_of_character()[ord(character)]
    category = unicodedata.category(character)
    if kind in (characters.CJK, characters.UNSPACED):
        assert category[0] in "LN"
    elif kind == characters.UPPER:
        assert category in ("Lu", "Lt")
    elif category[0] == "L":
        assert kind == characters.LETTER
    elif category[0] in "PS":
        assert kind == characters.SYMBOL or character == "\ufffd"


def test_the_ratio_of_short_texts_is_forgiving_and_han_counts_for_three_letters():
    assert likeness("OK", "Aceptar")["length_ratio"] == pytest.approx(17 / 12)
    assert likeness("你好世界", "Hello world!")["length_ratio"] == 1
    assert likeness("a" * 90, "b" * 10)["length_ratio"] == pytest.approx(5)


def test_the_copied_share_is_the_querys_part_of_a_positive_that_starts_with_it():
    assert likeness("Beam", "beam pipelines")["copied_share"] == pytest.approx(4 / 14)
    assert likeness("ÉTÉ", "été")["copied_share"] == 1
    assert likeness("ΟΔΟΣ", "οδος")["copied_share"] == 1
    assert likeness("Beam", "The Beam")["copied_share"] == 0
    assert likeness("Beam pipelines", "Beam")["copied_share"] == 0


def test_long_texts_are_compared_to_their_end():
    start = "x" * 300
    assert likeness(start + "a", start + "b")["copied_share"] == 0
    assert likeness(start + "a", start + "A")["copied_share"] == 1


def test_the_tools_are_not_imported_until_something_is_measured():
    code = "import sys, filters.decide, filters.measure, filters.duplicates; sys.exit('numba' in sys.modules or 'fasttext' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_measuring_works_where_no_compiled_code_can_be_kept(tmp_path):
    code = (
        "from numba.core.caching import CacheImpl; CacheImpl._locator_classes = []\n"
        "import pyarrow as pa; from filters.text_quality import measure_text\n"
        "print(measure_text(pa.array(['two words']))['words'][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "2"
