"""Faults of a file system (faulty_files.c), as an environment for a command.

faults = Faults(compile_library(folder), folder, run, Fault("enospc", first=40, calls=0))
subprocess.run(command, env={**os.environ, **faults.environment})
faults.hit                                      # how many calls were
"""

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Kind = Literal["enospc", "eio", "read", "partial", "slow", "sync", "rename"]
SOURCE: Final = Path(__file__).with_name("faulty_files.c")
_STATE: Final = struct.Struct("=QQ")
_FOREVER: Final = 1 << 62


class NoCompilerError(RuntimeError):
    """There is no C compiler on this machine."""


def compiler() -> str:
    """The C compiler. Raises NoCompilerError."""
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        raise NoCompilerError(
            "File system faults need a C compiler: cc, gcc or clang. Install one (apt-get install gcc); nothing of this was run."
        )
    return found


def compile_library(folder: Path) -> Path:
    """The library to preload. Raises NoCompilerError; CalledProcessError where it does not compile."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "faulty_files.so"
    options = ["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run([compiler(), *options], check=True)
    return library


@dataclass(frozen=True)
class Fault:
    """Calls of one kind that go wrong: from the `first` on (counted from 1 over all processes), `calls` of them, 0 for all."""

    kind: Kind
    first: int
    calls: int = 1

    @property
    def name(self) -> str:
        return f"{self.kind}, {'from call' if self.calls == 0 else 'call'} {self.first}"


class Faults:
    """One disturbed command: its environment, and afterwards what was hit."""

    def __init__(self, library: Path, folder: Path, below: Path, fault: Fault) -> None:
        """`folder` is for the state, `below` is where files are that go wrong."""
        folder.mkdir(parents=True, exist_ok=True)
        self._state, self._log = folder / "calls", folder / "hit.log"
        self._state.write_bytes(_STATE.pack(0, 0))
        self._log.unlink(missing_ok=True)
        self.environment = {
            "LD_PRELOAD": str(library),
            "CHAOS_BELOW": str(below.resolve()),
            "CHAOS_KIND": fault.kind,
            "CHAOS_FIRST": str(fault.first),
            "CHAOS_CALLS": str(fault.calls),
            "CHAOS_STATE": str(self._state),
            "CHAOS_LOG": str(self._log),
        }

    @property
    def calls(self) -> int:
        """Calls of the fault's kind so far, hit or not."""
        return int(_STATE.unpack(self._state.read_bytes())[0])

    @property
    def hit(self) -> int:
        return int(_STATE.unpack(self._state.read_bytes())[1])

    @property
    def where(self) -> list[str]:
        """Call and path of the first ones hit."""
        return self._log.read_text("utf-8", "replace").splitlines() if self._log.exists() else []


def counting(kind: Kind) -> Fault:
    """A fault that hits nothing and counts what it could have hit."""
    return Fault(kind, first=_FOREVER)
