"""Exact top-k by inner product: every query against every corpus row, in bounded memory.

In:  queries [Q, D] and corpus rows [N, D], in memory, in files or as a stream of arrays.
Out: for each query its k best corpus rows and their scores, best first, equal scores by the lower row.

The result is defined without regard to blocks, threads, precision or devices: a score is that of trainer.inner_products.
Matrix products only find candidates: a row goes on where its rough score could, within a proven bound on how far the
two can be apart, still reach the k best. In less precision there are more candidates, and the same result.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal, Protocol, TypeVar

import numpy as np

from trainer.cpu_features import has_amx
from trainer.inner_products import Floats, Rows, available_cores, in_threads, inner_products
from trainer.integer_products import can_multiply_integers, integers_are_faster
from trainer.search_blocks import (
    Best,
    Block,
    Corpus,
    Found,
    OnBlock,
    Queries,
    Shared,
    Vectors,
    corpus_blocks,
    dimension_of,
    query_blocks,
    read_ahead,
)
from trainer.search_settings import SearchSettings, search_devices
from trainer.top_k_loops import sort_heaps
from trainer.vector_files import VectorFiles

__all__ = ["Found", "SearchSettings", "exact_top_k", "inner_products", "top_k"]

Loaded = TypeVar("Loaded")

_CPU_BLOCKS: Final = (512, 32_768)  # queries, rows: fewer and larger blocks of rows give fewer candidates
_GPU_BLOCKS: Final = (4096, 65_536)
_SMALLEST_BLOCK: Final = 64


class Screen(Protocol[Loaded]):
    """What finds candidates, on one device."""

    def load(self, block: Block) -> Loaded: ...

    def merge(self, queries: Queries, loaded: Loaded, best: Best) -> None: ...

    def finish(self) -> None: ...


def top_k(
    queries: Vectors | VectorFiles,
    corpus: Corpus,
    k: int,
    settings: SearchSettings | None = None,
    *,
    rows: Rows | None = None,
    above: Floats | None = None,
    on_block: OnBlock | None = None,
) -> Found:
    """The `k` corpus rows of largest inner product with each query.

    `queries` are [Q, D], `corpus` is [N, D] or an iterable of such arrays, numbered through and read once; float32 or
    float16. `rows` (int64, ascending) restricts the search to those rows of a corpus that is no iterable; the result
    names them by their numbers in the whole. `above` (float32 [Q]) leaves out what does not score above a query's own
    limit; where many rows do not, that is faster. Beside the result, memory holds a block of scores and three of corpus
    rows for each device (settings.memory_mb). Memory-mapped arrays are read as they are, and their pages count as
    memory of the process; VectorFiles reads them without. `on_block(rows searched, rows in all)` is called after each
    block, with -1 for all where the corpus is an iterable.

    A corpus of more rows than settings.approximate_above_rows (never an iterable, nor with `above`) is searched by
    trainer.approximate_search: scores stay exact, rows may be missing, Found.recall tells how many.

    Raises ValueError for k < 1, for rows of another dimension, not ascending or not in the corpus, for a query or
    corpus row that is not finite, and for a device that the machine does not have.
    """
    settings = settings or SearchSettings()
    _check(queries, corpus, k, rows)
    if isinstance(corpus, np.ndarray) and (rows is not None or settings.approximate_above_rows is not None):
        corpus = VectorFiles.of(corpus)
    limit = settings.approximate_above_rows
    large = limit is not None and isinstance(corpus, VectorFiles) and _rows_in_all(corpus, rows) > limit
    if large and above is None:
        from trainer.approximate_search import approximate_top_k

        assert isinstance(corpus, VectorFiles)
        return approximate_top_k(queries, corpus, k, settings, rows=rows, on_block=on_block)
    found = _search(queries, corpus, k, settings, rows, above, on_block)
    if rows is not None:
        there = found.rows >= 0
        found.rows[there] = np.asarray(rows, np.int64)[found.rows[there]]
    return found


def exact_top_k(
    queries: Vectors,
    corpus: Vectors | Corpus,
    k: int,
    *,
    query_block: int | None = None,
    corpus_block: int | None = None,
    device: str = "cpu",
) -> tuple[Floats, Rows]:
    """As `top_k`, always exact: scores float32 [Q, k] and row numbers int64 [Q, k]."""
    settings = SearchSettings(query_block=query_block, corpus_block=corpus_block, devices=(device,))
    found = top_k(queries, corpus, k, settings)
    return found.scores, found.rows


def _check(queries: Vectors | VectorFiles, corpus: Corpus, k: int, rows: Rows | None) -> None:
    if k < 1:
        raise ValueError(f"k = {k}: a search for the best rows needs k of at least 1.")
    if isinstance(queries, np.ndarray) and queries.ndim != 2:
        raise ValueError(f"queries must be a [Q, D] array, found shape {queries.shape}.")
    if isinstance(corpus, VectorFiles) and corpus.dimension != dimension_of(queries):
        raise ValueError(
            f"The corpus has {corpus.dimension} dimensions, the queries have {dimension_of(queries)}: embed both with "
            f"the same model."
        )
    if rows is None:
        return
    if not isinstance(corpus, VectorFiles | np.ndarray):
        raise ValueError("A stream of arrays is read once, from its start: `rows` restricts only an array or files.")
    if len(rows) and (rows[0] < 0 or rows[-1] >= len(corpus) or (np.diff(rows) <= 0).any()):
        raise ValueError(
            f"`rows` must be distinct row numbers, ascending, of a corpus of {len(corpus):,} rows: numpy.unique sorts them."
        )


def _search(
    queries: Vectors | VectorFiles,
    corpus: Corpus,
    k: int,
    settings: SearchSettings,
    rows: Rows | None,
    above: Floats | None,
    on_block: OnBlock | None,
) -> Found:
    """The k best by their positions: in `rows`, where given."""
    scores, positions = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
    if above is not None:
        scores[:] = above[:, None]  # a heap takes what is better than its worst entry
    dimension = dimension_of(queries)
    devices = search_devices(settings.devices)
    query_block, corpus_block = block_sizes(settings, dimension, devices)
    parts = [slice(start, start + query_block) for start in range(0, len(queries), query_block)]
    bests = [Best(scores[part], positions[part], threading.Lock()) for part in parts]
    few = 4 * len(queries) * dimension <= settings.memory_mb * 1_000_000 // 4
    kept = list(query_blocks(queries, query_block)) if few else None  # else widened anew beside each block of rows
    blocks = Shared(corpus_blocks(corpus, corpus_block, dimension, rows))
    progress = _Progress(_rows_in_all(corpus, rows), on_block)
    with ThreadPoolExecutor(available_cores(), "top-k") as threads:
        screens = [_screen(device, settings, threads) for device in devices]

        def run(screen: Screen[Any]) -> None:
            try:
                for size, loaded in read_ahead((len(block.vectors), screen.load(block)) for block in blocks):
                    for part in kept or query_blocks(queries, query_block):
                        screen.merge(part, loaded, bests[part.number])
                    progress.add(size)
                screen.finish()
            finally:
                blocks.stop()  # at the end, or for the other devices where this one failed

        with _sums_of(screens):
            if len(screens) == 1:
                run(screens[0])
            else:
                with ThreadPoolExecutor(len(screens), "device") as runs:
                    for done in [runs.submit(run, screen) for screen in screens]:
                        done.result()
        in_threads(threads, len(scores), lambda part: sort_heaps(scores[part], positions[part]))
    if above is not None:
        scores[positions < 0] = -np.inf
    return Found(scores, positions)


def block_sizes(settings: SearchSettings, dimension: int, devices: Sequence[str]) -> tuple[int, int]:
    """(queries, corpus rows) at a time: the settings' own, or the usual ones halved until they fit settings.memory_mb."""
    usual = _CPU_BLOCKS if all(device.startswith("cpu") for device in devices) else _GPU_BLOCKS
    queries, rows = settings.query_block or usual[0], settings.corpus_block or usual[1]

    def too_large() -> bool:
        # float32 scores, as much again for them in another type; three blocks of rows: as stored, in float32 and in 16 bits
        return 6 * queries * rows + 3 * 8 * rows * dimension > settings.memory_mb * 1_000_000

    while settings.corpus_block is None and rows > _SMALLEST_BLOCK and too_large():
        rows //= 2
    while settings.query_block is None and queries > _SMALLEST_BLOCK and too_large():
        queries //= 2
    return queries, rows


def _rows_in_all(corpus: Corpus, rows: Rows | None) -> int:
    if rows is not None:
        return len(rows)
    return len(corpus) if isinstance(corpus, VectorFiles | np.ndarray) else -1


def _screen(device: str, settings: SearchSettings, threads: ThreadPoolExecutor) -> Screen[Any]:
    from trainer.cpu_search import CpuScreen
    from trainer.device_search import DeviceScreen, NarrowCpuScreen
    from trainer.integer_search import IntegerCpuScreen

    precision = _fastest_precision(device) if settings.precision == "auto" else settings.precision
    if precision == "int16":
        if device != "cpu" or not can_multiply_integers():
            raise ValueError(
                f"search.precision int16 was asked for on {device!r}: it needs a CPU with AVX2. Choose auto or float32."
            )
        return IntegerCpuScreen(threads)
    if device == "cpu" and precision == "float32":
        return CpuScreen(threads)
    kind = NarrowCpuScreen if device == "cpu" else DeviceScreen
    return kind(device, precision, threads, settings.memory_mb * 1_000_000 // 4)


def _fastest_precision(device: str) -> Literal["float32", "bfloat16", "float16", "int16"]:
    """The precision of products that is fastest there, as far as its sums are known to be those of float32 or exact."""
    if device.startswith("cuda"):
        return "float16"
    if device.startswith("cpu") and has_amx():
        return "bfloat16"
    return "int16" if device == "cpu" and integers_are_faster() else "float32"


def _sums_of(screens: list[Screen[Any]]) -> AbstractContextManager[None]:
    from trainer.cpu_search import CpuScreen
    from trainer.device_search import full_sums
    from trainer.integer_search import IntegerCpuScreen

    alone = all(isinstance(screen, CpuScreen | IntegerCpuScreen) for screen in screens)
    return nullcontext() if alone else full_sums()


class _Progress:
    def __init__(self, total: int, on_block: OnBlock | None) -> None:
        self._total, self._on_block = total, on_block
        self._done = 0
        self._lock = threading.Lock()

    def add(self, rows: int) -> None:
        with self._lock:
            self._done += rows
            if self._on_block is not None:
                self._on_block(self._done, self._total)
