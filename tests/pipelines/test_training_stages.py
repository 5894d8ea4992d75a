"""Training in stages: what a recipe may say, and a run of three stages from texts and pairs to one model."""

import json
import random
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from pipelines.command_line import app
from pipelines.errors import UserError
from pipelines.job import Job, Plan
from pipelines.job_process import execute
from pipelines.jobs import train
from pipelines.manifest import read_manifest
from pipelines.recipe import dump_recipe, load_recipe, parse_recipe
from pipelines.run_folder import RunFolder
from pipelines.training_stages import TrainStages
from tests.trainer.packed_folder import some_rows, write_folder
from tests.trainer.tiny_model import WORDS, write_tiny_model
from trainer.backbone import model_fingerprint
from trainer.encoder import Encoder, EncoderSettings

RECIPES = Path(__file__).parents[2] / "recipes"
STAGED = """\
sources: [{source: jsonl, paths: [a.jsonl]}]
dedup: {}
pack: {model: m, texts: {}}
train:
  model: m
  stages:
    - {name: retromae, kind: pretrain, steps: 3}
    - name: pairs
      steps: 4
      batch_size: 8
"""


@pytest.mark.parametrize("name", ["bge", "m3"])
def test_the_recipes_of_the_papers_are_sound(name):
    recipe = load_recipe(str(RECIPES / f"{name}.yaml"))
    assert isinstance(recipe.train, TrainStages)
    assert [stage.kind for stage in recipe.train.stages] == ["pretrain", "contrastive", "contrastive"]
    labels = {source.label for source in recipe.sources}
    chosen = [stage.settings("m").datasets for stage in recipe.train.stages[1:]]
    assert set(chosen[0]) | set(chosen[1]) == labels and not set(chosen[0]) & set(chosen[1])


def test_a_dry_run_lists_jobs_and_stages_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, ["run", str(RECIPES / "m3.yaml"), "--dry-run", "--set", "train.stages.retromae.steps=5"]
    )
    assert done.exit_code == 0, done.output
    assert "train         retromae (pretrain), contrastive (contrastive), fine-tune (contrastive)" in done.output
    assert not list(tmp_path.iterdir())


def test_a_staged_recipe_reads_back_as_itself_and_single_settings_can_be_replaced():
    recipe = parse_recipe(STAGED, "r.yaml")
    assert parse_recipe(dump_recipe(recipe), "frozen") == recipe
    other = parse_recipe(STAGED, "r.yaml", {"train.stages.pairs.steps": 9, "train.stages.0.steps": 2})
    assert [stage.settings("m").steps for stage in other.train.stages] == [2, 9]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "batch_size",
            "batch_sise",
            r"line 10: unknown setting `train\.stages\.1\.batch_sise`; did you mean `batch_size`",
        ),
        ("batch_size: 8", "batch_size: x", r"line 10: `train\.stages\.1\.batch_size`: .*found 'x'"),
        ("steps: 3", "steps: 3, batch_sise: 8", r"line 7: unknown setting `train\.stages\.0\.batch_sise`"),
        ("      steps: 4\n", "", r"line 8: `train\.stages\.1\.steps` is missing"),
        ("name: pairs", "name: retromae", r"two stages are named 'retromae'"),
        ("name: pairs", "name: model", r"'model' is no name for a stage's folder"),
        ("name: pairs", "name: ../up", r"'\.\./up' is no name for a stage's folder"),
        ("kind: pretrain", "kind: retromae", r"line 7: `train\.stages\.0\.kind`.*found 'retromae'"),
        ("steps: 4", "steps: 4\n      epochs: 1", r"line 8: stage pairs has `steps` and `epochs`"),
        ("steps: 3", "epochs: 3", r"line 7: stage retromae pre-trains, and takes `steps`"),
        (", texts: {}", "", r"line 7: stage retromae pre-trains on plain text; add `texts: {}` to `pack`"),
        ("  model: m\n  stages:", "  model: m\n  step: 1\n  stages:", r"line 6: unknown setting `train\.step`"),
    ],
)
def test_a_mistake_in_a_stage_is_named_with_its_line(old, new, expected):
    with pytest.raises(UserError, match=expected):
        parse_recipe(STAGED.replace(old, new, 1), "r.yaml")


def test_a_mistake_in_a_plain_section_is_told_as_before():
    plain = STAGED.partition("  stages:")[0] + "  steps: 5\n  batch_sise: 8\n"
    with pytest.raises(UserError, match=r"line 7: unknown setting `train\.batch_sise`; did you mean `batch_size`"):
        parse_recipe(plain, "r.yaml")


def write_corpus(path: Path, documents: int, seed: int) -> str:
    choose = random.Random(seed)
    rows = [
        {"title": " ".join(choose.choices(WORDS, k=4)), "body": " ".join(choose.choices(WORDS, k=25)), "id": f"d{row}"}
        for row in range(documents)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def recipe_file(folder: Path, fine_tuning_rate: float = 1e-3) -> str:
    """Texts and unlabelled pairs of one source, labelled pairs of another; a stage of each kind and one after them."""
    model = folder / "base"
    if not model.exists():
        write_tiny_model(model)
    fields = {"query": "title", "positive": "body", "document_id": "id", "kind": "title_body", "language": "en"}
    web = {
        "source": "jsonl",
        "label": "web",
        "paths": [write_corpus(folder / "web.jsonl", 30, 1)],
        "documents": True,
        "text": "body",
    }
    judged = {"source": "jsonl", "label": "judged", "paths": [write_corpus(folder / "judged.jsonl", 20, 2)]}
    same = {"precision": "fp32", "device": "cpu", "checkpoint_every": 2}
    stages = [
        {"name": "retromae", "kind": "pretrain", "steps": 3, "batch_size": 8, **same},
        {"name": "pairs", "datasets": ["web"], "epochs": 1, "batch_size": 8, "negatives": 0, **same},
        {"name": "fine-tune", "datasets": ["judged"], "steps": 3, "batch_size": 4, "learning_rate": fine_tuning_rate}
        | {"outputs": ["dense", "lexical", "multi_vector"], "self_distillation_from": 2, **same},
    ]
    content = {
        "name": "staged",
        "sources": [web | fields, judged | fields],
        "dedup": {"near": None, "held_out_share": 0.2, "held_out_sources": ["judged"]},
        "pack": {"model": str(model), "texts": {"max_length": 32}},
        "train": {"model": str(model), "stages": stages},
        "evaluate": {"bm25": False, "untrained": False},
    }
    path = folder / "staged.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize(
    ("later", "message"),
    [
        ("datasets: [nowhere]", "Stage pairs: .*nowhere"),
        ("instruction_share: 0", "Stage pairs: instruction_share is 0.*keep_plain_queries"),
        ("require_negatives: true", "Stage pairs: 10 of 40 pairs have no negative"),
    ],
)
def test_what_the_data_lack_for_a_later_stage_is_said_before_the_first_runs(tmp_path, monkeypatch, later, message):
    write_folder(tmp_path / "pack", *some_rows())
    recipe = parse_recipe(STAGED.replace("batch_size: 8", later), "r.yaml")
    monkeypatch.setattr(train, "_run_stage", None)
    with pytest.raises(UserError, match=message):
        train.execute(Job("train", recipe, RunFolder(str(tmp_path)), Plan({}, []), ""))


def test_a_stage_whose_model_was_removed_is_not_done(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "stage.json").write_text(json.dumps({"fingerprint": "f", "model_fingerprint": "m"}))
    assert train._record(tmp_path, "f") is None


def run(path: str, folder: Path, jobs=None) -> None:
    """The jobs one after the other, in this process: each would spend seconds on importing torch."""
    for job in jobs or load_recipe(path).jobs():
        execute(path, RunFolder(str(folder)), job)


def weights(folder: Path) -> dict:
    return load_file(folder / "model" / "model.safetensors")


def stamps(folder: Path) -> dict[str, int]:
    names = ("retromae", "pairs", "fine-tune")
    return {name: (folder / name / "model" / "model.safetensors").stat().st_mtime_ns for name in names}


def test_three_stages_run_one_from_the_other_and_only_what_changed_runs_again(tmp_path):
    run(recipe_file(tmp_path), tmp_path / "run")
    trained = tmp_path / "run" / "train"
    records = read_manifest(str(trained)).details["stages"]
    assert [record["name"] for record in records] == ["retromae", "pairs", "fine-tune"]
    prints = [model_fingerprint(str(trained / record["name"] / "model")) for record in records]
    assert [record["model_fingerprint"] for record in records] == prints
    assert [record["from_fingerprint"] for record in records] == [
        model_fingerprint(str(tmp_path / "base")),
        *prints[:2],
    ]
    assert [record["from"] for record in records] == ["base", "retromae", "pairs"]
    assert not (trained / "pairs" / "checkpoints").exists()

    # The last stage's model is the job's, and is what was evaluated.
    assert model_fingerprint(str(trained / "model")) == prints[2]
    outputs = Encoder(EncoderSettings(model=str(trained / "model"))).outputs
    assert outputs == {"dense", "lexical", "multi_vector"}
    assert {row["model"] for row in json.loads((tmp_path / "run/evaluate/metrics.json").read_text())} == {"trained"}
    assert "Loss by step" in (tmp_path / "run/report/index.html").read_text("utf-8")

    card = (trained / "model" / "README.md").read_text("utf-8")
    for number, (before, record) in enumerate(zip(["base", "retromae", "pairs"], records, strict=True), 1):
        start = f"{number}. `{record['name']}` "
        line = next(line for line in card.splitlines() if line.startswith(start))
        assert f"from `{before}`" in line and record["from_fingerprint"] in line
    # Each stage reads its own pairs: 30 of the web in batches of 8, those judged that are not held out.
    steps = [
        len((trained / name / "metrics.jsonl").read_text().splitlines()) for name in ("retromae", "pairs", "fine-tune")
    ]
    assert steps == [3, 4, 3]
    assert "judged" in card and "- web:" not in card

    before, made = stamps(trained), weights(trained)
    run(recipe_file(tmp_path, fine_tuning_rate=2e-3), tmp_path / "run", ["train"])
    after = stamps(trained)
    assert [name for name in before if before[name] != after[name]] == ["fine-tune"]
    assert any(not (made[name] == each).all() for name, each in weights(trained).items())

    # Killed after the first stage: what was done stays, and the end is the same.
    wanted = weights(trained)
    for name in ("_MANIFEST.json", "pairs/stage.json", "fine-tune/stage.json"):
        (trained / name).unlink()
    run(recipe_file(tmp_path, fine_tuning_rate=2e-3), tmp_path / "run", ["train"])
    assert stamps(trained)["retromae"] == before["retromae"]
    assert all((wanted[name] == each).all() for name, each in weights(trained).items())
