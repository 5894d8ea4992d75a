"""Embeddings of a batch of any size with exact gradients, in the memory of one chunk (GradCache, arXiv:2101.06983).

    1. embed       all texts, chunk by chunk, without keeping what a backward pass needs
    2. the caller  computes the loss of all embeddings and its gradient with respect to each of them
    3. backward    embeds each chunk again, with the same random numbers, and carries its gradients on to the weights

A batch that fits into memory as a whole keeps its graphs from 1 to 3 and embeds nothing twice. That changes no bit of
the result: chunks, their random numbers and the order in which their gradients are added up are the same.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from trainer.chunks import COST_OF_A_CHUNK, chunks_of_like_lengths, padded_tokens
from trainer.ragged import Ragged

if TYPE_CHECKING:
    import torch

    from trainer.backbone import Pooling

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
    """What turns padded token ids into embeddings, with gradient."""

    model: "torch.nn.Module"  # a Hugging Face encoder on `device`
    pooling: "Pooling"
    normalise: bool
    pad_token_id: int
    device: "torch.device"
    dtype: "torch.dtype"  # float32, or what autocast computes in

    def autocast(self) -> AbstractContextManager[Any]:
        """Within one, each weight is cast once."""
        import torch

        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype in (torch.bfloat16, torch.float16))

    def embed(self, texts: Ragged, rows: Int64, seed: int) -> "torch.Tensor":
        """Embeddings [rows, D], float32 or wider, of the texts `rows`, dropout drawn from `seed`."""
        import torch

        from trainer.backbone import pool

        torch.manual_seed(seed)
        multiple = _LENGTHS[self.device.type]
        ids, mask = _padded(texts, rows, self.pad_token_id, multiple)
        token_ids, attention = (_to_device(each, self.device) for each in (ids, mask))
        hidden = self.model(input_ids=token_ids, attention_mask=attention).last_hidden_state
        return pool(hidden, attention, self.pooling, self.normalise)


class CachedEmbeddings:
    """The embeddings of one batch's texts, and the way back from their gradients to the weights."""

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
        self._graphs: list[torch.Tensor] = []
        self.embeddings = self._embed(_kept_chunks(self, tokens_at_once))  # [n, D], without graph

    def _embed(self, kept: int) -> "torch.Tensor":
        import torch

        with self.encoder.autocast():
            for number in range(kept):
                self._graphs.append(self._embed_chunk(number))
        pieces = [graph.detach() for graph in self._graphs]
        with torch.no_grad(), self.encoder.autocast():
            pieces += [self._embed_chunk(number) for number in range(kept, len(self.chunks))]
        place = np.argsort(np.concatenate(self.chunks), kind="stable")
        return torch.cat(pieces).index_select(0, torch.from_numpy(place).to(self.encoder.device))

    def _embed_chunk(self, number: int) -> "torch.Tensor":
        return self.encoder.embed(self.texts, self.chunks[number], int(self._seeds[number] >> np.uint64(1)))

    def backward(self, gradients: "torch.Tensor") -> None:
        """Add to the weights' gradients what `gradients` [n, D], of the embeddings, come to. To be called once.

        Raises ReplayError where a text's second embedding is not its first.
        """
        import torch

        with self.encoder.autocast():
            for number, chunk in enumerate(self.chunks):
                rows = torch.from_numpy(chunk).to(self.encoder.device)
                if number < len(self._graphs):
                    embeddings = self._graphs[number]
                    self._graphs[number] = embeddings.detach()  # its graph is freed with the backward pass
                else:
                    embeddings = self._embed_chunk(number)
                    self._check_replay(embeddings.detach(), rows)
                # A backward pass runs in the types of its forward, not in autocast's.
                with torch.autocast(self.encoder.device.type, enabled=False):
                    torch.autograd.backward(embeddings, gradients.index_select(0, rows))
                del embeddings

    def _check_replay(self, again: "torch.Tensor", rows: "torch.Tensor") -> None:
        import torch

        first = self.embeddings.index_select(0, rows)
        if torch.equal(first, again) or not torch.isfinite(first).all():
            return  # the caller finds numbers that are none in the loss
        difference = float((first - again).abs().max())
        if difference > _LARGEST_DIFFERENCE[self.encoder.device.type]:
            raise ReplayError(
                f"The second forward of a chunk of {len(rows)} texts differs from the first by up to {difference:.3g}: the "
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
    if encoder.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(encoder.device)
        unused = torch.cuda.memory_reserved(encoder.device) - torch.cuda.memory_allocated(encoder.device)
        return (free + unused) // 2 // bytes_per_token
    import psutil

    return min(16_384, int(psutil.virtual_memory().available) // 4 // bytes_per_token)


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
