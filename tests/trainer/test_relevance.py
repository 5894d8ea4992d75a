import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.relevance import bitext_margins, cosines, ranks_in_pool


def random_unit(rng, rows, dimension=16):
    vectors = rng.standard_normal((rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 40), pool_rows=st.integers(0, 300), pieces=st.integers(1, 4))
def test_the_rank_is_the_number_of_pool_passages_that_score_higher(seed, rows, pool_rows, pieces):
    rng = np.random.default_rng(seed)
    queries, positives, pool = random_unit(rng, rows), random_unit(rng, rows), random_unit(rng, pool_rows)
    wide = queries.astype(np.float64)
    expected = (np.einsum("nd,nd->n", wide, positives) < (wide @ pool.T.astype(np.float64)).T).sum(axis=0)
    np.testing.assert_array_equal(ranks_in_pool(queries, positives, pool), expected)
    streamed = iter(np.array_split(pool, pieces))
    np.testing.assert_array_equal(ranks_in_pool(queries, positives, streamed), expected)


def test_copies_of_the_positive_in_the_pool_do_not_rank_above_it():
    rng = np.random.default_rng(3)
    queries, positives = random_unit(rng, 200, 384), random_unit(rng, 200, 384)
    pool = np.concatenate([positives] * 5)
    alone = ranks_in_pool(queries, positives, positives)
    np.testing.assert_array_equal(ranks_in_pool(queries, positives, pool), alone * 5)
    assert ranks_in_pool(positives, positives, pool).max() == 0


def test_half_precision_gives_the_ranks_of_the_rounded_vectors():
    rng = np.random.default_rng(5)
    queries, positives, pool = (random_unit(rng, rows).astype(np.float16) for rows in (20, 20, 500))
    wide = [each.astype(np.float32) for each in (queries, positives, pool)]
    np.testing.assert_array_equal(ranks_in_pool(queries, positives, pool), ranks_in_pool(*wide))


def test_rows_that_do_not_make_pairs_are_refused():
    with pytest.raises(ValueError, match="one row a pair"):
        ranks_in_pool(np.zeros((2, 4), np.float32), np.zeros((3, 4), np.float32), np.zeros((1, 4), np.float32))


def test_the_margin_is_the_formula_of_the_paper():
    rng = np.random.default_rng(1)
    sources = random_unit(rng, 50).astype(np.float64)
    targets = sources + 0.4 * rng.standard_normal((50, 16))
    unit = targets / np.linalg.norm(targets, axis=1, keepdims=True)
    similarity = sources @ unit.T
    k = 4
    forward = np.sort(similarity, axis=1)[:, -k:].sum(axis=1) / (2 * k)
    backward = np.sort(similarity, axis=0)[-k:].sum(axis=0) / (2 * k)
    expected = np.diag(similarity) / (forward + backward)
    np.testing.assert_allclose(bitext_margins(sources, targets, k), expected, rtol=1e-5)


def test_a_translation_scores_above_one_and_a_stranger_below():
    rng = np.random.default_rng(2)
    sources = random_unit(rng, 40)
    targets = sources.copy()
    targets[0], targets[1] = sources[1], sources[0]  # two lines that changed places
    margins = bitext_margins(sources, targets)
    assert (margins[2:] > 1.06).all() and (margins[:2] < 1.06).all()


def test_few_pairs_and_none_have_margins_too():
    assert bitext_margins(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)).shape == (2,)
    assert bitext_margins(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32)).shape == (0,)


def test_cosines_do_not_depend_on_the_lengths_of_the_vectors():
    left, right = np.array([[3.0, 4.0]]), np.array([[40.0, 30.0]])
    np.testing.assert_allclose(cosines(left, right), [24 / 25])


def test_a_positive_that_is_not_finite_is_named_and_has_no_rank():
    queries = np.eye(4, dtype=np.float32)
    positives = queries.copy()
    positives[2, 1] = np.nan
    with pytest.raises(ValueError, match="positive row 2 is not finite"):
        ranks_in_pool(queries, positives, queries)


def test_a_pool_with_empty_pieces_is_ranked_against_its_rows():
    queries = np.eye(3, dtype=np.float32)
    pool = [np.zeros((0, 3), np.float32), 2 * queries[:1], np.zeros((0, 3), np.float32)]
    assert ranks_in_pool(queries, queries, pool).tolist() == [1, 0, 0]
    assert ranks_in_pool(queries, queries, pool[:1]).tolist() == [0, 0, 0]
