"""An OpenAI-compatible server on loopback that misbehaves on a script. Real HTTP, made of asyncio streams, in a thread.

    with ScriptedServer(lambda asked: Good("yes")) as server:
        settings(base_url=server.url)

The script is called with each request and says what is done with it.
"""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Asked:
    """A request as the server sees it. `times` counts requests with this prompt, this one included."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    prompt: str
    times: int
    number: int
    raw: bytes


@dataclass
class Good:
    text: str = "fine"
    finish_reason: str = "stop"
    usage: tuple[int, int] | None = (10, 5)
    refusal: str | None = None


@dataclass
class Status:
    status: int
    message: str = "no"
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Raw:
    body: bytes
    length: int | None = None  # Content-Length, where it is to be a lie


class Reset:
    """The connection is cut without a reply."""


@dataclass
class Drip:
    seconds: float = 0.02  # between two bytes


Act = Good | Status | Raw | Reset | Drip


class ScriptedServer:
    def __init__(self, script: Callable[[Asked], Act], latency: float = 0.0, places: int | None = None) -> None:
        self.script = script
        self.latency = latency
        self.places = places  # requests served at once; the others wait
        self.asked: list[Asked] = []
        self.delivered: Counter[str] = Counter()  # whole good answers, by prompt
        self.billed: Counter[str] = Counter()  # those made, an idempotency key's repetitions not counted
        self.most_at_once = 0
        self._at_once = 0
        self._by_key: dict[str, Act] = {}
        self._ready = threading.Event()

    def __enter__(self) -> "ScriptedServer":
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._free = asyncio.Semaphore(self.places or 10_000)
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = self._note(*head[0].split()[:2], headers, raw)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            async with self._free:
                if self.latency:
                    await asyncio.sleep(self.latency)
                return await self._answer(asked, self._act(asked), writer)
        finally:
            self._at_once -= 1

    def _note(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> Asked:
        body = json.loads(raw) if raw[:1] == b"{" else {}
        prompt = body.get("messages", [{}])[-1].get("content", "")
        times = 1 + sum(asked.prompt == prompt for asked in self.asked)
        asked = Asked(method, path, headers, body, prompt, times, len(self.asked), raw)
        self.asked.append(asked)
        return asked

    def _act(self, asked: Asked) -> Act:
        key = asked.headers.get("idempotency-key")
        act = self._by_key.get(key or "")
        if act is None:
            act = self.script(asked)
            if isinstance(act, Good):
                self.billed[asked.prompt] += 1
                if key:
                    self._by_key[key] = act
        return act

    async def _answer(self, asked: Asked, act: Act, writer: asyncio.StreamWriter) -> bool:
        if isinstance(act, Reset):
            writer.transport.abort()
            return False
        if isinstance(act, Drip):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
            while not writer.is_closing():
                await asyncio.sleep(act.seconds)
                writer.write(b" ")
                await writer.drain()
            return False
        status, body, headers = _reply(act)
        length = act.length if isinstance(act, Raw) and act.length is not None else len(body)
        lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        if isinstance(act, Good):
            self.delivered[asked.prompt] += 1
        return length == len(body)


def _reply(act: Good | Status | Raw) -> tuple[int, bytes, dict[str, str]]:
    if isinstance(act, Raw):
        return 200, act.body, {}
    if isinstance(act, Status):
        error = {"error": {"message": act.message, "type": "x", "code": act.code}}
        return act.status, json.dumps(error).encode(), act.headers
    return 200, json.dumps(completion(act)).encode(), {}


def completion(act: Good) -> dict[str, Any]:
    """A chat completion as OpenAI sends it."""
    message = {"role": "assistant", "content": act.text, "refusal": act.refusal}
    whole: dict[str, Any] = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": act.finish_reason}],
    }
    if act.usage is not None:
        prompt, output = act.usage
        whole["usage"] = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    return whole
