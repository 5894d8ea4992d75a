"""What web pages say besides their subject: cookie lines, log-in and share links, rights; and titles that say nothing.

The phrases are in filters.boilerplate_phrases, for more than fifty languages; files with more can be named.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final

import pyarrow as pa

from filters.boilerplate_phrases import BOILERPLATE, PLACEHOLDERS, phrases_of
from filters.phrases import PhraseSet, read_phrases

BOILERPLATE_MEASURES: Final = pa.schema(
    [
        pa.field("boilerplate_share", pa.float32(), nullable=False),  # of letters, digits and symbols
        pa.field("placeholder", pa.bool_(), nullable=False),
    ]
)


def measure_boilerplate(
    texts: pa.Array, phrase_files: Sequence[str] = (), placeholder_files: Sequence[str] = ()
) -> pa.RecordBatch:
    """BOILERPLATE_MEASURES of a string array, row by row; a null is measured as the empty text, which is neither.

    `boilerplate_share` is the share of the text's letters, digits and symbols that lie in boilerplate phrases.
    `placeholder` says that the whole text is a placeholder or a title that any page could have: "Untitled", "Home",
    "Page not found", "N/A", or the beginning of the lorem ipsum; one or two numbers may follow ("Untitled 2").
    The files hold more of each, in the form filters.phrases.read_phrases reads. Raises PhraseFileError for a bad one.
    """
    share = boilerplate_phrases(tuple(phrase_files)).find(texts).share
    placeholder = placeholder_texts(tuple(placeholder_files)).is_whole_text(texts)
    return pa.RecordBatch.from_arrays([pa.array(share), pa.array(placeholder)], schema=BOILERPLATE_MEASURES)


@cache
def boilerplate_phrases(files: tuple[str, ...] = ()) -> PhraseSet:
    """The bundled phrases and those of the files, read once per process."""
    return PhraseSet.of(phrases_of(BOILERPLATE) + _phrases_of_files(files))


@cache
def placeholder_texts(files: tuple[str, ...] = ()) -> PhraseSet:
    """The bundled placeholders and those of the files, read once per process."""
    return PhraseSet.of(phrases_of(PLACEHOLDERS) + _phrases_of_files(files))


def _phrases_of_files(files: tuple[str, ...]) -> list[str]:
    return [phrase for file in files for phrase in read_phrases(file)]
