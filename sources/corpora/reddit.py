"""Reddit: posts with title and text, and posts with the author's own summary.

Pairs: (title, text) of Pushshift's submissions and of rows with title and body; (summary, content) of Webis-TLDR-17. Posts
without a text of their own (links, and texts removed or deleted) give no pair. Character references are resolved.

Pushshift's files are packed with a window of 2 GiB, which the reader refuses: unpack them with `zstd -d --long=31`.
"""

from collections.abc import Iterator
from typing import Final

from pydantic import Field

from sources.record_formats import Format, Record
from sources.records import BadRecord, Layout, RawDocument, RawPair, RecordSettings, record_id, record_source, text_of
from sources.wiki.wikitext import unescape_entities

_GONE: Final = frozenset({"", "[removed]", "[deleted]", "[deleted by user]", "[removed by reddit]", "[unavailable]"})


class RedditSettings(RecordSettings):
    """Settings of the reddit source."""

    min_score: int | None = Field(None, description="leave out posts with fewer votes, where the records tell them")


def _submissions(record: Record, settings: RedditSettings) -> Iterator[RawPair]:
    post = _submission(record, settings)
    score = record.get("score")
    if post is None or (settings.min_score is not None and score is not None and score < settings.min_score):
        return
    yield RawPair(post.title, post.text, "title_body", document_id=post.document_id, url=post.url)


def _submission(record: Record, settings: RedditSettings) -> RawDocument | None:
    """The post of a record; None where there is none to read."""
    text = record["selftext"] if "selftext" in record else record["body"]
    if _is_gone(text) or _is_gone(record["title"]):
        return None
    path = record.get("permalink")
    url = f"https://www.reddit.com{path}" if path and path.startswith("/r/") else None
    return RawDocument(
        _unescaped(record["title"]), _unescaped(text), document_id=record_id("reddit", record.get("id")), url=url
    )


def _title_and_body(record: Record, settings: RedditSettings) -> Iterator[RawPair]:
    texts = record["texts"] or ()
    if len(texts) != 2:
        raise BadRecord("wrong_number_of_texts", f"{len(texts)} texts, expected title and body")
    title, body = (text_of(text, "list") for text in texts)
    return _submissions({"title": title, "body": body}, settings)


def _summaries(record: Record, settings: RedditSettings) -> Iterator[RawPair]:
    if _is_gone(record["content"]):
        return
    yield RawPair(
        _unescaped(record["summary"]),
        _unescaped(record["content"]),
        "summary_body",
        document_id=record_id("reddit", record.get("id")),
    )


def _is_gone(text: str | None) -> bool:
    return text is None or (len(text) < 40 and text.strip().lower() in _GONE)


def _unescaped(text: str | None) -> str | None:
    return unescape_entities(text) if text else text


_OPTIONAL: Final = {"id": str, "permalink": str, "score": int}

SOURCE: Final = record_source(
    name="reddit",
    summary="Reddit posts: Pushshift submissions, title and body rows, Webis-TLDR-17",
    kinds=("title_body", "summary_body"),
    languages="eng_Latn mostly",
    layout="JSON lines RS_*.zst (title, selftext, id, permalink, score); title, body; lists [title, body];"
    " corpus-webis-tldr-17.json (summary, content)",
    license="the texts are their authors'",
    obtain="Pushshift dumps on https://academictorrents.com, https://huggingface.co/datasets/sentence-transformers/reddit-title-body,"
    " https://huggingface.co/datasets/webis/tldr-17",
    verified="Webis-TLDR-17: example rows of its loader; the others: memory only",
    layouts=(
        Layout({"title": str, "selftext": str}, _submissions, _OPTIONAL, _submission),
        Layout({"title": str, "body": str}, _submissions, _OPTIONAL, _submission),
        Layout({"summary": str, "content": str}, _summaries, {"id": str}),
        Layout({"texts": list}, _title_and_body),
    ),
    Settings=RedditSettings,
    language="en",
    format=Format(lists="texts"),
)
