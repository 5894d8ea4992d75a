"""The title and the main text of a web page, by Resiliparse or Trafilatura (extra `warc`)."""

import html as entities
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from sources.languages import UNKNOWN
from sources.source import SourceError

Extractor = Literal["resiliparse", "trafilatura"]
REMEDY: Final = "install them with: pip install 'pairmill[warc]'"
# The time of the libraries grows with the square of the depth of a page, and of the attributes of one tag: a page of 100 kB
# can take minutes. Browsers stop at a depth of 512.
DEEPEST: Final = 250
MOST_TAGS: Final = 400_000
SAFE_LENGTH: Final = 1 << 16  # characters: fewer hold no attributes that take long
_TOO_DEEP: Final = " > ".join(["*"] * (DEEPEST + 1))
_CROWDED: Final = re.compile(
    r"""<[a-zA-Z][^\s/>]{0,99}+(?:[\s/]++[^\s/>=]++(?:\s*+=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^\s>]*+))?+){300}"""
)
# Ranks of Resiliparse's detector are distances. Pages of real text stay below 450, but lists of names reach 300 in a
# wrong language too: its word is a first guess for texts that the language filter judges later.
FURTHEST: Final = 600


@dataclass(frozen=True)
class WebPage:
    """What a reader sees of a page: its title, and its main text, paragraphs one a line."""

    title: str
    text: str


class InvalidPageError(ValueError):
    """Bytes of which no page can be made."""


def page_reader(extractor: Extractor) -> Callable[[bytes, str | None], WebPage]:
    """A function of (bytes, encoding that the server named) to a page, which raises InvalidPageError.

    Raises SourceError where the libraries are not installed.
    """
    try:
        from resiliparse.extract.html2text import extract_plain_text
        from resiliparse.parse.encoding import detect_encoding
        from resiliparse.parse.html import HTMLTree

        if extractor == "trafilatura":
            from trafilatura import extract
    except ImportError as error:
        raise SourceError(
            f"pages of the web are read by {extractor}, which cannot be loaded ({error}): {REMEDY}"
        ) from error

    def text_of(tree: Any, source: str) -> str:
        if extractor == "trafilatura":
            return extract(source, include_comments=False, include_tables=False) or ""
        return str(
            extract_plain_text(tree, preserve_formatting=True, main_content=True, list_bullets=False, alt_texts=False)
        )

    def read(data: bytes, encoding: str | None) -> WebPage:
        try:
            source = _decoded(data, encoding or detect_encoding(data, from_html_meta=True) or "utf-8")
            if source.count("<") > MOST_TAGS or (len(source) > SAFE_LENGTH and _CROWDED.search(source)):
                raise InvalidPageError("too many tags, or attributes of one tag")
            tree = HTMLTree.parse(source)
            if tree.document and tree.document.query_selector(_TOO_DEEP):
                raise InvalidPageError(f"more than {DEEPEST} elements inside of each other")
            title = _open_graph_title(tree) or tree.title or ""
            return WebPage(" ".join(title.split()), text_of(tree, source))
        except InvalidPageError:
            raise
        except (ValueError, LookupError, TypeError, RuntimeError) as error:
            raise InvalidPageError(str(error)) from error

    return read


def _decoded(data: bytes, encoding: str) -> str:
    """UTF-8 where the bytes are, whatever is said: most wrong declarations are of pages in UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        try:
            return data.decode(encoding, "replace")
        except LookupError:
            return data.decode("utf-8", "replace")


def _open_graph_title(tree: Any) -> str:
    """og:title is the headline; <title> often has the name of the site too."""
    meta = tree.head.query_selector('meta[property="og:title"]') if tree.head else None
    return entities.unescape(meta.getattr("content") or "") if meta else ""


def language_detector() -> Callable[[str], str]:
    """A function that tells the language of a text of some hundred characters: ISO 639-1, or `und`."""
    from resiliparse.parse.lang import detect_fast

    def detect(text: str) -> str:
        language, _ = detect_fast(text[:5000], cutoff=FURTHEST)
        return UNKNOWN if language == "unknown" else str(language)

    return detect
