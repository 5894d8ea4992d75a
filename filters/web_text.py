"""Measures of web text: the quality rules of Gopher, C4 and FineWeb, right for any script, and ours on sentences.

`measure_web` gives WEB_MEASURES of one side of the pairs; PUBLISHED lists the thresholds that come with the rules.

Units. A *token* is a run without white space; in scripts written without spaces (filters.characters) every letter is a
token, with the marks and punctuation around it. A *word* is a token that holds a letter or digit. A *line* ends at a
line feed; blank lines do not count; a *paragraph* ends at a blank line. A *sentence* ends at the line's end or at
terminal punctuation of any script that ends its token, but not after one-letter abbreviations ("e.g.") and leading
numbers ("1.").

Texts of a single line, such as normalised pairs, are not judged by their lines: shares of lines are 0
(terminal_line_share is 1), and C4's line rules look at sentences instead (datatrove: split_paragraph=False).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters import characters
from filters.text_quality import utf8_buffers

_FLOATS_OF_GOPHER: Final = (
    "mean_word_length",  # characters a word, punctuation on it included
    "hash_share",  # "#" per token
    "ellipsis_share",  # "..." and the ellipsis character per token
    "bullet_line_share",
    "ellipsis_line_share",
    "alphabetic_word_share",  # of the tokens
    "duplicate_line_share",
    "duplicate_paragraph_share",
    "duplicate_line_character_share",  # of all characters, as the next and the n-grams
    "duplicate_paragraph_character_share",
    *(f"top_{n}gram_share" for n in (2, 3, 4)),  # characters of the most frequent one; 0 where all occur once
    *(f"duplicate_{n}gram_share" for n in range(5, 11)),
)
WEB_MEASURES: Final = pa.schema(
    [
        *(pa.field(name, pa.float32(), nullable=False) for name in _FLOATS_OF_GOPHER),
        pa.field("stop_words", pa.int32(), nullable=False),  # how many of Gopher's eight English ones occur, case aside
        pa.field("lines", pa.int32(), nullable=False),
        pa.field("sentences", pa.int32(), nullable=False),
        pa.field("terminal_line_share", pa.float32(), nullable=False),  # lines that end in terminal punctuation
        pa.field("short_word_line_share", pa.float32(), nullable=False),  # lines under three tokens
        pa.field("kept_sentences", pa.int32(), nullable=False),  # in lines that survive C4's line rules
        pa.field("kept_sentences_any_end", pa.int32(), nullable=False),  # the same, terminal punctuation not asked for
        pa.field("lorem_ipsum", pa.bool_(), nullable=False),
        pa.field("curly_brackets", pa.int32(), nullable=False),  # "{" anywhere, as the paper says
        pa.field("javascript_lines", pa.int32(), nullable=False),
        pa.field("policy_lines", pa.int32(), nullable=False),
        pa.field("short_line_share", pa.float32(), nullable=False),  # lines of at most 30 characters
        pa.field("newline_word_share", pa.float32(), nullable=False),  # line feeds per token
        pa.field("duplicate_sentence_share", pa.float32(), nullable=False),  # sentences that occurred before
        pa.field("sentence_mean_words", pa.float32(), nullable=False),
        pa.field("list_separator_share", pa.float32(), nullable=False),  # per word; may pass 1
        pa.field("code_symbol_share", pa.float32(), nullable=False),  # of the visible characters
        pa.field("capitalised_word_share", pa.float32(), nullable=False),  # of cased words but the sentences' first
        pa.field("distinct_word_share", pa.float32(), nullable=False),  # of the first 200 words, case aside; 1 of none
    ]
)

Comparison = Literal[">=", "<="]
Limits = tuple[tuple[Comparison, float], ...]

# What a kept text fulfils: measure -> its limits. `words` is of filters.text_quality.TEXT_MEASURES. All were set on
# English web pages.
PUBLISHED: Final[Mapping[str, Mapping[str, Limits]]] = {
    # Rae et al. 2021, appendix A1.1 and table A1; the equality of bounds as in datatrove.
    "gopher": {
        "words": ((">=", 50), ("<=", 100_000)),
        "mean_word_length": ((">=", 3), ("<=", 10)),
        "hash_share": (("<=", 0.1),),
        "ellipsis_share": (("<=", 0.1),),
        "bullet_line_share": (("<=", 0.9),),
        "ellipsis_line_share": (("<=", 0.3),),
        "alphabetic_word_share": ((">=", 0.8),),
        "stop_words": ((">=", 2),),
        "duplicate_line_share": (("<=", 0.3),),
        "duplicate_paragraph_share": (("<=", 0.3),),
        "duplicate_line_character_share": (("<=", 0.2),),
        "duplicate_paragraph_character_share": (("<=", 0.2),),
        "top_2gram_share": (("<=", 0.2),),
        "top_3gram_share": (("<=", 0.18),),
        "top_4gram_share": (("<=", 0.16),),
        "duplicate_5gram_share": (("<=", 0.15),),
        "duplicate_6gram_share": (("<=", 0.14),),
        "duplicate_7gram_share": (("<=", 0.13),),
        "duplicate_8gram_share": (("<=", 0.12),),
        "duplicate_9gram_share": (("<=", 0.11),),
        "duplicate_10gram_share": (("<=", 0.1),),
    },
    # Raffel et al. 2020, section 2.2. The line rules (terminal punctuation, three words, no word over 1,000 characters,
    # no "javascript", no policy phrase) are inside kept_sentences; FineWeb and its like go without terminal
    # punctuation: the same limit on kept_sentences_any_end.
    "c4": {
        "kept_sentences": ((">=", 5),),
        "lorem_ipsum": (("<=", 0),),
        "curly_brackets": (("<=", 0),),
    },
    # Penedo et al. 2024, section 3.6; the share of line feeds is in their code (datatrove, FineWebQualityFilter).
    "fineweb": {
        "terminal_line_share": ((">=", 0.12),),
        "duplicate_line_character_share": (("<=", 0.01),),
        "short_line_share": (("<=", 0.67),),
        "newline_word_share": (("<=", 0.3),),
    },
}

STOP_WORDS: Final = ("the", "be", "to", "of", "and", "that", "have", "with")  # Rae et al. 2021, appendix A1.1

# Unicode 17's Sentence_Terminal (PropList.txt), first and last code points.
_TERMINALS: Final = (
    "21 2e 3f 589 61d-61f 6d4 700-702 7f9 837 839 83d-83e 964-965 104a-104b 1362 1367-1368 166e 1735-1736 17d4-17d5"
    " 1803 1809 1944-1945 1aa8-1aab 1b4e-1b4f 1b5a-1b5b 1b5e-1b5f 1b7d-1b7f 1c3b-1c3c 1c7e-1c7f 2024 203c-203d"
    " 2047-2049 2cf9-2cfb 2e2e 2e3c 2e53-2e54 2e60-2e61 3002 a4ff a60e-a60f a6f3 a6f7 a876-a877 a8ce-a8cf a92f"
    " a9c8-a9c9 aa5d-aa5f aaf0-aaf1 abeb fe12 fe15-fe16 fe52 fe56-fe57 ff01 ff0e ff1f ff61 10a56-10a57 10f55-10f59"
    " 10f86-10f89 11047-11048 110be-110c1 11141-11143 111c5-111c6 111cd 111de-111df 11238-11239 1123b-1123c 112a9"
    " 113d4-113d5 1144b-1144c 115c2-115c3 115c9-115d7 11641-11642 1173c-1173e 11944 11946 11a42-11a43 11a9b-11a9c"
    " 11c41-11c42 11ef7-11ef8 11f43-11f44 16a6e-16a6f 16af5 16b37-16b38 16b44 16d6e-16d6f 16e98 1bc9f 1da88"
)
_QUOTES: Final = "\"'’”“‘»«›‹」』〉》＂＇"
_CLOSING_BRACKETS: Final = ")]}）］｝】〕〗"
_CODE_SYMBOLS: Final = "{}()[]<>=;/\\_$#*+&|~^@`"
_SEPARATORS: Final = "|¦｜•‣►▸▪■●◆→"
_BULLETS: Final = "•-*‣⁃▪■●○◦◆►▸·"  # datatrove: the first two
# Signs that stand alone in good prose, besides terminal punctuation: dashes, French punctuation, quotation marks.
_SIGNS_OF_PROSE: Final = "-‐‑‒–—―−:;,…%&=+/«»‹›„“”‘’\"'()¿¡（），、；：،؛"


def measure_web(texts: pa.Array) -> pa.RecordBatch:
    """WEB_MEASURES of a string array, row by row; a null is measured as the empty text, whose counts and shares are 0
    (terminal_line_share and distinct_word_share 1).

    In scripts without spaces a token counts as a word of five characters in mean_word_length: published bounds on the
    length of words neither help nor hurt such texts. Time and memory are linear in the length of the texts.
    """
    from filters import web_text_loops as loops

    bounds, data = utf8_buffers(texts)
    counts = np.zeros((max(len(bounds) - 1, 1), loops.COUNTERS), np.int64)
    stop_words = utf8_buffers(pa.array([" ".join(STOP_WORDS)]))
    tables = characters.class_of_character(), traits_of_character(), characters.folded_character()
    loops.measure_texts(bounds, data, *stop_words, *tables, counts)
    count = counts[: len(bounds) - 1].T

    single_line = count[loops.LINES] <= 1
    grams = [_share(part, count[loops.CHARACTERS]) for part in count[loops.GRAMS :]]
    gram_names = [name for name in WEB_MEASURES.names if name.endswith("gram_share")]
    columns = {
        "mean_word_length": _share(count[loops.WORD_CHARACTERS], count[loops.WORDS], cap=None),
        "hash_share": _share(count[loops.HASHES], count[loops.TOKENS], cap=None),
        "ellipsis_share": _share(count[loops.ELLIPSES], count[loops.TOKENS], cap=None),
        "bullet_line_share": np.where(single_line, 0, _share(count[loops.BULLET_LINES], count[loops.LINES])),
        "ellipsis_line_share": np.where(single_line, 0, _share(count[loops.ELLIPSIS_LINES], count[loops.LINES])),
        "alphabetic_word_share": _share(count[loops.ALPHABETIC], count[loops.TOKENS]),
        "duplicate_line_share": _share(count[loops.DUPLICATE_LINES], count[loops.LINES]),
        "duplicate_paragraph_share": _share(count[loops.DUPLICATE_PARAGRAPHS], count[loops.PARAGRAPHS]),
        "duplicate_line_character_share": _share(count[loops.DUPLICATE_LINE_CHARACTERS], count[loops.CHARACTERS]),
        "duplicate_paragraph_character_share": _share(
            count[loops.DUPLICATE_PARAGRAPH_CHARACTERS], count[loops.CHARACTERS]
        ),
        **dict(zip(gram_names, grams, strict=True)),
        "stop_words": count[loops.STOP_WORDS],
        "lines": count[loops.LINES],
        "sentences": count[loops.SENTENCES],
        "terminal_line_share": np.where(single_line, 1, _share(count[loops.TERMINAL_LINES], count[loops.LINES])),
        "short_word_line_share": np.where(single_line, 0, _share(count[loops.SHORT_WORD_LINES], count[loops.LINES])),
        "kept_sentences": count[loops.KEPT_SENTENCES],
        "kept_sentences_any_end": count[loops.KEPT_SENTENCES_ANY_END],
        "lorem_ipsum": count[loops.LOREM_IPSUM] > 0,
        "curly_brackets": count[loops.CURLY_BRACKETS],
        "javascript_lines": count[loops.JAVASCRIPT_LINES],
        "policy_lines": count[loops.POLICY_LINES],
        "short_line_share": np.where(single_line, 0, _share(count[loops.SHORT_LINES], count[loops.LINES])),
        "newline_word_share": _share(count[loops.NEWLINES], count[loops.TOKENS], cap=None),
        "duplicate_sentence_share": _share(count[loops.DUPLICATE_SENTENCES], count[loops.SENTENCES]),
        "sentence_mean_words": _share(count[loops.WORDS], count[loops.SENTENCES], cap=None),
        "list_separator_share": _share(count[loops.SEPARATORS], count[loops.WORDS], cap=None),
        "code_symbol_share": _share(count[loops.CODE_SYMBOLS], count[loops.VISIBLE]),
        "capitalised_word_share": _share(count[loops.CAPITALISED], count[loops.CASED]),
        "distinct_word_share": np.where(
            count[loops.WORDS] == 0, 1, _share(count[loops.DISTINCT], count[loops.DISTINCT_OF])
        ),
    }
    arrays = [pa.array(columns[field.name].astype(field.type.to_pandas_dtype())) for field in WEB_MEASURES]
    return pa.RecordBatch.from_arrays(arrays, schema=WEB_MEASURES)


def _share(part: NDArray[Any], whole: NDArray[Any], cap: float | None = 1) -> NDArray[np.float32]:
    share: NDArray[np.float32] = (part / np.maximum(whole, 1)).astype(np.float32)
    return share if cap is None else np.minimum(share, np.float32(cap))


@cache
def traits_of_character() -> NDArray[np.uint16]:
    """What each code point is to the loops, a sum of web_text_loops' traits: uint16 [0x110000]."""
    from filters import web_text_loops as loops

    table = np.zeros(characters.CODE_POINTS, np.uint16)
    for terminals in _TERMINALS.split():
        first, _, last = terminals.partition("-")
        table[int(first, 16) : int(last or first, 16) + 1] |= loops.TERMINAL | loops.PROSE
    for signs, trait in (
        (_QUOTES, loops.QUOTE),
        (_CLOSING_BRACKETS, loops.CLOSING),
        (_CODE_SYMBOLS, loops.CODE),
        (_SEPARATORS, loops.SEPARATOR),
        (_BULLETS, loops.BULLET),
        (_SIGNS_OF_PROSE, loops.PROSE),
        (loops.PHRASE_LETTERS + loops.PHRASE_LETTERS.upper(), loops.PHRASE),
    ):
        table[[ord(sign) for sign in signs]] |= trait
    folded = characters.folded_character()
    table[folded[folded != np.arange(len(folded), dtype=np.uint32)]] |= loops.LOWER
    return table
