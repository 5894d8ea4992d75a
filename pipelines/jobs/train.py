"""train: the built-in trainer on pack's shards, in one run or in stages (pipelines/training_stages.py).

train/model/                    the result
train/metrics.jsonl, checkpoints/        of one run; resumes from its newest checkpoint
train/NAME/                     of a stage: metrics.jsonl, model/, stage.json once it is done, checkpoints/ until then
"""

import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipelines import storage
from pipelines.data_card.readme import markdown
from pipelines.errors import UserError
from pipelines.forget.trained_on import write_trained_on
from pipelines.job import BESIDE, MODEL_FINGERPRINT, PAIRS, Job, Outcome, Plan, finished
from pipelines.jobs.dedup import PASSAGES
from pipelines.manifest import Manifest, fingerprint, input_names, settings_dump
from pipelines.progress import TaskProgress, announce
from pipelines.recipe import Recipe
from pipelines.run_folder import RunFolder
from pipelines.training_stages import StageSettings, TrainStage, TrainStages
from trainer.backbone import model_fingerprint
from trainer.run_identity import FREE_SETTINGS

if TYPE_CHECKING:
    from trainer.training_run import TrainResult

VERSION = 2  # dropout by chunk, chunks of queries and passages together
TEXTS: Final = "texts"  # of pack: what a pre-training stage reads
STAGE: Final = "stage.json"
_READ: Final = {"contrastive": (PAIRS, PASSAGES), "pretrain": (TEXTS,)}


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.train is not None
    pack = finished(run, "pack")
    if isinstance(recipe.train, TrainStages):
        return _plan_of_stages(recipe.train, run, pack)
    settings = settings_dump(recipe.train) | {"model_fingerprint": model_fingerprint(recipe.train.model)}
    settings["model"] = _within(run, recipe.train.model)
    if recipe.train.guide_model is not None:
        settings |= {"guide_fingerprint": model_fingerprint(recipe.train.guide_model)}
    return Plan(settings, input_names(pack.files_of(PAIRS, PASSAGES), "pack"))


def _within(run: RunFolder, model: str) -> str:
    """A model's path; of one in the run's own folder (a version) what is the same wherever the run lies."""
    folder = Path(local_path(run.url)).resolve()
    inside = Path(model).is_absolute() and Path(model).resolve().is_relative_to(folder)
    return f"RUN/{Path(model).resolve().relative_to(folder)}" if inside else model


def _plan_of_stages(stages: TrainStages, run: RunFolder, pack: Manifest) -> Plan:
    given = [stages.model, *(stage.model for stage in stages.stages if stage.model is not None)]
    guides = [str(guide) for stage in stages.stages if (guide := (stage.model_extra or {}).get("guide_model"))]
    prints = {_within(run, path): model_fingerprint(path) for path in (*given, *guides)}
    roles = {role for stage in stages.stages for role in _READ[stage.kind]}
    settings = settings_dump(stages) | {"model": _within(run, stages.model), "fingerprints": prints}
    return Plan(settings, input_names(pack.files_of(*sorted(roles)), "pack"))


def execute(job: Job) -> Outcome:
    settings = job.recipe.train
    assert settings is not None
    if not storage.is_local(job.run.url):
        raise UserError(
            f"Training reads and writes a local disk, and this run is at {job.run.url}. Copy the run's pack folder to the GPU machine "
            "and use `pairmill train --data FOLDER --output FOLDER` there."
        )
    if isinstance(settings, TrainStages):
        records = _run_stages(job, settings)
        given = (settings.model, *(stage.model for stage in settings.stages if stage.model is not None))
        write_trained_on(job.run, local_path(job.folder), given)
        return Outcome([], {"stages": records} | _model_facts(job))
    announce(job.folder, ["steps"], unit="steps")
    card = f"Trained by pairmill on the pairs of {_origin(job)}.{_terms(job)}"
    result = _run(job, settings, Path(local_path(job.folder)), "steps", card)
    write_trained_on(job.run, local_path(job.folder), [settings.model])
    return Outcome([], {"training": _figures(result)} | _model_facts(job))


def _model_facts(job: Job) -> dict[str, Any]:
    """Bytes of the model's files, by path: by them a later run sees that they are whole; and its fingerprint, for verify."""
    folder = storage.join(job.folder, "model")
    sizes = {f"model/{path}": size for path, size in sorted(storage.tree_sizes(folder).items())}
    return {BESIDE: sizes, MODEL_FINGERPRINT: model_fingerprint(local_path(folder))}


def _origin(job: Job) -> str:
    return f"run {job.recipe.name!r} (pack fingerprint {finished(job.run, 'pack').fingerprint})"


def _terms(job: Job) -> str:
    """Licences and languages of the pairs, as Markdown; nothing of a pack folder whose manifest does not tell."""
    told = finished(job.run, "pack").details.get("card", {})
    licences = "; ".join(
        f"{markdown(each['licence'] or 'not stated')} ({each['pairs']:,} pairs)" for each in told.get("licences", [])
    )
    languages = ", ".join(markdown(name) for name in told.get("languages", []))
    if not licences:
        return ""
    return f"\n\nLicences of the pairs: {licences}. Their languages: {languages}."


def _run(job: Job, settings: StageSettings, output: Path, task: str, card: str) -> "TrainResult":
    from trainer.loop import TrainSettings, train
    from trainer.retromae.pretrain import pretrain

    progress = TaskProgress(job.folder, task)

    def tell(event: dict[str, Any]) -> None:
        step = int(event.get("step", 0))
        progress.beat(step, step / settings.steps)
        logging.getLogger(__name__).info("%s", event)

    data = local_path(job.run.job("pack"))
    # Checkpoints of other settings, data or arithmetic are of no use to this run: the trainer says so in the log and starts anew.
    if isinstance(settings, TrainSettings):
        return train(data, output, settings, tell, restart=True, card=card)
    return pretrain(data, output, settings, tell, restart=True, card=card)


def _figures(result: "TrainResult") -> dict[str, Any]:
    return {key: value for key, value in asdict(result).items() if key != "model_folder"}


def _run_stages(job: Job, stages: TrainStages) -> list[dict[str, Any]]:
    """What each stage's record says, in order; the last one's model is the job's."""
    folder = Path(local_path(job.folder))
    announce(job.folder, [stage.name for stage in stages.stages], unit="steps")
    _check_pairs(job, stages)
    records: list[dict[str, Any]] = []
    for stage, model in stages.models(folder):
        records.append(_run_stage(job, stage, model, folder / stage.name, records))
    _publish(folder / stages.stages[-1].name / "model", folder / "model")
    return records


def _check_pairs(job: Job, stages: TrainStages) -> None:
    """Raise UserError where a stage cannot read its pairs: before the first one runs, days before its own turn perhaps."""
    from trainer.batch_plan import BatchPlan, plan_columns
    from trainer.loop import TrainSettings
    from trainer.training_data import TrainingData

    for stage in stages.stages:
        settings = stage.settings(stage.model or stages.model)
        if not isinstance(settings, TrainSettings):
            continue
        try:
            data = TrainingData.open(local_path(job.run.job("pack")), settings.data_cache)
            data.check_instructions(settings.instruction_share)
            BatchPlan(plan_columns(data, settings), settings, settings.seed, settings.steps)
        except ValueError as error:
            raise UserError(f"Stage {stage.name}: {error}") from None


def _run_stage(job: Job, stage: TrainStage, model: str, folder: Path, before: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of a stage, which is run unless it is done already."""
    settings = _settings(job, stage, model)
    start = model_fingerprint(model)
    guide = getattr(settings, "guide_model", None)
    wanted = fingerprint(
        version=VERSION,
        kind=stage.kind,
        settings=settings.model_dump(mode="json", exclude=set(FREE_SETTINGS - {"precision"})),
        model=start,
        guide=None if guide is None else model_fingerprint(guide),
        data=input_names(finished(job.run, "pack").files_of(*_READ[stage.kind]), "pack"),
    )
    done = _record(folder, wanted)
    if done is not None:
        TaskProgress(job.folder, stage.name).beat(settings.steps, 1.0)
        return done
    follows = stage.model is None and bool(before)
    record = {
        "name": stage.name,
        "kind": stage.kind,
        "fingerprint": wanted,
        "from": before[-1]["name"] if follows else Path(model).name,
        "from_fingerprint": start,
        "steps": settings.steps,
    }
    storage.remove(str(folder / STAGE))
    result = _run(job, settings, folder, stage.name, _card(job, [*before, record] if follows else [record]))
    record |= {"model_fingerprint": model_fingerprint(str(result.model_folder)), "training": _figures(result)}
    storage.write_json(str(folder / STAGE), record)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # a stage that is done is never gone on with
    return record


def _settings(job: Job, stage: TrainStage, model: str) -> StageSettings:
    from trainer.loop import TrainSettings

    settings = stage.settings(model)
    if stage.epochs is not None and isinstance(settings, TrainSettings):
        from pipelines.training import steps_of

        settings = stage.settings(model, steps_of(local_path(job.run.job("pack")), settings, stage.epochs))
    return settings


def _record(folder: Path, wanted: str) -> dict[str, Any] | None:
    """The record of a stage that is done and whole; None where it is another one, or not done."""
    record: dict[str, Any] | None = storage.read_record(str(folder / STAGE))
    if record is None or not (folder / "model" / "config.json").exists():
        return None
    whole = record["fingerprint"] == wanted and record["model_fingerprint"] == model_fingerprint(str(folder / "model"))
    return record if whole else None


def _card(job: Job, chain: list[dict[str, Any]]) -> str:
    """The beginning of a stage's model card: the stages that led to it."""
    lines = [
        f"{number}. `{each['name']}` ({'pre-training' if each['kind'] == 'pretrain' else 'pairs'}, {each['steps']:,} steps) from "
        f"`{each['from']}`, whose fingerprint is `{each['from_fingerprint']}`"
        for number, each in enumerate(chain, 1)
    ]
    told = "\n".join(lines)
    return f"Stage `{chain[-1]['name']}` of {_origin(job)}.{_terms(job)}\n\n## Stages\n\n{told}\n\n## This stage"


def _publish(model: Path, result: Path) -> None:
    """The last stage's model as the job's: the same files under another name, so that nothing takes space twice."""
    from trainer.checkpoint import publish_folder

    partial = result.with_name(f"{result.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(model, partial, copy_function=storage.link_or_copy)
    publish_folder(partial, result)


def local_path(url: str) -> str:
    return str(storage.split_url(url)[1])
