"""mC4 and C4 (allenai/c4): texts of web pages in 108 languages, without titles.

Pairs: the title that a text begins with, and the rest (sources.families.own_title says when it has one). C4 keeps only lines that
end as sentences do, so few of its texts have one; mC4's keep their first line, which mostly is the page's title.
"""

from typing import Final

from sources.families.own_title import OwnTitleSettings, text_layout
from sources.families.path_language import language_of_path
from sources.records import record_source
from sources.source import Split

_tag = language_of_path(r"c4-(?!train|validation)([a-z]{2,3}(?:-[A-Za-z]{4})?)(?:-validation)?\.tfrecord")
_english = language_of_path(r"\bc4-(train|validation)\.")


def _language(split: Split) -> str | None:
    return "en" if _english(split) else _tag(split)


SOURCE: Final = record_source(
    name="mc4",
    summary="Web pages in 108 languages (mC4), and C4, the cleaned English ones",
    kinds=("title_body",),
    languages="108, as the names of the files say",
    layout="c4-{language}.tfrecord-*.json.gz (mC4), en/c4-train.*.json.gz (C4): text, timestamp, url",
    license="ODC-By-1.0; the texts are their publishers'",
    obtain="https://huggingface.co/datasets/allenai/c4",
    verified="real rows of both",
    layouts=(text_layout(url="url"),),
    Settings=OwnTitleSettings,
    language=_language,
)
