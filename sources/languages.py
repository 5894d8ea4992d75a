"""Language codes: whatever a corpus writes ("en", "zh-Hant", "deu") to ISO 639-3 with script ("eng_Latn")."""

from functools import lru_cache
from typing import Final

import langcodes
from langcodes.tag_parser import LanguageTagError

UNKNOWN = "und"
LONGEST_TAG: Final = 35  # characters: what RFC 5646, section 4.4.1, tells implementations to make room for

# Tags that corpora use and that the registry of BCP 47 does not know, knows as another language, or merges with one.
# Left the tag, in lower case with hyphens. Wikipedia's are the codes of its editions: als.wikipedia.org is Alemannic,
# so a bare `als` is not ISO 639-3's Tosk Albanian, which NLLB writes als_Latn.
_OTHER_TAGS: Final = {
    # Wikipedia
    "als": "gsw_Latn",
    "bat-smg": "sgs_Latn",
    "be-tarask": "bel_Cyrl",
    "be-x-old": "bel_Cyrl",
    "bh": "bho_Deva",
    "cbk-zam": "cbk_Latn",
    "fiu-vro": "vro_Latn",
    "map-bms": "jav_Latn",
    "nds-nl": "nds_Latn",
    "roa-rup": "rup_Latn",
    "roa-tara": "nap_Latn",
    "sh": "hbs_Latn",
    "hbs": "hbs_Latn",
    "simple": "eng_Latn",
    "zh-classical": "lzh_Hant",
    "zh-min-nan": "nan_Latn",
    # NLLB: two languages that the registry merges with another
    "prs": "prs_Arab",
    "prs-arab": "prs_Arab",
    "tl": "tgl_Latn",
    "tgl": "tgl_Latn",
    "tgl-latn": "tgl_Latn",
    # OPUS: bilingual Chinese and English subtitles, MediaWiki's variants of Serbian, codes of old corpora
    "ze-en": "eng_Latn",
    "ze-zh": "zho_Hans",
    "sr-ec": "srp_Cyrl",
    "sr-el": "srp_Latn",
    "sr-yu": "srp_Latn",
    "cn": "zho_Hans",
    "cz": "ces_Latn",
    "dk": "dan_Latn",
    "gr": "ell_Grek",
    "hb": "heb_Hebr",
    "jp": "jpn_Jpan",
    "me": "cnr_Latn",
    "me-cyrl": "cnr_Cyrl",
    "me-latn": "cnr_Latn",
    "ns": "nso_Latn",
    "sz": "szl_Latn",
    "toki": "tok_Latn",
    "ua": "ukr_Cyrl",
    "zhs": "zho_Hans",
    "zht": "zho_Hant",
}
_NO_LANGUAGE: Final = frozenset({UNKNOWN, "mul", "mis", "zxx"})  # none known, several, uncoded, none


def language_code(tag: str) -> str:
    """The ISO 639-3 code with its script for any BCP 47, ISO 639-1/2/3, NLLB, OPUS or Wikipedia tag.

    `und` where the tag means nothing. Every code of NLLB stands for itself. A macrolanguage stays one: `ar` is ara_Arab,
    `arb_Arab` is arb_Arab (filters.language.language_group holds them to be alike).

    >>> language_code("zh"), language_code("zh-Hant"), language_code("eng_Latn"), language_code("pt_BR")
    ('zho_Hans', 'zho_Hant', 'eng_Latn', 'por_Latn')
    """
    tag = tag.strip()
    return UNKNOWN if len(tag) > LONGEST_TAG else _code_of_tag(tag)


def is_language(tag: str) -> bool:
    """Whether a tag names a language that is registered: what tells `de` in a file's name from `scores`."""
    tag = tag.strip().replace("_", "-")
    return len(tag) <= LONGEST_TAG and (tag.lower() in _OTHER_TAGS or _is_registered(tag))


@lru_cache(maxsize=65_536)  # tags come from data: bounded, and long ones stay out
def _code_of_tag(tag: str) -> str:
    tag = tag.replace("_", "-")
    if code := _OTHER_TAGS.get(tag.lower()):
        return code
    try:
        language = langcodes.Language.get(tag)
        if (language.language or UNKNOWN) in _NO_LANGUAGE:  # maximize would make English of it
            return UNKNOWN
        language = language.maximize()
        alpha3 = language.to_alpha3()
    except (LanguageTagError, LookupError):
        return UNKNOWN
    if alpha3 == UNKNOWN:
        return UNKNOWN
    return f"{alpha3}_{language.script}" if language.script else alpha3


@lru_cache(maxsize=65_536)
def _is_registered(tag: str) -> bool:
    if langcodes.tag_is_valid(tag):
        return True
    language, _, _ = tag.partition("-")
    return (
        len(language) == 3 and language.isalpha() and _code_of_tag(tag) != UNKNOWN and langcodes.tag_is_valid(language)
    )


def language_pair(name: str) -> tuple[str, str] | None:
    """The two tags that a name such as `ces_Latn-ukr_Cyrl`, `en-zh_CN` or `zh-Hant-en` joins; None where it is no such."""
    parts = name.split("-", 6)
    for cut in range(1, len(parts)):
        first, second = "-".join(parts[:cut]), "-".join(parts[cut:])
        if is_language(first) and is_language(second):
            return first, second
    return None
