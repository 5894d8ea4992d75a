"""Signatures against exact Jaccard similarity and the theory of MinHash."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.minhash import (
    SketchSettings,
    estimate_similarity,
    least_agreements,
    signatures_of,
    sketch_schema,
    sketch_texts,
)
from filters.shingles import CHARACTERS, SHORT, WORDS

WORDS_ALONE = SketchSettings(words=1, short_most=1, long_least=2)


def words(numbers):
    return " ".join(f"w{number}" for number in numbers)


@pytest.mark.parametrize("size", [3, 20, 300, 3000])
@pytest.mark.parametrize("shared", [0.25, 0.5, 0.9])
def test_estimates_are_unbiased_and_spread_no_more_than_independent_permutations(size, shared):
    """The standard error of n permutations is root(J (1 - J) / n); 200 pairs tell it within 15 %."""
    pairs, common = 200, round(size * shared)
    rest = size - common
    texts = []
    for pair in range(pairs):
        base = pair * 10_000_000
        texts.append(words(range(base, base + size)))
        texts.append(words([*range(base, base + common), *range(base + size, base + size + rest)]))
    signatures = signatures_of(sketch_texts(pa.array(texts), WORDS_ALONE))
    estimates = estimate_similarity(signatures, np.arange(0, 2 * pairs, 2), np.arange(1, 2 * pairs, 2))
    jaccard = common / (size + rest)
    agree = jaccard + (1 - jaccard) / 256  # places of 8 bits agree by chance too (Li and Koenig 2010)
    error = (agree * (1 - agree) / 128) ** 0.5 / (1 - 1 / 256)
    assert estimates.mean() == pytest.approx(jaccard, abs=4 * error / pairs**0.5 + 1e-12)
    assert estimates.std() <= 1.2 * error + 1e-12


def test_estimates_agree_with_those_of_independent_permutations():
    """The published way: of each of 128 random permutations of all shingles, the least of each set, in float64."""
    random = np.random.default_rng(0)
    sets = [random.choice(600, size, replace=False) for size in random.integers(20, 400, 120)]
    left, right = np.triu_indices(len(sets), 1)
    member = np.array([np.isin(np.arange(600), numbers) for numbers in sets])
    exact = (member[left] & member[right]).sum(axis=1) / (member[left] | member[right]).sum(axis=1)
    ranks = random.random((128, 600))
    least = np.array([ranks[:, numbers].min(axis=1) for numbers in sets])
    reference = (least[left] == least[right]).mean(axis=1)
    signatures = signatures_of(sketch_texts(pa.array([words(numbers) for numbers in sets]), WORDS_ALONE))
    estimates = estimate_similarity(signatures, left, right)
    error = (exact * (1 - exact) / 128) ** 0.5
    # Pairs share texts, so the mean of all spreads about as the mean of one pair for each text.
    assert abs((estimates - exact).mean()) < 2 * error.mean() / len(sets) ** 0.5
    assert abs((estimates - reference).mean()) < 2 * 2**0.5 * error.mean() / len(sets) ** 0.5
    assert (estimates - exact).std() < 1.1 * (reference - exact).std()


@pytest.mark.parametrize(("similarity", "places"), [(0.0, 1), (0.5, 65), (0.65, 84), (1.0, 128), (0.3, 39)])
def test_the_least_agreements_are_those_an_estimate_needs(similarity, places):
    """128 x (similarity + (1 - similarity) / 256), rounded up."""
    assert least_agreements(128, similarity) == places


def test_texts_without_a_common_shingle_are_estimated_at_zero():
    signatures = signatures_of(
        sketch_texts(pa.array([words(range(50 * n, 50 * n + 50)) for n in range(200)]), WORDS_ALONE)
    )
    estimates = estimate_similarity(signatures, *np.triu_indices(200, 1))
    assert abs(estimates.mean()) < 0.0005


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.text(max_size=400), max_size=12), st.integers(0, 12), st.integers(0, 5))
def test_a_sketch_is_that_of_its_text_alone(texts, cut, offset):
    column = pa.array(["x"] * offset + texts, pa.string()).slice(offset)
    whole = sketch_texts(column, first_text=7)
    cut = min(cut, len(texts))
    parts = [sketch_texts(column.slice(0, cut), first_text=7), sketch_texts(column.slice(cut), first_text=7 + cut)]
    assert pa.Table.from_batches(parts).combine_chunks().equals(pa.Table.from_batches([whole]).combine_chunks())
    assert sketch_texts(column.cast(pa.large_string()), first_text=7).equals(whole)


def test_a_signature_is_the_same_for_ever():
    """Sketches are kept: whoever changes these values raises SKETCH_VERSION."""
    sketches = sketch_texts(pa.array(["How do I install a printer?", "如何安装打印机"]))
    assert signatures_of(sketches)[:, :4].tolist() == [[218, 62, 191, 183], [173, 15, 154, 115]]


def test_the_order_and_repetition_of_shingles_make_no_difference():
    signatures = signatures_of(sketch_texts(pa.array(["a b c", "c a b", "a a b b c c b a"]), WORDS_ALONE))
    assert (signatures == signatures[0]).all()


@pytest.mark.parametrize(
    ("text", "views"),
    [
        ("How do I install it?", [SHORT]),
        ("如何安装", [SHORT]),
        ("word " * 45, [SHORT, WORDS]),
        ("word " * 400, [WORDS]),
        ("字" * 60, [SHORT, CHARACTERS]),
        ("字符" * 200, [CHARACTERS]),
        ("สวัสดี" * 100, [CHARACTERS]),
        ("字符 word " * 100, [WORDS, CHARACTERS]),
        ("", []),
        ("... !?", []),
        (None, []),
        ("x", [SHORT]),
        ("😀🎉" * 5000, [SHORT]),
    ],
)
def test_views_follow_script_and_length(text, views):
    assert sketch_texts(pa.array([text], pa.string())).column("view").to_pylist() == views


def test_a_short_text_is_kept_as_folded_and_a_longer_one_is_not():
    sketches = sketch_texts(pa.array(["Ｗhat  is Café?", "word " * 400]))
    assert sketches.column("folded").to_pylist() == ["what is cafe", None]
    assert sketches.schema == sketch_schema(128)


def test_huge_and_repetitive_texts_are_signed_in_bounded_time():
    letters = random.Random(0).choices("abcdefgh ", k=1_000_000)
    texts = ["ab " * 3_300_000, "a" * 10_000_000, "".join(letters), "字" * 1_000_000]
    assert sketch_texts(pa.array(texts)).column("text").to_pylist() == [0, 1, 2, 3]


def test_bytes_that_are_no_utf8_are_read_within_their_text():
    broken = pa.array([b"caf\xc3", b"\xff\xfe\xff", b"\xed\xa0\x80 half a pair"], pa.binary())
    texts = pa.StringArray.from_buffers(3, broken.buffers()[1], broken.buffers()[2])
    sketches = sketch_texts(texts)
    alone = [sketch_texts(texts.take(pa.array([row])), first_text=row) for row in range(3)]
    assert pa.Table.from_batches(alone).column("signature").to_pylist() == sketches.column("signature").to_pylist()


def test_signatures_of_slices_and_chunks_are_those_of_the_whole():
    sketches = sketch_texts(pa.array(["one", "two", "three"]))
    whole = signatures_of(sketches)
    assert np.array_equal(signatures_of(sketches.slice(1)), whole[1:])
    table = pa.Table.from_batches([sketches.slice(0, 1), sketches.slice(1)])
    assert np.array_equal(signatures_of(table), whole)
    assert signatures_of(sketches.slice(0, 0)).shape == (0, 128)
    assert signatures_of(sketch_schema(64).empty_table()).shape == (0, 64)


def test_other_numbers_of_permutations_are_possible():
    sketches = sketch_texts(pa.array(["one two three"]), SketchSettings(permutations=100))
    assert signatures_of(sketches).shape == (1, 100)
