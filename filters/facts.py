"""What the rules look at: a batch's measurements as numpy columns, and the threshold of each row by its language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.calibration import CALIBRATED, load_calibration, lookup_keys
from filters.language import language_group
from sources.languages import UNKNOWN

if TYPE_CHECKING:
    from filters.settings import FilterSettings

Mask = NDArray[np.bool_]
Side = Literal["query", "positive", "pair"]
_OFF: Final = {"min": -np.inf, "drop": 0.0}  # the threshold that nothing fails, by the setting's beginning; else inf

_PARALLEL: Final = frozenset({"parallel"})
_GROUP_NUMBERS: Final = count()


class MissingMeasureError(ValueError):
    """A rule is switched on whose measurement is not among the columns. The message names both."""


@dataclass(frozen=True)
class Facts:
    """What a rule looks at. Columns come as numpy arrays [rows]; languages as groups, null where not judged."""

    measurements: pa.RecordBatch
    settings: "FilterSettings"
    kinds: pa.Array
    query_lang: pa.Array
    positive_lang: pa.Array

    def __getitem__(self, measure: str) -> NDArray[Any]:
        if measure not in self._arrays:
            self._arrays[measure] = self.column(measure).to_numpy(zero_copy_only=False)
        return self._arrays[measure]

    def column(self, measure: str) -> pa.Array:
        place = self.measurements.schema.get_field_index(measure)
        if place < 0:
            raise MissingMeasureError(
                f"The filter has a rule on `{measure}`, which was not measured. Measure with the same settings"
                f" (filters.measure), or switch the rule off. Measured: {', '.join(self.measurements.schema.names)}."
            )
        return self.measurements.column(place)

    def of_side(self, measure: str, side: Side) -> NDArray[Any]:
        return self[measure if side == "pair" else f"{side}_{measure}"]

    def of_kinds(self, kinds: frozenset[str]) -> Mask:
        if kinds not in self._kind_masks:
            self._kind_masks[kinds] = self._kinds.take([kind in kinds for kind in self._kinds.values], False)
        return self._kind_masks[kinds]

    @cached_property
    def claimed(self) -> Mapping[str, NDArray[Any]]:
        """The language group that the corpus claims, by side: its `group_number` [rows]."""
        return {side: each.group_numbers() for side, each in self._claimed.items()}

    @cached_property
    def measured(self) -> Mapping[str, NDArray[Any]]:
        """The language group that was measured, by side: its `group_number` [rows]; -1 where not judged."""
        for side in ("query", "positive"):
            self.column(f"{side}_language")  # or the error that says so
        return {side: each.group_numbers() for side, each in self._measured.items()}

    @cached_property
    def one_language(self) -> Mask:
        """Whether each pair is meant to be in one language: not parallel, and not of two known languages."""
        query, positive = self.claimed["query"], self.claimed["positive"]
        unknown = group_number(UNKNOWN)
        two = (query != positive) & (query != unknown) & (positive != unknown)
        one: Mask = ~(two | self.of_kinds(_PARALLEL))
        return one

    def limit(self, setting: str, side: Side) -> Any:
        """The threshold `setting` of each row, by the language of its side: a number, or numbers [rows].

        A row's language is what the corpus claims, else what was measured; it is looked up whole (zho_Hans), then as
        its group (zho), then as its script (Hans), else the setting's own value holds. A rule on both sides at once
        looks at the positive's. Where the rule is off for a language the threshold is one that nothing fails.
        """
        off = _OFF.get(setting.split("_", 1)[0], np.inf)
        value = getattr(self.settings, setting)
        if value != CALIBRATED and setting not in self.settings.overridden:
            return off if value is None else value
        text = "query" if side == "query" else "positive"
        languages, calibration = self._languages[text], self.settings.calibration
        if setting not in self.settings.overridden:
            numbers = [_calibrated(calibration, setting, code) for code in languages.values]
            return _numbers(numbers, off)[self._long_places[text]]
        found = [_override(self.settings.by_language, setting, code, value) for code in languages.values]
        taken = [each == CALIBRATED for each in found]
        given = _numbers([None if each == CALIBRATED else each for each in found], off)[languages.places]
        if not any(taken):
            return given
        numbers = [_calibrated(calibration, setting, code) for code in languages.values]
        return np.where(languages.take(taken, False), _numbers(numbers, off)[self._long_places[text]], given)

    def language(self, side: Side, row: int) -> str:
        """The language that a row's thresholds are looked up by; of both sides at once the positive's."""
        languages = self._languages["query" if side == "query" else "positive"]
        return str(languages.values[languages.places[row]])

    @cached_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {}

    @cached_property
    def _kind_masks(self) -> dict[frozenset[str], Mask]:
        return {}

    @cached_property
    def _kinds(self) -> "Encoded":
        return Encoded.of(self.kinds)

    @cached_property
    def _claimed(self) -> Mapping[str, "Encoded"]:
        return {"query": Encoded.of(self.query_lang), "positive": Encoded.of(self.positive_lang)}

    @cached_property
    def _measured(self) -> Mapping[str, "Encoded"]:
        names = self.measurements.schema.names
        sides = [side for side in ("query", "positive") if f"{side}_language" in names]
        return {side: Encoded.of(self.column(f"{side}_language")) for side in sides}

    @cached_property
    def _languages(self) -> Mapping[str, "Encoded"]:
        """Of each row the language that thresholds are looked up by, by side."""
        return {side: claimed.unless_unknown(self._measured.get(side)) for side, claimed in self._claimed.items()}

    @cached_property
    def _long_places(self) -> Mapping[str, NDArray[Any]]:
        """Which language each row has, by side; past the last where the text is shorter than those calibrated on."""
        shortest = load_calibration(self.settings.calibration).min_length
        return {
            side: np.where(self[f"{side}_length"] < shortest, len(each.values), each.places)
            for side, each in self._languages.items()
        }


@dataclass(frozen=True)
class Encoded:
    """A string column as its distinct values and the place of each row's among them, integers [rows]; -1 for null."""

    values: list[str]
    places: NDArray[Any]

    @classmethod
    def of(cls, column: pa.Array) -> "Encoded":
        encoded = column.dictionary_encode()
        return cls(encoded.dictionary.to_pylist(), pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False))

    def take(self, of_values: Sequence[Any], of_null: Any) -> NDArray[Any]:
        """What belongs to each row's value: [rows]."""
        rows: NDArray[Any] = np.array([*of_values, of_null])[self.places]  # -1 is the last
        return rows

    def group_numbers(self) -> NDArray[Any]:
        """`group_number` of each row's language group; -1 for null."""
        return self.take([group_number(language_group(code)) for code in self.values], -1)

    def unless_unknown(self, other: "Encoded | None") -> "Encoded":
        """The languages here, or those of the other column where they are unknown here."""
        if other is None or UNKNOWN not in self.values:
            return self
        unknown = self.values.index(UNKNOWN)
        there = np.where(other.places < 0, unknown, other.places + len(self.values))
        return Encoded([*self.values, *other.values], np.where(self.places == unknown, there, self.places))


@cache
def group_number(group: str) -> int:
    """A number for a language group, the same as long as the process lives."""
    return next(_GROUP_NUMBERS)


def row_languages(measurements: pa.RecordBatch, side: str, claimed: pa.Array) -> Encoded:
    """The languages of a side, claimed or else measured."""
    measured = f"{side}_language" in measurements.schema.names
    return Encoded.of(claimed).unless_unknown(Encoded.of(measurements[f"{side}_language"]) if measured else None)


def _numbers(found: Sequence[float | None], off: float) -> NDArray[np.float32]:
    """The numbers, off for None, and off once more at the end."""
    return np.array([*(off if number is None else number for number in found), off], np.float32)


@lru_cache(maxsize=65_536)
def _calibrated(calibration: str, setting: str, code: str) -> float | None:
    return load_calibration(calibration).threshold(setting, code)


def _override(by_language: Mapping[str, Mapping[str, Any]], setting: str, code: str, value: Any) -> Any:
    for key in lookup_keys(code):
        if setting in by_language.get(key, {}):
            return by_language[key][setting]
    return value
