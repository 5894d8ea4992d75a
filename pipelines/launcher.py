"""Runs a recipe: job after job, each in a process of its own, skipping what is up to date.

The parent imports neither Beam nor torch. It holds the run folder's lock, shows progress from what workers write, ends a job
that gives no sign of life, and turns a job's error into one paragraph.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines import progress, storage
from pipelines.disk_space import check_room
from pipelines.errors import USER_ERRORS, JobFailed, UserError, with_remedy
from pipelines.forget.tombstones import FORGETTING
from pipelines.interruption import CHILD_STOP_SECONDS
from pipelines.job import Plan, is_whole, module_of
from pipelines.manifest import Manifest, read_manifest
from pipelines.progress import Progress, ProgressReader
from pipelines.recipe import Recipe, dump_recipe
from pipelines.refresh.content_states import watching_hashes
from pipelines.refresh.model_choice import as_seen_by
from pipelines.run_folder import RunFolder, append_log, locked
from pipelines.runner import check_runner


@dataclass(frozen=True)
class Event:
    """One step of a run, for the display and the log: kind is "comparing" (input files with what they
    were), "skipped", "started", "progress", "finished" or "failed"."""

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
    jobs = only or recipe.jobs()
    check_before_work(recipe, jobs)
    with locked(run) as inherited:
        freeze_recipe(recipe, run)
        manifests = []
        for job in jobs:  # of a run that was refreshed, training and evaluation stay as the refresh made them
            manifests += run_jobs(as_seen_by(job, recipe, run), run, [job], inherited, tell)
        return manifests


def check_before_work(recipe: Recipe, jobs: Sequence[str]) -> None:
    """Raises UserError for a runner that is refused, and for a file that one of the jobs needs and that is not there."""
    check_runner(recipe.runner)
    check_inputs(recipe, jobs)


def freeze_recipe(recipe: Recipe, run: RunFolder) -> None:
    """Write RUN/recipe.yaml, by which other commands know the run. The caller holds the run folder's lock."""
    with storage.atomic_write(run.recipe) as stream:
        stream.write(dump_recipe(recipe).encode())


def run_jobs(
    recipe: Recipe, run: RunFolder, jobs: Sequence[str], inherited: tuple[int, ...], tell: Callable[[Event], None]
) -> list[Manifest]:
    """As run_recipe, for a caller that holds the run folder's lock; `inherited` is what `locked` gave it."""
    _finish_forgetting(recipe, run)
    manifests = []
    with _recipe_file(dump_recipe(recipe)) as recipe_file:
        for name in jobs:
            manifest = up_to_date(recipe, run, name, tell)
            if manifest is not None:
                tell(Event("skipped", name, manifest=manifest))
            else:
                manifest = _run_job(recipe, run, name, recipe_file, inherited, tell)
            manifests.append(manifest)
    return manifests


def _finish_forgetting(recipe: Recipe, run: RunFolder) -> None:
    """A take-down that was cut short comes first: no job may read what is to be forgotten."""
    if storage.exists(storage.join(run.url, FORGETTING)):
        from pipelines.forget.command import finish_interrupted

        finish_interrupted(run, recipe)


def up_to_date(recipe: Recipe, run: RunFolder, name: str, tell: Callable[[Event], None]) -> Manifest | None:
    """The manifest of a job that has nothing to do; None where it must run."""
    module = module_of(name)
    with watching_hashes(_tell_hashing(name, tell)):
        plan: Plan = module.plan(recipe, run)
    manifest = read_manifest(run.job(name))
    if manifest is None or manifest.fingerprint != plan.fingerprint(name, module.VERSION):
        return None
    return manifest if is_whole(run.job(name), manifest) else None


def _tell_hashing(name: str, tell: Callable[[Event], None]) -> Callable[[int, int], None]:
    """For files whose content must be read to know whether they changed: a terabyte takes its time."""
    started = time.monotonic()

    def beat(done: int, total: int) -> None:
        state = Progress(1, 0, done // 2**20, done / max(total, 1), "MB compared", (done,))
        tell(Event("comparing", name, time.monotonic() - started, state))

    return beat


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


@contextlib.contextmanager
def _temporary_folder(recipe_file: str) -> Iterator[Path]:
    """For what a job and the libraries it uses (Beam) put into the folder for temporary files: it goes with the job, and after
    a kill `pairmill clean` knows it by its name."""
    folder = Path(recipe_file).with_name("temporary")
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(temporary: Path) -> dict[str, str]:
    return {
        # What torch compiled is kept from run to run.
        "TORCHINDUCTOR_CACHE_DIR": str(Path(tempfile.gettempdir()) / f"torchinductor_{os.getuid()}"),
        **os.environ,
        "PYTHONSAFEPATH": "1",  # a folder `pipelines` where the user stands is not ours
        "TMPDIR": str(temporary),
    }


def _run_job(
    recipe: Recipe,
    run: RunFolder,
    name: str,
    recipe_file: str,
    inherited: tuple[int, ...],
    tell: Callable[[Event], None],
) -> Manifest:
    check_room(recipe, run, name)
    started = time.monotonic()
    progress.clear(run.job(name))
    append_log(run, {"time": time.time(), "job": name, "event": "started"})
    tell(Event("started", name))
    with _log_stream(run, name) as log, _temporary_folder(recipe_file) as temporary:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.job_process", recipe_file, run.url, name],
            env=_environment(temporary),
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
        raise _error(run, name, process.returncode, Path(recipe_file).with_name(progress.ERROR))
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
            if storage.read_record(storage.join(folder, progress.PROGRESS, progress.ERROR)):
                return  # it had told its error, and did not end by itself
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
            process.wait(CHILD_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # workers that outlived it
    if process.stdin:
        process.stdin.close()


def _error(run: RunFolder, name: str, code: int, elsewhere: Path) -> Exception:
    """`elsewhere` is where a job tells its error that could not write it into the run folder."""
    error = storage.read_record(storage.join(run.job(name), progress.PROGRESS, progress.ERROR))
    error = error or storage.read_record(str(elsewhere))
    if error is None:
        return JobFailed(
            f"Job {name} ended with exit code {code} and no message (killed, or out of memory). Its log is {_log_path(run, name)}; run the same command again to go on."
        )
    if error["kind"] in USER_ERRORS:
        return UserError(f"Job {name}: {error['message']}")
    message = error["message"].strip()
    if "Traceback" in message:
        message = f"{message.splitlines()[-1]} (the whole trace is in {_log_path(run, name)})"
    return JobFailed(f"Job {name} failed: {with_remedy(message)}")


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
