"""The filter job with one worker process and with two: seconds on the clock, and the same bytes.

    python benchmarks/bench_filter_workers.py DATA [--pairs 800000] [--shards 16] [--rounds 3] [--preset c-mtp]

DATA is the folder of corpora that bench_sources.py reads: passages with their questions and short parallel sentences,
in equal numbers, repeated until there are enough. The pairs are laid down as the shards of a finished extract job in a
temporary run folder; then the filter job runs as a user runs it, in a process of its own, start-up included. To be run
on a quiet machine with at least two cores. Fails where the two write different bytes.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from bench_redecide import read_source, renamed
from rich.console import Console
from rich.table import Table

from pipelines.job import PAIRS
from pipelines.launcher import run_recipe
from pipelines.manifest import Manifest, read_manifest, write_manifest
from pipelines.recipe import Recipe, parse_recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import ShardFile, ShardWriter
from sources.schema import PAIR


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=int, default=800_000)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset", default="c-mtp")
    arguments = parser.parse_args()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    written: set[tuple[str, ...]] = set()
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        files = write_shards(arguments.data, run.job("extract"), arguments.pairs, arguments.shards)
        for number in range(arguments.rounds + 1):
            for workers, measured in seconds.items():
                shutil.rmtree(run.job("filter"), ignore_errors=True)
                manifest, taken = run_filter(run, recipe(arguments.preset, workers), files)
                written.add(tuple(file.sha256 for file in manifest.files))
                if number:  # the first round compiles
                    measured.append(taken)
    if len(written) != 1:
        raise SystemExit("One worker and two wrote different bytes.")
    one, two = (statistics.median(each) for each in seconds.values())
    table = Table("pairs", "shards", "MB of shards", "1 worker, s", "2 workers, s", "ratio", title="filter job")
    size = sum(file.bytes for file in files) / 1e6
    table.add_row(
        f"{arguments.pairs:,}", str(arguments.shards), f"{size:.0f}", f"{one:.1f}", f"{two:.1f}", f"{one / two:.2f}"
    )
    Console().print(table)


def recipe(preset: str, workers: int) -> Recipe:
    mode = "multi_processing" if workers > 1 else "in_memory"
    source = "{source: jsonl, paths: [none.jsonl]}"
    text = f"name: bench\nsources: [{source}]\nfilter: {{preset: {preset}}}\nrunner: {{mode: {mode}, workers: {workers}}}\n"
    return parse_recipe(text, "bench.yaml")


def write_shards(data: Path, folder: str, wanted: int, shards: int) -> list[ShardFile]:
    """Shards of equal numbers of pairs, each of both corpora."""
    corpora = [[batch for batch in read_source(data, name) if batch.num_rows] for name in ("squad", "opus_moses")]
    files = []
    each = wanted // shards // len(corpora)
    for number in range(shards):
        with ShardWriter(folder, PAIRS, f"{number:05d}", PAIR) as writer:
            for corpus in corpora:
                left, place = each, number * len(corpus) // shards
                while left:
                    batch = renamed(corpus[place % len(corpus)].slice(0, left), number * 1000 + place)
                    writer.write(batch)
                    left, place = left - batch.num_rows, place + 1
        assert writer.file is not None
        files.append(writer.file)
    return files


def run_filter(run: RunFolder, of: Recipe, files: list[ShardFile]) -> tuple[Manifest, float]:
    """The filter job over the shards as those of a finished extract job: its manifest, and seconds on the clock."""
    rows = sum(file.rows for file in files)
    counts = {"rows_in": rows, "rows_out": rows, "dropped": {}, "funnel": {}}
    extracted = {"job": "extract", "pairmill": "", "fingerprint": "", "settings": {}, "inputs": [], "files": files}
    write_manifest(run.job("extract"), Manifest.model_validate(extracted | counts))
    started = time.monotonic()
    run_recipe(of, run, lambda event: None, ["filter"])
    seconds = time.monotonic() - started
    manifest = read_manifest(run.job("filter"))
    assert manifest is not None
    return manifest, seconds


if __name__ == "__main__":
    main()
