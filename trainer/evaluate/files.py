"""Lines and JSON objects of evaluation files, plain or gzipped; what is wrong in them is told with file and line."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson


class EvaluationError(ValueError):
    """What was asked for cannot be evaluated. The message names what and the remedy."""


class EvaluationDataError(EvaluationError):
    """Evaluation data cannot be read. The message names the file, the line and the remedy."""


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines that are not empty. Raises EvaluationDataError for what is not UTF-8 or cut short."""
    number = 0
    try:
        # Decoded line by line: a text stream decodes in blocks, and could not say which line is wrong.
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")  # some editors begin a file with U+FEFF
                if text.strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise EvaluationDataError(f"{file}, line {number}, is not UTF-8 ({error}). Save the file as UTF-8.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise EvaluationDataError(
            f"{file} cannot be decompressed after line {number} ({error}): it is cut short or damaged. Fetch it again."
        ) from error


def json_objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a JSONL file. Raises EvaluationDataError for a line that is no JSON object."""
    for number, line in lines(file):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise EvaluationDataError(f"{file}, line {number}, is not JSON ({error}). Correct or remove it.") from error
        if not isinstance(row, dict):
            raise EvaluationDataError(
                f"{file}, line {number}, must be an object such as {{...}}, not a {type(row).__name__}."
            )
        yield number, row


def identifier_and_text(
    file: Path, number: int, row: dict[str, Any], id_names: Sequence[str], text_names: Sequence[str]
) -> tuple[str, str]:
    """The values of the first of `id_names` and of `text_names` that the row has; a whole number is an id too.

    Raises EvaluationDataError where one lacks or is of another type.
    """
    identifier = next((row[name] for name in id_names if name in row), None)
    text = next((row[name] for name in text_names if name in row), None)
    if type(identifier) is int:
        identifier = str(identifier)
    if isinstance(identifier, str) and identifier and isinstance(text, str):
        return identifier, text
    names = " and ".join("|".join(each) for each in (id_names, text_names))
    raise EvaluationDataError(f"{file}, line {number}, must be an object with the strings {names}.")
