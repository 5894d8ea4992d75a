"""How many questions written by people the checks of generated questions refuse, by language and source: their false alarms.

    python benchmarks/bench_question_checks.py FOLDER [--most 1500]

FOLDER: a retrieval set in BEIR's layout: corpus.jsonl.gz {_id, text}, queries.train.jsonl.gz {_id, text, lang, source},
qrels.train.tsv. Questions that people wrote with a passage before their eyes do lean on it now and then ("what is this law
called?"): not every refusal is a mistake. Read the samples.
"""

import argparse
import gzip
import json
import random
import time
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa

from filters.language import language_group
from filters.settings import LanguageSettings
from pipelines.question_checking import identified_groups
from sources.languages import language_code
from synth.question_checks import CheckSettings, check_questions

FEWEST = 50  # questions of a source


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--most", type=int, default=1_500, help="questions of each source")
    chosen = arguments.parse_args()
    identify = identified_groups(LanguageSettings())
    begun, asked = time.process_time(), 0
    for (language, source), pairs in sorted(pairs_by_source(chosen.folder).items()):
        rows = random.Random(1).sample(pairs, min(chosen.most, len(pairs)))
        if len(rows) < FEWEST:
            continue
        table = pa.table(
            {
                "question": [question for question, _ in rows],
                "paragraph": [passage[:3_000] for _, passage in rows],
                "language": [language_group(language_code(language))] * len(rows),
            }
        )
        reasons = check_questions(table, CheckSettings(), identify).to_pylist()
        asked += len(rows)
        tell(f"{language} {source}", rows, reasons)
    print(f"{asked:,} questions, {time.process_time() - begun:.1f} CPU seconds with reading and compiling")


def pairs_by_source(folder: Path) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """(question, its first passage) of each (language, source)."""
    with gzip.open(folder / "corpus.jsonl.gz", "rt") as lines:
        texts = {row["_id"]: row["text"] for row in map(json.loads, lines)}
    judged: dict[str, str] = {}
    for line in (folder / "qrels.train.tsv").read_text().splitlines()[1:]:
        query, passage, _ = line.split("\t")
        judged.setdefault(query, passage)
    pairs = defaultdict(list)
    with gzip.open(folder / "queries.train.jsonl.gz", "rt") as lines:
        for row in map(json.loads, lines):
            if row["_id"] in judged:
                pairs[row["lang"], row["source"]].append((row["text"], texts[judged[row["_id"]]]))
    return pairs


def tell(name: str, rows: list[tuple[str, str]], reasons: list[str | None]) -> None:
    counts = Counter(reason for reason in reasons if reason)
    kept = 100 * reasons.count(None) / len(reasons)
    print(f"{name:<24} {len(rows):>6,} kept {kept:5.1f} %  {dict(counts.most_common())}")
    for reason in counts:
        sample = next(question for (question, _), found in zip(rows, reasons, strict=True) if found == reason)
        print(f"    {reason}: {sample[:110]}")


if __name__ == "__main__":
    main()
