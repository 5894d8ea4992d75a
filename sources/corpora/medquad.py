"""MedQuAD: questions and answers from sites of the US National Institutes of Health, one XML file a page.

(question, answer), with the page's address. Three folders of the corpus come without their answers: those pairs are
rejected as `empty_positive`. The blank that the corpus puts before a question mark is taken out, and the second of
two marks. Up to a thousand files of a folder are read as one input, for there are 11,000. Entities that a file itself
defines are never expanded: such a file is refused. Tables with question and answer (the corpus as CSV or hub rows)
are read too.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final
from xml.parsers import expat

from sources.files.reading import ByteStream, base_name, stored_size
from sources.formats.extracted_rows import ExtractedRows
from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawPair, RecordSettings, chosen_kinds, record_source
from sources.source import Extracted, InputFile, Source, SourceError, Split

KINDS: Final = ("question_answer",)
FILES_AT_ONCE: Final = 1000
FEW: Final = 3  # files: where none of so many holds a page, they are another corpus


def _gather(paths: Sequence[str], settings: RecordSettings) -> list[InputFile]:
    folders: dict[str, list[str]] = defaultdict(list)
    others = []
    for path in paths:
        if _is_xml(path):
            folders[path.rpartition("/")[0]].append(path)
        else:
            others.append(InputFile(path))
    portions = [
        sorted(files)[first : first + FILES_AT_ONCE]
        for _, files in sorted(folders.items())
        for first in range(0, len(files), FILES_AT_ONCE)
    ]
    return [InputFile(first, tuple(beside)) for first, *beside in portions] + others


def _is_xml(path: str) -> bool:
    return base_name(path).lower().endswith(".xml")


def _splits(path: str, settings: RecordSettings, target_bytes: int) -> list[Split]:
    return [Split(path, size=stored_size(path))] if _is_xml(path) else _ROWS.splits(path, settings, target_bytes)


def _read(split: Split, settings: RecordSettings) -> Iterator[Extracted]:
    return _pages(split, settings) if _is_xml(split.path) else _ROWS.read(split, settings)


def _pages(split: Split, settings: RecordSettings) -> Iterator[Extracted]:
    chosen = chosen_kinds("medquad", settings, KINDS, KINDS)
    source, language = settings.label or "medquad", settings.language or "eng_Latn"
    rows = ExtractedRows(source, split, "byte", KINDS, chosen, language, settings.license)
    files = (split.path, *split.companions)
    right = 0
    for path in files:
        right += _Page(path, rows).read(settings.max_record_bytes)
        if rows.full:
            yield rows.take(0)
    if not right and len(files) >= FEW:
        raise SourceError(f"{split.path}: neither it nor {len(files) - 1} files beside it hold MedQuAD's <Document>")
    yield rows.take(0)


class _Page:
    """The questions and answers of one file, given to `rows` as they end."""

    def __init__(self, path: str, rows: ExtractedRows) -> None:
        self._path, self._rows = path, rows
        self._identity = rows.place_id(base_name(path))
        self._url: str | None = None
        self._texts: dict[str, str] = {}  # of the pair that is being read: Question, Answer
        self._text: list[str] | None = None  # of the one of them that is being read
        self._depth = 0
        self._right = False
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse_declaration

    def read(self, longest: int) -> bool:
        """Whether the file is one of the corpus. What is bad is quarantined with its byte."""
        stream, size = ByteStream(self._path), 0
        try:
            for chunk in stream:
                size += len(chunk)
                if size > longest:
                    raise BadRecord("file_too_long", f"more than {longest} bytes")
                self._parser.Parse(chunk, False)
            if stream.fault is not None:
                raise BadRecord(stream.fault.reason, stream.fault.detail)
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            self._bad("invalid_xml", str(error), self._parser.ErrorByteIndex)
        except BadRecord as error:
            self._bad(error.reason, error.detail, self._parser.CurrentByteIndex)
        return self._right

    def _bad(self, reason: str, detail: str, place: int) -> None:
        self._rows.count()
        self._rows.bad(max(0, place), reason, detail, file=self._path)

    def _refuse_declaration(self, *declaration: object) -> None:
        raise BadRecord("document_type", "a document type can define entities: no such file is read")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1:
            if name != "Document":
                raise BadRecord("missing_field", f"expected <Document>, found <{name[:50]}>")
            self._right = True
            self._url = attributes.get("url") or None
            if attributes.get("id"):
                self._identity = f"medquad:{attributes.get('source', '')}:{attributes['id']}"
        elif name == "QAPair":
            self._texts = {}
        elif name in ("Question", "Answer"):
            self._text = []

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, name: str) -> None:
        self._depth -= 1
        if name in ("Question", "Answer") and self._text is not None:
            self._texts[name] = "".join(self._text)
            self._text = None
        elif name == "QAPair":
            if lacking := {"Question", "Answer"} - self._texts.keys():
                self._bad("missing_field", f"no <{min(lacking)}>", self._parser.CurrentByteIndex)
                return
            self._rows.count()
            question, answer = _tidy(self._texts["Question"]), self._texts["Answer"]
            self._rows.add(RawPair(question, answer, KINDS[0], document_id=self._identity, url=self._url))


def _tidy(question: str) -> str:
    return question.rstrip(" ?") + "?" if question.endswith(("?", "? ")) else question


def _of_row(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    identity = record.get("document_id")
    yield RawPair(
        _tidy(record["question"] or ""),
        record["answer"],
        document_id=f"medquad:{record.get('document_source', '')}:{identity}" if identity else None,
        url=record.get("document_url"),
    )


_ROWS: Final[Source] = record_source(
    name="medquad",
    summary="questions and answers about diseases and drugs from sites of the US National Institutes of Health",
    kinds=KINDS,
    languages="eng_Latn",
    layout="folders {number}_{site}_QA of XML files: <Document id source url> with <QAPair><Question/><Answer/></QAPair>; or"
    " tables with question, answer",
    license="CC BY 4.0",
    obtain="https://github.com/abachaa/MedQuAD",
    verified="5,073 real XML files of six folders; tables from memory",
    layouts=(
        Layout(
            {"question": str, "answer": str},
            _of_row,
            {"document_id": str, "document_source": str, "document_url": str},
        ),
    ),
    language="eng_Latn",
)
SOURCE: Final = replace(_ROWS, gather=_gather, splits=_splits, read=_read)
