"""Sketches of texts: MinHash signatures that tell, without the texts, how alike two of them are.

A sketch is made of one text alone: it does not depend on the other texts of a batch, on the machine or on the order of
anything, so sketches are kept and compared with those of later texts.
"""

import math
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from filters.shingles import SHORT, VIEWS, ShingleSettings, folding
from filters.text_quality import utf8_buffers

SKETCH_VERSION: Final = 2  # raised when a text's sketch changes: sketches of two versions cannot be compared
BY_CHANCE: Final = 1 / 256  # share of the places in which signatures of texts without a common shingle agree
SMALLEST_FOLDED: Final = 4  # bytes of the longest character


class SketchSettings(ShingleSettings):
    """What a sketch is made of. Sketches made with different settings cannot be compared."""

    permutations: int = Field(
        128,
        ge=16,
        le=4096,
        description="places of a signature; the estimate's standard error is half of 1 / root of it",
    )


DEFAULT_SKETCHES: Final = SketchSettings()


def sketch_schema(permutations: int) -> pa.Schema:
    """The columns of a sketch.

    text is the text's number; view an index into filters.shingles.VIEWS; signature `permutations` uint8;
    folded the folded text where the view is SHORT, for an exact comparison, else null.
    """
    return pa.schema(
        [
            pa.field("text", pa.int64(), nullable=False),
            pa.field("view", pa.uint8(), nullable=False),
            pa.field("signature", pa.binary(permutations), nullable=False),
            pa.field("folded", pa.large_string()),
        ]
    )


def sketch_texts(texts: pa.Array, settings: SketchSettings = DEFAULT_SKETCHES, first_text: int = 0) -> pa.RecordBatch:
    """The sketches of a string array: one for each view a text is in, in the order of the texts and views.

    Texts are numbered from first_text on. A null, and a text without any letter, digit or symbol, has none.
    """
    from filters import minhash_loops

    bounds, data = utf8_buffers(texts)
    rows = len(bounds) - 1
    most = len(VIEWS) * rows
    numbers, views = np.empty(most, np.int64), np.empty(most, np.uint8)
    # Pages of these that are not written to take no memory.
    signatures = np.empty((most, settings.permutations), np.uint8)
    folded_bounds = np.zeros(most + 1, np.int64)
    folded = np.empty(int(bounds[-1] - bounds[0]) * 3 // 2 + SMALLEST_FOLDED, np.uint8)
    written = minhash_loops.sketch_texts(
        bounds, data, folding(), settings.numbers(), numbers, views, signatures, folded_bounds, folded
    )
    numbers, views = numbers[:written] + first_text, views[:written]
    columns = [
        arrow_array(numbers),
        arrow_array(views),
        _fixed_size(signatures[:written]),
        _strings(folded_bounds[: written + 1], folded, views == SHORT),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=sketch_schema(settings.permutations))


def signatures_of(sketches: pa.RecordBatch | pa.Table) -> NDArray[np.uint8]:
    """The signatures as an array: uint8 [sketches, permutations]; copied only where they lie in several pieces."""
    column = sketches.column("signature")
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # without rows
        return np.empty((0, column.type.byte_width), np.uint8)
    places = column.type.byte_width
    values = np.frombuffer(column.buffers()[1] or b"", np.uint8)
    return values[column.offset * places : (column.offset + len(column)) * places].reshape(-1, places)


def estimate_similarity(signatures: NDArray[np.uint8], left: Any, right: Any) -> NDArray[np.float64]:
    """The estimated Jaccard similarity J of pairs of rows, unbiased (a little below 0 at worst): float64 [pairs].

    Its variance is at most P (1 - P) / permutations / (1 - 1/256)**2 where P = J + (1 - J) / 256: at J = 0.7 half a
    percent more than that of as many independent permutations of which all bits are kept (Li and Koenig 2010).
    """
    from filters import minhash_loops

    pairs = np.asarray(left, np.int64), np.asarray(right, np.int64)
    agree = minhash_loops.agreements(signatures, *pairs) / signatures.shape[1]
    estimate: NDArray[np.float64] = (agree - BY_CHANCE) / (1 - BY_CHANCE)
    return estimate


def least_agreements(permutations: int, similarity: float) -> int:
    """In how many places two signatures must agree for an estimate of a similarity and more."""
    return math.ceil(permutations * (similarity + (1 - similarity) * BY_CHANCE) - 1e-9)


def arrow_array(values: NDArray[Any]) -> pa.Array:
    """Numbers as an Arrow array, not copied. (pyarrow.array imports pandas first, to ask whether they are from there.)"""
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _fixed_size(signatures: NDArray[np.uint8]) -> pa.Array:
    kind = pa.binary(signatures.shape[1])
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(signatures), [None, pa.py_buffer(signatures)])


def _strings(bounds: NDArray[np.int64], data: NDArray[np.uint8], valid: NDArray[np.bool_]) -> pa.Array:
    """A large_string array over copies of what is used of the buffers."""
    mask = pa.py_buffer(np.packbits(valid, bitorder="little"))
    used = data[: bounds[-1]].copy()
    return pa.LargeStringArray.from_buffers(len(valid), pa.py_buffer(bounds), pa.py_buffer(used), mask)
