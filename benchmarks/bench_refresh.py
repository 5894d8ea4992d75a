"""A refresh against a run from scratch: seconds, CPU seconds and bytes.

    python benchmarks/bench_refresh.py DATA --model MODEL --work WORK [--pairs 200000] [--share 0.05] [--files 100]

DATA is the folder of corpora that bench_sources.py reads, and debian_ddtp's descriptions. Their pairs are written as many
files of JSON lines, each a run of one corpus, in an order drawn by the seed; the last SHARE of the files are those that come
later. Then, with a recipe of extract, filter, dedup, score, mine and pack, all in WORK:

    before    a run over the files that were there first
    refresh   the same run folder, all files
    scratch   another run folder, all files
    nothing   the run folder of the refresh again

Printed are the seconds and CPU seconds (children included) of each job, the ratio of refresh to scratch, and whether the
files of dedup, mine and pack (exports included) are the same bytes in both folders. Exits with 1 where they are not.
"""

import argparse
import gzip
import random
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
from bench_sources import CORPORA
from rich.console import Console
from rich.table import Table

from pipelines.launcher import Event, run_recipe
from pipelines.manifest import read_manifest
from pipelines.recipe import Recipe, parse_recipe
from pipelines.run_folder import RunFolder
from sources.catalogue import load_source
from sources.files.reading import expand_paths

COMPARED: Final = ("dedup", "mine", "pack")
CORPORA_USED: Final = (
    "aligned_lines",
    "squad",
    "beir",
    "opus_moses",
    "chinese_poetry",
    "cmrc2018",
    "cmedical_dialogue",
)
FIELDS: Final = ("query", "positive", "kind", "query_lang", "positive_lang", "document_id")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", required=True, help="folder of the encoder, whose tokenizer pack uses too")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-refresh", action="store_true", help="no run from scratch, nothing is compared")
    parser.add_argument(
        "--again", action="store_true", help="WORK has the files and the run before from an earlier call"
    )
    arguments = parser.parse_args()
    work: Path = arguments.work
    if not arguments.again:
        rows = write_corpus(arguments.data, work / "all", arguments.pairs, arguments.files, arguments.seed)
        print(f"{rows:,} pairs in {len(list((work / 'all').glob('*.jsonl')))} files")
        divide(work, arguments.share, arguments.seed)
    timings: dict[str, dict[str, Timing]] = {}
    run = work / "run"
    if not arguments.again:
        timings["before"] = timed_run(recipe(work / "now", arguments.model), run)
        shutil.copytree(work / "run", work / "run-before", symlinks=True)
    else:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(work / "run-before", run, symlinks=True)
        for late in (work / "later").glob("*.jsonl"):
            (work / "now" / late.name).unlink(missing_ok=True)
    for late in (work / "later").glob("*.jsonl"):
        shutil.copy2(late, work / "now" / late.name)
    timings["refresh"] = timed_run(recipe(work / "now", arguments.model), run)
    if not arguments.only_refresh:
        timings["scratch"] = timed_run(recipe(work / "now", arguments.model), work / "scratch")
    timings["nothing"] = timed_run(recipe(work / "now", arguments.model), run)
    show(timings)
    if not arguments.only_refresh:
        sys.exit(compare(run, work / "scratch"))


def write_corpus(data: Path, folder: Path, wanted: int, files: int, seed: int) -> int:
    """Write `wanted` pairs (or as many as there are) as files of one corpus each; returns how many."""
    folder.mkdir(parents=True)
    per_file = -(-wanted // files)
    runs: list[list[Row]] = []
    for rows in read_corpora(data):
        runs += [rows[start : start + per_file] for start in range(0, len(rows), per_file)]
    random.Random(seed).shuffle(runs)
    written = 0
    for number, run in enumerate(runs):
        if written >= wanted:
            break
        lines = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in run)
        (folder / f"{run[0]['kind']}-{number:05d}.jsonl").write_bytes(lines)
        written += len(run)
    return written


def read_corpora(data: Path) -> Iterator[list[Row]]:
    """The pairs of each corpus, in its own order."""
    yield list(read_descriptions(data / "debian_ddtp" / "Translation-en.gz"))
    for corpus in (corpus for corpus in CORPORA if corpus.source in CORPORA_USED):
        if any("corpus_layouts" in path for path in corpus.paths):
            continue
        source = load_source(corpus.source)
        settings = source.Settings(**corpus.settings)
        rows: list[Row] = []
        for file in source.gather(expand_paths([str(data / path) for path in corpus.paths]), settings):
            for split in source.input_splits(file, settings, 2**27):
                for found in source.read(split, settings):
                    rows += pa.Table.from_batches([found.pairs]).select(list(FIELDS)).to_pylist()
        yield rows


def read_descriptions(file: Path) -> Iterator[Row]:
    """The short description of each package as a title of its long one."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for block in lines.read().split("\n\n"):
            name = block.partition("Package: ")[2].partition("\n")[0]
            short, _, long = block.partition("Description-en: ")[2].partition("\n")
            if short.strip() and long.strip():
                texts = {"query": short.strip(), "positive": " ".join(long.split())[:2000]}
                yield texts | {
                    "kind": "title_body",
                    "query_lang": "eng_Latn",
                    "positive_lang": "eng_Latn",
                    "document_id": name,
                }


def divide(work: Path, share: float, seed: int) -> None:
    """The files that are there first (now) and those that come later."""
    files = sorted((work / "all").glob("*.jsonl"))
    random.Random(seed).shuffle(files)
    later = max(1, round(share * len(files)))
    for name, part in (("now", files[later:]), ("later", files[:later])):
        (work / name).mkdir()
        for file in part:
            shutil.copy2(file, work / name / file.name)


def recipe(folder: Path, model: str) -> Recipe:
    encoder = {"model": model, "max_query_length": 64, "max_passage_length": 128}
    kinds = sorted({path.name.rsplit("-", 1)[0] for path in folder.parent.joinpath("all").glob("*.jsonl")})
    sources = [
        {
            "source": "jsonl",
            "label": kind,
            "paths": [str(folder / f"{kind}-*.jsonl")],
            "kind": kind,
            "document_id": "document_id",
            "query_language_field": "query_lang",
            "positive_language_field": "positive_lang",
        }
        for kind in kinds
    ]
    return parse_recipe(
        orjson.dumps(
            {
                "name": "refresh",
                "seed": 1,
                "sources": sources,
                "filter": {"preset": "bge-m3"},
                "dedup": {"max_pairs_per_query": 2, "max_pairs_per_positive": 4, "held_out_share": 0.02},
                "score": {"encoder": encoder, "threshold": 0.1},
                "mine": {"encoder": encoder},
                "pack": {"model": model},
            }
        ).decode(),
        "refresh",
    )


@dataclass
class Timing:
    """Of one job."""

    seconds: float = 0.0
    cpu: float = 0.0
    skipped: bool = False


@dataclass
class Clock:
    """Seconds and CPU seconds of the jobs of a run, from its events."""

    jobs: dict[str, Timing] = field(default_factory=dict)
    _last: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        self._last = (time.monotonic(), cpu_seconds())

    def __call__(self, event: Event) -> None:
        if event.kind in ("finished", "skipped", "failed"):
            now = (time.monotonic(), cpu_seconds())
            self.jobs[event.job] = Timing(now[0] - self._last[0], now[1] - self._last[1], event.kind == "skipped")
            self._last = now


def cpu_seconds() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)


def timed_run(recipe: Recipe, folder: Path) -> dict[str, Timing]:
    clock = Clock()
    clock.start()
    run_recipe(recipe, RunFolder(str(folder.resolve())), clock)
    return clock.jobs


def show(timings: dict[str, dict[str, Timing]]) -> None:
    table = Table("job", *(f"{name}: s, CPU s" for name in timings))
    jobs = next(iter(timings.values()))
    for job in jobs:
        table.add_row(job, *(_times(each[job]) for each in timings.values()))
    totals = {
        name: Timing(sum(each.seconds for each in jobs.values()), sum(each.cpu for each in jobs.values()))
        for name, jobs in timings.items()
    }
    table.add_row("all", *(_times(each) for each in totals.values()))
    Console(width=150).print(table)
    if "scratch" in totals and "refresh" in totals:
        refresh, scratch = totals["refresh"], totals["scratch"]
        print(
            f"refresh / scratch: {refresh.seconds / scratch.seconds:.1%} of the seconds, {refresh.cpu / scratch.cpu:.1%} of the CPU seconds"
        )


def _times(timing: Timing) -> str:
    return "-" if timing.skipped else f"{timing.seconds:.1f}, {timing.cpu:.1f}"


def compare(refreshed: Path, scratch: Path) -> int:
    """How many jobs differ in the files that their manifests name."""
    differing = 0
    for job in COMPARED:
        files = []
        for folder in (refreshed, scratch):
            manifest = read_manifest(str(folder / job))
            assert manifest is not None
            files.append({file.path: file.sha256 for file in manifest.files})
        different = sorted(
            path for path in files[0].keys() | files[1].keys() if files[0].get(path) != files[1].get(path)
        )
        print(f"{job}: {len(files[1])} files, {len(different)} of other bytes {different[:5]}")
        differing += bool(different)
    return differing


if __name__ == "__main__":
    main()
