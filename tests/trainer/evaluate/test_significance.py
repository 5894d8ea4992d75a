import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainer.evaluate import EvaluationError, compare, most_moved
from trainer.evaluate.significance import bootstrap_interval, randomisation_p_value


def table(values, queries=None):
    queries = queries or [f"q{number}" for number in range(len(values))]
    return pa.table({"query_id": queries, "ndcg@10": pa.array(values, pa.float64())})


def by_definition(differences):
    """The share of all sign patterns whose sum is as far from 0 as the one observed."""
    observed = abs(sum(differences))
    patterns = list(itertools.product([1, -1], repeat=len(differences)))
    sums = [abs(sum(sign * each for sign, each in zip(signs, differences, strict=True))) for signs in patterns]
    return sum(each >= observed - 1e-12 for each in sums) / len(patterns)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([-0.5, -0.25, 0.0, 0.125, 0.5, 1.0]), min_size=1, max_size=8))
def test_few_queries_are_tested_exactly(differences):
    assert randomisation_p_value(np.array(differences)) == pytest.approx(by_definition(differences))


def test_the_exact_test_is_scipys():
    differences = np.random.default_rng(3).normal(0.2, 0.4, 11)
    peer = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert randomisation_p_value(differences) == pytest.approx(peer.pvalue)


def test_the_random_test_is_near_scipys_and_the_same_for_the_same_seed():
    differences = np.random.default_rng(5).normal(0.05, 0.3, 200)
    peer = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
    )
    p_value = randomisation_p_value(differences, seed=7)
    # 10,000 samples: the standard error of a share near 0.05 is 0.002
    assert p_value == pytest.approx(peer.pvalue, abs=0.01)
    assert p_value == randomisation_p_value(differences, seed=7)
    assert p_value != randomisation_p_value(differences, seed=8)


@pytest.mark.parametrize("tenths", [[2, -7, 5, -1, 1], [-5, 1, 3, 1], [-9, -1, -2, 6, -9, 3, 6, 6]])
def test_sums_that_differ_by_rounding_only_are_equally_far_from_zero(tenths):
    # They add up to 0, in floating point to some 1e-17: every pattern is at least as far from 0 as the one observed.
    assert sum(tenths) == 0
    assert randomisation_p_value(np.array(tenths) / 10) == 1.0


def test_queries_that_do_not_differ_change_no_p_value():
    differences = np.random.default_rng(5).normal(0.05, 0.3, 200)
    assert randomisation_p_value(np.concatenate([differences, np.zeros(999)])) == randomisation_p_value(differences)


def test_two_equal_systems_do_not_differ():
    comparison = compare(table([0.5, 0.25]), table([0.5, 0.25]), "ndcg@10")
    assert (comparison.difference, comparison.low, comparison.high, comparison.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert (comparison.better, comparison.worse, comparison.equal) == (0, 0, 2)


def test_the_interval_is_that_of_the_bootstrap():
    differences = np.random.default_rng(5).normal(0.05, 0.3, 300)
    low, high = bootstrap_interval(differences, seed=2)
    peer = stats.bootstrap(
        (differences,), np.mean, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (low, high) == pytest.approx((peer.low, peer.high), abs=0.005)
    narrow_low, narrow_high = bootstrap_interval(differences, seed=2, confidence=0.5)
    assert low < narrow_low < differences.mean() < narrow_high < high


def test_a_comparison_is_by_query_id_and_not_by_order():
    first = table([0.0, 1.0, 0.5], ["a", "b", "c"])
    second = table([0.75, 0.5, 1.0], ["c", "a", "b"])
    comparison = compare(first, second, "ndcg@10")
    assert (comparison.first, comparison.second, comparison.difference) == (0.5, 0.75, 0.25)
    assert (comparison.better, comparison.worse, comparison.equal, comparison.queries) == (2, 0, 1, 3)
    # both differences are above 0: of 4 patterns of signs 2 are as far from 0
    assert comparison.p_value == 0.5


def test_the_queries_that_moved_most_are_told_from_the_most_on():
    first = table([0.5, 0.5, 0.5, 0.5, 0.5], ["a", "b", "c", "d", "e"])
    second = table([0.6, 0.0, 0.5, 1.0, 0.4], ["a", "b", "c", "d", "e"])
    assert most_moved(first, second, "ndcg@10", 5) == (["d", "a"], ["b", "e"])
    assert most_moved(first, second, "ndcg@10", 1) == (["d"], ["b"])


@pytest.mark.parametrize(
    ("second", "metric", "message"),
    [
        (table([0.5], ["other"]), "ndcg@10", "not of the same queries: 2 are in one only, such as 'other'"),
        (table([float("nan")]), "ndcg@10", "ndcg@10 of query 'q0' is NaN"),
        (table([0.5]), "map@100", "no metric 'map@100' among the results: they have ndcg@10"),
        (table([]), "ndcg@10", "Results of no query"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(second, metric, message):
    with pytest.raises(ValueError, match=message):
        compare(table([0.5]), second, metric)


def test_a_query_id_that_occurs_twice_is_refused():
    # The questions of MKQA have the same ids in all languages: the last would stand for all.
    both = table([0.5, 0.25, 1.0], ["1", "2", "1"])
    with pytest.raises(EvaluationError, match=r"3 values of ndcg@10 for 2 query ids.*one language at a time"):
        compare(both, both, "ndcg@10")
