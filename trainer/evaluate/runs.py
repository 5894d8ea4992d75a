"""Rankings as TREC run files: `query Q0 document rank score tag`, of pairmill or of any other system.

A file's ranks are not believed: as trec_eval does, documents are ranked by score (as float32), equal scores by the larger id.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from trainer.evaluate.files import EvaluationDataError, EvaluationError, lines
from trainer.evaluate.judgements import read_judgements
from trainer.evaluate.metrics import METRICS, Values, judged_values, write_whole
from trainer.evaluate.retrieval_data import RetrievalData
from trainer.evaluate.stored_texts import ArrowStrings, take_texts

_SPACE: Final = re.compile(r"\s")

Ranking = tuple[list[str], list[float]]  # document ids and scores, best first


@dataclass(frozen=True)
class Run:
    """What a system found: for each query its documents, best first."""

    name: str  # the tag of the file's first line
    rankings: Mapping[str, Ranking]


def read_run(file: str | Path) -> Run:
    """Read a run file, plain or gzipped.

    Raises EvaluationDataError, with the line, for one that has not six fields, a score that is no finite number, and a document
    that comes twice for a query.
    """
    file = Path(file)
    found: dict[str, dict[str, float]] = {}
    name = ""
    for number, line in lines(file):
        fields = line.split()
        try:
            query, _, document, _, told, tag = fields
            score = float(told)
        except ValueError as error:
            raise EvaluationDataError(
                f"{file}, line {number}, must hold six fields (query Q0 document rank score tag), the fifth a number; found "
                f"{line.strip()[:200]!r}."
            ) from error
        if not math.isfinite(score):
            raise EvaluationDataError(
                f"{file}, line {number}: the score {told} of document {document!r} cannot be ranked. Correct or remove it."
            )
        documents = found.setdefault(query, {})
        if document in documents:
            raise EvaluationDataError(
                f"{file}, line {number}: document {document!r} comes twice for query {query!r}. Leave one of them."
            )
        documents[document] = score
        name = name or tag
    if not found:
        raise EvaluationDataError(f"{file} holds no ranking.")
    return Run(name, {query: ranked(list(scores), list(scores.values())) for query, scores in found.items()})


def ranked(documents: Sequence[str], scores: Sequence[float]) -> Ranking:
    """Best first: by score as float32, equal ones by the larger id in UTF-8 bytes."""
    with np.errstate(over="ignore"):
        narrow = np.asarray(scores, np.float32).tolist()
    order = sorted(range(len(documents)), key=lambda place: (narrow[place], documents[place]), reverse=True)
    return [documents[place] for place in order], [narrow[place] for place in order]


def write_run(
    path: str | Path,
    data: RetrievalData,
    scores: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    *,
    name: str,
) -> None:
    """Write a ranking `rows` int64 [Q, k] with `scores` [Q, k], best first, as a run file that appears whole.

    Scores have the digits that give back the same float32. Raises EvaluationDataError for an id or a name with white space.
    """
    for identifier in (name, *data.query_ids):
        _check_field(identifier)

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8") as stream:
            for query, query_id in enumerate(data.query_ids):
                there = rows[query] >= 0
                documents = take_texts(data.document_ids, rows[query][there]).to_pylist()
                for rank, (document, score) in enumerate(zip(documents, scores[query][there], strict=True), 1):
                    _check_field(document)
                    stream.write(f"{query_id} Q0 {document} {rank} {score!s} {name}\n")

    write_whole(path, write)


def _check_field(text: str) -> None:
    if not text or _SPACE.search(text):
        raise EvaluationDataError(f"A run file cannot hold {text!r}: its fields are separated by white space.")


def evaluate_run(
    run: Run | str | Path,
    judgements: Mapping[str, Mapping[str, int]] | str | Path,
    metrics: Sequence[str] = METRICS,
) -> tuple[list[str], Values]:
    """Metrics of any system's run: the ids of the judged queries, ascending, and each metric's values [Q] for them.

    Judged queries that the run lacks count as zero, queries of the run that are not judged do not count. Raises EvaluationError
    for answer_recall, which needs the passages' texts.
    """
    by_answer = [metric for metric in metrics if metric.startswith("answer_")]
    if by_answer:
        raise EvaluationError(
            f"{by_answer[0]} needs the passages' texts, and a run file holds ids: load the set, then take rows_of_run and "
            f"query_values."
        )
    run = run if isinstance(run, Run) else read_run(run)
    relevance = judgements if isinstance(judgements, Mapping) else read_judgements(judgements)
    query_ids = sorted(relevance)
    rankings = [run.rankings.get(query_id, ([], [])) for query_id in query_ids]
    return query_ids, judged_values(relevance, query_ids, rankings, metrics)


def rows_of_run(run: Run, data: RetrievalData) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """A run as a ranking of `data`'s corpus: scores float32 [Q, k] and rows int64 [Q, k], -1 and -inf where it ends.

    Raises EvaluationDataError for a document that the corpus does not hold.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rankings = [run.rankings.get(query_id, ([], [])) for query_id in data.query_ids]
    width = max(1, *(len(documents) for documents, _ in rankings))
    scores, rows = np.full((len(rankings), width), -np.inf, np.float32), np.full((len(rankings), width), -1, np.int64)
    wanted = pa.array(sorted({document for documents, _ in rankings for document in documents}), pa.large_string())
    ids = data.document_ids.array if isinstance(data.document_ids, ArrowStrings) else pa.array(data.document_ids)
    places = pc.indices_nonzero(pc.is_in(ids.cast(pa.large_string()), value_set=wanted)).to_numpy().astype(np.int64)
    row_of = dict(zip(take_texts(data.document_ids, places).to_pylist(), places.tolist(), strict=True))
    for query, (documents, values) in enumerate(rankings):
        for document in documents:
            if document not in row_of:
                raise EvaluationDataError(
                    f"Run {run.name!r} ranks document {document!r} for query {data.query_ids[query]!r}, and {data.name} has no "
                    f"such document. Take the run of this corpus."
                )
        rows[query, : len(documents)] = [row_of[document] for document in documents]
        scores[query, : len(documents)] = values
    return scores, rows
