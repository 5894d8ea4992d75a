"""The RetroMAE objective: rows of text in, gradients of the encoder's and the decoder's loss out.

    encoder    predicts the masked words of a text whose words are masked at a moderate rate
    decoder    rebuilds the whole text from the encoder's [CLS] state and, for each position, a few of its words
    loss       mean over the step's masked tokens + mean over its rebuilt tokens (+ weight * mean of bags of words over texts)

Texts go through in chunks of like lengths; each chunk's backward pass follows its forward pass. Sums are divided by the
counts of the whole step over all ranks, which the ranks tell each other before the first chunk. Hence neither chunks nor
ranks change the loss (but by rounding, and by what dropout draws). Special tokens are never masked nor rebuilt.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trainer.backbone import Backbone
from trainer.chunks import COST_OF_A_CHUNK, chunks_of_like_lengths, padded_tokens
from trainer.distributed import Ranks
from trainer.gradient_cache import TOKENS_PER_FORWARD
from trainer.packed_texts import PackedTexts, TextRows
from trainer.ragged import Int64, ranges
from trainer.retromae.cross_entropy import OutputLayer, bag_of_words_loss, tiled_cross_entropy
from trainer.retromae.decoder import EnhancedDecoder
from trainer.retromae.masks import DecoderMask, EncoderMask, decoder_mask, encoder_mask, text_keys, word_numbers
from trainer.retromae.models import LanguageModel
from trainer.retromae.settings import PretrainSettings
from trainer.retromae.text_plan import StepRows, TextPlan
from trainer.text_packing import special_frame
from trainer.training_run import StepFigures

if TYPE_CHECKING:
    from trainer.sharding import Shards

Int32 = npt.NDArray[np.int32]
UInt64 = npt.NDArray[np.uint64]

_STEP_STREAM: Final = 13  # of dropout, beside those of masks and order
_DECODER_STREAM: Final = 14  # of its first weights


@dataclass(frozen=True)
class PreparedTexts:
    """What a rank needs for a step."""

    own: StepRows
    texts: TextRows
    words: Int64  # [tokens]: number of each token's word in its text
    keys: UInt64  # [texts]
    shown: EncoderMask
    everyone: Int64  # rows of the step on all ranks


class PretrainedParts(nn.Module):
    """All weights of a run: what checkpoints hold."""

    def __init__(self, language: nn.Module, decoder: EnhancedDecoder) -> None:
        super().__init__()
        self.language, self.decoder = language, decoder


class RetroMAEObjective:
    """`trainer.training_run.Objective` of plain texts."""

    unit = "texts"
    shards: "Shards | None" = None  # the losses over the vocabulary read the output layer's weights themselves

    def __init__(
        self,
        texts: PackedTexts,
        plan: TextPlan,
        language: LanguageModel,
        settings: PretrainSettings,
        *,
        device: torch.device,
        dtype: torch.dtype,
        ranks: Ranks,
    ) -> None:
        self.texts, self.plan, self.language, self.settings = texts, plan, language, settings
        self.device, self.dtype, self.ranks, self.left_out = device, dtype, ranks, plan.left_out
        self.part_names: tuple[str, ...] = ("encoder_loss", "decoder_loss")
        if settings.bag_of_words_weight:
            self.part_names += ("bag_of_words_loss",)
        self.before, self.after = special_frame(language.tokenizer)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((settings.seed << 8) + _DECODER_STREAM)
            self.decoder = EnhancedDecoder(language.model.config).to(next(language.model.parameters()).dtype)
        self.model: nn.Module = PretrainedParts(language.model, self.decoder).to(device)
        _prepare(language, settings, device)

    def prepare(self, step: int) -> PreparedTexts:
        own = self.plan.share(step, self.ranks.rank, self.ranks.count)
        texts = self.texts.take(own.rows)
        words, keys = word_numbers(texts), text_keys(self.settings.seed, step, own.places)
        mask_token: Any = self.language.tokenizer.mask_token_id
        shown = encoder_mask(texts, words, keys, self.settings.encoder_mask, int(mask_token), self._other_tokens)
        return PreparedTexts(own, texts, words, keys, shown, self.plan.rows(step))

    @cached_property
    def _other_tokens(self) -> Int32:
        """What a masked token may be replaced by: all but special tokens."""
        special = self.language.tokenizer.all_special_ids
        return np.setdiff1d(np.arange(len(self.language.tokenizer)), special).astype(np.int32)

    def learn(self, step: int, prepared: PreparedTexts, scaled: Callable[[torch.Tensor], torch.Tensor]) -> StepFigures:
        lengths = prepared.texts.tokens.lengths + len(self.before) + len(self.after)
        most = self.settings.tokens_per_forward or TOKENS_PER_FORWARD[self.device.type]
        chunks = chunks_of_like_lengths(lengths, most, 1, COST_OF_A_CHUNK[self.device.type])
        seeds = np.random.SeedSequence([self.settings.seed, _STEP_STREAM, step, self.ranks.rank])
        weights = self._weights(prepared, scaled)
        layer = OutputLayer.of(*self.language.output_layer(), self.dtype)
        losses = torch.zeros(3, dtype=torch.float64, device=self.device)
        for chunk, seed in zip(chunks, seeds.generate_state(max(1, len(chunks)), np.uint64), strict=False):
            torch.manual_seed(int(seed >> np.uint64(1)))
            losses += self._learn_chunk(_Chunk(prepared, chunk, self), layer, weights)
        parts = (losses / weights.counts).tolist()[: len(self.part_names)]
        factors = (1.0, 1.0, self.settings.bag_of_words_weight)
        return StepFigures(
            loss=sum(factor * part for factor, part in zip(factors, parts, strict=False)),
            samples=len(lengths),
            tokens=int(lengths.sum()),
            padded_tokens=padded_tokens(lengths, chunks),
            squared_lengths=int((lengths**2).sum()),
            parts=tuple(parts),
        )

    def _weights(self, prepared: PreparedTexts, scaled: Callable[[torch.Tensor], torch.Tensor]) -> "_Weights":
        """The step's counts over all ranks, and what a unit of each loss weighs in the backward pass."""
        tokens = prepared.texts.tokens
        own = (int(prepared.shown.masked.sum()), len(tokens.values), len(tokens))
        counts = torch.tensor(own, dtype=torch.float64, device=self.device)
        self.ranks.add_up(counts)
        counts.clamp_(min=1.0)
        factors = counts.new_tensor([1.0, 1.0, self.settings.bag_of_words_weight])
        exact = torch.float64 if self.dtype is torch.float64 else torch.float32
        return _Weights(counts, scaled((factors / counts).to(exact)))

    def _learn_chunk(self, chunk: "_Chunk", layer: OutputLayer, weights: "_Weights") -> torch.Tensor:
        """Add a chunk's gradients; returns the sums of its losses [3]."""
        with self._autocast():
            hidden = self._encoded(chunk)
            states = [self.language.transform()(each) for each in (hidden[chunk.masked], self._rebuilt(chunk, hidden))]
            if self.settings.bag_of_words_weight:
                states.append(self.language.transform()(hidden[chunk.content]))
        sums, gradients = [], []
        targets = (chunk.tokens[chunk.masked], chunk.tokens[chunk.content])
        for own, target, scale in zip(states, targets, weights.scales, strict=False):
            found = tiled_cross_entropy(own, layer, target, scale)
            sums.append(found[0])
            gradients.append(found[1].to(own.dtype))
        if self.settings.bag_of_words_weight:
            found = bag_of_words_loss(states[2], layer, chunk.lengths.tolist(), targets[1], weights.scales[2])
            sums.append(found[0])
            gradients.append(found[1].to(states[2].dtype))
        torch.autograd.backward(states, gradients)
        sums += [torch.zeros_like(sums[0])] * (3 - len(sums))
        return torch.stack(sums).to(torch.float64)

    def _encoded(self, chunk: "_Chunk") -> torch.Tensor:
        """The encoder's last states [n, L, H] of the masked texts."""
        given = {"input_ids": chunk.shown, "attention_mask": chunk.present.long(), "position_ids": chunk.positions}
        hidden: torch.Tensor = self.language.encoder(**given).last_hidden_state
        return hidden

    def _rebuilt(self, chunk: "_Chunk", hidden: torch.Tensor) -> torch.Tensor:
        """The decoder's states [tokens, H] of all tokens but special ones."""
        embed, first = self.language.embeddings, hidden[:, :1]
        clean = embed(input_ids=chunk.tokens, position_ids=chunk.positions)
        memory = torch.cat([first.to(clean.dtype), clean[:, 1:]], dim=1)
        rows = slice(1, chunk.tokens.shape[1] - len(self.after))
        everywhere = first.expand(-1, rows.stop - rows.start, -1)
        queries = embed(inputs_embeds=everywhere, position_ids=chunk.positions[:, rows])
        labelled = chunk.content[:, rows].flatten().nonzero().ravel()
        states: torch.Tensor = self.decoder(queries, memory, chunk.decoder_mask, labelled)
        return states

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype in (torch.bfloat16, torch.float16))

    def epoch(self, step: int) -> int:
        return self.plan.epoch(step)

    def blamed(self, prepared: PreparedTexts) -> dict[str, Any]:
        ids = [self.texts.text_id[row].tobytes().hex() for row in prepared.everyone]
        return {"rows": prepared.everyone.tolist(), "ids": ids}

    def as_backbone(self) -> Backbone:
        return self.language.as_backbone()


@dataclass(frozen=True)
class _Weights:
    counts: torch.Tensor  # float64 [3]: masked tokens, tokens, texts of the step
    scales: torch.Tensor  # [3]: of a unit of each loss


class _Chunk:
    """Some of a step's texts, padded, on the device. The longest comes first."""

    def __init__(self, prepared: PreparedTexts, rows: Int64, of: RetroMAEObjective) -> None:
        tokens, frame = prepared.texts.tokens, (len(of.before), len(of.after))
        places = ranges(tokens.offsets[rows], tokens.lengths[rows])
        self.lengths = tokens.lengths[rows]
        width = sum(frame) + int(self.lengths.max())
        column = np.arange(width)
        content = (column >= frame[0]) & (column < frame[0] + self.lengths[:, None])
        fill = int(of.language.model.config.pad_token_id)
        clean = np.full((len(rows), width), fill, np.int64)
        clean[:, : frame[0]] = of.before
        for number, token in enumerate(of.after):
            clean[np.arange(len(rows)), frame[0] + self.lengths + number] = token
        shown, masked = clean.copy(), np.zeros(clean.shape, np.bool_)
        clean[content] = tokens.values[places]
        shown[content] = prepared.shown.token_ids[places]
        masked[content] = prepared.shown.masked[places]
        present = column < (sum(frame) + self.lengths)[:, None]
        row_keys, codes, threshold = decoder_mask(
            self.lengths,
            prepared.words[places],
            prepared.keys[rows],
            of.settings.decoder_mask,
            of.settings.decoder_masks_per_text,
            frame,
        )
        device = of.device
        self.tokens, self.shown, self.masked = (_put(each, device) for each in (clean, shown, masked))
        self.content, self.present = _put(content, device), _put(present, device)
        self.positions = torch.arange(width, device=device)[None] + of.language.first_position
        always = _put(present & ~content, device)
        self.decoder_mask = DecoderMask(_put(row_keys, device), _put(codes, device), always, self.present, threshold)


def _put(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array).to(device)


def _prepare(language: LanguageModel, settings: PretrainSettings, device: torch.device) -> None:
    model = language.model
    if device.type == "cpu":
        from trainer.embedding_table import add_gradients_in_place

        add_gradients_in_place(language.embeddings.word_embeddings)
    if settings.gradient_checkpointing:
        # The name that transformers 5 has, and the one before.
        if hasattr(model, "activation_checkpointing_enable"):
            model.activation_checkpointing_enable({"use_reentrant": False})
        else:
            model.gradient_checkpointing_enable({"use_reentrant": False})
