"""`pairmill train`: the trainer on a pack folder, what it would do, and how it goes."""

import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from pipelines.errors import UserError
from pipelines.recipe import explain_validation

if TYPE_CHECKING:
    from trainer.loop import TrainSettings

_GIB = 1 << 30


@dataclass(frozen=True)
class Watching:
    """What is shown and written beside metrics.jsonl while training."""

    tensorboard: bool = False
    peak_tflops: float | None = None
    evaluate_on: tuple[str, ...] = ()
    evaluate_every: int = 500
    patience: int | None = None


def train_settings(
    data: str,
    preset_name: str | None,
    steps: int | None,
    epochs: float | None,
    given: dict[str, Any],
    otherwise: int | None = None,
) -> "TrainSettings":
    """The settings of a run: a preset's, and over them those given. Epochs become steps by the plan of the data.

    `otherwise`: the steps where nothing says how many; without it UserError is raised.
    """
    from trainer.loop import TrainSettings
    from trainer.presets import preset

    chosen = preset(preset_name) if preset_name else None
    values = ({} if chosen is None else dict(chosen.train)) | given
    if steps is not None:
        values["steps"] = steps
    if epochs is None and "steps" not in values and chosen is not None:
        epochs = chosen.epochs
    if epochs is None and "steps" not in values and otherwise:
        values["steps"] = int(otherwise)
    if epochs is None and "steps" not in values:
        raise UserError("Say how long to train: --steps, --epochs, or a --preset that says so.")
    if epochs is not None and steps is not None:
        raise UserError("Give --steps or --epochs, not both.")
    try:
        settings = TrainSettings.model_validate(values | ({"steps": 1} if epochs is not None else {}))
    except ValidationError as error:
        raise UserError(explain_validation(error, "the command line", {}, TrainSettings)) from None
    return settings if epochs is None else settings.model_copy(update={"steps": steps_of(data, settings, epochs)})


def steps_of(data: str, settings: "TrainSettings", epochs: float) -> int:
    """How many steps so many epochs of a pack folder are."""
    from trainer.batch_plan import BatchPlan, plan_columns
    from trainer.training_data import TrainingData

    opened = TrainingData.open(data, settings.data_cache)
    plan = BatchPlan(plan_columns(opened, settings), settings, settings.seed, 1)
    return max(1, math.ceil(epochs * plan.batches_per_epoch))


def tell_about_preset(console: Console, data: str, preset_name: str | None) -> None:
    """Say what of the data is not as the preset has it: it can be trained on, but is not that run."""
    from trainer.packed_columns import MANIFEST
    from trainer.presets import differences_of_packing, preset

    if not preset_name or int(os.environ.get("RANK", "0")):
        return
    try:
        details = dict(json.loads((Path(data) / MANIFEST).read_text("utf-8"))["details"])
    except (OSError, ValueError, KeyError, TypeError):
        return  # reading the data says what is wrong with it
    for difference in differences_of_packing(preset(preset_name), details):
        console.print(f"{preset_name}: {difference}.", style="yellow", highlight=False, markup=False)


def train(
    console: Console, data: str, output: str | None, settings: "TrainSettings", watching: Watching, *, restart: bool
) -> None:
    """Train on a pack folder. Of several processes (torchrun) the first one shows how it goes."""
    from trainer.evaluation_watch import EvaluationWatch, WatchSettings
    from trainer.loop import train as run_training
    from trainer.watching import TENSORBOARD, Rates, progress_display, tensorboard_files, watched

    if output is None:
        raise UserError("Name the folder for checkpoints, metrics and the model: --output FOLDER.")
    hook = None
    if watching.evaluate_on:
        # The dense output where it learns, else one that does.
        mode = "dense" if "dense" in settings.outputs else settings.outputs[0]
        chosen = WatchSettings(
            data=watching.evaluate_on, every=watching.evaluate_every, patience=watching.patience, mode=mode
        )
        encoding = {"device": settings.device, "mcls_every": settings.mcls_every}
        evaluation = EvaluationWatch(chosen, Path(output), encoding=encoding)
        hook = evaluation.hook()
    if int(os.environ.get("RANK", "0")):
        run_training(data, output, settings, restart=restart, hook=hook)
        return
    if watching.evaluate_on:
        evaluation.check()
    watchers = [progress_display(console, settings.steps)]
    if watching.tensorboard:
        watchers.append(tensorboard_files(Path(output) / TENSORBOARD))
    rates = Rates.here(settings.model, int(os.environ.get("WORLD_SIZE", "1")), watching.peak_tflops)
    with watched(rates, *watchers) as tell:
        if watching.evaluate_on:
            evaluation.tell = tell
        result = run_training(data, output, settings, tell, restart=restart, hook=hook)
    console.print(f"Model: {result.model_folder}", highlight=False, markup=False, soft_wrap=True)


def show_dry_run(console: Console, data: str, settings: "TrainSettings") -> None:
    """What training would do: batches by group, padding, memory, time."""
    from trainer.dry_run import dry_run

    found = dry_run(data, settings)
    table = Table("group", "tokens from", "pairs", "batch size", "batches an epoch", "negatives", box=None)
    for group in found.groups:
        numbers = (group.length_from, group.pairs, group.batch_size, group.batches)
        whose = "in batch" if group.in_batch else "own only"
        table.add_row(group.group, *(f"{number:,}" for number in numbers), whose)
    console.print(table)
    for line in _told(found):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _told(found: Any) -> list[str]:
    lines = [
        f"{found.steps:,} steps are {found.epochs:.2f} epochs of {found.batches_per_epoch:,} batches; {found.left_out:,} of "
        f"{found.pairs:,} pairs have no room in an epoch, and others take their turn in the next.",
        f"{found.conflicting_share:.1%} of the places stay free because pairs of one query or positive share no batch.",
        f"A step has {found.pairs_per_step:,.0f} pairs and {found.tokens_per_step:,.0f} tokens on average; "
        f"{found.padding_share:.1%} of what the model computes is padding.",
        f"Memory, from the model's shape: {found.weight_bytes / _GIB:.1f} GiB for weights, gradients and moments, "
        f"{found.activation_bytes / _GIB:.1f} GiB for what is kept at once for the backward pass.",
        f"Work, from the model's shape: {found.flops_per_step / 1e12:,.2f} TFLOP a step.",
    ]
    if found.seconds_per_step is not None:
        hours = found.seconds_per_step * found.steps / 3600
        lines.append(
            f"Time, from a forward and backward measured here: {found.seconds_per_step:,.2f} s a step, {hours:,.2f} h in all, "
            "on one device."
        )
    return lines


def show_step(data: str, settings: "TrainSettings", step: int) -> None:
    """The pairs of a step, one JSON object a line, on standard output."""
    from dataclasses import asdict

    from trainer.show_step import pairs_of_step

    for pair in pairs_of_step(data, settings, step):
        sys.stdout.write(json.dumps(asdict(pair), ensure_ascii=False) + "\n")


def show_batch_sizes(console: Console, data: str, settings: "TrainSettings", *, memory_gb: float | None) -> None:
    """The largest batch that fits, by length group, and the setting that uses it."""
    from trainer.batch_size_search import find_batch_sizes

    sizes: dict[int, int] = {}
    for found in find_batch_sizes(
        data, settings, memory_mib=None if memory_gb is None else memory_gb * 1e9 / (1 << 20)
    ):
        console.print(
            f"Length group {found.length_group}: {found.pairs:,} pairs, texts of up to {found.longest} tokens",
            highlight=False,
        )
        for tried in found.tries:
            fate = "fits" if tried.fits else "does not fit"
            cost = "" if tried.seconds is None else f", {tried.peak_memory_mib:,.0f} MiB, {tried.seconds:,.2f} s a step"
            console.print(f"  {tried.size:,} pairs: {fate}{cost}", highlight=False)
        if found.largest is not None:
            sizes[found.length_group] = max(2, found.largest)
        else:
            told = f"No batch of length group {found.length_group} fits. Give it more memory, or pack shorter texts."
            console.print(f"  {told}", style="yellow", highlight=False, markup=False)
    if sizes:
        of_groups = [sizes.get(group, min(sizes.values())) for group in range(max(sizes) + 1)]
        console.print(f"--set batch_sizes={json.dumps(of_groups)}", highlight=False, markup=False, soft_wrap=True)
