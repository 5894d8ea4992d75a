"""The batches of the next steps, made by a thread while the model works on this one's.

    with Prefetch(make, first_step, last_step) as batches:
        for step, batch in batches: ...

Collating is numpy, which lets go of the interpreter lock in its loops. The order and the batches are those of calling
`make` in turn: a thread changes when they are made, not what they are.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

_POLL_SECONDS = 0.2  # how soon a thread that waits for room notices that nobody takes its batches any more


@dataclass(frozen=True)
class _Failure:
    error: BaseException


class Prefetch(Generic[Item]):
    """(step, make(step)) for the steps from `first` to before `last`, at most `depth` of them ahead."""

    def __init__(self, make: Callable[[int], Item], first: int, last: int, depth: int = 2) -> None:
        self._make, self._first, self._last = make, first, last
        self._ready: queue.Queue[Item | _Failure] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)

    def __enter__(self) -> "Prefetch[Item]":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        """Raises what `make` raised, at the step it raised it for."""
        for step in range(self._first, self._last):
            item = self._ready.get()
            if isinstance(item, _Failure):
                raise item.error
            yield step, item

    def _run(self) -> None:
        for step in range(self._first, self._last):
            try:
                item: Item | _Failure = self._make(step)
            except BaseException as error:  # raised again in the thread that iterates
                item = _Failure(error)
            if not self._put(item) or isinstance(item, _Failure):
                return

    def _put(self, item: Item | _Failure) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False
