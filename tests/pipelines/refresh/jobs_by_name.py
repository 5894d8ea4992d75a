"""Refreshes of a recipe with every job, where jobs write nothing but their manifests: what the parent process does alone."""

from pathlib import Path

from rich.console import Console

from pipelines import launcher
from pipelines.job import module_of
from pipelines.manifest import write_manifest
from pipelines.recipe import JOBS, Recipe, load_recipe
from pipelines.refresh.command import RefreshOptions
from pipelines.refresh.shown import refresh_shown
from pipelines.run_folder import RunFolder
from tests.pipelines.evaluation_folders import write_sts
from tests.pipelines.refresh.models import a_manifest, write_model
from tests.pipelines.refresh.refreshed_runs import small_recipe, write_rows

DETAILS = {"evaluate": {"metrics": []}, "train": {"training": {"loss": 1.0}}}


def refresh_first(folder: str) -> None:
    """Make a corpus and a run in `folder`, whose first model is promoted."""
    write_rows(Path(folder) / "corpus/a.jsonl", range(40))
    (Path(folder) / "set.jsonl").write_text('{"_id": "q", "text": "which river"}\n')
    write_model(Path(folder) / "base", "base")
    write_sts(Path(folder) / "sts")
    launcher._run_job = only_the_manifest
    assert _refreshed(folder) == "promoted"


def refresh_again(folder: str) -> None:
    """Refresh it with nothing new."""
    launcher._run_job = None
    assert _refreshed(folder) == "nothing_new"


def _refreshed(folder: str) -> str:
    done = refresh_shown(
        Console(), every_job(Path(folder)), RunFolder(f"{folder}/run"), RefreshOptions(), log_json=False
    )
    assert [job.job for job in done.record.jobs] == list(JOBS)
    return done.record.outcome


def only_the_manifest(recipe, run, name, recipe_file, inherited, tell):
    """In place of launcher._run_job."""
    module = module_of(name)
    plan = module.plan(load_recipe(recipe_file), run)
    if name == "train":
        write_model(Path(run.url) / "train/model", "trained")
    manifest = a_manifest(name, plan.fingerprint(name, module.VERSION), details=DETAILS.get(name, {}))
    manifest = manifest.model_copy(update={"settings": plan.settings, "inputs": plan.inputs})
    write_manifest(run.job(name), manifest)
    tell(launcher.Event("finished", name, manifest=manifest))
    return manifest


def every_job(folder: Path) -> Recipe:
    model = str(folder / "base")
    client = {"base_url": "http://localhost:9", "model": "m", "key_variable": None}
    return small_recipe(
        folder / "corpus",
        model,
        *("filter", "dedup", "score", "mine", "pack", "train"),
        synthesize={"client": client, "prompt": "mldr"},
        decontaminate={"evaluation_sets": [{"name": "set", "queries": [str(folder / "set.jsonl")]}]},
        evaluate={"data": [str(folder / "sts")], "others": {"base": model}},
        refresh={"training": "continue"},
    )
