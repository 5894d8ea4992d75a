"""Deciding again with other thresholds against measuring: CPU seconds of the functions of the filter job.

    python benchmarks/bench_redecide.py DATA [--pairs 60000] [--rounds 3] [--preset c-mtp]

DATA is the folder of corpora that bench_sources.py reads. Passages with their questions (squad and its relatives) and
short parallel sentences (opus_moses) are written as one pair shard each, in a temporary folder. Measured of each:

    measure       pairs read, measured, decided on, measurements kept
    re-decide     other thresholds: measurements read, decided on
    whole job     the same with the kept pairs and the rejects written, as the job does it

Medians of the rounds after one that compiles; the ratio compares measuring and its file with reading it and deciding.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from bench_sources import CORPORA
from rich.console import Console
from rich.table import Table

from filters.decide import decide
from filters.measure import deciding_columns, measure
from filters.settings import FilterSettings
from pipelines.jobs.filter import measured_families, write_filtered
from pipelines.measured import Measuring, with_measurements
from pipelines.shards import ShardWriter, read_batches
from sources.catalogue import load_source
from sources.files.reading import expand_paths
from sources.schema import PAIR, pair_ids

SOURCES = ("squad", "opus_moses")
OTHER = {"min_query_characters": 4, "max_digit_share": 0.4, "min_letter_share": 0.5, "max_passage_digit_share": 0.2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset", default="c-mtp")
    arguments = parser.parse_args()
    settings = FilterSettings(preset=arguments.preset)
    changed = FilterSettings.model_validate({"preset": arguments.preset, **OTHER})
    columns = ("pairs of", "pairs", "MB", "measure", "re-decide", "ratio", "whole job, measuring", "again", "ratio")
    table = Table(*columns, title="CPU seconds")
    for source in SOURCES:
        with tempfile.TemporaryDirectory() as folder:
            rows, size = write_pairs(arguments.data, source, folder, arguments.pairs)
            times = [
                one_round(f"{folder}/{number}", f"{folder}/pairs/a.parquet", settings, changed)
                for number in range(arguments.rounds + 1)
            ]
            measuring, deciding, job, again = (statistics.median(each) for each in zip(*times[1:], strict=True))
            ratios = f"{measuring / deciding:.1f}", f"{job / again:.1f}"
            table.add_row(
                source,
                f"{rows:,}",
                f"{size / 1e6:.1f}",
                f"{measuring:.2f}",
                f"{deciding:.3f}",
                ratios[0],
                f"{job:.2f}",
                f"{again:.2f}",
                ratios[1],
            )
    Console(width=140).print(table)


def write_pairs(data: Path, source: str, folder: str, wanted: int) -> tuple[int, int]:
    """One shard of `wanted` pairs; a small corpus is repeated, under other ids. Returns rows and bytes of text."""
    batches = [batch for batch in read_source(data, source) if batch.num_rows]
    size = 0
    with ShardWriter(folder, "pairs", "a", PAIR) as writer:
        written = copy = 0
        while written < wanted:
            for batch in batches:
                rows = renamed(batch.slice(0, wanted - written), copy)
                writer.write(rows)
                written += rows.num_rows
                size += sum(rows[side].get_total_buffer_size() for side in ("query", "positive"))
            copy += 1
    return written, size


def read_source(data: Path, name: str) -> Iterator[pa.RecordBatch]:
    source = load_source(name)
    for corpus in CORPORA:
        if corpus.source == name:
            settings = source.Settings(**corpus.settings)
            paths = [str(data / path) for path in corpus.paths if list(data.glob(path.split("!", 1)[0]))]
            for file in source.gather(expand_paths(paths), settings):
                for split in source.input_splits(file, settings, 2**30):
                    yield from (extracted.pairs for extracted in source.read(split, settings))


def renamed(batch: pa.RecordBatch, copy: int) -> pa.RecordBatch:
    documents = pc.binary_join_element_wise(batch["document_id"], str(copy), "-")
    ids = pair_ids(batch["source"], documents, batch["kind"], batch["query"], batch["positive"])
    batch = batch.set_column(PAIR.get_field_index("document_id"), PAIR.field("document_id"), documents)
    return batch.set_column(PAIR.get_field_index("pair_id"), PAIR.field("pair_id"), ids)


def one_round(folder: str, url: str, settings: FilterSettings, changed: FilterSettings) -> list[float]:
    """CPU seconds: measuring, deciding again, the job's task that measures, and that which decides again."""
    progress: Any = SimpleNamespace(beat=lambda rows: None)
    keys = {"text": "1", "language": "1", "web": "1", "junk": "1", "pair": "1", "order": "1"}
    reading = cpu_seconds(lambda: [None for _ in read_batches(url)])
    task: Any = SimpleNamespace(name="a", fingerprint="1", payload=(url, keys))
    return [
        cpu_seconds(partial(run_through, f"{folder}/alone", url, settings, settings)) - reading,
        cpu_seconds(partial(run_through, f"{folder}/alone", url, settings, changed)) - reading,
        cpu_seconds(partial(write_filtered, f"{folder}/job", settings, task, progress)),
        cpu_seconds(partial(write_filtered, f"{folder}/job", changed, task, progress)),
    ]


def run_through(folder: str, url: str, measured_by: FilterSettings, decided_by: FilterSettings) -> None:
    families = []
    nothing = pa.RecordBatch.from_pylist([], PAIR)
    for family in sorted(measured_families(measured_by) - {"likeness"}):
        wanted = {"text", "likeness"} if family == "text" else {family}
        measure_family = partial(measure, settings=measured_by, families=wanted)
        needed = deciding_columns(decided_by)
        families.append(Measuring(f"a.{family}", "1", measure_family(nothing).schema, measure_family, needed))
    for batch, measured in with_measurements(folder, url, families):
        decide(measured, decided_by, batch["kind"], batch["query_lang"], batch["positive_lang"])


def cpu_seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
