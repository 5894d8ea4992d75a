"""Which generated questions are kept: checks over columns of Arrow, each with a name that is counted and shown.

M3-Embedding tells of no check of its questions; those of MLDR have 3 to 2,589 characters (mteb's descriptive statistics). Here a
question must be one question, in its document's language, that can be understood alone, is not copied from its paragraph, and is
nothing but the question. That the paragraph answers it is for the encoder to say: `round_trip_reasons`.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from sources.languages import UNKNOWN
from synth.answer_phrases import ADDRESS, ASKING, INSTRUCTION, PREAMBLE, REFUSAL
from synth.character_counts import weight
from synth.language_names import language_key
from synth.reference_phrases import POINTING, PRONOUN, TEXT, Phrases

Mask = npt.NDArray[np.bool_]
# Languages and probabilities of texts. A language is compared with the column `language` as it is: put both into the form in
# which equal languages are equal (filters.language.language_group).
Identify = Callable[[pa.Array], tuple[pa.Array, npt.NDArray[np.float32]]]
Form = Literal["question", "keywords", "title", "claim", "any"]

REASONS: Final[dict[str, str]] = {
    "no_answer": "no usable answer came from the model",
    "empty": "the question is empty",
    "instructions": "it repeats instructions, of the prompt or of the document",
    "refusal": "the model refuses or excuses itself",
    "preamble": "an introduction stands before the question",
    "holds_address": "it holds an address of the web or of mail",
    "several_questions": "more than one question",
    "several_sentences": "more than one sentence",
    "too_short": "it is too short",
    "too_long": "it is too long",
    "not_a_question": "it does not ask",
    "repeats": "it says the same words several times",
    "points_at_text": 'it speaks of the text it was written from ("the passage above")',
    "points_at_nothing": 'a word points at something that is not named ("this law")',
    "pronoun": 'a pronoun stands for somebody or something that is not named ("when did she")',
    "other_language": "it is not in the language of the document",
    "copied": "most of it is copied from the paragraph",
    "not_found_in_document": "other paragraphs of the document are closer to it than its own",
    "not_found_in_pool": "too many paragraphs of other documents are closer to it than its own",
    "near_duplicate": "it nearly equals another question",
    "not_answerable": "a judge says that the paragraph does not answer it",
}
NEGATIVE_REASONS: Final[dict[str, str]] = {
    "empty": "the hard negative is empty",
    "is_the_question": "the hard negative is the question itself",
    "copied_paragraph": "most of the hard negative is copied from the paragraph",
    "too_short": "the hard negative is much shorter than a paragraph",
    "instructions": "the hard negative repeats instructions or refuses",
    "other_language": "the hard negative is not in the language of the document",
}

_BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "question": (12, 300),
    "keywords": (4, 100),
    "title": (4, 150),
    "claim": (20, 400),
    "any": (4, 2_000),
}
_MOST_COMPARED: Final = 4_000  # characters; time goes with the product of the two lengths
_REPEATED_WORDS: Final = 4
_MANY_WORDS: Final = 10
_MAY_BE_COPIED: Final = frozenset({"keywords", "title", "any"})
_ASKS: Final = frozenset({"question"})


class CheckSettings(BaseModel):
    """What a question must be. Defaults without a source are ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Form = Field("question", description="what was asked for: that of the prompt")
    min_characters: int | None = Field(
        None,
        ge=1,
        description="a Chinese or Japanese character counts three, a Korean one two; null: by form (question: 12)",
    )
    max_characters: int | None = Field(None, ge=1, description="counted likewise; null: by form (question: 300)")
    max_copied_share: float | None = Field(
        0.8,
        gt=0,
        le=1,
        description="of a question's letters in one run of the paragraph; null: no limit (keywords, titles: none)",
    )
    max_instruction_letters: int = Field(
        30, ge=1, description="bytes of letters that a question may share in one run with the prompt"
    )
    references: bool = Field(True, description="refuse questions that point at the text or at what they do not name")
    min_language_probability: float = Field(
        0.5, ge=0, le=1, description="from which on the identified language counts; below, the document's is believed"
    )
    min_language_characters: int = Field(
        20, ge=1, description="shorter questions are not judged by language; counted as min_characters"
    )

    @property
    def bounds(self) -> tuple[int, int]:
        """Least and greatest length."""
        least, most = _BOUNDS[self.form]
        return self.min_characters or least, self.max_characters or most


class RoundTripSettings(BaseModel):
    """How near to its own paragraph a question must be, among others, by an encoder. M3 has no such check; ranks are ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    top_of_document: int | None = Field(
        2, ge=1, description="rank of its paragraph among those of its document; null: any"
    )
    top_of_pool: int | None = Field(
        10, ge=1, description="rank of its paragraph among those of all documents in its language; null: any"
    )


def check_questions(
    table: pa.Table,
    settings: CheckSettings,
    identified_language: Identify | None = None,
    instructions: str = "",
) -> pa.Array:
    """Why each question is not kept: string [rows], a name of REASONS; null where it is kept. The first reason counts.

    Args:
        table: columns question (null: no answer), paragraph, language (code or key), all string.
        settings: what a question must be.
        identified_language: tells languages; None: languages are not compared.
        instructions: the prompt's own text; questions that repeat it are refused (a few-shot example, say).
    """
    if not len(table):
        return pa.array([], pa.string())
    asked = _Questions(table, settings, identified_language, instructions)
    checks = _checks(settings)
    failed = [check(asked) for check in checks.values()]
    names = [*checks, ""]
    first = np.select(failed, list(range(len(failed))), len(failed))
    return pa.array([names[place] or None for place in first.tolist()], pa.string())


def check_hard_negatives(
    table: pa.Table, settings: CheckSettings, identified_language: Identify | None = None
) -> pa.Array:
    """Why each hard negative is left out: string [rows], a name of NEGATIVE_REASONS; null where it is good, or there is none.

    `table`: columns question (null: no answer), hard_negative (null: none), paragraph, language, all string.
    """
    if not len(table):
        return pa.array([], pa.string())
    absent = table["hard_negative"].is_null().to_numpy()
    negatives = table.set_column(table.column_names.index("question"), "question", table["hard_negative"].fill_null(""))
    written = _Questions(negatives, settings, identified_language, "")
    folded, question = letters_alone(written.texts), letters_alone(_column(table, "question").fill_null(""))
    half = np.array([weight(text) for text in written.paragraphs.to_pylist()], np.int64) / 4
    failed = {
        "empty": written.weights == 0,
        "is_the_question": pc.equal(folded, question).to_numpy(zero_copy_only=False),
        "copied_paragraph": written.copied_share > 0.5,
        "too_short": written.weights < half,
        "instructions": written.matches(INSTRUCTION) | written.matches(REFUSAL),
        "other_language": written.in_other_language,
    }
    first = np.select([mask & ~absent for mask in failed.values()], list(range(len(failed))), len(failed))
    names = [*failed, ""]
    return pa.array([names[place] or None for place in first.tolist()], pa.string())


def round_trip_reasons(
    rank_in_document: npt.NDArray[np.int32], rank_in_pool: npt.NDArray[np.int32], settings: RoundTripSettings
) -> pa.Array:
    """Why each question is not kept, by the ranks of its paragraph [rows]: 1 is the nearest, 0 was not measured.

    Returns string [rows]: not_found_in_document, not_found_in_pool, or null.
    """
    far_in_document = rank_in_document > (settings.top_of_document or np.iinfo(np.int32).max)
    far_in_pool = rank_in_pool > (settings.top_of_pool or np.iinfo(np.int32).max)
    return pc.case_when(
        pc.make_struct(pa.array(far_in_document), pa.array(far_in_pool)),
        pa.scalar("not_found_in_document"),
        pa.scalar("not_found_in_pool"),
    )


def in_other_language(texts: pa.Array, languages: pa.Array, identify: Identify, settings: CheckSettings) -> Mask:
    """Whether each text is surely in another language than told: bool [rows]; short ones and languages `und` are not judged.

    Ask it of paragraphs too, before their questions are paid for: documents hold parts that were never translated.
    """
    found, probabilities = identify(texts)
    differs = pc.and_(pc.not_equal(found, languages), pc.not_equal(languages, UNKNOWN)).to_numpy(zero_copy_only=False)
    long = np.array([weight(text) >= settings.min_language_characters for text in texts.to_pylist()], np.bool_)
    other: Mask = differs & long & (probabilities >= settings.min_language_probability)
    return other


def letters_alone(texts: pa.Array) -> pa.Array:
    """Letters and digits in lower case, without anything between them: what copies are compared by."""
    return pc.replace_substring_regex(pc.utf8_lower(texts), r"[^\pL\pM\pN]+", "")


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table[name].cast(pa.string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


class _Questions:
    """Questions and what the checks ask about them; measured when it is first asked for."""

    def __init__(self, table: pa.Table, settings: CheckSettings, identify: Identify | None, instructions: str) -> None:
        self.settings = settings
        self.absent: Mask = table["question"].is_null().to_numpy()
        self.texts = pc.utf8_trim_whitespace(_column(table, "question").fill_null(""))
        self.paragraphs = _column(table, "paragraph").fill_null("")
        self.claimed = _column(table, "language").fill_null(UNKNOWN)
        self.instructions = instructions
        self._identify = identify
        coded = self.claimed.dictionary_encode()
        self._keys = [language_key(code) for code in coded.dictionary.to_pylist()]
        self._key_of_row = coded.indices.to_numpy(zero_copy_only=False)

    def matches(self, pattern: str) -> Mask:
        found: Mask = pc.match_substring_regex(self.texts, pattern).to_numpy(zero_copy_only=False)
        return found

    def times(self, pattern: str) -> npt.NDArray[np.int32]:
        found: npt.NDArray[np.int32] = pc.count_substring_regex(self.texts, pattern).to_numpy(zero_copy_only=False)
        return found

    def by_language(self) -> Iterator[tuple[str, Mask]]:
        """Each language key, and its rows."""
        for place, key in enumerate(self._keys):
            yield key, self._key_of_row == place

    def leans_on(self, lists: Mapping[str, Phrases]) -> Mask:
        """Questions in which a phrase of their language's list is found."""
        found = np.zeros(len(self.texts), np.bool_)
        for key, rows in self.by_language():
            if key in lists and rows.any():
                found[rows] = _finds(self.texts.filter(pa.array(rows)), lists[key])
        return found

    @cached_property
    def weights(self) -> npt.NDArray[np.int64]:
        return np.array([weight(text) for text in self.texts.to_pylist()], np.int64)

    @cached_property
    def _compared(self) -> pa.Array:
        """The letters of each question; of very long ones, which are refused anyway, those of the beginning."""
        return letters_alone(pc.utf8_slice_codeunits(self.texts, 0, _MOST_COMPARED))

    @cached_property
    def copied_share(self) -> npt.NDArray[np.float64]:
        """Share of a question's letters, in bytes, that stand in one run in its paragraph."""
        return _share_of_common_run(self._compared, letters_alone(self.paragraphs))[1]

    @cached_property
    def shared_with_instructions(self) -> npt.NDArray[np.int64]:
        """Bytes of letters of the longest run that a question shares with the prompt."""
        letters = letters_alone(pa.array([self.instructions], pa.string()))[0]
        return _share_of_common_run(self._compared, pa.repeat(letters, len(self.texts)))[0]

    @cached_property
    def in_other_language(self) -> Mask:
        if self._identify is None:
            return np.zeros(len(self.texts), np.bool_)
        return in_other_language(self.texts, self.claimed, self._identify, self.settings)


def _finds(texts: pa.Array, phrases: Phrases) -> Mask:
    found: npt.NDArray[Any] = pc.count_substring_regex(texts, phrases.found).to_numpy(zero_copy_only=False)
    if not phrases.excused or not found.any():
        return found > 0
    excused: npt.NDArray[Any] = pc.count_substring_regex(texts, phrases.excused).to_numpy(zero_copy_only=False)
    return found > excused


def _share_of_common_run(texts: pa.Array, others: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Bytes of the longest common run of each two texts, and what share of the first text they are."""
    from synth.common_run_loops import longest_common_runs

    lengths = np.zeros(len(texts), np.int64)
    longest_common_runs(*_buffers(texts), *_buffers(others), lengths)
    return lengths, lengths / np.maximum(pc.binary_length(texts).to_numpy(zero_copy_only=False), 1)


def _buffers(texts: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    _, bounds, data = texts.buffers()
    return (
        np.frombuffer(bounds, np.int32)[texts.offset : texts.offset + len(texts) + 1],
        np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8),
    )


_MARK: Final = r"[?？؟⸮][?？؟!！\s\"'”’»」』）)\]]*"
_SENTENCE_BEFORE_ANOTHER: Final = r"\p{L}{5,}[.!…][\"”’»)]*\s+[¿\p{Lu}]|[。｡][^\s。｡」』》）)”]|[।॥]\s*[^\s।॥]|\n\s*\S"


def _is_long(questions: _Questions) -> Mask:
    return questions.weights > questions.settings.bounds[1]


def _is_short(questions: _Questions) -> Mask:
    return questions.weights < questions.settings.bounds[0]


def _is_several(questions: _Questions) -> Mask:
    more_behind = questions.matches(r"[?？؟⸮][\s\"'”’»」』）)\]]*[^?？؟⸮!！\s\"'”’»」』）)\].。]")
    numbered = questions.matches(r"(?m)^\s*(?:1|2|Q1|Q2)[.):]\s")
    return (questions.times(_MARK) > 1) | more_behind | numbered | (questions.times("¿") > 1)


def _does_not_ask(questions: _Questions) -> Mask:
    asks = questions.matches(rf"{_MARK}\z")
    for key, rows in questions.by_language():
        if key in ASKING and rows.any():
            asks[rows] |= pc.match_substring_regex(questions.texts.filter(pa.array(rows)), ASKING[key]).to_numpy(
                zero_copy_only=False
            )
    return ~asks


def _repeats_instructions(questions: _Questions) -> Mask:
    echoed = questions.matches(INSTRUCTION)
    if questions.instructions:
        echoed |= questions.shared_with_instructions > questions.settings.max_instruction_letters
    return echoed


def _repeats(questions: _Questions) -> Mask:
    """Four words in the same order twice, or hardly half of many words different: what small models fall into."""
    words = pc.split_pattern(pc.utf8_lower(questions.texts), " ").to_pylist()
    return np.array([_says_it_again(each) for each in words], np.bool_)


def _says_it_again(words: list[str]) -> bool:
    runs = [tuple(words[start : start + _REPEATED_WORDS]) for start in range(len(words) - _REPEATED_WORDS + 1)]
    return len(set(runs)) < len(runs) or (len(words) >= _MANY_WORDS and len(set(words)) < 0.55 * len(words))


def _is_copied(questions: _Questions) -> Mask:
    copied: Mask = questions.copied_share > (questions.settings.max_copied_share or 1.0)
    return copied


def _checks(settings: CheckSettings) -> dict[str, Callable[[_Questions], Mask]]:
    """The checks that apply, in the order in which their reasons count."""
    checks: dict[str, Callable[[_Questions], Mask]] = {
        "no_answer": lambda asked: asked.absent,
        "empty": lambda asked: ~asked.matches(r"[\pL\pN]"),
        "instructions": _repeats_instructions,
        "refusal": lambda asked: asked.matches(REFUSAL),
        "preamble": lambda asked: asked.matches(PREAMBLE),
        "holds_address": lambda asked: asked.matches(ADDRESS),
        "several_questions": _is_several,
        "several_sentences": lambda asked: asked.matches(_SENTENCE_BEFORE_ANOTHER),
        "too_short": _is_short,
        "too_long": _is_long,
    }
    if settings.form != "any":
        checks["repeats"] = _repeats
    if settings.form in _ASKS:
        checks["not_a_question"] = _does_not_ask
    if settings.references:
        checks["points_at_text"] = lambda asked: asked.leans_on(TEXT)
        checks["points_at_nothing"] = lambda asked: asked.leans_on(POINTING)
        checks["pronoun"] = lambda asked: asked.leans_on(PRONOUN)
    checks["other_language"] = lambda asked: asked.in_other_language
    if settings.max_copied_share is not None and settings.form not in _MAY_BE_COPIED:
        checks["copied"] = _is_copied
    return checks
