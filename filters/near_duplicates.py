"""Near-duplicates among sketched texts: candidates by bands, each verified, the alike ones as pairs.

    sketches = sketch_texts(texts)
    pairs = similar_pairs(sketches)
    first = representatives(pairs["left"], pairs["right"], numpy.arange(len(texts)))

Sketches of later texts are put behind those that were kept (pyarrow.concat_tables): the result is that of one run over
all. Signatures take 256 bytes a text at 128 permutations, and may lie in memory-mapped files; all else takes about 40
bytes a text, one band's keys being held at a time.
"""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from filters.bands import Bands, choose_bands
from filters.minhash import signatures_of
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
UNLIKE_PAIRS: Final = 1 << 22  # remembered, of 8 bytes each


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
        0.5, gt=0, lt=1, description="Jaccard similarity of short texts' shingles that bands are chosen for"
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
) -> pa.Table:
    """Pairs of near-duplicates that connect all that were found: SIMILAR_PAIRS, fewer of a view than it has sketches.

    `sketches` are those of filters.minhash in any order. `position` is integers, indexed by the sketches' text numbers and
    different for each text (default: the number): the pairs follow from the texts and their positions alone. `texts` are
    indexed by the same numbers; `shingles` are the settings of the sketches. Both are used where settings.exact is true.
    The similarity is the estimated or exact Jaccard similarity, of short texts the share that needs no edit, and 1 of
    equal sketches. Raises ValueError where settings.exact is true and there are no texts.
    """
    if settings.exact and texts is None:
        raise ValueError(
            "The shingles cannot be compared exactly without the texts: give texts, or set exact to false."
        )
    numbers = _numbers(sketches, "text")
    order = numbers if position is None else np.asarray(position)[numbers]
    views = _numbers(sketches, "view")
    found = []
    for view in range(len(VIEWS)):
        rows = np.flatnonzero(views == view)
        rows = rows[np.argsort(order[rows], kind="stable")]
        if len(rows) > 1:
            found.append(_pairs_of_view(view, sketches, rows, numbers[rows], settings, texts, shingles))
    return pa.concat_tables(found) if found else SIMILAR_PAIRS.empty_table()


def _pairs_of_view(
    view: int,
    sketches: pa.RecordBatch | pa.Table,
    rows: Numbers,
    numbers: Numbers,
    settings: NearDuplicateSettings,
    texts: pa.Array | None,
    shingles: ShingleSettings,
) -> pa.Table:
    """The pairs of one view, whose sketches are `rows` in the order of positions, of the texts `numbers`."""
    from filters import near_duplicate_loops as loops

    signatures = _take_signatures(sketches, rows)
    folded_bounds, folded_data = _buffers(sketches.column("folded").take(rows))
    text_bounds, text_data = _buffers(pa.array([], pa.string()) if texts is None else texts)
    exact = settings.exact and view != SHORT
    similarity = settings.short_similarity if view == SHORT else settings.similarity
    least_estimate = settings.short_least_estimate if view == SHORT else settings.similarity
    comparison = loops.Comparison(
        view,
        loops.lowest_bits(signatures),
        _least_equal_bits(signatures.shape[1], similarity),
        signatures,
        float(least_estimate - (ESTIMATE_SLACK if exact else 0)),
        folded_bounds,
        folded_data,
        loops.hash_numbers(folded_bounds, folded_data),
        float(settings.least_edit_similarity),
        settings.words_per_edit,
        settings.numbers_agree,
        exact,
        float(settings.similarity),
        numbers,
        text_bounds,
        text_data,
        folding(),
        shingles.numbers(),
        np.zeros(UNLIKE_PAIRS, np.uint64),
    )
    left, right = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    similarities = np.empty(len(rows), np.float32)
    parents = np.arange(len(rows))
    distinct, written = _join_equal(loops.hash_sketches(signatures, folded_bounds, folded_data), left, right)
    similarities[:written] = 1
    loops.join_all(parents, left[:written], right[:written])
    for starts, members in _buckets(signatures, distinct, settings.bands(view, signatures.shape[1])):
        written = loops.join_buckets(
            starts, members, settings.most_compared, comparison, parents, left, right, similarities, written
        )
    columns = [numbers[left[:written]], numbers[right[:written]], np.full(written, view, np.uint8)]
    return pa.table([*columns, similarities[:written]], schema=SIMILAR_PAIRS)


def _least_equal_bits(permutations: int, similarity: float) -> int:
    """Equal lowest bits that pairs of this similarity have but for one in 200 (2.6 standard deviations below the mean).

    Places that agree have equal bits, half of the others do. Bits beyond the last place are equal in all pairs.
    """
    equal = (1 + similarity) / 2
    beyond = -permutations % 64
    return math.floor(permutations * equal - 2.6 * math.sqrt(permutations * equal * (1 - equal))) + beyond


def _join_equal(keys: NDArray[np.uint64], left: Numbers, right: Numbers) -> tuple[Numbers, int]:
    """Writes pairs of each row and the first row that equals it: the rows that equal no earlier one, and how many pairs."""
    starts, members = _sorted_buckets(keys, np.arange(len(keys)))
    sizes = np.diff(starts)
    first = np.repeat(members[starts[:-1]], sizes)
    later = first != members
    written = int(later.sum())
    left[:written], right[:written] = first[later], members[later]
    distinct = np.ones(len(keys), np.bool_)
    distinct[members[later]] = False
    return np.flatnonzero(distinct), written


def _buckets(signatures: NDArray[np.uint16], rows: Numbers, bands: Bands) -> Iterator[tuple[Numbers, Numbers]]:
    """Of each band, the rows that share a key with another: where each bucket starts (and the end), and the rows."""
    for band in range(bands.bands):
        yield _sorted_buckets(bands.keys(signatures, band)[rows], rows)


def _sorted_buckets(keys: NDArray[np.uint64], rows: Numbers) -> tuple[Numbers, Numbers]:
    from filters import near_duplicate_loops as loops

    shared = loops.shared_keys(keys)
    shared = shared[np.argsort(keys[shared])]
    members = rows[shared]
    return loops.cut_buckets(keys[shared], members), members


def _take_signatures(sketches: pa.RecordBatch | pa.Table, rows: Numbers) -> NDArray[np.uint16]:
    """The signatures of `rows`, copied once: uint16 [rows, permutations]."""
    if isinstance(sketches, pa.RecordBatch):
        return signatures_of(sketches)[rows]
    place_of = np.full(sketches.num_rows, -1, np.int64)
    place_of[rows] = np.arange(len(rows))
    column = sketches.column("signature")
    signatures = np.empty((len(rows), column.type.byte_width // 2), np.uint16)
    start = 0
    for chunk in column.chunks:
        places = place_of[start : start + len(chunk)]
        wanted = places >= 0
        piece = pa.RecordBatch.from_arrays([chunk], ["signature"])
        signatures[places[wanted]] = signatures_of(piece)[wanted]
        start += len(chunk)
    return signatures


def _numbers(sketches: pa.RecordBatch | pa.Table, name: str) -> Numbers:
    numbers: Numbers = sketches.column(name).to_numpy().astype(np.int64)
    return numbers


def _buffers(texts: pa.Array | pa.ChunkedArray) -> tuple[Numbers, NDArray[np.uint8]]:
    bounds, data = utf8_buffers(pc.fill_null(texts, ""))
    return bounds.astype(np.int64), np.frombuffer(data, np.uint8)
