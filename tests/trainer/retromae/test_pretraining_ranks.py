"""Pre-training by several processes: the losses and gradients of one, and the same weights on all."""

import numpy as np
import pytest

from tests.trainer.retromae.texts_folder import some_texts, write_model, write_texts
from tests.trainer.test_ranks import Launcher

# Three steps in float64 without dropout, then a run through `pretrain` with it.
SCRIPT = """
    import hashlib, sys
    from dataclasses import replace
    from pathlib import Path
    import numpy as np, torch
    from trainer.distributed import join_ranks
    from trainer.packed_texts import PackedTexts
    from trainer.retromae.models import language_model
    from trainer.retromae.objective import RetroMAEObjective
    from trainer.retromae.pretrain import pretrain
    from trainer.retromae.settings import PretrainSettings
    from trainer.retromae.text_plan import TextPlan
    from trainer.training_run import TrainingRun
    data, model, output, what = sys.argv[1:]
    given = {"model": model, "device": "cpu", "batch_size": 7, "steps": 4, "tokens_per_forward": 60,
             "precision": "fp32", "checkpoint_every": 2, "silence_seconds": 60, "learning_rate": 1e-3}
    if what == "exact":
        settings = PretrainSettings(**given, bag_of_words_weight=0.1, max_grad_norm=1e9)
        with join_ranks("cpu", 60) as ranks:
            language = language_model(settings)
            language = replace(language, model=language.model.double())
            texts = PackedTexts.open(data)
            exact = {"device": torch.device("cpu"), "dtype": torch.float64, "ranks": ranks}
            plan = TextPlan(texts.tokens.lengths, settings.batch_size, settings.seed)
            objective = RetroMAEObjective(texts, plan, language, settings, **exact)
            run = TrainingRun(objective, settings, Path(output), identity={}, checkpoint=None, **exact)
            for step in range(3):
                line, _ = run.step(step, objective.prepare(step), stop=False)
                if ranks.leads:
                    gradients = run.gradients.gradients.numpy()
                    figures = [line[name] for name in ("loss", "encoder_loss", "decoder_loss", "texts", "tokens")]
                    np.savez(Path(output) / f"{ranks.count}-{step}.npz", gradients=gradients, figures=figures)
    else:
        print("resumed from", pretrain(data, output, PretrainSettings(**given)).resumed_from)
        print(hashlib.sha256((Path(output) / "model" / "model.safetensors").read_bytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    launcher = Launcher(tmp_path_factory.mktemp("launcher"))
    yield launcher
    launcher.process.stdin.close()
    launcher.process.wait()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("data"), some_texts(21))


def test_losses_and_gradients_are_the_same_on_one_and_two_ranks(launcher, data, tmp_path):
    calm = write_model(tmp_path / "calm", dropout=0.0, spread=0.3)
    for count in (1, 2):
        launcher.finish(count, SCRIPT, data, calm, tmp_path, "exact")
    for step in range(3):
        one, two = (np.load(tmp_path / f"{count}-{step}.npz") for count in (1, 2))
        assert two["figures"] == pytest.approx(one["figures"], rel=1e-9)
        assert np.linalg.norm(one["gradients"]) > 0.1
        distance = np.linalg.norm(two["gradients"] - one["gradients"])
        assert distance / np.linalg.norm(one["gradients"]) < 1e-8


def test_two_ranks_go_on_from_a_checkpoint_to_the_same_bytes(launcher, data, tmp_path):
    model = write_model(tmp_path / "model")
    whole = launcher.finish(2, SCRIPT, data, model, tmp_path / "whole", "run")
    launcher.finish(2, SCRIPT, data, model, tmp_path / "parts", "run")
    # As if it had been killed after step 2.
    for folder in ("model", "checkpoints/step-000004"):
        for file in sorted((tmp_path / "parts" / folder).rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
    again = launcher.finish(2, SCRIPT, data, model, tmp_path / "parts", "run")
    assert "resumed from 2" in again[0]
    assert again[0].splitlines()[-1] == whole[0].splitlines()[-1]
