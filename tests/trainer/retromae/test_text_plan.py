"""Which texts are in which step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.retromae.text_plan import TextPlan
from trainer.run_identity import TrainingError


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 3), st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_an_epoch_has_each_text_at_most_once_and_ranks_share_a_step(count, batch, seed, ranks):
    lengths = np.random.default_rng(count).integers(1, 100, count)
    if batch > count:
        with pytest.raises(TrainingError, match="fewer than one batch"):
            TextPlan(lengths, batch, seed)
        return
    plan = TextPlan(lengths, batch, seed)
    steps = plan.batches_per_epoch
    assert (steps, plan.left_out) == divmod(count, batch)
    rows = np.concatenate([plan.rows(step) for step in range(steps)])
    assert len(set(rows.tolist())) == len(rows) == steps * batch
    for step in (0, steps, 3 * steps - 1):
        whole = plan.rows(step)
        shares = [plan.share(step, rank, ranks) for rank in range(ranks)]
        assert sorted(row for share in shares for row in share.rows) == sorted(whole)
        for share in shares:
            assert (whole[share.places] == share.rows).all()
        assert (np.diff(lengths[whole]) <= 0).all()


def test_epochs_are_shuffled_otherwise_and_seeds_too():
    plan, other = TextPlan(np.arange(64), 8, 0), TextPlan(np.arange(64), 8, 1)
    orders = [tuple(tuple(each.rows(step)) for step in range(8)) for each in (plan, other)]
    orders.append(tuple(tuple(plan.rows(step)) for step in range(8, 16)))
    assert len(set(orders)) == 3
    assert [plan.epoch(step) for step in (0, 7, 8, 16)] == [0, 0, 1, 2]


def test_ranks_get_about_as_many_tokens():
    lengths = np.random.default_rng(0).integers(10, 500, 256)
    plan = TextPlan(lengths, 256, 0)
    tokens = [lengths[plan.share(0, rank, 4).rows].sum() for rank in range(4)]
    assert max(tokens) - min(tokens) <= lengths.max()
