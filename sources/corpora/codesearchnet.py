"""CodeSearchNet: functions in six programming languages with their documentation.

The pair is (docstring, code). In Python the docstring stands inside the code: it is cut out where it is found there in its
triple quotes, as it would give the answer away (setting `cut_docstring`). The document is the file of the repository.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from pydantic import Field

from sources.record_formats import Record
from sources.records import Layout, RawPair, RecordSettings, record_source

NO_LANGUAGE: Final = "zxx"  # ISO 639-2: no linguistic content


class CodeSearchNetSettings(RecordSettings):
    """Settings of codesearchnet."""

    cut_docstring: bool = Field(True, description="leave a docstring in triple quotes out of the code it documents")


def _pairs(
    docstring: str, code: str, repository: str, path: str, url: str
) -> Callable[[Record, Any], Iterator[RawPair]]:
    def pairs(record: Record, settings: CodeSearchNetSettings) -> Iterator[RawPair]:
        text = record[code]
        if settings.cut_docstring and text and record[docstring]:
            text = _without_docstring(text, record[docstring])
        place = (record.get(repository), record.get(path))
        yield RawPair(
            record[docstring],
            text,
            positive_language=NO_LANGUAGE,
            document_id="codesearchnet:{}/{}".format(*place) if all(place) else None,
            url=record.get(url),
        )

    return pairs


def _without_docstring(code: str, docstring: str) -> str:
    start = code.find(docstring)
    if start < 0:
        return code
    before, after = code[:start].rstrip(), code[start + len(docstring) :].lstrip()
    for quotes in ('"""', "'''"):
        if before.endswith(quotes) and after.startswith(quotes):
            return before.removesuffix(quotes).rstrip("rRuU") + after.removeprefix(quotes)
    return code


_RAW: Final = ("docstring", "code", "repo", "path", "url")
_HUB: Final = (
    "func_documentation_string",
    "func_code_string",
    "repository_name",
    "func_path_in_repository",
    "func_code_url",
)

SOURCE: Final = record_source(
    name="codesearchnet",
    summary="2 million functions of Go, Java, JavaScript, PHP, Python and Ruby with their documentation",
    kinds=("docstring_code",),
    languages="eng_Latn for most docstrings; code has none",
    layout="JSON lines LANGUAGE/final/jsonl/{train,valid,test}/*.jsonl.gz: docstring, code, repo, path, url; "
    "hub rows: func_documentation_string, func_code_string, repository_name, func_path_in_repository, func_code_url",
    license="that of each repository",
    obtain="https://github.com/github/CodeSearchNet",
    verified="real rows in form (.jsonl); hub rows: memory only",
    layouts=tuple(
        Layout({names[0]: str, names[1]: str}, _pairs(*names), dict.fromkeys(names[2:], str)) for names in (_RAW, _HUB)
    ),
    Settings=CodeSearchNetSettings,
    language="eng_Latn",
)
