"""Rows of task files, as columns that know where each row came from: JSON lines, TSV, CSV (each also gzipped) and Parquet."""

import csv
import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trainer.evaluate.files import EvaluationDataError, json_objects, lines

SUFFIXES: Final = (".jsonl", ".json", ".tsv", ".csv", ".parquet")
# Names seen in C-MTEB's data sets and in mteb's, after the name used here.
ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "sentence1": ("sentence1", "sent1", "text1"),
    "sentence2": ("sentence2", "sent2", "text2"),
    "score": ("score",),
    "label": ("label", "labels"),
    "text": ("text", "sentence", "sentences"),
    "query": ("query",),
    "positive": ("positive", "pos"),
    "negative": ("negative", "neg"),
    "language": ("language", "lang"),
}


@dataclass(frozen=True)
class Rows:
    """The rows of one or several files. A field that a row does not have is None there."""

    columns: dict[str, list[Any]]  # by the names of ALIASES
    parts: list[tuple[Path, str, list[int]]]  # file, "line" or "row", the number of each row in it
    found: tuple[str, ...]  # names of the fields in the files

    def __len__(self) -> int:
        return sum(len(numbers) for _, _, numbers in self.parts)

    @property
    def files(self) -> str:
        """The files, for messages."""
        return " and ".join(str(file) for file, _, _ in self.parts)

    def place(self, row: int) -> str:
        """File and line of a row, for messages."""
        for file, unit, numbers in self.parts:
            if row < len(numbers):
                return f"{file}, {unit} {numbers[row]}"
            row -= len(numbers)
        raise IndexError(row)


def read_rows(files: Sequence[Path]) -> Rows:
    """All rows of `files`, one after the other.

    Raises EvaluationDataError for a file that cannot be read (naming file and line) and for files without a row.
    """
    records: list[dict[str, Any]] = []
    parts: list[tuple[Path, str, list[int]]] = []
    for file in files:
        unit = "row" if _suffix(file) == ".parquet" else "line"
        numbers = []
        for number, record in _records(file):
            numbers.append(number)
            records.append(record)
        parts.append((file, unit, numbers))
    if not records:
        raise EvaluationDataError(f"{' and '.join(map(str, files))} holds no row: there is nothing to evaluate.")
    found = tuple(dict.fromkeys(name for record in records for name in record))
    columns = {}
    for field, names in ALIASES.items():
        present = next((name for name in names if name in found), None)
        if present is not None:
            columns[field] = [record.get(present) for record in records]
    return Rows(columns, parts, found)


def _suffix(file: Path) -> str:
    return Path(file.stem).suffix if file.suffix == ".gz" else file.suffix


def _records(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    readers = {".jsonl": json_objects, ".json": json_objects, ".tsv": _tsv, ".csv": _csv, ".parquet": _parquet}
    return readers[_suffix(file)](file)


def _tsv(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """One row a line, tabs between fields, no quotes."""
    header: list[str] | None = None
    for number, line in lines(file):
        fields = line.rstrip("\r\n").split("\t")
        if header is None:
            header = _header(file, fields)
        else:
            yield number, _named(file, number, header, fields)


def _csv(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """RFC 4180: commas, fields in quotes may hold commas and line breaks."""
    header: list[str] | None = None
    csv.field_size_limit(2**31 - 1)  # its default refuses texts above 131,072 characters
    try:
        with (
            gzip.open(file, "rt", encoding="utf-8-sig", newline="")
            if file.suffix == ".gz"
            else file.open(encoding="utf-8-sig", newline="") as stream
        ):
            reader = csv.reader(stream, strict=True)
            for fields in reader:
                if header is None:
                    header = _header(file, fields)
                elif fields:
                    yield reader.line_num, _named(file, reader.line_num, header, fields)
    except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise EvaluationDataError(
            f"{file} cannot be read as CSV in UTF-8 ({error}). Correct it or fetch it again."
        ) from error


def _header(file: Path, fields: list[str]) -> list[str]:
    names = [field.strip().removeprefix("\ufeff") for field in fields]
    known = {name for aliases in ALIASES.values() for name in aliases}
    if not known & set(names) or len(set(names)) < len(names):
        raise EvaluationDataError(
            f"{file} must begin with a line of field names, each once (such as sentence1, sentence2, score); found {names[:6]}. "
            f"Add that line."
        )
    return names


def _named(file: Path, number: int, header: list[str], fields: list[str]) -> dict[str, Any]:
    if len(fields) != len(header):
        raise EvaluationDataError(
            f"{file}, line {number}, has {len(fields)} fields, and its header {len(header)}. Correct the line; texts with "
            f"tabs or line breaks need CSV or JSON lines."
        )
    return dict(zip(header, fields, strict=True))


def _parquet(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = {name for aliases in ALIASES.values() for name in aliases}
    try:
        parquet = pq.ParquetFile(file)
        columns = [name for name in parquet.schema_arrow.names if name in known]
        number = 0
        for batch in parquet.iter_batches(columns=columns):
            for record in batch.to_pylist():
                number += 1
                yield number, record
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise EvaluationDataError(f"{file} cannot be read as Parquet ({error}). Fetch it again.") from error
