"""Whether a checkpoint is of the run that is to go on: its settings, data, model and arithmetic, compared in words."""

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trainer.checkpoint import Checkpoint, newest_checkpoint
from trainer.distributed import Ranks

if TYPE_CHECKING:
    import torch

    from trainer.training_run import RunSettings

log = logging.getLogger(__name__)

# Settings that may change between a run and its continuation, because they do not change what a step computes. Compared
# by what they come to instead: the models by their content, device and precision ("auto") by what was chosen here.
FREE_SETTINGS: Final = frozenset(
    {
        "model",
        "guide_model",
        "device",
        "precision",
        "tokens_at_once",
        "gradient_checkpointing",
        "sharding",
        "silence_seconds",
        "checkpoint_every",
        "keep_checkpoints",
        "log_every",
        "data_cache",
    }
)
_SETTING_OF_DTYPE: Final = {"torch.float32": "fp32", "torch.bfloat16": "bf16", "torch.float16": "fp16"}


class TrainingError(ValueError):
    """Training cannot start or go on. The message names the cause and the remedy."""


def run_identity(
    settings: "RunSettings", data: str, device: "torch.device", dtype: "torch.dtype", guide: str | None = None
) -> dict[str, Any]:
    """All that decides what the steps of a run compute; `data` is the fingerprint of its shards, `guide` a model folder."""
    from trainer.backbone import model_fingerprint

    return {
        "settings": settings.model_dump(mode="json", exclude=set(FREE_SETTINGS)),
        "data": data,
        "model": model_fingerprint(settings.model),
        "guide": None if guide is None else model_fingerprint(guide),
        "dtype": str(dtype),
        "device": device.type,
    }


def find_checkpoint(
    output: Path, identity: dict[str, Any], ranks: Ranks, *, restart: bool, sharded: bool = False
) -> Checkpoint | None:
    """What `checkpoint_to_resume` finds, in the first process, which makes the folder `output`; None in the others.

    All wait for it, and raise RanksError where it fails.
    """
    with ranks.rank_zero_first("Looking for a checkpoint"):
        if not ranks.leads:
            return None
        output.mkdir(parents=True, exist_ok=True)
        return checkpoint_to_resume(output, identity, ranks.count, restart=restart, sharded=sharded)


def checkpoint_to_resume(
    output: Path, identity: dict[str, Any], ranks: int, *, restart: bool, sharded: bool = False
) -> Checkpoint | None:
    """The newest checkpoint in `output`, if it is of this run; None where there is none.

    One of another run raises TrainingError, or, with `restart`, is removed with all others. Another number of ranks
    is no other run: the same batches follow, but sums are rounded and dropout is drawn otherwise, which a warning says. Nor
    are shards in place of whole weights, or the other way round.
    """
    checkpoint = newest_checkpoint(output / "checkpoints")
    if checkpoint is None:
        return None
    before = checkpoint.state.get("identity") or {}
    if before == identity:
        if checkpoint.state.get("ranks", 1) != ranks:
            log.warning(
                "%s was written by %d processes, and %d go on: with the same batches, but not to the last bit as those "
                "would have.",
                checkpoint.folder,
                checkpoint.state.get("ranks", 1),
                ranks,
            )
        elif checkpoint.state.get("sharded", False) != sharded:
            log.warning(
                "%s was written %s sharding, and this run goes on %s: with the same batches, but not to the last bit.",
                checkpoint.folder,
                *(("without", "with") if sharded else ("with", "without")),
            )
        return checkpoint
    differences = f"{checkpoint.folder} is of a run that differs from this one in {_differences(before, identity)}."
    if restart:
        log.warning("%s Its checkpoints are removed, and training starts anew.", differences)
        shutil.rmtree(output / "checkpoints")
        return None
    raise TrainingError(
        f"{differences} Undo the change{_settings_to_set(before, identity)} to go on with that run, choose another "
        f"output folder, or restart to remove it."
    )


def _differences(before: dict[str, Any], identity: dict[str, Any]) -> str:
    old, new = before.get("settings") or {}, identity["settings"]
    changed = [
        f"{name} ({old.get(name)} there, {new.get(name)} here)"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    changed += [f"the {name}" for name in ("data", "model", "guide") if before.get(name) != identity[name]]
    changed += [
        f"the {name} it computes {preposition} ({before.get(name)} there, {identity[name]} here)"
        for name, preposition in (("dtype", "in"), ("device", "on"))
        if before.get(name) != identity[name]
    ]
    return ", ".join(changed)


def _settings_to_set(before: dict[str, Any], identity: dict[str, Any]) -> str:
    """In words, the settings that compute as the run before did; another machine's `auto` may have chosen otherwise."""
    wanted = [
        f"{setting} {_SETTING_OF_DTYPE.get(before[name], before[name])}"
        for name, setting in (("dtype", "precision"), ("device", "device"))
        if name in before and before[name] != identity[name]
    ]
    return f" (set {' and '.join(wanted)})" if wanted else ""
