"""Answers kept in a sqlite database: what has been paid for is never paid for again, by any run or process.

    answers   one row a request, found by the hash of the whole request (chat_request.request_key)
    leases    requests that a process has taken to send, with what they may cost at most
    accounts  what was spent, by account
    batches   batch files and how far each has come (synth/batch_mode.py)
    servers   which servers refused a JSON schema

A process takes a lease and the money in one transaction before it sends, and stores the answer, returns the lease and
books the cost in another before it hands the answer out. Killed in between, its leases are void: the kernel lets go of
its lock file. What they had reserved is booked as lost, because the server may have charged for it; but for batch files
that were still being written: nothing of these was sent.
"""

import contextlib
import fcntl
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

from synth.accounting import Spent
from synth.errors import AnswerCacheError

_LAYOUT: Final = 1
_BUSY_SECONDS: Final = 60.0
BATCH_OWNER: Final = "batch:"  # leases of a batch belong to the batch, not to a process, and do not expire

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, failure TEXT, detail TEXT NOT NULL, finish_reason TEXT, model TEXT,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, tokens_estimated INTEGER NOT NULL,
    money REAL NOT NULL, seconds REAL, asked_model TEXT NOT NULL, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS leases (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL,
    account TEXT NOT NULL, tokens INTEGER NOT NULL, money REAL NOT NULL, at_risk INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS leases_by_owner ON leases (owner);
CREATE TABLE IF NOT EXISTS accounts (
    account TEXT PRIMARY KEY, answers INTEGER NOT NULL DEFAULT 0, input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0, money REAL NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0,
    lost_tokens INTEGER NOT NULL DEFAULT 0, lost_money REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    name TEXT PRIMARY KEY, path TEXT NOT NULL, server TEXT NOT NULL, state TEXT NOT NULL, input_file TEXT,
    batch TEXT, requests INTEGER NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS servers (server TEXT PRIMARY KEY, takes_schema INTEGER NOT NULL) WITHOUT ROWID;
"""

BatchState = Literal["written", "submitted", "collected", "failed"]


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A row of `answers`: what came back for a request, and what it cost."""

    key: str
    text: str
    failure: str | None
    detail: str
    finish_reason: str | None
    model: str | None
    input_tokens: int
    output_tokens: int
    tokens_estimated: bool  # by us; else told by the server
    money: float
    seconds: float | None
    asked_model: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A request about to be sent, and what it may cost at most."""

    key: str
    tokens: int
    money: float


@dataclass(frozen=True, slots=True)
class Loss:
    """A request that was sent and perhaps paid, but brought no answer."""

    tokens: int
    money: float


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch file. `name` is the sha256 of its content."""

    name: str
    path: str
    server: str
    state: BatchState
    input_file: str | None
    batch: str | None
    requests: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may cost in all; None: no limit."""

    money: float | None = None
    tokens: int | None = None

    def allow(self, spent_money: float, spent_tokens: int) -> bool:
        """Whether so much is within them."""
        within_money = self.money is None or spent_money <= self.money * (1 + 1e-12)
        return within_money and (self.tokens is None or spent_tokens <= self.tokens)


# What became of a claim: an answer that is there, or ...
Taken = Literal["ours", "elsewhere", "in_batch", "denied"]


class Cache:
    """The database. Safe for several threads and processes on one machine; not on a network file system (sqlite)."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the database.

        Raises:
            AnswerCacheError: the file is no such database, or cannot be written.
        """
        self.path = path
        self._lock = threading.RLock()
        self._owner = uuid.uuid4().hex
        self._owners = path.with_name(path.name + "-owners")
        try:
            self._owners.mkdir(parents=True, exist_ok=True)
            self._owner_file = self._lock_file()
            self._database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise AnswerCacheError(
                f"The answers cannot be kept in {path} ({error}): give `answers` a file in a folder that can be written."
            ) from error
        try:
            self._prepare()
            self.sweep()
        except AnswerCacheError:
            self.close()
            raise

    def _prepare(self) -> None:
        with self._told():
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")  # several answers share one write to the disk
            layout = self._database.execute("PRAGMA user_version").fetchone()[0]
            if layout not in (0, _LAYOUT):
                raise AnswerCacheError(
                    f"{self.path} was written by another version of pairmill (layout {layout}, this one writes "
                    f"{_LAYOUT}): use that version, or give `answers` another file."
                )
            with self._transaction():
                for statement in _TABLES.split(";\n"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {_LAYOUT}")

    def close(self) -> None:
        """Lets go of the database and of this process's leases."""
        with self._lock:
            self._database.close()
            self._owner_file.close()
            (self._owners / self._owner).unlink(missing_ok=True)

    # Requests

    def look_up(self, keys: Sequence[str]) -> dict[str, StoredAnswer]:
        """The answers that are there, by key."""
        with self._told():
            return {key: answer for key in keys if (answer := self._answer(key)) is not None}

    def claim(
        self,
        claims: Sequence[Claim],
        account: str,
        limits: Limits,
        lease_seconds: float,
        *,
        at_risk: bool = True,
    ) -> list[StoredAnswer | Taken]:
        """For each request its answer, or "ours" (leased and paid from the budget: send it), "elsewhere" (another
        process has taken it), "in_batch", or "denied" (the budget may not cover it). The keys differ from each other.

        `at_risk`: the requests may be sent from now on, so that what they reserve is lost should this process be killed.
        """
        with self._told():
            found: list[StoredAnswer | Taken | None] = [self._answer(claim.key) for claim in claims]
            if None in found:
                with self._transaction():
                    spent = self._spent(account)
                    money, tokens = spent.money_in_all, spent.tokens_in_all
                    for number, claim in enumerate(claims):
                        if found[number] is not None:
                            continue
                        found[number] = taken = self._answer(claim.key) or self._holder(claim.key)
                        if taken is not None:
                            continue
                        if not limits.allow(money + claim.money, tokens + claim.tokens):
                            found[number] = "denied"
                            continue
                        self._lease(claim, self._owner, account, time.time() + lease_seconds, at_risk)
                        money, tokens = money + claim.money, tokens + claim.tokens
                        found[number] = "ours"
            return [outcome for outcome in found if outcome is not None]

    def settle(
        self, account: str, answers: Sequence[StoredAnswer], released: Sequence[str], losses: Sequence[Loss]
    ) -> None:
        """Stores answers and books their cost once; returns the leases of all of them and of `released`; books losses.

        On return all of it is on the disk.
        """
        with self._told(), self._transaction():
            self._store(account, answers)
            for loss in losses:
                self._book_loss(account, 1, loss.tokens, loss.money)
            owned = [(key, self._owner) for key in released]
            self._database.executemany("DELETE FROM leases WHERE key = ? AND owner = ?", owned)

    def renew(self, lease_seconds: float) -> None:
        """Puts off the end of this process's leases: it is at work, however long its requests wait for their turn."""
        with self._told():
            values = (time.time() + lease_seconds, self._owner)
            self._database.execute("UPDATE leases SET expires = ? WHERE owner = ?", values)

    def forget(self, keys: Collection[str], holds: Callable[[bytes], bool] = lambda text: False) -> int:
        """Removes answers of some requests, and those whose text `holds` says so of, and their bytes from the file: how many.

        Answers that a batch still brings to these requests are not kept; what they may cost is booked as lost. What the others
        have cost stays in the accounts. The file is written anew even where no answer goes: a process that was killed
        between the two left their bytes in free pages. Raises AnswerCacheError where another process uses the database for
        too long.
        """
        with self._told():
            chosen = [
                key
                for key, text, detail in self._database.execute("SELECT key, text, detail FROM answers")
                if key in keys or any(holds(words.encode("utf-8", "surrogatepass")) for words in (text, detail))
            ]
            with self._transaction():
                self._database.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in chosen])
                leases = self._database.execute("SELECT key FROM leases WHERE owner LIKE ?", (f"{BATCH_OWNER}%",))
                for key in [key for (key,) in leases if key in keys]:
                    self._void("key = ?", key)
            self._database.execute("VACUUM")
            if self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise AnswerCacheError(
                    f"{len(chosen)} forgotten answers are removed from {self.path}, but another process reads it, so that their bytes "
                    "are still in the file beside it. Run the same command again when that process has ended."
                )
        return len(chosen)

    def within(self, account: str, limits: Limits) -> bool:
        """Whether all that is spent, lost and reserved is within the limits."""
        with self._told():
            spent = self._spent(account)
        return limits.allow(spent.money_in_all, spent.tokens_in_all)

    def spent(self, account: str) -> Spent:
        """What the account has cost so far."""
        with self._told():
            return self._spent(account)

    def seconds_of_an_answer(self, model: str) -> float | None:
        """Mean time the model took, over its latest 1,000 answers; None: there is none."""
        latest = (
            "SELECT seconds FROM answers WHERE asked_model = ? AND seconds IS NOT NULL ORDER BY rowid DESC LIMIT 1000"
        )
        with self._told():
            mean: float | None = self._database.execute(f"SELECT avg(seconds) FROM ({latest})", (model,)).fetchone()[0]  # noqa: S608
        return mean

    def takes_schema(self, server: str) -> bool | None:
        """Whether the server takes a JSON schema; None: not known yet."""
        with self._told():
            row = self._database.execute("SELECT takes_schema FROM servers WHERE server = ?", (server,)).fetchone()
        return None if row is None else bool(row[0])

    def learn_schema(self, server: str, takes: bool) -> None:
        """Keeps whether the server takes a JSON schema."""
        with self._told():
            self._database.execute("INSERT OR REPLACE INTO servers VALUES (?, ?)", (server, takes))

    def sweep(self) -> None:
        """Voids the leases of processes that are gone, and books what they had reserved as lost."""
        with self._told():
            owners = [row[0] for row in self._database.execute("SELECT DISTINCT owner FROM leases")]
            gone = [owner for owner in owners if not owner.startswith(BATCH_OWNER) and not self._is_alive(owner)]
            if gone:
                with self._transaction():
                    for owner in gone:
                        self._void("owner = ?", owner)
            for file in self._owners.iterdir():
                if file.name not in owners:
                    self._remove_if_dead(file)

    # Batches

    def add_batch(self, row: BatchRow, claims: Sequence[Claim], account: str) -> None:
        """Keeps a batch file that is about to be submitted; the leases of its requests pass from this process to it."""
        with self._told(), self._transaction():
            values = (row.name, row.path, row.server, row.state, row.input_file, row.batch, row.requests, time.time())
            self._database.execute("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            for claim in claims:
                self._lease(claim, BATCH_OWNER + row.name, account, float("inf"), at_risk=True)

    def batches(self, server: str, states: Sequence[BatchState]) -> list[BatchRow]:
        """The batches of a server that have come so far, oldest first."""
        columns = "name, path, server, state, input_file, batch, requests"
        with self._told():
            query = f"SELECT {columns} FROM batches WHERE server = ? ORDER BY created, name"  # noqa: S608
            rows = self._database.execute(query, (server,)).fetchall()
        return [row for row in (BatchRow(*row) for row in rows) if row.state in states]

    def batch_moved(self, name: str, state: BatchState, input_file: str | None, batch: str | None) -> None:
        """Keeps how far a batch has come."""
        with self._told():
            self._database.execute(
                "UPDATE batches SET state = ?, input_file = ?, batch = ? WHERE name = ?",
                (state, input_file, batch, name),
            )

    def settle_batch(self, name: str, account: str, answers: Sequence[StoredAnswer]) -> list[StoredAnswer]:
        """Stores answers of a batch that were among its requests and are new; returns those."""
        owner = BATCH_OWNER + name
        with self._told(), self._transaction():
            asked = {answer.key: answer for answer in answers if self._owner_of(answer.key) == owner}
            self._store(account, list(asked.values()))
        return list(asked.values())

    def end_batch(self, name: str, state: BatchState) -> int:
        """Returns the leases of the requests that the batch brought no answer for; returns how many."""
        with self._told(), self._transaction():
            self._database.execute("UPDATE batches SET state = ? WHERE name = ?", (state, name))
            return self._database.execute("DELETE FROM leases WHERE owner = ?", (BATCH_OWNER + name,)).rowcount

    def reserved(self, key: str) -> Loss | None:
        """What a leased request may cost at most."""
        with self._told():
            row = self._database.execute("SELECT tokens, money FROM leases WHERE key = ?", (key,)).fetchone()
        return None if row is None else Loss(*row)

    # One step each, within a transaction of the caller

    def _answer(self, key: str) -> StoredAnswer | None:
        columns = (
            "key, text, failure, detail, finish_reason, model, input_tokens, output_tokens, tokens_estimated, money, "
            "seconds, asked_model"
        )
        row = self._database.execute(f"SELECT {columns} FROM answers WHERE key = ?", (key,)).fetchone()  # noqa: S608
        return None if row is None else StoredAnswer(*row)

    def _owner_of(self, key: str) -> str | None:
        row = self._database.execute("SELECT owner FROM leases WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _holder(self, key: str) -> Literal["elsewhere", "in_batch"] | None:
        """Who else has taken the request. A lease of our own is from a run that was cancelled; void ones are taken away."""
        row = self._database.execute("SELECT owner, expires FROM leases WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        owner, expires = row
        if owner.startswith(BATCH_OWNER):
            return "in_batch"
        if owner == self._owner or expires < time.time() or not self._is_alive(owner):
            self._void("key = ?", key)
            return None
        return "elsewhere"

    def _lease(self, claim: Claim, owner: str, account: str, expires: float, at_risk: bool) -> None:
        values = (claim.key, owner, expires, account, claim.tokens, claim.money, at_risk)
        self._database.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def _void(self, condition: Literal["owner = ?", "key = ?"], value: str) -> None:
        sums = "SELECT account, count(*), sum(tokens), sum(money) FROM leases"
        query = f"{sums} WHERE {condition} AND at_risk GROUP BY account"
        rows = self._database.execute(query, (value,)).fetchall()
        for account, count, tokens, money in rows:
            self._book_loss(account, count, tokens, money)
        self._database.execute(f"DELETE FROM leases WHERE {condition}", (value,))  # noqa: S608

    def _store(self, account: str, answers: Sequence[StoredAnswer]) -> None:
        for answer in answers:
            values = (
                answer.key, answer.text, answer.failure, answer.detail, answer.finish_reason, answer.model,
                answer.input_tokens, answer.output_tokens, answer.tokens_estimated, answer.money, answer.seconds,
                answer.asked_model, time.time(),
            )  # fmt: skip
            marks = ", ".join("?" * len(values))
            self._database.execute(f"INSERT OR IGNORE INTO answers VALUES ({marks})", values)  # noqa: S608
            self._database.execute(
                "INSERT INTO accounts (account, answers, input_tokens, output_tokens, money) VALUES (?, 1, ?, ?, ?) "
                "ON CONFLICT (account) DO UPDATE SET answers = answers + 1, input_tokens = input_tokens + "
                "excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens, "
                "money = money + excluded.money",
                (account, answer.input_tokens, answer.output_tokens, answer.money),
            )
            self._database.execute("DELETE FROM leases WHERE key = ?", (answer.key,))

    def _book_loss(self, account: str, count: int, tokens: int, money: float) -> None:
        self._database.execute(
            "INSERT INTO accounts (account, lost, lost_tokens, lost_money) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (account) DO UPDATE SET lost = lost + excluded.lost, "
            "lost_tokens = lost_tokens + excluded.lost_tokens, lost_money = lost_money + excluded.lost_money",
            (account, count, tokens, money),
        )

    def _spent(self, account: str) -> Spent:
        columns = "answers, input_tokens, output_tokens, money, lost, lost_tokens, lost_money"
        row = self._database.execute(f"SELECT {columns} FROM accounts WHERE account = ?", (account,)).fetchone()  # noqa: S608
        reserved = self._database.execute(
            "SELECT coalesce(sum(tokens), 0), coalesce(sum(money), 0) FROM leases WHERE account = ?", (account,)
        ).fetchone()
        return Spent(*(row or (0, 0, 0, 0.0, 0, 0, 0.0)), *reserved)

    def _lock_file(self) -> IO[bytes]:
        """A file that is locked as long as this process lives. Another process may sweep it away before it is locked."""
        path = self._owners / self._owner
        while True:
            file = path.open("wb")
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists():
                return file
            file.close()

    def _is_alive(self, owner: str) -> bool:
        """Whether the process still holds its lock file."""
        if owner == self._owner:
            return True
        try:
            with (self._owners / owner).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _remove_if_dead(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """One thread at a time, and sqlite's errors in words."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise AnswerCacheError(
                    f"The database of answers {self.path} cannot be used ({error}). Is the disk full, or the file of "
                    "another program? It must lie on a local disk. A damaged one may be moved away: its answers are lost."
                ) from error
