"""pairmill encode: files of texts in, blocks of vectors out."""

import json
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from pipelines import encode_files
from pipelines.command_line import app
from pipelines.encode_files import BAD_ROWS, MANIFEST
from pipelines.errors import UserError
from pipelines.interruption import Interrupted
from pipelines.mining.bad_rows import MiningInputError
from tests.trainer.tiny_model import WORDS, write_tiny_model
from trainer.backbone import load_tokenizer
from trainer.encoder import Encoder, EncoderSettings
from trainer.vector_files import VectorFiles

OUTPUTS = "dense,lexical,multi_vector"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write_tiny_model(tmp_path_factory.mktemp("model"))
    torch.manual_seed(3)
    for name, rows in (("sparse_linear", 1), ("colbert_linear", 8)):
        save_file({"weight": torch.randn(rows, 32), "bias": torch.randn(rows)}, folder / f"{name}.safetensors")
    return str(folder)


def write_texts(path: Path, count: int) -> list[str]:
    texts = [" ".join(WORDS[(7 * row + place) % 60] for place in range(1 + row % 11)) for row in range(count)]
    rows = [{"_id": f"d{row}", "title": "", "text": text} for row, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return texts


def run(*arguments):
    """The command; errors of ours come out as they are."""
    done = CliRunner().invoke(app, ["encode", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "blocks").iterdir()) if path.name[0] != "_"}


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(encode_files, "BLOCK_ROWS", 4)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_hold_what_the_encoder_gives_in_the_order_of_the_rows(tmp_path, model):
    texts = write_texts(tmp_path / "corpus.jsonl", 10)
    told = run(tmp_path / "corpus.jsonl", "--model", model, "--output", tmp_path / "out", "--outputs", OUTPUTS)
    blocks = tmp_path / "out" / "blocks"
    assert "10 texts: " in told
    wanted = Encoder(EncoderSettings(model=model)).encode_all(texts, "passage", OUTPUTS.split(","))
    dense = VectorFiles.open(sorted(blocks.glob("*.dense.npy")))
    assert np.abs(dense.take(np.arange(10)) - wanted.dense).max() < 1e-3
    vectors = np.concatenate([np.load(path) for path in sorted(blocks.glob("*.multi_vector.npy"))])
    assert np.abs(vectors.astype(np.float32) - wanted.token_vectors).max() < 2e-3
    lengths = np.concatenate([np.diff(np.load(path)) for path in sorted(blocks.glob("*.offsets.npy"))])
    assert lengths.tolist() == np.diff(wanted.token_offsets).tolist()
    rows = pq.read_table(sorted(blocks.glob("*.rows.parquet"))).to_pylist()
    assert [(row["row"], row["id"], row["number"]) for row in rows] == [(n, f"d{n}", n + 1) for n in range(10)]
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert [block["rows"] for block in manifest["blocks"]] == [4, 4, 2]
    assert manifest["rows"] == 10 and manifest["truncated"] == 0 and not (tmp_path / "out" / "read").exists()


def test_token_weights_are_lists_and_dictionaries(tmp_path, model):
    texts = write_texts(tmp_path / "corpus.jsonl", 6)
    run(tmp_path / "corpus.jsonl", "--model", model, "--output", tmp_path / "out", "--outputs", "lexical")
    blocks = tmp_path / "out" / "blocks"
    lists = pq.read_table(blocks / "000000.lexical.parquet").to_pylist()
    dictionaries = [json.loads(line) for line in (blocks / "000000.lexical.jsonl").read_text("utf-8").splitlines()]
    tokenizer, _ = load_tokenizer(model)
    wanted = Encoder(EncoderSettings(model=model)).encode_all(texts, "passage", ["lexical"]).lexical
    for row, (listed, named) in enumerate(zip(lists, dictionaries, strict=True)):
        some = slice(wanted.offsets[row], wanted.offsets[row + 1])
        assert listed["token_ids"] == wanted.token_ids[some].tolist()
        assert listed["weights"] == pytest.approx(wanted.weights[some].tolist(), abs=1e-5)
        assert named["id"] == f"d{row}"
        tokens = tokenizer.convert_ids_to_tokens(listed["token_ids"])
        assert {token: np.float32(weight) for token, weight in named["weights"].items()} == dict(
            zip(tokens, np.array(listed["weights"], np.float32), strict=True)
        )
    assert not list(blocks.glob("*.dense.npy"))


@pytest.mark.usefixtures("small_blocks")
def test_a_run_that_was_killed_goes_on_from_its_blocks(tmp_path, model, monkeypatch):
    write_texts(tmp_path / "corpus.jsonl", 10)
    arguments = (tmp_path / "corpus.jsonl", "--model", model, "--outputs", OUTPUTS)
    run(*arguments, "--output", tmp_path / "whole")
    encoded = []

    class Dies(Encoder):
        def encode_all(self, texts, *rest, **more):
            if len(encoded) == 2:
                raise Interrupted(signal.SIGINT)
            encoded.append(len(texts))
            return super().encode_all(texts, *rest, **more)

    monkeypatch.setattr(encode_files, "open_encoder", Dies)
    with pytest.raises(AssertionError, match="Interrupted"):
        run(*arguments, "--output", tmp_path / "killed")
    assert not (tmp_path / "killed" / MANIFEST).exists()
    monkeypatch.setattr(encode_files, "open_encoder", Encoder)
    run(*arguments, "--output", tmp_path / "killed")
    assert encoded == [4, 4]
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("small_blocks")
def test_the_same_call_again_does_nothing_and_another_setting_starts_anew(tmp_path, model, monkeypatch):
    write_texts(tmp_path / "corpus.jsonl", 5)
    arguments = (tmp_path / "corpus.jsonl", "--model", model, "--output", tmp_path / "out")
    run(*arguments)
    before = files_of(tmp_path / "out")
    (tmp_path / "out" / "read").mkdir()  # as a kill after the last block leaves it
    with monkeypatch.context() as patch:
        patch.setattr(encode_files, "open_encoder", None)
        run(*arguments)
    assert not (tmp_path / "out" / "read").exists()
    run(*arguments, "--mcls-every", 3)
    assert files_of(tmp_path / "out").keys() == before.keys()
    assert files_of(tmp_path / "out") != before


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("harm", ["a file of a block is gone", "the manifest is damaged"])
def test_what_was_lost_from_a_finished_folder_is_made_again(tmp_path, model, harm):
    write_texts(tmp_path / "corpus.jsonl", 10)
    arguments = (tmp_path / "corpus.jsonl", "--model", model, "--output", tmp_path / "out", "--outputs", OUTPUTS)
    run(*arguments)
    before, manifest = files_of(tmp_path / "out"), (tmp_path / "out" / MANIFEST).read_bytes()
    if harm == "the manifest is damaged":
        (tmp_path / "out" / MANIFEST).write_bytes(manifest[:40])
    else:
        (tmp_path / "out" / "blocks" / "000001.offsets.npy").unlink()
    run(*arguments)
    assert files_of(tmp_path / "out") == before
    assert (tmp_path / "out" / MANIFEST).read_bytes() == manifest


def test_queries_get_the_prompt_of_queries(tmp_path, model):
    texts = write_texts(tmp_path / "queries.jsonl", 3)
    arguments = (tmp_path / "queries.jsonl", "--model", model, "--output", tmp_path / "out", "--role", "query")
    run(*arguments, "--set", "query_prompt='word9 '")
    wanted = Encoder(EncoderSettings(model=model)).encode(["word9 " + text for text in texts], "passage")
    found = np.load(tmp_path / "out" / "blocks" / "000000.dense.npy")
    assert np.abs(found - wanted).max() < 1e-3


def test_a_bad_row_is_refused_with_its_line_or_left_out_and_counted(tmp_path, model):
    write_texts(tmp_path / "corpus.jsonl", 5)
    lines = (tmp_path / "corpus.jsonl").read_text().splitlines()
    (tmp_path / "corpus.jsonl").write_text("\n".join([*lines[:2], '{"_id": "broken"', '{"text": " "}', *lines[2:]]))
    arguments = (tmp_path / "corpus.jsonl", "--model", model, "--output", tmp_path / "out")
    with pytest.raises(MiningInputError, match=r"corpus.jsonl, line 3: the line is no JSON"):
        run(*arguments)
    assert "2 rows left out" in run(*arguments, "--max-bad-share", 0.5)
    bad = [json.loads(line) for line in (tmp_path / "out" / BAD_ROWS).read_text().splitlines()]
    assert [(row["position"], row["reason"]) for row in bad] == [(3, "invalid_json"), (4, "empty_text")]
    rows = pq.read_table(tmp_path / "out" / "blocks" / "000000.rows.parquet").to_pylist()
    assert [row["number"] for row in rows] == [1, 2, 5, 6, 7]


def test_long_texts_make_small_blocks():
    lengths = np.array([3, 3, 3, 30, 1, 1, 8, 2])
    assert [(each.start, each.stop) for each in encode_files._blocks(lengths, 10)] == [(0, 3), (3, 4), (4, 7), (7, 8)]


@pytest.mark.parametrize(
    ("wrong", "words"), [(("--outputs", "sparse"), "--outputs sparse"), (("--role", "corpus"), "--role corpus")]
)
def test_a_word_that_is_not_known_is_told_with_those_that_are(tmp_path, model, wrong, words):
    write_texts(tmp_path / "corpus.jsonl", 1)
    with pytest.raises(UserError, match=f"{words}: there is no such"):
        run(tmp_path / "corpus.jsonl", "--model", model, "--output", tmp_path / "out", *wrong)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, model):
    write_texts(tmp_path / "corpus.jsonl", 1)
    with pytest.raises(UserError, match="holds something else"):
        run(tmp_path / "corpus.jsonl", "--model", model, "--output", tmp_path)
