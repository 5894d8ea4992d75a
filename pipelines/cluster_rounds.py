"""Clusters where no one process can hold all texts: the same as those of pipelines.clusters, by Beam jobs.

    1. texts by their keys: of each the sketch that counts, and on which sides it lies
    2. the band keys of the sketches that count; keys that two sketches share are buckets
    3. the sketches, each sent to its buckets, and compared there: pairs of similar texts. With them ride short texts as they
       are folded, and all texts where near.exact is on: there is no other way to compare them where they meet
    4. rounds of large and small stars over those pairs until nothing changes (filters.components)
    5. the size of each cluster, and the cluster of each text back to its shard

Between jobs the pairs lie in JOB/_rounds, one Arrow file a partition, named by the partition: a worker that does one twice
writes the same file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.components import large_star, small_star
from filters.duplicates import KEY, combined_keys, key_halves, keys_of_halves, order_of_keys
from filters.near_duplicates import band_keys, similar_within_buckets
from pipelines import storage
from pipelines.clusters import CLUSTERS, FOLDER, SIDES, Shard, clusters_file, compared, nullable_keys, without_sketch
from pipelines.errors import JobFailed
from pipelines.progress import TaskProgress
from pipelines.recipe import NearSettings
from pipelines.runner import Load, RunnerSettings, run_pipeline, spill_folder
from pipelines.sketches import one_batch, read_arrow, read_sketches, read_texts, read_written_texts, write_arrow

Numbers = NDArray[np.int64]

_FOLDER: Final = "_rounds"
_MOST_ROUNDS: Final = 60  # components of a million texts in a row take fifteen

# A text of a shard, by its key. `position` is the shard's number << 40 and the text's row.
_TEXT: Final = pa.schema(
    [
        ("key", KEY),
        ("position", pa.int64()),
        ("hash", pa.uint64()),
        ("query_pairs", pa.int64()),
        ("positive_pairs", pa.int64()),
        ("mirrored", pa.bool_()),
        ("unsketched", pa.bool_()),
    ]
)
_PLACE: Final = pa.schema([("position", pa.int64()), ("on_query", pa.bool_()), ("on_positive", pa.bool_())])
# A text on one side, by a bucket.
_BUCKET: Final = pa.schema([("bucket", pa.uint64()), ("side", pa.int8()), ("position", pa.int64()), ("key", KEY)])
# An edge of the graph of similar texts of one side, by `vertex`.
_EDGE: Final = pa.schema([("vertex", KEY), ("neighbour", KEY), ("side", pa.int8())])
# A text on one side and its cluster, by `vertex`, the one or the other. In the last exchange also the places of texts.
_MEMBER: Final = pa.schema(
    [
        ("vertex", KEY),
        ("text", KEY),
        ("root", KEY),
        ("side", pa.int8()),
        ("pairs", pa.int64()),
        ("position", pa.int64()),
    ]
)
_ROW_OF_TEXT, _SIZE_OF_ROOT = -1, -2  # what a _MEMBER without a position is
_MEMBERSHIP: Final = pa.schema([("position", pa.int64()), ("side", pa.int8()), ("root", KEY), ("pairs", pa.int64())])


@dataclass(frozen=True)
class Rounds:
    """Makes the clusters of shards whose sketches lie in the job's folder."""

    folder: str
    shards: tuple[Shard, ...]  # in the order of their numbers
    near: NearSettings | None
    runner: RunnerSettings
    load: Load
    partitions: int

    def write_clusters(self) -> None:
        """Write the clusters of all shards (pipelines.clusters.CLUSTERS)."""
        for folder in (_FOLDER, FOLDER):
            storage.remove(storage.join(self.folder, folder))
        if self.near is not None:
            self._run("similar", self._similar)
        rounds = 0
        while self._has_changed(rounds):
            if rounds == _MOST_ROUNDS:
                raise JobFailed(
                    f"The clusters were not complete after {_MOST_ROUNDS} rounds. This is a fault of pairmill, not of your data; "
                    "dedup.components: one_process does without them."
                )
            self._run(f"round-{rounds}", partial(self._round, rounds))
            rounds += 1
        self._run("members", partial(self._members, rounds))
        for shard in self.shards:
            if read_texts(self.folder, shard.name).num_rows == 0:  # nothing of it goes through an exchange
                write_arrow(clusters_file(self.folder, shard.name), pa.RecordBatch.from_pylist([], CLUSTERS))
        storage.remove(storage.join(self.folder, _FOLDER))

    def _run(self, name: str, build: Any) -> None:
        run_pipeline(self.runner, self.load, f"dedup-{name}", build)

    def _exchange(self, run: str, label: str, partition: Any) -> Any:
        from pipelines.transforms import Exchange

        spill = spill_folder(self.runner, self.folder)
        return f"by {label}" >> Exchange(
            partition, storage.join(spill, f"{run}-{label}") if spill else None, self.folder
        )

    def _by_key(self, run: str, label: str, column: str) -> Any:
        from pipelines.transforms import hash_partition

        return self._exchange(run, label, hash_partition(column, self.partitions))

    def _each_shard(self, label: str, pipeline: Any, read: Any) -> Any:
        import apache_beam as beam

        numbered = list(enumerate(shard.name for shard in self.shards))
        return (
            pipeline
            | f"shards {label}" >> beam.Create(numbered)
            | f"spread {label}" >> beam.Reshuffle()
            | f"read {label}" >> beam.FlatMapTuple(read).with_output_types(pa.RecordBatch)
        )

    def _similar(self, pipeline: Any) -> None:
        """Steps 1 to 3: edges of similar texts into files."""
        import apache_beam as beam

        from pipelines.transforms import shard_partition

        by_bucket = partial(_number_partition, "bucket", self.partitions)
        buckets = (
            self._each_shard("texts", pipeline, partial(_text_rows, self.folder, self.near))
            | self._by_key("similar", "texts", "key")
            | "places" >> beam.FlatMap(_places, self.folder).with_output_types(pa.RecordBatch)
            | self._exchange("similar", "places", shard_partition)
            | "band keys"
            >> beam.FlatMap(_bucket_rows, self.folder, self.shards, self.near).with_output_types(pa.RecordBatch)
            | self._exchange("similar", "keys", by_bucket)
            | "shared" >> beam.Map(_shared_buckets).with_output_types(pa.RecordBatch)
        )
        _ = (
            buckets
            | self._exchange("similar", "shared", shard_partition)
            | "sketches"
            >> beam.FlatMap(_sketch_rows, self.folder, self.shards, self.near).with_output_types(pa.RecordBatch)
            | self._exchange("similar", "sketches", by_bucket)
            | "compare" >> beam.Map(_write_similar, self.folder, self.near)
        )

    def _round(self, number: int, pipeline: Any) -> None:
        """Step 4: the edges of one round become those of the next."""
        import apache_beam as beam

        run = f"round-{number}"
        edges = _files(self.folder, number)
        _ = (
            pipeline
            | "files" >> beam.Create(edges)
            | "spread" >> beam.Reshuffle()
            | "both ways" >> beam.FlatMap(_both_ways).with_output_types(pa.RecordBatch)
            | self._by_key(run, "large", "vertex")
            | "large stars" >> beam.Map(_stars, large_star).with_output_types(pa.RecordBatch)
            | self._by_key(run, "small", "vertex")
            | "small stars" >> beam.Map(_write_small_stars, self.folder, number + 1)
        )

    def _has_changed(self, number: int) -> bool:
        """Whether there are edges, and the last round changed them."""
        now = _fingerprint(self.folder, number)
        return now[0] > 0 and (number == 0 or now != _fingerprint(self.folder, number - 1))

    def _members(self, number: int, pipeline: Any) -> None:
        """Step 5: the clusters of all texts into the shards' files."""
        import apache_beam as beam

        from pipelines.transforms import shard_partition

        edges = (
            pipeline
            | "files" >> beam.Create(_files(self.folder, number))
            | "edges" >> beam.Map(_edge_members).with_output_types(pa.RecordBatch)
        )
        texts = self._each_shard("members", pipeline, partial(_text_members, self.folder))
        rooted = (
            (edges, texts)
            | self._by_key("members", "vertices", "vertex")
            | "roots" >> beam.FlatMap(_rooted).with_outputs("places", main="rooted")
        )
        sized = (
            rooted.rooted
            | self._by_key("members", "roots", "vertex")
            | "sizes" >> beam.FlatMap(_sized).with_output_types(pa.RecordBatch)
        )
        _ = (
            (sized, rooted.places)
            | self._by_key("members", "texts", "vertex")
            | "placed" >> beam.FlatMap(_placed).with_output_types(pa.RecordBatch)
            | self._exchange("members", "places", shard_partition)
            | "write" >> beam.Map(_write_shard, self.folder, self.shards)
        )


def _number_partition(column: str, partitions: int, batch: pa.RecordBatch) -> Numbers:
    numbers: Numbers = (batch[column].to_numpy() % np.uint64(partitions)).astype(np.int64)
    return numbers


def _positions(shard: int, rows: Any) -> pa.Array:
    from pipelines.transforms import SHARD_BITS

    return pa.array((shard << SHARD_BITS) + np.asarray(rows, np.int64))


def _rows_of(positions: Any) -> Numbers:
    from pipelines.transforms import SHARD_BITS

    rows: Numbers = positions.to_numpy() & ((1 << SHARD_BITS) - 1)
    return rows


def _merged(partition: tuple[int, pa.Table]) -> pa.RecordBatch:
    return pa.concat_batches(partition[1].to_batches())


def _flags(batch: pa.RecordBatch, column: str) -> NDArray[np.bool_]:
    flags: NDArray[np.bool_] = batch[column].to_numpy(zero_copy_only=False)
    return flags


def _text_rows(folder: str, near: NearSettings | None, number: int, name: str) -> Iterator[pa.RecordBatch]:
    texts = read_texts(folder, name)
    yield pa.RecordBatch.from_arrays(
        [
            texts["key"],
            _positions(number, np.arange(texts.num_rows)),
            texts["hash"],
            texts["queries"].cast(pa.int64()),
            texts["positives"].cast(pa.int64()),
            texts["mirrored"],
            pa.array(without_sketch(texts, near)),
        ],
        schema=_TEXT,
    )


def _groups(*columns: Any) -> tuple[Numbers, Numbers]:
    """The rows sorted by columns (the first counts most), and where each group of equal ones starts."""
    order = np.lexsort(columns[::-1])
    new = np.zeros(len(order), bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[order][1:] != column[order][:-1]
    return order, np.flatnonzero(new)


def _places(partition: tuple[int, pa.Table], folder: str) -> Iterator[pa.RecordBatch]:
    """Of each text, the place whose sketch counts, and the sides the text is compared on."""
    rows = _merged(partition)
    high, low = key_halves(rows["key"])
    by = (_flags(rows, "unsketched"), rows["hash"].to_numpy(), rows["position"].to_numpy())
    order = order_of_keys(high, low, *by)
    high, low = high[order], low[order]
    starts = np.flatnonzero(np.r_[True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])])
    on_query = (rows["query_pairs"].to_numpy() > 0) | _flags(rows, "mirrored")
    on_positive = rows["positive_pairs"].to_numpy() > 0
    places = rows["position"].take(pa.array(order[starts]))
    sides = [np.logical_or.reduceat(each[order], starts) for each in (on_query, on_positive)]
    yield pa.RecordBatch.from_arrays([places, *(pa.array(side) for side in sides)], schema=_PLACE)


def _counting(folder: str, shard: Shard, places: pa.RecordBatch, side: str) -> tuple[pa.Table, Numbers]:
    """The sketches of a shard that count on a side, and the row of TEXTS of each."""
    sketches = read_sketches(folder, shard.name)
    counts = np.zeros(read_texts(folder, shard.name).num_rows, bool)
    counts[_rows_of(places["position"].filter(places[f"on_{side}"]))] = True
    sketches = sketches.filter(pa.array(counts[sketches["text"].to_numpy()]))
    return sketches, sketches["text"].to_numpy()


def _bucket_rows(
    partition: tuple[int, pa.Table], folder: str, shards: Sequence[Shard], near: NearSettings
) -> Iterator[pa.RecordBatch]:
    """The buckets of a shard's texts on each side whose near-duplicates are looked for."""
    number, places = partition[0], _merged(partition)
    progress = TaskProgress(folder, f"bands-{number}")
    keys = read_texts(folder, shards[number].name)["key"]
    for code, side in enumerate(SIDES):
        if not compared(near, side):
            continue
        sketches, texts = _counting(folder, shards[number], places, side)
        for batch in sketches.to_batches(max_chunksize=65536):
            rows, buckets = band_keys(batch, near)
            text = batch["text"].to_numpy()[rows]
            columns = [
                buckets,
                np.full(len(rows), code, np.int8),
                _positions(number, text),
                keys.take(pa.array(text)),
            ]
            yield pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=_BUCKET)
            progress.beat(len(texts))


def _shared_buckets(partition: tuple[int, pa.Table]) -> pa.RecordBatch:
    """The rows of buckets that another text of the side is in."""
    rows = _merged(partition)
    order, starts = _groups(rows["bucket"].to_numpy(), rows["side"].to_numpy())
    shared = np.repeat(np.diff(np.r_[starts, len(order)]) > 1, np.diff(np.r_[starts, len(order)]))
    return rows.take(pa.array(order[shared]))


def _sketch_rows(
    partition: tuple[int, pa.Table], folder: str, shards: Sequence[Shard], near: NearSettings
) -> Iterator[pa.RecordBatch]:
    """The sketches of a shard that share buckets, once for each of those."""
    shard, wanted = shards[partition[0]], _merged(partition)
    sketches, progress = read_sketches(folder, shard.name), TaskProgress(folder, f"compare-{partition[0]}")
    written = _texts_of(folder, shard, _rows_of(wanted["position"])) if near.exact else None
    buckets, sides, rows = wanted["bucket"].to_numpy(), wanted["side"].to_numpy(), _rows_of(wanted["position"])
    for batch in sketches.filter(pa.array(np.isin(sketches["text"].to_numpy(), rows))).to_batches(max_chunksize=16384):
        places, keys = band_keys(batch, near)
        texts = batch["text"].to_numpy()[places]
        left, right = _matches((texts, keys), (rows, buckets))
        taken = batch.take(pa.array(places[left]))
        columns = {
            "bucket": pa.array(buckets[right]),
            "side": pa.array(sides[right]),
            "key": wanted["key"].take(pa.array(right)),
            "view": taken["view"],
            "signature": taken["signature"],
            "folded": taken["folded"],
            "written": pa.nulls(len(left), pa.large_string())
            if written is None
            else written.take(pa.array(texts[left])),
        }
        yield pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
        progress.beat(len(rows))


def _matches(these: tuple[Any, Any], those: tuple[Any, Any]) -> tuple[Numbers, Numbers]:
    """Rows of these and of those that agree in both columns; each of these is there once at most in those, and side."""
    order = np.lexsort(those[::-1])
    sorted_those = _pairs_of(*(column[order] for column in those))
    wanted = _pairs_of(*these)
    first = np.searchsorted(sorted_those, wanted, "left")
    counts = np.searchsorted(sorted_those, wanted, "right") - first
    left = np.repeat(np.arange(len(wanted)), counts)
    right = order[np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())]
    return left, right


def _pairs_of(numbers: Any, keys: Any) -> NDArray[Any]:
    pairs = np.empty(len(keys), [("number", "i8"), ("key", "u8")])
    pairs["number"], pairs["key"] = numbers, keys
    return pairs


def _texts_of(folder: str, shard: Shard, rows: Numbers) -> pa.Array:
    """The texts of some rows of TEXTS, under their numbers; the others are null."""
    texts = read_texts(folder, shard.name)
    wanted = np.zeros(texts.num_rows, bool)
    wanted[rows] = True
    index = np.full(texts.num_rows, -1, np.int64)
    found, count = [pa.array([], pa.large_string())], 0
    for numbers, written in read_written_texts(shard.url, texts):
        here = wanted[numbers]
        index[numbers[here]] = np.arange(count, count + here.sum())
        count += int(here.sum())
        found.append(written.filter(pa.array(here)).cast(pa.large_string()))
    return pa.concat_arrays(found).take(pa.array(index, mask=index < 0))


def _write_similar(partition: tuple[int, pa.Table], folder: str, near: NearSettings) -> None:
    """Compare the texts of the buckets of one partition, and write the pairs of similar ones."""
    TaskProgress(folder, f"buckets-{partition[0]}").beat(0)
    all_rows = _merged(partition)
    edges = [pa.RecordBatch.from_pylist([], _EDGE)]
    for code in range(len(SIDES)):
        rows = all_rows.filter(pa.array(all_rows["side"].to_numpy() == code))
        if rows.num_rows < 2:
            continue
        number, high, low = _numbered(rows["key"])
        sketches = pa.RecordBatch.from_arrays(
            [pa.array(number), rows["view"], rows["signature"], rows["folded"]],
            names=["text", "view", "signature", "folded"],
        )
        texts = rows["written"] if near.exact else None
        found = similar_within_buckets(sketches, rows["bucket"].to_numpy(), near, texts=texts, shingles=near.sketch)
        ends = [keys_of_halves(high[end], low[end]) for end in (found["right"].to_numpy(), found["left"].to_numpy())]
        side = pa.array(np.full(found.num_rows, code, np.int8))
        edges.append(pa.RecordBatch.from_arrays([*ends, side], schema=_EDGE))
    write_arrow(_file(folder, 0, partition[0]), pa.concat_batches(edges))


def _numbered(*keys: pa.Array) -> tuple[Numbers, NDArray[np.uint64], NDArray[np.uint64]]:
    """The keys of several columns, end to end, numbered in their order; and the halves of the key of each number."""
    halves = [key_halves(column) for column in keys]
    high, low = (np.concatenate(each) for each in zip(*halves, strict=True))
    order = order_of_keys(high, low)
    high, low = high[order], low[order]
    new = np.r_[True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])][: len(order)]
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(new) - 1
    return number, high[new], low[new]


def _round_folder(folder: str, number: int) -> str:
    return storage.join(folder, _FOLDER, f"edges-{number}")


def _file(folder: str, number: int, partition: int) -> str:
    return storage.join(_round_folder(folder, number), f"{partition}.arrow")


def _files(folder: str, number: int) -> list[str]:
    names = storage.list_files(_round_folder(folder, number), ".arrow")
    return [storage.join(_round_folder(folder, number), name) for name in names]


def _fingerprint(folder: str, number: int) -> tuple[int, int]:
    """How many edges a round has, and a sum over them that does not depend on their order."""
    edges, total = 0, 0
    for url in _files(folder, number):
        rows = one_batch(read_arrow(url))
        high, low = key_halves(combined_keys(rows["vertex"], rows["neighbour"], rows["side"].cast(pa.uint64())))
        edges += rows.num_rows
        total += int(np.sum(high ^ low))
    return edges, total % 2**64


def _both_ways(url: str) -> Iterator[pa.RecordBatch]:
    edges = one_batch(read_arrow(url))
    yield edges
    yield pa.RecordBatch.from_arrays([edges["neighbour"], edges["vertex"], edges["side"]], schema=_EDGE)


def _stars(partition: tuple[int, pa.Table], star: Any) -> pa.RecordBatch:
    """The edges that stars make of those of one partition, each from its larger end."""
    rows = _merged(partition)
    numbers, high, low = _numbered(rows["vertex"], rows["neighbour"])
    sides = rows["side"].to_numpy()
    made = [pa.RecordBatch.from_pylist([], _EDGE)]
    for code in range(len(SIDES)):
        here = sides == code
        ends = star(numbers[: len(sides)][here], numbers[len(sides) :][here])
        keys = [keys_of_halves(high[end], low[end]) for end in ends]
        side = pa.array(np.full(len(ends[0]), code, np.int8))
        made.append(pa.RecordBatch.from_arrays([*keys, side], schema=_EDGE))
    return pa.concat_batches(made)


def _write_small_stars(partition: tuple[int, pa.Table], folder: str, number: int) -> None:
    TaskProgress(folder, f"stars-{partition[0]}").beat(0)
    write_arrow(_file(folder, number, partition[0]), _stars(partition, small_star))


def _members_batch(rows: int, **columns: Any) -> pa.RecordBatch:
    """A _MEMBER batch; what is not given is zero."""
    arrays = []
    for field in _MEMBER:
        given = columns.get(field.name)
        if given is None and field.type == KEY:
            given = keys_of_halves(np.zeros(rows, np.uint64), np.zeros(rows, np.uint64))
        elif given is None or isinstance(given, int):
            given = np.full(rows, given or 0, field.type.to_pandas_dtype())
        arrays.append(given if isinstance(given, pa.Array) else pa.array(given))
    return pa.RecordBatch.from_arrays(arrays, schema=_MEMBER)


def _edge_members(url: str) -> pa.RecordBatch:
    """A star's edge: its text and the smallest text of the cluster."""
    edges = one_batch(read_arrow(url))
    columns = {"vertex": edges["vertex"], "root": edges["neighbour"], "side": edges["side"], "position": _SIZE_OF_ROOT}
    return _members_batch(edges.num_rows, **columns)


def _text_members(folder: str, number: int, name: str) -> Iterator[pa.RecordBatch]:
    """Each text of a shard for each side it is compared on, with the pairs that have it there."""
    texts = read_texts(folder, name)
    positions = _positions(number, np.arange(texts.num_rows))
    mirrored = _flags(texts, "mirrored")
    for code, column in enumerate(("queries", "positives")):
        pairs = texts[column].to_numpy().astype(np.int64)
        yield _members_batch(
            texts.num_rows,
            vertex=texts["key"],
            text=texts["key"],
            side=np.full(texts.num_rows, code, np.int8),
            # Below zero: on no side by itself, but another shard may have the text there.
            pairs=np.where((pairs > 0) | (mirrored & (code == 0)), pairs, -1),
            position=positions,
        )


def _rooted(partition: tuple[int, pa.Table]) -> Iterator[Any]:
    """By the texts: each text with its cluster's root, by the root; and the places of the texts, which wait for the size."""
    from apache_beam.pvalue import TaggedOutput

    rows = _merged(partition)
    is_edge = rows["position"].to_numpy() == _SIZE_OF_ROOT
    numbers, high, low = _numbered(rows["vertex"])
    vertices = 2 * numbers + rows["side"].to_numpy()  # a vertex for each side
    roots_high, roots_low = np.repeat(high, 2), np.repeat(low, 2)
    edge_high, edge_low = key_halves(rows["root"].filter(pa.array(is_edge)))
    roots_high[vertices[is_edge]], roots_low[vertices[is_edge]] = edge_high, edge_low
    pairs = rows["pairs"].to_numpy()
    counted = ~is_edge & (pairs >= 0)
    totals = np.bincount(vertices[counted], weights=pairs[counted], minlength=2 * len(high)).astype(np.int64)
    present = np.unique(vertices[counted])
    roots = keys_of_halves(roots_high[present], roots_low[present])
    texts = keys_of_halves(high[present // 2], low[present // 2])
    side = (present % 2).astype(np.int8)
    yield _members_batch(
        len(present), vertex=roots, text=texts, root=roots, side=side, pairs=totals[present], position=_ROW_OF_TEXT
    )
    yield TaggedOutput("places", rows.filter(pa.array(~is_edge)))


def _sized(partition: tuple[int, pa.Table]) -> Iterator[pa.RecordBatch]:
    """By the roots: each text with the size of its cluster, by the text."""
    rows = _merged(partition)
    numbers, high, _ = _numbered(rows["root"])
    clusters = 2 * numbers + rows["side"].to_numpy()
    sizes = np.bincount(clusters, weights=rows["pairs"].to_numpy(), minlength=2 * len(high)).astype(np.int64)
    yield _members_batch(
        rows.num_rows,
        vertex=rows["text"],
        text=rows["text"],
        root=rows["root"],
        side=rows["side"],
        pairs=sizes[clusters],
        position=_ROW_OF_TEXT,
    )


def _placed(partition: tuple[int, pa.Table]) -> Iterator[pa.RecordBatch]:
    """By the texts: the cluster of each place of a text."""
    rows = _merged(partition)
    numbers, high, _ = _numbered(rows["vertex"])
    vertices = 2 * numbers + rows["side"].to_numpy()
    is_text = rows["position"].to_numpy() == _ROW_OF_TEXT
    row_of = np.full(2 * len(high), -1, np.int64)
    row_of[vertices[is_text]] = np.flatnonzero(is_text)
    source = row_of[vertices[~is_text]]
    places = rows.filter(pa.array(~is_text))
    known = source >= 0
    found = rows.take(pa.array(source[known]))
    position, side = (places[name].filter(pa.array(known)) for name in ("position", "side"))
    yield pa.RecordBatch.from_arrays([position, side, found["root"], found["pairs"]], schema=_MEMBERSHIP)


def _write_shard(partition: tuple[int, pa.Table], folder: str, shards: Sequence[Shard]) -> None:
    """The CLUSTERS of one shard's texts."""
    number, rows = partition[0], _merged(partition)
    name = shards[number].name
    count = read_texts(folder, name).num_rows
    place, sides = _rows_of(rows["position"]), rows["side"].to_numpy()
    high, low = key_halves(rows["root"])
    columns: list[pa.Array] = []
    for code in range(len(SIDES)):
        here = np.flatnonzero(sides == code)
        source = np.zeros(count, np.int64)
        source[place[here]] = here
        known = np.zeros(count, bool)
        known[place[here]] = True
        columns.append(nullable_keys(high[source], low[source], known))
        columns.append(pa.array(rows["pairs"].to_numpy()[source].astype(np.int32), mask=~known))
    write_arrow(clusters_file(folder, name), pa.RecordBatch.from_arrays(columns, schema=CLUSTERS))
