"""Language codes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.language import language_group
from sources.languages import _code_of_tag, language_code


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
