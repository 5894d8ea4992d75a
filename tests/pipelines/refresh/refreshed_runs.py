"""Refreshes of small recipes, with jobs in the test's own process: Beam and torch are imported once."""

import hashlib
from pathlib import Path

from pipelines import job_process, launcher
from pipelines.manifest import read_manifest
from pipelines.recipe import Recipe
from pipelines.refresh.command import Refreshed, RefreshOptions, refresh
from pipelines.run_folder import RunFolder
from tests.pipelines.conftest import WORDS, recipe_content


def run_job_here(recipe, run, name, recipe_file, inherited, tell):
    """In place of launcher._run_job."""
    tell(launcher.Event("started", name))
    job_process.execute(recipe_file, run, name)
    manifest = read_manifest(run.job(name))
    tell(launcher.Event("finished", name, manifest=manifest))
    return manifest


def write_rows(file: Path, rows: range) -> None:
    """JSONL rows of a title and a body that no other row has, a document each."""
    lines = []
    for row in rows:
        title = f"the {WORDS[row % 20]} and the {WORDS[row // 20 % 20]} of {row}"
        body = " ".join(WORDS[(row * step + step * step) % 19] for step in range(1, 30)) + f" {row}"
        lines.append(f'{{"title": "{title}", "body": "{body}", "id": "doc-{row}"}}\n')
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(lines))


def small_recipe(corpus: Path, model: str, *jobs: str, **more: object) -> Recipe:
    """Sources and the given jobs of the tiny recipe, in a form that takes little time."""
    content = recipe_content(corpus, model)
    content["dedup"] = {"held_out_share": 0.2, "near": None}
    content["train"] |= {"steps": 2, "checkpoint_every": 2}
    content["evaluate"] = {"untrained": False, "bm25": False}
    kept = {key: content[key] for key in ("name", "seed", "sources", *jobs)}
    return Recipe.model_validate(kept | more)


def refreshed(recipe: Recipe, run: Path, **options: bool) -> Refreshed:
    return refresh(recipe, RunFolder(str(run)), lambda event: None, options=RefreshOptions(**options))


def packed_bytes(run: Path) -> dict[str, str]:
    """sha256 of every file that pack's manifest names."""
    manifest = read_manifest(str(run / "pack"))
    return {file.path: hashlib.sha256((run / "pack" / file.path).read_bytes()).hexdigest() for file in manifest.files}


def tree(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}
