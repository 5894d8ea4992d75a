"""A request to an LLM, its hash, and the answer to it.

request = ChatRequest.of("p17", "Write one question about: ...", schema=Question)
answer.id == "p17"; answer.value == Question(text="...")
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import orjson
from pydantic import BaseModel

from synth.client_settings import ClientSettings

Role = Literal["system", "user", "assistant"]

_KEY_VERSION: Final = 1  # raised when a request's body is built in another way

FAILURES: Final = {
    "bad_request": "the server refused the request as invalid (400, 413, 422)",
    "prompt_too_long": "the prompt is longer than the model's context",
    "content_filter": "the server's content filter refused the prompt or the answer",
    "refused": "the model refused to answer",
    "gave_up": "the server failed too often, or for too long",
    "empty": "the answer is empty",
    "unreadable": "the answer does not fit the schema",
    "too_large": "the answer is larger than largest_answer_bytes",
    "in_batch": "the request is in a batch that is not collected yet",
    "invalid_text": "the prompt is no valid Unicode text",
}


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is asked. Requests that differ in `id` only are sent once and share their answer."""

    id: str
    messages: tuple[Message, ...]
    schema: type[BaseModel] | None = None  # what the answer must be; None: any text
    max_output_tokens: int | None = None  # None: as in the settings
    attempt: int = 0  # asks for another answer to the same prompt: part of the hash, added to the seed

    @classmethod
    def of(
        cls, id: str, user: str, *, system: str | None = None, schema: type[BaseModel] | None = None
    ) -> "ChatRequest":
        """One question, with instructions if given."""
        instructions = (Message("system", system),) if system is not None else ()
        return cls(id, (*instructions, Message("user", user)), schema)

    def another(self) -> "ChatRequest":
        """The request for another answer to the same prompt."""
        return replace(self, attempt=self.attempt + 1)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request and its answer."""

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False  # not told by the server


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request.

    `failure` is None or a key of FAILURES; `text` is the model's words also where the answer is unreadable, and ""
    where there is none. `value` is an instance of the request's schema.
    """

    id: str
    key: str  # sha256 of the request, hexadecimal
    text: str
    value: BaseModel | None
    failure: str | None
    detail: str  # of the failure, in words
    finish_reason: str | None
    model: str | None  # as the server names it in the answer
    usage: Usage
    from_cache: bool  # found in the database, or shared with an equal request of this run


def request_body(request: ChatRequest, settings: ClientSettings) -> dict[str, Any]:
    """The body of POST /chat/completions, but for the schema."""
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        settings.length_parameter: request.max_output_tokens or settings.max_output_tokens,
    }
    if settings.temperature is not None:
        body["temperature"] = settings.temperature
    if settings.top_p is not None:
        body["top_p"] = settings.top_p
    if settings.seed is not None:
        body["seed"] = settings.seed + request.attempt
    return body | settings.extra_parameters


def request_key(request: ChatRequest, settings: ClientSettings) -> str:
    """Sha256 of all that the answer depends on: server, model, parameters, messages, schema, number of the attempt.

    Whether the schema went to the server or into the prompt is left out: in mode `auto` that may change in mid-run.

    Raises:
        ValueError: a text holds half of a surrogate pair and cannot be sent.
    """
    whole = {
        "version": _KEY_VERSION,
        "server": settings.server,
        "body": request_body(request, settings),
        "schema": None if request.schema is None else strict_schema(request.schema),
        "structured": settings.structured,
        "attempt": request.attempt,
    }
    try:
        return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except TypeError as error:
        raise ValueError("the prompt is no valid Unicode text") from error


def with_schema(body: Mapping[str, Any], schema: type[BaseModel]) -> dict[str, Any]:
    """The body with the schema as `response_format`: the server holds the model to it."""
    described = {"name": schema.__name__, "schema": strict_schema(schema), "strict": True}
    return {**body, "response_format": {"type": "json_schema", "json_schema": described}}


def with_schema_in_words(body: Mapping[str, Any], schema: type[BaseModel]) -> dict[str, Any]:
    """The body with the schema at the end of the last message, for servers that know no `response_format`."""
    words = orjson.dumps(strict_schema(schema)).decode()
    asked = f"\n\nAnswer with one JSON object that follows this JSON schema, and with nothing else:\n{words}"
    *before, last = body["messages"]
    return {**body, "messages": [*before, {**last, "content": last["content"] + asked}]}


@lru_cache(maxsize=64)
def strict_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """JSON schema of a model as OpenAI's strict mode wants it: all properties required, no others allowed."""
    strict = _strict(schema.model_json_schema())
    assert isinstance(strict, dict)
    return strict


def schema_key(schema: type[BaseModel], settings: ClientSettings) -> str:
    """What is remembered of a server is whether this model of it takes this schema."""
    described = hashlib.sha256(orjson.dumps(strict_schema(schema), option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"{settings.server} {settings.model} {described}"


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    # Below these two the names are the user's: a field may be called "default".
    named = {
        name: {field: _strict(part) for field, part in node[name].items()}
        for name in ("properties", "$defs")
        if name in node
    }
    rest = {name: _strict(value) for name, value in node.items() if name not in ("default", "properties", "$defs")}
    if "properties" in named:
        rest |= {"additionalProperties": False, "required": list(named["properties"])}
    return rest | named
