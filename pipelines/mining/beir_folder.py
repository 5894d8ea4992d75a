"""A folder in BEIR's layout as pairs: its queries, and the passages of its corpus that are judged relevant.

    corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv (query-id, corpus-id, score); also queries.SPLIT.jsonl and qrels.SPLIT.tsv

Each may be compressed. A query without a positive in the split is left out.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.mining.bad_rows import BadRows, MiningInputError
from pipelines.mining.inputs import InputSettings
from pipelines.mining.progress import Progress
from pipelines.mining.reading import QUERIES, QueryFiles, Unit, facts_of, hashes_of
from pipelines.mining.row_files import LINE
from pipelines.mining.work import Stage, read_arrow, write_array
from sources.files.reading import MAX_LINE
from sources.formats.column_blocks import Columns, read_columns

_QUERY_NAMES: Final = {"_id": ("id", "query_id", "qid"), "text": ("query",)}
_QRELS_COLUMNS: Final = Columns(
    {
        "query-id": ("query_id", "qid"),
        "corpus-id": ("corpus_id", "docid", "doc_id", "pid"),
        "score": ("relevance", "grade", "label"),
    },
    ("query-id", "corpus-id", "score"),
    tables=(("query-id", "corpus-id", "score"), ("query-id", "", "corpus-id", "score")),
    spaces=True,
)


class BeirFiles(NamedTuple):
    """The files of a folder: corpus, queries and the judgements of one split."""

    corpus: list[str]
    queries: list[str]
    qrels: str


def beir_files(folder: str, split: str) -> BeirFiles:
    """The files of a folder. Raises MiningInputError naming what is missing."""
    names = storage.list_files(folder)
    inside = [f"qrels/{name}" for name in storage.list_files(storage.join(folder, "qrels"))]

    def starting(*stems: str) -> list[str]:
        for stem in stems:
            found = [name for name in [*names, *inside] if name.startswith(f"{stem}.")]
            if found:
                return [storage.join(folder, name) for name in found]
        raise MiningInputError(
            f"{folder} has no {' or '.join(f'{stem}.*' for stem in stems)}; it has {', '.join([*names, *inside]) or 'no files'}."
            " Name the split of the judgements with --split."
        )

    return BeirFiles(
        starting("corpus"),
        starting(f"queries.{split}", "queries"),
        starting(f"qrels/{split}", f"qrels.{split}")[0],
    )


class _Judgements(NamedTuple):
    """Judgements from the least grade on, by query, in the order of the file."""

    queries: npt.NDArray[np.uint64]  # [n] hashes of the queries' ids, sorted
    passages: npt.NDArray[np.int64]  # [n] where each passage is among the texts of the corpus units
    lines: npt.NDArray[np.int64]  # [n]


def read_judged(
    stage: Stage, unit: Unit, units: Sequence[Unit], settings: InputSettings, bad: BadRows, progress: Progress
) -> tuple[int, dict[str, Any]]:
    """Write the queries of a file that have positives, and NNNN.positives.npy: int64, the positives one after the other."""
    assert unit.qrels is not None
    judged = _read_qrels(unit.qrels, _CorpusIds.of(stage, units), settings.min_grade, bad)
    positives = [np.zeros(0, np.int64)]
    seen = [np.zeros(0, np.uint64)]
    unjudged = 0
    answers = {settings.answers_field: (settings.answers_field,)} if settings.answers_field else {}
    query_columns = Columns(_QUERY_NAMES | answers, ("_id", "text"), other="json")
    with ExitStack() as open_files:
        queries = QueryFiles(stage, unit, open_files)
        for block in read_columns(unit.path, query_columns, "mine", MAX_LINE):
            bad.take(block.quarantine, block.lost)
            if len(block.numbers) == 0:
                continue
            hashes = hashes_of(block.columns["_id"]).to_numpy()
            empty = pc.equal(pc.utf8_trim_whitespace(block.columns["text"].fill_null("")), "").to_numpy(False)
            for row in np.flatnonzero(empty).tolist():
                bad.add(int(block.numbers[row]), block.unit, "empty_text", "the query has no text")
            first = np.searchsorted(judged.queries, hashes, "left")
            counts = np.searchsorted(judged.queries, hashes, "right") - first
            unjudged += int(np.count_nonzero(counts == 0))
            kept = np.flatnonzero((counts > 0) & ~empty)
            seen.append(hashes[empty])
            first, counts = first[kept], counts[kept]
            places = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
            positives.append(judged.passages[places])
            seen.append(hashes[kept])
            columns = {name: column.take(pa.array(kept)) for name, column in block.columns.items()}
            queries.add(_query_batch(columns, counts, settings.answers_field), _lines(columns))
            progress.advance(len(block.numbers))
        queries.finish()
    if sum(each.kind == "beir" for each in units) == 1:  # of several files none needs to hold all queries
        _note_unknown(judged, np.concatenate(seen), unit.qrels, bad)
    write_array(stage.file(f"{unit.name}.positives.npy"), np.concatenate(positives))
    return queries.rows, {"carrier": "json", "form": "beir", "unjudged_queries": unjudged}


def _note_unknown(judged: _Judgements, queries: npt.NDArray[np.uint64], qrels: str, bad: BadRows) -> None:
    """The judgements of queries that no file holds are bad rows."""
    for line in judged.lines[~np.isin(judged.queries, queries)].tolist():
        bad.add(line, "line", "unknown_id", f"{qrels}: the query is not in the file of queries")


def _query_batch(columns: dict[str, pa.Array], counts: npt.NDArray[np.int64], answers: str | None) -> pa.RecordBatch:
    rows = len(counts)
    arrays = [
        columns["text"].cast(pa.large_string()),
        columns["_id"].cast(pa.large_string()),
        pa.array(counts.astype(np.int32)),
        pa.array(np.zeros(rows, np.int32)),
        pa.nulls(rows, pa.uint64()),
        _answers(columns, answers, rows),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=QUERIES)


def _answers(columns: dict[str, pa.Array], name: str | None, rows: int) -> pa.Array:
    """One answer a query, as a list."""
    kind = pa.list_(pa.large_string())
    if name is None or name not in columns:
        return pa.nulls(rows, kind)
    return pa.array([None if text is None else [text] for text in columns[name].to_pylist()], kind)


def _lines(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    both = zip(columns["_id"].to_pylist(), columns["text"].to_pylist(), strict=True)
    lines = [orjson.dumps({"query_id": identity, "query": text}) for identity, text in both]
    return pa.RecordBatch.from_arrays([pa.array(lines, pa.large_binary())], [LINE])


class _CorpusIds(NamedTuple):
    """The ids of the corpus, sorted by hash, the first of a repeated one first."""

    hashes: npt.NDArray[np.uint64]
    places: npt.NDArray[np.int64]

    @classmethod
    def of(cls, stage: Stage, units: Sequence[Unit]) -> "_CorpusIds":
        hashes = [np.zeros(0, np.uint64)]
        for unit in units:
            if unit.kind == "corpus":
                ids = read_arrow(stage.file(f"{unit.name}.texts.arrow"))["id"]
                if ids.null_count:
                    raise MiningInputError(
                        f"{unit.path}: {ids.null_count:,} passages have no id (_id), and judgements name passages by it."
                    )
                hashes += [hashes_of(chunk).to_numpy() for chunk in ids.chunks]
        whole = np.concatenate(hashes)
        assert len(whole) == sum(facts_of(stage, unit)["texts"] for unit in units if unit.kind == "corpus")
        order = np.argsort(whole, kind="stable")
        return cls(whole[order], order)

    def places_of(self, wanted: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Where each id is, -1 where it is not."""
        if len(self.hashes) == 0:
            return np.full(len(wanted), -1, np.int64)
        found = np.searchsorted(self.hashes, wanted)
        found = found.clip(max=len(self.hashes) - 1)
        return np.where(self.hashes[found] == wanted, self.places[found], -1)


def _read_qrels(path: str, corpus: _CorpusIds, min_grade: float, bad: BadRows) -> _Judgements:
    queries, passages, lines = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for block in read_columns(path, _QRELS_COLUMNS, "mine", MAX_LINE):
        bad.take(block.quarantine, block.lost)
        if len(block.numbers) == 0:
            continue
        grades = _grades(block.columns["score"], block.numbers, path, bad)
        relevant = grades >= min_grade
        places = corpus.places_of(hashes_of(block.columns["corpus-id"]).to_numpy())
        for row in np.flatnonzero(relevant & (places < 0)).tolist():
            name = block.columns["corpus-id"][row].as_py()
            bad.add(int(block.numbers[row]), "line", "unknown_id", f"{path}: the corpus has no passage {name!r}")
        kept = np.flatnonzero(relevant & (places >= 0))
        queries.append(hashes_of(block.columns["query-id"].take(pa.array(kept))).to_numpy())
        passages.append(places[kept])
        lines.append(block.numbers[kept])
    all_queries = np.concatenate(queries)
    order = np.argsort(all_queries, kind="stable")
    return _Judgements(all_queries[order], np.concatenate(passages)[order], np.concatenate(lines)[order])


def _grades(scores: pa.Array, numbers: npt.NDArray[np.int64], path: str, bad: BadRows) -> npt.NDArray[np.float64]:
    try:
        grades: npt.NDArray[np.float64] = scores.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        values = []
        for score, number in zip(scores.to_pylist(), numbers.tolist(), strict=True):
            try:
                values.append(float(score))
            except (TypeError, ValueError):
                bad.add(number, "line", "wrong_type", f"{path}: the score is {score!r}, a number is needed")
                values.append(np.nan)
        return np.array(values)
    return grades
