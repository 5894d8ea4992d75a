import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import integer_search
from trainer.integer_products import can_multiply_integers
from trainer.search import Found, SearchSettings, block_sizes, exact_top_k, inner_products, top_k
from trainer.search_settings import search_devices
from trainer.vector_files import VectorFiles


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


# "cpu:0" takes the way of a torch device, on the CPU; narrower products are rounded as a GPU or AMX would round them.
NARROW = [("cpu", "bfloat16"), ("cpu:0", "float32"), ("cpu:0", "float16"), ("cpu:0", "bfloat16")]
INTEGERS = [("cpu", "int16")] if can_multiply_integers() else []
WAYS = [("cpu", "float32"), *INTEGERS, *NARROW]


def same(found, expected):
    return np.array_equal(found.rows, expected[1]) and found.scores.tobytes() == expected[0].tobytes()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 90),
    k=st.integers(1, 40),
    blocks=st.tuples(st.integers(1, 9), st.integers(1, 100)),
    ways=st.lists(st.sampled_from(WAYS), min_size=1, max_size=1),
    devices=st.integers(1, 3),
    half=st.booleans(),
    subset=st.booleans(),
)
def test_precision_devices_and_subsets_do_not_change_the_result(
    tmp_path_factory, seed, count, k, blocks, ways, devices, half, subset
):
    generator = np.random.default_rng(seed)
    dtype = np.float16 if half else np.float32
    # Few different values make ties; the small part makes scores that differ by less than the products' rounding.
    corpus = (generator.integers(-2, 3, (count, 5)) + 1e-3 * generator.integers(0, 3, (count, 5))).astype(dtype)
    queries = (generator.integers(-2, 3, (7, 5)) + 1e-3 * generator.normal(size=(7, 5))).astype(dtype)
    rows = np.flatnonzero(generator.random(count) < 0.5) if subset else None
    [(device, precision)] = ways
    search = SearchSettings(
        devices=(device,) * devices, precision=precision, query_block=blocks[0], corpus_block=blocks[1]
    )
    found = top_k(queries, corpus, k, search, rows=rows)
    searched = np.arange(count) if rows is None else rows
    expected_scores, expected = brute_force(queries, corpus[searched], k)
    held = min(k, len(searched))
    assert np.array_equal(found.rows[:, :held], searched[expected])
    assert np.array_equal(found.scores[:, :held], expected_scores)
    assert (found.rows[:, held:] == -1).all()
    assert np.isneginf(found.scores[:, held:]).all()


@pytest.mark.parametrize(("device", "precision"), WAYS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_every_way_gives_the_same_bytes_on_vectors_that_crowd_together(device, precision, dtype):
    # Cosines between 0.97 and 1, as of some multilingual encoders: rounding to 8 bits puts hundreds of rows in doubt.
    centre = unit_vectors(1, 96, 0)
    corpus = (centre + 0.15 * unit_vectors(3000, 96, 1)).astype(dtype)
    queries = (centre + 0.15 * unit_vectors(50, 96, 2)).astype(dtype)
    expected = brute_force(queries, corpus, 60)
    search = SearchSettings(devices=(device,), precision=precision, corpus_block=700)
    assert same(top_k(queries, corpus, 60, search), expected)


@pytest.mark.parametrize(("of_queries", "of_corpus"), [(1e12, 1e-23), (1e-23, 1e12)])
def test_lengths_whose_squares_float32_cannot_hold_are_ranked_in_any_precision(of_queries, of_corpus):
    centre = unit_vectors(1, 24, 0)
    queries = (centre + 0.01 * unit_vectors(9, 24, 1)) * np.float32(of_queries)
    corpus = (centre + 0.01 * unit_vectors(400, 24, 2)) * np.float32(of_corpus)
    for device, precision in WAYS:
        search = SearchSettings(devices=(device,), precision=precision, corpus_block=90)
        assert same(top_k(queries, corpus, 30, search), brute_force(queries, corpus, 30)), (device, precision)


@pytest.mark.parametrize("scale", [1e-22, 1e-6, 1.0, 3e4, 1e8])
def test_vectors_of_any_length_are_ranked_in_any_precision(scale):
    # float16 ends at 65,504, and rounds what is below 6e-8 to nothing.
    queries, corpus = unit_vectors(9, 24, 0) * np.float32(scale), unit_vectors(400, 24, 1) * np.float32(scale)
    corpus[::7] *= np.float32(1e-3)
    for device, precision in WAYS:
        search = SearchSettings(devices=(device,), precision=precision, corpus_block=90)
        assert same(top_k(queries, corpus, 30, search), brute_force(queries, corpus, 30)), (device, precision)


@pytest.mark.parametrize(("device", "precision"), NARROW)
def test_rough_scores_are_never_further_from_the_exact_ones_than_the_bound_says(device, precision):
    from concurrent.futures import ThreadPoolExecutor

    from trainer.device_search import DeviceScreen
    from trainer.inner_products import widened
    from trainer.search_blocks import Block, Queries

    generator = np.random.default_rng(3)
    with ThreadPoolExecutor(1) as threads:
        for scale, dtype in [(1.0, np.float32), (1e-5, np.float32), (200.0, np.float16)]:
            stored = (generator.normal(size=(300, 48)) * scale).astype(dtype)
            vectors, norms = widened(stored, "corpus", 0)
            asked = (generator.normal(size=(40, 48)) * generator.uniform(0.1, 2, (40, 1))).astype(np.float32)
            queries = Queries(0, *widened(asked, "query", 0))
            screen = DeviceScreen(device, precision, threads, 0)
            rough, errors = screen.rough_scores(queries, screen.load(Block(0, vectors, stored, norms.max())))
            exact = asked.astype(np.float64) @ vectors.T.astype(np.float64)
            wrong = np.abs(rough.double().numpy() - exact).max(axis=1)
            assert (wrong <= errors).all()
            assert (wrong > errors / 1000).all()  # a bound that says nothing would let every row through


@pytest.mark.parametrize(("precision", "bits"), [("bfloat16", 8), ("float16", 11)])
@pytest.mark.parametrize("side", ["corpus", "query"])
def test_the_bound_holds_where_all_roundings_go_the_same_way(precision, bits, side):
    from concurrent.futures import ThreadPoolExecutor

    from trainer.device_search import DeviceScreen
    from trainer.inner_products import widened
    from trainer.search_blocks import Block, Queries

    # Each value loses nearly half a unit in the last place, and so does the sum, 2**bits + 1.
    dimension = 2**bits + 1
    ones, lossy = np.ones((1, dimension), np.float32), np.full((1, dimension), 1 + 0.49 * 2.0 ** (1 - bits), np.float32)
    asked, stored = (ones, lossy) if side == "corpus" else (lossy, ones)
    with ThreadPoolExecutor(1) as threads:
        screen = DeviceScreen("cpu:0", precision, threads, 0)
        vectors, norms = widened(stored, "corpus", 0)
        queries = Queries(0, *widened(asked, "query", 0))
        [[rough]], [error] = screen.rough_scores(queries, screen.load(Block(0, vectors, stored, norms.max())))
    assert rough == 2**bits
    wrong = float(asked[0].astype(np.float64) @ stored[0].astype(np.float64)) - float(rough)
    assert 1.9 < wrong <= error < 2 * wrong


needs_integers = pytest.mark.skipif(not INTEGERS, reason="this CPU has no AVX2")


def count_whole_looks(monkeypatch):
    """A list that gets, for each time all scores are looked at, of how many queries."""
    looked_at, merge = [], integer_search._merge_all_scores

    def counted(queries, *arguments):
        looked_at.append(len(queries.vectors))
        merge(queries, *arguments)

    monkeypatch.setattr(integer_search, "_merge_all_scores", counted)
    return looked_at


@needs_integers
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 80), corpus_block=st.integers(500, 5000), above=st.booleans())
def test_guessed_scores_do_not_change_the_result(seed, k, corpus_block, above):
    generator = np.random.default_rng(seed)
    topics = generator.standard_normal((20, 12))
    corpus = (topics[np.sort(generator.integers(0, 20, 4000))] + generator.standard_normal((4000, 12))).astype(
        np.float32
    )
    corpus[generator.integers(0, 4000, 300)] = corpus[17]  # ties
    queries = (topics[:9] + generator.standard_normal((9, 12))).astype(np.float32)
    limits = np.sort(queries @ corpus.T, axis=1)[:, -k].astype(np.float32) if above else None
    search = {p: SearchSettings(devices=("cpu",), precision=p, corpus_block=corpus_block) for p in ("int16", "float32")}
    found, expected = (top_k(queries, corpus, k, search[p], above=limits) for p in ("int16", "float32"))
    assert same(found, (expected.scores, expected.rows))
    if not above:
        assert same(found, brute_force(queries, corpus, k))


@needs_integers
@pytest.mark.parametrize("sampled", ["best", "worst"])
def test_a_sample_that_misleads_costs_a_look_at_all_scores_and_nothing_else(monkeypatch, sampled):
    looked_at = count_whole_looks(monkeypatch)
    queries, corpus = np.abs(unit_vectors(30, 16, 0)), np.abs(unit_vectors(17 * 300, 16, 1))
    is_sampled = np.arange(len(corpus)) % 17 == 0
    corpus[is_sampled if sampled == "worst" else ~is_sampled] *= np.float32(0.01)
    search = SearchSettings(devices=("cpu",), precision="int16")
    assert same(top_k(queries, corpus, 40, search), brute_force(queries, corpus, 40))
    assert sum(looked_at) == 30


@needs_integers
def test_a_corpus_in_any_order_of_its_own_needs_no_look_at_all_scores(monkeypatch):
    looked_at = count_whole_looks(monkeypatch)
    queries, corpus = unit_vectors(64, 48, 0), unit_vectors(8000, 48, 1)
    search = SearchSettings(devices=("cpu",), precision="int16", corpus_block=4000)
    assert same(top_k(queries, corpus, 50, search), brute_force(queries, corpus, 50))
    assert sum(looked_at) <= 1  # of 64 queries in two blocks: each guess is wrong once in some hundreds


@needs_integers
def test_integer_products_are_wrong_by_no_more_than_the_bound_says():
    from concurrent.futures import ThreadPoolExecutor

    from trainer.inner_products import widened
    from trainer.integer_products import multiply, rounded
    from trainer.search_blocks import Block, Queries

    generator = np.random.default_rng(3)
    with ThreadPoolExecutor(1) as threads:
        for scale, dtype in [(1.0, np.float32), (1e-5, np.float32), (200.0, np.float16)]:
            stored = (generator.normal(size=(300, 48)) * scale).astype(dtype)
            vectors, norms = widened(stored, "corpus", 0)
            asked = (generator.normal(size=(40, 48)) * generator.uniform(0.1, 2, (40, 1))).astype(np.float32)
            queries = Queries(0, *widened(asked, "query", 0))
            loaded = integer_search.IntegerCpuScreen(threads).load(Block(0, vectors, stored, norms.max()))
            rows, rough = rounded(asked), np.empty((40, 300), np.float32)
            multiply(rows, loaded.panels, rough)
            errors = integer_search._errors(queries, rows, loaded)
            wrong = np.abs(rough - asked.astype(np.float64) @ vectors.T.astype(np.float64)).max(axis=1)
            assert (wrong <= errors).all()
            assert (wrong > errors / 1000).all()  # a bound that says nothing would let every row through


@pytest.mark.parametrize(("device", "features"), [("cpu:0", {"avx2": True}), ("cpu", {})])
def test_integers_where_there_are_none_are_refused_with_a_remedy(monkeypatch, device, features):
    monkeypatch.setattr("trainer.search.can_multiply_integers", lambda: bool(features))
    search = SearchSettings(devices=(device,), precision="int16")
    with pytest.raises(ValueError, match="needs a CPU with AVX2"):
        top_k(unit_vectors(2, 4, 0), unit_vectors(3, 4, 1), 1, search)


def test_queries_and_corpus_in_files_give_the_result_of_arrays(tmp_path):
    queries, corpus = unit_vectors(23, 16, 4).astype(np.float16), unit_vectors(300, 16, 5).astype(np.float16)
    for name, part in [("a", corpus[:130]), ("b", corpus[130:]), ("c", queries[:9]), ("d", queries[9:])]:
        np.save(tmp_path / f"{name}.npy", part)
    files = VectorFiles.open([tmp_path / "a.npy", tmp_path / "b.npy"])
    asked = VectorFiles.open([tmp_path / "c.npy", tmp_path / "d.npy"])
    search = SearchSettings(query_block=5, corpus_block=64)
    assert same(top_k(asked, files, 20, search), brute_force(queries, corpus, 20))
    rows = np.arange(3, 300, 7)
    assert same(top_k(asked, files, 20, search, rows=rows), same_numbers(brute_force(queries, corpus[rows], 20), rows))


def same_numbers(result, rows):
    return result[0], rows[result[1]]


def test_progress_is_told_after_each_block():
    told = []
    queries, corpus = unit_vectors(2, 4, 0), unit_vectors(25, 4, 1)
    top_k(queries, corpus, 1, SearchSettings(corpus_block=10), on_block=lambda *done: told.append(done))
    assert told == [(10, 25), (20, 25), (25, 25)]
    top_k(queries, iter([corpus]), 1, on_block=lambda *done: told.append(done))
    assert told[-1] == (25, -1)


def test_exact_scores_of_given_rows_are_those_of_the_search_bit_for_bit():
    queries, corpus = unit_vectors(30, 37, 1), unit_vectors(500, 37, 2).astype(np.float16)
    found = top_k(queries, corpus, 40)
    rows = found.rows.copy()
    rows[3, 5:] = -1
    scores = inner_products(queries, VectorFiles.of(corpus), rows)
    assert np.array_equal(scores[rows >= 0], found.scores[rows >= 0])
    assert np.isneginf(scores[3, 5:]).all()
    assert inner_products(queries, VectorFiles.of(corpus), np.full((30, 2), -1)).max() == -np.inf
    assert inner_products(queries[:0], VectorFiles.of(corpus), np.empty((0, 3), np.int64)).shape == (0, 3)


def test_zero_vectors_are_rows_like_others():
    # jobs give zeros to passages that they do not read
    corpus = np.array([[0, 0], [1, 0], [0, 0], [-1, 0]], np.float32)
    scores, rows = exact_top_k(np.array([[1, 0]], np.float32), corpus, 4)
    assert (rows.tolist(), scores.tolist()) == ([[1, 0, 2, 3]], [[1, 0, 0, -1]])


@pytest.mark.parametrize(("device", "precision"), WAYS)
def test_a_corpus_of_copies_is_searched_in_bounded_memory(device, precision):
    corpus = np.repeat(unit_vectors(1, 8, 0), 40_000, axis=0)
    search = SearchSettings(devices=(device,), precision=precision)
    top_k(corpus[:2], corpus[:100], 3, search)  # compile first
    tracemalloc.start()
    found = top_k(corpus[:64], corpus, 3, search)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.rows == [0, 1, 2]).all()
    assert peak < 60_000_000  # scores are 8.4 MB; a list of all pairs as int64 would be 41 MB twice


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_is_not_finite_is_named_by_its_row_in_the_whole(bad, dtype):
    corpus = unit_vectors(50, 4, 0).astype(dtype)
    queries = corpus[:5].copy()
    corpus[31, 1] = bad
    search = SearchSettings(corpus_block=8)
    with pytest.raises(ValueError, match="corpus row 31 is not finite"):
        top_k(queries, corpus, 1, search)
    with pytest.raises(ValueError, match="corpus row 31 is not finite"):
        top_k(queries, corpus, 1, search, rows=np.array([2, 7, 30, 31, 40]))
    with pytest.raises(ValueError, match="corpus row 31 is not finite"):
        top_k(queries, corpus, 1, SearchSettings(corpus_block=8, devices=("cpu", "cpu:0")))
    assert top_k(queries, corpus, 1, rows=np.arange(30)).rows.ravel().tolist() == [0, 1, 2, 3, 4]
    queries[3, 0] = bad
    with pytest.raises(ValueError, match="query row 3 is not finite"):
        top_k(queries, corpus[:20], 1, SearchSettings(query_block=2))


@pytest.mark.parametrize("rows", [[3, 2], [2, 2], [-1, 4], [4, 20]])
def test_rows_that_are_not_ascending_or_not_there_are_refused(rows):
    with pytest.raises(ValueError, match="ascending, of a corpus of 20 rows"):
        top_k(unit_vectors(2, 4, 0), unit_vectors(20, 4, 1), 1, rows=np.array(rows))


def test_a_stream_has_no_subsets_and_k_is_at_least_one():
    with pytest.raises(ValueError, match="read once"):
        top_k(unit_vectors(2, 4, 0), iter([unit_vectors(2, 4, 0)]), 1, rows=np.array([0]))
    with pytest.raises(ValueError, match="k = 0"):
        top_k(unit_vectors(2, 4, 0), unit_vectors(2, 4, 0), 0)


def test_no_rows_of_a_corpus_find_nothing():
    found = top_k(unit_vectors(2, 4, 0), unit_vectors(20, 4, 1), 2, rows=np.empty(0, np.int64))
    assert isinstance(found, Found)
    assert (found.rows == -1).all()
    assert found.recall is None


@pytest.mark.parametrize(("memory", "dimension"), [(1024, 384), (1024, 4096), (100, 1024), (8, 384)])
def test_blocks_shrink_until_they_fit_the_memory(memory, dimension):
    queries, rows = block_sizes(SearchSettings(memory_mb=memory), dimension, ("cpu",))
    assert 6 * queries * rows + 18 * rows * dimension <= memory * 1_000_000
    assert block_sizes(SearchSettings(memory_mb=1, query_block=9, corpus_block=7), dimension, ("cpu",)) == (9, 7)


def test_the_usual_blocks_are_those_the_settings_describe():
    described = {name: SearchSettings.model_fields[name].description for name in ("query_block", "corpus_block")}
    for devices in (("cpu",), ("cuda:0",)):
        queries, rows = block_sizes(SearchSettings(memory_mb=16_000), 384, devices)
        assert f"{queries:,}" in described["query_block"] and f"{rows:,}" in described["corpus_block"]


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cuda:x"])
def test_a_device_that_is_not_there_is_refused_with_a_remedy(name):
    with pytest.raises(ValueError, match=f"search.devices: .*'{name}'.*choose auto, cpu or cuda:N"):
        top_k(unit_vectors(2, 4, 0), unit_vectors(5, 4, 1), 1, SearchSettings(devices=(name,)))


def test_auto_is_every_gpu_of_the_machine_or_else_the_cpu(monkeypatch):
    import torch

    from trainer import search_settings

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert search_devices(SearchSettings().devices) == ("cpu",)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(search_settings.Path, "exists", lambda path: path.name == "nvidiactl")
    assert search_devices(("auto",)) == ("cuda:0", "cuda:1")


class FailingScreen:
    def load(self, block):
        return block

    def merge(self, queries, loaded, best):
        raise RuntimeError("the device is gone")

    def finish(self):
        raise AssertionError("not reached")


def test_a_device_that_fails_ends_the_search_of_the_others(monkeypatch):
    import trainer.search

    whole = trainer.search._screen
    monkeypatch.setattr(
        trainer.search, "_screen", lambda name, *rest: FailingScreen() if name == "meta" else whole(name, *rest)
    )
    with pytest.raises(RuntimeError, match="gone"):
        top_k(
            unit_vectors(2, 4, 0), unit_vectors(500, 4, 1), 1, SearchSettings(devices=("cpu", "meta"), corpus_block=1)
        )


def test_a_device_without_enough_memory_takes_fewer_queries_at_a_time(monkeypatch, caplog):
    import torch

    from trainer.device_search import DeviceScreen

    whole = DeviceScreen.rough_scores

    def rough_scores(self, queries, loaded):
        if len(queries.vectors) > 3:
            raise torch.OutOfMemoryError("no room")
        return whole(self, queries, loaded)

    monkeypatch.setattr(DeviceScreen, "rough_scores", rough_scores)
    queries, corpus = unit_vectors(13, 4, 0), unit_vectors(40, 4, 1)
    found = top_k(queries, corpus, 5, SearchSettings(devices=("cpu:0",), corpus_block=16))
    assert same(found, brute_force(queries, corpus, 5))
    assert "half as many" in caplog.text


@pytest.mark.parametrize("memory", [1, 1024])
def test_queries_in_memory_are_widened_once_where_there_is_room(monkeypatch, memory):
    import trainer.search

    asked = []
    whole = trainer.search.query_blocks
    monkeypatch.setattr(trainer.search, "query_blocks", lambda *each: asked.append(each) or whole(*each))
    queries, corpus = unit_vectors(3000, 24, 0).astype(np.float16), unit_vectors(60, 24, 1)
    search = SearchSettings(corpus_block=20, query_block=700, memory_mb=memory)
    assert same(top_k(queries, corpus, 5, search), brute_force(queries, corpus, 5))
    assert len(asked) == (1 if memory == 1024 else 3)
