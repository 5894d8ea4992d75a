"""The dedup job on many short pairs: peak memory of all its processes together, CPU seconds, and planted copies found.

    python benchmarks/bench_dedup.py DATA [--pairs 250000 1000000 4000000] [--seed 0] [--workers 1] [--set near=null]

DATA/debian_ddtp/Translation-en.gz holds descriptions of packages: the short one is a query, the beginning of the long one
the positive (3 to 30 words each). They are multiplied: each further pair is one of them with half of the words of both sides
replaced by words of others. One pair in twenty is a planted near-duplicate instead: a pair before it with one letter of each
side replaced. The job runs as `pairmill run` starts it, in a process of its own; memory is the most that it and its workers
had resident at one moment (mapped files included), read every 50 ms.
"""

import argparse
import gzip
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from pipelines.job import PAIRS
from pipelines.manifest import Manifest, read_manifest, write_manifest
from pipelines.recipe import dump_recipe, parse_recipe
from pipelines.shards import REJECTS, ShardWriter
from sources.schema import PAIR, make_pairs

ROWS_PER_SHARD = 250_000
PLANTED = 0.05
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAGE = os.sysconf("SC_PAGE_SIZE")
LINEAR = 1.3
SIZES = ("query_cluster_size", "positive_cluster_size")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=int, nargs="+", default=[250_000, 1_000_000, 4_000_000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", dest="settings", action="append", default=[], help="a setting of dedup, KEY=YAML")
    arguments = parser.parse_args()
    settings = {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in arguments.settings)}
    texts = list(read_descriptions(arguments.data / "debian_ddtp" / "Translation-en.gz"))
    print(
        f"{len(texts):,} real pairs; {'pairs':>10} {'peak MB':>8} {'CPU s':>7} {'wall s':>7} {'us/pair':>8} planted copies found"
    )
    first = None
    for pairs in arguments.pairs:
        with tempfile.TemporaryDirectory() as folder:
            planted = write_pairs(Path(folder), texts, pairs, arguments.seed)
            megabytes, cpu, wall = run_dedup(Path(folder), settings, arguments.workers)
            found = planted_found(Path(folder))
        each = cpu / pairs * 1e6
        first = first or each
        growth = "" if each <= LINEAR * first else f"  more than {LINEAR} x linear"
        print(
            f"{'':>18}{pairs:>10,} {megabytes:>8,.0f} {cpu:>7.1f} {wall:>7.1f} {each:>8.1f} {found / planted:.4f}{growth}",
            flush=True,
        )


def read_descriptions(file: Path) -> Iterator[tuple[list[str], list[str]]]:
    """The words of each package's short description and of the beginning of its long one."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for block in lines.read().split("\n\n"):
            _, _, description = block.partition("Description-en: ")
            short, _, long = description.partition("\n")
            query, positive = short.split(), long.split()[:30]
            if len(query) >= 3 and len(positive) >= 3:
                yield query, positive


def write_pairs(folder: Path, texts: list[tuple[list[str], list[str]]], pairs: int, seed: int) -> int:
    """Write what extract would have written; returns how many copies were planted."""
    pick = random.Random(seed)
    words = [word for query, positive in texts for word in (*query, *positive)]
    files, planted, recent = [], 0, []
    for first in range(0, pairs, ROWS_PER_SHARD):
        rows = []
        for number in range(first, min(pairs, first + ROWS_PER_SHARD)):
            if recent and pick.random() < PLANTED:
                query, positive = (edited(text, pick) for text in pick.choice(recent))
                rows.append((query, positive, f"planted {number}"))
                planted += 1
                continue
            query, positive = (rewritten(text, words, pick, number < len(texts)) for text in texts[number % len(texts)])
            rows.append((query, positive, f"document {number}"))
            if number % 10 == 0:
                recent.append((query, positive))
        query, positive, document = zip(*rows, strict=True)
        batch, _ = make_pairs(
            query=query,
            positive=positive,
            kind="title_body",
            source="synthetic",
            document_id=document,
            query_lang="eng_Latn",
        )
        with ShardWriter(f"{folder}/extract", PAIRS, f"{first:010}", PAIR) as writer:
            writer.write(batch)
        files.append(writer.file)
    counts = {"rows_in": pairs, "rows_out": pairs, "dropped": {}, "funnel": {}}
    made = Manifest(
        job="extract", pairmill="0", fingerprint="e", settings={}, inputs=[], files=[f for f in files if f], **counts
    )
    write_manifest(f"{folder}/extract", made)
    return planted


def rewritten(text: list[str], words: list[str], pick: random.Random, as_it_is: bool) -> str:
    if as_it_is:
        return " ".join(text)
    return " ".join(pick.choice(words) if pick.random() < 0.5 else word for word in text)


def edited(text: str, pick: random.Random) -> str:
    place = pick.randrange(len(text))
    return text[:place] + pick.choice(LETTERS) + text[place + 1 :]


def run_dedup(folder: Path, settings: dict[str, object], workers: int) -> tuple[float, float, float]:
    """Peak megabytes, CPU seconds and wall seconds of the job's process and those it started."""
    runner = {"mode": "multi_processing" if workers > 1 else "in_memory", "workers": workers}
    content = {"name": "t", "sources": [{"source": "jsonl", "paths": ["none"]}], "dedup": settings, "runner": runner}
    recipe = folder / "recipe.yaml"
    recipe.write_text(dump_recipe(parse_recipe(yaml.safe_dump(content), "bench.yaml")))
    started = time.monotonic()
    command = [sys.executable, "-m", "pipelines.job_process", str(recipe), str(folder), "dedup"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    peak = [0.0]
    watch = threading.Thread(target=watch_memory, args=(process.pid, peak))
    watch.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    watch.join()
    if process.returncode:
        raise SystemExit("the dedup job failed")
    return peak[0], usage.ru_utime + usage.ru_stime, time.monotonic() - started


def watch_memory(process: int, peak: list[float]) -> None:
    while Path(f"/proc/{process}/statm").exists() and (pages := tree_pages(process)):
        peak[0] = max(peak[0], pages * PAGE / 1e6)
        time.sleep(0.05)


def tree_pages(process: int) -> int:
    """Resident pages of a process and all below it."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        tasks = Path(f"/proc/{process}/task").iterdir()
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages + sum(tree_pages(int(child)) for child in children)


def planted_found(folder: Path) -> int:
    """Planted copies that are in a cluster with others on both sides."""
    manifest = read_manifest(str(folder / "dedup"))
    if manifest is None:
        raise SystemExit("the dedup job wrote no manifest")
    found = 0
    for file in manifest.files_of(PAIRS, REJECTS):
        table = pq.read_table(folder / "dedup" / file.path, columns=["document_id", *SIZES])
        planted = table.filter(pc.starts_with(table["document_id"], "planted"))
        found += pc.sum(pc.and_(*(pc.greater(planted[size], 1) for size in SIZES))).as_py() or 0
    return found


if __name__ == "__main__":
    main()
