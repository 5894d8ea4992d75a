"""Training: exact resumption after a stop or a kill, and the data it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from hashlib import md5, sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, BertTokenizerFast

from trainer import backbone
from trainer.backbone import tokenizer_fingerprint
from trainer.batch_plan import BatchPlanError
from trainer.checkpoint import CheckpointError, remove_old_checkpoints
from trainer.loop import StepHook, TrainingError, TrainingStopped, TrainSettings, train
from trainer.packing import Packer, PackingSettings, pack_pairs
from trainer.training_data import TrainingData, TrainingDataError

ROOT = Path(__file__).parents[2]
WORDS = [f"word{number}" for number in range(60)]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random BERT of 2 layers and 32 dimensions, with dropout, in a plain Hugging Face folder."""
    folder = tmp_path_factory.mktemp("model")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    backend = Tokenizer(models.WordPiece({word: row for row, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    BertTokenizerFast(tokenizer_object=backend, model_max_length=32).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def pack(folder: Path, model: Path, rows: int = 40, *, scores: bool = False) -> Path:
    """What the pack job writes: `rows` pairs whose query shares words with its positive, one negative each, and a manifest."""
    tokenizer = BertTokenizerFast.from_pretrained(model)
    random = np.random.default_rng(0)
    topics = [random.choice(WORDS, 6, replace=False) for _ in range(2 * rows)]
    settings = PackingSettings(max_query_length=16, max_passage_length=32)
    packer = Packer(tokenizer, settings)

    def ids(count: int, name: str) -> pa.Array:
        return pa.array([md5(f"{name}{row}".encode()).digest() for row in range(count)], pa.binary(16))

    texts = pa.array([" ".join(random.choice(topic, random.integers(3, 20))) for topic in topics])
    passages = packer.pack_passages(
        pa.record_batch({"passage_id": ids(2 * rows, "p"), "text": texts, "cluster_id": ids(2 * rows, "p")})
    )
    queries = packer.pack_queries(pa.array([" ".join(random.choice(topics[row], 3)) for row in range(rows)]))
    pairs = pack_pairs(
        pair_id=ids(rows, "pair"),
        queries=queries,
        query_cluster_id=ids(rows, "q"),
        positive=pa.array(range(rows), pa.int64()),
        negatives=pa.array([[rows + row] if row % 4 else [] for row in range(rows)], pa.list_(pa.int64())),
        positive_score=pa.array([0.9] * rows, pa.float32()) if scores else None,
        negative_scores=pa.array([[0.4] if row % 4 else [] for row in range(rows)], pa.list_(pa.float32()))
        if scores
        else None,
        dataset=pa.array(["one"] * rows),
        kind=pa.array(["title_body"] * rows),
        query_lang=pa.array(["eng_Latn"] * rows),
        symmetric=pa.array([row % 2 == 0 for row in range(rows)]),
        passage_lengths=np.asarray(passages["length"]),
        settings=settings,
    )
    write(folder, "pairs", pairs)
    write(folder, "passages", passages)
    write_manifest(folder, tokenizer_fingerprint(tokenizer), {"query_instruction": "find: ", "passage_instruction": ""})
    return folder


def write(folder: Path, part: str, batch: pa.RecordBatch) -> None:
    """Two shards, so that row numbers run over both."""
    (folder / part).mkdir(parents=True, exist_ok=True)
    half = (len(batch) + 1) // 2
    for number, rows in enumerate((batch.slice(0, half), batch.slice(half))):
        pq.write_table(pa.Table.from_batches([rows]), folder / part / f"{number:05d}.parquet")


def write_manifest(folder: Path, fingerprint: str | None, packing: dict | None = None) -> None:
    files = [
        {
            "path": file.relative_to(folder).as_posix(),
            "sha256": sha256(file.read_bytes()).hexdigest(),
            "bytes": file.stat().st_size,
            "rows": pq.read_metadata(file).num_rows,
        }
        for file in sorted(folder.rglob("*.parquet"))
    ]
    details = {"tokenizer_fingerprint": fingerprint, "packing": packing}
    (folder / "_MANIFEST.json").write_text(json.dumps({"files": files, "details": details}))


@pytest.fixture(scope="module")
def data(model, tmp_path_factory) -> Path:
    return pack(tmp_path_factory.mktemp("data"), model)


@pytest.fixture
def own_data(data, tmp_path) -> Path:
    """A copy of the data that a test may spoil."""
    return Path(shutil.copytree(data, tmp_path / "data"))


def settings_for(model: Path, **changes) -> TrainSettings:
    values = {"steps": 12, "batch_size": 8, "learning_rate": 1e-3, "checkpoint_every": 5, "seed": 3, "device": "cpu"}
    return TrainSettings(model=str(model), **(values | {"precision": "fp32"} | changes))


def lines(output: Path) -> list[dict]:
    """The lines of metrics.jsonl but for what the clock and the machine decide."""
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: row[key] for key in row if key not in ("seconds", "tokens_per_second", "peak_memory_mib")} for row in rows
    ]


def weights(output: Path) -> bytes:
    return (output / "model" / "model.safetensors").read_bytes()


class Stop(Exception):
    """Stands for anything that ends a run between two steps."""


def stop_after(step: int):
    def on_progress(line: dict) -> None:
        if line["step"] == step:
            raise Stop

    return on_progress


@pytest.fixture(scope="module")
def uninterrupted(model, data, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("uninterrupted")
    train(data, output, settings_for(model))
    return output


def test_training_lowers_the_loss(uninterrupted):
    losses = [line["loss"] for line in lines(uninterrupted)]
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


@pytest.mark.parametrize("last", [5, 7, 10])
def test_a_run_stopped_and_resumed_equals_an_uninterrupted_one_bit_for_bit(model, data, uninterrupted, tmp_path, last):
    with pytest.raises(Stop):
        train(data, tmp_path, settings_for(model), stop_after(last))
    result = train(data, tmp_path, settings_for(model))
    # The exception leaves before the checkpoint of its own step.
    assert result.resumed_from == (last - 1) // 5 * 5
    assert lines(tmp_path) == lines(uninterrupted)
    assert weights(tmp_path) == weights(uninterrupted)


def test_a_killed_process_resumes_to_the_same_bytes(model, data, uninterrupted, tmp_path):
    script = """
        import os, signal, sys
        from trainer.loop import TrainSettings, train
        data, output, settings = sys.argv[1:]
        def kill_after_7(line):
            if line["step"] == 7:
                os.kill(os.getpid(), signal.SIGKILL)
        train(data, output, TrainSettings.model_validate_json(settings), kill_after_7)
    """
    settings = settings_for(model)
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(data), str(tmp_path), settings.model_dump_json()],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
    assert train(data, tmp_path, settings).resumed_from == 5
    assert lines(tmp_path) == lines(uninterrupted)
    assert weights(tmp_path) == weights(uninterrupted)


@pytest.mark.parametrize("step", [7, 12])
def test_sigterm_keeps_the_step_under_way_and_leaves_with_143(model, data, uninterrupted, tmp_path, step):
    def on_progress(line: dict) -> None:
        if line["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingStopped) as stopped:
        train(data, tmp_path, settings_for(model), on_progress)
    assert stopped.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "model").exists()
    assert train(data, tmp_path, settings_for(model)).resumed_from == step
    assert lines(tmp_path) == lines(uninterrupted)
    assert weights(tmp_path) == weights(uninterrupted)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(model, data, uninterrupted, tmp_path):
    with pytest.raises(Stop):
        train(data, tmp_path, settings_for(model), stop_after(12))
    damaged = tmp_path / "checkpoints" / "step-000010" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"abcd")
    (tmp_path / "checkpoints" / "step-000011.partial").mkdir()
    assert train(data, tmp_path, settings_for(model)).resumed_from == 5
    assert weights(tmp_path) == weights(uninterrupted)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000010", "step-000012"]


def test_a_damaged_checkpoint_does_not_push_out_the_one_written_before_its_step(model, data, uninterrupted, tmp_path):
    settings = settings_for(model, keep_checkpoints=1)
    checkpoints = tmp_path / "checkpoints"
    with pytest.raises(Stop):
        train(data, tmp_path, settings, stop_after(7))
    damaged = Path(shutil.copytree(checkpoints / "step-000005", checkpoints / "step-000010"))
    (damaged / "model.safetensors").write_bytes(b"damaged")

    def sigterm_at_7(line: dict) -> None:
        if line["step"] == 7:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    with pytest.raises(TrainingStopped):
        train(data, tmp_path, settings, sigterm_at_7)
    assert [path.name for path in checkpoints.iterdir()] == ["step-000007"]
    assert train(data, tmp_path, settings).resumed_from == 7
    assert weights(tmp_path) == weights(uninterrupted)


def test_checkpoints_of_later_steps_go_before_the_older_ones_are_counted(tmp_path):
    for step in (5, 10, 15, 20, 25):
        (tmp_path / f"step-{step:06d}").mkdir()
    remove_old_checkpoints(tmp_path, 15, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000010", "step-000015"]


def test_a_run_whose_auto_precision_comes_out_otherwise_here_is_not_resumed_silently(
    model, data, tmp_path, monkeypatch, caplog
):
    settings = settings_for(model, precision="auto")
    monkeypatch.setattr(backbone, "cpu_computes_bf16", lambda: True)
    with pytest.raises(Stop):
        train(data, tmp_path, settings, stop_after(7))
    monkeypatch.setattr(backbone, "cpu_computes_bf16", lambda: False)
    message = (
        r"differs from this one in the dtype it computes in \(torch.bfloat16 there, torch.float32 here\)\. "
        r"Undo the change \(set precision bf16\) to go on with that run, .* or restart"
    )
    with pytest.raises(TrainingError, match=message):
        train(data, tmp_path, settings)
    # What the message says to do is enough.
    with pytest.raises(Stop):
        train(data, tmp_path, settings_for(model, precision="bf16"), stop_after(8))
    assert train(data, tmp_path, settings, restart=True).resumed_from == 0
    assert "torch.bfloat16 there, torch.float32 here). Its checkpoints are removed" in caplog.text


def test_a_run_on_another_kind_of_device_is_not_resumed(model, data, uninterrupted, tmp_path, monkeypatch):
    output = Path(shutil.copytree(uninterrupted, tmp_path / "out"))
    chosen = (torch.device("cuda", 0), torch.float16)
    monkeypatch.setattr(backbone, "choose_device_and_dtype", lambda *_: chosen)
    message = (
        r"in the dtype it computes in \(torch.float32 there, torch.float16 here\), the device it computes on "
        r"\(cpu there, cuda here\)\. Undo the change \(set precision fp32 and device cpu\)"
    )
    with pytest.raises(TrainingError, match=message):
        train(data, output, settings_for(model, device="auto", precision="auto"))


def test_a_finished_run_has_nothing_left_to_do(model, data, uninterrupted, tmp_path):
    output = Path(shutil.copytree(uninterrupted, tmp_path / "out"))
    result = train(data, output, settings_for(model))
    assert (result.resumed_from, result.loss, result.tokens) == (12, None, 0)
    assert weights(output) == weights(uninterrupted)


def test_other_settings_do_not_resume_a_run_unless_told_to_restart(model, data, uninterrupted, tmp_path):
    output = Path(shutil.copytree(uninterrupted, tmp_path / "out"))
    changed = settings_for(model, temperature=0.05)
    with pytest.raises(TrainingError, match=r"differs from this one in temperature \(0.02 there, 0.05 here\)"):
        train(data, output, changed)
    result = train(data, output, changed, restart=True)
    assert result.resumed_from == 0
    assert [line["step"] for line in lines(output)] == list(range(1, 13))
    assert weights(output) != weights(uninterrupted)


def test_other_data_do_not_resume_a_run(model, uninterrupted, tmp_path):
    output = Path(shutil.copytree(uninterrupted, tmp_path / "out"))
    with pytest.raises(TrainingError, match="differs from this one in the data"):
        train(pack(tmp_path / "other", model, rows=20), output, settings_for(model))


def test_the_number_of_lines_and_checkpoints_may_change_between_a_run_and_its_rest(
    model, data, uninterrupted, tmp_path
):
    with pytest.raises(Stop):
        train(data, tmp_path, settings_for(model), stop_after(7))
    train(data, tmp_path, settings_for(model, log_every=3, checkpoint_every=4))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6, 9, 12]
    assert weights(tmp_path) == weights(uninterrupted)


def test_weights_and_moments_are_kept_as_safetensors_in_fp32(uninterrupted):
    folder = uninterrupted / "checkpoints" / "step-000012"
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    tensors = load_file(folder / "optimizer.safetensors")
    moment = tensors["moment.encoder.layer.0.output.dense.weight.exp_avg"]
    assert moment.dtype == torch.float32
    assert moment.abs().sum() > 0
    assert "random.cpu" in tensors


def test_the_instruction_the_queries_were_packed_with_is_the_model_s_prompt(uninterrupted):
    config = json.loads((uninterrupted / "model" / "config_sentence_transformers.json").read_text())
    assert config["prompts"] == {"query": "find: ", "document": ""}


def with_prompts(model: Path, folder: Path) -> str:
    """A copy of `model` that has prompts, as E5 has."""
    shutil.copytree(model, folder)
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return str(folder)


@pytest.mark.parametrize(
    ("packing", "query", "passage"),
    [
        (PackingSettings().model_dump(mode="json"), "", ""),
        (PackingSettings(query_instruction="find: ").model_dump(mode="json"), "find: ", ""),
        (PackingSettings(passage_instruction="text: ").model_dump(mode="json"), "", "text: "),
    ],
)
def test_the_exported_prompts_are_those_trained_with_also_where_the_base_model_has_others(
    own_data, model, tmp_path, packing, query, passage
):
    base = with_prompts(model, tmp_path / "e5")
    write_manifest(own_data, None, packing)
    exported = train(own_data, tmp_path / "out", settings_for(Path(base), steps=1)).model_folder
    config = json.loads((exported / "config_sentence_transformers.json").read_text())
    assert config["prompts"] == {"query": query, "document": passage}
    assert backbone.load_backbone(str(exported)).prompts == {"query": query, "passage": passage}


def test_data_that_say_nothing_of_their_packing_leave_the_base_model_its_prompts(own_data, model, tmp_path):
    (own_data / "_MANIFEST.json").unlink()
    base = with_prompts(model, tmp_path / "e5")
    exported = train(own_data, tmp_path / "out", settings_for(Path(base), steps=1)).model_folder
    assert backbone.load_backbone(str(exported)).prompts == {"query": "query: ", "passage": "passage: "}


def test_a_loss_that_is_no_number_is_an_error_that_names_step_and_pairs(model, data, tmp_path):
    with pytest.raises(TrainingError, match=r"of step \d+ is nan\. The step's 8 pairs begin with [0-9a-f]{32}"):
        train(data, tmp_path, settings_for(model, learning_rate=1e30, warmup_ratio=0.0))
    told = json.loads((tmp_path / "bad_batch.json").read_text())
    assert (told["value"], len(told["rows"]), told["dataset"]) == ("nan", 8, "one")
    assert told["ids"] == [md5(f"pair{row}".encode()).hexdigest() for row in told["rows"]]


def test_a_batch_embedded_twice_ends_with_the_same_bytes_as_one_embedded_once(model, data, uninterrupted, tmp_path):
    train(data, tmp_path, settings_for(model, tokens_at_once=0))
    assert weights(tmp_path) == weights(uninterrupted)


def test_a_full_disk_at_a_checkpoint_is_told_and_leaves_the_one_before(
    model, data, uninterrupted, tmp_path, monkeypatch
):
    def full_after_5(line: dict) -> None:
        if line["step"] == 6:
            usage = shutil.disk_usage(tmp_path)
            monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))

    message = r"checkpoint of step 10 could not be written .* 0 MiB are free\)\. The one of step 5 is whole\. Make room"
    with pytest.raises(CheckpointError, match=message):
        train(data, tmp_path, settings_for(model), full_after_5)
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000005"]
    assert train(data, tmp_path, settings_for(model)).resumed_from == 5
    assert weights(tmp_path) == weights(uninterrupted)


def test_a_file_that_grows_too_large_for_the_disk_leaves_no_half_checkpoint(model, data, tmp_path):
    script = """
        import resource, signal, sys
        from trainer.loop import TrainSettings, train
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        def no_room_after_6(line):
            if line["step"] == 6:
                resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        data, output, settings = sys.argv[1:]
        train(data, output, TrainSettings.model_validate_json(settings), no_room_after_6)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(data), str(tmp_path)]
    failed = subprocess.run(
        [*command, settings_for(model).model_dump_json()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert "The checkpoint of step 10 could not be written" in failed.stderr
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000005"]


def test_a_hook_sees_the_model_every_few_steps_and_changes_nothing(model, data, uninterrupted, tmp_path):
    seen = []

    def look(done, encoder) -> bool:
        assert not encoder.model.training
        assert encoder.prompts["query"] == "find: "
        torch.rand(3)  # what an evaluation draws is no part of the training
        seen.append(done)
        return False

    train(data, tmp_path, settings_for(model), hook=StepHook(4, look))
    assert seen == [4, 8, 12]
    assert weights(tmp_path) == weights(uninterrupted)


def test_a_hook_can_end_the_training_for_good(model, data, tmp_path):
    hook = StepHook(3, lambda done, _: done == 6)
    result = train(data, tmp_path, settings_for(model), hook=hook)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]
    again = train(data, tmp_path, settings_for(model), hook=hook)
    assert (result.resumed_from, again.resumed_from, again.loss) == (0, 6, None)


def test_the_average_of_the_weights_is_the_model_and_is_resumed(model, data, uninterrupted, tmp_path):
    settings = settings_for(model, average_decay=0.9)
    train(data, tmp_path / "whole", settings)
    with pytest.raises(Stop):
        train(data, tmp_path / "stopped", settings, stop_after(7))
    train(data, tmp_path / "stopped", settings)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole") != weights(uninterrupted)
    # The weights that are trained are those of a run without an average.
    last = "checkpoints/step-000012/model.safetensors"
    assert (tmp_path / "whole" / last).read_bytes() == (uninterrupted / last).read_bytes()


def test_a_guide_of_the_same_tokenizer_takes_negatives_out(model, data, uninterrupted, tmp_path):
    train(data, tmp_path, settings_for(model, guide_model=str(model), steps=2))
    # The guide is the model before training, without dropout: what it finds nearer than the positive does not count.
    assert lines(tmp_path)[0]["loss"] < lines(uninterrupted)[0]["loss"]


def test_a_guide_of_another_tokenizer_is_refused(model, data, tmp_path):
    other = Path(shutil.copytree(model, tmp_path / "other"))
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text().replace("word7", "word_7"))
    with pytest.raises(TrainingError, match="has another tokenizer"):
        train(data, tmp_path / "out", settings_for(model, guide_model=str(other)))


def test_distillation_learns_from_the_scores_of_the_data(model, tmp_path):
    losses = []
    for distillation in ("none", "kl_div", "m3_kd_loss"):
        folder = pack(tmp_path / distillation, model, scores=True)
        output = tmp_path / f"{distillation}-out"
        train(folder, output, settings_for(model, steps=2, distillation=distillation))
        losses.append(lines(output)[0]["loss"])
    assert len(set(losses)) == 3


def test_a_single_pair_is_refused_with_the_reason(model, tmp_path):
    with pytest.raises(BatchPlanError, match="1 pairs give no batch"):
        train(pack(tmp_path / "data", model, rows=1), tmp_path / "out", settings_for(model))


def test_data_smaller_than_a_batch_train(model, tmp_path):
    result = train(pack(tmp_path / "data", model, rows=3), tmp_path / "out", settings_for(model, steps=2))
    assert [line["pairs"] for line in lines(tmp_path / "out")] == [3, 3]
    assert np.isfinite(result.loss)


def test_bf16_gives_nearly_the_losses_of_fp32(model, data, uninterrupted, tmp_path):
    train(data, tmp_path, settings_for(model, steps=12, precision="bf16"))
    assert lines(tmp_path)[0]["loss"] == pytest.approx(lines(uninterrupted)[0]["loss"], rel=0.1)


def test_another_tokenizer_is_refused(own_data, model, tmp_path):
    write_manifest(own_data, "0" * 64)
    with pytest.raises(TrainingDataError, match="packed with another tokenizer"):
        train(own_data, tmp_path / "out", settings_for(model))


def test_a_token_id_over_the_vocabulary_is_refused(own_data, model, tmp_path):
    def spoil(table: pa.Table) -> pa.Table:
        tokens = table["token_ids"].to_pylist()
        tokens[3][1] = 65
        return table.set_column(1, table.schema.field(1), pa.array(tokens, pa.list_(pa.int32())))

    rewrite(own_data / "passages" / "00001.parquet", spoil)
    (own_data / "_MANIFEST.json").unlink()
    with pytest.raises(TrainingDataError, match="token id 65, but the model's vocabulary has 65 entries"):
        train(own_data, tmp_path / "out", settings_for(model))


def rewrite(file: Path, change) -> None:
    pq.write_table(change(pq.read_table(file)), file)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: (data / "pairs" / "00000.parquet").unlink(), "00000.parquet is missing"),
        (lambda data: shutil.copy(data / "pairs/00000.parquet", data / "pairs/9.parquet"), "was not written by pack"),
        (lambda data: rewrite(data / "pairs/00000.parquet", lambda table: table.slice(1)), "was changed since pack"),
        (lambda data: shutil.rmtree(data / "passages"), r"passages holds no \*.parquet files"),
        (lambda data: (data / "_MANIFEST.json").write_text("{}"), "is not a manifest"),
        (lambda data: (data / "_MANIFEST.json").write_text('{"files": ['), "is not a manifest"),
    ],
)
def test_a_folder_that_is_not_what_pack_wrote_is_refused(own_data, spoil, message):
    spoil(own_data)
    with pytest.raises(TrainingDataError, match=message):
        TrainingData.open(own_data)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("pairs", lambda table: table.drop_columns("kind"), "column kind should be string, found none"),
        ("pairs", lambda table: table.slice(0, 0), "holds no pairs at all"),
        ("passages", lambda table: table.slice(0, 4), "points to passage row"),
        (
            "passages",
            lambda table: table.set_column(2, "length", pa.array(range(len(table)), pa.int32())),
            "whose length is not the one beside it",
        ),
    ],
)
def test_shards_that_cannot_be_trained_on_are_refused(own_data, part, change, message):
    (own_data / "_MANIFEST.json").unlink()
    for file in (own_data / part).iterdir():
        rewrite(file, change)
    with pytest.raises(TrainingDataError, match=message):
        TrainingData.open(own_data)


def test_a_file_that_is_not_parquet_is_refused(own_data):
    (own_data / "_MANIFEST.json").unlink()
    (own_data / "pairs" / "00000.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(TrainingDataError, match="is not a readable Parquet file"):
        TrainingData.open(own_data)


def test_collate_pads_maps_slots_and_forbids_what_is_no_negative(own_data):
    data = TrainingData.open(own_data)
    rows = np.array([1, 4, 6])
    batch = data.collate(rows, np.array([[0], [-1], [0]]), pad_token_id=0)
    assert batch.slots[:, 0].min() >= 0
    # Row 4 has no negative (every fourth has none); the others' are passages 41 and 46, beside positives 1, 4 and 6.
    assert batch.slots.tolist() == [[0, 3], [1, -1], [2, 4]]
    assert batch.forbidden_matrix().tolist() == [[False, False, False, True, False, False]] * 3
    for place, passage in enumerate([1, 4, 6, 41, 46]):
        low, high = data.passage_tokens.offsets[passage : passage + 2]
        tokens = data.passage_tokens.values[low:high].tolist()
        assert batch.passage_lengths[place] == len(tokens)
        assert batch.passage_ids[place].tolist() == tokens + [0] * (batch.passage_ids.shape[1] - len(tokens))
    assert batch.query_ids[1, : batch.query_lengths[1]].tolist() == data.query_tokens.gather(np.array([4]))[0].tolist()
    assert batch.symmetric.tolist() == [False, True, True]


def test_passages_of_the_positive_s_cluster_and_other_known_positives_are_forbidden(own_data):
    (own_data / "_MANIFEST.json").unlink()
    cluster = bytes(16)

    def same_clusters(table: pa.Table) -> pa.Table:
        # Passages 1 and 2 become near duplicates.
        column = table["cluster_id"].to_pylist()
        column[1] = column[2] = cluster
        return table.set_column(3, table.schema.field(3), pa.array(column, pa.binary(16)))

    def same_query(table: pa.Table) -> pa.Table:
        # Pairs 5 and 7 ask the same question: the positive of each is known to answer the other.
        column = table["query_cluster_id"].to_pylist()
        column[5] = column[7] = cluster[:15] + b"q"
        return table.set_column(3, table.schema.field(3), pa.array(column, pa.binary(16)))

    rewrite(own_data / "passages" / "00000.parquet", same_clusters)
    rewrite(own_data / "pairs" / "00000.parquet", same_query)
    data = TrainingData.open(own_data)
    nothing = np.empty((4, 0), np.int64)
    forbidden = data.collate(np.array([1, 2, 5, 7]), nothing, 0).forbidden_matrix()
    expected = np.zeros((4, 4), bool)
    expected[0, 1] = expected[1, 0] = expected[2, 3] = expected[3, 2] = True
    assert np.array_equal(forbidden, expected)


def test_the_model_card_says_what_was_trained_on_how_and_what_came_of_it(model, data, tmp_path):
    folder = train(data, tmp_path, settings_for(model, steps=2), card="For a test.").model_folder
    card = (folder / "README.md").read_text()
    assert "For a test." in card
    assert "- one: 40 pairs" in card
    assert TrainingData.open(data).fingerprint in card
    assert f"The loss of step 2 was {lines(tmp_path)[-1]['loss']:.4f}." in card
    assert '"batch_size": 8' in card
    assert str(tmp_path) not in card
