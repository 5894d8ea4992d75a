"""Questions read out of answers, and the second try after a rejected one."""

import pytest

from synth.chat_request import Answer, ChatRequest, Message, Usage, request_key
from synth.client_settings import ClientSettings
from synth.question_checks import REASONS
from synth.question_retry import retry_request
from synth.questions import GeneratedQuestion, Question, QuestionAndHardNegative, question_schema, read_question


def answer(text, value=None, failure=None):
    return Answer("1", "k", text, value, failure, "", None, None, Usage(), False)


@pytest.mark.parametrize(
    "text",
    [
        "How high is it?",
        "  How high is it? \n",
        '"How high is it?"',
        "“How high is it?”",
        "**How high is it?**",
        "Question: How high is it?",
        "**Question:** How high is it?",
        "质问：How high is it?".replace("质问", "質問"),
        "```\nHow high is it?\n```",
        "<think>It says 31 metres.</think>\n\nHow high is it?",
    ],
)
def test_a_plain_answer_is_the_question_without_its_wrapping(text):
    assert read_question(answer(text)) == GeneratedQuestion("How high is it?", None)


def test_what_a_model_says_beside_the_question_stays_for_the_checks():
    said = "Sure! How high is it?"
    assert read_question(answer(said)) == GeneratedQuestion(said, None)
    quoted = '"Tower" and "island": what do they share?'
    assert read_question(answer(quoted)) == GeneratedQuestion(quoted, None)


def test_structured_answers_are_read_by_their_fields():
    assert read_question(answer("{...}", Question(question=" How high? "))) == GeneratedQuestion("How high?", None)
    both = QuestionAndHardNegative(question="How high?", hard_negative="It is\n red. ")
    assert read_question(answer("{...}", both)) == GeneratedQuestion("How high?", "It is red.")
    none = QuestionAndHardNegative(question="How high?", hard_negative=" ")
    assert read_question(answer("{...}", none)) == GeneratedQuestion("How high?", None)


@pytest.mark.parametrize(
    "nothing",
    [
        answer("How high?", failure="refused"),
        answer("", failure="empty"),
        answer("  "),
        answer("", Question(question="")),
        answer("<think>so"),
    ],
)
def test_where_nothing_was_answered_nothing_is_read(nothing):
    assert read_question(nothing) is None


def test_an_unknown_answer_is_a_key_error():
    with pytest.raises(KeyError):
        question_schema("poem", "en")


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_can_be_told_to_the_model(reason):
    request = ChatRequest.of("d1 p2", "Ask about: x", schema=Question)
    retried = retry_request(request, "bad answer", reason)
    assert retried.messages[:2] == (*request.messages, Message("assistant", "bad answer"))
    assert retried.messages[2].role == "user"
    assert "cannot be used" in retried.messages[2].content
    assert (retried.id, retried.schema) == (request.id, request.schema)


def test_a_retry_is_another_request_and_shows_no_more_than_the_beginning_of_a_huge_answer(tmp_path):
    settings = ClientSettings(
        base_url="http://127.0.0.1:1/v1", model="m", key_variable=None, answers=tmp_path / "a.sqlite"
    )
    request = ChatRequest.of("1", "Ask about: x", schema=Question)
    retried = retry_request(request, "y" * 200_000, "copied")
    assert request_key(retried, settings) != request_key(request, settings)
    assert len(retried.messages[1].content) == 1_000
    assert [message.role for message in retry_request(request, " ", "empty").messages] == ["user", "user"]
