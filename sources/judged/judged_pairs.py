"""The way of the judgements of a retrieval set, its queries and its passages to pairs (see sources.judged.judged_source)."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from sources.files.text_files import FileText, text_files
from sources.formats.column_blocks import ColumnBlock, Columns, Numbers, read_columns
from sources.judged.judged_files import (
    JudgedFiles,
    Role,
    driver_names,
    language_in_names,
    named_files,
    of_role,
)
from sources.judged.judged_texts import JudgedTexts
from sources.judged.judgements import (
    QRELS,
    RANKED,
    TRIPLES,
    JudgedIds,
    JudgementRows,
    NegativeRows,
    NegativesByQuery,
    negatives_by_query,
    without_bad_grades,
)
from sources.judged.wanted_ids import WantedIds
from sources.languages import UNKNOWN, language_code
from sources.records import RecordSettings
from sources.schema import DOCUMENT, QuarantineRows, make_pairs, normalise_text
from sources.source import Extracted, SourceError, Split, extracted

STEP_BYTES: Final = 8 << 20  # of the texts of one step of pairs, negatives included
STEP_ROWS: Final = 4096

TEXTS: Final = Columns(
    names={
        "id": ("_id", "docid", "doc_id", "pid", "qid", "query_id", "question_id", "ans_id"),
        "text": ("contents", "content", "passage", "query", "question"),
        "title": ("title",),
        "url": ("url", "metadata.url"),
        "language": ("lang", "language"),
    },
    required=("id", "text"),
    tables=(("id", "text"),),
)


class JudgedSettings(RecordSettings):
    """Settings of every source of judgements."""

    split: Literal["train", "dev", "test"] = Field("train", description="whose judgements make pairs")
    min_grade: float | None = Field(
        None, description="least grade of a relevant passage; default: what the corpus calls relevant, mostly 1"
    )
    max_negative_grade: float | None = Field(
        None, description="highest grade of a negative; passages graded between are neither. Default: mostly 0"
    )
    max_negatives: int = Field(16, ge=0, description="most negatives of a pair")
    with_title: bool = Field(True, description="put a passage's title and a space before its text, as evaluation does")


Judge = Callable[[Split, Any, str], Iterator[ColumnBlock]]  # split, settings, value of the pairs' `source`


@dataclass(frozen=True)
class JudgedLayout:
    """How the files of a corpus hold what their role says; by default as most corpora do.

    `judge` gives the judgements where they are no table: blocks of the columns query, passage and perhaps grade.
    With `file_text` each passage is a file, and each query with `queries_are_files`: see sources.files.text_files.
    """

    qrels: Columns = QRELS
    triples: Columns = TRIPLES
    ranked: Columns = RANKED
    queries: Columns = TEXTS
    passages: Columns = TEXTS
    judge: Judge | None = None
    file_text: FileText | None = None
    queries_are_files: bool = False


@dataclass(frozen=True)
class JudgedCorpus:
    """What judged_source was told of a corpus; see there."""

    name: str
    kinds: tuple[str, ...]
    files: JudgedFiles
    layout: JudgedLayout
    language: str | None
    min_grade: Callable[[Split], float]
    max_negative_grade: float
    kind_of: Callable[[Split, Any], str] | None
    document_prefix: Callable[[Split], str] | None
    document_end: str | None


class JudgedExtraction:
    """The way of one file of judgements and its companions to batches of pairs."""

    def __init__(self, corpus: JudgedCorpus, split: Split, settings: Any, chosen: frozenset[str]) -> None:
        self._corpus, self._split, self._settings, self._chosen = corpus, split, settings, chosen
        self._source = settings.label or corpus.name
        least, highest = settings.min_grade, settings.max_negative_grade
        self._min_grade = corpus.min_grade(split) if least is None else least
        self._max_negative_grade = min(
            corpus.max_negative_grade if highest is None else highest, np.nextafter(self._min_grade, -np.inf)
        )
        said = language_in_names(corpus.files, corpus.files.all_names, [split.path, *split.companions])
        self._language = language_code(settings.language or said or corpus.language or UNKNOWN)
        self._kind = corpus.kind_of(split, settings) if corpus.kind_of else corpus.kinds[0]
        self._unit = "line"  # what the places of judgements count
        self._prefix = corpus.document_prefix(split) if corpus.document_prefix else corpus.name

    def run(self) -> Iterator[Extracted]:
        """All steps. Raises SourceError where the files are not of one corpus."""
        ids = yield from self._judged_ids()
        if not len(ids):
            return
        queries = JudgedTexts(len(ids.query_ids))
        passages = JudgedTexts(len(ids.passage_ids))
        yield from self._collect("queries", ids.query_ids, queries)
        yield from self._collect("passages", ids.passage_ids, passages)
        yield from self._unknown(ids, queries, passages)
        yield from self._pairs(ids, queries, passages)

    def _paths(self, role: Role) -> list[str]:
        return of_role(self._corpus.files, role, self._split.path, self._split.companions)

    def _step(self, block: ColumnBlock, rows: int = 0) -> Extracted:
        """What is left to say of a block: its bad rows, and how many good ones count as records."""
        return extracted(rows + block.quarantine.num_rows + block.lost, 0, quarantine=block.quarantine, lost=block.lost)

    # Judgements

    def _judged_ids(self) -> Generator[Extracted, None, JudgedIds]:
        layout, longest = self._corpus.layout, self._settings.max_record_bytes
        rows = JudgementRows()
        files, triples = self._paths("judgements"), self._paths("triples")
        if files:
            blocks = (
                [layout.judge(self._split, self._settings, self._source)]
                if layout.judge
                else [read_columns(path, layout.qrels, self._source, longest) for path in files]
            )
            for number, blocks_of_file in enumerate(blocks):
                for block in blocks_of_file:
                    good, bad = without_bad_grades(block)
                    self._unit = block.unit
                    rows.add(good, number)
                    yield self._step(block, len(good.numbers))
                    if bad:
                        yield self._bad_grades(files[number], block, bad)
        for number, path in enumerate(() if files else triples):
            for block in read_columns(path, layout.triples, self._source, longest):
                rows.add_new(block, number)
                self._unit = block.unit
                yield self._step(block, len(block.numbers))
        self._files = files or triples
        query_ids, query = rows.query_ids()
        negatives = NegativeRows(query_ids, query, self._settings.max_negatives)
        yield from self._negative_rows(negatives, triples, layout.triples, told=not files)
        yield from self._negative_rows(negatives, self._paths("ranked"), layout.ranked)
        ids = rows.finish(query_ids, query, negatives)
        pa.default_memory_pool().release_unused()
        return ids

    def _bad_grades(self, path: str, block: ColumnBlock, bad: Sequence[int]) -> Extracted:
        quarantine = QuarantineRows(self._source, path, block.unit)
        for row in bad:
            grade = block.columns["grade"][row].as_py()
            quarantine.add(int(block.numbers[row]), "wrong_type", f"grade: expected a number, found {grade!r}")
        return extracted(len(bad), 0, quarantine=quarantine.take())

    def _negative_rows(
        self, negatives: NegativeRows, paths: Sequence[str], columns: Columns, told: bool = False
    ) -> Iterator[Extracted]:
        """Read the negatives of files; `told` where their bad rows have been quarantined before."""
        for path in paths if self._settings.max_negatives else ():
            for block in read_columns(path, columns, self._source, self._settings.max_record_bytes):
                negatives.add(block)
                if not told:
                    yield self._step(block)
                if negatives.full:
                    return

    # Texts

    def _collect(self, role: Role, wanted: WantedIds, texts: JudgedTexts) -> Iterator[Extracted]:
        """Store the texts of the wanted ids; the first of an id counts."""
        paths = self._paths(role)
        other: list[str] = []
        for block in self._text_blocks(role, paths, wanted):
            rows = len(block.numbers)
            if rows:
                ids = block.columns["id"]
                codes = wanted.find(ids)
                texts.add(codes, block.columns)
                if not other:
                    other = ids.slice(0, 1).to_pylist()
            yield self._step(block)
            if rows and role == "passages" and "title_body" in self._chosen and "title" in block.columns:
                yield from self._titles(block, codes < 0)
        if not texts.any:
            raise SourceError(
                f"source {self._corpus.name}: {paths[0] if paths else self._split.path} has no text of the {len(wanted)}"
                f" judged ids of {self._files[0]}: they begin {wanted.ids[0].as_py()!r}, those of the texts"
                f" {(other or ['none'])[0]!r}. Give files of one corpus and version"
            )

    def _text_blocks(self, role: Role, paths: Sequence[str], wanted: WantedIds) -> Iterator[ColumnBlock]:
        layout, longest = self._corpus.layout, self._settings.max_record_bytes
        if layout.file_text and (role == "passages" or layout.queries_are_files):
            return text_files(paths, wanted, layout.file_text, self._settings, self._source)
        columns = layout.queries if role == "queries" else layout.passages
        return chain.from_iterable(read_columns(path, columns, self._source, longest) for path in paths)

    def _titles(self, block: ColumnBlock, unjudged: Any) -> Iterator[Extracted]:
        titled = pc.greater(pc.binary_length(block.columns["title"]).fill_null(0), 0)
        rows = np.flatnonzero(unjudged & titled.to_numpy(zero_copy_only=False))
        for start in range(0, len(rows), STEP_ROWS):
            kept = pa.array(rows[start : start + STEP_ROWS])
            columns = {name: column.take(kept) for name, column in block.columns.items()}
            told = columns["language"] if "language" in columns else pa.nulls(len(kept), pa.string())
            languages = self._codes(told)
            pairs, rejects = make_pairs(
                query=columns["title"],
                positive=columns["text"],
                kind="title_body",
                source=self._source,
                document_id=self._document_ids(columns["id"]),
                query_lang=languages,
                positive_lang=languages,
                url=columns.get("url"),
                license=self._settings.license,
            )
            yield extracted(len(kept), 0, pairs=pairs, rejects=rejects)

    # Pairs

    def _unknown(self, ids: JudgedIds, queries: JudgedTexts, passages: JudgedTexts) -> Iterator[Extracted]:
        """Quarantine what was judged and has no text."""
        for missing, codes, of, reason in (
            (queries.missing, ids.query, ids.query_ids, "unknown_query"),
            (passages.missing, ids.passage, ids.passage_ids, "unknown_passage"),
        ):
            rows = np.flatnonzero(missing[codes])
            if reason == "unknown_passage":
                rows = rows[~queries.missing[ids.query[rows]]]
            elif self._queries_are_of_a_split:
                continue
            for start in range(0, len(rows), STEP_ROWS):
                part = rows[start : start + STEP_ROWS]
                names = of.ids.take(pa.array(codes[part])).to_pylist()
                quarantine = [QuarantineRows(self._source, path, self._unit) for path in self._files]
                for row, name in zip(part.tolist(), names, strict=True):
                    quarantine[ids.file[row]].add(int(ids.line[row]), reason, name)
                for rows_of_file in quarantine:
                    if len(rows_of_file):
                        yield extracted(0, 0, quarantine=rows_of_file.take())
        yield from self._unknown_negatives(ids, passages)

    @property
    def _queries_are_of_a_split(self) -> bool:
        """Whether one file judges the queries of all splits, each of which has its own file."""
        files = self._corpus.files
        judgements = named_files(self._files, driver_names(files))
        queries = named_files(self._paths("queries"), files.queries)
        return all("split" in file.varies for file in queries) and not any(
            "split" in file.varies for file in judgements
        )

    def _unknown_negatives(self, ids: JudgedIds, passages: JudgedTexts) -> Iterator[Extracted]:
        """One row for all negatives of files that have no text: their files are long."""
        rows = np.flatnonzero(passages.missing[ids.negative_passage])
        if not len(rows):
            return
        path = (self._paths("ranked") or self._paths("triples"))[0]
        quarantine = QuarantineRows(self._source, path, "line")
        first = ids.passage_ids.ids[int(ids.negative_passage[rows[0]])].as_py()
        detail = f"{len(rows)} negatives are of passages without text, the first is {first}"
        quarantine.add(int(ids.negative_line[rows[0]]), "unknown_passage", detail)
        yield extracted(len(rows), 0, quarantine=quarantine.take(), lost=len(rows) - 1)

    def _pairs(self, ids: JudgedIds, queries: JudgedTexts, passages: JudgedTexts) -> Iterator[Extracted]:
        if self._kind not in self._chosen:
            return
        has_text = ~passages.missing
        negatives = negatives_by_query(ids, self._max_negative_grade, self._settings.max_negatives, has_text)
        relevant = np.isnan(ids.grade) | (ids.grade >= self._min_grade)
        rows = np.flatnonzero(relevant & has_text[ids.passage] & ~queries.missing[ids.query])
        sizes = self._sizes(rows, ids, queries, passages, negatives)
        ends = np.cumsum(sizes)
        seen = np.zeros(len(ids.passage_ids), np.bool_)
        begin = 0
        while begin < len(rows):
            done = int(ends[begin] - sizes[begin])
            stop = int(np.searchsorted(ends, done + STEP_BYTES, side="right"))
            stop = max(begin + 1, min(stop, begin + STEP_ROWS))
            position = (self._split.size or 0) * stop // len(rows)
            yield self._pair_step(rows[begin:stop], ids, queries, passages, negatives, seen, position)
            begin = stop

    def _sizes(
        self, rows: Numbers, ids: JudgedIds, queries: JudgedTexts, passages: JudgedTexts, negatives: NegativesByQuery
    ) -> Numbers:
        """Bytes of the texts of each pair."""
        of_passage = passages.sizes()
        until = np.concatenate(([0], np.cumsum(of_passage[negatives.passages])))
        of_query = queries.sizes() + until[negatives.starts[1:]] - until[negatives.starts[:-1]]
        return np.asarray(of_query[ids.query[rows]] + of_passage[ids.passage[rows]])

    def _pair_step(
        self,
        rows: Numbers,
        ids: JudgedIds,
        queries: JudgedTexts,
        passages: JudgedTexts,
        negatives: NegativesByQuery,
        seen: Any,
        position: int,
    ) -> Extracted:
        query, passage, grade = ids.query[rows], ids.passage[rows], ids.grade[rows]
        starts, others = negatives.rows(query)
        lists = None
        if len(others):
            offsets = pa.array(starts.astype(np.int32), mask=np.append(np.diff(starts) == 0, False))
            lists = pa.ListArray.from_arrays(offsets, self._passage_texts(passages, others))
        document_ids = self._document_ids(ids.passage_ids.ids.take(pa.array(passage)))
        pairs, rejects = make_pairs(
            query=queries.text.take(query),
            positive=self._passage_texts(passages, passage),
            kind=self._kind,
            source=self._source,
            document_id=document_ids,
            query_lang=self._codes(queries.optional("language", query)),
            positive_lang=self._codes(passages.optional("language", passage)),
            negatives=lists,
            url=passages.optional("url", passage),
            license=self._settings.license,
            label=pa.array(grade, pa.float32(), mask=np.isnan(grade)),
        )
        documents = None
        if self._settings.documents:
            new = np.sort(np.unique(passage, return_index=True)[1])
            new = new[~seen[passage[new]]]
            seen[passage[new]] = True
            documents = self._documents(passage[new], document_ids.take(pa.array(new)), ids, passages)
        return extracted(0, position, pairs=pairs, rejects=rejects, documents=documents)

    def _passage_texts(self, passages: JudgedTexts, codes: Any) -> pa.Array:
        text = passages.text.take(codes)
        if not self._settings.with_title or "title" not in passages.others:
            return text
        return pc.binary_join_element_wise(passages.optional("title", codes).fill_null(""), text, " ")

    def _document_ids(self, ids: pa.Array) -> pa.Array:
        if self._corpus.document_end:
            ids = pc.list_element(pc.split_pattern(ids, self._corpus.document_end, max_splits=1), 0)
        return pc.binary_join_element_wise(pa.scalar(self._prefix), ids, ":")

    def _codes(self, tags: pa.Array) -> pa.Array:
        coded = tags.dictionary_encode()
        codes = [language_code(tag) for tag in coded.dictionary.to_pylist()]
        return pa.array(codes, pa.string()).take(coded.indices).fill_null(self._language)

    def _documents(self, codes: Any, document_ids: pa.Array, ids: JudgedIds, passages: JudgedTexts) -> pa.RecordBatch:
        """The passages that are whole documents."""
        whole = document_ids
        if self._corpus.document_end:
            names = ids.passage_ids.ids.take(pa.array(codes))
            part = pc.match_substring(names, self._corpus.document_end).to_numpy(zero_copy_only=False)
            codes, whole = codes[~part], document_ids.filter(pa.array(~part))
        texts = normalise_text(passages.text.take(codes)).fill_null("")
        batch = pa.RecordBatch.from_arrays(
            [
                whole,
                pa.repeat(self._source, len(codes)),
                passages.optional("url", codes),
                normalise_text(passages.optional("title", codes)),
                texts,
                self._codes(passages.optional("language", codes)),
                pa.repeat(pa.scalar(self._settings.license, pa.string()), len(codes)),
                pa.nulls(len(codes), DOCUMENT.field("sections").type),
            ],
            schema=DOCUMENT,
        )
        return batch.filter(pc.not_equal(texts, ""))
