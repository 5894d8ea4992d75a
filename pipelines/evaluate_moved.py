"""Two systems, query by query: which queries moved most, and what each system ranks first for them.

In:  the `Result`s of two systems, with rankings and values by query.
Out: `SideBySide`: what the page (pipelines.report.side_by_side) shows; kept as JSON by job evaluate.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from pipelines.evaluate_compare import by_set, compared, partner_of
from pipelines.evaluate_systems import Result
from pipelines.report.text import FULL_CHARACTERS

if TYPE_CHECKING:
    from trainer.evaluate import RetrievalData

KEPT_CHARACTERS: Final = FULL_CHARACTERS + 1  # of a text: one more than is shown, so that the page tells of the cut


class _Shown(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ShownPassage(_Shown):
    """A passage that one of the systems ranks first, or a relevant one. Ranks count from 1; None: not among the kept."""

    document_id: str
    text: str | None  # None: not in the corpus
    first_rank: int | None
    second_rank: int | None
    relevant: bool


class MovedQuery(_Shown):
    """A query and what the two systems do with it."""

    query_id: str
    query: str
    language: str | None
    kind: str | None
    first: float  # value of the metric
    second: float
    passages: tuple[ShownPassage, ...]  # the first system's first, the second's first, the relevant one ranked best


class MovedSet(_Shown):
    """One set."""

    data: str
    language: str | None
    task: str
    mode: str
    metric: str
    size: int  # queries, or examples of a task
    first: float | None  # None: not defined, as a correlation of equal cosines
    second: float | None
    low: float | None
    high: float | None
    p_value: float | None
    better: int | None
    worse: int | None
    depth: int | None  # passages of each ranking that were kept, of the shorter where they differ
    gained: tuple[MovedQuery, ...]
    lost: tuple[MovedQuery, ...]


class SideBySide(_Shown):
    """Two systems on all sets."""

    first: str
    second: str
    sets: tuple[MovedSet, ...]


def side_by_side(results: Sequence[Result], first: str, second: str, count: int, seed: int = 0) -> SideBySide:
    """Two systems by name. Of each retrieval set up to `count` queries of each language that gained, and that lost, most.

    A set that only one of the two has a result on is left out.
    """
    sets = []
    for of_set in by_set([result for result in results if result.system in (first, second)]):
        pair = _pair(of_set, first, second)
        if pair is not None:
            sets.append(_moved_set(*pair, count, seed))
    return SideBySide(first=first, second=second, sets=tuple(sets))


def _pair(of_set: Sequence[Result], first: str, second: str) -> tuple[Result, Result] | None:
    """The second system's first mode, and the first system's partner of it."""
    in_order = sorted(of_set, key=lambda each: each.system != first)
    other = next((each for each in in_order if each.system == second), None)
    if other is None or in_order[0].system != first:
        return None
    partner = partner_of(other, in_order)
    return None if partner is None else (partner, other)


def _moved_set(first: Result, second: Result, count: int, seed: int) -> MovedSet:
    [comparison] = compared([first, second], seed)
    main = comparison.main
    gained, lost = _moved(first, second, count)
    size = second.overall.get("queries") or second.overall.get("examples") or 0
    return MovedSet(
        data=second.of.name,
        language=second.of.language,
        task=second.of.kind,
        mode=first.mode if first.mode == second.mode else f"{first.mode} and {second.mode}",
        metric=first.metric,
        size=int(size),
        first=first.value,
        second=second.value,
        low=main and main.low,
        high=main and main.high,
        p_value=main and main.p_value,
        better=main and main.better,
        worse=main and main.worse,
        depth=_depth(first, second),
        gained=tuple(gained),
        lost=tuple(lost),
    )


def _depth(first: Result, second: Result) -> int | None:
    if first.ranking is None or second.ranking is None:
        return None
    return int(min(first.ranking.rows.shape[1], second.ranking.rows.shape[1]))


def _moved(first: Result, second: Result, count: int) -> tuple[list[MovedQuery], list[MovedQuery]]:
    data = second.of.retrieval
    if first.per_query is None or second.per_query is None or data is None:
        return [], []
    gained, lost = _chosen(first.per_query, second.per_query, first.metric, count)
    look = _Look.at(first, second, data, [*gained, *lost])
    return [look.query(each) for each in gained], [look.query(each) for each in lost]


def _chosen(first: pa.Table, second: pa.Table, metric: str, count: int) -> tuple[list[str], list[str]]:
    """Ids of the queries of each language that moved most, in the order of languages."""
    from trainer.evaluate import most_moved

    gained: list[str] = []
    lost: list[str] = []
    for language in sorted({str(each) for each in first["language"].to_pylist()}):
        of_language = pc.equal(pc.fill_null(first["language"], "None"), language)
        ids = pc.filter(first["query_id"], of_language)
        parts = [table.filter(pc.is_in(table["query_id"], value_set=ids.combine_chunks())) for table in (first, second)]
        of_gained, of_lost = most_moved(parts[0], parts[1], metric, count)
        gained += of_gained
        lost += of_lost
    return gained, lost


@dataclass(frozen=True)
class _Look:
    """Texts, values and ranks of the chosen queries of one set."""

    data: "RetrievalData"
    place: Mapping[str, int]  # of the chosen queries
    values: tuple[Mapping[str, float], Mapping[str, float]]
    ranks: Mapping[str, tuple[Mapping[str, int], Mapping[str, int]]]  # by query: ranks by document of each system
    relevant: Mapping[str, Sequence[str]]  # by query: documents, the best first
    texts: Mapping[str, str]  # by document

    @classmethod
    def at(cls, first: Result, second: Result, data: "RetrievalData", queries: Sequence[str]) -> Self:
        wanted = set(queries)
        place = {query: row for row, query in enumerate(data.query_ids) if query in wanted}
        ranks = {query: (_ranks(first, data, place[query]), _ranks(second, data, place[query])) for query in queries}
        # Where answers decide, the texts of all that is ranked, at once: ids are looked for in the whole corpus.
        ranked = {document for pair in ranks.values() for rank in pair for document in rank}
        read = {} if data.answers is None else _texts(data, ranked, None)
        relevant = {query: _relevant(data, query, place[query], ranks[query], read) for query in queries}
        documents = {document for query in queries for document in _shown_documents(ranks[query], relevant[query])}
        values = (_values(first), _values(second))
        return cls(data, place, values, ranks, relevant, _texts(data, documents))

    def query(self, query: str) -> MovedQuery:
        place = self.place[query]
        first, second = self.ranks[query]
        relevant = set(self.relevant[query])
        passages = tuple(
            ShownPassage(
                document_id=document,
                text=self.texts.get(document),
                first_rank=first.get(document),
                second_rank=second.get(document),
                relevant=document in relevant,
            )
            for document in _shown_documents(self.ranks[query], self.relevant[query])
        )
        return MovedQuery(
            query_id=query,
            query=self.data.queries[place][:KEPT_CHARACTERS],
            language=self.data.languages[place],
            kind=self.data.kinds[place],
            first=self.values[0][query],
            second=self.values[1][query],
            passages=passages,
        )


def _values(result: Result) -> dict[str, float]:
    table = result.per_query
    assert table is not None
    return dict(zip(table["query_id"].to_pylist(), table[result.metric].to_pylist(), strict=True))


def _ranks(result: Result, data: "RetrievalData", place: int) -> dict[str, int]:
    from trainer.evaluate.stored_texts import take_texts

    assert result.ranking is not None
    rows = result.ranking.rows[place]
    documents = take_texts(data.document_ids, rows[rows >= 0]).to_pylist()
    return {document: rank for rank, document in enumerate(documents, 1)}


def _relevant(
    data: "RetrievalData",
    query: str,
    place: int,
    ranks: tuple[Mapping[str, int], Mapping[str, int]],
    texts: Mapping[str, str],
) -> list[str]:
    """The relevant documents, best ranked first: of those judged, or, where answers decide, of those ranked (in `texts`)."""
    if data.answers is not None:
        from trainer.evaluate.answers import holds_answer

        ranked = ranks[0].keys() | ranks[1].keys()
        found = [document for document in ranked if holds_answer(texts[document], data.answers[place])]
    else:
        found = [document for document, grade in data.relevance.get(query, {}).items() if grade > 0]
    never = 1 + max(map(len, ranks))
    return sorted(found, key=lambda each: (min(rank.get(each, never) for rank in ranks), each))


def _shown_documents(ranks: tuple[Mapping[str, int], Mapping[str, int]], relevant: Sequence[str]) -> Iterator[str]:
    """What each system ranks first and the best relevant one, each once."""
    tops = [next(iter(rank), None) for rank in ranks]
    yield from dict.fromkeys(document for document in (*tops, *relevant[:1]) if document is not None)


def _texts(data: "RetrievalData", documents: Any, characters: int | None = KEPT_CHARACTERS) -> dict[str, str]:
    """The texts of some documents by id, cut; those that the corpus lacks are left out."""
    from trainer.evaluate.stored_texts import ArrowStrings, take_texts

    ids = data.document_ids.array if isinstance(data.document_ids, ArrowStrings) else pa.array(data.document_ids)
    wanted = pa.array(sorted(documents), pa.large_string())
    there = pc.is_in(ids.cast(pa.large_string()), value_set=wanted)
    rows: npt.NDArray[np.int64] = pc.indices_nonzero(there).to_numpy().astype(np.int64)
    names = take_texts(data.document_ids, rows).to_pylist()
    texts = take_texts(data.documents, rows).to_pylist()
    return {name: text[:characters] for name, text in zip(names, texts, strict=True)}
