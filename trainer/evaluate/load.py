"""Retrieval sets from files: queries, judgements and a stored corpus."""

import hashlib
import logging
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from trainer.evaluate.files import EvaluationDataError, identifier_and_text, json_objects, lines
from trainer.evaluate.judgements import Relevance, read_judgements
from trainer.evaluate.layouts import RetrievalFiles, find_files
from trainer.evaluate.retrieval_data import Layout, RetrievalData
from trainer.evaluate.stored_texts import (
    ROW_SCHEMA,
    ArrowStrings,
    DuplicateIdError,
    StoredTexts,
    open_corpus,
    store_corpus,
)

log = logging.getLogger(__name__)

_STORED: Final = 1  # raised when corpora are stored otherwise than before
_ROWS_AT_ONCE: Final = 4096
_CHARACTERS_AT_ONCE: Final = 2**24
# What the M3 paper's 6,619 questions of MKQA leave out: those without an answer, with a long one, and yes or no.
_WITHOUT_SHORT_ANSWER: Final = frozenset({"unanswerable", "long_answer", "binary"})


@dataclass(frozen=True)
class _Queries:
    ids: list[str]
    texts: list[str]
    kinds: list[str | None]
    languages: list[str | None]
    relevance: Relevance | None = None
    answers: list[list[str]] | None = None


def load_retrieval(
    folder: str | Path,
    *,
    layout: Layout | None = None,
    split: str | None = None,
    languages: Sequence[str] = (),
    work: str | Path | None = None,
) -> list[RetrievalData]:
    """The retrieval sets of a folder in any layout of trainer.evaluate.layouts, one for each language.

    `layout` None: told by the folder's content; `split` None: test, or what the papers report (MIRACL: dev). `work` is a
    folder where corpora are stored (about the size of the texts, twice while they are sorted) and found again while their files stay
    as they are; None: a temporary one. Sets that share a corpus share its stored form.

    Raises EvaluationDataError for a missing or damaged file, a missing field, an id that occurs twice, and a judged query
    that has no text.
    """
    stored: dict[tuple[Path, ...], tuple[ArrowStrings, StoredTexts]] = {}
    loaded = []
    for files in find_files(folder, layout=layout, split=split, languages=languages):
        queries = _read_queries(files)
        if files.corpus not in stored:
            stored[files.corpus] = _stored_corpus(files.corpus, work)
        loaded.append(_with_corpus(files, queries, *stored[files.corpus]))
    return loaded


def load_beir(folder: str | Path, *, split: str = "test", work: str | Path | None = None) -> RetrievalData:
    """Read a folder in BEIR's layout. Only the queries that qrels judge are kept; a document is its title and its text.

    Qrels are looked for in qrels/SPLIT.tsv, qrels.SPLIT.tsv and qrels.tsv; queries in queries.SPLIT.jsonl and queries.jsonl.
    Raises EvaluationDataError as load_retrieval does.
    """
    return load_retrieval(folder, layout="beir", split=split, work=work)[0]


class _TemporaryFolder:
    """A folder that goes when nobody keeps this any longer: its corpus may outlive the call that stored it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="pairmill-corpus-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _stored_corpus(files: tuple[Path, ...], work: str | Path | None) -> tuple[ArrowStrings, StoredTexts]:
    if work is None:
        owner = _TemporaryFolder()
        _store(files, owner.path)
        return open_corpus(owner.path, owner)
    seen = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    folder = Path(work) / f"corpus-{hashlib.sha256(repr((_STORED, seen)).encode()).hexdigest()[:32]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".corpus-", dir=folder.parent, ignore_cleanup_errors=True) as partial:
            _store(files, Path(partial) / "corpus")
            try:
                (Path(partial) / "corpus").rename(folder)
            except OSError:
                if not folder.exists():  # otherwise another process stored the same corpus meanwhile
                    raise
    return open_corpus(folder)


def _store(files: tuple[Path, ...], folder: Path) -> None:
    try:
        count = store_corpus(_corpus_rows(files), folder)
    except DuplicateIdError as error:
        raise EvaluationDataError(
            f"{_named(files)} holds the document id {error.identifier!r} {error.count} times. Give every row its own."
        ) from None
    if count == 0:
        raise EvaluationDataError(f"{_named(files)} holds nothing that can be evaluated.")


def _named(files: Sequence[Path]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more files"


def _corpus_rows(files: Iterable[Path]) -> Iterator[pa.RecordBatch]:
    ids: list[str] = []
    texts: list[str] = []
    size = 0
    for file in files:
        for number, row in json_objects(file):
            identifier, text = identifier_and_text(file, number, row, ("_id", "docid", "id"), ("text", "contents"))
            ids.append(identifier)
            texts.append(f"{row.get('title') or ''} {text}".strip())
            size += len(texts[-1])
            if len(ids) == _ROWS_AT_ONCE or size >= _CHARACTERS_AT_ONCE:
                yield pa.record_batch([pa.array(ids), pa.array(texts)], schema=ROW_SCHEMA)
                ids, texts, size = [], [], 0
    yield pa.record_batch([pa.array(ids, pa.string()), pa.array(texts, pa.string())], schema=ROW_SCHEMA)


def _with_corpus(files: RetrievalFiles, queries: _Queries, ids: ArrowStrings, texts: StoredTexts) -> RetrievalData:
    relevance = queries.relevance or {}
    data = RetrievalData(
        name=files.name,
        document_ids=ids,
        documents=texts,
        query_ids=queries.ids,
        queries=queries.texts,
        relevance=relevance,
        kinds=queries.kinds,
        languages=[files.language] * len(queries.ids) if files.language else queries.languages,
        layout=files.layout,
        answers=queries.answers,
    )
    source = files.judgements or files.queries
    judged = pa.array(sorted({document for each in relevance.values() for document in each}), pa.large_string())
    known = pc.sum(pc.is_in(ids.array, value_set=judged)).as_py() or 0
    unknown = _count_pairs(relevance, set(_missing(judged, ids))) if known < len(judged) else 0
    without = sum(all(grade <= 0 for grade in each.values()) for each in relevance.values())
    if unknown:
        log.warning(
            "%s judges %d documents that %s does not hold: none can find them", source, unknown, files.corpus[0]
        )
    if without:
        log.warning("%s holds %d queries without a relevant document: each counts as zero", source, without)
    notes = {"judged_documents_missing": unknown, "queries_without_relevant_document": without}
    return replace(data, notes={name: count for name, count in notes.items() if count})


def _missing(judged: pa.Array, ids: ArrowStrings) -> list[str]:
    there = ids.array.filter(pc.is_in(ids.array, value_set=judged))
    missing: list[str] = judged.filter(pc.invert(pc.is_in(judged, value_set=there))).to_pylist()
    return missing


def _count_pairs(relevance: Mapping[str, Mapping[str, int]], documents: set[str]) -> int:
    return sum(document in documents for judged in relevance.values() for document in judged)


def _read_queries(files: RetrievalFiles) -> _Queries:
    if files.layout == "beir":
        return _beir_queries(files)
    if files.layout == "mkqa":
        return _answer_queries(files)
    return _passage_row_queries(files) if files.judgements is None else _topic_queries(files)


def _beir_queries(files: RetrievalFiles) -> _Queries:
    assert files.judgements is not None
    relevance = read_judgements(files.judgements)
    rows = []
    for number, row in json_objects(files.queries):
        identifier, text = identifier_and_text(files.queries, number, row, ("_id",), ("text",))
        if identifier in relevance:
            rows.append((identifier, text, _told(row, "kind"), _told(row, "language") or _told(row, "lang")))
    _check_queries(files, [identifier for identifier, *_ in rows], relevance)
    columns = [list(column) for column in zip(*rows, strict=True)]
    return _Queries(columns[0], columns[1], columns[2], columns[3], relevance)


def _told(row: Mapping[str, Any], field: str) -> str | None:
    metadata = row.get("metadata")
    value = (metadata.get(field) if isinstance(metadata, dict) else None) or row.get(field)
    return str(value) if value else None


def _topic_queries(files: RetrievalFiles) -> _Queries:
    """Queries as `id TAB text`."""
    assert files.judgements is not None
    relevance = read_judgements(files.judgements)
    rows = []
    for number, line in lines(files.queries):
        identifier, tab, text = line.rstrip("\r\n").partition("\t")
        if not (identifier and tab and text.strip()):
            raise EvaluationDataError(
                f"{files.queries}, line {number}, must hold a query id and a query, separated by a tab; found "
                f"{line.strip()[:200]!r}."
            )
        if identifier in relevance:
            rows.append((identifier, text.strip()))
    ids = [identifier for identifier, _ in rows]
    _check_queries(files, ids, relevance)
    return _Queries(ids, [text for _, text in rows], [None] * len(ids), [None] * len(ids), relevance)


def _passage_row_queries(files: RetrievalFiles) -> _Queries:
    """Rows that name their relevant documents: {query_id, query, positive_passages [{docid}]}."""
    relevance: Relevance = {}
    ids, texts = [], []
    for number, row in json_objects(files.queries):
        identifier, text = identifier_and_text(files.queries, number, row, ("query_id",), ("query",))
        positives = row.get("positive_passages")
        if not (isinstance(positives, list) and all(isinstance(each, dict) and "docid" in each for each in positives)):
            raise EvaluationDataError(
                f"{files.queries}, line {number}, must hold positive_passages, a list of objects with docid."
            )
        ids.append(identifier)
        texts.append(text)
        relevance[identifier] = {str(each["docid"]): 1 for each in positives}
    _check_queries(files, ids, relevance)
    return _Queries(ids, texts, [None] * len(ids), [None] * len(ids), relevance)


def _answer_queries(files: RetrievalFiles) -> _Queries:
    """Questions with the answers that a relevant passage holds; those without a short answer are left out."""
    ids, texts, answers = [], [], []
    for number, row in json_objects(files.queries):
        if "queries" in row:
            told = row["queries"] if isinstance(row["queries"], dict) else {}
            question = {"id": row.get("example_id"), "text": told.get(files.language)}
            known = _short_answers(files, number, row)
        else:
            question = {"id": row.get("id"), "text": row.get("question")}
            known = _strings(files, number, row.get("answers") or [], "answers")
        if known:
            identifier, text = identifier_and_text(files.queries, number, question, ("id",), ("text",))
            ids.append(identifier)
            texts.append(text)
            answers.append(known)
    _check_queries(files, ids, {})
    return _Queries(ids, texts, [None] * len(ids), [None] * len(ids), None, answers)


def _short_answers(files: RetrievalFiles, number: int, row: Mapping[str, Any]) -> list[str]:
    """The short answers of a row of MKQA in the set's language, with their aliases."""
    told = row.get("answers")
    answers = told.get(files.language) or [] if isinstance(told, dict) else None
    if not (isinstance(answers, list) and all(isinstance(each, dict) for each in answers)):
        raise EvaluationDataError(
            f"{files.queries}, line {number}, must hold answers, an object with a list of objects (type, text, aliases) for "
            f"each language. Correct or remove it."
        )
    known: list[str] = []
    for each in answers:
        if each.get("type") not in _WITHOUT_SHORT_ANSWER:
            known += _strings(files, number, [each["text"]] if each.get("text") else [], "text")
            known += _strings(files, number, each.get("aliases") or [], "aliases")
    return known


def _strings(files: RetrievalFiles, number: int, values: Any, field: str) -> list[str]:
    """The strings of a list that are not empty. A single string is no list: its letters would count as answers."""
    if not (isinstance(values, list) and all(isinstance(value, str) for value in values)):
        raise EvaluationDataError(
            f"{files.queries}, line {number}, must hold a list of strings in {field}; found {values!r:.80}. Correct it."
        )
    return [value for value in values if value]


def _check_queries(files: RetrievalFiles, ids: Sequence[str], relevance: Mapping[str, Any]) -> None:
    without_text = relevance.keys() - set(ids)
    if without_text:
        raise EvaluationDataError(
            f"{files.judgements} judges {len(without_text)} queries that {files.queries} does not hold (such as "
            f"{min(without_text)!r}). The two files do not belong together."
        )
    if not ids:
        raise EvaluationDataError(f"{files.queries} holds nothing that can be evaluated.")
    twice, count = Counter(ids).most_common(1)[0]
    if count > 1:
        raise EvaluationDataError(
            f"{files.queries} holds the query id {twice!r} {count} times. Give every row its own."
        )
