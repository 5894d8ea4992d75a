"""How well a model retrieves: the metrics of the papers on folders in BEIR's layout.

In:  corpus.jsonl {_id, title, text}, queries.jsonl {_id, text, metadata: {kind, language}}, qrels/test.tsv (query-id, corpus-id,
     score, with a header line); each file may be gzipped.
Out: rows {model, data, language, kind, mode, queries, corpus, ndcg@10, mrr@10, recall@100}: one for all queries, one for each kind
     and each language where the queries name them.

Metrics are trec_eval's, through ir_measures and pytrec_eval: documents are ranked by score and, where scores are equal, by
document id, the larger (in byte order) first; a query without a single result counts as zero. A document whose id equals the
query's is ranked like any other (some evaluation scripts remove it; the M3 paper's first numbers suffered from that).
"""

import gzip
import json
import logging
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trainer.bm25 import bm25_top_k
from trainer.encoder import Encoder
from trainer.encoder_processes import EncoderPool

log = logging.getLogger(__name__)

DEPTH: Final = 100  # documents ranked for a query: recall@100 needs no more
_PASSAGES_AT_ONCE: Final = 16_384
MetricRow = dict[str, str | int | float | None]


class EvaluationDataError(ValueError):
    """An evaluation folder cannot be read. The message names the file, the line and the remedy."""


@dataclass(frozen=True)
class RetrievalData:
    """Judged queries and the corpus to be searched. The corpus is in falling order of document id: see `load_beir`."""

    name: str
    document_ids: list[str]
    documents: list[str]  # title and text
    query_ids: list[str]  # those that are judged, in the order of the file
    queries: list[str]
    relevance: dict[str, dict[str, int]]  # by query id and document id
    kinds: list[str | None]  # of each query
    languages: list[str | None]  # of each query


def load_beir(folder: str | Path, *, split: str = "test") -> RetrievalData:
    """Read an evaluation folder. Only the queries that qrels judge are kept; a document is its title and its text.

    Qrels are looked for in qrels/SPLIT.tsv, qrels.SPLIT.tsv and qrels.tsv; queries in queries.SPLIT.jsonl and queries.jsonl.
    The corpus is sorted by falling document id, so that the lower row wins a tie exactly where trec_eval's rule has it
    win, also at the cut after 100 documents.

    Raises EvaluationDataError for a missing or damaged file, a missing field, an id that occurs twice, and a judged query that has no text.
    """
    folder = Path(folder)
    corpus_file = _existing(folder, ["corpus.jsonl"])
    queries_file = _existing(folder, [f"queries.{split}.jsonl", "queries.jsonl"])
    qrels_file = _existing(folder, [f"qrels/{split}.tsv", f"qrels.{split}.tsv", "qrels.tsv"])
    relevance = _read_qrels(qrels_file)
    corpus = sorted(((row["_id"], _document(row)) for row in _json_lines(corpus_file)), reverse=True)
    queries = [row for row in _json_lines(queries_file) if row["_id"] in relevance]
    _check_ids(corpus_file, [identifier for identifier, _ in corpus])
    without_text = relevance.keys() - {row["_id"] for row in queries}
    if without_text:
        raise EvaluationDataError(
            f"{qrels_file} judges {len(without_text)} queries that {queries_file} does not hold (such as {min(without_text)!r}). "
            f"The two files do not belong together."
        )
    _check_ids(queries_file, [row["_id"] for row in queries])
    known = {identifier for identifier, _ in corpus}
    unknown = sum(identifier not in known for judged in relevance.values() for identifier in judged)
    if unknown:
        log.warning(
            "%s judges %d documents that %s does not hold: none can find them", qrels_file, unknown, corpus_file
        )
    return RetrievalData(
        name=folder.resolve().name,
        document_ids=[identifier for identifier, _ in corpus],
        documents=[text for _, text in corpus],
        query_ids=[row["_id"] for row in queries],
        queries=[row["text"] for row in queries],
        relevance=relevance,
        kinds=[_told(row, "kind") for row in queries],
        languages=[_told(row, "language") for row in queries],
    )


def _existing(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        for file in (folder / name, folder / f"{name}.gz"):
            if file.is_file():
                return file
    raise EvaluationDataError(
        f"{folder} holds no {' or '.join(names)}. An evaluation folder has BEIR's layout: corpus.jsonl, queries.jsonl and "
        f"qrels/test.tsv."
    )


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        # Decoded line by line: a text stream decodes in blocks, and could not say which line is wrong.
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                text = line.decode("utf-8")
                if text.strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise EvaluationDataError(f"{file}, line {number}, is not UTF-8 ({error}). Save the file as UTF-8.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise EvaluationDataError(
            f"{file} cannot be decompressed after line {number} ({error}): it is cut short or damaged. Fetch it again."
        ) from error


def _json_lines(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in _lines(file):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise EvaluationDataError(f"{file}, line {number}, is not JSON ({error}). Correct or remove it.") from error
        if not (isinstance(row, dict) and isinstance(row.get("_id"), str) and isinstance(row.get("text"), str)):
            raise EvaluationDataError(f"{file}, line {number}, must be an object with the strings _id and text.")
        yield row


def _document(row: dict[str, Any]) -> str:
    return f"{row.get('title') or ''} {row['text']}".strip()


def _told(row: dict[str, Any], field: str) -> str | None:
    metadata = row.get("metadata")
    value = metadata.get(field) if isinstance(metadata, dict) else None
    return str(value) if value else None


def _check_ids(file: Path, identifiers: Sequence[str]) -> None:
    if not identifiers:
        raise EvaluationDataError(f"{file} holds nothing that can be evaluated.")
    twice, count = Counter(identifiers).most_common(1)[0]
    if count > 1:
        raise EvaluationDataError(f"{file} holds the _id {twice!r} {count} times. Give every row its own.")


def _read_qrels(file: Path) -> dict[str, dict[str, int]]:
    relevance: dict[str, dict[str, int]] = {}
    for number, line in _lines(file):
        fields = line.rstrip("\r\n").split("\t")
        if number == 1 and fields[-1].strip() == "score":
            continue
        try:
            query, document, score = fields
            relevance.setdefault(query, {})[document] = int(score)
        except ValueError as error:
            raise EvaluationDataError(
                f"{file}, line {number}, must hold a query id, a document id and a whole number, separated by tabs; found "
                f"{line.strip()[:200]!r}."
            ) from error
    if not relevance:
        raise EvaluationDataError(f"{file} judges nothing: it holds no line after its header.")
    return relevance


def evaluate_encoder(encoder: Encoder | EncoderPool, data: RetrievalData, *, model: str = "trained") -> list[MetricRow]:
    """Metrics of dense retrieval: exact search by inner product of the encoder's embeddings. `model` names it in the rows."""
    from trainer.search import SearchSettings, top_k

    queries = encoder.encode(data.queries, "query")
    at_once = max(_PASSAGES_AT_ONCE, encoder.window * len(encoder.devices))  # a window for each process
    corpus = (
        encoder.encode(data.documents[start : start + at_once], "passage")
        for start in range(0, len(data.documents), at_once)
    )
    found = top_k(queries, corpus, DEPTH, SearchSettings(devices=encoder.devices))
    return metric_rows(data, found.scores, found.rows, model=model, mode="dense")


def evaluate_bm25(data: RetrievalData) -> list[MetricRow]:
    """Metrics of BM25 over the same documents, k1 = 0.9 and b = 0.4."""
    scores, rows = bm25_top_k(data.queries, data.documents, DEPTH)
    return metric_rows(data, scores, rows, model="bm25", mode="bm25")


def metric_rows(
    data: RetrievalData, scores: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], *, model: str, mode: str
) -> list[MetricRow]:
    """Metrics of the ranking `rows` int64 [Q, k] with `scores` [Q, k] of `data`'s queries; row -1 is no document.

    The first row is for all queries, then comes one for each kind, then one for each language if there are several. Its `kind` is
    "all" but for rows of a kind; its `language` is that of its queries, null where they differ or it is not known.
    """
    values = _values(data, scores, rows)
    groups: list[tuple[str, npt.NDArray[np.int64]]] = [("all", np.arange(len(data.query_ids)))]
    groups += list(_members(data.kinds))
    if len(set(data.languages)) > 1:
        groups += [("all", members) for _, members in _members(data.languages)]
    return [
        {
            "model": model,
            "data": data.name,
            "language": _only([data.languages[query] for query in members]),
            "kind": kind,
            "mode": mode,
            "queries": len(members),
            "corpus": len(data.document_ids),
            **{metric: float(value[members].mean()) for metric, value in values.items()},
        }
        for kind, members in groups
    ]


def _members(labels: Sequence[str | None]) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    for label in sorted({label for label in labels if label is not None}):
        yield label, np.array([query for query, each in enumerate(labels) if each == label])


def _only(labels: Sequence[str | None]) -> str | None:
    return labels[0] if len(set(labels)) == 1 else None


def _values(
    data: RetrievalData, scores: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[np.float64]]:
    """Each metric's value [Q] for every query."""
    from ir_measures import RR, R, nDCG, pytrec_eval

    run = {
        query_id: {
            data.document_ids[row]: score
            for row, score in zip(rows[query].tolist(), scores[query].tolist(), strict=True)
            if row >= 0
        }
        for query, query_id in enumerate(data.query_ids)
    }
    # pytrec_eval computes RR without its cutoff, whatever is asked for: the run is cut instead (rows are in rank order).
    top_ten = {query_id: dict(list(ranking.items())[:10]) for query_id, ranking in run.items()}
    names = {nDCG @ 10: "ndcg@10", RR: "mrr@10", R @ 100: "recall@100"}
    place = {query_id: query for query, query_id in enumerate(data.query_ids)}
    values = {name: np.zeros(len(place)) for name in names.values()}
    for measures, ranking in (([nDCG @ 10, R @ 100], run), ([RR], top_ten)):
        for result in pytrec_eval.iter_calc(measures, data.relevance, ranking):
            values[names[result.measure]][place[result.query_id]] = result.value
    return values


def write_metrics(path: str | Path, rows: Iterable[MetricRow]) -> None:
    """Write `rows` as a JSON list, whole or not at all: to a temporary file first, synced and renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(list(rows), stream, indent=2, ensure_ascii=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
