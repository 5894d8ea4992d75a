"""Near-duplicates among sketched texts: candidates by bands, each verified, the alike ones as pairs.

    sketches = sketch_texts(texts)
    pairs = similar_pairs(sketches)
    first = representatives(pairs["left"], pairs["right"], numpy.arange(len(texts)))

Sketches of later texts are put behind those that were kept (pyarrow.concat_tables): the result is that of one run over
all. Sketches may lie in memory-mapped files, in any number of pieces. Of a view at a time their signatures (128 bytes at
128 permutations) and folded short texts are copied; all else takes about 150 bytes a text, one band's keys being held at
a time.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from filters.bands import Bands, choose_bands
from filters.minhash import arrow_array, least_agreements, signatures_of
from filters.shingles import DEFAULT_SHINGLES, SHORT, VIEWS, ShingleSettings, folding
from filters.text_quality import utf8_buffers

Numbers = NDArray[np.int64]

SIMILAR_PAIRS: Final = pa.schema(
    [
        pa.field("left", pa.int64(), nullable=False),  # the text with the smaller position
        pa.field("right", pa.int64(), nullable=False),
        pa.field("view", pa.uint8(), nullable=False),  # an index into filters.shingles.VIEWS
        pa.field("similarity", pa.float32(), nullable=False),
    ]
)

# How far an estimate may lie below the similarity before exact comparison is skipped: over three standard errors.
ESTIMATE_SLACK: Final = 0.15
UNLIKE_PAIRS: Final = 4  # remembered for each row, of 8 bytes each
MOST_UNLIKE_PAIRS: Final = 1 << 24


class NearDuplicateSettings(BaseModel):
    """Which texts count as near-duplicates, and how hard they are looked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    similarity: float = Field(
        0.65,
        gt=0,
        lt=1,
        description="longer texts are near-duplicates from this estimated (or exact) Jaccard similarity of their "
        "shingles; bands are chosen for it. Estimates spread: this finds nearly all from 0.7 on",
    )
    exact: bool = Field(
        False, description="compare longer texts' shingles exactly, not by estimate; needs the texts at hand"
    )
    short_similarity: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Jaccard similarity of short texts' shingles that bands are chosen for; pairs far below it by one bit "
        "of each place of their signatures are not compared further",
    )
    short_least_estimate: float = Field(
        0.3, ge=0, le=1, description="estimated similarity from which short texts' characters are compared"
    )
    least_edit_similarity: float = Field(
        0.82,
        gt=0,
        le=1,
        description="short texts are near-duplicates from this share of characters that need no edit (insert, delete, "
        "replace), of the longer text's",
    )
    least_word_similarity: float = Field(
        0.5,
        ge=0,
        le=1,
        description="short texts that differ in one word alone are none, though, where less than this share of its "
        "characters needs no edit and more than one needs it: symptoms of measles, symptoms of mumps",
    )
    words_per_edit: int = Field(
        10,
        ge=2,
        description="short texts of so many words are near-duplicates too where one word in so many was edited, "
        "however long it is",
    )
    numbers_agree: bool = Field(
        True, description="short texts with as many numbers, but other ones, are no near-duplicates"
    )
    weight_of_missed: float = Field(
        0.95, gt=0, lt=1, description="weight of pairs missed against pairs compared in vain, where bands are chosen"
    )
    most_compared: int = Field(
        16, ge=1, description="texts that each text of a bucket is compared with at most: keeps large buckets linear"
    )

    def bands(self, view: int, permutations: int) -> Bands:
        """How signatures are cut in a view."""
        similarity = self.short_similarity if view == SHORT else self.similarity
        return choose_bands(permutations, similarity, self.weight_of_missed)


DEFAULT_SETTINGS: Final = NearDuplicateSettings()


def similar_pairs(
    sketches: pa.RecordBatch | pa.Table,
    settings: NearDuplicateSettings = DEFAULT_SETTINGS,
    *,
    position: Any = None,
    texts: pa.Array | None = None,
    shingles: ShingleSettings = DEFAULT_SHINGLES,
    after_reading: Callable[[], None] | None = None,
) -> pa.Table:
    """Pairs of near-duplicates that connect all that were found: SIMILAR_PAIRS, fewer of a view than it has sketches.

    `sketches` are those of filters.minhash in any order. `position` is integers, indexed by the sketches' text numbers and
    different for each text (default: the number): the pairs follow from the texts and their positions alone. `texts` are
    indexed by the same numbers; `shingles` are the settings of the sketches. Both are used where settings.exact is true.
    The similarity is the estimated or exact Jaccard similarity, of short texts the share that needs no edit, and 1 of
    equal sketches. Raises ValueError where settings.exact is true and there are no texts.
    `after_reading` is called after each piece of a column of the sketches was copied: mapped pages may go then.
    """
    _refuse_exact_without(texts, settings)
    numbers = _column(sketches, "text")
    order = numbers if position is None else np.asarray(position)[numbers]
    views = _column(sketches, "view")

    def pairs_of(view: int, rows: Numbers) -> pa.Table:  # what one view takes is gone before the next one's is read
        read = _read_sketches(view, sketches, rows, numbers, after_reading)
        comparison = _comparison(read, settings, texts, numbers[rows], shingles)
        distinct, first = _first_equal(read)
        buckets = _buckets(read.signatures, distinct, settings.bands(view, read.signatures.shape[1]))
        return _join(read, first, buckets, comparison, settings.most_compared)

    found = []
    for view in range(len(VIEWS)):
        rows = np.flatnonzero(views == view)
        rows = rows[np.argsort(order[rows], kind="stable")]
        if len(rows) > 1:
            found.append(pairs_of(view, rows))
    return pa.concat_tables(found) if found else SIMILAR_PAIRS.empty_table()


def band_keys(
    sketches: pa.RecordBatch | pa.Table, settings: NearDuplicateSettings = DEFAULT_SETTINGS
) -> tuple[Numbers, NDArray[np.uint64]]:
    """The buckets that each sketch is in, one for each band of its view: rows int64 [n], keys uint64 [n].

    Only sketches that share a key need be compared. A key says the view and the band too, so all keys can be exchanged
    as one column; what arrives where is compared by similar_within_buckets.
    """
    views = _column(sketches, "view")
    all_rows, all_keys = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for view in range(len(VIEWS)):
        rows = np.flatnonzero(views == view)
        if len(rows) == 0:
            continue
        signatures = _read_signatures(sketches, rows)
        bands = settings.bands(view, signatures.shape[1])
        for band in range(bands.bands):
            all_rows.append(rows)
            all_keys.append(bands.keys(signatures, band, view))
    return np.concatenate(all_rows), np.concatenate(all_keys)


def similar_within_buckets(
    sketches: pa.RecordBatch | pa.Table,
    bucket: Any,
    settings: NearDuplicateSettings = DEFAULT_SETTINGS,
    *,
    position: Any = None,
    texts: pa.Array | None = None,
    shingles: ShingleSettings = DEFAULT_SHINGLES,
) -> pa.Table:
    """Pairs of near-duplicates among sketches that share a bucket, for runs in which buckets lie in many places.

    `bucket` is integers [rows], the key that band_keys gave for the row: a sketch comes once for each of its buckets that
    is here. A bucket must be here with all its sketches, or not at all. `position` is integers [rows], those of the rows'
    texts, different for each text (default: the text's number); `texts` are those of the rows. The rest and the result
    are as for similar_pairs. The pairs of all buckets, wherever they lie, connect what similar_pairs connects.
    """
    _refuse_exact_without(texts, settings)
    numbers = _column(sketches, "text")
    order = numbers if position is None else np.asarray(position)
    views = _column(sketches, "view")
    keys = np.asarray(bucket)
    found = []
    for view in range(len(VIEWS)):
        here = np.flatnonzero(views == view)
        if len(here) < 2:
            continue
        _, first_places, entries = np.unique(order[here], return_index=True, return_inverse=True)
        rows = here[first_places]
        read = _read_sketches(view, sketches, rows, numbers)
        comparison = _comparison(read, settings, texts, rows, shingles)
        _, first = _first_equal(read)
        buckets = _given_buckets(keys[here], first[entries])
        found.append(_join(read, first, iter([buckets]), comparison, settings.most_compared))
    return pa.concat_tables(found) if found else SIMILAR_PAIRS.empty_table()


def _refuse_exact_without(texts: pa.Array | None, settings: NearDuplicateSettings) -> None:
    if settings.exact and texts is None:
        raise ValueError(
            "The shingles cannot be compared exactly without the texts: give texts, or set exact to false."
        )


@dataclass(frozen=True)
class _Sketches:
    """The sketches of one view in the order of their positions; the rows of all that follows."""

    view: int
    numbers: Numbers  # of the texts: int64 [rows]
    signatures: NDArray[np.uint8]  # [rows, permutations]
    folded_bounds: Numbers  # [rows + 1]
    folded_data: NDArray[np.uint8]


def _read_sketches(
    view: int,
    sketches: pa.RecordBatch | pa.Table,
    rows: Numbers,
    numbers: Numbers,
    after_piece: Callable[[], None] | None = None,
) -> _Sketches:
    """The sketches `rows`, copied once, piece by piece of the columns."""
    from filters import near_duplicate_loops as loops

    signatures = _read_signatures(sketches, rows, after_piece)
    bounds = np.zeros(len(rows) + 1, np.int64)
    if view != SHORT:
        return _Sketches(view, numbers[rows], signatures, bounds, np.empty(0, np.uint8))
    for piece, places in _pieces(sketches, "folded", rows, after_piece):
        loops.put_lengths(_buffers(piece)[0], places, bounds)
    np.cumsum(bounds, out=bounds)
    data = np.empty(bounds[-1], np.uint8)
    for piece, places in _pieces(sketches, "folded", rows, after_piece):
        loops.put_texts(*_buffers(piece), places, bounds, data)
    return _Sketches(view, numbers[rows], signatures, bounds, data)


def _read_signatures(
    sketches: pa.RecordBatch | pa.Table, rows: Numbers, after_piece: Callable[[], None] | None = None
) -> NDArray[np.uint8]:
    from filters import near_duplicate_loops as loops

    signatures = np.empty((len(rows), sketches.schema.field("signature").type.byte_width), np.uint8)
    for piece, places in _pieces(sketches, "signature", rows, after_piece):
        loops.put_signatures(signatures_of(pa.RecordBatch.from_arrays([piece], ["signature"])), places, signatures)
    return signatures


def _pieces(
    sketches: pa.RecordBatch | pa.Table, name: str, rows: Numbers, after_piece: Callable[[], None] | None
) -> Iterator[tuple[pa.Array, Numbers]]:
    """The pieces of a column, and of each of their rows its place among `rows`, or -1."""
    place_of = np.full(sketches.num_rows, -1, np.int64)
    place_of[rows] = np.arange(len(rows))
    column = sketches.column(name)
    start = 0
    for piece in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        yield piece, place_of[start : start + len(piece)]
        start += len(piece)
        if after_piece is not None:
            after_piece()


def _comparison(
    read: _Sketches,
    settings: NearDuplicateSettings,
    texts: pa.Array | None,
    text_rows: Numbers,
    shingles: ShingleSettings,
) -> Any:
    """What the sketches are compared by; `text_rows` are their places in `texts`."""
    from filters import near_duplicate_loops as loops

    text_bounds, text_data = _buffers(pa.array([], pa.string()) if texts is None else texts)
    rows, permutations = read.signatures.shape
    facts = np.empty((rows, loops.BITS + -(-permutations // 64)), np.uint64)
    loops.put_facts(read.signatures, read.folded_bounds, read.folded_data, facts)
    exact = settings.exact and read.view != SHORT
    similarity = settings.short_similarity if read.view == SHORT else settings.similarity
    least_estimate = settings.short_least_estimate if read.view == SHORT else settings.similarity
    return loops.Comparison(
        read.view,
        facts,
        _least_equal_bits(permutations, similarity),
        read.signatures,
        least_agreements(permutations, least_estimate - (ESTIMATE_SLACK if exact else 0)),
        read.folded_bounds,
        read.folded_data,
        loops.hash_numbers(read.folded_bounds, read.folded_data),
        float(settings.least_edit_similarity),
        float(settings.least_word_similarity),
        settings.words_per_edit,
        settings.numbers_agree,
        exact,
        float(settings.similarity),
        text_rows,
        text_bounds,
        text_data,
        folding(),
        shingles.numbers(),
        np.zeros(min(1 << (UNLIKE_PAIRS * rows).bit_length(), MOST_UNLIKE_PAIRS), np.uint64),
    )


def _join(
    read: _Sketches, first: Numbers, buckets: Iterator[tuple[Numbers, Numbers]], comparison: Any, most_compared: int
) -> pa.Table:
    """The pairs of equal sketches, and of those alike that share a bucket."""
    from filters import near_duplicate_loops as loops

    rows = len(first)
    left, right = np.empty(rows, np.int64), np.empty(rows, np.int64)
    similarities = np.empty(rows, np.float32)
    later = np.flatnonzero(first != np.arange(rows))
    written = len(later)
    left[:written], right[:written], similarities[:written] = first[later], later, 1
    parents = first.copy()
    for starts, members in buckets:
        written = loops.join_buckets(
            starts, members, most_compared, comparison, parents, left, right, similarities, written
        )
    columns: list[NDArray[Any]] = [
        read.numbers[left[:written]],
        read.numbers[right[:written]],
        np.full(written, read.view, np.uint8),
        similarities[:written],
    ]
    return pa.table([arrow_array(column) for column in columns], schema=SIMILAR_PAIRS)


def _least_equal_bits(permutations: int, similarity: float) -> int:
    """Equal lowest bits that pairs of this similarity have but for one in 200 (2.6 standard deviations below the mean).

    Places that agree have equal bits, half of the others do. Bits beyond the last place are equal in all pairs.
    """
    equal = (1 + similarity) / 2
    beyond = -permutations % 64
    return math.floor(permutations * equal - 2.6 * math.sqrt(permutations * equal * (1 - equal))) + beyond


def _first_equal(read: _Sketches) -> tuple[Numbers, Numbers]:
    """The rows that equal no earlier one, and of each row the first that equals it: int64 [distinct], int64 [rows]."""
    from filters import near_duplicate_loops as loops

    keys = loops.hash_sketches(read.signatures, read.folded_bounds, read.folded_data)
    first = np.arange(len(keys))
    starts, members = _sorted_buckets(keys, first)
    first[members] = np.repeat(members[starts[:-1]], np.diff(starts))
    return np.flatnonzero(first == np.arange(len(first))), first


def _buckets(signatures: NDArray[np.uint8], rows: Numbers, bands: Bands) -> Iterator[tuple[Numbers, Numbers]]:
    """Of each band, the rows that share a key with another: where each bucket starts (and the end), and the rows."""
    for band in range(bands.bands):
        yield _sorted_buckets(bands.keys(signatures, band)[rows], rows)


def _given_buckets(keys: NDArray[Any], rows: Numbers) -> tuple[Numbers, Numbers]:
    """Where each bucket starts (and the end), and its rows, in order and each once."""
    order = np.lexsort((rows, keys))
    keys, rows = keys[order], rows[order]
    new_bucket = np.r_[True, keys[1:] != keys[:-1]]
    kept = new_bucket | np.r_[True, rows[1:] != rows[:-1]]
    return np.r_[np.flatnonzero(new_bucket[kept]), kept.sum()], rows[kept]


def _sorted_buckets(keys: NDArray[np.uint64], rows: Numbers) -> tuple[Numbers, Numbers]:
    from filters import near_duplicate_loops as loops

    shared = loops.shared_keys(keys)
    shared = shared[np.argsort(keys[shared])]
    members = rows[shared]
    return loops.cut_buckets(keys[shared], members), members


def _column(sketches: pa.RecordBatch | pa.Table, name: str) -> NDArray[Any]:
    values: NDArray[Any] = sketches.column(name).to_numpy()
    return values


def _buffers(texts: pa.Array | pa.ChunkedArray) -> tuple[Numbers, NDArray[np.uint8]]:
    bounds, data = utf8_buffers(pc.fill_null(texts, ""))
    return bounds.astype(np.int64), np.frombuffer(data, np.uint8)
