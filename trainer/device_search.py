"""Candidates by a matrix product of torch: on GPUs, and in bfloat16 on CPUs that have AMX.

In:  blocks of queries and of corpus rows.
Out: the same as everywhere. A product of vectors rounded to fewer bits q' and c' is wrong by what the rounding took,

         |q'.c' - q.c| <= |q' - q| |c'| + |q| |c' - c|        (Cauchy-Schwarz; both roundings are measured)

     by the sums in float32 (inner_products.error_bound), and by the rounding of the result to the same few bits.
     float16 vectors lose nothing in a float16 product.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.cpu_features import has_amx
from trainer.cpu_search import scan_in_threads
from trainer.inner_products import UNDERFLOW, error_bound, in_threads
from trainer.search_blocks import Best, Block, Queries
from trainer.top_k_loops import offer_candidates

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Errors = npt.NDArray[np.float64]
Narrow = Literal["float32", "bfloat16", "float16"]

# Half the distance between two neighbours, relative: 24, 8 and 11 bits of significand.
_ROUNDOFF: Final[dict[Narrow, float]] = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
_SMALLEST_HALF: Final = 2.0**-24  # of float16: results below are rounded by up to half of it, whatever their size
_LARGEST_HALF: Final = 30_000.0  # float16 ends at 65,504
_SHORT: Final = (
    1e-15  # the squares of a shorter vector's values are too small for float32; twenty times as slow in float64
)
# Tensor cores add without rounding to the nearest and without carrying all bits (Fasi et al. 2021, PeerJ CS 7:e330).
_TENSOR_CORE_ROUNDOFF: Final = 2.0**-22
_GROUPS: Final = 1024
_ENTRIES_AT_ONCE: Final = 2**24


class OnDevice(NamedTuple):
    """A block of corpus rows where the products are made."""

    block: Block
    rows: "torch.Tensor"  # [C, D]
    rounding: float  # the largest norm of what rounding changed in a row


class QueriesOnDevice(NamedTuple):
    rows: "torch.Tensor"  # [B, D]
    rounding: Errors  # [B]


@contextmanager
def full_sums() -> Iterator[None]:
    """Products without TF32 and without sums in half precision, which would break the bounds; as before at the end."""
    import torch

    cuda = torch.backends.cuda.matmul
    before = torch.get_float32_matmul_precision()
    half, brain = cuda.allow_fp16_reduced_precision_reduction, cuda.allow_bf16_reduced_precision_reduction
    torch.set_float32_matmul_precision("highest")
    cuda.allow_fp16_reduced_precision_reduction = cuda.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        cuda.allow_fp16_reduced_precision_reduction, cuda.allow_bf16_reduced_precision_reduction = half, brain


class _Products:
    """Rough scores by torch, with the bound on their errors."""

    def __init__(self, device: str, precision: Narrow, threads: ThreadPoolExecutor, memory: int) -> None:
        import torch

        self._device = torch.device(device)
        self._precision: Narrow = precision
        self._type: torch.dtype = getattr(torch, precision)
        self._threads = threads
        self._kept: dict[tuple[int, torch.dtype], QueriesOnDevice] = {}
        self._room = memory  # bytes of queries that may stay on the device
        cuda = self._device.type == "cuda"
        # A processor without such instructions multiplies the rounded vectors in float32: slow, the same bound.
        self._native = precision == "float32" or cuda or (precision == "bfloat16" and has_amx())
        self._copies = torch.cuda.Stream(self._device) if cuda else None  # type: ignore[no-untyped-call]

    def load(self, block: Block) -> OnDevice:
        """Called ahead, by another thread: the copy to the device runs beside the products of the block before."""
        import torch

        narrow = self._type_for(block.largest)
        if self._copies is None:
            rows = torch.from_numpy(block.stored).to(self._device).to(narrow)
            return OnDevice(block, rows, self._rounding(block, rows))
        with torch.cuda.stream(self._copies):
            rows = torch.from_numpy(block.stored).pin_memory().to(self._device, non_blocking=True).to(narrow)
            rounding = self._rounding(block, rows)
        self._copies.synchronize()
        return OnDevice(block, rows, rounding)

    def rough_scores(self, queries: Queries, loaded: OnDevice) -> "tuple[torch.Tensor, Errors]":
        """Scores [B, C] on the device, in the type of the product, and how far each query's can be from the exact ones."""
        import torch

        narrow = loaded.rows.dtype
        longest = float(queries.norms.max(initial=0.0))
        if narrow == torch.float16 and max(longest, longest * loaded.block.largest) > _LARGEST_HALF:
            narrow = torch.float32
        placed = self._placed(queries, narrow)
        rows = loaded.rows.to(narrow)
        if self._copies is not None:
            loaded.rows.record_stream(torch.cuda.current_stream(self._device))
        if self._native or narrow == torch.float32:
            product = placed.rows @ rows.T
        else:
            product = (placed.rows.float() @ rows.float().T).to(narrow)
        return product, self._errors(queries, placed, loaded, str(narrow).removeprefix("torch."))  # type: ignore[arg-type]

    def _errors(self, queries: Queries, placed: QueriesOnDevice, loaded: OnDevice, precision: Narrow) -> Errors:
        dimension = queries.vectors.shape[1]
        largest = loaded.block.largest + loaded.rounding
        norms = queries.norms + placed.rounding
        inputs = placed.rounding * largest + queries.norms * loaded.rounding
        if precision == "float32":
            return inputs + error_bound(dimension) * norms * largest + UNDERFLOW
        sums = error_bound(dimension, _TENSOR_CORE_ROUNDOFF) * norms * largest
        result = _ROUNDOFF[precision] * 1.01 * norms * largest
        return inputs + sums + result + (_SMALLEST_HALF if precision == "float16" else UNDERFLOW)

    def _placed(self, queries: Queries, narrow: "torch.dtype") -> QueriesOnDevice:
        import torch

        kept = self._kept.get((queries.number, narrow))
        if kept is not None:
            return kept
        wide = torch.from_numpy(queries.vectors).to(self._device)
        rows = wide.to(narrow)
        rounding = _norms(wide - rows.float()).cpu().numpy()
        placed = QueriesOnDevice(rows, rounding)
        size = rows.numel() * rows.element_size()
        if size <= self._room and queries.number >= 0:
            self._room -= size
            self._kept[queries.number, narrow] = placed
        return placed

    def _type_for(self, largest: float) -> "torch.dtype":
        import torch

        return torch.float32 if self._type == torch.float16 and largest > _LARGEST_HALF else self._type

    def _rounding(self, block: Block, rows: "torch.Tensor") -> float:
        import torch

        if rows.dtype == torch.float32 or (block.stored.dtype == np.float16 and rows.dtype == torch.float16):
            return 0.0
        stored = torch.from_numpy(block.stored).to(self._device).float()
        return float(_norms(stored - rows.float()).max()) if len(rows) else 0.0


def _norms(differences: "torch.Tensor") -> "torch.Tensor":
    """float64 [n], rather too large than too small."""
    import torch

    norms: torch.Tensor = 1.01 * differences.norm(dim=1).double()
    short = norms < _SHORT
    norms[short] = torch.linalg.vector_norm(differences[short], dim=1, dtype=torch.float64)
    return norms


class NarrowCpuScreen(_Products):
    """bfloat16 products on the CPU, scanned as float32 ones are."""

    def merge(self, queries: Queries, loaded: OnDevice, best: Best) -> None:
        product, errors = self.rough_scores(queries, loaded)
        scan_in_threads(self._threads, product.float().numpy(), errors, queries, loaded.block, best)

    def finish(self) -> None:
        """Nothing is left to do."""


class DeviceScreen(_Products):
    """Products and the choice of candidates on a torch device; their exact scores on the CPU, meanwhile."""

    def __init__(self, device: str, precision: Narrow, threads: ThreadPoolExecutor, memory: int) -> None:
        super().__init__(device, precision, threads, memory)
        self._offering = ThreadPoolExecutor(1, "offer")
        self._offered: Future[None] | None = None

    def merge(self, queries: Queries, loaded: OnDevice, best: Best) -> None:
        """The candidates of this block are offered while the device is at the next one."""
        pieces = self._candidates_that_fit(queries, loaded, best)
        self.finish()
        self._offered = self._offering.submit(self._offer, pieces, queries, loaded.block, best)

    def finish(self) -> None:
        """Wait for what is still being offered. Raises what went wrong there."""
        if self._offered is not None:
            self._offered.result()
            self._offered = None

    def _candidates_that_fit(self, queries: Queries, loaded: OnDevice, best: Best) -> list[Any]:
        """The candidates; where the device has too little memory, those of half the queries at a time."""
        import torch

        try:
            return list(self._candidates(queries, loaded, best))
        except torch.OutOfMemoryError:
            half = len(queries.vectors) // 2
            if half == 0:
                raise
        torch.cuda.empty_cache()
        log.warning("%s has no room for %d queries at once: half as many are tried", self._device, 2 * half)
        pieces = []
        for start in (0, half):
            part = slice(start, half if start == 0 else None)
            # Of another number than any whole block, so that they are never taken for one that is kept on the device.
            fewer = Queries(-1, queries.vectors[part], queries.norms[part])
            fitting = self._candidates_that_fit(fewer, loaded, Best(best.scores[part], best.rows[part], best.lock))
            pieces += [(start + first, counts, columns) for first, counts, columns in fitting]
        return pieces

    def _candidates(self, queries: Queries, loaded: OnDevice, best: Best) -> Iterator[Any]:
        """(first query, counts [b], columns [candidates]) for one run of queries after another."""
        import torch

        k = best.scores.shape[1]
        product, errors = self.rough_scores(queries, loaded)
        groups = min(_GROUPS * max(1, k // 256), product.shape[1])
        missing = -product.shape[1] % groups
        if missing:
            product = torch.nn.functional.pad(product, (0, missing), value=-torch.inf)
        grouped = product.view(len(product), -1, groups)  # group g: columns g, g + groups, g + 2 groups ...
        largest = grouped.amax(dim=1).float()
        # The bound has room for rounding to float32, all that some devices have.
        least = torch.from_numpy((best.scores[:, 0] - errors).astype(np.float32)).to(self._device)
        if k <= groups:
            # k rows have at least the kth largest score of groups: none 2 errors below it is among the k best.
            twice = torch.from_numpy((2 * errors).astype(np.float32)).to(self._device)
            least = torch.maximum(least, largest.topk(k, dim=1).values[:, -1] - twice)
        hits = largest >= least[:, None]
        yield from self._columns(grouped, hits, least, 0, loaded.block.vectors.shape[0])

    def _columns(
        self, grouped: "torch.Tensor", hits: "torch.Tensor", least: "torch.Tensor", first: int, columns: int
    ) -> Iterator[Any]:
        count = int(hits.sum())
        if count * grouped.shape[1] > _ENTRIES_AT_ONCE and len(grouped) > 1:
            half = len(grouped) // 2
            yield from self._columns(grouped[:half], hits[:half], least[:half], first, columns)
            yield from self._columns(grouped[half:], hits[half:], least[half:], first + half, columns)
            return
        queries, groups = hits.nonzero(as_tuple=True)
        near = (grouped[queries, :, groups] >= least[queries, None]).nonzero()
        places = near[:, 1] * grouped.shape[2] + groups[near[:, 0]]
        real = places < columns  # not the padding, which a threshold of -inf lets in
        counts = queries[near[:, 0]][real].bincount(minlength=len(grouped))
        yield first, counts.cpu().numpy(), places[real].int().cpu().numpy()

    def _offer(self, pieces: list[Any], queries: Queries, block: Block, best: Best) -> None:
        with best.lock:
            for first, counts, columns in pieces:
                starts = np.concatenate([[0], np.cumsum(counts)])

                def work(part: slice, first: int = first, starts: Any = starts, columns: Any = columns) -> None:
                    low, high = starts[part.start], starts[part.stop]
                    lines = slice(first + part.start, first + part.stop)
                    offer_candidates(
                        starts[part.start : part.stop + 1] - low,
                        columns[low:high],
                        queries.vectors[lines],
                        block.vectors,
                        block.first_row,
                        best.scores[lines],
                        best.rows[lines],
                    )

                in_threads(self._threads, len(counts), work)
