"""Encoding speed on a GPU: tokens/s and share of the GPU's measured bf16 peak, beside sentence-transformers.

    python benchmarks/bench_encode_gpu.py [--tokens 32 128 512 2048] [--runs 3] [--hidden 768] [--layers 12]

The model is random, of the size of BERT-base with 2,048 positions, with a tokenizer whose words are single tokens: every text has the
number of tokens that is asked for. The peak is that of one large bf16 product on this GPU. Says so and ends where there is no GPU.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from trainer.encoder import Encoder, EncoderSettings

WORDS = [f"w{number}" for number in range(30_000)]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TOKENS_A_RUN = 4_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[32, 128, 512, 2048])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("left out: this machine has no CUDA GPU")
        return
    peak = measured_peak()
    title = f"{torch.cuda.get_device_name()}, bf16, measured peak {peak / 1e12:.0f} TFLOP/s, torch {torch.__version__}"
    table = Table("tokens a text", "engine", "tokens/s", "share of peak", "x", "peak GB", title=title)
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), arguments.hidden, arguments.layers, max(arguments.tokens))
        for length in arguments.tokens:
            texts = random_texts(length)
            speeds: dict[str, list[float]] = {"pairmill": [], "sentence-transformers": []}
            memory = dict.fromkeys(speeds, 0.0)
            for _ in range(arguments.runs):
                for engine, load in (
                    ("pairmill", load_pairmill),
                    ("sentence-transformers", load_sentence_transformers),
                ):
                    speed, memory[engine] = measure(load(folder, length), texts, length)
                    speeds[engine].append(speed)
            ours = statistics.median(speeds["pairmill"])
            for engine, found in speeds.items():
                median = statistics.median(found)
                share = median * operations_a_token(arguments.hidden, arguments.layers, length) / peak
                memory_used = f"{memory[engine] / 1e9:.1f}"
                table.add_row(
                    str(length), engine, f"{median:,.0f}", f"{share:.0%}", f"{ours / median:.2f}", memory_used
                )
    Console(width=120).print(table)


def operations_a_token(hidden: int, layers: int, length: int) -> int:
    """Multiplications and additions of a forward: 12 H^2 of weights and 2 L H of attention a layer, two each."""
    return layers * 2 * (12 * hidden * hidden + 2 * length * hidden)


def measured_peak(size: int = 8192, repeats: int = 50) -> float:
    """FLOP/s of a bf16 product of two square matrices."""
    first, second = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        first @ second
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(repeats):
        first @ second
    torch.cuda.synchronize()
    return 2 * size**3 * repeats / (time.perf_counter() - begun)


def write_model(folder: Path, hidden: int, layers: int, longest: int) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {token: place for place, token in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=longest, **names).save_pretrained(folder)
    shape = {"hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": 4 * hidden}
    heads = {"num_attention_heads": hidden // 64, "max_position_embeddings": longest}
    BertModel(BertConfig(vocab_size=len(vocabulary), **shape, **heads)).save_pretrained(folder)


def random_texts(length: int) -> list[str]:
    words = np.random.default_rng(0).integers(0, len(WORDS), (TOKENS_A_RUN // length, length - 2))
    return [" ".join(WORDS[word] for word in row) for row in words]


def load_pairmill(folder: str, length: int):
    encoder = Encoder(EncoderSettings(model=folder, precision="bf16", max_passage_length=length, pooling="mean"))
    return lambda texts: encoder.encode(texts, "passage")


def load_sentence_transformers(folder: str, length: int):
    import sentence_transformers

    peer = sentence_transformers.SentenceTransformer(
        folder, device="cuda", model_kwargs={"torch_dtype": torch.bfloat16}
    )
    peer.max_seq_length = length
    size = max(32, 131_072 // length)  # the same tokens a batch as ours: its default of 32 texts starves a GPU
    return lambda texts: peer.encode(texts, batch_size=size, normalize_embeddings=True, show_progress_bar=False)


def measure(encode, texts: list[str], length: int) -> tuple[float, float]:
    """Tokens/s, and the most bytes of GPU memory in use."""
    encode(texts[: max(64, 200_000 // length)])
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    encode(texts)
    torch.cuda.synchronize()
    return len(texts) * length / (time.perf_counter() - begun), torch.cuda.max_memory_allocated()


if __name__ == "__main__":
    main()
