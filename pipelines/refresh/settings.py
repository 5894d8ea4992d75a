"""What a recipe says about refreshes: how training goes on, what a new model must not lose, when someone is told."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from synth.client_settings import NOT_SHOWN


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GateSettings(_Settings):
    """A new model takes the place of the old one unless it loses on an evaluation set more than this, with significance."""

    sets: tuple[str, ...] = Field((), description="names of the evaluation sets that decide; empty: all")
    metric: str | None = Field(None, description="e.g. ndcg@10; null: each set's main metric")
    mode: str | None = Field(None, description="dense, lexical ...; null: the first of evaluate.modes")
    max_loss: float = Field(0.0, ge=0, le=1, description="what may be lost on a set, in units of the metric (0 to 1)")
    p_value: float = Field(
        0.05, gt=0, le=1, description="a larger loss counts where its two-sided p-value is below; 1: every loss counts"
    )


class AlertSettings(_Settings):
    """Changes from one refresh to the next that someone should look at."""

    source_shrinks: float | None = Field(0.3, gt=0, le=1, description="a source gave this share fewer pairs; null: off")
    language_gone: bool = Field(True, description="a language that had pairs has none")
    language_least: int = Field(100, ge=1, description="languages with fewer pairs than this are not watched")
    keep_rate_moves: float | None = Field(
        0.1, gt=0, le=1, description="the share of pairs a job keeps of a source moved by so much; null: off"
    )
    keep_rate_least: int = Field(
        100, ge=1, description="a job's share of a source is not watched where fewer pairs of it came in, then or now"
    )
    loss_rises: float | None = Field(
        1.5, gt=1, description="the end of training has so many times the loss of the last one, or none; null: off"
    )
    metric_falls: float | None = Field(0.02, gt=0, le=1, description="a main metric fell by so much; null: off")


class NotifySettings(_Settings):
    """Whom to tell. Both get the refresh's record as JSON: a command on its standard input, a web hook as a POST."""

    command: tuple[str, ...] = Field((), description="a program and its arguments, started without a shell")
    url: str | None = Field(None, description="a web hook; ${NAME} is taken from the environment and never logged")
    on: tuple[Literal["alert", "failed", "promoted", "kept", "nothing_new"], ...] = Field(
        ("alert", "failed", "kept"), description="the outcomes that are told"
    )
    timeout_seconds: float = Field(30.0, gt=0)

    @field_validator("url")
    @classmethod
    def _is_a_web_address(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://", "${")):
            raise PydanticCustomError(NOT_SHOWN, "a web hook's address begins with https://, http:// or ${NAME}")
        return url

    @model_validator(mode="before")
    @classmethod
    def _bare_on(cls, given: Any) -> Any:
        """YAML reads the key `on`, without quotes, as true."""
        return (
            {"on" if key is True else key: value for key, value in given.items()} if isinstance(given, dict) else given
        )


class RefreshSettings(_Settings):
    """How `pairmill refresh` goes about it."""

    training: Literal["afresh", "continue"] = Field(
        "afresh",
        description="afresh: from train.model, the same bytes as a run from nothing; continue: from the current version",
    )
    least_left: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a source that lost files and has less than this share of the bytes it had stops the refresh: a disk may "
        "not be mounted; --allow-gone goes on",
    )
    keep_versions: int = Field(5, ge=1, description="promoted models kept for roll-back, the current one among them")
    gate: GateSettings = GateSettings()
    alerts: AlertSettings = AlertSettings()
    notify: NotifySettings = NotifySettings()
