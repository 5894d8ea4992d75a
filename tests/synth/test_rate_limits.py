import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.rate_limits import RateLimits


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def times_of(limits, clock, units, pauses):
    """When each request is sent, one after the other."""
    sent = []
    for tokens, pause in zip(units, pauses, strict=True):
        clock.now += pause
        clock.now += limits.wait_for(tokens)
        sent.append(clock.now)
    return np.array(sent)


@settings(max_examples=50)
@given(
    st.integers(1, 300),
    st.lists(st.floats(0, 30), min_size=1, max_size=300),
)
def test_no_minute_holds_more_requests_than_allowed(a_minute, pauses):
    clock = Clock()
    sent = times_of(RateLimits(a_minute, None, clock), clock, [1] * len(pauses), pauses)
    in_the_minute_from = np.searchsorted(sent, sent + 60 - 1e-6) - np.arange(len(sent))
    assert in_the_minute_from.max() <= a_minute


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 100), st.floats(0, 5)), min_size=1, max_size=200))
def test_no_minute_holds_more_tokens_than_allowed(requests):
    clock = Clock()
    units, pauses = zip(*requests, strict=True)
    sent = times_of(RateLimits(None, 6000, clock), clock, units, pauses)  # a burst is 100 tokens: none is larger
    total = np.concatenate([[0], np.cumsum(units)])
    ends = np.searchsorted(sent, sent + 60 - 1e-6)
    assert (total[ends] - total[:-1]).max() <= 6000


def test_the_allowance_is_used_up_to_a_burst():
    clock = Clock()
    sent = times_of(RateLimits(600, None, clock), clock, [1] * 3000, [0.0] * 3000)
    # A burst of 10, then 590 a minute.
    assert sent[-1] == pytest.approx((3000 - 10) / 590 * 60)


def test_a_request_larger_than_a_burst_is_sent_and_waited_out():
    clock = Clock()
    limits = RateLimits(None, 6000, clock)
    assert limits.wait_for(1000) == 0
    # The bucket of 100 is 900 in debt and fills at 5900 / 60 a second.
    assert limits.wait_for(100) == pytest.approx(1000 / (5900 / 60))


def test_tokens_that_were_not_needed_come_back():
    clock = Clock()
    limits = RateLimits(None, 6000, clock)
    limits.wait_for(100)
    limits.give_back(60)
    assert limits.wait_for(60) == 0


def test_without_limits_nothing_waits():
    limits = RateLimits(None, None, Clock())
    assert [limits.wait_for(10**9) for _ in range(3)] == [0, 0, 0]
