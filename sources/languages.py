"""Language codes: whatever a corpus writes ("en", "zh-Hant", "deu") to ISO 639-3 with script ("eng_Latn")."""

from functools import lru_cache
from typing import Final

import langcodes
from langcodes.tag_parser import LanguageTagError

UNKNOWN = "und"
LONGEST_TAG: Final = 35  # characters: what RFC 5646, section 4.4.1, tells implementations to make room for


def language_code(tag: str) -> str:
    """The ISO 639-3 code with its script for any BCP 47, ISO 639-1/2/3 or NLLB tag; `und` where the tag means nothing.

    >>> language_code("zh"), language_code("zh-Hant"), language_code("eng_Latn"), language_code("pt_BR")
    ('zho_Hans', 'zho_Hant', 'eng_Latn', 'por_Latn')
    """
    tag = tag.strip()
    return UNKNOWN if len(tag) > LONGEST_TAG else _code_of_tag(tag)


@lru_cache(maxsize=65_536)  # tags come from data: bounded, and long ones stay out
def _code_of_tag(tag: str) -> str:
    try:
        language = langcodes.Language.get(tag.replace("_", "-")).maximize()
        alpha3 = language.to_alpha3()
    except (LanguageTagError, LookupError):
        return UNKNOWN
    if alpha3 == UNKNOWN:
        return UNKNOWN
    return f"{alpha3}_{language.script}" if language.script else alpha3
