"""Ablations: one recipe in several variants and seeds, as runs that share what is alike, and a table of what came of them.

    seeds: [0, 1, 2]
    variants:
      - name: all                                    # the first is what the others are compared with
      - {name: without news, without_sources: [news]}
      - {name: in-batch negatives, set: {train.negatives: 0}}
      - {name: batch of 64, set: {train.batch_size: 64}}

In:  a recipe, and such a file.
Out: FOLDER/VARIANT/seed-N, run folders of the jobs up to evaluate; FOLDER/ablation.json and ablation.md.

All runs share one embedding store. A job whose fingerprint another run of the ablation has is not run again: its files are
linked. So seeds repeat the training alone, and variants repeat what they change and what follows from it.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipelines import storage
from pipelines.errors import UserError
from pipelines.job import EVALUATION, is_whole, module_of
from pipelines.launcher import Event, check_inputs, run_recipe
from pipelines.manifest import MANIFEST, read_manifest
from pipelines.recipe import JOBS, Recipe, explain_validation, load_recipe, parse_recipe, yaml_lines
from pipelines.run_folder import RunFolder
from pipelines.training_stages import TrainStages
from pipelines.yaml_text import read_yaml

_NOT_SHARED: Final = ("train", "evaluate", "report")
_LAST: Final = "evaluate"
_STORES: Final = ("embeddings", "decoded")  # folders beside the variants'
BESIDE: Final = ("untrained", "bm25")  # rows of the table: of the first run, they do not depend on the training data


class AblationVariant(BaseModel):
    """One variant: what differs from the recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="of the row in the table, and of the folder")
    set: dict[str, Any] = Field({}, description="settings by their path, e.g. train.batch_size: 64")
    without_sources: tuple[str, ...] = Field((), description="sources to leave out, by label or adapter")
    without_jobs: tuple[str, ...] = Field((), description="jobs to leave out, e.g. mine")

    @property
    def folder(self) -> str:
        """Its folder's name."""
        return re.sub(r"[^\w.-]+", "-", self.name).strip("-.") or "variant"


class Ablation(BaseModel):
    """A file of `pairmill ablate --vary`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variants: tuple[AblationVariant, ...] = Field(description="the first is compared with")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="each variant is trained once with each")
    seed_settings: tuple[str, ...] | None = Field(
        None, description="where a seed goes; default: train.seed, or that of every stage"
    )

    @field_validator("variants")
    @classmethod
    def _folders_differ(cls, variants: tuple[AblationVariant, ...]) -> tuple[AblationVariant, ...]:
        if not variants:
            raise ValueError("there is no variant: name at least one")
        taken = next((each.name for each in variants if each.name in BESIDE or each.folder in _STORES), None)
        if taken is not None:
            raise ValueError(f"{taken!r} is the name of something else in the table or the folder: choose another")
        folders = [variant.folder for variant in variants]
        twice = next((each.name for each in variants if folders.count(each.folder) > 1), None)
        if twice is not None:
            raise ValueError(f"two variants would have the folder of {twice!r}: give each a name of its own")
        return variants

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{list(seeds)} names a seed twice: the same seed trains the same model")
        return seeds


@dataclass(frozen=True)
class AblationRun:
    """One variant with one seed."""

    variant: AblationVariant
    seed: int
    recipe: Recipe
    folder: RunFolder


def load_ablation(path: str) -> Ablation:
    """Read the file of variants. Raises UserError for what is no YAML, and an unknown key or wrong value, with its line."""
    if not storage.exists(path):
        raise UserError(f"There is no file of variants at {path}: --vary names a YAML file with `variants`.")
    with storage.open_for_reading(path) as stream:
        text = stream.read().decode("utf-8", "replace")
    content, tree = read_yaml(text, path)
    lines = yaml_lines(tree)
    try:
        return Ablation.model_validate(content)
    except ValidationError as error:
        raise UserError(explain_validation(error, path, lines, Ablation)) from None


def ablation_runs(recipe: str, ablation: Ablation, folder: str) -> list[AblationRun]:
    """Every run, all seeds of a variant after each other. Raises UserError for a variant that makes no sound recipe."""
    load_recipe(recipe)  # a mistake in the recipe itself is told with its line there
    with storage.open_for_reading(recipe) as stream:
        text = stream.read().decode("utf-8", "replace")
    return [
        AblationRun(
            variant,
            seed,
            _recipe(text, recipe, ablation, variant, seed, folder),
            RunFolder(storage.join(folder, variant.folder, f"seed-{seed}")),
        )
        for variant in ablation.variants
        for seed in ablation.seeds
    ]


def _recipe(text: str, path: str, ablation: Ablation, variant: AblationVariant, seed: int, folder: str) -> Recipe:
    content, _ = read_yaml(text, path)
    where = f"{path}, variant {variant.name!r}"
    name = content.get("name") or Path(path).stem
    content["name"] = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{name}-{variant.folder}-{seed}")[:80]
    content["sources"] = _sources(content["sources"], variant, where)
    for job in variant.without_jobs:
        if job not in JOBS or job not in content:
            raise UserError(f"{where}: there is no job {job!r} in the recipe to leave out.")
        del content[job]
    if not (content.get("embeddings") or {}).get("folder"):
        content["embeddings"] = {**(content.get("embeddings") or {}), "folder": storage.join(folder, _STORES[0])}
    text = yaml.safe_dump(content, allow_unicode=True)
    settings = _settings(parse_recipe(text, where, tell_lines=False), ablation, variant, seed, folder)
    return parse_recipe(text, where, settings, tell_lines=False)


def _sources(entries: list[dict[str, Any]], variant: AblationVariant, where: str) -> list[dict[str, Any]]:
    known = {str(entry.get(key)) for entry in entries for key in ("label", "source") if entry.get(key)}
    unknown = sorted(set(variant.without_sources) - known)
    if unknown:
        raise UserError(
            f"{where}: there is no source {', '.join(unknown)} to leave out; there are {', '.join(sorted(known))}."
        )
    left_out = set(variant.without_sources)
    kept = [
        entry
        for entry in entries
        if entry.get("label", entry["source"]) not in left_out and entry["source"] not in left_out
    ]
    if not kept:
        raise UserError(f"{where}: no source is left.")
    return kept


def _settings(recipe: Recipe, ablation: Ablation, variant: AblationVariant, seed: int, folder: str) -> dict[str, Any]:
    """The overrides of a run. What does not depend on variants, the untrained model and BM25, is evaluated once."""
    if recipe.train is None or recipe.evaluate is None:
        raise UserError("An ablation compares trained models: the recipe needs `train` and `evaluate`.")
    first = variant is ablation.variants[0] and seed == ablation.seeds[0]
    once: dict[str, Any] = {} if first else {"evaluate.untrained": False, "evaluate.bm25": False}
    if not isinstance(recipe.train, TrainStages) and recipe.train.data_cache is None:
        once["train.data_cache"] = storage.join(folder, _STORES[1])
    places = ablation.seed_settings or _seed_settings(recipe)
    fixed = sorted(set(places) & variant.set.keys())
    if fixed and len(ablation.seeds) > 1:
        raise UserError(
            f"Variant {variant.name!r} sets {', '.join(fixed)}, where the seeds {list(ablation.seeds)} go: it would be trained "
            f"{len(ablation.seeds)} times alike. Leave it out of `set`."
        )
    return {**once, **dict.fromkeys(places, seed), **variant.set}


def _seed_settings(recipe: Recipe) -> list[str]:
    if isinstance(recipe.train, TrainStages):
        return [f"train.stages.{stage.name}.seed" for stage in recipe.train.stages]
    return ["train.seed"]


def run_all(
    runs: Sequence[AblationRun],
    display: Callable[[AblationRun], AbstractContextManager[Callable[[Event], None]]],
) -> None:
    """Bring every run up to date, job by job. `display` gives what shows a run. Raises what run_recipe does.

    Files that lack are told before anything runs: evaluation comes last, after hours of training.
    """
    for run in runs:
        check_inputs(run.recipe, run.recipe.jobs())
    done: list[RunFolder] = []
    for run in runs:
        with display(run) as tell:
            for job in run.recipe.jobs():
                if job != "report":
                    adopt(job, run.recipe, run.folder, done)
                    run_recipe(run.recipe, run.folder, tell, [job])
        done.append(run.folder)


def adopt(job: str, recipe: Recipe, run: RunFolder, others: Sequence[RunFolder]) -> bool:
    """Take a finished job from another run, where it has the fingerprint that this run's would have: whether one had it.

    The files that its manifest names are linked (jobs replace files, and change none), the held-out folder is copied.
    """
    module = module_of(job)
    if job in _NOT_SHARED or not storage.is_local(run.url):
        return False
    wanted = module.plan(recipe, run).fingerprint(job, module.VERSION)
    own = read_manifest(run.job(job))
    if own is not None and own.fingerprint == wanted and is_whole(run.job(job), own):
        return False
    for other in others:
        manifest = read_manifest(other.job(job))
        if manifest is not None and manifest.fingerprint == wanted and is_whole(other.job(job), manifest):
            _take(Path(other.job(job)), Path(run.job(job)), [file.path for file in manifest.files])
            return True
    return False


def _take(source: Path, target: Path, files: Sequence[str]) -> None:
    shutil.rmtree(target, ignore_errors=True)
    for path in files:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        _link(source / path, target / path)
    target.mkdir(parents=True, exist_ok=True)
    if (source / EVALUATION).is_dir():
        shutil.copytree(source / EVALUATION, target / EVALUATION, dirs_exist_ok=True)
    shutil.copy2(source / MANIFEST, target / MANIFEST)  # last, as jobs do


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)


def metrics_of(run: AblationRun) -> list[dict[str, Any]]:
    """The rows for all queries (or languages) of a run's evaluation."""
    rows: list[dict[str, Any]] = storage.read_json(storage.join(run.folder.job(_LAST), "metrics.json"))
    return [row for row in rows if row["scope"] == "all"]


def values_by_query(run: AblationRun) -> "Iterator[tuple[tuple[str, str | None, str], Any]]":
    """((data, language, mode), table of values by query) of the trained model."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    file = Path(run.folder.job(_LAST)) / "metrics.queries.parquet"
    if not file.exists():
        return
    table = pq.read_table(file)
    table = table.filter(pc.equal(table["model"], "trained"))
    for key in (
        table.select(["data", "set_language", "mode"])
        .group_by(["data", "set_language", "mode"])
        .aggregate([])
        .to_pylist()
    ):
        chosen = pc.and_(pc.equal(table["data"], key["data"]), pc.equal(table["mode"], key["mode"]))
        language = table["set_language"]
        of_language = pc.is_null(language) if key["set_language"] is None else pc.equal(language, key["set_language"])
        yield (key["data"], key["set_language"], key["mode"]), table.filter(pc.and_kleene(chosen, of_language))
