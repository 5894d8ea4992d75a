"""Expected values: the paper's formulas in plain Python, on the same float16 and float32 numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import m3_scores
from trainer.encoder import M3Outputs
from trainer.inner_products import NotFiniteError
from trainer.m3_scores import (
    dense_scores,
    hybrid_scores,
    lexical_scores,
    multi_vector_scores,
    score_pairs,
)
from trainer.ragged import Ragged
from trainer.sparse_vectors import SparseVectors


def token_vectors(lengths, dimension, seed, dtype=np.float16):
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((sum(lengths), dimension))
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return vectors.astype(dtype), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def largest_products(query, passage):
    """(1/N) sum_i max_j q_i . p_j, M3 section 3.2."""
    if not len(query) or not len(passage):
        return 0.0
    products = [[sum(float(a) * float(b) for a, b in zip(q, p, strict=True)) for p in passage] for q in query]
    return sum(max(line) for line in products) / len(query)


def sparse(dictionaries):
    lists = [sorted(each.items()) for each in dictionaries]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in lists])]).astype(np.int64)
    flat = [pair for each in lists for pair in each]
    ids, weights = ([pair[column] for pair in flat] for column in (0, 1))
    return SparseVectors(offsets, np.array(ids, np.int32), np.array(weights, np.float32))


def test_a_multi_vector_score_is_the_mean_of_the_largest_products():
    queries, query_offsets = token_vectors([3, 1, 0, 7], 33, 0)
    passages, passage_offsets = token_vectors([4, 9, 1, 0, 2], 33, 1)
    rows = np.array([[0, 1, -1], [4, 4, 2], [1, -1, -1], [3, 0, 1]])
    found = multi_vector_scores(queries, query_offsets, passages, passage_offsets, rows)
    for query, line in enumerate(rows):
        mine = queries[query_offsets[query] : query_offsets[query + 1]]
        for place, passage in enumerate(line):
            theirs = passages[passage_offsets[passage] : passage_offsets[passage + 1]]
            wanted = -np.inf if passage < 0 else np.float32(largest_products(mine, theirs))
            assert found[query, place] == pytest.approx(wanted, rel=2e-7)
    assert found.dtype == np.float32


def test_a_passage_whose_products_are_all_negative_scores_below_zero():
    # FlagEmbedding's padding would make it 0 (a zero vector that takes part in the maximum).
    vectors = np.array([[1, 0], [-1, 0], [0, -1]], np.float16)
    found = multi_vector_scores(vectors[:1], np.array([0, 1]), vectors[1:2], np.array([0, 1]), np.array([[0]]))
    assert found.tolist() == [[-1.0]]


@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([np.float16, np.float32]))
@settings(max_examples=25, deadline=None)
def test_blocks_change_no_bit_of_a_multi_vector_score(seed, dimension, dtype):
    random = np.random.default_rng(seed)
    queries, query_offsets = token_vectors(random.integers(0, 6, 3).tolist(), dimension, seed, dtype)
    passages, passage_offsets = token_vectors(random.integers(0, 8, 6).tolist(), dimension, seed + 1, dtype)
    rows = random.integers(-1, 6, (3, 4))
    whole = multi_vector_scores(queries, query_offsets, passages, passage_offsets, rows)
    one_by_one = [
        [
            multi_vector_scores(
                queries[query_offsets[q] : query_offsets[q + 1]],
                query_offsets[q : q + 2] - query_offsets[q],
                passages,
                passage_offsets,
                rows[q : q + 1, m : m + 1],
            )[0, 0]
            for m in range(4)
        ]
        for q in range(3)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(m3_scores, "_VALUES_AT_ONCE", 5 * dimension)
        patch.setattr(m3_scores, "_PRODUCTS_AT_ONCE", 8)
        in_blocks = multi_vector_scores(queries, query_offsets, passages, passage_offsets, rows)
    assert np.array_equal(whole, np.array(one_by_one, np.float32))
    assert np.array_equal(whole, in_blocks)


def test_passages_may_lie_in_a_memory_map(tmp_path):
    queries, query_offsets = token_vectors([2, 3], 16, 0)
    passages, passage_offsets = token_vectors([5, 4, 6], 16, 1)
    np.save(tmp_path / "vectors.npy", passages)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    rows = np.array([[2, 0], [1, 1]])
    assert np.array_equal(
        multi_vector_scores(queries, query_offsets, mapped, passage_offsets, rows),
        multi_vector_scores(queries, query_offsets, passages, passage_offsets, rows),
    )


def test_a_token_vector_that_is_no_number_is_told():
    vectors, offsets = token_vectors([2], 4, 0)
    broken = vectors.copy()
    broken[1, 2] = np.nan
    with pytest.raises(NotFiniteError, match="passage token row 1 is not finite"):
        multi_vector_scores(vectors, offsets, broken, offsets, np.array([[0]]))


def test_a_lexical_score_is_the_sum_over_shared_tokens():
    queries = [{3: 0.5, 9: 0.25}, {}, {1: 2.0}]
    passages = [{3: 1.5, 4: 9.0, 9: 0.125}, {2: 1.0}, {1: 0.1, 3: 0.2}]
    rows = np.array([[0, 2], [0, -1], [1, 2]])
    found = lexical_scores(sparse(queries), sparse(passages), rows)
    wanted = [
        [
            -np.inf
            if passage < 0
            else np.float32(
                sum(
                    float(np.float32(w)) * float(np.float32(passages[passage][t]))
                    for t, w in sorted(queries[query].items())
                    if t in passages[passage]
                )
            )
            for passage in line
        ]
        for query, line in enumerate(rows.tolist())
    ]
    assert found.tolist() == [[float(each) for each in line] for line in wanted]


def test_candidate_lists_of_different_lengths_are_scored_as_a_matrix():
    vectors = np.eye(3, dtype=np.float32)
    rows = Ragged.of([[0, 1, 2], [], [2]]).matrix(-1)
    infinite = -np.inf
    assert dense_scores(vectors, vectors, rows).tolist() == [[1, 0, 0], [infinite] * 3, [1, infinite, infinite]]


@pytest.mark.parametrize("row", [3, -2])
def test_a_row_that_there_is_not_is_an_error(row):
    vectors, offsets = token_vectors([1, 1, 1], 4, 0)
    with pytest.raises(IndexError, match=f"Row {row} was asked for; there are 3 passages"):
        multi_vector_scores(vectors, offsets, vectors, offsets, np.array([[0], [row], [0]]))


def test_as_many_lines_of_rows_as_queries_are_needed():
    with pytest.raises(ValueError, match="do not fit 1 queries"):
        lexical_scores(sparse([{1: 1.0}]), sparse([{1: 1.0}]), np.array([[0], [0]]))


def test_a_hybrid_score_is_the_weighted_sum():
    scores = {
        "dense": np.array([[0.5, -np.inf]], np.float32),
        "lexical": np.array([[0.25, -np.inf]], np.float32),
        "multi_vector": np.array([[1.0, -np.inf]], np.float32),
    }
    assert hybrid_scores(scores, {"dense": 1, "lexical": 0.5, "multi_vector": 2}).tolist() == [[2.625, -np.inf]]
    assert hybrid_scores(scores, {"dense": 1, "lexical": 0, "multi_vector": 3}, divided=True)[0, 0] == 0.875


def test_a_weight_without_scores_is_an_error():
    with pytest.raises(ValueError, match="do not go with scores of \\['dense'\\]"):
        hybrid_scores({"dense": np.zeros((1, 1), np.float32)}, {"lexical": 1.0})


def test_pairs_are_scored_as_flag_embedding_does():
    # compute_score: every mode, and the weighted sums divided by the sum of their weights.
    query_vectors, query_offsets = token_vectors([2, 1], 8, 0)
    passage_vectors, passage_offsets = token_vectors([3, 2], 8, 1)
    dense = np.array([[1, 0], [0.6, 0.8]], np.float32)
    lexical = [sparse([{1: 0.5}, {2: 1.0}]), sparse([{1: 0.5, 2: 3.0}, {2: 0.25}])]
    queries = M3Outputs(dense, lexical[0], query_vectors, query_offsets)
    passages = M3Outputs(dense[::-1].copy(), lexical[1], passage_vectors, passage_offsets)
    found = score_pairs(queries, passages, {"dense": 0.4, "lexical": 0.2, "multi_vector": 0.4})
    multi = [
        largest_products(query_vectors[:2], passage_vectors[:3]),
        largest_products(query_vectors[2:], passage_vectors[3:]),
    ]
    assert found.dense == pytest.approx([0.6, 0.6])
    assert found.lexical == pytest.approx([0.25, 0.25])
    assert found.multi_vector == pytest.approx(multi, rel=1e-6)
    assert found.dense_and_lexical == pytest.approx([(0.4 * 0.6 + 0.2 * 0.25) / 0.6] * 2)
    assert found.all == pytest.approx([0.4 * 0.6 + 0.2 * 0.25 + 0.4 * each for each in multi])


def test_a_dense_model_has_dense_scores_only():
    outputs = M3Outputs(np.eye(2, dtype=np.float32), None, None, None)
    found = score_pairs(outputs, outputs)
    assert found.dense.tolist() == [1, 1]
    assert found.lexical is found.multi_vector is found.dense_and_lexical is found.all is None
