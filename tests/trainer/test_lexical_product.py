"""Lexical scores in training against dictionaries, and their gradients against finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.m3_formula import bag
from trainer.lexical_product import largest_of_each_token, lexical_scores
from trainer.text_rows import TextRows

TEXTS = st.lists(
    st.lists(st.tuples(st.integers(0, 12), st.integers(-2, 5).map(lambda value: value / 4)), max_size=8),
    min_size=1,
    max_size=5,
)
SPECIAL = np.array([0, 3], np.int32)


def flat(texts):
    weights = torch.tensor([weight for text in texts for _, weight in text], dtype=torch.float64)
    ids = np.array([token for text in texts for token, _ in text], np.int32)
    return weights, ids, np.array([len(text) for text in texts], np.int64)


def rows_of(texts):
    return largest_of_each_token(*flat(texts), SPECIAL)[0]


@given(TEXTS)
@settings(max_examples=60, deadline=None)
def test_each_distinct_token_has_its_largest_weight_and_special_ones_have_none(texts):
    rows, chosen = largest_of_each_token(*flat(texts), SPECIAL)
    weights, ids, _ = flat(texts)
    for number, text in enumerate(texts):
        part = rows.part(number, number + 1)
        expected = bag(text, special=(0, 3))
        assert part.tokens.tolist() == sorted(expected)
        assert part.values.tolist() == [expected[token] for token in sorted(expected)]
    assert weights[chosen].tolist() == rows.values.tolist()
    assert ids[chosen.numpy()].tolist() == rows.tokens.tolist()


def test_of_equal_weights_the_first_counts_and_nan_stays():
    weights = torch.tensor([1.0, 2.0, 2.0, float("nan"), 0.0])
    rows, chosen = largest_of_each_token(weights, np.array([7, 5, 5, 6, 8]), np.array([5]), SPECIAL)
    assert chosen.tolist() == [1, 3, 0]
    assert rows.tokens.tolist() == [5, 6, 7]
    assert torch.isnan(rows.values[1])


@given(TEXTS, TEXTS, st.integers(1, 2000))
@settings(max_examples=60, deadline=None)
def test_scores_are_sums_over_shared_tokens_whatever_the_tiles(queries, passages, tile_bytes):
    found = lexical_scores(rows_of(queries), rows_of(passages), tile_bytes)
    bags = [[bag(text, (0, 3)) for text in side] for side in (queries, passages)]
    expected = [[sum(q[token] * p.get(token, 0.0) for token in q) for p in bags[1]] for q in bags[0]]
    np.testing.assert_allclose(found.numpy(), np.array(expected).reshape(found.shape), rtol=1e-14)


@pytest.mark.parametrize("tile_bytes", [1, 100, 1 << 20])
def test_gradients_are_those_of_finite_differences(tile_bytes):
    queries = rows_of([[(1, 0.5), (2, 1.0), (1, 0.25)], [], [(5, 0.5), (1, 1.0)]])
    passages = rows_of([[(1, 1.0), (9, 2.0)], [(5, 0.75), (2, 0.5), (1, 0.5)], []])

    def scores(of_queries, of_passages):
        sides = zip((of_queries, of_passages), (queries, passages), strict=True)
        return lexical_scores(*(TextRows(values, side.offsets, side.tokens) for values, side in sides), tile_bytes)

    assert torch.autograd.gradcheck(scores, [side.values.clone().requires_grad_() for side in (queries, passages)])
