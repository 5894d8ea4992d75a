"""Sketches of texts: MinHash signatures that tell, without the texts, how alike two of them are.

A sketch is made of one text alone: it does not depend on the other texts of a batch, on the machine or on the order of
anything, so sketches are kept and compared with those of later texts.
"""

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from filters.shingles import SHORT, VIEWS, ShingleSettings, folding
from filters.text_quality import utf8_buffers

SKETCH_VERSION: Final = 1  # raised when a text's sketch changes: sketches of two versions cannot be compared
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

    text is the text's number; view an index into filters.shingles.VIEWS; signature `permutations` uint16 (little endian);
    folded the folded text where the view is SHORT, for an exact comparison, else null.
    """
    return pa.schema(
        [
            pa.field("text", pa.int64(), nullable=False),
            pa.field("view", pa.uint8(), nullable=False),
            pa.field("signature", pa.binary(2 * permutations), nullable=False),
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
    signatures = np.empty((most, settings.permutations), np.uint16)
    folded_bounds = np.zeros(most + 1, np.int64)
    folded = np.empty(int(bounds[-1] - bounds[0]) * 3 // 2 + SMALLEST_FOLDED, np.uint8)
    written = minhash_loops.sketch_texts(
        bounds, data, folding(), settings.numbers(), numbers, views, signatures, folded_bounds, folded
    )
    numbers, views = numbers[:written] + first_text, views[:written]
    columns = [
        pa.array(numbers),
        pa.array(views),
        _fixed_size(signatures[:written]),
        _strings(folded_bounds[: written + 1], folded, views == SHORT),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=sketch_schema(settings.permutations))


def signatures_of(sketches: pa.RecordBatch | pa.Table) -> NDArray[np.uint16]:
    """The signatures as an array: uint16 [sketches, permutations]; copied only where they lie in several pieces."""
    column = sketches.column("signature")
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # without rows
        return np.empty((0, column.type.byte_width // 2), np.uint16)
    places = column.type.byte_width // 2
    values = np.frombuffer(column.buffers()[1] or b"", np.uint16)
    return values[column.offset * places : (column.offset + len(column)) * places].reshape(-1, places)


def estimate_similarity(signatures: NDArray[np.uint16], left: Any, right: Any) -> NDArray[np.float64]:
    """The estimated Jaccard similarity of pairs of rows: float64 [pairs], unbiased but for 2**-16.

    Its variance is at most that of as many independent permutations: J (1 - J) / permutations.
    """
    from filters import minhash_loops

    pairs = np.asarray(left, np.int64), np.asarray(right, np.int64)
    estimate: NDArray[np.float64] = minhash_loops.agreements(signatures, *pairs) / signatures.shape[1]
    return estimate


def _fixed_size(signatures: NDArray[np.uint16]) -> pa.Array:
    kind = pa.binary(2 * signatures.shape[1])
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(signatures), [None, pa.py_buffer(signatures)])


def _strings(bounds: NDArray[np.int64], data: NDArray[np.uint8], valid: NDArray[np.bool_]) -> pa.Array:
    """A large_string array over copies of what is used of the buffers."""
    mask = pa.py_buffer(np.packbits(valid, bitorder="little"))
    used = data[: bounds[-1]].copy()
    return pa.LargeStringArray.from_buffers(len(valid), pa.py_buffer(bounds), pa.py_buffer(used), mask)
