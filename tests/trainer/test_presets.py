"""Presets: they are settings that training takes, with the papers' numbers."""

import pytest

from trainer.batch_plan import batch_size_of
from trainer.packing import PackingSettings
from trainer.presets import PRESETS, PresetError, differences_of_packing, preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_made_of_settings_there_are(name):
    from trainer.loop import TrainSettings

    chosen = PRESETS[name]
    assert chosen.epochs is not None or "steps" in chosen.train
    TrainSettings.model_validate({"model": "somewhere", "steps": 10, **chosen.train})
    PackingSettings.model_validate(chosen.packing)


def test_m3_batches_are_those_of_table_9():
    from trainer.loop import TrainSettings

    sizes = {
        "m3-stage-2": (67_200, 54_720, 37_248, 27_648, 21_504, 17_280, 15_072, 12_288, 9_984),
        "m3-fine-tune-dense": (1_152, 768, 480, 432, 336, 336, 288, 240, 192),
        "m3-fine-tune": (1_152, 768, 480, 432, 336, 336, 288, 240, 192),
    }
    for name, expected in sizes.items():
        settings = TrainSettings.model_validate({"model": "somewhere", "steps": 1, **PRESETS[name].train})
        assert tuple(batch_size_of(settings, group, 1) for group in range(9)) == expected


def test_m3_fine_tuning_has_the_weights_of_the_paper():
    from trainer.loop import TrainSettings

    chosen = TrainSettings.model_validate({"model": "somewhere", "steps": 1, **PRESETS["m3-fine-tune"].train})
    assert [chosen.score_weight(output) for output in chosen.outputs] == [1.0, 0.3, 1.0]  # w of equation 3
    assert [chosen.loss_weight(output) for output in chosen.outputs] == [1.0, 0.1, 1.0]  # lambda of equation 4
    assert chosen.self_distillation_from == 6_000


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(PresetError, match="did you mean bge-base-stage-2"):
        preset("bge-base-stage2")


def test_data_packed_otherwise_than_the_preset_has_it_are_told():
    chosen = preset("bge-small-stage-3")
    packed = PackingSettings(max_query_length=512, max_passage_length=256).model_dump()
    assert differences_of_packing(chosen, {"packing": packed}) == [
        "packing.max_passage_length is 256, the preset has 512",
        "packing.query_instruction is '', the preset has 'Represent this sentence for searching relevant passages: '",
    ]
    assert differences_of_packing(chosen, {}) == []
    packed["query_instruction"] = "Find: "
    packed["max_passage_length"] = 512
    # C-Pack trains stage 2 without an instruction.
    assert differences_of_packing(preset("bge-small-stage-2"), {"packing": packed}) == [
        "packing.query_instruction is 'Find: ', the preset has ''"
    ]
