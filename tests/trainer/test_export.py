"""Export: sentence-transformers and transformers load the folder and give our embeddings."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, BertTokenizerFast, PreTrainedTokenizerFast

from trainer.backbone import Backbone, load_backbone, pool
from trainer.export import export_model
from trainer.m3_heads import read_head
from trainer.m3_model import training_heads

TEXTS = ["red sea", "blue", "sky sky red green " * 8, "unknown words here"]
PROMPTS = {"query": "find red ", "passage": ""}


@pytest.fixture(scope="module")
def plain_model(tmp_path_factory) -> Path:
    """A random tiny BERT in a plain Hugging Face folder, without sentence-transformers files."""
    folder = tmp_path_factory.mktemp("plain")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "green", "blue", "sea", "sky", "find"]
    backend = Tokenizer(models.WordPiece({word: row for row, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    BertTokenizerFast(tokenizer_object=backend, model_max_length=16).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=11,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def embed(backbone: Backbone, texts: list[str]) -> np.ndarray:
    encoded = backbone.tokenizer(
        texts, padding=True, truncation=True, max_length=backbone.max_length, return_tensors="pt"
    )
    with torch.inference_mode():
        hidden = backbone.model(**encoded).last_hidden_state
    return pool(hidden, encoded["attention_mask"], backbone.pooling, backbone.normalise).numpy()


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@pytest.mark.parametrize("normalise", [True, False])
def test_sentence_transformers_gives_our_embeddings(plain_model, tmp_path, pooling, normalise):
    backbone = replace(load_backbone(str(plain_model), pooling=pooling, normalise=normalise), prompts=PROMPTS)
    folder = export_model(backbone, tmp_path / "model", "A test.")
    loaded = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    assert loaded.max_seq_length == 16
    np.testing.assert_allclose(loaded.encode(TEXTS), embed(backbone, TEXTS), atol=1e-5)
    with_prompt = embed(backbone, ["find red " + text for text in TEXTS])
    np.testing.assert_allclose(loaded.encode_query(TEXTS), with_prompt, atol=1e-5)
    np.testing.assert_allclose(loaded.encode_document(TEXTS), embed(backbone, TEXTS), atol=1e-5)


def test_our_loader_reads_back_what_was_exported(plain_model, tmp_path):
    backbone = replace(load_backbone(str(plain_model), pooling="mean", normalise=False), prompts=PROMPTS)
    again = load_backbone(str(export_model(backbone, tmp_path / "model", "A test.")))
    assert (again.pooling, again.normalise, again.prompts) == ("mean", False, PROMPTS)
    assert (again.max_length, again.hidden_size) == (16, 32)
    np.testing.assert_array_equal(embed(again, TEXTS), embed(backbone, TEXTS))


def test_an_export_replaces_an_older_one_whole_and_leaves_nothing_else(plain_model, tmp_path):
    backbone = load_backbone(str(plain_model))
    folder = export_model(backbone, tmp_path / "model", "First.")
    (folder / "left over.txt").write_text("of the older export")
    (tmp_path / "model.partial").mkdir()
    export_model(backbone, folder, "Second.")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (folder / "left over.txt").exists()
    assert "Second." in (folder / "README.md").read_text()


def test_an_export_that_fails_leaves_the_older_one(plain_model, tmp_path):
    backbone = load_backbone(str(plain_model))
    folder = export_model(backbone, tmp_path / "model", "First.")
    with pytest.raises(KeyError):
        export_model(replace(backbone, pooling="nonsense"), folder, "Second.")
    assert "First." in (folder / "README.md").read_text()


def test_the_folder_holds_no_pickle_and_the_card_holds_the_lineage(plain_model, tmp_path):
    folder = export_model(load_backbone(str(plain_model)), tmp_path / "model", "Trained on 12 pairs of `wiki`.")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl", ".py"))]
    assert "Trained on 12 pairs of `wiki`." in (folder / "README.md").read_text()
    assert json.loads((folder / "config_sentence_transformers.json").read_text())["similarity_fn_name"] == "cosine"


def test_the_export_names_its_tokenizer_as_all_versions_of_transformers_know_it(plain_model, tmp_path):
    # transformers 5 calls a tokenizer without a class of its own TokenizersBackend, which version 4 refuses.
    tokenizer = load_backbone(str(plain_model)).tokenizer.backend_tokenizer
    plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
    backbone = replace(load_backbone(str(plain_model)), tokenizer=plain)
    folder = export_model(backbone, tmp_path / "model", "A test.")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not {"backend", "is_local", "local_files_only"} & config.keys()
    assert load_backbone(str(folder)).tokenizer("red sea").input_ids == plain("red sea").input_ids


@pytest.mark.parametrize("token_dimension", [8, 32])
def test_heads_are_plain_tensors_that_our_encoder_reads_and_the_card_names(plain_model, tmp_path, token_dimension):
    backbone = load_backbone(str(plain_model))
    heads = training_heads(plain_model, ("lexical", "multi_vector"), 32, token_dimension, 1)
    folder = export_model(replace(backbone, heads=heads), tmp_path / "model", "A test.")
    for output, name in (("lexical", "sparse_linear"), ("multi_vector", "colbert_linear")):
        tensors = torch.load(folder / f"{name}.pt", weights_only=True)
        assert torch.equal(tensors["weight"], heads[output].weight)
        assert torch.equal(read_head(folder, output, 32).bias, heads[output].bias)
    card = (folder / "README.md").read_text()
    assert ("colbert_dim=8" in card) == (token_dimension == 8)
    assert load_backbone(str(folder)).hidden_size == 32
