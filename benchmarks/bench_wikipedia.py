"""The Wikipedia adapter beside WikiExtractor and mwparserfromhell: prose, leftover marks, speed.

    python benchmarks/bench_wikipedia.py [--python OTHER_PYTHON] DUMP.xml.bz2 ...

For every dump and tool, over the same pages (main namespace, no redirects): characters of text, leftover marks of wikitext
in a million characters, and megabytes of XML in a second of CPU, decompression included; medians of three runs. The two
other tools are measured where OTHER_PYTHON (default: this one) can import them. The adapter runs in one process, once
before the clock starts, so that compiling is not counted; what compiling costs is printed first. WikiExtractor runs as
its users run it (--json --processes 1); the CPU time of its processes counts, less what it takes for a dump of no page.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pyarrow as pa

from sources.files.reading import ByteStream
from sources.source import Split
from sources.wikipedia import WikipediaSettings, read

MARKS = re.compile(r"\{\{|\}\}|\[\[|\]\]|<ref|\|\||==|&nbsp;|__[A-Z]+__")
EMPTY = "<mediawiki><siteinfo><namespaces></namespaces></siteinfo></mediawiki>\n"
PARSE = """
import html, json, re, sys, time
import mwparserfromhell
begin = time.process_time()
texts = []
page, title = "", ""
for found in re.finditer(r"<page>.*?</page>", sys.stdin.read(), re.DOTALL):
    if "<redirect" in found[0] or not re.search(r"<ns>0</ns>", found[0]):
        continue
    text = re.search(r"<text[^>]*>(.*?)</text>", found[0], re.DOTALL)
    if text:
        texts.append(mwparserfromhell.parse(html.unescape(text[1])).strip_code())
print(json.dumps([time.process_time() - begin, texts]))
"""


class Measured(NamedTuple):
    """What a tool made of a dump."""

    texts: list[str]
    seconds: float  # of CPU


def adapter_pairs(path: str) -> Measured:
    """The positives of the adapter's pairs, redirects left out."""
    begin = time.process_time()
    steps = [step.pairs for step in read(Split(path), WikipediaSettings())]
    seconds = time.process_time() - begin
    rows = pa.Table.from_batches(steps).select(["kind", "positive"]).to_pylist()
    return Measured([row["positive"] for row in rows if row["kind"] != "paraphrase"], seconds)


def adapter_documents(path: str) -> Measured:
    """The adapter's documents, made beside its pairs."""
    begin = time.process_time()
    steps = [step.documents for step in read(Split(path), WikipediaSettings(documents=True))]
    seconds = time.process_time() - begin
    return Measured(pa.Table.from_batches(steps)["text"].to_pylist(), seconds)


def wikiextractor(python: str, path: str) -> Measured:
    """What WikiExtractor writes, and the CPU time of all of its processes."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.xml"
        empty.write_text(EMPTY)
        start = _run_wikiextractor(python, str(empty), f"{folder}/none")
        seconds = _run_wikiextractor(python, path, f"{folder}/all") - start
        lines = [line for file in sorted(Path(folder, "all").rglob("wiki_*")) for line in file.read_text().splitlines()]
    return Measured([json.loads(line)["text"] for line in lines], seconds)


def _run_wikiextractor(python: str, path: str, folder: str) -> float:
    arguments = ["--json", "--processes", "1", "--quiet", "--output", folder, path]
    begin = _children_seconds()
    subprocess.run([python, "-m", "wikiextractor.WikiExtractor", *arguments], check=True, capture_output=True)
    return _children_seconds() - begin


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def mwparserfromhell(python: str, path: str) -> Measured:
    """What mwparserfromhell's strip_code leaves; decompression is not in its time."""
    xml = b"".join(ByteStream(path))
    done = subprocess.run([python, "-c", PARSE], input=xml, check=True, capture_output=True)
    seconds, texts = json.loads(done.stdout)
    return Measured(texts, seconds)


def can_import(python: str, module: str) -> bool:
    """Whether a Python interpreter has a module."""
    return subprocess.run([python, "-c", f"import {module}"], check=False, capture_output=True).returncode == 0


def report(path: str, tools: dict[str, Callable[[str], Measured]]) -> None:
    """Print a line for each tool: medians of three rounds in which they take turns."""
    megabytes = sum(map(len, ByteStream(path))) / 1e6
    rounds = [{name: run(path) for name, run in tools.items()} for _ in range(3)]
    for name, measured in rounds[0].items():
        characters = sum(map(len, measured.texts))
        marks = sum(len(MARKS.findall(text)) for text in measured.texts)
        rate = megabytes / median(each[name].seconds for each in rounds)
        share = 1e6 * marks / max(1, characters)
        print(f"{Path(path).name[:28]:28} {name:18} {characters:12,} {share:9.1f} {rate:7.1f}", flush=True)


def main() -> None:
    """Measure every dump named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dumps", nargs="+")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the tools to compare with")
    arguments = parser.parse_args()
    print(f"compiling, or reading compiled code: {_first_call():.1f} s of CPU")
    print(f"{'dump':28} {'tool':18} {'characters':>12} {'marks / M':>9} {'MB / s':>7}")
    tools = {"pairmill pairs": adapter_pairs, "pairmill documents": adapter_documents}
    for name, module, run in (
        ("WikiExtractor", "wikiextractor", wikiextractor),
        ("mwparserfromhell", "mwparserfromhell", mwparserfromhell),
    ):
        if can_import(arguments.python, module):
            tools[name] = partial(run, arguments.python)
    for path in arguments.dumps:
        report(path, tools)


def _first_call() -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.xml"
        path.write_text("<page><title>A</title><ns>0</ns><id>1</id><text>words</text></page>")
        begin = time.process_time()
        adapter_documents(str(path))
        return time.process_time() - begin


if __name__ == "__main__":
    main()
