"""Which Beam runner a job runs on, and why some are refused. Always explicit: plain DirectRunner quietly tries a download.

Embedded default: FnApiRunner, in_memory for small or encoder jobs, multi_processing (one worker a core) where a job has enough
CPU work to pay the workers' start-up. Any other runner and its options pass through to Beam as they are.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.errors import JobFailed, UserError

EMBEDDED: Final = "FnApiRunner"
WORTH_PROCESSES_BYTES: Final = (
    256 * 2**20
)  # below this a second process's start-up costs more than it brings (docs/design.md)

REFUSED: Final = {
    "DirectRunner": "Beam's DirectRunner tries to download the Prism runner and falls back to another engine when offline, so the engine would depend on the network. Leave --runner out (FnApiRunner), or name PrismRunner if you mean it.",
    "SwitchingDirectRunner": "it chooses Prism or FnApiRunner by what it finds. Leave --runner out (FnApiRunner).",
    "BundleBasedDirectRunner": "it is Beam's old in-process runner and does not run our transforms. Leave --runner out (FnApiRunner).",
    "DaskRunner": "it silently loses data (tagged outputs are merged, only the last sink runs; measured with Beam 2.77). Use FnApiRunner, Flink, Spark or Dataflow.",
}
REFUSED_MODE: Final = (
    "multi_threading loses 12-13 % of the elements of a GroupByKey without an error (measured with Beam 2.77, 250 MB and more). "
    "Use in_memory or multi_processing."
)
_WORKER_ENDED: Final = "Worker subprocess exited with return code"  # Beam's words
_CLEARING_UP_SECONDS: Final = 10.0  # for Beam, after a worker died; it may wait for ever for the others


class RunnerSettings(BaseModel):
    """How jobs run; none of it changes what they write."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runner: str = Field(EMBEDDED, description="a Beam runner by name, e.g. FlinkRunner; the default needs nothing else")
    mode: Literal["auto", "in_memory", "multi_processing"] = Field("auto", description="of the embedded runner")
    workers: int = Field(0, ge=0, description="worker processes of the embedded runner; 0: one a core")
    options: tuple[str, ...] = Field(
        (), description="further Beam options, passed through, e.g. --flink_master=host:8081"
    )
    disk_reserve_bytes: Annotated[int, Field(ge=0)] | Literal["auto"] | None = Field(
        "auto",
        description="what must stay free on the run folder's disk and in the temporary folder: a job that is expected to need "
        "more is not begun; auto: 256 MiB, on small disks a twentieth of the disk (ours); null: nothing is checked",
    )
    silence_seconds: float = Field(900.0, gt=0, description="a job without a sign of life for so long is ended")


@dataclass(frozen=True)
class Load:
    """What a job is about to do: decides between one process and several."""

    tasks: int
    bytes: int
    encoder: bool = False  # uses all threads or the GPU by itself: one process


def check_runner(settings: RunnerSettings) -> None:
    """Raises UserError for a runner or mode that is known to give wrong results."""
    # As Beam looks names up: whatever the case, with or without the module and the word "runner".
    name = settings.runner.rsplit(".", 1)[-1].lower().removesuffix("runner")
    for refused, reason in REFUSED.items():
        if refused.lower().removesuffix("runner") == name:
            raise UserError(f"Runner {settings.runner} is refused: {reason}")
    for option in settings.options:
        if option.startswith("--runner"):
            raise UserError(
                f"{option}: name the runner with --runner before Beam's options, or as runner.runner in the recipe."
            )
        if "multi_threading" in option:
            raise UserError(f"{option} is refused: {REFUSED_MODE}")
        if "direct_running_mode" in option or "direct_num_workers" in option:
            raise UserError(
                f"{option}: set runner.mode and runner.workers in the recipe (or --mode, --workers) instead."
            )


def embedded_mode(settings: RunnerSettings, load: Load) -> tuple[str, int]:
    """(mode, workers) of the embedded runner for a job with this load."""
    workers = settings.workers or os.cpu_count() or 1
    if settings.mode == "in_memory" or load.encoder or workers == 1:
        return "in_memory", 1
    if settings.mode == "multi_processing" or (load.tasks > 1 and load.bytes >= WORTH_PROCESSES_BYTES):
        return "multi_processing", workers
    return "in_memory", 1


def is_embedded(settings: RunnerSettings) -> bool:
    return settings.runner == EMBEDDED


def spill_folder(settings: RunnerSettings, folder: str) -> str | None:
    """Where Exchange spills: the job's folder in the embedded default, nowhere (the runner shuffles) else."""
    return f"{folder}/_exchange" if is_embedded(settings) else None


def run_pipeline(settings: RunnerSettings, load: Load, job: str, build: Callable[[Any], None]) -> None:
    """Build a pipeline on the chosen runner and run it to its end.

    Raises:
        JobFailed: a worker process of the embedded runner was killed.
        RuntimeError: the pipeline ended in another state than DONE.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    import pipelines.transforms  # noqa: F401  (registers the record batch coder)

    check_runner(settings)
    arguments: Sequence[str] = [f"--job_name=pairmill-{job}", *settings.options]
    if is_embedded(settings):
        mode, workers = embedded_mode(settings, load)
        options = PipelineOptions([*arguments, f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"])
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
    else:
        pipeline = beam.Pipeline(options=PipelineOptions([*arguments, f"--runner={settings.runner}"]))
    build(pipeline)
    with _dead_workers_told(job):
        result = pipeline.run()
        state = result.wait_until_finish()
    if state != "DONE":
        raise RuntimeError(f"job {job}: the runner {settings.runner} ended in state {state}")


def tell_last_words_to(listener: Callable[[JobFailed], None]) -> None:
    """For a job's own process: who hears why it ends, where Beam does not let go of the main thread after a worker's death."""
    _last_words.append(listener)


_last_words: list[Callable[[JobFailed], None]] = []


@contextmanager
def _dead_workers_told(job: str) -> Iterator[None]:
    """Raises JobFailed in the main thread when a worker process dies: by itself the embedded runner would wait for it forever.

    Its thread that waits for the worker ends with an error that nobody hears; a signal takes it to the main thread. Where the
    main thread is not out of Beam some seconds later, the process ends."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread only; the watchdog of silence is left
        return
    hook, deaths, left = threading.excepthook, list[str](), threading.Event()

    def failure() -> JobFailed:
        return JobFailed(
            f"A worker process of job {job} was killed or crashed ({deaths[0]}): it may have run out of memory. What was committed is "
            "kept: run the same command again to go on, with fewer --workers or with --mode in_memory if memory is short."
        )

    def end_if_stuck() -> None:
        if not left.wait(_CLEARING_UP_SECONDS):
            for listener in _last_words:
                listener(failure())
            os._exit(JobFailed.exit_code)

    def hear(args: threading.ExceptHookArgs) -> None:
        if _WORKER_ENDED in str(args.exc_value) and not deaths:
            deaths.append(str(args.exc_value))
            threading.Thread(target=end_if_stuck, daemon=True).start()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)  # it wakes from its waiting
        else:
            hook(args)

    def tell(_signal: int, _frame: Any) -> None:
        raise failure()

    handler = signal.signal(signal.SIGUSR1, tell)
    threading.excepthook = hear
    try:
        yield
    finally:
        left.set()
        threading.excepthook = hook
        signal.signal(signal.SIGUSR1, handler)
