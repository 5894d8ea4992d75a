"""Gradient caching: whatever the chunks, the gradients of the whole batch; dropout the same in both passes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from trainer.chunks import chunks_of_like_lengths, padded_tokens
from trainer.gradient_cache import CachedEmbeddings, ReplayError, TextEncoder, joined
from trainer.loss import Direction, LossMasks, LossSettings, contrastive_loss
from trainer.ragged import Ragged


def encoder(dtype=torch.float64, dropout=0.0, pooling="mean", **changes):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=65,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **changes,
    )
    model = BertModel(config, add_pooling_layer=False).to(dtype).train()
    return TextEncoder(model, pooling, True, 0, torch.device("cpu"), dtype)


def some_texts(count, seed=0):
    random = np.random.default_rng(seed)
    return Ragged.of([random.integers(1, 65, random.integers(2, 20)) for _ in range(count)], np.int32)


def nothing():
    return torch.empty(0, dtype=torch.int64)


MASKS = LossMasks(Direction(0, 2, nothing(), nothing()), None, None, True, None, 7)
SETTINGS = LossSettings(temperature=0.05)


def gradients(model):
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def cached_step(text_encoder, texts, scale=1.0, **chunks):
    text_encoder.model.zero_grad()
    cache = CachedEmbeddings(text_encoder, texts, (1, 2), **chunks)
    leaf = cache.embeddings.clone().requires_grad_()
    loss = contrastive_loss(leaf[:7], leaf[7:], MASKS, SETTINGS)
    (loss * scale).backward()
    cache.backward(leaf.grad)
    return float(loss.detach()), gradients(text_encoder.model)


def plain_step(text_encoder, texts):
    """All texts in one padded matrix, one forward, one backward, the loss by torch's own cross entropy."""
    text_encoder.model.zero_grad()
    ids, lengths = texts.padded(np.arange(len(texts)), 0)
    mask = torch.tensor(np.arange(ids.shape[1]) < lengths[:, None]).to(torch.int64)
    hidden = text_encoder.model(input_ids=torch.tensor(ids).long(), attention_mask=mask).last_hidden_state
    weights = mask[..., None].to(hidden.dtype)
    pooled = (hidden * weights).sum(1) / weights.sum(1)
    embeddings = pooled / pooled.norm(dim=1, keepdim=True)
    loss = torch.nn.functional.cross_entropy(embeddings[:7] @ embeddings[7:].T / 0.05, torch.arange(7) * 2)
    loss.backward()
    return float(loss.detach()), gradients(text_encoder.model)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("tokens_per_forward", [1, 37, 64, 10_000])
@pytest.mark.parametrize("tokens_at_once", [0, 70, 10_000])
def test_chunked_gradients_are_those_of_the_whole_batch(dtype, tolerance, tokens_per_forward, tokens_at_once):
    model, texts = encoder(dtype), some_texts(21)
    expected_loss, expected = plain_step(model, texts)
    loss, found = cached_step(model, texts, tokens_per_forward=tokens_per_forward, tokens_at_once=tokens_at_once)
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    assert found.keys() == expected.keys()
    norm = torch.cat([gradient.ravel() for gradient in expected.values()]).norm()
    assert norm > 0.1
    for name, gradient in expected.items():
        assert float((found[name] - gradient).norm() / norm) < tolerance, name


@pytest.mark.parametrize("tokens_at_once", [0, 70])
def test_dropout_is_the_same_whether_a_batch_is_embedded_once_or_twice(tokens_at_once):
    # Bit for bit: an embedding that was not replayed exactly would give another gradient.
    model, texts = encoder(torch.float32, dropout=0.3), some_texts(21)
    once = cached_step(model, texts, tokens_per_forward=64, tokens_at_once=10_000)
    twice = cached_step(model, texts, tokens_per_forward=64, tokens_at_once=tokens_at_once)
    assert once[0] == twice[0]
    assert all(torch.equal(once[1][name], twice[1][name]) for name in once[1])
    without = cached_step(encoder(torch.float32), texts, tokens_per_forward=64)
    assert once[0] != without[0]  # dropout was on


def test_gradient_checkpointing_changes_nothing():
    model, texts = encoder(torch.float32, dropout=0.3), some_texts(21)
    expected = cached_step(model, texts, tokens_per_forward=64)
    model.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    found = cached_step(model, texts, tokens_per_forward=64)
    assert found[0] == expected[0]
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-6, atol=1e-7)


def test_a_scaled_loss_has_scaled_gradients():
    model, texts = encoder(), some_texts(21)
    plain, scaled = cached_step(model, texts)[1], cached_step(model, texts, scale=7.0)[1]
    for name, gradient in plain.items():
        torch.testing.assert_close(scaled[name], 7 * gradient, rtol=1e-12, atol=1e-15)


def test_embeddings_are_in_the_order_of_the_texts_whatever_the_chunks():
    model, texts = encoder(), some_texts(21)
    model.model.eval()
    whole = CachedEmbeddings(model, texts, (0,), tokens_per_forward=10_000, tokens_at_once=0).embeddings
    for row in (0, 7, 20):
        alone = CachedEmbeddings(model, texts.take(np.array([row])), (0,), tokens_at_once=0).embeddings
        torch.testing.assert_close(whole[row], alone[0], rtol=1e-12, atol=1e-12)


def test_a_model_with_random_numbers_of_its_own_is_refused():
    model, texts = encoder(torch.float32), some_texts(5)
    random = np.random.default_rng()
    layer = model.model.embeddings
    layer.register_forward_hook(lambda _module, _input, output: output + float(random.random()))
    cache = CachedEmbeddings(model, texts, (0,), tokens_at_once=0)
    with pytest.raises(ReplayError, match="differs from the first by up to"):
        cache.backward(torch.ones_like(cache.embeddings))


def test_bf16_weights_are_cast_and_gradients_are_close_to_those_of_fp32():
    texts = some_texts(21)
    exact = encoder(torch.float32)
    rough = TextEncoder(exact.model, "mean", True, 0, torch.device("cpu"), torch.bfloat16)
    expected = cached_step(exact, texts, tokens_per_forward=64)[1]
    once = cached_step(rough, texts, tokens_per_forward=64)
    twice = cached_step(rough, texts, tokens_per_forward=64, tokens_at_once=0)
    assert once[0] == twice[0]
    flat = [torch.cat([each.ravel() for each in found.values()]) for found in (expected, once[1], twice[1])]
    assert torch.equal(flat[1], flat[2])
    assert float(torch.nn.functional.cosine_similarity(flat[0], flat[1], dim=0)) > 0.99
    assert flat[1].dtype == torch.float32


def test_chunks_hold_each_text_once_and_stay_within_the_tokens():
    lengths = np.random.default_rng(0).integers(1, 300, 1000)
    chunks = chunks_of_like_lengths(lengths, 2048)
    assert np.array_equal(np.sort(np.concatenate(chunks)), np.arange(1000))
    assert all(len(chunk) * lengths[chunk].max() <= 2048 for chunk in chunks)
    assert 1 - lengths.sum() / padded_tokens(lengths, chunks) < 0.02


def test_chunks_are_cut_where_they_pad_least():
    # By hand: [9, 9, 9 | 2, 2, 2] pads nothing; cut after four texts it would pad 7. Two chunks, since a third costs 24 more.
    chunks = chunks_of_like_lengths(np.array([2, 9, 2, 9, 2, 9]), 30)
    assert [chunk.tolist() for chunk in chunks] == [[1, 3, 5], [0, 2, 4]]
    # One text over the limit is a chunk of its own; lengths are rounded up to 8: 16 + 16 + 8 fit into 48 only as 3 * 16.
    assert [len(chunk) for chunk in chunks_of_like_lengths(np.array([100, 10, 9, 3]), 48, multiple_of=8)] == [1, 3]


def test_joined_lists_are_those_of_both():
    both = joined(Ragged.of([[1, 2], []]), Ragged.of([[3], [4, 5]]))
    assert both.lists() == [[1, 2], [], [3], [4, 5]]


ALL = ("dense", "lexical", "multi_vector")


def with_heads(dtype=torch.float64, dropout=0.0):
    plain = encoder(dtype, dropout)
    torch.manual_seed(4)
    heads = {"lexical": torch.nn.Linear(16, 1).to(dtype), "multi_vector": torch.nn.Linear(16, 6).to(dtype)}
    return replace(plain, outputs=ALL, heads=heads)


def weights_of(text_encoder):
    modules = [text_encoder.model, *text_encoder.heads.values()]
    return [weight for module in modules for weight in module.parameters()]


def step_of_outputs(text_encoder, texts, dtype=torch.float64, **chunks):
    """Outputs, and the gradients of the weights where those of the outputs are drawn at random."""
    for weight in weights_of(text_encoder):
        weight.grad = None
    cache = CachedEmbeddings(text_encoder, texts, (1, 2), **chunks)
    random = torch.Generator().manual_seed(5)
    drawn = {output: torch.randn(cache.outputs[output].shape, generator=random, dtype=dtype) for output in ALL}
    cache.backward(drawn)
    return cache.outputs, drawn, [weight.grad for weight in weights_of(text_encoder) if weight.grad is not None]


@pytest.mark.parametrize("tokens_at_once", [0, 70, 10_000])
@pytest.mark.parametrize("tokens_per_forward", [1, 37, 10_000])
def test_outputs_of_tokens_and_their_gradients_are_those_of_each_text_alone(tokens_per_forward, tokens_at_once):
    several, texts = with_heads(), some_texts(9)
    outputs, drawn, found = step_of_outputs(
        several, texts, tokens_per_forward=tokens_per_forward, tokens_at_once=tokens_at_once
    )
    for weight in weights_of(several):
        weight.grad = None
    tokens, vectors = texts.offsets, texts.offsets - np.arange(len(texts) + 1)
    for number, text in enumerate(texts.lists()):
        hidden = several.model(input_ids=torch.tensor([text])).last_hidden_state[0]
        lexical = torch.relu(hidden @ several.heads["lexical"].weight[0] + several.heads["lexical"].bias)
        projected = hidden[1:] @ several.heads["multi_vector"].weight.T + several.heads["multi_vector"].bias
        alone = {
            "dense": (hidden.mean(0) / hidden.mean(0).norm())[None],
            "lexical": lexical,
            "multi_vector": projected / projected.norm(dim=1, keepdim=True),
        }
        rows = {
            "dense": slice(number, number + 1),
            "lexical": slice(*tokens[number : number + 2]),
            "multi_vector": slice(*vectors[number : number + 2]),
        }
        for output in ALL:
            torch.testing.assert_close(outputs[output][rows[output]], alone[output].detach(), rtol=1e-12, atol=1e-12)
        sum((alone[output] * drawn[output][rows[output]]).sum() for output in ALL).backward()
    expected = [weight.grad for weight in weights_of(several) if weight.grad is not None]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_dropout_is_the_same_in_both_passes_for_all_outputs():
    several, texts = with_heads(torch.float32, dropout=0.3), some_texts(21)
    once, twice = (
        step_of_outputs(several, texts, torch.float32, tokens_per_forward=64, tokens_at_once=size)
        for size in (10_000, 0)
    )
    assert all(torch.equal(once[0][output], twice[0][output]) for output in ALL)
    assert all(torch.equal(a, b) for a, b in zip(once[2], twice[2], strict=True))


def test_in_bf16_outputs_are_float32_and_embedding_twice_changes_no_bit():
    several, texts = with_heads(torch.float32), some_texts(21)
    rough = replace(several, dtype=torch.bfloat16)
    once, twice = (
        step_of_outputs(rough, texts, torch.float32, tokens_per_forward=64, tokens_at_once=size) for size in (10_000, 0)
    )
    assert {each.dtype for each in once[0].values()} == {torch.float32}
    assert all(torch.equal(a, b) for a, b in zip(once[2], twice[2], strict=True))
