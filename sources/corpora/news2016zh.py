"""news2016zh (brightmart/nlp_chinese_corpus): Chinese news with title, description and content."""

from collections.abc import Iterator
from typing import Final

from sources.record_formats import Record
from sources.records import Layout, RawDocument, RawPair, RecordSettings, record_id, record_source


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    yield RawPair(record["title"], record["content"], "title_body", document_id=_identity(record))
    if record.get("desc"):
        yield RawPair(record["desc"], record["content"], "summary_body", document_id=_identity(record))


def _document(record: Record, settings: RecordSettings) -> RawDocument:
    return RawDocument(record["title"], record["content"], document_id=_identity(record))


def _identity(record: Record) -> str | None:
    return record_id("news2016zh", record.get("news_id"))


SOURCE: Final = record_source(
    name="news2016zh",
    summary="Chinese news of 2014 to 2016 from 63,000 sites",
    kinds=("title_body", "summary_body"),
    languages="zho_Hans",
    layout="JSON lines news2016zh_{train,valid}.json: news_id, keywords, title, desc, source, time, content",
    license="MIT for the collection; the texts are their publishers'",
    obtain="https://github.com/brightmart/nlp_chinese_corpus",
    verified="the corpus's README",
    layouts=(Layout({"title": str, "content": str}, _pairs, {"desc": str, "news_id": str}, _document),),
    language="zho_Hans",
)
