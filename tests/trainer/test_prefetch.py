"""Batches made ahead by a thread: the same as made in turn, bounded, and their errors are not lost."""

import threading
import time

import pytest

from trainer.prefetch import Prefetch


def test_items_come_in_order_and_are_those_that_make_gives():
    with Prefetch(lambda step: step * step, 3, 9) as items:
        assert list(items) == [(step, step * step) for step in range(3, 9)]


def test_no_more_than_depth_items_wait_beside_the_one_being_made():
    made = []
    with Prefetch(made.append, 0, 100, depth=2) as items:
        taken = iter(items)
        next(taken)
        deadline = time.monotonic() + 5
        while len(made) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert made == [0, 1, 2, 3]


def test_an_error_is_raised_at_its_step_and_not_before():
    def make(step: int) -> int:
        if step == 2:
            raise ValueError("row 7 is broken")
        return step

    seen = []
    with pytest.raises(ValueError, match="row 7 is broken"), Prefetch(make, 0, 9) as items:
        seen += [step for step, _ in items]
    assert seen == []
    with Prefetch(make, 0, 9) as items:
        taken = iter(items)
        assert [next(taken), next(taken)] == [(0, 0), (1, 1)]
        with pytest.raises(ValueError, match="row 7"):
            next(taken)


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    with Prefetch(lambda step: step, 0, 10**9) as items:
        for step, _ in items:
            if step == 5:
                break
    assert threading.active_count() == before
