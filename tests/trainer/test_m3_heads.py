"""M3's outputs against a restatement in float64 and loops: no batches, no tensors of texts end to end."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from trainer.backbone import ModelFolderError, load_backbone, model_fingerprint
from trainer.encoder import Encoder, EncoderSettings
from trainer.m3_heads import read_head, special_tokens

WORDS = ["river", "water", "北京", "大学", "вода", "ποταμός", "ماء", "nehir", "bridge", "of", "the", "in"]
VOCABULARY = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]
TEXTS = [
    "river water the river",
    "北京 大学",
    "the",
    "вода ποταμός unknown вода 北京 in in in",
    "",
    "ماء nehir of the bridge",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random XLM-RoBERTa in the layout of BAAI/bge-m3, whose tokens are words."""
    folder = tmp_path_factory.mktemp("m3")
    tokenizer = Tokenizer(models.WordLevel({token: place for place, token in enumerate(VOCABULARY)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "cls_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "sep_token": "</s>"}
    tokens = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=30, unk_token="<unk>", **names)
    tokens.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = XLMRobertaConfig(vocab_size=len(VOCABULARY), max_position_embeddings=34, pad_token_id=1, **shape)
    model = XLMRobertaModel(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    for name, rows, bias in (("sparse_linear", 1, 6.0), ("colbert_linear", 8, 0.1)):
        torch.save({"weight": torch.randn(rows, 32), "bias": torch.full((rows,), bias)}, folder / f"{name}.pt")
    return folder


def outputs_in_float64(folder, text):
    """Dense vector, weights of tokens and token vectors of one text, as M3 section 3.2 and FlagEmbedding define them."""
    loaded = load_backbone(str(folder))
    heads = {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in ("sparse_linear", "colbert_linear")}
    tokens = loaded.tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        states = loaded.model.double()(**tokens)[0][0].numpy()
    dense = states[0] / np.sqrt((states[0] ** 2).sum())
    weights = {}
    for token, state in zip(tokens["input_ids"][0].tolist(), states, strict=True):
        head = heads["sparse_linear"]
        weight = float((head["weight"][0].double().numpy() * state).sum() + head["bias"][0].double())
        if weight > 0 and VOCABULARY[token] not in ("<s>", "</s>", "<pad>", "<unk>"):
            weights[token] = max(weight, weights.get(token, 0.0))
    vectors = []
    for state in states[1:]:
        head = heads["colbert_linear"]
        vector = [
            (row.numpy() * state).sum() + bias
            for row, bias in zip(head["weight"].double(), head["bias"].double().numpy(), strict=True)
        ]
        vectors.append(np.array(vector) / np.sqrt((np.array(vector) ** 2).sum()))
    return dense, weights, np.array(vectors)


@pytest.mark.parametrize("tokens_per_batch", [1, 12, 1000])
def test_all_outputs_are_those_of_a_float64_restatement(folder, tokens_per_batch):
    settings = EncoderSettings(model=str(folder), precision="fp32", tokens_per_batch=tokens_per_batch)
    encoder = Encoder(settings)
    assert encoder.outputs == {"dense", "lexical", "multi_vector"}
    outputs = encoder.encode_all(TEXTS, "passage", encoder.outputs)
    found = 0
    for row, text in enumerate(TEXTS):
        dense, weights, vectors = outputs_in_float64(folder, text)
        np.testing.assert_allclose(outputs.dense[row], dense, atol=1e-5)
        lexical = outputs.lexical.take(np.array([row]))
        assert lexical.token_ids.tolist() == sorted(weights)
        np.testing.assert_allclose(lexical.weights, [weights[token] for token in sorted(weights)], rtol=1e-4, atol=1e-5)
        found += len(weights)
        span = slice(*outputs.token_offsets[row : row + 2])
        np.testing.assert_allclose(outputs.token_vectors[span], vectors, atol=1e-3)  # float16
    assert 5 < found < 15  # of the 15 different words of the texts some have no positive weight
    assert outputs.token_vectors.dtype == np.float16
    np.testing.assert_array_equal(outputs.dense, Encoder(settings).encode(TEXTS, "passage"))


def test_only_what_was_asked_for_is_given(folder):
    encoder = Encoder(EncoderSettings(model=str(folder)))
    outputs = encoder.encode_all(TEXTS, "query", {"lexical"})
    assert outputs.dense is None and outputs.token_vectors is None and outputs.token_offsets is None
    assert len(outputs.lexical) == len(TEXTS)
    nothing = encoder.encode_all([], "query", encoder.outputs)
    assert (nothing.dense.shape, len(nothing.lexical), nothing.token_vectors.shape) == ((0, 32), 0, (0, 8))
    assert nothing.token_offsets.tolist() == [0]


def with_head(folder, copy, name, content, save=torch.save):
    """A copy of the folder in which one head is something else."""
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / f"{name}.pt").unlink()
    save(content, copy / (f"{name}.safetensors" if save is save_file else f"{name}.pt"))
    return copy


def test_heads_may_be_safetensors(folder, tmp_path):
    head = torch.load(folder / "colbert_linear.pt", weights_only=True)
    copy = with_head(folder, tmp_path, "colbert_linear", head, save_file)
    both = [
        Encoder(EncoderSettings(model=str(each))).encode_all(TEXTS, "query", {"multi_vector"})
        for each in (folder, copy)
    ]
    np.testing.assert_array_equal(both[0].token_vectors, both[1].token_vectors)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight": torch.zeros(1, 31), "bias": torch.zeros(1)}, r"weight \[1, 32\] and bias .*\(1, 31\)"),
        ({"weight": torch.zeros(2, 32), "bias": torch.zeros(2)}, r"weight \[1, 32\] and bias"),
        ({"weight": torch.zeros(1, 32)}, r"weight \[1, 32\] and bias"),
        ([torch.zeros(1, 32)], "weight and bias of one linear layer"),
        (torch.nn.Linear(32, 1), "cannot be read as plain tensors"),
    ],
)
def test_a_file_that_is_no_head_of_the_model_is_refused(folder, tmp_path, content, message):
    copy = with_head(folder, tmp_path, "sparse_linear", content)
    encoder = Encoder(EncoderSettings(model=str(copy)))
    with pytest.raises(ModelFolderError, match=message):
        encoder.encode_all(["river"], "query", {"lexical"})


def test_a_damaged_file_is_refused(folder, tmp_path):
    copy = with_head(folder, tmp_path, "sparse_linear", {})
    for content in (b"", b"not a tensor file"):
        (copy / "sparse_linear.pt").write_bytes(content)
        with pytest.raises(ModelFolderError, match="cannot be read as plain tensors"):
            read_head(copy, "lexical", 32)
    (copy / "sparse_linear.safetensors").write_bytes(b"short")
    with pytest.raises(ModelFolderError, match="cannot be read as plain tensors"):
        read_head(copy, "lexical", 32)


def test_heads_are_no_weights_of_an_encoder(folder, tmp_path):
    copy = with_head(folder, tmp_path, "colbert_linear", {"weight": torch.zeros(8, 32)}, save_file)
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=r"no \*\.safetensors weights, only pytorch_model\.bin, .*Convert"):
        load_backbone(str(copy))


def test_a_models_fingerprint_follows_its_heads(folder, tmp_path):
    copy = with_head(folder, tmp_path, "sparse_linear", {"weight": torch.zeros(1, 32), "bias": torch.zeros(1)})
    assert model_fingerprint(str(folder)) != model_fingerprint(str(copy))
    assert model_fingerprint(str(folder), weights=False) == model_fingerprint(str(copy), weights=False)


def test_special_tokens_are_those_the_tokenizer_has(folder):
    tokenizer = load_backbone(str(folder)).tokenizer
    assert special_tokens(tokenizer).tolist() == [0, 1, 2, 3]
    tokenizer.eos_token = None  # as with BERT's tokenizers
    assert special_tokens(tokenizer).tolist() == [0, 1, 2, 3]
    tokenizer.unk_token = tokenizer.sep_token = None
    assert special_tokens(tokenizer).tolist() == [0, 1]
