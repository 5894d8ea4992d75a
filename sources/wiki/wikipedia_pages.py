"""The pages of a MediaWiki dump: cut out of the stream of bytes, and their header read.

Only the header of a page is read in Python; its text stays where it is in the block, for the loops of sources.wiki.wikitext.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from sources.files.reading import EXCERPT, ByteStream, Fault, is_compressed
from sources.source import Split
from sources.wiki.wikitext import unescape_entities

PAGE: Final = b"<page>"
_PAGE_END: Final = b"</page>"


class Page(NamedTuple):
    """The XML of a page with its tags: data[begin:end]; only its first bytes where it is too large."""

    data: bytes
    begin: int
    end: int
    position: int  # number of the page from 1 in the split that starts the file; else the byte of its tag or bz2 stream
    unit: str
    whole: bool

    @property
    def xml(self) -> bytes:
        """The first bytes, to show."""
        return self.data[self.begin : min(self.end, self.begin + EXCERPT)]


class PageReader:
    """Cuts the pages out of a split: a page belongs to the split in which its <page> starts.

    They come in lists of those that end in the same chunk of the file, which share their `data`. Once they have run
    out, `fault` says what ended the file early and `cut_off` holds the start of the unfinished page.
    """

    def __init__(self, split: Split, max_page: int) -> None:
        self._split, self._max_page = split, max_page
        self._stream = ByteStream(split.path, split.start, split.end)
        self._rest = b""  # what may become a page: an unfinished one, or the start of its tag
        self._searched = 0  # bytes of _rest in which the unfinished page does not end
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

    def __iter__(self) -> Iterator[list[Page]]:
        for chunk in self._stream:
            yield self._cut(chunk, self._here(self._stream, chunk))
        last = self._stream
        if self._rest and last.fault is None and self._split.end is not None:
            last = ByteStream(self._split.path, self._split.end)
            yield from self._finish_last(last)
        if self._rest.startswith(PAGE) or self._dropping:
            self.cut_off = self._rest[:EXCERPT]
            self._broken = last.fault or Fault("truncated_file", last.position, "the last page does not end")

    def _finish_last(self, later: ByteStream) -> Iterator[list[Page]]:
        """The page that starts in this split and ends after it."""
        for chunk in later:
            data = self._rest + chunk
            if not self._dropping and not data.startswith(PAGE[: len(data)]):
                self._rest = b""  # what looked like the start of a tag is none
                return
            if (end := data.find(_PAGE_END)) >= 0:
                yield self._cut(chunk[: end + len(_PAGE_END) - len(self._rest)], self._here(later, chunk))
                self._rest = b""
                return
            yield self._cut(chunk, self._here(later, chunk))

    def _cut(self, chunk: bytes, here: int) -> list[Page]:
        """The pages that end in a chunk, whose first byte is at place `here`."""
        data, known, place = self._rest + chunk, len(self._rest), self._place

        def place_of(begin: int) -> int:
            if begin < known:
                return place
            return here if self._compressed else here + begin - known

        pages = list(self._pages(data, place_of))
        self._place = place_of(len(data) - len(self._rest))
        return pages

    def _here(self, stream: ByteStream, chunk: bytes) -> int:
        """The place of a chunk just read: its first byte, or the compressed stream that it comes from."""
        return stream.member if self._compressed else stream.position - len(chunk)

    def _pages(self, data: bytes, place_of: Callable[[int], int]) -> Iterator[Page]:
        at, searched = 0, self._searched
        self._searched = 0
        if self._dropping:
            end = data.find(_PAGE_END)
            if end < 0:
                self._rest = data[-len(_PAGE_END) :]
                return
            at, self._dropping = end + len(_PAGE_END), False
        while (begin := data.find(PAGE, at)) >= 0:
            end = _page_end(data, max(begin, searched))
            if end < 0:
                break
            at = end + len(_PAGE_END)
            yield self._page(data, begin, at, at - begin <= self._max_page, place_of(begin))
        if begin < 0:
            self._rest = _start_of_tag(data[max(at, len(data) - len(PAGE)) :])
        elif len(data) - begin > self._max_page:
            yield self._page(data, begin, begin + EXCERPT, False, place_of(begin))
            self._rest, self._dropping = data[-len(_PAGE_END) :], True
        else:
            self._rest = data[begin:]
            self._searched = max(0, len(self._rest) - len(_PAGE_END))

    def _page(self, data: bytes, begin: int, end: int, whole: bool, place: int) -> Page:
        self._number += 1
        first = self._split.start == 0
        return Page(data, begin, end, self._number if first else place, "page" if first else "byte", whole)


def _page_end(data: bytes, at: int) -> int:
    """Where </page> starts; -1 where it does not. From tag to tag: five times as fast as a search for the whole of it."""
    while (at := data.find(b"<", at)) >= 0 and not data.startswith(_PAGE_END, at):
        at += 1
    return at


def _start_of_tag(data: bytes) -> bytes:
    """The longest end of `data` that may be the start of <page>."""
    return next((PAGE[:size] for size in range(len(PAGE) - 1, 0, -1) if data.endswith(PAGE[:size])), b"")


@dataclass(frozen=True, slots=True)
class Article:
    """A page of the main namespace; its wikitext, escaped as XML, is data[begin:end] of its Page."""

    title: str
    id: int
    redirect: str | None
    begin: int
    end: int


_NAMESPACE: Final = re.compile(rb"<ns>(-?\d+)</ns>")
_TITLE: Final = re.compile(rb"<title>([^<]+)</title>")
_ID: Final = re.compile(rb"<id>(\d{1,18})</id>")
_REDIRECT: Final = re.compile(rb'<redirect title="([^"]+)"')
_MODEL: Final = re.compile(rb"<model>([^<]+)</model>")
# The word for a redirect is another one in every language; no list item starts like this.
_REDIRECT_TEXT: Final = re.compile(rb"\s*#[^\s\[\]#*:;{}|<&]{3,60}[ \t]*:?[ \t]*\[\[:?([^\[\]|#{}<>\n]{1,255})")


def parse_page(page: Page, namespaces: frozenset[str]) -> Article | None:
    """The article in a <page>; None for pages of other namespaces and pages that are no wikitext.

    `namespaces` are the names of the others, for old dumps whose pages do not say theirs. Raises ValueError where the
    page has no title, id or text, UnicodeDecodeError where its title is no UTF-8.
    """
    data, begin, end = page.data, page.begin, page.end
    revision = data.find(b"<revision>", begin, end)
    header = revision if revision >= 0 else end
    namespace = _NAMESPACE.search(data, begin, header)
    if namespace and namespace[1] != b"0":
        return None
    title, number = _TITLE.search(data, begin, header), _ID.search(data, begin, header)
    if title is None or number is None:
        raise ValueError("the page has no <title> or no <id>")
    name = unescape_entities(title[1].decode())
    if namespace is None and ":" in name and name.partition(":")[0] in namespaces:
        return None
    redirect = _REDIRECT.search(data, begin, header)
    if redirect is not None:
        return Article(name, int(number[1]), unescape_entities(redirect[1].decode()), end, end)
    tag, text, text_end = _last_text(data, header, end)
    model = _MODEL.search(data, header, tag)
    if model is not None and model[1] != b"wikitext":
        return None
    target = _REDIRECT_TEXT.match(data, text, min(text_end, text + 400))
    if target is not None:
        xml = unescape_entities(target[1].decode())
        to = unescape_entities(xml).replace("_", " ").strip()  # wikitext has entities of its own
        return Article(name, int(number[1]), to, text_end, text_end)
    return Article(name, int(number[1]), None, text, text_end)


def _last_text(data: bytes, begin: int, end: int) -> tuple[int, int, int]:
    """The <text> of the last revision: the byte of its tag, and the bounds of its contents."""
    found: tuple[int, int, int] | None = None
    at = begin
    while (tag := data.find(b"<text", at, end)) >= 0:
        start = data.find(b">", tag, end) + 1
        if start and data[start - 2] == ord("/"):
            found, at = (tag, start, start), start
            continue
        close = data.find(b"<", start, end)  # text holds no tag: the next one is its own end
        if not data.startswith(b"</text>", close):
            close = data.find(b"</text>", start, end)
        if not start or close < 0:
            raise ValueError("the page's <text> does not end")
        found, at = (tag, start, close), close
    if found is None:
        raise ValueError("the page has no <text>")
    return found
