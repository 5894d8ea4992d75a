import os
import signal

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from trainer.backbone import ModelFolderError
from trainer.encoder import EmbeddingError, Encoder, EncoderSettings
from trainer.encoder_processes import EncoderPool, EncoderProcessError, open_encoder
from trainer.evaluate import RetrievalData, evaluate_encoder

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
TEXTS = [" ".join(np.random.default_rng(each).choice(list("abcdefgh"), each % 9 + 1)) for each in range(9000)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random BERT whose tokens are single letters, with both heads of M3."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer(models.WordPiece({token: place for place, token in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=48, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=48, **config)).save_pretrained(folder)
    for name, rows in (("sparse_linear", 1), ("colbert_linear", 4)):
        save_file({"weight": torch.randn(rows, 16), "bias": torch.randn(rows)}, folder / f"{name}.safetensors")
    return str(folder)


@pytest.fixture(scope="module")
def settings(tiny):
    return EncoderSettings(model=tiny, precision="fp32", query_prompt="a b ", max_query_length=10)


@pytest.fixture(scope="module")
def pool(settings):
    with EncoderPool(settings, ["cpu", "cpu"]) as pool:
        yield pool


def test_two_processes_give_what_one_encoder_gives_in_the_order_of_the_texts(pool, settings):
    told = []
    pool.on_batch = told.append
    assert (pool.truncated, pool.tokens, pool.encoded) == (0, 0, 0)
    one = Encoder(settings)
    expected = one.encode(TEXTS, "query")
    assert np.abs(pool.encode(pa.array(TEXTS), "query") - expected).max() < 1e-6
    assert (pool.truncated, pool.tokens, pool.encoded) == (one.truncated, one.tokens, one.encoded)
    assert one.truncated > 0
    assert told == sorted(told) and told[-1] == 9000
    assert (pool.dimension, pool.dtype, pool.prompt("query")) == (one.dimension, one.dtype, one.prompt("query"))
    assert (pool.max_length("query"), pool.max_length("passage")) == (10, 48)
    assert pool.encode(TEXTS, "query").tobytes() == pool.encode(TEXTS, "query").tobytes()


def test_all_outputs_come_back_from_the_processes(pool, settings):
    ours = pool.encode_all(TEXTS[:5000], "passage", pool.outputs)
    expected = Encoder(settings).encode_all(TEXTS[:5000], "passage", pool.outputs)
    assert pool.outputs == {"dense", "lexical", "multi_vector"}
    np.testing.assert_allclose(ours.dense, expected.dense, atol=1e-6)
    np.testing.assert_array_equal(ours.lexical.token_ids, expected.lexical.token_ids)
    np.testing.assert_allclose(ours.lexical.weights, expected.lexical.weights, atol=1e-5)
    np.testing.assert_array_equal(ours.token_offsets, expected.token_offsets)
    np.testing.assert_allclose(ours.token_vectors, expected.token_vectors, atol=1e-2)


def test_a_bad_text_is_named_by_its_row_and_the_processes_go_on(pool):
    with pytest.raises(EmbeddingError, match="Row 8500 has no text"):
        pool.encode(pa.array([*TEXTS[:8500], None, *TEXTS[8501:]]), "passage")
    with pytest.raises(EmbeddingError, match="Row 8999 holds half of a surrogate pair"):
        pool.encode([*TEXTS[:8999], "\ud83d"], "passage")


def test_an_evaluation_with_processes_is_one_with_an_encoder(pool, settings):
    texts = TEXTS[:200]
    names = [f"{number:03}" for number in range(200)]
    data = RetrievalData(
        name="tiny",
        document_ids=names[::-1],
        documents=texts[::-1],
        query_ids=names[:20],
        queries=texts[:20],
        relevance={name: {name: 1} for name in names[:20]},
        kinds=[None] * 20,
        languages=[None] * 20,
    )
    [row] = evaluate_encoder(pool, data)
    assert row == evaluate_encoder(Encoder(settings), data)[0]
    assert row["recall@100"] > 0


def test_no_texts_give_no_embeddings(pool):
    assert pool.encode(pa.array([], pa.string()), "query").shape == (0, 16)


def test_a_process_that_is_killed_ends_the_work_with_an_error_that_names_it(pool):  # the last use of the pool
    victim = pool._processes[1].process
    pool.on_batch = lambda encoded: os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(EncoderProcessError, match=r"on cpu was ended by SIGKILL .*too little memory"):
        pool.encode(TEXTS, "query")
    with pytest.raises(EncoderProcessError, match="have ended"):
        pool.encode(TEXTS, "query")
    assert not victim.is_alive()


def test_a_model_folder_that_will_not_do_is_told_as_by_an_encoder(tmp_path):
    with pytest.raises(ModelFolderError, match=r"holds no config\.json"):
        EncoderPool(EncoderSettings(model=str(tmp_path)), ["cpu"])


def test_all_devices_of_a_machine_without_gpus_are_one_encoder_in_this_process(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    encoder = open_encoder(EncoderSettings(model=tiny, device="all"))
    assert isinstance(encoder, Encoder)
    assert encoder.device.type == "cpu"
