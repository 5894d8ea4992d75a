"""Ranks as threads of one process: what they tell each other goes through a list."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch


class ThreadRank:
    """As much of trainer.distributed.Ranks as an exchange of rows needs."""

    def __init__(self, rank, count, said, barrier):
        self.rank, self.count, self._said, self._barrier = rank, count, said, barrier

    def _all(self, own):
        self._said[self.rank] = own
        self._barrier.wait()
        everyones = list(self._said)
        self._barrier.wait()
        return everyones

    def gather_rows(self, own, counts):
        everyones = self._all(own)
        assert [len(each) for each in everyones] == list(counts)
        return torch.cat(everyones)

    def sum_to_owners(self, everyones, counts):
        first = sum(counts[: self.rank])
        return sum(self._all(everyones))[first : first + counts[self.rank]]


def on_ranks(count, function):
    """[function(rank) for each of `count` ranks], all at once."""
    said, barrier = [None] * count, Barrier(count, timeout=60)

    def run(rank):
        try:
            return function(ThreadRank(rank, count, said, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
