"""The nearest neighbours of the mine job's queries, kept from run to run in JOB/_neighbours (trainer.kept_neighbours).

    current.json                  the generation that the last finished run left
    GENERATION/GROUP.keys.npy     the keys of the passages that the queries of a group searched, by position: uint64 [n, 2]
    GENERATION/lists/TASK.arrow   of each query of a task its key, bound, and neighbours as positions and scores (LISTS)

No text, no id: vectors are told by hashes. A generation is named after the job's fingerprint and the passages' keys, so that
what a killed run wrote is either right for the run that goes on or not looked at. Costs 16 bytes a passage and group, and 8 a
neighbour: with rank_window's default of 200 about 2.1 kB a query. The folder may be deleted: the next run searches in full.
"""

import hashlib
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.sketches import read_arrow
from trainer.kept_neighbours import KeptLists, KeptSearch, Keys, Match, Positions, keys_of_rows, match
from trainer.ragged import Ragged
from trainer.search_settings import SearchSettings
from trainer.vector_files import VectorFiles

FOLDER: Final = "_neighbours"
LISTS: Final = pa.schema(
    [
        pa.field("key_high", pa.uint64(), nullable=False),
        pa.field("key_low", pa.uint64(), nullable=False),
        pa.field("bound", pa.float32(), nullable=False),  # the list holds every passage that scores above it
        pa.field("positions", pa.list_(pa.int32()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
    ]
)
_CURRENT: Final = "current.json"
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptFiles:
    """The generations of a run: the one that is read, and the one that is written. Small: it is sent to workers."""

    now: str
    before: str | None


def prepare(folder: str, fingerprint: str, vectors: VectorFiles, groups: Mapping[str, Any]) -> KeptFiles:
    """Begin or go on with the generation of a job whose queries search the rows (int64, None: all) of each group."""
    keys = {group: keys_of_rows(vectors, rows) for group, rows in groups.items()}
    told = hashlib.sha256(fingerprint.encode())
    for group in sorted(keys):
        told.update(group.encode() + b"\0")
        told.update(keys[group].data)
    name = told.hexdigest()[:32]
    root = storage.join(folder, FOLDER)
    now = storage.join(root, name)
    for group, of_group in keys.items():  # whatever is there: a disk that lost power may have left it torn
        with storage.atomic_write(_keys_file(now, group)) as stream:
            np.lib.format.write_array(stream, of_group, allow_pickle=False)
    record = storage.read_record(storage.join(root, _CURRENT))
    last = record["generation"] if record is not None else None
    before = storage.join(root, last) if last is not None and Path(root, last).is_dir() else None
    _forget_others(root, {name, last})
    return KeptFiles(now, before)


def finish(files: KeptFiles) -> None:
    """The job is done: what it wrote is what the next one begins with."""
    root, name = files.now.rsplit("/", 1)
    storage.write_json(storage.join(root, _CURRENT), {"generation": name})
    _forget_others(root, {name})


def forget(folder: str) -> None:
    """Remove all that is kept: of a job that searches in full."""
    storage.remove(storage.join(folder, FOLDER))


def _forget_others(root: str, names: set[str | None]) -> None:
    for path in Path(root).iterdir():
        if path.is_dir() and path.name not in names:
            storage.remove(str(path))


def _keys_file(generation: str, group: str) -> str:
    return storage.join(generation, f"{hashlib.sha256(group.encode()).hexdigest()[:16]}.keys.npy")


def open_search(
    files: KeptFiles, group: str, vectors: VectorFiles, rows: Positions | None, settings: SearchSettings
) -> KeptSearch:
    """The search of a group's queries among `rows` of the passages."""
    salt = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "little")
    matched = _matched(files, group)
    if files.before is None or matched is None:
        return KeptSearch(vectors, rows, settings, None, None, salt)
    return KeptSearch(vectors, rows, settings, _opened(files.before), matched, salt)


@cache
def _matched(files: KeptFiles, group: str) -> Match | None:
    """None where an earlier run searched no such group, or what it kept cannot be read."""
    then = None if files.before is None else _read_keys(files.before, group)
    now = _read_keys(files.now, group)
    return None if then is None or now is None else match(then, now)


def _read_keys(generation: str, group: str) -> Keys | None:
    path = _keys_file(generation, group)
    if not Path(path).exists():
        return None
    try:
        keys: Keys = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        _LOG.warning("%s cannot be read (%s): its queries are searched in full", path, error)
        return None
    return keys


@cache
def _opened(generation: str) -> "KeptOnDisk":
    return KeptOnDisk(sorted(str(path) for path in Path(generation, "lists").glob("*.arrow")))


class KeptOnDisk:
    """The lists of some files. In memory are 28 bytes a query; the files are mapped.

    They stay those that were there at first: a job that goes on from its own generation writes them anew meanwhile.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._batches: list[list[pa.RecordBatch]] = []
        keys, places = [np.empty((0, 2), np.uint64)], [np.empty((0, 3), np.int32)]
        for number, path in enumerate(paths):
            self._batches.append(_read_lists(path))
            for batch_number, batch in enumerate(self._batches[-1]):
                keys.append(np.stack([batch["key_high"].to_numpy(), batch["key_low"].to_numpy()], axis=1))
                place = np.empty((batch.num_rows, 3), np.int32)
                place[:, 0], place[:, 1], place[:, 2] = number, batch_number, np.arange(batch.num_rows)
                places.append(place)
        joined = np.concatenate(keys)
        order = np.lexsort((joined[:, 1], joined[:, 0]))
        self._keys, self._places = joined[order], np.concatenate(places)[order]

    def find(self, keys: Keys) -> Positions:
        """The number of a query's list by its key, -1 where there is none: int64 [n]."""
        numbers = np.searchsorted(self._keys[:, 0], keys[:, 0])
        found = numbers < len(self._keys)
        found[found] = (self._keys[numbers[found]] == keys[found]).all(axis=1)
        return np.where(found, numbers, -1)

    def take(self, numbers: Positions) -> KeptLists:
        """The lists of these numbers, in their order."""
        places = self._places[numbers]
        order = np.lexsort((places[:, 2], places[:, 1], places[:, 0]))
        bounds = np.empty(len(numbers), np.float32)
        positions, scores, lengths = [np.empty(0, np.int32)], [np.empty(0, np.float32)], [np.empty(0, np.int64)]
        starts = np.flatnonzero(
            np.r_[True, (places[order[1:], :2] != places[order[:-1], :2]).any(axis=1)][: len(order)]
        )
        for part in np.split(order, starts[1:]) if len(order) else []:
            file, number, _ = places[part[0]]
            batch = self._batches[file][number]
            rows = places[part, 2].astype(np.int64)
            bounds[part] = batch["bound"].to_numpy()[rows]
            of_batch, of_lengths = _flat(batch["positions"]).gather(rows)
            positions.append(of_batch)
            scores.append(_flat(batch["scores"]).gather(rows)[0])
            lengths.append(of_lengths)
        lists = Ragged.with_lengths(np.concatenate(positions), np.concatenate(lengths))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        in_order = Ragged(np.concatenate(scores), lists.offsets).take(back)
        return KeptLists(self._keys[numbers], bounds, lists.take(back), in_order.values)


def _read_lists(path: str) -> list[pa.RecordBatch]:
    try:
        batches: list[pa.RecordBatch] = read_arrow(path).to_batches()
        return batches
    except pa.ArrowInvalid as error:  # a disk that lost power may leave a file torn
        _LOG.warning("%s cannot be read (%s): its queries are searched in full", path, error)
        return []


def _flat(lists: pa.Array) -> Ragged:
    """A list array of a whole batch as views of its buffers."""
    return Ragged(lists.values.to_numpy(), lists.offsets.to_numpy().astype(np.int64))


class ListWriter:
    """Writes the lists of one task; the file appears when the `with` block ends without an error."""

    def __init__(self, files: KeptFiles, task: str) -> None:
        self._url = storage.join(files.now, "lists", f"{task}.arrow")

    def __enter__(self) -> "ListWriter":
        self._file = storage.atomic_write(self._url)
        self._stream = self._file.__enter__()
        self._writer = pa.ipc.new_file(self._stream, LISTS)
        return self

    def write(self, searches: Iterable[KeptSearch]) -> int:
        """Take over the lists that searches collected; returns how many queries they searched in full."""
        searched = 0
        for search in searches:
            for lists in search.lists:
                self._write(lists)
            searched += search.searched
            search.lists, search.searched = [], 0
        return searched

    def _write(self, lists: KeptLists) -> None:
        columns = [
            pa.array(lists.keys[:, 0]),
            pa.array(lists.keys[:, 1]),
            pa.array(lists.bounds),
            lists.positions.arrow(pa.int32()),
            Ragged(lists.scores, lists.positions.offsets).arrow(pa.float32()),
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=LISTS))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            try:
                self._writer.close()
            except BaseException:
                self._file.__exit__(*sys.exc_info())
                raise
        self._file.__exit__(kind, error, trace)
