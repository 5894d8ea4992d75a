"""CC-News: news of Common Crawl, in English and in many languages.

Pairs: (title, text) and (description, text). Rows of vblagoje/cc_news are English; those of intfloat and hotchpotch's
multilingual_cc_news, of CloverSearch/cc-news-mutlilingual and of news-please itself have `maintext`; those of
stanford-oval/ccnews `plain_text`. A title that starts the text is left out of it.
"""

from collections.abc import Iterator
from typing import Final

from sources.families.own_title import without_title
from sources.families.path_language import language_of_path
from sources.record_formats import Record
from sources.records import Layout, RawDocument, RawPair, RecordSettings, record_source


def _layout(text: str, *others: str, url: str = "url", language: str | None = None) -> Layout:
    """The layout of articles whose text is in the field `text`; `others` are there too."""

    def pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
        article = document(record, settings)
        said, address = article.language, article.url
        yield RawPair(article.title, article.text, "title_body", None, said, said, url=address)
        if record.get("description"):
            yield RawPair(record["description"], article.text, "summary_body", None, said, said, url=address)

    def document(record: Record, settings: RecordSettings) -> RawDocument:
        body = without_title(record["title"], record[text])
        return RawDocument(record["title"], body, record.get("language") or language, url=record.get(url))

    required = dict.fromkeys(("title", text, *others), str)
    return Layout(required, pairs, {"description": str, "language": str, url: str}, document)


SOURCE: Final = record_source(
    name="cc_news",
    summary="News articles of Common Crawl, English and multilingual",
    kinds=("title_body", "summary_body"),
    languages="English (vblagoje), many (the others), as the records, files or folders say",
    layout="JSON lines or Parquet: title, text, domain, description, url (vblagoje); title, maintext, url, language;"
    " title, plain_text, requested_url, language",
    license="the texts are their publishers'",
    obtain="https://huggingface.co/datasets/vblagoje/cc_news, https://huggingface.co/datasets/intfloat/multilingual_cc_news",
    verified="vblagoje: the corpus's README; maintext: the fields of a real article of news-please; the others: memory only",
    layouts=(
        _layout("maintext"),
        _layout("plain_text", url="requested_url"),
        _layout("text", "domain", language="en"),
        _layout("text", "url"),
    ),
    language=language_of_path(
        r"(?:^|/)(?:\d{4}[_-])?([a-z]{2})(?:/[^/]*|[_.-](?:\w+\.)?(?:jsonl|json|parquet)(?:\.\w+)?)$"
    ),
)
