"""`pairmill train` as its user has it: presets, epochs, what it shows, evaluation, and errors that name the remedy."""

import json

import pytest
from typer.testing import CliRunner

from pipelines.command_line import app
from pipelines.errors import UserError
from pipelines.training import train_settings
from tests.trainer.packed_folder import some_rows, write_folder
from tests.trainer.tiny_model import write_tiny_model
from trainer.packing import PackingSettings


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    packing = PackingSettings(max_query_length=512, max_passage_length=256).model_dump(mode="json")
    return write_folder(tmp_path_factory.mktemp("data"), *some_rows(40), packing=packing)


def train(folder, model, *options):
    command = ["train", "--data", str(folder), "--model", str(model), "--set", "device=cpu", "--set", "precision=fp32"]
    return CliRunner().invoke(app, [*command, *options], catch_exceptions=True)


def beir(folder):
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d1", "text": "word1 word2"}\n{"_id": "d2", "text": "word9"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "word1"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td1\t1\n")
    return folder


def test_epochs_become_steps_by_the_batches_of_the_data(folder, model):
    given = {"model": str(model), "batch_size": 8}
    assert train_settings(str(folder), None, None, 3, given).steps == 15
    assert train_settings(str(folder), None, None, 0.1, given).steps == 1
    assert train_settings(str(folder), None, 7, None, given).steps == 7


def test_a_preset_gives_what_is_not_given(folder, model):
    settings = train_settings(str(folder), "bge-base-stage-2", None, None, {"model": str(model), "temperature": 0.05})
    # 40 pairs are one batch of at most 19,200; one epoch.
    assert (settings.batch_size, settings.negatives, settings.temperature, settings.steps) == (19_200, 0, 0.05, 1)
    assert train_settings(str(folder), "m3-stage-2", None, None, {"model": str(model)}).steps == 25_000


@pytest.mark.parametrize(
    ("steps", "epochs", "given", "message"),
    [
        (None, None, {}, "--steps, --epochs, or a --preset"),
        (5, 1.0, {}, "Give --steps or --epochs, not both"),
        (5, None, {"temprature": 0.05}, "temperature"),
    ],
)
def test_what_is_missing_or_unknown_is_told(folder, model, steps, epochs, given, message):
    with pytest.raises(UserError, match=message):
        train_settings(str(folder), None, steps, epochs, {"model": str(model), **given})


def test_training_is_shown_evaluated_and_written_for_tensorboard(folder, model, tmp_path):
    output = tmp_path / "run"
    options = ["--steps", "6", "--set", "batch_size=8", "--tensorboard", "--evaluate-on", str(beir(tmp_path / "beir"))]
    result = train(folder, model, *options, "--evaluate-every", "2", "--output", str(output))
    assert result.exit_code == 0, result.output
    assert (output / "model" / "model.safetensors").exists()
    lines = [json.loads(line) for line in (output / "evaluation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert (output / "best" / "model.safetensors").exists()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(output / "tensorboard")).Reload()
    metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    losses = [event.value for event in events.Scalars("train/loss")]
    assert losses == pytest.approx([line["loss"] for line in metrics])
    assert [event.step for event in events.Scalars("evaluation/ndcg@10")] == [2, 4, 6]
    assert "speed/tflops" in events.Tags()["scalars"]


def test_the_dry_run_shows_batches_padding_memory_and_time_and_trains_nothing(folder, model, tmp_path):
    result = train(folder, model, "--steps", "10", "--set", "batch_size=8", "--dry-run")
    assert result.exit_code == 0, result.output
    for words in ("10 steps are 2.00 epochs of 5 batches", "is padding", "GiB for weights", "measured here"):
        assert words in result.output


def test_a_preset_that_the_data_were_not_packed_for_is_told(folder, model):
    result = train(folder, model, "--preset", "bge-small-stage-2", "--dry-run")
    assert "packing.max_passage_length is 256, the preset has 512" in result.output


def test_a_step_is_shown_as_json_lines(folder, model):
    result = train(folder, model, "--steps", "10", "--set", "batch_size=8", "--show-step", "7")
    pairs = [json.loads(line) for line in result.output.splitlines()]
    assert len(pairs) == 8
    assert all(pair["query"].startswith("word") and pair["dataset"] == "one" for pair in pairs)


def test_a_collection_that_is_not_there_is_told_before_the_first_step(folder, model, tmp_path):
    options = ["--steps", "6", "--evaluate-on", str(tmp_path / "nowhere"), "--output", str(tmp_path / "run")]
    result = train(folder, model, *options)
    assert isinstance(result.exception, ValueError)
    assert "nowhere" in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_a_step_is_shown_without_saying_how_long_to_train(folder, model):
    result = train(folder, model, "--set", "batch_size=8", "--show-step", "7")
    assert len(result.output.splitlines()) == 8


def test_a_manifest_that_is_none_is_told_by_the_reader_of_the_data(folder, model, tmp_path):
    broken = write_folder(tmp_path / "data", *some_rows(8))
    (broken / "_MANIFEST.json").write_text("{")
    result = train(broken, model, "--preset", "m3-stage-2", "--dry-run")
    assert "is not a manifest that pack wrote" in str(result.exception)


def test_training_without_an_output_folder_is_refused(folder, model):
    result = train(folder, model, "--steps", "1")
    assert isinstance(result.exception, UserError)
    assert "--output FOLDER" in str(result.exception)
