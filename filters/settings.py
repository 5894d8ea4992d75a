"""What a user sets: thresholds, presets of them, and thresholds by language.

Neither the C-Pack nor the M3 paper states a length, language or quality threshold (C-MTP: "removes non-textual,
duplicated, and malicious content", section 3.2; M3: "filtered to remove potential bad contents", section 3.1). The
values of `c-mtp` and `bge-m3` are therefore ours: other tools' where they hold for three words in any script, else set
on clean corpora, of which they keep 99.5 to 100 % (Tatoeba, NTREX-128, NLLB-Seed, SQuAD, CMRC, JaQuAD, ARCD, Debian's
package descriptions), 98.7 % of Sardinian and 95.6 % of Tatoeba's Swahili, where lid.176 is weak; those that judge a
passage's style are `calibrated`: by language, from clean text (filters.calibration).

`gopher`, `c4` and `fineweb` have the values published for English web pages, `opus-basic` OpusFilter's defaults.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Final, Literal

import langcodes
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from filters.calibration import CALIBRATED
from filters.junk import JunkSettings
from filters.language import LanguageSettings, language_group
from filters.personal_data import PersonalDataSettings
from filters.rules import CALIBRATABLE, RULES, Family
from sources.languages import UNKNOWN, language_code

PresetName = Literal["none", "c-mtp", "bge-m3", "gopher", "c4", "fineweb", "opus-basic", "nllb"]

Share = Annotated[float, Field(ge=0, le=1)] | None
Count = Annotated[int, Field(ge=0)] | None
Length = Annotated[int, Field(ge=1)] | None
Number = Annotated[float, Field(ge=0)] | None


def _number_or_calibrated(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (value is None or value == CALIBRATED or number):
        raise ValueError("write a number, null, or `calibrated` to have it by language from the calibration")
    return value


def _not_negative(value: Any) -> Any:
    if isinstance(value, int | float) and value < 0:
        raise ValueError("write a number from 0 up, null, or `calibrated`")
    return value


LogOdds = Annotated[float | str | None, BeforeValidator(_number_or_calibrated)]
Calibrated = Annotated[LogOdds, AfterValidator(_not_negative)]


def _threshold(description: str) -> Any:
    return Field(default=None, description=description)


class FilterSettings(BaseModel):
    """The thresholds; null switches a rule off. `preset` sets all that are not given.

    Characters are code points; lengths are in Latin letters, a Han or kana letter counting three. Shares are of the
    visible characters of either side, if nothing else is said. A passage is the positive of a pair of a kind in
    filters.rules.PASSAGE_KINDS; a word is a letter in scripts written without spaces. Where a number can stand,
    `by_language` can set another for a language or script; "or calibrated" says that `calibrated` can stand too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: PresetName | tuple[PresetName, ...] = Field(
        default="none", description="where settings not given come from; of several, the later goes before the earlier"
    )
    calibration: str = Field(
        default="clean", description="where `calibrated` thresholds come from: a packaged calibration, or a file's path"
    )
    by_language: Mapping[str, Mapping[str, Any]] = Field(
        default={},
        description="thresholds that go before the others for a language (zho_Hans, zh) or script (Jpan), by its name",
    )

    min_query_characters: Length = _threshold("presets: 2, a Chinese title (ours)")
    min_positive_characters: Length = _threshold("presets: 2 (ours)")
    min_passage_length: Length = _threshold("of a passage, e.g. a body; presets: 30, half a line (ours)")
    max_query_characters: Length = _threshold(
        "presets: 4,000, about twice the 512 tokens both papers cut queries at (ours)"
    )
    max_positive_characters: Length = _threshold("presets: 190,000, as the C4 pipeline of TensorFlow Datasets")
    min_words: Count = _threshold("of a passage; gopher: 50 (Rae et al. 2021, A1.1)")
    max_words: Count = _threshold("of a passage; gopher: 100,000 (Rae et al. 2021, A1.1)")

    max_broken_share: Share = _threshold("U+FFFD, control and private-use characters; presets: 0.01 (ours)")
    max_mojibake_share: Share = _threshold("of all characters, read in a wrong encoding; presets: 0.02 (ours)")
    max_repeated_characters: Length = _threshold("longest run of one visible character; presets: 20 (ours)")
    min_letter_share: Share = _threshold(
        "letters and their marks; presets: 0.4 (ours; OpusFilter 0.75 of one alphabet)"
    )
    max_digit_share: Share = _threshold("presets: 0.5 (ours; NeMo Curator 0.15 for web pages, too strict for titles)")
    max_symbol_share: Share = _threshold("presets: 0.5 (ours; NeMo Curator 0.25 with white space, for web pages)")
    max_url_share: Share = _threshold("presets: 0.5 (ours; NeMo Curator 0.2, web pages)")
    max_word_characters: Length = _threshold("presets: 1,000, as C4 (Raffel et al. 2020)")
    max_capital_share: Share = _threshold("of the letters; off in the presets")

    drop_placeholders: bool | None = _threshold("Untitled, Home, lorem ipsum, in many languages; presets: true (ours)")
    drop_links_only: bool | None = _threshold("positives of nothing but links; presets: true (ours)")
    max_listed_words: Count = _threshold(
        "of the lists in junk.word_lists, of either side; presets: 0, as C4 (Raffel et al. 2020, 2.2)"
    )

    max_copied_share: Share = _threshold("of the positive, where it starts with the query; presets: 0.9 (ours)")
    drop_passages_in_query: bool | None = _threshold("passages that stand whole in their query; presets: true (ours)")
    drop_queries_in_positive: bool | None = _threshold("queries that stand whole in their positive; off in the presets")
    min_query_overlap: Share = _threshold("of the query's words, those in the positive; off in the presets")
    max_query_overlap: Share = _threshold("of the query's words, those in the positive; off in the presets")
    max_length_ratio: Annotated[float, Field(ge=1)] | None = _threshold(
        "longer side over shorter, of parallel and symmetric pairs; presets: 3, as OpusFilter"
    )

    max_word_ratio: Annotated[float, Field(ge=1)] | None = _threshold(
        "of parallel pairs, longer side over shorter in words; opus-basic: 3 (OpusFilter, LengthRatioFilter)"
    )
    max_parallel_words: Length = _threshold("of a side of parallel pairs; opus-basic: 100 (OpusFilter, LengthFilter)")
    max_parallel_word_characters: Length = _threshold("of parallel pairs; opus-basic: 40 (OpusFilter, LongWordFilter)")
    min_parallel_letter_share: Share = _threshold(
        "of parallel pairs; opus-basic: 0.75 (OpusFilter, AlphabetRatioFilter, there of all characters)"
    )
    min_script_share: Share = _threshold(
        "of the letters of parallel pairs, those in the script of the language claimed; opus-basic: 0.75 (ours;"
        " OpusFilter 1, which drops every foreign name)"
    )
    min_numerals_agree: Share = _threshold("of parallel pairs; opus-basic: 0.5 (OpusFilter, NonZeroNumeralsFilter)")
    min_terminal_punctuation: Annotated[float, Field(le=0)] | None = _threshold(
        "of parallel pairs; opus-basic: -2 (OpusFilter, TerminalPunctuationFilter; Vázquez et al. 2019)"
    )
    max_edit_similarity: Share = _threshold("of parallel pairs; opus-basic: 0.9 (OpusFilter, SimilarityFilter)")
    max_common_substring: Share = _threshold(
        "of parallel pairs; opus-basic: 0.9 (OpusFilter, LongestCommonSubstringFilter)"
    )
    max_repetition: Count = _threshold("of parallel pairs; opus-basic: 2 (OpusFilter, RepetitionFilter)")
    min_bitext_margin: Number = _threshold(
        "of parallel pairs that come with one; nllb: 1.06 (NLLB Team 2022; stopes' margin threshold)"
    )

    language: LanguageSettings = Field(default=LanguageSettings(), description="how languages are measured")
    languages: tuple[str, ...] | None = _threshold(
        "the only languages wanted, e.g. [zh, en]; scripts play no part; off in the presets"
    )
    wrong_language_probability: Share = _threshold(
        "how sure another language than the corpus claims must be; presets: 0.8 (ours, measured)"
    )
    agreement_probability: Share = _threshold(
        "how sure both sides' languages must be to be compared; presets: 0.8 (ours, measured)"
    )
    min_language_probability: Share = _threshold(
        "of the surer side; presets: 0.12, as lid.176 is of Sardinian (ours, measured; datatrove 0.65 for web pages)"
    )

    max_bullet_line_share: Share = _threshold("of a passage's lines; gopher: 0.9 (Rae et al. 2021, A1.1)")
    max_ellipsis_line_share: Share = _threshold("of a passage's lines; gopher: 0.3 (Rae et al. 2021, A1.1)")
    min_terminal_line_share: Share = _threshold("of a passage's lines; fineweb: 0.12 (Penedo et al. 2024, 3.6)")
    max_short_line_share: Share = _threshold(
        "of a passage's lines, those of at most 30 characters; fineweb: 0.67 (Penedo et al. 2024, 3.6)"
    )
    max_newline_word_share: Number = _threshold("line ends a word of a passage; fineweb: 0.3 (datatrove's code)")
    max_duplicate_line_share: Share = _threshold("of a passage's lines; gopher: 0.3 (Rae et al. 2021, table A1)")
    max_duplicate_line_character_share: Share = _threshold(
        "of a passage's characters; gopher: 0.2 (Rae et al. 2021, table A1), fineweb: 0.01 (Penedo et al. 2024, 3.6)"
    )
    max_duplicate_paragraph_share: Share = _threshold("of its paragraphs; gopher: 0.3 (Rae et al. 2021, table A1)")
    max_duplicate_paragraph_character_share: Share = _threshold(
        "of a passage's characters; gopher: 0.2 (Rae et al. 2021, table A1)"
    )

    min_mean_word_length: Calibrated = _threshold("of a passage, or calibrated; gopher: 3 (Rae et al. 2021, A1.1)")
    max_mean_word_length: Calibrated = _threshold("of a passage, or calibrated; gopher: 10 (Rae et al. 2021, A1.1)")
    max_hash_share: Number = _threshold("# a word of a passage; gopher: 0.1 (Rae et al. 2021, A1.1)")
    max_ellipsis_share: Number = _threshold("... a word of a passage; gopher: 0.1 (Rae et al. 2021, A1.1)")
    min_alphabetic_word_share: Calibrated = _threshold(
        "of a passage's words, or calibrated; gopher: 0.8 (Rae et al. 2021, A1.1)"
    )
    min_stop_words: Count = _threshold("English ones in a passage; gopher: 2 (Rae et al. 2021, A1.1)")
    max_capitalised_word_share: Calibrated = _threshold(
        "of a passage's cased words but the first of a sentence, or calibrated, as in c-mtp and bge-m3 (ours)"
    )
    min_distinct_word_share: Calibrated = _threshold(
        "of a passage's first 200 words, or calibrated, as in c-mtp and bge-m3 (ours)"
    )
    min_word_order: LogOdds = _threshold(
        "how much likelier a passage's order of words is than another, or calibrated, as in c-mtp and bge-m3 (ours)"
    )

    max_sentence_end_words: Calibrated = _threshold(
        "words of a passage for each end of a sentence, or calibrated, as in c-mtp and bge-m3 (ours)"
    )
    max_sentence_capitals: Calibrated = _threshold(
        "capitalised words within a passage's sentences for each end of one, or calibrated, as in c-mtp and bge-m3 (ours)"
    )
    max_letter_gap_share: Calibrated = _threshold(
        "spaces between letters of scripts without, or calibrated, as in c-mtp and bge-m3 (ours)"
    )
    min_sentences: Count = _threshold("of a passage; off in the presets")
    min_kept_sentences: Count = _threshold("in lines that C4's rules keep; c4: 5 (Raffel et al. 2020, first version)")
    min_kept_sentences_any_end: Count = _threshold(
        "the same, where lines need not end as sentences do (FineWeb's use of C4); off in the presets"
    )
    min_sentence_mean_words: Calibrated = _threshold("of a passage, or calibrated, as in c-mtp and bge-m3 (ours)")
    max_sentence_mean_words: Calibrated = _threshold("of a passage, or calibrated, as in c-mtp and bge-m3 (ours)")
    max_duplicate_sentence_share: Calibrated = _threshold("of a passage, or calibrated, as in c-mtp and bge-m3 (ours)")

    max_top_2gram_share: Calibrated = _threshold("of a passage, or calibrated; gopher: 0.2 (Rae et al. 2021, table A1)")
    max_top_3gram_share: Calibrated = _threshold("the same; gopher: 0.18")
    max_top_4gram_share: Calibrated = _threshold("the same; gopher: 0.16")
    max_duplicate_5gram_share: Calibrated = _threshold("the same; gopher: 0.15")
    max_duplicate_6gram_share: Calibrated = _threshold("the same; gopher: 0.14")
    max_duplicate_7gram_share: Calibrated = _threshold("the same; gopher: 0.13")
    max_duplicate_8gram_share: Calibrated = _threshold("the same; gopher: 0.12")
    max_duplicate_9gram_share: Calibrated = _threshold("the same; gopher: 0.11")
    max_duplicate_10gram_share: Calibrated = _threshold("the same; gopher: 0.1")

    drop_lorem_ipsum: bool | None = _threshold("passages that hold it; c4: true (Raffel et al. 2020, 2.2)")
    max_curly_brackets: Count = _threshold("in a passage; c4: 0 (Raffel et al. 2020, 2.2)")
    max_javascript_lines: Count = _threshold("in a passage; off in the presets (C4 drops the lines)")
    max_policy_lines: Count = _threshold("in a passage; off in the presets (C4 drops the lines)")
    max_boilerplate_share: Calibrated = _threshold("of a passage, or calibrated, as in c-mtp and bge-m3 (ours)")
    max_list_separator_share: Calibrated = _threshold("of a passage, or calibrated, as in c-mtp and bge-m3 (ours)")
    max_code_symbol_share: Calibrated = _threshold("of a passage, or calibrated, as in c-mtp and bge-m3 (ours)")
    max_passage_digit_share: Calibrated = _threshold("of a passage, or calibrated, as in c-mtp and bge-m3 (ours)")
    max_passage_symbol_share: Calibrated = _threshold("of a passage, or calibrated, as in c-mtp and bge-m3 (ours)")
    min_passage_letter_share: Calibrated = _threshold("of a passage, or calibrated, as in c-mtp and bge-m3 (ours)")
    max_passage_capital_share: Calibrated = _threshold("of a passage, or calibrated, as in c-mtp and bge-m3 (ours)")
    max_passage_url_share: Calibrated = _threshold("of a passage, or calibrated, as in c-mtp and bge-m3 (ours)")

    junk: JunkSettings = Field(default=JunkSettings(), description="lists of words and phrases, by path")
    personal_data: PersonalDataSettings = Field(
        default=PersonalDataSettings(), description="keep, mask or drop e-mail addresses, telephone numbers and such"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        named = given.get("preset", "none")
        filled: dict[str, Any] = {}
        for name in named if isinstance(named, list | tuple) else (named,):
            if str(name) not in PRESETS:
                raise ValueError(f"there is no preset {name!r}; known are {', '.join(PRESETS)}")
            filled |= PRESETS[str(name)]
        return {**filled, **given}

    @model_validator(mode="after")
    def _check_languages(self) -> "FilterSettings":
        for key, thresholds in self.by_language.items():
            for name, value in thresholds.items():
                self._check_override(key, name, value)
        if any(key != _language_key(key) for key in self.by_language):
            by_key: dict[str, dict[str, Any]] = {}
            for key, thresholds in self.by_language.items():
                by_key.setdefault(_language_key(key), {}).update(thresholds)
            object.__setattr__(self, "by_language", by_key)
        return self

    @model_validator(mode="after")
    def _check_word_lists(self) -> "FilterSettings":
        # An explicit null is meant: the lists may stay in the recipe.
        silent = "max_listed_words" not in self.model_fields_set and "max_listed_words" not in self.overridden
        if self.junk.word_lists and silent:
            raise ValueError(
                f"junk.word_lists names {', '.join(self.junk.word_lists)}, but no rule looks at listed words: set"
                " max_listed_words, e.g. to 0, or take a preset that does (c-mtp, bge-m3)"
            )
        return self

    def _check_override(self, key: str, name: str, value: Any) -> None:
        if name not in BY_LANGUAGE:
            raise ValueError(f"by_language.{key}: `{name}` is no threshold; known are {', '.join(BY_LANGUAGE)}")
        try:
            type(self).model_validate({name: value})
        except ValidationError as error:
            raise ValueError(f"by_language.{key}.{name}: {error.errors()[0]['msg']} (found {value!r})") from None

    @cached_property
    def overridden(self) -> frozenset[str]:
        """The settings that some language has another value of."""
        return frozenset(name for thresholds in self.by_language.values() for name in thresholds)

    @cached_property
    def active(self) -> tuple[int, ...]:
        """The places in RULES of the rules that are switched on."""
        return tuple(number for number, rule in enumerate(RULES) if self._is_on(rule.setting))

    def _is_on(self, setting: str) -> bool:
        """Whether a rule has a threshold, for some language at least."""
        if setting == "personal_data":
            return self.personal_data.action == "drop"
        values = [getattr(self, setting), *(each.get(setting) for each in self.by_language.values())]
        return any(value is not None and value is not False for value in values)

    def families(self) -> frozenset[Family]:
        """Which families of measurements the rules that are switched on need."""
        rules = [RULES[number] for number in self.active]
        families: set[Family] = {rule.family for rule in rules}
        if any(self.is_calibrated(rule.setting) for rule in rules):
            families |= {"text", "language"}  # short passages are not held against a calibration
        if any(rule.setting in self.overridden for rule in rules):
            families.add("language")  # thresholds by language are looked up by it where the corpus says none
        return frozenset(families)

    def is_calibrated(self, setting: str) -> bool:
        """Whether a threshold comes from the calibration, for some language at least."""
        values = [getattr(self, setting), *(each.get(setting) for each in self.by_language.values())]
        return CALIBRATED in values


BY_LANGUAGE: Final = tuple(
    dict.fromkeys(rule.setting for rule in RULES if rule.setting not in ("languages", "personal_data"))
)


def _language_key(name: str) -> str:
    """How thresholds by language are looked up: zho_Hans for itself, zho for zh, zho and cmn, Jpan for itself."""
    if len(name) == 4 and name.istitle():
        if langcodes.tag_is_valid(f"und-{name}"):
            return name
    elif (code := language_code(name)) != UNKNOWN:
        return code if "_" in name or "-" in name else language_group(code)
    raise ValueError(f"by_language: {name!r} names no language and no script; write e.g. zho_Hans, zh or Jpan")


_CALIBRATED_RULES: Final = (
    "max_capitalised_word_share",
    "min_distinct_word_share",
    "max_mean_word_length",
    "min_alphabetic_word_share",
    "min_word_order",
    "max_sentence_end_words",
    "max_sentence_capitals",
    "max_letter_gap_share",
    "max_sentence_mean_words",
    "max_duplicate_sentence_share",
    "max_duplicate_5gram_share",
    "max_boilerplate_share",
    "max_list_separator_share",
    "max_code_symbol_share",
    "max_passage_digit_share",
    "max_passage_symbol_share",
    "max_passage_capital_share",
    "max_passage_url_share",
)
# The two papers clean alike as far as they say, so one set of values serves both. C-MTP has no pairs across languages:
# what M3 adds, the rules on those, finds none to look at there.
_OURS: Final[Mapping[str, Any]] = {
    "min_query_characters": 2,
    "min_positive_characters": 2,
    "min_passage_length": 30,
    "max_query_characters": 4_000,
    "max_positive_characters": 190_000,
    "max_broken_share": 0.01,
    "max_mojibake_share": 0.02,
    "max_repeated_characters": 20,
    "min_letter_share": 0.4,
    "max_digit_share": 0.5,
    "max_symbol_share": 0.5,
    "max_url_share": 0.5,
    "max_word_characters": 1_000,
    "drop_placeholders": True,
    "drop_links_only": True,
    "max_listed_words": 0,
    "max_copied_share": 0.9,
    "drop_passages_in_query": True,
    "max_length_ratio": 3.0,
    "wrong_language_probability": 0.8,
    "agreement_probability": 0.8,
    "min_language_probability": 0.12,
    **dict.fromkeys(_CALIBRATED_RULES, CALIBRATED),
}
_GOPHER: Final[Mapping[str, Any]] = {
    "min_words": 50,
    "max_words": 100_000,
    "min_mean_word_length": 3,
    "max_mean_word_length": 10,
    "max_hash_share": 0.1,
    "max_ellipsis_share": 0.1,
    "max_bullet_line_share": 0.9,
    "max_ellipsis_line_share": 0.3,
    "min_alphabetic_word_share": 0.8,
    "min_stop_words": 2,
    "max_duplicate_line_share": 0.3,
    "max_duplicate_paragraph_share": 0.3,
    "max_duplicate_line_character_share": 0.2,
    "max_duplicate_paragraph_character_share": 0.2,
    "max_top_2gram_share": 0.2,
    "max_top_3gram_share": 0.18,
    "max_top_4gram_share": 0.16,
    "max_duplicate_5gram_share": 0.15,
    "max_duplicate_6gram_share": 0.14,
    "max_duplicate_7gram_share": 0.13,
    "max_duplicate_8gram_share": 0.12,
    "max_duplicate_9gram_share": 0.11,
    "max_duplicate_10gram_share": 0.1,
}
_OPUS_BASIC: Final[Mapping[str, Any]] = {
    "max_word_ratio": 3.0,
    "max_parallel_words": 100,
    "max_parallel_word_characters": 40,
    "min_parallel_letter_share": 0.75,
    "min_script_share": 0.75,
    "min_numerals_agree": 0.5,
    "min_terminal_punctuation": -2.0,
    "max_edit_similarity": 0.9,
    "max_common_substring": 0.9,
    "max_repetition": 2,
    "wrong_language_probability": 0.8,
}
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "none": {},
    "c-mtp": _OURS,
    "bge-m3": _OURS,
    "gopher": _GOPHER,
    "c4": {"min_kept_sentences": 5, "drop_lorem_ipsum": True, "max_curly_brackets": 0},
    "fineweb": {
        "min_terminal_line_share": 0.12,
        "max_short_line_share": 0.67,
        "max_newline_word_share": 0.3,
        "max_duplicate_line_character_share": 0.01,
    },
    "opus-basic": _OPUS_BASIC,
    "nllb": {"min_bitext_margin": 1.06},
}
assert {rule.setting for rule in CALIBRATABLE} >= set(_CALIBRATED_RULES)
