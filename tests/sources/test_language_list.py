"""The lists of languages and directions."""

from sources.language_list import CCMATRIX_CODES, MC4_CODES, NLLB_CODES, corpus_languages, nllb_directions
from sources.languages import UNKNOWN, is_language, language_code


def test_the_lists_have_as_many_codes_as_their_corpora_say() -> None:
    assert len(set(NLLB_CODES)) == 204 + 2  # FLORES-200 and two of the mined bitexts
    assert len(set(CCMATRIX_CODES)) == 90
    assert len(set(MC4_CODES)) == 107  # 108 with `und`


def test_every_code_of_nllb_stands_for_itself() -> None:
    assert [code for code in NLLB_CODES if language_code(code) != code] == []


def test_every_code_is_a_language() -> None:
    codes = {*NLLB_CODES, *CCMATRIX_CODES, *MC4_CODES}
    assert [code for code in codes if not is_language(code) or language_code(code) == UNKNOWN] == []
    assert len(corpus_languages()) >= 194


def test_the_directions_of_nllb_are_as_many_as_it_has_bitexts_and_in_its_languages() -> None:
    directions = nllb_directions()
    assert len(directions) == len(set(directions)) == 2656
    assert all(first < second for first, second in directions)
    assert {code for pair in directions for code in pair} <= set(NLLB_CODES)
    assert ("eng_Latn", "zho_Hans") in directions
    assert ("ces_Latn", "ukr_Cyrl") in directions
    assert ("eng_Latn", "zul_Latn") in directions
    assert ("aka_Latn", "ben_Beng") not in directions


def test_of_nllbs_directions_148_and_those_of_ccmatrix_are_with_english() -> None:
    """NLLB mined 148 bitexts with English (its card); the rest of these came from CCMatrix."""
    with_english = [pair for pair in nllb_directions() if "eng_Latn" in pair]
    assert len(with_english) == 148 + 39
