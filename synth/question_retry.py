"""The second try after a rejected question: the model is told what was wrong with the first."""

from dataclasses import replace
from typing import Final

from synth.chat_request import ChatRequest, Message
from synth.question_checks import REASONS

# What a model is told, where the reason in the report would not help it.
_WHAT_TO_DO: Final = {
    "empty": "Write one question.",
    "no_answer": "Write one question.",
    "instructions": "Ask about what the paragraph says; do not repeat instructions.",
    "refusal": "Every paragraph can be asked about: write one question that it answers.",
    "preamble": "Write the question alone, without any words before it.",
    "several_questions": "Write exactly one question.",
    "several_sentences": "Write exactly one sentence, a question.",
    "too_short": "Write a more specific question.",
    "too_long": "Write a shorter question.",
    "repeats": "Write a shorter question that says nothing twice.",
    "not_a_question": "Write a question, with a question mark at its end.",
    "points_at_text": "Do not mention the text, passage, paragraph or author: name the subject itself.",
    "points_at_nothing": 'Do not use "this", "these" or similar words: name what is meant.',
    "pronoun": "Do not use a pronoun for somebody or something that the question does not name.",
    "other_language": "Write in the language of the paragraph.",
    "copied": "Use words of your own instead of copying the paragraph.",
    "not_found_in_document": "Ask about what only this paragraph says.",
    "not_found_in_pool": "Write a more specific question: name the subject, and ask about what only this paragraph says.",
    "not_answerable": "Ask about something that the paragraph answers.",
    "near_duplicate": "Ask about something else that the paragraph says.",
}
_LONGEST_SHOWN: Final = 1_000  # characters of the rejected answer


def retry_request(request: ChatRequest, answer_text: str, reason: str) -> ChatRequest:
    """The same conversation, the rejected answer, and what was wrong with it (a name of REASONS).

    Its id is that of the request, its hash another one: both answers are kept.
    """
    told = _WHAT_TO_DO.get(reason) or REASONS.get(reason, "it cannot be used").capitalize() + "."
    shown = answer_text.strip()[:_LONGEST_SHOWN]
    before = (Message("assistant", shown),) if shown else ()
    order = Message("user", f"That answer cannot be used. {told} Answer in the same form as before.")
    return replace(request, messages=(*request.messages, *before, order))
