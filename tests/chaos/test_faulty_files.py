"""The library that makes file systems fail: each fault is what a program sees, and only below the named folder."""

import os
import subprocess
import sys

import pytest

from tests.chaos.faulty_files import Fault, Faults, NoCompilerError, compile_library, counting

WRITE = """
import os, sys
path = sys.argv[1] + "/file"
try:
    with open(path + ".new", "wb") as stream:
        stream.write(b"x" * 100_000)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(path + ".new", path)
    print(len(open(path, "rb").read()))
except OSError as error:
    print(error.errno)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    try:
        return compile_library(tmp_path_factory.mktemp("library"))
    except NoCompilerError as error:
        pytest.skip(str(error))


def write_below(folder, library, fault, below):
    faults = Faults(library, folder / "state", below, fault)
    command = [sys.executable, "-I", "-c", WRITE, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | faults.environment)
    return int(result.stdout), faults


@pytest.mark.parametrize(
    ("kind", "call", "errno"),
    [("enospc", 2, 28), ("eio", 2, 5), ("sync", 1, 5), ("rename", 1, 5), ("read", 1, 5)],
)
def test_the_chosen_call_fails_with_the_faults_number(tmp_path, library, kind, call, errno):
    printed, faults = write_below(tmp_path, library, Fault(kind, call), tmp_path)
    assert printed == errno
    assert faults.hit == 1
    assert str(tmp_path / "file") in faults.where[0]


def test_a_write_that_takes_a_part_of_the_bytes_is_gone_on_with(tmp_path, library):
    printed, faults = write_below(tmp_path, library, Fault("partial", 1, calls=0), tmp_path)
    assert printed == 100_000
    assert faults.hit > 10  # each write takes half of what is left


def test_files_elsewhere_are_left_alone(tmp_path, library):
    (tmp_path / "other").mkdir()
    printed, faults = write_below(tmp_path, library, Fault("eio", 1, calls=0), tmp_path / "other")
    assert (printed, faults.calls) == (100_000, 0)


def test_counting_hits_nothing(tmp_path, library):
    printed, faults = write_below(tmp_path, library, counting("sync"), tmp_path)
    assert (printed, faults.calls, faults.hit) == (100_000, 1, 0)
