"""The rules, as a table: which measure of which side is held against which setting, for pairs of which kind.

A setting's name tells the comparison: min_ drops what is below, max_ what is above, drop_ where the measure is true.
RULES is the order in which a pair is asked; REASONS explains each name for the report.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from filters import language_rules
from filters.facts import Facts, Mask, Side
from filters.language_rules import Judge
from sources.schema import KINDS, SYMMETRIC_KINDS

Family = Literal["text", "likeness", "language", "web", "junk", "pair", "order"]

# Kinds whose positive is a passage: a few words there are a failed extraction, not a short answer or title.
PASSAGE_KINDS: Final = frozenset(
    {"title_body", "subtitle_passage", "title_abstract", "question_context", "summary_body", "synthetic_longdoc"}
)
_PARALLEL: Final = frozenset({"parallel"})
_NOT_SYMMETRIC: Final = frozenset(KINDS) - SYMMETRIC_KINDS

_QUERY: Final[tuple[Side, ...]] = ("query",)
_POSITIVE: Final[tuple[Side, ...]] = ("positive",)
_EITHER: Final[tuple[Side, ...]] = ("query", "positive")
_PAIR: Final[tuple[Side, ...]] = ("pair",)


@dataclass(frozen=True)
class Rule:
    """One rule. `judge` takes the place of measure and comparison where a rule is more than those.

    `strictest` is given for rules that a calibration may set, and bounds it: clean text that holds no web address at
    all is no reason to drop every passage that holds one.
    """

    setting: str
    reason: str
    explanation: str
    family: Family
    measure: str = ""
    sides: tuple[Side, ...] = _EITHER
    kinds: frozenset[str] | None = None  # None: all
    strictest: float | None = None
    judge: Judge | None = None

    @property
    def drops(self) -> Literal["below", "above", "true", "judged"]:
        if self.judge is not None:
            return "judged"
        return _DROPS[self.setting.split("_", 1)[0]]

    def columns(self) -> tuple[str, ...]:
        """The measurements it looks at; none where it has a judge, which may look at any of its family."""
        if self.judge is not None:
            return ()
        return tuple(self.measure if side == "pair" else f"{side}_{self.measure}" for side in self.sides)

    def distance(self, facts: Facts, side: Side) -> NDArray[Any]:
        """How far each row's value is beyond the threshold: above 0 is dropped; NaN where the rule does not apply."""
        values, limits = facts.of_side(self.measure, side), facts.limit(self.setting, side)
        with np.errstate(invalid="ignore"):
            beyond = limits - values if self.drops == "below" else values - limits
        if self.kinds is not None:
            beyond = np.where(facts.of_kinds(self.kinds), beyond, np.nan)
        return beyond  # type: ignore[no-any-return]

    def fails(self, facts: Facts) -> Mask:
        """Which rows the rule drops: bool [rows]. A measure that is null drops nothing."""
        if self.judge is not None:
            return self.judge(facts, self.setting)
        judged = None if self.kinds is None else facts.of_kinds(self.kinds)
        if judged is not None and not judged.any():
            for name in self.columns():
                facts.column(name)  # a measure that is missing is an error whatever the kinds
            return judged
        failed = self._fails(facts, self.sides[0])
        for side in self.sides[1:]:
            failed = failed | self._fails(facts, side)
        return failed if judged is None else failed & judged

    def _fails(self, facts: Facts, side: Side) -> Mask:
        values, limits = facts.of_side(self.measure, side), facts.limit(self.setting, side)
        if self.drops == "true":
            failed: Mask = (values == True) & np.asarray(limits, np.bool_)  # noqa: E712  (null is None: not true)
        else:
            failed = values < limits if self.drops == "below" else values > limits
        return failed


_DROPS: Final[Mapping[str, Literal["below", "above", "true"]]] = {"min": "below", "max": "above", "drop": "true"}


def _copied(facts: Facts, setting: str) -> Mask:
    del setting  # a copy is one whatever share is allowed
    copied: Mask = facts["copied_share"] >= 1
    return copied


def _personal_data(facts: Facts, setting: str) -> Mask:
    counts = [facts.of_side(kind, side) for kind in getattr(facts.settings, setting).kinds for side in _EITHER]
    found: Mask = np.sum(counts, axis=0, initial=0) > 0 if counts else np.zeros(len(facts.kinds), np.bool_)
    return found


def _passage(
    setting: str,
    reason: str,
    explanation: str,
    family: Family = "web",
    *,
    measure: str | None = None,
    strictest: float | None = None,
) -> Rule:
    """A rule on positives that are passages; the measure is named as the setting, if nothing else is said."""
    measure = setting.split("_", 1)[1] if measure is None else measure
    return Rule(setting, reason, explanation, family, measure, _POSITIVE, PASSAGE_KINDS, strictest)


def _parallel(
    setting: str, reason: str, explanation: str, measure: str, sides: tuple[Side, ...] = _PAIR, family: Family = "pair"
) -> Rule:
    """A rule on pairs across languages."""
    return Rule(setting, reason, explanation, family, measure, sides, _PARALLEL)


_LENGTH: Final = (
    Rule(
        "min_query_characters",
        "query_too_short",
        "The query has fewer characters than the minimum.",
        "text",
        "characters",
        _QUERY,
    ),
    Rule(
        "min_positive_characters",
        "positive_too_short",
        "The positive has fewer characters than the minimum.",
        "text",
        "characters",
        _POSITIVE,
    ),
    _passage(
        "min_passage_length",
        "positive_too_short",
        "The positive has fewer characters than the minimum, or than the minimum for its kind.",
        "text",
        measure="length",
    ),
    Rule(
        "max_query_characters",
        "query_too_long",
        "The query has more characters than the maximum.",
        "text",
        "characters",
        _QUERY,
    ),
    Rule(
        "max_positive_characters",
        "positive_too_long",
        "The positive has more characters than the maximum.",
        "text",
        "characters",
        _POSITIVE,
    ),
    _passage("min_words", "too_few_words", "The passage has fewer words than the minimum.", "text"),
    _passage("max_words", "too_many_words", "The passage has more words than the maximum.", "text"),
)

_CHARACTERS: Final = (
    Rule(
        "max_broken_share",
        "replacement_characters",
        "A side holds characters that a wrong decoding leaves (U+FFFD, control, private use).",
        "text",
        "broken_share",
    ),
    Rule(
        "max_mojibake_share",
        "mojibake",
        "A side holds text that was decoded with the wrong encoding.",
        "junk",
        "mojibake_share",
    ),
    Rule(
        "max_repeated_characters",
        "repeated_character",
        "A side repeats one character many times, as rulers and leaders do.",
        "text",
        "longest_run",
    ),
    Rule(
        "min_letter_share",
        "too_few_letters",
        "A side has too few letters among its visible characters.",
        "text",
        "letter_share",
    ),
    Rule(
        "max_digit_share",
        "too_many_digits",
        "A side consists of digits for too large a part.",
        "text",
        "digit_share",
    ),
    Rule(
        "max_symbol_share",
        "too_many_symbols",
        "A side consists of punctuation and symbols for too large a part.",
        "text",
        "symbol_share",
    ),
    Rule(
        "max_url_share",
        "too_many_urls",
        "A side consists of web addresses for too large a part.",
        "text",
        "url_share",
    ),
    Rule(
        "max_word_characters",
        "word_too_long",
        "A side holds a word too long to be one (encoded data, lost spaces).",
        "text",
        "longest_word",
    ),
    Rule(
        "max_capital_share",
        "too_many_capitals",
        "A side is written in capitals for too large a part.",
        "text",
        "upper_share",
    ),
)

_JUNK: Final = (
    Rule(
        "drop_placeholders",
        "placeholder",
        "A side is no text but a stand-in or a generic title (Untitled, Home, lorem ipsum).",
        "junk",
        "placeholder",
        kinds=_NOT_SYMMETRIC,  # "Home" is a fair translation of "Inicio"
    ),
    Rule(
        "drop_links_only",
        "links_only",
        "The positive is nothing but links.",
        "pair",
        "link_only",
        _PAIR,
    ),
    Rule(
        "max_listed_words",
        "listed_words",
        "A side holds more words of the lists that the recipe names than the maximum.",
        "junk",
        "listed_words",
    ),
    Rule(
        "personal_data",
        "personal_data",
        "A side holds personal data: e-mail or machine addresses, telephone numbers, or numbers of accounts, cards or"
        " identity papers.",
        "junk",
        judge=_personal_data,
    ),
)

_SIDES_ALIKE: Final = (
    Rule(
        "max_copied_share",
        "copy",
        "The positive is the query, upper and lower case apart.",
        "likeness",
        "copied_share",
        _PAIR,
        judge=_copied,
    ),
    Rule(
        "max_copied_share",
        "positive_repeats_query",
        "The positive is the query and little more.",
        "likeness",
        "copied_share",
        _PAIR,
        _NOT_SYMMETRIC,
    ),
    Rule(
        "drop_passages_in_query",
        "passage_in_query",
        "The passage stands whole in its query: nothing to find.",
        "pair",
        "positive_contained",
        _PAIR,
        PASSAGE_KINDS,
    ),
    Rule(
        "drop_queries_in_positive",
        "query_in_positive",
        "The query stands whole in its positive.",
        "pair",
        "query_contained",
        _PAIR,
    ),
    Rule(
        "min_query_overlap",
        "no_shared_words",
        "Too few of the query's words occur in the positive.",
        "pair",
        "query_overlap",
        _PAIR,
        _NOT_SYMMETRIC,
    ),
    Rule(
        "max_query_overlap",
        "query_only_repeated",
        "Too many of the query's words occur in the positive: nothing to learn.",
        "pair",
        "query_overlap",
        _PAIR,
        _NOT_SYMMETRIC,
    ),
    Rule(
        "max_length_ratio",
        "length_ratio",
        "One side is much longer than the other, in a pair that should say the same twice.",
        "likeness",
        "length_ratio",
        _PAIR,
        SYMMETRIC_KINDS,
    ),
)

_BITEXT: Final = (
    _parallel(
        "max_word_ratio", "length_ratio", "One side is much longer than the other, in words or length.", "word_ratio"
    ),
    _parallel("max_parallel_words", "too_many_words", "A side of a translation is too long.", "words", _EITHER, "text"),
    _parallel(
        "max_parallel_word_characters",
        "word_too_long",
        "A side holds a word too long to be one (encoded data, lost spaces).",
        "longest_word",
        _EITHER,
        "text",
    ),
    _parallel(
        "min_parallel_letter_share",
        "too_few_letters",
        "A side has too few letters among its visible characters.",
        "letter_share",
        _EITHER,
        "text",
    ),
    _parallel(
        "min_script_share",
        "other_script",
        "A side is not written in the script of the language that the corpus claims.",
        "script_share",
        _EITHER,
    ),
    _parallel(
        "min_numerals_agree",
        "numerals_disagree",
        "The two sides of a translation hold different numbers.",
        "numerals_agree",
    ),
    _parallel(
        "min_terminal_punctuation",
        "punctuation_disagrees",
        "The two sides of a translation end their sentences differently.",
        "terminal_punctuation",
    ),
    _parallel(
        "max_edit_similarity",
        "untranslated",
        "The two sides of a translation are nearly the same text.",
        "edit_similarity",
    ),
    _parallel(
        "max_common_substring",
        "untranslated",
        "The two sides of a translation are, for the most part, the same text.",
        "common_substring",
    ),
    _parallel(
        "max_repetition",
        "repetition",
        "A side of a translation repeats a part of itself.",
        "repetition",
    ),
    _parallel(
        "min_bitext_margin",
        "low_margin",
        "The score that the corpus came with says that the sides are no translation of each other.",
        "bitext_margin",
    ),
)

_LINES: Final = (
    _passage(
        "max_bullet_line_share", "bullet_lines", "Too many of the passage's lines are items of a list.", strictest=None
    ),
    _passage("max_ellipsis_line_share", "ellipsis_lines", "Too many of the passage's lines break off with dots."),
    _passage("min_terminal_line_share", "unfinished_lines", "Too few of the passage's lines end as sentences do."),
    _passage("max_short_line_share", "short_lines", "Too many of the passage's lines are short."),
    _passage("max_newline_word_share", "short_lines", "The passage has too many lines for its words, or short ones."),
    _passage("max_duplicate_line_share", "repeated_lines", "Too many of the passage's lines are there twice."),
    _passage(
        "max_duplicate_line_character_share",
        "repeated_lines",
        "Lines that are there twice make too much of the passage.",
    ),
    _passage(
        "max_duplicate_paragraph_share", "repeated_paragraphs", "Too many of the passage's paragraphs are there twice."
    ),
    _passage(
        "max_duplicate_paragraph_character_share",
        "repeated_paragraphs",
        "Paragraphs that are there twice make too much of the passage.",
    ),
)

_WORDS: Final = (
    _passage("min_mean_word_length", "word_length", "The passage's words are too short on the average.", strictest=4.0),
    _passage(
        "max_mean_word_length",
        "word_length",
        "The passage's words are too short or too long on the average.",
        strictest=7.0,
    ),
    _passage("max_hash_share", "hash_signs", "The passage has too many hash signs for its words."),
    _passage("max_ellipsis_share", "ellipses", "The passage breaks off too often for its words."),
    _passage(
        "min_alphabetic_word_share",
        "words_without_letters",
        "Too few of the passage's words hold a letter.",
        strictest=0.8,
    ),
    _passage("min_stop_words", "no_stop_words", "The passage has too few of the most frequent English words."),
    _passage(
        "max_capitalised_word_share",
        "capitalised_words",
        "Too many of the passage's words begin with a capital, as in menus and lists of titles.",
        strictest=0.3,
    ),
    _passage(
        "min_distinct_word_share", "repeated_words", "Too few of the passage's words are different ones.", strictest=0.5
    ),
    _passage(
        "min_word_order",
        "no_word_order",
        "The passage's words stand in no order that text has.",
        "order",
        strictest=-0.2,  # nearly all shuffled text is below, in every language (benchmarks/train_word_order.py)
    ),
    _passage(
        "max_sentence_end_words",
        "no_sentence_ends",
        "The passage's sentences have no ends for its words, as in menus and lists.",
        "order",
        strictest=50.0,
    ),
    _passage(
        "max_sentence_capitals",
        "capitalised_words",
        "Too many of the passage's words begin with a capital, as in menus and lists of titles.",
        "order",
        strictest=10.0,
    ),
    _passage(
        "max_letter_gap_share",
        "letter_gaps",
        "The passage has spaces where its script is written without, as in menus and lists.",
        "order",
        strictest=0.02,
    ),
)

_SENTENCES: Final = (
    _passage("min_sentences", "too_few_sentences", "The passage has fewer sentences than the minimum."),
    _passage(
        "min_kept_sentences",
        "too_few_sentences",
        "The passage has fewer sentences than the minimum.",
    ),
    _passage(
        "min_kept_sentences_any_end",
        "too_few_sentences",
        "The passage has fewer sentences than the minimum (C4: only those in lines that its rules keep count).",
    ),
    _passage(
        "min_sentence_mean_words",
        "sentence_length",
        "The passage's sentences are too short on the average.",
        strictest=8.0,
    ),
    _passage(
        "max_sentence_mean_words",
        "sentence_length",
        "The passage's sentences are too short or too long on the average, as where nothing ends a sentence.",
        strictest=40.0,
    ),
    _passage(
        "max_duplicate_sentence_share",
        "repeated_sentences",
        "Too many of the passage's sentences are there twice.",
        strictest=0.1,
    ),
)

_REPEATED_NGRAMS: Final = tuple(
    _passage(
        f"max_{measure}",
        "repeated_words",
        "The passage repeats a few words, or says the same words again and again.",
        strictest=strictest,
    )
    for measure, strictest in (
        ("top_2gram_share", 0.1),
        ("top_3gram_share", 0.1),
        ("top_4gram_share", 0.1),
        ("duplicate_5gram_share", 0.2),
        ("duplicate_6gram_share", 0.1),
        ("duplicate_7gram_share", 0.1),
        ("duplicate_8gram_share", 0.1),
        ("duplicate_9gram_share", 0.1),
        ("duplicate_10gram_share", 0.1),
    )
)

_PAGES: Final = (
    _passage("drop_lorem_ipsum", "lorem_ipsum", "The passage holds a printer's dummy text.", measure="lorem_ipsum"),
    _passage("max_curly_brackets", "curly_brackets", "The passage holds curly brackets, as programs do."),
    _passage("max_javascript_lines", "javascript", "The passage asks for JavaScript."),
    _passage("max_policy_lines", "policy", "The passage tells of cookies or terms of use."),
    _passage(
        "max_boilerplate_share",
        "boilerplate",
        "The passage consists of cookie lines, notices and the like for too large a part.",
        "junk",
        strictest=0.1,
    ),
    _passage(
        "max_list_separator_share",
        "list_separators",
        "The passage has too many signs that part the items of menus and tables.",
        strictest=0.05,
    ),
    _passage(
        "max_code_symbol_share",
        "code",
        "The passage has too many of the signs that programs are made of.",
        strictest=0.02,
    ),
    _passage(
        "max_passage_digit_share",
        "too_many_digits",
        "A side consists of digits for too large a part.",
        "text",
        measure="digit_share",
        strictest=0.1,
    ),
    _passage(
        "max_passage_symbol_share",
        "too_many_symbols",
        "A side consists of punctuation and symbols for too large a part.",
        "text",
        measure="symbol_share",
        strictest=0.1,
    ),
    _passage(
        "min_passage_letter_share",
        "too_few_letters",
        "A side has too few letters among its visible characters.",
        "text",
        measure="letter_share",
        strictest=0.8,
    ),
    _passage(
        "max_passage_capital_share",
        "too_many_capitals",
        "A side is written in capitals for too large a part.",
        "text",
        measure="upper_share",
        strictest=0.25,
    ),
    _passage(
        "max_passage_url_share",
        "too_many_urls",
        "A side consists of web addresses for too large a part.",
        "text",
        measure="url_share",
        strictest=0.25,
    ),
)

_LANGUAGES: Final = (
    Rule(
        "wrong_language_probability",
        "wrong_language_query",
        "The query is surely in another language than its corpus says.",
        "language",
        judge=language_rules.wrong_language("query"),
    ),
    Rule(
        "wrong_language_probability",
        "wrong_language_positive",
        "The positive is surely in another language than its corpus says.",
        "language",
        judge=language_rules.wrong_language("positive"),
    ),
    Rule(
        "agreement_probability",
        "languages_disagree",
        "The two sides are in different languages, in a pair that should be in one.",
        "language",
        judge=language_rules.disagree,
    ),
    Rule(
        "agreement_probability",
        "languages_agree",
        "Both sides are in one language, in a pair that should be of two.",
        "language",
        judge=language_rules.agree,
    ),
    Rule(
        "languages",
        "language_not_wanted",
        "A side is in a language that was not asked for.",
        "language",
        judge=language_rules.not_wanted,
    ),
    Rule(
        "min_language_probability",
        "low_language_probability",
        "Neither side is clearly in any language.",
        "language",
        judge=language_rules.unsure,
    ),
)

RULES: Final[tuple[Rule, ...]] = (
    *_LENGTH,
    *_CHARACTERS,
    *_JUNK,
    *_SIDES_ALIKE,
    *_BITEXT,
    *_LANGUAGES,
    *_LINES,
    *_WORDS,
    *_SENTENCES,
    *_REPEATED_NGRAMS,
    *_PAGES,
)

REASONS: Final[Mapping[str, str]] = {rule.reason: rule.explanation for rule in RULES}
CALIBRATABLE: Final = tuple(rule for rule in RULES if rule.strictest is not None)
