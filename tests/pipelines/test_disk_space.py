from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pipelines import disk_space
from pipelines.disk_space import check_room, needed_bytes, training_bytes
from pipelines.errors import UserError
from pipelines.launcher import _environment, _temporary_folder, run_recipe
from pipelines.manifest import Manifest, write_manifest
from pipelines.recipe import Recipe, load_recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import ShardFile


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def recipe(tiny_recipe: Callable[..., Path]) -> Recipe:
    return load_recipe(str(tiny_recipe()))


def raw_bytes(recipe: Recipe) -> int:
    return sum(path.stat().st_size for path in Path(recipe.sources[0].paths[0]).parent.glob("*.jsonl"))


def write_job(run: RunFolder, job: str, size: int, inputs: list[dict]) -> None:
    counts = {"rows_in": 1, "rows_out": 1, "dropped": {}, "funnel": {}}
    shard = ShardFile(role="pairs", path="pairs/a.parquet", rows=1, bytes=size, sha256="0" * 64)
    folder = Path(run.job(job)) / "pairs"
    folder.mkdir(parents=True)
    (folder / "a.parquet").write_bytes(b"0" * size)
    write_manifest(
        run.job(job),
        Manifest(job=job, pairmill="0", fingerprint="x", settings={}, inputs=inputs, files=[shard], **counts),
    )


def test_without_history_a_job_is_expected_to_write_what_it_reads_times_a_factor(
    recipe: Recipe, tmp_path: Path
) -> None:
    run = RunFolder(str(tmp_path / "run"))
    assert needed_bytes(recipe, run, "extract") == round(1.2 * raw_bytes(recipe))
    write_job(run, "extract", 50_000, [])
    assert needed_bytes(recipe, run, "filter") == 90_000  # 1.8 times
    assert needed_bytes(recipe, run, "report") == 0


def test_with_history_it_is_what_was_written_before_by_the_growth_of_what_is_read(
    recipe: Recipe, tmp_path: Path
) -> None:
    run, raw = RunFolder(str(tmp_path / "run")), raw_bytes(recipe)
    write_job(run, "extract", 10_000, [{"source": 0, "path": "part-0.jsonl", "bytes": raw // 4, "stamp": "1"}])
    manifest = (tmp_path / "run" / "extract" / "_MANIFEST.json").stat().st_size
    grown = 10_000 * raw / (raw // 4)
    assert needed_bytes(recipe, run, "extract") == round(grown - 10_000 - manifest)


def test_a_job_that_writes_the_same_again_needs_a_tenth_of_it(recipe: Recipe, tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path / "run"))
    inputs = [{"source": 0, "path": "part-0.jsonl", "bytes": raw_bytes(recipe), "stamp": "1"}]
    write_job(run, "extract", 10_000, inputs)
    assert needed_bytes(recipe, run, "extract") == 1_000


def test_training_needs_its_model_and_its_checkpoints(recipe: Recipe, tiny_model: str) -> None:
    weights = (Path(tiny_model) / "model.safetensors").stat().st_size
    assert recipe.train is not None
    assert training_bytes(recipe) == weights * (1 + 4 * (recipe.train.keep_checkpoints + 1))


def free_bytes(monkeypatch: pytest.MonkeyPatch, of_run: int, of_temporary: int, run: Path, total: int = 10**12) -> None:
    def usage(folder: Path) -> Usage:
        return Usage(total, 0, of_run if folder == run.parent or run in (folder, *folder.parents) else of_temporary)

    monkeypatch.setattr(disk_space.shutil, "disk_usage", usage)
    monkeypatch.setattr(disk_space.tempfile, "gettempdir", lambda: "/")


def test_a_job_is_refused_where_the_disk_has_too_little_room(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(str(tmp_path / "run"))
    assert recipe.runner.disk_reserve_bytes == "auto"
    enough = 256 * 2**20 + round(1.2 * raw_bytes(recipe))
    free_bytes(monkeypatch, enough, 10**12, tmp_path / "run")
    check_room(recipe, run, "extract")
    free_bytes(monkeypatch, enough - 1, 10**12, tmp_path / "run")
    with pytest.raises(UserError, match=r"Job extract is expected to write .* MB into .*run, where 268.5 MB are free"):
        check_room(recipe, run, "extract")
    without = recipe.model_copy(update={"runner": recipe.runner.model_copy(update={"disk_reserve_bytes": None})})
    check_room(without, run, "extract")


def test_on_a_small_disk_a_run_that_fits_begins(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, total = RunFolder(str(tmp_path / "run")), 40 * 2**20
    enough = total // 20 + round(1.2 * raw_bytes(recipe))
    free_bytes(monkeypatch, enough, total // 20, tmp_path / "run", total)
    check_room(recipe, run, "extract")
    free_bytes(monkeypatch, enough - 1, total // 20, tmp_path / "run", total)
    with pytest.raises(UserError, match=r"runner.disk_reserve_bytes keeps 2\.1 MB"):
        check_room(recipe, run, "extract")
    runner = recipe.runner.model_copy(update={"disk_reserve_bytes": 10 * 2**20})
    free_bytes(monkeypatch, enough, total, tmp_path / "run", total)
    with pytest.raises(UserError, match=r"keeps 10\.5 MB"):
        check_room(recipe.model_copy(update={"runner": runner}), run, "extract")


def test_a_full_temporary_folder_is_told_before_work(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_bytes(monkeypatch, 10**12, 10**6, tmp_path / "run")
    with pytest.raises(UserError, match=r"The folder for temporary files, /, has 1\.0 MB free"):
        check_room(recipe, RunFolder(str(tmp_path / "run")), "extract")


def test_no_process_starts_where_there_is_no_room(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_bytes(monkeypatch, 10**6, 10**12, tmp_path / "run")
    events: list[str] = []
    with pytest.raises(UserError, match="Make room"):
        run_recipe(recipe, RunFolder(str(tmp_path / "run")), lambda event: events.append(event.kind))
    assert "started" not in events
    assert not (tmp_path / "run" / "extract").exists()


def test_an_object_store_is_not_asked(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free_bytes(monkeypatch, 0, 10**12, tmp_path)
    check_room(recipe, RunFolder("memory://run"), "extract")


def test_a_job_has_a_temporary_folder_of_its_own_that_goes_with_it(tmp_path: Path) -> None:
    with _temporary_folder(str(tmp_path / "recipe.yaml")) as folder:
        assert _environment(folder)["TMPDIR"] == str(folder)
        (folder / "beam-pipeline-temp").mkdir()
    assert list(tmp_path.iterdir()) == []
