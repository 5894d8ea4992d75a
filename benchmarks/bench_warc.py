"""Pages of web archives: the source cc_news_warc beside datatrove's WarcReader with the same extractor.

    python benchmarks/bench_warc.py FOLDER [--peer PYTHON_WITH_DATATROVE] [--megabytes 200] [--runs 3]

The .warc.gz files below FOLDER are written one after the other into one file, over and over up to so many MB of
decompressed records. Both read it from the disk and find the main text by Resiliparse with the settings that the source has by
default (main_content, preserve_formatting, no list bullets, no alternative texts). The source also checks that a page is
no trap, and makes titles, languages, ids and tidy pairs; WarcReader and the extractor do not. CPU seconds (user and system)
are those of a whole process, the median of the runs, in which both take turns; `start-up` is what of them the first of
the files takes alone.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from sources.files.reading import ByteStream

SOURCE = """
import json, sys
from sources.catalogue import load_source
source = load_source("cc_news_warc")
settings = source.Settings()
pages = characters = 0
for file in source.gather([sys.argv[1]], settings):
    for split in source.input_splits(file, settings, 1 << 40):
        for step in source.read(split, settings):
            pages += step.pairs.num_rows
            characters += sum(map(len, step.pairs["positive"].to_pylist()))
print(json.dumps([pages, characters]))
"""
DATATROVE = """
import json, os, sys
from datatrove.pipeline.readers import WarcReader
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree
folder, name = os.path.split(sys.argv[1])
pages = characters = 0
for document in WarcReader(folder, glob_pattern=name)(None):
    text = extract_plain_text(
        HTMLTree.parse(document.text), preserve_formatting=True, main_content=True, list_bullets=False, alt_texts=False
    )
    if len(text) >= 200:
        pages += 1
        characters += len(text)
print(json.dumps([pages, characters]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder with .warc.gz files")
    parser.add_argument("--peer", default=sys.executable, help="interpreter that has datatrove and resiliparse")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the archive that both read")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pairmill-bench-") as folder:
        archive = Path(folder) / "pages.warc.gz"
        megabytes = write_archive(arguments.folder, archive, arguments.megabytes)
        first = Path(folder) / "first.warc.gz"
        first.write_bytes(warc_files(arguments.folder)[0].read_bytes())
        readers = {"pairmill": (sys.executable, SOURCE), "datatrove": (arguments.peer, DATATROVE)}
        rounds = [
            {name: measured(python, code, archive) for name, (python, code) in readers.items()}
            for _ in range(arguments.runs)
        ]
        started = {name: measured(python, code, first)[0] for name, (python, code) in readers.items()}
    table = Table("reader", "MB", "pages", "characters", "CPU seconds", "MB/s", "start-up")
    for name in readers:
        seconds = median(each[name][0] for each in rounds)
        pages, characters = rounds[0][name][1:]
        rate = f"{megabytes / seconds:.1f}"
        table.add_row(
            name, f"{megabytes:.0f}", f"{pages:,}", f"{characters:,}", f"{seconds:.2f}", rate, f"{started[name]:.2f}"
        )
    Console().print(table)


def write_archive(folder: Path, archive: Path, megabytes: int) -> float:
    """The files below a folder, one after the other, until there are so many MB decompressed; how many there are."""
    files = warc_files(folder)
    each = sum(len(chunk) for file in files for chunk in ByteStream(str(file), encoding="utf-8")) / 1e6
    times = max(1, math.ceil(megabytes / each))
    with archive.open("wb") as stream:
        for _ in range(times):
            for file in files:
                stream.write(file.read_bytes())
    return each * times


def warc_files(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*.warc.gz"))
    if not files:
        sys.exit(f"no .warc.gz below {folder}: name a folder that has some")
    return files


def measured(python: str, code: str, archive: Path) -> tuple[float, int, int]:
    """CPU seconds of a whole process, the pages it made, and their characters."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([python, "-c", code, str(archive)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{python} failed: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    pages, characters = json.loads(done.stdout.splitlines()[-1])
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, pages, characters


if __name__ == "__main__":
    main()
