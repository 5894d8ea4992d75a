"""Sources whose files hold records: an adapter names the fields of a record and says what pairs it makes.

    def pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
        yield RawPair(record["title"], record["content"])

    SOURCE = record_source(name="news", layouts=(Layout({"title": str, "content": str}, pairs),), ...)

The rest is here: the formats (sources.record_formats), types, quarantine, ids, languages, documents, a clear error for a
file of another corpus. `docs/sources.md` shows a whole adapter.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, compress, islice
from operator import attrgetter, is_not, itemgetter
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from sources.collector import without_collector
from sources.families.negatives import NegativesWindow, RawNegative
from sources.files.reading import MAX_LINE, base_name, without_compression
from sources.formats.json_records import type_name
from sources.languages import UNKNOWN, language_code
from sources.record_formats import ROWS, Format, Record, RecordBatch, open_records, record_splits
from sources.schema import DOCUMENT, KINDS, SCORES, QuarantineRows, make_pairs, normalise_text
from sources.source import (
    WHOLE,
    Extracted,
    InputFile,
    Source,
    SourceError,
    SourceSettings,
    Split,
    each_alone,
    extracted,
)

EARLY: Final = 1000  # records after which a file without a single right one is called one of another corpus
STEP_TEXT: Final = 16 << 20  # characters of the pairs of one step, about: a record may repeat its texts in many pairs
FEW: Final = 3  # a whole file of so many records and no right one is, too
LONGEST: Final = 1 << 30  # bytes of the longest record that may be allowed: Arrow's columns of texts end at 2 GiB
PLAIN_PARTS: Final = 64  # pairs of one record that come whatever they hold
MOST_PARTS: Final = 100_000  # pairs of one record: none of a real corpus makes so many
MOST_TEXT: Final = 1 << 30  # characters of the pairs of one record, the same text counted in each
MOST_BAD_PARTS: Final = 100  # bad parts of one record that have rows of their own; the others are only counted

_NO_TEXT: Final = object()  # before the first of some texts
_TYPE_NAMES: Final = {
    str: "a text",
    list: "a list",
    dict: "an object",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}
Value = TypeVar("Value", str, list[Any], dict[str, Any])


class RecordSettings(SourceSettings):
    """Settings of every source of records; an adapter's own may extend it."""

    kinds: tuple[str, ...] | None = Field(None, description="kinds of pairs to give; default: the source's usual ones")
    max_record_bytes: int = Field(MAX_LINE, gt=0, le=LONGEST, description="a longer record is quarantined")


class NegativesSettings(RecordSettings):
    """Settings of a source that gathers the negatives of a query from other records of the file."""

    max_negatives: int = Field(16, ge=0, description="most negatives of a query that are kept, the first ones")
    window_bytes: int = Field(
        256 << 20, gt=0, description="memory for queries whose negatives may still come; the oldest leave first"
    )


class RawPair(NamedTuple):
    """One pair as a record holds it: not normalised, languages as the corpus writes them. None: not said."""

    query: str | None
    positive: str | None
    kind: str | None = None  # None: the source's first
    negatives: Sequence[str] | None = None
    query_language: str | None = None
    positive_language: str | None = None
    document_id: str | None = None  # None: file name and place of the record
    url: str | None = None
    label: float | None = None
    scores: Mapping[str, float] | None = None  # some of schema.SCORES
    license: str | None = None


class RawDocument(NamedTuple):
    """One document as a record holds it."""

    title: str | None
    text: str | None
    language: str | None = None
    document_id: str | None = None
    url: str | None = None


class BadRecord(ValueError):
    """A record that an adapter cannot use: it goes to quarantine under `reason`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Layout:
    """One shape of a corpus's records.

    `required` fields are in every record, with these types; null is allowed and counts as empty. `optional` ones may lack
    but not be of another type. A field that is named in neither may be anything: look with `field_of` into what is nested.
    `pairs` raises BadRecord where nothing of a record can be used, and yields one for a part that cannot:
    such a part counts as a record of its own. RawNegative is for sources that gather negatives. It is asked for one pair
    after the other, and for no more once they are too many: let it yield them as it makes them.
    """

    required: Mapping[str, type]
    pairs: Callable[[Record, Any], Iterator[RawPair | RawNegative | BadRecord]]
    optional: Mapping[str, type] = field(default_factory=dict)
    document: Callable[[Record, Any], RawDocument | None] | None = None

    @cached_property
    def types(self) -> tuple[tuple[str, type], ...]:
        """The fields whose types are known."""
        return (*self.required.items(), *self.optional.items())


def field_of(record: Any, name: str, kind: type[Value]) -> Value:
    """A field of a nested record; null counts as empty. Raises BadRecord where it lacks or is of another type."""
    if type(record) is not dict:
        raise BadRecord("wrong_type", f"expected an object with {name!r}, found {type_name(record)}")
    if name not in record:
        raise BadRecord("missing_field", f"no {name}; found {', '.join(list(record)[:20])[:100]}")
    value = record[name]
    if value is None:
        return kind()
    if type(value) is not kind:
        raise BadRecord("wrong_type", f"{name}: expected {_TYPE_NAMES[kind]}, found {type_name(value)}")
    return value


def text_of(value: Any, what: str) -> str:
    """An entry of a list that must be a text. Raises BadRecord where it is not."""
    if type(value) is not str:
        raise BadRecord("wrong_type", f"{what}: expected a text, found {type_name(value)}")
    return value


def joined_texts(values: list[Any] | None, separator: str, what: str) -> str:
    """The entries of a list that must be texts as one; null is an empty list. Raises BadRecord where one is none."""
    try:
        return separator.join(values or ())
    except TypeError:
        return separator.join(text_of(value, what) for value in values or ())


def record_id(corpus: str, identity: Any) -> str | None:
    """The document id of a corpus's own id, a text or a whole number; None for none or any other value."""
    return f"{corpus}:{identity}" if type(identity) in (str, int) and identity != "" else None


def record_source(
    *,
    name: str,
    summary: str,
    kinds: tuple[str, ...],
    languages: str,
    layout: str,
    license: str,
    obtain: str,
    verified: str,
    layouts: Sequence[Layout] | Callable[[Split, Any], Sequence[Layout]],
    Settings: type[RecordSettings] = RecordSettings,
    usual_kinds: tuple[str, ...] | None = None,
    language: str | Callable[[Split], str | None] | None = None,
    format: Format = Format(),  # noqa: B008  # frozen
    gather: Callable[[Sequence[str], Any], list[InputFile]] = each_alone,
    gathers_negatives: bool = False,
) -> Source:
    """A Source made of layouts.

    `usual_kinds` are given where the user names none; default: all of `kinds`. `language` is that of the texts where
    neither the records nor the user's settings say it; a function takes it from the file's name. `layouts` may be a
    function of (split, settings), where pairs depend on the file's name or on its companions. With `gathers_negatives`
    pairs wait for the RawNegatives of their query, each file is one split, and `Settings` extends NegativesSettings.
    """
    unknown = set(kinds) - set(KINDS)
    assert not unknown, f"{name}: unknown kinds {unknown}"
    assert not gathers_negatives or issubclass(Settings, NegativesSettings)

    def splits(path: str, settings: RecordSettings, target_bytes: int) -> list[Split]:
        return record_splits(path, format, WHOLE if gathers_negatives else target_bytes)

    def read(split: Split, settings: Any) -> Iterator[Extracted]:
        chosen = chosen_kinds(name, settings, kinds, usual_kinds or kinds)
        of_split = layouts(split, settings) if callable(layouts) else layouts
        window = NegativesWindow(settings.window_bytes, settings.max_negatives) if gathers_negatives else None
        said = language(split) if callable(language) else language
        extraction = _RecordExtraction(name, split, settings, of_split, kinds, chosen, said, format, window)
        return without_collector(extraction.run())

    return Source(
        name=name,
        summary=summary,
        kinds=kinds,
        languages=languages,
        layout=layout,
        license=license,
        obtain=obtain,
        Settings=Settings,
        splits=splits,
        read=read,
        gather=gather,
        verified=verified,
    )


def chosen_kinds(name: str, settings: RecordSettings, kinds: tuple[str, ...], usual: tuple[str, ...]) -> frozenset[str]:
    """The kinds that the settings ask for, else the usual ones. Raises SourceError for one that is none of `kinds`."""
    for kind in settings.kinds or ():
        if kind not in kinds:
            raise SourceError(
                f"source {name} has no pairs of kind {kind!r}; it has {', '.join(kinds)}: correct `kinds`"
            )
    return frozenset(settings.kinds or usual)


class _RecordExtraction:
    """The way of one split's records to batches."""

    def __init__(
        self,
        name: str,
        split: Split,
        settings: RecordSettings,
        layouts: Sequence[Layout],
        kinds: tuple[str, ...],
        chosen: frozenset[str],
        language: str | None,
        format: Format,
        window: NegativesWindow | None,
    ) -> None:
        self._name, self._split, self._settings, self._layouts = name, split, settings, layouts
        self._kinds, self._language = kinds, settings.language or language
        self._chosen = chosen | {None} if kinds[0] in chosen else chosen  # None: the first kind
        self._source, self._window = settings.label or name, window
        self._reader = open_records(split, format, settings.max_record_bytes, _required(layouts), _named(layouts))
        self._quarantine = QuarantineRows(self._source, split.path, self._reader.unit)
        self._file = without_compression(split.name) if split.name else base_name(split.path)
        self._seen = self._right = 0
        self._found: tuple[str, ...] = ()

    def run(self) -> Iterator[Extracted]:
        for records in self._reader:
            yield from self._extract(records)
            if self._seen >= EARLY:
                self._fail_if_another_corpus()
        if self._seen >= FEW and self._reader.fault is None:
            self._fail_if_another_corpus()
        if self._window is not None:
            for kept, rejects in self._portions(self._window.take(last=True)):
                yield extracted(0, self._reader.position, pairs=kept, rejects=rejects)
        if (fault := self._reader.fault) is not None:
            self._quarantine.add(
                fault.position, fault.reason, f"{fault.detail} | ".encode() + self._reader.cut_off, "byte"
            )
            yield extracted(1, self._reader.position, quarantine=self._quarantine.take())

    def _fail_if_another_corpus(self) -> None:
        """Only the start of a file tells: a later split of bad records is no proof."""
        if self._right or self._split.start:
            return
        expected = " or ".join(dict.fromkeys(f"({', '.join(layout.required)})" for layout in self._layouts))
        found = ", ".join(repr(name) for name in self._found)[:1000] or "none"
        raise SourceError(
            f"{self._split.path}: no record has the fields of source {self._name}: expected {expected}, found {found}."
            " Name the source that fits (`pairmill sources` lists them), or use jsonl or table and name the fields"
        )

    def _extract(self, batch: RecordBatch) -> Iterator[Extracted]:
        pairs: list[RawPair] = []
        ids: list[str] = []
        documents: list[tuple[int, RawDocument]] = []
        bad = dict(batch.bad)
        bad_parts: list[tuple[int, tuple[str, str]]] = []
        lost = 0
        settings, window, offsets, file = self._settings, self._window, batch.offsets, self._file
        for index, record, layout in self._laid_out(batch, bad):
            try:
                parts = _bounded(layout.pairs(record, settings))
                document = layout.document(record, settings) if settings.documents and layout.document else None
            except BadRecord as error:
                bad[index] = (error.reason, error.detail)
                continue
            wrong: list[BadRecord] = []
            for part in parts:
                if isinstance(part, BadRecord):
                    wrong.append(part)
                elif isinstance(part, RawPair) and part.kind not in self._chosen:
                    continue
                elif window is not None:
                    window.add(part, f"{file}:{offsets[index]}")
                elif isinstance(part, RawPair):
                    pairs.append(part)
                    ids.append(part.document_id or f"{file}:{offsets[index]}")
            if wrong:
                bad_parts += [(index, (part.reason, part.detail)) for part in wrong[:MOST_BAD_PARTS]]
                lost += max(0, len(wrong) - MOST_BAD_PARTS)
            if document is not None:
                documents.append((index, document))
        for index, (reason, detail) in sorted([*bad.items(), *bad_parts], key=itemgetter(0)):
            place, unit = batch.place(index)
            excerpt = batch.excerpt(index)
            shown = f"{detail} | ".encode("utf-8", "backslashreplace") if detail else b""
            self._quarantine.add(place, reason, shown + excerpt, unit)
        portions = self._portions(pairs, ids) if window is None else self._portions(window.take())
        kept, rejects = next(portions, (None, None))
        yield extracted(
            len(batch.records) + len(bad_parts),
            self._reader.position,
            pairs=kept,
            rejects=rejects,
            documents=self._document_batch(documents, batch) if documents else None,
            quarantine=self._quarantine.take(),
            lost=batch.lost + lost,
        )
        for kept, rejects in portions:
            yield extracted(0, self._reader.position, pairs=kept, rejects=rejects)

    def _laid_out(self, batch: RecordBatch, bad: dict[int, tuple[str, str]]) -> Iterator[tuple[int, Record, Layout]]:
        """Each usable record with its layout; the others are noted in `bad`."""
        fitting: dict[tuple[tuple[str, ...], tuple[type, ...]], Layout | None] = {}  # most records are of few shapes
        for index, record in enumerate(batch.records):
            if record is None:
                continue
            self._seen += 1
            shape = tuple(record), tuple(map(type, record.values()))
            try:
                layout = fitting[shape]
            except KeyError:
                layout = fitting[shape] = self._fitting(record)
                self._found = self._found or shape[0][:30]
            if layout is None:
                bad[index] = self._unfit(record)
                continue
            self._right += 1
            yield index, record, layout

    def _fitting(self, record: Record) -> Layout | None:
        """The first layout whose fields a record has with the right types."""
        fitting = (layout for layout in self._layouts if layout.required.keys() <= record.keys())
        return next((layout for layout in fitting if _wrong_field(layout, record) is None), None)

    def _unfit(self, record: Record) -> tuple[str, str]:
        """Why a record fits no layout."""
        layout = next((layout for layout in self._layouts if layout.required.keys() <= record.keys()), None)
        if layout is None:
            wanted = " or ".join(dict.fromkeys(", ".join(layout.required) for layout in self._layouts))
            return "missing_field", f"expected {wanted}; found {', '.join(list(record)[:20])[:100]}"
        self._right += 1
        name, kind = _wrong_field(layout, record) or ("", str)
        return "wrong_type", f"{name}: expected {_TYPE_NAMES[kind]}, found {type_name(record.get(name))}"

    def _portions(
        self, pairs: Iterable[RawPair], ids: Iterable[str] | None = None
    ) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """Batches of pairs and of rejects, about STEP_TEXT characters at a time; without `ids` the pairs have theirs."""
        pairs, ids = iter(pairs), None if ids is None else iter(ids)
        while several := list(islice(pairs, 4 * ROWS)):
            of_several = [pair.document_id or "" for pair in several] if ids is None else list(islice(ids, 4 * ROWS))
            for start, end in _runs_of_text(several):
                yield self._pair_batches(several[start:end], of_several[start:end])

    def _pair_batches(self, pairs: list[RawPair], ids: list[str]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        query, positive, kind, negatives, query_language, positive_language, _, url, label, scores, license = zip(
            *pairs, strict=True
        )
        return make_pairs(
            query=_texts(query),
            positive=_texts(positive),
            kind=_translated(kind, {name: name or self._kinds[0] for name in set(kind)}),
            source=self._source,
            document_id=pa.array(ids, pa.string()),
            query_lang=self._languages(query_language),
            positive_lang=self._languages(positive_language),
            negatives=pa.array(negatives, pa.list_(pa.string())) if any(negatives) else None,
            url=None if _all_null(url) else pa.array(url, pa.string()),
            license=_translated(license, {name: name or self._settings.license for name in set(license)}),
            label=None if _all_null(label) else label,
            scores=pa.array(scores, SCORES) if any(scores) else None,
        )

    def _languages(self, tags: Sequence[str | None]) -> pa.Array:
        return _translated(tags, {tag: language_code(tag or self._language or UNKNOWN) for tag in set(tags)})

    def _document_batch(self, documents: list[tuple[int, RawDocument]], batch: RecordBatch) -> pa.RecordBatch:
        default_ids = [f"{self._file}:{batch.offsets[index]}" for index, _ in documents]
        title, text, language, ids, url = zip(*(document for _, document in documents), strict=True)
        texts = normalise_text(pa.array(text, pa.string())).fill_null("")
        rows = len(texts)
        made = pa.RecordBatch.from_arrays(
            [
                pa.array([given or default for given, default in zip(ids, default_ids, strict=True)], pa.string()),
                pa.repeat(self._source, rows),
                pa.array(url, pa.string()),
                normalise_text(pa.array(title, pa.string())),
                texts,
                self._languages(language),
                pa.repeat(pa.scalar(self._settings.license, pa.string()), rows),
                pa.nulls(rows, DOCUMENT.field("sections").type),
            ],
            schema=DOCUMENT,
        )
        return made.filter(pa.compute.not_equal(texts, ""))


def _required(layouts: Sequence[Layout]) -> frozenset[str]:
    return frozenset(name for layout in layouts for name in layout.required)


def _named(layouts: Sequence[Layout]) -> frozenset[str]:
    return frozenset(name for layout in layouts for name in (*layout.required, *layout.optional))


def _bounded(made: Iterator[RawPair | RawNegative | BadRecord]) -> list[RawPair | RawNegative | BadRecord]:
    """What a record makes. Raises BadRecord where it is so much that no real record makes it: a text of megabytes, put
    into each of a million pairs, would otherwise fill memory and storage.
    """
    parts = list(islice(made, PLAIN_PARTS))
    if len(parts) < PLAIN_PARTS:
        return parts
    lengths: dict[int, int] = {}  # of the lists of negatives, which the pairs of a record share
    text = sum(_text_of_part(part, lengths) for part in parts)
    for part in made:
        parts.append(part)
        if type(part) is RawPair and part.negatives is None:
            text += len(part.query or "") + len(part.positive or "")
        else:
            text += _text_of_part(part, lengths)
        if len(parts) > MOST_PARTS or text > MOST_TEXT:
            raise BadRecord("too_many_pairs", f"more than {len(parts) - 1} pairs, of {text} characters together")
    return parts


def _runs_of_text(pairs: Sequence[RawPair]) -> Iterator[tuple[int, int]]:
    """Where to cut pairs into runs of about STEP_TEXT characters: start and end of each."""
    texts = chain(map(attrgetter("query"), pairs), map(attrgetter("positive"), pairs))
    lists = filter(None, map(attrgetter("negatives"), pairs))
    if sum(map(len, filter(None, chain(texts, *lists)))) < STEP_TEXT:
        yield 0, len(pairs)
        return
    start = size = 0
    for end, pair in enumerate(pairs, 1):
        size += len(pair.query or "") + len(pair.positive or "") + sum(map(len, pair.negatives or ()))
        if size >= STEP_TEXT:
            yield start, end
            start, size = end, 0
    if start < len(pairs):
        yield start, len(pairs)


def _texts(values: Sequence[str | None]) -> pa.Array:
    """A string array; of a dictionary where pairs of one record, which stand together, share their texts."""
    new = np.fromiter(map(is_not, values, chain((_NO_TEXT,), values)), np.bool_, len(values))
    if new.all():
        return pa.array(values, pa.string())
    distinct = pa.array(list(compress(values, new)), pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(np.cumsum(new, dtype=np.int32) - np.int32(1)), distinct)


def _all_null(values: Sequence[object]) -> bool:
    return values.count(None) == len(values)


def _translated(values: Sequence[str | None], translation: Mapping[str | None, str | None]) -> pa.Array:
    """The translation of each value, a string array."""
    if len(translation) == 1:
        return pa.repeat(pa.scalar(next(iter(translation.values())), pa.string()), len(values))
    return pa.array([translation[value] for value in values], pa.string())


def _text_of_part(part: RawPair | RawNegative | BadRecord, lengths: dict[int, int]) -> int:
    """Characters of a pair; `lengths` keeps those of each list of negatives."""
    if not isinstance(part, RawPair):
        return 0
    negatives = 0
    if part.negatives:
        if id(part.negatives) not in lengths:
            lengths[id(part.negatives)] = sum(map(len, part.negatives)) + len(part.negatives)
        negatives = lengths[id(part.negatives)]
    return len(part.query or "") + len(part.positive or "") + negatives


def _wrong_field(layout: Layout, record: Record) -> tuple[str, type] | None:
    """The first field that is of another type than the layout has for it, and that type; the required ones are there."""
    for name, kind in layout.types:
        value = record.get(name)
        if value is not None and type(value) is not kind and not (kind is float and type(value) is int):
            return name, kind
    return None
