import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.kept_neighbours import KeptLists, KeptSearch, keys_of_rows, match, vector_keys
from trainer.ragged import Ragged
from trainer.search import top_k
from trainer.search_settings import SearchSettings
from trainer.vector_files import VectorFiles

DIMENSION = 3


class InMemory:
    """The lists that a search collected."""

    def __init__(self, lists):
        self._lists = lists
        self._numbers = {tuple(key): number for number, key in enumerate(lists.keys.tolist())}

    def find(self, keys):
        return np.array([self._numbers.get(tuple(key), -1) for key in keys.tolist()], np.int64)

    def take(self, numbers):
        lists = self._lists
        scores = Ragged(lists.scores, lists.positions.offsets).take(numbers).values
        return KeptLists(lists.keys[numbers], lists.bounds[numbers], lists.positions.take(numbers), scores)


def kept(search):
    columns = list(zip(*search.lists, strict=True))
    return InMemory(
        KeptLists(*map(np.concatenate, columns[:2]), Ragged.concatenate(columns[2]), np.concatenate(columns[3]))
    )


def search_of(vectors, rows=None, before=None, then=None):
    corpus = VectorFiles.of(vectors)
    matched = None if before is None else match(then, keys_of_rows(corpus, rows))
    return KeptSearch(corpus, rows, SearchSettings(), before, matched)


def same_as_in_full(search, queries, depths):
    found = search.top_k(queries, depths)
    wanted = top_k(queries, search.corpus, int(depths.max()), search.settings, rows=search.rows)
    for query, depth in enumerate(depths):
        assert found.rows[query, :depth].tolist() == wanted.rows[query, :depth].tolist()
        assert found.scores[query, :depth].tolist() == wanted.scores[query, :depth].tolist()


def random_vectors(random, count):
    """Of few values, so that many are equal and many scores are."""
    return random.integers(-2, 3, (count, DIMENSION)).astype(np.float16)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(2, 150),
    parted=st.booleans(),
    gone=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
def test_what_is_found_after_changes_is_what_a_full_search_finds(seed, count, parted, gone):
    random = np.random.default_rng(seed)
    vectors, queries = random_vectors(random, count), random_vectors(random, 6) + np.float16(0.5)
    before = then = None
    for _ in range(3):
        rows = None
        if parted:
            rows = np.sort(random.choice(len(vectors), random.integers(1, len(vectors) + 1), replace=False))
        search = search_of(vectors, rows, before, then)
        same_as_in_full(search, queries, random.integers(1, 30, len(queries)))
        before, then = kept(search), keys_of_rows(search.corpus, rows)
        left = vectors[random.random(len(vectors)) >= gone]
        vectors = np.concatenate([left, random_vectors(random, random.integers(1, 20))])
        vectors = vectors[random.permutation(len(vectors))]


def spread(count):
    """Vectors whose products with (1, 0, 0) are 1, 2, ... count."""
    vectors = np.zeros((count, DIMENSION), np.float16)
    vectors[:, 0] = np.arange(1, count + 1)
    return vectors


QUERY = np.array([[1, 0, 0]], np.float16)
DEPTH = np.array([4])


def test_a_query_that_kept_enough_is_not_searched_again():
    first = search_of(spread(100))
    first.top_k(QUERY, DEPTH)
    assert first.searched == 1
    again = search_of(
        np.concatenate([spread(100)[:97], [[200, 0, 0]]]).astype(np.float16),
        None,
        kept(first),
        keys_of_rows(first.corpus, None),
    )
    found = again.top_k(QUERY, DEPTH)
    assert again.searched == 0
    assert found.rows.tolist() == [[97, 96, 95, 94]]
    assert found.scores.tolist() == [[200, 97, 96, 95]]


def test_a_query_whose_list_was_used_up_is_searched_in_full():
    first = search_of(spread(100))
    first.top_k(QUERY, DEPTH)  # keeps the 19 above 80: 4, and 16 more, the last of which is the bound
    then = keys_of_rows(first.corpus, None)
    assert first.lists[0].positions.lists() == [list(range(99, 80, -1))]
    few, none = search_of(spread(84), None, kept(first), then), search_of(spread(83), None, kept(first), then)
    assert few.top_k(QUERY, DEPTH).rows.tolist() == [[83, 82, 81, 80]]
    assert none.top_k(QUERY, DEPTH).rows.tolist() == [[82, 81, 80, 79]]
    assert (few.searched, none.searched) == (1, 1)
    same_as_in_full(search_of(spread(86), None, kept(first), then), QUERY, DEPTH)


def test_another_vector_of_a_query_has_no_list():
    first = search_of(spread(100))
    first.top_k(QUERY, DEPTH)
    again = search_of(spread(100), None, kept(first), keys_of_rows(first.corpus, None))
    again.top_k(np.array([[1, 0, 0.5]], np.float16), DEPTH)
    assert again.searched == 1


def test_queries_of_another_part_of_the_corpus_have_other_keys():
    assert (vector_keys(QUERY, 1) != vector_keys(QUERY, 2)).all()


def test_equal_vectors_are_matched_one_to_one():
    one, two, three = (np.array([number, number], np.uint64) for number in (1, 2, 3))
    matched = match(np.stack([two, one, two]), np.stack([one, two, three, one]))
    assert matched.now.tolist() == [1, 0, -1]
    assert matched.added.tolist() == [2, 3]


@pytest.mark.parametrize("changed", [0, DIMENSION - 1])
def test_one_bit_of_a_vector_gives_another_key(changed):
    other = QUERY.copy()
    other.view(np.uint16)[0, changed] ^= 1
    assert vector_keys(QUERY).tolist() != vector_keys(other).tolist()


@given(seed=st.integers(0, 2**32), at_once=st.integers(1, 40))
def test_corpora_matched_part_by_part_are_matched_as_at_once(seed, at_once):
    random = np.random.default_rng(seed)
    then, now = (random.integers(0, 12, (count, 2)).astype(np.uint64) for count in random.integers(0, 60, 2))
    for matched in (match(then, now, at_once), match(then, now)):
        there = matched.now >= 0
        assert then[there].tolist() == now[matched.now[there]].tolist()
        assert sorted([*matched.now[there], *matched.added]) == list(range(len(now)))
        gone, added = ({tuple(key) for key in keys.tolist()} for keys in (then[~there], now[matched.added]))
        assert not gone & added
        assert matched.added.tolist() == sorted(matched.added.tolist())
