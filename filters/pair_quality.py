"""Measures of the two sides of a pair against each other: lexical overlap, containment, and the basics of bitext.

The bitext measures are those of OpusFilter (Aulamo et al. 2020, "OpusFilter: a configurable parallel corpus filtering
toolbox"), with its definitions and limits; each says where it differs. Only the beginnings of long texts are looked at:
the first MOST_BYTES bytes for what takes linear time, the first MOST_CHARACTERS characters for what takes quadratic time.
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters import characters, shingles
from filters.text_quality import utf8_buffers
from filters.writing_systems import script_of_letter, scripts_of_language
from sources.schema import SYMMETRIC_KINDS

MOST_BYTES: Final = 1 << 18
MOST_CHARACTERS: Final = 512
MOST_NUMERALS: Final = 199  # from 200 on Python's difflib, which OpusFilter uses, takes frequent digits for noise

PAIR_MEASURES: Final = pa.schema(
    [
        pa.field("query_overlap", pa.float32(), nullable=False),
        pa.field("positive_overlap", pa.float32(), nullable=False),
        pa.field("query_contained", pa.bool_(), nullable=False),
        pa.field("positive_contained", pa.bool_(), nullable=False),
        pa.field("contained_share", pa.float32(), nullable=False),
        pa.field("link_only", pa.bool_(), nullable=False),
        pa.field("word_ratio", pa.float32(), nullable=False),
        pa.field("character_ratio", pa.float32(), nullable=False),
        pa.field("numerals_agree", pa.float32(), nullable=False),
        pa.field("terminal_punctuation", pa.float32(), nullable=False),
        pa.field("edit_similarity", pa.float32(), nullable=False),
        pa.field("common_substring", pa.float32(), nullable=False),
        pa.field("repetition", pa.int32(), nullable=False),
        pa.field("query_script_share", pa.float32(), nullable=False),
        pa.field("positive_script_share", pa.float32(), nullable=False),
        pa.field("bitext_margin", pa.float32()),
    ]
)


def measure_pair_quality(batch: pa.RecordBatch) -> pa.RecordBatch:
    """PAIR_MEASURES of a PAIR batch, row by row; needs query, positive, kind, query_lang, positive_lang and scores.

    query_overlap, positive_overlap
        The share of one side's distinct units that the other side holds as well; 0 for a side without any. Units are
        folded words (filters.shingles.folding); in a run of letters of a script without spaces, each two neighbours,
        or the one letter where it stands alone.
    query_contained, positive_contained, contained_share
        Whether one side, folded, occurs in the other as a run of whole words, or of whole characters in scripts without
        spaces; and the contained side's share of the other's letters, digits and symbols (1: copies but for case and
        punctuation; 0: neither contains the other).
    link_only
        The positive holds a web address, and besides addresses no letter.
    word_ratio, character_ratio
        OpusFilter's LengthRatioFilter: the longer side over the shorter; 0 where both are empty, infinite where one is.
        Words are runs without white space; of a script without spaces, CHARACTERS_PER_WORD characters are one.
    numerals_agree
        NonZeroNumeralsFilter: twice the matching digits over all, of the digits 1 to 9 of both sides in their order,
        matched as Python's difflib.SequenceMatcher does; 1 where neither has any. Digits of all scripts count; of more
        than MOST_NUMERALS the first. Measured in SYMMETRIC_KINDS; 1 in others.
    terminal_punctuation
        TerminalPunctuationFilter: minus the logarithm of 1 + |a - b| + max(a - 1, 0) + max(b - 1, 0), where a and b are
        the sides' marks that end sentences; OpusFilter counts . ? ! and the ellipsis, this those of other scripts too.
    edit_similarity
        SimilarityFilter: 1 - Levenshtein distance / length of the longer, in characters, case kept; 0 where both are
        empty. Measured in SYMMETRIC_KINDS over the first MOST_CHARACTERS of each side; 0 in others.
    common_substring
        LongestCommonSubstringFilter: the longest common substring over the length of the shorter, 0 where that is empty.
        Measured as edit_similarity; without difflib's rule that drops frequent characters of long texts.
    repetition
        RepetitionFilter: how often the first repeated stretch of 3 to 101 characters of either side is repeated, if
        three times it stands there, with only spaces between; else 0. The greater of the two sides.
    query_script_share, positive_script_share
        CharacterScoreFilter: the share of letters in the scripts of the language that the corpus claims; 1 where there
        are none, or the code names no script.
    bitext_margin
        The score of that name that came with the corpus; null where none did.
    """
    from filters import pair_quality_loops as loops

    query, positive = utf8_buffers(batch["query"]), utf8_buffers(batch["positive"])
    alike = pc.is_in(batch["kind"], pa.array(sorted(SYMMETRIC_KINDS))).to_numpy(zero_copy_only=False)
    numbers = np.zeros((loops.MEASURES, len(batch)), np.float32)
    loops.measure_pairs(
        *query,
        *positive,
        alike,
        MOST_BYTES,
        MOST_CHARACTERS,
        MOST_NUMERALS,
        shingles.folding(),
        sentence_ends(),
        numbers,
    )
    script_shares = [
        loops.measure_scripts(*side, script_of_letter(), _scripts(batch[language]))
        for side, language in ((query, "query_lang"), (positive, "positive_lang"))
    ]
    columns = [
        *(pa.array(row).cast(PAIR_MEASURES.field(place).type) for place, row in enumerate(numbers)),
        *map(pa.array, script_shares),
        pc.struct_field(batch["scores"], "bitext_margin"),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PAIR_MEASURES)


def _scripts(languages: pa.Array) -> NDArray[np.uint64]:
    encoded = languages.dictionary_encode()
    masks = np.array([scripts_of_language(code) for code in encoded.dictionary.to_pylist()], np.uint64)
    taken: NDArray[np.uint64] = masks[encoded.indices.to_numpy()]
    return taken


def sentence_ends() -> NDArray[np.bool_]:
    """Which code points end a sentence: bool [0x110000]."""
    table = np.zeros(characters.CODE_POINTS, np.bool_)
    table[[ord(mark) for mark in ".?!…。．？！｡؟۔։।॥።፧။។៕᙮᠃꓿"]] = True
    return table
