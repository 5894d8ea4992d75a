"""Training by several processes: the gradients of one, exact resumption, and an end instead of a hang."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import BertConfig, BertModel, BertTokenizerFast

from tests.trainer.packed_folder import some_rows, write_folder
from trainer.distributed import Ranks, RanksError, join_ranks

ROOT = Path(__file__).parents[2]

# Imports once for all tests, which takes longer than they do, then forks the ranks of each run with what torchrun sets.
LAUNCHER = """
    import json, os, sys, traceback
    import transformers.models.bert.modeling_bert
    import trainer.backbone, trainer.chunk_loops, trainer.gradient_cache, trainer.loop
    for line in sys.stdin:
        run, processes = json.loads(line), []
        for rank in range(run["count"]):
            process = os.fork()
            if process:
                processes.append(process)
                continue
            status = 1
            try:
                for number, name in ((1, "out"), (2, "err")):
                    os.dup2(os.open(f"{run['folder']}/{rank}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                os.environ |= run["environment"] | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                sys.argv = ["-c", *run["arguments"]]
                exec(run["script"], {"__name__": "__main__"})
                status = 0
            except SystemExit as stopped:
                status = stopped.code
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]), flush=True)
"""

# One step's gradients in float64, and how many sums of a tensor of all weights it took.
GRADIENTS = """
    import json, sys
    from dataclasses import replace
    from pathlib import Path
    import numpy as np, torch, torch.distributed as dist
    from trainer.backbone import load_backbone
    from trainer.batch_plan import BatchPlan, plan_columns
    from trainer.distributed import join_ranks
    from trainer.contrastive import ContrastiveObjective
    from trainer.loop import TrainSettings
    from trainer.training_run import TrainingRun
    from trainer.training_data import TrainingData
    output = Path(sys.argv[2])
    with join_ranks("cpu", 60) as ranks:
        data = TrainingData.open(sys.argv[1])
        for case, given in enumerate(json.loads(sys.argv[3])):
            settings = TrainSettings.model_validate(given)
            backbone = load_backbone(settings.model)
            backbone = replace(backbone, model=backbone.model.double())
            plan = BatchPlan(plan_columns(data, settings), settings, settings.seed, settings.steps, ranks.count)
            exact = {"device": torch.device("cpu"), "dtype": torch.float64, "ranks": ranks}
            objective = ContrastiveObjective(data, plan, backbone, settings, **exact)
            run = TrainingRun(objective, settings, output, identity={}, checkpoint=None, **exact)
            sums, all_reduce = [], dist.all_reduce
            def counted(tensor, *rest, **more):
                sums.append(tensor.numel() >= len(run.gradients.gradients))
                return all_reduce(tensor, *rest, **more)
            dist.all_reduce = counted
            for step in range(3):
                line, _ = run.step(step, objective.prepare(step), stop=False)
                if ranks.leads:
                    np.save(output / f"{case}-{ranks.count}-{step}.npy", run.gradients.gradients.numpy())
                    (output / f"{case}-{ranks.count}-{step}.txt").write_text(repr(line["loss"]))
            dist.all_reduce = all_reduce
            assert sum(sums) == (3 if ranks.count > 1 else 0), sums
"""

TRAIN = """
    import os, signal, sys, time
    from trainer.loop import TrainSettings, train
    import trainer.training_run as loop
    data, output, settings, rank, step, what = sys.argv[1:]
    plain = loop.TrainingRun.step
    def step_of_a_troubled_rank(self, number, planned, *, stop):
        if os.environ.get("RANK", "0") == rank and number == int(step):
            if what == "stop":
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.05)
                stop = True
            elif what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif what == "hang":
                time.sleep(12)
            elif what == "fail":
                raise ValueError("this rank cannot go on")
        return plain(self, number, planned, stop=stop)
    loop.TrainingRun.step = step_of_a_troubled_rank
    result = train(data, output, TrainSettings.model_validate_json(settings))
    print("resumed from", result.resumed_from)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random BERT of 2 layers and 16 dimensions, with dropout."""
    folder = tmp_path_factory.mktemp("model")
    vocabulary = {word: row for row, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])}
    vocabulary |= {f"word{number}": number for number in range(5, 65)}
    BertTokenizerFast(
        tokenizer_object=Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]")), model_max_length=32
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    # Large weights: embeddings that are far apart, hence gradients that are not tiny.
    config = BertConfig(vocab_size=65, max_position_embeddings=32, initializer_range=0.3, **sizes)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    pairs, passages = some_rows(40)
    random = np.random.default_rng(1)
    for pair in pairs:
        pair["positive_score"] = float(random.random())
        pair["negative_scores"] = random.random(len(pair["negatives"])).tolist()
    # Passages 6 and 7 are near-duplicates: the masks are not empty.
    passages[6]["cluster"] = passages[7]["cluster"] = "one"
    return write_folder(tmp_path_factory.mktemp("data"), pairs, passages)


@pytest.fixture(scope="module")
def calm_model(model, tmp_path_factory) -> Path:
    """The same without dropout: which rank draws what does not matter."""
    folder = tmp_path_factory.mktemp("calm") / "model"
    subprocess.run(["cp", "-r", str(model), str(folder)], check=True)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def settings_json(model: Path, **changes) -> str:
    values = {"model": str(model), "steps": 12, "batch_size": 9, "learning_rate": 1e-3, "checkpoint_every": 5}
    values |= {"seed": 3, "device": "cpu", "precision": "fp32", "smallest_batch": 4, "silence_seconds": 60}
    return json.dumps(values | changes)


class Launcher:
    """Runs a script in several processes, and gives exit status, standard output and error of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(LAUNCHER)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, count: int, script: str, *arguments) -> list[tuple[int, str, str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        run = {
            "count": count,
            "script": textwrap.dedent(script),
            "arguments": [str(argument) for argument in arguments],
            "environment": {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count)},
            "folder": str(self.folder),
        }
        self.process.stdin.write(json.dumps(run) + "\n")
        self.process.stdin.flush()
        statuses = json.loads(self.process.stdout.readline())
        return [
            (status, *((self.folder / f"{rank}.{name}").read_text() for name in ("out", "err")))
            for rank, status in enumerate(statuses)
        ]

    def finish(self, *run) -> list[str]:
        """What each process printed; all ended well."""
        ends = self.run(*run)
        for status, _, errors in ends:
            assert status == 0, errors
        return [printed for _, printed, _ in ends]


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    launcher = Launcher(tmp_path_factory.mktemp("launcher"))
    yield launcher
    launcher.process.stdin.close()
    launcher.process.wait()


def test_gradients_and_losses_are_the_same_on_one_two_and_four_ranks(launcher, calm_model, data, tmp_path):
    cases = [
        {"temperature": 0.05},
        {"false_negative_margin": 0.02, "tokens_at_once": 0, "tokens_per_forward": 50, "temperature": 0.01},
        {"distillation": "m3_kd_loss"},
    ]
    settings = [json.loads(settings_json(calm_model, max_grad_norm=1e9, **case)) for case in cases]
    for count in (1, 2, 4):
        launcher.finish(count, GRADIENTS, data, tmp_path, json.dumps(settings))
    for case in range(len(cases)):
        for step in range(3):
            expected = np.load(tmp_path / f"{case}-1-{step}.npy")
            assert np.linalg.norm(expected) > 0.1
            for count in (2, 4):
                found = np.load(tmp_path / f"{case}-{count}-{step}.npy")
                assert np.linalg.norm(found) / np.linalg.norm(expected) == pytest.approx(1.0, abs=1e-9)
                assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 1e-8
                losses = [float((tmp_path / f"{case}-{ranks}-{step}.txt").read_text()) for ranks in (1, count)]
                assert losses[1] == pytest.approx(losses[0], rel=1e-9)


def weights(output: Path) -> bytes:
    return (output / "model" / "model.safetensors").read_bytes()


def lines(output: Path) -> list[dict]:
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in ("step", "loss", "gradient_norm", "pairs", "tokens")} for row in rows]


@pytest.fixture(scope="module")
def uninterrupted(launcher, model, data, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("uninterrupted")
    launcher.finish(2, TRAIN, data, output, settings_json(model), "-", 0, "nothing")
    return output


@pytest.mark.parametrize("rank", [0, 1])
def test_when_a_rank_is_killed_the_other_ends_and_both_resume_to_the_same_bytes(
    launcher, model, data, uninterrupted, tmp_path, rank
):
    step = int(np.random.default_rng(time.time_ns()).integers(6, 10))  # any step after the first checkpoint
    run = (data, tmp_path, settings_json(model))
    statuses = launcher.run(2, TRAIN, *run, rank, step, "kill")
    assert statuses[rank][0] == -signal.SIGKILL
    assert statuses[1 - rank][0] == 1
    assert "another process of this training has ended or gives no answer" in statuses[1 - rank][2]
    assert "goes on from its newest checkpoint" in statuses[1 - rank][2]
    assert "resumed from 5" in launcher.finish(2, TRAIN, *run, "-", 0, "nothing")[0]
    assert lines(tmp_path) == lines(uninterrupted)
    assert weights(tmp_path) == weights(uninterrupted)


def test_sigterm_to_one_rank_stops_both_at_the_same_step(launcher, model, data, uninterrupted, tmp_path):
    run = (data, tmp_path, settings_json(model))
    statuses = launcher.run(2, TRAIN, *run, 1, 6, "stop")
    assert [status for status, _, _ in statuses] == [143, 143]
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["step-000005", "step-000007"]
    assert "resumed from 7" in launcher.finish(2, TRAIN, *run, "-", 0, "nothing")[1]
    assert lines(tmp_path) == lines(uninterrupted)
    assert weights(tmp_path) == weights(uninterrupted)


def test_a_run_of_two_ranks_can_go_on_with_one_and_says_so(launcher, model, data, uninterrupted, tmp_path):
    run = (data, tmp_path, settings_json(model))
    launcher.run(2, TRAIN, *run, 0, 7, "fail")
    [(_, printed, errors)] = launcher.run(1, TRAIN, *run, "-", 0, "nothing")
    assert "resumed from 5" in printed
    assert "was written by 2 processes, and 1 go on" in errors
    there, here = lines(uninterrupted), lines(tmp_path)
    assert here[:5] == there[:5]
    assert [(line["step"], line["pairs"]) for line in here] == [(line["step"], line["pairs"]) for line in there]


def test_a_rank_that_fails_or_hangs_ends_the_other_with_a_message(launcher, model, data, tmp_path):
    settings = settings_json(model, silence_seconds=5)
    statuses = launcher.run(2, TRAIN, data, tmp_path / "fails", settings, 0, 1, "fail")
    assert "this rank cannot go on" in statuses[0][2]
    assert "Process 1 of 2 can go on no longer" in statuses[1][2]
    statuses = launcher.run(2, TRAIN, data, tmp_path / "hangs", settings, 0, 1, "hang")
    assert "Process 1 of 2 can go on no longer" in statuses[1][2]


def test_a_data_folder_that_cannot_be_read_ends_all_ranks(launcher, model, tmp_path):
    statuses = launcher.run(2, TRAIN, tmp_path, tmp_path / "out", settings_json(model), "-", 0, "nothing")
    assert "holds no *.parquet files" in statuses[0][2]
    assert "Reading the data failed in the first process (TrainingDataError" in statuses[1][2]


def test_one_process_has_nothing_to_exchange(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_ranks("cpu", 1) as ranks:
        rows = torch.arange(6.0).reshape(3, 2)
        assert ranks.gather_rows(rows, [3]) is rows
        assert ranks.sum_to_owners(rows, [3]) is rows
        assert ranks.told({"a": 1}) == {"a": 1}
        assert ranks.leads


def test_half_an_environment_of_torchrun_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(RanksError, match=r"WORLD_SIZE is 2, but RANK .* not set"), join_ranks("cpu", 1):
        pass


def test_a_named_gpu_is_not_for_several_processes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    ranks = Ranks(1, 2, 1)
    assert (ranks.device("auto"), ranks.device("cuda"), ranks.device("cpu")) == ("cuda:1", "cuda:1", "cpu")
    with pytest.raises(RanksError, match="names one GPU"):
        ranks.device("cuda:0")
    with pytest.raises(RanksError, match=r"Process 3 .* has no GPU: there are 2"):
        Ranks(3, 4, 3).device("auto")
