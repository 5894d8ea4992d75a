import builtins
import logging

import numpy as np
import pytest

from trainer.search import SearchSettings, inner_products, top_k
from trainer.search_settings import ApproximateSettings
from trainer.vector_files import VectorFiles


def clustered(rows, seed, centres=40, dimension=16):
    generator = np.random.default_rng(seed)
    middles = np.random.default_rng(99).normal(size=(centres, dimension))
    vectors = middles[generator.integers(0, centres, rows)] + 0.5 * generator.normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def corpus():
    return VectorFiles.of(clustered(4000, 1))


def approximate(**settings):
    return SearchSettings(approximate_above_rows=1000, approximate=ApproximateSettings(**settings), recall_sample=50)


def test_all_cells_searched_find_nearly_what_an_exact_search_finds(corpus):
    queries = clustered(80, 2)
    exact = top_k(queries, corpus, 10)
    found = top_k(queries, corpus, 10, approximate(lists=20, probes=20))
    agreeing = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(exact.rows, found.rows, strict=True)])
    assert agreeing > 0.98  # the index rounds rows to float16
    assert found.recall > 0.98
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert np.array_equal(found.scores, inner_products(queries, corpus, found.rows))


def test_the_recall_told_is_that_of_the_sample(corpus, caplog):
    queries = clustered(50, 3)
    with caplog.at_level(logging.INFO):
        found = top_k(queries, corpus, 20, approximate(lists=60, probes=2))
    exact = top_k(queries, corpus, 20)
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(exact.rows, found.rows, strict=True))
    assert found.recall == hits / (50 * 20)  # 50 queries are all in the sample
    assert 0.2 < found.recall < 0.99
    assert f"{100 * found.recall:.1f} % of the 20 best rows" in caplog.text


def test_a_subset_of_the_rows_is_found_by_its_numbers_in_the_whole(corpus):
    rows = np.arange(5, 4000, 3)
    queries = clustered(30, 4)
    found = top_k(queries, corpus, 5, approximate(lists=10, probes=10), rows=rows)
    assert np.isin(found.rows, rows).all()
    exact = top_k(queries, corpus, 5, rows=rows)
    assert (found.rows == exact.rows).mean() > 0.95


def test_a_corpus_that_is_not_larger_is_searched_exactly(corpus):
    found = top_k(clustered(5, 5), corpus, 3, SearchSettings(approximate_above_rows=4000))
    assert found.recall is None


def test_an_index_is_built_once_for_a_corpus(corpus, caplog):
    files = VectorFiles.of(clustered(1500, 6))
    with caplog.at_level(logging.INFO):
        first = top_k(clustered(20, 7), files, 5, approximate(lists=5))
        second = top_k(clustered(20, 8), files, 5, approximate(lists=5))
    assert caplog.text.count("Indexed 1500 rows") == 1
    assert first.recall == second.recall


def test_without_faiss_the_error_says_what_to_install(monkeypatch):
    whole = builtins.__import__

    def without_faiss(name, *rest):
        if name == "faiss":
            raise ImportError(name)
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_faiss)
    with pytest.raises(ValueError, match=r"pairmill\[ann\]"):
        top_k(clustered(2, 0), VectorFiles.of(clustered(1200, 1)), 1, approximate())
