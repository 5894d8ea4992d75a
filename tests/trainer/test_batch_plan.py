"""The batch plan: its invariants for any data, and that it is one function of seed and step."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.packed_folder import some_rows, write_folder
from trainer.batch_plan import BatchPlan, BatchPlanError, BatchPlanSettings, PlanColumns, place_apart, plan_columns
from trainer.permutation import Permutation, key_bits
from trainer.training_data import TrainingData


def columns(groups, length_groups=None, queries=None, positives=None, negatives=0, lengths=None, **more):
    rows = len(groups)
    return PlanColumns(
        group=np.array(groups),
        length_group=np.zeros(rows, np.int32) if length_groups is None else np.array(length_groups),
        length=np.full(rows, 10) if lengths is None else np.array(lengths),
        query_cluster=np.arange(rows) if queries is None else np.array(queries, np.int64),
        positive_cluster=np.arange(rows) + rows if positives is None else np.array(positives, np.int64),
        negatives=np.full(rows, negatives) if np.isscalar(negatives) else np.array(negatives),
        **more,
    )


@st.composite
def any_columns(draw):
    rows = draw(st.integers(2, 60))

    def codes(most):
        return draw(st.lists(st.integers(0, most), min_size=rows, max_size=rows))

    variety = draw(st.sampled_from([2, 8, 1000]))
    return columns(
        codes(2), length_groups=codes(1), queries=codes(variety), positives=codes(variety), negatives=codes(4)
    )


def batches(plan, epoch=0):
    return [rows for _, rows in plan.epoch_batches(epoch)]


def placed(plan, epoch=0):
    return sorted(np.concatenate(batches(plan, epoch)).tolist())


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 400), st.integers(0, 2**40), st.data())
def test_a_permutation_holds_every_number_once_and_any_part_of_it_is_the_same_alone(size, seed, data):
    shuffle = Permutation(size, key_bits(seed, 1))
    whole = shuffle(np.arange(size))
    assert sorted(whole) == list(range(size))
    some = np.array(data.draw(st.lists(st.integers(0, size - 1), max_size=5)), np.int64)
    assert np.array_equal(shuffle(some), whole[some])


def test_every_place_gets_every_item_equally_often():
    counts = np.zeros((6, 6))
    for seed in range(3000):
        counts[np.arange(6), Permutation(6, key_bits(seed, 1))(np.arange(6))] += 1
    # 500 each; 5 standard deviations of a binomial are 102.
    assert np.abs(counts - 500).max() < 102


@settings(max_examples=150, deadline=None)
@given(any_columns(), st.integers(2, 9), st.integers(0, 2**31), st.integers(0, 3))
def test_every_batch_is_of_one_group_without_conflicts_and_no_row_comes_twice(data, batch_size, seed, epoch):
    try:
        plan = BatchPlan(data, BatchPlanSettings(batch_size=batch_size, length_shares=(1.0,)), seed, steps=10)
    except BatchPlanError:
        return
    made = batches(plan, epoch)
    assert len(made) == plan.batches_per_epoch
    for rows in made:
        assert 2 <= len(rows) <= batch_size
        assert len(set(zip(data.group[rows], data.length_group[rows], strict=True))) == 1
        assert len(set(data.query_cluster[rows])) == len(set(data.positive_cluster[rows])) == len(rows)
    different = {tuple(rows) for rows in made}  # where too few rows fit, batches come again
    rows = [row for batch in different for row in batch]
    assert len(set(rows)) == len(rows) or len(different) < len(made)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 2), min_size=2, max_size=80), st.integers(2, 9), st.integers(0, 2**31), st.integers(0, 3)
)
def test_without_conflicts_every_row_is_in_an_epoch_once_or_counted_as_left_out(groups, batch_size, seed, epoch):
    try:
        plan = BatchPlan(columns(groups), BatchPlanSettings(batch_size=batch_size), seed, steps=10)
    except BatchPlanError:
        return
    rows = placed(plan, epoch)
    assert len(set(rows)) == len(rows)
    assert len(rows) + plan.left_out == len(groups)


@settings(max_examples=40, deadline=None)
@given(any_columns(), st.integers(0, 2**31), st.integers(0, 39))
def test_a_plan_made_anew_at_any_step_gives_the_same_rest(data, seed, start):
    options = BatchPlanSettings(batch_size=4, negatives=2, segment_shuffle=0.5, instruction_share=0.5)
    try:
        whole = BatchPlan(data, options, seed, steps=40)
    except BatchPlanError:
        return
    before = [whole.rows(step)[0] for step in range(40)]
    again = BatchPlan(data, options, seed, steps=40)
    for step in [start, *range(39, start, -7)]:
        (rank,) = again.rows(step)
        for name in ("rows", "negatives", "plain", "shuffle"):
            assert np.array_equal(getattr(rank, name), getattr(before[step], name))


def test_the_steps_of_an_epoch_have_its_batches_in_another_order():
    plan = BatchPlan(columns([0] * 40 + [1] * 20), BatchPlanSettings(batch_size=4), 5, steps=30)
    for epoch in (0, 1):
        steps = [tuple(plan.rows(15 * epoch + step)[0].rows) for step in range(15)]
        planned = [tuple(rows) for rows in batches(plan, epoch)]
        assert steps != planned
        assert sorted(steps) == sorted(planned)


def test_a_far_step_costs_no_more_than_the_first_and_its_window_only():
    rows = 2_000_000
    plan = BatchPlan(columns(np.zeros(rows, np.int32)), BatchPlanSettings(batch_size=64), 0, steps=10**12)
    tracemalloc.start()
    plan.rows(10**12 - 1)
    assert tracemalloc.get_traced_memory()[1] < 8e6  # all rows would be 16 MB
    tracemalloc.stop()


@settings(max_examples=40, deadline=None)
@given(any_columns(), st.integers(0, 2**31), st.integers(1, 4))
def test_ranks_share_each_step_s_rows_and_draws_in_near_equal_parts(data, seed, ranks):
    options = BatchPlanSettings(batch_size=6, negatives=1, smallest_batch=4, instruction_share=0.5)
    try:
        alone = BatchPlan(data, options, seed, steps=5)
    except BatchPlanError:
        return
    shared = BatchPlan(data, options, seed, steps=5, ranks=ranks)

    def drawn(part):
        return list(zip(part.rows.tolist(), part.negatives.tolist(), part.plain.tolist(), strict=True))

    for step in range(5):
        parts = shared.rows(step)
        (whole,) = alone.rows(step)
        assert sorted(row for part in parts for row in drawn(part)) == sorted(drawn(whole))
        sizes = [len(part.rows) for part in parts]
        assert max(sizes) - min(sizes) <= 1 <= min(sizes)


def test_ranks_get_texts_of_like_length():
    lengths = np.random.default_rng(0).integers(10, 500, 64)
    plan = BatchPlan(
        columns([0] * 64, lengths=lengths), BatchPlanSettings(batch_size=64, smallest_batch=4), 0, 1, ranks=4
    )
    totals = [lengths[part.rows].sum() for part in plan.rows(0)]
    assert max(totals) / min(totals) < 1.02


def test_rows_that_conflict_change_places_and_none_is_lost():
    # 4 pairs of each of 8 queries in 8 batches of 4: there is room for all.
    plan = BatchPlan(columns([0] * 32, queries=[row // 4 for row in range(32)]), BatchPlanSettings(batch_size=4), 1, 1)
    assert placed(plan) == list(range(32))


def test_rows_of_few_clusters_wait_for_another_epoch_and_every_batch_is_a_whole_one():
    # A batch can hold two rows, one of each positive: 40,000 rows, 1,250 batches.
    data = columns([0] * 40_000, positives=[row % 2 for row in range(40_000)])
    plan = BatchPlan(data, BatchPlanSettings(), 0, 1)
    assert [len(rows) for rows in batches(plan)] == [2] * 1250
    assert placed(plan, 0) != placed(plan, 1)


def test_a_window_without_any_batch_takes_rows_from_elsewhere():
    # All but one row have one positive: only the window with that row can make a batch of its own.
    data = columns([0] * 20_000, positives=[0] * 19_999 + [1])
    plan = BatchPlan(data, BatchPlanSettings(), 0, 1)
    assert all(sorted(data.positive_cluster[rows]) == [0, 1] for rows in batches(plan))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60), st.integers(2, 8))
def test_rows_placed_apart_share_no_cluster_and_no_batch_is_over_its_size(rows, size):
    queries, positives = np.array(rows).T
    count = -(-len(rows) // size)
    where = place_apart(queries, positives, size, count)
    for batch in range(count):
        members = where == batch
        assert members.sum() <= size
        assert len(set(queries[members])) == len(set(positives[members])) == members.sum()


def test_pairs_of_one_query_alone_cannot_be_batched():
    with pytest.raises(BatchPlanError, match="3 pairs give no batch of at least 2 pairs"):
        BatchPlan(columns([0] * 3, queries=[7, 7, 7]), BatchPlanSettings(batch_size=4), 0, 1)


def test_a_single_row_cannot_be_batched():
    with pytest.raises(BatchPlanError, match="1 pairs give no batch"):
        BatchPlan(columns([0]), BatchPlanSettings(), 0, 1)


def test_a_last_single_row_is_left_out_and_another_epoch_leaves_out_another():
    plan = BatchPlan(columns([0] * 33), BatchPlanSettings(batch_size=8), 0, 1)
    assert plan.left_out == 1
    missing = {next(iter(set(range(33)) - set(placed(plan, epoch)))) for epoch in range(6)}
    assert len(missing) > 1


def test_data_smaller_than_a_batch_is_one_batch_every_step():
    plan = BatchPlan(columns([0] * 5), BatchPlanSettings(batch_size=32), 0, steps=3)
    assert [sorted(plan.rows(step)[0].rows) for step in range(3)] == [[0, 1, 2, 3, 4]] * 3


def test_epochs_and_seeds_shuffle_differently():
    def order(seed, epoch):
        plan = BatchPlan(columns([0] * 64), BatchPlanSettings(batch_size=8), seed, 1)
        return tuple(np.concatenate(batches(plan, epoch)))

    assert len({order(0, 0), order(0, 1), order(1, 0), order(1, 1)}) == 4


# Written down from the second version: the raw bits of Philox do not change, which numpy guarantees.
EXPECTED_ROWS = [[3, 5], [2, 1], [2, 1]]
EXPECTED_NEGATIVES = [[1], [2]]


def test_the_plan_of_a_seed_never_changes():
    plan = BatchPlan(columns([0, 0, 0, 1, 1, 1], negatives=3), BatchPlanSettings(batch_size=2), 7, 10)
    assert [plan.rows(step)[0].rows.tolist() for step in range(3)] == EXPECTED_ROWS
    assert plan.rows(2)[0].negatives.tolist() == EXPECTED_NEGATIVES


def test_negatives_are_distinct_drawn_from_those_there_are_and_change_with_the_step():
    plan = BatchPlan(columns([0] * 4, negatives=[0, 1, 2, 9]), BatchPlanSettings(batch_size=4, negatives=2), 3, 200)
    seen = Counter()
    for step in range(200):
        (rank,) = plan.rows(step)
        for row, chosen in zip(rank.rows, rank.negatives, strict=True):
            if row == 0:
                assert chosen.tolist() == [-1, -1]
            elif row == 1:
                assert chosen.tolist() == [0, -1]
            else:
                assert len(set(chosen)) == 2
                assert set(chosen) <= set(range([0, 1, 2, 9][row]))
                seen.update(chosen[: int(row == 3) * 2].tolist())
    # 400 draws over 9 negatives: 44 each on average; 5 standard deviations are 30.
    assert set(seen) == set(range(9))
    assert all(14 <= seen[index] <= 74 for index in range(9))


def test_longer_groups_get_the_smaller_batches_of_table_9():
    data = columns([0] * 400, length_groups=[0] * 200 + [8] * 200)
    plan = BatchPlan(data, BatchPlanSettings(batch_size=48), 0, 1)
    sizes = {(int(data.length_group[rows[0]]), len(rows)) for rows in batches(plan)}
    # 1,152 : 192 = 48 : 8; 200 = 4 * 48 + 8.
    assert sizes == {(0, 48), (0, 8), (8, 8)}


def test_a_token_budget_replaces_the_shares():
    data = columns([0] * 100, length_groups=[0] * 50 + [1] * 50, lengths=[10] * 50 + [100] * 50)
    plan = BatchPlan(data, BatchPlanSettings(batch_size=25, tokens_per_batch=1000), 0, 1)
    assert {(int(data.length_group[rows[0]]), len(rows)) for rows in batches(plan)} == {(0, 25), (1, 10)}


def test_given_sizes_replace_shares_and_budget_and_the_last_holds_for_the_rest():
    data = columns([0] * 90, length_groups=[0] * 30 + [1] * 30 + [5] * 30)
    plan = BatchPlan(data, BatchPlanSettings(batch_sizes=(15, 10), tokens_per_batch=100), 0, 1)
    assert {(int(data.length_group[rows[0]]), len(rows)) for rows in batches(plan)} == {(0, 15), (1, 10), (5, 10)}


def test_a_batch_size_of_one_is_refused():
    with pytest.raises(ValueError, match="a batch needs 2 pairs or more"):
        BatchPlanSettings(batch_sizes=(64, 1))


def counts_by_group(plan, data, epochs):
    return Counter(int(data.group[row]) for epoch in range(epochs) for rows in batches(plan, epoch) for row in rows)


def test_a_weight_draws_a_data_set_so_many_times_an_epoch_and_all_its_rows_alike():
    data = columns([0] * 40 + [1] * 40, group_names=("big", "small"))
    plan = BatchPlan(data, BatchPlanSettings(batch_size=4, sampling_weights={"small": 2.5}), 0, 1)
    assert counts_by_group(plan, data, 1) == {0: 40, 1: 100}
    often = Counter(row for epoch in range(2) for rows in batches(plan, epoch) for row in rows if row >= 40)
    assert set(often.values()) == {5}  # two epochs go through it five times


def test_a_temperature_draws_groups_by_the_root_of_their_size_and_keeps_the_epoch_s_length():
    data = columns([0] * 900 + [1] * 100, group_names=("big", "small"))
    plan = BatchPlan(data, BatchPlanSettings(batch_size=5, sampling_temperature=2.0), 0, 1)
    # sqrt(900) : sqrt(100) = 3 : 1 of 1,000 pairs.
    assert counts_by_group(plan, data, 1) == {0: 750, 1: 250}


def test_a_weight_for_a_data_set_that_is_not_there_is_refused():
    data = columns([0] * 9, group_names=("there",))
    with pytest.raises(BatchPlanError, match="sampling_weights names elsewhere, but the data have: there"):
        BatchPlan(data, BatchPlanSettings(sampling_weights={"elsewhere": 2}), 0, 1)


def test_one_positive_of_a_query_is_drawn_anew_each_epoch():
    data = columns([0] * 12, queries=[row // 3 for row in range(12)])
    plan = BatchPlan(data, BatchPlanSettings(batch_size=2, positives="one"), 0, 1)
    drawn = [placed(plan, epoch) for epoch in range(30)]
    assert all([row // 3 for row in rows] == [0, 1, 2, 3] for rows in drawn)
    assert {row for rows in drawn for row in rows} == set(range(12))


def test_a_share_of_the_queries_goes_without_instruction_and_a_share_of_the_texts_is_shuffled():
    options = BatchPlanSettings(batch_size=50, instruction_share=0.8, segment_shuffle=0.1)
    plan = BatchPlan(columns([0] * 50), options, 0, steps=100)
    ranks = [plan.rows(step)[0] for step in range(100)]
    # 5,000 draws each: 1,000 and 500 on average; 5 standard deviations are 142 and 107.
    assert abs(sum(rank.plain.sum() for rank in ranks) - 1000) < 142
    assert abs(sum((rank.shuffle > 0).sum() for rank in ranks) - 500) < 107
    nothing_drawn = BatchPlan(columns([0] * 50), BatchPlanSettings(), 0, 1).rows(0)[0]
    assert nothing_drawn.plain is None
    assert nothing_drawn.shuffle is None


def test_data_sets_with_own_negatives_only_have_batches_of_their_own(tmp_path):
    pairs, passages = some_rows(40)
    for row, pair in enumerate(pairs):
        pair["dataset"] = "labels" if row < 20 else "questions"
    data = TrainingData.open(write_folder(tmp_path / "data", pairs, passages))
    options = BatchPlanSettings(batch_size=5, group_by="none", own_negatives_only=("labels",))
    plan = BatchPlan(plan_columns(data, options), options, 0, 1)
    for bucket, rows in plan.epoch_batches():
        assert set(rows < 20) == {not bucket.in_batch}
    # Every fourth pair has no negative: it would have nothing to compare with.
    assert not set(placed(plan)) & {0, 4, 8, 12, 16}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"own_negatives_only": ("elsewhere",)}, "own_negatives_only names elsewhere, but the data have: one"),
        ({"own_negatives_only": ("one",), "negatives": 0}, "own_negatives_only needs negatives"),
        ({"require_negatives": True}, "10 of 40 pairs have no negative"),
    ],
)
def test_negatives_that_are_needed_and_not_there_are_told(tmp_path, changes, message):
    data = TrainingData.open(write_folder(tmp_path / "data", *some_rows(40)))
    options = BatchPlanSettings(**changes)
    with pytest.raises(BatchPlanError, match=message):
        BatchPlan(plan_columns(data, options), options, 0, 1)


def test_a_data_set_without_any_negative_cannot_use_its_own_only(tmp_path):
    pairs, passages = some_rows(8)
    for pair in pairs:
        pair["negatives"] = []
    data = TrainingData.open(write_folder(tmp_path / "data", pairs, passages))
    with pytest.raises(BatchPlanError, match="none of its pairs has a negative"):
        plan_columns(data, BatchPlanSettings(own_negatives_only=("one",)))


def test_more_ranks_than_the_smallest_batch_has_pairs_are_refused():
    with pytest.raises(BatchPlanError, match="Set smallest_batch to at least 3"):
        BatchPlan(columns([0] * 9), BatchPlanSettings(), 0, 1, ranks=3)


def test_a_step_outside_the_plan_is_refused():
    with pytest.raises(BatchPlanError, match="steps 0 to 4"):
        BatchPlan(columns([0] * 9), BatchPlanSettings(), 0, 5).rows(5)


def test_pairs_of_other_data_sets_and_kinds_take_no_part(tmp_path):
    rows, passages = some_rows(24)
    names = [("web", "title_body"), ("wiki", "title_body"), ("wiki", "question_answer")]
    for number, row in enumerate(rows):
        row["dataset"], row["kind"] = names[number % 3]
    data = TrainingData.open(write_folder(tmp_path, rows, passages))

    def planned(**chosen):
        settings = BatchPlanSettings(batch_size=4, negatives=1, **chosen)
        return BatchPlan(plan_columns(data, settings), settings, seed=1, steps=1)

    def rows_of(plan):
        return sorted(row for _, batch in plan.epoch_batches() for row in batch.tolist())

    assert rows_of(planned(datasets=("web",))) == list(range(0, 24, 3))
    assert rows_of(planned(datasets=("wiki",), kinds=("question_answer",))) == list(range(2, 24, 3))
    assert rows_of(planned(kinds=("title_body",), sampling_temperature=2.0)) == [
        row for row in range(24) if row % 3 < 2
    ]
    assert planned(datasets=("web",)).left_out == 0
    with pytest.raises(BatchPlanError, match="datasets names books, but the data have: web, wiki"):
        planned(datasets=("web", "books"))
    with pytest.raises(BatchPlanError, match="2 of 8 pairs have no negative"):
        planned(datasets=("web",), require_negatives=True)
