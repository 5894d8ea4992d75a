"""What a run's refreshes must remember: RUN/refresh/state.json.

Three things could not be told from the run's files: which version a training continued from (or a training with the same data
would start from its own result), which version the trained model was compared with (or it would be compared with itself once
it is current), and whether the gate has decided about it.
"""

import logging
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines import storage
from pipelines.refresh.content_states import REFRESH
from pipelines.run_folder import RunFolder

STATE: Final = "state.json"


class _Remembered(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainingStart(_Remembered):
    """Where a training with `refresh.training: continue` began."""

    training: str  # fingerprint that job train would have, were it to start from the recipe's own model
    version: int | None  # None: the recipe's own model


class Opponent(_Remembered):
    """The version that a trained model was compared with."""

    train: str  # fingerprint of job train
    version: int | None  # None: there was none


class Decided(_Remembered):
    """The gate's answer about a trained model, and what it was an answer to."""

    train: str  # fingerprint of job train
    evaluate: str | None  # fingerprint of job evaluate
    gate: str  # fingerprint of the gate's settings
    promoted: bool


class RefreshState(_Remembered):
    """The whole file."""

    start: TrainingStart | None = None
    opponent: Opponent | None = None
    decided: Decided | None = None

    def versions_in_use(self) -> set[int]:
        """Versions without which the next refresh could not tell that nothing is new."""
        return {each.version for each in (self.start, self.opponent) if each is not None and each.version is not None}


def read_state(run: RunFolder) -> RefreshState:
    """The state; an empty one where there is none, or where it cannot be read (with a warning)."""
    url = storage.join(run.url, REFRESH, STATE)
    try:
        return RefreshState.model_validate(storage.read_json(url))
    except FileNotFoundError:
        return RefreshState()
    except (ValueError, ValidationError) as error:
        logging.getLogger(__name__).warning("%s cannot be read and is begun anew: %s", url, error)
        return RefreshState()


def write_state(run: RunFolder, state: RefreshState) -> None:
    if state != read_state(run):
        storage.write_json(storage.join(run.url, REFRESH, STATE), state.model_dump())
