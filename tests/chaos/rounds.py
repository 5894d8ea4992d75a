"""The rounds: a disturbed command, what became of it, and whether the next ones end with the bytes of an undisturbed run.

kills    a whole run whose processes are killed (SIGKILL) one after the other at random moments, chosen by a seed
faults   one job under faults of the file system, then the same command undisturbed
torn     files of a finished or unfinished job cut short as a crash of the machine leaves them, then the same command
"""

import json
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipelines.recipe import load_recipe
from tests.chaos.bad_llm import BadServer
from tests.chaos.faulty_files import Fault, Faults, Kind
from tests.chaos.process_tree import Ended, Tree, kill, role_of
from tests.chaos.same_bytes import contents, differences, leftovers
from tests.chaos.world import IN_FLIGHT, World

PATIENCE_SECONDS: Final = 900.0  # a whole run, on a machine that has other work
SILENCE_SECONDS: Final = 120.0  # of the recipe: what tells nothing for so long is ended
ORPHAN_SECONDS: Final = 8.0  # what a process may outlive its parent
MISSED: Final = ("had ended before", "not reached", "no such file")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Round:
    """One disturbance and what became of it."""

    kind: str  # kill, fault, torn ...
    what: str  # which process, which fault, which file
    job: str
    outcome: str
    wrong: tuple[str, ...] = ()  # what must not be; empty: the promise held
    message: str = ""  # what the user was told
    seconds: float = 0.0

    @property
    def struck(self) -> bool:
        """Whether there was a disturbance: a kill may come too late, a fault may be one that no call meets."""
        return self.kind != "end" and self.outcome not in MISSED


@dataclass
class Bench:
    """The world, its undisturbed run, and where rounds take place."""

    world: World
    folder: Path
    jobs: tuple[str, ...]  # sections of the recipe; empty: all
    tell: Tell
    reference: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # of each job of the undisturbed run

    @property
    def undisturbed(self) -> Path:
        return self.folder / "undisturbed"

    def room(self, name: str) -> Path:
        """A folder that is not there yet: those of broken rounds stay to be looked at."""
        number = 1
        while (folder := self.folder / f"{name}-{number}").exists():
            number += 1
        return folder

    def prepare(self) -> "Bench":
        """Write the world and run its recipe once. Raises AssertionError where that fails."""
        self.world.write()
        with BadServer(seed=0, faults=0.0) as server:
            # The first run after an installation compiles for minutes.
            recipe = self.world.recipe("undisturbed", server.url, self.jobs, runner={"silence_seconds": 900})
            ended = run(recipe, self.undisturbed, self.folder).wait(3 * PATIENCE_SECONDS)
        assert ended.code == 0, ended.errors
        self.reference = contents(self.undisturbed)
        self.seconds = job_seconds(self.undisturbed)
        self.tell(f"undisturbed: {len(self.reference)} files and counts, {sum(self.seconds.values()):.0f} s in jobs")
        return self

    def wrong_at_the_end(self, folder: Path, ended: Ended) -> tuple[str, ...]:
        """What is wrong with a run that should have come to its end."""
        if ended.code != 0:
            return (f"the undisturbed run ended with {ended.code}: {last_words(ended)}",)
        try:
            found = contents(folder)
        except (AssertionError, OSError) as error:  # OSError: a file that a manifest names is gone
            return (str(error),)
        wrong = [f"not the same: {name}" for name in differences(self.expected(folder), found)]
        wrong += [f"left over: {name}" for name in leftovers(folder)]
        return tuple(wrong + verified(folder, self.folder))

    def expected(self, folder: Path) -> dict[str, Any]:
        """What the undisturbed run has of the jobs in a run's recipe, which may be the first ones only."""
        jobs = set(load_recipe(str(folder / "recipe.yaml")).jobs())
        return {name: value for name, value in self.reference.items() if re.split("[:/]", name)[0] in jobs}


def run(
    recipe: Path, folder: Path, work: Path, mode: str = "in_memory", environment: dict[str, str] | None = None
) -> Tree:
    """`pairmill run`, started."""
    command = [sys.executable, "-m", "pipelines.command_line", "run", str(recipe), "--run-folder", str(folder)]
    return Tree.start([*command, "--mode", mode, "--workers", "2"], work / "output", environment)


def verified(folder: Path, work: Path) -> list[str]:
    """What `pairmill verify` finds."""
    command = [sys.executable, "-m", "pipelines.command_line", "verify", str(folder)]
    ended = Tree.start(command, work / "output").wait(PATIENCE_SECONDS)
    return [] if ended.code == 0 else [f"verify: {last_words(ended)}"]


# Kills


def killed_run(bench: Bench, name: str, targets: Sequence[str], seed: int, *, mode: str, keys: bool) -> list[Round]:
    """A whole run, killed once in each of the `targets` (jobs, in their order) and then left alone.

    The last round says what is wrong with the end of it: bytes, leftovers, questions paid twice.
    """
    chance, folder = random.Random(seed), bench.folder / name
    rounds: list[Round] = []
    with BadServer(seed, honours_keys=keys) as server:
        recipe = bench.world.recipe(name, server.url, bench.jobs)
        tree, told_before = None, 0
        for target in targets:
            if tree is None:
                told_before = len(list(events(folder)))
                tree = run(recipe, folder, bench.folder, mode)
            done, tree = _killed_once(bench, tree, folder, target, told_before, chance)
            rounds.append(done)
            bench.tell(line(done))
        started = time.monotonic()
        tree = tree or run(recipe, folder, bench.folder, mode)
        ended = tree.wait(PATIENCE_SECONDS)
        wrong = tuple(f"{name} lived on" for name in tree.survivors(ORPHAN_SECONDS))
        wrong += bench.wrong_at_the_end(folder, ended)
        at_risk = 0 if keys else 2 * IN_FLIGHT * sum(each.struck and each.job == "synthesize" for each in rounds)
        wrong += paid_in_vain(server.paid_twice, at_risk)
    paid = (
        f"{sum(server.made.values())} answers, {server.paid_twice} paid twice, {sum(server.requests.values())} requests"
    )
    how = f"{mode}, {'idempotency keys' if keys else 'no idempotency keys'}"
    rounds.append(Round("end", how, "", paid, wrong, seconds=time.monotonic() - started))
    bench.tell(line(rounds[-1]))
    if not wrong:
        shutil.rmtree(folder)
    return rounds


def _killed_once(
    bench: Bench, tree: Tree, folder: Path, target: str, told_before: int, chance: random.Random
) -> tuple[Round, Tree | None]:
    """One kill in the job `target`, or in what comes after it; and the command, where it goes on nevertheless.

    `told_before`: events of the run folder before the command started."""
    started = time.monotonic()
    while not has_started(folder, target, told_before) and not tree.ended():
        time.sleep(0.02)
    time.sleep(chance.uniform(0, 1.2 * bench.seconds.get(target, 1.0)))
    by_role: dict[str, list[Any]] = {}
    for process in tree.alive():
        by_role.setdefault(role_of(process), []).append(process)
    by_role.pop("gone", None)
    job = last_started(folder)
    if not by_role or tree.ended():
        return Round("kill", "nothing", job, "had ended before", seconds=time.monotonic() - started), None
    role = chance.choice(sorted(by_role))
    if not kill(chance.choice(by_role[role])):
        return Round("kill", "nothing", job, "had ended before", seconds=time.monotonic() - started), tree
    killed = time.monotonic()
    while not tree.ended() and last_started(folder) == job and time.monotonic() - killed < PATIENCE_SECONDS:
        time.sleep(0.05)
    seconds = time.monotonic() - started
    if not tree.ended() and last_started(folder) != job:
        return Round("kill", role, job, "went on", seconds=seconds), tree
    if not tree.ended():
        tree.kill_all()
        return Round("kill", role, job, "hung", ("the command did not end",), seconds=seconds), None
    ended, waited = tree.wait(1), time.monotonic() - killed
    wrong = tuple(f"{name} lived on" for name in tree.survivors(ORPHAN_SECONDS))
    if role == "parent":
        return Round("kill", role, job, "killed", wrong, seconds=seconds), None
    outcome, message, more = how_it_ended(ended)
    if outcome == "told" and waited > SILENCE_SECONDS:
        outcome = "told after a silence"
    return Round("kill", role, job, outcome, wrong + more, message, seconds), None


def paid_in_vain(answers: int, at_risk: int) -> tuple[str, ...]:
    """What is wrong with a ledger of so many answers beyond the first of each question."""
    return (f"{answers} answers paid twice, {at_risk} were at risk",) if answers > at_risk else ()


def how_it_ended(ended: Ended) -> tuple[str, str, tuple[str, ...]]:
    """(outcome, message, what is wrong) of a command that was disturbed and not killed itself."""
    if ended.code == 0:
        return "went on", "", ()
    message = last_words(ended)
    wrong = []
    if ended.code not in (1, 2):
        wrong.append(f"exit code {ended.code}")
    if "Traceback (most recent call last)" in ended.errors + ended.output:
        wrong.append(f"a traceback instead of a message: {message}")
    elif not message:
        wrong.append("no message")
    return "told", message, tuple(wrong)


# Faults of the file system


def faulty_job(bench: Bench, job: str, fault: Fault, library: Path, *, mode: str = "in_memory") -> Round:
    """`job` alone under a fault, upon what the undisturbed run made before it; then the same command undisturbed.

    The LLM's server knows no idempotency keys: an answer that was stored and is asked for again stands twice in its ledger."""
    started, folder = time.monotonic(), bench.room(f"fault-{job}")
    with BadServer(fault.first, honours_keys=False, faults=0.3) as server:
        recipe = copy_up_to(bench, folder, job, server.url)
        faults = Faults(library, bench.folder / "faults", folder, fault)
        tree = run(recipe, folder, bench.folder, mode, faults.environment)
        try:
            ended = tree.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            return Round("fault", fault.name, job, "hung", ("the command did not end", *faults.where))
        wrong = tuple(f"{name} lived on" for name in tree.survivors(ORPHAN_SECONDS))
        if not faults.hit:
            shutil.rmtree(folder)
            return Round("fault", fault.name, job, "not reached", wrong, message=str(faults.calls))
        outcome, message, more = how_it_ended(ended)
        if outcome != "went on":
            ended = run(recipe, folder, bench.folder, mode).wait(PATIENCE_SECONDS)
        wrong += more + bench.wrong_at_the_end(folder, ended)
        wrong += paid_in_vain(server.paid_twice, 2 * IN_FLIGHT if job == "synthesize" else 0)
    if wrong:
        wrong += tuple(faults.where[:2])
    else:
        shutil.rmtree(folder)
    return Round("fault", fault.name, job, outcome, wrong, message, time.monotonic() - started)


def drawn_fault(kind: Kind, chance: random.Random, calls: int) -> Fault:
    """A fault at a random call of those a job is known to make; a disk is full for good, other faults pass or stay."""
    first = chance.randint(1, max(1, calls))
    if kind == "enospc":
        return Fault(kind, first, calls=0)
    if kind in ("partial", "slow"):
        return Fault(kind, 1, calls=0)
    return Fault(kind, first, calls=chance.choice((1, 1, 0)))


def copy_up_to(bench: Bench, folder: Path, job: str, url: str) -> Path:
    """A copy of the undisturbed run without `job` and what follows it, and the recipe up to that job."""
    shutil.copytree(bench.undisturbed, folder)
    order = list(bench.seconds)
    for later in order[order.index(job) :]:
        shutil.rmtree(folder / later, ignore_errors=True)
    return bench.world.recipe(folder.name, url, tuple(order[1 : order.index(job) + 1]) or ("none",))


# Torn files


@dataclass(frozen=True)
class Torn:
    """Which file is cut short: the first below the job's folder that matches, to `keep` of its bytes."""

    job: str
    pattern: str
    keep: float
    unfinished: bool = False  # the job's manifest is not there: the crash was in the middle of the job

    @property
    def name(self) -> str:
        state = "unfinished" if self.unfinished else "finished"
        return f"{self.pattern} {'emptied' if self.keep == 0 else 'cut'} ({state})"


TORN: Final = (
    Torn("extract", "_MANIFEST.json", 0.5),
    Torn("pack", "_MANIFEST.json", 0.0),
    Torn("extract", "_parts/*.json", 0.5, unfinished=True),
    Torn("filter", "_parts/*.json", 0.0, unfinished=True),
    Torn("extract", "pairs/*.parquet", 0.0),
    Torn("dedup", "pairs/*.parquet", 0.6),
    Torn("filter", "pairs/*.parquet", 0.0, unfinished=True),
    Torn("filter", "measurements/**/*.*", 0.0, unfinished=True),
    Torn("dedup", "sketches/**/*.arrow", 0.0, unfinished=True),
    Torn("decontaminate", "index/*.arrow", 0.5, unfinished=True),
    Torn("score", "_store.json", 0.0, unfinished=True),
    Torn("mine", "../embeddings/**/*.npy", 0.5, unfinished=True),
    Torn("train", "checkpoints/*/*.safetensors", 0.5, unfinished=True),
    Torn("train", "checkpoints/*/state.json", 0.0, unfinished=True),
    Torn("train", "model/model.safetensors", 0.5),
    Torn("synthesize", "questions/*.parquet", 0.0, unfinished=True),
)


def torn_file(bench: Bench, torn: Torn) -> Round:
    """The whole undisturbed run with one file cut short, then the same command. The LLM is not to be asked anything."""
    started, folder = time.monotonic(), bench.room(f"torn-{torn.job}")
    shutil.copytree(bench.undisturbed, folder)
    found = sorted(path for path in (folder / torn.job).glob(torn.pattern) if path.is_file() and path.stat().st_size)
    if not found:
        return Round("torn", torn.name, torn.job, "no such file", (f"nothing in {folder / torn.job} matches",))
    with found[0].open("r+b") as stream:
        stream.truncate(int(found[0].stat().st_size * torn.keep))
    if torn.unfinished:
        (folder / torn.job / "_MANIFEST.json").unlink()
    with BadServer(seed=0, faults=0.3) as server:
        recipe = bench.world.recipe(folder.name, server.url, bench.jobs)
        tree = run(recipe, folder, bench.folder)
        ended = tree.wait(PATIENCE_SECONDS)
        wrong = paid_in_vain(sum(server.made.values()), 0)
    outcome, message, more = how_it_ended(ended)
    wrong += tuple(f"{name} lived on" for name in tree.survivors(ORPHAN_SECONDS))
    wrong += more + bench.wrong_at_the_end(folder, ended)
    if outcome == "went on":
        outcome = "made again"
    if not wrong:
        shutil.rmtree(folder)
    return Round("torn", torn.name, torn.job, outcome, wrong, message, time.monotonic() - started)


# What a run folder says of itself


def events(folder: Path) -> Iterator[dict[str, Any]]:
    log = folder / "log.jsonl"
    for text in log.read_text("utf-8", "replace").splitlines() if log.exists() else ():
        try:
            yield json.loads(text)
        except ValueError:
            continue  # cut short by a kill


def has_started(folder: Path, job: str, told_before: int) -> bool:
    return any(
        event.get("event") == "started" and event.get("job") == job for event in list(events(folder))[told_before:]
    )


def last_started(folder: Path) -> str:
    started = [event["job"] for event in events(folder) if event.get("event") == "started"]
    return str(started[-1]) if started else "before the first job"


def job_seconds(folder: Path) -> dict[str, float]:
    """Wall seconds of each job, in order."""
    began = {event["job"]: event["time"] for event in events(folder) if event.get("event") == "started"}
    ended = {event["job"]: event["time"] for event in events(folder) if event.get("event") == "finished"}
    return {job: ended[job] - at for job, at in began.items()}


def last_words(ended: Ended) -> str:
    """What was printed last on standard error, else on standard output, in one line."""
    said = ended.errors.strip() or ended.output.strip()
    return " ".join(said.split())[-600:]


def line(done: Round) -> str:
    """A round in one line."""
    wrong = f"  WRONG: {'; '.join(done.wrong)}" if done.wrong else ""
    told = f"  ({done.message[:200]})" if done.message else ""
    return f"{done.kind} {done.what} in {done.job or 'all'}: {done.outcome}, {done.seconds:.0f} s{told}{wrong}"
