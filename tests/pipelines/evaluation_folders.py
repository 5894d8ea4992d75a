"""Small evaluation sets in several scripts, and models for them."""

import json
from pathlib import Path

PASSAGES = {
    "en": ["copper river engine", "winter garden bridge", "library lantern market"],
    "de": ["Kupfer Fluss village", "Garten summer teacher", "orchard compass Markt"],
    "ar": ["نهر river النحاس", "حديقة garden الشتاء", "سوق market الفوانيس"],
}
QUERIES = {
    "en": ["river engine", "the garden of winter", "market"],
    "de": ["village", "teacher summer", "compass"],
    "ar": ["river", "garden", "market <b>سوق</b>"],
}


def write_lines(file: Path, rows: list[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def write_beir(folder: Path) -> Path:
    """Nine passages and nine queries in three languages; each query has one relevant passage."""
    corpus, queries, judged = [], [], ["query-id\tcorpus-id\tscore"]
    for language, passages in PASSAGES.items():
        for number, text in enumerate(passages):
            corpus.append({"_id": f"d-{language}-{number}", "title": "", "text": text})
            told = {"language": language, "kind": "question"}
            queries.append({"_id": f"q-{language}-{number}", "text": QUERIES[language][number], "metadata": told})
            judged.append(f"q-{language}-{number}\td-{language}-{number}\t1")
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", queries)
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("\n".join(judged) + "\n")
    return folder


def write_miracl(folder: Path, languages: tuple[str, ...] = ("ar", "de")) -> Path:
    """The layout of MIRACL, one corpus a language; ids of queries are ids of passages, as there."""
    for language in languages:
        documents = [{"docid": str(n), "title": "", "text": text} for n, text in enumerate(PASSAGES[language])]
        write_lines(folder / f"miracl-corpus-v1.0-{language}" / "docs-0.jsonl", documents)
        topics = "".join(f"{n}\t{text}\n" for n, text in enumerate(QUERIES[language]))
        (folder / f"topics.miracl-v1.0-{language}-dev.tsv").write_text(topics, "utf-8")
        qrels = "".join(f"{n}\tQ0\t{n}\t1\n" for n in range(len(QUERIES[language])))
        (folder / f"qrels.miracl-v1.0-{language}-dev.tsv").write_text(qrels)
    return folder


def write_sts(folder: Path) -> Path:
    pairs = [
        ("river", "river engine", 4.0),
        ("garden", "winter", 2.5),
        ("market", "copper", 0.0),
        ("engine", "engine", 5.0),
    ]
    write_lines(folder / "test.jsonl", [{"sentence1": a, "sentence2": b, "score": c} for a, b, c in pairs])
    return folder
