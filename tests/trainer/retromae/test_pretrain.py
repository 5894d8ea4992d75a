"""Whole pre-training runs of a tiny model: what they learn, write, resume, and refuse."""

import json
import os
import signal

import pytest
import torch
from transformers import AutoModelForMaskedLM

from tests.trainer.retromae.texts_folder import some_texts, write_model, write_texts, write_tokenizer
from trainer.backbone import load_backbone
from trainer.retromae.pretrain import pretrain
from trainer.retromae.settings import PretrainSettings
from trainer.run_identity import TrainingError
from trainer.training_run import StepHook, TrainingStopped


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("data"), some_texts(40))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def settings_of(model, steps=8, **more) -> PretrainSettings:
    given = {"model": str(model), "device": "cpu", "precision": "fp32", "batch_size": 8, "tokens_per_forward": 64}
    return PretrainSettings(steps=steps, **given | {"checkpoint_every": 3, **more})


def lines(output) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def weights(output) -> dict[str, torch.Tensor]:
    return dict(AutoModelForMaskedLM.from_pretrained(output / "model").state_dict())


def test_training_lowers_both_losses(data, tmp_path):
    calm = write_model(tmp_path / "calm", dropout=0.0)
    pretrain(data, tmp_path / "out", settings_of(calm, 60, learning_rate=5e-3, batch_size=20))
    found = lines(tmp_path / "out")
    for name in ("loss", "encoder_loss", "decoder_loss"):
        first, last = (sum(line[name] for line in part) / 5 for part in (found[:5], found[-5:]))
        assert last < first - 0.3, name
    assert all(line["loss"] == pytest.approx(line["encoder_loss"] + line["decoder_loss"]) for line in found)
    assert found[0]["texts"] == 20
    assert found[0]["tokens"] > 20


def test_a_killed_run_ends_with_the_same_bits(data, model, tmp_path):
    pretrain(data, tmp_path / "whole", settings_of(model))

    def kill(line):
        if line["step"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingStopped):
        pretrain(data, tmp_path / "parts", settings_of(model), kill)
    result = pretrain(data, tmp_path / "parts", settings_of(model))
    assert result.resumed_from == 4
    assert [line["loss"] for line in lines(tmp_path / "parts")] == [line["loss"] for line in lines(tmp_path / "whole")]
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_result_is_an_encoder_with_its_head(data, model, tmp_path):
    result = pretrain(data, tmp_path / "out", settings_of(model, 2), card="Stage one.")
    backbone = load_backbone(str(result.model_folder))
    assert (backbone.pooling, backbone.normalise, backbone.max_length) == ("cls", True, 32)
    assert "cls.predictions.transform.dense.weight" in weights(tmp_path / "out")
    found, loading = AutoModelForMaskedLM.from_pretrained(result.model_folder, output_loading_info=True)
    assert not loading["missing_keys"]
    assert torch.equal(found.bert.embeddings.word_embeddings.weight, backbone.model.embeddings.word_embeddings.weight)
    card = (result.model_folder / "README.md").read_text()
    for told in ("Stage one.", "RetroMAE from the weights of", "2 steps of 8 texts", "40 rows", "Fingerprint"):
        assert told in card
    # and is gone on with
    pretrain(data, tmp_path / "again", settings_of(result.model_folder, 1))


def test_sentence_transformers_reads_the_result(data, model, tmp_path):
    from sentence_transformers import SentenceTransformer

    result = pretrain(data, tmp_path / "out", settings_of(model, 1))
    vectors = SentenceTransformer(str(result.model_folder), device="cpu").encode(["w1 w2", "w3"])
    assert vectors.shape == (2, 16)


def test_a_new_encoder_with_longer_positions_and_a_bag_of_words(data, tmp_path):
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    shape = {"layers": 1, "hidden": 16, "heads": 2, "positions": 16}
    more = {"new_encoder": shape, "max_positions": 48, "bag_of_words_weight": 0.1, "decoder_masks_per_text": 4}
    result = pretrain(data, tmp_path / "out", settings_of(tokenizer, 3, **more))
    line = lines(tmp_path / "out")[-1]
    total = line["encoder_loss"] + line["decoder_loss"] + 0.1 * line["bag_of_words_loss"]
    assert line["loss"] == pytest.approx(total)
    assert load_backbone(str(result.model_folder)).max_length == 48
    assert "random weights, with the tokenizer of" in (result.model_folder / "README.md").read_text()


def test_a_hook_sees_the_encoder_between_steps(data, model, tmp_path):
    seen = []

    def look(step, backbone):
        seen.append((step, backbone.model.training, type(backbone.model).__name__))
        return step == 4

    pretrain(data, tmp_path / "out", settings_of(model), hook=StepHook(2, look))
    assert seen == [(2, False, "BertModel"), (4, False, "BertModel")]


def test_other_settings_do_not_go_on_with_a_run(data, model, tmp_path):
    pretrain(data, tmp_path / "out", settings_of(model, 3))
    with pytest.raises(TrainingError, match=r"decoder_mask \(0.5 there, 0.7 here\)"):
        pretrain(data, tmp_path / "out", settings_of(model, 3, decoder_mask=0.7))
    assert pretrain(data, tmp_path / "out", settings_of(model, 3, decoder_mask=0.7), restart=True).resumed_from == 0


def test_data_that_do_not_fit_the_model_are_refused(data, model, tmp_path):
    unknown = write_texts(tmp_path / "unknown", [[7, 99]] * 8)
    with pytest.raises(TrainingError, match=r"token id 99, but .* has 60 embeddings"):
        pretrain(unknown, tmp_path / "out", settings_of(model))
    long = write_texts(tmp_path / "long", [[7] * 31] * 8)
    with pytest.raises(TrainingError, match=r"has 33 tokens.*takes 32. Set max_positions to 33"):
        pretrain(long, tmp_path / "out", settings_of(model))
    pretrain(long, tmp_path / "out", settings_of(model, 1, max_positions=33))
    with pytest.raises(TrainingError, match="40 rows of text, fewer than one batch of 41"):
        pretrain(data, tmp_path / "other", settings_of(model, batch_size=41))
    manifest = {"files": [], "details": {"tokenizer_fingerprint": "another"}}
    other = write_texts(tmp_path / "tokenizer", some_texts(8))
    import hashlib

    shard = other / "texts" / "a.parquet"
    entry = {
        "path": "texts/a.parquet",
        "bytes": shard.stat().st_size,
        "sha256": hashlib.sha256(shard.read_bytes()).hexdigest(),
    }
    (other / "_MANIFEST.json").write_text(json.dumps(manifest | {"files": [entry]}))
    with pytest.raises(TrainingError, match="packed with another tokenizer"):
        pretrain(other, tmp_path / "other", settings_of(model))


def test_texts_of_one_token_and_of_nothing_masked_are_learnt_from(model, tmp_path):
    short = write_texts(tmp_path / "short", [[1], [4], [7], [2]])
    pretrain(short, tmp_path / "out", settings_of(model, 3, batch_size=2, encoder_mask=1e-9))
    assert [line["encoder_loss"] for line in lines(tmp_path / "out")] == [0, 0, 0]
    assert all(line["decoder_loss"] > 0 for line in lines(tmp_path / "out"))
