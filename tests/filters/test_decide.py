"""Reasons from measurements and thresholds, and from texts to reasons."""

import pyarrow as pa
import pytest
from pydantic import ValidationError

from filters.decide import PRESETS, REASONS, RULES, FilterSettings, MissingMeasureError, decide
from filters.language import LANGUAGE_MEASURES
from filters.measure import measure, record_languages
from sources.schema import PAIR, make_pairs

ENGLISH = "The committee will publish its findings at the end of the month."
GERMAN = "Der Ausschuss wird seine Ergebnisse am Ende des Monats veröffentlichen."
PRESET = FilterSettings(preset="c-mtp")
CHINESE = "委员会将于月底公布调查结果，随后召开新闻发布会说明情况。"


def pairs(query, positive, kind="title_body", query_lang="und", positive_lang="und"):
    batch, _ = make_pairs(
        query=[query],
        positive=[positive],
        kind=kind,
        source="test",
        document_id=["1"],
        query_lang=query_lang,
        positive_lang=positive_lang,
    )
    return batch


def reason(query, positive, kind="title_body", query_lang="und", positive_lang="und", settings=PRESET):
    batch = pairs(query, positive, kind, query_lang, positive_lang)
    decided = decide(measure(batch, settings), settings, batch["kind"], batch["query_lang"], batch["positive_lang"])
    assert decided.type == pa.string()
    return decided.to_pylist()[0]


@pytest.mark.parametrize(
    ("query", "positive", "kind"),
    [
        ("Findings", ENGLISH, "title_body"),
        ("北京", CHINESE, "title_body"),
        ("OK", "Aceptar", "parallel"),
        ("Open", "打开", "parallel"),
        ("2008", "2008 was a leap year starting on Tuesday.", "other"),
        ("ไทย", "ประเทศไทยเป็นประเทศในเอเชียตะวันออกเฉียงใต้", "title_body"),
        ("हिन्दी", "हिन्दी भारत की एक भाषा है और बहुत लोग इसे बोलते हैं।", "title_body"),
        ("C++", "C++ is a general-purpose language that grew out of C.", "title_body"),
    ],
)
def test_good_pairs_of_every_script_are_kept(query, positive, kind):
    settings = FilterSettings(preset="c-mtp", max_digit_share=None, min_letter_share=None, max_symbol_share=None)
    assert reason(query, positive, kind, settings=settings) is None


@pytest.mark.parametrize(
    ("query", "positive", "expected"),
    [
        ("A", ENGLISH, "query_too_short"),
        ("Title", "x", "positive_too_short"),
        ("Title", "See there.", "positive_too_short"),
        ("word " * 1000, ENGLISH, "query_too_long"),
        ("Caf\ufffd", ENGLISH, "replacement_characters"),
        ("Contents", ENGLISH + "." * 21, "repeated_character"),
        ("Title", "12 34 (56) 78 90 - 12 34 (56) 78 90", "too_few_letters"),
        ("Title", "https://example.org/a/very/long/address and so on, and on", "too_many_urls"),
        ("Title", ENGLISH + " " + "QWxhZGRpbjpvcGVu" * 63, "word_too_long"),
        (ENGLISH, ENGLISH.upper(), "copy"),
        (ENGLISH, ENGLISH + " End.", "positive_repeats_query"),
    ],
)
def test_bad_pairs_are_dropped_for_the_first_reason_they_give(query, positive, expected):
    assert reason(query, positive) == expected


def test_digits_symbols_and_capitals_have_thresholds_of_their_own():
    assert reason("Title", "1234567 abc", "other", settings=FilterSettings(max_digit_share=0.5)) == "too_many_digits"
    assert reason("Title", "=> (x) <=", "other", settings=FilterSettings(max_symbol_share=0.5)) == "too_many_symbols"
    assert reason("TITLE", ENGLISH, settings=FilterSettings(max_capital_share=0.9)) == "too_many_capitals"
    assert reason("Title", ENGLISH, settings=FilterSettings(max_positive_characters=10)) == "positive_too_long"


def test_a_value_at_its_threshold_is_kept():
    at = FilterSettings(min_query_characters=5, max_query_characters=5, max_positive_characters=len(ENGLISH))
    assert reason("Title", ENGLISH, settings=at) is None


def test_only_pairs_that_say_the_same_twice_have_a_length_ratio():
    assert reason("Short.", ENGLISH, "parallel") == "length_ratio"
    assert reason("Short.", ENGLISH, "title_body") is None


def test_an_edit_may_begin_with_its_original():
    assert reason(ENGLISH, ENGLISH + " End.", "edit") is None


def test_languages_are_held_against_what_the_corpus_claims():
    assert reason("Outlook", GERMAN, query_lang="eng_Latn", positive_lang="eng_Latn") == "wrong_language_query"
    parallel = {"kind": "parallel", "query_lang": "eng_Latn", "positive_lang": "fra_Latn"}
    assert reason(ENGLISH, GERMAN, **parallel) == "wrong_language_positive"
    assert reason(ENGLISH, GERMAN, "parallel", "eng_Latn", "deu_Latn") is None


def test_sides_in_two_languages_are_dropped_where_one_is_meant():
    assert reason(ENGLISH, GERMAN) == "languages_disagree"
    assert reason(ENGLISH, GERMAN, "parallel") is None


def test_sides_in_one_language_are_dropped_where_two_are_meant():
    other = "It was said that the ministers would meet again in autumn."
    assert reason(ENGLISH, other, "parallel") == "languages_agree"
    assert reason(ENGLISH, other, "paraphrase") is None


def test_simplified_and_traditional_chinese_may_be_parallel():
    traditional = "委員會將於月底公布調查結果，隨後召開新聞發布會說明情況。"
    assert reason(CHINESE, traditional, "parallel", "zho_Hans", "zho_Hant") is None


def test_languages_not_asked_for_are_dropped_by_claim_or_else_by_measure():
    only = FilterSettings(languages=("zh", "en"))
    assert reason("Outlook", GERMAN, settings=only) == "language_not_wanted"
    assert reason("Outlook", ENGLISH, settings=only) is None
    assert (
        reason("Outlook", "Datei", query_lang="deu_Latn", positive_lang="deu_Latn", settings=only)
        == "language_not_wanted"
    )
    assert reason("开始", CHINESE, query_lang="zho_Hant", positive_lang="zho_Hant", settings=only) is None
    assert reason("Open", "File", settings=only) is None


def test_neither_side_clear_is_a_reason_one_side_clear_is_not():
    settings = FilterSettings(min_language_probability=0.3)
    rows = {"query_language": ["eng_Latn"] * 4, "positive_language": ["eng_Latn"] * 4}
    rows |= {
        "query_language_probability": [0.2, 0.2, None, None],
        "positive_language_probability": [0.1, 0.9, 0.2, None],
    }
    measurements = pa.RecordBatch.from_pydict(rows, LANGUAGE_MEASURES)
    kinds, languages = pa.array(["other"] * 4), pa.array(["und"] * 4)
    low = "low_language_probability"
    assert decide(measurements, settings, kinds, languages, languages).to_pylist() == [low, None, low, None]


def test_other_thresholds_decide_again_on_the_same_measurements():
    batch = pairs("Words", ENGLISH)
    measurements = measure(batch, FilterSettings(), PRESET.families())
    columns = batch["kind"], batch["query_lang"], batch["positive_lang"]
    assert decide(measurements, FilterSettings(), *columns).to_pylist() == [None]
    assert decide(measurements, PRESET, *columns).to_pylist() == [None]
    stricter = FilterSettings(min_query_characters=6)
    assert decide(measurements, stricter, *columns).to_pylist() == ["query_too_short"]


def test_without_rules_nothing_is_measured_and_nothing_dropped():
    assert FilterSettings().families() == frozenset()
    batch = pairs("Title", ENGLISH)
    measurements = measure(batch, FilterSettings())
    assert (measurements.num_columns, measurements.num_rows) == (0, 0)
    assert reason("Title", "x", settings=FilterSettings()) is None


def test_a_rule_without_its_measurement_is_an_error_that_names_it():
    batch = pairs("Title", ENGLISH)
    with pytest.raises(MissingMeasureError, match="copied_share"):
        decide(measure(batch, FilterSettings(), {"text"}), FilterSettings(max_copied_share=0.9), *[batch["kind"]] * 3)


def test_a_setting_given_goes_before_the_presets_and_null_switches_a_rule_off():
    settings = FilterSettings.model_validate({"preset": "bge-m3", "max_length_ratio": 9, "max_url_share": None})
    assert (settings.max_length_ratio, settings.max_url_share, settings.max_copied_share) == (9, None, 0.9)
    assert settings.families() == {"text", "likeness", "language", "web", "junk", "pair", "order"}


def test_unknown_settings_and_presets_are_refused():
    with pytest.raises(ValidationError, match="c-mtp"):
        FilterSettings(preset="ours")
    with pytest.raises(ValidationError, match="min_query_words"):
        FilterSettings(min_query_words=3)


def test_every_preset_and_every_rule_is_known_to_the_settings():
    fields = set(FilterSettings.model_fields)
    assert all(set(preset) <= fields for preset in PRESETS.values())
    assert all(rule.setting in fields for rule in RULES)
    assert list(REASONS) == list(dict.fromkeys(rule.reason for rule in RULES))


def test_measured_languages_fill_what_the_corpus_left_open():
    batch = pairs("Outlook", GERMAN, query_lang="eng_Latn")
    recorded = record_languages(batch, measure(batch, PRESET))
    assert recorded.schema.equals(PAIR)
    row = recorded.to_pylist()[0]
    assert (row["query_lang"], row["positive_lang"]) == ("eng_Latn", "deu_Latn")
    assert row["scores"]["positive_language_probability"] > 0.9
    assert row["scores"]["relevance"] is None
    assert record_languages(batch, measure(batch, FilterSettings())).equals(batch)


def test_scores_written_before_stay():
    batch = pairs("Outlook", GERMAN)
    scored = batch.set_column(
        PAIR.get_field_index("scores"), PAIR.field("scores"), pa.array([{"relevance": 0.5}], PAIR.field("scores").type)
    )
    assert record_languages(scored, measure(scored, PRESET))["scores"][0]["relevance"].as_py() == 0.5


def test_a_batch_without_rows_is_decided_too():
    batch = pairs("Title", ENGLISH).slice(0, 0)
    decided = decide(measure(batch, PRESET), PRESET, batch["kind"], batch["query_lang"], batch["positive_lang"])
    assert len(decided) == 0
