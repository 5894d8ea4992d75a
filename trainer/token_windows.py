"""Texts to token ids, a window ahead of whoever uses them.

In:  strings, the tokenizer of a model, a prompt and a length.
Out: windows of texts in their order, each as token ids end to end; the next window is tokenised meanwhile.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# A token takes some hundred bytes in what the tokenizer gives, and four in the window.
_TOKENISED_AT_ONCE: Final = 256


class EmbeddingError(ValueError):
    """A text cannot be embedded. The message names its row and what to do."""


@dataclass(frozen=True)
class Tokens:
    """The token ids of one window of texts, end to end."""

    ids: npt.NDArray[np.int32]  # [total]
    offsets: npt.NDArray[np.int64]  # [n + 1]
    truncated: int  # texts that were longer than allowed

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each text, special ones included: int64 [n]."""
        return np.diff(self.offsets)

    def take(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The token ids of some rows, end to end in the order of `rows`."""
        lengths = self.lengths[rows]
        before = np.cumsum(lengths) - lengths
        places = np.repeat(self.offsets[:-1][rows] - before, lengths) + np.arange(lengths.sum())
        ids: npt.NDArray[np.int64] = self.ids[places].astype(np.int64)
        return ids


@dataclass(frozen=True)
class Tokenisation:
    """How texts become tokens."""

    tokenizer: "PreTrainedTokenizerFast"
    prompt: str  # put before every text
    max_length: int  # tokens kept of a text, prompt and special tokens included

    def windows(self, texts: pa.Array | Sequence[str], size: int, first_row: int = 0) -> Iterator[Tokens]:
        """Windows of `size` texts in order; the next one is tokenised in a thread while the caller works on this one.

        `first_row` is the row of the first text, for messages. Raises EmbeddingError for what is no text.
        """
        with ThreadPoolExecutor(1, "tokenise") as thread:
            starts = range(0, len(texts), size)
            pending = [thread.submit(self._window, texts, start, size, first_row) for start in starts[:1]]
            for following in (*starts[1:], None):
                tokens = pending.pop().result() if pending else None
                if following is not None:
                    pending.append(thread.submit(self._window, texts, following, size, first_row))
                if tokens is not None:
                    yield tokens

    def _window(self, texts: pa.Array | Sequence[str], start: int, size: int, first_row: int) -> Tokens:
        strings = sound_strings(texts[start : start + size], first_row + start)
        backend = self.tokenizer.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(self.max_length, direction=self.tokenizer.truncation_side)
        ids: list[npt.NDArray[np.int32]] = []
        truncated = 0
        for first in range(0, len(strings), _TOKENISED_AT_ONCE):
            part = strings[first : first + _TOKENISED_AT_ONCE]
            # The ids of the transformers call, without building its offsets, masks and Python lists.
            encodings = backend.encode_batch_fast([self.prompt + text for text in part] if self.prompt else part)
            ids += [np.array(encoding.ids, np.int32) for encoding in encodings]
            truncated += sum(bool(encoding.overflowing) for encoding in encodings)
        offsets = np.zeros(len(ids) + 1, np.int64)
        np.cumsum([len(each) for each in ids], out=offsets[1:])
        return Tokens(np.concatenate(ids), offsets, truncated)


def sound_strings(window: pa.Array | Sequence[str], first_row: int) -> list[str]:
    """Texts, the first of which is row `first_row`, as strings that are sound Unicode. Raises EmbeddingError where one is none."""
    try:
        strings = window.to_pylist() if isinstance(window, pa.Array | pa.ChunkedArray) else list(window)
    except UnicodeDecodeError as error:
        raise EmbeddingError(
            f"A text of rows {first_row} to {first_row + len(window) - 1} is no UTF-8 ({error}). Repair it before."
        ) from None
    for row, text in enumerate(strings, first_row):
        if text is None:
            raise EmbeddingError(f"Row {row} has no text (null). Leave such rows out.")
        if not isinstance(text, str):
            raise EmbeddingError(f"Row {row} is {type(text).__name__}, not text: {text!r:.60}.")
    try:
        "".join(strings).encode()  # at once: several times faster than text by text
    except UnicodeEncodeError:
        row = next(row for row, text in enumerate(strings) if not _is_sound(text))
        raise EmbeddingError(
            f"Row {first_row + row} holds half of a surrogate pair, which is no character: {strings[row]!r:.60}. "
            f"Replace it, for instance by text.encode('utf-8', 'replace').decode()."
        ) from None
    return strings


def _is_sound(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
