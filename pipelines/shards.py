"""Parquet shards (zstd) and their commit records.

    ShardWriter   streams record batches into one Parquet file; the same rows give the same bytes however they were batched
    Part          what one task of a job wrote: its files, rows in, rows out, rows dropped by reason. Committing a part
                  counts the rows again from the files' own footers: rows in = rows out + rows dropped, or the job fails.

A part lies at JOB/_parts/TASK.json and is written last: a task without one is unfinished work and is done again.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from pipelines import storage
from pipelines.errors import JobFailed

PARTS: Final = "_parts"
ROWS_PER_GROUP: Final = 8192

REJECTS: Final = "rejects"
QUARANTINE: Final = "quarantine"
FORGOTTEN: Final = "forgotten"  # the reason of rows that a tombstone keeps out: counted, and in no rejects

_BETWEEN: Final = "\x00"  # between the columns that rows are counted by


class ShardFile(BaseModel):
    """One file of a job: `role` says what rows it holds (pairs, rejects, documents ...), `path` is below the job's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    path: str
    rows: int
    bytes: int
    sha256: str


class ShardWriter:
    """Writes record batches of one schema to one Parquet file that appears when the `with` block ends without an error."""

    def __init__(self, folder: str, role: str, name: str, schema: pa.Schema, compression: str = "zstd") -> None:
        """`folder` is the job's; the file is folder/role/name.parquet."""
        self._compression = compression
        self._folder, self._role, self._path = folder, role, f"{role}/{name}.parquet"
        self._schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._exit = contextlib.ExitStack()
        self.rows = 0
        self.file: ShardFile | None = None

    def __enter__(self) -> "ShardWriter":
        self._stream = self._exit.enter_context(storage.atomic_write(storage.join(self._folder, self._path)))
        self._parquet = pq.ParquetWriter(
            self._stream, self._schema, compression=self._compression, store_schema=False, write_page_index=False
        )
        return self

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add rows. Row groups are cut by row count alone, so the file's bytes do not depend on the batches' sizes."""
        batches = batch.to_batches() if isinstance(batch, pa.Table) else [batch]
        for piece in batches:
            if piece.num_rows:
                self._pending.append(piece)
                self._pending_rows += piece.num_rows
        if self._pending_rows >= ROWS_PER_GROUP:
            self._flush(self._pending_rows // ROWS_PER_GROUP * ROWS_PER_GROUP)

    def _flush(self, rows: int) -> None:
        table = pa.Table.from_batches(self._pending, self._schema).combine_chunks()
        self._parquet.write_table(table.slice(0, rows), row_group_size=ROWS_PER_GROUP)
        rest = table.slice(rows)
        self._pending, self._pending_rows = rest.to_batches(), rest.num_rows
        self.rows += rows
        pa.default_memory_pool().release_unused()  # else what a large row group took stays with the process

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            if self._pending_rows:
                self._flush(self._pending_rows)
        else:
            self._stream.discard()
        self._parquet.close()
        self._exit.__exit__(kind, error, trace)
        if error is None:
            self.file = ShardFile(
                role=self._role, path=self._path, rows=self.rows, bytes=self._stream.bytes, sha256=self._stream.sha256
            )


class ShardSet:
    """The shards one task writes, one per role, opened when their first row comes (`always`: even where none comes)."""

    def __init__(self, folder: str, name: str, schemas: Mapping[str, pa.Schema], always: Sequence[str] = ()) -> None:
        self._folder, self._name, self._schemas, self._always = folder, name, schemas, always
        self._writers: dict[str, ShardWriter] = {}
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> "ShardSet":
        for role in self._always:
            self._writer(role)
        return self

    def _writer(self, role: str) -> ShardWriter:
        if role not in self._writers:
            writer = ShardWriter(self._folder, role, self._name, self._schemas[role])
            self._writers[role] = self._exit.enter_context(writer)
        return self._writers[role]

    def write(self, role: str, batch: pa.RecordBatch | pa.Table) -> None:
        if batch.num_rows:
            self._writer(role).write(batch)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._exit.__exit__(kind, error, trace)

    @property
    def files(self) -> list[ShardFile]:
        """After the `with` block: the files written, by role."""
        return [writer.file for _, writer in sorted(self._writers.items()) if writer.file is not None]


def read_batches(url: str, columns: Sequence[str] | None = None, rows: int = 4096) -> Iterator[pa.RecordBatch]:
    """The record batches of a Parquet shard, in order, in bounded memory."""
    with storage.open_for_reading(url) as stream, pq.ParquetFile(stream) as parquet:
        yield from parquet.iter_batches(batch_size=rows, columns=list(columns) if columns else None)


class Part(BaseModel):
    """What one task committed."""

    model_config = ConfigDict(extra="forbid")

    task: str
    fingerprint: str
    files: list[ShardFile]
    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    funnel: dict[str, dict[str, int]] = {}  # source -> {"in", "out", "drop:REASON"}
    languages: dict[str, dict[str, dict[str, int]]] = {}  # source -> language or direction -> the same counts
    details: dict[str, Any] = {}


@dataclass
class Tally:
    """Counts rows in, out and dropped, by source and language, while a task runs."""

    counts: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    def add(self, rows: pa.RecordBatch, outcome: str) -> None:
        """Count rows with the columns source, query_lang and positive_lang under one outcome: "in", "out" or "drop:REASON".

        The language is that of both sides ("eng_Latn"), or a direction ("eng_Latn-deu_Latn").
        """
        columns = [rows[name] for name in ("source", "query_lang", "positive_lang")]
        keys = pc.binary_join_element_wise(*columns, _BETWEEN)
        for entry in pc.value_counts(keys).to_pylist():
            source, query_lang, positive_lang = entry["values"].rsplit(_BETWEEN, 2)
            language = query_lang if query_lang == positive_lang else f"{query_lang}-{positive_lang}"
            self.counts.setdefault((source, language), Counter())[outcome] += entry["counts"]

    def add_rejects(self, rejects: pa.RecordBatch) -> None:
        """Count the rows of a REJECT batch under their reasons."""
        for reason in pc.unique(rejects["reason"]).to_pylist():
            self.add(rejects.filter(pc.equal(rejects["reason"], reason)), f"drop:{reason}")

    def total(self, outcome: str) -> int:
        return sum(counts[outcome] for counts in self.counts.values())

    @property
    def dropped(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for counts in self.counts.values():
            for outcome, rows in counts.items():
                if outcome.startswith("drop:"):
                    total[outcome.removeprefix("drop:")] += rows
        return dict(sorted(total.items()))

    @property
    def funnel(self) -> dict[str, dict[str, int]]:
        """The counts by source."""
        by_source: dict[str, Counter[str]] = {}
        for (source, _), counts in self.counts.items():
            by_source.setdefault(source, Counter()).update(counts)
        return {source: dict(sorted(counts.items())) for source, counts in sorted(by_source.items())}

    @property
    def languages(self) -> dict[str, dict[str, dict[str, int]]]:
        """The counts by source and language."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for (source, language), counts in sorted(self.counts.items()):
            found.setdefault(source, {})[language] = dict(sorted(counts.items()))
        return found


def commit_part(
    folder: str,
    task: str,
    fingerprint: str,
    files: Sequence[ShardFile],
    tally: Tally,
    kept: Sequence[str],
    *,
    details: Mapping[str, Any] | None = None,
) -> Part:
    """Reconcile a task's files with its counts and write its record. `kept` names the roles that hold rows that went on."""
    rows_in, dropped = tally.total("in"), tally.dropped
    reconcile(folder, task, files, rows_in, dropped, kept)
    part = Part(
        task=task,
        fingerprint=fingerprint,
        files=list(files),
        rows_in=rows_in,
        rows_out=rows_in - sum(dropped.values()),
        dropped=dropped,
        funnel=tally.funnel,
        languages=tally.languages,
        details=dict(details or {}),
    )
    storage.write_json(storage.join(folder, PARTS, f"{task}.json"), part.model_dump())
    return part


def recommit_part(folder: str, part: Part, fingerprint: str) -> Part:
    """Commit a task whose files are the same as before: its record under another fingerprint."""
    renewed = part.model_copy(update={"fingerprint": fingerprint})
    storage.write_json(storage.join(folder, PARTS, f"{part.task}.json"), renewed.model_dump())
    return renewed


def reconcile(
    folder: str, task: str, files: Sequence[ShardFile], rows_in: int, dropped: Mapping[str, int], kept: Sequence[str]
) -> None:
    """Check from the written files that rows in = rows out + rows dropped, reason by reason.

    Raises:
        JobFailed: the files hold other numbers of rows than were counted.
    """
    rows_out, found = 0, Counter[str]()
    for file in files:
        url = storage.join(folder, file.path)
        if not file.path.endswith(".parquet"):
            continue  # exports; their rows are those of the Parquet files beside them
        with storage.open_for_reading(url) as stream:
            parquet = pq.ParquetFile(stream)
            if parquet.metadata.num_rows != file.rows:
                raise JobFailed(
                    f"{url} holds {parquet.metadata.num_rows} rows where {file.rows} were written: the disk or another writer changed it. Delete the job's folder and run again."
                )
            if file.role in kept:
                rows_out += file.rows
            elif file.role == REJECTS and file.rows:
                for entry in pc.value_counts(parquet.read(["reason"])["reason"]).to_pylist():
                    found[entry["values"]] += entry["counts"]
    told = {reason: rows for reason, rows in dropped.items() if reason != FORGOTTEN}
    if dict(found) != told or rows_in != rows_out + sum(dropped.values()):
        raise JobFailed(
            f"Rows do not add up in task {task}: {rows_in} in, {rows_out} out, {dict(found)} in the rejects, {dict(dropped)} counted as dropped. "
            "This is a fault of pairmill, not of your data; nothing was committed for this task."
        )


def read_part(folder: str, task: str) -> Part | None:
    """The record of a task, or None where it is not committed, its record is torn or its files are not all there."""
    record = storage.read_record(storage.join(folder, PARTS, f"{task}.json"))
    if record is None:
        return None
    part = Part.model_validate(record)
    return part if all(is_there(folder, file) for file in part.files) else None


def is_there(folder: str, file: ShardFile) -> bool:
    """Whether a file is there with as many bytes as were written. What those are `pairmill verify` tells."""
    return storage.size_of(storage.join(folder, file.path)) == file.bytes
