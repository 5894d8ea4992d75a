"""Which language a code means to prompts and checks, and what the language is called.

Languages are told apart here by ISO 639-3 alone, macrolanguages whole: arb_Arab and ara_Arab are `ara`, zho_Hans and
zho_Hant `zho`.
"""

from functools import lru_cache
from typing import Final

import langcodes
from langcodes.tag_parser import LanguageTagError

from sources.languages import language_code

MLDR_LANGUAGES: Final = ("ara", "deu", "eng", "fra", "hin", "ita", "jpn", "kor", "por", "rus", "spa", "tha", "zho")

_NAMES: Final = {
    "ara": "Arabic",
    "deu": "German",
    "eng": "English",
    "fra": "French",
    "hin": "Hindi",
    "ita": "Italian",
    "jpn": "Japanese",
    "kor": "Korean",
    "por": "Portuguese",
    "rus": "Russian",
    "spa": "Spanish",
    "tha": "Thai",
    "zho": "Chinese",
    # Others a document may well be in.
    "ben": "Bengali",
    "bul": "Bulgarian",
    "cat": "Catalan",
    "ces": "Czech",
    "dan": "Danish",
    "ell": "Greek",
    "fas": "Persian",
    "fin": "Finnish",
    "heb": "Hebrew",
    "hun": "Hungarian",
    "msa": "Malay",
    "nld": "Dutch",
    "nor": "Norwegian",
    "pol": "Polish",
    "ron": "Romanian",
    "swa": "Swahili",
    "swe": "Swedish",
    "tam": "Tamil",
    "tel": "Telugu",
    "tur": "Turkish",
    "ukr": "Ukrainian",
    "urd": "Urdu",
    "vie": "Vietnamese",
    "yor": "Yoruba",
}
_WRITTEN: Final = {"zho_Hans": "Simplified Chinese", "zho_Hant": "Traditional Chinese", "ind_Latn": "Indonesian"}

# "Write in this language and in no other", in the language itself.
_WRITE_IN: Final = {
    "ara": "اكتب باللغة العربية فقط.",
    "deu": "Schreibe auf Deutsch und in keiner anderen Sprache.",
    "eng": "Write in English only.",
    "fra": "Écris en français et dans aucune autre langue.",
    "hin": "केवल हिन्दी में लिखें।",
    "ita": "Scrivi in italiano e in nessun'altra lingua.",
    "jpn": "日本語だけで書いてください。",
    "kor": "한국어로만 작성하세요.",
    "por": "Escreve em português e em nenhuma outra língua.",
    "rus": "Пиши только на русском языке.",
    "spa": "Escribe en español y en ningún otro idioma.",
    "tha": "เขียนเป็นภาษาไทยเท่านั้น",
    "zho": "只用中文书写。",
    "zho_Hant": "只用中文（繁體字）書寫。",
}


@lru_cache(maxsize=65_536)  # codes come from data: bounded
def language_key(code: str) -> str:
    """The ISO 639-3 code of any tag or code, without script, macrolanguages whole; `und` where it means nothing."""
    alpha3 = language_code(code).split("_", 1)[0]
    try:
        return langcodes.Language.get(alpha3).prefer_macrolanguage().to_alpha3()
    except (LanguageTagError, LookupError):
        return alpha3


def language_name(code: str) -> str | None:
    """The English name, as `German`; None where it is not among those known here."""
    return _WRITTEN.get(language_code(code)) or _NAMES.get(language_key(code))


def write_in_language(code: str) -> str:
    """The order to write in a language: in that language for those of MLDR, in English for others."""
    own = _WRITE_IN.get(language_code(code)) or _WRITE_IN.get(language_key(code))
    name = language_name(code)
    return own or (f"Write in {name} only." if name else "Write in the language of the text only.")
