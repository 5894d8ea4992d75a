"""The translation units of a TMX file, cut out of its bytes and parsed one by one, in bounded memory.

A unit is `<tu>` ... `</tu>`. Units are cut out first, so that one in bad shape costs itself only, and parsed without
the file's head: nothing declares an entity, so nothing can be expanded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final
from xml.parsers import expat

from sources.files.encodings import HEAD, as_utf8, xml_encoding
from sources.files.reading import CHUNK, EXCERPT, ByteStream, Fault
from sources.source import SourceError, Split

_START: Final = re.compile(rb"<tu(?=[\s>])")
_END: Final = re.compile(rb"</tu\s*>")
_LONGEST_TAG: Final = 16  # bytes of either, with some white space
DEEPEST: Final = 100  # elements inside of each other
MOST_VARIANTS: Final = 1000  # of a unit: a world's languages would be 200
_MARKUP: Final = frozenset({"bpt", "ept", "ph", "it", "ut"})  # what they hold are codes of formatting, no text


@dataclass
class Variant:
    """The text of a unit in one language (<tuv>)."""

    language: str
    text: str = ""
    properties: dict[str, str] = field(default_factory=dict)


@dataclass
class Unit:
    """One translation unit (<tu>); `number` counts them from 1."""

    number: int
    identity: str | None
    variants: list[Variant]


@dataclass(frozen=True)
class BadUnit:
    """One that cannot be read."""

    number: int
    reason: str
    excerpt: bytes


class UnitReader:
    """The units of a file. Once they have run out, `fault` says what ended the file early, `cut_off` what it left."""

    def __init__(self, split: Split, longest: int) -> None:
        self._stream, self._longest = ByteStream(split.path, encoding="utf-8"), longest  # as it is: _chunks recodes
        self._head = min(EXCERPT, longest)  # bytes kept of a unit that is too long
        self._number = 0
        self._rest = b""  # what may become a unit: an unfinished one, or the start of its tag
        self._dropping = False  # whether _rest is the inside of a unit that is too long
        self._broken: Fault | None = None
        self.cut_off = b""

    @property
    def position(self) -> int:
        """The stored byte reached."""
        return self._stream.position

    @property
    def fault(self) -> Fault | None:
        """Why the units end before they should."""
        return self._stream.fault or self._broken

    def __iter__(self) -> Iterator[Unit | BadUnit]:
        for chunk in self._chunks():
            for data in self._cut(chunk):
                self._number += 1
                yield self._unit(data)
        if _START.match(self._rest) or self._dropping:
            self.cut_off = self._rest[:EXCERPT]
            self._broken = Fault("truncated_file", self.position, "the last unit does not end")
        elif not self._number and self.fault is None:
            self._broken = Fault("not_a_tmx", 0, "it holds no <tu>")

    def _chunks(self) -> Iterator[bytes]:
        """The file in UTF-8, in pieces that are not small: what waits for its end is copied with each."""
        stored = iter(self._stream)
        head = next(stored, b"")
        try:
            encoding = xml_encoding(head[:HEAD])
        except LookupError as error:
            raise SourceError(
                f"{self._stream.path}: it says to be encoded in {error.args[0]!r}, which is not known: store it as UTF-8"
            ) from error
        pieces: list[bytes] = []
        size = 0
        for piece in as_utf8(chain([head], stored), encoding):
            pieces.append(piece)
            size += len(piece)
            if size >= CHUNK // 2:
                yield b"".join(pieces)
                pieces, size = [], 0
        yield b"".join(pieces)

    def _cut(self, chunk: bytes) -> Iterator[bytes]:
        """The units that end in a chunk; one that is too long as its first bytes, without its end."""
        data, at = self._rest + chunk, 0
        if self._dropping:
            end = _END.search(data)
            if end is None:
                self._rest = data[-_LONGEST_TAG:]
                return
            at, self._dropping = end.end(), False
        searched = max(0, len(self._rest) - _LONGEST_TAG)  # an unfinished unit was searched for its end before
        while (begin := _START.search(data, at)) is not None:
            end = _END.search(data, max(begin.end(), searched))
            if end is None:
                break
            at = end.end()
            yield (
                data[begin.start() : at] if at - begin.start() <= self._longest else data[begin.start() :][: self._head]
            )
        if begin is None:
            self._rest = data[max(at, len(data) - _LONGEST_TAG) :]
        elif len(data) - begin.start() > self._longest:
            yield data[begin.start() :][: self._head]
            self._rest, self._dropping = data[-_LONGEST_TAG:], True
        else:
            self._rest = data[begin.start() :]

    def _unit(self, data: bytes) -> Unit | BadUnit:
        if len(data) > self._longest or not _END.search(data, max(0, len(data) - _LONGEST_TAG)):
            return BadUnit(self._number, "unit_too_long", data[:EXCERPT])
        if unit := _plain_unit(data):
            unit.number = self._number
            return unit
        try:
            return _parsed_unit(data, self._number)
        except (expat.ExpatError, ValueError) as error:
            return BadUnit(self._number, "invalid_xml", f"{error} | ".encode() + data[:EXCERPT])


# A unit of two texts and nothing else, as OPUS writes them all.
_PLAIN: Final = re.compile(
    rb"""<tu(?:\s+tuid="([^"<&]*)")?\s*>\s*"""
    rb"""<tuv\s+xml:lang="([^"<&]*)"\s*>\s*<seg>([^<]*)</seg>\s*</tuv>\s*"""
    rb"""<tuv\s+xml:lang="([^"<&]*)"\s*>\s*<seg>([^<]*)</seg>\s*</tuv>\s*</tu\s*>"""
)
_REFERENCE: Final = re.compile(r"&(amp|lt|gt|quot|apos);")
_CHARACTERS: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def _referred(name: re.Match[str]) -> str:
    return _CHARACTERS[name[1]]


def _plain_unit(data: bytes) -> Unit | None:
    """A unit of the usual shape, read three times as fast as by expat; None for one of another."""
    found = _PLAIN.fullmatch(data)
    if found is None or b"&#" in data:
        return None
    try:
        texts = [part.decode() for part in found.groups(b"")]
    except UnicodeDecodeError:
        return None
    if references := data.count(b"&"):
        for place, text in enumerate(texts):
            if "&" in text:
                texts[place], known = _REFERENCE.subn(_referred, text)
                references -= known
        if references:
            return None
    identity, first_language, first, second_language, second = texts
    return Unit(0, identity or None, [Variant(first_language, first), Variant(second_language, second)])


def _parsed_unit(data: bytes, number: int) -> Unit:
    """Any unit, by expat. Raises ExpatError or ValueError for what is none."""
    collector = _Collector()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = collector.start
    parser.EndElementHandler = collector.end
    parser.CharacterDataHandler = collector.text
    parser.Parse(data, True)
    if len(collector.units) != 1:
        raise ValueError("a unit inside of another")
    unit = collector.units[0]
    unit.number = number
    return unit


class _Collector:
    """What expat calls: gathers the texts of <seg>, without the codes of formatting in them."""

    def __init__(self) -> None:
        self.units: list[Unit] = []
        self._parts: list[str] | None = None  # of the text that is being read
        self._depth = 0
        self._markup = 0  # how deep inside of codes
        self._property = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} elements inside of each other")
        if name == "tu":
            self.units.append(Unit(0, attributes.get("tuid"), []))
        elif name == "tuv" and self.units:
            if len(self.units[-1].variants) == MOST_VARIANTS:
                raise ValueError(f"more than {MOST_VARIANTS} texts in one unit")
            tag = attributes.get("xml:lang") or attributes.get("lang") or ""
            self.units[-1].variants.append(Variant(tag))
        elif name in ("seg", "prop"):
            self._parts, self._markup, self._property = [], 0, attributes.get("type", "")
        elif name in _MARKUP or self._markup:
            self._markup += 1

    def end(self, name: str) -> None:
        self._depth -= 1
        if name in ("seg", "prop"):
            text, self._parts = "".join(self._parts or ()), None
            variants = self.units[-1].variants if self.units else []
            if variants and name == "seg":
                variants[-1].text = text
            elif variants:
                variants[-1].properties[self._property] = text
        elif self._markup:
            self._markup -= 1

    def text(self, data: str) -> None:
        if self._parts is not None and not self._markup:
            self._parts.append(data)
