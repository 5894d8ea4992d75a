"""`pairmill pretrain` as its user has it."""

import json

import pytest
from typer.testing import CliRunner

from pipelines.command_line import app
from tests.trainer.retromae.texts_folder import some_texts, write_model, write_texts, write_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def pretrain(model, output, *options):
    fixed = ["--set", "device=cpu", "--set", "precision=fp32"]
    command = ["pretrain", "--model", str(model), "--output", str(output), *fixed, *options]
    return CliRunner().invoke(app, command, catch_exceptions=True)


def write_plain(folder):
    file = folder / "texts.jsonl"
    file.write_text(
        "".join(json.dumps({"text": " ".join(f"w{(n + p) % 40}" for p in range(20))}) + "\n" for n in range(30))
    )
    return file


def test_plain_files_become_a_model_and_the_same_command_resumes(model, tmp_path):
    options = ["--texts", str(write_plain(tmp_path)), "--max-length", "24", "--steps", "2", "--set", "batch_size=8"]
    result = pretrain(model, tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert "30 rows of 600 tokens from 30 texts (0 repeated, 0 empty, 0 too short)" in result.output
    assert (tmp_path / "out" / "model" / "model.safetensors").exists()
    again = pretrain(model, tmp_path / "out", *options)
    assert again.exit_code == 0, again.output
    assert len((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_new_encoder_is_made_from_settings(tmp_path):
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    shape = [f"new_encoder.{name}" for name in ("layers=1", "hidden=16", "heads=2", "positions=32")]
    sets = [word for setting in (*shape, "batch_size=8") for word in ("--set", setting)]
    result = pretrain(tokenizer, tmp_path / "out", "--texts", str(write_plain(tmp_path)), "--steps", "1", *sets)
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "out" / "model" / "config.json").read_text())
    assert (config["num_hidden_layers"], config["hidden_size"]) == (1, 16)


def test_epochs_and_presets_give_steps(model, tmp_path):
    data = write_texts(tmp_path / "data", some_texts(20))
    result = pretrain(model, tmp_path / "out", "--data", str(data), "--epochs", "1.5", "--set", "batch_size=10")
    assert result.exit_code == 0, result.output
    assert len((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()) == 3
    result = pretrain(model, tmp_path / "bge", "--data", str(data), "--preset", "bge", "--set", "batch_size=20")
    assert result.exit_code == 0, result.output
    assert len((tmp_path / "bge" / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Say what to learn from"),
        (["--data", "a", "--texts", "b"], "Say what to learn from"),
        (["--data", "DATA"], "Say how long to pre-train"),
        (["--data", "DATA", "--steps", "1", "--epochs", "1"], "not both"),
        (["--data", "DATA", "--max-length", "64"], "settings of packing"),
        (["--data", "DATA", "--steps", "1", "--text-field", "body"], "names a field of plain files"),
        (["--texts", "TEXTS", "--steps", "1", "--max-length", "33"], "takes 32. Give --max-length 32 or less"),
        (
            ["--data", "DATA", "--steps", "1", "--set", "tokens_at_once=9"],
            "tokens_at_once does nothing in pre-training",
        ),
        (["--data", "DATA", "--steps", "1", "--preset", "m4"], "did you mean m3"),
        (["--data", "DATA", "--steps", "1", "--set", "decoder_mash=0.5"], "decoder_mask"),
        (["--data", "DATA", "--steps", "1", "--set", "decoder_mask=1.5"], "less than 1"),
        (["--data", "nowhere", "--steps", "1"], "run pack first"),
    ],
)
def test_mistakes_are_told_with_the_remedy(model, tmp_path, options, message):
    data = write_texts(tmp_path / "data", some_texts(8))
    files = {"DATA": str(data), "TEXTS": str(write_plain(tmp_path))}
    result = pretrain(model, tmp_path / "out", *[files.get(word, word) for word in options])
    assert result.exit_code != 0
    assert message in str(result.exception) + result.output
