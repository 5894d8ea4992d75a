"""What junk and pair measures cost, and how often they are set off by sound text, on real corpora.

    python benchmarks/bench_pair_measures.py FOLDER [--pairs 4000]

FOLDER holds corpora in folders named as below (any may be missing). CPU microseconds a pair and megabytes of text a CPU
second are the best of three runs over the same batch, after one to warm up; the rates are shares of pairs of which a side
is set off, in per mille. Then, what a long text costs.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from filters.boilerplate import measure_boilerplate
from filters.junk import measure_junk
from filters.mojibake import mojibake_share
from filters.pair_quality import measure_pair_quality
from filters.personal_data import KINDS, count_personal_data
from sources.catalogue import load_source
from sources.files.reading import expand_paths

CORPORA = (
    ("squad", "squad/train-v1.1.json"),
    ("opus_moses", "opus_moses/Tatoeba.deu-eng.txt.zip"),
    ("opus_moses", "opus_moses/Tatoeba.eng-fra.txt.zip"),
    ("opus_moses", "opus_moses/Tatoeba.eng-por.txt.zip"),
    ("opus_moses", "opus_moses/Tatoeba.eng-ukr.txt.zip"),
    ("opus_moses", "opus_moses/Tatoeba.eng-zho.txt.zip"),
    ("opus_moses", "opus_moses/Tatoeba.eng-jpn.txt.zip"),
    ("stackexchange", "stackexchange/beer/Posts.xml"),
    ("wikipedia", "wikipedia/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"),
    ("wikipedia", "wikipedia/jawiki-20230501-pages-articles.trimmed.xml.bz2"),
    ("wikipedia", "wikipedia/bgwiki-latest-pages-articles-shortened.xml.bz2"),
    ("squad", "jaquad/data/train/jaquad_train_0000.json"),
    ("squad", "drcd/DRCD_dev.json"),
    ("squad", "arcd/arcd-train.json"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=4000, help="pairs read of each corpus")
    parser.add_argument("--show", type=int, default=0, help="examples shown of what sets each measure off")
    arguments = parser.parse_args()
    console = Console()
    names = ("boilerplate > 0.3", "placeholder", "mojibake > 0", *KINDS)
    table = Table("corpus", "pairs", "MB", "junk us", "pair us", "junk MB/s", "pair MB/s", *names)
    for source, file in CORPORA:
        batch = read_pairs(source, arguments.folder / file, arguments.pairs)
        if batch is None:
            continue
        sides = [batch["query"], batch["positive"]]
        megabytes = sum(side.nbytes for side in sides) / 1e6
        junk = cpu_seconds(lambda sides=sides: [measure_junk(side) for side in sides])
        pair = cpu_seconds(lambda batch=batch: measure_pair_quality(batch))
        rates = set_off(sides)
        table.add_row(
            file.rsplit("/", 1)[-1][:24],
            f"{len(batch):,}",
            f"{megabytes:.1f}",
            *(f"{seconds / len(batch) * 1e6:.2f}" for seconds in (junk, pair)),
            *(f"{megabytes / seconds:.0f}" for seconds in (junk, pair)),
            *(f"{1000 * rates[name].mean():.1f}" for name in names),
        )
        for name in names if arguments.show else ():
            for row in np.flatnonzero(rates[name])[: arguments.show].tolist():
                console.print(
                    name, file, "|", batch["query"][row].as_py()[:120], "|", batch["positive"][row].as_py()[:300]
                )
    console.print(table)
    console.print(long_texts())


def read_pairs(name: str, file: Path, most: int) -> pa.RecordBatch | None:
    """The first pairs of a corpus as one batch; None where its file is missing."""
    if not file.exists():
        return None
    batches, rows = [], 0
    for batch in pairs_of(name, file):
        batches.append(batch)
        rows += batch.num_rows
        if rows >= most:
            break
    return pa.Table.from_batches(batches).slice(0, most).combine_chunks().to_batches()[0]


def pairs_of(name: str, file: Path) -> Iterator[pa.RecordBatch]:
    source = load_source(name)
    settings = source.Settings()
    for given in source.gather(expand_paths([str(file)]), settings):
        for split in source.input_splits(given, settings, 1 << 40):
            for step in source.read(split, settings):
                yield step.pairs


def set_off(sides: list[pa.Array]) -> dict[str, np.ndarray]:
    either: dict[str, np.ndarray] = {}
    for side in sides:
        boilerplate, personal = measure_boilerplate(side), count_personal_data(side)
        found = {
            "boilerplate > 0.3": boilerplate["boilerplate_share"].to_numpy() > 0.3,
            "placeholder": boilerplate["placeholder"].to_numpy(zero_copy_only=False),
            "mojibake > 0": mojibake_share(side).to_numpy() > 0,
            **{kind: personal[kind].to_numpy() > 0 for kind in KINDS},
        }
        either = {name: rows | either.get(name, False) for name, rows in found.items()}
    return either


def long_texts() -> Table:
    """Megabytes a CPU second on texts of ten megabytes, sound and not."""
    texts = {
        "English": "The quick brown fox jumps over 12 lazy dogs in 1999 (see p. 3). ",
        "Russian": "Съешь же ещё этих мягких французских булок, да выпей чаю. ",
        "Chinese": "这是一个关于中国历史的问题，请点击下面的回答。",
        "emoji": "😀🎉👍🏽",
        "one letter": "a",
        "digits": "1 2 3 4 ",
        "@": "a@",
    }
    table = Table("10 MB of", "boilerplate MB/s", "mojibake MB/s", "personal data MB/s")
    for name, unit in texts.items():
        text = pa.array([unit * (10_000_000 // len(unit.encode()))])
        measures = (measure_boilerplate, mojibake_share, count_personal_data)
        speeds = [text.nbytes / cpu_seconds(lambda measure=measure, text=text: measure(text)) for measure in measures]
        table.add_row(name, *(f"{speed / 1e6:.0f}" for speed in speeds))
    return table


def cpu_seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(4):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


if __name__ == "__main__":
    main()
