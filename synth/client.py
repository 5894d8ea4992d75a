"""Asks an LLM on any OpenAI-compatible server: a stream of requests in, their answers out, in any order.

    client = ChatClient(ClientSettings(base_url=..., model=..., answers=Path("runs/llm.sqlite")))
    print(client.estimate(requests))                    # calls, tokens, hours, money; sends nothing
    for answer in client.ask(requests):                 # or: await client.ask_all(requests, on_answer)
        ...

Every answer is kept (synth/answer_cache.py): the same run again, after a kill too, sends only what has no answer yet.
What a killed run had in flight or was about to write, at most 2 x `in_flight` requests, is sent again; the budget counts
it as paid, and what was waiting for its turn too: at most 4 x `in_flight` requests in all. Servers and gateways that heed the idempotency header do not bill it again.
How the run goes is in synth/chat_run.py, what is sent again and what is not in synth/faults.py.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Final

from synth.accounting import Estimate, Report, Spent
from synth.answer_cache import Cache
from synth.chat_request import Answer, ChatRequest
from synth.chat_run import ChatRun, Job, OnAnswer, Requests, make_job
from synth.client_settings import ClientSettings
from synth.endpoint import Endpoint
from synth.token_count import CountTokens, estimate_tokens, tokenizer_count

_LOOKED_UP_AT_ONCE: Final = 256
_READER_SECONDS: Final = 0.01  # how often a full queue is tried again


class ChatClient:
    """One model on one server. `report` is that of the latest run, or of the one that is going on.

    Several clients and processes may share a database of answers. The limits of requests and tokens a minute hold for
    each run by itself.
    """

    def __init__(self, settings: ClientSettings, count_tokens: CountTokens | None = None) -> None:
        """Nothing is opened or sent yet.

        Args:
            settings: server, model, limits.
            count_tokens: tokens of a text, by the model's tokenizer; default: that of `settings.tokenizer`, else UTF-8
                bytes / 4.

        Raises:
            ChatError: the tokenizer cannot be read.
        """
        self.settings = settings
        self.tokens_are_estimated = count_tokens is None and settings.tokenizer is None
        if count_tokens is None:
            count_tokens = estimate_tokens if settings.tokenizer is None else tokenizer_count(settings.tokenizer)
        self.count_tokens = count_tokens
        self.report = Report()

    async def ask_all(self, requests: Requests, on_answer: OnAnswer) -> Report:
        """Has all requests answered; each answer, or failure, is handed to `on_answer` as it comes, and awaited.

        Requests are read as they are needed; an iterable that is not asynchronous is read in a thread of its own.

        Raises:
            KeyMissingError: before anything is sent.
            BudgetExhausted, EndpointRefusedError, EndpointUnavailableError: the run ended early; `report` of the
                exception says what was done. Requests whose answers are known are all handed out before
                BudgetExhausted is raised.
            AnswerCacheError: the database cannot be used.
        """
        with closing(Cache(self.settings.answers)) as cache:
            async with Endpoint(self.settings) as endpoint:
                return await self._run(cache, endpoint, on_answer).go(requests)

    def ask(self, requests: Iterable[ChatRequest]) -> Iterator[Answer]:
        """The same for code that is not asynchronous: the run goes on in a thread while answers are read.

        Left before its end, it sends nothing more, waits for what is in flight, and keeps it.
        Raises what `ask_all` raises.
        """
        return _Thread(self).answers(requests)

    def estimate(self, requests: Iterable[ChatRequest]) -> Estimate:
        """What a run would take; sends nothing. Memory: some 100 bytes a request."""
        settings = self.settings
        seen: set[bytes] = set()
        asked = cached = input_tokens = output_tokens = calls = 0
        money = 0.0
        with closing(Cache(settings.answers)) as cache:
            for chunk in _lists(requests, _LOOKED_UP_AT_ONCE):
                jobs = {job.key: job for job in map(self._job, chunk) if job is not None}
                asked += len(chunk)
                fresh = [job for key, job in jobs.items() if bytes.fromhex(key) not in seen]
                seen.update(bytes.fromhex(job.key) for job in fresh)
                answers = cache.look_up([job.key for job in fresh])
                cached += len(answers)
                for job in fresh:
                    if job.key not in answers:
                        calls += 1
                        input_tokens += job.input_tokens
                        output_tokens += job.most_tokens - job.input_tokens
                        money += job.most_money
            seconds = cache.seconds_of_an_answer(settings.model)
            spent = cache.spent(settings.account)
        return Estimate(
            requests=asked,
            from_cache=cached,
            duplicates=asked - len(seen),
            calls=calls,
            input_tokens=input_tokens,
            output_tokens_at_most=output_tokens,
            money_at_most=money,
            money_left=None if settings.budget is None else max(0.0, settings.budget - spent.money_in_all),
            hours=_hours(settings, calls, input_tokens + output_tokens, seconds),
            tokens_are_estimated=self.tokens_are_estimated,
        )

    def spent(self) -> Spent:
        """What the account has cost so far, over all runs and processes."""
        with closing(Cache(self.settings.answers)) as cache:
            return cache.spent(self.settings.account)

    def _job(self, request: ChatRequest) -> Job | None:
        """None for a text that cannot be sent: it will be told as failed, at no cost."""
        try:
            return make_job(request, self.settings, self.count_tokens)
        except ValueError:
            return None

    def _run(self, cache: Cache, endpoint: Endpoint, on_answer: OnAnswer) -> ChatRun:
        run = ChatRun(self.settings, cache, endpoint, self.count_tokens, on_answer)
        self.report = run.report
        return run


def _hours(settings: ClientSettings, calls: int, tokens: int, seconds: float | None) -> float | None:
    """The longest of: by requests a minute, by tokens a minute, by the time an answer has taken so far."""
    bounds = []
    if settings.requests_per_minute is not None:
        bounds.append(calls / settings.requests_per_minute / 60)
    if settings.tokens_per_minute is not None:
        bounds.append(tokens / settings.tokens_per_minute / 60)
    if seconds is not None:
        bounds.append(calls * seconds / settings.in_flight / 3600)
    return max(bounds, default=0.0 if calls == 0 else None)


def _lists(requests: Iterable[ChatRequest], most: int) -> Iterator[list[ChatRequest]]:
    iterator = iter(requests)
    while chunk := list(islice(iterator, most)):
        yield chunk


class _Thread:
    """A run in a thread, its answers read through a queue of bounded length."""

    def __init__(self, client: ChatClient) -> None:
        self._client = client
        self._queue: queue.Queue[Answer | None] = queue.Queue(2 * client.settings.in_flight)
        self._left = False
        self._run: ChatRun | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None

    def answers(self, requests: Iterable[ChatRequest]) -> Iterator[Answer]:
        thread = threading.Thread(target=self._target, args=(requests,), name="llm", daemon=True)
        thread.start()
        try:
            while (answer := self._queue.get()) is not None:
                yield answer
        finally:
            self._leave()
            thread.join()
        if self._error is not None:
            raise self._error

    def _leave(self) -> None:
        self._left = True
        if self._loop is not None and self._run is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # the loop may close meanwhile
                self._loop.call_soon_threadsafe(self._run.stop)

    def _target(self, requests: Iterable[ChatRequest]) -> None:
        try:
            asyncio.run(self._ask(requests))
        except BaseException as error:
            self._error = error
        ended = False
        while not (ended or self._left):
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=_READER_SECONDS)
                ended = True

    async def _ask(self, requests: Iterable[ChatRequest]) -> None:
        settings = self._client.settings
        with closing(Cache(settings.answers)) as cache:
            async with Endpoint(settings) as endpoint:
                self._run = self._client._run(cache, endpoint, self._put)
                self._loop = asyncio.get_running_loop()
                if self._left:
                    self._run.stop()
                await self._run.go(requests)

    async def _put(self, answer: Answer) -> None:
        while self._queue.full() and not self._left:  # nobody else puts anything in
            await asyncio.sleep(_READER_SECONDS)
        if not self._left:
            self._queue.put_nowait(answer)
