"""chinese-poetry: classical Chinese poems with their titles.

Pairs: (title, the poem's lines). Ci, whose records have a tune (`rhythmic`) and no title, give none.
"""

from collections.abc import Iterator
from typing import Final

from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawPair, RecordSettings, joined_texts, record_id, record_source


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair | BadRecord]:
    poem = joined_texts(record["paragraphs"], "", "paragraphs")
    yield RawPair(record["title"], poem, "title_body", document_id=record_id("chinese_poetry", record.get("id")))


def _ci(record: Record, settings: RecordSettings) -> Iterator[RawPair | BadRecord]:
    return iter(())


SOURCE: Final = record_source(
    name="chinese_poetry",
    summary="Classical Chinese poems with titles",
    kinds=("title_body",),
    languages="lzh_Hant",
    layout="JSON arrays poet.*.json: title, author, paragraphs, id",
    license="MIT for the collection; the poems are in the public domain",
    obtain="https://github.com/chinese-poetry/chinese-poetry",
    verified="real rows",
    layouts=(
        Layout({"title": str, "paragraphs": list}, _pairs, {"id": str}),
        Layout({"rhythmic": str, "paragraphs": list}, _ci),
    ),
    language="lzh_Hant",
)
