"""Papers and their citations, met on disk: (title, cited title) and (abstract, cited abstract) in bounded memory.

Papers come in many files, in any order; what a paper cites may be in any of them. Everything is divided by hashes of
paper ids in temporary files (sources.files.partitions), and each step reads part after part:

    1  edges, by the cited paper      -> those whose cited paper is there
    2  by the citing paper            -> at most `max_citations` of each, chosen by hash
    3  by the cited paper             -> with its texts
    4  by the citing paper            -> with both papers' texts: pairs
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sources.files.partitions import Keys, Partitions, text_key

ROWS: Final = 4096  # citations of one step
BUFFER_BYTES: Final = 16 << 20  # of each kind of rows, held before they are written
PAPER: Final = pa.schema(
    [
        ("key", pa.uint64()),
        ("id", pa.string()),
        ("title", pa.string()),
        ("abstract", pa.string()),
        ("complete", pa.bool_()),  # whether one record held both texts
    ]
)
_EDGE: Final = pa.schema([("citing", pa.uint64()), ("cited", pa.uint64())])
_CITED: Final = pa.schema(
    [("citing", pa.uint64()), ("id", pa.string()), ("title", pa.string()), ("abstract", pa.string())]
)


class Citations:
    """A collection of papers and edges, divided into `count` parts; first all are added, then joined."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._papers = Partitions(count, PAPER, BUFFER_BYTES)
        self._keys = Partitions(count, pa.schema([PAPER.field("key")]), BUFFER_BYTES)
        self._edges = Partitions(count, _EDGE, BUFFER_BYTES)
        self._found = Partitions(count, _EDGE, BUFFER_BYTES)
        self._chosen = Partitions(count, _EDGE, BUFFER_BYTES)
        self._cited = Partitions(count, _CITED, BUFFER_BYTES)

    def add_papers(
        self,
        ids: Sequence[str],
        titles: Sequence[str | None],
        abstracts: Sequence[str | None],
        complete: Sequence[bool],
    ) -> None:
        """Papers, or parts of them: what lacks here (None) may come in another record of the same id."""
        keys = _keys_of(ids)
        columns = [pa.array(keys), pa.array(ids, pa.string()), pa.array(titles, pa.string())]
        columns += [pa.array(abstracts, pa.string()), pa.array(complete, pa.bool_())]
        self._papers.add(keys, pa.RecordBatch.from_arrays(columns, schema=PAPER))
        self._keys.add(keys, pa.RecordBatch.from_arrays([pa.array(keys)], names=["key"]))

    def add_edges(self, citing: Sequence[str], cited: Sequence[str]) -> None:
        """Citations, by the ids of both papers."""
        keys = _keys_of(cited)
        _add_edges(self._edges, _keys_of(citing), keys, keys)

    def papers(self) -> Iterator[pa.Table]:
        """Every paper once, its records put together: tables of schema PAPER."""
        for number in range(self._count):
            yield _merged(self._papers.read(number))

    def joined(self, max_citations: int) -> Iterator[pa.Table]:
        """Citations with both texts, up to ROWS a table: title, abstract, cited_id, cited_title, cited_abstract."""
        self._find()
        self._choose(max_citations)
        self._add_cited_texts()
        for number in range(self._count):
            papers = _merged(self._papers.read(number))
            cited = self._cited.read(number)
            row, known = _rows_of(papers, cited["citing"])
            cited, row = cited.filter(pa.array(known)), row[known]
            for start in range(0, len(row), ROWS):
                both = cited.slice(start, ROWS)
                citing = papers.take(pa.array(row[start : start + ROWS]))
                yield pa.table(
                    [citing["title"], citing["abstract"], both["id"], both["title"], both["abstract"]],
                    names=["title", "abstract", "cited_id", "cited_title", "cited_abstract"],
                )

    def _find(self) -> None:
        for number in range(self._count):
            edges = self._edges.read(number)
            known = np.unique(_numbers(self._keys.read(number)["key"]))
            citing, cited = _numbers(edges["citing"]), _numbers(edges["cited"])
            there = np.isin(cited, known) & (citing != cited)
            _add_edges(self._found, citing[there], cited[there], citing[there])
        self._edges.close()
        self._keys.close()

    def _choose(self, most: int) -> None:
        for number in range(self._count):
            edges = self._found.read(number)
            both = np.unique(np.stack([_numbers(edges["citing"]), _numbers(edges["cited"])], axis=1), axis=0)
            citing, cited = both[:, 0], both[:, 1]
            order = np.lexsort((_mixed(citing, cited), citing))
            citing, cited = citing[order], cited[order]
            rank = np.arange(len(citing)) - np.searchsorted(citing, citing)  # among those of one citing paper
            kept = rank < most
            _add_edges(self._chosen, citing[kept], cited[kept], cited[kept])
        self._found.close()

    def _add_cited_texts(self) -> None:
        for number in range(self._count):
            edges = self._chosen.read(number)
            papers = _merged(self._papers.read(number))
            row, _ = _rows_of(papers, edges["cited"])
            for start in range(0, len(row), ROWS):
                texts = papers.take(pa.array(row[start : start + ROWS])).select(["id", "title", "abstract"])
                citing = edges["citing"].slice(start, ROWS)
                table = pa.table([citing, *texts.columns], schema=_CITED).combine_chunks()
                for batch in table.to_batches():
                    self._cited.add(_numbers(batch["citing"]), batch)
        self._chosen.close()


def _keys_of(ids: Sequence[str]) -> Keys:
    return np.fromiter(map(text_key, ids), np.uint64, len(ids))


def _numbers(column: pa.ChunkedArray | pa.Array) -> Keys:
    return np.asarray(column.to_numpy(), np.uint64)


def _add_edges(partitions: Partitions, citing: Keys, cited: Keys, keys: Keys) -> None:
    partitions.add(keys, pa.RecordBatch.from_arrays([pa.array(citing), pa.array(cited)], schema=_EDGE))


def _mixed(citing: Keys, cited: Keys) -> Keys:
    """Numbers that order the citations of a paper at random, always in the same way."""
    mixed = (citing ^ (cited * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xD6E8FEB86659FD93)
    return np.asarray(mixed ^ (mixed >> np.uint64(32)), np.uint64)


def _merged(papers: pa.Table) -> pa.Table:
    """The records of each paper as one, sorted by key: of each text the first that is there."""
    texts = [(name, "first") for name in ("id", "title", "abstract")]
    merged = papers.group_by("key", use_threads=False).aggregate([*texts, ("complete", "max")])
    return merged.rename_columns(["key", "id", "title", "abstract", "complete"]).sort_by("key").combine_chunks()


def _rows_of(papers: pa.Table, keys: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The row of each key in papers sorted by key, and whether it is there."""
    sorted_keys, wanted = _numbers(papers["key"]), _numbers(keys)
    row = np.searchsorted(sorted_keys, wanted)
    if not len(sorted_keys):
        return row, np.zeros(len(wanted), np.bool_)
    return row, np.asarray(sorted_keys[np.minimum(row, len(sorted_keys) - 1)] == wanted)
