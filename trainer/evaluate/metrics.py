"""Metrics of rankings, by trec_eval's rules.

In:  a ranking of corpus rows for each query, and `RetrievalData` with judgements (or answers).
Out: each metric's value for every query, and rows {model, data, language, kind, mode, queries, corpus, ndcg@10, ...}: one for all
     queries, one for each kind and each language where the queries name them.

Metrics are trec_eval's, through ir_measures and pytrec_eval: documents are ranked by score and, where scores are equal, by
document id, the larger (in byte order) first; a query without a single result counts as zero, as does one without a relevant
document. A document whose id equals the query's is ranked like any other (some evaluation scripts remove it; the M3 paper's
first numbers suffered from that). nDCG takes grades as gains and discounts by log2(rank + 1); documents of grade 1 and more are
relevant to the others.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.evaluate.files import EvaluationError
from trainer.evaluate.retrieval_data import RetrievalData
from trainer.evaluate.stored_texts import take_texts

MetricRow = dict[str, str | int | float | None]
Values = dict[str, npt.NDArray[np.float64]]  # by metric: one value a query

METRICS: Final = ("ndcg@10", "mrr@10", "recall@100", "map@100")
ANSWER_METRICS: Final = ("answer_recall@20", "answer_recall@100")  # MKQA: M3 table 2, section 4.2 of its first version
_NAME: Final = re.compile(r"(ndcg|mrr|recall|map|p|answer_recall)@([1-9]\d*)")


def depth_of(metrics: Sequence[str]) -> int:
    """How many documents of a ranking the metrics look at. Raises EvaluationError for a name that is none."""
    return max(_parsed(metric)[1] for metric in metrics)


def _parsed(metric: str) -> tuple[str, int]:
    match = _NAME.fullmatch(metric)
    if match is None:
        raise EvaluationError(
            f"There is no metric {metric!r}. Choose ndcg, mrr, recall, map or p, and answer_recall for sets with answers, "
            f"each with a cutoff, such as ndcg@10."
        )
    return match[1], int(match[2])


def judged_values(
    relevance: Mapping[str, Mapping[str, int]],
    query_ids: Sequence[str],
    rankings: Sequence[tuple[Sequence[str], Sequence[float]]],
    metrics: Sequence[str] = METRICS,
) -> Values:
    """Each metric for every query, whose ranking is document ids and scores, best first by trec_eval's rule.

    A query that `relevance` does not judge has the value NaN.
    """
    import pytrec_eval
    from ir_measures import AP, RR, P, R, nDCG
    from ir_measures import pytrec_eval as provider

    del pytrec_eval  # the provider needs it, and says less where it is missing
    measures = {"ndcg": nDCG, "recall": R, "map": AP, "p": P}
    place = {query_id: query for query, query_id in enumerate(query_ids)}
    nothing = np.where([query_id in relevance for query_id in query_ids], 0.0, math.nan)
    values = {metric: nothing.copy() for metric in metrics}
    judged = {query_id: dict(relevance[query_id]) for query_id in query_ids if query_id in relevance}
    for cutoff, together in _passes(metrics):
        run = {
            query_id: dict(zip(documents[:cutoff], scores[:cutoff], strict=True))
            for query_id, (documents, scores) in zip(query_ids, rankings, strict=True)
        }
        wanted = {RR if name == "mrr" else measures[name] @ at: metric for metric, name, at in together}
        for result in provider.iter_calc(list(wanted), judged, run):
            values[wanted[result.measure]][place[result.query_id]] = result.value
    return values


def _passes(metrics: Sequence[str]) -> Iterator[tuple[int, list[tuple[str, str, int]]]]:
    """(documents of each ranking, (metric, name, cutoff)s): pytrec_eval computes RR without a cutoff, so the run is cut."""
    parsed = [(metric, *_parsed(metric)) for metric in metrics]
    others = [each for each in parsed if each[1] not in {"mrr", "answer_recall"}]
    if others:
        yield max(cutoff for *_, cutoff in others), others
    for each in parsed:
        if each[1] == "mrr":
            yield each[2], [each]


def query_values(
    data: RetrievalData,
    scores: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    metrics: Sequence[str] | None = None,
) -> Values:
    """Each metric [Q] of the ranking `rows` int64 [Q, k] with `scores` [Q, k], best first; row -1 is no document.

    `metrics` None: METRICS, or ANSWER_METRICS where the queries have answers and no judgements. Raises EvaluationError for a
    score that is NaN, and for a metric that the data cannot give.
    """
    metrics = usual_metrics(data) if metrics is None else metrics
    check_metrics(data, metrics)
    _check_scores(data, scores, rows)
    values = judged_values(data.relevance, data.query_ids, _rankings(data, scores, rows, metrics), metrics)
    found = [metric for metric in metrics if _parsed(metric)[0] == "answer_recall"]
    if found:
        from trainer.evaluate.answers import first_answer_ranks

        ranks = first_answer_ranks(data, rows[:, : depth_of(found)])
        values |= {metric: (ranks <= min(_parsed(metric)[1], rows.shape[1])).astype(np.float64) for metric in found}
    return values


def usual_metrics(data: RetrievalData) -> tuple[str, ...]:
    """The metrics that are told of data where none are asked for."""
    return METRICS if data.answers is None else ANSWER_METRICS


def check_metrics(data: RetrievalData, metrics: Sequence[str], depth: int | None = None) -> None:
    """Raises EvaluationError for a metric that the data cannot give, and where rankings are `depth` deep and a metric looks
    deeper: its value would be that of a smaller cutoff."""
    if depth is not None and depth < depth_of(metrics):
        deepest = max(metrics, key=lambda metric: _parsed(metric)[1])
        raise EvaluationError(
            f"Rankings of depth {depth} cannot give {deepest}. Set depth to {depth_of(metrics)} or more, or leave it out."
        )
    for metric in metrics:
        by_answer = _parsed(metric)[0] == "answer_recall"
        if by_answer and data.answers is None:
            raise EvaluationError(
                f"{metric} needs the queries' answers, and {data.name} judges documents: take recall instead."
            )
        if not by_answer and not data.relevance:
            raise EvaluationError(
                f"{metric} needs judged documents, and {data.name} has answers: take answer_recall instead."
            )


def _check_scores(data: RetrievalData, scores: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> None:
    bad = np.argwhere(np.isnan(scores) & (rows >= 0))
    if len(bad):
        query, rank = bad[0].tolist()
        raise EvaluationError(
            f"The score of document {data.document_ids[int(rows[query, rank])]!r} for query {data.query_ids[query]!r} is "
            f"NaN: such a ranking has no metrics. Search again with finite embeddings."
        )


def _rankings(
    data: RetrievalData, scores: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], metrics: Sequence[str]
) -> list[tuple[list[str], list[float]]]:
    if not data.relevance:
        return [([], []) for _ in data.query_ids]
    rows, scores = rows[:, : depth_of(metrics)], scores[:, : depth_of(metrics)]
    counts = (rows >= 0).sum(axis=1)
    known, places = np.unique(rows[rows >= 0], return_inverse=True)
    names = np.array([*take_texts(data.document_ids, known).to_pylist(), ""], object)[places].tolist()
    kept = scores[rows >= 0].tolist()
    ends = np.cumsum(counts).tolist()
    return [
        (names[end - count : end], kept[end - count : end]) for end, count in zip(ends, counts.tolist(), strict=True)
    ]


def metric_rows(
    data: RetrievalData,
    scores: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    *,
    model: str,
    mode: str,
    metrics: Sequence[str] | None = None,
    identity: Mapping[str, str] | None = None,
) -> list[MetricRow]:
    """Metrics of the ranking `rows` int64 [Q, k] with `scores` [Q, k] of `data`'s queries; row -1 is no document.

    The first row is for all queries, then comes one for each kind, then one for each language if there are several. Its `kind` is
    "all" but for rows of a kind; its `language` is that of its queries, null where they differ or it is not known.
    `identity` (fingerprints) goes into every row.
    """
    return rows_of_values(data, query_values(data, scores, rows, metrics), model=model, mode=mode, identity=identity)


def rows_of_values(
    data: RetrievalData, values: Values, *, model: str, mode: str, identity: Mapping[str, str] | None = None
) -> list[MetricRow]:
    """Means of `query_values`, as metric_rows tells."""
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
            **(identity or {}),
        }
        for kind, members in groups
    ]


def _members(labels: Sequence[str | None]) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    for label in sorted({label for label in labels if label is not None}):
        yield label, np.array([query for query, each in enumerate(labels) if each == label])


def _only(labels: Sequence[str | None]) -> str | None:
    return labels[0] if len(set(labels)) == 1 else None


def per_query_table(data: RetrievalData, values: Values) -> pa.Table:
    """One row a query: query_id, kind, language and a float64 column a metric."""
    return pa.table(
        {
            "query_id": pa.array(data.query_ids, pa.string()),
            "kind": pa.array(data.kinds, pa.string()),
            "language": pa.array(data.languages, pa.string()),
            **{metric: pa.array(value) for metric, value in values.items()},
        }
    )


def write_per_query(path: str | Path, table: pa.Table) -> None:
    """Write the values of queries as Parquet (zstd), whole or not at all."""
    import pyarrow.parquet as pq

    write_whole(path, lambda partial: pq.write_table(table, partial, compression="zstd", store_schema=False))


def write_metrics(path: str | Path, rows: Iterable[MetricRow]) -> None:
    """Write `rows` as a JSON list, whole or not at all: to a temporary file first, synced and renamed."""
    text = json.dumps(list(rows), indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, "utf-8"))


def write_whole(path: str | Path, write: Any) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
