"""Words and phrases of lists that the user names: adult, toxic, malicious. None is bundled.

A list is a text file in UTF-8, .gz too, with one word or phrase a line; see filters.phrases for how they are compared.
"""

from collections.abc import Sequence
from functools import cache

import pyarrow as pa

from filters.phrases import PhraseSet, read_phrases


def count_listed_words(texts: pa.Array, files: Sequence[str]) -> pa.Array:
    """How often words or phrases of the lists occur in each text: int32 [rows]; 0 where no list is named.

    Of phrases that overlap the first is counted, of those that start together the longest. Raises PhraseFileError where
    a file is missing or not UTF-8.
    """
    if not files:
        return pa.repeat(pa.scalar(0, pa.int32()), len(texts))
    return pa.array(listed_words(tuple(files)).find(texts).matches)


@cache
def listed_words(files: tuple[str, ...]) -> PhraseSet:
    """The phrases of all the files, read once per process."""
    return PhraseSet.of([phrase for file in files for phrase in read_phrases(file)])
