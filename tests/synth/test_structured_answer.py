import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from synth.structured_answer import UnreadableAnswerError, read_structured, without_thought


class Pair(BaseModel):
    question: str
    tags: list[str] = []


WANTED = Pair(question="Why, though?", tags=["a"])


@pytest.mark.parametrize(
    "text",
    [
        '{"question": "Why, though?", "tags": ["a"]}',
        '```json\n{"question": "Why, though?", "tags": ["a"]}\n```',
        'Sure! Here it is:\n{"question": "Why, though?", "tags": ["a"]}\nIs that what you meant?',
        '{"question": "Why, though?", "tags": ["a",],}',
        'It\'s {like} this: {"question": "Why, though?", "tags": ["a"]}',
        '<think>{"question": "a draft"}</think>\n{"question": "Why, though?", "tags": ["a"]}',
        '{"schema": {"x": 1}}\n{"question": "Why, though?", "tags": ["a"]}',
        '[1, 2] {"question": "Why, though?", "tags": ["a"]}',
    ],
)
def test_the_first_value_that_fits_is_found(text):
    assert read_structured(text, Pair) == WANTED


def test_commas_and_line_ends_in_strings_stay():
    text = '{"question": "one,] two,}\nthree \\",}", "tags": ["x",],}'
    assert read_structured(text, Pair) == Pair(question='one,] two,}\nthree ",}', tags=["x"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON"),
        ("Why?", "no JSON"),
        ('{"question": "cut of', "no JSON"),
        ('{"question": 7}', "question"),
        ('{"tags": []}', "question"),
        ("__import__('os').system('true')", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"a":' * 50_000, "no JSON"),
        ('{"question": "<think>"', "no JSON"),
    ],
)
def test_what_does_not_fit_is_told_without_being_repeated(text, reason):
    with pytest.raises(UnreadableAnswerError, match=reason) as raised:
        read_structured(text, Pair)
    assert len(str(raised.value)) < 200


@given(
    st.text(), st.lists(st.text()), st.sampled_from(["", "Here: ", "```json\n"]), st.sampled_from(["", "\n```", " ok?"])
)
def test_any_strings_come_through_any_wrapping(question, tags, before, after):
    text = before + json.dumps({"question": question, "tags": tags}) + after
    assert read_structured(text, Pair) == Pair(question=question, tags=tags)


@given(st.text(alphabet='{}[]",: \\\na1'))
def test_no_text_raises_anything_else(text):
    try:
        read_structured(text, Pair)
    except UnreadableAnswerError:
        return


def test_a_thought_that_was_cut_off_is_no_answer():
    with pytest.raises(UnreadableAnswerError, match="no JSON"):
        read_structured('<think>perhaps {"question": "a draft"}, but', Pair)
    assert without_thought("<think>hm") == ""
