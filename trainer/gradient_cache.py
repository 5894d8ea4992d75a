"""Embeddings of a batch of any size with exact gradients, in the memory of one chunk (GradCache, arXiv:2101.06983).

    1. embed       all texts, chunk by chunk, without keeping what a backward pass needs
    2. the caller  computes the loss of all embeddings and its gradient with respect to each of them
    3. backward    embeds each chunk again, with the same random numbers, and carries its gradients on to the weights

Of an M3 model lexical weights and token vectors, one a token, go the same way as the one embedding a text.

A batch that fits into memory as a whole keeps its graphs from 1 to 3 and embeds nothing twice. That changes no bit of
the result: chunks, their random numbers and the order in which their gradients are added up are the same.

Of a sharded encoder (trainer.sharding) all ranks run equally many forwards and backward passes: one with fewer chunks
embeds a single token for each that it lacks, with a gradient of zero.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from trainer.chunks import COST_OF_A_CHUNK, chunks_of_like_lengths, padded_tokens
from trainer.free_memory import FreeMemory
from trainer.m3_heads import Output
from trainer.ragged import Ragged, ranges

if TYPE_CHECKING:
    import torch

    from trainer.backbone import Pooling
    from trainer.mcls import ManyCls
    from trainer.sharding import Shards

Int64 = npt.NDArray[np.int64]

# Padded tokens a forward: fewer leave the hardware idle, more are padding (measured on the CPU: MiniLM, 2 cores).
TOKENS_PER_FORWARD: Final = {"cpu": 1024, "cuda": 16_384}
# A GPU's matrix units take lengths in multiples of this.
_LENGTHS: Final = {"cpu": 1, "cuda": 8}
# bf16 and fp16 kernels of a GPU may be chosen otherwise for a forward with a graph than for one without.
_LARGEST_DIFFERENCE: Final = {"cpu": 0.0, "cuda": 0.02}


class ReplayError(RuntimeError):
    """The second forward of a chunk gave other embeddings than the first: its gradients would be wrong."""


@dataclass(frozen=True)
class TextEncoder:
    """What turns padded token ids into outputs, with gradient."""

    model: "torch.nn.Module"  # a Hugging Face encoder on `device`
    pooling: "Pooling"
    normalise: bool
    pad_token_id: int
    device: "torch.device"
    dtype: "torch.dtype"  # float32, or what autocast computes in
    outputs: tuple[Output, ...] = ("dense",)
    heads: "Mapping[Output, torch.nn.Linear]" = field(default_factory=dict)  # of outputs but "dense", on `device`
    mcls: "ManyCls | None" = None  # texts have several [CLS], whose states' mean is the dense output
    shards: "Shards | None" = None  # where the weights are not whole on each rank
    free_memory: FreeMemory = field(default_factory=FreeMemory, compare=False, repr=False)  # of the CPU

    def autocast(self) -> AbstractContextManager[Any]:
        """Within one, each weight is cast once; of shards, whose casts would stay when they are given up, each time."""
        import torch

        half = self.dtype in (torch.bfloat16, torch.float16)
        return torch.autocast(self.device.type, self.dtype, enabled=half, cache_enabled=self.shards is None)

    def embed(self, texts: Ragged, rows: Int64, seed: int) -> "tuple[torch.Tensor, ...]":
        """The `outputs` of the texts `rows`, float32 or wider, each `rows_of_texts` end to end; dropout from `seed`."""
        import torch

        torch.manual_seed(seed)
        multiple = _LENGTHS[self.device.type]
        ids, mask = _padded(texts, rows, self.pad_token_id, multiple)
        token_ids, attention = (_to_device(each, self.device) for each in (ids, mask))
        hidden = self.model(input_ids=token_ids, attention_mask=attention).last_hidden_state
        lengths = texts.offsets[rows + 1] - texts.offsets[rows]
        return tuple(self._output(output, hidden, attention, lengths) for output in self.outputs)

    def _output(
        self, output: Output, hidden: "torch.Tensor", attention: "torch.Tensor", lengths: Int64
    ) -> "torch.Tensor":
        from trainer.backbone import pool

        if output == "dense" and self.mcls is not None:
            return self.mcls.pool_padded(hidden, attention, self.normalise)
        if output == "dense":
            return pool(hidden, attention, self.pooling, self.normalise)

        import torch

        from trainer.m3_model import token_weights, unit_vectors

        counts = rows_of_texts(output, lengths)
        places = ranges(np.arange(len(lengths)) * hidden.shape[1] + lengths - counts, counts)
        tokens = hidden.flatten(0, 1).index_select(0, torch.from_numpy(places).to(self.device))
        return (token_weights if output == "lexical" else unit_vectors)(self.heads[output], tokens)


def rows_of_texts(output: Output, lengths: Int64) -> Int64:
    """How many rows each of n texts has in an output, int64 [n]: dense one, lexical one a token, multi_vector one a token
    but the first."""
    if output == "dense":
        return np.ones_like(lengths)
    return lengths if output == "lexical" else np.maximum(lengths - 1, 0)


class CachedEmbeddings:
    """The outputs of one batch's texts, and the way back from their gradients to the weights."""

    def __init__(
        self,
        encoder: TextEncoder,
        texts: Ragged,
        seed: Sequence[int],
        *,
        tokens_per_forward: int | None = None,
        tokens_at_once: int | None = None,
    ) -> None:
        """Embed `texts` (token ids, n lists). Dropout is drawn from `seed`, whole numbers, and the chunk's number.

        A forward has `tokens_per_forward` padded tokens at most; chunks up to `tokens_at_once` padded tokens keep their
        graphs until `backward`. Both None: what suits the device, and all or no graphs.
        """
        kind = encoder.device.type
        self.encoder, self.texts = encoder, texts
        most = tokens_per_forward or TOKENS_PER_FORWARD[kind]
        self.chunks = chunks_of_like_lengths(texts.lengths, most, _LENGTHS[kind], COST_OF_A_CHUNK[kind])
        self.padded_tokens = padded_tokens(texts.lengths, self.chunks, _LENGTHS[kind])
        self._seeds = np.random.SeedSequence(list(seed)).generate_state(max(1, len(self.chunks)), np.uint64)
        self._graphs: list[tuple[torch.Tensor, ...]] = []
        # Of each output where the rows of each text begin, and behind the last.
        counts = {output: rows_of_texts(output, texts.lengths) for output in encoder.outputs}
        self._offsets = {output: np.concatenate([[0], np.cumsum(each)]) for output, each in counts.items()}
        # Of each output its rows, text after text, without graph.
        kept = _kept_chunks(self, tokens_at_once)
        self._rounds = len(self.chunks)  # of forwards, and of backward passes
        if encoder.shards is not None:
            self._rounds, kept = encoder.shards.in_common(len(self.chunks), kept)
        self.outputs: dict[Output, torch.Tensor] = self._embed(kept)

    @property
    def embeddings(self) -> "torch.Tensor":
        """The dense output: [n, D]."""
        return self.outputs["dense"]

    def _embed(self, kept: int) -> "dict[Output, torch.Tensor]":
        """All outputs; each chunk's are put where they belong at once. Kept until the end, they would lie between the large
        tensors of the chunks after them, and memory grow with the number of chunks."""
        import torch

        outputs: dict[Output, torch.Tensor] = {}
        with self.encoder.autocast():
            for number in range(self._rounds):
                with torch.set_grad_enabled(number < kept and torch.is_grad_enabled()):
                    found = self._embed_chunk(number)
                if number < kept:
                    self._graphs.append(found)
                if number < len(self.chunks):
                    self._put(outputs, self.chunks[number], found)
                del found
                self._between_chunks()
        return outputs

    def _put(self, outputs: "dict[Output, torch.Tensor]", chunk: Int64, found: "Sequence[torch.Tensor]") -> None:
        for output, rows in zip(self.encoder.outputs, found, strict=True):
            if output not in outputs:
                outputs[output] = rows.new_empty(int(self._offsets[output][-1]), *rows.shape[1:])
            outputs[output].index_copy_(0, self._rows(output, chunk), rows.detach())

    def _embed_chunk(self, number: int) -> "tuple[torch.Tensor, ...]":
        if number >= len(self.chunks):
            return self.encoder.embed(Ragged.of([[self.encoder.pad_token_id]]), np.zeros(1, np.int64), 0)
        return self.encoder.embed(self.texts, self.chunks[number], int(self._seeds[number] >> np.uint64(1)))

    def backward(self, gradients: "torch.Tensor | Mapping[Output, torch.Tensor]") -> None:
        """Add to the weights' gradients what `gradients` of the outputs, or [n, D] of the dense one where there is no
        other, come to. To be called once.

        Raises ReplayError where a text's second embedding is not its first.
        """
        import torch

        of_outputs = gradients if isinstance(gradients, Mapping) else {"dense": gradients}
        with self.encoder.autocast():
            for number in range(self._rounds):
                if self.encoder.shards is not None:
                    self.encoder.shards.before_backward(last=number == self._rounds - 1)
                if number < len(self._graphs):
                    found = self._graphs[number]
                    self._graphs[number] = ()  # its graph is freed with the backward pass
                else:
                    found = self._embed_chunk(number)
                    self._check_replay(number, found)
                wanted = self._wanted(number, found, of_outputs)
                # A backward pass runs in the types of its forward, not in autocast's.
                with torch.autocast(self.encoder.device.type, enabled=False):
                    torch.autograd.backward(found, wanted)
                del found, wanted
                self._between_chunks()

    def _between_chunks(self) -> None:
        if self.encoder.device.type == "cpu":
            self.encoder.free_memory.between()

    def _wanted(
        self, number: int, found: "Sequence[torch.Tensor]", of_outputs: "Mapping[Any, torch.Tensor]"
    ) -> "list[torch.Tensor]":
        """What a backward pass of the outputs `found` begins with."""
        import torch

        if number >= len(self.chunks):
            return [torch.zeros_like(output) for output in found]
        return [
            of_outputs[output].index_select(0, self._rows(output, self.chunks[number]))
            for output in self.encoder.outputs
        ]

    def _rows(self, output: Output, chunk: Int64) -> "torch.Tensor":
        """Which rows of an output the texts of a chunk have."""
        import torch

        offsets = self._offsets[output]
        rows = ranges(offsets[chunk], offsets[chunk + 1] - offsets[chunk])
        return torch.from_numpy(rows).to(self.encoder.device)

    def _check_replay(self, number: int, again: "Sequence[torch.Tensor]") -> None:
        import torch

        if number >= len(self.chunks):
            return
        for output, second in zip(self.encoder.outputs, again, strict=True):
            first = self.outputs[output].index_select(0, self._rows(output, self.chunks[number]))
            if torch.equal(first, second) or not torch.isfinite(first).all():
                continue  # the caller finds numbers that are none in the loss
            difference = float((first - second.detach()).abs().max())
            if difference > _LARGEST_DIFFERENCE[self.encoder.device.type] * max(1.0, float(first.abs().max())):
                raise ReplayError(
                    f"The second forward of a chunk of texts differs from the first by up to {difference:.3g} ({output}): the "
                    f"model draws random numbers that torch's seed does not decide, or uses kernels that are not deterministic. "
                    f"Set tokens_at_once high enough for a batch to be embedded once ({self.padded_tokens} tokens here)."
                )


def _kept_chunks(cache: CachedEmbeddings, tokens_at_once: int | None) -> int:
    """How many chunks, from the first, keep their graphs."""
    sizes = [padded_tokens(cache.texts.lengths, [chunk]) for chunk in cache.chunks]
    if tokens_at_once is None:
        fits = cache.padded_tokens <= tokens_that_fit(cache.encoder)
        return len(sizes) if fits else 0
    return int(np.searchsorted(np.cumsum(sizes), tokens_at_once, side="right"))


def tokens_that_fit(encoder: TextEncoder) -> int:
    """About how many tokens' graphs take a quarter of the CPU's free memory, at most 16,384, or half of a GPU's."""
    import torch

    config: Any = encoder.model.config
    width = int(getattr(config, "hidden_size", 768))
    layers = int(getattr(config, "num_hidden_layers", 12))
    # About 40 numbers a token, layer and dimension are kept (measured: MiniLM in fp32: 370 KB a token).
    bytes_per_token = 40 * width * layers * (4 if encoder.dtype is torch.float32 else 2)
    to_come = 0 if encoder.shards is None else encoder.shards.gradient_bytes
    if encoder.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(encoder.device)
        unused = torch.cuda.memory_reserved(encoder.device) - torch.cuda.memory_allocated(encoder.device)
        return max(0, free + unused - to_come) // 2 // bytes_per_token
    import psutil

    return min(16_384, max(0, int(psutil.virtual_memory().available) - to_come) // 4 // bytes_per_token)


def joined(first: Ragged, second: Ragged) -> Ragged:
    """The lists of both, one after the other."""
    return Ragged(
        np.concatenate([first.values, second.values]),
        np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]]),
    )


def _padded(texts: Ragged, rows: Int64, fill: int, multiple_of: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """Token ids int64 [rows, longest], rounded up, and their mask."""
    import torch

    values, lengths = texts.gather(rows)
    width = -(-int(lengths.max(initial=1)) // multiple_of) * multiple_of
    present = np.arange(width) < lengths[:, None]
    matrix = np.full((len(rows), width), fill, np.int64)
    matrix[present] = values
    return torch.from_numpy(matrix), torch.from_numpy(present.astype(np.int64))


def _to_device(tensor: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
