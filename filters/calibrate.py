"""Thresholds from clean text: of each language and rule the quantile that lets a wanted share of the texts pass.

FineWeb-2 (Penedo et al. 2025, section 4.3) sets thresholds by language from quantiles of reference text. Here all rules
of a language get one and the same share of texts to drop, the largest with which `keep` of the texts pass all of them
together.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from filters.calibration import ANY, CALIBRATED, Calibration, CalibrationError, calibration_key
from filters.facts import Mask
from filters.rules import CALIBRATABLE, Rule
from filters.settings import FilterSettings

_DIGITS: Final = 4  # significant digits of a threshold: readable, and no text's own value


@dataclass(frozen=True)
class CleanTexts:
    """What calibration looks at: the language of each text, its length, and its values by setting: float32 [texts]."""

    languages: Sequence[str]
    lengths: NDArray[Any]
    values: Mapping[str, NDArray[np.float32]]

    def at(self, rows: Mask) -> "CleanTexts":
        languages = [language for language, wanted in zip(self.languages, rows.tolist(), strict=True) if wanted]
        return CleanTexts(languages, self.lengths[rows], {name: each[rows] for name, each in self.values.items()})


def rules_to_calibrate(settings: FilterSettings) -> tuple[Rule, ...]:
    """The rules whose threshold is `calibrated` in these settings. Raises CalibrationError where none is."""
    rules = tuple(rule for rule in CALIBRATABLE if getattr(settings, rule.setting) == CALIBRATED)
    if not rules:
        raise CalibrationError(
            "No threshold of these settings is `calibrated`, so there is nothing to calibrate. Take the preset c-mtp or"
            " bge-m3, or set those you want: --set max_passage_digit_share=calibrated."
        )
    return rules


def calibrate(
    texts: CleanTexts, settings: FilterSettings, *, keep: float = 0.95, min_texts: int = 200, min_length: int = 100
) -> Calibration:
    """Thresholds for every language with at least `min_texts` texts, for every script, and for any other language.

    Texts of fewer than `min_length` Latin letters (a Han letter counts three) are left out. The languages of a script
    that have too few texts are taken together; a script has the mildest thresholds of all its languages, and `others` the
    mildest of all. The same texts in another order give the same calibration. Raises CalibrationError where no language
    and no script has enough texts.
    """
    rules = rules_to_calibrate(settings)
    texts = texts.at(texts.lengths >= min_length)
    keys = np.array([calibration_key(code) for code in texts.languages], np.str_)
    names, counts = np.unique(keys, return_counts=True)
    count = dict(zip(names.tolist(), counts.tolist(), strict=True))
    few = {name: _script(name) for name in names.tolist() if count[name] < min_texts}
    groups = np.array([few.get(key, key) for key in keys.tolist()], np.str_)
    thresholds: dict[str, dict[str, float]] = {}
    kept: dict[str, float] = {}
    for name in np.unique(groups).tolist():
        rows = groups == name
        if rows.sum() >= min_texts:
            thresholds[name], kept[name] = _quantiles(texts.at(rows), rules, keep)
    if not thresholds:
        raise CalibrationError(
            f"No language has {min_texts} clean texts of at least {min_length} letters; found"
            f" {', '.join(f'{name}: {number}' for name, number in count.items()) or 'none at all'}. Give more texts, ask"
            " for fewer with --min-texts, or name the field that holds them with --positive-field."
        )
    _add_scripts(thresholds, rules)
    return Calibration(
        keep=keep, min_length=min_length, texts=count, kept=kept, thresholds=dict(sorted(thresholds.items()))
    )


def _quantiles(texts: CleanTexts, rules: Sequence[Rule], keep: float) -> tuple[dict[str, float], float]:
    """The threshold of each rule, and the share of the texts that passes all."""
    total = len(texts.languages)
    worse = {rule.setting: _worse(texts.values[rule.setting], rule) for rule in rules}
    ordered = {name: np.sort(values)[::-1] for name, values in worse.items()}

    def limits(dropped: int) -> dict[str, float]:
        """With which no rule drops more than so many texts; no limit on what was measured of no text."""
        return {
            rule.setting: max(
                _rounded_up(float(ordered[rule.setting][dropped])), _sign(rule) * float(rule.strictest or 0)
            )
            for rule in rules
            if np.isfinite(ordered[rule.setting][0])
        }

    def passing(limits: Mapping[str, float]) -> int:
        failed = np.zeros(total, np.bool_)
        for name, limit in limits.items():
            failed |= worse[name] > np.float32(limit)
        return total - int(failed.sum())

    to_keep = math.ceil(keep * total - 1e-6)  # 0.7 * 10 is 7, whatever binary fractions make of it
    fewest, most = 0, min(total - to_keep, total - 1)
    while fewest < most:
        middle = (fewest + most + 1) // 2
        if passing(limits(middle)) >= to_keep:
            fewest = middle
        else:
            most = middle - 1
    chosen = limits(fewest)
    signs = {rule.setting: _sign(rule) for rule in rules}
    thresholds = {name: signs[name] * limit for name, limit in chosen.items() if math.isfinite(limit)}
    return thresholds, round(passing(chosen) / total, 4)


def _add_scripts(thresholds: dict[str, dict[str, float]], rules: Sequence[Rule]) -> None:
    languages = [name for name in thresholds if "_" in name]
    for script in sorted({_script(name) for name in languages} - {ANY}):
        members = [thresholds[name] for name in (*languages, script) if name in thresholds and _script(name) == script]
        thresholds[script] = _mildest(members, rules)
    thresholds[ANY] = _mildest(list(thresholds.values()), rules)


def _mildest(members: Sequence[Mapping[str, float]], rules: Sequence[Rule]) -> dict[str, float]:
    found = {rule.setting: [member[rule.setting] for member in members if rule.setting in member] for rule in rules}
    return {
        rule.setting: (min if rule.drops == "below" else max)(found[rule.setting])
        for rule in rules
        if found[rule.setting]
    }


def _script(key: str) -> str:
    """Latn of deu_Latn and of Latn; `others` of what has no script."""
    script = key.rpartition("_")[2]
    return script if len(script) == 4 and script.istitle() else ANY


def _sign(rule: Rule) -> float:
    return -1.0 if rule.drops == "below" else 1.0


def _worse(values: Any, rule: Rule) -> Any:
    """The values turned so that higher is worse; what was not measured is never too high."""
    turned = np.asarray(values, np.float32) * np.float32(_sign(rule))
    return np.where(np.isnan(turned), np.float32(-np.inf), turned)


def _rounded_up(value: float) -> float:
    if value == 0 or not math.isfinite(value):
        return value
    step = 10.0 ** (math.floor(math.log10(abs(value))) + 1 - _DIGITS)
    rounded = float(f"{value:.{_DIGITS}g}")
    return rounded if np.float32(rounded) >= np.float32(value) else float(f"{rounded + step:.{_DIGITS}g}")
