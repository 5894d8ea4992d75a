"""Finding what is left of some texts in any bytes: whole, escaped for JSON or HTML, or cut to a part.

A text is cut into pieces of 32 bytes, end to end, the last one at its end. All pieces of all texts are looked for at once, at
every place: a rolling hash (Karp and Rabin 1987) over the bytes, and what it finds is compared. Whatever holds 63 bytes of a
text in one piece (a character more where one is cut) is found. Shorter texts have no pieces: they are compared whole where a
value begins and ends.
"""

import html
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipelines.report.text import visible
from trainer.compiled import compiled

LENGTH: Final = 32  # bytes of a fragment
_BASE: Final = np.uint64(0x9E3779B97F4A7C15)  # odd: no power of it is 0 modulo 2^64
_BITS: Final = 20  # of the table that says which hashes are worth a comparison

Bytes = npt.NDArray[np.uint8]


def spellings(text: str) -> list[str]:
    """The ways a text may be written in a file: plain, as JSON with and without ASCII escapes, as HTML, as the page shows it."""
    shown = str(visible(text))
    ways = (
        text,
        json.dumps(text, ensure_ascii=False)[1:-1],
        json.dumps(text)[1:-1],
        html.escape(text),
        html.escape(shown).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    )
    return list(dict.fromkeys(ways))


def fragments_of(texts: Iterable[str]) -> set[str]:
    """The pieces of some texts, as written in the texts: whole characters, of at least 32 bytes."""
    found: set[str] = set()
    for text in texts:
        starts, ends, size = [0], [], 0
        for place, character in enumerate(text):
            size += len(character.encode("utf-8", "surrogatepass"))
            if size >= LENGTH:
                ends.append(place + 1)
                starts.append(place + 1)
                size = 0
        found.update(text[start:end] for start, end in zip(starts, ends, strict=False))
        if ends and size:
            found.add(_last_piece(text))
    return found


def _last_piece(text: str) -> str:
    size = 0
    for place in range(len(text) - 1, -1, -1):
        size += len(text[place].encode("utf-8", "surrogatepass"))
        if size >= LENGTH:
            return text[place:]
    return text


def spelled(fragments: Iterable[str]) -> set[bytes]:
    """The pieces in all spellings."""
    return {spelling.encode("utf-8", "surrogatepass") for piece in fragments for spelling in spellings(piece)}


class Fragments:
    """Byte strings of `length` bytes and more to be looked for; with `ends`, only where it matches what follows."""

    def __init__(self, wanted: Iterable[bytes], length: int = LENGTH, ends: re.Pattern[bytes] | None = None) -> None:
        ordered = sorted(wanted)
        self.count, self._length, self._ends = len(ordered), length, ends
        first = np.frombuffer(b"".join(each[:length] for each in ordered), np.uint8).reshape(-1, length)
        hashes = _hashes(first)
        self._hashed: dict[int, dict[int, set[bytes]]] = {}  # by size: thousands may begin alike, as URLs do
        for value, each in zip(hashes.tolist(), ordered, strict=True):
            self._hashed.setdefault(value, {}).setdefault(len(each), set()).add(each)
        self._sorted = np.unique(hashes)
        self._table = np.zeros(1 << _BITS, np.bool_)
        self._table[self._sorted >> np.uint64(64 - _BITS)] = True

    def found_in(self, data: Any, most: int | None = None) -> set[bytes]:
        """Which of them occur in some bytes (any buffer); with `most`, as soon as so many are found."""
        view = np.frombuffer(data, np.uint8)
        found: set[bytes] = set()
        start = 0
        while self.count and start <= len(view) - self._length:
            places, start = _candidates(view, start, self._length, self._table, self._sorted, np.empty(4096, np.int64))
            for place in places.tolist():
                for size, alike in self._hashed[int(_hash_at(view, place, self._length))].items():
                    each = view[place : place + size].tobytes()
                    if each in alike and (self._ends is None or self._ends.match(view.data, place + size)):
                        found.add(each)
                        if most is not None and len(found) >= most:
                            return found
        return found


def _hashes(fragments: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """uint64 [n] of uint8 [n, length]."""
    hashes = np.zeros(len(fragments), np.uint64)
    with np.errstate(over="ignore"):
        for column in range(fragments.shape[1]):
            hashes = hashes * _BASE + (fragments[:, column].astype(np.uint64) + np.uint64(1))
    return hashes


@compiled
def _hash_at(data: Bytes, place: int, length: int) -> Any:
    value = np.uint64(0)
    for offset in range(length):
        value = value * _BASE + np.uint64(data[place + offset]) + np.uint64(1)
    return value


@compiled
def _candidates(
    data: Bytes,
    start: int,
    length: int,
    table: npt.NDArray[np.bool_],
    wanted: npt.NDArray[np.uint64],
    places: npt.NDArray[np.int64],
) -> Any:
    """Places from `start` on whose hash is a wanted one, as many as fit, and where to go on."""
    first = np.uint64(1)
    for _ in range(length - 1):
        first = first * _BASE
    count = 0
    value = _hash_at(data, start, length)
    last = len(data) - length
    place = start
    while True:
        if table[value >> np.uint64(64 - _BITS)]:
            at = np.searchsorted(wanted, value)
            if at < len(wanted) and wanted[at] == value:
                places[count] = place
                count += 1
        if place == last or count == len(places):
            return places[:count], place + 1
        value = (
            (value - (np.uint64(data[place]) + np.uint64(1)) * first) * _BASE
            + np.uint64(data[place + length])
            + np.uint64(1)
        )
        place += 1


def quoted(texts: Sequence[str]) -> set[bytes]:
    """Short texts as they stand in JSON lines and pages: between quotation marks, or between tags."""
    found: set[bytes] = set()
    for text in texts:
        if text:
            for spelled in spellings(text):
                found.update(
                    (f'"{spelled}"'.encode("utf-8", "surrogatepass"), f">{spelled}<".encode("utf-8", "surrogatepass"))
                )
    return found


URL_ENDS: Final = re.compile(
    rb"[\"'<>)\]},;#\\\s]|[:.!?]\s"
)  # what follows a URL: most are the beginning of another one


def written_urls(urls: Iterable[str]) -> set[bytes]:
    """URLs as they stand in any file; some writers of JSON escape the slash."""
    ways = {way for url in urls if url for way in (*spellings(url), url.replace("/", "\\/"))}
    return {way.encode("utf-8", "surrogatepass") for way in ways}
