"""One exchange with an OpenAI-compatible server: a body out, a reply or a fault back. Repeats nothing, keeps nothing.

The key lives here only. Whatever a server says is cleaned of it before anyone sees it.
"""

import asyncio
import importlib
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from synth.chat_request import Usage
from synth.client_settings import ClientSettings
from synth.errors import ChatError, KeyMissingError
from synth.faults import Fault, broken_body, classify_status, connection_fault, status_fault

if TYPE_CHECKING:
    import openai

_DETAIL_CHARACTERS: Final = 300
_NO_KEY: Final = "none"  # sent to servers that ask for no key
_SHORTEST_SECRET: Final = 16  # characters; those of real keys are longer
_TURNS_TO_SET_OUT: Final = 3  # of the event loop: the transport writes in a task of its own
_ROOM_AROUND_ANSWER: Final = 262_144  # bytes of a reply beside the answer: ids, usage, a model's reasoning


@dataclass(frozen=True, slots=True)
class Reply:
    """A chat completion. `text` is None where it was larger than allowed."""

    text: str | None
    finish_reason: str | None
    refusal: str | None
    model: str | None
    usage: Usage | None  # None: the server does not count
    seconds: float


class Exchanges(Protocol):
    """What a client needs of a server."""

    async def exchange(self, body: Mapping[str, Any], key: str) -> Reply | Fault:
        """Sends one request."""


class Endpoint:
    """The server of the settings."""

    def __init__(self, settings: ClientSettings) -> None:
        """Reads the key.

        Raises:
            KeyMissingError: the environment variable holds none.
            ChatError: the package openai is missing.
        """
        self._settings = settings
        self._key = read_key(settings)
        self._client: openai.AsyncOpenAI | None = None
        self._broken: tuple[type[BaseException], ...] = ()
        self._departure = asyncio.Lock()

    async def __aenter__(self) -> "Endpoint":
        openai = _openai()
        self._broken = _transport_errors(openai.DefaultAioHttpClient)
        settings = self._settings
        self._client = openai.AsyncOpenAI(
            api_key=self._key or _NO_KEY,
            base_url=settings.base_url,
            max_retries=0,
            timeout=openai.Timeout(
                settings.read_seconds, connect=settings.connect_seconds, pool=settings.total_seconds
            ),
            http_client=openai.DefaultAioHttpClient(trust_env=not settings.is_loopback),  # 2/3 of httpx's CPU time
        )
        self._create = self._client.chat.completions.with_streaming_response.create  # imports half of the library
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()

    @property
    def api(self) -> "openai.AsyncOpenAI":
        """The library's client, within `async with`."""
        assert self._client is not None
        return self._client

    async def exchange(self, body: Mapping[str, Any], key: str) -> Reply | Fault:
        """Sends one request and reads the reply, within `total_seconds`.

        Args:
            body: of POST /chat/completions.
            key: the request's hash, sent as idempotency key.
        """
        await self._take_turn()
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._settings.total_seconds):
                raw = await self._post(body, key)
        except Exception as error:
            fault = self.fault_of(error)
            if fault is None:
                raise
            return fault
        seconds = time.monotonic() - started
        if raw is None:
            return Reply(None, None, None, None, None, seconds)
        read = read_completion(raw, self._settings.largest_answer_bytes, seconds)
        return self.cleaned(read) if isinstance(read, Fault) else self._without_key(read)

    async def _take_turn(self) -> None:
        """Waits until the request before has set out.

        Requests that are built in one turn of the event loop are all written at its end: answers that come together would
        let all the following requests wait for the last one of them, and come together again.
        """
        await self._departure.acquire()
        self._set_out(_TURNS_TO_SET_OUT)

    def _set_out(self, turns: int) -> None:
        if turns == 0:
            self._departure.release()
        else:
            asyncio.get_running_loop().call_soon(self._set_out, turns - 1)

    def fault_of(self, error: Exception) -> Fault | None:
        """What an exception of the library means; None: it is none of the server's or the network's."""
        openai = _openai()
        if isinstance(error, TimeoutError):
            within = f"no whole answer within {self._settings.total_seconds:g} s"
            return Fault("again", "timeout", within, perhaps_paid=True)
        if isinstance(error, openai.APIStatusError):
            return self.cleaned(status_fault(error))
        if isinstance(error, (openai.APIConnectionError, *self._broken)):
            return self.cleaned(connection_fault(error))
        if isinstance(error, openai.OpenAIError):
            return self.cleaned(broken_body(f"{type(error).__name__}: {error}"))
        return None

    async def _post(self, body: Mapping[str, Any], key: str) -> bytes | None:
        """The reply's bytes; None: more than any allowed answer can have."""
        header = self._settings.idempotency_header
        sending = self._create(
            model=body["model"],
            messages=[],  # those of extra_body go out: the library would walk over each of them to translate names
            extra_body=body,
            extra_headers={header: key} if header else None,
        )
        most = 6 * self._settings.largest_answer_bytes + _ROOM_AROUND_ANSWER  # a character may be escaped: \uXXXX
        async with sending as response:
            return await _read_at_most(response.iter_bytes(), most)

    def cleaned(self, fault: Fault) -> Fault:
        """The fault with the key struck out of its words, and these cut to a length: servers may repeat the key."""
        words = fault.detail.replace(self._key, "[key]") if self._key else fault.detail
        return replace(fault, detail=_sendable(words[:_DETAIL_CHARACTERS]))

    def _without_key(self, reply: Reply) -> Reply:
        """The reply with the key struck out, should a server repeat it: answers are kept on the disk.

        A short one is no secret ("EMPTY", "none"), and may be a word of an answer.
        """
        key = self._key
        if key is None or len(key) < _SHORTEST_SECRET:
            return reply
        said = {name: getattr(reply, name) for name in ("text", "finish_reason", "refusal", "model")}
        return replace(reply, **{name: words and words.replace(key, "[key]") for name, words in said.items()})


def read_key(settings: ClientSettings) -> str | None:
    """The key out of the environment; None where the settings name no variable.

    Raises:
        KeyMissingError: the variable is not set, is empty, or holds what no key can hold.
    """
    if settings.key_variable is None:
        return None
    key = os.environ.get(settings.key_variable, "").strip()
    if not key:
        raise KeyMissingError(
            f"The environment variable {settings.key_variable} is not set: put the key for {settings.base_url} there, "
            "or set key_variable to null if the server asks for none."
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise KeyMissingError(
            f"The environment variable {settings.key_variable} holds characters that no key has (spaces, line ends or "
            "letters beyond ASCII): copy the key again."
        )
    return key


def read_completion(raw: bytes, largest_answer: int, seconds: float) -> Reply | Fault:
    """A reply's bytes as a chat completion; a fault where they are none."""
    try:
        whole: Any = json.loads(raw)  # orjson refuses half surrogate pairs, which models do write
    except (ValueError, RecursionError):
        return broken_body(f"the reply of {len(raw):,} bytes is no whole JSON")
    return read_completion_object(whole, largest_answer, seconds)


def read_completion_object(whole: Any, largest_answer: int, seconds: float) -> Reply | Fault:
    """The same for JSON that has been read (a line of a batch)."""
    if not isinstance(whole, dict):
        return broken_body("the reply is no JSON object")
    error = whole.get("error")
    if isinstance(error, dict):  # some gateways report errors with status 200
        status = error.get("code") if isinstance(error.get("code"), int) else 500
        return classify_status(status or 500, str(error.get("message", "")), str(error.get("type")), {})
    choices = whole.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return broken_body("the reply has no choices[0].message")
    text = message.get("content") or ""
    if not isinstance(text, str):
        return broken_body("the reply's content is no text")
    fits = len(text.encode("utf-8", "surrogatepass")) <= largest_answer
    return Reply(
        text=_sendable(text) if fits else None,
        finish_reason=_text_or_none(choice.get("finish_reason")),
        refusal=_text_or_none(message.get("refusal")),
        model=_text_or_none(whole.get("model")),
        usage=_usage(whole.get("usage")),
        seconds=seconds,
    )


def _usage(said: Any) -> Usage | None:
    if not isinstance(said, dict):
        return None
    counts = [said.get(name) for name in ("prompt_tokens", "completion_tokens")]
    known = [count for count in counts if isinstance(count, int) and 0 <= count < 1 << 40]
    return Usage(known[0], known[1]) if len(known) == 2 else None


def _text_or_none(value: Any) -> str | None:
    return _sendable(value) if isinstance(value, str) else None


def _sendable(text: str) -> str:
    """With ? for half surrogate pairs, which neither the database nor a terminal takes."""
    return text.encode("utf-8", "replace").decode()


async def _read_at_most(chunks: AsyncIterator[bytes], most: int) -> bytes | None:
    read = bytearray()
    async for chunk in chunks:
        read += chunk
        if len(read) > most:
            return None
    return bytes(read)


def _transport_errors(client: type) -> tuple[type[BaseException], ...]:
    """What may be raised while a body is read: errors of httpx (in newer versions of openai httpx2), and of aiohttp below it."""
    base = next(part for part in client.__mro__ if part.__name__ == "AsyncClient")
    transport = importlib.import_module(base.__module__.partition(".")[0])
    return transport.RequestError, transport.StreamError, importlib.import_module("aiohttp").ClientError


def _openai() -> Any:
    try:
        import aiohttp  # noqa: F401 (openai's faster transport: without it the first request would fail)
        import openai
    except ImportError:
        raise ChatError("Asking an LLM needs the packages openai and aiohttp: pip install 'pairmill[llm]'.") from None
    return openai
