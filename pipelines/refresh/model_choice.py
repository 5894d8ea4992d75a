"""Which model a refresh trains from, which it compares with, and whether the gate is to be asked: read from what is kept.

Nothing is written here, so that --dry-run and `pairmill run` ask the same questions.
"""

from typing import Final

from pipelines import storage
from pipelines.errors import UserError
from pipelines.job import module_of
from pipelines.manifest import fingerprint, read_manifest
from pipelines.recipe import Recipe
from pipelines.refresh import versions
from pipelines.refresh.state import Opponent, TrainingStart, read_state
from pipelines.run_folder import RunFolder
from pipelines.training_stages import TrainStages

CURRENT: Final = "current"  # what evaluate calls the current version


def check_training(recipe: Recipe) -> None:
    """Raises UserError where training cannot go on from the current version, though the recipe says so."""
    if recipe.refresh.training == "afresh" or not isinstance(recipe.train, TrainStages):
        return
    given = next((stage for stage in reversed(recipe.train.stages) if stage.model is not None), None)
    if given is not None:
        raise UserError(
            f"refresh.training is continue, and stage {given.name} of train starts from a model of its own, {given.model}: what is "
            "trained would not continue from the current version. Take `model` out of that stage, or set refresh.training to afresh."
        )


def as_seen_by(job: str, recipe: Recipe, run: RunFolder) -> Recipe:
    """The recipe with the models that a refresh gives a job; as it is where no version was ever promoted.

    Raises JobFailed where job train is meant and pack is not finished.
    """
    if recipe.train is None:
        return recipe
    if job == "train":
        return starting_from(recipe, run, training_start(recipe, run))
    train = read_manifest(run.job("train")) if job == "evaluate" else None
    return recipe if train is None else compared_with(recipe, run, opponent(run, train.fingerprint).version)


def training_start(recipe: Recipe, run: RunFolder) -> TrainingStart | None:
    """Where training begins: None, from the recipe's model; else the version that training continues from.

    The version stays the same while data and settings do: a training must not start from its own result.
    """
    if recipe.refresh.training == "afresh" or recipe.train is None:
        return None
    module = module_of("train")
    training = module.plan(recipe, run).fingerprint("train", module.VERSION)
    before = read_state(run).start
    if before is not None and before.training == training and _is_there(run, before.version):
        return before
    now = versions.current(run)
    return TrainingStart(training=training, version=None if now is None else now.number)


def opponent(run: RunFolder, train: str) -> Opponent:
    """What the model of training `train` is compared with: the current version; once it is current itself, the one that it
    took the place of."""
    before, now = read_state(run).opponent, versions.current(run)
    if now is None or now.facts.get("train") != train or not versions.is_trained(run, now):
        return Opponent(train=train, version=None if now is None else now.number)
    if before is not None and before.train == train and _is_there(run, before.version):
        return before
    return Opponent(train=train, version=None)


def is_to_decide(recipe: Recipe, run: RunFolder, train: str, evaluate: str | None, *, force: bool) -> bool:
    """Whether the gate is to decide about a model, told by the fingerprints of its training and its evaluation."""
    decided, now = read_state(run).decided, versions.current(run)
    about_it = decided is not None and decided.train == train
    if now is not None and now.facts.get("train") == train:
        return not about_it  # a refresh that was killed between promoting and remembering it
    if not about_it or decided is None or force:
        return True
    if now is None and decided.promoted:
        return True  # the versions were deleted by hand, to begin anew
    if versions.rejected(run, train=train) is not None:
        return False
    return decided.evaluate != evaluate or decided.gate != gate_fingerprint(recipe)


def gate_fingerprint(recipe: Recipe) -> str:
    return fingerprint(gate=recipe.refresh.gate.model_dump(mode="json"))


def starting_from(recipe: Recipe, run: RunFolder, start: TrainingStart | None) -> Recipe:
    """The recipe as job train is to see it."""
    if start is None or start.version is None or recipe.train is None:
        return recipe
    model = _model(run, start.version)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"model": model})})


def compared_with(recipe: Recipe, run: RunFolder, version: int | None) -> Recipe:
    """The recipe as job evaluate is to see it. Its `untrained` is the recipe's own model, whatever training began from."""
    if version is None or recipe.evaluate is None:
        return recipe
    others = recipe.evaluate.others | {CURRENT: _model(run, version)}
    return recipe.model_copy(update={"evaluate": recipe.evaluate.model_copy(update={"others": others})})


def _is_there(run: RunFolder, version: int | None) -> bool:
    return version is None or versions.model_folder(run, version).is_dir()


def _model(run: RunFolder, version: int) -> str:
    return str(storage.split_url(storage.join(run.url, versions.MODELS, f"{version:06d}", versions.MODEL))[1])
