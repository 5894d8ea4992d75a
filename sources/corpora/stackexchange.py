"""Stack Exchange: Posts.xml (and PostLinks.xml) of a site's data dump.

    title_body         the title of a question, its text
    question_answer    a question, its accepted answer and each other answer of at least `min_score`; label: the score.
                       The question is once its title and once title and text, as in BGE's collection (`queries`)
    question_question  a question, the one it is closed as a duplicate of (PostLinks.xml, LinkTypeId 3)
    paraphrase         the best answer of a question, each other one that gives a pair; only when `kinds` asks for it

Posts that are neither question nor answer (wikis of tags, elections ...) and answers below `min_score` are no pairs.
The document of a pair is the thread of the question: no answer ever is a negative of its own question. The banner
"Possible Duplicate" that old questions begin with is left out, for it holds the title of the other question.

Answers lie far from their questions. One pass over the file divides the posts by question into the parts of a temporary
file (in TMPDIR; it takes at most the size of Posts.xml, LZ4 about a third), which are then joined one after the other.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from sources.files.partitions import Partitions, partition_count
from sources.files.reading import base_name, is_compressed, one_split
from sources.formats.extracted_rows import ExtractedRows
from sources.formats.html_text import fragment_text
from sources.formats.xml_rows import XmlRow, XmlRows
from sources.records import MOST_TEXT, BadRecord, RawPair, RecordSettings, chosen_kinds
from sources.source import Extracted, InputFile, Source, SourceError, Split

NAME: Final = "stackexchange"
KINDS: Final = ("question_answer", "title_body", "question_question", "paraphrase")
USUAL_KINDS: Final = ("question_answer", "title_body", "question_question")
LICENSE: Final = "CC-BY-SA-4.0"

Query = Literal["title", "title_body"]


class StackExchangeSettings(RecordSettings):
    """Settings of the stackexchange source."""

    license: str | None = Field(LICENSE, description="licence of posts that do not name theirs (ContentLicense)")
    site: str | None = Field(
        None,
        description="the site, e.g. cooking.stackexchange.com; default: the name of the folder that holds the file",
    )
    min_score: int = Field(1, description="least score of an answer that is not the accepted one")
    max_answers: int | None = Field(
        None, ge=1, description="most answers of a question: the accepted one, then by score"
    )
    queries: tuple[Query, ...] = Field(
        ("title", "title_body"), min_length=1, description="what a question is as a query, each its own pair"
    )


_POSTS: Final = re.compile(r"(.*?)(posts|postlinks)\.xml", re.IGNORECASE)
_OTHERS: Final = re.compile(r".*(?:badges|comments|posthistory|tags|users|votes)\.xml", re.IGNORECASE)


def gather(paths: Sequence[str], settings: StackExchangeSettings) -> list[InputFile]:
    """Each Posts.xml with the PostLinks.xml of its folder; the dump's other files are left out.

    Raises SourceError where there is no Posts.xml, a file that is none of a dump, or no PostLinks.xml for what is
    asked.
    """
    posts: dict[tuple[str, str], str] = {}
    links: dict[tuple[str, str], str] = {}
    for path in paths:
        name = base_name(path)
        if found := _POSTS.fullmatch(name):
            of_kind = posts if found[2].lower() == "posts" else links
            of_kind[path.rpartition("/")[0], found[1].lower()] = path
        elif not _OTHERS.fullmatch(name):
            raise SourceError(
                f"{path}: no file of a Stack Exchange dump: expected Posts.xml, perhaps PostLinks.xml beside it"
            )
    if not posts:
        raise SourceError(f"no Posts.xml among {', '.join(paths[:3])}: unpack the site's .7z and give its Posts.xml")
    wanted = "question_question" in chosen_kinds(NAME, settings, KINDS, USUAL_KINDS)
    for key, path in posts.items():
        if wanted and settings.kinds and key not in links:
            raise SourceError(f"{path}: kind question_question needs PostLinks.xml of the same folder: give it too")
    return [InputFile(path, (links[key],) if wanted and key in links else ()) for key, path in sorted(posts.items())]


def splits(path: str, settings: StackExchangeSettings, target_bytes: int) -> list[Split]:
    """One split a file: an answer may be anywhere after its question."""
    return one_split(path)


def read(split: Split, settings: StackExchangeSettings) -> Iterator[Extracted]:
    """Stream the posts, then join them. Raises SourceError where the file holds no rows."""
    chosen = chosen_kinds(NAME, settings, KINDS, USUAL_KINDS)
    site = Site(split.path, settings.site)
    language = site.language or settings.language or "en"
    rows = ExtractedRows(settings.label or NAME, split, "line", KINDS, chosen, language, settings.license)
    partitions = Partitions(partition_count(split.size, is_compressed(split.path)), _POST)
    duplicates = Duplicates.read(split.companions, settings.max_record_bytes, rows)
    posts = XmlRows(split.path, settings.max_record_bytes, rows)
    for block in posts:
        _divide(block, posts, partitions, duplicates, site, rows, chosen)
        yield rows.take(posts.position)
    duplicates.quarantine_unseen(rows)
    threads = _Threads(site, settings, rows)
    for number in range(partitions.count):
        for thread in _threads(partitions.read(number)):
            for pair in threads.pairs(thread):
                rows.add(pair)
                if rows.full:
                    yield rows.take(posts.position)
            if rows.full:
                yield rows.take(posts.position)
    partitions.close()
    yield rows.take(posts.position)


_ARCHIVE: Final = re.compile(r"(?:\.(?:zip|tar|tgz|gz|bz2|xz|zst))*!\Z")
_DOMAINS: Final = (
    "stackexchange.com",
    "stackoverflow.com",
    "serverfault.com",
    "superuser.com",
    "askubuntu.com",
    "stackapps.com",
    "mathoverflow.net",
)


class Site:
    """What the name of a site tells: the ids and addresses of its posts, and its language.

    It is the one of the settings, else that of the folder (or archive) that holds the file. Folders of other names
    than a site's tell ids apart, but no address.
    """

    # Sites that speak another language than English; spanish.stackexchange.com speaks English about Spanish.
    _LANGUAGES: Final = {"es": "es", "ja": "ja", "pt": "pt", "ru": "ru", "rus": "ru"}

    def __init__(self, path: str, given: str | None) -> None:
        folder = path.rpartition("/")[0].rpartition("/")[2]
        self._name = given or _ARCHIVE.sub("", folder) or NAME
        known = given is not None or self._name.endswith(_DOMAINS)
        self._address = f"https://{self._name}" if known else None
        self.language = self._LANGUAGES.get(self._name.partition(".")[0]) if known else None

    def url(self, kind: Literal["q", "a"], post: int) -> str | None:
        """The short address of a question (q) or an answer (a)."""
        return f"{self._address}/{kind}/{post}" if self._address else None

    def document_id(self, question: int) -> str:
        """The id of a thread."""
        return f"{NAME}:{self._name}:{question}"


class Duplicates:
    """Which questions are closed as duplicates of which: 25 bytes of memory a link."""

    def __init__(self, links: Sequence[tuple[int, int, int]], path: str) -> None:
        found = np.array(sorted(links), np.int64).reshape(-1, 3)
        self._closed, self._originals, self._places = (np.ascontiguousarray(column) for column in found.T)
        self._seen = np.zeros(len(found), np.bool_)
        self._path = path

    @classmethod
    def read(cls, paths: Sequence[str], longest: int, rows: ExtractedRows) -> "Duplicates":
        """Of PostLinks.xml; its rows are counted and what is no link is quarantined in `rows`."""
        links: list[tuple[int, int, int]] = []
        for path in paths:
            found = XmlRows(path, longest, rows)
            for row in (row for block in found for row in block):
                if row.fields.get(b"LinkTypeId") != b"3":
                    continue
                try:
                    links.append((row.number(b"PostId"), row.number(b"RelatedPostId"), row.place))
                except BadRecord as error:
                    found.bad(row, error)
        return cls(links, paths[0] if paths else "")

    def of(self, question: int) -> list[int]:
        """The questions that this one is a duplicate of, each once."""
        start, end = np.searchsorted(self._closed, [question, question + 1])
        self._seen[start:end] = True
        return sorted({*self._originals[start:end].tolist()})

    def quarantine_unseen(self, rows: ExtractedRows) -> None:
        """Links of questions that were never asked for."""
        for place, closed in zip(self._places[~self._seen].tolist(), self._closed[~self._seen].tolist(), strict=True):
            rows.bad(place, "unknown_question", f"no question {closed} in the posts", file=self._path)


MOST_ORIGINALS: Final = 20  # questions that one is closed as a duplicate of: each gets its text
_QUESTION, _ANSWER, _DUPLICATE = range(3)
_POST: Final = pa.schema(
    [
        ("question", pa.int64()),  # the thread: what posts are divided by
        ("role", pa.int8()),
        ("score", pa.int64()),
        ("post", pa.int64()),
        ("accepted", pa.int64()),  # a question's accepted answer, 0 where it has none
        ("title", pa.string()),
        ("body", pa.string()),
        ("license", pa.string()),
        ("place", pa.int64()),
    ]
)
_ORDER: Final = [("question", "ascending"), ("role", "ascending"), ("score", "descending"), ("post", "ascending")]


class Post(NamedTuple):
    """A row of _POST."""

    question: int
    role: int
    score: int
    post: int
    accepted: int
    title: str
    body: str
    license: str | None
    place: int


def _divide(
    block: list[XmlRow],
    reader: XmlRows,
    partitions: Partitions,
    duplicates: Duplicates,
    site: Site,
    rows: ExtractedRows,
    chosen: frozenset[str],
) -> None:
    """Put the posts of a block into the partitions of their threads, the pairs of title and text into `rows`."""
    posts: list[Post] = []
    for row in block:
        try:
            post = _post(row)
        except BadRecord as error:
            reader.bad(row, error)
            continue
        if post is None:
            continue
        posts.append(post)
        if post.role == _QUESTION:
            document, url = site.document_id(post.post), site.url("q", post.post)
            rows.add(RawPair(post.title, post.body, "title_body", document_id=document, url=url, license=post.license))
            originals = duplicates.of(post.post)
            if len(originals) > MOST_ORIGINALS:
                reader.bad(row, BadRecord("too_many_originals", f"a duplicate of {len(originals)} questions"))
                continue
            posts += [post._replace(question=original, role=_DUPLICATE) for original in originals]
    if chosen == {"title_body"} or not posts:
        return
    columns = [pa.array(column, field.type) for column, field in zip(zip(*posts, strict=True), _POST, strict=True)]
    keys = np.array([post.question for post in posts], np.int64).view(np.uint64)
    partitions.add(keys, pa.RecordBatch.from_arrays(columns, schema=_POST))


_BANNER: Final = re.compile(
    r"\s*<blockquote>\s*<p><strong>(?:Possible Duplicate|Possible Duplicates):?</strong>.*?</blockquote>", re.DOTALL
)


def _post(row: XmlRow) -> Post | None:
    """The question or answer of a row; None for other posts. Raises BadRecord."""
    kind = row.number(b"PostTypeId")
    if kind not in (1, 2):
        return None
    number = row.number(b"Id")
    body = row.text(b"Body")
    if body.startswith("<blockquote>"):
        body = _BANNER.sub("", body, count=1)
    license = row.text(b"ContentLicense").replace(" ", "-") if b"ContentLicense" in row.fields else None
    score = row.number(b"Score")
    if kind == 2:
        parent = row.number(b"ParentId")
        return Post(parent, _ANSWER, score, number, 0, "", fragment_text(body), license, row.place)
    accepted = row.number(b"AcceptedAnswerId") if b"AcceptedAnswerId" in row.fields else 0
    title = row.text(b"Title")
    return Post(number, _QUESTION, score, number, accepted, title, fragment_text(body), license, row.place)


def _threads(table: pa.Table) -> Iterator[list[Post]]:
    """The posts of each question: itself, its answers by score, its duplicates."""
    columns = [column.to_pylist() for column in table.sort_by(_ORDER).columns]
    posts = map(Post._make, zip(*columns, strict=True))
    for _, thread in groupby(posts, key=itemgetter(0)):
        yield list(thread)


@dataclass
class _Threads:
    """Makes the pairs of whole threads."""

    site: Site
    settings: StackExchangeSettings
    rows: ExtractedRows

    def pairs(self, thread: list[Post]) -> Iterator[RawPair]:
        """The pairs of all posts of one question, in the order of _ORDER."""
        size = 0
        for pair in self._pairs(thread):
            size += len(pair.query or "") + len(pair.positive or "")
            if size > MOST_TEXT:  # a text of megabytes, repeated for a million answers
                self.rows.bad(thread[0].place, "too_many_pairs", f"pairs of {size:,} characters of one question")
                return
            yield pair

    def _pairs(self, thread: list[Post]) -> Iterator[RawPair]:
        question = thread[0]
        if question.role != _QUESTION:
            for post in thread:
                what = "answer" if post.role == _ANSWER else "duplicate"
                detail = f"{what} {post.post} of question {post.question}, which is not in the file"
                self.rows.bad(post.place, "unknown_question", detail)
            return
        answers = self._answers(question, [post for post in thread if post.role == _ANSWER])
        for answer in answers:
            for form in self.settings.queries:
                yield self._pair("question_answer", question, answer, _text(question, form), answer.body)
        for answer in answers[1:]:
            yield self._pair("paraphrase", answers[0], answer, answers[0].body, answer.body)
        for duplicate in (post for post in thread if post.role == _DUPLICATE):
            for form in self.settings.queries:
                yield self._pair(
                    "question_question", duplicate, question, _text(duplicate, form), _text(question, form)
                )

    def _answers(self, question: Post, answers: list[Post]) -> list[Post]:
        accepted = [answer for answer in answers if answer.post == question.accepted]
        others = [
            answer for answer in answers if answer.post != question.accepted and answer.score >= self.settings.min_score
        ]
        return [*accepted, *others][: self.settings.max_answers]

    def _pair(self, kind: str, first: Post, second: Post, query: str, positive: str) -> RawPair:
        answer = second.role == _ANSWER
        return RawPair(
            query,
            positive,
            kind,
            document_id=self.site.document_id(second.question),
            url=self.site.url("a" if answer else "q", second.post),
            label=second.score if answer else None,
            license=_both(first.license, second.license),
        )


def _text(question: Post, form: Query) -> str:
    return question.title if form == "title" else f"{question.title}\n{question.body}"


def _both(first: str | None, second: str | None) -> str | None:
    """The licence of a pair of posts, as an SPDX expression where they differ."""
    return f"{first} AND {second}" if first and second and first != second else first or second


SOURCE: Final = Source(
    name=NAME,
    summary="questions, answers and duplicates of Stack Exchange sites",
    kinds=KINDS,
    languages="English, but for the sites es, ja, pt, ru and rus",
    layout="Posts.xml and PostLinks.xml of a site's dump, one <row .../> a line; plain or compressed, not .7z",
    license="CC-BY-SA-4.0; older posts 3.0 and 2.5, as each post says",
    obtain="https://archive.org/details/stackexchange (unpack the .7z)",
    Settings=StackExchangeSettings,
    splits=splits,
    read=read,
    gather=gather,
    verified="real files (Posts.xml); PostLinks.xml from memory",
)
