"""The process a job runs in: `python -m pipelines.job_process RECIPE_FILE RUN_FOLDER JOB`, started by pipelines.launcher.

A process of its own gives back all memory at the job's end, keeps Beam and torch out of the parent, and can be ended when it
hangs. It dies with its parent: its standard input is a pipe from the parent, and when that closes the process ends itself and
the workers it started, so that a run killed with -9 leaves no second writer behind.
"""

import logging
import os
import resource
import signal
import sys
import threading
import time
import traceback
from functools import partial
from pathlib import Path
from typing import NoReturn

from pipelines import __version__, progress, storage
from pipelines.job import Job, build_manifest, module_of, remove_stale_files
from pipelines.manifest import MANIFEST, write_manifest
from pipelines.recipe import load_recipe
from pipelines.run_folder import RunFolder
from pipelines.runner import tell_last_words_to


def main(arguments: list[str]) -> int:
    recipe_file, run_url, name = arguments
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _allow_open_files()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    run = RunFolder(run_url)
    tell_error = partial(_tell_error, run.job(name), Path(recipe_file).with_name(progress.ERROR))
    tell_last_words_to(tell_error)
    try:
        execute(recipe_file, run, name)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        tell_error(error)
        traceback.print_exc()
        return int(getattr(error, "exit_code", 1))
    return 0


def _tell_error(folder: str, elsewhere: Path, error: Exception) -> None:
    """Leave the error for the parent, where a worker has not told one already; `elsewhere` is for a run folder that takes none."""
    if storage.exists(storage.join(folder, progress.PROGRESS, progress.ERROR)):
        return
    ours = isinstance(error, ValueError) or hasattr(error, "exit_code")
    message = str(error) if ours else "".join(traceback.format_exception(error))
    progress.report_error(folder, type(error).__name__, message, elsewhere)


def execute(recipe_file: str, run: RunFolder, name: str) -> None:
    """Run one job to its manifest."""
    started = time.monotonic()
    recipe = load_recipe(recipe_file)
    module = module_of(name)
    plan = module.plan(recipe, run)
    job = Job(name, recipe, run, plan, plan.fingerprint(name, module.VERSION))
    storage.make_folder(job.folder)
    storage.remove_temporary_files(job.folder)
    storage.remove(storage.join(job.folder, MANIFEST))  # from here on the folder is unfinished work
    storage.remove(storage.join(job.folder, "_exchange"))
    progress.clear(job.folder)
    outcome = module.execute(job)
    manifest = build_manifest(job, __version__, outcome, time.monotonic() - started)
    storage.remove(storage.join(job.folder, "_exchange"))
    if outcome.parts:
        remove_stale_files(job.folder, manifest, outcome.parts)
    write_manifest(job.folder, manifest)
    progress.clear(job.folder)


def _allow_open_files() -> None:
    """As many as the system lets this user have: dedup maps a file a shard, and shells often allow only 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _end_with_parent() -> None:
    """Wait until the parent's end of the pipe closes, then end this process and every worker in its group."""
    while os.read(0, 1024):
        continue
    os.killpg(0, signal.SIGKILL)


def leave(code: int) -> NoReturn:
    """End at once: threads of Beam, gRPC or a client, which Python would wait for, must not keep a job that has ended.

    Workers of this job that are still alive are ended by the parent.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
