"""Memory and time of one exact contrastive step as its batch grows: gradient cache, gradient checkpointing, tiled loss.

    python benchmarks/bench_large_batch.py [--batches 512 4096] [--loss 4096 16384 65536 [--dimensions 384] [--compiled]]
    python benchmarks/bench_large_batch.py --lengths 1024 4096 8192 --memory 0.4 [--device cuda --layers 12 --width 768]

The first form takes steps of a small random BERT (2 layers, 128 dimensions) on random texts, then the loss alone on random
embeddings of 128 dimensions, one negative a query, forward and backward. Each line is a process of its own; memory is the peak
above what it had before. The matrix is what a plain loss would hold: queries x passages x 4 bytes. --compiled has the tiles of the
loss alone compiled, as on CUDA, after a first call that is not measured.

The second form is Table 10 of M3 (arXiv 2402.03216): for each length of passages (queries have 32 tokens) the largest batch in
which the whole step is one forward with its graph kept, under a limit of memory above what the process has when the model is
loaded; then, under the same limit, the batch that is as much larger as in the paper (3.3, 10.3, 21.7 times), split: embeddings by
gradient cache, a text of that length at a time, with gradient checkpointing. "fits" says that the ratio is reached. With
--search it is doubled on until it fits no more. A model on a CPU has no attention dropout here: with it torch's CPU kernel holds
all L x L weights of a text.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

PAPER: Final = {1024: (262, 855), 4096: (25, 258), 8192: (6, 130)}  # M3 Table 10: per device (80 GB), without and with
QUERY_TOKENS: Final = 32
VOCABULARY: Final = 5000
NO_MEMORY: Final = 86  # exit status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="*", default=[512, 4096])
    parser.add_argument("--loss", type=int, nargs="*", default=[4096, 16_384])
    parser.add_argument("--dimensions", type=int, default=128, help="of the loss alone")
    parser.add_argument("--compiled", action="store_true", help="the loss alone with compiled tiles, on a CPU")
    parser.add_argument("--lengths", type=int, nargs="*", default=[], help="tokens of a passage: the second form")
    parser.add_argument("--memory", type=float, default=0.4, help="GB above what the process has with its model loaded")
    parser.add_argument("--search", action="store_true", help="find the largest split batch, too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=64, help="dimensions; heads have 32")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, about = arguments.child
        print(json.dumps({"step": step, "loss": loss, "one_batch": one_batch}[what](json.loads(about))))
        return
    if arguments.lengths:
        table_10(arguments)
        return
    about_loss = {"dimensions": arguments.dimensions, "compiled": arguments.compiled}
    for what, batches, about in (("step", arguments.batches, {}), ("loss", arguments.loss, about_loss)):
        for batch in batches:
            found = in_a_process(what, about | {"batch": batch})
            assert found is not None
            print(
                f"{what} {batch:6}: " + ", ".join(f"{name} {value:,.2f}" for name, value in found.items()), flush=True
            )


def in_a_process(what: str, about: Any) -> dict[str, float] | None:
    """What one try measured; None where it had too little memory."""
    command = [sys.executable, __file__, "--child", what, json.dumps(about)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    if done.returncode == NO_MEMORY or done.returncode < 0:
        return None
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def table_10(arguments: argparse.Namespace) -> None:
    shape = {name: getattr(arguments, name) for name in ("memory", "device", "layers", "width")}
    print(
        f"{arguments.layers} layers of {arguments.width} on {arguments.device}, {arguments.memory} GB above the model"
    )
    for length in arguments.lengths:
        whole, _ = largest(shape | {"length": length, "split": False}, 1)
        without, with_split = PAPER.get(length, (1, 1))
        wanted = math.ceil(whole * with_split / without)
        split = shape | {"length": length, "split": True}
        found = in_a_process("one_batch", split | {"pairs": wanted})
        told = (
            "does not fit" if found is None else f"fits: {found['CPU s']:,.0f} CPU s, peak {found['peak MB']:,.0f} MB"
        )
        print(
            f"{length:6} tokens: whole {whole:,} pairs; split {wanted:,} ({wanted / whole:.1f} times) {told}",
            flush=True,
        )
        if arguments.search and found is not None:
            most, seconds = largest(split, 2 * wanted)
            most = max(most, wanted)
            print(
                f"        split at most {most:,} pairs ({most / whole:.1f} times), {seconds:,.0f} CPU s in all",
                flush=True,
            )


def largest(about: dict[str, Any], first: int) -> tuple[int, float]:
    """The most pairs that fit, 0 for none, and the CPU seconds that the tries took; doubled from `first`, then halved."""
    fits, fails, seconds = 0, 0, 0.0
    while not fails or fails - fits > max(1, fits // 20):  # to 5 %
        pairs = (fits + fails) // 2 if fails else max(first, 2 * fits)
        found = in_a_process("one_batch", about | {"pairs": pairs})
        seconds += 0.0 if found is None else found["CPU s"]
        fits, fails = (fits, pairs) if found is None else (pairs, fails)
        if fails == 1:
            raise SystemExit(f"Not even one pair fits into {about['memory']} GB: give it more with --memory.")
    return fits, seconds


def one_batch(about: dict[str, Any]) -> dict[str, float]:
    """One step under the limit."""
    import torch

    from trainer.batch_size_search import out_of_memory
    from trainer.gradient_cache import CachedEmbeddings, TextEncoder
    from trainer.loss import LossSettings, contrastive_loss
    from trainer.ragged import Ragged

    device = torch.device(about["device"])
    model = random_bert(about["layers"], about["width"], max(512, about["length"]), device)
    if about["split"]:
        model.activation_checkpointing_enable({"use_reentrant": False})
    encoder = TextEncoder(model, "cls", True, 0, device, torch.float32)
    random, pairs = np.random.default_rng(0), int(about["pairs"])
    lengths = np.repeat([QUERY_TOKENS, about["length"]], pairs)
    texts = Ragged.with_lengths(random.integers(5, VOCABULARY, lengths.sum(), np.int32), lengths)
    everything = {} if about["split"] else {"tokens_per_forward": 2**40}

    def once(texts: Ragged, count: int) -> None:
        cache = CachedEmbeddings(encoder, texts, (0,), tokens_at_once=0 if about["split"] else 2**40, **everything)
        leaf = cache.embeddings.requires_grad_()
        contrastive_loss(leaf[:count], leaf[count:], no_masks(count, 1), LossSettings()).backward()
        cache.backward(leaf.grad)

    once(Ragged.with_lengths(np.full(20, 7, np.int32), np.full(4, 5)), 2)  # threads, code and gradients are there now
    limit(about["memory"] * 1e9, device)
    try:
        found = measured(lambda: once(texts, pairs))
        on_gpu = {"peak MB": torch.cuda.max_memory_allocated(device) / 2**20} if device.type == "cuda" else {}
        return found | on_gpu
    except Exception as error:
        if out_of_memory(error):
            sys.exit(NO_MEMORY)
        raise


def limit(more: float, device: Any) -> None:
    """Let this process have so many bytes more."""
    import resource

    import torch

    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(device) + more) / total, device)
    else:
        allowed = int(memory("VmData") * 2**20 + more)
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def random_bert(layers: int, width: int, positions: int, device: Any) -> Any:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 32),
        intermediate_size=4 * width,
        max_position_embeddings=positions,
        attention_probs_dropout_prob=0.0 if device.type == "cpu" else 0.1,
    )
    return BertModel(config, add_pooling_layer=False).to(device).train()


def step(about: dict[str, Any]) -> dict[str, float]:
    import torch
    from transformers import BertConfig, BertModel

    from trainer.gradient_cache import CachedEmbeddings, TextEncoder
    from trainer.loss import LossSettings, contrastive_loss
    from trainer.ragged import Ragged

    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512
    )
    model = BertModel(config, add_pooling_layer=False).train()
    encoder = TextEncoder(model, "cls", True, 0, torch.device("cpu"), torch.float32)
    random, batch = np.random.default_rng(0), int(about["batch"])
    lengths = np.concatenate([random.integers(5, 20, batch), random.integers(20, 80, batch)])
    texts = Ragged.with_lengths(random.integers(5, VOCABULARY, lengths.sum(), np.int32), lengths)
    masks = no_masks(batch, 1)

    def once() -> None:
        cache = CachedEmbeddings(encoder, texts, (0,), tokens_at_once=0)
        leaf = cache.embeddings.requires_grad_()
        contrastive_loss(leaf[:batch], leaf[batch:], masks, LossSettings()).backward()
        cache.backward(leaf.grad)

    warm = CachedEmbeddings(encoder, texts.take(np.arange(4)), (0,), tokens_at_once=0)
    warm.backward(torch.zeros_like(warm.embeddings))
    return measured(once)


def loss(about: dict[str, Any]) -> dict[str, float]:
    import torch

    from trainer import fused
    from trainer.loss import LossSettings, contrastive_loss

    batch = int(about["batch"])
    queries, passages = (
        torch.nn.functional.normalize(torch.randn(rows, about["dimensions"]), dim=1).requires_grad_()
        for rows in (batch, 2 * batch)
    )

    def once(count: int) -> None:
        contrastive_loss(queries[:count], passages[: 2 * count], no_masks(count, 2), LossSettings()).backward()

    if about["compiled"]:
        fused.COMPILED_ON = ("cpu",)
        once(64)
    found = measured(lambda: once(batch))
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
