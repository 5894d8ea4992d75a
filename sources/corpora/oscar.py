"""OSCAR: texts of web pages in 150 languages, without titles.

Pairs: the title that a text begins with, and the rest (sources.families.own_title says when it has one). The releases of 2019 and
21.09 are plain text that keeps lines of 100 characters and more only: hardly any of its texts begins with a title. 22.01
and 23.01 are JSON lines of whole pages; their language probability is kept as `positive_language_probability`.
"""

from collections.abc import Iterator
from typing import Any, Final

from sources.families.own_title import OwnTitleSettings, own_title_pairs, text_layout
from sources.families.path_language import language_of_path
from sources.formats.text_records import BLANK_LINES
from sources.record_formats import Format, Record
from sources.records import Layout, RawDocument, RawPair, record_source


def _annotated(text: str, metadata: str) -> Layout:
    """The layout of records with an object of what was found out about the page."""

    def document(record: Record, settings: OwnTitleSettings) -> RawDocument:
        headers = record.get("warc_headers") or _member(record[metadata], "warc_headers")
        label = _member(_member(record[metadata], "identification"), "label")
        url = _member(headers, "warc-target-uri")
        return RawDocument(
            None, record[text], label if type(label) is str else None, url=url if type(url) is str else None
        )

    def pairs(record: Record, settings: OwnTitleSettings) -> Iterator[RawPair]:
        page = document(record, settings)
        score = _member(_member(record[metadata], "identification"), "prob")
        return own_title_pairs(record[text], settings, language=page.language, url=page.url, language_score=score)

    return Layout({text: str, metadata: dict}, pairs, document=document)


def _member(value: Any, name: str) -> Any:
    """A member of what should be an object: a page is kept where its annotations lack."""
    return value.get(name) if type(value) is dict else None


SOURCE: Final = record_source(
    name="oscar",
    summary="Web pages in 150 languages, releases of 2019 to 2023",
    kinds=("title_body",),
    languages="150, as the records or the names of the files say",
    layout="22.01, 23.01: {language}_meta_part_*.jsonl.{gz,zst}: content, warc_headers, metadata; hub rows: text, meta;"
    " before: {language}_part_*.txt.gz, {language}_dedup.txt.gz, documents divided by blank lines",
    license="CC0-1.0 for the collection; the texts are their publishers'",
    obtain="https://oscar-project.org",
    verified="real rows of the plain text; JSON lines: the corpus's documentation",
    layouts=(
        _annotated("content", "metadata"),
        _annotated("text", "meta"),
        text_layout(),
    ),
    Settings=OwnTitleSettings,
    language=language_of_path(r"(?:^|/)([a-z]{2,3})(?:_meta)?(?:_dedup|_part_\d+)?\.(?:txt|jsonl)(?:\.\w+)?$"),
    format=Format(other="text", text=BLANK_LINES),
)
