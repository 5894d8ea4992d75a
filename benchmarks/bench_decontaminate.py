"""Decontamination: edited copies of evaluation queries found, other people's queries not dropped, and the CPU time of both.

    python benchmarks/bench_decontaminate.py DATA

DATA is a folder with topics_qrels/topics (MIRACL, Mr.TyDi, MS MARCO, NQ, TriviaQA). Edited copies: one letter in ten of a query
replaced, one letter of it, a word left out of five or more, a word (or letter of Chinese and Japanese) put in. Unrelated:
MS MARCO's queries against NQ's and TriviaQA's. The timing repeats the training queries, with a number put in, up to 500,000.
"""

import gzip
import random
import sys
import time
from pathlib import Path

import pyarrow as pa

from filters.leakage import LeakageSettings, build_query_index, find_leaks

LANGUAGES = ("en", "de", "es", "ru", "ar", "zh", "ja", "id")
LETTERS = {
    "ru": "оеаинтсрвл", "ar": "اليمنوترعب", "zh": "的一是在有人这中大来", "ja": "いのんしかとなたてる"
}  # fmt: skip
LONG = 15  # letters from which one in ten may be another in Chinese and Japanese
TIMED = 500_000


def column(files: list[Path], place: int) -> list[str]:
    lines = []
    for file in files:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        lines += [line.split("\t")[place] for line in content.decode().rstrip("\n").split("\n")]
    return list(dict.fromkeys(lines))


def replaced(text: str, edits: int, letters: str, choose: random.Random) -> str:
    characters = list(text)
    for place in choose.sample([n for n, c in enumerate(characters) if c.isalpha()], edits):
        characters[place] = choose.choice([letter for letter in letters if letter != characters[place].lower()])
    return "".join(characters)


def edited(text: str, kind: str, language: str, choose: random.Random) -> str | None:
    letters = LETTERS.get(language, "etaoinshrd")
    alphabetic = sum(character.isalpha() for character in text)
    if kind == "one letter in ten":
        return replaced(text, max(1, alphabetic // 10), letters, choose)
    if kind == "one letter":
        return replaced(text, 1, letters, choose)
    units = list(text) if language in ("zh", "ja") else text.split()
    if len(units) < (10 if language in ("zh", "ja") else 5):
        return None
    place = choose.randrange(1, len(units))
    changed = [*units[:place], *units[place + 1 :]]
    if kind == "a word put in":
        changed = [*units[:place], choose.choice(letters) * (1 if language in ("zh", "ja") else 4), *units[place:]]
    return ("" if language in ("zh", "ja") else " ").join(changed)


def main(data: Path) -> None:
    topics = data / "topics_qrels" / "topics"
    kinds = ("one letter", "one letter in ten", "a word left out", "a word put in")
    print("found of edited copies", *kinds, sep="\t")
    for language, sets, least in (
        *((language, "dev", 0) for language in LANGUAGES),
        ("ja", "*", LONG),
        ("zh", "*", LONG),
    ):
        queries = column(sorted(topics.glob(f"topics.miracl-v1.0-{language}-{sets}.tsv")), 1)
        queries = [query for query in queries if sum(character.isalnum() for character in query) >= least]
        index = build_query_index(pa.array(queries))
        shares = []
        for kind in kinds:
            choose = random.Random(7)
            copies = [(n, copy) for n, query in enumerate(queries) if (copy := edited(query, kind, language, choose))]
            leaks = find_leaks(pa.array([copy for _, copy in copies]), index)
            found = set(zip(leaks["row"].to_pylist(), leaks["query"].to_pylist(), strict=True))
            shares.append(f"{sum((row, n) in found for row, (n, _) in enumerate(copies)) / len(copies):.3f}")
        of_least = f" of {least} letters" if least else ""
        print(f"{language}{of_least} ({len(queries)})", *shares, sep="\t")

    questions = column([*topics.glob("topics.nq.*.txt"), *topics.glob("topics.dpr.trivia.*")], 0)
    web = column([topics / "topics.msmarco-passage.dev-subset.txt"], 1)
    for rules in (LeakageSettings(), LeakageSettings(near=False)):
        leaks = find_leaks(pa.array(web), build_query_index(pa.array(questions), rules), rules)
        dropped = len(set(leaks["row"].to_pylist()))
        print(f"MS MARCO against NQ and TriviaQA, near={rules.near}: {dropped} of {len(web)} queries dropped")

    timed = pa.array([f"{web[n % len(web)]} {n}" for n in range(TIMED)])
    start = time.process_time()
    index = build_query_index(pa.array(questions))
    built = time.process_time()
    for at in range(0, TIMED, 4096):
        find_leaks(timed.slice(at, 4096), index)
    print(f"index of {len(questions)} queries: {built - start:.2f} CPU s; {TIMED} queries looked up: "
          f"{time.process_time() - built:.2f} CPU s")  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
