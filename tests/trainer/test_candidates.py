import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trainer.candidates import CandidateSettings, fused, origin_names
from trainer.vector_files import VectorFiles

BOTH = ("dense", "bm25")


def fuse(found, dense_scores=None, **chosen):
    """`found` by source and query; the score of row r is r / 8."""
    width = [max(len(line) for line in lines) for lines in found]
    matrices = [
        np.array([line + [-1] * (size - len(line)) for line in lines], np.int64)
        for lines, size in zip(found, width, strict=True)
    ]
    corpus = VectorFiles.of((np.arange(64, dtype=np.float32) / 8)[:, None])
    queries = np.ones((len(found[0]), 1), np.float32)
    scores = None if dense_scores is None else np.array(dense_scores, np.float32)
    return fused(matrices, CandidateSettings(**chosen), queries, scores, corpus)


def test_one_source_stays_as_it_is():
    ranking = fuse([[[5, 3]]], [[0.5, 0.25]])
    assert ranking.rows.tolist() == [[5, 3]]
    assert ranking.scores.tolist() == [[0.5, 0.25]]
    assert ranking.origins.tolist() == [[1, 1]]
    assert ranking.source_ranks.tolist() == [[[0], [1]]]


def test_a_source_without_scores_gets_those_of_the_encoder():
    ranking = fuse([[[8, 2], [4]]], sources=("bm25",))
    assert ranking.rows.tolist() == [[8, 2], [4, -1]]
    assert ranking.scores.tolist() == [[1.0, 0.25], [0.5, -np.inf]]
    assert ranking.origins.tolist() == [[1, 1], [1, 0]]


def test_a_union_goes_by_the_best_rank_and_then_by_the_order_of_the_sources():
    # ranks of dense and bm25: 1: (0, -), 2: (1, 0), 3: (2, -), 4: (-, 1), 5: (-, 2)
    ranking = fuse([[[1, 2, 3]], [[2, 4, 5]]], [[9.0, 8.0, 7.0]], sources=BOTH)
    assert ranking.rows.tolist() == [[1, 2, 4, 3, 5]]
    assert ranking.scores.tolist() == [[9.0, 8.0, 0.5, 7.0, 0.625]]  # what dense did not find is computed
    assert ranking.source_ranks.tolist() == [[[0, -1], [1, 0], [-1, 1], [2, -1], [-1, 2]]]
    assert origin_names(ranking.origins[0], BOTH).to_pylist() == ["dense", "dense+bm25", "bm25", "dense", "bm25"]


def test_reciprocal_ranks_add_up():
    # 1 / (60 + rank), from 1: row 2 has 1/62 + 1/61; then rows 1 (1/61), 4 (1/62), 3 and 5 (1/63, the lower row first)
    ranking = fuse([[[1, 2, 3]], [[2, 4, 5]]], [[9.0, 8.0, 7.0]], sources=BOTH, fusion="reciprocal_rank")
    assert ranking.rows.tolist() == [[2, 1, 4, 3, 5]]


def test_a_candidate_that_no_source_found_is_random():
    assert origin_names(np.array([0, 2, 5], np.uint8), ("dense", "bm25", "lexical")).to_pylist() == [
        "random",
        "bm25",
        "dense+lexical",
    ]


def test_a_source_is_named_once():
    with pytest.raises(ValidationError, match="names a source twice"):
        CandidateSettings(sources=("dense", "dense"))


LINES = st.lists(st.lists(st.integers(0, 30), max_size=6, unique=True), min_size=3, max_size=3)


@settings(max_examples=100, deadline=None)
@given(LINES, LINES, st.sampled_from(["union", "reciprocal_rank"]), st.integers(0, 60))
def test_fusing_is_that_of_a_plain_loop(dense, bm25, fusion, constant):
    scores = [[row / 8 for row in line] + [-np.inf] * (max(map(len, dense)) - len(line)) for line in dense]
    ranking = fuse([dense, bm25], scores, sources=BOTH, fusion=fusion, reciprocal_rank_constant=constant)
    for query, lines in enumerate(zip(dense, bm25, strict=True)):
        ranks = {row: [line.index(row) if row in line else None for line in lines] for row in {*lines[0], *lines[1]}}

        def key(row, ranks=ranks):
            known = [(rank, source) for source, rank in enumerate(ranks[row]) if rank is not None]
            if fusion == "union":
                return min(known)
            return (-sum(1 / (constant + 1 + rank) for rank, _ in known), row)

        expected = sorted(ranks, key=key)
        count = len(expected)
        assert ranking.rows[query].tolist() == expected + [-1] * (ranking.rows.shape[1] - count)
        assert ranking.scores[query, :count].tolist() == [row / 8 for row in expected]
        assert ranking.source_ranks[query, :count].tolist() == [
            [-1 if rank is None else rank for rank in ranks[row]] for row in expected
        ]
