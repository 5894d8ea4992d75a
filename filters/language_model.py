"""Reads a supervised fastText model from its file (.bin or .ftz) and predicts the label of each text of a column.

Joulin et al. 2016 ("Bag of tricks for efficient text classification") and 2016b ("FastText.zip: compressing text
classification models"): a text is the mean of the rows of its words, their character n-grams and its word n-grams; a
linear layer gives the label. Every form that fastText writes is read: dense and quantised matrices, pruned dictionaries,
all four losses. The tests hold labels and probabilities to those of fastText itself.

The file is untrusted: every length in it is checked against the file's size before anything is made of it.
"""

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.text_quality import utf8_buffers

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]

MAGIC: Final = 793712314
VERSIONS: Final = (11, 12)
SUPERVISED: Final = 3
HIERARCHICAL_SOFTMAX, NEGATIVE_SAMPLING, SOFTMAX, ONE_VERSUS_ALL = range(1, 5)
WORD, LABEL = range(2)
LONGEST_NGRAM: Final = 64  # fastText's users take 6 at most; a text costs time in proportion
LARGEST_COPY: Final = 200_000_000  # bytes: a larger input matrix stays in the file, or in its codes
MOST_PRUNED_BUCKETS: Final = 100_000_000  # they take a quarter of a byte each; fastText's default is 2,000,000
VECTORS: Final = 4_000_000  # numbers held at once for the texts of a column


class LanguageModelError(ValueError):
    """The language model cannot be used. The message names the file and the remedy."""


# numba keeps the compiled loops by the age of language_loops.py alone: after reordering fields here, save that file too.
class Vocabulary(NamedTuple):
    """The features a model knows: first its words, then its labels, then buckets of n-grams."""

    words: int
    word_bytes: NDArray[np.uint8]
    word_bounds: NDArray[np.int64]  # [words + labels, 2]: start and end in word_bytes
    word_hashes: NDArray[np.uint32]
    word_slots: NDArray[np.int32]  # hash table of a power of two slots: a word's or label's number, -1 where empty
    line_end: int  # number of the word </s>, which ends every text, or -1
    shortest_ngram: int  # in characters
    longest_ngram: int  # 0: no character n-grams
    word_ngrams: int  # words in the longest; 1: none
    buckets: int
    pruned: bool  # only the buckets in kept_bits have a row; the first of them has the first row after the words
    kept_bits: NDArray[np.uint32]  # a bit for each bucket, the lowest first
    kept_before: NDArray[np.int32]  # of each 32 buckets: how many are kept before them


class Rows(NamedTuple):
    """The input matrix: `dense`, or the codes of a product quantiser where that has no row."""

    dense: Floats  # [rows, dim]
    codes: NDArray[np.uint8]  # [rows, parts]
    centroids: Floats  # [dim * 256]: 256 centroids of the first part, of the second, ...
    norms: Floats  # [rows]
    part: int  # columns of each part but the last


class Tree(NamedTuple):
    """A hierarchical softmax over n labels: nodes 0..n-1 are the labels, n..2n-2 inner ones, the last the root."""

    weights: Floats  # [n, dim]: of inner node i, row i - n; the last row belongs to none
    left: NDArray[np.int64]  # [n - 1]
    right: NDArray[np.int64]


@dataclass(frozen=True)
class FastTextModel:
    labels: tuple[str, ...]  # as the file has them, with their prefix
    vocabulary: Vocabulary
    rows: Rows
    dim: int
    loss: int
    output: Tree | Floats  # float32 [dim, labels] unless hierarchical

    def predict(self, texts: pa.Array) -> tuple[Labels, Floats]:
        """The most probable label of each text of a string array, and its probability.

        Labels are indices (int32 [texts]; -1 where the model knows nothing in the text); probabilities are float32
        [texts], and as fastText's end at 1.00001. A text is one line, newlines are spaces; a null is the empty text.
        """
        bounds, data = utf8_buffers(texts)
        bounds = bounds.astype(np.int64)
        data = data.view()
        data.flags.writeable = False  # some of Arrow's buffers are so: the loops are compiled for one kind
        labels = np.full(len(texts), -1, np.int32)
        probabilities = np.zeros(len(texts), np.float32)
        step = max(1, VECTORS // self.dim)
        for first in range(0, len(texts), step):
            part = slice(first, first + step)
            self._predict(bounds[first : first + step + 1], data, labels[part], probabilities[part])
        return labels, probabilities

    def _predict(
        self, bounds: NDArray[np.int64], data: NDArray[np.uint8], labels: Labels, probabilities: Floats
    ) -> None:
        from filters import language_loops as loops

        vectors = np.zeros((len(labels), self.dim), np.float32)
        found = np.zeros(len(labels), np.int64)
        loops.embed_texts(bounds, data, self.vocabulary, self.rows, vectors, found)
        if isinstance(self.output, Tree):
            loops.best_of_tree(vectors, found, self.output, labels, probabilities)
        else:
            loops.best_of_scores(vectors, found, self.output, self.loss == SOFTMAX, labels, probabilities)


def read_model(path: Path, largest_copy: int = LARGEST_COPY) -> FastTextModel:
    """The model of a file. An input matrix that would take more than `largest_copy` bytes of memory is left where it is.

    Raises LanguageModelError for a file that fastText did not write, or that is damaged.
    """
    file = _ModelFile(path)
    settings = _read_settings(file)
    entries = _read_entries(file)
    ngrams = _read_kept_ngrams(file, settings, entries)
    rows = _read_rows(file, settings, entries, ngrams, largest_copy)
    vocabulary = _make_vocabulary(file, settings, entries, ngrams)
    weights = _read_output(file, settings.dim, len(entries.labels), largest_copy)
    output = weights.T.copy() if settings.loss != HIERARCHICAL_SOFTMAX else _make_tree(weights, entries.counts)
    return FastTextModel(entries.labels, vocabulary, rows, settings.dim, settings.loss, output)


class _ModelFile:
    """The bytes of a model file, read from the start to the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at = 0
        try:
            with path.open("rb") as stream:
                size = stream.seek(0, 2)
                # Left in the file: processes share its pages, and a matrix of gigabytes is never copied.
                self.data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except OSError as error:
            raise LanguageModelError(f"The language model {path} cannot be read ({error}).") from error

    def numbers(self, form: str, what: str) -> tuple[Any, ...]:
        """The next numbers, `form` as in the module struct."""
        size = struct.calcsize(form)
        if size > len(self.data) - self.at:
            self.refuse(f"it ends within its {what}")
        values = struct.unpack_from(form, self.data, self.at)
        self.at += size
        return values

    def flag(self, what: str) -> bool:
        (value,) = self.numbers("<B", what)
        if value > 1:
            self.refuse(f"{value} stands where 0 or 1 says whether it has {what}")
        return bool(value)

    def array(self, kind: str, count: int, what: str) -> NDArray[Any]:
        """The next `count` numbers, where they lie in the file: read-only, and often not aligned."""
        size = count * np.dtype(kind).itemsize
        if not 0 <= size <= len(self.data) - self.at:
            self.refuse(f"its {what} should be {count:,} numbers, {len(self.data) - self.at:,} bytes are left")
        values = np.frombuffer(self.data, kind, count, self.at) if count else np.zeros(0, kind)
        self.at += size
        return values

    def refuse(self, what: str) -> NoReturn:
        raise LanguageModelError(
            f"The language model {self.path} is not a supervised fastText model, or damaged: {what}. Fetch it again, or"
            " leave `language.model` out to use lid.176.ftz."
        )


@dataclass(frozen=True)
class _Settings:
    dim: int
    loss: int
    shortest_ngram: int
    longest_ngram: int
    word_ngrams: int
    buckets: int


def _read_settings(file: _ModelFile) -> _Settings:
    magic, version = file.numbers("<2i", "head")
    if magic != MAGIC:
        file.refuse(f"it starts with the number {magic} instead of {MAGIC}")
    if version not in VERSIONS:
        file.refuse(f"its format has version {version}, known are {VERSIONS[0]} and {VERSIONS[1]}")
    dim, _, _, _, _, word_ngrams, loss, model, buckets, shortest, longest, _, _ = file.numbers("<12id", "settings")
    if model != SUPERVISED:
        file.refuse(f"it is of kind {model} (word vectors); one with labels is of kind {SUPERVISED}")
    if not HIERARCHICAL_SOFTMAX <= loss <= ONE_VERSUS_ALL:
        file.refuse(f"its loss is {loss}, known are {HIERARCHICAL_SOFTMAX} to {ONE_VERSUS_ALL}")
    if dim < 1:
        file.refuse(f"its vectors have {dim} numbers")
    longest = max(longest, 0) if version > VERSIONS[0] else 0  # version 11: supervised models had no n-grams
    word_ngrams = max(word_ngrams, 1)
    if longest > LONGEST_NGRAM or word_ngrams > LONGEST_NGRAM:
        file.refuse(
            f"its n-grams have up to {longest} characters and {word_ngrams} words, at most {LONGEST_NGRAM} may be"
        )
    if buckets < 1 and (longest or word_ngrams > 1):
        file.refuse(f"its n-grams have {buckets} buckets")
    return _Settings(dim, loss, shortest, longest, word_ngrams, max(buckets, 1))


@dataclass(frozen=True)
class _Entries:
    words: int
    labels: tuple[str, ...]
    counts: list[int]  # of the labels
    word_bytes: NDArray[np.uint8]
    word_bounds: NDArray[np.int64]
    kept_ngrams: int  # that pruning left; below 0: not pruned


def _read_entries(file: _ModelFile) -> _Entries:
    from filters import language_loops as loops

    entries, words, labels, _, kept_ngrams = file.numbers("<3i2q", "dictionary")
    left = len(file.data) - file.at
    if words < 0 or labels < 1 or not words + labels == entries <= left // 10:
        file.refuse(f"its dictionary should have {entries:,} entries, {words:,} words and {labels:,} labels")
    data = np.frombuffer(file.data, np.uint8)
    bounds, records = np.empty((entries, 2), np.int64), np.empty((entries, 2), np.int64)
    end = loops.find_entries(data, file.at, bounds, records)
    if end < 0:
        file.refuse("it ends within its dictionary")
    if (records[:words, 1] != WORD).any() or (records[words:, 1] != LABEL).any():
        file.refuse("its dictionary does not have the words first, then the labels")
    start, file.at = file.at, end
    try:
        names = tuple(file.data[first:last].decode() for first, last in bounds[words:].tolist())
    except UnicodeDecodeError as error:
        file.refuse(f"a label is not UTF-8 ({error})")
    return _Entries(words, names, records[words:, 0].tolist(), data[start:end].copy(), bounds - start, kept_ngrams)


@dataclass(frozen=True)
class _KeptNgrams:
    """The n-grams that pruning left, by bucket."""

    buckets: NDArray[np.int32]  # ascending
    rows: NDArray[np.int32]  # after those of the words


def _read_kept_ngrams(file: _ModelFile, settings: _Settings, entries: _Entries) -> _KeptNgrams | None:
    if entries.kept_ngrams < 0:
        return None
    pairs = file.array("<i4", 2 * entries.kept_ngrams, "pruned n-grams").reshape(-1, 2)
    if settings.buckets > MOST_PRUNED_BUCKETS:
        file.refuse(f"its n-grams have {settings.buckets:,} buckets, at most {MOST_PRUNED_BUCKETS:,} may be")
    # The last one of equal buckets counts, and buckets that no hash comes to are never looked up.
    buckets, last = np.unique(pairs[::-1, 0], return_index=True)
    rows = pairs[::-1, 1][last]
    used = (buckets >= 0) & (buckets < settings.buckets)
    return _KeptNgrams(buckets[used], rows[used])


def _read_rows(
    file: _ModelFile, settings: _Settings, entries: _Entries, ngrams: _KeptNgrams | None, largest_copy: int
) -> Rows:
    """The input matrix, the rows of a pruned model in the order of its buckets."""
    nothing = np.zeros(0, np.float32)
    if not file.flag("quantised rows"):
        if ngrams is not None:
            file.refuse("its n-grams are pruned and its rows are not quantised")
        dense = _read_dense(file, settings.dim)
        _check_rows(file, settings, entries, len(dense))
        if dense.nbytes <= largest_copy:
            dense = dense.astype(np.float32)  # a copy that is aligned, and writable as all that the loops get
        return Rows(dense, np.zeros((0, 1), np.uint8), nothing, nothing, 1)
    rows = _read_quantised(file, settings.dim)
    _check_rows(file, settings, entries, len(rows.codes))
    if ngrams is not None:
        room = len(rows.codes) - entries.words
        if len(ngrams.rows) > room or ((ngrams.rows < 0) | (ngrams.rows >= room)).any():
            file.refuse(f"its n-grams have rows beyond the {room:,} that there are")
        order = np.concatenate([np.arange(entries.words), entries.words + ngrams.rows.astype(np.int64)])
        rows = rows._replace(codes=rows.codes[order], norms=rows.norms[order])
    if 4 * len(rows.codes) * settings.dim > largest_copy:
        return rows
    return Rows(_dequantise(rows, settings.dim), np.zeros((0, 1), np.uint8), nothing, nothing, 1)


def _check_rows(file: _ModelFile, settings: _Settings, entries: _Entries, rows: int) -> None:
    hashed = settings.longest_ngram > 0 or settings.word_ngrams > 1
    ngrams = settings.buckets if hashed and entries.kept_ngrams < 0 else 0
    if not entries.words + ngrams <= rows < 2**31:
        file.refuse(f"it has {rows:,} rows for {entries.words:,} words and {ngrams:,} n-grams")


def _make_vocabulary(
    file: _ModelFile, settings: _Settings, entries: _Entries, ngrams: _KeptNgrams | None
) -> Vocabulary:
    from filters import language_loops as loops

    size = len(entries.word_bounds)
    hashes = np.zeros(size, np.uint32)
    slots = np.full(2 << size.bit_length(), -1, np.int32)  # twice the words or more: every search ends at an empty one
    if not loops.fill_word_slots(entries.word_bounds, entries.word_bytes, hashes, slots):
        file.refuse("too many of its words have one hash")
    words = slots, hashes, entries.word_bounds, entries.word_bytes
    line_end = loops.find_word(loops.END_OF_LINE, 0, len(loops.END_OF_LINE), np.uint32(loops.END_OF_LINE_HASH), *words)
    kept_bits, kept_before = _mark_kept(ngrams, settings.buckets)
    return Vocabulary(
        words=entries.words,
        word_bytes=entries.word_bytes,
        word_bounds=entries.word_bounds,
        word_hashes=hashes,
        word_slots=slots,
        line_end=line_end,
        shortest_ngram=settings.shortest_ngram,
        longest_ngram=settings.longest_ngram,
        word_ngrams=settings.word_ngrams,
        buckets=settings.buckets,
        pruned=ngrams is not None,
        kept_bits=kept_bits,
        kept_before=kept_before,
    )


def _mark_kept(ngrams: _KeptNgrams | None, buckets: int) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Vocabulary's kept_bits and kept_before; empty where nothing was pruned."""
    if ngrams is None:
        return np.zeros(0, np.uint32), np.zeros(0, np.int32)
    block = ngrams.buckets >> 5
    bits = np.zeros(buckets // 32 + 1, np.uint32)
    np.bitwise_or.at(bits, block, np.uint32(1) << (ngrams.buckets & 31).astype(np.uint32))
    return bits, np.searchsorted(block, np.arange(len(bits))).astype(np.int32)


def _read_output(file: _ModelFile, dim: int, labels: int, largest_copy: int) -> Floats:
    """The output matrix: float32 [labels, dim]."""
    if file.flag("a quantised output"):
        rows = _read_quantised(file, dim)
        if 4 * len(rows.codes) * dim > largest_copy:
            file.refuse(f"its output has {len(rows.codes):,} rows of {dim:,} numbers")
        weights = _dequantise(rows, dim)
    else:
        weights = _read_dense(file, dim).astype(np.float32)
    if len(weights) != labels:
        file.refuse(f"its output has {len(weights):,} rows for {labels:,} labels")
    return weights


def _read_dense(file: _ModelFile, dim: int) -> Floats:
    rows, columns = file.numbers("<2q", "matrix")
    if rows < 0 or columns != dim:
        file.refuse(f"a matrix has {rows:,} rows of {columns:,} numbers, its vectors have {dim:,}")
    return file.array("<f4", rows * columns, "matrix").reshape(rows, columns)


def _read_quantised(file: _ModelFile, dim: int) -> Rows:
    """Codes, centroids and norms of a quantised matrix: of each row a byte for each part, and one for its length."""
    with_norms = file.flag("norms")
    rows, columns, size = file.numbers("<2qi", "quantised matrix")
    if rows < 0 or columns != dim:
        file.refuse(f"a quantised matrix has {rows:,} rows of {columns:,} numbers, its vectors have {dim:,}")
    codes = file.array("u1", size, "codes")
    parts, part, centroids = _read_quantiser(file, dim)
    if rows * parts != size:
        file.refuse(f"a quantised matrix has {size:,} codes for {rows:,} rows of {parts:,} parts")
    norms = np.ones(rows, np.float32)
    if with_norms:
        norm_codes = file.array("u1", rows, "norms")
        _, _, lengths = _read_quantiser(file, 1)
        norms = lengths[norm_codes]
    return Rows(np.zeros((0, dim), np.float32), codes.reshape(rows, parts).copy(), centroids, norms, part)


def _read_quantiser(file: _ModelFile, dim: int) -> tuple[int, int, Floats]:
    """Number of parts, columns of each but the last, and centroids (float32 [dim * 256]) of a product quantiser."""
    columns, parts, part, last = file.numbers("<4i", "quantiser")
    if columns != dim or min(parts, part, last) < 1 or last > part or (parts - 1) * part + last != dim:
        file.refuse(f"a quantiser has {parts:,} parts of {part:,} numbers and {last:,} at the end for {dim:,}")
    return parts, part, file.array("<f4", dim * 256, "centroids").astype(np.float32)


def _dequantise(rows: Rows, dim: int) -> Floats:
    dense = np.empty((len(rows.codes), dim), np.float32)
    for code in range(rows.codes.shape[1]):
        first, end = code * rows.part, min((code + 1) * rows.part, dim)
        centroids = rows.centroids[256 * first : 256 * end].reshape(256, end - first)
        dense[:, first:end] = rows.norms[:, None] * centroids[rows.codes[:, code]]
    return dense


def _make_tree(weights: Floats, counts: Sequence[int]) -> Tree:
    """The Huffman tree of the labels, which stand in the order of falling counts: rare ones are joined first."""
    labels = len(counts)
    totals = list(counts)
    left, right = np.zeros(labels - 1, np.int64), np.zeros(labels - 1, np.int64)
    label, node = labels - 1, labels  # the rarest not joined yet
    for inner in range(labels, 2 * labels - 1):
        rarest = []
        for _ in range(2):
            if label >= 0 and (node == inner or totals[label] < totals[node]):
                rarest.append(label)
                label -= 1
            else:
                rarest.append(node)
                node += 1
        left[inner - labels], right[inner - labels] = rarest
        totals.append(totals[rarest[0]] + totals[rarest[1]])
    return Tree(weights, left, right)
