"""Turns measurements and thresholds into a reason for each pair: null = keep, else the name of the first rule it fails.

Nothing is measured here: other thresholds decide again on the same columns. RULES is the order; REASONS explains each
name for the report.

Neither the C-Pack nor the M3 paper states a length, language or quality threshold (C-MTP: "removes non-textual,
duplicated, and malicious content", section 3.2; M3: "filtered to remove potential bad contents", section 3.1). The
values of the presets are therefore ours: other tools' where they hold for three words in any script, else set on clean
corpora, of which they keep 99.5 to 100 % (Tatoeba, NTREX-128, NLLB-Seed, SQuAD, CMRC, JaQuAD, ARCD, Debian's package
descriptions), 98.7 % of Sardinian and 95.6 % of Tatoeba's Swahili, where lid.176 is weak.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from filters.language import LanguageSettings, language_group, language_groups, one_language
from sources.languages import UNKNOWN, language_code
from sources.schema import SYMMETRIC_KINDS

Mask = NDArray[np.bool_]
Family = Literal["text", "likeness", "language"]

# Kinds whose positive is a passage: a few words there are a failed extraction, not a short answer or title.
PASSAGE_KINDS: Final = frozenset(
    {"title_body", "subtitle_passage", "title_abstract", "question_context", "summary_body", "synthetic_longdoc"}
)


class MissingMeasureError(ValueError):
    """A rule is switched on whose measurement is not among the columns. The message names both."""


class FilterSettings(BaseModel):
    """The thresholds; null switches a rule off. `preset` sets all that are not given.

    Characters are code points; lengths are in Latin letters, a Han or kana letter counting three. Shares are of the
    visible characters of either side, if nothing else is said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["none", "c-mtp", "bge-m3"] = Field(default="none", description="where settings not given come from")
    min_query_characters: int | None = Field(default=None, ge=1, description="presets: 2, a Chinese title (ours)")
    min_positive_characters: int | None = Field(default=None, ge=1, description="presets: 2 (ours)")
    min_passage_length: int | None = Field(
        default=None, ge=1, description="of positives that are passages, e.g. bodies; presets: 30, half a line (ours)"
    )
    max_query_characters: int | None = Field(
        default=None, ge=1, description="presets: 4,000, about twice the 512 tokens both papers cut queries at (ours)"
    )
    max_positive_characters: int | None = Field(
        default=None, ge=1, description="presets: 190,000, as the C4 pipeline of TensorFlow Datasets"
    )
    max_broken_share: float | None = Field(
        default=None, ge=0, le=1, description="U+FFFD, control and private-use characters; presets: 0.01 (ours)"
    )
    max_repeated_characters: int | None = Field(
        default=None, ge=1, description="longest run of one visible character; presets: 20 (ours)"
    )
    min_letter_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="letters and their marks; presets: 0.4 (ours; OpusFilter 0.75 of one alphabet)",
    )
    max_digit_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="presets: 0.5 (ours; NeMo Curator 0.15 for web pages, too strict for titles)",
    )
    max_symbol_share: float | None = Field(
        default=None, ge=0, le=1, description="presets: 0.5 (ours; NeMo Curator 0.25 with white space, for web pages)"
    )
    max_url_share: float | None = Field(
        default=None, ge=0, le=1, description="presets: 0.5 (ours; NeMo Curator 0.2, web pages)"
    )
    max_word_characters: int | None = Field(
        default=None, ge=1, description="presets: 1,000, as C4 (Raffel et al. 2020)"
    )
    max_capital_share: float | None = Field(default=None, ge=0, le=1, description="of the letters; off in the presets")
    max_copied_share: float | None = Field(
        default=None, ge=0, le=1, description="of the positive, where it starts with the query; presets: 0.9 (ours)"
    )
    max_length_ratio: float | None = Field(
        default=None,
        ge=1,
        description="longer side over shorter, of parallel and symmetric pairs; presets: 3, as OpusFilter",
    )
    language: LanguageSettings = Field(default=LanguageSettings(), description="how languages are measured")
    languages: tuple[str, ...] | None = Field(
        default=None, description="the only languages wanted, e.g. [zh, en]; scripts play no part; off in the presets"
    )
    wrong_language_probability: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="how sure another language than the corpus claims must be; presets: 0.8 (ours, measured)",
    )
    agreement_probability: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="how sure both sides' languages must be to be compared; presets: 0.8 (ours, measured)",
    )
    min_language_probability: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="of the surer side; presets: 0.3 (ours, measured; datatrove 0.65 for web pages)",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {**PRESETS.get(str(given.get("preset", "none")), {}), **given}

    def families(self) -> frozenset[Family]:
        """Which families of measurements the rules that are switched on need."""
        return frozenset(family for name, family in _FAMILY_OF.items() if getattr(self, name) is not None)


_TEXT_RULES: Final[Mapping[str, Any]] = {
    "min_query_characters": 2,
    "min_positive_characters": 2,
    "min_passage_length": 30,
    "max_query_characters": 4_000,
    "max_positive_characters": 190_000,
    "max_broken_share": 0.01,
    "max_repeated_characters": 20,
    "min_letter_share": 0.4,
    "max_digit_share": 0.5,
    "max_symbol_share": 0.5,
    "max_url_share": 0.5,
    "max_word_characters": 1_000,
    "max_capital_share": None,
}
_LIKENESS_RULES: Final[Mapping[str, Any]] = {"max_copied_share": 0.9, "max_length_ratio": 3.0}
_LANGUAGE_RULES: Final[Mapping[str, Any]] = {
    "wrong_language_probability": 0.8,
    "agreement_probability": 0.8,
    "min_language_probability": 0.3,
    "languages": None,
}
_FAMILY_OF: Final[Mapping[str, Family]] = {
    **dict.fromkeys(_TEXT_RULES, "text"),
    **dict.fromkeys(_LIKENESS_RULES, "likeness"),
    **dict.fromkeys(_LANGUAGE_RULES, "language"),
}
# The two papers clean alike as far as they say, so one set of values serves both. C-MTP has no pairs across languages:
# what M3 adds, the rules on those, finds none to look at there.
_BOTH: Final = {**_TEXT_RULES, **_LIKENESS_RULES, **_LANGUAGE_RULES}
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {"none": {}, "c-mtp": _BOTH, "bge-m3": _BOTH}


@dataclass(frozen=True)
class Facts:
    """What a rule looks at. Columns come as numpy arrays [rows]; languages as groups, null where not judged."""

    measurements: pa.RecordBatch
    settings: FilterSettings
    kinds: pa.Array
    query_lang: pa.Array
    positive_lang: pa.Array

    def __getitem__(self, measure: str) -> NDArray[Any]:
        return self.column(measure).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    def column(self, measure: str) -> pa.Array:
        if measure not in self.measurements.schema.names:
            raise MissingMeasureError(
                f"The filter has a rule on `{measure}`, which was not measured. Measure with the same settings"
                f" (filters.measure), or switch the rule off. Measured: {', '.join(self.measurements.schema.names)}."
            )
        return self.measurements[measure]

    def either(self, measure: str, fails: Callable[[NDArray[Any]], Mask]) -> Mask:
        return fails(self[f"query_{measure}"]) | fails(self[f"positive_{measure}"])

    def of_kinds(self, kinds: frozenset[str]) -> Mask:
        return _mask(pc.is_in(self.kinds, pa.array(sorted(kinds))))

    def language(self, side: str) -> pa.Array:
        return language_groups(self.column(f"{side}_language"))

    def sure(self, side: str, probability: float) -> Mask:
        return self[f"{side}_language_probability"] >= probability  # not judged: NaN, not sure

    def one_language(self) -> Mask:
        return one_language(self.kinds, self.query_lang, self.positive_lang)


@dataclass(frozen=True)
class Rule:
    reason: str
    explanation: str
    threshold: str  # the setting that switches it on
    fails: Callable[[Facts, Any], Mask]  # of the facts and the threshold


def decide(
    measurements: pa.RecordBatch,
    settings: FilterSettings,
    kinds: pa.Array,
    query_lang: pa.Array,
    positive_lang: pa.Array,
) -> pa.Array:
    """The reason each pair is dropped for, as a string array [rows]; null = keep.

    `measurements` are the columns of filters.measure; the others are the PAIR columns. The first rule of RULES that a
    pair fails names the reason. Raises MissingMeasureError where a rule's measurement is missing.
    """
    facts = Facts(measurements, settings, kinds, query_lang, positive_lang)
    first = np.full(len(kinds), -1, np.int32)
    for number, rule in enumerate(RULES):
        threshold = getattr(settings, rule.threshold)
        if threshold is not None:
            first[(first < 0) & rule.fails(facts, threshold)] = number
    names = pa.array([rule.reason for rule in RULES], pa.string())
    return names.take(pa.array(first, mask=first < 0))


def _mask(values: pa.Array) -> Mask:
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _too_short(facts: Facts, minimum: int) -> Mask:
    short: Mask = facts["positive_length"] < minimum
    return short & facts.of_kinds(PASSAGE_KINDS)


def _wrong_language(side: str) -> Callable[[Facts, float], Mask]:
    def fails(facts: Facts, probability: float) -> Mask:
        claimed = language_groups(facts.query_lang if side == "query" else facts.positive_lang)
        wrong = pc.and_(pc.not_equal(claimed, facts.language(side)), pc.not_equal(claimed, UNKNOWN))
        return _mask(wrong) & facts.sure(side, probability)

    return fails


def _same_language(facts: Facts, probability: float) -> tuple[Mask, Mask]:
    """Whether the sides are in one language, and whether both are sure."""
    same = _mask(pc.equal(facts.language("query"), facts.language("positive")))
    return same, facts.sure("query", probability) & facts.sure("positive", probability)


def _disagree(facts: Facts, probability: float) -> Mask:
    same, sure = _same_language(facts, probability)
    return facts.one_language() & sure & ~same


def _agree(facts: Facts, probability: float) -> Mask:
    same, sure = _same_language(facts, probability)
    claimed_alike = _mask(pc.equal(language_groups(facts.query_lang), language_groups(facts.positive_lang)))
    claims = _mask(pc.not_equal(facts.query_lang, UNKNOWN))
    # A corpus may well pair Croatian with Serbian: what one group holds, agreement cannot tell apart.
    return ~facts.one_language() & sure & same & ~(claimed_alike & claims)


def _not_wanted(facts: Facts, wanted: tuple[str, ...]) -> Mask:
    groups = pa.array(sorted({language_group(language_code(code)) for code in wanted} | {UNKNOWN}))
    unwanted = np.zeros(len(facts.kinds), np.bool_)
    for side, claimed in (("query", facts.query_lang), ("positive", facts.positive_lang)):
        language = pc.if_else(pc.equal(claimed, UNKNOWN), facts.language(side), language_groups(claimed))
        unwanted |= ~_mask(pc.is_in(pc.fill_null(language, UNKNOWN), groups))
    return unwanted


def _unsure(facts: Facts, minimum: float) -> Mask:
    surer = np.fmax(facts["query_language_probability"], facts["positive_language_probability"])
    unsure: Mask = surer < minimum
    return unsure


RULES: Final = (
    Rule(
        "query_too_short",
        "The query has fewer characters than the minimum.",
        "min_query_characters",
        lambda facts, minimum: facts["query_characters"] < minimum,
    ),
    Rule(
        "positive_too_short",
        "The positive has fewer characters than the minimum.",
        "min_positive_characters",
        lambda facts, minimum: facts["positive_characters"] < minimum,
    ),
    Rule(
        "positive_too_short",
        "The positive has fewer characters than the minimum for its kind.",
        "min_passage_length",
        _too_short,
    ),
    Rule(
        "query_too_long",
        "The query has more characters than the maximum.",
        "max_query_characters",
        lambda facts, maximum: facts["query_characters"] > maximum,
    ),
    Rule(
        "positive_too_long",
        "The positive has more characters than the maximum.",
        "max_positive_characters",
        lambda facts, maximum: facts["positive_characters"] > maximum,
    ),
    Rule(
        "replacement_characters",
        "A side holds characters that a wrong decoding leaves (U+FFFD, control, private use).",
        "max_broken_share",
        lambda facts, maximum: facts.either("broken_share", lambda share: share > maximum),
    ),
    Rule(
        "repeated_character",
        "A side repeats one character many times, as rulers and leaders do.",
        "max_repeated_characters",
        lambda facts, maximum: facts.either("longest_run", lambda run: run > maximum),
    ),
    Rule(
        "too_few_letters",
        "A side has too few letters among its visible characters.",
        "min_letter_share",
        lambda facts, minimum: facts.either("letter_share", lambda share: share < minimum),
    ),
    Rule(
        "too_many_digits",
        "A side consists of digits for too large a part.",
        "max_digit_share",
        lambda facts, maximum: facts.either("digit_share", lambda share: share > maximum),
    ),
    Rule(
        "too_many_symbols",
        "A side consists of punctuation and symbols for too large a part.",
        "max_symbol_share",
        lambda facts, maximum: facts.either("symbol_share", lambda share: share > maximum),
    ),
    Rule(
        "too_many_urls",
        "A side consists of web addresses for too large a part.",
        "max_url_share",
        lambda facts, maximum: facts.either("url_share", lambda share: share > maximum),
    ),
    Rule(
        "word_too_long",
        "A side holds a word too long to be one (encoded data, lost spaces).",
        "max_word_characters",
        lambda facts, maximum: facts.either("longest_word", lambda length: length > maximum),
    ),
    Rule(
        "too_many_capitals",
        "A side is written in capitals for too large a part.",
        "max_capital_share",
        lambda facts, maximum: facts.either("upper_share", lambda share: share > maximum),
    ),
    Rule(
        "copy",
        "The positive is the query, upper and lower case apart.",
        "max_copied_share",
        lambda facts, maximum: facts["copied_share"] >= 1,
    ),
    Rule(
        "positive_repeats_query",
        "The positive is the query and little more.",
        "max_copied_share",
        lambda facts, maximum: (facts["copied_share"] > maximum) & ~facts.of_kinds(SYMMETRIC_KINDS),
    ),
    Rule(
        "length_ratio",
        "One side is much longer than the other, in a pair that should say the same twice.",
        "max_length_ratio",
        lambda facts, maximum: (facts["length_ratio"] > maximum) & facts.of_kinds(SYMMETRIC_KINDS),
    ),
    Rule(
        "wrong_language_query",
        "The query is surely in another language than its corpus says.",
        "wrong_language_probability",
        _wrong_language("query"),
    ),
    Rule(
        "wrong_language_positive",
        "The positive is surely in another language than its corpus says.",
        "wrong_language_probability",
        _wrong_language("positive"),
    ),
    Rule(
        "languages_disagree",
        "The two sides are in different languages, in a pair that should be in one.",
        "agreement_probability",
        _disagree,
    ),
    Rule(
        "languages_agree",
        "Both sides are in one language, in a pair that should be of two.",
        "agreement_probability",
        _agree,
    ),
    Rule(
        "language_not_wanted",
        "A side is in a language that was not asked for.",
        "languages",
        _not_wanted,
    ),
    Rule(
        "low_language_probability",
        "Neither side is clearly in any language.",
        "min_language_probability",
        _unsure,
    ),
)

REASONS: Final[Mapping[str, str]] = {rule.reason: rule.explanation for rule in RULES}
