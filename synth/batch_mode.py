"""OpenAI's batch mode: requests go out as files and come back within a day, at half the price.

    mode = BatchMode(settings, BatchSettings(folder=...))
    report = await mode.run(lambda: requests, on_answer)         # or: mode.run_here(...), not asynchronous

A round writes JSONL files of all requests that have no answer, uploads them, waits for the batches and keeps their
answers in the same database as the client does (custom_id = the request's hash). What came back with an error, or not
at all, goes into the next round. How far each batch has come is in the database: a run that was killed goes on with it.
A batch is named in its metadata before it is made, so one that was made in the moment of a kill is found again.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from inspect import isawaitable
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field

from synth.accounting import Report
from synth.answer_cache import BatchRow, Cache, Claim, Limits, StoredAnswer
from synth.chat_request import (
    FAILURES,
    Answer,
    ChatRequest,
    request_body,
    schema_key,
    with_schema,
    with_schema_in_words,
)
from synth.chat_run import (
    Job,
    OnAnswer,
    exhausted_error,
    failed_answer,
    make_job,
    read_answer,
    refused_error,
    stored_answer,
)
from synth.client_settings import ClientSettings
from synth.endpoint import Endpoint, Reply, read_completion_object
from synth.errors import BatchError
from synth.faults import Fault, broken_body, classify_status, wait_before
from synth.token_count import CountTokens, estimate_tokens, tokenizer_count

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

T = TypeVar("T")

_PATH: Final = "/v1/chat/completions"
_NAME: Final = "pairmill_batch"  # in the metadata of a batch
_ENDED: Final = ("completed", "expired", "cancelled")
_SETTLED_AT_ONCE: Final = 500
_CLAIMED_AT_ONCE: Final = 500  # in one transaction, which sums up all leases
_LEASE_SECONDS: Final = 3600.0  # of requests in a file that is being written


class BatchSettings(BaseModel):
    """How batches are cut and waited for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path = Field(description="for the JSONL files")
    most_requests: int = Field(50_000, ge=1, description="in a file; OpenAI's limit")
    most_bytes: int = Field(200_000_000, ge=1, description="of a file; OpenAI's limit")
    at_once: int = Field(4, ge=1, description="batches the server works on at once")
    rounds: int = Field(3, ge=1, description="how often a request that failed is put into a batch at most")
    poll_seconds: float = Field(60.0, gt=0, description="between two looks at a batch")


@dataclass
class _Round:
    written: int = 0
    denied: int = 0


class BatchMode:
    """Requests answered by batches. `report` is that of the latest run, or of the one that is going on."""

    def __init__(
        self, settings: ClientSettings, batches: BatchSettings, count_tokens: CountTokens | None = None
    ) -> None:
        """Nothing is opened or sent yet."""
        self.settings = settings
        self.batches = batches
        if count_tokens is None:
            count_tokens = estimate_tokens if settings.tokenizer is None else tokenizer_count(settings.tokenizer)
        self._count = count_tokens
        self.report = Report()

    def run_here(self, requests: Callable[[], Iterable[ChatRequest]], on_answer: OnAnswer) -> Report:
        """`run`, for code that is not asynchronous."""
        return asyncio.run(self.run(requests, on_answer))

    async def run(self, requests: Callable[[], Iterable[ChatRequest]], on_answer: OnAnswer) -> Report:
        """Has all requests answered; hands the answers out at the end, in the order of the requests.

        Args:
            requests: gives the same requests each time it is called; it is called once a round, and at the end.
            on_answer: as in ChatClient.ask_all.

        Raises:
            KeyMissingError, EndpointRefusedError, BatchError, AnswerCacheError: the run ended early, or another process works
                on the batches of this database.
            BudgetExhausted: after all answers that are there have been handed out.
        """
        self.report = Report()
        self._failed: dict[str, Fault] = {}
        with closing(Cache(self.settings.answers)) as self._cache, _held(self.settings.answers):
            async with Endpoint(self.settings) as self._endpoint:
                denied = await self._rounds(requests)
            await self._hand_out(requests, on_answer)
            if denied:
                raise exhausted_error(self.settings, self._cache.spent(self.settings.account), self.report)
        return self.report

    async def _rounds(self, requests: Callable[[], Iterable[ChatRequest]]) -> int:
        """Rounds until all is answered or has failed; returns how many requests the budget denied."""
        rounds = 0
        while True:
            made = await asyncio.to_thread(self._write_files, requests())
            await self._work_off()
            if not made.written:
                return made.denied
            rounds += not made.denied  # a round cut short by the budget may leave money for another
            if rounds == self.batches.rounds:
                return made.denied

    # Files

    def _write_files(self, requests: Iterable[ChatRequest]) -> _Round:
        """Files of all requests that have no answer and are in no batch."""
        made = _Round()
        file: _BatchFile | None = None
        limits = Limits(self.settings.budget, self.settings.budget_tokens)
        share = self.settings.prices.batch_share
        iterator = iter(requests)
        while chunk := list(islice(iterator, _CLAIMED_AT_ONCE)):
            jobs = {job.key: job for job in map(self._unanswered, chunk) if job is not None}
            claims = [
                Claim(key, job.most_tokens, job.most_money * share)
                for key, job in jobs.items()
                if file is None or key not in file.keys
            ]
            self._cache.renew(_LEASE_SECONDS)
            outcomes = self._cache.claim(claims, self.settings.account, limits, _LEASE_SECONDS, at_risk=False)
            for claim, taken in zip(claims, outcomes, strict=True):
                made.denied += taken == "denied"
                if taken != "ours":
                    continue
                line = self._line(jobs[claim.key])
                if file is not None and not file.has_room(len(line), self.batches):
                    self._close(file)
                    file = None
                file = file or _BatchFile.open(self.batches.folder)
                file.add(line, claim)
                made.written += 1
        if file is not None:
            self._close(file)
        return made

    def _unanswered(self, request: ChatRequest) -> Job | None:
        """What is to be sent for a request; None where it has its answer, or has failed for good."""
        try:
            job, stored = self._resolve(request)
        except ValueError:
            return None
        return job if stored is None and job.key not in self._failed else None

    def _resolve(self, request: ChatRequest) -> tuple[Job, StoredAnswer | None]:
        """The last try of a request, counting those whose answers were of no use, and its answer."""
        job = make_job(request, self.settings, self._count)
        while True:
            stored = self._cache.look_up([job.key]).get(job.key)
            if stored is None or job.again == self.settings.ask_again:
                return job, stored
            if read_answer(job.request, stored, from_cache=True).failure not in ("empty", "unreadable"):
                return job, stored
            job = make_job(job.request.another(), self.settings, self._count, job.again + 1)

    def _line(self, job: Job) -> bytes:
        body = request_body(job.request, self.settings)
        schema = job.request.schema
        if schema is not None:
            known = (
                self._cache.takes_schema(schema_key(schema, self.settings))
                if self.settings.structured == "auto"
                else None
            )
            in_words = self.settings.structured == "off" or known is False
            body = with_schema_in_words(body, schema) if in_words else with_schema(body, schema)
        return orjson.dumps({"custom_id": job.key, "method": "POST", "url": _PATH, "body": body}) + b"\n"

    def _close(self, file: "_BatchFile") -> None:
        name, path = file.close()
        row = BatchRow(name, str(path), self.settings.server, "written", None, None, len(file.claims))
        self._cache.add_batch(row, file.claims, self.settings.account)

    # Batches

    async def _work_off(self) -> None:
        """Submits what is written and waits until all batches have ended, those of a run that was killed too."""
        server = self.settings.server
        while rows := self._cache.batches(server, ("written", "submitted")):
            submitted = [row for row in rows if row.state == "submitted"]
            room = max(0, self.batches.at_once - len(submitted))
            for row in [row for row in rows if row.state == "written"][:room]:
                await self._submit(row)
            ended = [await self._look_at(row) for row in self._cache.batches(server, ("submitted",))]
            if not any(ended):
                await asyncio.sleep(self.batches.poll_seconds)

    async def _submit(self, row: BatchRow) -> None:
        path = Path(row.path)
        if row.input_file is None:
            if not path.exists():
                self._cache.end_batch(row.name, "failed")  # its requests go into the next file
                return
            uploaded = await self._call(lambda api: api.files.create(file=path, purpose="batch"))
            row = replace(row, input_file=uploaded.id)
            self._cache.batch_moved(row.name, "written", row.input_file, None)
        batch = await self._find(row.name) or await self._create(row)
        self._cache.batch_moved(row.name, "submitted", row.input_file, batch.id)
        path.unlink(missing_ok=True)

    async def _find(self, name: str) -> "Batch | None":
        async def find(api: "AsyncOpenAI") -> "Batch | None":
            async for batch in api.batches.list(limit=100):
                if (batch.metadata or {}).get(_NAME) == name:
                    return batch
            return None

        return await self._call(find)

    async def _create(self, row: BatchRow) -> "Batch":
        """Makes the batch. Where no reply comes it may have been made all the same: it is looked for first."""

        async def create(api: "AsyncOpenAI") -> "Batch":
            assert row.input_file is not None
            return await api.batches.create(
                input_file_id=row.input_file,
                endpoint=_PATH,
                completion_window="24h",
                metadata={_NAME: row.name},
            )

        return await self._call(create, unless=lambda: self._find(row.name))

    async def _look_at(self, row: BatchRow) -> bool:
        """Keeps the answers of a batch that has ended; whether it has."""
        identity = row.batch or ""
        batch = await self._call(lambda api: api.batches.retrieve(identity))
        if batch.status == "failed":
            told = [problem.message or "" for problem in (batch.errors.data or [])] if batch.errors else []
            self._cache.end_batch(row.name, "failed")
            raise BatchError(
                f"{self.settings.base_url} refuses the batch {identity} of {row.requests:,} requests: "
                f"{self._endpoint.cleaned(broken_body('; '.join(told[:3]) or 'it gives no reason')).detail}. Nothing of it "
                "is paid. Change what it names (fewer batches at_once, fewer most_requests, another model) and run again."
            )
        if batch.status not in _ENDED:
            return False
        for file in (batch.output_file_id, batch.error_file_id):
            if file is not None:
                await self._keep(row, file)
        missing = self._cache.end_batch(row.name, "collected")
        if missing:
            self.report.faults["not_in_batch_output"] += missing
        return True

    async def _keep(self, row: BatchRow, file: str) -> None:
        """Stores the answers of an output file as they come; read again from its start where the connection breaks."""

        async def read(api: "AsyncOpenAI") -> None:
            answers: list[StoredAnswer] = []
            async with api.files.with_streaming_response.content(file) as response:
                async for line in _lines(response.iter_bytes()):
                    answers += self._read_line(line)
                    if len(answers) == _SETTLED_AT_ONCE:
                        self._settle(row, answers)
                        answers = []
            self._settle(row, answers)

        await self._call(read)

    def _settle(self, row: BatchRow, answers: list[StoredAnswer]) -> None:
        kept = self._cache.settle_batch(row.name, self.settings.account, answers)
        for answer in kept:
            self.report.input_tokens += answer.input_tokens
            self.report.output_tokens += answer.output_tokens
            self.report.money += answer.money

    def _read_line(self, line: bytes) -> list[StoredAnswer]:
        """The answer of a line; none where it tells of a fault, or cannot be read."""
        try:
            whole: Any = json.loads(line)
            key, response = str(whole["custom_id"]), whole.get("response") or {}
            status, body = int(response.get("status_code") or 0), response.get("body")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            self.report.faults["broken_line"] += 1
            return []
        if status == 200:
            outcome = read_completion_object(body, self.settings.largest_answer_bytes, 0.0)
        else:
            error = (body.get("error") if isinstance(body, dict) else None) or whole.get("error") or {}
            words, code = (
                (str(error.get(name, "")) for name in ("message", "code")) if isinstance(error, dict) else ("", "")
            )
            outcome = classify_status(status or 500, words, code, {})
        if isinstance(outcome, Reply):
            return self._answer(key, outcome)
        fault = self._endpoint.cleaned(outcome)
        self.report.faults[fault.reason] += 1
        self.report.keep_example(fault.reason, fault.detail)
        if fault.kind != "again":
            reason = fault.reason if fault.reason in FAILURES else "bad_request"
            self._failed[key] = replace(fault, reason=reason)
        return []

    def _answer(self, key: str, reply: Reply) -> list[StoredAnswer]:
        most = self._cache.reserved(key)
        if most is None:
            return []  # not ours, or stored before
        answer = stored_answer(key, reply, 0, self.settings.max_output_tokens, self.settings)
        if answer.tokens_estimated:  # the server does not count: charged in full
            return [replace(answer, input_tokens=most.tokens, output_tokens=0, money=most.money, seconds=None)]
        return [replace(answer, money=answer.money * self.settings.prices.batch_share, seconds=None)]

    async def _call(
        self,
        action: "Callable[[AsyncOpenAI], Awaitable[T]]",
        unless: Callable[[], Awaitable[T | None]] | None = None,
    ) -> T:
        """Calls the server, again after passing faults; before another try asks `unless` whether it was done."""
        settings, detail = self.settings, ""
        for attempt in range(1, settings.attempts + 1):
            try:
                if attempt > 1 and unless is not None and (done := await unless()) is not None:
                    return done
                self.report.sent += 1
                return await action(self._endpoint.api)
            except Exception as error:
                fault = self._endpoint.fault_of(error)
                if fault is None:
                    raise
            detail = fault.detail
            self.report.faults[fault.reason] += 1
            if fault.kind == "stop":
                raise refused_error(settings, fault)
            if fault.kind == "fail" or attempt == settings.attempts:
                break
            await asyncio.sleep(
                wait_before(attempt + 1, fault, settings.first_wait_seconds, settings.longest_wait_seconds)
            )
        raise BatchError(
            f"{settings.base_url} failed {attempt} times, the last time with: {detail}. Batches that are submitted go "
            "on, and answers are kept: run again to go on."
        )

    # Handing out

    async def _hand_out(self, requests: Callable[[], Iterable[ChatRequest]], on_answer: OnAnswer) -> None:
        for request in requests():
            self.report.requests += 1
            answer = self._outcome(request)
            if answer is None:
                self.report.not_sent += 1
                continue
            self.report.count_answer(answer)
            handed = on_answer(answer)
            if isawaitable(handed):
                await handed

    def _outcome(self, request: ChatRequest) -> Answer | None:
        try:
            job, stored = self._resolve(request)
        except ValueError as error:
            return failed_answer(request, "", "invalid_text", str(error))
        if stored is not None:
            return read_answer(request, stored, from_cache=True)
        fault = self._failed.get(job.key)
        return None if fault is None else failed_answer(request, job.key, fault.reason, fault.detail)


@contextmanager
def _held(answers: Path) -> Iterator[None]:
    """Holds the batches of a database: two processes would both submit a file that is written.

    Raises:
        BatchError: another process holds them.
    """
    with answers.with_name(answers.name + "-batches").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BatchError(
                f"Another process works on the batches of {answers}: wait until it has ended, or give `answers` another file."
            ) from None
        yield


class _BatchFile:
    """A JSONL file that is being written."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._hash = hashlib.sha256()
        self._bytes = 0
        self.claims: list[Claim] = []
        self.keys: set[str] = set()

    @classmethod
    def open(cls, folder: Path) -> "_BatchFile":
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{uuid.uuid4().hex}.part"
        return cls(path, path.open("xb"))

    def has_room(self, size: int, limits: BatchSettings) -> bool:
        return len(self.claims) < limits.most_requests and self._bytes + size <= limits.most_bytes

    def add(self, line: bytes, claim: Claim) -> None:
        self._file.write(line)
        self._hash.update(line)
        self._bytes += len(line)
        self.claims.append(claim)
        self.keys.add(claim.key)

    def close(self) -> tuple[str, Path]:
        """Name and path of the whole file. The name is new even where the content is that of an earlier one."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        name = f"{self._hash.hexdigest()[:16]}-{self._path.stem[:8]}"
        whole = self._path.with_name(f"{name}.jsonl").absolute()
        self._path.rename(whole)
        return name, whole


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines by \\n alone: other line separators may stand in JSON strings."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
    if rest.strip():
        yield rest
