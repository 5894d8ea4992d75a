"""TriviaQA: trivia questions with answers and, gathered afterwards, pages of Wikipedia and of the web as evidence.

(question, answer) always; test questions, whose answers are kept back, are no pairs. (question, passage) where the
evidence is given with the questions: the text files below evidence/wikipedia and evidence/web, told apart by these
folders. A page is known to hold the answer, not where: with `evidence: passage` (this rule is ours) the positive is,
of its paragraphs with the answer or one of its aliases, the one that shares most words with the question, cut to
2,000 characters around the answer; a page that has none is no pair. With `evidence: document` it is the whole page. A
page that is not among the files given is quarantined (`missing_evidence`), but for the unfiltered questions, most of
whose pages were never released. What the records say of file names is only compared with the files given. `snippets`
adds what the search engine showed of a result, where that holds the answer.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple

from pydantic import Field

from sources.families.answers import answer_texts
from sources.files.reading import ByteStream, base_name
from sources.record_formats import Format, Record
from sources.records import BadRecord, Layout, RawPair, RecordSettings, field_of, record_id, record_source
from sources.source import InputFile, SourceError, Split

PASSAGE: Final = 2000  # characters
ALIASES: Final = 200  # of an answer that are looked for in a page; real ones have hardly more
_EVIDENCE: Final = re.compile(r"(?:.*/)?(wikipedia|web)/(.+\.txt)")
_WORD: Final = re.compile(r"\w{4,}")

Place = tuple[str, str]  # folder and name of an evidence file


class TriviaSettings(RecordSettings):
    """Settings of the source triviaqa."""

    evidence: Literal["passage", "document"] = Field(
        "passage", description="positives: the paragraph of a page that holds the answer, or the whole page"
    )
    snippets: bool = Field(False, description="also pair the question with search results that show the answer")


class Page(NamedTuple):
    """One page of evidence as a record names it; `text` where the record holds it."""

    place: Place
    url: str | None = None
    title: str | None = None
    snippet: str | None = None
    text: str | None = None


def _gather(paths: Sequence[str], settings: TriviaSettings) -> list[InputFile]:
    evidence = {path: match[1] for path in paths if (match := _EVIDENCE.fullmatch(path))}
    questions = [path for path in paths if path not in evidence]
    if evidence and not questions:
        raise SourceError(
            f"{next(iter(evidence))} and {len(evidence) - 1} more files of evidence, but no questions beside them: also give"
            " the folder with {wikipedia,web}-{train,dev}.json"
        )
    of_wikipedia = tuple(path for path, folder in evidence.items() if folder == "wikipedia")
    return [InputFile(path, of_wikipedia if _only_wikipedia(path) else tuple(evidence)) for path in questions]


def _only_wikipedia(path: str) -> bool:
    return "wikipedia" in base_name(path)


class Evidence(NamedTuple):
    """The files of evidence that were given, and the folders of which all files are expected to be among them."""

    files: Mapping[Place, str]
    folders: frozenset[str]


def _evidence(split: Split) -> Evidence:
    files = {(match[1], match[2]): path for path in split.companions if (match := _EVIDENCE.fullmatch(path))}
    if "unfiltered" in base_name(split.path):  # the corpus holds the pages of few of these results
        return Evidence(files, frozenset())
    return Evidence(files, frozenset(folder for folder, _ in files))


def _layouts(split: Split, settings: TriviaSettings) -> Sequence[Layout]:
    evidence = _evidence(split)
    return (
        Layout(
            {"Question": str},
            partial(_of_file, evidence),
            {"Answer": dict, "EntityPages": list, "SearchResults": list},
        ),
        Layout({"question": str, "answer": dict}, _of_row, {"entity_pages": dict, "search_results": dict}),
    )


def _of_file(evidence: Evidence, record: Record, settings: TriviaSettings) -> Iterator[RawPair | BadRecord]:
    answer = record.get("Answer") or {}
    answers = answer_texts([answer.get("Value")]) + answer_texts(answer.get("Aliases"))
    pages = [_page("wikipedia", page) for page in record.get("EntityPages") or ()]
    pages += [_page("web", page) for page in record.get("SearchResults") or ()]
    if not answers:
        return
    pages = _each_once(pages)
    for place, page in enumerate(pages):
        if path := evidence.files.get(page.place):
            pages[place] = page._replace(text=_text(path, settings.max_record_bytes))
        elif page.place[0] in evidence.folders and page.place[1]:
            yield BadRecord("missing_evidence", f"{'/'.join(page.place)[:200]} is none of the files given")
    yield from _pairs(record["Question"], answers, record.get("QuestionId"), pages, settings)


def _each_once(pages: Sequence[Page]) -> list[Page]:
    """The pages without those of a file named before: its text is read once for a question."""
    found: dict[Place | int, Page] = {}
    for number, page in enumerate(pages):
        found.setdefault(page.place if page.place[1] else number, page)
    return list(found.values())


def _page(folder: str, record: Any) -> Page:
    if type(record) is not dict:
        raise BadRecord("wrong_type", "expected objects as pages of evidence")
    name, *others = (
        field_of(record, field, str) if field in record else "" for field in ("Filename", "Url", "Title", "Description")
    )
    url, title, snippet = others
    return Page((folder, name), url or None, title or None, snippet or None)


def _text(path: str, longest: int) -> str:
    """The text of one of the files given, of no more than `longest` bytes."""
    parts: list[bytes] = []
    size = 0
    for chunk in ByteStream(path):
        parts.append(chunk)
        size += len(chunk)
        if size >= longest:
            break
    return b"".join(parts)[:longest].decode("utf-8", "replace")


def _of_row(record: Record, settings: TriviaSettings) -> Iterator[RawPair]:
    answer = record["answer"] or {}
    answers = answer_texts([answer.get("value")]) + answer_texts(answer.get("aliases"))
    pages = [*_pages_of_columns("wikipedia", record.get("entity_pages"), "wiki_context")]
    pages += _pages_of_columns("web", record.get("search_results"), "search_context")
    yield from _pairs(record["question"], answers, record.get("question_id"), pages, settings)


def _pages_of_columns(folder: str, columns: Record | None, context: str) -> Iterator[Page]:
    names = field_of(columns, "filename", list) if columns else []

    def column(name: str) -> list[Any]:
        values = (columns or {}).get(name)
        return values if type(values) is list and len(values) == len(names) else [None] * len(names)

    rows = zip(names, column("url"), column("title"), column("description"), column(context), strict=True)
    for name, *others in rows:
        if any(value is not None and type(value) is not str for value in (name, *others)):
            raise BadRecord("wrong_type", "expected texts as pages of evidence")
        yield Page((folder, name or ""), *others)


def _pairs(
    question: str | None, answers: list[str], identity: Any, pages: Sequence[Page], settings: TriviaSettings
) -> Iterator[RawPair]:
    if not answers:
        return
    yield RawPair(question, answers[0], "question_answer", document_id=record_id("triviaqa", identity))
    aliases = [answer.lower() for answer in answers[:ALIASES]]
    for page in pages:
        document = f"triviaqa:{'/'.join(page.place)}" if page.place[1] else None
        positive = _positive(page, question or "", aliases, settings)
        if positive:
            yield RawPair(question, positive, "question_context", document_id=document, url=page.url)
        if settings.snippets and page.snippet and _first_answer(page.snippet.lower(), aliases) is not None:
            text = f"{page.title} {page.snippet}" if page.title else page.snippet
            yield RawPair(question, text, "question_context", document_id=document, url=page.url)


def _positive(page: Page, question: str, aliases: list[str], settings: TriviaSettings) -> str | None:
    if page.text is None or settings.evidence == "document":
        return page.text
    return best_passage(page.text, question, aliases)


def best_passage(text: str, question: str, aliases: Sequence[str]) -> str | None:
    """The paragraph (line) of a text that holds an answer and shares most words with the question; None where none.

    `aliases` are the answers in lower case. Of equal paragraphs the longer wins, then the first.
    """
    lowered = text.lower()
    present = [alias for alias in aliases if alias in lowered]
    wanted = set(_WORD.findall(question.lower()))
    best: tuple[int, int] = (-1, -1)
    found: tuple[str, int] | None = None
    shortest = min(map(len, present), default=0)
    for line in text.split("\n") if present else ():
        if len(line) < shortest:
            continue
        low = line.lower()
        place = _first_answer(low, present)
        if place is None:
            continue
        merit = (len(wanted.intersection(_WORD.findall(low))), min(len(line), PASSAGE))
        if merit > best:
            best, found = merit, (line, place)
    return _around(*found) if found else None


def _first_answer(text: str, aliases: Sequence[str]) -> int | None:
    """Where the first of the aliases stands as whole words; both in lower case."""
    for alias in aliases:
        place = text.find(alias)
        while place >= 0:
            end = place + len(alias)
            if not (text[place - 1 : place].isalnum() or text[end : end + 1].isalnum()):
                return place
            place = text.find(alias, place + 1)
    return None


def _around(line: str, place: int) -> str:
    """PASSAGE characters of a line around a place, cut between words."""
    if len(line) <= PASSAGE:
        return line
    start = min(max(0, place - PASSAGE // 2), len(line) - PASSAGE)
    window = line[start : start + PASSAGE]
    if start and " " in window[: PASSAGE // 4]:
        window = window.partition(" ")[2]
    if start + PASSAGE < len(line) and " " in window[-PASSAGE // 4 :]:
        window = window.rpartition(" ")[0]
    return window


SOURCE: Final = record_source(
    name="triviaqa",
    summary="trivia questions with answers and pages that hold them (TriviaQA)",
    kinds=("question_context", "question_answer"),
    languages="eng_Latn",
    layout="qa/{wikipedia,web}-{train,dev}.json, unfiltered-web-{train,dev}.json: Data[{Question, QuestionId, Answer{Value,"
    " Aliases[]}, EntityPages[{Filename}], SearchResults[{Filename, Url, Title, Description}]}]; beside them"
    " evidence/{wikipedia,web}/**/*.txt; or hub rows with the contexts",
    license="Apache-2.0 for the questions; the pages are their publishers'",
    obtain="https://nlp.cs.washington.edu/triviaqa/",
    verified="a few real rows and evidence files; hub rows from memory",
    layouts=_layouts,
    Settings=TriviaSettings,
    format=Format(within="Data"),
    gather=_gather,
    language="eng_Latn",
)
