"""Language codes."""

import pytest

from sources.languages import language_code, same_language


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
    ],
)
def test_any_tag_becomes_one_code(tag: str, code: str) -> None:
    assert language_code(tag) == code


def test_languages_agree_script_aside_and_the_unknown_with_nothing() -> None:
    assert same_language("zho_Hans", "zho_Hant")
    assert not same_language("eng_Latn", "deu_Latn")
    assert not same_language("und", "und")
