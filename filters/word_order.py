"""How much likelier the order of a text's words is than a shuffled one: tells text from words thrown together.

A logistic regression looks at every place between two words: the words themselves, their last letters, case and
punctuation (does a capital follow the end of a sentence?), and the word after next. It was trained to tell passages
from the same passages with their words shuffled (`python benchmarks/train_word_order.py`), on text in some fifty
languages; the packaged file holds the weights, of the 110,000 features that say most. It does not ask for a language.
In scripts without spaces a letter is a word.
"""

import unicodedata
import zlib
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters import characters
from filters.text_quality import utf8_buffers

WORD_ORDER_MEASURES: Final = pa.schema([pa.field("word_order", pa.float32())])  # null where it cannot be told

MODEL_FILE: Final = "word_order_model.zlib"
WEIGHT_UNIT: Final = 1 / 24  # of the int8 weights, in natural logarithms of odds
MAX_WORDS: Final = 500  # the beginning of a text is enough to tell (ours)
SHUFFLES: Final = 2  # shuffled texts that training sees for each text; their surplus is taken out of the odds again
# Below, a few chance neighbours decide (ours). A letter of a script without spaces is a word, and says less.
MIN_WORDS: Final = 20
# Of the places between words, those with a known word or a capital: text in a language of the model has ten times as
# many, even shuffled. Without, only punctuation speaks, too little; where there are capitals, case does, too.
MIN_KNOWN_SHARE: Final = 0.01

_NO_MODEL: Final = "This is no model of word order: train one anew with benchmarks/train_word_order.py."
_SENTENCE_ENDS: Final = ".!?。！？؟।॥۔።։…︒｡‽"
_COMMAS: Final = ",;:，；：、،؛·"


@dataclass(frozen=True)
class WordOrderModel:
    """The hashed features that are known and what they say, see filters.word_order_loops."""

    marks: NDArray[np.uint16]  # [slots], slots a power of two; 0: free
    weights: NDArray[np.int8]  # [slots], in WEIGHT_UNIT
    place_weights: NDArray[np.int8]  # [PLACES]: of shape and punctuation of two neighbours alone


def measure_word_order(texts: pa.Array, model: WordOrderModel | None = None) -> pa.RecordBatch:
    """WORD_ORDER_MEASURES of a string array, row by row.

    `word_order` is the mean over all places between two words of the log odds (natural logarithm) that the place is
    one of a text rather than of shuffled words; 0 says nothing. Text lies around 0.3 (0.5 in languages that training
    saw much of, 0.1 in those it saw little of), shuffled words around -0.4. Null: fewer than MIN_WORDS words, or a
    language that the model knows nothing of. Only the first MAX_WORDS words are looked at.
    """
    from filters import word_order_loops

    model = packaged_model() if model is None else model
    bounds, data = utf8_buffers(texts)
    rows = len(bounds) - 1
    sums, places, known = np.zeros(rows, np.float32), np.zeros(rows, np.int32), np.zeros(rows, np.int32)
    word_order_loops.score_texts(
        bounds,
        data,
        *character_tables(),
        model.marks,
        model.weights,
        model.place_weights,
        sums,
        places,
        known,
        MAX_WORDS,
    )
    means = (sums * np.float32(WEIGHT_UNIT) / np.maximum(places, 1) + np.float32(np.log(SHUFFLES))).astype(np.float32)
    untold = (places < MIN_WORDS - 1) | (known < MIN_KNOWN_SHARE * places)
    return pa.RecordBatch.from_arrays([pa.array(means, mask=untold)], schema=WORD_ORDER_MEASURES)


@cache
def character_tables() -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.uint8]]:
    """Class, folded form and kind of sign (filters.word_order_loops) of every code point."""
    return characters.class_of_character(), characters.folded_character(), _sign_of_character()


def _sign_of_character() -> NDArray[np.uint8]:
    from filters import word_order_loops as loops

    kinds = {"Ps": loops.SIGN_OPENING, "Pi": loops.SIGN_OPENING, "Pe": loops.SIGN_CLOSING, "Pf": loops.SIGN_CLOSING}
    table = np.zeros(characters.CODE_POINTS, np.uint8)
    for code in range(0x20000):  # no punctuation is assigned above
        table[code] = kinds.get(unicodedata.category(chr(code)), loops.SIGN_OTHER)
    table[[ord(sign) for sign in _SENTENCE_ENDS]] = loops.SIGN_ENDING
    table[[ord(sign) for sign in _COMMAS]] = loops.SIGN_COMMA
    return table


@cache
def packaged_model() -> WordOrderModel:
    """The model that comes with pairmill, read once per process."""
    return read_model(Path(__file__).with_name(MODEL_FILE).read_bytes())


def read_model(content: bytes) -> WordOrderModel:
    """A model from the bytes `write_model` made. Raises ValueError where they are not."""
    from filters.word_order_loops import PLACES

    try:
        stream = BytesIO(zlib.decompress(content))
        model = WordOrderModel(*(np.load(stream, allow_pickle=False) for _ in range(3)))
    except (ValueError, EOFError, zlib.error) as error:
        raise ValueError(f"{_NO_MODEL} ({error})") from None
    marks, weights, place_weights = model.marks, model.weights, model.place_weights
    kinds = [array.dtype for array in (marks, weights, place_weights)] == [np.uint16, np.int8, np.int8]
    sizes = len(marks) > 0 and len(marks) & (len(marks) - 1) == 0 and len(weights) == len(marks)
    if not (kinds and sizes and place_weights.shape == (PLACES,)) or marks.all():
        raise ValueError(_NO_MODEL)
    return model


def write_model(model: WordOrderModel) -> bytes:
    """The model as three arrays in numpy's own format, one after the other, compressed by zlib."""
    stream = BytesIO()
    for array in (model.marks, model.weights, model.place_weights):
        np.save(stream, array, allow_pickle=False)
    return zlib.compress(stream.getvalue(), 9)
