import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.search import exact_top_k


def brute_force(queries, corpus, k):
    """Top-k in float64 with numpy: by score rounded to float32, equal ones by the lower row."""
    exact = np.sum(queries[:, None, :].astype(np.float64) * corpus[None, :, :].astype(np.float64), axis=2)
    scores = exact.astype(np.float32)
    rows = np.stack([np.lexsort((np.arange(len(corpus)), -line)) for line in scores])[:, :k]
    return np.take_along_axis(scores, rows, axis=1), rows


def unit_vectors(rows, dimension, seed):
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_three_rows_are_ranked_by_hand_computed_inner_products():
    corpus = np.array([[1, 0], [0, 1], [3, 4]], np.float32)
    scores, rows = exact_top_k(np.array([[2, 1]], np.float32), corpus, 2)
    assert rows.tolist() == [[2, 0]]  # 2*3 + 1*4 = 10, then 2*1 + 1*0 = 2
    assert scores.tolist() == [[10.0, 2.0]]
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 90),
    k=st.integers(1, 40),
    query_block=st.integers(1, 9),
    corpus_block=st.integers(1, 100),
    device=st.sampled_from(["cpu", "cpu:0"]),  # "cpu:0" takes the way of a torch device, on the CPU
)
def test_any_block_sizes_give_the_brute_force_result_with_its_many_ties(
    seed, rows, k, query_block, corpus_block, device
):
    generator = np.random.default_rng(seed)
    queries = generator.integers(-2, 3, (7, 5)).astype(np.float32)
    corpus = generator.integers(-2, 3, (rows, 5)).astype(np.float32)
    scores, found = exact_top_k(queries, corpus, k, query_block=query_block, corpus_block=corpus_block, device=device)
    expected_scores, expected_rows = brute_force(queries, corpus, k)
    held = min(k, rows)
    assert np.array_equal(found[:, :held], expected_rows)
    assert np.array_equal(scores[:, :held], expected_scores)
    assert (found[:, held:] == -1).all()
    assert (scores[:, held:] == -np.inf).all()


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_nearly_equal_scores_are_bit_for_bit_the_same_whatever_the_blocks(device):
    base = unit_vectors(1, 33, 1)
    # 400 rows that differ from one another by about one rounding error of fp32, 100 of them exact copies
    corpus = (base + np.random.default_rng(2).normal(size=(400, 33)) * 3e-8).astype(np.float32)
    corpus[::4] = base
    queries = unit_vectors(21, 33, 3) + base
    reference = exact_top_k(queries, corpus, 50)
    assert np.array_equal(reference[1], brute_force(queries, corpus, 50)[1])
    for query_block, corpus_block in [(1, 7), (5, 64), (21, 399)]:
        scores, rows = exact_top_k(
            queries, corpus, 50, query_block=query_block, corpus_block=corpus_block, device=device
        )
        assert np.array_equal(rows, reference[1])
        assert scores.tobytes() == reference[0].tobytes()


def test_more_copies_of_the_best_row_than_a_device_hands_over_are_still_ordered_by_row():
    corpus = np.repeat(unit_vectors(1, 8, 0), 500, axis=0)
    corpus[7] = -corpus[7]
    _, rows = exact_top_k(corpus[:3], corpus, 10, device="cpu:0")
    assert rows.tolist() == [[0, 1, 2, 3, 4, 5, 6, 8, 9, 10]] * 3


def test_a_stream_of_half_precision_arrays_gives_the_result_of_one_array(tmp_path):
    queries, corpus = unit_vectors(11, 16, 4), unit_vectors(300, 16, 5).astype(np.float16)
    np.save(tmp_path / "a.npy", corpus[:130])
    np.save(tmp_path / "b.npy", corpus[130:])
    arrays = (np.load(tmp_path / name, mmap_mode="r") for name in ("a.npy", "b.npy"))
    scores, rows = exact_top_k(queries, arrays, 20, corpus_block=50)
    expected_scores, expected_rows = brute_force(queries, corpus, 20)
    assert np.array_equal(rows, expected_rows)
    assert np.array_equal(scores, expected_scores)


def test_unit_vectors_of_a_models_width_agree_with_float64(tmp_path):
    queries, corpus = unit_vectors(40, 384, 6), unit_vectors(5000, 384, 7)
    scores, rows = exact_top_k(queries, corpus, 100, query_block=16, corpus_block=1024)
    exact = queries.astype(np.float64) @ corpus.T.astype(np.float64)
    assert np.array_equal(rows, np.argsort(-exact, axis=1)[:, :100])
    assert np.abs(scores - np.take_along_axis(exact, rows, axis=1)).max() <= 2.0**-25


def test_memory_is_that_of_one_block_not_of_all_scores():
    queries, corpus = unit_vectors(2000, 8, 8), unit_vectors(20_000, 8, 9)
    exact_top_k(queries[:2], corpus[:2], 1)  # compile first
    tracemalloc.start()
    exact_top_k(queries, corpus, 5, query_block=256, corpus_block=2048)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000  # one block of scores is 2.1 MB; all of them would be 160 MB


def test_no_queries_give_no_results():
    scores, rows = exact_top_k(np.empty((0, 4), np.float32), unit_vectors(3, 4, 0), 2)
    assert scores.shape == rows.shape == (0, 2)


def test_an_empty_corpus_fills_with_row_minus_one():
    scores, rows = exact_top_k(unit_vectors(2, 4, 0), np.empty((0, 4), np.float32), 2)
    assert rows.tolist() == [[-1, -1], [-1, -1]]
    assert np.isneginf(scores).all()


def test_a_corpus_of_another_dimension_is_refused():
    with pytest.raises(ValueError, match="same model"):
        exact_top_k(unit_vectors(2, 4, 0), unit_vectors(2, 5, 0), 1)


def test_a_row_that_is_not_finite_is_named():
    corpus = unit_vectors(5, 4, 0)
    corpus[3, 1] = np.nan
    with pytest.raises(ValueError, match="corpus row 3"):
        exact_top_k(unit_vectors(2, 4, 0), corpus, 1, corpus_block=2)
