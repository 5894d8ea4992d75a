"""How far the signatures' estimates of Jaccard similarity are from the truth, beside datasketch's of the same shingles.

    python benchmarks/bench_jaccard.py CORPUS --peer PYTHON [--pairs 3000]

CORPUS is the folder of bench_near_duplicates.py, PYTHON one that has datasketch. The truth is the similarity of the sets
of shingles of longer texts; both estimate it with 128 permutations. The theoretical error is root of J (1 - J) / 128.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from filters.minhash import estimate_similarity, signatures_of, sketch_texts
from filters.shingles import CHARACTERS, WORDS, shingle_sets

PEER = """
import json, sys
import numpy as np
from datasketch import MinHash
estimates = []
for line in open(sys.argv[1]):
    left, right = (MinHash(num_perm=128, hashfunc=lambda value: value & 0xFFFFFFFF) for _ in range(2))
    for sketch, shingles in zip((left, right), json.loads(line)):
        sketch.update_batch(shingles)
    estimates.append(left.jaccard(right))
print(json.dumps(estimates))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--peer", required=True, help="a Python with datasketch")
    parser.add_argument("--pairs", type=int, default=3000)
    arguments = parser.parse_args()
    planted = json.loads((arguments.corpus / "clusters.json").read_text())["pairs"]
    step = max(1, len(planted) // arguments.pairs)
    wanted = [(pair[0], pair[1]) for pair in planted[::step]]
    named = {name for pair in wanted for name in pair}
    texts = {}
    with (arguments.corpus / "corpus.jsonl").open() as lines:
        for line in lines:
            row = json.loads(line)
            if row["id"] in named:
                texts[row["id"]] = row["text"]
    sides = [pa.array([texts[pair[side]] for pair in wanted]) for side in (0, 1)]
    truth, ours, sets = estimates_of(sides)
    theirs = peer_estimates(arguments.peer, sets)
    print(f"{len(truth):,} pairs")
    for low, high in ((0, 0.3), (0.3, 0.6), (0.6, 0.8), (0.8, 0.95), (0.95, 1)):
        chosen = (truth > low) & (truth <= high) & (truth < 1)
        if not chosen.any():
            continue
        exact = truth[chosen]
        theory = np.sqrt(np.mean(exact * (1 - exact)) / 128)
        errors = [np.sqrt(np.mean((each[chosen] - exact) ** 2)) for each in (ours, theirs)]
        print(
            f"J {low:.2f} to {high:.2f}: {chosen.sum():5,} pairs; error in theory {theory:.4f}, ours {errors[0]:.4f}, "
            f"datasketch {errors[1]:.4f}; mean difference ours - datasketch {np.mean(ours[chosen] - theirs[chosen]):+.4f}"
        )


def estimates_of(sides: list[pa.Array]) -> tuple[np.ndarray, np.ndarray, list[tuple[list[int], list[int]]]]:
    """The similarity of the pairs' shingles, its estimate, and the sets, of pairs that are both in one longer view."""
    truth, ours, sets = [], [], []
    for view in (WORDS, CHARACTERS):
        sketches = [sketch_texts(side) for side in sides]
        rows = []
        for each in sketches:
            of_view = np.flatnonzero(each["view"].to_numpy() == view)
            rows.append(dict(zip(each["text"].to_numpy()[of_view].tolist(), of_view.tolist(), strict=True)))
        both = sorted(rows[0].keys() & rows[1].keys())
        shingles = [shingle_sets(side.take(pa.array(both, pa.int64())), view) for side in sides]
        joined = np.concatenate([signatures_of(each) for each in sketches])
        left = np.array([rows[0][text] for text in both], np.int64)
        right = np.array([rows[1][text] for text in both], np.int64) + sketches[0].num_rows
        ours.append(estimate_similarity(joined, left, right))
        for one, other in zip(*shingles, strict=True):
            common = len(np.intersect1d(one, other))
            truth.append(common / (len(one) + len(other) - common))
            sets.append((one.tolist(), other.tolist()))
    return np.array(truth), np.concatenate(ours), sets


def peer_estimates(python: str, sets: list[tuple[list[int], list[int]]]) -> np.ndarray:
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps(pair) + "\n" for pair in sets)
        file.flush()
        result = subprocess.run([python, "-c", PEER, file.name], capture_output=True, text=True, check=True)
    return np.array(json.loads(result.stdout))


if __name__ == "__main__":
    main()
