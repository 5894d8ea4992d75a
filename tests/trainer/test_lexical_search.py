import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.lexical_search import LexicalSearch, lexical_top_k
from trainer.sparse_vectors import SparseVectors


def sparse(rows):
    """From dictionaries {token id: weight}."""
    ordered = [sorted(row.items()) for row in rows]
    return SparseVectors(
        np.cumsum([0, *(len(row) for row in ordered)], dtype=np.int64),
        np.array([token for row in ordered for token, _ in row], np.int32),
        np.array([weight for row in ordered for _, weight in row], np.float32),
    )


def brute_force(queries, corpus, k):
    """Sums over shared tokens in Python's float64, rounded to float32; equal scores by the lower row."""
    result = []
    for query in queries:
        scores = [
            np.float32(
                sum(float(np.float32(w)) * float(np.float32(row[t])) for t, w in sorted(query.items()) if t in row)
            )
            for row in corpus
        ]
        ranking = sorted((-score, row) for row, score in enumerate(scores) if score > 0)[:k]
        result.append([(row, -score) for score, row in ranking] + [(-1, -np.inf)] * (k - len(ranking)))
    return result


def pairs(found):
    return [
        list(zip(rows, scores, strict=True)) for rows, scores in zip(found.rows.tolist(), found.scores, strict=True)
    ]


def test_three_texts_are_ranked_by_hand_computed_scores():
    corpus = sparse([{1: 0.5, 7: 2.0}, {2: 1.0}, {1: 3.0}])
    found = lexical_top_k(sparse([{1: 2.0, 7: 1.0}]), corpus, 3)
    assert found.rows.tolist() == [[2, 0, -1]]  # 2 * 3 = 6; 2 * 0.5 + 1 * 2 = 3; nothing shared
    assert found.scores.tolist() == [[6.0, 3.0, -np.inf]]


weights = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 4, width=32))
texts = st.lists(st.dictionaries(st.integers(0, 12), weights, max_size=8), max_size=30)


@settings(max_examples=80, deadline=None)
@given(queries=texts, corpus=texts, k=st.integers(1, 12), rows_at_once=st.integers(1, 31))
def test_any_blocks_give_the_brute_force_ranking_with_its_ties(queries, corpus, k, rows_at_once):
    found = lexical_top_k(sparse(queries), sparse(corpus), k, rows_at_once=rows_at_once)
    assert pairs(found) == brute_force(queries, corpus, k)


def test_the_lowest_rows_of_many_equal_texts_are_found():
    found = lexical_top_k(sparse([{3: 1.0}] * 4), sparse([{3: 0.5}] * 100), 5, rows_at_once=16)
    assert found.rows.tolist() == [[0, 1, 2, 3, 4]] * 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_weight_that_cannot_be_is_named(bad):
    with pytest.raises(ValueError, match="corpus row 2 has a weight of"):
        lexical_top_k(sparse([{1: 1.0}]), sparse([{1: 1.0}, {}, {4: 1.0, 5: bad}]), 1)
    with pytest.raises(ValueError, match="query row 0"):
        lexical_top_k(sparse([{1: bad}]), sparse([{1: 1.0}]), 1)


def test_k_is_at_least_one():
    with pytest.raises(ValueError, match="k = 0"):
        lexical_top_k(sparse([{}]), sparse([{}]), 0)


def test_a_corpus_that_comes_in_parts_is_ranked_as_a_whole_one_and_its_rows_are_numbered_through():
    rows = [dict.fromkeys(range(row % 4), 1.0) for row in range(9)]
    queries = sparse([{0: 1.0, 1: 2.0}, {2: 1.0, 9: 1.0}])
    search = LexicalSearch(queries, 6, rows_at_once=2)
    for part in (rows[:3], [], rows[3:8], rows[8:]):
        search.add(sparse(part))
    whole = lexical_top_k(queries, sparse(rows), 6)
    assert pairs(search.found()) == pairs(whole)
    again = LexicalSearch(queries, 1)
    again.add(sparse(rows))
    with pytest.raises(ValueError, match=r"corpus row 10 has a weight of -1\.0"):
        again.add(sparse([{}, {3: -1.0}]))
