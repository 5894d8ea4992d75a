"""Runs a recipe: job after job, each in a process of its own, skipping what is up to date.

The parent imports neither Beam nor torch. It holds the run folder's lock, shows progress from what workers write, ends a job
that gives no sign of life, and turns a job's error into one paragraph.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines import progress, storage
from pipelines.errors import USER_ERRORS, JobFailed, UserError
from pipelines.job import Plan, is_whole, module_of
from pipelines.manifest import Manifest, read_manifest
from pipelines.progress import Progress, ProgressReader
from pipelines.recipe import Recipe, dump_recipe
from pipelines.run_folder import RunFolder, append_log, locked
from pipelines.runner import check_runner


@dataclass(frozen=True)
class Event:
    """One step of a run, for the display and the log: kind is "skipped", "started", "progress", "finished" or "failed"."""

    kind: str
    job: str
    seconds: float = 0.0
    progress: Progress | None = None
    manifest: Manifest | None = None


def run_recipe(
    recipe: Recipe, run: RunFolder, tell: Callable[[Event], None], only: Sequence[str] | None = None
) -> list[Manifest]:
    """Bring every job of the recipe up to date, in order; returns their manifests.

    Args:
        only: run no other jobs than these (they are still skipped where up to date).

    Raises:
        UserError: a mistake in the recipe or its inputs; a locked run folder.
        JobFailed: a job failed or fell silent. What was committed stays; the same call goes on from there.
    """
    check_runner(recipe.runner)
    jobs = only or recipe.jobs()
    check_inputs(recipe, jobs)
    manifests = []
    with locked(run) as inherited:
        frozen = dump_recipe(recipe)
        with storage.atomic_write(run.recipe) as stream:
            stream.write(frozen.encode())
        with _recipe_file(frozen) as recipe_file:
            for name in jobs:
                module = module_of(name)
                plan: Plan = module.plan(recipe, run)
                manifest = read_manifest(run.job(name))
                up_to_date = manifest is not None and manifest.fingerprint == plan.fingerprint(name, module.VERSION)
                if manifest is not None and up_to_date and is_whole(run.job(name), manifest):
                    tell(Event("skipped", name, manifest=manifest))
                else:
                    manifest = _run_job(recipe, run, name, recipe_file, inherited, tell)
                manifests.append(manifest)
    return manifests


def check_inputs(recipe: Recipe, jobs: Sequence[str]) -> None:
    """Raises UserError for a file that one of the jobs needs and that is not there."""
    for name in jobs:
        getattr(module_of(name), "check_inputs", _nothing_to_check)(recipe)


def _nothing_to_check(recipe: Recipe) -> None:
    """Of a job whose inputs are those of the jobs before it."""


@contextlib.contextmanager
def _recipe_file(text: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="pairmill-") as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(text)
        yield str(path)


def _run_job(
    recipe: Recipe,
    run: RunFolder,
    name: str,
    recipe_file: str,
    inherited: tuple[int, ...],
    tell: Callable[[Event], None],
) -> Manifest:
    started = time.monotonic()
    progress.clear(run.job(name))
    append_log(run, {"time": time.time(), "job": name, "event": "started"})
    tell(Event("started", name))
    with _log_stream(run, name) as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.job_process", recipe_file, run.url, name],
            env={**os.environ, "PYTHONSAFEPATH": "1"},  # a folder `pipelines` where the user stands is not ours
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=inherited,
            start_new_session=True,
        )
        try:
            _watch(process, run.job(name), name, recipe.runner.silence_seconds, started, tell)
        finally:
            _end(process)
    if process.returncode != 0:
        append_log(run, {"time": time.time(), "job": name, "event": "failed", "exit": process.returncode})
        tell(Event("failed", name, time.monotonic() - started))
        raise _error(run, name, process.returncode)
    manifest = read_manifest(run.job(name))
    if manifest is None:
        raise JobFailed(f"Job {name} ended without a manifest; its log is {_log_path(run, name)}.")
    append_log(
        run,
        {
            "time": time.time(),
            "job": name,
            "event": "finished",
            "seconds": manifest.seconds,
            "rows_out": manifest.rows_out,
        },
    )
    tell(Event("finished", name, time.monotonic() - started, manifest=manifest))
    return manifest


def _watch(
    process: "subprocess.Popen[bytes]",
    folder: str,
    name: str,
    silence_seconds: float,
    started: float,
    tell: Callable[[Event], None],
) -> None:
    reader = ProgressReader(folder)
    sign: tuple[object, ...] = ()
    last_sign = time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(reader.poll_seconds)
            return
        state = reader.read()
        now = time.monotonic()
        if state.sign != sign:
            sign, last_sign = state.sign, now
        elif now - last_sign > silence_seconds:
            _end(process)
            raise JobFailed(
                f"Job {name} gave no sign of life for {silence_seconds:.0f} s and was ended: a worker died or hangs. What it had committed is kept; "
                "run the same command again to go on, with --mode in_memory if worker processes are the trouble, or raise runner.silence_seconds if the work is just slow."
            )
        tell(Event("progress", name, now - started, state))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a job's process and all its workers: politely, then at once."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # workers that outlived it
    if process.stdin:
        process.stdin.close()


def _error(run: RunFolder, name: str, code: int) -> Exception:
    url = storage.join(run.job(name), progress.PROGRESS, progress.ERROR)
    if not storage.exists(url):
        return JobFailed(
            f"Job {name} ended with exit code {code} and no message (killed, or out of memory). Its log is {_log_path(run, name)}; run the same command again to go on."
        )
    error = storage.read_json(url)
    if error["kind"] in USER_ERRORS:
        return UserError(f"Job {name}: {error['message']}")
    message = error["message"].strip()
    if "Traceback" in message:
        message = f"{message.splitlines()[-1]} (the whole trace is in {_log_path(run, name)})"
    return JobFailed(f"Job {name} failed: {message}")


def _log_path(run: RunFolder, name: str) -> str:
    return storage.join(run.url, "logs", f"{name}.log") if storage.is_local(run.url) else "the terminal"


@contextlib.contextmanager
def _log_stream(run: RunFolder, name: str) -> Iterator[int]:
    if not storage.is_local(run.url):
        yield sys.stderr.fileno()  # standard output is for --log-json
        return
    path = Path(storage.split_url(_log_path(run, name))[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        yield stream.fileno()
