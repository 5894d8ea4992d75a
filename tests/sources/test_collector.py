"""The garbage collector is off while a step is made, and only then."""

import gc
from collections.abc import Iterator

import pytest

from sources.collector import without_collector


def steps(fail: bool = False) -> Iterator[bool]:
    yield gc.isenabled()
    if fail:
        raise ValueError("a bad file")
    yield gc.isenabled()


def test_the_collector_is_off_while_a_step_is_made_and_on_while_the_caller_has_it() -> None:
    seen = [(inside, gc.isenabled()) for inside in without_collector(steps())]
    assert seen == [(False, True), (False, True)]
    assert gc.isenabled()


def test_the_collector_is_on_after_an_error() -> None:
    running = without_collector(steps(fail=True))
    next(running)
    with pytest.raises(ValueError, match="a bad file"):
        next(running)
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        assert list(without_collector(steps())) == [False, False]
        assert not gc.isenabled()
    finally:
        gc.enable()
