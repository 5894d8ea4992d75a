"""WikiExtractor's output (attardi/wikiextractor): the plain text of every article of a wiki, as JSON lines or <doc> blocks.

Pairs: (title, text). The text's headings cannot be told from its paragraphs, so no section has a pair of its own; the
source `wikipedia` makes those of the dump itself. Character references are resolved, links and styles left as tags are
dropped, and so is the title that starts the text. Articles without text are rejects.
"""

import re
from collections.abc import Iterator
from typing import Final

from sources.formats.text_records import text_record
from sources.record_formats import BadText, Format, Record, TextFormat
from sources.records import Layout, RawDocument, RawPair, RecordSettings, record_source
from sources.wiki.wikipedia_articles import article_document, article_pairs
from sources.wiki.wikitext import unescape_entities

# A title stands in its attribute as it is, quotes and all.
_START: Final = re.compile(r'<doc id="([^"\n]*)"(?: revid="[^"\n]*")? url="([^"\n]*)" title="([^\n]*)">[ \t\r]*\n')
_END: Final = "</doc>"
# What is left of wiki text: links, line breaks and styles as tags, and switches such as __NOTOC__.
_MARKUP: Final = re.compile(r"</?(?:a|br|nowiki|templatestyles)\b[^<>]*>|__[A-Z]{4,24}__", re.ASCII)


def _doc(data: bytes) -> Record | None:
    """The record of one <doc> block."""
    record = text_record(data)
    if record is None:
        return None
    block: str = record["text"].strip()
    start = _START.match(block)
    if start is None:
        raise BadText("invalid_markup", 'expected <doc id="..." url="..." title="...">')
    if not block.endswith(_END):
        raise BadText("invalid_markup", f"no {_END} at the end")
    identity, url, title = start.groups()
    return {"id": identity, "url": url, "title": title, "text": block[start.end() : -len(_END)]}


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    return article_pairs(_plain(record), settings)


def _document(record: Record, settings: RecordSettings) -> RawDocument:
    return article_document(_plain(record), settings)


def _plain(record: Record) -> Record:
    return record | {"title": _plain_text(record["title"]), "text": _plain_text(record["text"])}


def _plain_text(text: str | None) -> str | None:
    if not text:
        return text
    text = unescape_entities(text)
    return _MARKUP.sub(" ", text) if "<" in text or "__" in text else text


SOURCE: Final = record_source(
    name="wiki_extractor",
    summary="Wikipedia articles as WikiExtractor wrote them",
    kinds=("title_body",),
    languages="any, as the urls say",
    layout="JSON lines (--json: id, revid, url, title, text) or <doc id url title> blocks in files such as AA/wiki_00,"
    " also .bz2",
    license="CC-BY-SA-4.0 (Wikipedia)",
    obtain="https://github.com/attardi/wikiextractor, run over a dump of https://dumps.wikimedia.org",
    verified="the tool's code; <doc> blocks: a real file",
    layouts=(Layout({"title": str, "text": str}, _pairs, {"url": str}, _document),),
    format=Format(
        other="text",
        text=TextFormat(re.compile(rb"\n(?=<doc )"), _doc, closing=_END.encode(), or_json=True),
    ),
)
