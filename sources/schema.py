"""The row types of pairmill, as Arrow schemas, and the one way to make rows of them.

    PAIR        one (query, positive) pair, with where it came from and what was measured
    DOCUMENT    one document with its sections, written by extract beside the pairs
    PASSAGE     one distinct text that can be a positive or a negative
    REJECT      a PAIR that a job dropped, and the reason
    QUARANTINE  a record of an input file that could not be read: file, position, reason, excerpt

Strings are plain `string` columns: Parquet dictionary-encodes the repetitive ones by itself, and readers such as
Hugging Face datasets refuse Arrow dictionary columns.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

SCHEMA_VERSION: Final = 2

KINDS: Final = (
    "title_body",
    "subtitle_passage",
    "title_abstract",
    "question_answer",
    "question_context",
    "question_question",
    "instruction_output",
    "summary_body",
    "paraphrase",
    "edit",
    "nli",
    "parallel",
    "review",
    "citation",
    "docstring_code",
    "synthetic_longdoc",
    "other",
)
SYMMETRIC_KINDS: Final = frozenset({"question_question", "paraphrase", "edit", "parallel"})

SCORES: Final = pa.struct(
    [
        ("query_language_probability", pa.float32()),
        ("positive_language_probability", pa.float32()),
        ("quality", pa.float32()),
        ("bitext_margin", pa.float32()),
        ("relevance", pa.float32()),
        ("pool_rank", pa.float32()),
    ]
)

PAIR: Final = pa.schema(
    [
        pa.field("pair_id", pa.binary(16), nullable=False),
        pa.field("query", pa.string(), nullable=False),
        pa.field("positive", pa.string(), nullable=False),
        pa.field("negatives", pa.list_(pa.string())),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("query_lang", pa.string(), nullable=False),
        pa.field("positive_lang", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("license", pa.string()),
        pa.field("label", pa.float32()),
        pa.field("symmetric", pa.bool_(), nullable=False),
        pa.field("scores", SCORES),
        # From dedup on: the cluster of near-duplicates that a text is in, and how many of dedup's input rows have a text of it.
        pa.field("query_cluster_id", pa.binary(16)),
        pa.field("positive_cluster_id", pa.binary(16)),
        pa.field("query_cluster_size", pa.int32()),
        pa.field("positive_cluster_size", pa.int32()),
    ]
)

CLUSTERS: Final = tuple(PAIR)[-4:]  # null until dedup fills them

DOCUMENT: Final = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("title", pa.string()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("license", pa.string()),
        pa.field(
            "sections",
            pa.list_(pa.struct([("path", pa.string()), ("start", pa.int32()), ("end", pa.int32())])),
        ),
    ]
)

PASSAGE: Final = pa.schema(
    [
        pa.field("passage_id", pa.binary(16), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("cluster_id", pa.binary(16), nullable=False),  # positive_cluster_id of its pairs
        pa.field("cluster_size", pa.int32()),
    ]
)

REJECT: Final = PAIR.append(pa.field("reason", pa.string(), nullable=False))

QUARANTINE: Final = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),  # what `position` counts: line, row, page, entry or byte
        pa.field("position", pa.int64(), nullable=False),  # from 1, as an editor shows it; bytes from 0
        pa.field("reason", pa.string(), nullable=False),
        pa.field("excerpt", pa.string(), nullable=False),
    ]
)

# Control and format characters that carry no text: C0 and C1 but white space, soft hyphen, bidirectional marks, byte-order
# mark, and U+FFFE/U+FFFF. Zero-width (non-)joiners stay: Persian, Hindi and emoji need them.
_NO_TEXT: Final = "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
_SPACE: Final = (
    "\\x{9}-\\x{d}\\x{1c}-\\x{1f}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}-\\x{2029}"
    "\\x{202f}\\x{205f}\\x{3000}"
)
# Latin, Greek, Cyrillic, Arabic letters, punctuation, kana, Chinese, Hangul: characters that NFC leaves alone among themselves.
_PLAIN: Final = (
    "\\x{0}-\\x{2ff}\\x{388}-\\x{38a}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3ff}\\x{400}-\\x{482}\\x{48a}-\\x{52f}"
    "\\x{621}-\\x{64a}\\x{660}-\\x{66d}\\x{1e00}-\\x{1eff}\\x{2010}-\\x{205e}\\x{3000}-\\x{3029}\\x{3041}-\\x{3096}"
    "\\x{309d}-\\x{30ff}\\x{4e00}-\\x{9ffc}\\x{ac00}-\\x{d7a3}\\x{ff01}-\\x{ff5e}"
)


def normalise_text(texts: pa.Array) -> pa.Array:
    """The text every pair holds: NFC, no control characters, each run of white space one space, none at the ends.

    `texts` is a string array of any length; nulls stay null. Idempotent. Most text needs nothing: one pass over the bytes
    finds the rows that do, and only those are rewritten.
    """
    from sources.untidy_text import STRANGE, UNTIDY, classify_texts, words_of

    if texts.null_count:
        return pc.if_else(texts.is_valid(), normalise_text(texts.fill_null("")), pa.scalar(None, pa.string()))
    flags = np.zeros(len(texts), np.uint8)
    if len(texts):
        bounds, data = _bounds_and_bytes(texts)
        classify_texts(bounds, data, words_of(data), _character_classes(), flags)
    tidy = _tidied(texts, flags) if (flags & UNTIDY).any() else texts
    return _compose(tidy, flags & STRANGE > 0)  # composing makes no white space and needs none


Rows = npt.NDArray[np.bool_]


@cache
def _character_classes() -> npt.NDArray[np.uint8]:
    from sources.untidy_text import CODES, REMOVED, STRANGE, UNTIDY

    codes = [code for code in range(CODES) if not 0xD800 <= code <= 0xDFFF]
    characters = pa.array([chr(code) for code in codes], pa.string())

    def matches(pattern: str) -> Rows:
        found: Rows = pc.match_substring_regex(characters, pattern=pattern).to_numpy(zero_copy_only=False)
        return found

    classes = np.full(CODES, STRANGE, np.uint8)
    classes[codes] = (
        UNTIDY * matches(f"{_NO_TEXT}|[{_SPACE}]") + REMOVED * matches(_NO_TEXT) + STRANGE * matches(f"[^{_PLAIN}]")
    )
    return classes


def _tidied(texts: pa.Array, flags: npt.NDArray[np.uint8]) -> pa.Array:
    from sources.untidy_text import tidy_texts, words_of

    bounds, data = _bounds_and_bytes(texts)
    tidy_bounds = np.empty(len(bounds), np.int32)
    tidy = np.empty(bounds[-1] - bounds[0], np.uint8)
    tidy_texts(bounds, data, words_of(data), _character_classes(), flags, tidy_bounds, tidy)
    used = pa.py_buffer(tidy[: tidy_bounds[-1]])
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(tidy_bounds), used)


def _bounds_and_bytes(texts: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    _, bounds, data = texts.buffers()
    bounds = np.frombuffer(bounds, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bounds, np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


def _compose(texts: pa.Array, strange: Rows) -> pa.Array:
    """NFC by the standard library: Arrow's utf8_normalize(form="NFC") takes apart and does not compose (pyarrow 25)."""
    loose = _loose(texts, strange)
    if not loose.any():
        return texts
    composed = [unicodedata.normalize("NFC", text) for text in texts.filter(pa.array(loose)).to_pylist()]
    return pc.replace_with_mask(texts, pa.array(loose), pa.array(composed, pa.string()))


def _loose(texts: pa.Array, strange: Rows) -> Rows:
    """Which texts NFC may change; none but those of `strange` characters.

    The full expression takes milliseconds to compile and longer to run, so only those texts see it.
    """
    loose = strange.copy()
    if strange.any():
        found = pc.match_substring_regex(texts.filter(pa.array(strange)), pattern=_not_composed())
        loose[strange] = found.to_numpy(zero_copy_only=False)
    return loose


@cache
def _not_composed() -> str:
    """An expression that matches every text that NFC changes (and a few that it does not).

    A text changes where a character is never in NFC, two marks follow each other (they may change places), a character
    joins the one before, or one that could join follows a composed character (which may come apart to take it in).
    """
    letters = (*range(0x80, 0xD800), *range(0xE000, 0x30000))  # above, nothing composes
    firsts: dict[int, list[int]] = {}  # by the character that joins them
    for code in letters:
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<") and unicodedata.is_normalized("NFC", chr(code)):
            firsts.setdefault(int(parts[1], 16), []).append(int(parts[0], 16))
    joins = [f"{_character_class(firsts[second])}\\x{{{second:x}}}" for second in sorted(firsts)]
    taken_apart = [code for code in letters if unicodedata.decomposition(chr(code))[:1] not in ("", "<")]
    marks = _character_class([code for code in letters if unicodedata.combining(chr(code))])
    return "|".join(
        [
            _character_class([code for code in letters if _unstable(chr(code))]),
            f"{marks}{marks}",
            f"{_character_class(taken_apart)}{_character_class(firsts)}",
            "[\\x{1100}-\\x{1112}][\\x{1161}-\\x{1175}]|[\\x{ac00}-\\x{d7a3}][\\x{11a8}-\\x{11c2}]",  # Hangul
            *joins,
        ]
    )


def _unstable(character: str) -> bool:
    """Never in NFC, or unassigned: a newer Unicode than this Python's may give it marks or parts."""
    return not unicodedata.is_normalized("NFC", character) or unicodedata.category(character) == "Cn"


def _character_class(codes: Iterable[int]) -> str:
    ranges: list[list[int]] = []
    for code in sorted(set(codes)):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in ranges) + "]"


def text_id(text: str) -> bytes:
    """The 16-byte id of a normalised text (xxh3-128): a passage's id."""
    return xxhash.xxh3_128_digest(text.encode())


def text_ids(texts: pa.Array) -> pa.Array:
    """`text_id` of each text of a string array, as binary(16); nulls are not allowed."""
    digest = xxhash.xxh3_128_digest
    return pa.array([digest(text) for text in texts.cast(pa.binary()).to_pylist()], pa.binary(16))


def pair_ids(source: pa.Array, document_id: pa.Array, kind: pa.Array, query: pa.Array, positive: pa.Array) -> pa.Array:
    """xxh3-128 of (source, document id, kind, query, positive): the same on every run and machine.

    The five fields are joined by NUL. Normalised texts hold none; source labels and document ids are taken as they are, so
    only those that hold a NUL themselves could give two different rows one id.
    """
    joined = pc.binary_join_element_wise(source, document_id, kind, query, positive, "\x00")
    return text_ids(joined)


def _column(value: pa.Array | Sequence[object] | str | float | bool | None, kind: pa.DataType, rows: int) -> pa.Array:
    if isinstance(value, pa.ChunkedArray):
        value = value.combine_chunks()
    if isinstance(value, pa.Array):
        return value if value.type == kind else value.cast(kind)
    if value is None or isinstance(value, str | float | int | bool):
        return pa.repeat(pa.scalar(value, kind), rows)
    return pa.array(value, kind)


def _side(texts: pa.Array | Sequence[str | None]) -> pa.Array:
    if isinstance(texts, pa.DictionaryArray):
        return normalise_text(texts.dictionary).take(texts.indices).fill_null("")
    return normalise_text(_column(texts, pa.string(), 0)).fill_null("")


def make_pairs(
    *,
    query: pa.Array | Sequence[str | None],
    positive: pa.Array | Sequence[str | None],
    kind: pa.Array | Sequence[str] | str,
    source: str,
    document_id: pa.Array | Sequence[str],
    query_lang: pa.Array | Sequence[str] | str = "und",
    positive_lang: pa.Array | Sequence[str] | str = "und",
    negatives: pa.Array | Sequence[Sequence[str] | None] | None = None,
    url: pa.Array | Sequence[str | None] | str | None = None,
    license: pa.Array | Sequence[str | None] | str | None = None,
    label: pa.Array | Sequence[float | None] | float | None = None,
    symmetric: pa.Array | Sequence[bool] | bool | None = None,
    scores: pa.Array | Sequence[dict[str, float | None] | None] | None = None,
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Normalise raw columns into a PAIR batch and a REJECT batch.

    Scalars are repeated for every row. Rows whose query or positive is empty after normalisation, and rows whose two sides
    are the same text, go to the REJECT batch with reason `empty_query`, `empty_positive` or `query_equals_positive`:
    rows in = rows of the first batch + rows of the second. Negatives are normalised too; empty ones and those equal to
    the positive are left out. A side may be a dictionary array: each of its texts is normalised once. `symmetric` defaults to whether the kind is (schema.SYMMETRIC_KINDS).
    """
    query, positive = _side(query), _side(positive)
    rows = len(query)
    kind = _column(kind, pa.string(), rows)
    source_column = _column(source, pa.string(), rows)
    document_id = _column(document_id, pa.string(), rows)
    if symmetric is None:
        symmetric = pc.is_in(kind, value_set=pa.array(sorted(SYMMETRIC_KINDS)))
    batch = pa.RecordBatch.from_arrays(
        [
            pair_ids(source_column, document_id, kind, query, positive),
            query,
            positive,
            _normalise_negatives(negatives, positive, rows),
            kind,
            _column(query_lang, pa.string(), rows),
            _column(positive_lang, pa.string(), rows),
            source_column,
            document_id,
            _column(url, pa.string(), rows),
            _column(license, pa.string(), rows),
            _column(label, pa.float32(), rows),
            _column(symmetric, pa.bool_(), rows),
            pa.nulls(rows, SCORES) if scores is None else _column(scores, SCORES, rows),
            *(pa.nulls(rows, field.type) for field in CLUSTERS),
        ],
        schema=PAIR,
    )
    reason = pc.case_when(
        pc.make_struct(pc.equal(query, ""), pc.equal(positive, ""), pc.equal(query, positive)),
        "empty_query",
        "empty_positive",
        "query_equals_positive",
    )
    return split_rejects(batch, reason)


def split_rejects(batch: pa.RecordBatch, reason: pa.Array) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Divide a PAIR batch by `reason` (string, null = keep) into the kept rows and a REJECT batch of the others."""
    if reason.null_count == len(reason):
        return batch, pa.RecordBatch.from_pylist([], REJECT)
    kept = pc.is_null(reason)
    dropped = pc.is_valid(reason)
    rejects = batch.filter(dropped)
    rejects = pa.RecordBatch.from_arrays([*rejects.columns, reason.filter(dropped)], schema=REJECT)
    return batch.filter(kept), rejects


def _normalise_negatives(
    negatives: pa.Array | Sequence[Sequence[str] | None] | None, positive: pa.Array, rows: int
) -> pa.Array:
    kind = PAIR.field("negatives").type
    if negatives is None:
        return pa.nulls(rows, kind)
    lists = _column(negatives, kind, rows)
    if lists.null_count == rows:
        return lists
    parent = pc.list_parent_indices(lists)
    flat = normalise_text(pc.list_flatten(lists)).fill_null("")
    keep = pc.and_(pc.not_equal(flat, ""), pc.not_equal(flat, positive.take(parent)))
    flat, parent = flat.filter(keep), parent.filter(keep)
    counts = pc.value_counts(parent)
    lengths = dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
    offsets, total = [], 0
    for row, valid in enumerate(lists.is_valid().to_pylist()):
        offsets.append(total if valid else None)
        total += lengths.get(row, 0)
    return pa.ListArray.from_arrays(pa.array([*offsets, total], pa.int32()), flat, type=kind)


class QuarantineRows:
    """Collects the records of one file that could not be read, as a QUARANTINE batch."""

    EXCERPT = 200  # characters kept of the bad record

    def __init__(self, source: str, file: str, unit: str) -> None:
        self._source, self._file, self._unit = source, file, unit
        self._rows: list[dict[str, object]] = []

    def add(self, position: int, reason: str, excerpt: bytes | str, unit: str | None = None) -> None:
        """Keep one bad record; bytes that are not UTF-8 and control characters are shown as escapes."""
        text = (
            excerpt[: 4 * self.EXCERPT].decode("utf-8", "backslashreplace") if isinstance(excerpt, bytes) else excerpt
        )
        printable = "".join(
            c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text[: self.EXCERPT]
        )
        self._rows.append(
            {
                "source": self._source,
                "file": self._file,
                "unit": unit or self._unit,
                "position": position,
                "reason": reason,
                "excerpt": printable,
            }
        )

    def __len__(self) -> int:
        return len(self._rows)

    def take(self) -> pa.RecordBatch:
        """The rows so far as a batch; the collector is empty afterwards."""
        rows, self._rows = self._rows, []
        return pa.RecordBatch.from_pylist(rows, QUARANTINE)
