import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trainer.evaluate import RetrievalData, query_values, tuned_weights
from trainer.evaluate.hybrid import HybridWeights, Pool, PoolPlaces, _first, fill_scores, union, weights_for


def data_of(relevance, documents):
    queries = list(relevance)
    nothing = [None] * len(queries)
    return RetrievalData("made-up", documents, documents, queries, queries, relevance, nothing, nothing)


def random_pool(seed, queries=6, rows=40, width=12):
    random = np.random.default_rng(seed)
    chosen = np.stack([np.sort(random.choice(rows, width, replace=False)) for _ in range(queries)])
    chosen[0, 0] = -1
    scores = {
        name: random.integers(0, 6, chosen.shape).astype(np.float32) / 4
        for name in ("dense", "lexical", "multi_vector")
    }
    for each in scores.values():
        each[chosen < 0] = -np.inf
    return Pool(chosen, scores)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.lists(st.integers(-1, 9), min_size=4, max_size=4)] * 2), min_size=1, max_size=4))
def test_a_union_has_every_row_once_ascending(lines):
    first, second = (np.array([line[side] for line in lines]) for side in (0, 1))
    together = union(first, second)
    for (one, other), row in zip(lines, together.tolist(), strict=True):
        assert [each for each in row if each >= 0] == sorted({*one, *other} - {-1})
        assert row == sorted(row)


def test_a_pool_is_ranked_by_the_weighted_sum_and_ties_by_the_lower_row():
    pool = random_pool(1)
    weights = {"dense": 1.0, "lexical": 0.3, "multi_vector": 0.5}
    found = pool.ranked(weights, 20)
    for query, rows in enumerate(pool.rows.tolist()):
        sums = {
            row: np.float32(sum(weight * float(pool.scores[name][query, place]) for name, weight in weights.items()))
            for place, row in enumerate(rows)
            if row >= 0
        }
        expected = sorted(sums, key=lambda row: (-sums[row], row))
        assert found.rows[query].tolist() == expected + [-1] * (20 - len(expected))
        assert found.scores[query, : len(expected)].tolist() == [sums[row] for row in expected]


@pytest.mark.parametrize("block", [1, 7, 100])
def test_scores_come_into_their_places_whatever_the_blocks(block):
    pool = random_pool(2)

    def scored(first):
        return lambda part: (part.queries[:, None] * 100 + part.rows + first).astype(np.float32)

    blocks = ((first, first + block, scored(first)) for first in range(0, 40, block))
    expected = np.where(pool.rows >= 0, np.arange(6)[:, None] * 100 + pool.rows, -np.inf)
    np.testing.assert_array_equal(fill_scores(pool.rows, blocks), expected)
    assert PoolPlaces(pool.rows).part(40, 50) is None


def test_the_weights_found_are_the_best_of_the_grid_or_better():
    pool = random_pool(3, queries=8)
    documents = [f"d{row:02d}" for row in range(40, 0, -1)]
    relevance = {
        f"q{query}": {documents[row]: 1 + row % 3 for row in pool.rows[query][3::4].tolist()} for query in range(8)
    }
    relevance["q5"] = {"elsewhere": 1}  # a relevant document outside the corpus
    relevance["q6"] = {documents[0]: 0}  # none at all
    data = data_of(relevance, documents)
    outputs = ("dense", "lexical", "multi_vector")
    weights, value = tuned_weights(data, pool, outputs, cutoff=3)
    assert sum(weights.values()) == pytest.approx(1)

    def ndcg(weights):
        found = pool.ranked(weights, 5)
        return query_values(data, found.scores, found.rows, ("ndcg@3",))["ndcg@3"].mean()

    assert ndcg(weights) == pytest.approx(value, abs=1e-12)
    grid = [point for point in itertools.product(range(0, 21, 4), repeat=3) if sum(point) == 20]
    assert value >= max(ndcg(dict(zip(outputs, (part / 20 for part in point), strict=True))) for point in grid) - 1e-12


def test_where_only_one_output_tells_relevance_it_gets_all_the_weight():
    rows = np.array([[0, 1, 2]])
    pool = Pool(rows, {"dense": np.array([[0, 5, 9]], np.float32), "lexical": np.array([[3, 1, 0]], np.float32)})
    weights, value = tuned_weights(data_of({"q": {"c": 1}}, ["c", "b", "a"]), pool, ("dense", "lexical"), cutoff=1)
    assert value == 1.0
    assert 9 * weights["dense"] <= 3 * weights["lexical"]  # at a tie the lower row, the relevant one, comes first


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 1.0, 2.0, -np.inf]), min_size=11, max_size=11), min_size=1, max_size=3))
def test_the_first_columns_are_those_of_a_stable_sort(lines):
    scores = np.array(lines, np.float32)
    np.testing.assert_array_equal(_first(scores, 2), np.argsort(-scores, axis=1, kind="stable")[:, :2])


@pytest.mark.parametrize(
    ("layout", "both", "all_three"),
    [
        ("miracl", (1.0, 0.3), (1.0, 0.3, 1.0)),
        ("mkqa", (1.0, 0.3), (1.0, 0.3, 1.0)),
        ("mldr", (0.2, 0.8), (0.15, 0.5, 0.35)),
        ("beir", (1.0, 0.3), (1.0, 0.3, 1.0)),
    ],
)
def test_weights_are_the_papers_of_the_benchmark(layout, both, all_three):
    data = RetrievalData("x", [], [], [], [], {}, [], [], layout=layout)
    assert weights_for(data) == HybridWeights(dense_lexical=both, all=all_three)
    assert weights_for(data).of("dense+lexical") == dict(zip(("dense", "lexical"), both, strict=True))
    assert math.isclose(sum(weights_for(data).of("all").values()), sum(all_three))


@pytest.mark.parametrize("weights", [(1.0, -0.3), (0.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0)])
def test_weights_that_cannot_rank_are_refused(weights):
    with pytest.raises(ValidationError):
        HybridWeights(dense_lexical=weights)
