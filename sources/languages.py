"""Language codes: whatever a corpus writes ("en", "zh-Hant", "deu") to ISO 639-3 with script ("eng_Latn")."""

from functools import cache

import langcodes
from langcodes.tag_parser import LanguageTagError

UNKNOWN = "und"


@cache
def language_code(tag: str) -> str:
    """The ISO 639-3 code with its script for any BCP 47, ISO 639-1/2/3 or NLLB tag; `und` where the tag means nothing.

    >>> language_code("zh"), language_code("zh-Hant"), language_code("eng_Latn"), language_code("pt_BR")
    ('zho_Hans', 'zho_Hant', 'eng_Latn', 'por_Latn')
    """
    try:
        language = langcodes.Language.get(tag.strip().replace("_", "-")).maximize()
        alpha3 = language.to_alpha3()
    except (LanguageTagError, LookupError):
        return UNKNOWN
    if alpha3 == UNKNOWN:
        return UNKNOWN
    return f"{alpha3}_{language.script}" if language.script else alpha3


def same_language(left: str, right: str) -> bool:
    """Whether two codes name one language, script aside (`zho_Hans`, `zho_Hant`: yes); `und` agrees with nothing."""
    return left.partition("_")[0] == right.partition("_")[0] != UNKNOWN
