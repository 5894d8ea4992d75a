"""Training of three outputs: exact resumption, any way of embedding, several processes, and a folder others can read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.packed_folder import some_rows, write_folder
from tests.trainer.test_ranks import GRADIENTS, Launcher
from tests.trainer.tiny_model import write_tiny_model
from trainer.backbone import ModelFolderError, load_backbone
from trainer.encoder import Encoder, EncoderSettings
from trainer.export import export_model
from trainer.loop import StepHook, TrainingStopped, TrainSettings, train
from trainer.m3_heads import read_head
from trainer.m3_model import begin_with_weights, token_weights, training_heads

ALL = ("dense", "lexical", "multi_vector")
PARTS = {"loss_dense", "loss_lexical", "loss_multi_vector", "loss_ensemble", "loss_distillation"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    pairs, passages = some_rows(40)
    random = np.random.default_rng(1)
    for pair in pairs:
        pair["positive_score"] = float(random.random())
        pair["negative_scores"] = random.random(len(pair["negatives"])).tolist()
    passages[6]["cluster"] = passages[7]["cluster"] = "one"
    return write_folder(tmp_path_factory.mktemp("data"), pairs, passages)


def settings_for(model: Path, **changes) -> TrainSettings:
    values = {"model": str(model), "steps": 8, "batch_size": 8, "learning_rate": 1e-3, "checkpoint_every": 3, "seed": 5}
    values |= {"device": "cpu", "precision": "fp32", "smallest_batch": 4, "outputs": ALL, "self_distillation_from": 4}
    return TrainSettings.model_validate({**values, "temperature": 0.1, **changes})


def lines(output: Path) -> list[dict]:
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name == "loss" or name in PARTS} for row in rows]


def content(output: Path) -> list[bytes]:
    names = ("model.safetensors", "sparse_linear.pt", "colbert_linear.pt")
    return [(output / "model" / name).read_bytes() for name in names]


@pytest.fixture(scope="module")
def uninterrupted(model, data, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("uninterrupted")
    train(data, output, settings_for(model))
    return output


def test_each_part_of_the_loss_is_told_and_the_distillation_begins_at_its_step(uninterrupted):
    for number, line in enumerate(lines(uninterrupted)):
        assert line.keys() == {"loss", *PARTS}
        total = line["loss_dense"] + 0.1 * line["loss_lexical"] + line["loss_multi_vector"] + line["loss_ensemble"]
        expected = total / 4
        assert (line["loss_distillation"] > 0) == (number >= 4)
        if number >= 4:
            expected = (expected + line["loss_distillation"]) / 2
        assert line["loss"] == pytest.approx(expected, rel=1e-5)


def test_all_heads_learn(uninterrupted, model):
    first = training_heads(model, ALL, 32, None, 5)
    for output, head in first.items():
        trained = read_head(uninterrupted / "model", output, 32)
        # A lexical head may begin with the other sign.
        assert float((trained.weight.abs() - head.weight.detach().abs()).abs().max()) > 1e-4
    before, after = (load_file(folder / "model.safetensors") for folder in (model, uninterrupted / "model"))
    assert not torch.equal(before["embeddings.word_embeddings.weight"], after["embeddings.word_embeddings.weight"])


@pytest.mark.parametrize(("stop", "checkpoint"), [(4, 3), (7, 6)])
def test_a_run_stopped_and_resumed_equals_an_uninterrupted_one_bit_for_bit(
    model, data, uninterrupted, tmp_path, stop, checkpoint
):
    def interrupt(line):
        if line["step"] == stop:
            raise TrainingStopped(143)

    with pytest.raises(TrainingStopped):
        train(data, tmp_path, settings_for(model), interrupt)
    assert train(data, tmp_path, settings_for(model)).resumed_from == checkpoint
    assert lines(tmp_path) == lines(uninterrupted)
    assert content(tmp_path) == content(uninterrupted)


def test_a_batch_embedded_twice_ends_with_the_same_bytes_as_one_embedded_once(model, data, uninterrupted, tmp_path):
    train(data, tmp_path, settings_for(model, tokens_at_once=0))
    assert lines(tmp_path) == lines(uninterrupted)
    assert content(tmp_path) == content(uninterrupted)


def test_the_average_of_the_weights_has_the_heads_and_a_hook_sees_them(model, data, uninterrupted, tmp_path):
    seen = []

    def look(step, backbone):
        folder = export_model(backbone, tmp_path / f"at-{step}", "")
        seen.append(Encoder(EncoderSettings(model=str(folder), precision="fp32", device="cpu")).outputs)
        return False

    settings = settings_for(model, average_decay=0.9)
    train(data, tmp_path / "out", settings, hook=StepHook(4, look))
    assert seen == [frozenset(ALL)] * 2
    averaged, last = (read_head(folder / "model", "lexical", 32) for folder in (tmp_path / "out", uninterrupted))
    assert not torch.equal(averaged.weight, last.weight)
    assert lines(tmp_path / "out") == lines(uninterrupted)


def test_the_exported_folder_gives_the_three_outputs_of_the_trained_weights(uninterrupted):
    folder = uninterrupted / "model"
    encoder = Encoder(EncoderSettings(model=str(folder), precision="fp32", device="cpu"))
    texts = ["word1 word2 word1", "word50"]
    outputs = encoder.encode_all(texts, "passage", encoder.outputs)
    loaded = load_backbone(str(folder))
    hidden = loaded.model(**loaded.tokenizer(texts[0], return_tensors="pt")).last_hidden_state[0].detach()
    lexical, vectors = (read_head(folder, output, 32)(hidden) for output in ("lexical", "multi_vector"))
    weights = {5 + 1: float(lexical[[1, 3], 0].max().relu()), 5 + 2: float(lexical[2, 0].relu())}
    found = outputs.lexical.take(np.array([0]))
    expected = {token: weight for token, weight in weights.items() if weight > 0}
    assert found.token_ids.tolist() == sorted(expected)
    np.testing.assert_allclose(found.weights, [expected[token] for token in sorted(expected)], rtol=1e-4)
    unit = torch.nn.functional.normalize(vectors[1:], dim=1)
    np.testing.assert_allclose(outputs.token_vectors[:4], unit, atol=2e-3)  # float16
    card = (folder / "README.md").read_text()
    assert "lexical weights of tokens (sparse_linear.pt) and a vector for each token (colbert_linear.pt)" in card
    assert 'BGEM3FlagModel("PATH OF THIS FOLDER", pooling_method="cls")' in card


def test_training_goes_on_with_the_heads_of_the_folder(uninterrupted, data, tmp_path):
    start = uninterrupted / "model"
    train(data, tmp_path, settings_for(start, steps=1, learning_rate=1e-12, token_dimension=32))
    for output in ("lexical", "multi_vector"):
        heads = [read_head(folder, output, 32).weight for folder in (start, tmp_path / "model")]
        torch.testing.assert_close(heads[1], heads[0], rtol=0, atol=1e-9)
    with pytest.raises(ModelFolderError, match=r"token_dimension is 8, but the multi-vector head of .* gives 32"):
        train(data, tmp_path / "other", settings_for(start, token_dimension=8))


def test_new_heads_follow_from_the_seed_and_leave_torch_s_random_numbers_alone(model):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (training_heads(model, ALL, 32, 8, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert one["multi_vector"].weight.shape == (8, 32)
    for output in ("lexical", "multi_vector"):
        assert torch.equal(one[output].weight, same[output].weight)
        assert not torch.equal(one[output].weight, other[output].weight)


@pytest.mark.parametrize("seed", range(6))
def test_a_new_lexical_head_gives_at_least_half_of_the_tokens_a_weight(seed):
    # States that share a direction, as those of encoders do: half of all heads would give no token a weight.
    random = np.random.default_rng(0)
    hidden = torch.tensor(3 * random.normal(size=32) + 0.3 * random.normal(size=(50, 32)), dtype=torch.float32)
    head = training_heads(Path(), ("lexical",), 32, None, seed)["lexical"]
    drawn = head.weight.detach().clone()
    begin_with_weights(head, token_weights(head, hidden))
    assert float((token_weights(head, hidden) > 0).double().mean()) >= 0.5
    assert torch.equal(head.weight, drawn) or torch.equal(head.weight, -drawn)


def test_a_lexical_head_that_gives_no_weight_is_told(model, data, tmp_path, caplog):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    torch.save({"weight": torch.zeros(1, 32), "bias": torch.full((1,), -1.0)}, folder / "sparse_linear.pt")
    with caplog.at_level("WARNING"):
        train(data, tmp_path / "out", settings_for(folder, steps=2))
    told = [record.getMessage() for record in caplog.records if "gives no token a weight" in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("step 1: ")


def test_a_distillation_that_never_begins_is_told(model, data, tmp_path, caplog):
    with caplog.at_level("WARNING"):
        for steps in (1, 2):
            train(data, tmp_path / str(steps), settings_for(model, steps=steps, self_distillation_from=1))
    told = [record.getMessage() for record in caplog.records if "self_distillation_from" in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("self_distillation_from is 1, and there are 1 steps")


@pytest.mark.parametrize(
    ("outputs", "lost"), [(("dense",), "lexical and multi_vector"), (("dense", "lexical"), "multi_vector"), (ALL, None)]
)
def test_heads_of_the_folder_that_do_not_learn_are_told_to_be_lost(
    uninterrupted, data, tmp_path, caplog, outputs, lost
):
    with caplog.at_level("WARNING"):
        settings = settings_for(uninterrupted / "model", steps=1, outputs=outputs, self_distillation_from=None)
        train(data, tmp_path, settings)
    told = [record.getMessage() for record in caplog.records if "will not have them" in record.getMessage()]
    assert len(told) == (lost is not None)
    assert lost is None or f"gives {lost} outputs" in told[0]
    heads = {path.name for path in (tmp_path / "model").glob("*.pt")}
    assert len(heads) == len(outputs) - 1


def test_one_head_alone_is_exported_alone(model, data, tmp_path):
    settings = settings_for(model, steps=2, outputs=("dense", "lexical"), self_distillation_from=None)
    train(data, tmp_path, settings)
    assert {path.name for path in (tmp_path / "model").glob("*.pt")} == {"sparse_linear.pt"}
    assert "BGEM3FlagModel" not in (tmp_path / "model" / "README.md").read_text()
    assert lines(tmp_path)[0].keys() == {"loss", "loss_dense", "loss_lexical", "loss_ensemble"}


def test_a_reranker_s_scores_teach_all_outputs(model, data, tmp_path):
    plain, taught = (
        lines(train(data, tmp_path / name, settings_for(model, steps=1, distillation=name)).model_folder.parent)[0]
        for name in ("none", "kl_div")
    )
    for part in ("loss_dense", "loss_lexical", "loss_multi_vector", "loss_ensemble"):
        assert taught[part] > plain[part]


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    launcher = Launcher(tmp_path_factory.mktemp("launcher"))
    yield launcher
    launcher.process.stdin.close()
    launcher.process.wait()


def test_gradients_and_losses_are_the_same_on_one_two_and_four_ranks(launcher, model, data, tmp_path):
    config = json.loads((model / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    calm = tmp_path / "calm"
    calm.mkdir()
    for file in model.iterdir():
        (calm / file.name).write_bytes(file.read_bytes())
    (calm / "config.json").write_text(json.dumps(config))
    cases = [
        {"self_distillation_from": 1, "silence_seconds": 60},
        {"distillation": "m3_kd_loss", "false_negative_margin": 0.02, "tokens_at_once": 0, "tokens_per_forward": 50},
    ]
    settings = [json.loads(settings_for(calm, max_grad_norm=1e9, **case).model_dump_json()) for case in cases]
    for count in (1, 2, 4):
        launcher.finish(count, GRADIENTS, data, tmp_path, json.dumps(settings))
    for case in range(len(cases)):
        for step in range(3):
            expected = np.load(tmp_path / f"{case}-1-{step}.npy")
            assert np.linalg.norm(expected) > 0.1
            for count in (2, 4):
                found = np.load(tmp_path / f"{case}-{count}-{step}.npy")
                assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 1e-8
                losses = [float((tmp_path / f"{case}-{ranks}-{step}.txt").read_text()) for ranks in (1, count)]
                assert losses[1] == pytest.approx(losses[0], rel=1e-9)
