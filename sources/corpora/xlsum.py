"""XL-Sum: BBC articles with title, summary and text in 45 languages; MLSUM has the same records in five.

Pairs: (title, text) and (title, summary), as C-MTP has them; (summary, text) where `kinds` asks for summary_body.
"""

import re
from collections.abc import Iterator
from typing import Final

from sources.record_formats import Record
from sources.records import Layout, RawDocument, RawPair, RecordSettings, record_id, record_source
from sources.source import Split

_LANGUAGES: Final = {
    "amharic": "am",
    "arabic": "ar",
    "azerbaijani": "az",
    "bengali": "bn",
    "burmese": "my",
    "chinese_simplified": "zh-Hans",
    "chinese_traditional": "zh-Hant",
    "english": "en",
    "french": "fr",
    "gujarati": "gu",
    "hausa": "ha",
    "hindi": "hi",
    "igbo": "ig",
    "indonesian": "id",
    "japanese": "ja",
    "kirundi": "rn",
    "korean": "ko",
    "kyrgyz": "ky",
    "marathi": "mr",
    "nepali": "ne",
    "oromo": "om",
    "pashto": "ps",
    "persian": "fa",
    "pidgin": "pcm",
    "portuguese": "pt",
    "punjabi": "pa",
    "russian": "ru",
    "scottish_gaelic": "gd",
    "serbian_cyrillic": "sr-Cyrl",
    "serbian_latin": "sr-Latn",
    "sinhala": "si",
    "somali": "so",
    "spanish": "es",
    "swahili": "sw",
    "tamil": "ta",
    "telugu": "te",
    "thai": "th",
    "tigrinya": "ti",
    "turkish": "tr",
    "ukrainian": "uk",
    "urdu": "ur",
    "uzbek": "uz",
    "vietnamese": "vi",
    "welsh": "cy",
    "yoruba": "yo",
}
_NAME: Final = re.compile(rf".*(?:^|[/=])({'|'.join(_LANGUAGES)})(?:[/_.&-]|$)")
_MLSUM: Final = re.compile(r".*(?:^|/)(de|es|fr|ru|tu)(?:/|_(?:train|val|test)\b)")


def _language(split: Split) -> str | None:
    """The last language in the path: folders above those of the corpus may be named after others."""
    if found := _NAME.search(split.path):
        return _LANGUAGES[found[1]]
    found = _MLSUM.search(split.path)
    return found and found[1].replace("tu", "tr")


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    identity, url = _identity(record), record.get("url")
    title, summary, text = record["title"], record["summary"], record["text"]
    yield RawPair(title, text, "title_body", document_id=identity, url=url)
    yield RawPair(title, summary, "title_abstract", document_id=identity, url=url)
    yield RawPair(summary, text, "summary_body", document_id=identity, url=url)


def _document(record: Record, settings: RecordSettings) -> RawDocument:
    return RawDocument(record["title"], record["text"], document_id=_identity(record), url=record.get("url"))


def _identity(record: Record) -> str | None:
    return record_id("xlsum", record.get("id"))


SOURCE: Final = record_source(
    name="xlsum",
    summary="BBC articles with summaries in 45 languages (XL-Sum), newspapers in five (MLSUM)",
    kinds=("title_body", "title_abstract", "summary_body"),
    usual_kinds=("title_body", "title_abstract"),
    languages="45, as the names of the files or folders say",
    layout="JSON lines {language}_{train,val,test}.jsonl or Parquet: id, url, title, summary, text",
    license="CC-BY-NC-SA-4.0",
    obtain="https://github.com/csebuetnlp/xl-sum",
    verified="the corpus's README; MLSUM: example rows of its loader",
    layouts=(Layout({"title": str, "summary": str, "text": str}, _pairs, {"id": str, "url": str}, _document),),
    language=_language,
)
