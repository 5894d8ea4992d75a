"""Python's cyclic garbage collector, off while a step of reading is made.

The records of a step are hundreds of thousands of lists and dicts that all live until the step is done, and none of them
refers to itself. The collector walks over them again and again and finds nothing: a third of the time of reading JSON.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

Step = TypeVar("Step")


def without_collector(steps: Iterator[Step]) -> Iterator[Step]:
    """The same steps; the collector is off while one is made, and as it was before while the caller has it."""
    while True:
        with _collector_off():
            try:
                step = next(steps)
            except StopIteration:
                return
        yield step


@contextmanager
def _collector_off() -> Iterator[None]:
    """Where two threads are in here at once, it may be on again too early, and is never off for good."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
