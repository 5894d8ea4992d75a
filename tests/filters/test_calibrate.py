"""Thresholds from clean text."""

import numpy as np
import pytest

from filters.calibrate import CleanTexts, calibrate, rules_to_calibrate
from filters.calibration import CalibrationError
from filters.settings import FilterSettings

DIGITS = FilterSettings(max_passage_digit_share="calibrated")
BOTH = FilterSettings(max_passage_digit_share="calibrated", min_passage_letter_share="calibrated")


def texts(languages, lengths=None, **values):
    lengths = np.full(len(languages), 500) if lengths is None else np.asarray(lengths)
    return CleanTexts(languages, lengths, {name: np.asarray(each, np.float32) for name, each in values.items()})


def test_one_rule_drops_exactly_the_share_that_may_go():
    shares = np.linspace(0.101, 0.300, 200)  # 0.101, 0.102, ..., 0.300
    made = calibrate(texts(["deu_Latn"] * 200, max_passage_digit_share=shares), DIGITS, keep=0.95, min_texts=100)
    # 10 of 200 may go: the eleventh largest value is the threshold.
    assert made.thresholds["deu_Latn"] == {"max_passage_digit_share": 0.29}
    assert made.kept == {"deu_Latn": 0.95}
    assert made.texts == {"deu_Latn": 200}


def test_the_share_to_keep_is_counted_in_whole_texts():
    shares = np.linspace(0.11, 0.20, 10)
    for keep, dropped in ((0.9, 1), (0.7, 3), (0.95, 0), (1.0, 0)):  # 1 - 0.9 is a little less than 0.1
        made = calibrate(texts(["deu_Latn"] * 10, max_passage_digit_share=shares), DIGITS, keep=keep, min_texts=10)
        assert made.kept == {"deu_Latn": 1 - dropped / 10}


def test_two_rules_share_what_may_go_between_them():
    """Digits are worst in the last texts, letters in the first: with k texts dropped by each rule, 2 k are lost."""
    digits, letters = np.linspace(0.101, 0.300, 200), np.linspace(0.3, 0.499, 200)
    sample = texts(["deu_Latn"] * 200, max_passage_digit_share=digits, min_passage_letter_share=letters)
    made = calibrate(sample, BOTH, keep=0.95, min_texts=100)
    assert made.thresholds["deu_Latn"] == {"max_passage_digit_share": 0.295, "min_passage_letter_share": 0.305}
    assert made.kept["deu_Latn"] == 0.95


def test_rules_that_drop_the_same_texts_may_both_drop_them():
    digits, letters = np.linspace(0.101, 0.300, 200), np.linspace(0.499, 0.3, 200)
    sample = texts(["deu_Latn"] * 200, max_passage_digit_share=digits, min_passage_letter_share=letters)
    made = calibrate(sample, BOTH, keep=0.95, min_texts=100)
    assert made.thresholds["deu_Latn"] == {"max_passage_digit_share": 0.29, "min_passage_letter_share": 0.31}


def test_a_threshold_is_never_stricter_than_the_rule_allows():
    made = calibrate(texts(["deu_Latn"] * 200, max_passage_digit_share=[0.0] * 200), DIGITS)
    assert made.thresholds["deu_Latn"] == {"max_passage_digit_share": 0.1}
    assert made.kept["deu_Latn"] == 1.0


def test_languages_of_too_few_texts_are_taken_together_by_script():
    languages = ["deu_Latn"] * 100 + ["dan_Latn"] * 60 + ["swe_Latn"] * 60 + ["rus_Cyrl"] * 60
    digits = [0.2] * 100 + [0.3] * 120 + [0.9] * 60
    made = calibrate(texts(languages, max_passage_digit_share=digits), DIGITS, min_texts=100)
    assert set(made.thresholds) == {"deu_Latn", "Latn", "others"}
    assert made.thresholds["deu_Latn"] == {"max_passage_digit_share": 0.2}
    assert made.thresholds["Latn"] == {"max_passage_digit_share": 0.3}
    assert made.threshold("max_passage_digit_share", "dan_Latn") == 0.3
    assert made.threshold("max_passage_digit_share", "rus_Cyrl") == 0.3
    assert made.texts == {"dan_Latn": 60, "deu_Latn": 100, "rus_Cyrl": 60, "swe_Latn": 60}


def test_a_script_is_as_mild_as_the_mildest_of_its_languages():
    languages = ["deu_Latn"] * 100 + ["eng_Latn"] * 100
    letters = [0.6] * 100 + [0.5] * 100
    settings = FilterSettings(min_passage_letter_share="calibrated")
    made = calibrate(texts(languages, min_passage_letter_share=letters), settings, min_texts=100)
    assert made.thresholds["Latn"] == made.thresholds["others"] == {"min_passage_letter_share": 0.5}


def test_languages_that_no_identifier_tells_apart_have_one_calibration():
    languages = ["arb_Arab"] * 50 + ["arz_Arab"] * 50
    made = calibrate(texts(languages, max_passage_digit_share=[0.2] * 100), DIGITS, min_texts=100)
    assert made.threshold("max_passage_digit_share", "acm_Arab") == 0.2
    assert made.texts == {"ara_Arab": 100}


def test_short_texts_are_left_out():
    digits, lengths = [0.2] * 100 + [0.9] * 100, [100] * 100 + [99] * 100
    sample = texts(["deu_Latn"] * 200, lengths, max_passage_digit_share=digits)
    assert calibrate(sample, DIGITS, min_texts=100).thresholds["deu_Latn"] == {"max_passage_digit_share": 0.2}


def test_a_measure_that_a_language_has_not_gets_no_threshold():
    sample = texts(["deu_Latn"] * 100, min_passage_letter_share=[np.nan] * 100, max_passage_digit_share=[0.2] * 100)
    settings = FilterSettings(min_word_order="calibrated", max_passage_digit_share="calibrated")
    values = {"max_passage_digit_share": sample.values["max_passage_digit_share"]}
    order = np.full(100, np.nan, np.float32)
    made = calibrate(
        CleanTexts(sample.languages, sample.lengths, values | {"min_word_order": order}), settings, min_texts=50
    )
    assert made.thresholds["deu_Latn"] == {"max_passage_digit_share": 0.2}
    assert made.threshold("min_word_order", "deu_Latn") is None


def test_the_order_of_the_texts_makes_no_difference():
    rng = np.random.default_rng(3)
    digits, letters = rng.random(400), rng.random(400)
    languages = np.array(["deu_Latn", "jpn_Jpan"])[rng.integers(0, 2, 400)]
    order = rng.permutation(400)
    made = [
        calibrate(
            texts(
                languages[rows].tolist(), max_passage_digit_share=digits[rows], min_passage_letter_share=letters[rows]
            ),
            BOTH,
            min_texts=50,
        )
        for rows in (np.arange(400), order)
    ]
    assert made[0] == made[1]
    assert all(0.95 <= kept <= 1 for kept in made[0].kept.values())


def test_nothing_to_calibrate_and_too_few_texts_are_errors_that_say_what_to_do():
    with pytest.raises(CalibrationError, match="--set max_passage_digit_share=calibrated"):
        rules_to_calibrate(FilterSettings(preset="gopher"))
    with pytest.raises(CalibrationError, match=r"deu_Latn: 3.*--min-texts"):
        calibrate(texts(["deu_Latn"] * 3, max_passage_digit_share=[0.1] * 3), DIGITS)
