"""The model that is pre-trained: heads found or fresh, longer positions, new encoders, and folders that do not serve."""

import json

import pytest
import torch
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

from tests.trainer.retromae.texts_folder import write_model, write_tokenizer
from trainer.backbone import ModelFolderError
from trainer.retromae.models import extend_positions, language_model, tokenizer_and_length
from trainer.retromae.settings import PretrainSettings


def settings_of(folder, **more) -> PretrainSettings:
    return PretrainSettings(model=str(folder), steps=1, **more)


def write_roberta(folder, positions=18):
    write_tokenizer(folder, 16)
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=60,
        max_position_embeddings=positions,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=1,
    )
    XLMRobertaForMaskedLM(config).save_pretrained(folder)
    return folder


def test_a_head_is_read_where_the_folder_has_one(tmp_path):
    with_head, without = write_model(tmp_path / "a"), write_model(tmp_path / "b", head=False)
    found = language_model(settings_of(with_head))
    assert found.had_head
    # torch.manual_seed(0) in both: the encoders are drawn first and are the same.
    fresh = language_model(settings_of(without))
    assert not fresh.had_head
    again = language_model(settings_of(without))
    for one, other in zip(fresh.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)  # what is fresh is drawn from the seed
    other = language_model(settings_of(without, seed=1)).model.cls.predictions.transform.dense.weight
    assert not torch.equal(fresh.model.cls.predictions.transform.dense.weight, other)
    assert fresh.output_layer()[0] is fresh.embeddings.word_embeddings.weight


@pytest.mark.parametrize("write", [write_model, write_roberta])
def test_transform_and_output_layer_are_the_models_own_head(tmp_path, write):
    found = language_model(settings_of(write(tmp_path / "model")))
    found.model.eval()
    ids = torch.tensor([[2, 7, 9, 3]])
    weight, bias = found.output_layer()
    with torch.no_grad():
        hidden = found.encoder(input_ids=ids).last_hidden_state
        expected = found.model(input_ids=ids).logits
        torch.testing.assert_close(found.transform()(hidden) @ weight.T + bias, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("write", "before", "first"), [(write_model, 32, 0), (write_roberta, 16, 2)])
def test_copied_positions_leave_short_texts_as_they_were(tmp_path, write, before, first):
    folder = write(tmp_path / "model")
    short = language_model(settings_of(folder))
    found = language_model(settings_of(folder, max_positions=3 * before + 5))
    assert (short.max_length, short.first_position) == (before, first)
    assert found.max_length == 3 * before + 5
    assert found.tokenizer.model_max_length == found.model.config.max_position_embeddings - first == 3 * before + 5
    old, new = (each.embeddings.position_embeddings.weight for each in (short, found))
    for position in range(found.max_length):
        assert torch.equal(new[first + position], old[first + position % before])
    assert torch.equal(new[:first], old[:first])
    ids = torch.tensor([[2, *[7 + place % 30 for place in range(before - 2)], 3]])
    short.model.eval(), found.model.eval()
    with torch.no_grad():
        assert torch.equal(short.model(input_ids=ids).logits, found.model(input_ids=ids).logits)
        long = torch.tensor([[2, *[7 + place % 30 for place in range(3 * before + 3)], 3]])
        assert found.model(input_ids=long).logits.shape[1] == 3 * before + 5


def test_interpolated_positions_keep_the_ends_and_lie_between_their_neighbours(tmp_path):
    found = language_model(settings_of(write_roberta(tmp_path / "model", positions=6)))
    table = torch.arange(6, dtype=torch.float32)[:, None].repeat(1, 16)  # position id p holds p: ids 2 to 5 are used
    found.embeddings.position_embeddings.weight.data = table
    extend_positions(found, 7, "interpolate")
    wanted = [0, 1, 2, 2.5, 3, 3.5, 4, 4.5, 5]
    assert found.embeddings.position_embeddings.weight[:, 0].tolist() == wanted


@pytest.mark.parametrize(
    ("write", "more"), [(write_model, {}), (write_roberta, {}), (write_roberta, {"max_positions": 40})]
)
def test_tokenizer_and_length_are_told_without_the_weights(tmp_path, write, more):
    folder = write(tmp_path / "model")
    given = settings_of(folder, **more)
    wanted = language_model(given).max_length
    (folder / "model.safetensors").write_bytes(b"unread")
    tokenizer, length = tokenizer_and_length(given)
    assert (tokenizer.mask_token, length) == ("[MASK]", wanted)


def test_fewer_positions_than_there_are_change_nothing(tmp_path):
    assert language_model(settings_of(write_model(tmp_path / "model"), max_positions=16)).max_length == 32


def test_an_extended_model_is_read_again_with_its_length(tmp_path):
    from trainer.backbone import load_backbone
    from trainer.export import export_model

    found = language_model(settings_of(write_roberta(tmp_path / "model"), max_positions=40))
    export_model(found.as_backbone(with_head=True), tmp_path / "out", "")
    assert load_backbone(str(tmp_path / "out")).max_length == 40


def test_a_new_encoder_needs_a_tokenizer_alone(tmp_path):
    folder = write_tokenizer(tmp_path / "tokenizer")
    shape = {"layers": 3, "hidden": 24, "heads": 3, "positions": 20}
    found = language_model(settings_of(folder, new_encoder=shape))
    config = found.model.config
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (3, 24, 96)
    assert (config.vocab_size, found.max_length, config.pad_token_id) == (60, 20, 0)
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        language_model(settings_of(folder))


def test_heads_that_do_not_divide_the_width_are_refused(tmp_path):
    with pytest.raises(ValueError, match="multiple of heads"):
        settings_of(tmp_path, new_encoder={"hidden": 30, "heads": 4})


def test_models_of_another_kind_are_refused_by_name(tmp_path):
    folder = write_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "distilbert"}))
    with pytest.raises(ModelFolderError, match=r"'distilbert'.*choose one of those"):
        language_model(settings_of(folder))


def test_a_vocabulary_larger_than_the_weights_is_refused(tmp_path):
    folder = write_model(tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"] |= {f"more{number}": 60 + number for number in range(5)}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ModelFolderError, match="65 tokens, the weights only 60 embeddings"):
        language_model(settings_of(folder))


def test_a_tokenizer_without_a_mask_is_refused(tmp_path):
    folder = write_model(tmp_path / "model")
    content = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({key: value for key, value in content.items() if key != "mask_token"} | {"mask_token": None})
    )
    with pytest.raises(ModelFolderError, match="no mask token"):
        language_model(settings_of(folder))
