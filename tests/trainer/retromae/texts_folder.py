"""Text shards as pack writes them, and tiny models for pre-training, made in the test."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizerFast

from trainer.text_packing import PACKED_TEXT

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [f"w{number}" for number in range(40)] + [f"##e{number}" for number in range(15)]  # ids 5 to 44, 45 to 59


def write_texts(folder: Path, rows: list[list[int]], starts: list[list[bool]] | None = None) -> Path:
    """Rows of token ids; word starts are those of the vocabulary above unless given."""
    starts = starts or [[place == 0 or token < 45 for place, token in enumerate(row)] for row in rows]
    columns = [
        pa.array([hashlib.md5(str(number).encode()).digest() for number in range(len(rows))], pa.binary(16)),
        pa.array([0] * len(rows), pa.int32()),
        pa.array(rows, pa.list_(pa.int32())),
        pa.array([len(row) for row in rows], pa.int32()),
        pa.array(starts, pa.list_(pa.bool_())),
    ]
    (folder / "texts").mkdir(parents=True)
    pq.write_table(
        pa.Table.from_arrays(columns, schema=PACKED_TEXT), folder / "texts" / "a.parquet", store_schema=False
    )
    return folder


def some_texts(count: int, longest: int = 24, seed: int = 0) -> list[list[int]]:
    """Rows whose tokens follow one another by a rule, so that there is something to learn."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        first, step = random.integers(0, 55), random.integers(1, 4)
        rows.append([5 + int((first + step * place) % 55) for place in range(random.integers(4, longest))])
    return rows


def write_tokenizer(folder: Path, length: int = 32) -> Path:
    backend = Tokenizer(models.WordPiece({word: row for row, word in enumerate([*SPECIAL, *WORDS])}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    BertTokenizerFast(tokenizer_object=backend, model_max_length=length).save_pretrained(folder)
    return folder


def write_model(
    folder: Path, *, dropout: float = 0.1, head: bool = True, spread: float = 0.1, length: int = 32
) -> Path:
    """A random BERT of 2 layers and 16 dimensions."""
    write_tokenizer(folder, length)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        max_position_embeddings=length,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=spread,
    )
    (BertForMaskedLM if head else BertModel)(config).save_pretrained(folder)
    return folder
