"""The working folder of a mining run: stages, each of blocks that are there whole or not at all.

    OUTPUT.work/STAGE/_stage.json      the fingerprint of all that the stage's files follow from
    OUTPUT.work/STAGE/...              its files, each written under another name and renamed when whole

A stage whose fingerprint is another one starts anew; one whose fingerprint is the same goes on from the files it has.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.errors import UserError
from pipelines.manifest import fingerprint

VERSION: Final = 2  # of the files' layout and of what the stages compute
_STAGE: Final = "_stage.json"
_OURS: Final = "_pairmill_mine"  # tells a working folder of ours from any other


@dataclass(frozen=True)
class Stage:
    """A folder of finished blocks, and the fingerprint that later stages build on."""

    folder: Path
    fingerprint: str

    def file(self, name: str) -> Path:
        return self.folder / name

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()


class Work:
    """The working folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and hold it against other runs. Raises UserError where it is held, or not ours."""
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / _OURS).exists():
            raise UserError(
                f"{self.folder} is where this command would work, and holds something else. Move it, or choose another"
                " --output."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _OURS).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"Another command works in {self.folder}. Wait for it, or choose another --output."
                ) from None
            storage.remove_temporary_files(str(self.folder))
            yield

    def stage(self, name: str, **parts: Any) -> Stage:
        """The stage of this name, emptied where `parts` are not those it was made of."""
        wanted = fingerprint(stage=name, version=VERSION, **parts)
        folder = self.folder / name
        record = folder / _STAGE
        if not record.exists() or json.loads(record.read_text())["fingerprint"] != wanted:
            record.unlink(missing_ok=True)  # first: what a kill leaves of the folder is no stage
            if folder.exists():
                shutil.rmtree(folder)
            storage.write_json(str(record), {"fingerprint": wanted})
        return Stage(folder, wanted)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def write_arrow(path: Path, schema: pa.Schema, batches: Any) -> None:
    """Record batches as an uncompressed Arrow file, to be memory-mapped."""
    with storage.atomic_write(str(path)) as stream, pa.ipc.new_file(stream, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def read_arrow(path: Path) -> pa.Table:
    """An Arrow file, memory-mapped."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def write_array(path: Path, array: np.ndarray[Any, Any]) -> None:
    with storage.atomic_write(str(path)) as stream:
        np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


def read_array(path: Path) -> np.ndarray[Any, Any]:
    """A .npy file, memory-mapped."""
    array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
