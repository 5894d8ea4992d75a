"""Corpora whose texts are files of their own: the file's name without its endings is the text's id."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from sources.files.reading import EXCERPT, ByteStream, base_name
from sources.formats.column_blocks import ColumnBlock
from sources.formats.json_records import json_fault, type_name
from sources.judged.wanted_ids import WantedIds
from sources.records import BadRecord
from sources.schema import QUARANTINE, QuarantineRows
from sources.source import SourceError

STEP_BYTES: Final = 8 << 20  # of the texts of one block
STEP_FILES: Final = 1024

FileText = Callable[[bytes, Any], tuple[str | None, str]]  # content, settings: title and text. Raises BadRecord


def file_id(path: str) -> str:
    """The id that a file's name is."""
    return PurePosixPath(base_name(path)).stem


def whole_text(content: bytes, settings: Any) -> tuple[str | None, str]:
    """The content of a plain text file."""
    try:
        return None, content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecord("invalid_utf8", f"byte {error.start}") from error


def json_object(content: bytes) -> dict[str, Any]:
    """The object of a JSON file."""
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BadRecord(*json_fault(content, error)) from error
    if type(found) is not dict:
        raise BadRecord("not_an_object", f"found {type_name(found)}")
    return found


def whole_file(path: str, longest: int, expected: str, kind: type) -> dict[str, Any]:
    """A small JSON file that is one object whose values are of a kind. Raises SourceError for any other."""
    try:
        found = json_object(content_of(path, longest))
    except BadRecord as error:
        raise SourceError(f"{path}: {error.reason}: {error.detail}; expected {expected}") from error
    wrong = next((name for name, value in found.items() if type(value) is not kind), None)
    if wrong is not None:
        raise SourceError(f"{path}: {wrong!r} is {type_name(found[wrong])}; expected {expected}")
    return found


def text_files(
    paths: Sequence[str], wanted: WantedIds, text_of: FileText, settings: Any, source: str
) -> Iterator[ColumnBlock]:
    """Blocks of the columns id, text and title of the files whose ids are wanted; no other is opened.

    A file that is longer than `max_record_bytes` of the settings, damaged or refused by `text_of` is quarantined.
    """
    ids = pa.array([file_id(path) for path in paths], pa.string())
    chosen = np.flatnonzero(wanted.find(ids) >= 0).tolist()
    block = _Block()
    seen: set[str] = set()
    for number in chosen:
        name = ids[number].as_py()
        if name in seen:
            continue
        seen.add(name)
        try:
            block.add(name, *text_of(content_of(paths[number], settings.max_record_bytes), settings))
        except BadRecord as error:
            rows = QuarantineRows(source, paths[number], "byte")
            rows.add(0, error.reason, error.detail)
            yield _Block().take(rows.take())
        if block.full:
            yield block.take()
    yield block.take()


def content_of(path: str, longest: int, encoding: str | None = None) -> bytes:
    """The bytes of a file of at most `longest`. Raises BadRecord for a longer or a damaged one.

    Text in another encoding than UTF-8 is recoded, unless `encoding` is told: as it stands with "utf-8".
    """
    parts: list[bytes] = []
    size = 0
    stream = ByteStream(path, encoding=encoding)
    for chunk in stream:
        parts.append(chunk)
        size += len(chunk)
        if size > longest:
            head = b"".join(parts)[:EXCERPT].decode("utf-8", "backslashreplace")
            raise BadRecord("file_too_long", f"more than max_record_bytes = {longest:,} | {head}")
    if stream.fault is not None:
        raise BadRecord(stream.fault.reason, stream.fault.detail)
    return b"".join(parts)


class _Block:
    def __init__(self) -> None:
        self._ids: list[str] = []
        self._texts: list[str] = []
        self._titles: list[str | None] = []
        self._size = 0

    def add(self, name: str, title: str | None, text: str) -> None:
        self._ids.append(name)
        self._texts.append(text)
        self._titles.append(title)
        self._size += len(text)

    @property
    def full(self) -> bool:
        return self._size > STEP_BYTES or len(self._ids) >= STEP_FILES

    def take(self, quarantine: pa.RecordBatch | None = None) -> ColumnBlock:
        columns = {"id": self._ids, "text": self._texts, "title": self._titles}
        arrays = {name: pa.array(values, pa.string()) for name, values in columns.items()}
        numbers = np.ones(len(self._ids), np.int64)
        self._ids, self._texts, self._titles, self._size = [], [], [], 0
        empty = pa.RecordBatch.from_pylist([], QUARANTINE)
        return ColumnBlock(arrays, numbers, "file", empty if quarantine is None else quarantine)
