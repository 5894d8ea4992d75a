"""Work that torch does on a CPU, item by item, in threads that compute one item each.

Between two loops over an array torch's own threads wait for each other, and spin while they wait: a core that has a whole
item to itself does neither. What torch computes in one thread is also the same bits on any number of cores.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], sizes: Sequence[int], most: int
) -> Generator[Result, None, None]:
    """`work` of each item, in their order, in as many threads as torch has here; without any where torch has one.

    Items are begun while their `sizes` and those of the results not yet taken are at most `most` together; one alone may
    be larger. The first error that `work` raises comes out where its result would have, once what is under way has ended.
    """
    import torch

    if torch.get_num_threads() == 1 or not items:
        yield from map(work, items)
        return
    with _threads_that_compute_alone(min(torch.get_num_threads(), len(items))) as threads:
        begun: deque[tuple[Future[Result], int]] = deque()
        for item, size in zip(items, sizes, strict=True):
            while begun and size + sum(other for _, other in begun) > most:
                yield begun.popleft()[0].result()
            begun.append((threads.submit(work, item), size))
        while begun:
            yield begun.popleft()[0].result()


@contextmanager
def _threads_that_compute_alone(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads in which torch uses one thread; everywhere else it uses as many as before."""
    import torch

    before = torch.get_num_threads()
    ready = Barrier(count + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first call takes torch's number for all threads: before ours, not after it
        torch.set_num_threads(1)
        ready.wait()

    threads = ThreadPoolExecutor(count, "encode")
    try:
        for _ in range(count):
            threads.submit(begin)  # none of them is free before all are ready: a thread each
        ready.wait()
        torch.set_num_threads(before)  # for this thread, and for those that begin later
        yield threads
    finally:
        ready.abort()
        threads.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # where this was interrupted before
