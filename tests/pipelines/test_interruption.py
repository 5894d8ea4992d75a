"""Real processes, real signals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.interruption import Interrupted, ended_by_signals

MOST_SECONDS = 20.0  # ten, and as much again for a machine that does other things too


def pairmill(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.command_line", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]", seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stdout and process.stdout.read().decode()
        assert time.monotonic() < deadline, "it did not get so far"
        time.sleep(0.05)


def tree_of(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]


def all_gone(tree: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(tree, timeout=3)
    return not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


def stop(process: "subprocess.Popen[bytes]", number: signal.Signals) -> tuple[int, float]:
    started = time.monotonic()
    process.send_signal(number)
    code = process.wait(60)
    return code, time.monotonic() - started


@pytest.fixture
def training_run(tiny_recipe: Callable[..., Path], tiny_model: str, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A recipe whose training would go on for hours, and its run folder."""
    train = {"model": tiny_model, "steps": 500_000, "batch_size": 4, "checkpoint_every": 100_000, "precision": "fp32"}
    recipe = tiny_recipe(score=None, mine=None, evaluate=None, train={**train, "log_every": 1})
    yield recipe, tmp_path / "run"


def test_sigterm_ends_a_run_and_all_its_processes_and_the_run_goes_on_from_there(
    training_run: tuple[Path, Path],
) -> None:
    recipe, run = training_run
    arguments = ("run", str(recipe), "--run-folder", str(run))
    metrics = run / "train" / "metrics.jsonl"
    process = pairmill(*arguments)
    wait_for(lambda: metrics.exists() and metrics.stat().st_size > 0, process)
    tree = tree_of(process)
    assert len(tree) > 1
    code, seconds = stop(process, signal.SIGTERM)
    assert (code, seconds < MOST_SECONDS, all_gone(tree)) == (143, True, True)
    (checkpoint,) = (run / "train" / "checkpoints").glob("step-*")  # the step under way was finished and kept
    assert json.loads((checkpoint / "state.json").read_text())["step"] > 0
    assert not list(run.rglob("*.partial"))

    process = pairmill(*arguments, "--set", f"train.steps={500_000}")
    lines = metrics.stat().st_size
    wait_for(lambda: metrics.stat().st_size > lines, process)
    tree = tree_of(process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.wait(MOST_SECONDS) == 130
    assert all_gone(tree)
    assert process.stdout is not None
    assert b"extract   up to date" in process.stdout.read()
    first = json.loads(metrics.read_text().splitlines()[0])
    assert first["step"] == 1


def test_the_first_signal_raises_and_the_handlers_before_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ended_by_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


STUBBORN = """
import time
from pipelines.interruption import ended_by_signals
with ended_by_signals():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("caught", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_does_not_give_way_ends_all_the_same(number: signal.Signals, code: int) -> None:
    environment = {**os.environ, "PAIRMILL_STOP_SECONDS": "0.5"}
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    found, seconds = stop(process, number)
    assert (found, seconds < MOST_SECONDS) == (code, True)
    assert process.stdout.read() == b"caught\n"


LOCKED = """
import os, signal, threading
from pipelines.interruption import Interrupted, ended_by_signals
from trainer.training_run import _stopped_by_signal
with threading._active_limbo_lock, _stopped_by_signal() as stopped:
    os.kill(os.getpid(), signal.SIGTERM)
    print(stopped.is_set(), flush=True)
try:
    with ended_by_signals(), threading._active_limbo_lock:
        os.kill(os.getpid(), signal.SIGTERM)
        print("not reached")
except Interrupted as error:
    print(error.exit_code, flush=True)
"""


def test_a_signal_that_comes_while_a_thread_is_begun_is_acted_on() -> None:
    found = subprocess.run([sys.executable, "-c", LOCKED], capture_output=True, timeout=120, check=True)
    assert found.stdout == b"True\n143\n"


def test_a_second_signal_ends_at_once() -> None:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == b"caught\n"
    started = time.monotonic()
    assert stop(process, signal.SIGINT)[0] == 130
    assert time.monotonic() - started < 5


def test_the_exit_code_is_that_of_the_signal() -> None:
    assert [Interrupted(number).exit_code for number in (signal.SIGINT, signal.SIGTERM)] == [130, 143]
