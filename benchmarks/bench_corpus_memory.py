"""What a retrieval set costs to load: CPU seconds and peak memory, for made-up corpora of several sizes.

    python benchmarks/bench_corpus_memory.py FOLDER --passages 100000 1000000 [--characters 400]

The corpora are written into FOLDER (about 1.1 times the texts; left there for the next time) in random order of ids, so
that loading sorts them. Each size is loaded in a process of its own.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--passages", type=int, nargs="+", default=[100_000, 1_000_000])
    arguments.add_argument("--characters", type=int, default=400, help="of each passage")
    arguments.add_argument("--load", action="store_true", help="load FOLDER and tell what it took")
    chosen = arguments.parse_args()
    if chosen.load:
        print(json.dumps(loaded(chosen.folder)))
        return
    for count in chosen.passages:
        folder = chosen.folder / f"{count}-{chosen.characters}"
        if not folder.exists():
            write_set(folder, count, chosen.characters)
        told = subprocess.run(
            [sys.executable, __file__, str(folder), "--load"], check=True, capture_output=True, text=True
        )
        print(f"{count:>10,} passages: {told.stdout.strip()}")


def write_set(folder: Path, count: int, characters: int) -> None:
    """A folder in BEIR's layout."""
    (folder / "qrels").mkdir(parents=True)
    numbers = list(range(count))
    random.Random(0).shuffle(numbers)
    with (folder / "corpus.jsonl").open("w") as corpus:
        for number in numbers:
            text = (f"word{number} " * (characters // 5))[:characters]
            corpus.write(f'{{"_id": "{number}#{number % 50}", "title": "title {number}", "text": "{text}"}}\n')
    queries = range(min(count, 1000))
    (folder / "queries.jsonl").write_text("".join(f'{{"_id": "q{n}", "text": "word{n}"}}\n' for n in queries))
    (folder / "qrels" / "test.tsv").write_text("".join(f"q{n}\t{n}#{n % 50}\t1\n" for n in queries))


def loaded(folder: Path) -> dict[str, float]:
    """CPU seconds, and the peak of this process before and after."""
    from trainer.evaluate import load_beir

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    start = time.process_time()
    data = load_beir(folder)
    seconds = time.process_time() - start
    assert data.fingerprint
    return {
        "cpu_seconds": round(seconds, 1),
        "peak_mib_before": before,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    main()
