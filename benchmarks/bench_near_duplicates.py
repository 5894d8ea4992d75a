"""Near-duplicates: recall and precision by language and similarity, and CPU seconds of the whole process, beside rensa.

    python benchmarks/bench_near_duplicates.py CORPUS [--peer PYTHON] [--times 10] [--repeats 3] [--short FILE] [--seed 0]

CORPUS is a folder with corpus.jsonl ({id, text, lang}) and clusters.json ({"clusters": {id: [ids]}, "pairs": [[original,
copy, kind, level, Jaccard]]}): texts with planted copies, each pair with its Jaccard similarity of word 5-grams
(characters where a third of the text is Han, kana or hangul). --peer is a Python that has rensa 0.5: word 5-grams made
in Python, 128 permutations, 16 bands of 8, as its users run it. --times also runs both on so many times the texts, the
further ones rewritten (a third of the words of each replaced). --short is a JSONL file of {text, lang}, as short_texts.py
collects them: titles and questions of 3 to 12 words (6 to 40 characters in Chinese and Japanese), into which copies with
edits are planted. --scale tells the memory and the time of so many of them.
"""

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

CHARACTER_LANGUAGES = ("zh", "ja", "th")
SHORT_LANGUAGES = ("ar", "de", "en", "ja", "zh")
# Lengths, in each of which as many parts are edited as keeps it one in ten at most; below 10 it is one, which is more.
SHORT_BANDS = {
    "character": ((6, 9), (10, 19), (20, 29), (30, 39), (40, 79)),
    "word": ((3, 5), (6, 9), (10, 12)),
}
JACCARD_BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--peer", help="a Python with rensa")
    parser.add_argument("--times", type=int, default=1, help="also on so many times the texts")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median is shown")
    parser.add_argument("--short", type=Path, help="short texts as JSONL")
    parser.add_argument("--scale", type=int, nargs="+", default=[], help="also link so many short texts, made of those")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=3, metavar=("WAY", "FILE", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        way, file, out = arguments.child
        WAYS[way](Path(file), Path(out))
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.corpus:
            compare_on_corpus(arguments, Path(folder))
        if arguments.short:
            compare_short(arguments)
        if arguments.scale:
            measure_scale(arguments, Path(folder))


def compare_on_corpus(arguments: argparse.Namespace, folder: Path) -> None:
    corpus = arguments.corpus / "corpus.jsonl"
    truth = json.loads((arguments.corpus / "clusters.json").read_text())
    language = {row["id"]: row["lang"] for row in read_rows(corpus)}
    seconds: dict[Any, float] = {}
    for way, python in ways(arguments):
        seconds[way] = measure(python, way, corpus, folder / "pairs.json", arguments.repeats)
        score = scores(json.loads((folder / "pairs.json").read_text()), truth, language)
        show(f"{way}: {len(language):,} texts", {"CPU seconds": f"{seconds[way]:.1f}", **score})
    if arguments.times > 1:
        larger = folder / "larger.jsonl"
        multiply(corpus, larger, arguments.times, arguments.seed)
        for way, python in ways(arguments):
            seconds[way, "larger"] = measure(python, way, larger, folder / "pairs.json", arguments.repeats)
            title = f"{way}: {arguments.times} times as many, {larger.stat().st_size / 1e6:,.0f} MB"
            show(title, {"CPU seconds": f"{seconds[way, 'larger']:.1f}"})
    if arguments.peer:
        ratios = {"once": f"{seconds['rensa'] / seconds['pairmill']:.1f}"}
        if arguments.times > 1:
            ratios[f"{arguments.times} times"] = f"{seconds['rensa', 'larger'] / seconds['pairmill', 'larger']:.1f}"
        show("rensa's CPU seconds by pairmill's", ratios)


def ways(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    yield "pairmill", sys.executable
    if arguments.peer:
        yield "rensa", arguments.peer


def measure(python: str, way: str, corpus: Path, out: Path, repeats: int) -> float:
    """The median CPU seconds of a process, start-up included; pairmill's first run compiles and is not counted."""
    command = [python, __file__, "--child", way, str(corpus), str(out)]
    if way == "pairmill":
        subprocess.run(command, check=True)
    seconds = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return median(seconds)


def find_with_pairmill(file: Path, out: Path) -> None:
    import orjson
    import pyarrow as pa
    import pyarrow.json

    from filters.minhash import sketch_texts
    from filters.near_duplicates import similar_pairs

    ids: list[pa.Array] = []
    sketches = []
    texts = 0
    for batch in pyarrow.json.open_json(
        file,
        pyarrow.json.ReadOptions(use_threads=False, block_size=2**19),
        pyarrow.json.ParseOptions(
            explicit_schema=pa.schema([("id", pa.string()), ("text", pa.string())]), unexpected_field_behavior="ignore"
        ),
    ):
        sketches.append(sketch_texts(batch.column("text"), first_text=texts))
        ids.append(batch.column("id"))
        texts += len(batch)
    pairs = similar_pairs(pa.Table.from_batches(sketches))
    names = pa.chunked_array(ids)
    sides = [names.take(pairs.column(side)).to_pylist() for side in ("left", "right")]
    out.write_bytes(orjson.dumps(list(zip(*sides, strict=True))))


def find_with_rensa(file: Path, out: Path) -> None:
    import rensa

    word = re.compile(r"\w+")
    index = rensa.RMinHashLSH(threshold=0.7, num_perm=128, num_bands=16)
    ids: list[str] = []
    pairs = []
    for row in read_rows(file):
        words = word.findall(row["text"].lower())
        signature = rensa.RMinHash(num_perm=128, seed=42)
        signature.update([" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4))])
        pairs += [(ids[found], row["id"]) for found in index.query(signature)]
        index.insert(len(ids), signature)
        ids.append(row["id"])
    out.write_text(json.dumps(pairs))


def scores(pairs: list[list[str]], truth: dict[str, Any], language: dict[str, str]) -> dict[str, str]:
    """Recall of planted copies by language and Jaccard similarity, and precision of the pairs of found clusters."""
    owner = {text: cluster for cluster, texts in truth["clusters"].items() for text in texts}
    group = groups(pairs)
    hits = defaultdict(list)
    for original, copy, _, _, jaccard in truth["pairs"]:
        hit = original in group and group[original] == group.get(copy)
        for least, below in pairwise(JACCARD_BINS):
            if least <= jaccard < below:
                hits[f"recall, Jaccard {least:.1f} to {min(below, 1):.1f}"].append(hit)
        for least in (0.7, 0.8):
            if jaccard >= least:
                hits[f"recall, Jaccard {least} and more"].append(hit)
                if language[original] in ("en", "de", "fr", "es", "ru", "zh", "ja"):
                    hits[f"recall, Jaccard {least} and more, {language[original]}"].append(hit)
    right = found = 0
    members = defaultdict(list)
    for text, root in group.items():
        members[root].append(text)
    for texts in members.values():
        sizes: dict[str, int] = defaultdict(int)
        for text in texts:
            sizes[owner.get(text, text)] += 1
        found += len(texts) * (len(texts) - 1) // 2
        right += sum(size * (size - 1) // 2 for size in sizes.values())
    rows = {name: f"{sum(found) / len(found):.4f}  of {len(found):,}" for name, found in sorted(hits.items())}
    return rows | {"precision of pairs": f"{right / max(found, 1):.4f}  of {found:,}"}


def groups(pairs: list[list[str]]) -> dict[str, str]:
    """The root of each text that is in a pair."""
    parents: dict[str, str] = {}

    def root(text: str) -> str:
        parents.setdefault(text, text)
        while parents[text] != text:
            parents[text] = parents[parents[text]]
            text = parents[text]
        return text

    for left, right in pairs:
        parents[root(left)] = root(right)
    return {text: root(text) for text in list(parents)}


def multiply(corpus: Path, larger: Path, times: int, seed: int) -> None:
    """Writes the corpus, and behind it times - 1 rewritings of each text that are near-duplicates of none."""
    rows = list(read_rows(corpus))
    vocabulary: dict[str, list[str]] = defaultdict(list)
    for row in rows[:8000]:
        vocabulary[row["lang"]] += units(row["text"], row["lang"])
    pick = random.Random(seed)
    with larger.open("w") as out:
        for time in range(times):
            for row in rows:
                text = rewrite(row["text"], row["lang"], vocabulary[row["lang"]], pick, 1 / 3) if time else row["text"]
                out.write(json.dumps({**row, "id": f"{row['id']}-{time}", "text": text}, ensure_ascii=False) + "\n")


def rewrite(text: str, language: str, words: list[str], pick: random.Random, share: float, least: int = 0) -> str:
    parts = list(text) if language in CHARACTER_LANGUAGES else text.split(" ")
    for _ in range(max(least, int(len(parts) * share)) if words else 0):
        parts[int(pick.random() * len(parts))] = words[int(pick.random() * len(words))]
    return ("" if language in CHARACTER_LANGUAGES else " ").join(parts)


def units(text: str, language: str) -> list[str]:
    return [part for part in text if not part.isspace()] if language in CHARACTER_LANGUAGES else text.split()


def compare_short(arguments: argparse.Namespace) -> None:
    """Recall of planted copies of short texts by language, length and edits, and how many pairs there were without."""
    import numpy as np
    import pyarrow as pa

    from filters.components import representatives
    from filters.minhash import sketch_texts
    from filters.near_duplicates import NearDuplicateSettings, similar_pairs

    texts, planted = plant_short(arguments.short, random.Random(arguments.seed))
    sketches = sketch_texts(pa.array(texts))
    for title, settings in (
        ("as set", NearDuplicateSettings()),
        ("numbers may differ", NearDuplicateSettings(numbers_agree=False)),
    ):
        pairs = similar_pairs(sketches, settings)
        first_of = representatives(pairs["left"], pairs["right"], np.arange(len(texts)))
        hits = defaultdict(list)
        for name, original, copy in planted:
            hits[name].append(bool(first_of[original] == first_of[copy]))
        rows = {name: f"{sum(found) / len(found):.3f}  of {len(found):,}" for name, found in sorted(hits.items())}
        copies = {copy for _, _, copy in planted}
        natural = sum(
            not copies.intersection(pair)
            for pair in zip(pairs["left"].to_pylist(), pairs["right"].to_pylist(), strict=True)
        )
        show(f"Short texts, {title}: {len(texts):,}", rows | {"pairs of unplanted texts": f"{natural:,}"})


def plant_short(file: Path, pick: random.Random) -> tuple[list[str], list[tuple[str, int, int]]]:
    """The texts and, behind those of each language, copies of some; what was edited, and the rows of text and copy."""
    by_language: dict[str, dict[str, None]] = defaultdict(dict)
    for row in read_rows(file):
        by_language[row["lang"][:2]].setdefault(row["text"])
    texts: list[str] = []
    planted = []
    for language, distinct in sorted(by_language.items()):
        if language not in SHORT_LANGUAGES:
            continue
        first = len(texts)
        texts += list(distinct)
        for unit, bands in SHORT_BANDS.items():
            for least, most in bands:
                if unit == "word" and language in CHARACTER_LANGUAGES:
                    continue
                suitable = [
                    number
                    for number in range(first, first + len(distinct))
                    if fits(texts[number], language, unit, least, most)
                ]
                others = [
                    part
                    for text in pick.sample(list(distinct), 2000 if len(distinct) > 2000 else len(distinct))
                    for part in parts_of(text, unit)
                ]
                edits = max(1, least // 10)
                name = f"{language}: {edits} {unit}{'s' * (edits > 1)} edited, of {least} to {most}"
                for number in pick.sample(suitable, min(1000, len(suitable))):
                    copy = edit(parts_of(texts[number], unit), others, pick, edits)
                    planted.append((name, number, len(texts)))
                    texts.append(("" if unit == "character" else " ").join(copy))
    return texts, planted


def fits(text: str, language: str, unit: str, least: int, most: int) -> bool:
    """Whether a text is a title or question, and as long as asked, in words or in characters without spaces."""
    is_short = 6 <= len(text) <= 40 if language in CHARACTER_LANGUAGES else 3 <= len(text.split()) <= 12
    return is_short and least <= sum(not part.isspace() for part in parts_of(text, unit)) <= most


def parts_of(text: str, unit: str) -> list[str]:
    return list(text) if unit == "character" else text.split()


def edit(parts: list[str], others: list[str], pick: random.Random, edits: int) -> list[str]:
    """So many parts edited: 70 % replaced, 15 % deleted, 15 % with another behind it."""
    places = [place for place, part in enumerate(parts) if not part.isspace()]
    for place in sorted(pick.sample(places, edits), reverse=True):
        chance = pick.random()
        other = pick.choice(others)
        parts = [
            *parts[:place],
            *([] if 0.7 <= chance < 0.85 else [other] if chance < 0.7 else [parts[place], other]),
            *parts[place + 1 :],
        ]
    return parts


def measure_scale(arguments: argparse.Namespace, folder: Path) -> None:
    """Peak memory and CPU seconds of a process that links so many short texts, all but the first of them rewritten."""
    seconds = {}
    for count in arguments.scale:
        file = folder / "scale.arrow"
        write_short(arguments.short, file, count, arguments.seed)
        command = [sys.executable, __file__, "--child", "scale", str(file), str(folder / "measured.json")]
        subprocess.run(command, check=True)
        measured = json.loads((folder / "measured.json").read_text())
        seconds[count] = measured["sketching"] + measured["linking"]
        show(
            f"{count:,} short texts",
            {
                "CPU seconds: sketching": f"{measured['sketching']:.1f}",
                "CPU seconds: pairs and groups": f"{measured['linking']:.1f}",
                "pairs": f"{measured['pairs']:,}",
                "peak memory": f"{measured['megabytes']:,.0f} MB, of which {measured['mapped']:,.0f} MB are the mapped sketches",
            },
        )
    for less, more in pairwise(arguments.scale):
        growth = seconds[more] / seconds[less] / (more / less)
        show(f"From {less:,} to {more:,}", {"time beside linear growth": f"{growth:.2f}"})


def write_short(source: Path, file: Path, count: int, seed: int) -> None:
    """So many short texts: those of the source, then the same again with a third of their words (characters) replaced."""
    import pyarrow as pa

    pick = random.Random(seed)
    by_language: dict[str, list[str]] = defaultdict(list)
    for row in read_rows(source):
        by_language[row["lang"][:2]].append(row["text"])
    rows = [(text, language) for language, texts in by_language.items() for text in texts]
    words = {
        language: [word for text in texts[:20000] for word in units(text, language)]
        for language, texts in by_language.items()
    }
    schema = pa.schema([("text", pa.string())])
    with pa.ipc.new_file(str(file), schema) as out:
        for start in range(0, count, 50_000):
            batch = []
            for number in range(start, min(start + 50_000, count)):
                text, language = rows[number % len(rows)]
                batch.append(
                    rewrite(text, language, words[language], pick, 1 / 3, least=1) if number >= len(rows) else text
                )
            out.write_batch(pa.record_batch([pa.array(batch)], schema))


def link_at_scale(file: Path, out: Path) -> None:
    import time

    import numpy as np
    import pyarrow as pa

    from filters.components import representatives
    from filters.minhash import DEFAULT_SKETCHES, sketch_schema, sketch_texts
    from filters.near_duplicates import similar_pairs

    start = time.process_time()
    texts = 0
    sketch_file = file.with_suffix(".sketches")
    with (
        pa.memory_map(str(file)) as mapped,
        pa.ipc.new_file(str(sketch_file), sketch_schema(DEFAULT_SKETCHES.permutations)) as writer,
    ):
        reader = pa.ipc.open_file(mapped)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            writer.write_batch(sketch_texts(batch.column(0), first_text=texts))
            texts += len(batch)
    sketched = time.process_time()
    with pa.memory_map(str(sketch_file)) as mapped:
        pairs = similar_pairs(pa.ipc.open_file(mapped).read_all(), position=np.random.default_rng(0).permutation(texts))
        representatives(pairs["left"], pairs["right"], np.arange(texts))
    measured = {
        "sketching": sketched - start,
        "linking": time.process_time() - sketched,
        "pairs": pairs.num_rows,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "mapped": sketch_file.stat().st_size / 1e6,
    }
    out.write_text(json.dumps(measured))


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def show(title: str, rows: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


WAYS: dict[str, Callable[[Path, Path], None]] = {
    "pairmill": find_with_pairmill,
    "rensa": find_with_rensa,
    "scale": link_at_scale,
}

if __name__ == "__main__":
    main()
