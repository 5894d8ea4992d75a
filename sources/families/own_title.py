"""Titles that texts hold themselves: a first line that can be the title, and a title that the text repeats.

The rule of `own_title`, for web texts that come without a title:

1. The first line is the title, the rest the body. nomic-ai's contrastors does so with mC4; M3-Embedding's own rule is not
   published.
2. Where the second line is a part of the first, and at least half of it, the second line is the title and left out of the
   body: pages write "How to mill | Our site" in their head and "How to mill" above the text.
3. A title shorter or longer than the settings allow is none. By default neither is one that ends as a sentence, a clause or
   a cut-off text does: `title_rule` first_line takes these too.
4. A text without title or without body gives no pair. It is no reject: most of the web has no title in its first line.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, Literal

from pydantic import Field

from sources.fields import LARGEST_LABEL
from sources.record_formats import Record
from sources.records import Layout, RawDocument, RawPair, RecordSettings

_SENTENCE_ENDS: Final = (*".。．｡…।॥۔։።།။၊។,，、،;；:：", "፡፡")
_CLOSING: Final = "\"'”’»›)）]］」』】》 "
_TEXT: Final = re.compile(r"\S")


class OwnTitleSettings(RecordSettings):
    """Settings of sources whose texts come without a title."""

    title_rule: Literal["heading", "first_line", "none"] = Field(
        "heading",
        description="what makes a title of a text's first line: heading (it does not end like a sentence), first_line"
        " (any), none (no pairs of such texts, but documents)",
    )
    min_title_characters: int = Field(5, ge=1, description="a shorter first line is no title")
    max_title_characters: int = Field(200, ge=1, description="a longer first line is no title")


def own_title(text: str, settings: OwnTitleSettings) -> tuple[str, str] | None:
    """The title that a text begins with and its body; None where it has none by the rule above."""
    longest = settings.max_title_characters
    text = text.lstrip()
    end = text.find("\n", 0, 4 * longest)
    if settings.title_rule == "none" or end < 0:
        return None
    title = text[:end].rstrip()
    start = _next_text(text, end)
    second = text[start : start + longest + 1].partition("\n")[0].rstrip()
    if 2 * len(second) >= len(title) and len(second) >= settings.min_title_characters and second in title:
        title, start = second, _next_text(text, start + len(second))
    if not settings.min_title_characters <= len(title) <= longest or start == len(text):
        return None
    if settings.title_rule == "heading" and title.rstrip(_CLOSING).endswith(_SENTENCE_ENDS):
        return None
    return title, text[start:]


def _next_text(text: str, at: int) -> int:
    """Where the white space from a place on ends."""
    found = _TEXT.search(text, at)
    return found.start() if found else len(text)


def text_layout(url: str | None = None) -> Layout:
    """The layout of records whose `text` has its title within; `url` is the field of the page's address."""

    def pairs(record: Record, settings: OwnTitleSettings) -> Iterator[RawPair]:
        return own_title_pairs(record["text"], settings, url=record[url] if url else None)

    def document(record: Record, settings: OwnTitleSettings) -> RawDocument:
        return RawDocument(None, record["text"], url=record[url] if url else None)

    return Layout(dict.fromkeys(("text", url) if url else ("text",), str), pairs, document=document)


def own_title_pairs(
    text: str | None,
    settings: OwnTitleSettings,
    *,
    title: str | None = None,
    language: str | None = None,
    document_id: str | None = None,
    url: str | None = None,
    language_score: Any = None,
) -> Iterator[RawPair]:
    """The pair of a text with the title that the record has, or else with its own; an empty text is a reject.

    `language_score` is kept as `positive_language_probability` where it is a number: a page counts without it too.
    """
    found: tuple[str | None, str | None] | None = None
    if title and not title.isspace():
        found = title, without_title(title, text)
    elif text and not text.isspace():
        found = own_title(text, settings)
    elif settings.title_rule != "none":
        found = None, None
    if found is not None:
        score = (
            language_score if type(language_score) in (int, float) and abs(language_score) <= LARGEST_LABEL else None
        )
        scores = None if score is None else {"positive_language_probability": float(score)}
        yield RawPair(*found, "title_body", None, language, language, document_id, url, scores=scores)


def without_title(title: str | None, text: str | None) -> str | None:
    """A text without the title where that is its whole first line."""
    if not title or not text:
        return text
    start = _next_text(text, 0)
    end = start + len(title)
    if not text.startswith(title, start) or text[end : end + 1] not in ("\n", "\r", ""):
        return text
    return text[end:]
