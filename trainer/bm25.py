"""BM25, the lexical baseline every embedding model is held against, for texts in any script.

In:  texts. Out: for each query its best documents, as rows and scores, best first.

Robertson's BM25 in Lucene's form, computed by bm25s; k1 and b are those of Anserini's and so of the M3 paper's baselines.
"""

import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

K1: Final = 0.9  # term saturation
B: Final = 0.4  # length normalisation

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


def bm25_top_k(
    queries: Sequence[str], corpus: Sequence[str], k: int, *, k1: float = K1, b: float = B
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The `k` documents of highest BM25 score for each query: scores float32 [Q, k] and row numbers int64 [Q, k].

    Equal scores are ordered by the lower row. Documents that share no token with the query are not among them: the rest
    is row -1 and score -inf.
    """
    import bm25s

    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    vocabulary: dict[str, int] = {}
    document_ids = [[vocabulary.setdefault(token, len(vocabulary)) for token in bm25_tokens(text)] for text in corpus]
    if not vocabulary:
        return scores, rows
    index = bm25s.BM25(k1=k1, b=b, method="lucene", backend="numpy")
    index.index((document_ids, vocabulary), show_progress=False)
    for query, text in enumerate(queries):
        known = [vocabulary[token] for token in bm25_tokens(text) if token in vocabulary]
        if not known:
            continue
        query_scores = index.get_scores_from_ids(known)
        best = _best(query_scores, k)
        scores[query, : len(best)], rows[query, : len(best)] = query_scores[best], best
    return scores, rows


def _best(scores: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
    """Rows of the k largest positive scores, largest first, equal ones by the lower row."""
    positive = np.flatnonzero(scores > 0)
    if len(positive) > k:
        smallest = np.partition(scores[positive], len(positive) - k)[len(positive) - k]
        positive = positive[scores[positive] >= smallest]
    order = np.lexsort((positive, -scores[positive]))
    return positive[order][:k]
