"""Extract's pairs beside those of the questions, so that the following jobs read both in one place.

A document whose questions are of dev or test must not be trained on in another way: pairs made of it (its title and its body, say)
are left out, and so are those of documents with the same text. Shards that hold none of them are the same files as extract's: hard links on a local
disk, copies elsewhere.
"""

from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.job import PAIRS, Job
from pipelines.manifest import fingerprint
from pipelines.progress import TaskProgress
from pipelines.question_sample import document_keys
from pipelines.shards import Part, ShardFile, ShardSet, Tally, commit_part, read_batches
from sources import schema

LEFT_OUT: Final = "pairs_left_out"  # of a part's details, and the job's


def carry_pairs(job: Job, held_out: pa.Array, version: int) -> list[Part]:
    """A part for each shard of extract's pairs, of files with the same names."""
    from pipelines.transforms import Task

    files = job.manifest("extract").files_of(PAIRS)
    folder = job.run.job("extract")
    documents = sorted(held_out.to_pylist())
    tasks = [
        Task(
            f"carried-{_stem(file)}",
            fingerprint(version=version, input=file.sha256, held_out=documents),
            (file, storage.join(folder, file.path)),
        )
        for file in files
    ]
    write = partial(write_carried, job.folder, held_out)
    return job.run_tasks(tasks, write, bytes_to_read=sum(file.bytes for file in files))


def left_out(parts: list[Part]) -> int:
    """Pairs of documents that test, in all shards."""
    return sum(part.details[LEFT_OUT] for part in parts)


def _stem(file: ShardFile) -> str:
    return file.path.rsplit("/", 1)[-1].removesuffix(".parquet")


def write_carried(folder: str, held_out: pa.Array, task: Any, progress: TaskProgress) -> Part:
    """One shard of pairs: the file itself, or its other pairs anew."""
    file, url = task.payload
    lost = sum(
        pc.sum(_is_held_out(batch, held_out)).as_py() or 0 for batch in read_batches(url, ["source", "document_id"])
    )
    if not lost:
        _link(url, storage.join(folder, file.path))
        files = [file]
    else:
        with ShardSet(folder, _stem(file), {PAIRS: schema.PAIR}, always=[PAIRS]) as shards:
            for batch in read_batches(url):
                shards.write(PAIRS, batch.filter(pc.invert(_is_held_out(batch, held_out))))
        files = shards.files
    progress.beat(file.rows)
    return commit_part(folder, task.name, task.fingerprint, files, Tally(), [], details={LEFT_OUT: lost})


def _is_held_out(pairs: pa.RecordBatch, held_out: pa.Array) -> pa.Array:
    return pc.is_in(document_keys(pairs), value_set=held_out)


def _link(url: str, target: str) -> None:
    storage.remove(target)
    filesystem, path = storage.split_url(url)
    if not storage.is_local(url):
        filesystem.copy(path, storage.split_url(target)[1])
        return
    source, copy = Path(path), Path(storage.split_url(target)[1])
    copy.parent.mkdir(parents=True, exist_ok=True)
    storage.link_or_copy(str(source), str(copy))
