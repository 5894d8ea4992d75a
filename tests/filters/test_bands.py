"""The S-curve against simulation, and the choice of bands against a search of its own."""

import numpy as np
import pytest

from filters.bands import Bands, choose_bands


def test_the_curve_is_the_share_of_simulated_signatures_that_share_a_band():
    random = np.random.default_rng(0)
    for similarity in (0.3, 0.6, 0.8):
        agree = random.random((20_000, 8, 3)) < similarity
        simulated = agree.all(axis=2).any(axis=1).mean()
        assert Bands(8, 3).chance_of_candidate(similarity) == pytest.approx(simulated, abs=0.02)


def test_keys_are_equal_where_all_places_of_a_band_are():
    signatures = np.array([[1, 2, 3, 4], [1, 2, 9, 9], [1, 0, 3, 4]], np.uint8)
    first, second = Bands(2, 2).keys(signatures, 0), Bands(2, 2).keys(signatures, 1)
    assert (first[0] == first[1]) and first[0] != first[2]
    assert (second[0] == second[2]) and second[0] != second[1]


def test_bands_have_keys_of_their_own():
    signatures = np.array([[7, 7]], np.uint8)
    assert Bands(2, 1).keys(signatures, 0) != Bands(2, 1).keys(signatures, 1)


def test_views_have_keys_of_their_own():
    signatures = np.array([[7, 7]], np.uint8)
    assert len({int(Bands(1, 2).keys(signatures, 0, view)[0]) for view in range(3)}) == 3


def test_keys_of_bands_longer_than_eight_places_see_every_place():
    signatures = np.zeros((21, 20), np.uint8)
    signatures[np.arange(20), np.arange(20)] = 1
    assert len(set(Bands(1, 20).keys(signatures, 0).tolist())) == 21


@pytest.mark.parametrize(("similarity", "weight"), [(0.5, 0.5), (0.7, 0.9), (0.8, 0.5)])
def test_the_chosen_bands_have_the_least_weighted_area_of_errors(similarity, weight):
    def error(rows):
        steps = np.linspace(0, 1, 4001)
        curve = 1 - (1 - steps**rows) ** (64 // rows)
        below = steps < similarity
        return (1 - weight) * curve[below].sum() + weight * (1 - curve[~below]).sum()

    rows = min(range(1, 65), key=error)
    assert choose_bands(64, similarity, weight) == Bands(64 // rows, rows)


def test_a_higher_weight_of_missed_pairs_misses_fewer():
    strict, kind = choose_bands(128, 0.7, 0.5), choose_bands(128, 0.7, 0.99)
    assert kind.chance_of_candidate(0.7) > strict.chance_of_candidate(0.7)


def test_a_target_outside_the_range_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        choose_bands(128, 1.0)
