"""Stage 6: negatives, a block of queries at a time: NNNNNN.arrow, one row a distinct query (MINED), and its counts NNNNNN.json.

Blocks are independent of each other; they are mined here or in several processes, with the same bytes.
"""

import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines import storage
from pipelines.errors import JobFailed
from pipelines.judges import make_judge
from pipelines.mining.encoding import read_weights
from pipelines.mining.exclusions import Known, known_passages
from pipelines.mining.index import Index, load_index, passage_texts, query_files, query_texts
from pipelines.mining.multimap import Multimap
from pipelines.mining.near import load_clusters
from pipelines.mining.progress import Progress
from pipelines.mining.reading import Unit
from pipelines.mining.settings import MineFilesSettings
from pipelines.mining.texts import StoredRows, Texts
from pipelines.mining.work import Stage, write_arrow
from trainer.bm25 import Bm25Index
from trainer.candidates import origin_names
from trainer.inner_products import inner_products
from trainer.mining import MinedBlock, MiningCorpus, QueryBlock, mine_block
from trainer.ragged import Ragged
from trainer.sparse_vectors import SparseVectors
from trainer.vector_files import VectorFiles

Rows = npt.NDArray[np.int64]

_ROWS: Final = pa.list_(pa.int64())
_SCORES: Final = pa.list_(pa.float32())
MINED: Final = pa.schema(
    [
        pa.field("positive_rows", _ROWS),  # of all rows with this query, ascending
        pa.field("positive_scores", _SCORES),
        pa.field("positive_judge_scores", _SCORES),  # null without a judge
        pa.field("curated_rows", _ROWS),  # negatives that came with the query, ascending
        pa.field("curated_scores", _SCORES),
        pa.field("negative_rows", _ROWS),
        pa.field("negative_scores", _SCORES),
        pa.field("negative_ranks", pa.list_(pa.int32())),  # -1: drawn at random
        pa.field("negative_origins", pa.list_(pa.string())),
        pa.field("negative_judge_scores", _SCORES),
        pa.field("relabelled_rows", _ROWS),
        pa.field("relabelled_scores", _SCORES),
        pa.field("relabelled_judge_scores", _SCORES),
    ]
)


@dataclass(frozen=True)
class MiningJob:
    """Where everything lies that mining reads. Small: it is sent to the processes."""

    read: Stage
    units: tuple[Unit, ...]
    index: Stage
    near: Stage | None
    words: Path | None  # the index of BM25
    passage_vectors: tuple[Path, ...]
    query_vectors: tuple[Path, ...]
    output: Stage
    settings: MineFilesSettings

    def __hash__(self) -> int:
        return hash(self.output)  # whose fingerprint covers the rest; settings may hold what has no hash


@dataclass(frozen=True)
class _Opened:
    index: Index
    clusters: tuple[Multimap, Multimap] | None
    corpus: MiningCorpus
    query_vectors: VectorFiles
    queries: Texts
    answers: StoredRows
    query_weights: SparseVectors | None


def block_paths(job: MiningJob, queries: int) -> list[Path]:
    """The files of all blocks, those that are missing among them."""
    return [job.output.file(f"{number:06d}.arrow") for number in range(-(-queries // job.settings.query_block))]


def mine_blocks(job: MiningJob, queries: int, workers: int, progress: Progress) -> dict[str, int]:
    """Write the blocks that are missing, in so many processes: candidates left out by reason, and what the judge was asked."""
    paths = block_paths(job, queries)
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    if workers > 1 and len(missing) > 1:
        _in_processes(job, missing, min(workers, len(missing)), progress)
    else:
        for number in missing:
            progress.advance(mine_one_block(job, number))
    counts: dict[str, int] = {}
    for path in paths:
        for reason, count in storage.read_json(str(path.with_suffix(".json"))).items():
            counts[reason] = counts.get(reason, 0) + count
    return counts


def _in_processes(job: MiningJob, missing: list[int], workers: int, progress: Progress) -> None:
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_end_with_parent) as processes:
        running = [processes.submit(mine_one_block, job, number) for number in missing]
        try:
            for done in as_completed(running):
                progress.advance(done.result())
        except BrokenProcessPool:
            raise JobFailed(
                "A process that mined was ended from outside, most likely because memory ran out. The same command goes on"
                " from finished blocks: give it fewer --workers, or a smaller --set search.memory_mb."
            ) from None
        except BaseException:
            processes.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for work for ever. Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def mine_one_block(job: MiningJob, number: int) -> int:
    """Mine and write one block: how many queries it has. Raises MiningError, and what the judge raises."""
    opened = _open(job)
    settings = job.settings
    start = number * settings.query_block
    queries = np.arange(start, min(start + settings.query_block, opened.index.queries))
    known = known_passages(opened.index, opened.clusters, queries)
    block = _query_block(opened, queries, known)
    judge = make_judge(settings.judge) if settings.judge else None
    mined = mine_block(block, opened.corpus, settings.of_block(), judge)
    path = job.output.file(f"{number:06d}.arrow")
    counts = {**mined.negatives.dropped, **mined.judged}
    storage.write_json(str(path.with_suffix(".json")), counts)
    write_arrow(path, MINED, [_mined_batch(opened, block, known, mined, settings)])
    return len(queries)


@lru_cache(1)
def _open(job: MiningJob) -> _Opened:
    index = load_index(job.index)
    texts = passage_texts(job.read, job.units, index)
    corpus = MiningCorpus(
        VectorFiles.open(job.passage_vectors),
        texts,
        None if index.searched is None else np.asarray(index.searched),
        None if job.words is None else Bm25Index.open(job.words),
        read_weights(job.passage_vectors) if job.settings.lexical else None,
    )
    return _Opened(
        index,
        None if job.near is None else load_clusters(job.near),
        corpus,
        VectorFiles.open(job.query_vectors),
        query_texts(job.read, job.units, index),
        StoredRows(query_files(job.read, job.units), ["answers"]),
        read_weights(job.query_vectors) if job.settings.lexical else None,
    )


def _query_block(opened: _Opened, queries: Rows, known: Known) -> QueryBlock:
    index = opened.index
    answers = _answers(opened, queries)
    return QueryBlock(
        np.asarray(index.query_ids[queries]),
        opened.queries.take(queries),
        opened.query_vectors.take(queries),
        known.positives,
        known.excluded,
        answers if len(answers.values) else None,
        None if opened.query_weights is None else opened.query_weights.take(queries),
    )


def _answers(opened: _Opened, queries: Rows) -> pa.ListArray:
    """The answers of each query, those of all rows that have it."""
    index = opened.index
    owners, rows = index.links.pair_rows.follow(np.arange(len(queries)), np.asarray(index.query_folds[queries]))
    lists = opened.answers.take(rows).column(0)
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    counts = np.bincount(owners, lengths, len(queries)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), lists.flatten())


def _mined_batch(
    opened: _Opened, block: QueryBlock, known: Known, mined: MinedBlock, settings: MineFilesSettings
) -> pa.RecordBatch:
    negatives = mined.negatives
    curated = known.curated
    lists = Ragged(negatives.rows, negatives.offsets)
    names = origin_names(negatives.origins, settings.candidates.sources)
    none = pa.nulls(len(block), _SCORES)

    def judged(scores: Ragged | None) -> pa.Array:
        return none if scores is None else scores.arrow(pa.float32())

    columns = [
        known.positives.arrow(pa.int64()),
        mined.positive_scores.arrow(pa.float32()),
        judged(mined.positive_judge_scores),
        curated.arrow(pa.int64()),
        _scores(block, opened.corpus.vectors, curated).arrow(pa.float32()),
        lists.arrow(pa.int64()),
        Ragged(negatives.scores, negatives.offsets).arrow(pa.float32()),
        Ragged(negatives.ranks, negatives.offsets).arrow(pa.int32()),
        pa.ListArray.from_arrays(pa.array(negatives.offsets, pa.int32()), names),
        none
        if negatives.judge_scores is None
        else Ragged(negatives.judge_scores, negatives.offsets).arrow(pa.float32()),
        mined.relabelled.arrow(pa.int64()),
        mined.relabelled_scores.arrow(pa.float32()),
        judged(mined.relabelled_judge_scores),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=MINED)


def _scores(block: QueryBlock, vectors: VectorFiles, rows: Ragged) -> Ragged:
    """float32, beside the rows."""
    matrix, lengths = rows.padded(np.arange(len(rows)), -1)
    if matrix.shape[1] == 0:
        return Ragged.empty(len(rows), np.float32)
    scores = inner_products(block.vectors, vectors, matrix)
    return Ragged.with_lengths(scores[np.arange(matrix.shape[1]) < lengths[:, None]], lengths)
