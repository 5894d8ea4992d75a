"""What a run of requests did and cost, and what one would cost."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from synth.chat_request import Answer

_EXAMPLES: Final = 3  # failures told in words, for each reason


@dataclass
class Report:
    """Counts of one run.

    Every request ends as one of: answered, failed (by reason), not_sent (the run ended before).
    """

    requests: int = 0
    answered: int = 0
    from_cache: int = 0  # of the answered and failed: paid before, or shared with an equal request
    failed: Counter[str] = field(default_factory=Counter)  # by key of FAILURES
    not_sent: int = 0
    sent: int = 0  # HTTP requests
    faults: Counter[str] = field(default_factory=Counter)  # sent again because of: see synth/faults.py
    input_tokens: int = 0  # of the answers that were paid in this run
    output_tokens: int = 0
    money: float = 0.0
    lost: int = 0  # sent and perhaps paid, but no answer arrived; charged as if paid in full
    lost_money: float = 0.0
    seconds: float = 0.0
    examples: dict[str, list[str]] = field(default_factory=dict)  # of failures and faults, by reason

    def count_answer(self, answer: Answer) -> None:
        """Counts a request that got its end."""
        if answer.failure is None:
            self.answered += 1
        else:
            self.failed[answer.failure] += 1
            self.keep_example(answer.failure, answer.detail)
        self.from_cache += answer.from_cache

    def keep_example(self, reason: str, detail: str) -> None:
        """Keeps the first few details of a reason."""
        told = self.examples.setdefault(reason, [])
        if len(told) < _EXAMPLES and detail and detail not in told:
            told.append(detail)


@dataclass(frozen=True)
class Estimate:
    """What a run would take, before anything is sent.

    Output tokens and money are upper bounds: no answer may be longer than max_output_tokens. Requests that are sent
    again for an empty or unreadable answer come on top.
    """

    requests: int
    from_cache: int  # answered already
    duplicates: int  # equal to another request of the run
    calls: int  # to be sent
    input_tokens: int
    output_tokens_at_most: int
    money_at_most: float
    money_left: float | None  # of the budget; None: no budget
    hours: float | None  # None: no rate limit is set, and no answers are there to tell how long one takes
    tokens_are_estimated: bool  # by UTF-8 bytes / 4: no tokenizer was given


@dataclass(frozen=True)
class Spent:
    """What an account has cost so far, over all runs and processes."""

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: float = 0.0
    lost: int = 0  # requests sent by runs that were killed, or whose answer did not arrive: charged in full
    lost_tokens: int = 0
    lost_money: float = 0.0
    reserved_tokens: int = 0  # of requests in flight now
    reserved_money: float = 0.0

    @property
    def tokens_in_all(self) -> int:
        """All that counts against the budget."""
        return self.input_tokens + self.output_tokens + self.lost_tokens + self.reserved_tokens

    @property
    def money_in_all(self) -> float:
        """All that counts against the budget."""
        return self.money + self.lost_money + self.reserved_money
