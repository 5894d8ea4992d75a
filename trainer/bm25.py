"""BM25: candidates by words in common, and the lexical baseline every embedding model is held against, in any script.

In:  texts. Out: for each query its best documents, as rows and scores, best first.

Robertson's BM25 in Lucene's form, as bm25s computes it: what a word is worth in a document is settled when the index is
made, a query adds up the postings of its words. k1 and b are those of Anserini's and so of the M3 paper's baselines. The
index is made from a stream and lies in memory-mapped files, so that only vocabulary and lengths are in memory.
"""

import json
import re
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sources.languages import UNKNOWN, language_code
from trainer.compiled import compiled
from trainer.inner_products import available_cores, in_threads

K1: Final = 0.9  # term saturation
B: Final = 0.4  # length normalisation

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_VERSION: Final = 1
_RECORD: Final = "_INDEX.json"
_TEXTS_AT_ONCE: Final = 4096
_OCCURRENCES_AT_ONCE: Final = 1 << 20
_OCCURRENCE: Final = np.dtype([("token", "<i4"), ("document", "<i4"), ("count", "<i4")])

# Scripts written without spaces: Thai, Lao, Burmese, Khmer, kana, Han, Yi. Their runs are cut into overlapping pairs of
# characters, as Lucene's CJKAnalyzer does. Hangul is written with spaces, but inflects by suffixes: pairs suit it too.
_WITHOUT_SPACES: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs and accents are no word characters to Python's re, though Hindi, Tamil or vowelled Arabic words hold them.
_MARKS: Final = "".join(
    re.escape(chr(code))
    for code in range(0x300, min(0x2000, sys.maxunicode))
    if unicodedata.category(chr(code))[0] == "M"
)
_TOKEN: Final = re.compile(f"([{_WITHOUT_SPACES}]+)|((?:[^\\W{_WITHOUT_SPACES}]|[{_MARKS}])+)")


# Snowball's names, by ISO 639-3.
_STEMMERS: Final = {
    "ara": "arabic", "hye": "armenian", "eus": "basque", "cat": "catalan", "dan": "danish", "nld": "dutch",
    "eng": "english", "fin": "finnish", "fra": "french", "deu": "german", "ell": "greek", "hin": "hindi",
    "hun": "hungarian", "ind": "indonesian", "gle": "irish", "ita": "italian", "lit": "lithuanian", "nep": "nepali",
    "nor": "norwegian", "nob": "norwegian", "por": "portuguese", "ron": "romanian", "rus": "russian", "srp": "serbian",
    "spa": "spanish", "swe": "swedish", "tam": "tamil", "tur": "turkish", "yid": "yiddish",
}  # fmt: skip
# bm25s's names; its Chinese and Korean lists are of words, and those are cut into pairs of characters here.
_STOP_WORDS: Final = {
    "dan": "DANISH", "nld": "DUTCH", "eng": "EN", "fra": "FRENCH", "deu": "GERMAN", "ita": "ITALIAN", "nor": "NORWEGIAN",
    "nob": "NORWEGIAN", "por": "PORTUGUESE", "rus": "RUSSIAN", "spa": "SPANISH", "swe": "SWEDISH", "tur": "TURKISH",
}  # fmt: skip


def bm25_tokens(text: str) -> list[str]:
    """Words in lower case (NFKC); pairs of characters where a script has no spaces between words, in the text's order.

    >>> bm25_tokens("BM25 for 北京大学")
    ['bm25', 'for', '北京', '京大', '大学']
    """
    tokens: list[str] = []
    for match in _TOKEN.finditer(unicodedata.normalize("NFKC", text).lower()):
        run = match[1]
        if run is None:
            tokens.append(match[2])
        elif len(run) == 1:
            tokens.append(run)
        else:
            tokens.extend(run[start : start + 2] for start in range(len(run) - 1))
    return tokens


@dataclass(frozen=True)
class Analyser:
    """How texts are cut into the tokens that BM25 counts."""

    name: str  # for people; an index is only opened with the analyser of the name it was built with
    tokens: Callable[[Sequence[str]], list[list[str]]]


def _all_words(texts: Sequence[str]) -> list[list[str]]:
    return [bm25_tokens(text) for text in texts]


WORDS: Final = Analyser("words", _all_words)  # bm25_tokens: any language


def language_analyser(language: str | None) -> Analyser:
    """Words without stop words, as their stems, in the language of a tag such as "en" or "deu_Latn" (Lucene's order).

    Stop words are bm25s's lists, stems PyStemmer's (Snowball); `name` says what was done. WORDS where the language is not
    known, or has neither, or both libraries are missing: languages without spaces go by pairs of characters there.
    """
    code = UNKNOWN if language is None else language_code(language)[:3]
    stop_words, stemmer = _stop_words(code), _stemmer(code)
    done = [*(["stop words"] if stop_words else []), *(["stems"] if stemmer is not None else [])]
    if not done:
        return WORDS

    def tokens(texts: Sequence[str]) -> list[list[str]]:
        kept = [[word for word in bm25_tokens(text) if word not in stop_words] for text in texts]
        if stemmer is None:
            return kept
        distinct = sorted({word for words in kept for word in words})
        stems = dict(zip(distinct, stemmer(distinct), strict=True))
        return [[stems[word] for word in words] for words in kept]

    return Analyser(f"{code}: {' and '.join(done)}", tokens)


def _stop_words(code: str) -> frozenset[str]:
    if code not in _STOP_WORDS:
        return frozenset()
    try:
        import bm25s.stopwords
    except ImportError:
        return frozenset()
    return frozenset(getattr(bm25s.stopwords, f"STOPWORDS_{_STOP_WORDS[code]}"))


def _stemmer(code: str) -> Callable[[list[str]], list[str]] | None:
    if code not in _STEMMERS:
        return None
    try:
        import Stemmer
    except ImportError:
        return None
    stems: Callable[[list[str]], list[str]] = Stemmer.Stemmer(_STEMMERS[code]).stemWords
    return stems


def model_analyser(model: str) -> Analyser:
    """The tokens of a model's tokenizer, whole texts without special tokens: the M3 paper's second BM25 baseline (table 3).

    Raises ModelFolderError for a folder without a tokenizer.
    """
    from trainer.backbone import load_tokenizer

    tokenizer: Any = load_tokenizer(model)[0].backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def tokens(texts: Sequence[str]) -> list[list[str]]:
        return [each.tokens for each in tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    return Analyser(f"tokens of {model}", tokens)


def bm25_top_k(
    queries: Sequence[str], corpus: Sequence[str], k: int, *, k1: float = K1, b: float = B
) -> tuple[Floats, Rows]:
    """The `k` documents of highest BM25 score for each query: scores float32 [Q, k] and row numbers int64 [Q, k].

    Equal scores are ordered by the lower row. Documents that share no token with the query are not among them: the rest
    is row -1 and score -inf.
    """
    with tempfile.TemporaryDirectory() as folder:
        texts = (pa.array(corpus[start : start + _TEXTS_AT_ONCE]) for start in range(0, len(corpus), _TEXTS_AT_ONCE))
        index = Bm25Index.build(texts, folder, k1=k1, b=b)
        return index.top_k(pa.array(queries, pa.string()), k)


class Bm25Error(ValueError):
    """A folder that holds no BM25 index."""


@dataclass(frozen=True)
class Bm25Index:
    """The postings of N documents: those of token t are the entries starts[t] to starts[t + 1], by row."""

    documents: int
    vocabulary: dict[str, int]
    starts: Rows  # [T + 1]
    rows: npt.NDArray[np.int32]  # [postings]
    scores: Floats  # [postings] what the token adds to the document's score, above 0
    analyser: Analyser = WORDS

    @classmethod
    def build(
        cls,
        texts: Iterable[pa.Array],
        folder: str | Path,
        *,
        k1: float = K1,
        b: float = B,
        analyser: Analyser = WORDS,
    ) -> "Bm25Index":
        """Index documents, given as string arrays one after the other, into a folder that is made; then open it.

        `_INDEX.json` is written last: a folder without it was not finished. Postings take 8 bytes each there, and 12
        more while the index is made.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _RECORD).unlink(missing_ok=True)
        counted = folder / "occurrences.bin"
        vocabulary, lengths = _count_occurrences(texts, counted, analyser)
        _write_postings(folder, counted, vocabulary, lengths, k1, b)
        counted.unlink()
        tokens = pa.table({"token": pa.array(vocabulary, pa.string())})
        with pa.OSFile(str(folder / "vocabulary.arrow"), "wb") as sink, pa.ipc.new_file(sink, tokens.schema) as writer:
            writer.write_table(tokens)
        record: dict[str, Any] = {"version": _VERSION, "documents": len(lengths), "k1": k1, "b": b}
        if analyser.name != WORDS.name:
            record["analyser"] = analyser.name
        (folder / _RECORD).write_text(json.dumps(record))
        return cls.open(folder, analyser)

    @classmethod
    def open(cls, folder: str | Path, analyser: Analyser = WORDS) -> "Bm25Index":
        """An index that was built before. Raises Bm25Error where there is none, or an unfinished one, or of another analyser."""
        folder = Path(folder)
        try:
            record = json.loads((folder / _RECORD).read_text())
            if record["version"] != _VERSION:
                raise ValueError(f"its version is {record['version']}, not {_VERSION}")
            if record.get("analyser", WORDS.name) != analyser.name:
                raise ValueError(f"its tokens are {record.get('analyser', WORDS.name)!r}, not {analyser.name!r}")
            with pa.OSFile(str(folder / "vocabulary.arrow")) as source:
                tokens = pa.ipc.open_file(source).read_all()["token"].to_pylist()
            starts, rows, scores = (
                np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("starts", "rows", "scores")
            )
        except (OSError, ValueError, KeyError) as error:
            raise Bm25Error(f"{folder} holds no finished BM25 index ({error}). Delete it and build it again.") from None
        vocabulary = {token: number for number, token in enumerate(tokens)}
        return cls(record["documents"], vocabulary, starts, rows, scores, analyser)

    def top_k(self, queries: pa.Array, k: int, *, rows: Rows | None = None) -> tuple[Floats, Rows]:
        """The `k` documents of highest score for each query: scores float32 [Q, k], rows int64 [Q, k].

        rows    int64 [n], the documents that count; None: all
        Equal scores are ordered by the lower row. A document without a token of the query is not found: row -1, score -inf.
        """
        scores = np.full((len(queries), k), -np.inf, np.float32)
        found = np.full((len(queries), k), -1, np.int64)
        counts = np.full(self.documents, rows is None)
        if rows is not None:
            counts[rows] = True
        tokens_of = self.analyser.tokens(queries.to_pylist())

        def search(part: slice) -> None:
            sums, touched = np.zeros(self.documents, np.float32), np.empty(self.documents, np.int32)
            for query in range(part.start, part.stop):
                tokens = [number for each in tokens_of[query] if (number := self.vocabulary.get(each)) is not None]
                size = _add_up(np.array(tokens, np.int64), self.starts, self.rows, self.scores, counts, sums, touched)
                best = _best(sums, touched[:size].astype(np.int64), k)
                scores[query, : len(best)], found[query, : len(best)] = sums[best], best
                sums[touched[:size]] = 0

        with ThreadPoolExecutor(available_cores(), "bm25") as threads:
            in_threads(threads, len(tokens_of), search)
        return scores, found


def _count_occurrences(
    texts: Iterable[pa.Array], path: Path, analyser: Analyser
) -> tuple[dict[str, int], npt.NDArray[np.int32]]:
    """Write (token, document, occurrences) by document; the vocabulary, and each document's length in tokens."""
    vocabulary: dict[str, int] = {}
    lengths: list[npt.NDArray[np.int32]] = [np.zeros(0, np.int32)]
    first = 0
    with path.open("wb") as file:
        for batch in _slices(texts):
            tokens = analyser.tokens(batch.to_pylist())
            numbers = np.array(
                [vocabulary.setdefault(each, len(vocabulary)) for line in tokens for each in line], np.int64
            )
            sizes = np.array([len(line) for line in tokens], np.int64)
            keys, occurrences = np.unique(np.repeat(np.arange(len(sizes)), sizes) << 32 | numbers, return_counts=True)
            entries = np.empty(len(keys), _OCCURRENCE)
            entries["token"], entries["document"] = keys & 0xFFFFFFFF, (keys >> 32) + first
            entries["count"] = occurrences
            entries.tofile(file)
            lengths.append(sizes.astype(np.int32))
            first += len(sizes)
    return vocabulary, np.concatenate(lengths)


def _slices(texts: Iterable[pa.Array]) -> Iterator[pa.Array]:
    for array in texts:
        for start in range(0, len(array), _TEXTS_AT_ONCE):
            yield array.slice(start, _TEXTS_AT_ONCE).fill_null("")


def _write_postings(
    folder: Path, counted: Path, vocabulary: dict[str, int], lengths: npt.NDArray[np.int32], k1: float, b: float
) -> None:
    """Sort the occurrences by token, as scores, into files."""
    containing = np.zeros(len(vocabulary), np.int64)
    for entries in _occurrences(counted):
        containing += np.bincount(entries["token"], minlength=len(containing))
    starts = np.concatenate([[0], np.cumsum(containing, dtype=np.int64)])
    np.save(folder / "starts.npy", starts, allow_pickle=False)
    rare = np.log1p((len(lengths) - containing + 0.5) / (containing + 0.5))
    average = float(lengths.mean()) if len(lengths) else 0.0
    saturation = k1 * (1 - b + b * lengths / (average or 1.0))
    shape = (max(1, int(starts[-1])),)  # an empty file cannot be mapped
    rows = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.int32, shape)
    scores = np.lib.format.open_memmap(folder / "scores.npy", "w+", np.float32, shape)
    free = starts[:-1].copy()
    for entries in _occurrences(counted):
        count = entries["count"].astype(np.float64)
        worth = rare[entries["token"]] * count / (count + saturation[entries["document"]])
        _place(entries["token"].copy(), entries["document"].copy(), worth.astype(np.float32), free, rows, scores)
    rows.flush()
    scores.flush()


def _occurrences(path: Path) -> Iterator[npt.NDArray[np.void]]:
    with path.open("rb") as file:
        while len(entries := np.fromfile(file, _OCCURRENCE, _OCCURRENCES_AT_ONCE)):
            yield entries


@compiled
def _place(
    tokens: npt.NDArray[np.int32],
    documents: npt.NDArray[np.int32],
    worth: Floats,
    free: Rows,
    rows: npt.NDArray[np.int32],
    scores: Floats,
) -> None:
    for entry in range(len(tokens)):
        place = free[tokens[entry]]
        rows[place], scores[place] = documents[entry], worth[entry]
        free[tokens[entry]] = place + 1


@compiled
def _add_up(
    tokens: Rows,
    starts: Rows,
    rows: npt.NDArray[np.int32],
    scores: Floats,
    counts: npt.NDArray[np.bool_],
    sums: Floats,
    touched: npt.NDArray[np.int32],
) -> int:
    """Add the postings of the tokens to `sums`, which is 0 everywhere; how many documents were touched, and which."""
    size = 0
    for token in tokens:
        for place in range(starts[token], starts[token + 1]):
            row = rows[place]
            if counts[row]:
                if sums[row] == 0:
                    touched[size] = row
                    size += 1
                sums[row] += scores[place]
    return size


def _best(sums: Floats, touched: Rows, k: int) -> Rows:
    """Of the rows `touched` the k of the largest sums, largest first, equal ones by the lower row."""
    scores = sums[touched]
    if len(touched) > k:
        smallest = np.partition(scores, len(scores) - k)[len(scores) - k]
        touched, scores = touched[scores >= smallest], scores[scores >= smallest]
    return touched[np.lexsort((touched, -scores))][:k]
