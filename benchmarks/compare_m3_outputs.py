"""The three outputs of an M3 model beside FlagEmbedding's: the largest differences, text by text.

    python benchmarks/compare_m3_outputs.py MODEL DATA/retrieval_bench --peer PYTHON [--texts 100]

MODEL is a folder in the layout of BAAI/bge-m3; its weights must be safetensors for us, and FlagEmbedding reads its heads from
sparse_linear.pt and colbert_linear.pt. PYTHON has FlagEmbedding. Both run in fp32 on the CPU.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

LONGEST = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peer", help="a Python with FlagEmbedding")
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        flag_embedding(str(arguments.model), json.loads(arguments.data.read_text("utf-8")), arguments.child)
        return
    with gzip.open(arguments.data / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for _, line in zip(range(arguments.texts), lines, strict=False)]
    with tempfile.TemporaryDirectory() as work:
        sample, output = Path(work) / "texts.json", Path(work) / "outputs.npz"
        sample.write_text(json.dumps(texts), "utf-8")
        command = [
            arguments.peer or sys.executable,
            __file__,
            str(arguments.model),
            str(sample),
            "--child",
            str(output),
        ]
        subprocess.run(command, check=True)
        compare(str(arguments.model), texts, dict(np.load(output)))


def compare(model: str, texts: list[str], theirs: dict[str, np.ndarray]) -> None:
    from trainer.encoder import Encoder, EncoderSettings

    encoder = Encoder(EncoderSettings(model=model, precision="fp32", device="cpu", max_passage_length=LONGEST))
    ours = encoder.encode_all(texts, "passage", encoder.outputs)
    same_tokens = np.array_equal(ours.lexical.offsets, theirs["offsets"]) and np.array_equal(
        ours.lexical.token_ids, theirs["token_ids"]
    )
    print(f"{len(texts)} texts, {encoder.tokens} tokens")
    print(f"dense         largest difference {np.abs(ours.dense - theirs['dense']).max():.1e}")
    print(f"lexical       {len(ours.lexical.token_ids)} weights, the same tokens: {same_tokens}", end=", ")
    if same_tokens:
        print(f"largest difference {np.abs(ours.lexical.weights - theirs['weights']).max():.1e}")
    difference = np.abs(ours.token_vectors.astype(np.float32) - theirs["token_vectors"]).max()
    print(f"multi-vector  {len(ours.token_vectors)} vectors, largest difference {difference:.1e} (ours are float16)")


def pooling_of(model: str) -> str:
    """What the folder says; FlagEmbedding does not read it, and takes [CLS] unless told."""
    told = Path(model) / "1_Pooling" / "config.json"
    is_mean = told.exists() and json.loads(told.read_text())["pooling_mode_mean_tokens"]
    return "mean" if is_mean else "cls"


def flag_embedding(model: str, texts: list[str], output: Path) -> None:
    """In a child: FlagEmbedding's outputs, its weights in the order of token ids."""
    from FlagEmbedding import BGEM3FlagModel

    peer = BGEM3FlagModel(model, pooling_method=pooling_of(model), use_fp16=False, devices="cpu", batch_size=16)
    found = peer.encode(texts, max_length=LONGEST, return_dense=True, return_sparse=True, return_colbert_vecs=True)
    weights = [sorted((int(token), weight) for token, weight in text.items()) for text in found["lexical_weights"]]
    np.savez(
        output,
        dense=found["dense_vecs"],
        offsets=np.cumsum([0, *map(len, weights)]),
        token_ids=np.array([token for text in weights for token, _ in text], np.int32),
        weights=np.array([weight for text in weights for _, weight in text], np.float32),
        token_vectors=np.concatenate(found["colbert_vecs"]),
    )


if __name__ == "__main__":
    main()
