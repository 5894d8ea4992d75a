"""Scores of pairs by M3's outputs beside FlagEmbedding's compute_score: the largest differences.

    python benchmarks/compare_m3_scores.py MODEL DATA/retrieval_bench --peer PYTHON [--pairs 32]

MODEL is a folder in the layout of BAAI/bge-m3; one without sparse_linear.pt and colbert_linear.pt gets random ones. PYTHON has
FlagEmbedding. Pairs are a passage's first 60 characters and the passage. Both run in fp32 on the CPU; our token vectors are
float16. FlagEmbedding pads all passages of a call: where a product with padding (0) is the largest of a token, it differs.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from compare_m3_outputs import pooling_of

LONGEST: Final = 128
WEIGHTS: Final = {"dense": 0.4, "lexical": 0.2, "multi_vector": 0.4}
NAMES: Final = {"dense": "dense", "lexical": "sparse", "multi_vector": "colbert"} | {
    "dense_and_lexical": "sparse+dense",
    "all": "colbert+sparse+dense",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peer", help="a Python with FlagEmbedding")
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        flag_embedding(str(arguments.model), json.loads(arguments.data.read_text("utf-8")), arguments.child)
        return
    with gzip.open(arguments.data / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for _, line in zip(range(arguments.pairs), lines, strict=False)]
    pairs = [(text[:60], text) for text in texts]
    with tempfile.TemporaryDirectory() as work:
        model = with_heads(arguments.model, Path(work) / "model")
        sample, output = Path(work) / "pairs.json", Path(work) / "scores.json"
        sample.write_text(json.dumps(pairs), "utf-8")
        command = [arguments.peer or sys.executable, __file__, str(model), str(sample), "--child", str(output)]
        subprocess.run(command, check=True)
        compare(str(model), pairs, json.loads(output.read_text()))


def with_heads(model: Path, copy: Path) -> Path:
    """The model, or links to its files beside random heads."""
    if (model / "sparse_linear.pt").exists():
        return model
    import torch

    copy.mkdir()
    for file in model.iterdir():
        (copy / file.name).symlink_to(file.resolve())
    width = json.loads((model / "config.json").read_text())["hidden_size"]
    torch.manual_seed(0)
    for name, rows in (("sparse_linear", 1), ("colbert_linear", width)):
        torch.save(torch.nn.Linear(width, rows).state_dict(), copy / f"{name}.pt")
    return copy


def compare(model: str, pairs: list[tuple[str, str]], theirs: dict[str, list[float]]) -> None:
    from trainer.encoder import Encoder, EncoderSettings
    from trainer.m3_scores import encode_and_score_pairs

    # FlagEmbedding pools by [CLS] and puts no prompt before a text of a pair.
    lengths = {"max_query_length": LONGEST, "max_passage_length": LONGEST}
    chosen = {"pooling": "cls", "normalise": True, "query_prompt": "", "passage_prompt": ""}
    encoder = Encoder(EncoderSettings(model=model, precision="fp32", device="cpu", **lengths, **chosen))
    queries, passages = zip(*pairs, strict=True)
    ours = encode_and_score_pairs(encoder, queries, passages, WEIGHTS)
    for name, peer_name in NAMES.items():
        found, wanted = getattr(ours, name), np.array(theirs[peer_name])
        print(f"{name:18} {found.mean():.4f} on average, largest difference {np.abs(found - wanted).max():.1e}")


def flag_embedding(model: str, pairs: list[tuple[str, str]], output: Path) -> None:
    """In a child: FlagEmbedding's scores."""
    from FlagEmbedding import BGEM3FlagModel

    peer = BGEM3FlagModel(model, pooling_method=pooling_of(model), use_fp16=False, devices="cpu")
    lengths = {"max_query_length": LONGEST, "max_passage_length": LONGEST}
    found = peer.compute_score(pairs, batch_size=16, weights_for_different_modes=list(WEIGHTS.values()), **lengths)
    output.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
