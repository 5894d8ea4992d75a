"""Forgotten documents leave the parts that extract committed before: shards are rewritten only where they hold them.

No source is read again. The part ends as it would if its file were extracted with the tombstones in place: the same shards,
byte for byte, and the same counts, since rows are counted from the files that are left, not from those taken away. While a
part is rewritten its record says so (`unfinished`); after a kill all its shards are looked at once more.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from pipelines import storage
from pipelines.forget.tombstones import Forgotten
from pipelines.job import DOCUMENTS, PAIRS
from pipelines.shards import (
    FORGOTTEN,
    PARTS,
    QUARANTINE,
    REJECTS,
    Part,
    ShardFile,
    ShardWriter,
    Tally,
    commit_part,
    read_batches,
    read_part,
)
from sources import schema

STATE: Final = "forgotten"  # of a part's details
_THREADS: Final = 4  # Arrow reads and decompresses without the interpreter's lock
_SCHEMAS: Final = {
    PAIRS: schema.PAIR,
    DOCUMENTS: schema.DOCUMENT,
    REJECTS: schema.REJECT,
    QUARANTINE: schema.QUARANTINE,
}
_NAMES: Final = ("source", "document_id", "url")
_UNTOUCHED: Final = {"tombstones": 0, "digest": Forgotten().digest()}


@dataclass(frozen=True)
class Filtered:
    """What was done to committed parts."""

    parts: int = 0  # rewritten
    rows: int = 0  # pairs and rejects taken away
    outdated: tuple[str, ...] = ()  # a tombstone is gone: these parts must be extracted again


def filter_parts(
    folder: str, tasks: Sequence[str], forgotten: Forgotten, tell: Callable[[str], None] = lambda task: None
) -> Filtered:
    """Take forgotten documents out of those parts of extract (`folder`) that are committed; `tell` hears of each part.

    Raises OSError, and JobFailed where a part's counts do not add up.
    """
    with ThreadPoolExecutor(_THREADS) as threads:
        done = list(threads.map(lambda task: _told(folder, task, forgotten, tell), tasks))
    outdated = tuple(task for task, rows in zip(tasks, done, strict=True) if rows is None)
    rewritten = [rows for rows in done if rows is not None and rows >= 0]
    return Filtered(len(rewritten), sum(rewritten), outdated)


def _told(folder: str, task: str, forgotten: Forgotten, tell: Callable[[str], None]) -> int | None:
    rows = _filter_part(folder, task, forgotten)
    tell(task)
    return rows


def _filter_part(folder: str, task: str, forgotten: Forgotten) -> int | None:
    """How many pairs and rejects went; -1 where the part stayed as it is, None where it must be extracted again."""
    part = read_part(folder, task)
    if part is None:
        return -1
    state = part.details.get(STATE, _UNTOUCHED)
    unfinished = bool(state.get("unfinished"))
    if not unfinished and state == (forgotten.state if forgotten else _UNTOUCHED):
        return -1
    if not forgotten.extends(state):
        return None
    held = [file for file in part.files if unfinished or _holds(folder, file, forgotten)]
    if not held:
        _write_record(folder, part, forgotten.state)
        return -1
    before = part.dropped.get(FORGOTTEN, 0)
    _write_record(folder, part, state | {"unfinished": True})
    written = [_rewritten(folder, file, forgotten) if file in held else file for file in part.files]
    left = [file for file in written if file.rows or file.role == PAIRS]  # extract writes no other file without rows
    committed = _commit(folder, part, left, forgotten)
    for file in written:
        if file not in left:
            storage.remove(storage.join(folder, file.path))
    return committed.dropped.get(FORGOTTEN, 0) - before


def _write_record(folder: str, part: Part, state: dict[str, Any]) -> None:
    changed = part.model_copy(update={"details": part.details | {STATE: state}})
    storage.write_json(storage.join(folder, PARTS, f"{part.task}.json"), changed.model_dump())


def _holds(folder: str, file: ShardFile, forgotten: Forgotten) -> bool:
    """Whether a shard has anything to lose; reads the columns that tell."""
    url = storage.join(folder, file.path)
    if file.role == QUARANTINE:
        return any(forgotten.blanked(batch) is not batch for batch in read_batches(url))
    if any(forgotten.rows(batch).any() for batch in read_batches(url, _NAMES, 65_536)):
        return True
    if file.role not in (PAIRS, REJECTS) or not forgotten.has_texts:
        return False
    return any(forgotten.without_texts(batch) is not batch for batch in read_batches(url, ["negatives"]))


def _rewritten(folder: str, file: ShardFile, forgotten: Forgotten) -> ShardFile:
    """The shard without what is forgotten."""
    url, name = storage.join(folder, file.path), file.path.rsplit("/", 1)[-1].removesuffix(".parquet")
    with ShardWriter(folder, file.role, name, _SCHEMAS[file.role]) as writer:
        for batch in read_batches(url):
            writer.write(_kept(batch, file.role, forgotten))
    assert writer.file is not None
    return writer.file


def _kept(batch: pa.RecordBatch, role: str, forgotten: Forgotten) -> pa.RecordBatch:
    if role == QUARANTINE:
        return forgotten.blanked(batch)
    kept = batch.filter(pa.array(~forgotten.rows(batch)))
    return forgotten.without_texts(kept) if role in (PAIRS, REJECTS) else kept


def _commit(folder: str, part: Part, files: Sequence[ShardFile], forgotten: Forgotten) -> Part:
    """Count what is left, and commit: what is missing of the rows that came in is forgotten."""
    tally = Tally()
    for file in files:
        url = storage.join(folder, file.path)
        if file.role == PAIRS:
            for batch in read_batches(url, ["source", "query_lang", "positive_lang"], 65_536):
                tally.add(batch, "out")
        elif file.role == REJECTS:
            for batch in read_batches(url, ["source", "query_lang", "positive_lang", "reason"], 65_536):
                tally.add_rejects(batch)
    for source, languages in part.languages.items():
        for language, counts in languages.items():
            counted = tally.counts.setdefault((source, language), Counter())
            gone = counts.get("in", 0) - sum(counted.values())
            counted["in"] = counts.get("in", 0)
            if gone:
                counted[f"drop:{FORGOTTEN}"] = gone
    return commit_part(
        folder, part.task, part.fingerprint, files, tally, [PAIRS], details=part.details | {STATE: forgotten.state}
    )
