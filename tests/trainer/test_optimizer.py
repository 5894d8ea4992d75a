"""Learning rates by step and layer, and the running average, against numbers worked out by hand."""

import math

import pytest
import torch
from transformers import BertConfig, BertModel

from trainer.optimizer import OptimizerSettings, WeightAverage, adamw, learning_rate, set_learning_rate


def rates(**changes):
    settings = OptimizerSettings(**({"steps": 10, "warmup_ratio": 0.2, "learning_rate": 1.0} | changes))
    return [learning_rate(step, settings) for step in range(settings.steps)]


def test_the_rate_rises_to_its_highest_and_falls_towards_zero():
    assert rates() == pytest.approx([0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert rates(schedule="constant") == [0.5] + [1.0] * 9


def test_a_cosine_falls_along_half_a_wave():
    expected = [0.5, 1.0] + [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert rates(schedule="cosine") == pytest.approx(expected)


def test_wsd_stays_and_falls_in_its_last_share():
    assert rates(schedule="wsd", decay_ratio=0.3) == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 1, 2 / 3, 1 / 3])


def test_without_warm_up_the_first_rate_is_the_highest():
    assert rates(warmup_ratio=0.0)[0] == 1.0


def model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 8}
    return BertModel(BertConfig(vocab_size=10, **sizes))


def test_each_layer_s_rate_is_a_share_of_the_one_above_and_vectors_do_not_decay():
    bert = model()
    settings = OptimizerSettings(steps=1, learning_rate=1.0, layer_decay=0.5)
    optimizer = adamw(bert, settings)
    set_learning_rate(optimizer, 0.1)
    found = {id(weight): group for group in optimizer.param_groups for weight in group["params"]}
    expected = {
        "embeddings.word_embeddings.weight": (0.0125, 0.01),
        "encoder.layer.0.output.dense.weight": (0.025, 0.01),
        "encoder.layer.1.output.dense.weight": (0.05, 0.01),
        "encoder.layer.1.output.dense.bias": (0.05, 0.0),
        "pooler.dense.weight": (0.1, 0.01),
    }
    named = dict(bert.named_parameters())
    for name, (rate, decay) in expected.items():
        group = found[id(named[name])]
        assert (group["lr"], group["weight_decay"]) == (pytest.approx(rate), decay), name
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(named)


def test_without_layer_decay_there_are_two_groups():
    assert len(adamw(model(), OptimizerSettings(steps=1)).param_groups) == 2


def test_the_average_follows_the_weights_by_its_decay():
    layer = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    average = WeightAverage(layer, 0.5)
    expected = 1.0
    for step, weight in enumerate([2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]):
        with torch.no_grad():
            layer.weight.fill_(weight)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
        assert float(average.averages["weight"]) == pytest.approx(expected)
    average.put_in()
    assert float(layer.weight.detach()) == pytest.approx(expected)
