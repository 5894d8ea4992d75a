"""Pack's text shards as flat arrays on disk, memory-mapped: what pre-training reads.

In:  a pack folder with texts/*.parquet (text_packing.PACKED_TEXT), and its _MANIFEST.json where it has one.
Out: `PackedTexts`: token ids, word starts and ids of all rows, in the order of the shards.

Decoded once into DATA/_decoded/texts, as trainer.packed_columns does with pairs; about 5 bytes a token.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trainer.packed_columns import (
    DECODED,
    ColumnWriters,
    TrainingDataError,
    decode_once,
    id_bytes,
    name_in_cache,
    shard_batches,
)
from trainer.ragged import Int64, Ragged, ranges
from trainer.text_packing import PACKED_TEXT

Bool = npt.NDArray[np.bool_]

TEXTS: Final = "texts"
_ROWS_PER_READ: Final = 1024  # of up to 8,192 tokens


@dataclass(frozen=True)
class TextRows:
    """Some rows of texts, without special tokens."""

    tokens: Ragged  # int32 token ids of each row
    word_starts: Bool  # [tokens]


@dataclass(frozen=True)
class PackedTexts:
    """All rows of a pack folder's text shards."""

    tokens: Ragged  # int32, memory-mapped
    word_starts: Bool  # [tokens], memory-mapped
    text_id: npt.NDArray[np.uint8]  # [n, 16]
    fingerprint: str  # sha256 over the names and contents of the shards
    details: dict[str, Any]  # `details` of pack's manifest; empty without one
    longest: int  # tokens
    largest_token_id: int

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def open(cls, folder: str | Path, cache: str | Path | None = None) -> "PackedTexts":
        """Check the text shards of a pack folder and decode them, unless that has been done.

        Raises TrainingDataError where a shard is missing, changed, of another schema, or holds rows that cannot be
        learnt from; and where there are no rows.
        """
        folder = Path(folder)
        place = folder / DECODED if cache is None else Path(cache) / name_in_cache(folder)
        decoded, fingerprint, details, facts = decode_once(folder, (TEXTS,), place / TEXTS, _decode)
        columns = {name: np.load(decoded / f"{name}.npy", mmap_mode="r") for name in _COLUMNS}
        return cls(
            Ragged(columns["token_ids"], columns["token_ids.offsets"]),
            columns["word_starts"],
            columns["text_id"],
            fingerprint,
            details,
            facts["longest"],
            facts["largest_token_id"],
        )

    def take(self, rows: Int64) -> TextRows:
        """The rows of these numbers, in that order."""
        tokens = self.tokens.take(rows)
        return TextRows(tokens, self.word_starts[ranges(self.tokens.offsets[rows], tokens.lengths)])


_COLUMNS: Final = ("token_ids", "token_ids.offsets", "word_starts", "text_id")


def _decode(shards: dict[str, list[Path]], folder: Path) -> dict[str, Any]:
    """Write the columns to `folder`; returns the facts."""
    rows, longest, largest = 0, 0, 0
    with ColumnWriters(folder) as write:
        for file, batch in shard_batches(shards[TEXTS], PACKED_TEXT, PACKED_TEXT.names, _ROWS_PER_READ):
            tokens, starts = Ragged.of_arrow(batch["token_ids"]), Ragged.of_arrow(batch["word_starts"])
            _check_rows(file, rows, tokens, starts, np.asarray(batch["length"]))
            write.lists("token_ids", batch["token_ids"], np.int32)
            write.flat("word_starts", starts.values.astype(np.bool_))
            write.flat("text_id", id_bytes(batch["text_id"]))
            rows += batch.num_rows
            longest = max(longest, int(tokens.lengths.max(initial=0)))
            largest = max(largest, int(tokens.values.max(initial=0)))
    if not rows:
        raise TrainingDataError(
            f"{shards[TEXTS][0].parent} holds no rows, so there is nothing to learn: every text was empty, too short, of "
            f"another language or source, held out or a duplicate. Pack's manifest counts them; lower min_length, or give "
            f"it more texts."
        )
    return {"rows": rows, "longest": longest, "largest_token_id": largest}


def _check_rows(file: Path, rows_before: int, tokens: Ragged, starts: Ragged, lengths: npt.NDArray[Any]) -> None:
    wrong = (tokens.lengths != lengths) | (starts.lengths != lengths) | (lengths < 1)
    wrong[np.searchsorted(tokens.offsets, np.flatnonzero(tokens.values < 0), side="right") - 1] = True
    if wrong.any():
        raise TrainingDataError(
            f"{file}: text row {rows_before + int(wrong.argmax())} (from 0, over all shards) is empty, has a negative token id, "
            f"or a length or number of word_starts that is not that of its token_ids. Run pack again."
        )
