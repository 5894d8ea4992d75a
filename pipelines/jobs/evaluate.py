"""evaluate: nDCG@10, MRR@10 and Recall@100 on the held-out pairs and on BEIR-layout folders: trained, untrained, BM25."""

from contextlib import closing
from pathlib import Path
from typing import Any

from pipelines import storage
from pipelines.errors import UserError
from pipelines.job import EVALUATION, Job, Outcome, Plan, finished
from pipelines.jobs.train import local_path
from pipelines.manifest import settings_dump
from pipelines.progress import TaskProgress, announce
from pipelines.recipe import EvaluateSettings, Recipe
from pipelines.run_folder import RunFolder
from trainer.backbone import model_fingerprint

VERSION = 1
METRICS = "metrics.json"


def check_inputs(recipe: Recipe) -> None:
    """Raises UserError for a folder of evaluate.data that is not there."""
    for folder in recipe.evaluate.data if recipe.evaluate else ():
        if not Path(folder).is_dir():
            raise UserError(
                f"evaluate.data names {folder}, and there is no such folder. Correct the path, or leave it out."
            )


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.evaluate is not None and recipe.pack is not None
    inputs: list[dict[str, Any]] = [{"job": "pack", "fingerprint": finished(run, "pack").fingerprint}]
    if recipe.train is not None:
        inputs.append({"job": "train", "fingerprint": finished(run, "train").fingerprint})
    for folder in recipe.evaluate.data:
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        inputs += [
            {"data": str(path), "bytes": path.stat().st_size, "mtime": path.stat().st_mtime_ns} for path in files
        ]
    if recipe.evaluate.untrained:
        inputs.append({"model": model_fingerprint((recipe.train or recipe.pack).model)})
    return Plan(settings_dump(recipe.evaluate), inputs)


def execute(job: Job) -> Outcome:
    from trainer.evaluate import evaluate_bm25, evaluate_encoder, load_beir, write_metrics

    settings = job.recipe.evaluate
    assert settings is not None
    if not storage.is_local(job.run.url):
        raise UserError(
            f"Evaluation reads and writes a local disk, and this run is at {job.run.url}. Copy its pack/{EVALUATION} and train/model here and use `pairmill evaluate`."
        )
    folders = _evaluation_folders(job, settings)
    if not folders:
        raise UserError(
            "There is nothing to evaluate on: no pair was held out and evaluate.data names no folder. Set dedup.held_out_share, or name BEIR-layout folders."
        )
    models = _models(job, settings)
    announce(
        job.folder,
        [f"{name} on {folder}" for folder in folders for name in [*models, *(["bm25"] if settings.bm25 else [])]],
    )
    rows: list[dict[str, Any]] = []
    for folder in folders:
        collection = load_beir(folder)
        for name, path in models.items():
            with closing(_encoder(settings, path, job)) as encoder:
                encoder.on_batch = TaskProgress(job.folder, f"{name}-{len(rows)}").beat
                rows += evaluate_encoder(encoder, collection, model=name)
        if settings.bm25:
            rows += evaluate_bm25(collection)
    write_metrics(local_path(storage.join(job.folder, METRICS)), rows)
    return Outcome([], {"metrics": rows})


def _evaluation_folders(job: Job, settings: EvaluateSettings) -> list[str]:
    held_out = storage.join(job.run.job("pack"), EVALUATION)
    return [*([local_path(held_out)] if storage.exists(held_out) else []), *settings.data]


def _models(job: Job, settings: EvaluateSettings) -> dict[str, str]:
    assert job.recipe.pack is not None
    models = {}
    if job.recipe.train is not None:
        models["trained"] = local_path(storage.join(job.run.job("train"), "model"))
    if settings.untrained:
        models["untrained"] = job.recipe.train.model if job.recipe.train else job.recipe.pack.model
    return models


def _encoder(settings: EvaluateSettings, path: str, job: Job) -> Any:
    from trainer.encoder import EncoderSettings
    from trainer.encoder_processes import open_encoder

    assert job.recipe.pack is not None
    packing = job.recipe.pack.packing
    default = EncoderSettings(
        model=path,
        max_query_length=packing.max_query_length,
        max_passage_length=packing.max_passage_length,
        query_prompt=packing.query_instruction,
        passage_prompt=packing.passage_instruction,
    )
    chosen = settings.encoder.model_copy(update={"model": path}) if settings.encoder else default
    return open_encoder(chosen)
