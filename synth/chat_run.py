"""One run of requests, from the stream of them to the answers: who waits for what, and what happens in which order.

    requests -> feed -> [database: answered? leased? budget?] -> ready -> work (in_flight of them) -> the server
                                                                   ^         |            |
                                                                   +-- wait -+ again      v
                                             on_answer <- deliver <- settle [database: answer, cost, lease]

No answer is handed out before it is on the disk. A request that waits to be sent again leaves its place in flight to
others and goes before new ones when its time has come. The number of requests that are read and not yet handed out
is bounded (`_ROOM` for each one in flight), however slow the server or the reader of the answers is.
"""

import asyncio
import inspect
import itertools
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, Final, ParamSpec, TypeVar

from pydantic import BaseModel

from synth.accounting import Report, Spent
from synth.answer_cache import Cache, Claim, Limits, Loss, StoredAnswer, Taken
from synth.chat_request import (
    FAILURES,
    Answer,
    ChatRequest,
    Usage,
    request_body,
    request_key,
    schema_key,
    with_schema,
    with_schema_in_words,
)
from synth.client_settings import ClientSettings
from synth.endpoint import Exchanges, Reply
from synth.errors import BudgetExhausted, ChatError, EndpointRefusedError, EndpointUnavailableError
from synth.faults import Fault, wait_before
from synth.rate_limits import RateLimits
from synth.structured_answer import UnreadableAnswerError, read_structured, without_thought
from synth.token_count import CountTokens, estimate_tokens, prompt_tokens

Requests = Iterable[ChatRequest] | AsyncIterable[ChatRequest]
OnAnswer = Callable[[Answer], Awaitable[None] | None]
P = ParamSpec("P")
T = TypeVar("T")

_ROOM: Final = 4  # requests read ahead or waiting, for each one in flight
_MOST_IN_CHUNK: Final = 64  # requests looked up in the database at once
_CHUNK_SECONDS: Final = 0.02  # a slow stream is not waited for longer than this to fill a chunk
_MOST_SETTLED: Final = 256  # answers written in one transaction
_LOOK_AGAIN_SECONDS: Final = 0.5  # for the answer to a request that another process has sent
_RENEWALS: Final = 4  # of a lease in the time that it lasts
_HASTY_IN_A_ROW: Final = 3  # refusals for haste with no answer between: all requests wait, not only the refused


@dataclass(eq=False, slots=True)
class Job:
    """A request on its way, and the ids of all requests of this run that are equal to it."""

    request: ChatRequest
    key: str
    ids: list[str]
    input_tokens: int
    most_tokens: int
    most_money: float
    again: int = 0  # how often it was asked for another answer
    sent: int = 0
    failed: int = 0  # of those, refusals for haste not counted
    lost: bool = False  # an answer to it may have been paid for and did not arrive
    began: float = 0.0


@dataclass(frozen=True, slots=True)
class Denied:
    """The budget does not cover sending a request again: what its earlier tries may have cost counts too."""


@dataclass(eq=False, slots=True)
class Finished:
    """A job that is to be settled: with what came back, or with nothing where the run ended before."""

    job: Job
    outcome: Reply | Fault | Denied | None


def make_job(request: ChatRequest, settings: ClientSettings, count: CountTokens, again: int = 0) -> Job:
    """A request with its hash, and what it may cost at most.

    Raises:
        ValueError: the text cannot be sent.
    """
    tokens = prompt_tokens(request.messages, count)
    if request.schema is not None:
        tokens += schema_tokens(request.schema, count)
    most_output = request.max_output_tokens or settings.max_output_tokens
    money = settings.prices.money(tokens, most_output)
    return Job(request, request_key(request, settings), [request.id], tokens, tokens + most_output, money, again)


@lru_cache(maxsize=64)
def schema_tokens(schema: type[BaseModel], count: CountTokens) -> int:
    """Tokens of a schema, as servers put it before the model and as it is put into words."""
    body = with_schema_in_words({"messages": [{"content": ""}]}, schema)
    return count(body["messages"][-1]["content"])


def stored_answer(
    job_key: str, reply: Reply, input_tokens: int, most_output: int, settings: ClientSettings
) -> StoredAnswer:
    """What is kept of a reply. Where the server does not count tokens they are estimated; an answer that was too large
    is charged in full."""
    failure, detail = None, ""
    if reply.text is None:
        failure, detail = "too_large", f"larger than {settings.largest_answer_bytes:,} bytes"
    elif reply.finish_reason == "content_filter":
        failure, detail = "content_filter", "the answer was cut off by the server's content filter"
    elif reply.refusal:
        failure, detail = "refused", reply.refusal
    guess = most_output if reply.text is None else min(most_output, estimate_tokens(reply.text))
    usage = reply.usage or Usage(input_tokens, guess, estimated=True)
    return StoredAnswer(
        key=job_key,
        text=reply.text or "",
        failure=failure,
        detail=detail,
        finish_reason=reply.finish_reason,
        model=reply.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        tokens_estimated=usage.estimated,
        money=settings.prices.money(usage.input_tokens, usage.output_tokens),
        seconds=reply.seconds,
        asked_model=settings.model,
    )


def read_answer(request: ChatRequest, stored: StoredAnswer, from_cache: bool) -> Answer:
    """A stored answer as the asker gets it: read against the schema, which may fail."""
    failure, detail, value = stored.failure, stored.detail, None
    text = without_thought(stored.text).strip()
    if failure is None and not text:
        failure, detail = "empty", FAILURES["empty"]
    elif failure is None and request.schema is not None:
        try:
            value = read_structured(text, request.schema)
        except UnreadableAnswerError as error:
            failure, detail = "unreadable", str(error)
    return Answer(
        id=request.id,
        key=stored.key,
        text=text,
        value=value,
        failure=failure,
        detail=detail,
        finish_reason=stored.finish_reason,
        model=stored.model,
        usage=Usage(stored.input_tokens, stored.output_tokens, bool(stored.tokens_estimated)),
        from_cache=from_cache,
    )


def failed_answer(request: ChatRequest, key: str, failure: str, detail: str) -> Answer:
    """The end of a request for which no answer came."""
    return Answer(request.id, key, "", None, failure, detail, None, None, Usage(), from_cache=False)


@dataclass
class ChatRun:
    """One run. Made and used in one event loop; `stop` ends it early and in order."""

    settings: ClientSettings
    cache: Cache
    server: Exchanges
    count: CountTokens
    on_answer: OnAnswer
    report: Report = field(default_factory=Report)

    def __post_init__(self) -> None:
        settings = self.settings
        self._loop = asyncio.get_running_loop()
        self._limits = RateLimits(settings.requests_per_minute, settings.tokens_per_minute, self._loop.time)
        self._budget = Limits(settings.budget, settings.budget_tokens)
        self._lease_seconds = settings.patience_seconds + settings.total_seconds
        self._room = asyncio.Semaphore(_ROOM * settings.in_flight)
        # Sent, and not yet on the disk: what a kill may lose. As many again as in flight, so that no place waits for the disk.
        self._at_risk = asyncio.Semaphore(2 * settings.in_flight)
        self._ready: asyncio.PriorityQueue[tuple[int, int, Job]] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._done: asyncio.Queue[Finished | Loss] = asyncio.Queue()
        self._out: asyncio.Queue[Answer] = asyncio.Queue()
        self._alive = 0  # jobs that have not come to their end
        self._running: dict[str, Job] = {}  # by key: the same jobs
        self._delayed: dict[Job, asyncio.TimerHandle] = {}
        self._denied: list[Job] = []
        self._elsewhere: set[asyncio.Task[None]] = set()
        self._takes_schema: dict[str, bool | None] = {}
        self._fed = False
        self._exhausted = False
        self._error: BaseException | None = None
        self._stopping = asyncio.Event()
        self._told_to_stop = self._loop.create_task(self._wait_for_stop())
        self._idle = asyncio.Event()
        self._broken: asyncio.Future[Exception] = self._loop.create_future()
        self._pause_until = 0.0
        self._hasty_in_a_row = 0
        self._failed_in_a_row = 0
        self._database = ThreadPoolExecutor(1, "answers")
        self._reader = ThreadPoolExecutor(1, "requests")

    async def go(self, requests: Requests) -> Report:
        """Has all requests answered.

        Raises:
            BudgetExhausted, EndpointRefusedError, EndpointUnavailableError, AnswerCacheError: the run ended early.
            Whatever on_answer or the stream of requests raises. All answers that arrived are kept in each case.
        """
        began = time.monotonic()
        workers = [self._work() for _ in range(self.settings.in_flight)]
        roles = [self._feed(requests), self._settle(), self._deliver(), self._renew(), *workers]
        tasks = [self._loop.create_task(self._guarded(role)) for role in roles]
        finishing = self._loop.create_task(self._finished())
        try:
            ends: list[asyncio.Future[Any]] = [finishing, self._broken]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks += [finishing, self._told_to_stop, *self._elsewhere]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._database.shutdown(wait=True)
            self._reader.shutdown(wait=False)
            self._settle_rest()
            self.report.seconds = time.monotonic() - began
            self.report.not_sent = self.report.requests - self.report.answered - self.report.failed.total()
        if error := self._reason_to_raise():
            raise error
        return self.report

    def stop(self, error: BaseException | None = None) -> None:
        """Sends nothing more; what is in flight is waited for and kept. The first error given is raised at the end."""
        self._error = self._error or error
        if self._stopping.is_set():
            return
        self._stopping.set()
        delayed, self._delayed = self._delayed, {}
        for job, timer in delayed.items():
            timer.cancel()
            self._make_ready(job)  # whoever takes it returns its lease
        denied, self._denied = self._denied, []
        for job in denied:
            self._drop(job)

    async def _finished(self) -> None:
        await self._idle.wait()
        await self._out.join()

    def _reason_to_raise(self) -> BaseException | None:
        error = self._broken.result() if self._broken.done() else self._error
        if error is None and self._exhausted:
            error = exhausted_error(self.settings, self.cache.spent(self.settings.account), self.report)
        if isinstance(error, ChatError):
            error.report = self.report
        return error

    async def _guarded(self, role: Coroutine[Any, Any, None]) -> None:
        """A role that fails leaves jobs behind that would never end: the run is cut off."""
        try:
            await role
        except Exception as error:
            if not self._broken.done():
                self._broken.set_result(error)

    # Reading requests

    async def _feed(self, requests: Requests) -> None:
        chunks = _chunks(requests, min(_MOST_IN_CHUNK, 2 * self.settings.in_flight), self._reader)
        while (chunk := await self._unless_stopping(self._next(chunks))) is not None:
            jobs = []
            for request in chunk:
                if self._room.locked() and not await self._unless_stopping(self._wait_for_room()):
                    break
                await self._room.acquire()
                self.report.requests += 1
                jobs += self._made(request)
            await self._admit(jobs)
        self._fed = True
        self._check_idle()

    async def _next(self, chunks: AsyncIterator[list[ChatRequest]]) -> list[ChatRequest] | None:
        try:
            return await anext(chunks, None)
        except Exception as error:  # the caller's: raised when all that is on its way has come in
            self.stop(error)
            return None

    async def _wait_for_room(self) -> bool:
        async with self._room:
            return True

    def _made(self, request: ChatRequest) -> list[Job]:
        try:
            return [make_job(request, self.settings, self.count)]
        except ValueError as error:
            self._out.put_nowait(failed_answer(request, "", "invalid_text", str(error)))
            return []

    async def _admit(self, jobs: Sequence[Job]) -> None:
        """New jobs: those equal to one that is on its way join it, the others are claimed."""
        self._alive += len(jobs)
        await self._claim(self._apart(jobs))
        await self._claim_denied()

    def _apart(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that are not equal to one on its way."""
        apart = []
        for job in jobs:
            same = self._running.setdefault(job.key, job)
            if same is job:
                apart.append(job)
            else:
                same.ids += job.ids
                self._alive -= 1
        return apart

    async def _claim(self, jobs: Sequence[Job]) -> None:
        while jobs:
            again: list[Job] = []
            for job, outcome in zip(jobs, await self._outcomes(jobs), strict=True):
                if isinstance(outcome, StoredAnswer):
                    again += self._conclude(job, outcome, from_cache=True)
                elif outcome == "ours":
                    self._make_ready(job)
                elif outcome == "in_batch":
                    self._end(job, failed_answer(job.request, job.key, "in_batch", FAILURES["in_batch"]))
                elif outcome == "elsewhere":
                    self._look_again(job)
                elif self._exhausted or self._stopping.is_set():
                    self._drop(job)
                else:
                    self._denied.append(job)
            jobs = self._apart(again)

    async def _outcomes(self, jobs: Sequence[Job]) -> list[StoredAnswer | Taken]:
        if self._exhausted:
            answers = await self._in_database(self.cache.look_up, [job.key for job in jobs])
            return [answers.get(job.key, "denied") for job in jobs]
        claims = [Claim(job.key, job.most_tokens, job.most_money) for job in jobs]
        return await self._in_database(
            self.cache.claim, claims, self.settings.account, self._budget, self._lease_seconds
        )

    async def _renew(self) -> None:
        """Requests may wait for their turn for longer than a lease lasts: at a low rate limit, or a slow server."""
        while True:
            await asyncio.sleep(self._lease_seconds / _RENEWALS)
            await self._in_database(self.cache.renew, self._lease_seconds)

    def _look_again(self, job: Job) -> None:
        task = self._loop.create_task(self._guarded(self._claim_later(job)))
        self._elsewhere.add(task)
        task.add_done_callback(self._elsewhere.discard)

    async def _claim_later(self, job: Job) -> None:
        if await self._sleep(_LOOK_AGAIN_SECONDS):
            await self._claim([job])
            await self._claim_denied()
        else:
            self._drop(job)

    async def _claim_denied(self) -> None:
        """Requests that the budget did not allow are claimed again: others may have cost less than they might have.

        The budget is exhausted when one is denied while nothing else is on its way.
        """
        while self._denied:
            denied, self._denied = self._denied, []
            alone = len(denied) == self._alive
            await self._claim(denied)
            if len(self._denied) != self._alive:
                return  # the others come by here when they are settled
            if alone:
                self._exhausted = True
                denied, self._denied = self._denied, []
                for job in denied:
                    self._drop(job)

    # Sending

    def _make_ready(self, job: Job) -> None:
        self._ready.put_nowait((-job.sent, next(self._numbers), job))

    async def _work(self) -> None:
        while True:
            *_, job = await self._ready.get()
            if not await self._sleep(self._limits.wait_for(job.most_tokens)):
                self._done.put_nowait(Finished(job, None))
                continue
            while (pause := self._pause_until - self._loop.time()) > 0 and await self._sleep(pause):
                pass
            if self._stopping.is_set():
                self._done.put_nowait(Finished(job, None))
                continue
            if job.lost and not await self._in_database(self.cache.within, self.settings.account, self._budget):
                self._done.put_nowait(Finished(job, Denied()))
                continue
            await self._at_risk.acquire()
            job.began = job.began or self._loop.time()
            job.sent += 1
            outcome = await self._send(job)
            if isinstance(outcome, Reply):
                self._hasty_in_a_row = self._failed_in_a_row = 0
                used = outcome.usage
                if used is not None:
                    self._limits.give_back(job.most_tokens - used.input_tokens - used.output_tokens)
                self._done.put_nowait(Finished(job, outcome))
            else:
                self._at_risk.release()
                self._handle(job, outcome)

    async def _send(self, job: Job) -> Reply | Fault:
        """One exchange; where the server refuses the schema, a second one with the schema in words."""
        body = request_body(job.request, self.settings)
        schema = job.request.schema
        if schema is None:
            return await self._exchange(body, job.key)
        mode = self.settings.structured
        server = schema_key(schema, self.settings)
        known = await self._known_to_take(server) if mode == "auto" else mode == "on"
        if known is not False:
            outcome = await self._exchange(with_schema(body, schema), job.key)
            refused = isinstance(outcome, Fault) and outcome.schema_refused
            if not refused or known is True:
                if known is None and isinstance(outcome, Reply):
                    await self._learn(server, True)
                return outcome
        outcome = await self._exchange(with_schema_in_words(body, schema), job.key + "-words")
        if known is None and isinstance(outcome, Reply):
            await self._learn(server, False)
        return outcome

    async def _exchange(self, body: dict[str, Any], key: str) -> Reply | Fault:
        self.report.sent += 1
        return await self.server.exchange(body, key)

    async def _known_to_take(self, server: str) -> bool | None:
        if server not in self._takes_schema:
            self._takes_schema[server] = await self._in_database(self.cache.takes_schema, server)
        return self._takes_schema[server]

    async def _learn(self, server: str, takes: bool) -> None:
        if self._takes_schema.get(server) is None:
            self._takes_schema[server] = takes
            await self._in_database(self.cache.learn_schema, server, takes)

    def _handle(self, job: Job, fault: Fault) -> None:
        self.report.faults[fault.reason] += 1
        self.report.keep_example(fault.reason, fault.detail)
        if fault.perhaps_paid:
            job.lost = True
            self._done.put_nowait(Loss(job.most_tokens, job.most_money))
        if fault.kind == "stop":
            self.stop(refused_error(self.settings, fault))
            self._done.put_nowait(Finished(job, None))
        elif fault.kind == "fail":
            self._fail(job, fault, in_a_row=fault.reason == "bad_request")
        else:
            self._send_again(job, fault)

    def _send_again(self, job: Job, fault: Fault) -> None:
        settings = self.settings
        job.failed += not fault.hasty
        self._hasty_in_a_row = self._hasty_in_a_row + 1 if fault.hasty else 0
        wait = wait_before(job.sent + 1, fault, settings.first_wait_seconds, settings.longest_wait_seconds)
        if (fault.retry_after or 0.0) > settings.longest_retry_after_seconds:
            self._done.put_nowait(Finished(job, None))
            self.stop(
                EndpointUnavailableError(
                    f"{settings.base_url} asks to wait {fault.retry_after:,.0f} s before the next request ({fault.detail}): "
                    "run again after that time, or raise longest_retry_after_seconds. All answers are kept."
                )
            )
            return
        if self._hasty_in_a_row >= _HASTY_IN_A_ROW:
            self._pause_until = max(self._pause_until, self._loop.time() + wait)
        too_old = self._loop.time() + wait - job.began > settings.patience_seconds
        if job.failed >= settings.attempts or too_old:
            self._fail(job, Fault("fail", "gave_up", f"sent {job.sent} times, last: {fault.detail}"), in_a_row=True)
        elif self._stopping.is_set():
            self._done.put_nowait(Finished(job, None))
        else:
            self._delayed[job] = self._loop.call_later(wait, self._delay_over, job)

    def _delay_over(self, job: Job) -> None:
        del self._delayed[job]
        self._make_ready(job)

    def _fail(self, job: Job, fault: Fault, *, in_a_row: bool) -> None:
        self._done.put_nowait(Finished(job, fault))
        self._failed_in_a_row += in_a_row
        if in_a_row and self._failed_in_a_row >= self.settings.stop_after_failures:
            self.stop(
                EndpointUnavailableError(
                    f"{self._failed_in_a_row} requests to {self.settings.base_url} failed one after the other, the last one "
                    f"with: {fault.detail}. Is the server up, and does it know all parameters that are sent? "
                    "All answers are kept: run again to go on."
                )
            )

    # Keeping and handing out

    async def _settle(self) -> None:
        while True:
            batch = [await self._done.get()]
            while not self._done.empty() and len(batch) < _MOST_SETTLED:
                batch.append(self._done.get_nowait())
            await self._settle_batch(batch)

    async def _settle_batch(self, batch: Sequence[Finished | Loss]) -> None:
        rows = self._rows(batch)
        await self._in_database(self.cache.settle, self.settings.account, *rows)
        answers = {answer.key: answer for answer in rows[0]}
        again: list[Job] = []
        for finished in batch:
            if isinstance(finished, Loss):
                self.report.lost += 1
                self.report.lost_money += finished.money
                continue
            job, outcome = finished.job, finished.outcome
            if isinstance(outcome, Reply):
                self._at_risk.release()
                again += self._conclude(job, answers[job.key], from_cache=False)
            elif isinstance(outcome, Denied):
                self._denied.append(job)  # claimed again below
            elif outcome is None:
                self._drop(job)
            else:
                self._end(job, failed_answer(job.request, job.key, outcome.reason, outcome.detail))
        await self._claim(self._apart(again))
        await self._claim_denied()

    def _rows(self, batch: Iterable[Finished | Loss]) -> tuple[list[StoredAnswer], list[str], list[Loss]]:
        answers, released, losses = [], [], []
        for finished in batch:
            if isinstance(finished, Loss):
                losses.append(finished)
                continue
            job, outcome = finished.job, finished.outcome
            if isinstance(outcome, Reply):
                most_output = job.most_tokens - job.input_tokens
                answers.append(stored_answer(job.key, outcome, job.input_tokens, most_output, self.settings))
            else:
                released.append(job.key)
        return answers, released, losses

    def _settle_rest(self) -> None:
        """What had arrived when the run was cut off; and the leases of what was not sent."""
        rest = []
        while not self._done.empty():
            rest.append(self._done.get_nowait())
        answers, released, losses = self._rows(rest)
        released += [key for key, job in self._running.items() if job.sent == 0]
        if answers or released or losses:
            self.cache.settle(self.settings.account, answers, released, losses)

    def _conclude(self, job: Job, stored: StoredAnswer, *, from_cache: bool) -> list[Job]:
        """Hands an answer out, or returns the job that asks for another one."""
        if not from_cache:
            self.report.input_tokens += stored.input_tokens
            self.report.output_tokens += stored.output_tokens
            self.report.money += stored.money
        answer = read_answer(job.request, stored, from_cache)
        wants_another = answer.failure in ("empty", "unreadable") and job.again < self.settings.ask_again
        if not wants_another:
            self._end(job, answer)
            return []
        self.report.faults[answer.failure or ""] += 1
        self.report.keep_example(answer.failure or "", answer.detail)
        if self._stopping.is_set():
            self._drop(job)
            return []
        del self._running[job.key]
        other = make_job(job.request.another(), self.settings, self.count, job.again + 1)
        other.ids = job.ids
        return [other]

    def _end(self, job: Job, answer: Answer) -> None:
        """Hands the answer out to all that asked."""
        for number, id in enumerate(job.ids):
            self._out.put_nowait(replace(answer, id=id, from_cache=answer.from_cache or number > 0))
        self._forget(job)

    def _drop(self, job: Job) -> None:
        """The run ends before the job: it counts as not sent."""
        for _ in job.ids:
            self._room.release()
        self._forget(job)

    def _forget(self, job: Job) -> None:
        del self._running[job.key]
        self._alive -= 1
        self._check_idle()

    async def _deliver(self) -> None:
        wanted = True
        while True:
            answer = await self._out.get()
            try:
                if wanted:
                    self.report.count_answer(answer)
                    handed = self.on_answer(answer)
                    if inspect.isawaitable(handed):
                        await handed
            except Exception as error:
                wanted = False
                self.stop(error)
            finally:
                self._room.release()
                self._out.task_done()

    # Waiting

    def _check_idle(self) -> None:
        if self._alive == 0 and self._fed:
            self._idle.set()

    async def _wait_for_stop(self) -> None:
        await self._stopping.wait()

    async def _sleep(self, seconds: float) -> bool:
        """Waits; False at once when the run is to end."""
        if seconds > 0 and not self._stopping.is_set():
            await asyncio.wait({self._told_to_stop}, timeout=seconds)
        return not self._stopping.is_set()

    async def _unless_stopping(self, wanted: Coroutine[Any, Any, T]) -> T | None:
        """The result; None at once when the run is to end."""
        task = self._loop.create_task(wanted)
        await asyncio.wait({task, self._told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
        if task.done() and not self._stopping.is_set():
            return task.result()
        task.cancel()
        return None

    async def _in_database(self, action: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Runs it in the database's thread, to its end also where the run is cut off meanwhile."""
        running = self._loop.run_in_executor(self._database, partial(action, *arguments, **named))
        return await asyncio.shield(running)


def refused_error(settings: ClientSettings, fault: Fault) -> EndpointRefusedError:
    """One message for the fault that ends the run."""
    server, model = settings.base_url, settings.model
    remedies = {
        "key_refused": f"{server} refuses the key in {settings.key_variable or 'no variable (key_variable is null)'}, or its "
        f"use for the model {model}: check the key and what it may be used for.",
        "no_credit": f"{server} says that the account has no credit left: top it up, or use another key.",
        "not_found": f"{server} knows no model {model}, or has no /chat/completions (in batch mode: no /batches): check `model`, and that `base_url` "
        "ends as the server wants it (mostly in /v1).",
    }
    return EndpointRefusedError(f"{remedies[fault.reason]} It answered: {fault.detail}. All answers so far are kept.")


def exhausted_error(settings: ClientSettings, spent: Spent, report: Report) -> BudgetExhausted:
    """What is used up, and how to go on."""
    limits = []
    if settings.budget is not None:
        limits.append(f"{spent.money_in_all:.4f} of {settings.budget:g} in money")
    if settings.budget_tokens is not None:
        limits.append(f"{spent.tokens_in_all:,} of {settings.budget_tokens:,} tokens")
    return BudgetExhausted(
        f"The budget of the account {settings.account} is used up ({' and '.join(limits)}): another request might cost more "
        f"than is left. {report.answered:,} requests are answered, {report.not_sent:,} are not sent. All answers are kept in "
        f"{settings.answers}: raise `budget` or `budget_tokens` and run again to go on."
    )


async def _chunks(requests: Requests, most: int, reader: ThreadPoolExecutor) -> AsyncIterator[list[ChatRequest]]:
    """The requests in lists of at most so many; fewer where the stream is slow."""
    if isinstance(requests, AsyncIterable):
        async for chunk in _async_chunks(requests, most):
            yield chunk
        return
    loop = asyncio.get_running_loop()
    iterator = iter(requests)
    while chunk := await loop.run_in_executor(reader, _take, iterator, most):
        yield chunk


def _take(iterator: Iterator[ChatRequest], most: int) -> list[ChatRequest]:
    chunk = []
    until = time.monotonic() + _CHUNK_SECONDS
    for request in iterator:
        chunk.append(request)
        if len(chunk) == most or time.monotonic() > until:
            break
    return chunk


async def _async_chunks(requests: AsyncIterable[ChatRequest], most: int) -> AsyncIterator[list[ChatRequest]]:
    iterator = aiter(requests)
    following: asyncio.Future[ChatRequest] | None = None
    ended = False
    try:
        while not ended:
            chunk: list[ChatRequest] = []
            until = time.monotonic() + _CHUNK_SECONDS
            while len(chunk) < most:
                following = following or asyncio.ensure_future(anext(iterator))
                patience = max(0.0, until - time.monotonic()) if chunk else None
                await asyncio.wait({following}, timeout=patience)
                if not following.done():
                    break
                try:
                    chunk.append(following.result())
                except StopAsyncIteration:
                    ended = True
                    break
                following = None
            if chunk:
                yield chunk
    finally:
        if following is not None:
            following.cancel()
