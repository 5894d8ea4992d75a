"""train: the built-in trainer on pack's shards. Resumes from its newest checkpoint; writes train/model/."""

import logging
from dataclasses import asdict
from typing import Any

from pipelines import storage
from pipelines.errors import UserError
from pipelines.job import PAIRS, Job, Outcome, Plan, finished
from pipelines.jobs.dedup import PASSAGES
from pipelines.manifest import input_names, settings_dump
from pipelines.progress import TaskProgress, announce
from pipelines.recipe import Recipe
from pipelines.run_folder import RunFolder
from trainer.backbone import model_fingerprint

VERSION = 2  # dropout by chunk, chunks of queries and passages together


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.train is not None
    packed = finished(run, "pack").files_of(PAIRS, PASSAGES)
    settings = settings_dump(recipe.train) | {"model_fingerprint": model_fingerprint(recipe.train.model)}
    if recipe.train.guide_model is not None:
        settings |= {"guide_fingerprint": model_fingerprint(recipe.train.guide_model)}
    return Plan(settings, input_names(packed, "pack"))


def execute(job: Job) -> Outcome:
    from trainer.loop import train

    settings = job.recipe.train
    assert settings is not None
    if not storage.is_local(job.run.url):
        raise UserError(
            f"Training reads and writes a local disk, and this run is at {job.run.url}. Copy the run's pack folder to the GPU machine "
            "and use `pairmill train --data FOLDER --output FOLDER` there."
        )
    announce(job.folder, ["steps"], unit="steps")
    progress = TaskProgress(job.folder, "steps")

    def tell(event: dict[str, Any]) -> None:
        step = int(event.get("step", 0))
        progress.beat(step, step / settings.steps)
        logging.getLogger(__name__).info("%s", event)

    card = f"Trained by pairmill on the pairs of run {job.recipe.name!r} (pack fingerprint {finished(job.run, 'pack').fingerprint})."
    # Checkpoints of other settings, data or arithmetic are of no use to this run: the trainer says so in the log and starts anew.
    result = train(local_path(job.run.job("pack")), local_path(job.folder), settings, tell, restart=True, card=card)
    training = {key: value for key, value in asdict(result).items() if key != "model_folder"}
    return Outcome([], {"training": training})


def local_path(url: str) -> str:
    return str(storage.split_url(url)[1])
