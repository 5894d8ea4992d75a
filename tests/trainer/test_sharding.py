"""Sharded training: the gradients of one process, checkpoints that any number of processes go on from, the same export."""

import json
import signal
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.trainer.packed_folder import some_rows, write_folder
from tests.trainer.test_ranks import TRAIN, Launcher, lines, settings_json, weights
from tests.trainer.tiny_model import write_tiny_model
from trainer.checkpoint import checkpoint_tensors, write_checkpoint
from trainer.distributed import Ranks
from trainer.loop import TrainSettings, _check_sharding
from trainer.optimizer import layer_names
from trainer.run_identity import TrainingError, checkpoint_to_resume
from trainer.sharding import Shards, _outline, _rows_of_ranks, shard

# Steps in float64, sharded or not: the whole gradient, and how often gradients were summed over the ranks.
STEPS = """
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
    output, device = Path(sys.argv[2]), torch.device("cpu")
    with join_ranks("cpu", 60) as ranks:
        data = TrainingData.open(sys.argv[1])
        for case, (dtype, given) in enumerate(json.loads(sys.argv[3])):
            settings = TrainSettings.model_validate(given)
            backbone, dtype = load_backbone(settings.model), getattr(torch, dtype)
            # A weight that no text uses, and one of two names.
            backbone.model.unused = torch.nn.Parameter(torch.ones(3, 2))
            backbone.model.same = backbone.model.embeddings.token_type_embeddings
            if dtype is torch.float64:
                backbone = replace(backbone, model=backbone.model.double())
            plan = BatchPlan(plan_columns(data, settings), settings, settings.seed, settings.steps, ranks.count)
            exact = {"device": device, "dtype": dtype, "ranks": ranks}
            guide = None if settings.guide_model is None else load_backbone(settings.guide_model)
            guide = None if guide is None else replace(guide, model=guide.model.double())
            objective = ContrastiveObjective(data, plan, backbone, settings, guide=guide, **exact)
            run = TrainingRun(objective, settings, output, identity={}, checkpoint=None, **exact)
            name = next(name for name in ("reduce_scatter_single", "reduce_scatter_tensor") if hasattr(dist, name))
            plain, sums, chunks = getattr(dist, name), [], []
            def counted(*given, **named):
                sums.append(1)
                return plain(*given, **named)
            setattr(dist, name, counted)
            found = []
            for step in range(2):
                line, _ = run.step(step, objective.prepare(step), stop=False)
                whole = (lambda tensor: tensor) if run.shards is None else run.shards.whole
                gradient = torch.cat([whole(weight.grad).ravel() for weight in run.gradients.weights]).double()
                found.append([*gradient.tolist(), line["loss"], line["gradient_norm"]])
            after = torch.cat([whole(weight.detach()).ravel() for weight in run.gradients.weights])
            setattr(dist, name, plain)
            own = lambda tensor: getattr(tensor, "to_local", lambda: tensor)().numel()
            states = [tensor for state in run.optimizer.state.values() for tensor in state.values()]
            kept = sum(own(tensor) for tensor in [*run.gradients.weights, *states])
            if ranks.leads:
                file = output / f"{case}-{settings.sharding}-{ranks.count}.npz"
                np.savez(file, found=np.array(found), after=after.double().numpy(), sums=len(sums), kept=kept)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A BERT of 2 layers without dropout: which rank draws what does not matter."""
    folder = write_tiny_model(tmp_path_factory.mktemp("model"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data"), *some_rows(40))


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    launcher = Launcher(tmp_path_factory.mktemp("launcher"))
    yield launcher
    launcher.process.stdin.close()
    launcher.process.wait()


ALL = ["dense", "lexical", "multi_vector"]
CHUNKS = {"tokens_per_forward": 50, "tokens_at_once": 0}  # the ranks have different numbers of chunks
CASES = {
    "each text embedded twice": CHUNKS,
    "all graphs kept": {"tokens_per_forward": 50, "tokens_at_once": 1 << 20},
    "some ranks could keep all graphs": {"tokens_per_forward": 50, "tokens_at_once": 150},
    "heads": {**CHUNKS, "outputs": ALL, "temperature": 0.05},
    "a guide": {**CHUNKS, "guide_model": "the model"},
    "several [CLS]": {**CHUNKS, "mcls_every": 4},
    "checkpointed activations": {**CHUNKS, "gradient_checkpointing": True},
    "layer decay, averaged weights": {**CHUNKS, "layer_decay": 0.8, "average_decay": 0.9, "max_grad_norm": 0.01},
}


def cases(model: Path, sharding: str) -> str:
    given = []
    for case in CASES.values():
        changes = {"max_grad_norm": 1e9, "sharding": sharding} | case
        changes |= {"guide_model": str(model)} if "guide_model" in case else {}
        given.append(["float64", json.loads(settings_json(model, **changes))])
    return json.dumps(given)


def test_gradients_losses_norms_and_weights_are_those_of_one_process(launcher, model, data, tmp_path):
    launcher.finish(1, STEPS, data, tmp_path, cases(model, "none"))
    for count, sharding in ((2, "weights"), (3, "full")):
        launcher.finish(count, STEPS, data, tmp_path, cases(model, sharding))
        for number, case in enumerate(CASES):
            one = np.load(tmp_path / f"{number}-none-1.npz")
            several = np.load(tmp_path / f"{number}-{sharding}-{count}.npz")
            for expected, found in zip(one["found"], several["found"], strict=True):
                ratio = np.linalg.norm(found[:-2]) / np.linalg.norm(expected[:-2])
                assert ratio == pytest.approx(1.0, abs=1e-10), (case, count, sharding)
                difference = np.linalg.norm(found[:-2] - expected[:-2]) / np.linalg.norm(expected[:-2])
                assert difference < 1e-9, (case, count, sharding)
                assert found[-2:] == pytest.approx(expected[-2:], rel=1e-10), (case, count, sharding)
            assert several["after"] == pytest.approx(one["after"], abs=1e-9), (case, count, sharding)
            assert several["kept"] / one["kept"] == pytest.approx(1 / count, rel=0.1), case
            groups = 2 + 1 + 2 * (case == "heads")  # the layers, what is outside of them, the heads
            if sharding == "weights":
                assert several["sums"] == 2 * groups, case
            else:
                assert several["sums"] % groups == 0 and several["sums"] > 2 * groups, case


# The model as an evaluation between steps sees it, exported.
WATCHED = """
    import sys
    from pathlib import Path
    from trainer.export import export_model
    from trainer.loop import StepHook, TrainSettings, train
    data, output, settings = sys.argv[1:]
    def seen(step, backbone):
        export_model(backbone, Path(output) / f"seen-{step}", "")
        return False
    print(train(data, output, TrainSettings.model_validate_json(settings), hook=StepHook(4, seen)).resumed_from)
"""


@pytest.fixture(scope="module")
def with_dropout(tmp_path_factory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("dropout"))


@pytest.mark.parametrize("sharding", ["weights", "full"])
def test_when_a_rank_is_killed_the_other_ends_and_both_resume_to_the_same_bytes(
    launcher, with_dropout, data, tmp_path, sharding
):
    settings = settings_json(with_dropout, sharding=sharding, average_decay=0.9, **CHUNKS)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    launcher.finish(2, TRAIN, data, whole, settings, "-", 0, "nothing")
    statuses = launcher.run(2, TRAIN, data, broken, settings, 1, 7, "kill")
    assert statuses[1][0] == -signal.SIGKILL
    assert statuses[0][0] == 1
    assert "another process of this training has ended or gives no answer" in statuses[0][2]
    assert "resumed from 5" in launcher.finish(2, TRAIN, data, broken, settings, "-", 0, "nothing")[0]
    assert lines(broken) == lines(whole)
    assert weights(broken) == weights(whole)


def checkpoint(output: Path, step: int) -> dict[str, torch.Tensor]:
    tensors = {}
    for file in sorted((output / "checkpoints" / f"step-{step:06d}").glob("*.safetensors")):
        tensors |= {f"{file.stem} {name}": tensor for name, tensor in load_file(file).items()}
    return {name: tensor for name, tensor in tensors.items() if " random." not in name}


def losses(output: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (output / "metrics.jsonl").read_text().splitlines()]


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5, msg=name)


def test_checkpoints_evaluations_and_export_are_those_without_sharding(launcher, model, data, tmp_path):
    changes = {"average_decay": 0.9, "outputs": ["dense", "lexical"], "keep_checkpoints": 9, **CHUNKS}
    plain, sharded = tmp_path / "plain", tmp_path / "sharded"
    launcher.finish(1, WATCHED, data, plain, settings_json(model, **changes))
    launcher.finish(2, WATCHED, data, sharded, settings_json(model, sharding="weights", **changes))
    assert losses(sharded) == pytest.approx(losses(plain), rel=1e-4)
    for step in (5, 12):
        assert_close(checkpoint(sharded, step), checkpoint(plain, step))
    for folder in ("seen-4", "model"):
        files = [sorted(file.relative_to(run) for file in (run / folder).rglob("*")) for run in (plain, sharded)]
        assert files[0] == files[1]
        assert_close(*(load_file(run / folder / "model.safetensors") for run in (sharded, plain)))
        assert (plain / folder / "config.json").read_bytes() == (sharded / folder / "config.json").read_bytes()
    assert weights(sharded) == (sharded / "seen-12" / "model.safetensors").read_bytes()
    heads = [torch.load(run / "model" / "sparse_linear.pt", weights_only=True) for run in (sharded, plain)]
    assert_close(*heads)


def test_a_run_goes_on_with_other_numbers_of_processes_sharded_or_not(launcher, model, data, tmp_path):
    sharded, plain = (settings_json(model, sharding=sharding, **CHUNKS) for sharding in ("full", "none"))
    launcher.finish(1, TRAIN, data, tmp_path / "expected", plain, "-", 0, "nothing")
    expected = losses(tmp_path / "expected")
    statuses = launcher.run(2, TRAIN, data, tmp_path / "run", sharded, 1, 6, "stop")
    assert [status for status, _, _ in statuses] == [143, 143]
    [(_, printed, errors)] = launcher.run(1, TRAIN, data, tmp_path / "run", sharded, "-", 0, "nothing")
    assert "resumed from 7" in printed
    assert "was written by 2 processes, and 1 go on" in errors
    assert "sharding full: there is one process" in errors
    assert len(losses(tmp_path / "run")) == 12
    (tmp_path / "run" / "checkpoints" / "step-000012").rename(tmp_path / "later")
    [(status, printed, errors), *_] = launcher.run(3, TRAIN, data, tmp_path / "run", sharded, "-", 0, "nothing")
    assert status == 0, errors
    assert "resumed from 10" in printed
    assert losses(tmp_path / "run") == pytest.approx(expected, rel=1e-4)


def test_going_on_with_whole_weights_where_there_were_shards_is_told(model, tmp_path, caplog):
    layer = nn.Linear(2, 2)
    identity = {"settings": {}, "data": "", "model": "", "guide": None, "dtype": "", "device": ""}
    files = checkpoint_tensors(layer, torch.optim.AdamW(layer.parameters()))
    write_checkpoint(
        tmp_path / "checkpoints", 3, files, {"identity": identity, "ranks": 2, "sharded": True}, torch.Tensor.detach
    )
    checkpoint_to_resume(tmp_path, identity, 2, restart=False, sharded=True)
    assert not caplog.records
    checkpoint_to_resume(tmp_path, identity, 2, restart=False)
    assert "was written with sharding, and this run goes on without" in caplog.text


def test_a_full_disk_at_a_checkpoint_ends_all_ranks_with_a_message(launcher, model, data, tmp_path):
    script = """
        import collections, shutil
        shutil.disk_usage = lambda path: collections.namedtuple("Usage", "total used free")(1, 1, 0)
    """
    ends = launcher.run(
        2,
        textwrap.dedent(script) + textwrap.dedent(TRAIN),
        data,
        tmp_path,
        settings_json(model, sharding="full", silence_seconds=20),
        "-",
        0,
        "nothing",
    )
    assert [status for status, _, _ in ends] == [1, 1]
    assert "The checkpoint of step 5 could not be written" in ends[0][2]
    assert "Writing a checkpoint failed in the first process (CheckpointError" in ends[1][2]


def test_in_bf16_gradients_are_those_of_as_many_processes_without_sharding(launcher, model, data, tmp_path):
    """The same casts, and sums in float32; weights and moments stay in it."""

    def gradient(dtype: str, sharding: str) -> np.ndarray:
        settings = json.loads(settings_json(model, sharding=sharding, max_grad_norm=1e9, **CHUNKS))
        launcher.finish(2, STEPS, data, tmp_path, json.dumps([[dtype, settings]]))
        return np.load(tmp_path / f"0-{sharding}-2.npz")["found"][0, :-2]

    exact, plain, sharded = gradient("float32", "none"), gradient("bfloat16", "none"), gradient("bfloat16", "weights")
    assert 1e-4 < np.linalg.norm(plain - exact) / np.linalg.norm(exact) < 0.1  # bf16 it was
    assert np.linalg.norm(sharded - plain) / np.linalg.norm(exact) < 1e-6


def test_fp16_is_refused_where_it_would_be_sharded(model):
    settings = TrainSettings.model_validate_json(settings_json(model, sharding="full"))
    with pytest.raises(TrainingError, match="sharding full does not go with fp16"):
        _check_sharding(settings, Ranks(1, 2, 1), torch.float16)
    _check_sharding(settings, Ranks(1, 2, 1), torch.bfloat16)


class Repeated(nn.Module):
    """Two layers of one weight."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.layers[1].weight = self.layers[0].weight


class Odd(nn.Module):
    """A layer with a weight that is no rows of numbers."""

    def __init__(self, weight):
        super().__init__()
        self.layers = nn.ModuleList([nn.Module()])
        self.layers[0].scale = nn.Parameter(weight)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(3, 3)), "no modules that are named as layers"),
        (Repeated(), "in several layers"),
        (Odd(torch.tensor(1.0)), r"layers.0.scale of shape \[\] has no rows"),
        (Odd(torch.zeros(2, 3).T), r"layers.0.scale of shape \[3, 2\] has no rows"),
    ],
)
def test_a_model_that_cannot_be_sharded_by_layers_is_refused(model, message):
    device = torch.device("cpu")
    with pytest.raises(TrainingError, match=rf"{message}.* Set sharding none"):
        shard(model, {}, device, torch.float32, Ranks(0, 2), gradients_too=True)


def test_a_copy_has_the_model_s_weights_and_keeps_one_with_two_names_one():
    model = Repeated()
    [copied] = Shards(Ranks(), torch.device("cpu"), ((model, _outline(model)),), True).copies()
    assert copied.layers[0].weight is copied.layers[1].weight
    assert_close(copied.state_dict(), model.state_dict())


def test_whole_gradients_take_four_bytes_a_weight_and_those_in_shards_none():
    parts = ((Repeated(), nn.Module()), (nn.Linear(2, 2).requires_grad_(False), nn.Module()))
    assert Shards(Ranks(), torch.device("cpu"), parts, gradients_too=False).gradient_bytes == 4 * (9 + 3 + 3)
    assert Shards(Ranks(), torch.device("cpu"), parts, gradients_too=True).gradient_bytes == 0


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 6, 7, 9])
def test_ranks_keep_the_rows_that_torch_chunk_gives_them(rows):
    chunks = [len(chunk) for chunk in torch.arange(rows).chunk(4)] if rows else []
    assert [count for count in _rows_of_ranks(rows, 4) if count] == chunks
    assert len(_rows_of_ranks(rows, 4)) == 4


def test_layers_are_the_outermost_modules_with_a_number():
    bert = ["", "encoder", "encoder.layer", "encoder.layer.0", "encoder.layer.0.output", "encoder.layer.11"]
    assert layer_names(bert) == ["encoder.layer.0", "encoder.layer.11"]
    t5 = ["encoder.block", "encoder.block.0", "encoder.block.0.layer", "encoder.block.0.layer.1"]
    assert layer_names(t5) == ["encoder.block.0"]


def test_an_error_of_one_s_own_is_not_blamed_on_another_process():
    with pytest.raises(RuntimeError, match="shapes"), Ranks(0, 2).exchanging():
        raise RuntimeError("shapes do not fit")


class Tables(nn.Module):
    """A buffer that is stored under its second name only, one that is not stored, one with two names."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        twice, hidden = torch.arange(3), torch.arange(4)
        self.register_buffer("first", hidden, persistent=False)
        self.register_buffer("second", hidden)
        self.register_buffer("third", twice)
        self.register_buffer("fourth", twice)
        self.register_buffer("unkept", torch.arange(5), persistent=False)


def test_a_checkpoint_holds_each_stored_buffer_once():
    model = Tables()
    files = checkpoint_tensors(model, torch.optim.AdamW(model.parameters()))
    assert set(files["model.safetensors"]) == {"weight", "second", "third"}
