"""One number for how good a pair's texts are, from what was measured: which of several alike pairs to keep."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# A positive of so many Latin letters (or a third as many Han) counts half as long as an endless one: about a sentence.
_HALF_LENGTH: Final = 80
_NOT_JUDGED: Final = 0.5


_LOWER_IS_BETTER: Final = (
    "positive_duplicate_5gram_share",
    "positive_boilerplate_share",
    "positive_code_symbol_share",
    "query_mojibake_share",
    "positive_mojibake_share",
)
_PROBABILITIES: Final = ("query_language_probability", "positive_language_probability")
QUALITY_COLUMNS: Final = (
    "positive_length",
    "query_letter_share",
    "positive_letter_share",
    *_PROBABILITIES,
    *_LOWER_IS_BETTER,
)


def measure_quality(measurements: pa.RecordBatch) -> pa.Array:
    """How good each pair is, 0 to 1: float32 [rows]; null without the measures of family `text`.

    The geometric mean (ours) of what was measured of these: letter share of the query and of the positive; length of
    the positive over itself + 80; language probability of each side (0.5 where not judged); of the positive, 1 - share
    of characters in repeated 5-grams, 1 - boilerplate share, 1 - code symbol share; of each side, 1 - mojibake share.
    Higher is better among pairs measured by the same families; it orders alike pairs and is no threshold.
    """
    names = set(measurements.schema.names)
    if "positive_length" not in names:
        return pa.nulls(measurements.num_rows, pa.float32())

    def column(name: str) -> NDArray[Any]:
        return measurements[name].to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    length = column("positive_length").astype(np.float64)
    parts = [length / (length + _HALF_LENGTH), column("query_letter_share"), column("positive_letter_share")]
    parts += [np.nan_to_num(column(name), nan=_NOT_JUDGED) for name in _PROBABILITIES if name in names]
    parts += [1 - column(name) for name in _LOWER_IS_BETTER if name in names]
    product = np.prod([np.clip(part, 0, 1) for part in parts], axis=0)
    return pa.array((product ** (1 / len(parts))).astype(np.float32))
