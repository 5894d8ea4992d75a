import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.mining.multimap import Multimap

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=30)


@given(PAIRS, PAIRS)
def test_following_gives_each_start_all_rows_of_its_keys_once(links, wanted):
    link = Multimap.of(np.array([key for key, _ in links], np.uint64), np.array([row for _, row in links], np.int64))
    starts, keys = (np.array([pair[side] for pair in wanted], np.int64) for side in (0, 1))
    found = link.follow(starts, keys.astype(np.uint64))
    expected = sorted({(start, row) for start, wanted_key in wanted for key, row in links if key == wanted_key})
    assert list(zip(*(each.tolist() for each in found), strict=True)) == expected


def test_keys_of_64_bits_are_kept_apart():
    large = np.array([2**64 - 1, 2**63, 2**64 - 1], np.uint64)
    link = Multimap.of(large, np.array([1, 2, 1]))
    assert link.follow(np.array([0]), np.array([2**64 - 1], np.uint64))[1].tolist() == [1]
    assert len(link.keys) == 2
