"""What an earlier run mined, for `mine.refresh: affected`: pairs whose negatives still hold keep them.

    JOB/_mined/record.json, passages.npy, *.parquet    what the last finished run mined, and its passages' ids by row
    JOB/_mined.json                                    while JOB/mined itself is that: a run that begins links it away first

A pair keeps what it had if its positive, its negatives and what a judge relabelled are passages of its kind still, and none
of the negatives is now excluded or a positive. Its row is read from the shard of the same name; row numbers are mapped.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.passage_members import Members, group_of
from pipelines.shards import ShardFile, read_batches
from pipelines.supplied_negatives import PassageNumbers
from sources.schema import text_ids
from trainer.ragged import Ragged

FOLDER: Final = "_mined"
_MARK: Final = "_mined.json"
_IDS: Final = "passages.npy"
_ROWS: Final = ("negative_rows", "relabelled_rows")


def prepare(folder: str, settings: str) -> str | None:
    """The folder of what an earlier run mined under these settings (a fingerprint); None where there is none.

    What the last run left is linked away before this one overwrites it, so a killed run goes on from the same.
    """
    earlier, new, mark = (Path(folder, name) for name in (FOLDER, f"{FOLDER}.new", _MARK))
    record, ids_now = storage.read_record(str(mark)), Path(folder, _IDS_NOW)
    if record is not None and ids_now.exists():
        storage.remove(str(new))
        new.mkdir()
        for path in record["files"]:
            if not Path(folder, path).exists():  # a document of it was forgotten since: its pairs are mined anew
                continue
            os.link(Path(folder, path), new / Path(path).name)
        os.link(ids_now, new / _IDS)
        storage.write_json(str(new / "record.json"), record)
        storage.remove(str(earlier))
        new.rename(earlier)
    mark.unlink(missing_ok=True)
    kept = storage.read_record(str(earlier / "record.json"))
    if kept is None or kept["settings"] != settings:
        return None
    return str(earlier)


_IDS_NOW: Final = "_mined_passages.npy"


def finish(folder: str, settings: str, members: Members, files: Sequence[ShardFile]) -> None:
    """All is mined: the next run may begin with it."""
    ids = np.empty((len(members.ids), 2), np.uint64)
    ids[members.rows] = members.ids.view(np.uint64).reshape(-1, 2)
    with storage.atomic_write(storage.join(folder, _IDS_NOW)) as stream:
        np.lib.format.write_array(stream, ids, allow_pickle=False)
    storage.write_json(storage.join(folder, _MARK), {"settings": settings, "files": [file.path for file in files]})


def forget(folder: str) -> None:
    """Remove what is kept: of a job that mines every pair."""
    for name in (_MARK, FOLDER, f"{FOLDER}.new", _IDS_NOW):
        storage.remove(storage.join(folder, name))


@dataclass(frozen=True)
class MinedBefore:
    """The MINED rows of one shard, their passages by their row numbers of now (-1: gone)."""

    rows: pa.RecordBatch
    numbers: PassageNumbers  # by pair_id

    @classmethod
    def of_shard(cls, earlier: str, name: str, members: Members) -> "MinedBefore | None":
        """None where the earlier run had no such shard."""
        path = Path(earlier, f"{name}.parquet")
        batches = list(read_batches(str(path))) if path.exists() else []
        if not batches:
            return None
        rows = pa.concat_batches(batches)
        now = _rows_now(earlier, members)
        positive = pa.array(now[np.asarray(rows["positive_row"])])
        rows = _replaced(rows, "positive_row", positive)
        for column in _ROWS:
            lists = Ragged.of_arrow(rows[column])
            rows = _replaced(rows, column, Ragged(now[lists.values], lists.offsets).arrow(pa.int64()))
        return cls(rows, PassageNumbers([rows["pair_id"]]))

    def find(self, pairs: pa.RecordBatch, members: Members, within: str) -> np.ndarray[Any, Any]:
        """The row of `rows` that each pair of PAIR rows keeps: int64 [n], -1 for those that are mined."""
        places = self.numbers.find(pairs["pair_id"])
        there = np.flatnonzero(places >= 0)
        asked, kept = pairs.take(pa.array(there)), self.rows.take(pa.array(places[there]))
        positive = np.asarray(kept["positive_row"])
        holds = positive == members.rows_of(text_ids(asked["positive"]))
        negatives, relabelled = (Ragged.of_arrow(kept[name]) for name in _ROWS)
        wrong = [
            relabelled.owners[relabelled.values < 0],
            negatives.owners[~_searched(asked, negatives, members, within)],
        ]
        for rows in (members.positives(asked), members.forbidden(asked)):
            stride = len(members.ids) + 1
            barred = np.isin(negatives.owners * stride + negatives.values, rows.owners * stride + rows.values)
            wrong.append(negatives.owners[barred])
        holds[np.concatenate(wrong)] = False
        holds[(negatives.lengths == 0) & kept["positive_score"].is_valid().to_numpy(zero_copy_only=False)] = False
        places[there[~holds]] = -1
        return places


def _searched(pairs: pa.RecordBatch, negatives: Ragged, members: Members, within: str) -> np.ndarray[Any, Any]:
    """bool: whether each negative is a passage that its query searches."""
    kinds = np.array(pairs["kind"].to_pylist(), dtype=object)[negatives.owners]
    searched = np.zeros(len(negatives.values), bool)
    for kind in sorted(set(kinds)):
        of_kind = kinds == kind
        rows = members.of_kind.get(group_of(kind, within), np.empty(0, np.int64))
        searched[of_kind] = np.isin(negatives.values[of_kind], rows)
    return searched


_now_by_folder: dict[str, np.ndarray[Any, Any]] = {}


def _rows_now(earlier: str, members: Members) -> np.ndarray[Any, Any]:
    """int64: what row each passage of the earlier run has now, -1 where it is gone. One copy a process."""
    if earlier not in _now_by_folder:
        ids = np.load(Path(earlier, _IDS), allow_pickle=False).view(members.ids.dtype).reshape(-1)
        places = np.searchsorted(members.ids, ids).clip(max=max(0, len(members.ids) - 1))
        same = members.ids[places] == ids if len(members.ids) else np.zeros(len(ids), bool)
        _now_by_folder[earlier] = (
            np.where(same, members.rows[places], -1) if len(members.ids) else np.full(len(ids), -1)
        )
    return _now_by_folder[earlier]


def _replaced(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    place = batch.schema.get_field_index(name)
    return batch.set_column(place, batch.schema.field(place), column)
