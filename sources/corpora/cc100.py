"""CC-100: texts of web pages in 116 languages, without titles; the corpus that XLM-R was trained on.

Pairs: the title that a document begins with, and the rest (sources.families.own_title says when it has one). Many documents are
single paragraphs and give none. In the file's name `_rom` is a language in Latin letters, `my_zaw` Burmese in Zawgyi.
"""

from typing import Final

from sources.families.own_title import OwnTitleSettings, text_layout
from sources.families.path_language import language_of_path
from sources.formats.text_records import BLANK_LINES
from sources.record_formats import Format
from sources.records import record_source
from sources.source import Split

_tag = language_of_path(r"(?:^|/)([a-z]{2,3}(?:-[A-Za-z]{4}|_rom|_zaw)?)\.txt(?:\.\w+)?$")


def _language(split: Split) -> str | None:
    tag = _tag(split)
    return tag and tag.replace("_rom", "-Latn")


SOURCE: Final = record_source(
    name="cc100",
    summary="Web pages in 116 languages, the corpus of XLM-R",
    kinds=("title_body",),
    languages="116, as the names of the files say",
    layout="{language}.txt.xz: lines of text, documents divided by blank lines",
    license="that of Common Crawl; the texts are their publishers'",
    obtain="https://data.statmt.org/cc-100/",
    verified="real rows",
    layouts=(text_layout(),),
    Settings=OwnTitleSettings,
    language=_language,
    format=Format(other="text", text=BLANK_LINES),
)
