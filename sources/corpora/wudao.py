"""Wudao (WuDaoCorpora 2.0 base, 200 GB): Chinese web pages with title and text.

Pairs: (title, content), without the title that starts the content. C-Pack made pairs of sub-titles and their passages too;
the files do not mark sub-titles, so there are none here.
"""

from collections.abc import Iterator
from typing import Final

from sources.families.own_title import without_title
from sources.record_formats import Record
from sources.records import Layout, RawDocument, RawPair, RecordSettings, record_id, record_source


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    page = _document(record, settings)
    yield RawPair(page.title, page.text, "title_body", document_id=page.document_id)


def _document(record: Record, settings: RecordSettings) -> RawDocument:
    identity = record_id("wudao", record.get("uniqueKey"))
    return RawDocument(record["title"], without_title(record["title"], record["content"]), document_id=identity)


SOURCE: Final = record_source(
    name="wudao",
    summary="Chinese web pages, 200 GB, the largest part of C-MTP",
    kinds=("title_body",),
    languages="zho_Hans",
    layout="JSON arrays part-*.json (unpacked from the .rar), or JSON lines: uniqueKey, dataType, title, content",
    license="for research; see the page",
    obtain="https://data.baai.ac.cn/details/WuDaoCorporaText",
    verified="the corpus's documentation",
    layouts=(Layout({"title": str, "content": str}, _pairs, {"uniqueKey": str}, _document),),
    language="zho_Hans",
)
