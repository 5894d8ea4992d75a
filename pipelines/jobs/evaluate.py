"""evaluate: the trained model beside the untrained one and BM25, on the held-out pairs and on folders of any layout.

evaluate/metrics.json, metrics.queries.parquet, metrics.comparisons.json   see pipelines/evaluate_results.py
evaluate/moved.json     which queries training moved most (pipelines/evaluate_moved.py); the report makes a page of it
evaluate/runs/          TREC run files, where `runs` asks for them

Dense vectors come from the run's embedding store: an unchanged model and corpus are not encoded again.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipelines import storage
from pipelines.embeddings import Embeddings, load_encoder, prepare
from pipelines.errors import UserError
from pipelines.evaluate_compare import compared
from pipelines.evaluate_moved import side_by_side
from pipelines.evaluate_published import published_rows
from pipelines.evaluate_results import write_results
from pipelines.evaluate_sets import EvaluationSet, load_sets
from pipelines.evaluate_settings import EvaluationFolder
from pipelines.evaluate_systems import Chosen, Embed, Result, evaluate_bm25, evaluate_model, save_runs, vectors_folder
from pipelines.job import EVALUATION, Job, Outcome, Plan, finished
from pipelines.jobs.extract import content_store
from pipelines.jobs.train import local_path
from pipelines.manifest import settings_dump
from pipelines.progress import TaskProgress, announce, signs_of_life
from pipelines.recipe import EvaluateSettings, Recipe
from pipelines.refresh.versions import fingerprint_of
from pipelines.run_folder import RunFolder
from pipelines.training_stages import TrainStages
from sources.packaged import resolve_package_path
from trainer.backbone import model_fingerprint

if TYPE_CHECKING:
    from trainer.encoder import EncoderSettings

VERSION = 2  # vectors rounded to float16 as in the store; more metrics, tasks, comparisons
METRICS = "metrics.json"
MOVED: Final = "moved.json"
RUNS: Final = "runs"
TRAINED, UNTRAINED = "trained", "untrained"
OTHER: Final = "other"  # in the manifest's inputs, a further model's name


def check_inputs(recipe: Recipe) -> None:
    """Raises UserError for a folder of evaluate.data that is not there, and for a metric that is none."""
    for folder in recipe.evaluate.data if recipe.evaluate else ():
        if not Path(folder.path).exists():
            raise UserError(
                f"evaluate.data names {folder.path}, and there is no such folder. Correct the path, or leave it out."
            )
    for name, path in recipe.evaluate.others.items() if recipe.evaluate else ():
        if not Path(resolve_package_path(path)).is_dir():
            raise UserError(
                f"evaluate.others names {path} as {name}, and there is no such folder. Correct the path, or leave it out."
            )
    if recipe.evaluate and recipe.evaluate.metrics is not None:
        from trainer.evaluate.metrics import depth_of

        try:
            depth_of(recipe.evaluate.metrics)
        except ValueError as error:
            raise UserError(f"evaluate.metrics: {error}") from None


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.evaluate is not None and recipe.pack is not None
    inputs: list[dict[str, Any]] = [{"job": "pack", "fingerprint": finished(run, "pack").fingerprint}]
    if recipe.train is not None:
        inputs.append({"job": "train", "fingerprint": finished(run, "train").fingerprint})
    inputs += _data_files(recipe, run)
    if recipe.evaluate.untrained:
        inputs.append({"model": model_fingerprint((recipe.train or recipe.pack).model)})
    for name, path in recipe.evaluate.others.items():
        inputs.append({OTHER: name, "model": fingerprint_of(path)})
    return Plan(planned_settings(recipe.evaluate), inputs)


def planned_settings(settings: EvaluateSettings) -> dict[str, Any]:
    """The settings as the manifest has them: further models are among its inputs, by name and content, wherever they lie."""
    return {name: value for name, value in settings_dump(settings).items() if name != "others"}


def _data_files(recipe: Recipe, run: RunFolder) -> list[dict[str, Any]]:
    """Every file of evaluate.data, and what tells whether it changed: its content, or its time where the recipe says so."""
    assert recipe.evaluate is not None
    contents = content_store(recipe, run, "evaluate")
    files = [path for folder in recipe.evaluate.data for path in _files(Path(folder.path))]
    if contents is None:
        return [{"data": str(path), "bytes": path.stat().st_size, "mtime": path.stat().st_mtime_ns} for path in files]
    read = contents.read([str(path.absolute()) for path in files])
    contents.save()
    states = [(path, *read[str(path.absolute())]) for path in files]
    return [{"data": str(path), "bytes": size, "content": content} for path, size, content in states]


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())


def execute(job: Job) -> Outcome:
    settings = job.recipe.evaluate
    assert settings is not None
    if not storage.is_local(job.run.url):
        raise UserError(
            f"Evaluation reads and writes a local disk, and this run is at {job.run.url}. Copy its pack/{EVALUATION} and train/model here and use `pairmill evaluate`."
        )
    folders = _evaluation_folders(job, settings)
    if not folders:
        raise UserError(
            "There is nothing to evaluate on: no pair was held out and evaluate.data names no folder. Set dedup.held_out_share, or name folders."
        )
    models = _models(job, settings)
    folder = Path(local_path(job.folder))
    with tempfile.TemporaryDirectory(prefix="pairmill-evaluate-") as work:
        with signs_of_life(TaskProgress(job.folder, "read")):  # a corpus may hold a hundred million passages
            sets = load_sets(folders, work)
        announce(job.folder, [f"{name} on {of.title}" for name in [*models, *_bm25_name(settings)] for of in sets])
        vectors = prepare(job)
        results = [
            each
            for name, path in models.items()
            for each in _of_model(
                job, name, _encoding(job, settings, name, path), sets, vectors, vectors_folder(sets, work)
            )
        ]
        with signs_of_life(TaskProgress(job.folder, "figures")):
            results += _of_bm25(job, settings, sets)
            results = [each for of in sets for each in results if each.of is of]
            comparisons = compared(_untrained_first(results))
            write_results(folder / METRICS, results, comparisons, published_rows(sets))
            storage.remove(storage.join(job.folder, RUNS))  # of an earlier evaluation
            if settings.runs:
                save_runs(folder / RUNS, results)
            _keep_moved(job, settings, results)
    return Outcome([], {"metrics": [row for result in results for row in result.rows]})


def _evaluation_folders(job: Job, settings: EvaluateSettings) -> list[EvaluationFolder]:
    held_out = storage.join(job.run.job("pack"), EVALUATION)
    there = [EvaluationFolder(path=local_path(held_out))] if storage.exists(held_out) else []
    return [*there, *settings.data]


def _models(job: Job, settings: EvaluateSettings) -> dict[str, str]:
    assert job.recipe.pack is not None
    models = {}
    if job.recipe.train is not None:
        models[TRAINED] = local_path(storage.join(job.run.job("train"), "model"))
    if settings.untrained:
        models[UNTRAINED] = job.recipe.train.model if job.recipe.train else job.recipe.pack.model
    return models | settings.others


def _bm25_name(settings: EvaluateSettings) -> list[str]:
    return ["bm25"] if settings.bm25 else []


def _of_model(
    job: Job,
    name: str,
    encoding: "EncoderSettings",
    sets: Sequence[EvaluationSet],
    vectors: Embeddings,
    work: str | None,
) -> Iterator[Result]:
    assert job.recipe.evaluate is not None
    encoder = load_encoder(encoding.model_dump_json())
    encoder.on_batch = TaskProgress(job.folder, name).beat
    embedded = _embedded(vectors, encoding, encoder.on_batch)
    try:
        yield from evaluate_model(encoder, name, sets, _chosen(job.recipe.evaluate), work=work, embedded=embedded)
    finally:
        encoder.close()
        load_encoder.cache_clear()  # one model at a time lies in memory


def _embedded(vectors: Embeddings, encoding: "EncoderSettings", beat: Callable[[int], None]) -> Embed:
    return lambda role, texts: vectors.embed(encoding, role, texts, beat)


def _of_bm25(job: Job, settings: EvaluateSettings, sets: Sequence[EvaluationSet]) -> list[Result]:
    if not settings.bm25:
        return []
    assert job.recipe.pack is not None
    tokens = job.recipe.pack.model if settings.bm25_tokens else None
    found: list[Result] = []
    for of in sets:
        if of.retrieval is not None:
            found += evaluate_bm25(of, _chosen(settings), tokens)
    return found


def _chosen(settings: EvaluateSettings) -> Chosen:
    return Chosen(settings.modes, settings.metrics, settings.weights, 100 if settings.runs else None)


def _untrained_first(results: Sequence[Result]) -> list[Result]:
    """What the others are compared with comes first."""
    return sorted(results, key=lambda each: each.system != UNTRAINED)


def _keep_moved(job: Job, settings: EvaluateSettings, results: Sequence[Result]) -> None:
    url = storage.join(job.folder, MOVED)
    systems = {each.system for each in results}
    if not settings.moved_queries or not {TRAINED, UNTRAINED} <= systems:
        storage.remove(url)  # of an earlier evaluation
        return
    shown = side_by_side(results, UNTRAINED, TRAINED, settings.moved_queries)
    with storage.atomic_write(url) as stream:
        stream.write(shown.model_dump_json(indent=1).encode())


def _encoding(job: Job, settings: EvaluateSettings, name: str, path: str) -> "EncoderSettings":
    from trainer.encoder import EncoderSettings

    assert job.recipe.pack is not None
    packing = job.recipe.pack.packing
    if settings.encoder:
        return settings.encoder.model_copy(update={"model": path})
    return EncoderSettings(
        model=path,
        max_query_length=packing.max_query_length,
        max_passage_length=packing.max_passage_length,
        query_prompt=None if name in settings.others else packing.query_instruction,  # theirs: the recipe's may be new
        passage_prompt=None if name in settings.others else packing.passage_instruction,
        mcls_every=_mcls_every(job.recipe),
    )


def _mcls_every(recipe: Recipe) -> int | None:
    """As in the training of the model: evaluated texts are read alike."""
    train = recipe.train
    if isinstance(train, TrainStages):
        return (train.stages[-1].model_extra or {}).get("mcls_every")
    return None if train is None else train.mcls_every
