import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.sparse_vectors import SparseVectors

TEXTS = st.lists(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from([-1.0, 0.0, 0.25, 0.5, 2.0])), max_size=6), max_size=6
)


def of_texts(texts, left_out=()):
    """Sparse vectors of texts that are lists of (token id, weight)."""
    lengths = [len(text) for text in texts]
    return SparseVectors.largest_of_each_token(
        np.array([token for text in texts for token, _ in text], np.int32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([weight for text in texts for _, weight in text], np.float32),
        np.array(left_out, np.int32),
    )


def as_lists(vectors):
    spans = zip(vectors.offsets[:-1], vectors.offsets[1:], strict=True)
    return [list(zip(vectors.token_ids[a:b].tolist(), vectors.weights[a:b].tolist(), strict=True)) for a, b in spans]


def expected_rows(texts, left_out=()):
    rows = []
    for text in texts:
        largest = {}
        for token, weight in text:
            if weight > 0 and token not in left_out:
                largest[token] = max(weight, largest.get(token, 0))
        rows.append(sorted(largest.items()))
    return rows


def test_a_token_counts_once_with_its_largest_weight_and_special_ones_do_not():
    vectors = of_texts([[(5, 0.25), (3, 0.5), (5, 2.0), (0, 2.0)], [(3, 0.0), (4, -1.0)], [(3, 0.25)]], left_out=[0])
    assert as_lists(vectors) == [[(3, 0.5), (5, 2.0)], [], [(3, 0.25)]]
    assert (vectors.offsets.dtype, vectors.token_ids.dtype, vectors.weights.dtype) == (np.int64, np.int32, np.float32)


@given(TEXTS, st.lists(st.integers(0, 6), max_size=2))
def test_vectors_are_those_of_a_dictionary_of_maxima(texts, left_out):
    assert as_lists(of_texts(texts, left_out)) == expected_rows(texts, left_out)


@given(TEXTS, TEXTS, st.data())
def test_rows_are_taken_and_parts_joined_in_order(first, second, data):
    joined = SparseVectors.concatenate([of_texts(first), of_texts(second)])
    rows = expected_rows([*first, *second])
    assert as_lists(joined) == rows
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    assert as_lists(joined.take(np.array(wanted, np.int64))) == [rows[row] for row in wanted]


def test_no_parts_join_to_no_rows():
    assert len(SparseVectors.concatenate([])) == 0


def test_arrays_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="3 token ids, 2 weights"):
        SparseVectors(np.array([0, 3]), np.zeros(3, np.int32), np.zeros(2, np.float32))
