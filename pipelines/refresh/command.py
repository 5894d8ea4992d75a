"""`pairmill refresh`: the run of a recipe follows its sources, and a new model takes over only where the gate lets it.

    1. which files are new, changed or gone (pipelines.refresh.changes)
    2. the jobs up to pack, each skipping what is up to date
    3. train, from the recipe's model or from the current version; evaluate, beside the current version
    4. the gate (pipelines.refresh.gate); a model that passes becomes the current version (pipelines.refresh.versions)
    5. the record, the page, and whom to tell

The run folder is locked from 1 to 5. Every step is repeated without harm, so a refresh that was killed goes on by the same
command: a decision follows from files alone, and promoting the model that is current changes nothing.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pipelines import storage
from pipelines.errors import UserError
from pipelines.launcher import Event, check_before_work, freeze_recipe, run_jobs
from pipelines.manifest import Manifest
from pipelines.recipe import Recipe
from pipelines.refresh import alerts, gate, history, notify, versions
from pipelines.refresh.changes import (
    Inputs,
    compare,
    inputs_before,
    inputs_now,
    keep_inputs,
    refuse_vanished,
    without_empty_paths,
)
from pipelines.refresh.content_states import watching_hashes
from pipelines.refresh.model_choice import (
    check_training,
    compared_with,
    gate_fingerprint,
    is_to_decide,
    opponent,
    starting_from,
    training_start,
)
from pipelines.refresh.records import GateDecision, Outcome, RefreshRecord, SourceChange
from pipelines.refresh.state import Decided, read_state, write_state
from pipelines.run_folder import RunFolder, append_log, locked

KEPT_EXIT_CODE: Final = 3
_LONGEST_ERROR: Final = 2000


@dataclass(frozen=True)
class RefreshOptions:
    """What the command line adds to a recipe."""

    force: bool = False  # the gate decides again about a model it kept back, or that was rolled back by hand
    allow_gone: bool = False  # sources may have lost their files


@dataclass(frozen=True)
class Refreshed:
    """A refresh that came to its end, and what went wrong with telling of it."""

    record: RefreshRecord
    not_told: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        return KEPT_EXIT_CODE if self.record.outcome == "kept" else 0


def refresh(
    recipe: Recipe,
    run: RunFolder,
    tell: Callable[[Event], None],
    tell_changes: Callable[[Sequence[SourceChange]], None] = lambda changes: None,
    options: RefreshOptions = RefreshOptions(),
) -> Refreshed:
    """Bring the run of a recipe up to date with its sources, and its current model with the run.

    Raises:
        UserError: a mistake in the recipe or its inputs, sources whose files vanished, a locked run folder.
        JobFailed: a job failed. What was committed stays; the same call goes on from there.
        Errors are kept in a record with outcome failed, and told as `refresh.notify` says; not that of a locked folder.
    """
    if options.allow_gone:
        recipe = without_empty_paths(recipe)
    with locked(run) as inherited:
        refreshing = _Refreshing(recipe, run, options, inherited, tell, tell_changes)
        try:
            record, failure = refreshing.go(), None
        except Exception as error:
            record, failure = refreshing.failed(error), error
    problems = tuple(notify.notify(record, recipe.refresh.notify, notify.log_file(run)))
    if failure is not None:
        raise failure
    return Refreshed(record, problems)


class _Refreshing:
    """One refresh under the run folder's lock."""

    def __init__(
        self,
        recipe: Recipe,
        run: RunFolder,
        options: RefreshOptions,
        inherited: tuple[int, ...],
        tell: Callable[[Event], None],
        tell_changes: Callable[[Sequence[SourceChange]], None],
    ) -> None:
        self._recipe, self._run, self._options, self._inherited = recipe, run, options, inherited
        self._tell, self._tell_changes = tell, tell_changes
        self._began, self._started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        self._number = history.next_number(run)
        self._changes: tuple[SourceChange, ...] = ()
        self._manifests: dict[str, Manifest] = {}
        self._ran: set[str] = set()
        self._decision: GateDecision | None = None

    def go(self) -> RefreshRecord:
        append_log(self._run, {"time": time.time(), "event": "refresh started", "refresh": self._number})
        check_before_work(self._recipe, self._recipe.jobs())
        check_training(self._recipe)
        gate.check_settings(self._recipe, self._run)
        if storage.is_local(self._run.url):
            versions.repair(self._run)
        now = self._look_at_sources()
        freeze_recipe(self._recipe, self._run)
        jobs = self._recipe.jobs()
        self._run_jobs(self._recipe, [job for job in jobs if job not in ("train", "evaluate", "report")])
        decision = self._follow_with_the_model() if "train" in jobs else None
        if "train" not in jobs and "evaluate" in jobs:
            self._run_jobs(self._recipe, ["evaluate"])
        self._decision, outcome = decision, self._outcome(decision)
        if outcome != "nothing_new":
            history.write(self._run, self._record(outcome))  # the page shows it
        if decision is not None:
            self._remember(decision)  # after the record: a decision that nobody was told of is made again
        self._run_jobs(self._recipe, ["report"])
        record = self._record(outcome)
        history.write(self._run, record)
        keep_inputs(self._run, now)
        self._log(record)
        return record

    def failed(self, error: Exception) -> RefreshRecord:
        message = " ".join(str(error).split())[:_LONGEST_ERROR] or type(error).__name__
        record = self._record("failed", message)
        with contextlib.suppress(OSError):  # a full disk, perhaps: it is the first error that counts
            history.write(self._run, record)
            self._log(record)
        return record

    def _look_at_sources(self) -> Inputs:
        before = inputs_before(self._run)
        keep_inputs(self._run, before)  # what is new stays new until a refresh has come to its end
        with watching_hashes(self._tell_reading):
            now = inputs_now(self._recipe, self._run)
        self._changes = compare(before, now)
        self._tell_changes(self._changes)
        if not self._options.allow_gone:
            refuse_vanished(self._recipe, self._run, before, now)
        return now

    def _tell_reading(self, done: int, total: int) -> None:
        from pipelines.progress import Progress

        state = Progress(1, 0, done // 2**20, done / max(total, 1), "MB compared", (done,))
        self._tell(Event("comparing", "extract", time.monotonic() - self._began, state))

    def _run_jobs(self, recipe: Recipe, jobs: Sequence[str]) -> None:
        for manifest in run_jobs(recipe, self._run, jobs, self._inherited, self._watch):
            self._manifests[manifest.job] = manifest

    def _watch(self, event: Event) -> None:
        if event.kind == "finished":
            self._ran.add(event.job)
        self._tell(event)

    def _follow_with_the_model(self) -> GateDecision | None:
        """train, evaluate, gate and promotion; None where the gate has decided about this very model before."""
        recipe, run, force = self._recipe, self._run, self._options.force
        start = training_start(recipe, run)
        write_state(run, read_state(run).model_copy(update={"start": start}))
        self._run_jobs(starting_from(recipe, run, start), ["train"])
        train = self._manifests["train"].fingerprint
        if recipe.evaluate is not None:
            compared = opponent(run, train)
            write_state(run, read_state(run).model_copy(update={"opponent": compared}))
            self._run_jobs(compared_with(recipe, run, compared.version), ["evaluate"])
        evaluate = self._manifests.get("evaluate")
        if not is_to_decide(recipe, run, train, None if evaluate is None else evaluate.fingerprint, force=force):
            return None
        decision = gate.decide(recipe, run, even_rejected=force)
        if decision.promoted:
            self._promote(train)
        return decision

    def _remember(self, decision: GateDecision) -> None:
        evaluate = self._manifests.get("evaluate")
        decided = Decided(
            train=self._manifests["train"].fingerprint,
            evaluate=None if evaluate is None else evaluate.fingerprint,
            gate=gate_fingerprint(self._recipe),
            promoted=decision.promoted,
        )
        write_state(self._run, read_state(self._run).model_copy(update={"decided": decided}))

    def _promote(self, train: str) -> None:
        state = read_state(self._run)
        started = state.start.version if state.start else None
        facts: dict[str, Any] = {"refresh": self._number, "train": train, "started_from": started}
        versions.promote(self._run, Path(storage.split_url(self._run.job("train"))[1]) / "model", facts)
        versions.prune(self._run, self._recipe.refresh.keep_versions, state.versions_in_use())

    def _outcome(self, decision: GateDecision | None) -> Outcome:
        if decision is not None:
            return "promoted" if decision.promoted else "kept"
        return "data_only" if self._ran or self._finished_another_time() else "nothing_new"

    def _finished_another_time(self) -> bool:
        """Whether jobs ran since the last record: in a refresh that was killed before it could tell, or by `pairmill run`."""
        last = history.newest_with_data(self._run)
        told = {} if last is None else last.fingerprints
        return any(told.get(job, each.fingerprint) != each.fingerprint for job, each in self._manifests.items())

    def _record(self, outcome: Outcome, error: str | None = None) -> RefreshRecord:
        now = None
        with contextlib.suppress(*([UserError] if outcome == "failed" else [])):  # it may be what failed
            now = versions.current(self._run)
        evaluate = self._manifests.get("evaluate")
        metrics = evaluate.details.get("metrics", []) if evaluate is not None else []
        record = RefreshRecord(
            number=self._number,
            started=self._started,
            seconds=round(time.monotonic() - self._began, 2),
            outcome=outcome,
            changes=self._changes,
            jobs=tuple(history.job_record(each, job in self._ran) for job, each in self._manifests.items()),
            gate=self._decision,
            version=None if now is None else now.number,
            error=error,
            fingerprints={job: each.fingerprint for job, each in self._manifests.items()},
            metrics=[row for row in metrics if row.get("model") == "trained"],
            final_loss=history.final_loss(self._run) if "train" in self._manifests else None,
        )
        if outcome in ("failed", "nothing_new"):
            return record
        earlier = history.newest_with_data(self._run, before=self._number)
        found = alerts.find(earlier, record, self._recipe.refresh.alerts)
        return record.model_copy(update={"alerts": tuple(found)})

    def _log(self, record: RefreshRecord) -> None:
        told = {"refresh": record.number, "outcome": record.outcome, "seconds": record.seconds}
        append_log(self._run, {"time": time.time(), "event": "refresh finished", **told})
