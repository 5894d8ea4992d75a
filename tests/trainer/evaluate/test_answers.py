import unicodedata

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluate import RetrievalData, query_values
from trainer.evaluate.answers import first_answer_ranks, holds_answer


def by_definition(passage, answers):
    """DPR's rule restated: runs of tokens compared one by one."""

    def tokens(text):
        text = unicodedata.normalize("NFD", text)
        return [match.group().lower() for match in regex.finditer(r"([\p{L}\p{N}\p{M}]+)|([^\p{Z}\p{C}])", text)]

    words = tokens(passage)
    runs = [tokens(answer) for answer in answers]
    return any(
        run and words[start : start + len(run)] == run for run in runs for start in range(len(words) - len(run) + 1)
    )


@pytest.mark.parametrize(
    ("passage", "answer", "held"),
    [
        ("It was Marie Curie's idea", "marie curie", True),
        ("Mariecurie", "Marie", False),
        ("Zürich", "Zu\u0308rich", True),  # composed and decomposed
        ("at 12:30 precisely", "12 : 30", True),
        ("cost $1,000", "1000", False),
        ("هو محمد علي", "محمد", True),
        ("हिन्दी भाषा", "हिन्द", False),  # a vowel sign goes on
        ("北京大学", "北京", False),  # Han is written without spaces: one run of letters is one word
        ("\u202bnon\u202cvisible", "non visible", True),
        ("anything", "", False),
        ("anything", " \u200b", False),
    ],
)
def test_an_answer_is_held_as_a_run_of_whole_words(passage, answer, held):
    assert holds_answer(passage, [answer]) is held


alphabet = "aAb ü\u0308ا1,. -\u0301中\u200b\x00"


@settings(max_examples=200, deadline=None)
@given(passage=st.text(alphabet, max_size=25), answers=st.lists(st.text(alphabet, max_size=5), max_size=3))
def test_the_match_is_that_of_dprs_definition(passage, answers):
    assert holds_answer(passage, answers) == by_definition(passage, answers)


def answered(documents, answers):
    return RetrievalData(
        name="mkqa",
        document_ids=[f"d{row}" for row in range(len(documents), 0, -1)],
        documents=documents,
        query_ids=[f"q{number}" for number in range(len(answers))],
        queries=["?"] * len(answers),
        relevance={},
        kinds=[None] * len(answers),
        languages=["en"] * len(answers),
        layout="mkqa",
        answers=answers,
    )


def test_the_first_rank_with_an_answer_decides_recall():
    data = answered(["blue sky", "the red sea", "Red", "none"], [["red"], ["sea", "sky"], ["green"], [""]])
    rows = np.array([[3, 2, 1], [0, 1, 2], [0, 1, 2], [0, 1, -1]])
    assert first_answer_ranks(data, rows).tolist() == [2, 1, 4, 4]
    values = query_values(
        data, -np.tile(np.arange(3, dtype=np.float32), (4, 1)), rows, ("answer_recall@1", "answer_recall@2")
    )
    assert values["answer_recall@1"].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert values["answer_recall@2"].tolist() == [1.0, 1.0, 0.0, 0.0]


def test_sets_with_answers_are_told_by_recall_at_20_and_100():
    data = answered(["red"], [["red"]])
    assert query_values(data, np.ones((1, 1), np.float32), np.zeros((1, 1), np.int64)).keys() == {
        "answer_recall@20",
        "answer_recall@100",
    }
