"""What a user sets to have an LLM asked: the server, the model, limits, time-outs, prices and the budget.

None of it is secret: the key is in an environment variable, of which only the name is a setting.
"""

import re
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator
from pydantic_core import PydanticCustomError

_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# What the request's body has from other settings, and what would change how an answer is read or what it costs.
_SET_ELSEWHERE: Final = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "seed",
        "response_format",
        "stream",
        "stream_options",
        "n",
        "best_of",
    }
)
NOT_SHOWN: Final = "not_shown"  # type of a validation error whose input is not to be shown


def _perhaps_secret(message: str) -> PydanticCustomError:
    """An error about a value that may hold a key."""
    return PydanticCustomError(NOT_SHOWN, message)


class Prices(BaseModel):
    """What tokens cost; 0 for a server of one's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(0.0, ge=0, description="a million input tokens, in the currency of the budget")
    output: float = Field(0.0, ge=0, description="a million output tokens")
    batch_share: float = Field(0.5, gt=0, le=1, description="of these prices in batch mode; 0.5 at OpenAI")

    def money(self, input_tokens: int, output_tokens: int) -> float:
        """Price of so many tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


class ClientSettings(BaseModel):
    """How one model on one OpenAI-compatible server is asked. Defaults without a source are ours."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: str = Field(description="up to and with /v1: https://api.openai.com/v1, http://127.0.0.1:8000/v1")
    model: str = Field(min_length=1, description="as the server names it")
    key_variable: str | None = Field(
        "OPENAI_API_KEY", description="environment variable that holds the key; null: a server that asks for none"
    )
    answers: Path = Field(description="sqlite database that keeps all answers; on a local disk")

    known_as: str | None = Field(
        None,
        min_length=1,
        description="name of the server in the hash of requests, for one whose address changes: answers that were given "
        "at another address are found again; null: base_url",
    )

    temperature: float | None = Field(None, ge=0, description="null: the server's default")
    top_p: float | None = Field(None, gt=0, le=1, description="null: the server's default")
    seed: int | None = Field(None, description="sent to the server, which may heed it")
    max_output_tokens: int = Field(512, ge=1, description="of one answer")
    length_parameter: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="under which name that is sent; OpenAI's reasoning models want max_completion_tokens"
    )
    extra_parameters: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="more of the request's body, such as chat_template_kwargs of vLLM; no parameter that is set elsewhere",
    )
    structured: Literal["auto", "on", "off"] = Field(
        "auto",
        description="whether the server is sent the answer's JSON schema; auto: until it refuses one with status 400",
    )

    in_flight: int = Field(32, ge=1, le=1000, description="requests at once")
    requests_per_minute: int | None = Field(None, ge=1, description="the server's limit; null: none")
    tokens_per_minute: int | None = Field(None, ge=1, description="the server's limit, input and output; null: none")

    connect_seconds: float = Field(10.0, gt=0, description="time-out of the connection")
    read_seconds: float = Field(120.0, gt=0, description="time-out of silence in mid-answer and before it")
    total_seconds: float = Field(300.0, gt=0, description="time-out of a request as a whole")

    attempts: int = Field(
        8, ge=1, description="how often a request is sent at most; refusals for haste (429) do not count"
    )
    first_wait_seconds: float = Field(
        0.25, gt=0, description="before the second attempt; doubled for each one after it"
    )
    longest_wait_seconds: float = Field(60.0, gt=0, description="between two attempts")
    longest_retry_after_seconds: float = Field(
        300.0, gt=0, description="a server that asks for a longer wait ends the run (a daily limit, say)"
    )
    patience_seconds: float = Field(900.0, gt=0, description="after so long a request is not sent again")
    stop_after_failures: int = Field(
        20, ge=1, description="requests that failed one after the other with no answer between: the run ends"
    )
    ask_again: int = Field(
        1, ge=0, description="times a request is sent once more whose answer is empty or does not fit its schema"
    )
    largest_answer_bytes: int = Field(65_536, ge=1, description="of UTF-8; a longer answer is refused and counted")
    idempotency_header: str | None = Field(
        "Idempotency-Key",
        description="header with the request's hash: servers and gateways that know it do not bill a resent request twice",
    )

    prices: Prices = Prices()
    budget: float | None = Field(None, ge=0, description="money the account may cost in all; null: no limit")
    budget_tokens: int | None = Field(None, ge=0, description="input and output tokens of the account in all")
    account: str = Field(
        "default",
        min_length=1,
        description="spending is summed in the database under this name, over all runs and processes",
    )
    tokenizer: Path | None = Field(
        None, description="tokenizer.json of the model, to count tokens before sending; null: UTF-8 bytes / 4"
    )

    @field_validator("base_url")
    @classmethod
    def _has_no_secret(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _perhaps_secret("write the server's address as http://HOST:PORT/v1 or https://HOST/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise _perhaps_secret(
                "write the server's address without name, password, `?` and `#`: "
                "the key goes into the environment variable that `key_variable` names"
            )
        return value.rstrip("/")

    @field_validator("key_variable")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value is not None and not _VARIABLE_NAME.fullmatch(value):
            raise _perhaps_secret(
                "write the NAME of the environment variable that holds the key, such as OPENAI_API_KEY"
            )
        return value

    @field_validator("extra_parameters")
    @classmethod
    def _sets_nothing_twice(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := sorted(_SET_ELSEWHERE & value.keys()):
            raise ValueError(
                f"{', '.join(taken)} cannot be set here: the budget, the hash and the reading of answers go by settings of "
                "their own (model, max_output_tokens, temperature, top_p, seed, structured); answers come one at a time and "
                "are not streamed"
            )
        return value

    @property
    def server(self) -> str:
        """By what name the server's answers and habits are kept."""
        return self.known_as or self.base_url

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine: proxies of the environment do not apply then."""
        host = urlsplit(self.base_url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")
