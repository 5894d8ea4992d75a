"""extract + filter: peak memory by input size, and rows per second against the same rules row by row.

    python benchmarks/bench_extract_filter.py [--megabytes 50 150 500] [--compare-megabytes 100] [--seed 0]

Writes synthetic JSONL files (pairs of random words in six scripts, one row in twenty bad on purpose; seeded) into a
temporary folder and runs, each in a process of its own:

    jobs         extract and filter as a user runs them, languages included, to see that memory does not grow
    columnar     the same adapter and rules, languages included, on FnApiRunner: an element is a record batch
    row by row   json.loads a line, the same cleaning and rules in plain Python, languages by the fasttext library, on
                 FnApiRunner: an element is a dict

All read JSONL and write what they keep and what they drop; rows per second and the ratio leave start-up out. The last two must drop the
same number of rows for each reason, or the benchmark fails.
"""

import argparse
import json
import platform
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ALPHABETS = {
    "Latin": "abcdefghijklmnopqrstuvwxyzäéñ",
    "Cyrillic": "абвгдежзиклмнопрстуфхцчшыэюя",
    "Greek": "αβγδεζηθικλμνξοπρστυφχψω",
    "Arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "Devanagari": "कखगघचछजझटठडढणतथदधनपफबभमयरलवशसह",
    "Han": "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学",
}
# One query that fails each of these rules, or a positive; the rest of the pair is sound.
BAD_QUERIES = (
    "x",
    "broken \ufffd name",
    "wait" + "!" * 40,
    "12 34 56 78 90",
    "([{<--- ~~~ --->}])",
    "www.example.org/a/b",
)
BAD_POSITIVES = ("short", "=" * 60, "AAAA" * 400, "https://example.org/" + "path/" * 20)

COUNTERS = "bench"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[50, 150, 500], help="input sizes for peak memory")
    parser.add_argument("--compare-megabytes", type=int, default=100, help="input size for the comparison")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        way, file = arguments.child
        print(json.dumps(WAYS[way](Path(file))))
        return
    console = Console()
    console.print(
        f"Python {platform.python_version()}, Beam {version('apache-beam')}, Arrow {version('pyarrow')}, seed {arguments.seed}"
    )
    console.print(memory_table(arguments))
    console.print(speed_table(arguments))


def memory_table(arguments: argparse.Namespace) -> Table:
    table = Table("input MB", "rows", "seconds", "MB/s", "rows/s", "peak RSS MB", title="extract + filter, one process")
    for megabytes in arguments.megabytes:
        with tempfile.TemporaryDirectory(prefix="pairmill-bench-") as folder:
            file = write_pairs(Path(folder) / "pairs.jsonl", megabytes, arguments.seed)
            done = in_child("jobs", file)
        speed = f"{megabytes / done['seconds']:.1f}", f"{done['rows'] / done['seconds']:,.0f}"
        table.add_row(f"{megabytes}", f"{done['rows']:,}", f"{done['seconds']:.1f}", *speed, f"{done['peak_mb']:.0f}")
    return table


def speed_table(arguments: argparse.Namespace) -> Table:
    with tempfile.TemporaryDirectory(prefix="pairmill-bench-") as folder:
        file = write_pairs(Path(folder) / "pairs.jsonl", arguments.compare_megabytes, arguments.seed)
        ways = {way: in_child(way, file) for way in ("rows", "columnar")}
    if ways["rows"]["dropped"] != ways["columnar"]["dropped"]:
        sys.exit(f"The two ways differ: {ways['rows']['dropped']} row by row, {ways['columnar']['dropped']} columnar")
    title = f"the same rules on {arguments.compare_megabytes} MB, {ways['rows']['rows']:,} rows"
    table = Table("way", "seconds", "of them start-up", "rows/s", "ratio", "peak RSS MB", title=title)
    slow = ways["rows"]["working"]
    for name, done in (("row by row", ways["rows"]), ("columnar", ways["columnar"])):
        seconds = f"{done['seconds']:.1f}", f"{done['seconds'] - done['working']:.1f}"
        rows = f"{done['rows'] / done['working']:,.0f}"
        table.add_row(name, *seconds, rows, f"{slow / done['working']:.1f}", f"{done['peak_mb']:.0f}")
    dropped = sum(ways["rows"]["dropped"].values())
    table.caption = f"both dropped {dropped:,} rows, reason by reason the same"
    return table


def write_pairs(file: Path, megabytes: int, seed: int) -> Path:
    """Pairs of a title (2-6 words) and a body (30-150 words), until the file has so many megabytes."""
    chance = random.Random(seed)
    words = {
        name: ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(3000)]
        for name, letters in ALPHABETS.items()
    }
    written = 0
    with file.open("w", encoding="utf-8") as stream:
        while written < megabytes * 1_000_000:
            script = chance.choice(list(words))
            between = "" if script == "Han" else " "
            query = between.join(chance.choices(words[script], k=chance.randint(2, 6)))
            positive = between.join(chance.choices(words[script], k=chance.randint(30, 150))) + "."
            if chance.random() < 0.05:
                bad = chance.choice((*BAD_QUERIES, *BAD_POSITIVES, "copy"))
                query, positive = (
                    (query, query.upper() + ".")
                    if bad == "copy"
                    else (bad, positive)
                    if bad in BAD_QUERIES
                    else (query, bad)
                )
            line = json.dumps({"query": query, "positive": positive}, ensure_ascii=False) + "\n"
            stream.write(line)
            written += len(line.encode())
    return file


def in_child(way: str, file: Path) -> dict[str, Any]:
    """Runs one way in a process of its own: {rows, dropped, peak_mb, seconds}; seconds with its start-up."""
    command = [sys.executable, __file__, "--child", way, str(file)]
    started = time.monotonic()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result | {"seconds": time.monotonic() - started}


def run_jobs(file: Path) -> dict[str, Any]:
    from pipelines.launcher import run_recipe
    from pipelines.recipe import Recipe
    from pipelines.run_folder import RunFolder

    recipe = Recipe.model_validate(
        {
            "name": "bench",
            "sources": [{"source": "jsonl", "paths": [str(file)], "kind": "title_body"}],
            "filter": {"preset": "c-mtp"},
            "runner": {"mode": "in_memory"},
        }
    )
    run = RunFolder(str(file.parent / "run"))
    extracted, filtered = run_recipe(recipe, run, lambda event: None, only=["extract", "filter"])
    dropped = Counter(extracted.dropped) + Counter(filtered.dropped)
    return {
        "rows": extracted.rows_in,
        "dropped": dict(sorted(dropped.items())),
        "peak_mb": _peak(resource.RUSAGE_CHILDREN),
    }


def run_columnar(file: Path) -> dict[str, Any]:
    import apache_beam as beam
    import pyarrow as pa

    from sources.catalogue import load_source

    source = load_source("jsonl")
    settings = source.Settings.model_validate({"kind": "title_body"})

    def build(pipeline: Any) -> None:
        batches = (
            pipeline
            | beam.Create(source.splits(str(file), settings, 128 * 2**20))
            | beam.FlatMap(read_batches, settings).with_output_types(pa.RecordBatch)
        )
        kept = batches | beam.FlatMap(decide_batch, str(file.parent)).with_output_types(pa.RecordBatch)
        _ = kept | "write kept" >> beam.Map(write_batch, str(file.parent), "kept")

    return _run(build)


def run_rows(file: Path) -> dict[str, Any]:
    import apache_beam as beam

    def build(pipeline: Any) -> None:
        rows = pipeline | beam.io.ReadFromText(str(file)) | beam.Map(json.loads) | beam.Map(clean_row)
        decided = rows | beam.FlatMap(decide_row).with_outputs("dropped", main="kept")
        for name in ("kept", "dropped"):
            lines = decided[name] | f"{name} lines" >> beam.Map(json.dumps, ensure_ascii=False)
            _ = lines | f"write {name}" >> beam.io.WriteToText(str(file.parent / name), num_shards=0)

    return _run(build)


def _run(build: Any) -> dict[str, Any]:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    import pipelines.transforms  # noqa: F401  (registers the record batch coder)

    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--direct_running_mode=in_memory"]))
    build(pipeline)
    started = time.monotonic()
    result = pipeline.run()
    result.wait_until_finish()
    working = time.monotonic() - started
    counters = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(COUNTERS))["counters"]
    counts = {counter.key.metric.name: counter.committed for counter in counters}
    rows = counts.pop("rows")
    dropped = dict(sorted(counts.items()))
    return {"rows": rows, "dropped": dropped, "peak_mb": _peak(resource.RUSAGE_SELF), "working": working}


def _count(name: str, rows: int) -> None:
    from apache_beam.metrics import Metrics

    Metrics.counter(COUNTERS, name).inc(rows)


def read_batches(split: Any, settings: Any) -> Iterator[Any]:
    from sources.catalogue import load_source

    for extracted in load_source("jsonl").read(split, settings):
        _count("rows", extracted.records)
        _count_reasons(extracted.rejects["reason"])
        yield extracted.pairs


def _count_reasons(reasons: Any) -> None:
    import pyarrow.compute as pc

    for entry in pc.value_counts(reasons.drop_null()).to_pylist():
        _count(entry["values"], entry["counts"])


def decide_batch(batch: Any, folder: str) -> Iterator[Any]:
    from filters.decide import decide
    from filters.measure import measure
    from sources.schema import split_rejects

    settings = compared_settings()
    measured = measure(batch, settings)
    reason = decide(measured, settings, batch["kind"], batch["query_lang"], batch["positive_lang"])
    _count_reasons(reason)
    kept, rejects = split_rejects(batch, reason)
    write_batch(rejects, folder, "dropped")
    yield kept


@cache
def compared_settings() -> Any:
    """Those rules of c-mtp that the row by row way has too: on characters, copies and languages."""
    from filters.rules import RULES
    from filters.settings import PRESETS, FilterSettings

    compared = {rule.setting for rule in RULES if rule.family in ("text", "likeness", "language")}
    rules = {name: value for name, value in PRESETS["c-mtp"].items() if name in compared and value != "calibrated"}
    return FilterSettings.model_validate(rules)


def write_batch(batch: Any, folder: str, name: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = len(list(Path(folder).glob(f"{name}-*.parquet")))
    pq.write_table(pa.Table.from_batches([batch]), f"{folder}/{name}-{number:05d}.parquet", compression="zstd")


def _peak(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


NO_TEXT = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)
URL = re.compile(r"(?:https?://|www\.)[!-~]*")
RUN = re.compile(r"(\S)\1*")


def clean_row(row: dict[str, str]) -> dict[str, str]:
    return {
        name: " ".join(unicodedata.normalize("NFC", NO_TEXT.sub("", text)).split()) for name, text in row.items()
    } | {"kind": "title_body"}


def decide_row(row: dict[str, str]) -> Iterator[Any]:
    from apache_beam.pvalue import TaggedOutput

    _count("rows", 1)
    reason = row_decider()(row)
    if reason is None:
        yield row
    else:
        _count(reason, 1)
        yield TaggedOutput("dropped", row | {"reason": reason})


@cache
def row_decider() -> Any:
    """The rules of filters.decide in plain Python: (row) -> reason or None."""
    from filters.characters import BROKEN, CJK, DIGIT, LETTER, MARK, SPACE, SYMBOL, UNSPACED, UPPER, class_of_character

    limits = compared_settings()
    class_of = class_of_character().tolist()
    identify = row_language_identifier()
    letter_kinds = (UPPER, LETTER, MARK, UNSPACED)

    def begin(text: str) -> tuple[str, int]:
        beginning = text[: limits.language.max_characters].replace("\n", " ")
        kinds = [class_of[ord(character)] for character in beginning]
        return beginning, sum(3 if kind == CJK else kind in letter_kinds for kind in kinds)

    def languages(row: dict[str, str]) -> list[tuple[str | None, float]]:
        """(group, probability) of each side; a short side is judged with its partner."""
        (query, query_letters), (positive, positive_letters) = begin(row["query"]), begin(row["positive"])
        if min(query_letters, positive_letters) >= limits.language.min_letters:
            return [identify(query), identify(positive)]
        if query_letters + positive_letters >= limits.language.min_letters:
            return [identify(f"{query} {positive}"[: limits.language.max_characters])] * 2
        return [(None, float("nan"))] * 2

    def measure(text: str) -> dict[str, float]:
        kinds = [class_of[ord(character)] for character in text]
        count = Counter(kinds)
        visible = max(len(text) - count[SPACE], 1)
        spaced = "".join(" " if kind in (CJK, UNSPACED) else c for c, kind in zip(text, kinds, strict=True))
        letters = count[UPPER] + count[LETTER] + count[MARK] + count[CJK] + count[UNSPACED]
        return {
            "characters": len(text),
            "length": len(text) + 2 * count[CJK],
            "broken": count[BROKEN] / max(len(text), 1),
            "run": max((len(run.group()) for run in RUN.finditer(text)), default=0),
            "letters": letters / visible,
            "digits": count[DIGIT] / visible,
            "symbols": count[SYMBOL] / visible,
            "urls": sum(len(url) for url in URL.findall(text)) / visible,
            "word": max((len(URL.sub("", word)) for word in spaced.split()), default=0),
        }

    def decide(row: dict[str, str]) -> str | None:
        if row["query"] == row["positive"]:
            return "query_equals_positive"
        query, positive = measure(row["query"]), measure(row["positive"])
        copied = 0.0
        if row["positive"].casefold().startswith(row["query"].casefold()):
            copied = query["characters"] / positive["characters"]
        either = {name: (query[name], positive[name]) for name in query}
        rules = (
            ("query_too_short", query["characters"] < limits.min_query_characters),
            ("positive_too_short", positive["characters"] < limits.min_positive_characters),
            ("positive_too_short", positive["length"] < limits.min_passage_length),
            ("query_too_long", query["characters"] > limits.max_query_characters),
            ("positive_too_long", positive["characters"] > limits.max_positive_characters),
            ("replacement_characters", max(either["broken"]) > limits.max_broken_share),
            ("repeated_character", max(either["run"]) > limits.max_repeated_characters),
            ("too_few_letters", min(either["letters"]) < limits.min_letter_share),
            ("too_many_digits", max(either["digits"]) > limits.max_digit_share),
            ("too_many_symbols", max(either["symbols"]) > limits.max_symbol_share),
            ("too_many_urls", max(either["urls"]) > limits.max_url_share),
            ("word_too_long", max(either["word"]) > limits.max_word_characters),
            ("copy", copied >= 1),
            ("positive_repeats_query", copied > limits.max_copied_share),
        )
        failed = next((reason for reason, fails in rules if fails), None)
        if failed is not None:
            return failed
        (query_language, query_sure), (positive_language, positive_sure) = languages(row)
        if query_language != positive_language and min(query_sure, positive_sure) >= limits.agreement_probability:
            return "languages_disagree"
        return "low_language_probability" if max(query_sure, positive_sure) < limits.min_language_probability else None

    return decide


def row_language_identifier() -> Any:
    """Languages as filters.language has them, by the fasttext library: (text) -> (language group, probability)."""
    import fasttext

    from filters.characters import SCRIPTS, script_of_character
    from filters.language import _CHINESE, _code_of_label, _packaged_model, language_group

    model = fasttext.load_model(str(_packaged_model()))
    script_of = script_of_character().tolist()

    def identify(text: str) -> tuple[str, float]:
        labels, chances = model.predict(text)
        language = _code_of_label(labels[0]).split("_")[0] if labels else "und"
        count = Counter(SCRIPTS[script_of[ord(character)]] for character in text)
        han, kana = count["Hani"] + count["Hant"] + count["Hans"], count["Kana"]
        mostly_han = 2 * (han + kana) > sum(count.values()) and language not in _CHINESE
        if language in ("jpn", "zho") or mostly_han:
            chinese = han > 0 if kana == 0 else 4 * kana < han and language != "jpn"
            language = "zho" if chinese else "jpn"
        return language_group(language), float(min(chances[0], 1.0)) if labels else 0.0

    return identify


WAYS = {"jobs": run_jobs, "columnar": run_columnar, "rows": run_rows}


if __name__ == "__main__":
    main()
