"""Training in stages: `train:` of a recipe with `stages:`, each starting from what the one before it exported.

    train:
      model: xlm-roberta-large
      stages:
        - {name: retromae, kind: pretrain, steps: 20000, ...}       settings of trainer.retromae.PretrainSettings
        - {name: contrastive, steps: 25000, ...}                    settings of trainer.loop.TrainSettings
        - {name: fine-tune, datasets: [msmarco], epochs: 2, ...}

A stage has a folder of its own, train/NAME, and `stage.json` in it when it is done: what it followed from, and what came of
it. A stage whose settings, data and starting model are the same is not run again; one that changed is, with all after it.
train/model is the last stage's.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainer.loop import TrainSettings
from trainer.retromae.settings import PretrainSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")
_TAKEN: Final = ("model", "checkpoints", "tensorboard", "metrics.jsonl")  # names of what a run of one stage writes

StageSettings = TrainSettings | PretrainSettings


class TrainStage(BaseModel):
    """One stage: its name, its kind, and the settings of that kind beside them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="of its folder, train/NAME, and in model cards")
    kind: Literal["contrastive", "pretrain"] = Field(
        "contrastive", description="what is learnt: pairs, or texts (RetroMAE)"
    )
    model: str | None = Field(None, description="start from this model; default: from what the stage before exported")
    epochs: float | None = Field(None, gt=0, description="of a contrastive stage, instead of steps: how often through")

    @field_validator("name")
    @classmethod
    def _a_folder_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name) or name in _TAKEN or name.endswith((".partial", ".replaced")):
            raise ValueError(
                f"{name!r} is no name for a stage's folder; use letters, digits, dots, dashes and underscores, and "
                f"none of {', '.join(_TAKEN)}"
            )
        return name

    @property
    def settings_model(self) -> type[StageSettings]:
        return PretrainSettings if self.kind == "pretrain" else TrainSettings

    def settings(self, model: str, steps: int | None = None) -> StageSettings:
        """The settings of the run that starts from `model`; `steps` where `epochs` come to so many.

        Raises pydantic.ValidationError, whose places are below the stage; ValueError where steps and epochs do not fit.
        """
        given = dict(self.model_extra or {})
        if self.epochs is not None:
            if self.kind == "pretrain":
                raise ValueError(f"stage {self.name} pre-trains, and takes `steps` in place of `epochs`")
            if "steps" in given:
                raise ValueError(f"stage {self.name} has `steps` and `epochs`; give one of both")
            given["steps"] = steps or 1
        return self.settings_model.model_validate(given | {"model": model})


class TrainStages(BaseModel):
    """Several stages, one after the other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="local folder of the encoder that the first stage starts from, or package://...")
    stages: tuple[TrainStage, ...] = Field(min_length=1, description="in order")

    @field_validator("stages")
    @classmethod
    def _names_differ(cls, stages: tuple[TrainStage, ...]) -> tuple[TrainStage, ...]:
        names = [stage.name for stage in stages]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two stages are named {twice!r}: give each a name of its own")
        return stages

    def models(self, folder: Path) -> "Iterator[tuple[TrainStage, str]]":
        """Each stage and the model it starts from, where the stages' folders lie in `folder`."""
        before = self.model
        for stage in self.stages:
            yield stage, stage.model or before
            before = str(folder / stage.name / "model")
