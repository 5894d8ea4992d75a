"""The largest batch that fits, by trying: `pairmill train --find-batch-size`.

In:  the packed data, the settings, and how much memory there is.
Out: for each length group of the data the sizes that were tried, with their memory and time.

Each try is a process of its own that trains two steps on made-up texts, all as long as the longest of the group: the worst
batch there can be. Sizes double until one does not fit (or takes too long, or is larger than the group), then one between
is tried. On a GPU "does not fit" is its out-of-memory error; on a CPU it is the limit given, which the process is held to.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainer.batch_plan import plan_columns
from trainer.training_data import TrainingData

if TYPE_CHECKING:
    from trainer.loop import TrainSettings

_FIRST_SIZE: Final = 16
_STEPS: Final = 2
_NO_MEMORY: Final = 86  # exit status of a try that ran out of memory
_MIB: Final = 1 << 20
_SAID_WITHOUT_MEMORY: Final = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")


class BatchSizeSearchError(ValueError):
    """No batch at all could be tried. The message names the reason and the remedy."""


@dataclass(frozen=True)
class Try:
    """One size."""

    size: int
    fits: bool
    peak_memory_mib: float | None
    seconds: float | None  # a step


@dataclass(frozen=True)
class GroupSearch:
    """What was found for one length group."""

    length_group: int
    longest: int  # tokens
    pairs: int
    tries: list[Try]

    @property
    def largest(self) -> int | None:
        return max((each.size for each in self.tries if each.fits), default=None)


def find_batch_sizes(
    data_folder: str,
    settings: "TrainSettings",
    *,
    memory_mib: float | None,
    seconds: float = 600.0,
    most: int = 1 << 17,
) -> Iterator[GroupSearch]:
    """For each length group, shortest first: sizes up to `most` pairs.

    `memory_mib` bounds a CPU's process, and is not used on a GPU. A try that takes over `seconds` does not fit either.
    Raises BatchSizeSearchError where the smallest size fails for another reason than memory, and BatchPlanError for data
    sets that the data do not have.
    """
    data = TrainingData.open(data_folder, settings.data_cache)
    columns = plan_columns(data, settings)
    groups = np.asarray(columns.length_group)
    longest_query = int(np.diff(data.query_tokens.offsets).max())
    taking_part = columns.usable(np.ones(len(groups), np.bool_))
    for group in np.unique(groups[taking_part]).tolist():
        rows = np.flatnonzero(taking_part & (groups == group))
        longest = int(data.length[rows].max())

        def fits(size: int, longest: int = longest) -> Try:
            shape = (longest_query, longest, data.largest_token_id + 1)
            return _tried(settings, size, shape, memory_mib, seconds)

        yield GroupSearch(group, longest, len(rows), list(rising_sizes(fits, min(most, len(rows)))))


def rising_sizes(fits: Callable[[int], Try], most: int) -> Iterator[Try]:
    """Tries sizes that double from 16 up to `most`, then, where one did not fit, the one half-way between."""
    size = min(_FIRST_SIZE, most)
    while True:
        found = fits(size)
        yield found
        if not found.fits or size == most:
            break
        size = min(2 * size, most)
    half = size // 2 + size // 4
    if not found.fits and half > _FIRST_SIZE:
        yield fits(half)


def _tried(
    settings: "TrainSettings", size: int, shape: tuple[int, int, int], memory_mib: float | None, seconds: float
) -> Try:
    with tempfile.TemporaryDirectory() as scratch:
        task = {"settings": settings.model_dump(mode="json"), "size": size, "shape": shape, "memory_mib": memory_mib}
        command = [sys.executable, "-m", "trainer.batch_size_search", scratch]
        try:
            done = subprocess.run(
                command, input=json.dumps(task), capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return Try(size, False, None, None)
    if done.returncode == 0:
        measured = json.loads(done.stdout.splitlines()[-1])
        over = memory_mib is not None and not measured["cuda"] and measured["peak_memory_mib"] > memory_mib
        return Try(size, not over, measured["peak_memory_mib"], measured["seconds"])
    # A process that the kernel ended for its memory has no exit status of its own.
    if done.returncode == _NO_MEMORY or done.returncode < 0:
        return Try(size, False, None, None)
    raise BatchSizeSearchError(
        f"A batch of {size} pairs failed, and not for want of memory. The end of what it said: {done.stderr[-1500:]}"
    )


def _try_here(folder: Path, task: dict[str, Any]) -> None:
    """In the child: two steps on made-up data of the worst lengths."""
    import resource

    from trainer.loop import TrainSettings, train

    size, (query_length, passage_length, vocabulary) = int(task["size"]), task["shape"]
    changes = {"steps": _STEPS, "batch_sizes": (max(2, size),), "tokens_per_batch": None, "checkpoint_every": 10**6}
    changes |= {"group_by": "none", "sampling_weights": {}, "own_negatives_only": (), "instruction_share": 1.0}
    changes |= {"datasets": (), "kinds": ()}
    if task["settings"]["self_distillation_from"] is not None:
        changes["self_distillation_from"] = 0  # the steps that take most
    settings = TrainSettings.model_validate(task["settings"] | changes | {"data_cache": None, "smallest_batch": 2})
    write_worst_batch(folder / "data", max(2, size), query_length, passage_length, settings.negatives, vocabulary)
    lines: list[dict[str, Any]] = []
    cuda = _held_to(task["memory_mib"], settings.device)
    train(folder / "data", folder / "output", settings, lines.append)
    peak = lines[-1].get("peak_memory_mib") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"peak_memory_mib": peak, "seconds": lines[-1]["seconds"], "cuda": cuda}) + "\n")


def _held_to(memory_mib: float | None, device: str) -> bool:
    """Let this process allocate no more than that, where it computes on the CPU; returns whether it does so on a GPU."""
    import resource

    import torch

    cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if memory_mib is not None and not cuda:
        limit = int(memory_mib * _MIB)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    return cuda


def write_worst_batch(
    folder: Path, size: int, query_length: int, passage_length: int, negatives: int, vocabulary: int
) -> None:
    """A pack folder of `size` pairs, all texts of the given lengths, token ids at random."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from trainer.packing import PackedTexts, PackingSettings, pack_pairs
    from trainer.ragged import Ragged

    random = np.random.default_rng(0)

    def ids(count: int, first: int) -> pa.Array:
        numbers = np.arange(first, first + 2 * count, dtype=np.uint64).reshape(-1, 2)
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(numbers.tobytes())])

    def texts(count: int, length: int) -> pa.Array:
        tokens = random.integers(0, vocabulary, count * length, np.int32)
        return Ragged.with_lengths(tokens, np.full(count, length)).arrow(pa.int32())

    passages = size * (1 + negatives)
    lengths = np.full(passages, passage_length, np.int32)
    packed_passages = pa.record_batch(
        {
            "passage_id": ids(passages, 1),
            "token_ids": texts(passages, passage_length),
            "length": pa.array(lengths),
            "cluster_id": ids(passages, 1),
        }
    )
    own = size + np.arange(size * negatives)
    pairs = pack_pairs(
        pair_id=ids(size, 1),
        queries=PackedTexts(texts(size, query_length), pa.array(np.full(size, query_length, np.int32)), 0),
        query_cluster_id=ids(size, 1 << 40),
        positive=pa.array(np.arange(size)),
        negatives=Ragged.with_lengths(own, np.full(size, negatives)).arrow(pa.int64()),
        positive_score=None,
        negative_scores=None,
        dataset=pa.array(["made up"] * size),
        kind=pa.array(["none"] * size),
        query_lang=pa.array(["und"] * size),
        symmetric=pa.array(np.zeros(size, np.bool_)),
        passage_lengths=lengths,
        settings=PackingSettings(length_edges=(0,), negatives=negatives),
    )
    for part, batch in (("pairs", pairs), ("passages", packed_passages)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_batches([batch]), folder / part / "00000.parquet")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was not enough, on a GPU or on a CPU."""
    import torch

    # Python's compiler, without memory, leaves a SystemError.
    if isinstance(error, MemoryError | SystemError | torch.cuda.OutOfMemoryError):
        return True
    said = str(error).lower()
    return any(words in said for words in _SAID_WITHOUT_MEMORY)


def described(found: GroupSearch) -> dict[str, Any]:
    """As plain values, for display and JSON."""
    return asdict(found) | {"largest": found.largest}


if __name__ == "__main__":
    try:
        _try_here(Path(sys.argv[1]), json.loads(sys.stdin.read()))
    except Exception as error:
        if out_of_memory(error):
            sys.exit(_NO_MEMORY)
        raise
