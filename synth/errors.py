"""What ends a run of requests. Every message is one paragraph that says what to change; none holds the key."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synth.accounting import Report


class ChatError(ValueError):
    """The run of requests ended early. `report` says what was done until then; all answers are kept."""

    report: "Report | None" = None


class KeyMissingError(ChatError):
    """The environment variable that should hold the key is not set, or holds no key."""


class EndpointRefusedError(ChatError):
    """The server refuses all requests: the key, the account, the address or the model is wrong."""


class EndpointUnavailableError(ChatError):
    """The server cannot be reached, fails again and again, or asks for a longer wait than allowed."""


class BudgetExhausted(ChatError):
    """Another request might cost more than is left of the budget. The same run goes on once the budget is raised."""


class AnswerCacheError(ChatError):
    """The database of answers cannot be used."""


class BatchError(ChatError):
    """A batch could not be written, submitted or collected."""
