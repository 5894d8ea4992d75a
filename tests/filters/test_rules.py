"""The table of rules against the settings, the measures and the published values."""

import numpy as np
import pyarrow as pa
import pytest

from filters.decide import decide
from filters.language import LANGUAGE_MEASURES
from filters.measure import deciding_columns, measure
from filters.rules import CALIBRATABLE, PASSAGE_KINDS, REASONS, RULES
from filters.settings import PRESETS, FilterSettings
from filters.web_text import PUBLISHED
from sources.schema import KINDS, make_pairs

TABLE = [rule for rule in RULES if rule.judge is None]
FAMILIES = {"text", "likeness", "language", "web", "junk", "pair", "order"}


def pairs(kind="parallel"):
    texts = ["One sentence stands here.", "Zwei Sätze. Stehen hier!", "三个句子在这里。"]
    batch, _ = make_pairs(query=["1", "2", "3"], positive=texts, kind=kind, source="t", document_id=["1", "2", "3"])
    return batch


def one_row(rule, value):
    """Measurements of one pair in which only what the rule looks at is there."""
    kind = pa.bool_() if rule.drops == "true" else pa.float32()
    return pa.RecordBatch.from_pydict({name: pa.array([value], kind) for name in rule.columns()})


def reason(rule, value, settings, kind=None):
    kind = kind or min(rule.kinds or {"other"})
    columns = pa.array([kind]), pa.array(["eng_Latn"]), pa.array(["eng_Latn"])
    return decide(one_row(rule, value), settings, *columns).to_pylist()[0]


def threshold(rule):
    """A number that the setting takes, and one step beyond it."""
    if rule.drops == "true":
        return True, False, True
    if rule.setting == "min_terminal_punctuation":
        return -1.0, -1.0, -2.0
    step = 1 if rule.drops == "above" else -1
    annotation = str(FilterSettings.model_fields[rule.setting].annotation)
    if "int" in annotation and "float" not in annotation:
        return 5, 5, 5 + step
    if "Ge(ge=1)" in annotation or "ge=1)" in annotation:
        return 2.0, 2.0, 2.0 + step / 4
    return 0.5, 0.5, 0.5 + step / 4


@pytest.mark.parametrize("rule", TABLE, ids=lambda rule: rule.setting)
def test_a_value_at_the_threshold_is_kept_and_one_beyond_is_dropped(rule):
    setting, at, beyond = threshold(rule)
    settings = FilterSettings.model_validate({rule.setting: setting, "by_language": {}})
    assert settings.active
    if rule.setting == "max_copied_share":  # has a judge beside it: whole copies
        return
    assert reason(rule, at, settings) is None
    assert reason(rule, beyond, settings) == rule.reason
    assert reason(rule, None, settings) is None
    for other in set(KINDS) - set(rule.kinds or KINDS):
        assert reason(rule, beyond, settings, other) is None


@pytest.mark.parametrize("rule", TABLE, ids=lambda rule: rule.setting)
def test_every_rule_looks_at_columns_that_are_measured(rule):
    columns = set(measure(pairs(), FilterSettings(), {rule.family}).schema.names)
    assert set(rule.columns()) <= columns


def test_every_threshold_of_the_settings_has_a_rule_and_every_rule_a_setting():
    others = {"preset", "calibration", "by_language", "language", "junk"}
    assert set(FilterSettings.model_fields) - others == {rule.setting for rule in RULES}


def test_a_reason_has_one_explanation_and_every_setting_says_whose_value_it_is():
    for rule in RULES:
        assert REASONS[rule.reason].endswith(".")
    for name, field in FilterSettings.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize("preset", ["gopher", "c4", "fineweb"])
def test_presets_of_papers_have_the_published_values(preset):
    prefix = {">=": "min_", "<=": "max_"}
    published = {
        f"{prefix[comparison]}{measure}": value
        for measure, limits in PUBLISHED[preset].items()
        for comparison, value in limits
    }
    if published.pop("max_lorem_ipsum", None) == 0:
        published["drop_lorem_ipsum"] = True
    assert dict(PRESETS[preset]) == published


def test_rules_of_papers_judge_passages_only():
    for preset in ("gopher", "c4", "fineweb"):
        for name in PRESETS[preset]:
            assert {rule.kinds for rule in RULES if rule.setting == name} == {PASSAGE_KINDS}


def test_of_several_presets_the_later_goes_before_the_earlier():
    both = FilterSettings(preset=("gopher", "fineweb"), min_words=20)
    assert (both.max_duplicate_line_character_share, both.max_hash_share, both.min_words) == (0.01, 0.1, 20)
    other_way = FilterSettings(preset=("fineweb", "gopher"))
    assert other_way.max_duplicate_line_character_share == 0.2
    assert FilterSettings.model_validate(both.model_dump(mode="json")) == both


def test_what_can_be_calibrated_takes_the_word_and_is_a_rule_on_passages():
    for rule in CALIBRATABLE:
        assert FilterSettings.model_validate({rule.setting: "calibrated"}).families() >= {rule.family, "text"}
        assert rule.kinds == PASSAGE_KINDS and rule.sides == ("positive",)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_decisions_need_only_the_columns_that_they_are_said_to_need(preset):
    settings, batch = FilterSettings(preset=preset), pairs()
    columns = batch["kind"], batch["query_lang"], batch["positive_lang"]
    everything = measure(batch, settings, FAMILIES)
    needed = everything.select([name for name in everything.schema.names if name in deciding_columns(settings)])
    assert decide(needed, settings, *columns).equals(decide(everything, settings, *columns))
    assert needed.num_columns < everything.num_columns


def test_languages_are_read_whatever_the_rules_for_thresholds_depend_on_them():
    assert deciding_columns(FilterSettings()) >= set(LANGUAGE_MEASURES.names)


def test_personal_data_drops_a_pair_only_where_that_is_the_action():
    counts = {"query_email": [0, 1], "positive_email": [0, 0], "query_phone": [1, 0], "positive_phone": [0, 0]}
    batch = pa.RecordBatch.from_pydict({name: pa.array(each, pa.int32()) for name, each in counts.items()})
    columns = [pa.array(["other"] * 2)] + [pa.array(["und"] * 2)] * 2
    drop = FilterSettings(personal_data={"action": "drop", "kinds": ["email"]})
    assert decide(batch, drop, *columns).to_pylist() == [None, "personal_data"]
    assert drop.families() == {"junk"}
    for action in ("keep", "mask"):
        settings = FilterSettings(personal_data={"action": action})
        assert decide(batch, settings, *columns).to_pylist() == [None, None]


def test_a_judged_rule_is_no_longer_asked_once_its_threshold_is_null():
    settings = FilterSettings(preset="c-mtp", agreement_probability=None)
    assert "languages_disagree" not in {RULES[number].reason for number in settings.active}
    assert np.all(np.diff(settings.active) > 0)
