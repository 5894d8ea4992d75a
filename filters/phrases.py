"""Sets of phrases that are looked for in texts of any script.

Text and phrases are compared folded (filters.shingles.folding): case, accents, punctuation and white space make no
difference. A phrase matches whole words; in scripts written without spaces, whole characters, wherever they stand.
"""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.shingles import folding
from filters.text_quality import utf8_buffers

OPEN_END: Final = "..."  # ends a phrase that stands for all texts that start with it (PhraseSet.is_whole_text)


class PhraseFileError(ValueError):
    """A file of phrases is missing or cannot be read. The message names file, line and remedy."""


@dataclass(frozen=True)
class Occurrences:
    """Of each text: how many phrases it holds (int32 [rows]), and their share of its letters, digits and symbols."""

    matches: NDArray[np.int32]
    share: NDArray[np.float32]  # [rows], 0 for a text without any


@dataclass(frozen=True)
class PhraseSet:
    """Phrases as the loops look them up: a hash table of all their beginnings."""

    keys: NDArray[np.uint64]
    flags: NDArray[np.uint8]
    starts: NDArray[np.bool_]

    @classmethod
    def of(cls, phrases: Sequence[str]) -> "PhraseSet":
        """Raises PhraseFileError for a phrase without letters, digits and symbols, which no text would hold."""
        from filters import phrase_loops

        texts = pa.array(phrases, pa.string())
        bounds, data = utf8_buffers(texts)
        tokens = int(bounds[-1] - bounds[0])  # a token has a byte at least
        size = 1 << (2 * tokens + 1).bit_length()
        found = cls(np.zeros(size, np.uint64), np.zeros(size, np.uint8), np.zeros(phrase_loops.FIRST_TOKENS, np.bool_))
        is_open = np.array([phrase.endswith(OPEN_END) for phrase in phrases], np.bool_)
        bad = phrase_loops.add_phrases(bounds, data, is_open, folding(), found.keys, found.flags, found.starts)
        if bad >= 0:
            raise PhraseFileError(
                f"The phrase {phrases[bad]!r} holds no letter, digit or symbol, so no text could match it. Take it out of"
                " the list."
            )
        return found

    def find(self, texts: pa.Array) -> Occurrences:
        """The phrases in each text of a string array; those that overlap one before are not counted; null is empty."""
        from filters import phrase_loops

        bounds, data = utf8_buffers(texts)
        counts = np.zeros((len(bounds) - 1, 3), np.int32)
        phrase_loops.find_phrases(bounds, data, folding(), self.keys, self.flags, self.starts, counts)
        share = (counts[:, 1] / np.maximum(counts[:, 2], 1)).astype(np.float32)
        return Occurrences(np.ascontiguousarray(counts[:, 0]), share)

    def is_whole_text(self, texts: pa.Array) -> NDArray[np.bool_]:
        """Whether each text is one of the phrases: bool [rows]. Up to two numbers may follow: "Untitled 2".

        A phrase that ends in OPEN_END also stands for every text that starts with it.
        """
        from filters import phrase_loops

        bounds, data = utf8_buffers(texts)
        whole: NDArray[np.bool_] = phrase_loops.find_whole_texts(bounds, data, folding(), self.keys, self.flags)
        return whole


def read_phrases(file: str) -> list[str]:
    """The phrases of a UTF-8 file, .gz too, one a line; empty lines and those that start with # are left out.

    Raises PhraseFileError where the file is missing, broken, not UTF-8, or holds no phrase.
    """
    path = Path(file)
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise PhraseFileError(
            f"The list of phrases {file} is damaged ({error}): its name ends in .gz, but it cannot be unpacked. Copy the"
            " file again, or unpack it and name the result."
        ) from error
    except OSError as error:
        raise PhraseFileError(
            f"The list of phrases {file} cannot be read ({error.strerror or error}). Name a file that exists: UTF-8 text,"
            " one word or phrase a line, packed with gzip if its name ends in .gz."
        ) from error
    phrases = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            phrase = line.decode().strip()
        except UnicodeDecodeError as error:
            raise PhraseFileError(
                f"The list of phrases {file} is not UTF-8: line {number}, {line[:40]!r}, cannot be decoded. Convert the"
                " file, for instance with `iconv -f LATIN1 -t UTF-8`."
            ) from error
        if phrase and not phrase.startswith("#"):
            if not any(character.isalnum() or not character.isascii() for character in phrase):
                raise PhraseFileError(
                    f"Line {number} of the list of phrases {file}, {phrase!r}, holds no letter or digit to look for. Take"
                    " it out, or start it with # to make it a comment."
                )
            phrases.append(phrase)
    if not phrases:
        raise PhraseFileError(
            f"The list of phrases {file} holds no phrase: all its lines are empty or comments. Leave the file out."
        )
    return phrases
