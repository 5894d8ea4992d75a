"""Recall by answer: the rank of the first passage that holds an answer of the question as a run of whole words.

Source: DPR (Karpukhin et al. 2020, arXiv 2004.04906), its has_answer and SimpleTokenizer, which MKQA's evaluation in the M3
paper uses: NFD, words of letters, numbers and marks, any other visible character a word of its own, in lower case.
"""

import unicodedata
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trainer.evaluate.retrieval_data import RetrievalData
from trainer.evaluate.stored_texts import chosen_blocks

_BLOCK_BYTES: Final = 16 * 1024 * 1024
_BETWEEN: Final = "\x00"  # no visible character: in no word


@cache
def _words() -> Any:
    import regex  # the standard library knows no \p{M}

    return regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")


def folded_words(text: str) -> str:
    """The words of a text in lower case (NFD), each between two NUL: one holds another's run of words as a substring."""
    words = _words().findall(unicodedata.normalize("NFD", text))
    return f"{_BETWEEN}{_BETWEEN.join(words).lower()}{_BETWEEN}" if words else ""


def holds_answer(passage: str, answers: list[str]) -> bool:
    """Whether a passage holds one of the answers. An answer without a word is in none."""
    folded = folded_words(passage)
    return any(answer in folded for each in answers if (answer := folded_words(each)))


def first_answer_ranks(data: RetrievalData, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each query the rank (from 1) of its first passage of `rows` int64 [Q, k] that holds an answer; k + 1 for none.

    Each passage is read and cut into words once, a block at a time; a query is asked about no passage behind a found one.
    """
    assert data.answers is not None
    answers = [[folded for each in told if (folded := folded_words(each))] for told in data.answers]
    width = rows.shape[1]
    first = np.full(len(rows), width + 1, np.int64)
    places = np.flatnonzero(rows.ravel() >= 0)
    places = places[np.argsort(rows.ravel()[places], kind="stable")]
    wanted = rows.ravel()[places]
    for block_rows, texts in chosen_blocks(data.documents, np.unique(wanted), _BLOCK_BYTES):
        passages = [folded_words(text) for text in texts.to_pylist()]
        low, high = np.searchsorted(wanted, block_rows[0]), np.searchsorted(wanted, block_rows[-1], side="right")
        numbers = np.searchsorted(block_rows, wanted[low:high]).tolist()
        for place, number in zip(places[low:high].tolist(), numbers, strict=True):
            query, rank = divmod(place, width)
            if rank + 1 < first[query] and any(answer in passages[number] for answer in answers[query]):
                first[query] = rank + 1
    return first
