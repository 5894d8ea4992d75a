"""Components against a search through the graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.components import representatives

PAIRS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


def reachable(start, pairs):
    """All texts that a walk along the pairs comes to."""
    found, waiting = {start}, [start]
    while waiting:
        text = waiting.pop()
        for left, right in pairs:
            for one, other in ((left, right), (right, left)):
                if one == text and other not in found:
                    found.add(other)
                    waiting.append(other)
    return found


@settings(deadline=None)  # the first call compiles
@given(PAIRS, st.permutations(range(20)), st.randoms())
def test_a_text_is_represented_by_the_smallest_position_it_is_connected_with(pairs, position, random):
    expected = [min(reachable(text, pairs), key=position.__getitem__) for text in range(20)]
    turned = [pair if random.random() < 0.5 else pair[::-1] for pair in random.sample(pairs, len(pairs))]
    left, right = ([pair[side] for pair in turned] for side in (0, 1))
    assert representatives(left, right, np.array(position)).tolist() == expected


def test_a_long_chain_is_one_component():
    texts = 200_000
    chain = np.arange(texts - 1)
    assert (representatives(chain[::-1] + 1, chain[::-1], np.arange(texts)) == 0).all()
    assert (representatives(chain, chain + 1, -np.arange(texts)) == texts - 1).all()


def test_texts_without_pairs_represent_themselves():
    assert representatives([], [], np.arange(3)).tolist() == [0, 1, 2]
    assert representatives([], [], []).tolist() == []


def test_a_pair_of_a_text_that_is_not_there_is_refused():
    for pair in (([0], [3]), ([-1], [0])):
        with pytest.raises(ValueError, match="not among the 3 texts"):
            representatives(*pair, np.arange(3))
