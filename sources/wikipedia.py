"""Wikipedia and other MediaWiki dumps: pages-articles XML, plain, .gz or .bz2 (multistream or not).

The XML is read as bytes in one pass: only pages of the main namespace are decoded. Three kinds of pair:

    paraphrase        the title of a redirect, the title it leads to
    title_body        the title of an article, its lead
    subtitle_passage  the title and the headings above a section, the section's own text
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from urllib.parse import quote

import pyarrow as pa
from pydantic import Field

from sources.languages import UNKNOWN, language_code
from sources.reading import EXCERPT, ByteStream, Fault, base_name, byte_splits, is_compressed, open_stored, stored_size
from sources.schema import DOCUMENT, QuarantineRows, make_pairs, normalise_text
from sources.source import Extracted, Source, SourceSettings, Split, extracted
from sources.wikitext import Section, sections, unescape_entities

NAME: Final = "wikipedia"
LICENSE: Final = "CC-BY-SA-4.0"
ROWS: Final = 2048  # pairs of one step, about
CHARACTERS: Final = 2_000_000  # of a step's texts, about
_SEARCHED: Final = 16 << 20  # bytes looked through for the second stream: a multistream dump's first ones are small
_STREAM: Final = re.compile(rb"BZh[1-9]1AY&SY")
_PAGE, _PAGE_END = b"<page>", b"</page>"


class WikipediaSettings(SourceSettings):
    """Settings of the wikipedia source."""

    license: str | None = Field(LICENSE, description="licence written beside every pair")
    redirects: bool = Field(True, description="pairs of redirect and target titles")
    leads: bool = Field(True, description="pairs of title and lead")
    passages: bool = Field(True, description="pairs of section heading and section text")
    min_passage_characters: int = Field(60, ge=1, description="a shorter lead or section gives no pair")
    max_passage_characters: int = Field(2000, ge=100, description="a longer one is cut at the end of a sentence")
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
    pages = _Pages(split, settings.max_page_bytes)
    rows = _Rows(Site.of(split.path, settings), split, settings)
    for page in pages:
        rows.add(page)
        if rows.full:
            yield rows.take(pages.position)
    if pages.fault is not None:
        rows.bad(pages.fault.position, pages.fault.reason, f"{pages.fault.detail} | ".encode() + pages.cut_off, "byte")
    yield rows.take(pages.position)


@dataclass(frozen=True)
class Page:
    """The XML between <page> and </page>; only its first bytes when it is too large."""

    xml: bytes
    position: int  # number of the page from 1 in the split that starts the file; else the byte of its tag or bz2 stream
    unit: str
    whole: bool


class _Pages:
    """Cuts the pages out of a split: a page belongs to the split in which its <page> starts.

    Once they have run out, `fault` says what ended the file early and `cut_off` holds the start of the unfinished page.
    """

    def __init__(self, split: Split, max_page: int) -> None:
        self._split, self._max_page = split, max_page
        self._stream = ByteStream(split.path, split.start, split.end)
        self._rest = b""  # what may become a page: an unfinished one, or the start of its tag
        self._compressed = is_compressed(split.path)
        self._place = split.start  # stored byte of its start; in a .bz2, of the stream that holds it
        self._dropping = False  # whether _rest is the inside of a page that is too large
        self._number = 0
        self._broken: Fault | None = None
        self.cut_off = b""

    @property
    def position(self) -> int:
        """The stored byte reached."""
        return self._stream.position

    @property
    def fault(self) -> Fault | None:
        """Why the pages end before they should."""
        return self._stream.fault or self._broken

    def __iter__(self) -> Iterator[Page]:
        for chunk in self._stream:
            yield from self._cut(chunk, self._here(self._stream, chunk))
        last = self._stream
        if self._rest and last.fault is None and self._split.end is not None:
            last = ByteStream(self._split.path, self._split.end)
            yield from self._finish_last(last)
        if self._rest.startswith(_PAGE) or self._dropping:
            self.cut_off = self._rest[:EXCERPT]
            self._broken = last.fault or Fault("truncated_file", last.position, "the last page does not end")

    def _finish_last(self, later: ByteStream) -> Iterator[Page]:
        """The page that starts in this split and ends after it."""
        for chunk in later:
            data = self._rest + chunk
            if not self._dropping and not data.startswith(_PAGE[: len(data)]):
                self._rest = b""  # what looked like the start of a tag is none
                return
            if (end := data.find(_PAGE_END)) >= 0:
                yield from self._cut(chunk[: end + len(_PAGE_END) - len(self._rest)], self._here(later, chunk))
                self._rest = b""
                return
            yield from self._cut(chunk, self._here(later, chunk))

    def _cut(self, chunk: bytes, here: int) -> Iterator[Page]:
        """The pages that end in a chunk, whose first byte is at place `here`."""
        data, known, place = self._rest + chunk, len(self._rest), self._place

        def place_of(begin: int) -> int:
            if begin < known:
                return place
            return here if self._compressed else here + begin - known

        yield from self._pages(data, place_of)
        self._place = place_of(len(data) - len(self._rest))

    def _here(self, stream: ByteStream, chunk: bytes) -> int:
        """The place of a chunk just read: its first byte, or the compressed stream that it comes from."""
        return stream.member if self._compressed else stream.position - len(chunk)

    def _pages(self, data: bytes, place_of: Callable[[int], int]) -> Iterator[Page]:
        at = 0
        if self._dropping:
            end = data.find(_PAGE_END)
            if end < 0:
                self._rest = data[-len(_PAGE_END) :]
                return
            at, self._dropping = end + len(_PAGE_END), False
        while (begin := data.find(_PAGE, at)) >= 0:
            end = data.find(_PAGE_END, begin)
            if end < 0:
                break
            at = end + len(_PAGE_END)
            yield self._page(data[begin:at], at - begin <= self._max_page, place_of(begin))
        if begin < 0:
            self._rest = _start_of_tag(data[max(at, len(data) - len(_PAGE)) :])
        elif len(data) - begin > self._max_page:
            yield self._page(data[begin : begin + EXCERPT], False, place_of(begin))
            self._rest, self._dropping = data[-len(_PAGE_END) :], True
        else:
            self._rest = data[begin:]

    def _page(self, xml: bytes, whole: bool, place: int) -> Page:
        self._number += 1
        first = self._split.start == 0
        return Page(xml, self._number if first else place, "page" if first else "byte", whole)


def _start_of_tag(data: bytes) -> bytes:
    """The longest end of `data` that may be the start of <page>."""
    return next((_PAGE[:size] for size in range(len(_PAGE) - 1, 0, -1) if data.endswith(_PAGE[:size])), b"")


@dataclass(frozen=True)
class Site:
    """Which wiki a dump is of, from the start of the file: needed for every split of it."""

    name: str  # dbname: enwiki
    language: str  # eng_Latn
    base: str  # address of a page but for its title; empty where the dump does not say

    @classmethod
    def of(cls, path: str, settings: WikipediaSettings) -> "Site":
        """Read the <siteinfo> of a dump; a file without one takes its language from <mediawiki> and the settings."""
        head = _head(path)
        tag = _LANGUAGE.search(head)
        language = tag[1].decode() if tag else settings.language or ""
        name = _DBNAME.search(head) or _FILE_DBNAME.match(base_name(path).encode())
        base = _BASE.search(head)
        return cls(
            name=name[1].decode() if name else f"{language.replace('-', '_') or 'unknown'}wiki",
            language=language_code(language) if language else UNKNOWN,
            base=unescape_entities(base[1].decode("utf-8", "replace")).rpartition("/")[0] + "/" if base else "",
        )


_LANGUAGE: Final = re.compile(rb'<mediawiki[^>]*\bxml:lang="([\w-]+)"', re.ASCII)
_DBNAME: Final = re.compile(rb"<dbname>([\w-]+)</dbname>", re.ASCII)
_FILE_DBNAME: Final = re.compile(rb"([a-z_]+wiki)[-_.]")
_BASE: Final = re.compile(rb"<base>([^<]+)</base>")


def _head(path: str) -> bytes:
    head = b""
    for chunk in ByteStream(path):
        head += chunk
        if b"</siteinfo>" in head or _PAGE in head or len(head) > _SEARCHED:
            break
    return head.partition(b"<page>")[0]


@dataclass
class _Rows:
    """The pairs and documents of pages, gathered into batches."""

    site: Site
    split: Split
    settings: WikipediaSettings

    def __post_init__(self) -> None:
        self._source = self.settings.label or NAME
        self._quarantine = QuarantineRows(self._source, self.split.path, "page")
        self._clear()

    def _clear(self) -> None:
        self._records = self._characters = 0
        self._columns: dict[str, list[str]] = {"query": [], "positive": [], "kind": [], "document_id": [], "url": []}
        self._documents: list[dict[str, object]] = []

    @property
    def full(self) -> bool:
        """Whether there is enough for a batch."""
        return len(self._columns["query"]) >= ROWS or self._characters >= CHARACTERS or self._records >= 8 * ROWS

    def add(self, page: Page) -> None:
        """Take one page: its pairs, nothing, or a row of quarantine."""
        if not page.whole:
            self.bad(page.position, "page_too_large", page.xml, page.unit)
            return
        pairs, documents = len(self._columns["query"]), len(self._documents)
        try:
            article = parse_page(page.xml)
            if article is not None:
                self._add_article(article)
        except UnicodeDecodeError:
            self._take_back(pairs, documents)
            self.bad(page.position, "invalid_utf8", page.xml, page.unit)
        except ValueError as error:
            self._take_back(pairs, documents)
            self.bad(page.position, "malformed_page", f"{error} | ".encode() + page.xml, page.unit)
        else:
            self._records += 1

    def _take_back(self, pairs: int, documents: int) -> None:
        """Drop what a page added before it turned out to be bad: all after the first so many pairs and documents."""
        for column in self._columns.values():
            del column[pairs:]
        del self._documents[documents:]

    def bad(self, position: int, reason: str, excerpt: bytes, unit: str) -> None:
        """Put a record into quarantine."""
        self._records += 1
        self._quarantine.add(position, reason, excerpt, unit)

    def _add_article(self, article: "Article") -> None:
        document_id = f"{self.site.name}:{article.id}"
        url = self.site.base + quote(article.title.replace(" ", "_"), safe="/:(),!'*;@") if self.site.base else ""
        if article.redirect is not None:
            if self.settings.redirects:
                self._pair(article.title, article.redirect, "paraphrase", document_id, url)
            return
        if is_disambiguation(article):
            return
        found = [section for section in sections(article.text) if section.text and not _is_apparatus(section)]
        for section in found:
            self._add_section(article.title, section, document_id, url)
        if self.settings.documents and found:
            self._documents.append(self._document(article.title, found, document_id, url))

    def _add_section(self, title: str, section: Section, document_id: str, url: str) -> None:
        wanted = self.settings.passages if section.path else self.settings.leads
        if not wanted or section.list_share > 0.8 or len(section.text) < self.settings.min_passage_characters:
            return
        text = cut_passage(section.text, self.settings.max_passage_characters)
        query = f"{title} {' > '.join(section.path)}" if section.path else title
        self._pair(query, text, "subtitle_passage" if section.path else "title_body", document_id, url)

    def _pair(self, query: str, positive: str, kind: str, document_id: str, url: str) -> None:
        for name, value in zip(self._columns, (query, positive, kind, document_id, url), strict=True):
            self._columns[name].append(value)
        self._characters += len(query) + len(positive)

    def _document(self, title: str, found: list[Section], document_id: str, url: str) -> dict[str, object]:
        """A DOCUMENT row; each section's span holds its heading and its text."""
        text, spans = "", []
        for section in found:
            lines = normalise_text(pa.array([*section.path[-1:], *section.text.split("\n")])).to_pylist()
            start = len(text) + 2 if text else 0
            text += ("\n\n" if text else "") + "\n".join(line for line in lines if line)
            spans.append({"path": " > ".join(section.path), "start": start, "end": len(text)})
        self._characters += len(text)
        return {
            "document_id": document_id,
            "source": self._source,
            "url": url or None,
            "title": normalise_text(pa.array([title]))[0].as_py(),
            "text": text,
            "language": self.site.language,
            "license": self.settings.license,
            "sections": spans,
        }

    def take(self, position: int) -> Extracted:
        """What was gathered since the last time."""
        columns = self._columns
        pairs, rejects = make_pairs(
            query=columns["query"],
            positive=columns["positive"],
            kind=columns["kind"],
            source=self._source,
            document_id=columns["document_id"],
            url=[url or None for url in columns["url"]],
            query_lang=self.site.language,
            positive_lang=self.site.language,
            license=self.settings.license,
        )
        documents = pa.RecordBatch.from_pylist(self._documents, DOCUMENT)
        quarantine = self._quarantine.take()
        step = extracted(
            self._records, position, pairs=pairs, rejects=rejects, documents=documents, quarantine=quarantine
        )
        self._clear()
        return step


@dataclass(frozen=True)
class Article:
    """A page of the main namespace."""

    title: str
    id: int
    redirect: str | None
    text: str


_NAMESPACE: Final = re.compile(rb"<ns>(-?\d+)</ns>")
_TITLE: Final = re.compile(rb"<title>([^<]+)</title>")
_ID: Final = re.compile(rb"<id>(\d{1,18})</id>")
_REDIRECT: Final = re.compile(rb'<redirect title="([^"]+)"')
_MODEL: Final = re.compile(rb"<model>([^<]+)</model>")


def parse_page(xml: bytes) -> Article | None:
    """The article in a <page>; None for pages of other namespaces and pages that are no wikitext.

    Raises ValueError where the page has no title, id or text, UnicodeDecodeError where it is no UTF-8.
    """
    namespace = _NAMESPACE.search(xml)
    if namespace and namespace[1] != b"0":
        return None
    title, number, redirect, model = (pattern.search(xml) for pattern in (_TITLE, _ID, _REDIRECT, _MODEL))
    if title is None or number is None:
        raise ValueError("the page has no <title> or no <id>")
    if model is not None and model[1] != b"wikitext":
        return None
    target = None if redirect is None else unescape_entities(redirect[1].decode())
    text = "" if target is not None else _unescape(_last_text(xml).decode())
    return Article(unescape_entities(title[1].decode()), int(number[1]), target, text)


def _last_text(xml: bytes) -> bytes:
    """The contents of the <text> of the last revision."""
    tag = xml.rfind(b"<text")
    start = xml.find(b">", tag)
    if tag < 0 or start < 0:
        raise ValueError("the page has no <text>")
    if xml[start - 1 : start] == b"/":
        return b""
    end = xml.find(b"</text>", start)
    if end < 0:
        raise ValueError("the page's <text> does not end")
    return xml[start + 1 : end]


def _unescape(text: str) -> str:
    """XML's own entities; those of HTML stay for wikitext."""
    if "&" not in text:
        return text
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


_DISAMBIGUATION: Final = re.compile(
    r"\{\{\s?(?:[\w -]{0,30}disambig|dab\b|hndis|geodis|surname|given name|set index|begriffsklärung|homonymie|"
    r"desambigua|disambigua|неоднозначность|багатозначність|aimai|曖昧さ回避|消歧|동음이의|توضيح|ابهام|dp\}\}|"
    r"doorverwijspagina|ujednoznacznienie|förgrening|rozcestník|täsmennyssivu|αποσαφήνιση|định hướng|trang định hướng)"
    r"|__DISAMBIG__",
    re.IGNORECASE,
)


def is_disambiguation(article: Article) -> bool:
    """Whether a page only lists what its title may mean, as far as its title and its templates show."""
    return article.title.endswith("(disambiguation)") or bool(_DISAMBIGUATION.search(article.text))


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


def _is_apparatus(section: Section) -> bool:
    return any(heading.casefold() in _APPARATUS for heading in section.path)


_SENTENCE_END: Final = re.compile(r"[.!?؟।։…][\"'”’»)\]]*\s|[。！？][」』”]*|\n")


def cut_passage(text: str, longest: int) -> str:
    """At most `longest` characters of a text: whole sentences or paragraphs where any end in the second half."""
    if len(text) <= longest:
        return text
    ends = [end.end() for end in _SENTENCE_END.finditer(text, longest // 2, longest)]
    if not ends and (space := text.rfind(" ", longest // 2, longest)) >= 0:
        ends = [space]
    return text[: ends[-1] if ends else longest].rstrip()


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
