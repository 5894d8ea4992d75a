"""Ctrl-C and SIGTERM end a command within ten seconds; a second signal ends it at once.

The first signal raises Interrupted in the main thread, so that locks are let go of, and the launcher ends the job's process
and its workers. Where something does not give way, the command ends itself all the same: its children notice that it is gone
(their standard input closes, or the parent they watch ends) and end themselves.
"""

import _thread
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

STOP_SECONDS: Final = float(os.environ.get("PAIRMILL_STOP_SECONDS", "8"))
CHILD_STOP_SECONDS: Final = max(0.5, STOP_SECONDS - 2.0)  # how long a job's process has before it is killed
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to end. `exit_code` is 128 and the signal's number: 130 or 143."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """While the block runs, SIGINT and SIGTERM raise Interrupted in the main thread. Elsewhere nothing changes.

    Once a signal came, the process ends after STOP_SECONDS (PAIRMILL_STOP_SECONDS in the environment), block or not.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, _end_at_once)
        _end_later(128 + number)
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        if all(signal.getsignal(number) is interrupt for number in _SIGNALS):
            for number, handler in before.items():
                signal.signal(number, handler)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _end_later(code: int) -> None:
    """Without the locks of `threading`, which the code that the signal interrupted may hold."""

    def end() -> None:
        time.sleep(STOP_SECONDS)
        os._exit(code)

    _thread.start_new_thread(end, ())
