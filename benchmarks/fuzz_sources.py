"""Every source on damaged copies of real files: only our own errors, no hang, every record counted.

    python benchmarks/fuzz_sources.py DATA [--only NAME ...] [--rounds 20] [--seed 0] [--seconds 30]

DATA and the files of each source are those of bench_sources.py. Each round takes one input of the corpus (with the files
beside it), damages one of its files (cut short, bytes changed, bytes put in, a piece left out or doubled, zeros) and
reads it; of members of archives, the archive is damaged, and all of its members are read. It fails on any exception but SourceError, on reading that takes longer than the limit, on batches that are not
valid Arrow, and where more is quarantined than was counted.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_sources import CORPORA, Corpus
from rich.console import Console
from rich.table import Table

from sources.catalogue import load_source
from sources.files.archives import is_archive
from sources.files.reading import expand_paths, file_pattern
from sources.source import Source, SourceError, SourceSettings

COUNTED = ("rounds", "records", "pairs", "rejected", "quarantined", "refused", "failures")
LARGEST = 3_000_000  # bytes of a file that is damaged: larger ones are cut there first
MARKS = (
    b'"',
    b"\\",
    b"{",
    b"[",
    b"]",
    b"}",
    b"<",
    b">",
    b"&",
    b"\t",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3",
    b"]]>",
    b"{{",
)


class TookTooLong(Exception):
    pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of corpora")
    parser.add_argument("--only", nargs="+", help="these sources only")
    parser.add_argument("--rounds", type=int, default=20, help="damaged inputs of each source")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=30, help="longest time that one damaged input may take")
    arguments = parser.parse_args()
    table = Table("source", *COUNTED)
    failures = 0
    for corpus in CORPORA:
        if arguments.only and corpus.source not in arguments.only:
            continue
        counts = fuzz(corpus, arguments)
        if counts["rounds"]:
            failures += counts["failures"]
            table.add_row(corpus.source, *(f"{counts[name]:,}" for name in COUNTED))
    Console().print(table)
    return 1 if failures else 0


def fuzz(corpus: Corpus, arguments: argparse.Namespace) -> Counter[str]:
    chance = random.Random(f"{arguments.seed} {corpus.source}")
    source = load_source(corpus.source)
    settings = source.Settings(**corpus.settings)
    counts: Counter[str] = Counter()
    try:
        inputs = source.gather(expand_paths([str(arguments.data / path) for path in corpus.paths]), settings)
    except SourceError:
        return counts
    for number in range(arguments.rounds):
        file = chance.choice(inputs)
        paths = list(dict.fromkeys(file_pattern(path) for path in (file.path, *file.companions)))
        with tempfile.TemporaryDirectory(prefix="pairmill-fuzz-") as folder:
            copies = copy_input(arguments.data, paths, Path(folder))
            victim = chance.choice(copies)
            whole = victim.read_bytes()
            damage, data = damaged(whole if is_archive(str(victim)) else whole[:LARGEST], chance)
            victim.write_bytes(data)
            counts["rounds"] += 1
            try:
                with time_limit(arguments.seconds):
                    counts.update(read_all(source, settings, copies))
            except SourceError:
                counts["refused"] += 1
            except Exception:
                counts["failures"] += 1
                kept = Path(tempfile.gettempdir()) / f"fuzz-{corpus.source}-{arguments.seed}-{number}-{victim.name}"
                shutil.copy(victim, kept)
                print(f"\n{corpus.source}, round {number}, {damage} of {file.path}, kept as {kept}:", file=sys.stderr)
                traceback.print_exc(limit=-6)
    return counts


def copy_input(data: Path, paths: list[str], folder: Path) -> list[Path]:
    """Copies with the folders that they lie in: some layouts say the language there."""
    copies = []
    for path in paths:
        copy = folder / Path(path).resolve().relative_to(data.resolve())
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copies.append(copy)
    return copies


def damaged(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    if not data:
        return "nothing", b"\0"
    damage = chance.choice(DAMAGES)
    return damage.__name__, damage(data, chance)


def cut_short(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def bytes_changed(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 10, 200))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def marks_put_in(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.choice((1, 5, 30))):
        place = chance.randrange(len(data))
        data = data[:place] + chance.choice(MARKS) * chance.choice((1, 1, 50)) + data[place:]
    return data


def piece_left_out(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.randrange(1, 5000) :]


def piece_doubled(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    end = start + chance.randrange(1, 5000)
    return data[:end] + data[start:]


def zeros(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    length = min(chance.randrange(1, 5000), len(data) - start)
    return data[:start] + b"\0" * length + data[start + length :]


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    cut_short,
    bytes_changed,
    marks_put_in,
    piece_left_out,
    piece_doubled,
    zeros,
)


def read_all(source: Source, settings: SourceSettings, paths: list[Path]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for file in source.gather(expand_paths([str(path) for path in paths]), settings):
        for split in source.input_splits(file, settings, chance_target(file.path)):
            for step in source.read(split, settings):
                counts["records"] += step.records + step.lost
                counts["pairs"] += step.pairs.num_rows
                counts["rejected"] += step.rejects.num_rows
                counts["quarantined"] += step.quarantine.num_rows
                check(step)
    if counts["quarantined"] > counts["records"]:  # of all steps: a join finds later what was counted before
        raise AssertionError(f"{counts['quarantined']} quarantined of {counts['records']} records")
    return counts


def chance_target(path: str) -> int:
    """Small splits for some files, one for others."""
    return 1 << (18 if len(path) % 2 else 30)


def check(step: Any) -> None:
    for batch in (step.pairs, step.rejects, step.documents, step.quarantine):
        batch.validate(full=True)


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TookTooLong(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    sys.exit(main())
