"""CC-Net (facebookresearch/cc_net): web pages by language and perplexity; RedPajama-V2 has the same records.

Pairs: (title, raw_content); where the title is empty, the one that the text begins with (sources.families.own_title). The language
score is kept as `positive_language_probability`.
"""

from collections.abc import Iterator
from typing import Final

from sources.families.own_title import OwnTitleSettings, own_title_pairs, without_title
from sources.families.path_language import language_of_path
from sources.record_formats import Record
from sources.records import Layout, RawDocument, RawPair, record_source


def _pairs(record: Record, settings: OwnTitleSettings) -> Iterator[RawPair]:
    return own_title_pairs(
        record["raw_content"],
        settings,
        title=record.get("title"),
        language=record.get("language"),
        url=record["url"],
        language_score=record.get("language_score"),
    )


def _document(record: Record, settings: OwnTitleSettings) -> RawDocument:
    title = record.get("title")
    return RawDocument(title, without_title(title, record["raw_content"]), record.get("language"), url=record["url"])


SOURCE: Final = record_source(
    name="cc_net",
    summary="Common Crawl pages by language and quality (CC-Net, RedPajama-V2)",
    kinds=("title_body",),
    languages="176, as the records say",
    layout="JSON lines {language}_{head,middle,tail}_*.json.gz: url, title, raw_content, language, language_score",
    license="that of Common Crawl; the texts are their publishers'",
    obtain="https://github.com/facebookresearch/cc_net",
    verified="the tool's code",
    layouts=(
        Layout(
            {"raw_content": str, "url": str},
            _pairs,
            {"title": str, "language": str, "language_score": float},
            _document,
        ),
    ),
    Settings=OwnTitleSettings,
    language=language_of_path(r"(?:^|/)([a-z]{2,3})_(?:head|middle|tail)\b"),
)
