"""What a model wrote, read as an instance of a schema: also out of code fences, chatter and trailing commas.

Nothing of an answer is ever evaluated: it is read by the json module and checked by pydantic.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

Schema = TypeVar("Schema", bound=BaseModel)

_MOST_STARTS: Final = 64  # braces and brackets at which an object is looked for
_THOUGHT: Final = re.compile(
    r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL
)  # reasoning models write it before the answer
_STRING_OR_COMMA: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|,(?=\s*[}\]])', re.DOTALL)
_decoder: Final = json.JSONDecoder(strict=False)  # raw line ends in strings are let pass


class UnreadableAnswerError(ValueError):
    """The answer holds nothing that fits the schema. The message says why, without the answer's text."""


def read_structured(text: str, schema: type[Schema]) -> Schema:
    """The first JSON value in the text that fits the schema.

    Args:
        text: the model's answer; bounded by the caller (ClientSettings.largest_answer_bytes).
        schema: a pydantic model.

    Raises:
        UnreadableAnswerError: there is none.
    """
    reason = "it holds no JSON"
    for value in _json_values(without_thought(text)):
        try:
            return schema.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'the value'}: {first['msg']}"
    raise UnreadableAnswerError(f"The answer does not fit the schema {schema.__name__}: {reason}")


def without_thought(text: str) -> str:
    """The text without a leading <think> block; one that is not closed was cut off before the answer began."""
    return _THOUGHT.sub("", text, count=1)


def _json_values(text: str) -> Iterator[Any]:
    """Values that start at a brace or bracket, outermost first; as they are, then without trailing commas."""
    position = 0
    for _ in range(_MOST_STARTS):
        start = min((found for found in (text.find("{", position), text.find("[", position)) if found >= 0), default=-1)
        if start < 0:
            return
        position = start + 1
        for candidate, offset in ((text, start), (_without_trailing_commas(text[start:]), 0)):
            try:
                value, end = _decoder.raw_decode(candidate, offset)
            except (ValueError, RecursionError):
                continue
            yield value
            if candidate is text:
                position = end  # what lies inside has been read
            break


def _without_trailing_commas(text: str) -> str:
    return _STRING_OR_COMMA.sub(lambda found: found[0] if found[0].startswith('"') else "", text)
