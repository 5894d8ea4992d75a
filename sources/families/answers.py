"""The answers of question answering sets, in the shapes that they come in."""

from typing import Any

from sources.formats.json_records import type_name
from sources.records import BadRecord


def answer_texts(value: Any) -> list[str]:
    """The distinct answers, in their order: none for null or blank ones.

    `value` is a text, a list of texts or of objects with a `text` (SQuAD), or one object whose `text` is a list (the
    rows of data hubs). A number stands for the text of its digits, as in CMRC 2018. Raises BadRecord for anything else.
    """
    found: dict[str, None] = {}
    for given in _texts(value):
        text = str(given) if type(given) in (int, float) else given
        if text is not None and type(text) is not str:
            raise BadRecord("wrong_type", f"answers: expected texts, found {type_name(text)}")
        if text and not text.isspace():
            found[text] = None
    return list(found)


def _texts(value: Any) -> list[Any]:
    if type(value) is dict and "text" in value:
        value = value["text"]
    if value is None:
        return []
    if type(value) is str:
        return [value]
    if type(value) is list:
        return [one.get("text", one) if type(one) is dict else one for one in value]
    raise BadRecord("wrong_type", f"answers: expected a list, found {type_name(value)}")
