"""Language codes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.language import language_group
from sources.languages import _code_of_tag, is_language, language_code, language_pair


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("en", "eng_Latn"),
        ("zh", "zho_Hans"),
        ("zh-Hant", "zho_Hant"),
        ("zh_TW", "zho_Hant"),
        ("pt_BR", "por_Latn"),
        ("eng_Latn", "eng_Latn"),
        ("deu", "deu_Latn"),
        ("sr", "srp_Cyrl"),
        (" ru ", "rus_Cyrl"),
        ("prs_Arab", "prs_Arab"),
        ("tgl_Latn", "tgl_Latn"),
        ("arb_Arab", "arb_Arab"),
        ("als_Latn", "als_Latn"),
        ("sat_Olck", "sat_Olck"),
        ("chi", "zho_Hans"),
        ("ger", "deu_Latn"),
        ("swh", "swh_Latn"),
        # OPUS
        ("zh_CN", "zho_Hans"),
        ("pt_br", "por_Latn"),
        ("ze_zh", "zho_Hans"),
        ("ze_en", "eng_Latn"),
        ("sr_Latn", "srp_Latn"),
        ("sr_el", "srp_Latn"),
        ("sr_ME", "srp_Latn"),
        ("me_Cyrl", "cnr_Cyrl"),
        ("nan_latn_pehoeji", "nan_Latn"),
        ("jp", "jpn_Jpan"),
        ("zht", "zho_Hant"),
        ("kr_Arab", "kau_Arab"),
        ("az_IR", "aze_Arab"),
        # Wikipedia
        ("simple", "eng_Latn"),
        ("als", "gsw_Latn"),
        ("zh-min-nan", "nan_Latn"),
        ("zh_min_nan", "nan_Latn"),
        ("be-x-old", "bel_Cyrl"),
        ("zh-yue", "yue_Hant"),
        ("zh-classical", "lzh_Hant"),
        ("roa-tara", "nap_Latn"),
        ("fiu-vro", "vro_Latn"),
        ("bat-smg", "sgs_Latn"),
        ("bh", "bho_Deva"),
        # mC4
        ("iw", "heb_Hebr"),
        ("jw", "jav_Latn"),
        ("ja-Latn", "jpn_Latn"),
        ("not a language", "und"),
        ("", "und"),
        ("und", "und"),
        ("und-Latn", "und"),
        ("mul", "und"),
    ],
)
def test_any_tag_becomes_one_code(tag: str, code: str) -> None:
    assert language_code(tag) == code


def test_a_text_where_a_tag_should_be_is_unknown_and_is_not_kept() -> None:
    before = _code_of_tag.cache_info().currsize
    assert language_code("en-" + "a" * 33) == "und"
    assert language_code("x" * 1_000_000) == "und"
    assert language_code("en" + " " * 50) == "eng_Latn"
    assert _code_of_tag.cache_info().currsize <= before + 1
    assert _code_of_tag.cache_info().maxsize == 65_536


def test_a_text_where_a_code_should_be_has_no_group() -> None:
    assert language_group("arb_Arab") == "ara"
    assert language_group("x" * 36) == "und"


@given(st.text(max_size=36))
def test_any_text_gives_a_code(text: str) -> None:
    assert language_code(text)


@pytest.mark.parametrize("tag", ["en", "eng_Latn", "zh_CN", "ze_zh", "als", "fra-CA", "zh-Hant", "simple"])
def test_tags_of_languages_are_told_from_other_words(tag: str) -> None:
    assert is_language(tag)


@pytest.mark.parametrize("word", ["", "scores", "labels", "README", "v7", "corpus", "x" * 100, "0"])
def test_other_words_are_no_languages(word: str) -> None:
    assert not is_language(word)


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("ces_Latn-ukr_Cyrl", ("ces_Latn", "ukr_Cyrl")),
        ("en-zh_CN", ("en", "zh_CN")),
        ("zh-Hant-en", ("zh-Hant", "en")),
        ("en-zh-Hant", ("en", "zh-Hant")),
        ("part-00001", None),
        ("en", None),
        ("-".join(["en"] * 50), None),
    ],
)
def test_a_name_of_two_languages_is_taken_apart(name: str, pair: tuple[str, str] | None) -> None:
    assert language_pair(name) == pair
