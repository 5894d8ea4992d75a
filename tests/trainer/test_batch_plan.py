"""The batch plan: its invariants for any data, and that it is one function of seed and step."""

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.batch_plan import BatchPlan, BatchPlanError, BatchPlanSettings, PlanColumns


def columns(groups, length_groups=None, queries=None, positives=None, negatives=0, lengths=None):
    rows = len(groups)
    return PlanColumns(
        group=np.array(groups),
        length_group=np.zeros(rows, np.int32) if length_groups is None else np.array(length_groups),
        length=np.full(rows, 10) if lengths is None else np.array(lengths),
        query_cluster=np.arange(rows) if queries is None else np.array(queries, np.int64),
        positive_cluster=np.arange(rows) + rows if positives is None else np.array(positives, np.int64),
        negatives=np.full(rows, negatives) if np.isscalar(negatives) else np.array(negatives),
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


def batches(plan, epoch):
    planned = plan.epoch(epoch)
    return [planned.rows[low:high] for low, high in zip(planned.offsets[:-1], planned.offsets[1:], strict=True)]


@settings(max_examples=150, deadline=None)
@given(any_columns(), st.integers(2, 9), st.integers(0, 2**31), st.integers(0, 3))
def test_every_batch_is_of_one_group_without_conflicts_and_every_row_is_placed_once_or_counted(
    data, batch_size, seed, epoch
):
    try:
        plan = BatchPlan(data, BatchPlanSettings(batch_size=batch_size, length_shares=(1.0,)), seed, steps=10)
    except BatchPlanError:
        return
    placed = batches(plan, epoch)
    for rows in placed:
        assert 2 <= len(rows) <= batch_size
        assert len(set(zip(data.group[rows], data.length_group[rows], strict=True))) == 1
        assert len(set(data.query_cluster[rows])) == len(set(data.positive_cluster[rows])) == len(rows)
    rows = np.concatenate([np.empty(0, np.int64), *placed])
    assert len(set(rows)) == len(rows)
    assert len(rows) + plan.epoch(epoch).left_out == len(data.group)


@settings(max_examples=60, deadline=None)
@given(any_columns(), st.integers(0, 2**31), st.integers(0, 39))
def test_a_plan_made_anew_at_any_step_gives_the_same_rest(data, seed, start):
    options = BatchPlanSettings(batch_size=4, negatives=2)
    try:
        whole = BatchPlan(data, options, seed, steps=40)
    except BatchPlanError:
        return
    before = [whole.rows(step)[0] for step in range(40)]
    again = BatchPlan(data, options, seed, steps=40)
    for step in range(start, 40):
        (rank,) = again.rows(step)
        assert np.array_equal(rank.rows, before[step].rows)
        assert np.array_equal(rank.negatives, before[step].negatives)


@settings(max_examples=60, deadline=None)
@given(any_columns(), st.integers(0, 2**31), st.integers(1, 4))
def test_ranks_share_each_step_s_rows_in_near_equal_parts(data, seed, ranks):
    options = BatchPlanSettings(batch_size=6, negatives=1, smallest_batch=4)
    try:
        alone = BatchPlan(data, options, seed, steps=5)
    except BatchPlanError:
        return
    shared = BatchPlan(data, options, seed, steps=5, ranks=ranks)
    for step in range(5):
        parts = shared.rows(step)
        (whole,) = alone.rows(step)
        assert np.array_equal(np.concatenate([part.rows for part in parts]), whole.rows)
        assert np.array_equal(np.concatenate([part.negatives for part in parts]), whole.negatives)
        sizes = [len(part.rows) for part in parts]
        assert max(sizes) - min(sizes) <= 1 <= min(sizes)


def test_rows_that_conflict_go_to_later_batches_and_none_is_lost():
    # 4 pairs of each of 8 queries: at most 8 rows fit a batch, so 32 rows fill the 4 batches of 8 or spill into more.
    plan = BatchPlan(columns([0] * 32, queries=[row // 4 for row in range(32)]), BatchPlanSettings(batch_size=4), 1, 1)
    assert sorted(np.concatenate(batches(plan, 0))) == list(range(32))
    assert plan.epoch(0).left_out == 0
    assert plan.epoch(0).moved > 0


def test_pairs_of_one_query_alone_cannot_be_batched():
    with pytest.raises(BatchPlanError, match="3 pairs give no batch of at least 2 pairs"):
        BatchPlan(columns([0] * 3, queries=[7, 7, 7]), BatchPlanSettings(batch_size=4), 0, 1)


def test_a_single_row_cannot_be_batched():
    with pytest.raises(BatchPlanError, match="1 pairs give no batch"):
        BatchPlan(columns([0]), BatchPlanSettings(), 0, 1)


def test_a_last_single_row_is_left_out_and_another_epoch_leaves_out_another():
    plan = BatchPlan(columns([0] * 33), BatchPlanSettings(batch_size=8), 0, 1)
    assert [plan.epoch(epoch).left_out for epoch in range(3)] == [1, 1, 1]
    missing = {next(iter(set(range(33)) - set(plan.epoch(epoch).rows))) for epoch in range(6)}
    assert len(missing) > 1


def test_data_smaller_than_a_batch_is_one_batch_every_step():
    plan = BatchPlan(columns([0] * 5), BatchPlanSettings(batch_size=32), 0, steps=3)
    assert [sorted(plan.rows(step)[0].rows) for step in range(3)] == [[0, 1, 2, 3, 4]] * 3


def test_epochs_and_seeds_shuffle_differently():
    def order(seed, epoch):
        return tuple(BatchPlan(columns([0] * 64), BatchPlanSettings(batch_size=8), seed, 1).epoch(epoch).rows)

    assert len({order(0, 0), order(0, 1), order(1, 0), order(1, 1)}) == 4


# Written down from the first version: the raw bits of Philox do not change, which numpy guarantees.
EXPECTED_ROWS = [[4, 3], [1, 2], [5, 3]]
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
    sizes = {(int(data.length_group[rows[0]]), len(rows)) for rows in batches(plan, 0)}
    # 1,152 : 192 = 48 : 8; 200 = 4 * 48 + 8.
    assert sizes == {(0, 48), (0, 8), (8, 8)}


def test_a_token_budget_replaces_the_shares():
    data = columns([0] * 100, length_groups=[0] * 50 + [1] * 50, lengths=[10] * 50 + [100] * 50)
    plan = BatchPlan(data, BatchPlanSettings(batch_size=25, tokens_per_batch=1000), 0, 1)
    assert {(int(data.length_group[rows[0]]), len(rows)) for rows in batches(plan, 0)} == {(0, 25), (1, 10)}


def test_more_ranks_than_the_smallest_batch_has_pairs_are_refused():
    with pytest.raises(BatchPlanError, match="Set smallest_batch to at least 3"):
        BatchPlan(columns([0] * 9), BatchPlanSettings(), 0, 1, ranks=3)


def test_a_step_outside_the_plan_is_refused():
    with pytest.raises(BatchPlanError, match="steps 0 to 4"):
        BatchPlan(columns([0] * 9), BatchPlanSettings(), 0, 5).rows(5)


def test_two_labels_as_only_positives_are_planned_in_linear_time():
    # Every batch can hold two rows, so 40,000 rows need 20,000 batches: a search from the start each time would be 10^8.
    started = time.perf_counter()
    plan = BatchPlan(columns([0] * 40_000, positives=[row % 2 for row in range(40_000)]), BatchPlanSettings(), 0, 1)
    assert time.perf_counter() - started < 10
    assert plan.epoch(0).left_out == 0
