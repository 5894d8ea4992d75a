"""What a model is to answer with, and how a question is read out of what it wrote.

Answers are plain text (schema None: M3's prompt asks for nothing but the question) or one of the schemas below.
"""

import re
from functools import cache
from typing import Final, NamedTuple

from pydantic import BaseModel, Field, create_model

from synth.chat_request import Answer
from synth.language_names import language_key
from synth.structured_answer import without_thought


class Question(BaseModel):
    """One question, or whatever short text is asked for in its place."""

    question: str


class QuestionAndHardNegative(BaseModel):
    """As the triples of E5-mistral (2401.00368): a question, and a text that looks relevant and does not answer it."""

    question: str
    hard_negative: str


class GeneratedQuestion(NamedTuple):
    """What was read: the question, and the hard negative where one was asked for."""

    question: str
    hard_negative: str | None


# How questions begin, for grammars: a model that is held to it cannot answer with the passage itself.
_INTERROGATIVES: Final = {
    "eng": "What|Which|Who|Whom|Whose|When|Where|Why|How",
    "deu": "Was|Welche|Welcher|Welches|Welchen|Wer|Wem|Wann|Wo|Warum|Wie|Wofür|Wodurch|Woher",
    "fra": "Que|Quel|Quelle|Quels|Quelles|Qui|Quand|Où|Pourquoi|Comment|Combien",
    "spa": "¿Qué|¿Cuál|¿Cuáles|¿Quién|¿Quiénes|¿Cuándo|¿Dónde|¿Por qué|¿Cómo|¿Cuánto|¿Cuántos",
    "ita": "Che|Quale|Quali|Chi|Quando|Dove|Perché|Come|Quanto|Quanti",
    "por": "O que|Qual|Quais|Quem|Quando|Onde|Por que|Como|Quanto|Quantos",
    "rus": "Что|Какой|Какая|Какие|Какое|Кто|Когда|Где|Почему|Как|Сколько|Зачем",
}
SHORTEST_FORCED: Final = 15  # characters after the interrogative
LONGEST_FORCED: Final = 140


def question_schema(name: str | None, language: str) -> type[BaseModel] | None:
    """The schema of an answer, by the name a prompt gives it (ANSWERS); `forced_question` depends on the language.

    Raises:
        KeyError: there is no such name.
    """
    if name == "forced_question":
        return _forced_question(language_key(language))
    return ANSWERS[name or "text"]


@cache
def _forced_question(key: str) -> type[BaseModel]:
    """A subject first, then a question that begins with an interrogative of the language and ends with its mark.

    The pattern is one that llama.cpp makes a grammar of, and that servers with strict schemas hold the model to.
    """
    begins = _INTERROGATIVES.get(key)
    if begins is None:
        return Question
    pattern = f'^({begins}) [^"?\\\\\\n]{{{SHORTEST_FORCED},{LONGEST_FORCED}}}\\?$'
    return create_model(f"ForcedQuestion_{key}", question=(str, Field(pattern=pattern)))


ANSWERS: Final[dict[str, type[BaseModel] | None]] = {
    "text": None,
    "question": Question,
    "question_and_hard_negative": QuestionAndHardNegative,
    "forced_question": Question,  # narrowed by language, see question_schema
}

_SPACE: Final = re.compile(r"\s+")
_FENCE: Final = re.compile(r"\A```\w*\n?|\n?```\Z")
_LABEL: Final = re.compile(
    r"\A(?:\*\*)?(?:question|query|q|frage|pregunta|domanda|pergunta|вопрос|问题|問題|質問|질문|سؤال|السؤال|प्रश्न|คำถาม)(?:\*\*)?\s?[:：](?:\*\*)?\s*",
    re.IGNORECASE,
)
_QUOTES: Final = (('"', '"'), ("“", "”"), ("„", "“"), ("«", "»"), ("「", "」"), ("『", "』"), ("'", "'"), ("**", "**"))


def read_question(answer: Answer) -> GeneratedQuestion | None:
    """The question of an answer; None where there is no answer, or no text in it.

    Thoughts, code fences, quotation marks around the whole and a bare label ("Question:") are taken off. Whatever else the
    model wrote stays, and synth.question_checks judges it.
    """
    if answer.failure is not None:
        return None
    value = answer.value
    written = answer.text if value is None else str(getattr(value, "question", ""))
    question = _bare(written)
    negative = getattr(value, "hard_negative", None)
    if not question:
        return None
    return GeneratedQuestion(question, _SPACE.sub(" ", negative).strip() or None if negative is not None else None)


def _bare(text: str) -> str:
    text = _FENCE.sub("", without_thought(text).strip()).strip()
    text = _LABEL.sub("", text, count=1)
    for first, last in _QUOTES:
        inner = text[len(first) : -len(last)]
        if len(text) > len(first) + len(last) and text.startswith(first) and text.endswith(last) and first not in inner:
            text = inner.strip()
    return text
