"""Requests and tokens a minute, kept below the server's limits in any sixty seconds, however unevenly requests come."""

from collections.abc import Callable
from typing import Final

BURST_SECONDS: Final = 1.0  # so much of a minute's allowance may be used at once


class Bucket:
    """An allowance that fills up evenly and may be used in bursts of a second's worth.

    In any 60 seconds at most `a_minute` units are taken, if no single take is larger than the burst: the rate is set
    so that the burst and what fills up in the minute make `a_minute` together. A larger take waits until the bucket is
    full and leaves it in debt, which those after it wait out.
    """

    def __init__(self, a_minute: int, clock: Callable[[], float]) -> None:
        self._burst = max(1.0, a_minute * BURST_SECONDS / 60)
        self._rate = max(a_minute - self._burst, a_minute / 2) / 60  # a second; the floor is for limits of 1 a minute
        self._clock = clock
        self._level = self._burst
        self._filled = clock()

    def wait_for(self, units: float) -> float:
        """Takes the units and returns the seconds to wait before using them."""
        self._fill()
        needed = min(units, self._burst)
        wait = max(0.0, (needed - self._level) / self._rate)
        self._level -= units
        return wait

    def give_back(self, units: float) -> None:
        """Returns units that were taken and not used."""
        self._fill()
        self._level = min(self._burst, self._level + units)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._filled) * self._rate)
        self._filled = now


class RateLimits:
    """Both limits; None means there is none."""

    def __init__(self, requests_a_minute: int | None, tokens_a_minute: int | None, clock: Callable[[], float]) -> None:
        self._requests = Bucket(requests_a_minute, clock) if requests_a_minute else None
        self._tokens = Bucket(tokens_a_minute, clock) if tokens_a_minute else None

    def wait_for(self, tokens: int) -> float:
        """Takes one request of so many tokens, at most, and returns the seconds to wait before sending it."""
        waits = [self._requests.wait_for(1)] if self._requests else []
        waits += [self._tokens.wait_for(tokens)] if self._tokens else []
        return max(waits, default=0.0)

    def give_back(self, tokens: int) -> None:
        """Returns tokens that the answer did not need."""
        if self._tokens and tokens > 0:
            self._tokens.give_back(tokens)
