"""Components against a search through the graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.components import large_star, representatives, small_star

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


def star(ends):
    """Edges as the star functions give them, as a set of (larger, smaller)."""
    larger, smaller = (each.tolist() for each in ends)
    edges = list(zip(larger, smaller, strict=True))
    assert len(set(edges)) == len(edges)
    assert all(one > other for one, other in edges)
    return set(edges)


def plain_large_star(edges):
    """Kiveris et al. 2014, algorithm 1: each vertex joins its larger neighbours to the smallest of its neighbourhood."""
    found = set()
    for vertex in {end for edge in edges for end in edge}:
        neighbours = {end for edge in edges if vertex in edge for end in edge} | {vertex}
        found |= {(other, min(neighbours)) for other in neighbours if other > vertex}
    return {(one, other) for one, other in found if one != other}


def plain_small_star(edges):
    """Algorithm 2: each vertex joins itself and its smaller neighbours to the smallest of them."""
    found = set()
    for vertex in {end for edge in edges for end in edge}:
        neighbours = {other for edge in edges if vertex in edge for other in edge if other <= vertex} | {vertex}
        found |= {(other, min(neighbours)) for other in neighbours if other != min(neighbours)}
    return found


def directed(edges):
    return {(max(edge), min(edge)) for edge in edges if edge[0] != edge[1]}


@settings(deadline=None)
@given(PAIRS)
def test_the_stars_are_those_of_the_paper(pairs):
    edges = directed(pairs)
    both = [*edges, *((other, one) for one, other in edges)]
    assert star(large_star([one for one, _ in both], [other for _, other in both])) == plain_large_star(edges)
    larger, smaller = [one for one, _ in edges], [other for _, other in edges]
    assert star(small_star(larger, smaller)) == plain_small_star(edges)


@settings(deadline=None)
@given(PAIRS)
def test_rounds_of_stars_end_with_an_edge_from_each_text_to_the_smallest_of_its_component(pairs):
    edges = directed(pairs)
    for _ in range(20):
        both = [*edges, *((other, one) for one, other in edges)]
        large = star(large_star([one for one, _ in both], [other for _, other in both]))
        now = star(small_star([one for one, _ in large], [other for _, other in large]))
        if now == edges:
            break
        edges = now
    else:
        raise AssertionError("twenty rounds were not enough for twenty texts")
    expected = {(text, min(reachable(text, pairs))) for text in range(20)}
    assert edges == {(text, least) for text, least in expected if text != least}
