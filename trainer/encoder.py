"""Texts to embeddings with one encoder: the only place where pairmill runs a model forward without training it.

In:  strings and their role ("query" or "passage": each role has its own prompt and its own length).
Out: float32 [n, D], in the order of the input; of an M3 model lexical and multi-vector outputs too.

Texts are tokenised ahead in a thread, sorted by length inside windows, and cut into batches that hold a fixed number of
tokens rather than of texts: little padding, steady memory, whatever the lengths. BERT-like models run without padding
(trainer/unpadded.py), others through the forward of transformers. On a CPU those without padding run a batch in each thread.
"""

import logging
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from trainer.backbone import (
    EncodingPrecision,
    Pooling,
    Role,
    choose_device_and_dtype,
    load_backbone,
    pool_unpadded,
    resolve_model_path,
)
from trainer.m3_heads import Head, Output, available_outputs, lexical_vectors, read_head, special_tokens, token_vectors
from trainer.mcls import ManyCls
from trainer.ragged import Ragged
from trainer.side_by_side import side_by_side
from trainer.sparse_vectors import SparseVectors
from trainer.token_windows import EmbeddingError, Tokenisation, Tokens
from trainer.unpadded import UnpaddedEncoder, can_be_unpadded

if TYPE_CHECKING:
    import torch

__all__ = ["ARITHMETIC", "EmbeddingError", "Encoder", "EncoderSettings", "M3Outputs", "Output"]

log = logging.getLogger(__name__)

# Raised when the same model and text give other last bits than before: embeddings kept on disk are then made anew.
# 1: all models padded, by transformers; 2: attention of int16 in float32; 3: other steps in int16.
ARITHMETIC: Final = 4
# Measured with MiniLM on 2 cores: 500 to 4,096 tokens are alike, 16,384 a fifth slower (caches).
CPU_TOKENS_PER_BATCH: Final = 4096
TOKENS_PER_BATCH_OF_A_THREAD: Final = 1024  # no slower, and little enough that no batch is waited for at the end
LEAST_TOKENS_OF_A_THREAD: Final = 128  # where there is little to do: some ten tiles of rows
TOKENS_UNDER_WAY: Final = 65_536  # in all threads: at most 3 GB of XLM-R large's states
GPU_TOKENS_PER_BATCH: Final = 131_072
CPU_WINDOW: Final = 4096  # texts that are tokenised and sorted by length together
GPU_WINDOW: Final = 16_384  # short queries fill a GPU's batch only by the ten thousand


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
    precision: EncodingPrecision = Field(
        "auto",
        description="auto, fp32, bf16, fp16 or int16: linear layers and attention of numbers rounded to 16-bit integers, on CPUs with AVX2",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N, or all: every GPU of the machine, a process each")
    pooling: Pooling | None = Field(None, description="cls, mean or last; default: what the model folder says")
    normalise: bool | None = Field(None, description="divide by the L2 norm; default: what the model folder says")
    mcls_every: int | None = Field(
        None,
        ge=1,
        description="a [CLS] before every so many tokens, the embedding their states' mean: for documents longer than the "
        "model was trained on (M3 appendix B.2: 256); the lengths count them; default: one [CLS]",
    )


@dataclass(frozen=True)
class M3Outputs:
    """What a model gives for n texts; what was not asked for is None."""

    dense: npt.NDArray[np.float32] | None  # [n, D]
    lexical: SparseVectors | None  # n rows
    token_vectors: npt.NDArray[np.float16] | None  # [t, d], unit vectors: all tokens of a text but the first
    token_offsets: npt.NDArray[np.int64] | None  # [n + 1]

    def __len__(self) -> int:
        """n; 0 where there is no output at all."""
        if self.dense is not None:
            return len(self.dense)
        if self.lexical is not None:
            return len(self.lexical)
        return 0 if self.token_offsets is None else len(self.token_offsets) - 1

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The outputs of all parts (at least one, all with the same outputs), one after the other."""
        dense = [part.dense for part in parts if part.dense is not None]
        lexical = [part.lexical for part in parts if part.lexical is not None]
        vectors = [part.token_vectors for part in parts if part.token_vectors is not None]
        lengths = [np.diff(part.token_offsets) for part in parts if part.token_offsets is not None]
        return cls(
            np.concatenate(dense) if dense else None,
            SparseVectors.concatenate(lexical) if lexical else None,
            np.concatenate(vectors) if vectors else None,
            _offsets(np.concatenate(lengths)) if lengths else None,
        )

    def take(self, rows: npt.NDArray[np.int64]) -> Self:
        """The outputs of these rows (int64 [m]), in their order."""
        vectors, offsets = self.token_vectors, self.token_offsets
        if vectors is not None and offsets is not None:
            lengths = np.diff(offsets)[rows]
            taken = _offsets(lengths)
            vectors = vectors[np.repeat(offsets[:-1][rows] - taken[:-1], lengths) + np.arange(taken[-1])]
            offsets = taken
        return type(self)(
            None if self.dense is None else self.dense[rows],
            None if self.lexical is None else self.lexical.take(rows),
            vectors,
            offsets,
        )


@dataclass(frozen=True)
class _OfBatch:
    """What a forward gives for some texts.

    On a GPU embeddings stay on the device until the window is done: nothing waits for a copy. On a CPU they are put where
    they belong at once: small tensors that live on would lie between the large ones of the next batches, and memory grow.
    """

    count: int
    dense: "torch.Tensor | None"  # of a GPU
    others: M3Outputs | None


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _nobody_watches(encoded: int) -> None:
    """The default of Encoder.on_batch."""


class Encoder:
    """A loaded encoder.

    `dtype` is what its linear layers and attention multiply: of int16 all else is float32.

    `truncated` counts the texts so far that were longer than their role's length, `tokens` the tokens kept, `encoded` all
    texts. Whoever wants signs of life sets `on_batch`, which is called with `encoded` after each forward.
    """

    def __init__(self, settings: EncoderSettings) -> None:
        """Load the model and move it to its device. Raises ModelFolderError where folder or device will not do."""
        import torch

        self.settings = settings
        self._backbone = load_backbone(settings.model, pooling=settings.pooling, normalise=settings.normalise)
        # One process has one GPU; trainer/encoder_processes.py makes one of these for each.
        device = "auto" if settings.device == "all" else settings.device
        model: Any = self._backbone.model
        unpadded = can_be_unpadded(model)
        self.device, self.dtype = choose_device_and_dtype(device, settings.precision, integers=unpadded)
        integers = self.dtype is torch.int16
        self._states_dtype = torch.float32 if integers else self.dtype
        # Weights in the computing type, not autocast: half the memory, no casts between layers; pooling stays in fp32.
        self._model = model.to(device=self.device, dtype=self._states_dtype)
        self._unpadded = UnpaddedEncoder(self._model, integers=integers) if unpadded else None
        on_cpu = self.device.type == "cpu"
        self._in_threads = on_cpu and unpadded and self._states_dtype is torch.float32
        self._mcls = None if settings.mcls_every is None else ManyCls.of(self._backbone, settings.mcls_every)
        default = CPU_TOKENS_PER_BATCH if on_cpu else GPU_TOKENS_PER_BATCH
        self._tokens_per_batch = settings.tokens_per_batch or (
            TOKENS_PER_BATCH_OF_A_THREAD if self._in_threads else default
        )
        self.window = CPU_WINDOW if on_cpu else GPU_WINDOW
        self.dimension = self._backbone.hidden_size
        self._folder = resolve_model_path(settings.model)
        self.outputs = available_outputs(self._folder)
        self._special_tokens = special_tokens(self._backbone.tokenizer)
        self._head = cache(self._read_head)
        self.truncated = 0
        self.tokens = 0
        self.encoded = 0
        self.on_batch: Callable[[int], None] = _nobody_watches

    @property
    def devices(self) -> tuple[str, ...]:
        """Where it computes, in torch's words."""
        return (str(self.device),)

    def close(self) -> None:
        """Nothing is to be ended here: trainer/encoder_processes.py has encoders with processes."""

    def prompt(self, role: Role) -> str:
        """The text put before every text of `role`."""
        override = self.settings.query_prompt if role == "query" else self.settings.passage_prompt
        return self._backbone.prompts[role] if override is None else override

    def max_length(self, role: Role) -> int:
        """Tokens kept of a text of `role`, prompt and special tokens included, those of mcls_every too."""
        wanted = self.settings.max_query_length if role == "query" else self.settings.max_passage_length
        return min(wanted, self._backbone.max_length)

    def encode(self, texts: pa.Array | Sequence[str], role: Role, *, first_row: int = 0) -> npt.NDArray[np.float32]:
        """Embeddings float32 [n, D] of `texts`, in their order. The same texts in one call give the same bytes; in int16 on
        any number of threads.

        `first_row` is the row of the first text, for messages. Raises EmbeddingError for a null or half a surrogate pair,
        for an embedding that is zero or not finite, and for a text that does not fit into the GPU's memory; the message
        names the row.
        """
        embeddings = np.empty((len(texts), self.dimension), np.float32)
        start = 0
        for window in self._windows(texts, role, frozenset({"dense"}), first_row):
            assert window.dense is not None
            embeddings[start : start + len(window.dense)] = window.dense
            start += len(window.dense)
        return embeddings

    def encode_all(
        self, texts: pa.Array | Sequence[str], role: Role, outputs: Collection[Output], *, first_row: int = 0
    ) -> M3Outputs:
        """Several outputs of `texts` from one forward; `outputs` names some of `self.outputs`.

        Raises what encode raises, and ModelFolderError for an output that the model folder does not have.
        """
        wanted = frozenset(outputs)
        heads = {output: self._head(output) for output in sorted(wanted - {"dense"})}
        nothing = M3Outputs(
            np.zeros((0, self.dimension), np.float32) if "dense" in wanted else None,
            SparseVectors.concatenate([]) if "lexical" in wanted else None,
            np.zeros((0, len(heads["multi_vector"].bias)), np.float16) if "multi_vector" in wanted else None,
            np.zeros(1, np.int64) if "multi_vector" in wanted else None,
        )
        return M3Outputs.concatenate([nothing, *self._windows(texts, role, wanted, first_row)])

    def _windows(
        self, texts: pa.Array | Sequence[str], role: Role, outputs: frozenset[Output], first_row: int
    ) -> Iterator[M3Outputs]:
        """The outputs of each window of texts."""
        longest = self.max_length(role)
        if self._mcls is not None:
            longest = self._mcls.longest_before(longest)
        tokenisation = Tokenisation(self._backbone.tokenizer, self.prompt(role), longest)
        for tokens in tokenisation.windows(texts, self.window, first_row):
            yield self._encode_window(self._with_mcls(tokens), first_row, outputs)
            first_row += len(tokens.lengths)
            self.truncated += tokens.truncated
            self.tokens += len(tokens.ids)

    def _with_mcls(self, tokens: Tokens) -> Tokens:
        if self._mcls is None:
            return tokens
        inserted = self._mcls.inserted(Ragged(tokens.ids, tokens.offsets))
        return replace(tokens, ids=inserted.values, offsets=inserted.offsets)

    def _encode_window(self, tokens: Tokens, first_row: int, outputs: frozenset[Output]) -> M3Outputs:
        """The outputs of one window, in its order; `first_row` is only for messages."""
        lengths = tokens.lengths
        if (lengths == 0).any():
            row = first_row + int(np.argmin(lengths))
            raise EmbeddingError(f"Row {row} has no tokens: its text is empty. Leave such rows out.")
        # Longest first: a batch too large for the memory fails at once.
        order = np.argsort(-lengths, kind="stable")
        dense = np.empty((len(lengths), self.dimension), np.float32) if "dense" in outputs else None
        others = self._encode_sorted(tokens, order, first_row, outputs, dense)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        in_order = M3Outputs(None, None, None, None) if others is None else others.take(place)
        if dense is None:
            return in_order
        self._check(dense, lengths, first_row)
        return M3Outputs(dense, in_order.lexical, in_order.token_vectors, in_order.token_offsets)

    def _encode_sorted(
        self,
        tokens: Tokens,
        order: npt.NDArray[np.int64],
        first_row: int,
        outputs: frozenset[Output],
        dense: npt.NDArray[np.float32] | None,
    ) -> M3Outputs | None:
        """The texts of a window, batch by batch: embeddings into `dense` in the order of the texts, all else in the order given."""
        import torch

        on_device, others = [], []
        with closing(self._forwards(tokens, order, first_row, outputs, dense)) as forwards:
            for found in forwards:
                if found.dense is not None:
                    on_device.append(found.dense)
                if found.others is not None:
                    others.append(found.others)
                self.encoded += found.count
                self.on_batch(self.encoded)
        if dense is not None and on_device:
            with torch.inference_mode():
                dense[order] = torch.cat(on_device).cpu().numpy()
        return M3Outputs.concatenate(others) if others else None

    def _forwards(
        self,
        tokens: Tokens,
        order: npt.NDArray[np.int64],
        first_row: int,
        outputs: frozenset[Output],
        dense: npt.NDArray[np.float32] | None,
    ) -> "Generator[_OfBatch, None, None]":
        import torch

        if not self._in_threads:
            return self._one_by_one(tokens, order, first_row, outputs, dense)
        threads, most_tokens = torch.get_num_threads(), self._tokens_per_batch
        if self.dtype is not torch.float32:  # in int16 no batch changes what a text gets: something for every thread
            share = int(tokens.lengths.sum()) // threads
            most_tokens = min(most_tokens, max(share, LEAST_TOKENS_OF_A_THREAD))
        batches: list[npt.NDArray[np.int64]] = []
        start = 0
        while start < len(order):
            batches.append(self._batch(tokens.lengths, order, start, most_tokens))
            start += len(batches[-1])
        if len(batches) < threads and self.dtype is torch.float32:  # whose layers torch computes in all threads
            return self._one_by_one(tokens, order, first_row, outputs, dense)
        sizes = [int(tokens.lengths[rows].sum()) for rows in batches]
        most = max(TOKENS_UNDER_WAY, 2 * threads * self._tokens_per_batch)
        return side_by_side(partial(self._of_batch, tokens, outputs, dense), batches, sizes, most)

    def _one_by_one(
        self,
        tokens: Tokens,
        order: npt.NDArray[np.int64],
        first_row: int,
        outputs: frozenset[Output],
        dense: npt.NDArray[np.float32] | None,
    ) -> "Generator[_OfBatch, None, None]":
        start = 0
        while start < len(order):
            rows = self._batch(tokens.lengths, order, start, self._tokens_per_batch)
            found = self._of_batch_or_none(tokens, outputs, dense, rows)
            if found is None:  # the batch did not fit
                self._use_smaller_batches(tokens.lengths[rows], first_row + int(rows[0]))
                continue
            start += len(rows)
            yield found

    @staticmethod
    def _batch(
        lengths: npt.NDArray[np.int64], order: npt.NDArray[np.int64], start: int, most_tokens: int
    ) -> npt.NDArray[np.int64]:
        longest = int(lengths[order[start]])
        return order[start : start + max(1, most_tokens // longest)]

    def _of_batch_or_none(
        self,
        tokens: Tokens,
        outputs: frozenset[Output],
        dense: npt.NDArray[np.float32] | None,
        rows: npt.NDArray[np.int64],
    ) -> "_OfBatch | None":
        """What a forward gives for some texts; None where the GPU's memory is too small."""
        import torch

        try:
            return self._of_batch(tokens, outputs, dense, rows)
        except torch.OutOfMemoryError:
            return None

    def _of_batch(
        self,
        tokens: Tokens,
        outputs: frozenset[Output],
        dense: npt.NDArray[np.float32] | None,
        rows: npt.NDArray[np.int64],
    ) -> "_OfBatch":
        import torch

        with torch.inference_mode():  # of this thread
            hidden = self._hidden(tokens, rows)
            on_device = None if dense is None else self._pooled(hidden, tokens.lengths[rows])
            if dense is not None and on_device is not None and self.device.type == "cpu":
                dense[rows] = on_device.numpy()
                on_device = None
            others = self._other_outputs(hidden, tokens, rows, outputs) if len(outputs - {"dense"}) else None
            return _OfBatch(len(rows), on_device, others)

    def _hidden(self, tokens: Tokens, rows: npt.NDArray[np.int64]) -> "torch.Tensor":
        """Hidden states of the tokens of some texts end to end [t, H]."""
        import torch

        ids, lengths = tokens.take(rows), tokens.lengths[rows]
        if self._unpadded is not None:
            return self._unpadded(ids, lengths)
        # Padding is on the right: every position scheme allows it.
        mask = np.arange(int(lengths.max())) < lengths[:, None]
        padded = np.full(mask.shape, self._backbone.tokenizer.pad_token_id, np.int64)
        padded[mask] = ids
        attention_mask = torch.from_numpy(mask).to(self.device)
        hidden: torch.Tensor = self._model(
            input_ids=torch.from_numpy(padded).to(self.device), attention_mask=attention_mask.long()
        )[0]
        return hidden[attention_mask]

    def _use_smaller_batches(self, lengths: npt.NDArray[np.int64], row: int) -> None:
        """Halve the tokens of a batch. Raises EmbeddingError where the batch that did not fit was one text."""
        import torch

        torch.cuda.empty_cache()
        if len(lengths) == 1:
            raise EmbeddingError(
                f"Row {row} alone ({lengths[0]} tokens) does not fit into the memory of {self.device} with "
                f"{self.settings.model}. Set a smaller max_passage_length or max_query_length, precision bf16 or fp16, "
                f"or use a GPU with more free memory."
            )
        self._tokens_per_batch = max(1, min(self._tokens_per_batch, len(lengths) * int(lengths[0])) // 2)
        log.warning(
            "%s is out of memory: going on with %d tokens a batch. Set tokens_per_batch to that to begin with it.",
            self.device,
            self._tokens_per_batch,
        )

    def _pooled(self, hidden: "torch.Tensor", lengths: npt.NDArray[np.int64]) -> "torch.Tensor":
        if self._mcls is not None:
            return self._mcls.pool_unpadded(hidden, lengths, self._backbone.normalise)
        return pool_unpadded(hidden, lengths, self._backbone.pooling, self._backbone.normalise)

    def _other_outputs(
        self, hidden: "torch.Tensor", tokens: Tokens, rows: npt.NDArray[np.int64], outputs: frozenset[Output]
    ) -> M3Outputs:
        ids, lengths = tokens.take(rows), tokens.lengths[rows]
        if self._mcls is not None:  # no token vectors of the [CLS] that were put in
            hidden, ids, lengths = self._without_added(hidden, ids, lengths)
        lexical = vectors = offsets = None
        if "lexical" in outputs:
            lexical = lexical_vectors(self._head("lexical"), hidden, ids, lengths, self._special_tokens)
        if "multi_vector" in outputs:
            vectors, offsets = token_vectors(self._head("multi_vector"), hidden, lengths), _offsets(lengths - 1)
        return M3Outputs(None, lexical, vectors, offsets)

    def _without_added(
        self, hidden: "torch.Tensor", ids: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> "tuple[torch.Tensor, npt.NDArray[np.int64], npt.NDArray[np.int64]]":
        import torch

        assert self._mcls is not None
        kept = np.ones(len(ids), np.bool_)
        kept[self._mcls.added(lengths)] = False
        fewer = lengths - self._mcls.counts(lengths) + 1
        return hidden[torch.from_numpy(np.flatnonzero(kept)).to(hidden.device)], ids[kept], fewer

    def _read_head(self, output: Output) -> Head:
        """The head of one output on the device; read once, where it is asked for."""
        head = read_head(self._folder, output, self.dimension)
        return Head(head.weight.to(self.device, self._states_dtype), head.bias.to(self.device, self._states_dtype))

    def _check(self, embeddings: npt.NDArray[np.float32], lengths: npt.NDArray[np.int64], first_row: int) -> None:
        norms = np.einsum("nd,nd->n", embeddings, embeddings)
        bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
        if len(bad) == 0:
            return
        row = int(bad[0])
        raise EmbeddingError(
            f"The embedding of row {first_row + row} ({lengths[row]} tokens) is zero or not finite, as are "
            f"{len(bad) - 1} more of its window. The model {self.settings.model} overflows in {self.dtype}: use "
            f"precision fp32, or another model."
        )
