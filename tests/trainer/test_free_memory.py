"""Memory that was freed and is given back."""

import os
import subprocess
import sys
import textwrap

import pytest

from trainer import free_memory
from trainer.free_memory import FreeMemory, _give_back, resident_bytes

MIB = 1024 * 1024
needs_glibc = pytest.mark.skipif(_give_back() is None, reason="this system has no malloc_trim")


@needs_glibc
def test_gaps_between_blocks_that_live_on_are_given_back():
    # In a process of its own: what it holds depends on all that was allocated before.
    program = """
        import ctypes
        from trainer.free_memory import FreeMemory, resident_bytes
        MIB, size = 1024 * 1024, 64 * 1024
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        libc.free.argtypes = [ctypes.c_void_p]
        memory = FreeMemory(32 * MIB)
        memory.between()
        before = resident_bytes()
        blocks = [libc.malloc(size) for _ in range(3000)]
        for block in blocks:
            ctypes.memset(block, 1, size)
        for number, block in enumerate(blocks):
            if number % 2:
                libc.free(block)  # every second one: none is at the end of the heap
        grown = resident_bytes() - before
        memory.between()
        print(grown // MIB, (resident_bytes() - before) // MIB)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"MALLOC_ARENA_MAX": "1"},
    )
    grown, left = map(int, done.stdout.split())
    assert grown > 170
    assert left < 110


@pytest.mark.parametrize(
    ("held", "given_back"), [([100, 140, 149], 0), ([100, 151], 1), ([100, 60, 111], 1), ([100, 151, 140, 191], 2)]
)
def test_nothing_is_done_before_the_process_has_grown(monkeypatch, held, given_back):
    calls, sizes = [], iter([*held])
    monkeypatch.setattr(free_memory, "_give_back", lambda: calls.append)
    monkeypatch.setattr(free_memory, "resident_bytes", lambda: next(sizes))
    memory = FreeMemory(50)
    for _ in held:
        memory.between()
    assert len(calls) == given_back


def test_a_system_without_the_call_is_left_alone(monkeypatch):
    monkeypatch.setattr(free_memory, "_give_back", lambda: None)
    monkeypatch.setattr(free_memory, "resident_bytes", lambda: pytest.fail("asked for /proc"))
    FreeMemory().between()


@needs_glibc
def test_what_this_process_holds_is_some_of_the_machine_s_memory():
    assert 10 * MIB < resident_bytes() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
