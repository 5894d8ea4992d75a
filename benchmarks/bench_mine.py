"""Mining hard negatives beside sentence-transformers' mine_hard_negatives and FlagEmbedding's hn_mine.py, on the same work.

    python benchmarks/bench_mine.py DATA --model MODEL [--peer PYTHON --hn-mine FILE] [--queries 2000] [--passages 4000]
                                    [--select-queries 61230] [--repeats 3] [--only whole select] [--work FOLDER]

DATA is a folder in BEIR's layout: corpus.jsonl.gz {_id, title, text}, queries.train.jsonl.gz, qrels.train.tsv. Each way is
a process of its own, fp32 on the same threads, texts cut at 256 tokens: 15 negatives at random from ranks 10 to 210,
the defaults of hn_mine.py (no rule of any of the three that needs the positive's score).

whole    --queries queries and --passages passages from files to a file, encoding included
select   all queries and passages with made-up embeddings (a query's lies near its positive's): pairmill finds them in its
         store, the others get them from a lookup in place of their encoder, whose time is taken off

Shown are medians: seconds of the whole process, seconds of mining without imports and model loading (pairmill's stages load
the model), of that those of search and selection (in `whole` with the encoding, but pairmill's; hn_mine's with reading
and writing), CPU seconds, and the most memory of any of its processes. --peer is a Python that has FlagEmbedding and faiss; FlagEmbedding's wheel does
not hold scripts/hn_mine.py, so --hn-mine names it.
"""

import argparse
import gzip
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

FIRST_RANK, LAST_RANK, NEGATIVES, LENGTH = 10, 210, 15, 256
SHOWN = ("wall", "mining", "selecting", "cpu", "megabytes")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", required=True, help="a sentence-transformers folder")
    parser.add_argument("--peer", help="a Python with FlagEmbedding and faiss")
    parser.add_argument("--hn-mine", type=Path, help="FlagEmbedding's scripts/hn_mine.py")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--passages", type=int, default=4000)
    parser.add_argument("--select-queries", type=int, default=1 << 30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=["whole", "select"], default=["whole", "select"])
    parser.add_argument("--work", type=Path, help="kept; default: a temporary folder")
    parser.add_argument("--child", nargs=3, metavar=("WAY", "FOLDER", "MODEL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        way, folder, model = arguments.child
        CHILDREN[way](Path(folder), model, arguments.hn_mine)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        if "whole" in arguments.only:
            folder = prepare(arguments, work / "whole", arguments.queries, arguments.passages)
            compare(arguments, folder, "whole, encoding included")
        if "select" in arguments.only:
            folder = prepare(arguments, work / "select", arguments.select_queries, 1 << 30)
            # In a process of its own: the peak memory of a child counts what its parent held when it started.
            command = [sys.executable, __file__, ".", "--model", arguments.model, "--child", "embed", str(folder)]
            subprocess.run([*command, arguments.model], check=True)
            compare(arguments, folder, "search and selection")


def prepare(arguments: argparse.Namespace, folder: Path, queries: int, passages: int) -> Path:
    """pairs.jsonl in FlagEmbedding's form, of so many queries, and pool.jsonl of so many passages with their positives."""
    if (folder / "pool.jsonl").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    choose = random.Random(0)
    corpus = {
        row["_id"]: f"{row.get('title') or ''} {row['text']}".strip() for row in rows_of(arguments.data, "corpus")
    }
    texts = {row["_id"]: row["text"] for row in rows_of(arguments.data, "queries.train")}
    positives: dict[str, list[str]] = {}
    for line in (arguments.data / "qrels.train.tsv").read_text("utf-8").splitlines()[1:]:
        query, document = line.split("\t")[:2]
        positives.setdefault(query, []).append(document)
    chosen = sorted(choose.sample(sorted(positives), min(queries, len(positives))))
    pool = {document for query in chosen for document in positives[query]}
    others = sorted(corpus.keys() - pool)
    pool |= set(choose.sample(others, max(0, min(passages, len(corpus)) - len(pool))))
    with (folder / "pairs.jsonl").open("w", encoding="utf-8") as stream:
        for query in chosen:
            row = {"query": texts[query], "pos": [corpus[each] for each in positives[query]]}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    with (folder / "pool.jsonl").open("w", encoding="utf-8") as stream:
        for text in dict.fromkeys(corpus[document] for document in sorted(pool)):
            stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    return folder


def rows_of(data: Path, name: str) -> list[Row]:
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def read(folder: Path) -> tuple[list[Row], list[str]]:
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").open(encoding="utf-8")]
    return pairs, [json.loads(line)["text"] for line in (folder / "pool.jsonl").open(encoding="utf-8")]


def embed(folder: Path, model: str, _: Path | None) -> None:
    """Fill pairmill's store with made-up unit vectors, and write the same for the others."""
    if (folder / "vectors.npy").exists():
        return
    import numpy as np
    import pyarrow as pa

    from trainer.embedding_store import EmbeddingStore, encoder_identity, text_keys
    from trainer.encoder import Encoder, EncoderSettings

    pairs, pool = read(folder)
    queries = list({row["query"]: row for row in pairs}.values())
    row_of = {text: row for row, text in enumerate(pool)}
    encoder = Encoder(EncoderSettings(model=model, max_query_length=LENGTH, max_passage_length=LENGTH, device="cpu"))
    draw = np.random.default_rng(0)
    topics = draw.standard_normal((1 + len(pool) // 50, encoder.dimension))
    passages = unit(
        topics[draw.integers(0, len(topics), len(pool))] + draw.standard_normal((len(pool), topics.shape[1]))
    )
    near = passages[[row_of[row["pos"][0]] for row in queries]]
    asked = unit(near + 0.06 * draw.standard_normal(near.shape))
    texts = {"query": [row["query"] for row in queries], "passage": pool}
    for role, vectors in (("query", asked), ("passage", passages)):
        space = EmbeddingStore(folder / "embeddings").space(encoder_identity(encoder, role), encoder.dimension)
        space.add(text_keys(pa.array(texts[role], pa.large_string()).cast(pa.string())), vectors.astype(np.float16))
    (folder / "texts.json").write_text(json.dumps([*texts["query"], *texts["passage"]]), "utf-8")
    np.save(folder / "vectors.npy", np.concatenate([asked, passages]).astype(np.float16).astype(np.float32))


def unit(vectors: Any) -> Any:
    import numpy as np

    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def mining_command(folder: Path, model: str) -> list[str]:
    settings = {
        "encoder.max_query_length": str(LENGTH),
        "encoder.max_passage_length": str(LENGTH),
        "encoder.device": "cpu",
    }
    files = {"--pairs": "pairs.jsonl", "--corpus": "pool.jsonl", "--output": "mined.jsonl"}
    command = [sys.executable, "-m", "pipelines.command_line", "mine", "--preset", "hn_mine", "--model", model]
    command += ["--output-format", "flagembedding", "--log-json"]
    command += [word for option, name in files.items() for word in (option, str(folder / name))]
    command += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    if folder.name == "select":
        command += ["--embeddings", str(folder / "embeddings")]
    return command


def compare(arguments: argparse.Namespace, folder: Path, title: str) -> None:
    pairs, pool = read(folder)
    child = [str(Path(__file__).resolve()), ".", "--model", arguments.model, "--child"]
    commands = {"pairmill": mining_command(folder, arguments.model)}
    commands["sentence-transformers"] = [sys.executable, *child, "sentence-transformers", str(folder), arguments.model]
    if arguments.peer and arguments.hn_mine:
        peer = [arguments.peer, *child, "hn_mine", str(folder), folder_of(arguments.model)]
        commands["hn_mine"] = [*peer, "--hn-mine", str(arguments.hn_mine)]
    else:
        print("hn_mine is left out: --peer and --hn-mine name a Python with FlagEmbedding and the script")
    measured: dict[str, list[dict[str, float]]] = {way: [] for way in commands}
    for _ in range(arguments.repeats):
        for way, command in commands.items():
            measured[way].append(measure(command, folder))
    print(f"\n{title}: {len(pairs):,} queries, {len(pool):,} passages, median of {arguments.repeats}\n")
    print("| way | whole process, s | mining, s | of that search and selection, s | CPU s | peak MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for way, runs in measured.items():
        shown = (f"{median(run[name] for run in runs):,.1f}" for name in SHOWN)
        print(f"| {way} | {' | '.join(shown)} |", flush=True)


def measure(command: list[str], folder: Path) -> dict[str, float]:
    """Run a command: its seconds, those it says mining took, CPU seconds and peak memory."""
    said = folder / "seconds.json"
    said.unlink(missing_ok=True)
    (folder / "mined.jsonl").unlink(missing_ok=True)
    started = time.perf_counter()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{(folder / 'log.txt').read_text()[-3000:]}")
    if said.exists():
        mining, selecting = json.loads(said.read_text())
    else:
        stages = {each["stage"]: each["seconds"] for each in events(folder / "log.txt") if each["event"] == "finished"}
        mining, selecting = sum(stages.values()), stages["mine"]
    cpu = used.ru_utime + used.ru_stime
    return {"wall": wall, "mining": mining, "selecting": selecting, "cpu": cpu, "megabytes": used.ru_maxrss / 1000}


def events(log: Path) -> list[Row]:
    return [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith('{"event"')]


def lookup(folder: Path, spent: list[float]) -> Callable[..., Any] | None:
    """In place of an encoder: texts to the vectors made before; None where the real one is to run."""
    if not (folder / "vectors.npy").exists():
        return None
    import numpy as np

    vectors = np.load(folder / "vectors.npy")
    row = {text: number for number, text in enumerate(json.loads((folder / "texts.json").read_text("utf-8")))}

    def encode(texts: list[str], **_: Any) -> Any:
        started = time.perf_counter()
        found = vectors[[row[text] for text in texts]]
        spent.append(time.perf_counter() - started)
        return found

    return encode


def sentence_transformers_mines(folder: Path, model: str, _: Path | None) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    encoder = SentenceTransformer(folder_of(model), device="cpu", local_files_only=True)
    encoder.max_seq_length = LENGTH
    spent: list[float] = []
    encode = lookup(folder, spent)
    if encode is not None:
        encoder.encode_query = encoder.encode_document = encode  # type: ignore[method-assign]
    started = time.perf_counter()
    pairs, pool = read(folder)
    rows = [(row["query"], positive) for row in pairs for positive in row["pos"]]
    data = Dataset.from_dict({"query": [query for query, _ in rows], "positive": [positive for _, positive in rows]})
    mining = time.perf_counter()
    mined = mine_hard_negatives(
        data,
        encoder,
        corpus=pool,
        range_min=FIRST_RANK,
        range_max=LAST_RANK,
        num_negatives=NEGATIVES,
        sampling_strategy="random",
        output_format="n-tuple",
        verbose=False,
    )
    mined_after = time.perf_counter() - mining
    mined.to_json(folder / "mined.jsonl", force_ascii=False)
    say(folder, time.perf_counter() - started - sum(spent), mined_after - sum(spent))


def hn_mine(folder: Path, model: str, script: Path | None) -> None:
    from FlagEmbedding import FlagAutoModel

    assert script is not None
    found = importlib.util.spec_from_file_location("hn_mine", script)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    encoder = FlagAutoModel.from_finetuned(
        folder_of(model),
        model_class="encoder-only-base",
        pooling_method="mean",
        use_fp16=False,
        devices=["cpu"],
        query_max_length=LENGTH,
        passage_max_length=LENGTH,
    )
    spent: list[float] = []
    encode = lookup(folder, spent)
    if encode is not None:
        encoder.encode = encoder.encode_queries = encode
    started = time.perf_counter()
    files = [str(folder / name) for name in ("pairs.jsonl", "mined.jsonl", "pool.jsonl")]
    module.find_knn_neg(encoder, *files, [FIRST_RANK, LAST_RANK], NEGATIVES, False)
    mining = time.perf_counter() - started - sum(spent)
    say(folder, mining, mining)  # it reads and writes in the same function


def folder_of(model: str) -> str:
    """package://PACKAGE/FOLDER as a path."""
    if not model.startswith("package://"):
        return model
    package, _, inside = model.removeprefix("package://").partition("/")
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        sys.exit(f"{model}: this Python has no package {package}. Name the model's folder.")
    return str(Path(next(iter(found.submodule_search_locations))) / inside)


def say(folder: Path, mining: float, selecting: float) -> None:
    (folder / "seconds.json").write_text(json.dumps([mining, selecting]))


CHILDREN: dict[str, Callable[[Path, str, Path | None], None]] = {
    "embed": embed,
    "sentence-transformers": sentence_transformers_mines,
    "hn_mine": hn_mine,
}

if __name__ == "__main__":
    main()
