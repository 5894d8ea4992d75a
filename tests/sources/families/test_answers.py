"""Answers in the shapes that question answering sets have."""

from typing import Any

import pytest

from sources.families.answers import answer_texts
from sources.records import BadRecord


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (None, []),
        ("blue", ["blue"]),
        (["blue", "red", "blue"], ["blue", "red"]),
        ([{"text": "blue", "answer_start": 3}, {"text": None}, {"text": " "}], ["blue"]),
        ({"text": ["blue", "red"], "answer_start": [1, 2]}, ["blue", "red"]),
        ({"text": "blue"}, ["blue"]),
        ({"text": []}, []),
        ([1962, "1962", 2.5], ["1962", "2.5"]),
    ],
)
def test_answers_come_distinct_and_in_order_whatever_their_shape(value: Any, texts: list[str]) -> None:
    assert answer_texts(value) == texts


@pytest.mark.parametrize("value", [7, True, {"words": "x"}, [["x"]], [True], [{"words": "x"}]])
def test_what_is_no_answer_is_refused(value: Any) -> None:
    with pytest.raises(BadRecord, match="answers: expected"):
        answer_texts(value)
