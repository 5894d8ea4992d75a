"""CC-NEWS: Common Crawl's crawl of news sites as WARC files, (title, main text) of each page.

Only responses with status 200 and HTML count. The title is og:title, else <title>; the main text is found by
Resiliparse, or by Trafilatura, which is more careful and about ten times slower (`extractor`). A headline that the
text begins with is taken off it, and the name of the site off a title that goes on with it. Pages without title, or
with a main text shorter than `min_characters`, are no pairs. The language is Resiliparse's first guess where the
settings name none; the document of a pair is its address.

Needs the extra `warc`.
"""

import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Final

from pydantic import Field

from sources.files.reading import one_split
from sources.formats.extracted_rows import ExtractedRows
from sources.formats.warc_records import BadWarcRecord, WarcRecord, WarcRecords
from sources.formats.web_page import REMEDY, Extractor, InvalidPageError, WebPage, language_detector, page_reader
from sources.records import BadRecord, RawPair, RecordSettings, chosen_kinds
from sources.source import Extracted, Source, SourceError, Split

NAME: Final = "cc_news_warc"
KINDS: Final = ("title_body",)
MOST_CODINGS: Final = 3  # compressions of a body on top of each other
_HTML: Final = ("text/html", "application/xhtml+xml")


class CcNewsWarcSettings(RecordSettings):
    """Settings of the cc_news_warc source."""

    extractor: Extractor = Field("resiliparse", description="what finds the main text: resiliparse or trafilatura")
    min_characters: int = Field(200, ge=1, description="a shorter main text gives no pair")
    max_record_bytes: int = Field(8 << 20, gt=0, description="a longer record or page is quarantined")


def splits(path: str, settings: CcNewsWarcSettings, target_bytes: int) -> list[Split]:
    """One split a file: where its records start is known only by reading it."""
    return one_split(path)


def read(split: Split, settings: CcNewsWarcSettings) -> Iterator[Extracted]:
    """Stream the pages of a file. Raises SourceError where the extra `warc` is not installed or no record is found."""
    chosen = chosen_kinds(NAME, settings, KINDS, KINDS)
    rows = ExtractedRows(settings.label or NAME, split, "byte", KINDS, chosen, settings.language, settings.license)
    pages = _Pages(settings)
    records = WarcRecords(split.path, settings.max_record_bytes)
    right = False
    for record in records:
        rows.count()
        if isinstance(record, BadWarcRecord):
            rows.bad(record.place, record.reason, f"{record.detail} | ".encode() + record.head)
        else:
            right = True
            pages.add(record, rows)
        if rows.full:
            yield rows.take(records.position)
    step = rows.take(records.position)
    if not right and step.quarantine["reason"].to_pylist() == ["malformed_record"]:
        raise SourceError(f"{split.path}: no WARC record in it: expected a .warc or .warc.gz")
    yield step


class _Pages:
    """Makes pairs of records."""

    def __init__(self, settings: CcNewsWarcSettings) -> None:
        self._settings = settings
        self._page = page_reader(settings.extractor)
        self._language = language_detector()
        self._response = _response_reader(settings.max_record_bytes)

    def add(self, record: WarcRecord, rows: ExtractedRows) -> None:
        """Take one record: a pair, nothing, or a row of quarantine."""
        if record.kind != "response":
            return
        try:
            found = self._response(record.data)
            page = None if found is None else self._page(found[1], found[2])
        except (BadRecord, InvalidPageError) as error:
            reason = error.reason if isinstance(error, BadRecord) else "invalid_html"
            rows.bad(record.place, reason, f"{error} | ".encode() + record.data)
            return
        if found is None or page is None or not page.title:
            return
        self._add_page(page, found[0] or rows.place_id(record.place), rows)

    def _add_page(self, page: WebPage, address: str, rows: ExtractedRows) -> None:
        title, text = _without_headline(page)
        if len(text) < self._settings.min_characters:
            return
        language = None if self._settings.language else self._language(text)
        identity = f"{NAME}:{address}"
        url = address if "://" in address else None
        rows.add(RawPair(title, text, None, None, language, language, identity, url=url))
        if self._settings.documents:
            rows.add_document(identity, title, [((), text)], url=url, language=language)


def _without_headline(page: WebPage) -> tuple[str, str]:
    """Title and text; a first line of the text that is the title, but for the name of the site, is only that."""
    text = page.text.strip()
    line, _, rest = text.partition("\n")
    headline = " ".join(line.split())
    with_site = tuple(f"{headline} {sign} " for sign in "-|–—·")
    if headline and (page.title == headline or page.title.startswith(with_site)):
        return headline, rest.lstrip()
    return page.title, text


def _response_reader(longest: int) -> Callable[[bytes], tuple[str, bytes, str | None] | None]:
    """A function that tells the address, the body and the encoding of a record; None where it is no page of HTML.

    Raises SourceError where FastWARC is not installed; the function raises BadRecord.
    """
    try:
        from fastwarc.stream_io import BrotliReader, GzipReader, ZstdReader
        from fastwarc.warc import WarcRecord as Parsed
    except ImportError as error:
        raise SourceError(f"WARC files are read by fastwarc, which cannot be loaded ({error}): {REMEDY}") from error

    def parse(data: bytes) -> tuple[str, bytes, str | None] | None:
        try:
            record: Any = Parsed.from_bytes(data + b"\r\n\r\n")
            if not record.is_http:  # a crawler's look-up of a name, for instance
                return None
            record.parse_http(auto_decode="transfer")
            headers = record.http_headers
            if headers is None or headers.status_code is None:
                raise BadRecord("invalid_http", "no line with a status")
            if headers.status_code != 200 or (record.http_content_type or "").lower() not in _HTML:
                return None
            body: bytes = record.reader.read(longest + 1)
            for coding in reversed((headers.get("Content-Encoding") or "").lower().split(",")[:MOST_CODINGS]):
                body = decoded(body, coding.strip())
        except BadRecord:
            raise
        except (OSError, ValueError, zlib.error) as error:
            raise BadRecord("invalid_http", str(error)) from error
        if len(body) > longest:
            raise BadRecord("record_too_long", f"more than {longest:,} bytes when decompressed")
        return (record.headers.get("WARC-Target-URI") or "").strip("<> "), body, record.http_charset

    readers = {"gzip": GzipReader, "x-gzip": GzipReader, "br": BrotliReader, "zstd": ZstdReader}

    def decoded(body: bytes, coding: str) -> bytes:
        """No more of a decompressed body than is needed to tell that it is too long: it may be a bomb."""
        if coding in ("", "identity"):
            return body
        if coding == "deflate":  # with zlib's header, which some servers leave out
            return zlib.decompressobj(15 if body[:1] == b"\x78" else -15).decompress(body, longest + 1)
        if coding not in readers:
            raise BadRecord("invalid_http", f"content encoding {coding[:50]!r}")
        return bytes(readers[coding](BytesIO(body)).read(longest + 1))

    return parse


SOURCE: Final = Source(
    name=NAME,
    summary="CC-NEWS: pages of news sites, (title, main text)",
    kinds=KINDS,
    languages="any, as a detector says",
    layout="CC-NEWS-*.warc.gz, and any other WARC file with responses of HTML, plain or compressed",
    license="the texts are their publishers'; Common Crawl's terms of use",
    obtain="https://commoncrawl.org/blog/news-dataset-available",
    Settings=CcNewsWarcSettings,
    splits=splits,
    read=read,
    verified="real files (WARC of Wget and of Common Crawl's layout)",
)
