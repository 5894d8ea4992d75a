"""Processes that are killed take nobody with them into an endless wait, and leave nobody behind."""

import subprocess
import sys
import time

import psutil
import pytest

KILLED_WORKER = """
import os, signal
from pipelines.errors import JobFailed
from pipelines.runner import Load, RunnerSettings, run_pipeline

def build(pipeline):
    import apache_beam as beam
    _ = pipeline | beam.Create([1, 2]) | beam.Map(lambda _: os.kill(os.getpid(), signal.SIGKILL))

try:
    run_pipeline(RunnerSettings(mode="multi_processing", workers=2), Load(2, 1), "filter", build)
except JobFailed as error:
    print(error)
    os._exit(3)
"""

STUCK = """
import threading, time
from pipelines import runner
from pipelines.errors import JobFailed

def wait_for_a_worker():
    raise RuntimeError("Worker subprocess exited with return code -9")

runner._CLEARING_UP_SECONDS = 1.0
runner.tell_last_words_to(lambda error: print("last words:", error, flush=True))
with runner._dead_workers_told("filter"):
    threading.Thread(target=wait_for_a_worker).start()
    while True:
        try:
            time.sleep(60)
        except JobFailed:
            continue  # as Beam, where it waits for the other workers
"""

RANK = "from trainer.distributed import _end_with_launcher; _end_with_launcher()"
LATE_RANK = f"import os, time; os.environ['TORCHELASTIC_RUN_ID'] = 'none'; time.sleep(3); {RANK}"
TORCHRUN = "import subprocess, sys; subprocess.run([sys.executable, '-c', {rank!r}])"


def test_a_killed_worker_of_beam_ends_the_job_with_a_message():
    command = [sys.executable, "-c", KILLED_WORKER]
    result = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert result.returncode == 3, result.stderr[-1000:]
    assert result.stdout.startswith("A worker process of job filter was killed or crashed (Worker subprocess exited")
    assert "--mode in_memory" in result.stdout


def test_a_job_that_cannot_clear_up_after_a_killed_worker_ends_with_its_last_words():
    command = [sys.executable, "-c", STUCK]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1, result.stderr[-1000:]
    assert result.stdout.startswith("last words: A worker process of job filter was killed or crashed")


@pytest.mark.parametrize(("rank", "seconds"), [(RANK, 2.0), (LATE_RANK, 0.5)], ids=["watching", "still importing"])
def test_a_rank_ends_when_what_started_it_is_killed(rank, seconds):
    torchrun = subprocess.Popen([sys.executable, "-c", TORCHRUN.format(rank=rank)])
    ranks: list[psutil.Process] = []
    while not ranks:
        time.sleep(0.05)
        ranks = psutil.Process(torchrun.pid).children()
    time.sleep(seconds)
    assert ranks[0].is_running()
    torchrun.kill()
    torchrun.wait()
    gone, alive = psutil.wait_procs(ranks, timeout=30)
    assert (len(gone), alive) == (1, [])
