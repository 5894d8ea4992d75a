"""Wikipedia and other MediaWiki dumps: pages-articles XML, plain, .gz or .bz2 (multistream or not).

The XML is read as bytes, block by block; only pages of the main namespace are looked at. Three kinds of pair:

    paraphrase        the title of a redirect, the title it leads to
    title_body        the title of an article, its lead
    subtitle_passage  the title and the headings above a section, the section's own text

What gives no pair: disambiguation pages; sections about the article, not its subject (references, links: by a list of
headings); leads and sections that are short (`min_passage_characters`), mostly list items (`max_list_share`), or hold no
sentence (`sentences`: lines of links, captions of tables, names side by side).
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from pydantic import Field

from sources.files.reading import byte_splits, is_compressed, open_stored, stored_size
from sources.schema import DOCUMENT, QuarantineRows, make_pairs, normalise_text
from sources.source import Extracted, Source, SourceSettings, Split, extracted
from sources.wiki.wikipedia_pages import Article, Page, PageReader, parse_page
from sources.wiki.wikipedia_site import Site
from sources.wiki.wikitext import Section, Stripper

NAME: Final = "wikipedia"
LICENSE: Final = "CC-BY-SA-4.0"
ROWS: Final = 2048  # pairs of one step, about
CHARACTERS: Final = 2_000_000  # of a step's texts, about
_SEARCHED: Final = 16 << 20  # bytes looked through for the second stream: a multistream dump's first ones are small
_STREAM: Final = re.compile(rb"BZh[1-9]1AY&SY")


class WikipediaSettings(SourceSettings):
    """Settings of the wikipedia source."""

    license: str | None = Field(LICENSE, description="licence written beside every pair")
    redirects: bool = Field(True, description="pairs of redirect and target titles")
    leads: bool = Field(True, description="pairs of title and lead")
    passages: bool = Field(True, description="pairs of section heading and section text")
    min_passage_characters: int = Field(60, ge=1, description="a shorter lead or section (a stub) gives no pair")
    max_passage_characters: int = Field(2000, ge=100, description="a longer one is cut at the end of a sentence")
    max_list_share: float = Field(
        0.8, ge=0, le=1, description="a lead or section with more of its characters in list items gives no pair"
    )
    sentences: bool = Field(True, description="a lead or section without the end of a sentence gives no pair")
    max_page_bytes: int = Field(
        8 << 20, gt=0, description="a larger page is quarantined; MediaWiki allows 2 MiB of text"
    )


def splits(path: str, settings: WikipediaSettings, target_bytes: int) -> list[Split]:
    """Byte ranges of a plain dump, groups of streams of a multistream .bz2; one split for anything else."""
    if not is_compressed(path):
        return byte_splits(path, target_bytes)
    size = stored_size(path)
    if not path.lower().endswith(".bz2") or size is None or size <= target_bytes:
        return [Split(path, size=size)]
    cuts = [0, *_stream_starts(path, size, target_bytes), size]
    return [Split(path, start, end, size) for start, end in pairwise(cuts)]


def _stream_starts(path: str, size: int, target_bytes: int) -> Iterator[int]:
    """The first start of a bz2 stream after each multiple of `target_bytes`; none where there is but one stream."""
    with open_stored(path) as file:
        file.seek(1)
        if not _STREAM.search(file.read(_SEARCHED)):
            return
        last = 0
        for wanted in range(target_bytes, size, target_bytes):
            if wanted <= last:
                continue
            file.seek(wanted)
            found = _STREAM.search(file.read(max(_SEARCHED, target_bytes)))
            if found:
                last = wanted + found.start()
                yield last


def read(split: Split, settings: WikipediaSettings) -> Iterator[Extracted]:
    """Stream the pages of a split. Raises SourceError where the file cannot be opened."""
    reader = PageReader(split, settings.max_page_bytes)
    rows = _Rows(Site.of(split.path, settings.language), split, settings)
    for pages in reader:
        rows.add(pages)
        if rows.full:
            yield rows.take(reader.position)
    if reader.fault is not None:
        detail = f"{reader.fault.detail} | ".encode()
        rows.bad(reader.fault.position, reader.fault.reason, detail + reader.cut_off, "byte")
    yield rows.take(reader.position)


@dataclass
class _Rows:
    """The pairs and documents of pages, gathered into batches."""

    site: Site
    split: Split
    settings: WikipediaSettings

    def __post_init__(self) -> None:
        self._source = self.settings.label or NAME
        self._quarantine = QuarantineRows(self._source, self.split.path, "page")
        self._stripper = Stripper(self.site.wordless)
        self._clear()

    def _clear(self) -> None:
        self._records = self._characters = 0
        self._columns: dict[str, list[str]] = {"query": [], "positive": [], "kind": [], "document_id": [], "url": []}
        self._documents = _Documents()

    @property
    def full(self) -> bool:
        """Whether there is enough for a batch."""
        return len(self._columns["query"]) >= ROWS or self._characters >= CHARACTERS or self._records >= 8 * ROWS

    def add(self, pages: list[Page]) -> None:
        """Take the pages of one block: their pairs, nothing, or a row of quarantine each."""
        articles = list(self._readable(pages))
        if not articles:
            return
        begins = np.array([article.begin for article in articles], np.int64)
        ends = np.array([article.end for article in articles], np.int64)
        stripped = self._stripper.strip(pages[0].data, begins, ends)
        for number, sections in stripped.pages(_APPARATUS):
            article = articles[number]
            if article.redirect is not None:
                if self.settings.redirects:
                    self._pair(article.title, article.redirect, "paraphrase", *self._names(article))
            elif not (stripped.disambiguation[number] or _is_disambiguation(article, pages[0].data)):
                self._add_sections(article, sections)

    def _readable(self, pages: list[Page]) -> Iterator[Article]:
        """The articles among the pages; those that are none are counted, those that are broken go to quarantine."""
        suspect = not _is_utf8(pages)
        for page in pages:
            if not page.whole:
                self.bad(page.position, "page_too_large", page.xml, page.unit)
                continue
            try:
                article = parse_page(page, self.site.namespaces)
                if article is not None and suspect:
                    page.data[article.begin : article.end].decode()
            except UnicodeDecodeError:
                self.bad(page.position, "invalid_utf8", page.xml, page.unit)
            except ValueError as error:
                self.bad(page.position, "malformed_page", f"{error} | ".encode() + page.xml, page.unit)
            else:
                self._records += 1
                if article is not None:
                    yield article

    def bad(self, position: int, reason: str, excerpt: bytes, unit: str) -> None:
        """Put a record into quarantine."""
        self._records += 1
        self._quarantine.add(position, reason, excerpt, unit)

    def _names(self, article: Article) -> tuple[str, str]:
        """The document id and the address of an article."""
        base = self.site.base
        url = base + quote(article.title.replace(" ", "_"), safe="/:(),!'*;@") if base else ""
        return f"{self.site.name}:{article.id}", url

    def _add_sections(self, article: Article, sections: list[Section]) -> None:
        document_id, url = self._names(article)
        for section in sections:
            self._add_section(article.title, section, document_id, url)
        if self.settings.documents and sections:
            self._characters += self._documents.add(article.title, sections, document_id, url)

    def _add_section(self, title: str, section: Section, document_id: str, url: str) -> None:
        settings = self.settings
        if not (settings.passages if section.path else settings.leads):
            return
        if section.characters < settings.min_passage_characters or section.list_share > settings.max_list_share:
            return
        text = section.text
        if settings.sentences and not _SENTENCE.search(text):
            return
        if len(text) > settings.max_passage_characters:
            text = cut_passage(text, settings.max_passage_characters)
        query = f"{title} {' > '.join(section.path)}" if section.path else title
        self._pair(query, text.replace("\n", " "), _KIND_OF_SECTION[bool(section.path)], document_id, url)

    def _pair(self, query: str, positive: str, kind: str, document_id: str, url: str) -> None:
        columns = self._columns
        columns["query"].append(query)
        columns["positive"].append(positive)
        columns["kind"].append(kind)
        columns["document_id"].append(document_id)
        columns["url"].append(url)
        self._characters += len(query) + len(positive)

    def take(self, position: int) -> Extracted:
        """What was gathered since the last time."""
        columns, settings, language = self._columns, self.settings, self.site.language
        pairs, rejects = make_pairs(
            query=columns["query"],
            positive=columns["positive"],
            kind=columns["kind"],
            source=self._source,
            document_id=columns["document_id"],
            url=_nullable(columns["url"]),
            query_lang=language,
            positive_lang=language,
            license=settings.license,
        )
        documents = self._documents.batch(self._source, language, settings.license) if settings.documents else None
        quarantine = self._quarantine.take() if len(self._quarantine) else None
        step = extracted(
            self._records, position, pairs=pairs, rejects=rejects, documents=documents, quarantine=quarantine
        )
        self._clear()
        return step


_KIND_OF_SECTION: Final = ("title_body", "subtitle_passage")


def _nullable(texts: list[str]) -> pa.Array:
    """A string array; empty texts are null."""
    return pa.array([text or None for text in texts], pa.string())


def _is_utf8(pages: list[Page]) -> bool:
    """Whether all between the first and the last of some pages of one block is UTF-8."""
    if not pages:
        return True
    begin, end = pages[0].begin, pages[-1].end
    offsets = pa.py_buffer(np.array([0, end - begin], np.int64))
    text = pa.Array.from_buffers(
        pa.large_string(), 1, [None, offsets, pa.py_buffer(pages[0].data).slice(begin, end - begin)]
    )
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


class _Documents:
    """The DOCUMENT rows of a step, as columns."""

    def __init__(self) -> None:
        self._columns: dict[str, list[str]] = {"document_id": [], "url": [], "title": [], "text": []}
        self._paths: list[str] = []
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._bounds = [0]

    def add(self, title: str, sections: list[Section], document_id: str, url: str) -> int:
        """Add an article; each section's span holds its heading and its text. Returns the characters of its text."""
        parts, size = [], -2
        for section in sections:
            part = f"{section.path[-1]}\n{section.text}" if section.path else section.text
            part = part if unicodedata.is_normalized("NFC", part) else unicodedata.normalize("NFC", part)
            parts.append(part)
            self._paths.append(" > ".join(section.path))
            self._starts.append(size + 2)
            size += 2 + len(part)
            self._ends.append(size)
        self._bounds.append(len(self._paths))
        for name, value in zip(self._columns, (document_id, url, title, "\n\n".join(parts)), strict=True):
            self._columns[name].append(value)
        return size

    def batch(self, source: str, language: str, license: str | None) -> pa.RecordBatch:
        """The rows so far."""
        columns, rows = self._columns, len(self._columns["text"])
        spans = [pa.array(self._paths), pa.array(self._starts, pa.int32()), pa.array(self._ends, pa.int32())]
        kind = DOCUMENT.field("sections").type
        struct = pa.StructArray.from_arrays([spans[0].cast(pa.string()), *spans[1:]], fields=list(kind.value_type))
        return pa.RecordBatch.from_arrays(
            [
                pa.array(columns["document_id"], pa.string()),
                pa.repeat(pa.scalar(source, pa.string()), rows),
                _nullable(columns["url"]),
                normalise_text(pa.array(columns["title"], pa.string())),
                pa.array(columns["text"], pa.string()),
                pa.repeat(pa.scalar(language, pa.string()), rows),
                pa.repeat(pa.scalar(license, pa.string()), rows),
                pa.ListArray.from_arrays(pa.array(self._bounds, pa.int32()), struct, type=kind),
            ],
            schema=DOCUMENT,
        )


# What stands in brackets behind the title of a page that only lists what the title may mean.
_DISAMBIGUATION: Final = re.compile(
    r"\((?:disambiguation|begriffsklärung|homonymie|desambiguación|desambiguação|disambigua|значения|значення|пояснение|"
    r"曖昧さ回避|消歧义|消歧義|동음이의|توضيح|doorverwijspagina|ujednoznacznienie|olika betydelser|anlam ayrımı|định hướng)\)",
    re.IGNORECASE,
)


def _is_disambiguation(article: Article, data: bytes) -> bool:
    """Whether a title says that its page is a disambiguation page, or a switch in its text does."""
    if article.title.endswith(")") and _DISAMBIGUATION.search(article.title):
        return True
    return data.find(b"__DISAMBIG__", article.begin, article.end) >= 0


# Headings of sections that are about the article, not its subject, in the languages of the large Wikipedias.
_APPARATUS: Final = frozenset(
    heading.strip()
    for heading in """
    references|external links|see also|notes|bibliography|further reading|sources|footnotes|citations|works cited
    notes and references|references and notes|general references|explanatory notes|gallery|literature cited
    einzelnachweise|weblinks|literatur|siehe auch|anmerkungen|quellen|fußnoten|belege
    références|notes et références|liens externes|voir aussi|bibliographie|articles connexes|annexes|notes|liens
    referencias|enlaces externos|véase también|bibliografía|notas|referencias y notas|notas y referencias
    referências|ligações externas|ver também|bibliografia|notas e referências|leitura complementar
    note|bibliografia|voci correlate|collegamenti esterni|altri progetti|riferimenti
    примечания|ссылки|см. также|литература|источники|комментарии|сноски
    примітки|посилання|див. також|література|джерела|виноски
    脚注|参考文献|外部リンク|関連項目|出典|注釈|関連文献|参照
    参考资料|參考資料|参考文献|參考文獻|外部链接|外部連結|参见|參見|注释|注釋|注解|註釋|参考來源|延伸阅读|延伸閱讀|脚注|腳註
    각주|외부 링크|같이 보기|참고 문헌|참고문헌|주해|참고 자료|내용주|출처주
    مراجع|المراجع|وصلات خارجية|انظر أيضا|انظر أيضًا|ملاحظات|هوامش|منابع|پانویس|جستارهای وابسته|پیوند به بیرون
    przypisy|linki zewnętrzne|zobacz też|uwagi|referenties|externe links|zie ook|bronnen|noten|literatuur
    referenser|externa länkar|se även|källor|kaynakça|dış bağlantılar|ayrıca bakınız|notlar
    tham khảo|liên kết ngoài|xem thêm|chú thích|ghi chú|संदर्भ|सन्दर्भ|बाहरी कड़ियाँ|इन्हें भी देखें
    παραπομπές|εξωτερικοί σύνδεσμοι|δείτε επίσης|πηγές|তথ্যসূত্র|বহিঃসংযোগ|আরও দেখুন
    """.replace("\n", "|").split("|")
    if heading.strip()
)


# Marks that end a sentence, in any script; Thai and Lao write none.
_SENTENCE: Final = re.compile(r"[.!?…。！？｡।॥۔؟։።།။។᠃\u0e00-\u0eff]")
# A full stop behind a single letter is that of a name or an abbreviation.
_SENTENCE_END: Final = re.compile(r"(?:(?<!\b\w)\.|[!?؟।։…])[\"'”’»)\]]*\s|[。！？][」』”]*|\n")


def cut_passage(text: str, longest: int) -> str:
    """At most `longest` characters of a text: whole sentences or paragraphs where any end in the second half."""
    if len(text) <= longest:
        return text
    for begin in (max(longest - 300, longest // 2), longest // 2):
        if ends := [end.end() for end in _SENTENCE_END.finditer(text, begin, longest)]:
            return text[: ends[-1]].rstrip()
    space = text.rfind(" ", longest // 2, longest)
    return text[: space if space >= 0 else longest].rstrip()


SOURCE: Final = Source(
    name=NAME,
    summary="Wikipedia dumps: titles with leads, headings with passages, redirects",
    kinds=("title_body", "subtitle_passage", "paraphrase"),
    languages="any, as the dump says",
    layout="*-pages-articles*.xml, .xml.bz2 (multistream or not), .xml.gz",
    license=LICENSE,
    obtain="https://dumps.wikimedia.org/LANGwiki/latest/",
    Settings=WikipediaSettings,
    splits=splits,
    read=read,
)
