"""The RetroMAE objective: a float64 restatement in loops, gradients by differences, chunks that change nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.trainer.retromae.texts_folder import some_texts, write_model, write_texts
from trainer.distributed import Ranks
from trainer.packed_texts import PackedTexts
from trainer.retromae.masks import DecoderMask
from trainer.retromae.models import language_model
from trainer.retromae.objective import RetroMAEObjective
from trainer.retromae.settings import PretrainSettings
from trainer.retromae.text_plan import TextPlan


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """Without dropout: nothing but masks is drawn."""
    return write_model(tmp_path_factory.mktemp("calm"), dropout=0.0, spread=0.4)


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> PackedTexts:
    return PackedTexts.open(write_texts(tmp_path_factory.mktemp("data"), some_texts(30)))


def objective_of(texts, model, **more) -> RetroMAEObjective:
    settings = PretrainSettings(model=str(model), steps=10, device="cpu", **{"batch_size": 6, **more})
    language = language_model(settings)
    language = replace(language, model=language.model.double())
    plan = TextPlan(texts.tokens.lengths, settings.batch_size, settings.seed)
    exact = {"device": torch.device("cpu"), "dtype": torch.float64, "ranks": Ranks()}
    return RetroMAEObjective(texts, plan, language, settings, **exact)


def learnt(objective: RetroMAEObjective, step: int = 0):
    """The figures of a step, and all gradients."""
    objective.model.zero_grad()
    figures = objective.learn(step, objective.prepare(step), lambda value: value)
    gradients = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in objective.model.named_parameters()
    }
    return figures, gradients


def linear(layer, vector):
    return layer.weight.detach().numpy() @ vector + layer.bias.detach().numpy()


def normalised(layer, vector):
    centred = vector - vector.mean()
    return (
        centred / math.sqrt((centred**2).mean() + layer.eps) * layer.weight.detach().numpy()
        + layer.bias.detach().numpy()
    )


def gelu(vector):
    return np.array([value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in vector])


def decoder_state(decoder, query, memory, seen):
    """One row of the enhanced decoder, head by head."""
    heads, width = decoder.heads, len(query)
    size = width // heads
    q = linear(decoder.query, query)
    attended = np.zeros(width)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = {
            column: float(q[part] @ linear(decoder.key, memory[column])[part]) / math.sqrt(size) for column in seen
        }
        largest = max(scores.values())
        weights = {column: math.exp(score - largest) for column, score in scores.items()}
        total = sum(weights.values())
        for column, weight in weights.items():
            attended[part] += weight / total * linear(decoder.value, memory[column])[part]
    state = normalised(decoder.attention_norm, linear(decoder.output, attended) + query)
    return normalised(decoder.norm, linear(decoder.outer, gelu(linear(decoder.inner, state))) + state)


def surprise(language, state, token):
    """-log softmax of one state's logits at a token."""
    transform, embeddings = language.model.cls.predictions.transform, language.embeddings
    hidden = normalised(transform.LayerNorm, gelu(linear(transform.dense, state)))
    logits = embeddings.word_embeddings.weight.detach().numpy() @ hidden
    logits = logits + language.model.cls.predictions.bias.detach().numpy()
    return math.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[token]


@pytest.mark.parametrize("pool", [None, 4])
def test_the_loss_is_the_plain_restatement(calm, texts, pool):
    objective = objective_of(texts, calm, decoder_masks_per_text=pool)
    language, embeddings = objective.language, objective.language.embeddings
    words, positions, types, norm = (
        embeddings.word_embeddings.weight.detach().numpy(),
        embeddings.position_embeddings.weight.detach().numpy(),
        embeddings.token_type_embeddings.weight.detach().numpy()[0],
        embeddings.LayerNorm,
    )
    figures, _ = learnt(objective)
    prepared = objective.prepare(0)
    encoder, decoder = [], []
    for text in range(6):
        part = slice(prepared.texts.tokens.offsets[text], prepared.texts.tokens.offsets[text + 1])
        clean = [2, *prepared.texts.tokens.values[part].tolist(), 3]
        shown = [2, *prepared.shown.token_ids[part].tolist(), 3]
        hidden = language.encoder(input_ids=torch.tensor([shown])).last_hidden_state[0].detach().numpy()
        masked = 1 + np.flatnonzero(prepared.shown.masked[part])
        encoder += [surprise(language, hidden[place], clean[place]) for place in masked]
        memory = [hidden[0]]
        memory += [
            normalised(norm, words[token] + positions[place] + types) for place, token in enumerate(clean) if place
        ]
        mask = one_text_mask(objective, prepared, text)
        for place in range(1, len(clean) - 1):
            query = normalised(norm, hidden[0] + positions[place] + types)
            seen = [column for column in range(len(clean)) if mask[place, column]]
            assert 0 in seen
            assert place not in seen
            decoder.append(surprise(language, decoder_state(objective.decoder, query, memory, seen), clean[place]))
    assert figures.parts[0] == pytest.approx(np.mean(encoder), rel=1e-9, abs=1e-9)
    assert figures.parts[1] == pytest.approx(np.mean(decoder), rel=1e-9, abs=1e-9)
    assert figures.loss == pytest.approx(np.mean(encoder) + np.mean(decoder), rel=1e-9)


def one_text_mask(objective, prepared, text):
    from trainer.retromae.objective import _Chunk

    chunk = _Chunk(prepared, np.array([text]), objective)
    return chunk.decoder_mask.visible(slice(0, chunk.tokens.shape[1]))[0].numpy()


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_gradients_are_those_of_differences(calm, texts, weight):
    objective = objective_of(texts, calm, bag_of_words_weight=weight)
    _, gradients = learnt(objective)
    random = np.random.default_rng(0)
    for name, parameter in objective.model.named_parameters():
        if "position_embeddings" in name and random.random() < 0.5:
            continue
        place = int(gradients[name].abs().argmax())  # where there is something to compare
        flat = parameter.detach().view(-1)
        before = float(flat[place])
        losses = []
        for moved in (before + 1e-5, before - 1e-5):
            flat[place] = moved
            losses.append(learnt(objective)[0].loss)
        flat[place] = before
        difference = (losses[0] - losses[1]) / 2e-5
        assert float(gradients[name].view(-1)[place]) == pytest.approx(difference, rel=2e-5, abs=1e-8), name


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_chunks_and_tiles_change_neither_loss_nor_gradients(calm, texts, weight):
    whole = objective_of(texts, calm, tokens_per_forward=10_000, bag_of_words_weight=weight)
    in_chunks = objective_of(texts, calm, tokens_per_forward=20, bag_of_words_weight=weight)
    in_chunks.decoder.tile_entries = 60  # a few rows of a text at a time
    in_chunks.decoder.load_state_dict(whole.decoder.state_dict())
    figures, gradients = learnt(whole, 2)
    of_chunks, gradients_of_chunks = learnt(in_chunks, 2)
    assert of_chunks.loss == pytest.approx(figures.loss, rel=1e-12)
    assert of_chunks.parts == pytest.approx(figures.parts, rel=1e-12)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_of_chunks[name], gradient, rtol=1e-9, atol=1e-12, msg=name)
    assert of_chunks.padded_tokens < figures.padded_tokens


def test_what_is_scaled_begins_every_backward_pass(calm, texts):
    objective = objective_of(texts, calm)
    figures, gradients = learnt(objective)
    objective.model.zero_grad()
    scaled = objective.learn(0, objective.prepare(0), lambda value: value * 1024)
    assert scaled.loss == figures.loss
    for name, weight in objective.model.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name] * 1024, rtol=1e-9, atol=1e-12, msg=name)


def test_figures_count_texts_tokens_and_what_attention_computes(calm, texts):
    objective = objective_of(texts, calm)
    figures, _ = learnt(objective)
    lengths = texts.tokens.lengths[objective.plan.rows(0)] + 2
    assert (figures.samples, figures.tokens) == (6, int(lengths.sum()))
    assert figures.squared_lengths == int((lengths**2).sum())
    assert objective.part_names == ("encoder_loss", "decoder_loss")


def test_dropout_is_drawn_from_the_step(tmp_path, texts):
    restless = write_model(tmp_path / "model", dropout=0.2)
    first, again = (learnt(objective_of(texts, restless), 1)[0].loss for _ in range(2))
    assert first == again
    objective = objective_of(texts, restless)
    objective.model.eval()
    assert learnt(objective, 1)[0].loss != first


@pytest.mark.parametrize("training", [True, False])
def test_a_tile_of_the_decoder_has_room_for_all_heads_where_dropout_is_drawn(tmp_path, texts, training, monkeypatch):
    objective = objective_of(texts, write_model(tmp_path / "model", dropout=0.1))
    objective.model.train(training)
    objective.decoder.tile_entries = 24 * 26
    seen, visible = [], DecoderMask.visible
    monkeypatch.setattr(DecoderMask, "visible", lambda mask, rows: seen.append(found := visible(mask, rows)) or found)
    learnt(objective)
    most = objective.decoder.tile_entries // (objective.decoder.heads if training else 1)
    assert max(tile.numel() for tile in seen if tile.shape[1] > 1) <= most


def test_gradient_checkpointing_changes_nothing(calm, texts):
    plain, checkpointed = objective_of(texts, calm), objective_of(texts, calm, gradient_checkpointing=True)
    (figures, gradients), (same, also) = learnt(plain), learnt(checkpointed)
    assert same.loss == pytest.approx(figures.loss, rel=1e-12)
    for name, gradient in gradients.items():
        torch.testing.assert_close(also[name], gradient, rtol=1e-9, atol=1e-12, msg=name)
