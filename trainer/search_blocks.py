"""What goes through a search: blocks of corpus rows, read ahead by a thread, and blocks of queries.

In:  a corpus and queries in memory, in files, or (the corpus) as a stream of arrays.
Out: `Block`s and `Queries` as float32, checked; and what a search gives, `Found`.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from trainer.inner_products import Floats, NotFiniteError, Rows, available_cores, widened
from trainer.vector_files import VectorFiles

Vectors: TypeAlias = npt.NDArray[Any]  # float16 or float32 [n, D]
Corpus: TypeAlias = VectorFiles | Vectors | Iterable[Vectors]
OnBlock: TypeAlias = Callable[[int, int], None]  # (rows searched, rows in all)
Item = TypeVar("Item")

_END: Final = object()


class Block(NamedTuple):
    """Corpus rows on the way through a search."""

    first_row: int  # their position among the rows searched
    vectors: Floats  # [C, D]
    stored: Vectors  # the same vectors, as float16 where they came so
    largest: float  # the largest norm


class Queries(NamedTuple):
    """A block of queries."""

    number: int
    vectors: Floats  # [B, D]
    norms: npt.NDArray[np.float64]  # [B]


class Found(NamedTuple):
    """The best rows of each query, best first, equal scores by the lower row. Fewer than k: row -1, score -inf."""

    scores: Floats  # [Q, k]
    rows: Rows  # [Q, k], numbers of corpus rows
    recall: float | None = None  # of an approximate search, as measured; None: the search was exact


class Best(NamedTuple):
    """The best rows so far of a block of queries, as heaps (trainer.top_k_loops). Changed by who holds the lock."""

    scores: Floats  # [B, k]
    rows: Rows  # [B, k]
    lock: threading.Lock


def dimension_of(queries: Vectors | VectorFiles) -> int:
    return queries.dimension if isinstance(queries, VectorFiles) else int(queries.shape[1])


def corpus_blocks(corpus: Corpus, size: int, dimension: int, rows: Rows | None = None) -> Iterator[Block]:
    """The corpus (only `rows` of it, where given) in blocks of at most `size` rows.

    Raises ValueError for an array that is not [n, dimension], and for a row that is not finite.
    """
    with ThreadPoolExecutor(available_cores(), "widen") as threads:
        for position, array in _pieces(corpus, size, dimension, rows):
            try:
                vectors, norms = widened(array, "corpus", position, threads)
            except NotFiniteError:
                if rows is not None:
                    _name_in_whole(array, rows[position : position + len(array)])
                raise
            stored = np.ascontiguousarray(array) if array.dtype == np.float16 else vectors
            yield Block(position, vectors, stored, float(norms.max(initial=0.0)))


def query_blocks(queries: Vectors | VectorFiles, size: int) -> Iterator[Queries]:
    """The queries in blocks of at most `size`. Raises ValueError for a query that is not finite."""
    files = queries if isinstance(queries, VectorFiles) else None
    blocks = files.blocks(size) if files is not None else _pieces(queries, size, dimension_of(queries), None)
    for number, (position, array) in enumerate(blocks):
        yield Queries(number, *widened(array, "query", position))


class Shared(Iterator[Item]):
    """An iterator that several threads take from, until it ends or one of them stops it."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self._lock = threading.Lock()
        self._stopped = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        with self._lock:
            if self._stopped:
                raise StopIteration
            return next(self._items)

    def stop(self) -> None:
        self._stopped = True


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each made by a thread while the one before it is in use."""
    with ThreadPoolExecutor(1, "read-ahead") as thread:
        coming = thread.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = thread.submit(next, items, _END)
            yield item  # type: ignore[misc]  # next() gives an Item or _END


def _pieces(corpus: Corpus, size: int, dimension: int, rows: Rows | None) -> Iterator[tuple[int, Vectors]]:
    if isinstance(corpus, VectorFiles):
        yield from corpus.blocks(size, rows)
        return
    position = 0
    for array in [corpus] if isinstance(corpus, np.ndarray) else corpus:
        if array.ndim != 2 or array.shape[1] != dimension:
            raise ValueError(
                f"The corpus has an array of shape {array.shape}, the queries have {dimension} dimensions: embed both "
                f"with the same model."
            )
        for start in range(0, len(array), size):
            yield position + start, array[start : start + size]
        position += len(array)


def _name_in_whole(array: Vectors, rows: Rows) -> None:
    """Raises NotFiniteError for a row of a subset by its number in the whole corpus."""
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        widened(array[bad[:1]], "corpus", int(rows[bad[0]]))
