"""Multi-vector scores in training against loops, and their gradients against finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.m3_formula import score
from trainer import max_similarity as module
from trainer.max_similarity import max_similarity
from trainer.text_rows import TextRows

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=6)


def some_rows(lengths, seed=0, width=3):
    values = np.random.default_rng(seed).normal(size=(sum(lengths), width))
    return TextRows(torch.tensor(values), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def vectors(rows, number):
    return {"multi_vector": rows.part(number, number + 1).values.tolist()}


@given(LENGTHS, LENGTHS, st.integers(1, 9), st.integers(1, 20))
@settings(max_examples=80, deadline=None)
def test_scores_are_means_of_maxima_whatever_the_tiles(query_lengths, passage_lengths, height, width):
    queries, passages = some_rows(query_lengths), some_rows(passage_lengths, 1)
    found = max_similarity(queries, passages, (height, width))
    for q in range(len(queries)):
        for p in range(len(passages)):
            expected = score("multi_vector", vectors(queries, q), vectors(passages, p))
            assert float(found[q, p]) == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("padded_to", [None, 4])
@pytest.mark.parametrize("tile", [(1, 1), (3, 7), (512, 2048)])
def test_gradients_are_those_of_finite_differences(monkeypatch, tile, padded_to, on_gpu):
    if on_gpu:  # the way a GPU takes, on the CPU
        monkeypatch.setattr(
            module, "_gradients_by_loops", lambda q, p, places, owners, each: by_products(q, p, places, each)
        )
    queries, passages = some_rows([2, 0, 3]), some_rows([1, 4, 0, 2], 1)
    plan = module._Plan.of(queries, passages, tile, padded_to)

    def by_products(q, p, places, each):
        return module._gradients_by_products(q, p, places, plan, each)

    def scores(q, p):
        sides = (TextRows(q, queries.offsets), TextRows(p, passages.offsets))
        return max_similarity(*sides, tile, padded_to)

    assert torch.autograd.gradcheck(scores, [side.values.clone().requires_grad_() for side in (queries, passages)])


def test_of_equal_vectors_the_first_one_learns():
    queries = TextRows(torch.tensor([[1.0, 0.0]]), np.array([0, 1]))
    values = torch.tensor([[0.5, 1.0], [0.5, -1.0], [0.5, 0.0], [0.25, 0.0]], requires_grad=True)
    scores = max_similarity(queries, TextRows(values, np.array([0, 3, 4])))
    scores.sum().backward()
    assert values.grad.tolist() == [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]


def test_zero_vectors_take_part_only_where_asked_for_and_only_behind_short_passages():
    # By hand: -1 and -2 are the largest products; of the passage of one token, padded to two, it is the zero vector's 0.
    queries = TextRows(torch.tensor([[1.0, 0.0]]), np.array([0, 1]))
    passages = TextRows(torch.tensor([[-1.0, 0.0], [-2.0, 0.0], [-3.0, 0.0]]), np.array([0, 1, 3]))
    assert max_similarity(queries, passages).tolist() == [[-1.0, -2.0]]
    assert max_similarity(queries, passages, padded_to=2).tolist() == [[0.0, -2.0]]


def test_the_same_bits_for_any_number_of_threads():
    queries, passages = some_rows([5, 9, 1], width=7), some_rows([3, 8, 2, 11, 4], 1, width=7)
    gradients = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        leaves = [side.as_leaf() for side in (queries, passages)]
        max_similarity(*leaves).square().sum().backward()
        gradients.append([leaf.values.grad for leaf in leaves])
    torch.set_num_threads(before)
    for found in gradients[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found, gradients[0], strict=True))
