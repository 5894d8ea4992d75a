"""A tiny corpus, a tiny untrained encoder and a recipe over both: whole runs in seconds."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

WORDS = [
    "river",
    "mountain",
    "valley",
    "harvest",
    "copper",
    "engine",
    "library",
    "window",
    "garden",
    "winter",
    "summer",
    "bridge",
    "market",
    "lantern",
    "harbour",
    "village",
    "teacher",
    "compass",
    "thunder",
    "orchard",
]


def write_corpus(folder: Path, files: int = 2, documents: int = 12, seed: int = 3) -> None:
    """JSONL files of title-body rows; every document gives three pairs, some rows repeat, one is empty."""
    choose = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        rows = []
        for document in range(documents):
            for part in range(3):
                title = f"The {choose.choice(WORDS)} and the {choose.choice(WORDS)} of {number} {document} {part}"
                body = " ".join(choose.choice(WORDS) for _ in range(40)).capitalize() + "."
                rows.append({"title": title, "body": body, "id": f"doc-{number}-{document}"})
        rows.append(dict(rows[0]))
        rows.append({"title": "Nothing below", "body": "   ", "id": "doc-empty"})
        (folder / f"part-{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT of two layers with a word-level vocabulary, saved as a Hugging Face folder."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, "the", "and", "of", ".", *"0123456789"]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertModel(BertConfig(vocab_size=len(pieces), max_position_embeddings=64, **shape), add_pooling_layer=False)
    folder = tmp_path_factory.mktemp("tiny-model")
    model.save_pretrained(folder, safe_serialization=True)
    fast.save_pretrained(folder)
    return str(folder)


def recipe_content(corpus: Path, model: str) -> dict:
    """Every job, at its smallest."""
    encoder = {"model": model, "max_query_length": 32, "max_passage_length": 64, "precision": "fp32"}
    return {
        "name": "tiny",
        "seed": 5,
        "sources": [
            {
                "source": "jsonl",
                "label": "tiny",
                "paths": [f"{corpus}/*.jsonl"],
                "query": "title",
                "positive": "body",
                "document_id": "id",
                "kind": "title_body",
                "language": "en",
            }
        ],
        "filter": {
            "preset": "c-mtp",
            "min_language_probability": None,
            "wrong_language_probability": None,
            "min_word_order": None,  # these words have none
        },
        "dedup": {"held_out_share": 0.3},
        "score": {"encoder": encoder, "threshold": -1},
        "mine": {"encoder": encoder, "select": {"rank_window": [0, 20], "negatives": 2, "max_share_of_positive": None}},
        "pack": {"model": model, "packing": {"max_query_length": 32, "max_passage_length": 64}},
        "train": {"model": model, "steps": 6, "batch_size": 8, "checkpoint_every": 2, "precision": "fp32"},
        "evaluate": {},
    }


@pytest.fixture
def tiny_recipe(tmp_path: Path, tiny_model: str) -> Callable[..., Path]:
    """Writes a corpus and a recipe file; keyword arguments replace top-level keys (None removes one)."""

    def write(**changes: object) -> Path:
        corpus = tmp_path / "corpus"
        if not corpus.exists():
            write_corpus(corpus)
        content = recipe_content(corpus, tiny_model) | changes
        file = tmp_path / "tiny.yaml"
        file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return file

    return write
