"""RetroMAE's masks: their rates, whole words, no position its own token, and what they depend on."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.packed_texts import TextRows
from trainer.ragged import Ragged
from trainer.retromae.masks import DecoderMask, decoder_mask, encoder_mask, text_keys, word_numbers

MASK = 4
OTHERS = np.arange(5, 1005, dtype=np.int32)


def text_rows(starts: list[list[int]]) -> TextRows:
    """Texts with these word starts; token ids from 2,000 on, which no random token has."""
    lengths = [len(each) for each in starts]
    tokens = Ragged.with_lengths(np.arange(2000, 2000 + sum(lengths), dtype=np.int32), lengths)
    return TextRows(tokens, np.array([start for each in starts for start in each], np.bool_))


def words_of(random: np.random.Generator, tokens: int) -> list[int]:
    return [1, *(random.random(tokens - 1) < 0.6).astype(int).tolist()]


def decoder(texts: TextRows, seed: int, rate: float, pool: int | None = None, places=None) -> DecoderMask:
    lengths = texts.tokens.lengths
    places = np.arange(len(lengths)) if places is None else places
    keys = text_keys(seed, 3, places)
    row_keys, codes, threshold = decoder_mask(lengths, word_numbers(texts), keys, rate, pool, (1, 1))
    column = np.arange(row_keys.shape[1])
    content = (column >= 1) & (column <= lengths[:, None])
    present = column < lengths[:, None] + 2
    return DecoderMask(
        *(torch.from_numpy(each) for each in (row_keys, codes, present & ~content, present)), threshold=threshold
    )


def within_five_sigma(found: int, of: int, rate: float) -> bool:
    return abs(found - rate * of) <= 5 * math.sqrt(of * rate * (1 - rate))


def test_words_are_numbered_within_their_text():
    assert word_numbers(text_rows([[1, 0, 1], [1], [1, 1, 0, 0]])).tolist() == [0, 0, 1, 0, 0, 1, 1, 1]


def test_the_encoder_masks_words_at_its_rate_and_80_10_10_of_their_tokens():
    random = np.random.default_rng(0)
    texts = text_rows([words_of(random, 100) for _ in range(1000)])
    words = word_numbers(texts)
    for rate in (0.15, 0.3):
        found = encoder_mask(texts, words, text_keys(7, 0, np.arange(1000)), rate, MASK, OTHERS)
        starts = texts.word_starts
        assert within_five_sigma(int(found.masked[starts].sum()), int(starts.sum()), rate)
        shown, count = found.token_ids[found.masked], int(found.masked.sum())
        assert within_five_sigma(int((shown == MASK).sum()), count, 0.8)
        assert within_five_sigma(int((shown < 1005).sum() - (shown == MASK).sum()), count, 0.1)
        assert within_five_sigma(int((shown >= 2000).sum()), count, 0.1)
        assert (found.token_ids[~found.masked] == texts.tokens.values[~found.masked]).all()
        # Each of 1,000 random tokens comes about as often as another: chi-square of 999 degrees, 5 sigma.
        drawn = np.bincount(shown[(shown >= 5) & (shown < 1005)] - 5, minlength=1000)
        chi_square = ((drawn - drawn.mean()) ** 2 / drawn.mean()).sum()
        assert abs(chi_square - 999) < 5 * math.sqrt(2 * 999)


def test_the_encoder_masks_all_tokens_of_a_word_or_none():
    random = np.random.default_rng(1)
    texts = text_rows([words_of(random, 60) for _ in range(50)])
    words = word_numbers(texts)
    masked = encoder_mask(texts, words, text_keys(1, 2, np.arange(50)), 0.5, MASK, OTHERS).masked
    word = texts.tokens.owners * 1000 + words
    for each in np.unique(word):
        assert len(set(masked[word == each].tolist())) == 1


def test_decoder_rows_hide_words_at_their_rate_and_differ_from_one_another():
    random = np.random.default_rng(2)
    texts = text_rows([words_of(random, 120) for _ in range(20)])
    for rate in (0.5, 0.7):
        seen = decoder(texts, 5, rate).visible(slice(1, 121)).numpy()
        for text in range(20):
            starts = np.flatnonzero(texts.word_starts[120 * text : 120 * text + 120])
            of_rows = ~seen[text][:, 1 + starts]
            of_rows[starts, np.arange(len(starts))] = False  # a row's own position is no draw
            draws = of_rows.size - len(starts)
            assert within_five_sigma(int(of_rows.sum()), draws, rate)
        # Two rows agree on a word with chance rate^2 + (1 - rate)^2.
        agreeing = (seen[:, 1:-1] == seen[:, 2:])[:, :, 1]
        assert within_five_sigma(int(agreeing.sum()), agreeing.size, rate**2 + (1 - rate) ** 2)


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
    rate=st.sampled_from([0.1, 0.5, 0.9]),
    pool=st.sampled_from([None, 1, 4, 128]),
)
@settings(max_examples=60, deadline=None)
def test_no_row_sees_itself_and_every_row_sees_the_first_and_whole_words(lengths, seed, rate, pool):
    random = np.random.default_rng(seed)
    texts = text_rows([words_of(random, length) for length in lengths])
    numbers = word_numbers(texts)
    rows = slice(1, max(lengths) + 1)
    seen = decoder(texts, seed, rate, pool).visible(rows).numpy()
    for text, length in enumerate(lengths):
        first = int(texts.tokens.offsets[text])
        words = numbers[first : first + length]
        of_text = seen[text, :length]
        assert of_text[:, 0].all()
        assert of_text[:, length + 1].all()  # the closing special token
        assert not of_text[:, length + 2 :].any()  # padding
        for row in range(length):
            assert not of_text[row, 1 + row]
            for word in range(words.max() + 1):
                columns = [1 + place for place in np.flatnonzero(words == word) if place != row]
                assert len(set(of_text[row, columns].tolist())) <= 1


def test_a_pool_gives_no_more_different_masks_than_it_holds():
    texts = text_rows([[1] * 200])
    seen = decoder(texts, 3, 0.5, pool=8).visible(slice(1, 201)).numpy()[0]
    own = np.arange(200)
    seen[own, 1 + own] = True
    # Rows of one mask differ in their own columns alone.
    distance = (seen[:, None] != seen[None]).sum(axis=2)
    groups = {tuple(np.flatnonzero(row <= 2)) for row in distance}
    assert len(groups) == 8


def test_a_texts_masks_depend_on_its_place_in_the_step_and_not_on_its_chunk():
    random = np.random.default_rng(4)
    starts = [words_of(random, length) for length in (9, 30, 17)]
    together = decoder(text_rows(starts), 11, 0.5).visible(slice(1, 31)).numpy()
    for place in range(3):
        length = len(starts[place])
        alone = decoder(text_rows([starts[place]]), 11, 0.5, places=np.array([place]))
        assert (alone.visible(slice(1, length + 1)).numpy()[0] == together[place, :length, : length + 2]).all()
    tiles = decoder(text_rows(starts), 11, 0.5)
    cut = np.concatenate([tiles.visible(slice(1, 8)).numpy(), tiles.visible(slice(8, 31)).numpy()], axis=1)
    assert (cut == together).all()


def test_seed_and_step_draw_other_masks():
    keys = [tuple(text_keys(seed, step, np.arange(4)).tolist()) for seed in (0, 1) for step in (0, 1)]
    assert len(set(keys)) == 4
    assert len(set(keys[0])) == 4


def test_hashes_are_the_murmur_finaliser_of_a_plain_restatement():
    from trainer.retromae.masks import _hashed

    def plain(number: int) -> int:
        number ^= number >> 16
        number = number * 0x85EBCA6B % 2**32
        number ^= number >> 13
        number = number * 0xC2B2AE35 % 2**32
        return number ^ (number >> 16)

    numbers = np.random.default_rng(0).integers(0, 2**32, 1000, np.uint32)
    found = _hashed(torch.from_numpy(numbers.view(np.int32).copy())).numpy().view(np.uint32)
    assert found.tolist() == [plain(int(number)) for number in numbers]
