"""What a take-down and a lineage cost on a finished run: CPU seconds, megabytes searched, peak memory.

    python benchmarks/bench_forget.py RUN [--documents 1 10] [--work FOLDER]

The run folder is copied first, by hard links where it can be; what it is copied to is taken down and deleted. Documents are those in the
middle of the largest pair shard of extract that have a URL. RUN is any run folder, such as `make demo` leaves.
"""

import argparse
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.forget.command import Choices, asked_documents, forget, lineage_of
from pipelines.run_folder import RunFolder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--documents", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--work", type=Path, help="for the copy; default: the system's temporary folder")
    asked = parser.parse_args()
    urls = urls_of(asked.run, max(asked.documents))
    size = sum(path.stat().st_size for path in asked.run.rglob("*") if path.is_file())
    print(f"{asked.run}: {pairs_of(asked.run):,} extracted pairs, {size / 1e6:,.0f} MB")
    for count in asked.documents:
        with tempfile.TemporaryDirectory(dir=asked.work) as work:
            shutil.copytree(asked.run, Path(work) / "run", copy_function=linked, symlinks=True)
            measure(RunFolder(str(Path(work) / "run")), urls[:count])


def measure(run: RunFolder, urls: list[str]) -> None:
    started = time.process_time()
    uses = len(lineage_of(run, urls, [], [], None, None).uses)
    print(f"{len(urls)} documents: lineage {time.process_time() - started:.2f} CPU s, {uses:,} places")
    started = time.process_time()
    done = forget(run, asked_documents(urls, [], None, None), Choices())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{len(urls)} documents: forget {time.process_time() - started:.2f} CPU s, {done.swept.files:,} files searched, "
        f"{done.rows:,} rows and {done.vectors:,} vectors removed, {len(done.left)} places left, peak {peak:,} MB"
    )


def linked(source: str, target: str) -> None:
    """Files are replaced, never changed, but for the logs, the lock and the answers' database."""
    if source.endswith((".parquet", ".npy", ".safetensors", ".arrow")):
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy2(source, target)
    else:
        shutil.copy2(source, target)


def urls_of(run: Path, count: int) -> list[str]:
    for shard in sorted((run / "extract" / "pairs").glob("*.parquet"), key=lambda path: -path.stat().st_size):
        found = pc.unique(pq.read_table(shard, columns=["url"])["url"].drop_null()).to_pylist()
        if len(found) >= count:
            return found[len(found) // 2 :][:count]
    raise SystemExit(f"No pair shard of {run} has {count} documents with a URL.")


def pairs_of(run: Path) -> int:
    return sum(pq.ParquetFile(path).metadata.num_rows for path in (run / "extract" / "pairs").glob("*.parquet"))


if __name__ == "__main__":
    main()
