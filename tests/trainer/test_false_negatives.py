import math
import random

import numpy as np
import pytest

from trainer.false_negatives import SampledNegatives, estimate_share, wilson_interval

PAIRS = [(f"q{query}", [f"n{query} {number}" for number in range(7)]) for query in range(300)]


def sampled(rows, wanted=50, seed=0):
    sample = SampledNegatives(wanted, seed)
    for query, negatives in rows:
        sample.add(query, negatives)
    return sample


def pairs_of(sample):
    queries, negatives = sample.texts()
    return list(zip(queries.to_pylist(), negatives.to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("found", "of", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_that_of_the_published_examples(found, of, low, high):
    assert wilson_interval(found, of) == pytest.approx((low, high), abs=5e-5)


def test_of_none_nothing_is_known():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    estimate = estimate_share(np.full(3, np.nan, np.float32))
    assert (estimate.judged, estimate.unjudged, math.isnan(estimate.share)) == (0, 3, True)
    assert str(estimate) == "not known: none of 3 was judged"


def test_the_share_is_of_the_judged_and_the_limit_counts_as_relevant():
    estimate = estimate_share(np.array([0.5, 0.49, np.nan, 1.0, 0.0], np.float32))
    assert (estimate.judged, estimate.found, estimate.unjudged, estimate.share) == (4, 2, 1, 0.5)
    assert (estimate.low, estimate.high) == wilson_interval(2, 4)
    assert str(estimate) == "50.0% (15.0% to 85.0%) of 4 judged, 1 without an answer"


def test_a_sample_is_the_same_in_any_order_and_another_with_another_seed():
    turned = [(query, negatives[::-1]) for query, negatives in random.Random(1).sample(PAIRS, len(PAIRS))]
    assert pairs_of(sampled(PAIRS)) == pairs_of(sampled(turned))
    assert set(pairs_of(sampled(PAIRS))) != set(pairs_of(sampled(PAIRS, seed=1)))


def test_a_sample_counts_equal_pairs_once_and_all_it_has_seen():
    sample = sampled(PAIRS + PAIRS)
    assert sample.seen == 2 * 300 * 7
    assert pairs_of(sample) == pairs_of(sampled(PAIRS))
    assert len(set(pairs_of(sample))) == 50


def test_a_sample_larger_than_all_is_all():
    assert sorted(pairs_of(sampled(PAIRS[:2], wanted=99))) == sorted((q, n) for q, rows in PAIRS[:2] for n in rows)


def test_every_negative_is_as_likely_to_be_drawn():
    drawn = [pair for seed in range(60) for pair in pairs_of(sampled(PAIRS[:30], wanted=21, seed=seed))]
    # 60 draws of 21 out of 210: each is drawn 6 times on average
    counts = np.bincount([PAIRS[int(query[1:])][1].index(text) for query, text in drawn], minlength=7)
    assert counts.sum() == 60 * 21
    assert np.abs(counts - 180).max() < 5 * math.sqrt(180 * 6 / 7)
