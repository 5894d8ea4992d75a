"""Thresholds that depend on a row's language: given in the recipe, or taken from a calibration."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from filters.calibration import CalibrationError, load_calibration
from filters.decide import decide
from filters.measure import measure
from filters.settings import FilterSettings
from sources.schema import make_pairs

WORDS = 12
GERMAN = "Die Fähre verlässt den Hafen um sieben und die Leute gehen mit ihren Rädern von Bord."


def decided(settings, languages, measured=None, words=WORDS, length=500, kind="title_body", digits=0.0):
    rows = len(languages)
    columns = {
        "query_length": pa.array([20] * rows, pa.int32()),
        "positive_length": pa.array([length] * rows, pa.int32()),
        "positive_words": pa.array([words] * rows, pa.int32()),
        "query_digit_share": pa.array([0.0] * rows, pa.float32()),
        "positive_digit_share": pa.array([digits] * rows, pa.float32()),
    }
    if measured is not None:
        columns |= {"query_language": pa.array(measured), "positive_language": pa.array(measured)}
    batch = pa.RecordBatch.from_pydict(columns)
    claimed = pa.array(languages)
    return decide(batch, settings, pa.array([kind] * rows), claimed, claimed).to_pylist()


def test_a_threshold_is_looked_up_by_language_then_group_then_script_then_default():
    settings = FilterSettings(
        min_words=5, by_language={"arb_Arab": {"min_words": 13}, "ar": {"min_words": 3}, "Latn": {"min_words": 14}}
    )
    languages = ["arb_Arab", "arz_Arab", "deu_Latn", "rus_Cyrl", "und"]
    assert decided(settings, languages) == ["too_few_words", None, "too_few_words", None, None]


def test_a_language_that_the_corpus_left_open_is_the_measured_one():
    settings = FilterSettings(by_language={"ja": {"min_words": 13}})
    measured = ["jpn_Jpan", "jpn_Jpan", None]
    assert decided(settings, ["und", "deu_Latn", "und"], measured) == ["too_few_words", None, None]


def test_null_switches_a_rule_off_for_a_language_and_a_number_on():
    settings = FilterSettings(min_words=13, by_language={"Jpan": {"min_words": None}})
    assert decided(settings, ["jpn_Jpan", "deu_Latn"]) == [None, "too_few_words"]
    assert FilterSettings(by_language={"Jpan": {"min_words": 13}}).families() == {"text", "language"}


def test_a_value_at_a_threshold_by_language_is_kept_in_single_precision_too():
    settings = FilterSettings(by_language={"Latn": {"max_digit_share": 0.1}})
    assert decided(settings, ["deu_Latn"], digits=0.1) == [None]
    above = float(np.nextafter(np.float32(0.1), np.float32(1)))
    assert decided(settings, ["deu_Latn"], digits=above) == ["too_many_digits"]


def test_names_of_languages_are_brought_to_one_form_and_unknown_ones_refused():
    settings = FilterSettings(by_language={"zh": {"min_words": 1}, "zh-Hant": {"min_words": 2}, "Jpan": {}})
    assert list(settings.by_language) == ["zho", "zho_Hant", "Jpan"]
    assert FilterSettings.model_validate(settings.model_dump(mode="json")) == settings
    for name in ("klingonese", "Abcd", ""):
        with pytest.raises(ValidationError, match="names no language and no script"):
            FilterSettings(by_language={name: {"min_words": 1}})


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [({"min_wordz": 1}, "`min_wordz` is no threshold"), ({"max_digit_share": 2}, "less than or equal to 1")],
)
def test_a_wrong_threshold_of_a_language_is_refused_by_its_name(thresholds, expected):
    with pytest.raises(ValidationError, match=expected):
        FilterSettings(by_language={"ja": thresholds})


def calibration_file(folder, **thresholds):
    file = folder / "calibration.json"
    content = {"keep": 0.95, "min_length": 100, "texts": {}, "kept": {}, "thresholds": thresholds}
    file.write_text(json.dumps(content))
    return str(file)


def test_calibrated_thresholds_come_from_the_language_then_the_script_then_others(tmp_path):
    file = calibration_file(
        tmp_path,
        deu_Latn={"max_passage_digit_share": 0.1},
        Latn={"max_passage_digit_share": 0.3},
        others={"max_passage_digit_share": 0.5},
    )
    settings = FilterSettings(max_passage_digit_share="calibrated", calibration=file)
    languages = ["deu_Latn", "fra_Latn", "rus_Cyrl", "und"]
    drops = "too_many_digits"
    assert decided(settings, languages, digits=0.2) == [drops, None, None, None]
    assert decided(settings, languages, digits=0.4) == [drops, drops, None, None]
    assert decided(settings, languages, digits=0.6) == [drops] * 4
    assert decided(settings, languages, digits=0.6, kind="other") == [None] * 4


def test_a_calibration_does_not_judge_texts_shorter_than_those_it_saw(tmp_path):
    file = calibration_file(tmp_path, others={"max_passage_digit_share": 0.1})
    settings = FilterSettings(max_passage_digit_share="calibrated", calibration=file)
    assert decided(settings, ["und"], digits=0.2, length=99) == [None]
    assert decided(settings, ["und"], digits=0.2, length=100) == ["too_many_digits"]


def test_a_number_in_place_of_calibrated_holds_for_texts_of_any_length(tmp_path):
    file = calibration_file(tmp_path, others={"max_passage_digit_share": 0.1})
    german = {"deu": {"max_passage_digit_share": 0.3}}
    settings = FilterSettings(max_passage_digit_share="calibrated", calibration=file, by_language=german)
    assert decided(settings, ["deu_Latn", "fra_Latn"], digits=0.2) == [None, "too_many_digits"]
    assert decided(settings, ["deu_Latn", "fra_Latn"], digits=0.4, length=50) == ["too_many_digits", None]
    only_german = {"deu": {"max_passage_digit_share": "calibrated"}}
    settings = FilterSettings(calibration=file, by_language=only_german)
    assert decided(settings, ["deu_Latn", "fra_Latn"], digits=0.2) == ["too_many_digits", None]


def test_rules_that_cannot_be_calibrated_refuse_the_word():
    with pytest.raises(ValidationError):
        FilterSettings(min_words="calibrated")
    with pytest.raises(ValidationError, match="write a number, null, or `calibrated`"):
        FilterSettings(max_passage_digit_share="calibrate")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "There is no calibration at"),
        ("{", "is not JSON"),
        ('{"keep": 0.9}', "is not what pairmill writes: `min_length`"),
        ('{"version": 2, "keep": 0.9, "min_length": 1, "texts": {}, "kept": {}, "thresholds": {}}', "`version`"),
    ],
)
def test_a_calibration_that_cannot_be_read_is_an_error_with_its_name(tmp_path, content, expected):
    file = tmp_path / "thresholds.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CalibrationError, match=r"thresholds\.json") as raised:
        load_calibration(str(file))
    assert expected in str(raised.value)


def test_a_missing_calibration_tells_which_come_with_pairmill():
    with pytest.raises(CalibrationError, match=r"Name a packaged one \(clean"):
        load_calibration("cleaner")


def test_what_thresholds_by_language_look_at_is_measured_though_no_rule_asks_for_it():
    one = FilterSettings(max_passage_digit_share="calibrated")
    other = FilterSettings(by_language={"de": {"max_passage_digit_share": "calibrated"}})
    number = FilterSettings(min_words=50, by_language={"de": {"min_words": 10}})
    for settings in (one, other, number):
        assert {"text", "language"} <= settings.families()
    assert other.is_calibrated("max_passage_digit_share") and not number.is_calibrated("min_words")
    batch, _ = make_pairs(query=["Fähre"], positive=[GERMAN], kind="title_body", source="t", document_id=["1"])
    columns = batch["kind"], batch["query_lang"], batch["positive_lang"]
    decisions = [decide(measure(batch, each), each, *columns).to_pylist() for each in (number, other)]
    assert decisions == [[None], [None]]
    alone = FilterSettings(min_words=50)
    assert decide(measure(batch, alone), alone, *columns).to_pylist() == ["too_few_words"]


def test_word_lists_that_no_rule_looks_at_are_refused():
    lists = {"word_lists": ["listed.txt"]}
    with pytest.raises(ValidationError, match=r"listed\.txt.*max_listed_words"):
        FilterSettings(preset="gopher", junk=lists)
    assert FilterSettings(preset="c-mtp", junk=lists).max_listed_words == 0
    off = FilterSettings(preset="c-mtp", junk=lists, max_listed_words=None)  # said, so meant
    assert FilterSettings.model_validate(off.model_dump(mode="json")) == off
    assert FilterSettings(junk=lists, by_language={"de": {"max_listed_words": 1}}).overridden == {"max_listed_words"}
