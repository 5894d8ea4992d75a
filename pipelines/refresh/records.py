"""What a refresh did, as RUN/refresh/NNNNNN.json keeps it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Outcome = Literal["nothing_new", "data_only", "promoted", "kept", "failed"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceChange(_Record):
    """Files of one source against those of the last refresh. Names are identities (extract), at most 20 each."""

    label: str
    new: int = 0
    changed: int = 0
    gone: int = 0
    unchanged: int = 0
    new_bytes: int = 0  # of new and changed files
    bytes: int = 0  # of all files there are now
    examples: dict[str, tuple[str, ...]] = {}  # "new", "changed", "gone" -> identities

    @property
    def any(self) -> bool:
        return bool(self.new or self.changed or self.gone)


class JobRecord(_Record):
    """One job of a refresh."""

    job: str
    ran: bool  # False: it was up to date
    seconds: float = 0.0
    rows_in: int = 0
    rows_out: int = 0
    dropped: dict[str, int] = {}
    funnel: dict[str, dict[str, int]] = {}  # by source, as in the job's manifest
    languages: dict[str, dict[str, dict[str, int]]] = {}  # by source and language
    bytes: int = 0  # of its files


class SetDecision(_Record):
    """The new model against the current one on one evaluation set."""

    data: str
    language: str | None
    mode: str | None
    metric: str
    current: float | None  # None: the model has no such mode, or no value is defined
    new: float | None
    difference: float | None  # new - current
    p_value: float | None  # None: the set has no values by query
    passes: bool


class GateDecision(_Record):
    """Whether the new model takes the place of the current one, and why, in one sentence."""

    promoted: bool
    reason: str
    sets: tuple[SetDecision, ...] = ()


class Alert(_Record):
    """Something moved more than the recipe's thresholds allow."""

    kind: str  # source_shrinks, language_gone, keep_rate_moves, loss_rises, metric_falls
    subject: str  # which source, language, job or set
    message: str  # one sentence with both values
    before: float | None = None
    now: float | None = None


class RefreshRecord(_Record):
    """One refresh, from its start to its outcome."""

    number: int
    started: str  # UTC, ISO 8601
    seconds: float
    outcome: Outcome
    changes: tuple[SourceChange, ...] = ()
    jobs: tuple[JobRecord, ...] = ()
    gate: GateDecision | None = None
    version: int | None = None  # the current version after the refresh
    alerts: tuple[Alert, ...] = ()
    error: str | None = None
    fingerprints: dict[str, str] = {}  # job -> fingerprint of its manifest at the end
    metrics: list[dict[str, Any]] = []  # rows of evaluate's metrics.json for the new model
    final_loss: float | None = None
