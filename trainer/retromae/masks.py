"""Which tokens are masked: whole words, drawn by hashes.

A word of a text is masked where a hash of (text, purpose, word) falls below the rate. So every token is masked with exactly
that chance whatever its word's length, a text's masks depend on nothing but the seed, the step and its place in the step
(not on chunks, processes or devices), and the mask of any tile of the decoder's L x L matrix can be made where and when it
is needed. Row i of the decoder has a draw of its own for each word of its text, or shares one of a pool.

All arithmetic is of fixed width (uint64 in numpy, int32 in torch), the same on every machine.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from trainer.packed_texts import TextRows
from trainer.permutation import key_bits, mixed
from trainer.ragged import Int64

if TYPE_CHECKING:
    import torch

Bool = npt.NDArray[np.bool_]
Int32 = npt.NDArray[np.int32]
UInt64 = npt.NDArray[np.uint64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_WORD: Final = np.uint64(0x9E3779B1)  # odd: other words have other 32-bit codes
# Independent streams of one text's key.
_ENCODER_WORDS, _ENCODER_CHOICE, _RANDOM_TOKEN, _DECODER_ROWS, _DECODER_POOL = (np.uint64(n) for n in range(1, 6))
_MASK_STREAM: Final = 11  # beside those of trainer.batch_plan and trainer.contrastive

# What becomes of a masked token (BERT section 3.1, A.1): [MASK], a random token, or itself.
_REPLACED: Final = 0.8
_RANDOM: Final = 0.9


@dataclass(frozen=True)
class EncoderMask:
    """What the encoder reads in place of a chunk of texts; flat arrays of all tokens, without special ones."""

    masked: Bool  # [tokens]: those to be predicted
    token_ids: Int32  # [tokens]: as they are shown


def text_keys(seed: int, step: int, places: Int64) -> UInt64:
    """A key for each text of a step by its place among all texts of the step: uint64 [n]."""
    key = key_bits(seed, _MASK_STREAM, step, count=1)
    return mixed(key ^ (places.astype(np.uint64) * _GOLDEN))


def word_numbers(texts: TextRows) -> Int64:
    """int64 [tokens]: the number of each token's word in its text, from 0."""
    counted = np.cumsum(texts.word_starts)
    first = texts.tokens.offsets[:-1]
    before = np.concatenate([[0], counted])[first]
    return np.asarray(counted - np.repeat(before, texts.tokens.lengths) - 1, np.int64)


def encoder_mask(
    texts: TextRows, words: Int64, keys: UInt64, rate: float, mask_token: int, other_tokens: Int32
) -> EncoderMask:
    """Mask whole words at `rate`. Of the masked tokens 80 % become `mask_token`, 10 % one of `other_tokens` (int32, ids
    that may stand for any token), 10 % stay."""
    of_token = np.repeat(keys, texts.tokens.lengths)
    within = np.arange(len(words)) - np.repeat(texts.tokens.offsets[:-1], texts.tokens.lengths)
    masked = _share(of_token, _ENCODER_WORDS, words) < rate
    places = np.flatnonzero(masked)
    choice = _share(of_token[places], _ENCODER_CHOICE, within[places])
    at_random = places[(choice >= _REPLACED) & (choice < _RANDOM)]
    drawn = _share(of_token[at_random], _RANDOM_TOKEN, within[at_random])
    shown = texts.tokens.values.astype(np.int32)
    shown[places[choice < _REPLACED]] = mask_token
    shown[at_random] = other_tokens[(drawn * len(other_tokens)).astype(np.int64)]
    return EncoderMask(masked, shown)


def _share(keys: UInt64, purpose: np.uint64, numbers: Int64) -> npt.NDArray[np.float64]:
    """Uniform numbers in [0, 1) with 53 bits."""
    bits = mixed(mixed(keys ^ (purpose * _WORD)) + numbers.astype(np.uint64) * _GOLDEN)
    return (bits >> np.uint64(11)).astype(np.float64) * np.float64(2.0**-53)


@dataclass(frozen=True)
class DecoderMask:
    """The decoder's masks of a padded chunk [n, L], as hashes: `visible` makes tiles of them."""

    row_keys: "torch.Tensor"  # int32 [n, L]
    word_codes: "torch.Tensor"  # int32 [n, L]: other for other words of a text
    always: "torch.Tensor"  # bool [n, L]: columns every row sees: special tokens
    present: "torch.Tensor"  # bool [n, L]: no padding
    threshold: int  # of signed 32-bit hashes: below is hidden

    def visible(self, rows: slice) -> "torch.Tensor":
        """bool [n, rows, L]: what the positions `rows` of each text see. Never themselves; [CLS] always."""
        import torch

        hashes = _hashed(self.row_keys[:, rows, None] ^ self.word_codes[:, None, :])
        seen = (hashes >= self.threshold).logical_or_(self.always[:, None, :]).logical_and_(self.present[:, None, :])
        own = torch.arange(rows.start, rows.stop, device=seen.device)
        seen[:, own - rows.start, own] = False
        return seen


def decoder_mask(
    lengths: Int64, words: Int64, keys: UInt64, rate: float, pool: int | None, frame: tuple[int, int]
) -> tuple[Int32, Int32, int]:
    """The row keys and word codes int32 [n, L] of a chunk, and the threshold of `rate`.

    `lengths` [n] are tokens without special ones, `words` [their sum] their word numbers, `frame` the numbers of special
    tokens before and after; L is the longest text with them. With a `pool`, row i takes one of min(pool, length of its
    text) draws.
    """
    before, after = frame
    width = before + int(lengths.max(initial=0)) + after
    position = np.arange(width, dtype=np.uint64)
    if pool is not None:
        sizes = np.minimum(lengths + before + after, pool).astype(np.uint64)
        drawn = mixed(mixed(keys ^ (_DECODER_POOL * _WORD))[:, None] + position * _GOLDEN)
        numbers = (drawn >> np.uint64(33)) % sizes[:, None]
    else:
        numbers = np.broadcast_to(position, (len(lengths), width))
    row_keys = mixed(mixed(keys ^ (_DECODER_ROWS * _WORD))[:, None] + numbers * _GOLDEN)
    codes = np.zeros((len(lengths), width), np.uint64)
    inside = np.arange(width - before)[None, :] < lengths[:, None]
    codes[:, before:][inside] = (words.astype(np.uint64) + np.uint64(1)) * _WORD
    return _signed(row_keys >> np.uint64(32)), _signed(codes), round(rate * 2**32) - 2**31


def _signed(numbers: UInt64) -> Int32:
    return (numbers & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32)


def _hashed(numbers: "torch.Tensor") -> "torch.Tensor":
    """MurmurHash3's 32-bit finaliser, in place, of int32: each input bit changes half of the output bits."""
    numbers ^= (numbers >> 16).bitwise_and_(0xFFFF)
    numbers *= 0x85EBCA6B - (1 << 32)
    numbers ^= (numbers >> 13).bitwise_and_(0x7FFFF)
    numbers *= 0xC2B2AE35 - (1 << 32)
    numbers ^= (numbers >> 16).bitwise_and_(0xFFFF)
    return numbers
