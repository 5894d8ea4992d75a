"""Approximate top-k for corpora that are too large to search exactly: faiss's inverted file, with its recall measured.

In:  queries [Q, D], a corpus in files.
Out: as trainer.search: exact scores, ordered the same way, but rows may be missing; and the share that is not.

The corpus is divided into cells around centres (k-means of a sample); a query is compared with the rows of the nearest
cells only. The index holds all rows in memory as float16. It is kept while the corpus object lives, so that a search
in blocks of queries builds it once. Centres depend on sums that threads share: another number of threads may make
others.
"""

import logging
import math
from typing import Any, Final, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128_digest

from trainer.inner_products import Floats, Rows, inner_products, widened
from trainer.search_blocks import Found, OnBlock, corpus_blocks, query_blocks
from trainer.search_settings import ApproximateSettings, SearchSettings
from trainer.vector_files import VectorFiles

log = logging.getLogger(__name__)

_ROWS_AT_ONCE: Final = 65_536
_QUERIES_AT_ONCE: Final = 1024
_IndexKey: TypeAlias = tuple[ApproximateSettings, bytes]


class FaissMissingError(ImportError, ValueError):
    """An approximate search was asked for and faiss is not installed."""


class _Index(NamedTuple):
    index: Any  # faiss.IndexIVF
    recalls: dict[int, float]  # by k


_INDEXES: "WeakKeyDictionary[VectorFiles, dict[_IndexKey, _Index]]" = WeakKeyDictionary()


def approximate_top_k(
    queries: npt.NDArray[Any] | VectorFiles,
    corpus: VectorFiles,
    k: int,
    settings: SearchSettings,
    *,
    rows: Rows | None = None,
    on_block: OnBlock | None = None,
) -> Found:
    """As trainer.search.top_k, by an inverted file; Found.recall is the share of the exact k best that it finds.

    The recall is measured once for an index and k: on settings.recall_sample of the first queries that come, evenly
    spread, which are searched exactly too (None where the sample is 0). Raises FaissMissingError without faiss, and
    ValueError as top_k does.
    """
    held = _index_of(corpus, rows, settings.approximate)
    found_rows, scores = [np.empty((0, k), np.int64)], [np.empty((0, k), np.float32)]
    for block in query_blocks(queries, settings.query_block or _QUERIES_AT_ONCE):
        nearest = np.asarray(held.index.search(block.vectors, k)[1], np.int64)
        ranked = _ranked(block.vectors, corpus, nearest if rows is None else _renumbered(nearest, rows))
        found_rows.append(ranked[0])
        scores.append(ranked[1])
    found = Found(np.concatenate(scores), np.concatenate(found_rows))
    if k not in held.recalls and settings.recall_sample and len(found.rows):
        held.recalls[k] = _measured_recall(queries, corpus, rows, k, settings, found.rows)
        log.info("Approximate search finds %.1f %% of the %d best rows", 100 * held.recalls[k], k)
    if on_block is not None:
        total = len(corpus) if rows is None else len(rows)
        on_block(total, total)
    return found._replace(recall=held.recalls.get(k))


def _index_of(corpus: VectorFiles, rows: Rows | None, settings: ApproximateSettings) -> _Index:
    key = (settings, b"" if rows is None else xxh3_128_digest(np.asarray(rows, np.int64).tobytes()))
    held = _INDEXES.setdefault(corpus, {})
    if key not in held:
        held.clear()  # an index is as large as the corpus: one at a time
        held[key] = _Index(_build(corpus, rows, settings), {})
    return held[key]


def _build(corpus: VectorFiles, rows: Rows | None, settings: ApproximateSettings) -> Any:
    try:
        import faiss
    except ImportError as error:
        raise FaissMissingError(
            "approximate_above_rows is set and the corpus has more rows, but faiss is not installed: "
            "pip install 'pairmill[ann]', or leave the setting out to search exactly."
        ) from error
    count = len(corpus) if rows is None else len(rows)
    lists = settings.lists or max(1, round(4 * math.sqrt(count)))
    lists = max(1, min(lists, count // 39))  # faiss warns below 39 rows a cell
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(corpus.dimension),
        corpus.dimension,
        lists,
        faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT,
        False,  # rows themselves, not what is left after their centre
    )
    index.cp.seed, index.cp.max_points_per_centroid = settings.seed, settings.training_rows
    index.train(_sample(corpus, rows, min(count, lists * settings.training_rows), settings.seed))
    for block in corpus_blocks(corpus, _ROWS_AT_ONCE, corpus.dimension, rows):
        index.add(block.vectors)
    index.nprobe = min(settings.probes, lists)
    log.info("Indexed %d rows in %d cells, of which %d are searched", count, lists, index.nprobe)
    return index


def _sample(corpus: VectorFiles, rows: Rows | None, count: int, seed: int) -> Floats:
    total = len(corpus) if rows is None else len(rows)
    chosen = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
    return widened(corpus.take(chosen if rows is None else rows[chosen]), "corpus", 0)[0]


def _renumbered(positions: Rows, rows: Rows) -> Rows:
    renumbered: Rows = np.where(positions < 0, -1, np.asarray(rows, np.int64)[positions])
    return renumbered


def _ranked(queries: Floats, corpus: VectorFiles, rows: Rows) -> tuple[Rows, Floats]:
    """The rows by their exact scores, equal ones by the lower row."""
    scores = inner_products(queries, corpus, rows)
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _measured_recall(
    queries: npt.NDArray[Any] | VectorFiles,
    corpus: VectorFiles,
    rows: Rows | None,
    k: int,
    settings: SearchSettings,
    found: Rows,
) -> float:
    from trainer.search import top_k

    sample = np.unique(np.linspace(0, len(found) - 1, min(len(found), settings.recall_sample)).astype(np.int64))
    vectors = queries.take(sample) if isinstance(queries, VectorFiles) else queries[sample]
    exact = top_k(vectors, corpus, k, settings.model_copy(update={"approximate_above_rows": None}), rows=rows).rows
    wanted = [np.setdiff1d(line, [-1]) for line in exact]
    hits = sum(len(np.intersect1d(line, found[query])) for line, query in zip(wanted, sample, strict=True))
    return hits / max(1, sum(len(line) for line in wanted))
