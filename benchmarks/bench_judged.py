"""A source of judgements on a made-up collection: speed of the pass over it, and memory with so many wanted passages.

    python benchmarks/bench_judged.py [--passages 2000000] [--wanted 1000000] [--negatives 0]

Writes a collection like MS MARCO's (about 370 bytes a passage) to a temporary folder, judges `--wanted` of its passages
and reads the pairs in a process of its own. Memory is the largest resident size of that process.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS_OF_A_SENTENCE = 28


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=2_000_000, help="passages of the collection")
    parser.add_argument("--wanted", type=int, default=1_000_000, help="passages judged relevant, each for one query")
    parser.add_argument("--negatives", type=int, default=0, help="triples of ids a judgement")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(Path(arguments.read))))
        return
    with tempfile.TemporaryDirectory() as folder:
        size = write(Path(folder), arguments.passages, arguments.wanted, arguments.negatives)
        command = [sys.executable, __file__, "--read", folder]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{arguments.passages:,} passages, {size / 1e6:,.0f} MB, {arguments.wanted:,} wanted")
    print(f"collection and all before it {found['until_pairs']:.1f} s, {size / 1e6 / found['until_pairs']:.0f} MB/s")
    print(f"{found['pairs']:,} pairs in {found['of_pairs']:.1f} s, {found['pairs'] / found['of_pairs']:,.0f} a second")
    print(f"memory {found['megabytes']} MB at most")


def write(folder: Path, passages: int, wanted: int, negatives: int) -> int:
    """The files of a set; returns the bytes of the collection."""
    chance = random.Random(2)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(20_000)]
    sentences = [" ".join(chance.choices(words, k=WORDS_OF_A_SENTENCE)) for _ in range(5000)]
    queries = max(1, wanted * 2 // 5)
    with (folder / "collection.tsv").open("w") as file:
        for number in range(passages):
            file.write(f"{number}\t{chance.choice(sentences)} {chance.choice(sentences)}\n")
    with (folder / "queries.train.tsv").open("w") as file:
        file.writelines(f"{number}\t{chance.choice(sentences)[:40]} {number}\n" for number in range(queries))
    judged = [(chance.randrange(queries), passage) for passage in chance.sample(range(passages), wanted)]
    with (folder / "qrels.train.tsv").open("w") as file:
        file.writelines(f"{query}\t0\t{passage}\t1\n" for query, passage in judged)
    if negatives:
        with (folder / "qidpidtriples.train.full.2.tsv").open("w") as file:
            for query, passage in judged * negatives:
                file.write(f"{query}\t{passage}\t{chance.randrange(passages)}\n")
    return (folder / "collection.tsv").stat().st_size


def read(folder: Path) -> dict[str, float]:
    """Reads all pairs; seconds until the first and from there, and the largest resident size."""
    from sources.catalogue import load_source
    from sources.files.reading import expand_paths

    source = load_source("msmarco")
    settings = source.Settings()
    started = time.perf_counter()
    first = 0.0
    pairs = 0
    for file in source.gather(expand_paths([str(folder)]), settings):
        for split in source.input_splits(file, settings, 1 << 27):
            for step in source.read(split, settings):
                if step.pairs.num_rows and not pairs:
                    first = time.perf_counter()
                pairs += step.pairs.num_rows
    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // scale
    return {
        "pairs": pairs,
        "until_pairs": first - started,
        "of_pairs": time.perf_counter() - first,
        "megabytes": peak,
    }


if __name__ == "__main__":
    main()
