"""Traces of text decoded with the wrong encoding: "cafÃ©", "donâ€™t", "РїСЂРёРІРµС‚", "ï¿½".

UTF-8 writes a character beyond ASCII as a leading byte and one to three continuing bytes. Read as Windows-1252 or Latin-1
each becomes a character of its own, so a wrongly decoded text holds characters whose bytes in that encoding, put in a
row, are valid UTF-8. Sound text holds such rows by chance, at the end of words before quotation marks and dashes; what
may be sound is counted only where a letter or another such row stands beside it (filters.mojibake_loops).
"""

from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.text_quality import utf8_buffers


def mojibake_share(texts: pa.Array) -> pa.Array:
    """The share of each text's characters that are mojibake: float32 [rows]; 0 for a null or empty text.

    Seen are UTF-8 read as Windows-1252, Latin-1, Windows-1251 (Cyrillic text), code page 850, Mac Roman (quotation marks
    and dashes), GBK and Shift-JIS (the characters that only this gives). U+FFFD is not counted: that is `broken_share`.
    """
    from filters import mojibake_loops

    bounds, data = utf8_buffers(texts)
    share = np.zeros(len(bounds) - 1, np.float32)
    mojibake_loops.measure_mojibake(bounds, data, byte_of_character("cp1252"), byte_of_character("cp1251"), share)
    return pa.array(share)


@cache
def byte_of_character(encoding: str) -> NDArray[np.uint8]:
    """The byte from 0x80 on that stands for each code point in a one-byte encoding, 0 for none: uint8 [0x2200].

    Control characters stand for themselves, as in Latin-1: web browsers read so what the encoding leaves out.
    """
    table = np.zeros(0x2200, np.uint8)
    table[0x80:0xA0] = np.arange(0x80, 0xA0)
    for byte in range(0x80, 0x100):
        table[ord(bytes([byte]).decode(encoding, "ignore") or chr(byte))] = byte
    return table
