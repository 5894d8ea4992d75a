"""TMX 1.4, the exchange format of translation memories: OPUS, ParaCrawl, ELRC, DGT and the memories of translators.

A unit holds a text in two or more languages. By default the one in English, or else the first, is paired with each
other; `directions: all` pairs every two. Text in two languages gives kind `parallel`, two variants in one language give
`paraphrase`. All pairs of a unit share a document id: its tuid, or else its number. A unit with fewer than two texts in
the languages wanted gives no pair.
"""

from collections.abc import Iterator
from typing import Final, Literal

import pyarrow as pa
from pydantic import Field

from sources.files.reading import base_name, one_split, without_compression
from sources.formats.tmx_units import BadUnit, Unit, UnitReader, Variant
from sources.languages import language_code
from sources.records import RecordSettings, chosen_kinds
from sources.schema import QuarantineRows, make_pairs
from sources.source import Extracted, Source, Split, extracted

NAME: Final = "tmx"
KINDS: Final = ("parallel", "paraphrase")
ROWS: Final = 16_384  # pairs or units of a step, about
CHARACTERS: Final = 4_000_000  # of a step's texts, about
MOST_TEXT: Final = 64_000_000  # characters of all pairs of one unit, about: texts of megabytes are an attack
_ADDRESS: Final = "source-document"  # what ParaCrawl calls the address of a text


class TmxSettings(RecordSettings):
    """Settings of the tmx source."""

    languages: tuple[str, ...] | None = Field(None, description="languages to read; default: all that there are")
    pivot: str | None = Field(
        None, description="language that each other is paired with; default: English, else a unit's first"
    )
    directions: Literal["pivot", "all"] = Field(
        "pivot", description="pivot: each language with one; all: every two languages"
    )


def splits(path: str, settings: TmxSettings, target_bytes: int) -> list[Split]:
    """A file is one split."""
    return one_split(path)


def read(split: Split, settings: TmxSettings) -> Iterator[Extracted]:
    """Stream the units of a file. Raises SourceError where it cannot be opened."""
    rows = _Rows(split, settings)
    reader = UnitReader(split, settings.max_record_bytes)
    for unit in reader:
        rows.add(unit)
        if rows.full:
            yield rows.take(reader.position)
    yield rows.take(reader.position)
    if (fault := reader.fault) is not None:
        yield rows.fail(fault.position, fault.reason, f"{fault.detail} | ".encode() + reader.cut_off)


class _Rows:
    """The pairs of units, gathered into batches."""

    def __init__(self, split: Split, settings: TmxSettings) -> None:
        self._settings = settings
        self._source = settings.label or NAME
        self._kinds = chosen_kinds(NAME, settings, KINDS, KINDS)
        self._pivot = language_code(settings.pivot or "en")
        self._wanted = None if settings.languages is None else {language_code(tag) for tag in settings.languages}
        self._file = without_compression(split.name) if split.name else base_name(split.path)
        self._quarantine = QuarantineRows(self._source, split.path, "unit")
        self._clear()

    def _clear(self) -> None:
        self._records = 0
        self._characters = 0
        self._pairs: list[tuple[str, str, str, str, str, str, str | None]] = []

    @property
    def full(self) -> bool:
        """Whether there is enough for a step."""
        return max(len(self._pairs), self._records) >= ROWS or self._characters >= CHARACTERS

    def add(self, unit: Unit | BadUnit) -> None:
        """Take one unit: its pairs, none, or a row of quarantine."""
        self._records += 1
        if isinstance(unit, BadUnit):
            self._quarantine.add(unit.number, unit.reason, unit.excerpt)
            return
        texts = [(language_code(variant.language), variant) for variant in unit.variants]
        if self._wanted is not None:
            texts = [text for text in texts if text[0] in self._wanted]
        at = next((place for place, (code, _) in enumerate(texts) if code == self._pivot), 0)
        texts = [*texts[at : at + 1], *texts[:at], *texts[at + 1 :]]
        firsts = texts[:-1] if self._settings.directions == "all" else texts[:1]
        if len(texts) > 2 and (size := sum(len(variant.text) for _, variant in texts)) * len(texts) > MOST_TEXT:
            self._quarantine.add(unit.number, "too_many_pairs", f"{len(texts)} texts of {size:,} characters together")
            return
        identity = f"{self._file}:{unit.identity or unit.number}"
        for place, first in enumerate(firsts):
            for second in texts[place + 1 :]:
                self._add_pair(first, second, identity)

    def _add_pair(self, first: tuple[str, Variant], second: tuple[str, Variant], identity: str) -> None:
        kind = "paraphrase" if first[0] == second[0] else "parallel"
        if kind in self._kinds:
            address = first[1].properties.get(_ADDRESS)
            self._characters += len(first[1].text) + len(second[1].text)
            self._pairs.append((first[1].text, second[1].text, kind, identity, first[0], second[0], address))

    def fail(self, position: int, reason: str, excerpt: bytes) -> Extracted:
        """The step of a file that ends too early."""
        self._quarantine.add(position, reason, excerpt, "byte")
        self._records += 1
        return self.take(position)

    def take(self, position: int) -> Extracted:
        """What there is so far."""
        pairs, rejects = self._batches() if self._pairs else (None, None)
        step = extracted(self._records, position, pairs=pairs, rejects=rejects, quarantine=self._quarantine.take())
        self._clear()
        return step

    def _batches(self) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        query, positive, kind, identity, query_lang, positive_lang, url = zip(*self._pairs, strict=True)
        return make_pairs(
            query=query,
            positive=positive,
            kind=kind,
            source=self._source,
            document_id=identity,
            query_lang=query_lang,
            positive_lang=positive_lang,
            url=pa.array(url, pa.string()),
            license=self._settings.license,
        )


SOURCE: Final = Source(
    name=NAME,
    summary="translation memories in TMX",
    kinds=KINDS,
    languages="any: each text says its own",
    layout="*.tmx, compressed or not, or members of an archive",
    license="that of the files",
    obtain="https://opus.nlpl.eu: `tmx` of a corpus; ParaCrawl, ELRC-SHARE, DGT-TM, your own memories",
    Settings=TmxSettings,
    splits=splits,
    read=read,
    verified="the format's definition",
)
