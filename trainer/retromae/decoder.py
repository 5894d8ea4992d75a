"""RetroMAE's enhanced decoder: one BERT layer in which every position has a mask of its own (arXiv 2205.12035, section 3.3).

In:  the [CLS] state of each text, the embeddings of its clean tokens, a DecoderMask.
Out: a state for every position that is to be rebuilt.

The query of position i is the [CLS] state embedded at position i; keys and values are the [CLS] state at 0 and the embeddings
of the clean tokens from 1 on; row i sees 0 and the tokens its mask shows, never itself. The mask is made in tiles of rows;
where there are several, each is made again in the backward pass, so that memory is one tile's and not L x L. This module
imports torch at once and is imported where a model is made.
"""

from functools import partial
from typing import Any, Final

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from trainer.retromae.masks import DecoderMask

_TILE_ENTRIES: Final = 1 << 24  # of texts x rows x columns of a mask tile: its hashes take 64 MiB


class EnhancedDecoder(nn.Module):
    """The decoder's one layer, of the encoder's width, heads and dropout."""

    def __init__(self, config: Any, tile_entries: int = _TILE_ENTRIES) -> None:
        """`config`: a transformers config of BERT's names. Weights are drawn as BERT's, from torch's generator."""
        super().__init__()
        width, inner = int(config.hidden_size), int(config.intermediate_size)
        self.heads, self.tile_entries = int(config.num_attention_heads), tile_entries
        self.attention_dropout = float(config.attention_probs_dropout_prob)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.attention_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        for linear in (self.query, self.key, self.value, self.output, self.inner, self.outer):
            nn.init.normal_(linear.weight, std=float(config.initializer_range))
            nn.init.zeros_(linear.bias)

    def forward(
        self, queries: torch.Tensor, memory: torch.Tensor, mask: DecoderMask, labelled: torch.Tensor
    ) -> torch.Tensor:
        """States [labelled, H].

        queries [n, R, H] of the positions 1 .. R, memory [n, L, H] of all positions (the [CLS] state at 0), labelled int64:
        the rows of queries.flatten(0, 1) that are to be rebuilt.
        """
        attended = self._attended(self.query(queries), self.key(memory), self.value(memory), mask)
        rows, residual = (each.flatten(0, 1).index_select(0, labelled) for each in (attended, queries))
        states = self.attention_norm(self.dropout(self.output(rows)) + residual)
        rebuilt: torch.Tensor = self.norm(self.dropout(self.outer(gelu(self.inner(states)))) + states)
        return rebuilt

    def _attended(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: DecoderMask
    ) -> torch.Tensor:
        texts, rows, width = queries.shape
        # torch's kernel for a CPU holds the scores of all heads where it draws dropout; no other does.
        held = self.heads if queries.device.type == "cpu" and self._dropout else 1
        height = max(1, self.tile_entries // (texts * keys.shape[1] * held))
        query, key, value = (
            each.view(texts, -1, self.heads, width // self.heads).transpose(1, 2) for each in (queries, keys, values)
        )
        if rows <= height:
            attended = self._tile(query, key, value, mask, 0, rows)
        else:
            again: Any = partial(checkpoint, self._tile, use_reentrant=False)
            tiles = [
                again(query[:, :, top : top + height], key, value, mask, top, min(height, rows - top))
                for top in range(0, rows, height)
            ]
            attended = torch.cat(tiles, dim=2)
        return attended.transpose(1, 2).reshape(texts, rows, width)

    def _tile(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: DecoderMask, top: int, rows: int
    ) -> torch.Tensor:
        visible = mask.visible(slice(1 + top, 1 + top + rows))[:, None]
        return scaled_dot_product_attention(queries, keys, values, attn_mask=visible, dropout_p=self._dropout)

    @property
    def _dropout(self) -> float:
        return self.attention_dropout if self.training else 0.0
