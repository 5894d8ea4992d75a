import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import integer_products
from trainer.integer_products import (
    MOST,
    NORM,
    Panels,
    attend,
    can_multiply_integers,
    integers_are_faster,
    lay_out,
    multiply,
    products_above,
    rounded,
    rounding_errors,
)

pytestmark = pytest.mark.skipif(not can_multiply_integers(), reason="this CPU has no AVX2")


def panels_of(vectors, added=None, cut=0):
    """Panels of vectors, laid out in two calls: those before `cut`, and the others."""
    panels = Panels.empty(*vectors.shape)
    lay_out(rounded(vectors[:cut]), panels)
    lay_out(rounded(vectors[cut:]), panels, cut)
    if added is not None:
        panels.added[: len(added)] = added
    return panels


def product(left, right, added=None, cut=0):
    products = np.full((len(left), len(right)), np.nan, np.float32)
    multiply(rounded(left), panels_of(right, added, cut), products)
    return products


def whole_numbers(rows):
    """The integers and steps of Rounded as float64 vectors."""
    return rows.integers[: rows.count].astype(np.float64) * rows.steps[: rows.count, None].astype(np.float64)


def half_steps(vectors):
    """Of each row: half a NORM-th of its norm, or half a MOST-th of its largest number where that is more."""
    vectors = vectors.astype(np.float64)
    return np.maximum(np.linalg.norm(vectors, axis=1) / NORM, np.abs(vectors).max(axis=1) / MOST) / 2


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    left=st.integers(0, 30),
    right=st.integers(0, 50),
    width=st.integers(1, 70),
    sizes=st.tuples(st.floats(-20, 15), st.floats(-20, 15)),
    outliers=st.sampled_from([0, 3, 1000]),
    cut=st.floats(0, 1),
)
def test_products_are_those_of_the_rounded_rows_whatever_the_shape(seed, left, right, width, sizes, outliers, cut):
    generator = np.random.default_rng(seed)
    rows = (generator.standard_normal((left, width)) * 10.0 ** sizes[0]).astype(np.float32)
    columns = (generator.standard_normal((right, width)) * 10.0 ** sizes[1]).astype(np.float32)
    for vectors in (rows, columns):
        vectors[np.arange(len(vectors)), generator.integers(0, width, len(vectors))] *= 1 + outliers
    of_rows, of_columns = whole_numbers(rounded(rows)), whole_numbers(rounded(columns))
    exact = of_rows @ of_columns.T  # int32 sums times two steps: float64 holds them to the last bit but two
    norms = np.linalg.norm(of_rows, axis=1)[:, None] * np.linalg.norm(of_columns, axis=1)[None, :]
    found = product(rows, columns, cut=int(cut * right))
    assert (np.abs(found - exact) <= 4 * 2.0**-24 * norms + 1e-38).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.integers(1, 500), sparse=st.booleans())
def test_rounding_loses_no_more_than_is_said_and_little(seed, width, sparse):
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((9, width)).astype(np.float32)
    if sparse:
        vectors[:, generator.random(width) < 0.9] = 0
    rows = rounded(vectors)
    lost = np.linalg.norm(vectors.astype(np.float64) - whole_numbers(rows)[:, :width], axis=1)
    said = rounding_errors(vectors, rows)
    assert (lost <= said).all()
    assert (said <= 1.001 * lost + 1e-12).all()
    assert (said <= 1.001 * half_steps(vectors) * np.sqrt(width) + 1e-12).all()


@pytest.mark.parametrize("width", [1, 2, 384, 10_000])
@pytest.mark.parametrize("signs", [1, -1])
def test_the_largest_sums_there_can_be_stay_inside_an_int32(width, signs):
    one_number, all_alike = np.zeros((1, width), np.float32), np.full((1, width), 0.37, np.float32)
    one_number[0, -1] = 5.0
    for vector in (one_number, all_alike):
        exact = signs * float((vector.astype(np.float64) ** 2).sum())
        lost = 2.02 * half_steps(vector)[0] * width**0.5 / np.linalg.norm(vector)
        assert product(vector, signs * vector)[0, 0] == pytest.approx(exact, rel=lost)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("other_sign", [1, -1])
def test_the_largest_numbers_there_can_be_may_meet_in_a_sum(sign, other_sign):
    vectors = (np.eye(8) * 7).astype(np.float32)
    vectors[:, 0] += 1
    exact = sign * other_sign * vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    assert np.allclose(product(sign * vectors, other_sign * vectors), exact, rtol=0, atol=64 * 4 / MOST)


def test_vectors_of_another_type_are_refused():
    with pytest.raises(ValueError, match="float32, not float64"):
        rounded(np.ones((2, 3)))


def test_what_is_added_is_added_to_every_product_of_its_column():
    rows, columns = np.eye(3, 5, dtype=np.float32), np.zeros((4, 5), np.float32)
    added = np.array([1, -2, 3, 0.5], np.float32)
    assert product(rows, columns, added).tolist() == [added.tolist()] * 3


def test_rows_that_are_not_finite_give_nan_and_others_do_not():
    rows = np.ones((8, 6), np.float32)
    rows[2, 3], rows[5, 0] = np.nan, np.inf
    products = product(rows, np.ones((20, 6), np.float32))
    assert np.isnan(products[[2, 5]]).all()
    assert np.allclose(products[[0, 1, 3, 4, 6, 7]], 6, rtol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    left=st.integers(1, 20),
    right=st.integers(1, 60),
    width=st.integers(1, 12),
    room=st.integers(1, 70),
    bar=st.floats(-4, 4),
)
def test_products_above_are_those_of_multiply_that_reach_their_bar(seed, left, right, width, room, bar):
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((left, width)).astype(np.float32)
    columns = generator.standard_normal((right, width)).astype(np.float32)
    columns[generator.integers(0, right)] = 0  # a product of 0, as the columns that fill a panel up have
    least = (bar + generator.integers(-1, 2, left)).astype(np.float32)
    least[0] = -np.inf
    counts = np.full(left, -1, np.int64)
    places, values = np.empty((left, room), np.int32), np.empty((left, room), np.float32)
    products_above(rounded(rows), panels_of(columns), least, counts, places, values)
    for row, products in enumerate(product(rows, columns)):
        reached = np.flatnonzero(products >= least[row])
        assert counts[row] == len(reached)
        assert places[row, : len(reached)].tolist() == reached[:room].tolist()
        assert values[row, : len(reached)].tolist() == products[reached[:room]].tolist()


@pytest.mark.parametrize("step", [np.inf, np.nan, 3e38])
def test_what_fills_the_last_tile_up_is_no_product(step):
    vectors = np.ones((7, 4), np.float32)
    rows = rounded(vectors)
    rows.integers[7:], rows.steps[7:] = 32_000, step
    counts, guard = np.zeros(12, np.int64), np.zeros(12, np.int64)
    places, values = np.empty((7, 5), np.int32), np.empty((7, 5), np.float32)
    products_above(rows, panels_of(vectors[:5]), np.full(7, -np.inf, np.float32), counts[:7], places, values)
    assert counts[:7].tolist() == [5] * 7
    assert counts[7:].tolist() == guard[7:].tolist()


def attention(projected, lengths, heads):
    """softmax(q k^T / sqrt(d)) v in float64, and how far rounding may take it: half a step for each number of a row."""
    width = projected.shape[1] // (3 * heads)
    parts = projected.astype(np.float64).reshape(len(projected), 3, heads, width)
    found, allowed = np.empty((2, len(projected), heads, width))
    for end, long in zip(np.cumsum(lengths), lengths, strict=True):
        for head in range(heads):
            query, key, value = parts[end - long : end, :, head].swapaxes(0, 1)
            scores = query @ key.T / np.sqrt(width)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            found[end - long : end, head] = weights @ value
            norms = np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(key, axis=1)
            of_scores = 2 * np.expm1(1.01 * norms.max() / NORM + 1e-6)  # sqrt(d) / 2 steps of both, over sqrt(d)
            of_weights = 1.01 * np.sqrt(long) / NORM * np.linalg.norm(weights, axis=1)[:, None]
            largest = np.linalg.norm(value, axis=0)
            allowed[end - long : end, head] = (
                of_scores * (weights @ np.abs(value)) + of_weights * (1 + np.sqrt(long)) * largest
            )
    return found.reshape(len(projected), -1), allowed.reshape(len(projected), -1) + 1e-30


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(1, 75), min_size=1, max_size=4),
    heads=st.integers(1, 4),
    width=st.sampled_from([1, 3, 8, 32, 40, 64]),
    size=st.floats(-3, 1.2),
)
def test_attention_is_that_of_float64_within_what_rounding_takes(seed, lengths, heads, width, size):
    generator = np.random.default_rng(seed)
    projected = generator.standard_normal((sum(lengths), 3 * heads * width)) * 10.0**size
    projected = projected.astype(np.float32)
    exact, allowed = attention(projected, lengths, heads)
    found = attend(projected, np.array(lengths), heads)
    assert (found.dtype, found.shape) == (np.float32, exact.shape)
    assert (np.abs(found - exact) <= allowed).all()


def test_attention_over_thousands_of_tokens_is_near_that_of_float64():
    generator = np.random.default_rng(4)
    projected = generator.standard_normal((5000, 3 * 2 * 32)).astype(np.float32)
    exact, _ = attention(projected, [5000], 2)
    found = attend(projected, np.array([5000]), 2)
    assert np.linalg.norm(found - exact) < 2e-3 * np.linalg.norm(exact)


def projections_with_a_sink(count, share, width=64):
    """Of one head: the first key has this share of each query's weight and a small value, all others have about the same."""
    generator = np.random.default_rng(7)
    projected = np.zeros((count, 3, width), np.float32)
    score = np.log(share / (1 - share) * (count - 1)) * np.sqrt(width)
    projected[:, 0, 0] = projected[0, 1, 0] = np.sqrt(score)
    projected[:, 0, 1:] = 0.3 * generator.standard_normal((count, width - 1))
    projected[1:, 1, 1:] = 0.3 * generator.standard_normal((count - 1, width - 1))
    projected[:, 2] = 0.5 * generator.standard_normal((count, width)) + generator.standard_normal(width)
    projected[0, 2] *= 0.1
    return projected.reshape(count, -1)


@pytest.mark.parametrize(("count", "share"), [(300, 0.99), (512, 0.98), (2048, 0.9), (4096, 0.9), (8192, 0.9)])
def test_weights_that_are_small_beside_a_large_one_are_not_lost(count, share):
    projected = projections_with_a_sink(count, share)
    rows = np.random.default_rng(8).choice(count, 50, replace=False)
    query, key, value = projected.astype(np.float64).reshape(count, 3, 64).swapaxes(0, 1)
    weights = np.exp(query[rows] @ key.T / 8)
    exact = weights @ value / weights.sum(axis=1, keepdims=True)
    found = attend(projected, np.array([count]), 1)[rows]
    # What is left is of the scores' rounding. Lost weights were 2 to 36 % of the result; bfloat16 errs by 0.3 to 3 %.
    assert (np.linalg.norm(found - exact, axis=1) < 5e-3 * np.linalg.norm(exact, axis=1)).all()


def test_a_query_that_meets_its_key_takes_its_value_and_one_that_meets_none_the_mean():
    projected = np.zeros((5, 3, 8), np.float32)
    projected[:, 1, :5] = np.eye(5) * 30
    projected[:4, 0, :4] = np.eye(4) * 30  # the last query is 0
    projected[:, 2] = np.arange(40).reshape(5, 8)
    found = attend(projected.reshape(5, 24), np.array([5]), 1)
    assert np.allclose(found[:4], projected[:4, 2], atol=1e-2)
    assert np.allclose(found[4], projected[:, 2].mean(axis=0), rtol=1e-3)


def test_a_text_gets_the_same_bits_whatever_texts_are_beside_it():
    generator = np.random.default_rng(5)
    lengths = np.array([61, 1, 130, 33, 12, 12, 2, 65])
    projected = generator.standard_normal((lengths.sum(), 3 * 4 * 16)).astype(np.float32)
    alone = [
        attend(projected[end - long : end], np.array([long]), 4)
        for end, long in zip(np.cumsum(lengths), lengths, strict=True)
    ]
    assert np.array_equal(attend(projected, lengths, 4), np.concatenate(alone))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_text_and_head(value):
    generator = np.random.default_rng(6)
    lengths, heads = np.array([20, 20, 20]), 2
    good = generator.standard_normal((60, 3, heads, 8)).astype(np.float32)
    for part, rows, dimensions in ((0, [25], slice(0, 8)), (1, range(20, 40), slice(0, 8)), (2, range(20, 40), [3])):
        bad = good.copy()
        bad[25, part, 0, 3] = value
        found = attend(bad.reshape(60, -1), lengths, heads)
        expected = np.zeros((60, heads * 8), bool)
        expected[np.array(rows)[:, None], np.arange(8)[dimensions]] = True
        assert np.isnan(found).tolist() == expected.tolist()


def test_projections_that_are_not_those_of_the_texts_are_refused():
    good = np.zeros((6, 24), np.float32)
    for projected, lengths, heads in (
        (good, [5], 2),
        (good, [6], 3),
        (good.T.copy().T, [6], 2),
        (good.astype(float), [6], 2),
        (good, [8, -2], 2),
        (good, [[6]], 2),
        (good, [6.0], 2),
    ):
        with pytest.raises(ValueError, match="are not those of"):
            attend(projected, np.array(lengths), heads)
    assert attend(good[:0], np.array([], np.int64), 2).shape == (0, 8)


def test_sizes_that_do_not_belong_together_are_refused():
    rows, panels = rounded(np.ones((2, 9), np.float32)), panels_of(np.ones((3, 9), np.float32))
    good = np.empty((2, 3), np.float32)
    with pytest.raises(ValueError, match="do not make products"):
        multiply(rows, panels_of(np.ones((3, 4), np.float32)), good)
    for bad in (np.empty((3, 3), np.float32), np.empty((2, 3)), np.empty((3, 2), np.float32).T):
        with pytest.raises(ValueError, match="do not make products"):
            multiply(rows, panels, bad)
    places, values = np.empty((2, 5), np.int32), np.empty((2, 4), np.float32)
    with pytest.raises(ValueError, match="do not have bars"):
        products_above(rows, panels, np.zeros(2, np.float32), np.empty(2, np.int64), places, values)


@pytest.mark.parametrize(
    ("features", "faster"),
    [
        ("avx2", True),
        ("avx2 avx512f avx512bw", False),
        ("avx2 avx512f avx512bw avx512vnni", True),
        ("avx512vnni", False),
        ("", False),
    ],
)
def test_integers_are_faster_where_their_registers_are_no_narrower(monkeypatch, features, faster):
    monkeypatch.setattr(integer_products, "_features", lambda: dict.fromkeys(features.split(), True))
    integers_are_faster.cache_clear()
    can_multiply_integers.cache_clear()
    assert integers_are_faster() is faster
    integers_are_faster.cache_clear()
    can_multiply_integers.cache_clear()


PRODUCTS = """
import sys
import llvmlite.binding
lanes, name = int(sys.argv[1]), sys.argv[2]
found = llvmlite.binding.get_host_cpu_features()
found["avx512vnni"] = lanes == 16
llvmlite.binding.get_host_cpu_features = lambda: found
llvmlite.binding.get_host_cpu_name = lambda: name
import numpy as np
from trainer import integer_products
from trainer.integer_products import Panels, attend, lay_out, multiply, products_above, rounded
assert integer_products._LANES == lanes
assert integer_products._IN_HALVES == (lanes == 16 and name == "znver4")
generator = np.random.default_rng(3)
rows, columns = (generator.standard_normal((count, 70)).astype(np.float32) for count in (31, 77))
panels = Panels.empty(*columns.shape)
lay_out(rounded(columns), panels)
products = np.empty((31, 77), np.float32)
multiply(rounded(rows), panels, products)
counts, places, values = np.empty(31, np.int64), np.zeros((31, 77), np.int32), np.zeros((31, 77), np.float32)
products_above(rounded(rows), panels, np.ones(31, np.float32), counts, places, values)
attended = attend(generator.standard_normal((90, 3 * 2 * 40)).astype(np.float32), np.array([71, 1, 18]), 2)
sys.stdout.buffer.write(b"".join(each.tobytes() for each in (products, counts, places, values, attended)))
"""


@pytest.mark.parametrize(("lanes", "name"), [(8, "x86-64"), (16, "x86-64"), (16, "znver4")])
def test_products_are_the_same_bytes_in_other_registers_and_in_halves_and_attention_nearly(tmp_path, lanes, name):
    if lanes > integer_products._LANES:
        pytest.skip("this CPU has no registers so wide")
    if (lanes, lanes == 16 and name == "znver4") == (integer_products._LANES, integer_products._IN_HALVES):
        pytest.skip("this is what the other tests run")
    command = [sys.executable, "-c", PRODUCTS, str(lanes), name]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    found = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    generator = np.random.default_rng(3)
    rows, columns = (generator.standard_normal((count, 70)).astype(np.float32) for count in (31, 77))
    counts, places, values = np.empty(31, np.int64), np.zeros((31, 77), np.int32), np.zeros((31, 77), np.float32)
    products_above(rounded(rows), panels_of(columns), np.ones(31, np.float32), counts, places, values)
    expected = b"".join(each.tobytes() for each in (product(rows, columns), counts, places, values))
    assert found[: len(expected)] == expected
    projected, lengths = generator.standard_normal((90, 3 * 2 * 40)).astype(np.float32), [71, 1, 18]
    exact, allowed = attention(projected, lengths, 2)
    attended = np.frombuffer(found[len(expected) :], np.float32).reshape(exact.shape)
    assert (np.abs(attended - exact) <= allowed).all()
