"""Leakage: training texts that are queries of an evaluation set, or nearly, and texts that are passages of one.

    index = build_query_index(evaluation_queries)
    leaks = find_leaks(training_queries, index)         which text is which query, by which rule
    passages = KeyTable.of(text_keys(evaluation_corpus))
    known = passages.contains(text_keys(training_passages))

The rules, the strictest first:

    query_exact   the same but for case, white space and punctuation (filters.duplicates.dedup_key)
    query_near    nearly the same: short texts by the characters that need no edit, and where no word became another;
                  longer ones by MinHash
    query_ngram   13 words in a row are the same, or 50 letters in scripts without spaces (GPT-3, appendix C; GPT-4's
                  technical report, appendix C); shorter texts as a whole, accents aside

An n-gram that stands in many evaluation queries is a turn of phrase ("which of the following best describes ..."), and a
query that is mostly digits says little: neither is looked for by n-grams.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from filters.bands import Bands
from filters.duplicates import dedup_key
from filters.minhash import DEFAULT_SKETCHES, signatures_of, sketch_texts
from filters.near_duplicates import NearDuplicateSettings
from filters.shingles import SHORT, VIEWS, folding
from filters.text_quality import measure_text, utf8_buffers

Numbers = NDArray[np.int64]
Keys = NDArray[np.uint64]

RULES: Final = ("query_exact", "query_near", "query_ngram")
EXACT, NEAR, NGRAM = range(3)

LEAKS: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # of the training texts
        pa.field("query", pa.int64(), nullable=False),  # of the evaluation queries
        pa.field("rule", pa.uint8(), nullable=False),  # an index into RULES: the first that holds
    ]
)

INDEX_VERSION: Final = 1  # raised when an index of the same queries changes
MOSTLY_DIGITS: Final = 0.5
TEXTS_AT_ONCE: Final = 65_536
KEYS_PER_START: Final = 4


class LeakageSettings(BaseModel):
    """When a text counts as an evaluation query."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exact: bool = Field(
        True, description="drop training queries that are an evaluation query, case and punctuation aside"
    )
    near: bool = Field(True, description="drop training queries that are nearly an evaluation query")
    near_edit_similarity: float = Field(
        0.8, gt=0, le=1, description="short queries are nearly equal from this share of characters that need no edit"
    )
    near_words_per_edit: int = Field(
        15,
        ge=2,
        description="of nearly equal short queries one word in so many may be another word; in shorter ones none, for "
        "`capital of France` is not `capital of Greece`. Words that are inserted, left out or misspelt are no other words",
    )
    near_letters_per_slip: int = Field(
        10,
        ge=2,
        description="of nearly equal short queries in scripts without spaces, of near_words_per_edit letters and more, one "
        "letter in so many may be another, each between letters that are the same",
    )
    near_similarity: float = Field(
        0.7, gt=0, lt=1, description="longer queries are nearly equal from this estimated Jaccard similarity"
    )
    ngrams: bool = Field(True, description="drop training queries that share an n-gram with an evaluation query")
    ngram_words: int = Field(13, ge=2, description="words in a row that are the same; 13 is GPT-3's (appendix C)")
    ngram_characters: int = Field(
        50,
        ge=8,
        description="letters in a row that are the same in scripts without spaces; 50 is GPT-4's (appendix C of its report)",
    )
    ngram_most_queries: int = Field(
        10,
        ge=1,
        description="an n-gram of more evaluation queries than these is a turn of phrase, and is not looked for",
    )

    def near_duplicates(self) -> NearDuplicateSettings:
        """The same for the kernels of near-duplicates."""
        return NearDuplicateSettings(
            similarity=self.near_similarity,
            least_edit_similarity=self.near_edit_similarity,
            words_per_edit=self.near_words_per_edit,
        )


DEFAULT_LEAKAGE: Final = LeakageSettings()


def text_keys(texts: pa.Array) -> Keys:
    """The first half of each text's dedup_key: uint64 [rows].

    Two different texts share one with a probability of 2**-64: of 30 million passages and 100 million training texts, one
    pair in six thousand runs.
    """
    keys = dedup_key(texts)
    if len(keys) == 0:
        return np.empty(0, np.uint64)
    halves = np.frombuffer(keys.buffers()[1], np.uint64)[2 * keys.offset : 2 * (keys.offset + len(keys))]
    return np.ascontiguousarray(halves[::2])


@dataclass(frozen=True)
class KeyTable:
    """Keys, sorted, and a row for each: found with about one read each, in memory or in memory-mapped files."""

    keys: Keys
    rows: Numbers
    starts: Numbers  # where the keys of each leading bits start, [2**bits + 1]

    @classmethod
    def of(cls, keys: Keys, rows: Numbers | None = None) -> "KeyTable":
        """The table of some keys, uint64 [n], and their rows, int64 [n]; without rows each key is held once."""
        if rows is None:
            keys = np.sort(keys)  # numpy's unique takes eight times the time and four times the memory
            return cls._sorted(keys[np.r_[True, keys[1:] != keys[:-1]][: len(keys)]], np.empty(0, np.int64))
        order = np.lexsort((rows, keys))
        return cls._sorted(keys[order], rows[order])

    @classmethod
    def _sorted(cls, keys: Keys, rows: Numbers) -> "KeyTable":
        bits = max(1, int(len(keys) // KEYS_PER_START).bit_length())
        firsts = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
        return cls(keys, rows, np.append(np.searchsorted(keys, firsts), len(keys)).astype(np.int64))

    def lookup(self) -> Any:
        """The same for the loops (filters.leakage_loops.KeyLookup)."""
        from filters.leakage_loops import KeyLookup

        return KeyLookup(self.keys, self.starts, 65 - len(self.starts).bit_length())

    def contains(self, keys: Keys) -> NDArray[np.bool_]:
        """Which keys are in the table: bool [keys]."""
        first, last = self._places(keys)
        return first < last

    def find(self, keys: Keys) -> tuple[Numbers, Numbers]:
        """(place in `keys`, row of the table) of each key found, with each of its rows."""
        first, last = self._places(keys)
        sizes = last - first
        left = np.repeat(np.arange(len(keys)), sizes)
        within = np.arange(len(left)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return left, self.rows[np.repeat(first, sizes) + within]

    def _places(self, keys: Keys) -> tuple[Numbers, Numbers]:
        from filters import leakage_loops

        first, last = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
        leakage_loops.find_keys(self.lookup(), keys, first, last)
        return first, last

    def tables(self) -> dict[str, pa.Table]:
        """What of_tables makes the same of."""
        columns = {"key": self.keys} | ({"row": self.rows} if len(self.rows) else {})
        return {"keys": pa.table(columns), "starts": pa.table({"start": self.starts})}

    @classmethod
    def of_tables(cls, tables: Mapping[str, pa.Table]) -> "KeyTable":
        keys = tables["keys"]
        rows = _numpy(keys["row"]) if "row" in keys.column_names else np.empty(0, np.int64)
        return cls(_numpy(keys["key"]), rows, _numpy(tables["starts"]["start"]))


@dataclass(frozen=True)
class NearTable:
    """The sketches of the queries in one view, and which of them have the key of a band."""

    bands: KeyTable
    sketches: pa.Table  # filters.minhash.sketch_schema, of one view


@dataclass(frozen=True)
class QueryIndex:
    """What evaluation queries are found by. Queries are named by their row in the array it was built of."""

    queries: int
    exact: KeyTable
    ngrams: KeyTable
    near: tuple[NearTable, ...]  # one for each of filters.shingles.VIEWS
    ngrams_left_out: int = 0  # of too many queries

    def tables(self) -> dict[str, pa.Table]:
        """The index as tables by name, to be written; memory-mapped ones make an index that is not copied."""
        parts = {"exact": self.exact.tables(), "ngrams": self.ngrams.tables()}
        for name, near in zip(VIEWS, self.near, strict=True):
            parts[f"near-{name}"] = near.bands.tables() | {"sketches": near.sketches}
        counts = pa.table({"queries": [self.queries], "ngrams_left_out": [self.ngrams_left_out]})
        return {f"{part}-{name}": table for part, of in parts.items() for name, table in of.items()} | {
            "counts": counts
        }

    @classmethod
    def of_tables(cls, tables: Mapping[str, pa.Table]) -> "QueryIndex":
        def part(name: str) -> dict[str, pa.Table]:
            return {end: tables[f"{name}-{end}"] for end in ("keys", "starts")}

        near = (NearTable(KeyTable.of_tables(part(f"near-{v}")), tables[f"near-{v}-sketches"]) for v in VIEWS)
        counts = tables["counts"].to_pylist()[0]
        exact, ngrams = KeyTable.of_tables(part("exact")), KeyTable.of_tables(part("ngrams"))
        return cls(counts["queries"], exact, ngrams, tuple(near), counts["ngrams_left_out"])


def build_query_index(queries: pa.Array, settings: LeakageSettings = DEFAULT_LEAKAGE) -> QueryIndex:
    """The index of a string array of evaluation queries; a text that comes twice is found twice.

    At most 5 kB a query while it is built, and 1 kB afterwards.
    """
    rows = np.arange(len(queries))
    hashes, of_query = _informative_ngrams(queries, settings) if settings.ngrams else (np.empty(0, np.uint64), rows[:0])
    often = _frequent(hashes, settings.ngram_most_queries)
    return QueryIndex(
        len(queries),
        KeyTable.of(text_keys(queries), rows) if settings.exact else KeyTable.of(np.empty(0, np.uint64), rows[:0]),
        KeyTable.of(hashes[~often], of_query[~often]),
        _near_tables(queries if settings.near else queries.slice(0, 0), settings.near_duplicates()),
        len(np.unique(hashes[often])),
    )


def find_leaks(texts: pa.Array, index: QueryIndex, settings: LeakageSettings = DEFAULT_LEAKAGE) -> pa.Table:
    """Which texts of a string array are which evaluation queries: LEAKS, by row and query, each pair once."""
    found = [
        (EXACT, *index.exact.find(text_keys(texts))),
        (NEAR, *_find_near(texts, index.near, settings)),
        (NGRAM, *find_ngrams(texts, index, settings)),
    ]
    row, query = (np.concatenate([part[place] for part in found]) for place in (1, 2))
    rule = np.repeat(np.array([part[0] for part in found], np.uint8), [len(part[1]) for part in found])
    order = np.lexsort((rule, query, row))
    row, query, rule = row[order], query[order], rule[order]
    first = np.r_[True, (row[1:] != row[:-1]) | (query[1:] != query[:-1])][: len(row)]
    return pa.table([row[first], query[first], rule[first]], schema=LEAKS)


# N-grams


def find_ngrams(
    texts: pa.Array, index: QueryIndex, settings: LeakageSettings = DEFAULT_LEAKAGE
) -> tuple[Numbers, Numbers]:
    """(row, query) of each text and evaluation query that share an n-gram: int64 [pairs] both, each pair once."""
    from filters import leakage_loops

    if not settings.ngrams or not len(index.ngrams.keys):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    bounds, data = utf8_buffers(texts)
    row, query = leakage_loops.find_ngrams(
        bounds, data, folding(), _sizes(settings), index.ngrams.lookup(), index.ngrams.rows, index.queries
    )
    return row, query


def ngram_hashes(texts: pa.Array, settings: LeakageSettings = DEFAULT_LEAKAGE) -> tuple[Keys, Numbers]:
    """The hashes of all n-grams of a string array, uint64, and the row of each, int64; those of a row in no order."""
    from filters import leakage_loops

    bounds, data = utf8_buffers(texts)
    most = 2 * int(bounds[-1] - bounds[0]) + 2 * len(bounds)
    hashes, rows = np.empty(most, np.uint64), np.empty(most, np.int64)
    written = leakage_loops.hash_text_ngrams(bounds, data, folding(), _sizes(settings), hashes, rows)
    return hashes[:written].copy(), rows[:written].copy()


def _sizes(settings: LeakageSettings) -> Any:
    from filters.leakage_loops import NgramSizes
    from filters.shingles import DEFAULT_SHINGLES

    return NgramSizes(
        settings.ngram_words,
        settings.ngram_characters,
        DEFAULT_SHINGLES.unspaced_most,
        DEFAULT_SHINGLES.unspaced_least,
    )


def _informative_ngrams(queries: pa.Array, settings: LeakageSettings) -> tuple[Keys, Numbers]:
    """The distinct n-grams of each query that says something."""
    parts = [(np.empty(0, np.uint64), np.empty(0, np.int64))]
    for start in range(0, len(queries), TEXTS_AT_ONCE):
        texts = queries.slice(start, TEXTS_AT_ONCE)
        hashes, rows = ngram_hashes(texts, settings)
        measured = measure_text(texts)
        digits = measured["digit_share"].to_numpy() > MOSTLY_DIGITS
        of_letters = measured["letters"].to_numpy() > 0
        says_something = (of_letters & ~digits)[rows]
        hashes, rows = hashes[says_something], rows[says_something]
        order = np.lexsort((hashes, rows))
        hashes, rows = hashes[order], rows[order]
        first = np.r_[True, (hashes[1:] != hashes[:-1]) | (rows[1:] != rows[:-1])][: len(rows)]
        parts.append((hashes[first], rows[first] + start))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _frequent(hashes: Keys, most: int) -> NDArray[np.bool_]:
    """Which hashes occur more often than `most`."""
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    often: NDArray[np.bool_] = (counts > most)[inverse]
    return often


# Near-duplicates


def _near_tables(queries: pa.Array, settings: NearDuplicateSettings) -> tuple[NearTable, ...]:
    starts = range(0, max(1, len(queries)), TEXTS_AT_ONCE)
    pieces = [sketch_texts(queries.slice(start, TEXTS_AT_ONCE), first_text=start) for start in starts]
    sketches = pa.Table.from_batches(pieces)
    tables = []
    for view in range(len(VIEWS)):
        of_view = sketches.filter(pc.equal(sketches["view"], view)).combine_chunks()
        keys = _band_keys(of_view, settings.bands(view, DEFAULT_SKETCHES.permutations))
        rows = np.repeat(np.arange(keys.shape[0]), keys.shape[1])
        tables.append(NearTable(KeyTable.of(keys.ravel(), rows), of_view))
    return tuple(tables)


def _band_keys(sketches: pa.Table, bands: Bands) -> Keys:
    """The keys of all bands of some sketches: uint64 [sketches, bands]."""
    signatures = signatures_of(sketches)
    return np.ascontiguousarray(np.stack([bands.keys(signatures, band) for band in range(bands.bands)], axis=1))


def _find_near(texts: pa.Array, tables: tuple[NearTable, ...], settings: LeakageSettings) -> tuple[Numbers, Numbers]:
    """(row, query) of texts that are nearly equal to evaluation queries, in any view."""
    found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    if any(table.sketches.num_rows for table in tables):
        sketches = pa.Table.from_batches([sketch_texts(texts)])
        views = sketches["view"].to_numpy()
        for view, table in enumerate(tables):
            of_view = sketches.filter(pa.array(views == view)).combine_chunks()
            if of_view.num_rows and table.sketches.num_rows:
                left, right = _near_in_view(view, of_view, table, settings)
                found.append((_numpy(of_view["text"])[left], _numpy(table.sketches["text"])[right]))
    return np.concatenate([part[0] for part in found]), np.concatenate([part[1] for part in found])


def _near_in_view(
    view: int, sketches: pa.Table, table: NearTable, settings: LeakageSettings
) -> tuple[Numbers, Numbers]:
    """The rows of sketches that are nearly equal in one view: of the training texts, and of the table."""
    from filters import leakage_loops

    of_near = settings.near_duplicates()
    least = of_near.short_least_estimate if view == SHORT else of_near.similarity
    permutations = DEFAULT_SKETCHES.permutations
    left, right = leakage_loops.find_candidates(
        _band_keys(sketches, of_near.bands(view, permutations)),
        signatures_of(sketches),
        table.bands.lookup(),
        table.bands.rows,
        signatures_of(table.sketches),
        int(np.ceil(least * permutations - 1e-9)),
    )
    if view != SHORT or not len(left):
        return left, right
    mine, theirs = _compact(sketches, left), _compact(table.sketches, right)
    near = leakage_loops.compare_short(
        *(mine[0], theirs[0], *mine[1:], *theirs[1:], folding()),
        settings.near_edit_similarity,
        settings.near_words_per_edit,
        settings.near_letters_per_slip,
    )
    return left[near], right[near]


def _compact(sketches: pa.Table, rows: Numbers) -> tuple[Numbers, Numbers, NDArray[np.uint8], Keys]:
    """The folded texts of some rows, each once: where each row's is, their bounds, bytes and numbers."""
    from filters.near_duplicate_loops import hash_numbers

    used, places = np.unique(rows, return_inverse=True)
    bounds, data = utf8_buffers(sketches["folded"].take(pa.array(used)))
    bounds = bounds.astype(np.int64)
    return places, bounds, data, hash_numbers(bounds, data)


def _numpy(column: pa.ChunkedArray) -> Any:
    """The values of a column, copied only where they lie in several pieces."""
    return column.chunk(0).to_numpy() if column.num_chunks == 1 else column.to_numpy()
