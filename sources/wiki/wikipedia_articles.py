"""Articles of Wikipedia as others have extracted them: id, url, title and plain text, one record an article.

The host of the url tells the language and the wiki: ja.wikipedia.org is jawiki. A document's id is that of the dump reader
(sources.wikipedia), so that an article has one id wherever it comes from.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from sources.families.own_title import without_title
from sources.record_formats import Record
from sources.records import RawDocument, RawPair, RecordSettings

_PROJECTS: Final = {"wikipedia": "wiki"} | {
    name: name
    for name in ("wikibooks", "wikinews", "wikiquote", "wikisource", "wikiversity", "wikivoyage", "wiktionary")
}


def article_pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    """(title, text) of an article."""
    article = article_document(record, settings)
    yield RawPair(
        article.title,
        article.text,
        "title_body",
        query_language=article.language,
        positive_language=article.language,
        document_id=article.document_id,
        url=article.url,
    )


def article_document(record: Record, settings: RecordSettings) -> RawDocument:
    """An article without its title at the start of the text."""
    title, url, number = record["title"], record.get("url"), record.get("id")
    language, wiki = _edition(url.split("/", 3)[2]) if url and url.count("/") >= 2 else (None, None)
    identity = f"{wiki}:{number}" if wiki and type(number) in (str, int) and number != "" else None
    return RawDocument(title, without_title(title, record["text"]), language, identity, url)


@lru_cache(maxsize=4096)  # hosts come from data
def _edition(host: str) -> tuple[str | None, str | None]:
    """Language and name of the wiki at a host; None for hosts of other sites."""
    labels = host.split(".")
    if len(labels) < 3 or labels[-2] not in _PROJECTS:
        return None, None
    return labels[0], labels[0].replace("-", "_") + _PROJECTS[labels[-2]]
