"""Texts to embeddings with one encoder: the only place where pairmill runs a model forward without training it.

In:  strings and their role ("query" or "passage": each role has its own prompt and its own length).
Out: float32 [n, D], in the order of the input.

Texts are tokenised ahead in a thread, sorted by length inside windows, and cut into batches that hold a fixed number of
padded tokens rather than of texts: little padding, steady memory, whatever the lengths.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from trainer.backbone import Pooling, Precision, Role, choose_device_and_dtype, load_backbone, pool

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

WINDOW: Final = 4096  # texts that are tokenised and sorted by length together
# Measured with MiniLM on 2 cores: 1,024 to 4,096 are alike, 16,384 a fifth slower (caches, and more padding).
CPU_TOKENS_PER_BATCH: Final = 4096
GPU_TOKENS_PER_BATCH: Final = 131_072


class EmbeddingError(ValueError):
    """A text cannot be embedded. The message names its row and what to do."""


class EncoderSettings(BaseModel):
    """Which encoder, and how it is run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="local model folder, or package://PACKAGE/folder")
    query_prompt: str | None = Field(None, description="put before every query; default: what the model folder says")
    passage_prompt: str | None = Field(
        None, description="put before every passage; default: what the model folder says"
    )
    max_query_length: int = Field(512, ge=3, description="tokens; M3 appendix B.1; cut to what the model takes")
    max_passage_length: int = Field(8192, ge=3, description="tokens; M3 appendix B.1; cut to what the model takes")
    tokens_per_batch: int | None = Field(None, ge=1, description="padded tokens a forward; default by device")
    precision: Precision = Field("auto", description="auto, fp32, bf16 or fp16")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    pooling: Pooling | None = Field(None, description="cls, mean or last; default: what the model folder says")
    normalise: bool | None = Field(None, description="divide by the L2 norm; default: what the model folder says")


@dataclass(frozen=True)
class _Tokens:
    """The token ids of one window of texts, end to end."""

    ids: npt.NDArray[np.int32]  # [total]
    offsets: npt.NDArray[np.int64]  # [n + 1]
    truncated: int

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.offsets)


def _nobody_watches(encoded: int) -> None:
    """The default of Encoder.on_batch."""


class Encoder:
    """A loaded encoder.

    `truncated` counts the texts so far that were longer than their role's length, `tokens` the tokens kept, `encoded` all
    texts. Whoever wants signs of life sets `on_batch`, which is called with `encoded` after each forward.
    """

    def __init__(self, settings: EncoderSettings) -> None:
        """Load the model and move it to its device. Raises ModelFolderError where folder or device will not do."""
        self.settings = settings
        self._backbone = load_backbone(settings.model, pooling=settings.pooling, normalise=settings.normalise)
        self.device, self.dtype = choose_device_and_dtype(settings.device, settings.precision)
        # Weights in the computing type, not autocast: half the memory, no casts between layers; pooling stays in fp32.
        model: Any = self._backbone.model
        self._model = model.to(device=self.device, dtype=self.dtype)
        default = CPU_TOKENS_PER_BATCH if self.device.type == "cpu" else GPU_TOKENS_PER_BATCH
        self._tokens_per_batch = settings.tokens_per_batch or default
        self.dimension = self._backbone.hidden_size
        self.truncated = 0
        self.tokens = 0
        self.encoded = 0
        self.on_batch: Callable[[int], None] = _nobody_watches

    def prompt(self, role: Role) -> str:
        """The text put before every text of `role`."""
        override = self.settings.query_prompt if role == "query" else self.settings.passage_prompt
        return self._backbone.prompts[role] if override is None else override

    def max_length(self, role: Role) -> int:
        """Tokens kept of a text of `role`, prompt and special tokens included."""
        wanted = self.settings.max_query_length if role == "query" else self.settings.max_passage_length
        return min(wanted, self._backbone.max_length)

    def encode(self, texts: pa.Array | Sequence[str], role: Role) -> npt.NDArray[np.float32]:
        """Embeddings float32 [n, D] of `texts`, in their order. The same texts in one call give the same bytes.

        Raises EmbeddingError for a null, and for an embedding that is zero or not finite; the message names the row.
        """
        embeddings = np.empty((len(texts), self.dimension), np.float32)
        start = 0
        for tokens in self._tokenised_windows(texts, role):
            embeddings[start : start + len(tokens.lengths)] = self._encode_window(tokens, start)
            start += len(tokens.lengths)
            self.truncated += tokens.truncated
            self.tokens += len(tokens.ids)
        return embeddings

    def _tokenised_windows(self, texts: pa.Array | Sequence[str], role: Role) -> Iterator[_Tokens]:
        """The windows in order; the next one is tokenised while the caller works on this one."""
        with ThreadPoolExecutor(1, "tokenise") as thread:
            starts = range(0, len(texts), WINDOW)
            pending = [thread.submit(self._tokenise, texts, start, role) for start in starts[:1]]
            for following in (*starts[1:], None):
                tokens = pending.pop().result() if pending else None
                if following is not None:
                    pending.append(thread.submit(self._tokenise, texts, following, role))
                if tokens is not None:
                    yield tokens

    def _tokenise(self, texts: pa.Array | Sequence[str], start: int, role: Role) -> _Tokens:
        window = texts[start : start + WINDOW]
        strings = window.to_pylist() if isinstance(window, pa.Array | pa.ChunkedArray) else list(window)
        if None in strings:
            raise EmbeddingError(f"Row {start + strings.index(None)} has no text (null). Leave such rows out.")
        prompt, tokenizer = self.prompt(role), self._backbone.tokenizer
        backend = tokenizer.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(self.max_length(role), direction=tokenizer.truncation_side)
        # encode_batch_fast gives the ids of the transformers call without building its offsets, masks and Python lists.
        encodings = backend.encode_batch_fast([prompt + text for text in strings] if prompt else strings)
        ids = [np.array(encoding.ids, np.int32) for encoding in encodings]
        offsets = np.zeros(len(ids) + 1, np.int64)
        np.cumsum([len(each) for each in ids], out=offsets[1:])
        return _Tokens(np.concatenate(ids), offsets, sum(bool(encoding.overflowing) for encoding in encodings))

    def _encode_window(self, tokens: _Tokens, first_row: int) -> npt.NDArray[np.float32]:
        """Embeddings [n, D] of one window, in its order; `first_row` is only for messages."""
        import torch

        order = np.argsort(
            -tokens.lengths, kind="stable"
        )  # longest first: a batch too large for the memory fails at once
        with torch.inference_mode():
            parts = []
            for rows in self._batches(tokens.lengths, order):
                parts.append(self._forward(tokens, rows))
                self.encoded += len(rows)
                self.on_batch(self.encoded)
            sorted_embeddings = torch.cat(parts).cpu().numpy()
        embeddings = np.empty_like(sorted_embeddings)
        embeddings[order] = sorted_embeddings
        self._check(embeddings, tokens.lengths, first_row)
        return embeddings

    def _batches(self, lengths: npt.NDArray[np.int64], order: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
        start = 0
        while start < len(order):
            longest = max(1, int(lengths[order[start]]))
            rows = max(1, self._tokens_per_batch // longest)
            yield order[start : start + rows]
            start += rows

    def _forward(self, tokens: _Tokens, rows: npt.NDArray[np.int64]) -> "torch.Tensor":
        """Embeddings float32 [len(rows), D] on the device. Padding is on the right: every position scheme allows it."""
        import torch

        lengths = tokens.lengths[rows]
        mask = np.arange(max(1, int(lengths.max()))) < lengths[:, None]
        ids = np.full(mask.shape, self._backbone.tokenizer.pad_token_id, np.int64)
        ids[mask] = np.concatenate([tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]] for row in rows])
        attention_mask = torch.from_numpy(mask.astype(np.int64)).to(self.device)
        hidden = self._model(input_ids=torch.from_numpy(ids).to(self.device), attention_mask=attention_mask)[0]
        return pool(hidden, attention_mask, self._backbone.pooling, self._backbone.normalise)

    def _check(self, embeddings: npt.NDArray[np.float32], lengths: npt.NDArray[np.int64], first_row: int) -> None:
        norms = np.einsum("nd,nd->n", embeddings, embeddings)
        bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0) & (lengths > 0)))
        if len(bad) == 0:
            return
        row = int(bad[0])
        if lengths[row] == 0:
            raise EmbeddingError(f"Row {first_row + row} has no tokens: its text is empty. Leave such rows out.")
        raise EmbeddingError(
            f"The embedding of row {first_row + row} ({lengths[row]} tokens) is zero or not finite, as are "
            f"{len(bad) - 1} more of its window. The model {self.settings.model} overflows in {self.dtype}: use "
            f"precision fp32, or another model."
        )
