"""8,192 tokens: the states of transformers, and no matrix of all pairs of tokens in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from tests.trainer.tiny_model import WORDS, write_tiny_model
from trainer.backbone import load_backbone
from trainer.encoder import Encoder, EncoderSettings

LONGEST = 8192
HEADS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tiny tokenizer, and a random BERT of one layer that takes 8,192 tokens."""
    folder = write_tiny_model(tmp_path_factory.mktemp("model"))
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": HEADS, "intermediate_size": 64}
    torch.manual_seed(1)
    model = BertModel(BertConfig(vocab_size=65, max_position_embeddings=LONGEST, **shape), add_pooling_layer=False)
    model.save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"model_max_length": 64', f'"model_max_length": {LONGEST}'))
    return folder


def long_text(tokens: int, seed: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, tokens - 2))


def resident(field: str) -> float:
    """MiB, of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def test_a_text_of_8192_tokens_is_embedded_whole_as_transformers_does(folder):
    encoder = Encoder(EncoderSettings(model=str(folder), precision="fp32"))
    texts = [long_text(LONGEST, 0), long_text(LONGEST + 500, 1), "word1 word2"]
    found = encoder.encode(texts, "passage")
    assert (encoder.tokens, encoder.truncated) == (2 * LONGEST + 4, 1)
    backbone = load_backbone(str(folder))
    ids = backbone.tokenizer(texts[:2], truncation=True, max_length=LONGEST, return_tensors="pt").input_ids
    with torch.inference_mode():
        wanted = torch.nn.functional.normalize(backbone.model(input_ids=ids).last_hidden_state[:, 0], dim=-1)
    assert np.abs(found[:2] - wanted.numpy()).max() < 1e-5


@pytest.mark.parametrize("every", [None, 256])
def test_attention_over_8192_tokens_keeps_no_matrix_of_all_pairs(folder, every):
    encoder = Encoder(EncoderSettings(model=str(folder), precision="fp32", mcls_every=every))
    encoder.encode([long_text(64, 2)], "passage")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = resident("VmRSS")
    encoder.encode([long_text(LONGEST, 3)], "passage")
    matrix = HEADS * LONGEST**2 * 4 / 2**20  # 1 GiB
    assert resident("VmHWM") - before < matrix / 8
