"""Which passages must not be negatives of a query, whatever they score.

Its positives, those of all rows with the same query (folded) among them; passages that say the same as one of them or as
the query itself (filters.duplicates); near-duplicates of any of these; passages of a document that a positive occurs in; and
the negatives that came with it, which it has already.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.mining.index import Index
from pipelines.mining.multimap import Multimap, distinct_pairs
from trainer.ragged import Ragged

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Known:
    """What is known of some queries before anything is searched."""

    positives: Ragged  # of each query its positives, ascending
    curated: Ragged  # the negatives that came with it, ascending
    excluded: Ragged  # and all that must not be its negatives, the positives among them


def known_passages(index: Index, clusters: tuple[Multimap, Multimap] | None, queries: Rows) -> Known:
    """What is known of the queries of these numbers int64 [n]."""
    links = index.links
    numbers = np.arange(len(queries))
    folds = np.asarray(index.query_folds[queries])
    positives = links.positives.follow(numbers, folds)
    alike = [
        positives,
        links.of_fold.follow(numbers, folds),
        links.of_fold.follow(positives[0], _folds(index, positives[1])),
    ]
    near = _joined(alike)
    if clusters is not None:
        cluster_of, of_cluster = clusters
        near = _joined([near, of_cluster.follow(*cluster_of.follow(*near))])
    documents = links.of_document.follow(*_unsigned(links.documents.follow(*positives)))
    curated = links.negatives.follow(numbers, folds)
    excluded = _joined([near, documents, curated])
    return Known(*(_ragged(pairs, len(queries)) for pairs in (positives, curated, excluded)))


def _folds(index: Index, passages: Rows) -> npt.NDArray[np.uint64]:
    return np.asarray(index.folds[passages])


def _unsigned(pairs: tuple[Rows, Rows]) -> tuple[Rows, npt.NDArray[np.uint64]]:
    return pairs[0], pairs[1].view(np.uint64)


def _joined(pairs: list[tuple[Rows, Rows]]) -> tuple[Rows, Rows]:
    starts, rows = (np.concatenate(each) for each in zip(*pairs, strict=True))
    joined: tuple[Rows, Rows] = distinct_pairs(starts, rows)
    return joined


def _ragged(pairs: tuple[Rows, Rows], count: int) -> Ragged:
    return Ragged.grouped(pairs[0], pairs[1], count)
