"""Memory of the lexical output in training: ours beside a tensor texts x tokens x vocabulary, as FlagEmbedding makes it.

    python benchmarks/bench_lexical_memory.py [--peer PYTHON] [--texts 64] [--tokens 512] [--vocabulary 250002]

Forward and backward from token weights to the scores of all texts with each other and their gradients, in fp32 on the
CPU, a process each; what a process holds before is taken off its peak. Token ids follow Zipf's law. FlagEmbedding's is
measured on a few short texts, by its own code where PYTHON has it, and is proportional to texts x tokens; its factor is
told, and what it comes to at the size asked for.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

SMALL = ((1, 64), (2, 64), (4, 64))
SPECIAL = {"cls_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "unk_token_id": 3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=sys.executable, help="a Python with FlagEmbedding; else its steps restated")
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=250_002)
    parser.add_argument("--child", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run = ours if arguments.child == "ours" else theirs
        print(json.dumps(run(arguments.texts, arguments.tokens, arguments.vocabulary)))
        return
    size = f"{arguments.texts} x {arguments.tokens}"
    own = measured(sys.executable, "ours", arguments.texts, arguments.tokens, arguments.vocabulary)
    print(f"ours            {size:>10} {own['bytes'] / 2**20:10.1f} MiB   {own['seconds']:.2f} CPU s")
    factors = []
    for texts, tokens in SMALL:
        found = measured(arguments.peer, "theirs", texts, tokens, arguments.vocabulary)
        factors.append(found["bytes"] / (texts * tokens * arguments.vocabulary * 4))
        print(
            f"{found['name']:15} {f'{texts} x {tokens}':>10} {found['bytes'] / 2**20:10.1f} MiB   {found['seconds']:.2f} CPU s"
            f"   {factors[-1]:.2f} times texts x tokens x vocabulary x 4 bytes"
        )
    scaled = factors[-1] * arguments.texts * arguments.tokens * arguments.vocabulary * 4
    print(f"at {size}: {scaled / 2**30:.1f} GiB (scaled up); ours is 1/{scaled / own['bytes']:,.0f} of it")


def measured(python: str, child: str, texts: int, tokens: int, vocabulary: int) -> dict:
    sizes = ["--texts", texts, "--tokens", tokens, "--vocabulary", vocabulary]
    command = [python, __file__, "--child", child, *map(str, sizes)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def some_tokens(texts: int, tokens: int, vocabulary: int) -> tuple[np.ndarray, torch.Tensor]:
    """Ids [texts, tokens], and weights as they come from the linear layer."""
    random = np.random.default_rng(0)
    ids = 4 + (random.zipf(1.3, (texts, tokens)) - 1) % (vocabulary - 4)
    ids[:, 0], ids[:, -1] = SPECIAL["cls_token_id"], SPECIAL["eos_token_id"]
    return ids, torch.tensor(random.normal(0.1, 0.3, (texts, tokens)), dtype=torch.float32)


def peak_of(work) -> dict:
    """Peak bytes of `work()` beyond what the process holds, after a small call that loads what is loaded once."""
    import time

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, started = status("VmRSS"), time.process_time()
    work()
    return {"bytes": status("VmHWM") - before, "seconds": time.process_time() - started}


def status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def ours(texts: int, tokens: int, vocabulary: int) -> dict:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from trainer.lexical_product import largest_of_each_token, lexical_scores

    special = np.array(list(SPECIAL.values()))

    def step(texts: int, tokens: int) -> None:
        ids, raw = some_tokens(texts, tokens, vocabulary)
        leaf = raw.requires_grad_()
        weights = torch.relu(leaf).flatten()
        rows, _ = largest_of_each_token(weights, ids.ravel(), np.full(texts, tokens), special)
        torch.logsumexp(lexical_scores(rows, rows), dim=1).sum().backward()
        assert leaf.grad is not None and float(leaf.grad.abs().sum()) > 0

    step(2, 8)
    return peak_of(lambda: step(texts, tokens))


def theirs(texts: int, tokens: int, vocabulary: int) -> dict:
    try:
        from FlagEmbedding.finetune.embedder.encoder_only.m3.modeling import EncoderOnlyEmbedderM3Model

        name, embed = "FlagEmbedding", EncoderOnlyEmbedderM3Model._sparse_embedding
    except ImportError:
        name, embed = "dense scatter", dense_scatter
    model = SimpleNamespace(
        sparse_linear=torch.nn.Identity(), vocab_size=vocabulary, training=True, tokenizer=SimpleNamespace(**SPECIAL)
    )

    def step(texts: int, tokens: int) -> None:
        ids, raw = some_tokens(texts, tokens, vocabulary)
        leaf = raw.requires_grad_()
        vectors = embed(model, leaf[:, :, None], torch.from_numpy(ids))
        torch.logsumexp(vectors @ vectors.T, dim=1).sum().backward()
        assert leaf.grad is not None and float(leaf.grad.abs().sum()) > 0

    step(2, 8)
    return {"name": name, **peak_of(lambda: step(texts, tokens))}


def dense_scatter(model, hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """A vector as wide as the vocabulary for every token, then the largest over a text's tokens."""
    weights = torch.relu(model.sparse_linear(hidden))
    wide = torch.zeros(*ids.shape, model.vocab_size).scatter(-1, ids.unsqueeze(-1), weights)
    vectors = wide.max(dim=1).values
    vectors[:, list(SPECIAL.values())] *= 0.0
    return vectors


if __name__ == "__main__":
    main()
