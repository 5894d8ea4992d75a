"""InfoNCE against the papers' formula in float64, its gradient against finite differences."""

import math

import numpy as np
import pytest
import torch

from trainer.loss import LossShapeError, info_nce


def embeddings(rows, seed, width=6):
    values = np.random.default_rng(seed).normal(size=(rows, width))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def formula(queries, passages, temperature, forbidden=None, symmetric=None):
    """M3 equation 2, and C-Pack's direction for symmetric pairs, term by term."""
    count, group = len(queries), len(passages) // len(queries)
    forbidden = np.zeros((count, len(passages)), bool) if forbidden is None else forbidden
    losses = []
    for i in range(count):
        own = i * group
        positive = math.exp(queries[i] @ passages[own] / temperature)
        others = [
            math.exp(queries[i] @ passages[j] / temperature)
            for j in range(len(passages))
            if j != own and not forbidden[i, j]
        ]
        loss = -math.log(positive / (positive + sum(others)))
        if symmetric is not None and symmetric[i]:
            others = [
                math.exp(queries[k] @ passages[own] / temperature)
                for k in range(count)
                if k != i and not forbidden[k, own]
            ]
            loss = (loss - math.log(positive / (positive + sum(others)))) / 2
        losses.append(loss)
    return sum(losses) / count


def loss_of(queries, passages, temperature, forbidden=None, symmetric=None, dtype=torch.float32):
    return info_nce(
        torch.tensor(queries, dtype=dtype),
        torch.tensor(passages, dtype=dtype),
        temperature,
        None if forbidden is None else torch.tensor(forbidden),
        None if symmetric is None else torch.tensor(symmetric),
    )


@pytest.mark.parametrize("negatives", [0, 1, 3])
@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_the_loss_is_the_papers_formula(negatives, temperature):
    queries, passages = embeddings(5, 1), embeddings(5 * (1 + negatives), 2)
    random = np.random.default_rng(3)
    forbidden = random.random((5, len(passages))) < 0.3
    symmetric = np.array([True, False, True, True, False])
    for mask in (None, forbidden):
        for both in (None, symmetric):
            expected = formula(queries, passages, temperature, mask, both)
            assert float(loss_of(queries, passages, temperature, mask, both)) == pytest.approx(expected, rel=2e-5)


def test_two_orthogonal_pairs_have_a_loss_worked_out_by_hand():
    # Each query scores 1 with its positive and 0 with the other: -log(e / (e + 1)) at temperature 1.
    identity = np.eye(2)
    assert float(loss_of(identity, identity, 1.0)) == pytest.approx(math.log(1 + math.exp(-1)))


def test_a_row_without_negatives_uses_in_batch_ones_only():
    queries, positives, negatives = embeddings(3, 1), embeddings(3, 2), embeddings(3, 3)
    passages = np.stack([positives, negatives], axis=1).reshape(6, -1)
    empty = np.zeros((3, 6), bool)
    empty[:, [1, 3, 5]] = True
    assert float(loss_of(queries, passages, 0.1, empty)) == pytest.approx(
        float(loss_of(queries, positives, 0.1)), rel=1e-6
    )


def test_a_query_whose_every_candidate_is_forbidden_costs_nothing():
    forbidden = np.ones((2, 2), bool)
    assert float(loss_of(embeddings(2, 1), embeddings(2, 2), 0.1, forbidden)) == 0.0


def test_the_own_positive_cannot_be_forbidden():
    queries, passages = embeddings(3, 1), embeddings(3, 2)
    assert float(loss_of(queries, passages, 0.1, np.eye(3, dtype=bool))) == float(loss_of(queries, passages, 0.1))


def test_a_forbidden_passage_gets_no_gradient_and_every_other_row_that_of_its_share_of_the_softmax():
    queries, passages = embeddings(2, 1), embeddings(4, 2)
    tensor = torch.tensor(passages, requires_grad=True)
    # Passage 3 is forbidden to both queries, passage 1 to the second one; passages 0 and 2 are the positives.
    forbidden = np.array([[False, False, False, True], [False, True, False, True]])
    info_nce(torch.tensor(queries), tensor, 0.5, torch.tensor(forbidden)).backward()
    weights = np.where(forbidden, 0.0, np.exp(queries @ passages.T / 0.5))
    weights /= weights.sum(axis=1, keepdims=True)
    # d loss / d e_p = sum over queries of (softmax - 1 for the own positive) * e_q / temperature, averaged over 2 queries
    expected = (weights - [[1, 0, 0, 0], [0, 0, 1, 0]]).T @ queries / 0.5 / 2
    assert tensor.grad.numpy() == pytest.approx(expected, abs=1e-6)
    assert (tensor.grad != 0).all(dim=1).tolist() == [True, True, True, False]
    assert (tensor.grad[3] == 0).all()
    # Of passage 1 the first query alone asks: its gradient lies along that query.
    assert tensor.grad[1].numpy() == pytest.approx(weights[0, 1] * queries[0], abs=1e-6)


def test_the_gradient_is_that_of_the_formula_by_finite_differences():
    queries, passages = embeddings(3, 4), embeddings(6, 5)
    forbidden = np.random.default_rng(6).random((3, 6)) < 0.2
    symmetric = np.array([True, False, True])
    both = [torch.tensor(each, dtype=torch.float32, requires_grad=True) for each in (queries, passages)]
    info_nce(*both, 0.2, torch.tensor(forbidden), torch.tensor(symmetric)).backward()
    step = 1e-5
    for which, tensor in enumerate(both):
        for index in np.ndindex(*tensor.shape):
            sides = []
            for sign in (1, -1):
                moved = [queries.copy(), passages.copy()]
                moved[which][index] += sign * step
                sides.append(formula(*moved, 0.2, forbidden, symmetric))
            assert float(tensor.grad[index]) == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=2e-5)


def test_the_loss_is_computed_in_fp32_under_autocast():
    queries, passages = embeddings(8, 1, 64), embeddings(16, 2, 64)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(queries, passages, 0.02)
    assert loss.dtype == torch.float32
    assert float(loss) == float(loss_of(queries, passages, 0.02))


@pytest.mark.parametrize(("queries", "passages", "mask"), [(2, 3, None), (0, 0, None), (2, 4, (2, 2))])
def test_shapes_that_do_not_fit_are_refused(queries, passages, mask):
    with pytest.raises(LossShapeError, match="B queries"):
        info_nce(
            torch.zeros(queries, 4),
            torch.zeros(passages, 4),
            forbidden=None if mask is None else torch.zeros(mask, dtype=torch.bool),
        )
