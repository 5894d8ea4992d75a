"""A corpus on disk in falling order of document id: texts in an Arrow file that is read in blocks, ids in one that is mapped.

In:  (id, text) in any order.
Out: FOLDER/texts.arrow and FOLDER/ids.arrow, the same bytes whatever the order was.

The lower row so wins a tie exactly where trec_eval's rule has it win (equal scores: the larger id first), also where a
ranking is cut. Beside a block, memory holds the ids while the corpus is sorted; texts go through partitions on disk.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Rows = npt.NDArray[np.int64]

ROW_SCHEMA: Final = pa.schema([("id", pa.string()), ("text", pa.string())])
_ROWS: Final = 1024  # of each batch of the file but the last: a row's batch is known by its number
_PARTITION_BYTES: Final = 16 * 1024 * 1024  # in memory about four times
_MOST_PARTITIONS: Final = 256  # open files
_BLOCK_ROWS: Final = 16_384
_BLOCK_BYTES: Final = 64 * 1024 * 1024


class StoredTexts(Sequence[str]):
    """n strings in an Arrow file, read a batch at a time: never mapped, so that its pages are no memory of the process."""

    def __init__(self, file: str | Path, owner: object = None) -> None:
        """`owner` is kept as long as this is: a temporary folder that holds the file."""
        self.path, self._owner = Path(file), owner
        self._file = pa.ipc.open_file(pa.OSFile(str(file)))
        batches = self._file.num_record_batches
        self._count = (batches - 1) * _ROWS + len(self.batch(batches - 1)) if batches else 0

    def __len__(self) -> int:
        return self._count

    def batch(self, number: int) -> pa.StringArray:
        """The strings of one batch."""
        return self._file.get_batch(number).column(0)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        chosen = range(self._count)[row]
        wanted = np.arange(chosen.start, chosen.stop, chosen.step) if isinstance(chosen, range) else np.array([chosen])
        texts: list[str] = self.take(wanted.astype(np.int64)).to_pylist()
        return texts if isinstance(chosen, range) else texts[0]

    def __iter__(self) -> Iterator[str]:
        for block in self.blocks():
            yield from block.to_pylist()

    def blocks(self, most_rows: int = _BLOCK_ROWS, most_bytes: int = _BLOCK_BYTES) -> Iterator[pa.StringArray]:
        """All strings in order, in blocks of whole batches that keep to both limits where one batch does."""
        waiting: list[pa.StringArray] = []
        for number in range(self._file.num_record_batches):
            batch = self.batch(number)
            grown = [*waiting, batch]
            if waiting and (sum(map(len, grown)) > most_rows or sum(each.nbytes for each in grown) > most_bytes):
                yield pa.concat_arrays(waiting)
                waiting = []
            waiting.append(batch)
        if waiting:
            yield pa.concat_arrays(waiting)

    def take(self, rows: Rows) -> pa.StringArray:
        """The strings of these rows (int64 [m]), in their order. Reads each batch that holds one of them once."""
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        borders = np.searchsorted(ascending, np.arange(0, self._count + _ROWS, _ROWS))
        parts = [
            self.batch(number).take(pa.array(ascending[borders[number] : borders[number + 1]] - number * _ROWS))
            for number in np.flatnonzero(np.diff(borders)).tolist()
        ]
        if not parts:
            return pa.array([], pa.string())
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return pa.concat_arrays(parts).take(pa.array(place))


class ArrowStrings(Sequence[str]):
    """n strings of one Arrow array, in memory or mapped."""

    def __init__(self, array: pa.Array, owner: object = None) -> None:
        self.array, self._owner = array, owner

    @classmethod
    def open(cls, file: str | Path, owner: object = None) -> "ArrowStrings":
        """The only column of an Arrow file of one batch, mapped."""
        return cls(pa.ipc.open_file(pa.memory_map(str(file))).get_batch(0).column(0), owner)

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> Any:
        return self.array[row].to_pylist() if isinstance(row, slice) else self.array[row].as_py()

    def take(self, rows: Rows) -> pa.Array:
        """The strings of these rows (int64 [m]), in their order."""
        return self.array.take(pa.array(rows))


def text_blocks(texts: Sequence[str], most_rows: int = _BLOCK_ROWS) -> Iterator[pa.Array]:
    """All texts in order, as Arrow arrays of at most so many rows."""
    if isinstance(texts, StoredTexts):
        yield from texts.blocks(most_rows)
        return
    for start in range(0, len(texts), most_rows):
        yield pa.array(texts[start : start + most_rows], pa.string())


def take_texts(texts: Sequence[str], rows: Rows) -> pa.Array:
    """The texts of these rows (int64 [m]), in their order."""
    if isinstance(texts, StoredTexts | ArrowStrings):
        return texts.take(rows)
    return pa.array([texts[row] for row in rows.tolist()], pa.string())


def chosen_blocks(texts: Sequence[str], rows: Rows, most_bytes: int) -> Iterator[tuple[Rows, pa.Array]]:
    """(rows, their texts) of ascending `rows`, in blocks of `most_bytes` of UTF-8 or less beside their first text."""
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        array = take_texts(texts, some)
        sizes = pc.binary_length(array).to_numpy(zero_copy_only=False)
        block = np.maximum(np.cumsum(sizes) - 1, 0) // most_bytes
        borders = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(some)]
        for first, end in pairwise(borders):
            yield some[first:end], array.slice(first, end - first)


class DuplicateIdError(ValueError):
    """Two documents with one id."""

    def __init__(self, identifier: str, count: int) -> None:
        super().__init__(f"The document id {identifier!r} occurs {count} times. Give every document its own.")
        self.identifier, self.count = identifier, count


def store_corpus(
    batches: Iterable[pa.RecordBatch],
    folder: str | Path,
    *,
    partition_bytes: int = _PARTITION_BYTES,
) -> int:
    """Write a corpus, given as batches of ROW_SCHEMA, into a folder: its ids and its texts, by falling id (UTF-8 bytes).

    The number of documents. Raises DuplicateIdError.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    given, sorted_file = folder / "unsorted.arrow", folder / "texts.arrow"
    ids, size = _write_as_given(batches, given)
    order = pc.array_sort_indices(ids, order="descending")
    in_order = ids.take(order)
    _check_distinct(in_order)
    with _writer(folder / "ids.arrow", pa.schema([("id", pa.large_string())])) as writer:
        writer.write_batch(pa.record_batch([in_order], ["id"]))
    place = np.empty(len(order), np.int64)
    place[order.to_numpy()] = np.arange(len(order))
    partitions = min(_MOST_PARTITIONS, 1 + size // partition_bytes)
    with _writer(sorted_file, pa.schema([("text", pa.string())])) as writer:
        for batch in _of_equal_rows(_in_order(given, place, partitions, folder)):
            writer.write_batch(pa.record_batch([batch], ["text"]))
    given.unlink()
    return len(in_order)


def open_corpus(folder: str | Path, owner: object = None) -> tuple[ArrowStrings, StoredTexts]:
    """The ids and texts that store_corpus wrote. `owner` is kept as long as they are."""
    folder = Path(folder)
    return ArrowStrings.open(folder / "ids.arrow", owner), StoredTexts(folder / "texts.arrow", owner)


def _writer(path: Path, schema: pa.Schema) -> pa.ipc.RecordBatchFileWriter:
    return pa.ipc.new_file(str(path), schema)


def _write_as_given(batches: Iterable[pa.RecordBatch], path: Path) -> tuple[pa.LargeStringArray, int]:
    """The ids, and the bytes of all texts."""
    ids, size = [pa.array([], pa.large_string())], 0
    with _writer(path, ROW_SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
            ids.append(batch.column("id").cast(pa.large_string()))
            size += batch.column("text").nbytes
    return pa.concat_arrays(ids), size


def _check_distinct(in_order: pa.LargeStringArray) -> None:
    same = pc.equal(in_order[1:], in_order[:-1])
    if pc.any(same).as_py():
        identifier = in_order[int(np.argmax(same.to_numpy(zero_copy_only=False)))]
        raise DuplicateIdError(identifier.as_py(), pc.sum(pc.equal(in_order, identifier)).as_py())


def _in_order(given: Path, place: Rows, partitions: int, folder: Path) -> Iterator[pa.StringArray]:
    """The texts by their places, a partition at a time."""
    schema = pa.schema([("text", pa.string()), ("place", pa.int64())])
    paths = [folder / f"partition-{number}.arrow" for number in range(partitions)]
    rows_each = max(1, -(-len(place) // partitions))
    with ExitStack() as stack:
        writers = [stack.enter_context(_writer(path, schema)) for path in paths]
        source = pa.ipc.open_file(stack.enter_context(pa.OSFile(str(given))))
        first = 0
        for number in range(source.num_record_batches):
            texts = source.get_batch(number).column("text")
            places = place[first : first + len(texts)]
            first += len(texts)
            for partition in np.unique(places // rows_each).tolist():
                chosen = np.flatnonzero(places // rows_each == partition)
                columns = [texts.take(pa.array(chosen)), pa.array(places[chosen])]
                writers[partition].write_batch(pa.record_batch(columns, schema=schema))
    for path in paths:
        with pa.OSFile(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        path.unlink()
        if len(table):
            yield pc.take(table["text"], pc.sort_indices(table["place"])).combine_chunks()
        del table


def _of_equal_rows(arrays: Iterable[pa.StringArray]) -> Iterator[pa.StringArray]:
    """The same strings in arrays of _ROWS each, the last of what is left."""
    nothing = left = pa.array([], pa.string())
    for array in arrays:
        missing = _ROWS - len(left)
        left, first = pa.concat_arrays([left, array[:missing]]), missing
        while len(left) == _ROWS:
            yield left
            # Copied: a slice would be written with some bytes of what follows it.
            left, first = pa.concat_arrays([nothing, array[first : first + _ROWS]]), first + _ROWS
    if len(left):
        yield left
