"""JSON lines and JSON arrays: any file whose records are objects, the user naming the fields."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from sources.collector import without_collector
from sources.fields import LARGEST_LABEL, ROWS, Columns, FieldCheck, FieldSettings, default_ids, map_columns
from sources.files.reading import (
    Block,
    Fault,
    LineReader,
    LongRecord,
    Reader,
    RecordBlock,
    byte_splits,
    stored_size,
)
from sources.formats.json_array import ArrayReader, holds_array
from sources.formats.json_records import parse_objects, type_name
from sources.record_formats import Bad
from sources.schema import QuarantineRows
from sources.source import Extracted, Source, Split, extracted

NAME: Final = "jsonl"
_ABSENT: Final = object()


class JsonlSettings(FieldSettings):
    """Settings of the jsonl source."""


def splits(path: str, settings: JsonlSettings, target_bytes: int) -> list[Split]:
    """Byte ranges of plain JSON lines; one split for a compressed file or a JSON array."""
    parts = byte_splits(path, target_bytes)
    if len(parts) > 1 and holds_array(path):
        return [Split(path, size=stored_size(path))]
    return parts


def read(split: Split, settings: JsonlSettings) -> Iterator[Extracted]:
    """Stream the records of a split. Raises SourceError where the file cannot be opened or a field name is wrong."""
    return without_collector(_read(split, settings))


def _read(split: Split, settings: JsonlSettings) -> Iterator[Extracted]:
    reader, unit = _reader(split, settings)
    rows = _Rows(split, settings, unit)
    for block in reader:
        for part in _parts(block):
            yield rows.extract(part, reader.position)
        rows.check.fail_if_wrong()
    if reader.fault is not None:
        yield rows.report(reader.fault, reader)


def _reader(split: Split, settings: JsonlSettings) -> tuple[Reader, str]:
    if split.start == 0 and holds_array(split.path, split.encoding):
        return ArrayReader(split.path, settings.max_line_bytes, encoding=split.encoding), "entry"
    return LineReader(split, settings.max_line_bytes), "line"


def _parts(block: Block) -> Iterator[Block]:
    if isinstance(block, LongRecord) or len(block.offsets) <= ROWS:
        yield block
        return
    lines = block.lines
    for start in range(0, len(lines), ROWS):
        part = b"\n".join(lines[start : start + ROWS]) + b"\n"
        yield RecordBlock(
            part, block.offsets[start : start + ROWS], None if block.first is None else block.first + start
        )


class _Rows:
    """The records of one split: bad ones to quarantine, the others to columns."""

    def __init__(self, split: Split, settings: JsonlSettings, unit: str) -> None:
        self._settings, self._unit = settings, unit
        self._split = split
        self._quarantine = QuarantineRows(settings.label or NAME, split.path, unit)
        self.check = FieldCheck(split, settings.required())

    def extract(self, block: Block, position: int) -> Extracted:
        if isinstance(block, LongRecord):
            place, unit = block.place(self._unit)
            self._quarantine.add(place, "line_too_long", block.head, unit)
            return extracted(1, position, quarantine=self._quarantine.take())
        records, rows, bad = _parse(block.lines)
        columns, wrong = self._columns(block, records, rows)
        bad |= wrong
        for row in sorted(bad):
            reason, detail = bad[row]
            place, unit = block.place(row, self._unit)
            line = block.lines[row]
            self._quarantine.add(place, reason, f"{detail} | ".encode() + line if detail else line, unit)
        pairs, rejects, documents = map_columns(columns, self._settings, NAME)
        total = len(records) + len(bad) - len(wrong)
        return extracted(
            total, position, pairs=pairs, rejects=rejects, documents=documents, quarantine=self._quarantine.take()
        )

    def report(self, fault: Fault, reader: Reader) -> Extracted:
        """The quarantine row of a file that ends too early."""
        self._quarantine.add(fault.position, fault.reason, f"{fault.detail} | ".encode() + reader.cut_off, "byte")
        return extracted(1, reader.position, quarantine=self._quarantine.take())

    def _columns(self, block: RecordBlock, records: list[dict[str, Any]], rows: list[int]) -> tuple[Columns, Bad]:
        """Arrays of the good records' fields, and the rows whose fields are missing or of the wrong type."""
        settings, wrong = self._settings, Bad()
        required = {name: _values(records, name) for name in settings.required()}
        self._note_missing(records, rows, required, wrong)
        for values in required.values():
            _note_types(values, rows, wrong)
        _note_two_lists(required[settings.query], required[settings.positive], rows, wrong)
        texts = {name: _values(records, name, None) for name in settings.optional()}
        of_texts = (settings.negatives, settings.url, settings.license_field)
        for name in (*of_texts, settings.query_language_field, settings.positive_language_field):
            if name is not None:
                _note_types(texts[name], rows, wrong)
        keep = [index for index, row in enumerate(rows) if row not in wrong] if wrong else range(len(rows))

        def column(name: str | None) -> pa.Array | None:
            values = None if name is None else (required | texts).get(name)
            return None if values is None else _array([values[index] for index in keep] if wrong else values)

        ids = None
        if settings.document_id is not None:
            ids = pa.array([_identity(texts[settings.document_id][index]) for index in keep], pa.string())
        label = None
        if settings.label_field is not None:
            label = pa.array([_number(texts[settings.label_field][index]) for index in keep], pa.float32())
        offsets = [int(block.offsets[rows[index]]) for index in keep]
        query, positive = column(settings.query), column(settings.positive)
        return Columns(
            query=query,
            positive=positive,
            document_id=default_ids(self._split, offsets, ids),
            negatives=column(settings.negatives),
            url=column(settings.url),
            license=column(settings.license_field),
            query_language=column(settings.query_language_field),
            positive_language=column(settings.positive_language_field),
            label=label,
            title=column(settings.title) if settings.documents else None,
            text=column(settings.text) if settings.documents else None,
        ), wrong

    def _note_missing(
        self, records: list[dict[str, Any]], rows: list[int], required: dict[str, list[Any]], wrong: Bad
    ) -> None:
        lacking = {name: values.count(_ABSENT) for name, values in required.items()}
        self.check.count(len(records), lacking, _names(records[0]) if records else ())
        for name, number in lacking.items():
            if not number:
                continue
            for index, value in enumerate(required[name]):
                if value is _ABSENT:
                    found = ", ".join(_names(records[index]))
                    wrong.setdefault(rows[index], ("missing_field", f"no {name}; found {found[:100]}"))


def _parse(lines: list[bytes]) -> tuple[list[dict[str, Any]], list[int], Bad]:
    """The objects, the row of each, and the rows that hold none; blank lines are no records."""
    records, bad, _ = parse_objects(lines)
    rows = [row for row, record in enumerate(records) if record is not None]
    return [record for record in records if record is not None], rows, bad


def _values(records: Sequence[dict[str, Any]], name: str, absent: object = _ABSENT) -> list[Any]:
    """The field of each record; a name that holds dots is a path where the record has no field of that very name."""
    if "." not in name:
        return [record.get(name, absent) for record in records]
    steps = name.split(".")
    return [record[name] if name in record else _nested(record, steps, absent) for record in records]


def _nested(record: Any, steps: Sequence[str], absent: object) -> Any:
    for step in steps:
        if type(record) is not dict or step not in record:
            return absent
        record = record[step]
    return record


def _names(record: dict[str, Any]) -> Iterator[str]:
    """Up to 30 field names, those of nested records with a dot."""
    names = (
        f"{name}.{inner}" if inner else name
        for name, value in record.items()
        for inner in (value if type(value) is dict and value else ("",))
    )
    return itertools.islice(names, 30)


def _note_types(values: list[Any], rows: list[int], wrong: Bad) -> None:
    """Note the rows whose value is neither a text, nor a list of texts, nor null."""
    if set(map(type, values)) <= {str, type(None)}:
        return
    for row, value in zip(rows, values, strict=True):
        if value is None or value is _ABSENT or type(value) is str:
            continue
        if type(value) is not list:
            wrong.setdefault(row, ("wrong_type", f"expected a text or a list of texts, found {type_name(value)}"))
            continue
        for entry in value:
            if type(entry) is not str and entry is not None:
                wrong.setdefault(row, ("wrong_type", f"expected a list of texts, found {type_name(entry)} in it"))


def _note_two_lists(queries: list[Any], positives: list[Any], rows: list[int], wrong: Bad) -> None:
    if list not in set(map(type, queries)):
        return
    for row, query, positive in zip(rows, queries, positives, strict=True):
        if type(query) is list and type(positive) is list:
            wrong.setdefault(row, ("wrong_type", "both query and positive are lists"))


def _array(values: list[Any]) -> pa.Array:
    if list not in set(map(type, values)):
        return pa.array(values, pa.string())
    lists = [value if value is None or type(value) is list else [value] for value in values]
    return pa.array(lists, pa.list_(pa.string()))


def _identity(value: Any) -> str | None:
    """An id as a text: numbers are written out, anything else that is no text is none."""
    if isinstance(value, str):
        return value or None
    return str(value) if type(value) in (int, float) else None


def _number(value: Any) -> float | None:
    """A number that a float32 can hold; anything else, booleans too, is none."""
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > LARGEST_LABEL:
        return None
    return float(value)


SOURCE: Final = Source(
    name=NAME,
    summary="JSON lines or JSON arrays, with the fields of your choice",
    kinds=("other",),
    languages="any",
    layout="*.jsonl, *.json, also .gz .zst .bz2 .xz",
    license="that of the files",
    obtain="your own files",
    Settings=JsonlSettings,
    splits=splits,
    read=read,
)
