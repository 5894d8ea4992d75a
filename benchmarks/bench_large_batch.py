"""Memory and time of one exact contrastive step as its batch grows: gradient cache and tiled loss.

    python benchmarks/bench_large_batch.py [--batches 512 4096] [--loss 4096 16384 65536]

First a step of a small random BERT (2 layers, 128 dimensions) on random texts, then the loss alone on random embeddings of 128
dimensions, one negative a query, forward and backward. Each line is a process of its own; memory is the peak above what it had
before. The matrix is what a plain loss would hold: queries x passages x 4 bytes.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="*", default=[512, 4096])
    parser.add_argument("--loss", type=int, nargs="*", default=[4096, 16_384])
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, batch = arguments.child
        print(json.dumps({"step": step, "loss": loss}[what](int(batch))))
        return
    for what, batches in (("step", arguments.batches), ("loss", arguments.loss)):
        for batch in batches:
            command = [sys.executable, __file__, "--child", what, str(batch)]
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=None, cwd=Path(__file__).parents[1]
            )
            found = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{what} {batch:6}: " + ", ".join(f"{name} {value:,.1f}" for name, value in found.items()), flush=True
            )


def step(batch: int) -> dict[str, float]:
    import torch
    from transformers import BertConfig, BertModel

    from trainer.gradient_cache import CachedEmbeddings, TextEncoder
    from trainer.loss import LossSettings, contrastive_loss
    from trainer.ragged import Ragged

    config = BertConfig(
        vocab_size=5000, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512
    )
    model = BertModel(config, add_pooling_layer=False).train()
    encoder = TextEncoder(model, "cls", True, 0, torch.device("cpu"), torch.float32)
    random = np.random.default_rng(0)
    lengths = np.concatenate([random.integers(5, 20, batch), random.integers(20, 80, batch)])
    texts = Ragged.with_lengths(random.integers(5, 5000, lengths.sum(), np.int32), lengths)
    masks = no_masks(batch, 1)

    def once() -> None:
        cache = CachedEmbeddings(encoder, texts, (0,), tokens_at_once=0)
        leaf = cache.embeddings.requires_grad_()
        contrastive_loss(leaf[:batch], leaf[batch:], masks, LossSettings()).backward()
        cache.backward(leaf.grad)

    warm = CachedEmbeddings(encoder, texts.take(np.arange(4)), (0,), tokens_at_once=0)
    warm.backward(torch.zeros_like(warm.embeddings))
    return measured(once)


def loss(batch: int) -> dict[str, float]:
    import torch

    from trainer.loss import LossSettings, contrastive_loss

    queries, passages = (
        torch.nn.functional.normalize(torch.randn(rows, 128), dim=1).requires_grad_() for rows in (batch, 2 * batch)
    )
    masks = no_masks(batch, 2)
    found = measured(lambda: contrastive_loss(queries, passages, masks, LossSettings()).backward())
    return found | {"matrix MB": batch * 2 * batch * 4 / 2**20}


def no_masks(batch: int, width: int) -> Any:
    import torch

    from trainer.loss import Direction, LossMasks

    nothing = torch.empty(0, dtype=torch.int64)
    return LossMasks(Direction(0, width, nothing, nothing), None, None, True, None, batch)


def measured(work: Any) -> dict[str, float]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, cpu = memory("VmRSS"), time.process_time()
    work()
    return {"CPU s": time.process_time() - cpu, "peak MB": memory("VmHWM") - before}


def memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


if __name__ == "__main__":
    main()
