import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from sentence_transformers import CrossEncoder as PeerCrossEncoder
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from trainer import reranker
from trainer.backbone import ModelFolderError
from trainer.reranker import CrossEncoder, CrossEncoderError, CrossEncoderSettings

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def save_tokenizer(folder, types=True):
    tokenizer = Tokenizer(models.WordPiece({token: place for place, token in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1" if types else "[CLS] $A [SEP] [SEP] $B [SEP]"
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    inputs = ["input_ids", *(["token_type_ids"] if types else []), "attention_mask"]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=40, model_input_names=inputs, **names
    ).save_pretrained(folder)


def shaken(model):
    """Weights large enough that scores differ."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def save_bert(folder, classes=1):
    save_tokenizer(folder)
    config = BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=40, num_labels=classes, **SHAPE)
    shaken(BertForSequenceClassification(config)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_bert(tmp_path_factory.mktemp("cross"))


def random_pairs(count, seed=0, longest=30):
    generator = np.random.default_rng(seed)
    texts = [" ".join(generator.choice(list("abcdefgh"), generator.integers(1, longest))) for _ in range(2 * count)]
    return texts[:count], texts[count:]


def scores_of(folder, queries, passages, **settings):
    return CrossEncoder(CrossEncoderSettings(model=folder, precision="fp32", **settings)).score(queries, passages)


def by_the_peer(folder, queries, passages, max_length=40):
    peer = PeerCrossEncoder(folder, device="cpu", max_length=max_length, local_files_only=True)
    return peer.predict(list(zip(queries, passages, strict=True)), show_progress_bar=False)


@pytest.mark.parametrize("tokens_per_batch", [1, 300, 100_000])
def test_scores_are_those_of_sentence_transformers_in_the_order_of_the_pairs(tiny, tokens_per_batch):
    queries, passages = random_pairs(60)
    found = scores_of(tiny, queries, passages, tokens_per_batch=tokens_per_batch)
    assert (found.dtype, found.shape) == (np.float32, (60,))
    assert np.ptp(found) > 0.05
    assert np.abs(found - by_the_peer(tiny, queries, passages)).max() < 1e-5


def test_the_longer_text_is_cut_where_a_pair_is_longer_than_max_length(tiny):
    queries, passages = ["a b c", "c d"], ["d " * 60, "e f"]
    encoder = CrossEncoder(CrossEncoderSettings(model=tiny, precision="fp32", max_length=16))
    found = encoder.score(queries, passages)
    assert np.abs(found - by_the_peer(tiny, queries, passages, max_length=16)).max() < 1e-5
    assert (encoder.truncated, encoder.scored) == (1, 2)
    # 3 special tokens and the 3 of the query leave room for 10 of the passage
    assert found[0] == pytest.approx(encoder.score(["a b c"], ["d " * 10])[0], abs=1e-6)


def test_of_two_classes_the_second_is_relevant(tmp_path):
    folder = save_bert(tmp_path, classes=2)
    queries, passages = random_pairs(20)
    peer = PeerCrossEncoder(folder, device="cpu", local_files_only=True)
    expected = peer.predict(list(zip(queries, passages, strict=True)), apply_softmax=True, show_progress_bar=False)[
        :, 1
    ]
    assert np.abs(scores_of(folder, queries, passages) - expected).max() < 1e-5


def test_models_without_token_types_are_read_as_they_want(tmp_path):
    save_tokenizer(tmp_path, types=False)
    config = XLMRobertaConfig(
        vocab_size=len(VOCABULARY), max_position_embeddings=42, pad_token_id=0, type_vocab_size=1, num_labels=1, **SHAPE
    )
    shaken(XLMRobertaForSequenceClassification(config)).save_pretrained(tmp_path)
    queries, passages = random_pairs(20)
    found = scores_of(str(tmp_path), queries, passages)
    assert np.abs(found - by_the_peer(str(tmp_path), queries, passages)).max() < 1e-5


def test_what_sentence_transformers_saved_is_read(tiny, tmp_path):
    PeerCrossEncoder(tiny, device="cpu", local_files_only=True).save_pretrained(str(tmp_path / "saved"))
    queries, passages = random_pairs(5)
    found = scores_of(str(tmp_path / "saved"), queries, passages)
    assert found.tolist() == scores_of(tiny, queries, passages).tolist()


def test_several_windows_keep_the_order_and_tell_how_far_they_are(tiny, monkeypatch):
    monkeypatch.setattr(reranker, "WINDOW", 7)
    queries, passages = random_pairs(45)
    told = []
    encoder = CrossEncoder(CrossEncoderSettings(model=tiny, precision="fp32"))
    found = encoder.score(pa.array(queries), pa.array(passages), told.append)
    assert np.abs(found - by_the_peer(tiny, queries, passages)).max() < 1e-5
    assert told == sorted(told)
    assert told[-1] == 45


def test_the_same_call_gives_the_same_bytes(tiny):
    pairs = random_pairs(80)
    assert scores_of(tiny, *pairs).tobytes() == scores_of(tiny, *pairs).tobytes()


def test_no_pairs_give_no_scores(tiny):
    assert scores_of(tiny, [], []).shape == (0,)


def test_logits_of_any_size_become_scores_without_overflow():
    extreme = reranker._probabilities(np.array([[-1000.0], [0.0], [1000.0]], np.float32), 1)
    assert extreme.tolist() == [0.0, 0.5, 1.0]


def test_templates_are_put_around_the_texts(tiny):
    plain = scores_of(tiny, ["q a b"], ["c d p"])
    found = scores_of(tiny, ["a b"], ["c d"], query_template="q {text}", passage_template="{text} p")
    assert found.tolist() == plain.tolist()
    with pytest.raises(ValidationError, match=r"write \{text\} once"):
        CrossEncoderSettings(model=tiny, query_template="query")


def test_memory_that_runs_out_halves_the_batches_and_is_told_once_each_time(tiny, monkeypatch, caplog):
    queries, passages = random_pairs(40)
    encoder = CrossEncoder(CrossEncoderSettings(model=tiny, precision="fp32", tokens_per_batch=800))
    expected = encoder.score(queries, passages)
    forward, sizes = encoder._logits, []

    def small_memory(tokens, rows):
        if len(rows) * int(tokens.lengths[rows].max()) > 300:
            raise torch.cuda.OutOfMemoryError
        sizes.append(len(rows))
        return forward(tokens, rows)

    monkeypatch.setattr(encoder, "_logits", small_memory)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    found = encoder.score(queries, passages)
    assert np.abs(found - expected).max() < 1e-6
    assert sum(sizes) == 40
    assert len(caplog.records) == 2  # 800 -> 400 -> 200
    encoder.score(queries, passages)
    assert len(caplog.records) == 2


def test_a_pair_that_alone_is_too_large_ends_with_what_to_do(tiny, monkeypatch):
    encoder = CrossEncoder(CrossEncoderSettings(model=tiny, precision="fp32"))

    def no_memory(tokens, rows):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(encoder, "_logits", no_memory)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    with pytest.raises(CrossEncoderError, match="Lower max_length"):
        encoder.score(["a"], ["b"])


@pytest.mark.parametrize(
    ("queries", "passages", "words"),
    [
        (["a", None], ["b", "c"], "Pair 1 has no query"),
        (["a"], [None], "Pair 0 has no passage"),
        (["a"], ["b", "c"], "1 queries cannot be paired with 2 passages"),
    ],
)
def test_pairs_that_cannot_be_scored_are_named(tiny, queries, passages, words):
    with pytest.raises(CrossEncoderError, match=words):
        scores_of(tiny, queries, passages)


def test_a_score_that_is_not_finite_is_an_error(tiny, monkeypatch):
    encoder = CrossEncoder(CrossEncoderSettings(model=tiny, precision="fp32"))
    monkeypatch.setattr(encoder, "_logits", lambda tokens, rows: np.full((len(rows), 1), np.nan, np.float32))
    with pytest.raises(CrossEncoderError, match=r"pair 0 is not finite.*precision fp32"):
        encoder.score(["a"], ["b"])


def test_an_encoder_without_a_head_is_refused(tmp_path):
    save_tokenizer(tmp_path)
    BertModel(BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=40, **SHAPE)).save_pretrained(tmp_path)
    with pytest.raises(ModelFolderError, match=r"lack classifier.bias.*not a cross-encoder"):
        scores_of(str(tmp_path), ["a"], ["b"])


def test_a_classifier_of_three_classes_is_refused(tmp_path):
    with pytest.raises(ModelFolderError, match="has 3 classes"):
        scores_of(save_bert(tmp_path, classes=3), ["a"], ["b"])


def test_pickled_weights_are_refused_with_how_to_convert_them(tiny, tmp_path):
    folder = Path(shutil.copytree(tiny, tmp_path / "pickled"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelFolderError, match=r"AutoModelForSequenceClassification.from_pretrained"):
        scores_of(str(folder), ["a"], ["b"])


def test_code_that_comes_with_a_model_is_refused(tiny, tmp_path):
    folder = Path(shutil.copytree(tiny, tmp_path / "code"))
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "mine.Mine"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFolderError, match="auto_map"):
        scores_of(str(folder), ["a"], ["b"])


def test_the_name_changes_with_weights_and_templates(tiny, tmp_path):
    other = save_bert(tmp_path, classes=2)
    names = {
        CrossEncoder(CrossEncoderSettings(model=tiny, precision="fp32")).name,
        CrossEncoder(CrossEncoderSettings(model=tiny, precision="fp32", passage_template="p {text}")).name,
        CrossEncoder(CrossEncoderSettings(model=other, precision="fp32")).name,
    }
    assert len(names) == 3
