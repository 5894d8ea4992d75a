"""Checkpoints of a training run: written whole or not at all, read back bit for bit.

    checkpoints/step-000050/model.safetensors      weights, fp32
    checkpoints/step-000050/optimizer.safetensors  the optimiser's moments by weight name; torch's random states
    checkpoints/step-000050/average.safetensors    the running average of the weights, where there is one
    checkpoints/step-000050/state.json             step, fingerprints, settings; size and sha256 of the other files

A sharded model (trainer.sharding) has the same files: the first rank writes them tensor by tensor, each gathered for it.

A checkpoint is written under a temporary name, flushed to disk and renamed; a folder whose files are not what its
state.json says is passed over for the one before.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trainer.tensor_files import in_order_of_file, write_tensors

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
_RANDOM: Final = "random."  # how the names of random states begin


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or does not fit what it is to be loaded into. The message names the folder and the
    remedy."""


def on_cpu(tensor: "torch.Tensor") -> "torch.Tensor":
    return tensor.detach().cpu()


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    step: int  # steps done
    state: dict[str, Any]  # what `write_checkpoint` was given as `state`


def checkpoint_tensors(
    model: "torch.nn.Module",
    optimizer: "torch.optim.Optimizer",
    average: "dict[str, torch.Tensor] | None" = None,
) -> "dict[str, dict[str, torch.Tensor]]":
    """What the files of a checkpoint hold, by file and name; `average` are averaged weights by name. Of a sharded model
    they are shards, in the same order on all ranks."""
    weights = dict(model.named_parameters())
    stored = model.state_dict().keys()
    # Of a buffer under several names a module may store the second only.
    buffers = [named for named in model.named_buffers(remove_duplicate=False) if named[0] in stored]
    kept = {id(buffer): (name, buffer) for name, buffer in reversed(buffers)}
    files = {_WEIGHTS: {**weights, **dict(kept.values())}, _OPTIMIZER: _optimizer_tensors(model, optimizer)}
    if average is not None:
        files[_AVERAGE] = average
    return {file: in_order_of_file(tensors) for file, tensors in files.items()}


def write_checkpoint(
    root: Path,
    step: int,
    files: "Mapping[str, Mapping[str, torch.Tensor]]",
    state: dict[str, Any],
    whole: "Callable[[torch.Tensor], torch.Tensor]",
) -> Checkpoint:
    """Write root/step-NNNNNN of `checkpoint_tensors`; `state` must be JSON.

    `whole` gives a tensor on the CPU and is asked for one after another: for shards all ranks do so, by `hand_over`.

    Raises CheckpointError where the disk does not take it: the checkpoints before stay as they are.
    """
    folder = root / f"step-{step:06d}"
    partial = folder.with_name(folder.name + _PARTIAL)
    contents = hand_over(files, whole)
    try:
        _remove(partial)
        partial.mkdir(parents=True)
        _check_room(root, files)
        for name, tensors in files.items():
            write_tensors(partial / name, tensors, contents)
        written = {
            file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)}
            for file in sorted(partial.glob("*.safetensors"))
        }
        content = {"step": step, "files": written, "state": state}
        (partial / STATE).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")
        publish_folder(partial, folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        before = max((before for before, _ in _steps(root)), default=None)
        raise CheckpointError(
            f"The checkpoint of step {step} could not be written to {root} ({error}). "
            + (f"The one of step {before} is whole. " if before is not None else "There is none before it. ")
            + "Make room, or lower keep_checkpoints, and start again by the same command."
        ) from error
    finally:
        for _ in contents:  # other ranks hand over all that they have, and only then ask how it went
            pass
    return Checkpoint(folder, step, state)


def hand_over(
    files: "Mapping[str, Mapping[str, torch.Tensor]]", whole: "Callable[[torch.Tensor], torch.Tensor]"
) -> "Iterator[torch.Tensor]":
    """All tensors of a checkpoint, whole, in the order in which they are written."""
    for tensors in files.values():
        for tensor in tensors.values():
            yield whole(tensor)


def _check_room(root: Path, files: "Mapping[str, Mapping[str, torch.Tensor]]") -> None:
    """Raise OSError where the disk cannot take the tensors."""
    tensors = [tensor for of_file in files.values() for tensor in of_file.values()]
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    free = shutil.disk_usage(root).free
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
    from safetensors.torch import load_file, load_model

    try:
        load_model(model, str(checkpoint.folder / _WEIGHTS))
    except RuntimeError as error:
        raise CheckpointError(
            f"{checkpoint.folder / _WEIGHTS} holds the weights of another model ({error}). Train into a new output "
            f"folder."
        ) from error
    tensors = load_file(str(checkpoint.folder / _OPTIMIZER))
    _set_random_states({name: tensors.pop(name) for name in list(tensors) if name.startswith(_RANDOM)})
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


def load_shards(
    checkpoint: Checkpoint | None,
    model: "torch.nn.Module",
    optimizer: "torch.optim.Optimizer",
    average: "dict[str, torch.Tensor] | None",
    fill: "Callable[[torch.Tensor, torch.Tensor | None], None]",
) -> None:
    """`load_checkpoint` for a sharded model, one tensor after another: all ranks call it, and only the first one has, and
    reads, the checkpoint. `fill` puts the first rank's whole tensor into all ranks' shards.

    Raises CheckpointError where the checkpoint is of another model.
    """
    import torch
    from safetensors import safe_open

    for weight in model.parameters():
        if weight.requires_grad:
            moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
            optimizer.state[weight] = {"step": torch.zeros((), device=weight.device), **moments}
    for file, tensors in checkpoint_tensors(model, optimizer, average).items():
        learnt = {name: tensor for name, tensor in tensors.items() if not name.startswith(_RANDOM)}
        if checkpoint is None:
            for tensor in learnt.values():
                fill(tensor, None)
            continue
        with safe_open(str(checkpoint.folder / file), "pt") as stored:
            there = set(stored.keys())
            for name, tensor in learnt.items():
                same = next((each for each in _names_of(name, model) if each in there), None)
                whole = None if same is None else stored.get_tensor(same)
                if whole is None or whole.shape != tensor.shape:
                    raise CheckpointError(
                        f"{checkpoint.folder / file} holds no {name} of {list(tensor.shape)}: it is of another model. Train "
                        f"into a new output folder."
                    )
                fill(tensor, whole)
            _set_random_states({name: stored.get_tensor(name) for name in there if name.startswith(_RANDOM)})


def _names_of(name: str, model: "torch.nn.Module") -> list[str]:
    """All names under which a weight may have been stored: several where parts of the model share it."""
    weights = dict(model.named_parameters(remove_duplicate=False))
    return [name, *(other for other, weight in weights.items() if weight is weights.get(name))]


def _set_random_states(states: "Mapping[str, torch.Tensor]") -> None:
    import torch

    for name, state in states.items():
        device = name.removeprefix(_RANDOM)
        if device == "cpu":
            torch.set_rng_state(state)
        elif (index := int(device.removeprefix("cuda."))) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, index)


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
        f"moment.{name}.{moment}": value
        for name, parameter in model.named_parameters()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }
    tensors[f"{_RANDOM}cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            tensors[f"{_RANDOM}cuda.{index}"] = torch.cuda.get_rng_state(index)
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
