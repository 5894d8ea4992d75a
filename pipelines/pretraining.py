"""`pairmill pretrain`: RetroMAE on a pack folder's text shards, or on plain files of texts."""

import fcntl
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from rich.console import Console

from pipelines.errors import UserError
from pipelines.recipe import explain_validation

if TYPE_CHECKING:
    from trainer.retromae.settings import PretrainSettings

Settings = TypeVar("Settings", bound=BaseModel)


@dataclass(frozen=True)
class TextSource:
    """What is learnt from: a pack folder, or plain files that are packed into OUTPUT/data first."""

    data: str | None
    texts: tuple[str, ...]
    text_field: str | None
    packing: dict[str, Any]  # of TextPackingSettings


def pretrain(
    console: Console,
    source: TextSource,
    output: str,
    preset_name: str | None,
    steps: int | None,
    epochs: float | None,
    given: dict[str, Any],
    *,
    restart: bool,
    tensorboard: bool = False,
) -> None:
    """Pre-train. Of several processes (torchrun) the first one shows how it goes."""
    from trainer.retromae.pretrain import pretrain as run_pretraining
    from trainer.watching import TENSORBOARD, Rates, progress_display, tensorboard_files, watched

    values = _values(preset_name, given)
    data = _data(console, source, output, preset_name, _checked(values | {"steps": 1}))
    settings = _with_steps(values, preset_name, steps, epochs, data)
    _tell_about_preset(console, data, preset_name)
    if int(os.environ.get("RANK", "0")):
        run_pretraining(data, output, settings, restart=restart)
        return
    watchers = [progress_display(console, settings.steps)]
    if tensorboard:
        watchers.append(tensorboard_files(Path(output) / TENSORBOARD))
    with watched(Rates(), *watchers) as tell:
        result = run_pretraining(data, output, settings, tell, restart=restart)
    console.print(f"Model: {result.model_folder}", highlight=False, markup=False, soft_wrap=True)


def _values(preset_name: str | None, given: dict[str, Any]) -> dict[str, Any]:
    from trainer.retromae.presets import pretrain_preset

    return (dict(pretrain_preset(preset_name).pretrain) if preset_name else {}) | given


def _checked(values: dict[str, Any]) -> "PretrainSettings":
    from trainer.retromae.settings import PretrainSettings

    return _validated(PretrainSettings, values)


def _validated(kind: type[Settings], values: dict[str, Any]) -> Settings:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(explain_validation(error, "the command line", {}, kind)) from None


def _data(
    console: Console, source: TextSource, output: str, preset_name: str | None, settings: "PretrainSettings"
) -> str:
    """The folder with the text shards; plain files are packed, by the first of several processes."""
    if (source.data is None) == (not source.texts):
        raise UserError("Say what to learn from: --data FOLDER (of pack, with pack.texts), or --texts FILE.")
    if source.data is not None:
        if source.packing:
            raise UserError(
                f"{', '.join(source.packing)}: these are settings of packing, and {source.data} is packed already. Set them "
                f"in the recipe's pack.texts, or give --texts FILE."
            )
        if source.text_field is not None:
            raise UserError(
                f"--text-field {source.text_field} names a field of plain files, and {source.data} is packed already. Leave it "
                f"out, or give --texts FILE."
            )
        return source.data
    from pipelines.plain_texts import pack_plain_texts
    from trainer.retromae.models import tokenizer_and_length
    from trainer.retromae.presets import pretrain_preset
    from trainer.text_packing import DEFAULT_MAX_LENGTH, TextPackingSettings

    tokenizer, longest = tokenizer_and_length(settings)
    wanted = {"max_length": min(DEFAULT_MAX_LENGTH, longest)}
    wanted |= pretrain_preset(preset_name).packing if preset_name else {}
    packing = _validated(TextPackingSettings, wanted | source.packing)
    if packing.max_length > longest:
        raise UserError(
            f"Rows would have {packing.max_length} tokens (max_length), and {settings.model} takes {longest}. Give "
            f"--max-length {longest} or less, or make the model longer: --set max_positions={packing.max_length}."
        )
    folder = Path(output) / "data"
    with _one_after_the_other(folder):
        found = pack_plain_texts(source.texts, str(folder), tokenizer, packing, source.text_field)["texts"]
    if not int(os.environ.get("RANK", "0")):
        told = (
            f"{found['rows']:,} rows of {found['tokens']:,} tokens from {found['texts']:,} texts "
            f"({found['duplicate']:,} repeated, {found['empty']:,} empty, {found['short']:,} too short)"
        )
        console.print(told, highlight=False, soft_wrap=True)
    return str(folder)


@contextmanager
def _one_after_the_other(folder: Path) -> Iterator[None]:
    """Of several processes the first packs, and the others find it done. They do not know of each other yet."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _with_steps(
    values: dict[str, Any], preset_name: str | None, steps: int | None, epochs: float | None, data: str
) -> "PretrainSettings":
    from trainer.packed_texts import PackedTexts
    from trainer.retromae.presets import pretrain_preset
    from trainer.retromae.text_plan import TextPlan

    if steps is not None and epochs is not None:
        raise UserError("Give --steps or --epochs, not both.")
    if steps is not None:
        values = values | {"steps": steps}
    if epochs is None and "steps" not in values and preset_name:
        epochs = pretrain_preset(preset_name).epochs
    if epochs is None:
        if "steps" not in values:
            raise UserError("Say how long to pre-train: --steps, --epochs, or a --preset that says so.")
        return _checked(values)
    settings = _checked(values | {"steps": 1})
    plan = TextPlan(PackedTexts.open(data, settings.data_cache).tokens.lengths, settings.batch_size, settings.seed)
    return settings.model_copy(update={"steps": max(1, math.ceil(epochs * plan.batches_per_epoch))})


def _tell_about_preset(console: Console, data: str, preset_name: str | None) -> None:
    """Say what of the data is not as the preset has it: it can be learnt from, but is not that run."""
    from trainer.packed_columns import MANIFEST
    from trainer.retromae.presets import pretrain_preset

    if not preset_name or int(os.environ.get("RANK", "0")):
        return
    try:
        found = dict(json.loads((Path(data) / MANIFEST).read_text("utf-8"))["details"]["text_packing"])
    except (OSError, ValueError, KeyError, TypeError):
        return  # reading the data says what is wrong with it
    for name, wanted in pretrain_preset(preset_name).packing.items():
        if found.get(name) != wanted:
            console.print(
                f"{preset_name}: texts.{name} is {found.get(name)!r}, the preset has {wanted!r}.",
                style="yellow",
                highlight=False,
                markup=False,
            )
