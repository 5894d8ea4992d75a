"""Every source on real files of its corpus: pairs, speed, rejects and quarantined records by reason.

    python benchmarks/bench_sources.py DATA [--only NAME ...] [--runs 3] [--show 20] [--bad 20]

DATA is a folder of corpora in their own layouts; CORPORA below names the files of each in it, and what is not there is
said and left out. MB are those of the decompressed files; seconds are CPU seconds of one process, the median of the runs
after one that warms up. `--show` prints pairs of each source to be read by eye, `--bad` rejects and quarantined records.
"""

import argparse
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from sources.catalogue import load_source, source_names
from sources.files.reading import ByteStream, expand_paths
from sources.source import InputFile, Source, SourceError, SourceSettings

TARGET_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Corpus:
    """Files of one corpus below DATA, as globs, and the settings that they need."""

    source: str
    paths: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    ids: bytes | None = None  # what of a record is an id, for a corpus that is joined by them: copies of it get others


LAYOUTS = "corpus_layouts/datasets"  # rows of many corpora in the names of their own files, one archive a configuration
PASSAGES = "anserini_samples/src/test/resources/sample_docs"

CORPORA: tuple[Corpus, ...] = (
    Corpus("afriqa", ("afriqa/*/*.json",)),
    Corpus("aligned_lines", ("tico19/*/*.??",)),
    Corpus("aligned_lines", ("nllb_seed/*_*",)),
    Corpus("aligned_lines", ("ntrex128/*.txt",)),
    Corpus("arxiv", (f"{LAYOUTS}/arxiv_dataset/*/*/*.zip!/*.json",)),
    Corpus("beir", ("retrieval_bench/*.tsv", "retrieval_bench/*.jsonl.gz")),
    Corpus("cc_news_warc", ("dolma_warc/tests/data/warc/*.warc.gz", f"{PASSAGES}/commoncrawl*/**/*.warc.gz")),
    Corpus("chinese_poetry", ("chinese_poetry/poet.*.json",)),
    Corpus("cmedical_dialogue", ("toyhom_zh_med/*.csv",)),
    Corpus("cmnli", (f"{LAYOUTS}/clue/dummy/cmnli/*/*.zip!/*/train.json",)),
    Corpus("cmrc2018", ("cmrc2018/*.json", f"{LAYOUTS}/cmrc2018/*/*/*.zip!/*")),
    Corpus("cmrc2018", (f"{LAYOUTS}/clue/dummy/cmrc2018/*/*.zip!/*.json",)),
    Corpus("codesearchnet", (f"{LAYOUTS}/code_search_net/*/*/*/*.zip!/*.jsonl",)),
    Corpus("dpr", ("nq_open_oracle/qa_data/*.jsonl.gz",)),
    Corpus("dureader", ("dureader/*/*.json",)),
    Corpus("hotpotqa", (f"{LAYOUTS}/hotpot_qa/*/*/*/*.zip!/*.json",)),
    Corpus("jats", ("plos_jats/plos.tar.gz",)),
    Corpus("jsonl", ("scitldr/train.jsonl",), {"query": "title", "positive": "source"}),
    Corpus("mc4", (f"{LAYOUTS}/mc4/*/*/*/*.zip!/*.gz", f"{LAYOUTS}/c4/*/*/*/*.zip!/*.gz")),
    Corpus("mc4", (f"{PASSAGES}/c4*/*.json.gz",)),
    Corpus("medquad", ("medquad/MedQuAD.tar.gz!/*.xml",)),
    Corpus("multi_nli", (f"{LAYOUTS}/multi_nli/*/*/*.zip!/*/multinli_*",)),
    Corpus("nli_zh", (f"{LAYOUTS}/clue/dummy/afqmc/*/*.zip!/*n.json", f"{LAYOUTS}/clue/dummy/afqmc/*/*.zip!/*v.json")),
    Corpus("nli_zh", (f"{LAYOUTS}/paws-x/*/*/*/*.zip!/*.tsv",)),
    Corpus("nq_open", (f"{LAYOUTS}/nq_open/*/*/*/*.zip!/*.jsonl",)),
    Corpus("ocnli", (f"{LAYOUTS}/clue/dummy/ocnli/*/*.zip!/*n.json", f"{LAYOUTS}/clue/dummy/ocnli/*/*.zip!/*v.json")),
    Corpus("opus_moses", ("opus_moses/*.zip",)),
    Corpus("oscar", (f"{LAYOUTS}/oscar/*/*/*/*.zip!/*.txt.gz",)),
    Corpus("pubmedqa", ("pubmedqa/data/ori_*.json", f"{LAYOUTS}/pubmed_qa/*/*/*/*.zip!/*")),
    Corpus("quora", (f"{LAYOUTS}/quora/*/*/*.zip!/*.tsv",)),
    Corpus("reddit", (f"{LAYOUTS}/reddit/*/*/*.zip!/*.json",)),
    Corpus("s2orc", ("s2orc_sample/data/metadata/*.jsonl",), ids=rb'"(\d+)"'),
    Corpus("scitldr", ("scitldr/train.jsonl",)),
    Corpus("snli", (f"{LAYOUTS}/snli/*/*/*/*.zip!/*.txt",)),
    Corpus("squad", ("squad/*.json", "arcd/*.json", "drcd/*.json", "jaquad/data/*/*.json")),
    Corpus("squad", (f"{LAYOUTS}/mlqa/*/*/*/*.zip!/*.json", f"{LAYOUTS}/squad*/*/*/*/*.zip!/*.json")),
    Corpus("stackexchange", ("stackexchange/beer/*.xml",)),
    Corpus(
        "table",
        (f"{LAYOUTS}/quora/*/*/*.zip!/*.tsv",),
        {"query": "question1", "positive": "question2", "kind": "question_question"},
    ),
    Corpus("triviaqa", ("triviaqa_sample/samples/triviaqa_sample.json",)),
    Corpus(
        "triviaqa",
        (f"{LAYOUTS}/trivia_qa/dummy/rc/*/*.zip!/*/qa/*.json", f"{LAYOUTS}/trivia_qa/dummy/rc/*/*.zip!/*.txt"),
    ),
    Corpus("tydiqa", ("tydiqa_tiny/tiny_dev.jsonl.gz", "tydiqa_tiny/small_gold_annotation.jsonl.gz")),
    Corpus("tydiqa", (f"{LAYOUTS}/tydiqa/dummy/secondary_task/*/*.zip!/*.json",)),
    Corpus("web_text", ("dolma_warc/tests/data/multiple_files/*.gz", "dolma_warc/tests/data/provided/documents/*.gz")),
    Corpus("web_text", (f"{PASSAGES}/fineweb/*.parquet", f"{PASSAGES}/neuclir/collection/*.jsonl")),
    Corpus("wikipedia", ("wikipedia/*.bz2", "wikipedia/*/*.bz2")),
    Corpus("xlsum", (f"{LAYOUTS}/mlsum/*/*/*/*.zip!/*.jsonl",)),
    Corpus("xnli", (f"{LAYOUTS}/xnli/*/*/*/*.zip!/*.tsv",)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of corpora")
    parser.add_argument("--only", nargs="+", help="these sources only")
    parser.add_argument("--runs", type=int, default=3, help="measured runs of each source")
    parser.add_argument("--show", type=int, default=0, help="pairs of each source to print")
    parser.add_argument("--bad", type=int, default=0, help="rejects and quarantined records of each source to print")
    parser.add_argument(
        "--grow", type=int, default=0, help="repeat the records of JSON lines up to so many MB, for speed"
    )
    arguments = parser.parse_args()
    console = Console()
    table = Table("source", "MB", "records", "pairs", "pairs/s", "MB/s", "rejects", "quarantined", title="one process")
    absent = []
    for corpus in CORPORA:
        if arguments.only and corpus.source not in arguments.only:
            continue
        source, settings = load_source(corpus.source), load_source(corpus.source).Settings(**corpus.settings)
        try:
            files = source.gather(expand_paths([str(arguments.data / path) for path in corpus.paths]), settings)
            with grown(corpus, source, settings, files, arguments.grow) as files:
                table.add_row(corpus.source, *measured(source, settings, files, arguments.runs))
            if arguments.show or arguments.bad:
                show(console, source, settings, files, arguments.show, arguments.bad)
        except SourceError as error:
            absent.append(f"{corpus.source}: {error}")
    console.print(table)
    for line in absent:
        console.print(f"left out: {line}", markup=False)
    if not arguments.only:
        covered = {corpus.source for corpus in CORPORA}
        console.print("without real data: " + ", ".join(name for name in source_names() if name not in covered))


@contextmanager
def grown(
    corpus: Corpus, source: Source, settings: SourceSettings, files: list[InputFile], megabytes: int
) -> Iterator[list[InputFile]]:
    """The files; where megabytes are asked for, one plain file of the records of all that hold JSON, over and over."""
    alone = [file for file in files if set(file.companions) <= {file.path}]
    lines = [file for file in alone if re.search(r"\.jsonl?(\.gz)?$", file.path)]
    if not megabytes or not lines:
        yield files
        return
    records = b"".join(chunk.rstrip(b"\n") + b"\n" for file in lines for chunk in [b"".join(ByteStream(file.path))])
    with tempfile.TemporaryDirectory(prefix="pairmill-bench-") as folder:
        name = Path(lines[0].path.rpartition("!/")[2]).name.removesuffix(".gz")
        copy = Path(folder) / name
        with copy.open("wb") as stream:
            for number in range(-(-megabytes * 10**6 // max(1, len(records)))):
                stream.write(re.sub(corpus.ids, rb'"\g<1>%d"' % number, records) if corpus.ids else records)
        yield source.gather([str(copy)], settings)


def measured(source: Source, settings: SourceSettings, files: list[InputFile], runs: int) -> tuple[str, ...]:
    """The row of one corpus."""
    paths = {path for file in files for path in (file.path, *file.companions)}
    megabytes = sum(len(chunk) for path in paths for chunk in ByteStream(path)) / 1e6
    once(source, settings, files)
    seconds = []
    for _ in range(runs):
        started = time.process_time()
        counts = once(source, settings, files)
        seconds.append(time.process_time() - started)
    spent = max(statistics.median(seconds), 1e-9)
    numbers = (
        f"{counts['records']:,}",
        f"{counts['pairs']:,}",
        f"{counts['pairs'] / spent:,.0f}",
        f"{megabytes / spent:.1f}",
    )
    return f"{megabytes:.2f}", *numbers, reasons(counts, "rejected "), reasons(counts, "quarantined ")


def once(source: Source, settings: SourceSettings, files: list[InputFile]) -> Counter[str]:
    """Reads everything; how many records, pairs, and rows of each reason there were."""
    counts: Counter[str] = Counter(records=0, pairs=0)
    for file in files:
        for split in source.input_splits(file, settings, TARGET_BYTES):
            for step in source.read(split, settings):
                counts["records"] += step.records
                counts["pairs"] += step.pairs.num_rows
                counts.update(f"rejected {reason}" for reason in step.rejects["reason"].to_pylist())
                counts.update(f"quarantined {reason}" for reason in step.quarantine["reason"].to_pylist())
    return counts


def reasons(counts: Counter[str], prefix: str) -> str:
    return ", ".join(
        f"{name.removeprefix(prefix)} {counts[name]:,}" for name in sorted(counts) if name.startswith(prefix)
    )


def show(
    console: Console, source: Source, settings: SourceSettings, files: list[InputFile], pairs: int, bad: int
) -> None:
    """Prints pairs spread over the files, and bad records."""
    left, bad_left = pairs, bad
    each = max(1, -(-pairs // max(1, len(files))))
    for file in files:
        for split in source.input_splits(file, settings, TARGET_BYTES):
            for step in source.read(split, settings):
                shown = min(each, left, step.pairs.num_rows)
                stride = max(1, step.pairs.num_rows // max(1, shown))
                chosen = pa.array(range(0, step.pairs.num_rows, stride), pa.int64())[: max(0, shown)]
                for row in step.pairs.take(chosen).to_pylist():
                    line = f"{source.name} | {row['kind']} {row['query_lang']} {row['positive_lang']} {row['document_id']} {row['label']}"
                    console.print(f"{line}\n    {row['query'][:200]}\n    {row['positive'][:300]}", markup=False)
                left -= shown
                for row in [*step.rejects.to_pylist(), *step.quarantine.to_pylist()][:bad_left]:
                    text = row.get("excerpt") or f"{row.get('query', '')[:100]!r} {row.get('positive', '')[:100]!r}"
                    console.print(f"{source.name} | {row['reason']}: {text}", markup=False)
                    bad_left -= 1
        if left <= 0 and bad_left <= 0:
            return


if __name__ == "__main__":
    main()
