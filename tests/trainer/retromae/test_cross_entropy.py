"""Tiled losses over a vocabulary: torch's own, in value and gradient."""

import pytest
import torch

from trainer.retromae.cross_entropy import OutputLayer, bag_of_words_loss, tiled_cross_entropy


def some_layer(vocabulary=37, width=6, *, bias=True):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(vocabulary, width, generator=generator, dtype=torch.float64, requires_grad=True)
    offsets = torch.randn(vocabulary, generator=generator, dtype=torch.float64, requires_grad=True) if bias else None
    states = torch.randn(11, width, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(vocabulary, (11,), generator=generator)
    return weight, offsets, states, targets


@pytest.mark.parametrize("rows", [1, 4, 11, 50])
@pytest.mark.parametrize("bias", [True, False])
def test_the_tiled_loss_and_its_gradients_are_torchs(rows, bias):
    weight, offsets, states, targets = some_layer(bias=bias)
    logits = states @ weight.T + (0 if offsets is None else offsets)
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    wanted = torch.autograd.grad(expected * 0.25, [states, weight, *([] if offsets is None else [offsets])])
    weight.grad = torch.ones_like(weight)  # gradients are added
    scale = torch.tensor(0.25, dtype=torch.float64)
    layer = OutputLayer.of(weight, offsets, torch.float64)
    loss, gradient = tiled_cross_entropy(states, layer, targets, scale, rows)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, wanted[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(weight.grad - 1, wanted[1], rtol=1e-12, atol=1e-12)
    if offsets is not None:
        torch.testing.assert_close(offsets.grad, wanted[2], rtol=1e-12, atol=1e-12)


def test_no_rows_give_no_loss_and_no_gradient():
    weight, offsets, states, targets = some_layer()
    layer = OutputLayer.of(weight, offsets, torch.float64)
    loss, gradient = tiled_cross_entropy(states[:0], layer, targets[:0], torch.tensor(1.0, dtype=torch.float64))
    assert loss == 0
    assert gradient.shape == (0, 6)


def test_bf16_products_keep_float32_sums_near_the_exact_loss():
    weight, offsets, states, targets = (each.detach() for each in some_layer())
    parameters = [torch.nn.Parameter(each.float()) for each in (weight, offsets)]
    layer = OutputLayer.of(*parameters, torch.bfloat16)
    loss, gradient = tiled_cross_entropy(states.float(), layer, targets, torch.tensor(1.0))
    exact = torch.nn.functional.cross_entropy(states @ weight.T + offsets, targets, reduction="sum")
    assert loss.dtype == gradient.dtype == torch.float32
    assert abs(float(loss) / float(exact) - 1) < 0.01


def test_the_bag_of_words_is_the_plain_restatement():
    weight, offsets, states, words = some_layer()
    lengths = [5, 1, 5]
    total = torch.zeros((), dtype=torch.float64)
    start = 0
    for length in lengths:
        logits = states[start : start + length] @ weight.T + offsets
        largest = torch.stack([max(logits[row, entry] for row in range(length)) for entry in range(len(weight))])
        log_shares = largest - torch.log(torch.exp(largest).sum())
        total = total - sum(log_shares[words[row]] / length for row in range(start, start + length))
        start += length
    wanted = torch.autograd.grad(total * 0.5, [states, weight, offsets])
    layer = OutputLayer.of(weight, offsets, torch.float64)
    loss, gradient = bag_of_words_loss(states, layer, lengths, words, torch.tensor(0.5, dtype=torch.float64))
    torch.testing.assert_close(loss, total.detach(), rtol=1e-12, atol=1e-12)
    for found, expected in ((gradient, wanted[0]), (weight.grad, wanted[1]), (offsets.grad, wanted[2])):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
