import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trainer.negatives import (
    RANDOM_RANK,
    NegativeSettings,
    Ranking,
    Selection,
    fill_with_random,
    rank_candidates,
    screened,
    select_negatives,
)
from trainer.ragged import Ragged

NONE_EXCLUDED = pa.array([[]], pa.list_(pa.int64()))


def choose(rows, scores, positive_scores, excluded, query_ids=None, **changes):
    chosen = NegativeSettings(**{"rank_window": (0, 100), "max_share_of_positive": None, **changes})
    return select_negatives(
        np.array(rows, np.int64),
        np.array(scores, np.float32),
        np.array(positive_scores, np.float32),
        excluded,
        chosen,
        query_ids=np.arange(len(rows)) if query_ids is None else query_ids,
    )


def products(queries, corpus):
    return lambda query, rows: np.einsum("nd,nd->n", queries[query], corpus[rows])


def test_the_defaults_are_those_of_the_papers():
    chosen = NegativeSettings()
    assert (chosen.rank_window, chosen.negatives, chosen.max_share_of_positive) == ((2, 200), 7, 0.95)
    assert (chosen.margin, chosen.max_score, chosen.sampling) == (None, None, "top")


def test_ranks_are_counted_after_excluded_rows_are_taken_out():
    # row 50 (the positive) and 51 (its document) go; the others have ranks 0, 1, 2; the window leaves 1 and 2
    found = choose(
        [[50, 7, 51, 8, 9]],
        [[0.9, 0.8, 0.7, 0.6, 0.5]],
        [0.9],
        pa.array([[51, 50]], pa.list_(pa.int64())),
        rank_window=(1, 3),
    )
    assert found.rows.tolist() == [8, 9]
    assert found.ranks.tolist() == [1, 2]
    assert found.dropped == {"excluded": 2, "outside_window": 1, "too_few": 0, "not_needed": 0}


@pytest.mark.parametrize(
    ("share", "positive", "scores"),
    [
        (0.5, 1.0, [0.75, 0.5, 0.25]),
        (0.95, 0.8, [0.79, 0.761, 0.759]),  # ceiling 0.76
        (0.95, 20.0, [19.5, 19.0, 18.99]),  # ceiling 19, which float32 holds exactly: at it is not under it
    ],
)
def test_a_candidate_at_the_share_of_the_positive_is_dropped_and_one_below_is_kept(share, positive, scores):
    found = choose([[1, 2, 3]], [scores], [positive], NONE_EXCLUDED, max_share_of_positive=share)
    assert found.rows.tolist() == [3]
    assert found.dropped["above_share_of_positive"] == 2


def test_the_share_is_95_percent_unless_told_otherwise():
    found = choose(
        [[1, 2]], [[0.761, 0.759]], [0.8], NONE_EXCLUDED,
        max_share_of_positive=NegativeSettings().max_share_of_positive,
    )  # fmt: skip
    assert found.rows.tolist() == [2]


@pytest.mark.parametrize(
    ("share", "positive", "scores"),
    [
        # the ceiling is -0.5 - 0.5 * 0.5 = -0.75; the bare product -0.25 would let everything through
        (0.5, -0.5, [-0.25, -0.6, -0.8]),
        (0.95, -0.8, [-0.77, -0.839, -0.841]),  # ceiling -0.8 - 0.05 * 0.8 = -0.84, the bare product -0.76
        (0.95, -20.0, [-20.5, -21.0, -21.01]),  # ceiling -21
    ],
)
def test_the_ceiling_stays_below_a_positive_whose_score_is_negative(share, positive, scores):
    found = choose([[1, 2, 3]], [scores], [positive], NONE_EXCLUDED, max_share_of_positive=share)
    assert found.rows.tolist() == [3]


def test_margin_and_maximum_score_are_counted_in_their_order():
    found = choose([[1, 2, 3, 4]], [[0.99, 0.8, 0.5, 0.2]], [1.0], NONE_EXCLUDED, margin=0.125, max_score=0.75)
    assert found.rows.tolist() == [3, 4]
    assert found.dropped == {
        "excluded": 0,
        "outside_window": 0,
        "above_margin": 1,
        "above_max_score": 1,
        "too_few": 0,
        "not_needed": 0,
    }


def test_top_takes_the_hardest_and_says_how_many_were_not_needed():
    found = choose([[4, 3, 2, 1]], [[0.4, 0.3, 0.2, 0.1]], [1.0], NONE_EXCLUDED, negatives=2)
    assert found.rows.tolist() == [4, 3]
    assert found.scores.tolist() == [np.float32(0.4), np.float32(0.3)]
    assert found.dropped["not_needed"] == 2


def test_a_query_with_too_few_safe_candidates_gets_fewer():
    found = choose(
        [[1, 2], [3, -1]], [[0.9, 0.1], [0.9, -np.inf]], [1.0, 0.5], (np.array([0, 0, 0]), np.array([], np.int64)),
        max_share_of_positive=0.95,
    )  # fmt: skip
    assert found.counts.tolist() == [2, 0]
    assert found.offsets.tolist() == [0, 2, 2]


def test_a_uniform_sample_follows_the_query_id_and_not_its_place():
    rows = np.tile(np.arange(40), (3, 1))
    scores = np.tile(np.linspace(0.5, 0.1, 40), (3, 1))
    nothing = pa.array([[], [], []], pa.list_(pa.int64()))
    ids = pa.array([bytes([n]) * 16 for n in (1, 2, 3)], pa.binary(16))
    first = choose(rows, scores, [1, 1, 1], nothing, ids, sampling="uniform", negatives=5)
    turned = choose(rows, scores, [1, 1, 1], nothing, ids.take(pa.array([2, 0, 1])), sampling="uniform", negatives=5)
    other_seed = choose(rows, scores, [1, 1, 1], nothing, ids, sampling="uniform", negatives=5, seed=1)
    assert np.split(first.rows, 3)[2].tolist() == np.split(turned.rows, 3)[0].tolist()
    assert first.counts.tolist() == [5, 5, 5]
    assert first.rows.tolist() != other_seed.rows.tolist()
    assert np.split(first.rows, 3)[0].tolist() != np.split(first.rows, 3)[1].tolist()
    assert all(np.all(np.diff(part) > 0) for part in np.split(first.ranks, 3))


def test_a_uniform_sample_takes_every_rank_equally_often():
    queries = 4000
    rows = np.tile(np.arange(20), (queries, 1))
    nothing = (np.zeros(queries + 1, np.int64), np.array([], np.int64))
    found = choose(rows, np.zeros((queries, 20)), np.ones(queries), nothing, sampling="uniform", negatives=5)
    counts = np.bincount(found.ranks, minlength=20)
    # each rank: binomial(4000, 1/4), mean 1000, standard deviation 27.4
    assert np.abs(counts - 1000).max() < 5 * 27.4


def test_a_softmax_sample_draws_with_the_odds_of_its_temperature():
    queries = 20_000
    rows = np.tile(np.arange(3), (queries, 1))
    scores = np.tile(np.log([0.6, 0.3, 0.1]), (queries, 1))  # at temperature 1 the odds of one draw
    nothing = (np.zeros(queries + 1, np.int64), np.array([], np.int64))
    chosen = {"sampling": "softmax", "temperature": 1.0}
    one = choose(rows, scores, np.ones(queries), nothing, negatives=1, **chosen)
    np.testing.assert_allclose(np.bincount(one.rows, minlength=3) / queries, [0.6, 0.3, 0.1], atol=0.015)
    two = choose(rows, scores, np.ones(queries), nothing, negatives=2, **chosen)
    # the last is among two draws where it is the first, or the second after one of the others
    last = 0.1 + 0.6 * 0.1 / 0.4 + 0.3 * 0.1 / 0.7
    np.testing.assert_allclose(np.mean(two.rows == 2) * 2, last, atol=0.015)


def test_a_cold_softmax_takes_the_hardest():
    scores = [[0.9, 0.8, 0.7, 0.6]]
    found = choose([[4, 3, 2, 1]], scores, [1], NONE_EXCLUDED, sampling="softmax", temperature=1e-4, negatives=2)
    assert found.rows.tolist() == [4, 3]


def test_a_query_that_would_get_too_few_gets_none():
    rows, scores = [[1, 2, 3], [4, 5, 6]], [[0.5, 0.4, 0.3], [0.9, 0.9, 0.3]]
    two = pa.array([[], []], pa.list_(pa.int64()))
    found = choose(rows, scores, [1, 1], two, max_score=0.6, negatives=3, fewest=2)
    assert found.counts.tolist() == [3, 0]
    assert found.dropped == {"excluded": 0, "outside_window": 0, "above_max_score": 2, "too_few": 1, "not_needed": 0}
    with pytest.raises(ValidationError, match="no query would get any"):
        NegativeSettings(negatives=2, fewest=3)


def test_queries_with_too_few_are_filled_with_distinct_random_rows_that_are_marked():
    rng = np.random.default_rng(0)
    corpus, queries = rng.standard_normal((200, 4)).astype(np.float32), rng.standard_normal((3, 4)).astype(np.float32)
    excluded = (np.array([0, 2, 2, 5]), np.array([0, 1, 2, 3, 4]))
    chosen = NegativeSettings(rank_window=(0, 9), max_share_of_positive=None, max_score=0.5, negatives=4, fewest=0)
    rows = np.array([[9, 8, 7], [6, 5, 4], [9, 8, 7]])
    scores = np.array([[0.4, 0.3, 0.2], [0.9, 0.4, 0.3], [0.9, 0.8, 0.7]], np.float32)
    ids = np.array([70, 80, 90])
    found = select_negatives(rows, scores, np.ones(3, np.float32), excluded, chosen, query_ids=ids)
    assert found.counts.tolist() == [3, 2, 0]
    filled = fill_with_random(found, 200, excluded, chosen, ids, products(queries, corpus))
    assert filled.counts.tolist() == [4, 4, 4]
    for query, kept in enumerate([[9, 8, 7], [5, 4], []]):
        own = slice(filled.offsets[query], filled.offsets[query + 1])
        assert filled.rows[own][: len(kept)].tolist() == kept
        assert filled.ranks[own][len(kept) :].tolist() == [RANDOM_RANK] * (4 - len(kept))
        assert len(set(filled.rows[own])) == 4
        assert not set(filled.rows[own]) & set(excluded[1][excluded[0][query] : excluded[0][query + 1]])
        drawn = filled.rows[own][len(kept) :]
        np.testing.assert_allclose(filled.scores[own][len(kept) :], corpus[drawn] @ queries[query], rtol=1e-5)
    alone = select_negatives(
        rows[1:2], scores[1:2], np.ones(1, np.float32), ([0, 0], np.empty(0, np.int64)), chosen, query_ids=ids[1:2]
    )
    none = (np.array([0, 0]), np.empty(0, np.int64))
    again = fill_with_random(alone, 200, none, chosen, ids[1:2], products(queries[1:2], corpus))
    assert again.rows.tolist() == filled.rows[4:8].tolist()


def test_a_small_corpus_gives_all_it_has():
    nothing = (np.array([0, 2]), np.array([0, 1]))
    chosen = NegativeSettings(rank_window=(0, 9), negatives=7, fewest=0)
    none = select_negatives(
        np.array([[-1]]),
        np.array([[-np.inf]], np.float32),
        np.ones(1, np.float32),
        nothing,
        chosen,
        query_ids=np.array([1]),
    )
    corpus = np.eye(5, dtype=np.float32)
    filled = fill_with_random(none, 5, nothing, chosen, np.array([1]), products(corpus[:1], corpus))
    assert sorted(filled.rows) == [2, 3, 4]


def test_random_rows_are_looked_at_until_enough_are_allowed_or_many_were_refused():
    none = select_negatives(
        np.full((30, 1), -1),
        np.full((30, 1), -np.inf, np.float32),
        np.ones(30, np.float32),
        Ragged.empty(30),
        NegativeSettings(negatives=3, fewest=0),
        query_ids=np.arange(30),
    )
    asked = []

    def fill(allowed, corpus_rows=100_000):
        wanted = NegativeSettings(negatives=3)
        score = lambda query, row: row * 2.0  # noqa: E731
        return fill_with_random(none, corpus_rows, Ragged.empty(30), wanted, np.arange(30), score, allowed)

    def tenth(queries, rows, scores):
        np.testing.assert_array_equal(scores, rows * 2.0)
        asked.extend(zip(queries.tolist(), rows.tolist(), strict=True))
        return rows % 10 == 0

    filled, all_rows = fill(tenth), fill(None)
    assert filled.counts.tolist() == [3] * 30
    assert set((filled.rows % 10).tolist()) == {0}
    for query in range(30):
        seen = list(dict.fromkeys(row for each, row in asked if each == query))
        assert seen[:3] == all_rows.rows[3 * query : 3 * query + 3].tolist()
        assert [row for row in seen if row % 10 == 0][:3] == filled.rows[3 * query : 3 * query + 3].tolist()
    assert fill(lambda queries, rows, scores: rows < 0).counts.tolist() == [0] * 30
    assert fill(lambda queries, rows, scores: rows == 7, 40).rows.tolist() == [7] * 30


def plain_python(rows, scores, positive_scores, excluded, chosen):
    """The rules of NegativeSettings, one candidate after the other ("top" sampling)."""
    negatives, dropped = [], 0
    for line, line_scores, positive, forbidden in zip(rows, scores, positive_scores, excluded, strict=True):
        rank, kept = -1, []
        for row, score in zip(line, line_scores, strict=True):
            if row < 0:
                continue
            if row in forbidden:
                dropped += 1
                continue
            rank += 1
            ceiling = positive - (1 - chosen.max_share_of_positive) * abs(positive)
            too_near = score >= ceiling or (chosen.margin is not None and score >= positive - chosen.margin)
            if not chosen.rank_window[0] <= rank < chosen.rank_window[1] or too_near or len(kept) == chosen.negatives:
                dropped += 1
            else:
                kept.append((row, rank))
        negatives.append(kept)
    return negatives, dropped


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_vectorised_choice_is_that_of_a_plain_loop(data):
    queries, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 12))
    generator = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    rows = np.stack([generator.permutation(20)[:width] for _ in range(queries)]).astype(np.int64)
    rows[:, width - data.draw(st.integers(0, min(3, width))) :] = -1
    scores = -np.sort(-generator.integers(-8, 9, (queries, width)) / 8, axis=1).astype(np.float32)
    positive_scores = (generator.integers(-8, 9, queries) / 8).astype(np.float32)
    excluded = [generator.integers(0, 20, generator.integers(0, 6)).tolist() for _ in range(queries)]
    low = data.draw(st.integers(0, 4))
    chosen = NegativeSettings(
        rank_window=(low, low + data.draw(st.integers(1, 10))),
        negatives=data.draw(st.integers(1, 5)),
        max_share_of_positive=data.draw(st.sampled_from([0.5, 0.75, 0.95, 1.0])),
        margin=data.draw(st.sampled_from([None, 0.25])),
    )
    ids = np.arange(queries)
    found = select_negatives(
        rows, scores, positive_scores, pa.array(excluded, pa.list_(pa.int64())), chosen, query_ids=ids
    )
    expected, dropped = plain_python(
        rows.tolist(), scores.tolist(), positive_scores.tolist(), [set(each) for each in excluded], chosen
    )
    pairs = list(zip(found.rows.tolist(), found.ranks.tolist(), strict=True))
    starts = found.offsets.tolist()
    assert [pairs[start:end] for start, end in itertools.pairwise(starts)] == expected
    assert sum(found.dropped.values()) == dropped
    assert len(found.rows) + dropped == np.count_nonzero(rows >= 0)


def test_more_queries_than_one_block_give_what_each_alone_gives(monkeypatch):
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 50, (23, 6))
    scores = -np.sort(-generator.random((23, 6)), axis=1)
    excluded = pa.array([generator.integers(0, 50, 8).tolist() for _ in range(23)], pa.list_(pa.int64()))
    whole = choose(rows, scores, np.ones(23), excluded, sampling="uniform", negatives=2)
    monkeypatch.setattr("trainer.negatives._QUERIES_AT_ONCE", 5)
    cut = choose(rows, scores, np.ones(23), excluded, sampling="uniform", negatives=2)
    assert whole.rows.tolist() == cut.rows.tolist()
    assert whole.offsets.tolist() == cut.offsets.tolist()
    assert whole.dropped == cut.dropped


def test_sliced_arrow_arrays_mean_what_they_show():
    ids = pa.array([bytes([n]) * 16 for n in range(4)], pa.binary(16))
    excluded = pa.array([[9], [1], None, [2]], pa.list_(pa.int64()))
    found = choose([[1, 2], [1, 2]], [[0.5, 0.4]] * 2, [1, 1], excluded.slice(1, 2), ids.slice(1, 2), negatives=2)
    assert found.rows.tolist() == [2, 1, 2]


def test_no_queries_give_an_empty_selection():
    nothing = pa.array([], pa.list_(pa.int64()))
    found = choose(np.empty((0, 4)), np.empty((0, 4)), [], nothing)
    assert found.offsets.tolist() == [0]
    assert len(found.rows) == 0


def test_a_positive_without_a_score_is_named():
    with pytest.raises(ValueError, match="query 1"):
        choose([[1], [2]], [[0.5], [0.5]], [1.0, np.nan], pa.array([[], []], pa.list_(pa.int64())))


def test_a_window_without_ranks_is_refused():
    with pytest.raises(ValidationError, match="holds no rank"):
        NegativeSettings(rank_window=(5, 5))


def test_a_candidate_under_the_least_score_is_too_easy():
    found = choose([[1, 2, 3]], [[0.5, 0.25, 0.125]], [1.0], NONE_EXCLUDED, min_score=0.25)
    assert found.rows.tolist() == [1, 2]
    assert found.dropped["below_min_score"] == 1


@pytest.mark.parametrize(
    ("ranks_among", "rows", "ranks"),
    [
        ("all", [8], [2]),  # rows 50, 7 | 8, 51: ranks 2 and 3 of the ranking, of which 51 is excluded
        ("not_excluded", [9, 10], [2, 3]),  # 7, 8 | 9, 10
        ("allowed", [10, 11], [2, 3]),  # 8, 9 | 10, 11: 7 scores too high
    ],
)
def test_the_window_counts_what_ranks_among_says(ranks_among, rows, ranks):
    found = choose(
        [[50, 7, 8, 51, 9, 10, 11]],
        [[0.9, 0.85, 0.7, 0.65, 0.6, 0.5, 0.4]],
        [0.9],
        pa.array([[50, 51]], pa.list_(pa.int64())),
        rank_window=(2, 4),
        max_score=0.8,
        ranks_among=ranks_among,
    )
    assert found.rows.tolist() == rows
    assert found.ranks.tolist() == ranks
    assert sum(found.dropped.values()) + len(rows) == 7


def test_the_share_is_taken_of_the_lowest_positive_where_queries_have_several():
    # the lowest positives of three queries with two, one and three: 0.5, 0.9, 0.6; 0.95 of them: 0.475, 0.855, 0.57
    rows, scores = [[1, 2, 3]] * 3, [[0.8, 0.56, 0.4]] * 3
    found = choose(
        rows, scores, [0.5, 0.9, 0.6], pa.array([[], [], []], pa.list_(pa.int64())), max_share_of_positive=0.95
    )
    assert [part.tolist() for part in np.split(found.rows, found.offsets[1:-1])] == [[3], [1, 2, 3], [2, 3]]


def hn_mine(ranking, texts, positives, query, window, count):
    """FlagEmbedding's rule, restated: ranks of the whole ranking, then out with the texts of the positives and the query."""
    kept = [
        row
        for row in ranking[window[0] : window[1]]
        if row >= 0 and texts[row] not in positives and texts[row] != query
    ]
    return kept, min(count, len(kept))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_settings_of_hn_mine_give_its_candidates(data):
    generator = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    texts = [f"text {number % 25}" for number in range(30)]  # some twice
    queries, width = 4, data.draw(st.integers(1, 30))
    rows = np.stack([generator.permutation(30)[:width] for _ in range(queries)])
    scores = -np.sort(-generator.random((queries, width)), axis=1).astype(np.float32)
    asked = [texts[generator.integers(30)] for _ in range(queries)]
    positives = [{texts[row] for row in generator.integers(0, 30, generator.integers(1, 4))} for _ in range(queries)]
    excluded = [
        [row for row in range(30) if texts[row] in known or texts[row] == query]
        for query, known in zip(asked, positives, strict=True)
    ]
    low = data.draw(st.integers(0, 5))
    window, count = (low, low + data.draw(st.integers(1, 20))), data.draw(st.integers(1, 8))
    chosen = {
        "rank_window": window,
        "ranks_among": "all",
        "max_share_of_positive": None,
        "sampling": "uniform",
        "fewest": 0,
    }
    lists = pa.array(excluded, pa.list_(pa.int64()))
    everything = choose(rows, scores, np.ones(queries), lists, negatives=30, **chosen)
    sampled = choose(rows, scores, np.ones(queries), lists, negatives=count, **chosen)
    for query in range(queries):
        expected, size = hn_mine(rows[query].tolist(), texts, positives[query], asked[query], window, count)
        assert everything.rows[everything.offsets[query] : everything.offsets[query + 1]].tolist() == expected
        own = sampled.rows[sampled.offsets[query] : sampled.offsets[query + 1]].tolist()
        assert len(own) == size
        assert set(own) <= set(expected)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_screening_gives_what_asking_about_every_candidate_would(data):
    generator = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    queries, width, most = 5, data.draw(st.integers(1, 20)), data.draw(st.integers(1, 6))
    rows = np.stack([generator.permutation(40)[:width] for _ in range(queries)])
    ranking = Ranking.of_one_source(rows, np.zeros(rows.shape, np.float32))
    chosen = NegativeSettings(
        rank_window=(0, 40), max_share_of_positive=None, sampling=data.draw(st.sampled_from(["top", "uniform"]))
    )
    keys = np.arange(queries, dtype=np.uint64)
    ranked = rank_candidates(ranking, np.ones(queries, np.float32), Ragged.empty(queries), chosen, keys)
    faults = generator.choice([-1, -1, 0, 1], (queries, 40)).astype(np.int8)
    asked = set()

    def find_faults(query, row):
        asked.update(zip(query.tolist(), row.tolist(), strict=True))
        return faults[query, row]

    kept, counts = screened(ranked, most, find_faults, ("one", "two"))
    in_order = ranked.rows(ranked.open).lists()
    expected = [[row for row in line if faults[query, row] < 0][:most] for query, line in enumerate(in_order)]
    assert ranked.rows(kept).lists() == expected
    found = [faults[query, row] for query, row in asked]
    assert counts == {"one": found.count(0), "two": found.count(1)}
    for query, line in enumerate(in_order):  # lazily, from the beginning
        own = {row for number, row in asked if number == query}
        assert own == set(line[: len(own)])


def test_a_selection_is_cut_and_joined_by_query():
    two = pa.array([[], []], pa.list_(pa.int64()))
    found = choose([[1, 2], [3, -1]], [[0.5, 0.4], [0.3, -np.inf]], [1, 1], two)
    turned = found.take(np.array([1, 0]))
    assert turned.rows.tolist() == [3, 1, 2]
    assert turned.counts.tolist() == [1, 2]
    joined = Selection.concatenate([found, turned])
    assert joined.rows.tolist() == [1, 2, 3, 3, 1, 2]
    assert joined.offsets.tolist() == [0, 2, 3, 4, 6]
    assert joined.dropped["not_needed"] == 0
    assert Selection.concatenate([]).offsets.tolist() == [0]


def test_random_rows_come_from_the_part_that_is_searched():
    searched = np.arange(1000, 1200, 2)
    none = select_negatives(
        np.full((40, 1), -1),
        np.full((40, 1), -np.inf, np.float32),
        np.ones(40, np.float32),
        Ragged.of([[1000]] * 40),
        NegativeSettings(negatives=3, fewest=0),
        query_ids=np.arange(40),
    )
    filled = fill_with_random(
        none,
        searched,
        Ragged.of([[1000]] * 40),
        NegativeSettings(negatives=3),
        np.arange(40),
        lambda query, row: row * 2.0,
    )
    assert filled.counts.tolist() == [3] * 40
    assert set(filled.rows.tolist()) <= set(searched.tolist()) - {1000}
    assert filled.scores.tolist() == (filled.rows * 2.0).tolist()
    assert set(filled.origins.tolist()) == {0}
    assert set(filled.source_ranks.ravel().tolist()) == {RANDOM_RANK}
