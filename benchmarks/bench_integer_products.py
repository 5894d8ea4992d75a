"""Matrix products of one core: our 16-bit integers beside float32 and bfloat16 of torch, at the shapes of an encoder.

    python benchmarks/bench_integer_products.py [--tokens 528] [--width 384] [--runs 25]

Told are thousand millions of multiplications and additions a second, the best of --runs, and for integers without and with
the rounding of the rows. Where the integers are multiplied in halves (trainer.integer_products), the first line says so.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from trainer import integer_products
from trainer.integer_products import Panels, can_multiply_integers, lay_out, multiply, rounded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=528)
    parser.add_argument("--width", type=int, default=384, help="of the encoder: 384 of small ones, 768 of base")
    parser.add_argument("--runs", type=int, default=25)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    integers = can_multiply_integers()
    how = "in halves" if integer_products._IN_HALVES else "as they are"
    print(f"integers of {integer_products._LANES} lanes, {how}" if integers else "no integers: this CPU has no AVX2")
    print(f"{'layer':10} {'K':>5} {'m':>5} {'int16':>7} {'with rounding':>14} {'fp32':>7} {'bf16':>7}   GMAC/s")
    wide, random = arguments.width, np.random.default_rng(0)
    for layer, width, height in (("query...", wide, 3 * wide), ("output", wide, wide), ("inner", wide, 4 * wide)):
        show(layer, arguments.tokens, width, height, arguments.runs, random, integers)
    show("outer", arguments.tokens, 4 * wide, wide, arguments.runs, random, integers)


def show(
    layer: str, tokens: int, width: int, height: int, runs: int, random: np.random.Generator, integers: bool
) -> None:
    rows, weights = (random.standard_normal((count, width), dtype=np.float32) for count in (tokens, height))
    work = tokens * width * height / 1e9
    found = [float("nan")] * 2
    if integers:
        panels, products = Panels.empty(height, width), np.empty((tokens, height), np.float32)
        lay_out(rounded(weights), panels)
        its_rows = rounded(rows)
        found = [
            work / shortest(lambda: multiply(its_rows, panels, products), runs),
            work / shortest(lambda: multiply(rounded(rows), panels, products), runs),
        ]
    for kind in (torch.float32, torch.bfloat16):
        left, right = torch.from_numpy(rows).to(kind), torch.from_numpy(weights).to(kind)
        found.append(work / shortest(lambda left=left, right=right: torch.nn.functional.linear(left, right), runs))
    print(f"{layer:10} {width:5} {height:5} {found[0]:7.1f} {found[1]:14.1f} {found[2]:7.1f} {found[3]:7.1f}")


def shortest(compute: Callable[[], object], runs: int) -> float:
    """Seconds."""
    compute()
    taken = []
    for _ in range(runs):
        before = time.perf_counter()
        compute()
        taken.append(time.perf_counter() - before)
    return min(taken)


if __name__ == "__main__":
    main()
