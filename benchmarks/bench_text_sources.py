"""Megabytes of text that sources of long texts read in a CPU second, on synthetic files of their layouts.

    python benchmarks/bench_text_sources.py [--megabytes 40] [--runs 3] [--seed 0]

Each source reads its file once to warm up; the best of the runs is told, for one process, from the file to batches of pairs.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sources.catalogue import load_source

PARAGRAPH_WORDS, PARAGRAPHS = 60, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=40, help="size of each file")
    parser.add_argument("--runs", type=int, default=3, help="measured runs of each source")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    table = Table("source", "file", "MB", "pairs", "MB/s")
    with tempfile.TemporaryDirectory(prefix="pairmill-bench-") as folder:
        for name, file in write_files(Path(folder), arguments.megabytes, random.Random(arguments.seed)).items():
            seconds, pairs = min(read_once(name, file) for _ in range(arguments.runs + 1))
            megabytes = file.stat().st_size / 1e6
            table.add_row(name, file.name, f"{megabytes:.0f}", f"{pairs:,}", f"{megabytes / seconds:.0f}")
    Console().print(table)


def write_files(folder: Path, megabytes: int, chance: random.Random) -> dict[str, Path]:
    """A file of each source: texts of a first line of eight words and six paragraphs."""
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(5000)]

    def line(length: int) -> str:
        return " ".join(chance.choices(words, k=length))

    texts, size = [], 0
    while size < megabytes * 10**6:
        texts.append("\n".join([line(8), *(f"{line(PARAGRAPH_WORDS)}." for _ in range(PARAGRAPHS))]))
        size += len(texts[-1])
    contents = {
        "cc100": ("en.txt", "\n\n".join(texts)),
        "mc4": ("c4-en.tfrecord-00000-of-00001.json", lines({"text": text, "url": ""} for text in texts)),
        "news2016zh": ("news2016zh_train.json", lines({"title": text[:40], "content": text} for text in texts)),
        "wiki_extractor": (
            "wiki_00",
            lines({"id": str(n), "url": "", "title": f"T {n}", "text": text} for n, text in enumerate(texts)),
        ),
        "jsonl": ("pairs.jsonl", lines({"query": text[:40], "positive": text} for text in texts)),
    }
    for file, content in contents.values():
        (folder / file).write_text(content, encoding="utf-8")
    return {name: folder / file for name, (file, _) in contents.items()}


def lines(records: Iterable[dict[str, str]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def read_once(name: str, file: Path) -> tuple[float, int]:
    """CPU seconds and pairs of one reading."""
    source = load_source(name)
    settings = source.Settings()
    started = time.process_time()
    pairs = sum(
        step.pairs.num_rows
        for given in source.gather([str(file)], settings)
        for split in source.input_splits(given, settings, 1 << 40)
        for step in source.read(split, settings)
    )
    return time.process_time() - started, pairs


if __name__ == "__main__":
    main()
