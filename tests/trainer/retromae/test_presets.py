"""The pre-training runs of the papers."""

import pytest

from trainer.presets import PresetError
from trainer.retromae.presets import PRETRAIN_PRESETS, pretrain_preset
from trainer.retromae.settings import PretrainSettings
from trainer.text_packing import TextPackingSettings


@pytest.mark.parametrize("name", PRETRAIN_PRESETS)
def test_every_preset_is_valid(name):
    preset = pretrain_preset(name)
    PretrainSettings.model_validate({"steps": 1, **preset.pretrain, "model": "m"})
    TextPackingSettings.model_validate(preset.packing)
    assert ("steps" in preset.pretrain) != (preset.epochs is not None)


def test_the_published_numbers():
    bge, m3 = pretrain_preset("bge"), pretrain_preset("m3")
    assert (bge.pretrain["batch_size"], bge.pretrain["learning_rate"]) == (720, 2e-5)
    assert (bge.pretrain["encoder_mask"], bge.pretrain["decoder_mask"], bge.packing["max_length"]) == (0.3, 0.5, 512)
    assert (m3.pretrain["steps"], m3.pretrain["learning_rate"], m3.pretrain["max_positions"]) == (20_000, 7e-5, 8192)
    assert m3.packing["max_length"] == 8192


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(PresetError, match=r"'m4'.*did you mean m3"):
        pretrain_preset("m4")
