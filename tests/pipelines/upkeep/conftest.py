"""A finished run without an encoder, made once and copied for each test."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines.launcher import run_recipe
from pipelines.recipe import load_recipe
from pipelines.run_folder import RunFolder
from tests.pipelines.conftest import recipe_content, write_corpus


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Path:
    """extract, filter, dedup, pack of a tiny corpus."""
    folder = tmp_path_factory.mktemp("finished")
    write_corpus(folder / "corpus")
    content = recipe_content(folder / "corpus", tiny_model)
    content = {key: content[key] for key in ("name", "seed", "sources", "filter", "dedup", "pack")}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    run = RunFolder(str(folder / "run"))
    recipe = load_recipe(str(folder / "tiny.yaml"))
    run_recipe(recipe, run, lambda event: None, [job for job in recipe.jobs() if job != "report"])
    return folder / "run"


@pytest.fixture
def copied_run(finished_run: Path, tmp_path: Path) -> Path:
    target = tmp_path / "run"
    shutil.copytree(finished_run, target)
    return target


@pytest.fixture
def one_file() -> Callable[[Path, str], Path]:
    def first(run: Path, pattern: str) -> Path:
        return sorted(run.glob(pattern))[0]

    return first
