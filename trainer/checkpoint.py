"""Checkpoints of a training run: written whole or not at all, read back bit for bit.

    checkpoints/step-000050/model.safetensors      weights, fp32
    checkpoints/step-000050/optimizer.safetensors  the optimiser's moments by weight name; torch's random states
    checkpoints/step-000050/average.safetensors    the running average of the weights, where there is one
    checkpoints/step-000050/state.json             step, fingerprints, settings; size and sha256 of the other files

A checkpoint is written under a temporary name, flushed to disk and renamed; a folder whose files are not what its
state.json says is passed over for the one before.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

STATE: Final = "state.json"
_WEIGHTS: Final = "model.safetensors"
_OPTIMIZER: Final = "optimizer.safetensors"
_AVERAGE: Final = "average.safetensors"
_NAME: Final = re.compile(r"step-(\d+)")
_PARTIAL: Final = ".partial"
_REPLACED: Final = ".replaced"


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or does not fit what it is to be loaded into. The message names the folder and the
    remedy."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    step: int  # steps done
    state: dict[str, Any]  # what `write_checkpoint` was given as `state`


def write_checkpoint(
    root: Path,
    step: int,
    model: "torch.nn.Module",
    optimizer: "torch.optim.Optimizer",
    state: dict[str, Any],
    average: "dict[str, torch.Tensor] | None" = None,
) -> Checkpoint:
    """Write root/step-NNNNNN; `state` must be JSON, `average` are averaged weights by name.

    Raises CheckpointError where the disk does not take it: the checkpoints before stay as they are.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file, save_model

    folder = root / f"step-{step:06d}"
    partial = folder.with_name(folder.name + _PARTIAL)
    try:
        _remove(partial)
        partial.mkdir(parents=True)
        _check_room(root, model, averaged=average is not None)
        save_model(model, str(partial / _WEIGHTS))
        save_file(_optimizer_tensors(model, optimizer), str(partial / _OPTIMIZER))
        if average is not None:
            save_file({name: tensor.cpu().contiguous() for name, tensor in average.items()}, str(partial / _AVERAGE))
        files = {
            file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)}
            for file in sorted(partial.glob("*.safetensors"))
        }
        content = {"step": step, "files": files, "state": state}
        (partial / STATE).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")
        publish_folder(partial, folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        before = max((before for before, _ in _steps(root)), default=None)
        raise CheckpointError(
            f"The checkpoint of step {step} could not be written to {root} ({error}). "
            + (f"The one of step {before} is whole. " if before is not None else "There is none before it. ")
            + "Make room, or lower keep_checkpoints, and start again by the same command."
        ) from error
    return Checkpoint(folder, step, state)


def _check_room(root: Path, model: "torch.nn.Module", *, averaged: bool) -> None:
    """Raise OSError where the disk cannot take the weights, two moments of each and their averages."""
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    needed, free = weights * (4 if averaged else 3), shutil.disk_usage(root).free
    if free < needed:
        raise OSError(f"it takes {needed / 2**20:.0f} MiB, and {free / 2**20:.0f} MiB are free")


def newest_checkpoint(root: Path) -> Checkpoint | None:
    """The checkpoint of the highest step that is complete and undamaged; unfinished ones are removed."""
    if not root.is_dir():
        return None
    for unfinished in (*root.glob(f"*{_PARTIAL}"), *root.glob(f"*{_REPLACED}")):
        _remove(unfinished)
    folders = sorted(_steps(root), reverse=True)
    return next((found for step, folder in folders if (found := _read(step, folder)) is not None), None)


def load_checkpoint(
    checkpoint: Checkpoint,
    model: "torch.nn.Module",
    optimizer: "torch.optim.Optimizer",
    average: "dict[str, torch.Tensor] | None" = None,
) -> None:
    """Put the weights, the optimiser's moments, torch's random states and the averages back as they were, in place.

    Raises CheckpointError where the checkpoint is of another model.
    """
    import torch
    from safetensors.torch import load_file, load_model

    try:
        load_model(model, str(checkpoint.folder / _WEIGHTS))
    except RuntimeError as error:
        raise CheckpointError(
            f"{checkpoint.folder / _WEIGHTS} holds the weights of another model ({error}). Train into a new output "
            f"folder."
        ) from error
    tensors = load_file(str(checkpoint.folder / _OPTIMIZER))
    torch.set_rng_state(tensors.pop("random.cpu"))
    for name in [name for name in tensors if name.startswith("random.cuda.")]:
        state = tensors.pop(name)
        if (index := int(name.rpartition(".")[2])) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, index)
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        weight, _, moment = name.removeprefix("moment.").rpartition(".")
        if weight not in parameters:
            raise CheckpointError(
                f"{checkpoint.folder / _OPTIMIZER} holds moments of {weight!r}, which this model does not have. Train "
                f"into a new output folder."
            )
        # torch keeps `step` on the CPU unless the optimiser is fused or capturable; load_state_dict knows which.
        optimizer.state[parameters[weight]][moment] = tensor
    optimizer.load_state_dict(optimizer.state_dict())
    if average is not None:
        for name, tensor in load_file(str(checkpoint.folder / _AVERAGE)).items():
            average[name].copy_(tensor)


def remove_old_checkpoints(root: Path, written: int, keep: int) -> None:
    """Remove all but the `keep` newest checkpoints up to step `written`, the one just written.

    Those of later steps go first: a run goes on from the newest that is whole, so they are damaged, and would count
    as the newest.
    """
    folders = sorted(_steps(root), reverse=True)
    later = [folder for step, folder in folders if step > written]
    older = [folder for step, folder in folders if step <= written][keep:]
    for folder in later + older:
        _remove(folder)


def publish_folder(partial: Path, folder: Path) -> None:
    """Give a finished folder its name: its files flushed to disk first, a folder of that name replaced."""
    for path in [*partial.rglob("*"), partial]:
        _flush(path)
    replaced = folder.with_name(folder.name + _REPLACED)
    _remove(replaced)
    if folder.exists():
        folder.rename(replaced)
    partial.rename(folder)
    _remove(replaced)
    _flush(folder.parent)


def _optimizer_tensors(model: "torch.nn.Module", optimizer: "torch.optim.Optimizer") -> dict[str, "torch.Tensor"]:
    import torch

    tensors = {
        f"moment.{name}.{moment}": value.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            tensors[f"random.cuda.{index}"] = torch.cuda.get_rng_state(index)
    return tensors


def _steps(root: Path) -> Iterator[tuple[int, Path]]:
    for folder in root.iterdir() if root.is_dir() else ():
        if (match := _NAME.fullmatch(folder.name)) is not None:
            yield int(match[1]), folder


def _read(step: int, folder: Path) -> Checkpoint | None:
    try:
        content = json.loads((folder / STATE).read_text("utf-8"))
        for name, expected in content["files"].items():
            file = folder / name
            if file.stat().st_size != expected["bytes"] or _sha256(file) != expected["sha256"]:
                raise ValueError(f"{name} is not the file that was written")
        return Checkpoint(folder, int(content["step"]), content["state"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("checkpoint %s (step %d) is damaged, the one before is used: %s", folder, step, error)
        return None


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
