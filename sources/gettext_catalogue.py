"""Gettext catalogues, .po and .mo: each translated message is a parallel pair.

All translations of one message share a document id (`domain:hash of msgctxt and msgid`), so that every language of it falls
on one side of a split into training and held-out data.
"""

import codecs
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import xxhash
from pydantic import Field

from sources.files.reading import EXCERPT, MAX_LINE, ByteStream, LineReader, LongRecord, base_name, stored_size
from sources.languages import UNKNOWN, language_code
from sources.schema import QuarantineRows, make_pairs
from sources.source import Extracted, Source, SourceError, SourceSettings, Split, extracted

NAME: Final = "gettext"
ROWS: Final = 4096  # most messages of one step
CHARACTERS: Final = 2_000_000  # of a step's messages, about
LARGEST_MO: Final = 256 << 20  # bytes; a .mo is read whole: its strings lie anywhere in it
_LAYOUT: Final = re.compile(r"(?:^|/)([A-Za-z]{2,3}(?:[_-][A-Za-z0-9]+)*(?:@[a-z]+)?)/LC_MESSAGES/[^/]+$")
_FILE_NAME: Final = re.compile(r"([a-z]{2,3}(?:[_-][A-Za-z]{2,4})?(?:@[a-z]+)?)\.po$")
_SCRIPTS: Final = {"latin": "Latn", "cyrillic": "Cyrl", "latn": "Latn", "cyrl": "Cyrl", "devanagari": "Deva"}


class GettextSettings(SourceSettings):
    """Settings of the gettext source; `language` is the translations', where neither path nor header says it."""

    message_language: str = Field("eng_Latn", description="language of the msgids")
    max_line_bytes: int = Field(MAX_LINE, gt=0, description="a longer line or entry is quarantined")


@dataclass
class Message:
    """One entry of a catalogue."""

    line: int
    context: str | None = None
    text: str | None = None
    plural: str | None = None
    translation: str = ""
    fuzzy: bool = False


def splits(path: str, settings: GettextSettings, target_bytes: int) -> list[Split]:
    """A catalogue is one split."""
    return [Split(path, size=stored_size(path))]


def read(split: Split, settings: GettextSettings) -> Iterator[Extracted]:
    """Stream a catalogue's translated messages. Raises SourceError where the file cannot be opened."""
    quarantine = QuarantineRows(settings.label or NAME, split.path, "line")
    reader = (
        _MoReader(split, settings) if base_name(split.path).endswith((".mo", ".gmo")) else _PoReader(split, settings)
    )
    rows: list[Message] = []
    bad = characters = 0
    for found in reader.messages():
        if isinstance(found, Message):
            rows.append(found)
            characters += len(found.text or "") + len(found.translation)
        else:
            quarantine.add(found.position, found.reason, found.excerpt, found.unit)
            bad += 1
        if len(rows) + bad >= ROWS or characters >= CHARACTERS:
            yield _step(rows, bad, quarantine, reader, split, settings)
            rows, bad, characters = [], 0, 0
    yield _step(rows, bad, quarantine, reader, split, settings)


@dataclass(frozen=True)
class _Bad:
    position: int
    reason: str
    excerpt: bytes | str
    unit: str = "line"


def _step(
    rows: list[Message],
    bad: int,
    quarantine: QuarantineRows,
    reader: "_PoReader | _MoReader",
    split: Split,
    settings: GettextSettings,
) -> Extracted:
    domain = base_name(split.path).rpartition(".")[0]
    if not _LAYOUT.search(split.path):
        domain = _domain_without_layout(split.path, domain)
    pairs, rejects = make_pairs(
        query=[row.text for row in rows],
        positive=[row.translation for row in rows],
        kind="parallel",
        source=settings.label or NAME,
        document_id=[f"{domain}:{_message_hash(row)}" for row in rows],
        query_lang=language_code(settings.message_language),
        positive_lang=_language(split.path, reader.header, settings),
        license=settings.license,
    )
    return extracted(len(rows) + bad, reader.position, pairs=pairs, rejects=rejects, quarantine=quarantine.take())


def _domain_without_layout(path: str, name: str) -> str:
    """Where files are called by language (po/de.po), the folder above names the domain."""
    if not _FILE_NAME.search(f"{name}.po"):
        return name
    folders = [part for part in path.split("/")[:-1] if part not in ("po", "locale", "locales", "")]
    return folders[-1] if folders else name


def _message_hash(row: Message) -> str:
    return xxhash.xxh3_64_hexdigest(f"{row.context or ''}\x04{row.text}".encode())


def _language(path: str, header: dict[str, str], settings: GettextSettings) -> str:
    """From the folder above LC_MESSAGES, the header's Language, the setting, or the file's name, in this order."""
    folder, name = _LAYOUT.search(path), _FILE_NAME.search(base_name(path))
    tags = (folder and folder[1], header.get("language"), settings.language, name and name[1])
    codes = (_gettext_language(tag) for tag in tags if tag)
    return next((code for code in codes if code != UNKNOWN), UNKNOWN)


def _gettext_language(tag: str) -> str:
    """`sr@latin` and `ca@valencia`: what follows the @ is a script or a variant."""
    language, _, modifier = tag.partition("@")
    code = language_code(language)
    script = _SCRIPTS.get(modifier.lower())
    return f"{code.partition('_')[0]}_{script}" if script and code != UNKNOWN else code


def _parse_header(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.split("\n"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs if value}


# Codecs of Python that read ASCII letters as such and are no charsets of catalogues all the same.
_NO_CHARSETS: Final = frozenset({"idna", "punycode", "utf-7", "unicode-escape", "raw-unicode-escape"})


def _charset(header: dict[str, str]) -> str | None:
    """The Python name of the header's charset; UTF-8 where it names none that is known, None for one that is refused."""
    named = re.search(r"charset=([\w.:-]+)", header.get("content-type", ""), re.ASCII)
    try:
        info = codecs.lookup(named[1] if named else "utf-8")
        letters = b"azAZ09".decode(info.name)
    except LookupError:  # unknown, or no text encoding (rot13, zip)
        return "utf-8"
    except UnicodeError:
        return None
    return None if info.name in _NO_CHARSETS or letters != "azAZ09" else info.name


def _decode(text: bytes, charset: str | None) -> str:
    """Raises UnicodeError for bytes that are none of the charset; lone surrogates are no text either."""
    if charset is None:
        raise UnicodeError
    decoded = text.decode(charset)
    decoded.encode()
    return decoded


def _undecodable(charset: str | None) -> str:
    """The reason for quarantine of what `_decode` refuses."""
    if charset is None:
        return "unsupported_charset"
    return "invalid_utf8" if charset == "utf-8" else "invalid_charset"


_KEYWORD: Final = re.compile(
    rb'\s*(msgctxt|msgid_plural|msgid|msgstr\[0\]|msgstr\[\d+\]|msgstr)\s*"(.*)"\s*$', re.DOTALL
)
_CONTINUED: Final = re.compile(rb'\s*"(.*)"\s*$', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPES: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


@dataclass
class _Entry:
    """The entry of a .po that is being read: bytes by keyword."""

    line: int = 0
    parts: dict[bytes, list[bytes]] = field(default_factory=dict)
    last: bytes = b""
    size: int = 0  # bytes of its lines
    fuzzy: bool = False
    wrong: _Bad | None = None


class _PoReader:
    """Reads a .po line by line; an entry in bad shape is one row of quarantine, and the next is read as ever."""

    def __init__(self, split: Split, settings: GettextSettings) -> None:
        self._lines = LineReader(split, settings.max_line_bytes)
        self._longest = settings.max_line_bytes
        self._charset: str | None = "utf-8"
        self.header: dict[str, str] = {}

    @property
    def position(self) -> int:
        return self._lines.position

    def messages(self) -> Iterator[Message | _Bad]:
        """Translated messages and what cannot be read; fuzzy, obsolete and untranslated entries are none."""
        entry = _Entry()
        for number, line in self._numbered():
            if isinstance(line, LongRecord):
                entry.wrong = entry.wrong or _Bad(number, "line_too_long", line.head)
                continue
            text = line.strip()
            if self._starts_entry(entry, text):
                yield from self._finish(entry)
                entry = _Entry()
            entry.line = entry.line or (number if text else 0)
            if text.startswith(b"#~"):
                entry = _Entry()  # an obsolete entry takes its flags with it
            elif text.startswith(b"#,") and b"fuzzy" in text:
                entry.fuzzy = True
            elif text and not text.startswith(b"#"):
                self._take(entry, number, line)
        if (fault := self._lines.fault) is None:
            yield from self._finish(entry)
        else:
            excerpt = f"{fault.detail} | ".encode() + self._lines.cut_off
            yield _Bad(fault.position, fault.reason, excerpt, "byte")

    def _numbered(self) -> Iterator[tuple[int, bytes | LongRecord]]:
        for block in self._lines:
            if isinstance(block, LongRecord):
                yield block.number or 0, block
            else:
                yield from enumerate(block.lines, block.first or 1)

    @staticmethod
    def _starts_entry(entry: _Entry, line: bytes) -> bool:
        """Whether a line begins another entry: a comment, msgctxt or msgid after a msgstr, or an empty line."""
        if not (entry.parts or entry.wrong):
            return False
        if not line or line.startswith(b"#"):
            return True
        begins = line.startswith(b"msgctxt") or (line.startswith(b"msgid") and not line.startswith(b"msgid_plural"))
        return begins and (entry.wrong is not None or entry.last.startswith(b"msgstr"))

    def _take(self, entry: _Entry, number: int, line: bytes) -> None:
        if entry.wrong is not None:
            return
        entry.size += len(line)
        if entry.size > self._longest:
            entry.wrong = _Bad(entry.line, "entry_too_long", line[:EXCERPT])
            entry.parts = {}
            return
        keyword, continued = _KEYWORD.match(line), _CONTINUED.match(line)
        if keyword and keyword[1] not in entry.parts:
            entry.last = keyword[1]
            entry.parts[keyword[1]] = [keyword[2]]
        elif continued and entry.last:
            entry.parts[entry.last].append(continued[1])
        else:
            entry.wrong = _Bad(number, "invalid_po", line)

    def _finish(self, entry: _Entry) -> Iterator[Message | _Bad]:
        if entry.wrong is not None:
            yield entry.wrong
            return
        if not entry.parts:
            return
        if b"msgid" not in entry.parts:
            yield _Bad(entry.line, "invalid_po", f"no msgid | {entry.parts!r}")
            return
        try:
            context, text, one, first = (
                self._text(entry.parts.get(name)) for name in (b"msgctxt", b"msgid", b"msgstr", b"msgstr[0]")
            )
        except UnicodeError:
            yield _Bad(entry.line, _undecodable(self._charset), b" | ".join(map(b"".join, entry.parts.values())))
            return
        translation = one if one is not None else first
        if not text:
            self.header = _parse_header(translation or "")
            self._charset = _charset(self.header)
        elif translation is None:
            yield _Bad(entry.line, "invalid_po", f"no msgstr | {text}")
        elif translation and not entry.fuzzy:
            yield Message(entry.line, context, text, None, translation)

    def _text(self, parts: list[bytes] | None) -> str | None:
        return None if parts is None else _decode(_ESCAPE.sub(_unescaped, b"".join(parts)), self._charset)


def _unescaped(escape: re.Match[bytes]) -> bytes:
    octal, hexadecimal, character = escape.groups()
    if character is not None:
        return _ESCAPES.get(character, character)
    return bytes([int(octal, 8) & 255]) if octal else bytes([int(hexadecimal, 16)])


class _MoReader:
    """Reads a .mo, checking every offset; a string that lies outside of the file is one row of quarantine.

    Each string is stored once, or once for message and translation: where the entries are together more than twice as
    large as the file, the same bytes are used again and again, and the rest is refused.
    """

    def __init__(self, split: Split, settings: GettextSettings) -> None:
        self._split, self._longest = split, settings.max_line_bytes
        self._stream = ByteStream(split.path)
        self.header: dict[str, str] = {}

    @property
    def position(self) -> int:
        return self._stream.position

    def messages(self) -> Iterator[Message | _Bad]:
        """Translated messages and what cannot be read."""
        data = self._load()
        order = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}.get(data[:4])
        if order is None or len(data) < 20:
            yield _Bad(0, "truncated_file" if not data or order else "not_a_mo", data[:32], "byte")
            return
        count, originals, translations = struct.unpack_from(f"{order}3I", data, 8)
        charset: str | None = "utf-8"
        total = 0
        for number in range(count):
            entry = [self._string(data, table + 8 * number, order) for table in (originals, translations)]
            original, translation = entry
            if original is None or translation is None:
                yield _Bad(
                    number + 1, "truncated_file", f"entry {number + 1} of {count} lies outside the file", "entry"
                )
                if 8 * number + max(originals, translations) >= len(data):
                    return  # the tables themselves are cut: all that follows is
                continue
            size = len(original) + len(translation)
            total += size
            if size > self._longest or total > 2 * len(data):
                reason = "entry_too_long" if size > self._longest else "overlapping_strings"
                yield _Bad(number + 1, reason, bytes(original[:EXCERPT]), "entry")
                continue
            try:
                whole, translated = _decode(bytes(original), charset), _decode(bytes(translation), charset)
            except UnicodeError:
                yield _Bad(number + 1, _undecodable(charset), bytes(original[:EXCERPT]), "entry")
                continue
            if not whole:
                self.header = _parse_header(translated)
                charset = _charset(self.header)
                continue
            context, mark, text = whole.rpartition("\x04")
            first = translated.partition("\0")[0]
            if first:
                yield Message(number + 1, context if mark else None, text.partition("\0")[0], None, first)

    def _load(self) -> bytes:
        parts, size = [], 0
        for chunk in self._stream:
            parts.append(chunk)
            size += len(chunk)
            if size > LARGEST_MO:
                raise SourceError(
                    f"{self._split.path}: larger than {LARGEST_MO >> 20} MiB: this is no message catalogue"
                )
        return b"".join(parts)

    @staticmethod
    def _string(data: bytes, place: int, order: str) -> memoryview | None:
        if place + 8 > len(data):
            return None
        length, start = struct.unpack_from(f"{order}2I", data, place)
        return memoryview(data)[start : start + length] if start + length <= len(data) else None


SOURCE: Final = Source(
    name=NAME,
    summary="software translations: messages and their translations",
    kinds=("parallel",),
    languages="any: from the path, the header or the settings",
    layout="*/LANG/LC_MESSAGES/*.po or .mo, po/LANG.po",
    license="that of the software",
    obtain="source trees and packages of free software",
    Settings=GettextSettings,
    splits=splits,
    read=read,
)
