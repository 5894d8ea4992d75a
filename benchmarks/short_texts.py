"""Collects titles, questions and the beginnings of sentences, 3 to 12 words long, for bench_near_duplicates --short.

    python benchmarks/short_texts.py DATA OUT.jsonl

DATA is a folder with any of: arcd, drcd, squad (questions and sentences of SQuAD's layout), debian_ddtp (package
titles), ntrex128 (sentences, cut) and retrieval_bench (queries). OUT gets {text, lang}, each text once.
"""

import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_WORDS = 12
MOST_CHARACTERS = 40  # of Chinese and Japanese
SQUAD_LANGUAGES = {"arcd": "ar", "drcd": "zh", "squad": "en"}
NTREX_LANGUAGES = {"deu": "de", "eng": "en", "jpn": "ja", "zho_Hans": "zh"}


def main() -> None:
    data, out = map(Path, sys.argv[1:])
    seen: set[str] = set()
    with out.open("w", encoding="utf-8") as lines:
        for language, found in texts(data):
            text = " ".join(found.split())
            if text and text not in seen:
                seen.add(text)
                lines.write(json.dumps({"text": text, "lang": language}, ensure_ascii=False) + "\n")
    print(f"{len(seen):,} texts")


def texts(data: Path) -> Iterator[tuple[str, str]]:
    for folder, language in SQUAD_LANGUAGES.items():
        for file in sorted((data / folder).glob("*.json")):
            yield from ((language, text) for text in squad_texts(file, language))
    for file in sorted((data / "debian_ddtp").glob("Translation-*.gz")):
        language = file.stem.removeprefix("Translation-")[:2]
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            yield from ((language, found[1]) for line in lines if (found := re.match(r"Description-\w+: (.+)", line)))
    for file in sorted((data / "ntrex128").glob("*.txt")):
        if language := NTREX_LANGUAGES.get(file.stem.split(".")[1].partition("-")[0], ""):
            yield from ((language, cut(line, language)) for line in file.read_text(encoding="utf-8").splitlines())
    for file in sorted((data / "retrieval_bench").glob("queries.*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            yield from ((row["lang"], row["text"]) for row in map(json.loads, lines))


def squad_texts(file: Path, language: str) -> Iterator[str]:
    """The questions and, cut, the sentences of the passages."""
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            yield from (question["question"] for question in paragraph["qas"])
            yield from (cut(sentence, language) for sentence in re.split(r"(?<=[.。!?])\s*", paragraph["context"]))


def cut(sentence: str, language: str) -> str:
    """The beginning of a sentence, as long as the longest title."""
    if language in ("zh", "ja"):
        return sentence[:MOST_CHARACTERS]
    return " ".join(sentence.split()[:MOST_WORDS])


if __name__ == "__main__":
    main()
