"""Measures of two sides against values by hand and plain Python readings of the published definitions."""

import difflib
import math
import random
import re
import string

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.pair_quality import MOST_BYTES, MOST_CHARACTERS, PAIR_MEASURES, measure_pair_quality
from filters.writing_systems import ANY_SCRIPT, SCRIPTS, script_of_letter, scripts_of_language
from sources.schema import SCORES

TEXT = st.text(alphabet=st.sampled_from("abAB é1203..!? \n中国年、かไทก한국😀"), max_size=60)


def measured_batch(queries, positives, kind="parallel", query_lang="und", positive_lang="und"):
    rows = len(queries)
    batch = pa.RecordBatch.from_pydict(
        {
            "query": pa.array(queries, pa.string()),
            "positive": pa.array(positives, pa.string()),
            "kind": pa.array([kind] * rows, pa.string()),
            "query_lang": pa.array([query_lang] * rows, pa.string()),
            "positive_lang": pa.array([positive_lang] * rows, pa.string()),
            "scores": pa.nulls(rows, SCORES),
        }
    )
    measures = measure_pair_quality(batch)
    assert measures.schema == PAIR_MEASURES
    measures.validate(full=True)
    return measures


def measured(query, positive, **facts):
    return measured_batch([query], [positive], **facts).to_pylist()[0]


# Overlap


def test_overlap_is_the_share_of_distinct_folded_words():
    row = measured("The cat, the CAT sat", "A cat sat on the mat")
    assert row["query_overlap"] == 1  # the, cat, sat
    assert row["positive_overlap"] == pytest.approx(3 / 6)


def test_overlap_in_chinese_is_of_neighbouring_characters():
    row = measured("中国历史", "中国的历史")
    assert row["query_overlap"] == pytest.approx(2 / 3)  # 中国 国历 历史
    assert row["positive_overlap"] == pytest.approx(2 / 4)  # 中国 国的 的历 历史


def test_one_chinese_character_alone_is_found_inside_of_words():
    row = measured("水", "水果好吃")
    assert row["query_overlap"] == 1
    assert row["positive_overlap"] == 0


def test_accents_width_and_case_make_no_difference_to_overlap():
    assert measured("CAFÉ １２", "cafe 12")["query_overlap"] == 1


def test_texts_without_words_overlap_in_nothing():
    for row in (measured("", ""), measured("...", "a"), measured("a", "。")):
        assert row["query_overlap"] == row["positive_overlap"] == 0


def plain_units(text):
    """Words of ASCII letters and digits; runs of Han as pairs or alone. And all that can be looked up."""
    counted, held = set(), set()
    for run in re.findall(r"[a-z0-9]+|[一-鿿]+", text.lower()):
        if run.isascii() or len(run) == 1:
            counted.add(run)
        else:
            counted |= {run[place : place + 2] for place in range(len(run) - 1)}
            held |= set(run)
    return counted, held | counted


@given(*[st.text(alphabet=st.sampled_from("ab 1,中国年"), max_size=25)] * 2)
def test_overlap_is_as_plain_sets_say(query, positive):
    row = measured(query, positive)
    (counted, held), (other_counted, other_held) = plain_units(query), plain_units(positive)
    # a run of Han is broken by a space for the eye, not for the folding: keep such texts out
    if re.search(r"[一-鿿][ ,]+[一-鿿]", query + "a" + positive):
        return
    assert row["query_overlap"] == pytest.approx(len(counted & other_held) / max(len(counted), 1))
    assert row["positive_overlap"] == pytest.approx(len(other_counted & held) / max(len(other_counted), 1))


# Containment


def test_a_title_repeated_in_the_body_is_contained():
    row = measured("The Art of War", "I read: the art of war. Good!")
    assert row["query_contained"] and not row["positive_contained"]
    assert row["contained_share"] == pytest.approx(11 / 20)


def test_containment_is_of_whole_words_but_of_any_characters_in_chinese():
    assert not measured("art", "party")["query_contained"]
    assert not measured("the art", "the party of art")["query_contained"]
    assert measured("国历", "中国历史")["query_contained"]
    assert measured("ไท", "ภาษาไทย")["query_contained"]


def test_a_copy_is_contained_both_ways_with_share_one():
    row = measured("Привет, мир!", "ПРИВЕТ МИР")
    assert row["query_contained"] and row["positive_contained"] and row["contained_share"] == 1


def test_nothing_is_contained_nowhere():
    row = measured("!!", "what")
    assert not row["query_contained"] and not row["positive_contained"] and row["contained_share"] == 0


def test_a_start_that_repeats_does_not_hide_the_match():
    assert measured("a a b", "a a a b")["query_contained"]
    assert measured("a b a c", "a b a b a c")["query_contained"]


@given(*[st.lists(st.sampled_from("abc"), max_size=9)] * 2)
def test_containment_is_as_plain_windows_say(part, whole):
    row = measured(" ".join(part), " ".join(whole))
    windows = [whole[place : place + len(part)] for place in range(len(whole) - len(part) + 1)]
    assert row["query_contained"] == (bool(part) and part in windows)


# Links


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.org/a?b=c", True),
        ("  <http://a.b> - www.example.org/x 12.", True),
        ("see https://example.org", False),
        ("看https://example.org", False),
        ("12 34", False),
        ("", False),
    ],
)
def test_only_links_numbers_and_signs_make_a_positive_of_links(text, expected):
    assert measured("query", text)["link_only"] == expected


# OpusFilter


def test_ratios_are_longer_over_shorter():
    row = measured("one two three", "a b")
    assert row["word_ratio"] == pytest.approx(3 / 2)
    assert row["character_ratio"] == pytest.approx(13 / 3)
    assert measured("", "")["word_ratio"] == 0
    assert measured("", "x")["character_ratio"] == math.inf


def test_seventeen_chinese_characters_are_ten_words():
    assert measured("国" * 17, "one two three four five six seven eight nine ten")["word_ratio"] == 1


@given(*[st.text(alphabet=st.sampled_from("ab,. \t\n\u00a0\u3000é1"), max_size=30)] * 2)
def test_ratios_are_as_python_splits(query, positive):
    row = measured(query, positive)
    for name, lengths in (
        ("word_ratio", [len(side.split()) for side in (query, positive)]),
        ("character_ratio", [len(query), len(positive)]),
    ):
        low, high = sorted(lengths)
        expected = high / low if low else math.inf if high else 0
        assert row[name] == pytest.approx(expected)


@given(*[st.text(alphabet=st.sampled_from("0123456789 a"), max_size=40)] * 2)
def test_numerals_are_matched_as_difflib_matches_them(query, positive):
    numerals = [[c for c in side if c in string.digits and c != "0"] for side in (query, positive)]
    expected = difflib.SequenceMatcher(None, *numerals).ratio()
    assert measured(query, positive)["numerals_agree"] == pytest.approx(expected)


def test_numerals_of_all_scripts_are_the_same():
    assert measured("1947 से", "सन् १९४७")["numerals_agree"] == 1
    assert measured("٢٠٢٤", "2024")["numerals_agree"] == 1
    assert measured("１２", "13")["numerals_agree"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("query", "positive", "penalty"),
    [
        ("One.", "Un.", 0),
        ("One", "Un.", 1),
        ("What?!", "Quoi", 2 + 1),
        ("A. B. C.", "A!", 2 + 2),
        ("好。", "Good.", 0),
        ("क्या है।", "What is it?", 0),
        ("ما هذا؟", "What?", 0),
    ],
)
def test_terminal_punctuation_is_minus_the_logarithm_of_the_penalty(query, positive, penalty):
    assert measured(query, positive)["terminal_punctuation"] == pytest.approx(-math.log(penalty + 1))


def levenshtein(one, other):
    row = list(range(len(other) + 1))
    for place, character in enumerate(one, 1):
        before, row[0] = row[0], place
        for column, second in enumerate(other, 1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (character != second))
    return row[-1]


@given(TEXT, TEXT)
def test_edit_similarity_and_common_substring_are_as_the_plain_tables_say(query, positive):
    check_likeness(query, positive)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(50, 200), st.integers(0, 40))
def test_long_texts_are_compared_across_blocks_of_64_characters(seed, length, edits):
    chance = random.Random(seed)
    query = chance.choices("ab中 ", k=length)
    positive = list(query)
    for _ in range(edits):
        place = chance.randrange(len(positive))
        positive[place : place + chance.randint(0, 1)] = chance.choices("ab中x", k=chance.randint(0, 2))
    check_likeness("".join(query), "".join(positive))


def check_likeness(query, positive):
    row = measured(query, positive)
    if not query or not positive:
        assert row["edit_similarity"] == row["common_substring"] == 0
        return
    expected = 1 - levenshtein(query, positive) / max(len(query), len(positive))
    assert row["edit_similarity"] == pytest.approx(expected, abs=1e-6)
    matcher = difflib.SequenceMatcher(None, query, positive, autojunk=False)
    size = matcher.find_longest_match(0, len(query), 0, len(positive)).size
    assert row["common_substring"] == pytest.approx(size / min(len(query), len(positive)))


def test_only_the_beginnings_of_long_texts_are_compared():
    same = "ab" * (MOST_CHARACTERS // 2)
    row = measured(same + "x" * 100, same + "y" * 700)
    assert row["edit_similarity"] == row["common_substring"] == 1


def test_titles_and_bodies_are_not_compared_as_translations():
    row = measured("same 1", "same 2", kind="title_body")
    assert (row["edit_similarity"], row["common_substring"], row["numerals_agree"]) == (0, 0, 1)


def plain_repetitions(text):
    match = re.search(r"(\S.{2,100}?)(?: *\1){2,}", text)
    return match.group(0).count(match.group(1)) - 1 if match else 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ha ha ha", 0),  # "ha" has two characters only
        ("ha ha ha ha", 2),  # "ha " three times
        ("haha haha haha", 2),
        ("buy nowbuy now buy now   buy now", 3),
        ("谢谢你谢谢你谢谢你", 2),
        ("one two one two", 0),
        ("--------------", 3),  # --- four times: found again three times
    ],
)
def test_repetitions_are_counted_from_three_in_a_row(text, expected):
    assert plain_repetitions(text) == expected
    assert measured(text, "x")["repetition"] == expected
    assert measured("x", text)["repetition"] == expected


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab  \n中"), max_size=50))
def test_repetitions_are_as_the_regular_expression_finds_them(text):
    assert measured(text, "")["repetition"] == plain_repetitions(text)


def test_long_repetitions_are_found_up_to_101_characters():
    stretch = "".join(random.Random(0).choices(string.ascii_lowercase, k=101))
    assert measured(stretch * 3, "")["repetition"] == 2
    assert measured((stretch + "!") * 3, "")["repetition"] == 0


# Scripts


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Hello мир", "eng_Latn", 5 / 8),
        ("Hello мир", "rus_Cyrl", 3 / 8),
        ("漢字とカナー", "jpn_Jpan", 1),
        ("漢字とカナー", "zho_Hans", 2 / 6),
        ("한국 國", "kor_Kore", 1),
        ("हिन्दी abc", "hin_Deva", 3 / 6),  # three letters and their marks
        ("γειά", "ell_Grek", 1),
        ("123 !?", "eng_Latn", 1),
        ("Hello", "und", 1),
        ("Hello", "eng", 1),
        ("Ｈｉ", "eng_Latn", 1),
    ],
)
def test_the_script_share_is_of_letters_in_the_claimed_languages_script(text, language, expected):
    assert measured(text, "x", query_lang=language)["query_script_share"] == pytest.approx(expected)
    assert measured("x", text, positive_lang=language)["positive_script_share"] == pytest.approx(expected)


def test_letters_know_their_script():
    table = script_of_letter()
    for character, script in zip(
        "aЖλאعकকไ中あア한ქეաម",
        [
            "Latn",
            "Cyrl",
            "Grek",
            "Hebr",
            "Arab",
            "Deva",
            "Beng",
            "Thai",
            "Hani",
            "Hira",
            "Kana",
            "Hang",
            "Geor",
            "Geor",
            "Armn",
            "Khmr",
        ],
        strict=True,
    ):
        assert SCRIPTS[table[ord(character)]] == script, character
    assert not table[[ord(character) for character in "1 .ªʰ😀"]].any()
    assert scripts_of_language("xxx_Zzzz") == ANY_SCRIPT


# Rows, margins and bad input


def test_the_margin_is_the_one_that_came_with_the_corpus():
    scores = pa.array([None, {"bitext_margin": 1.25}, {"quality": 0.5}], SCORES)
    batch = pa.RecordBatch.from_pydict(
        {
            "query": pa.array(["a"] * 3),
            "positive": pa.array(["b"] * 3),
            "kind": pa.array(["parallel"] * 3),
            "query_lang": pa.array(["und"] * 3),
            "positive_lang": pa.array(["und"] * 3),
            "scores": scores,
        }
    )
    assert measure_pair_quality(batch)["bitext_margin"].to_pylist() == [None, 1.25, None]


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6))
def test_a_row_is_measured_alike_alone_and_among_others(pairs):
    together = measured_batch([query for query, _ in pairs], [positive for _, positive in pairs]).to_pylist()
    assert together == [measured(*pair) for pair in pairs]
    assert measured_batch(["x", *(q for q, _ in pairs)], ["y", *(p for _, p in pairs)]).slice(1).to_pylist() == together


def test_a_batch_without_rows_has_no_measures():
    assert len(measured_batch([], [])) == 0


def test_ten_megabytes_emoji_and_one_line_over_and_over_are_measured():
    for text in ("a" * 10**7, "😀" * 10**6, "the same line. " * 200_000, "1 2 3 " * 500_000, "国" * 10**6):
        row = measured("the same line", text)
        assert np.isfinite([value for value in row.values() if value is not None]).all()
    assert MOST_BYTES < 10**7
