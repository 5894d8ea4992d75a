"""The forms that training pairs come in, and what of a row is query, positive and negative in each.

flagembedding   {"query", "pos": [texts], "neg": [texts], other keys}
columns         one positive a row (anchor, query, question ...; positive, answer ...; negative, negative_1 ...)
pairs           rows of pairmill's own shards: query, positive, negatives
beir            a folder with corpus, queries and qrels (pipelines.mining.beir_folder)
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pipelines.mining.bad_rows import MiningInputError

Form = Literal["flagembedding", "columns", "pairs", "beir"]

QUERY_NAMES: Final = (
    "anchor",
    "query",
    "question",
    "sentence1",
    "sentence_a",
    "text1",
    "title",
    "instruction",
    "inputs",
)
POSITIVE_NAMES: Final = (
    *("positive", "pos", "answer", "context", "passage", "document", "sentence2", "sentence_b", "text2"),
    *("abstract", "body", "content", "text", "output", "targets"),
)
# Tables without a header: a query and its positive, or with one negative (MS MARCO's triples).
NEGATIVE_TABLES: Final = (("query", "positive"), ("query", "positive", "negative"))
_NEGATIVE: Final = re.compile(r"(?:negative|neg)(?:s|_?\d+)?")
_LONGEST_SHOWN: Final = 60  # characters of a value in a message


@dataclass(frozen=True)
class Fields:
    """Names of the fields of a row; a negative's column may be missing in some rows."""

    form: Form
    query: str
    positive: str
    negatives: tuple[str, ...]
    document: str | None = None
    answers: str | None = None


@dataclass(frozen=True)
class PairRow:
    """What mining reads of one row."""

    query: str
    positives: list[str]
    negatives: list[str]
    document: str | None
    answers: list[str]


class BadRow(ValueError):
    """A row that cannot be used: (reason, detail)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def fields_of(
    path: str,
    names: Sequence[str],
    form: Form | None,
    *,
    query: str | None,
    positive: str | None,
    negatives: Sequence[str],
    document: str | None,
    answers: str | None,
) -> Fields:
    """Which field is what in a file whose first row has these names, told by them where the user does not say it.

    Raises MiningInputError where no query or positive can be found, naming the fields there are.
    """
    if form is None:
        form = _form_of(names) if positive is None else "columns"
    if form == "flagembedding":
        found_query, found_positive, found_negatives = query or "query", positive or "pos", tuple(negatives) or ("neg",)
    else:
        found_query = query or _first(names, QUERY_NAMES) or ""
        found_positive = positive or _first([name for name in names if name != found_query], POSITIVE_NAMES) or ""
        found_negatives = tuple(negatives) or tuple(
            name for name in names if _NEGATIVE.fullmatch(name) and name != found_positive
        )
    lacking = [
        f"the {what} ({option})"
        for what, option, name in (
            ("query", "--query-field", found_query),
            ("positive", "--positive-field", found_positive),
        )
        if name not in names
    ]
    if lacking:
        raise MiningInputError(
            f"{path}: the first row has the fields {', '.join(map(repr, names)) or 'none'}; no field for"
            f" {' and '.join(lacking)} is among them. Name it with the option, or say with --pairs-format what the file is."
        )
    return Fields(form, found_query, found_positive, found_negatives, document, answers)


def with_late_negatives(fields: Fields, records: Sequence[Mapping[str, Any]]) -> Fields:
    """With the fields of negatives that rows further on have first: JSON need not name a field that a row has not."""
    if fields.form == "flagembedding":
        return fields
    names = dict.fromkeys(name for record in records for name in record)
    known = {fields.query, fields.positive, *fields.negatives}
    late = tuple(name for name in names if name not in known and _NEGATIVE.fullmatch(name))
    return replace(fields, negatives=fields.negatives + late) if late else fields


def _form_of(names: Sequence[str]) -> Form:
    if {"query", "pos"} <= set(names):
        return "flagembedding"
    return "pairs" if {"pair_id", "query", "positive"} <= set(names) else "columns"


def _first(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def row_of(record: Mapping[str, Any], fields: Fields) -> PairRow:
    """The pair row of a record. Raises BadRow."""
    query = _text(record, fields.query)
    if fields.form == "flagembedding":
        positives = _texts(record, fields.positive)
        negatives = [text for name in fields.negatives if record.get(name) is not None for text in _texts(record, name)]
    else:
        value = record.get(fields.positive)
        positives = _texts(record, fields.positive) if type(value) is list else [_text(record, fields.positive)]
        negatives = [text for name in fields.negatives for text in _text_or_texts(record, name)]
    if not positives:
        raise BadRow("no_positive", f"{fields.positive} is an empty list")
    document = record.get(fields.document) if fields.document else None
    if document is not None and type(document) not in (str, int):
        raise BadRow("wrong_type", f"{fields.document} is {_shown(document)}, a text or a number is needed")
    answers = _text_or_texts(record, fields.answers) if fields.answers else []
    return PairRow(query, positives, negatives, None if document is None else str(document), answers)


def _text_or_texts(record: Mapping[str, Any], name: str) -> list[str]:
    value = record.get(name)
    if value is None:
        return []
    return _texts(record, name) if type(value) is list else [_text(record, name)]


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if type(value) is not str:
        if value is None:
            raise BadRow("missing_field", f"no {name}; the row has {', '.join(map(str, list(record)[:20]))[:100]}")
        raise BadRow("wrong_type", f"{name} is {_shown(value)}, a text is needed")
    if not value.strip():
        raise BadRow("empty_text", name)
    return value


def _texts(record: Mapping[str, Any], name: str) -> list[str]:
    values = record.get(name)
    if type(values) is str:
        raise BadRow("not_a_list", f"{name} is the text {_shown(values)}; write a list of texts: [{_shown(values)}]")
    if type(values) is not list:
        if values is None:
            raise BadRow("missing_field", f"no {name}; the row has {', '.join(map(str, list(record)[:20]))[:100]}")
        raise BadRow("wrong_type", f"{name} is {_shown(values)}, a list of texts is needed")
    for place, value in enumerate(values):
        if type(value) is not str:
            raise BadRow("not_texts", f"{name}[{place}] is {_shown(value)}, a text is needed")
        if not value.strip():
            raise BadRow("empty_text", f"{name}[{place}]")
    return values


def _shown(value: Any) -> str:
    text = repr(value).replace("'", '"') if type(value) is str else str(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."
