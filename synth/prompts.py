"""What an LLM is told: templates of prompts, as presets or files, filled in for one paragraph at a time.

    template = load_prompt("mldr")                      # or a file: question.jinja, question.yaml
    template.request("doc7 2", paragraph, title="Kidney", language="eng_Latn")

Templates are jinja2 in its sandbox. They may name

    paragraph    the paragraph; paragraph_json the same as a JSON string, which nothing in it can end
    title, title_json, language (English name, or "the language of the text"), write_in_language (an order, in that language)
    persona, question_type, difficulty, length   see VariationSettings; any other name the caller gives

A document is only ever a value, never a template: braces in it are text. Nothing of one document is in the prompt of another.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import xxhash
import yaml
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from synth.chat_request import ChatRequest, Message
from synth.errors import ChatError
from synth.language_names import language_name, write_in_language
from synth.prompt_presets import PRESETS
from synth.questions import ANSWERS, question_schema

Form = Literal["question", "keywords", "title", "claim", "any"]
LONGEST_TEMPLATE: Final = 100_000  # characters of a file
LONGEST_TITLE: Final = (
    300  # characters that are sent: a title may be a whole page by mistake, and each token is paid for
)


class PromptError(ChatError):
    """A prompt cannot be used. The message names the preset or file and the remedy."""


class Example(BaseModel):
    """One earlier turn: what a user said, and what the model is to have answered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str
    assistant: str


class PromptTemplate(BaseModel):
    """A prompt. `system`, `user` and those of `examples` are jinja2 templates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="of the preset or file")
    user: str = Field(min_length=1, description="the last message; the paragraph belongs in it")
    system: str | None = Field(None, description="instructions; left out where nothing but white space is left of them")
    examples: tuple[Example, ...] = Field((), description="turns before the last message (few-shot)")
    answer: str = Field("question", description="text, question, question_and_hard_negative or forced_question")
    form: Form = Field("question", description="what is asked for: decides which checks apply")
    max_output_tokens: int | None = Field(None, ge=1, description="of the answer; null: as the client's settings say")
    max_paragraph_characters: int = Field(8_000, ge=1, description="of a paragraph that is sent; the rest is cut off")

    @field_validator("answer")
    @classmethod
    def _answer_is_known(cls, answer: str) -> str:
        if answer not in ANSWERS:
            raise ValueError(f"{answer!r} is none of {', '.join(ANSWERS)}")
        return answer

    @property
    def hash(self) -> str:
        """Sha256, hexadecimal, of all but the name: part of every question's provenance."""
        words = json.dumps(self.model_dump(exclude={"name"}), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(words.encode()).hexdigest()

    @property
    def instructions(self) -> str:
        """All that is told beside the paragraph, examples and their answers too: what a question must not repeat."""
        examples = [text for example in self.examples for text in (example.user, example.assistant)]
        return "\n".join([self.system or "", *examples, self.user])

    def render(
        self, paragraph: str, *, title: str | None, language: str, variables: Mapping[str, str] | None = None
    ) -> tuple[Message, ...]:
        """The conversation about one paragraph.

        Args:
            paragraph: as synth.paragraphs.paragraph_text gives it.
            title: of the document, of which LONGEST_TITLE characters are used; null and "" are the same.
            language: code or tag of the document.
            variables: further values, as `variables_of` gives them.

        Raises:
            PromptError: the template names a variable that there is no value for, or fails.
        """
        cut = paragraph[: self.max_paragraph_characters]
        called = (title or "")[:LONGEST_TITLE]
        values = dict(variables or {}) | {
            "paragraph": cut,
            "paragraph_json": json.dumps(cut, ensure_ascii=False),
            "title": called,
            "title_json": json.dumps(called, ensure_ascii=False),
            "language": language_name(language) or "the language of the text",
            "write_in_language": write_in_language(language),
        }
        messages = [Message("system", self._filled(self.system, values))] if self.system else []
        for example in self.examples:
            messages += [Message("user", self._filled(example.user, values)), Message("assistant", example.assistant)]
        messages.append(Message("user", self._filled(self.user, values)))
        return tuple(message for message in messages if message.content.strip())

    def request(
        self,
        id: str,
        paragraph: str,
        *,
        title: str | None,
        language: str,
        variables: Mapping[str, str] | None = None,
    ) -> ChatRequest:
        """The request for one question. Raises PromptError as `render`."""
        messages = self.render(paragraph, title=title, language=language, variables=variables)
        return ChatRequest(id, messages, question_schema(self.answer, language), self.max_output_tokens)

    def check(self) -> "PromptTemplate":
        """This template, once it has been filled in for an example. Raises PromptError where that fails."""
        values = dict.fromkeys(VARIABLES, "example")
        rendered = self.render("example paragraph", title="example", language="en", variables=values)
        if not any("example paragraph" in message.content for message in rendered):
            raise PromptError(
                f"The prompt {self.name} never shows the paragraph: write {{{{ paragraph }}}} or {{{{ paragraph_json }}}} "
                "where it belongs."
            )
        return self

    def _filled(self, template: str, values: Mapping[str, str]) -> str:
        try:
            return _compiled(template).render(values)
        except (TemplateError, ArithmeticError, TypeError, ValueError, MemoryError) as error:
            raise PromptError(
                f"The prompt {self.name} cannot be filled in: {error}. Names that have a value are paragraph, paragraph_json, "
                f"title, title_json, language, write_in_language, {', '.join(VARIABLES)}."
            ) from None


def load_prompt(name_or_file: str) -> PromptTemplate:
    """A preset by its name, or a file.

    A file whose name ends in .yaml or .yml holds the fields of PromptTemplate; any other is the user's message alone, and
    its answer is the field `question`.

    Raises:
        PromptError: there is no such preset or file, or it is no prompt.
    """
    if name_or_file in PRESETS:
        return _template(name_or_file, PRESETS[name_or_file])
    path = Path(name_or_file)
    if not path.is_file():
        raise PromptError(
            f"{name_or_file} is neither a prompt of ours ({', '.join(PRESETS)}) nor a file: correct the name, or write the file."
        )
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"The prompt {path} cannot be read: {error}. It must be text in UTF-8.") from None
    if len(text) > LONGEST_TEMPLATE:
        raise PromptError(f"The prompt {path} has {len(text):,} characters; {LONGEST_TEMPLATE:,} are the most.")
    if path.suffix.lower() not in (".yaml", ".yml"):
        return _template(path.name, {"user": text})
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PromptError(f"The prompt {path} is no YAML: {error}") from None
    if not isinstance(fields, dict):
        raise PromptError(f"The prompt {path} holds no fields: write at least `user: ...`.")
    return _template(path.name, fields)


def _template(name: str, fields: Mapping[str, Any]) -> PromptTemplate:
    try:
        return PromptTemplate.model_validate({"name": name, **fields}).check()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise PromptError(f"The prompt {name}: {place}: {first['msg']}. See synth.prompts.PromptTemplate.") from None


@lru_cache(maxsize=256)
def _compiled(template: str) -> Template:
    """No loader: a template cannot include files. Unknown names are errors, values cannot be changed."""
    # What is rendered goes to a model, not into a page: nothing is escaped.
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    return environment.from_string(template)


VARIABLES: Final = ("persona", "question_type", "difficulty", "length")


class VariationSettings(BaseModel):
    """What prompts such as `persona` vary, as Qwen3-Embedding (2506.05176) varies persona, type, difficulty and length.

    There, the persona is one of five that a retrieval model finds for the document; here a hash chooses among those named.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, description="another seed, other choices")
    persona: tuple[str, ...] = Field(
        (
            "a student who prepares for an examination",
            "a journalist who checks a fact",
            "an engineer who has a problem to solve",
            "a teacher who plans a lesson",
            "a hobbyist who is curious about details",
            "a civil servant who decides a case",
        ),
        min_length=1,
        description="who asks",
    )
    question_type: tuple[str, ...] = Field(
        (
            "a question about a fact",
            "a question about a reason",
            "a question about how something is done",
            "a question that compares",
        ),
        min_length=1,
        description="what is asked",
    )
    difficulty: tuple[str, ...] = Field(
        ("a beginner", "an experienced reader", "an expert"),
        min_length=1,
        description="for whom the question is not too easy",
    )
    length: tuple[str, ...] = Field(
        ("5 to 10 words", "10 to 20 words", "20 to 30 words"), min_length=1, description="of the question"
    )


def variables_of(key: str, settings: VariationSettings) -> dict[str, str]:
    """One value for each of VARIABLES, by a hash of the seed and `key` (which tells paragraphs apart)."""
    chosen = {}
    for name in VARIABLES:
        values: tuple[str, ...] = getattr(settings, name)
        hashed = xxhash.xxh3_64_intdigest(f"{settings.seed}\x00{name}\x00{key}".encode())
        chosen[name] = values[hashed % len(values)]
    return chosen
