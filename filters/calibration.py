"""Thresholds by language that were taken from clean text, as a file: read, checked and looked up.

FineWeb-2 (Penedo et al. 2025, section 4.3) sets its thresholds by language from quantiles of reference text; here
filters.calibrate does, and `pairmill filter --calibrate` writes the file.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from filters.language import language_group
from sources.languages import UNKNOWN

CALIBRATED: Final = "calibrated"  # what a setting says instead of a number, to have it from the calibration
ANY: Final = "others"  # the key for languages and scripts that the calibration has nothing on
_PACKAGED: Final = Path(__file__).parent / "calibrations"


class CalibrationError(ValueError):
    """A calibration that is missing or cannot be read. The message names the file and the remedy."""


class Calibration(BaseModel):
    """Thresholds of the calibratable rules by language (deu_Latn), script (Latn) and for `others`.

    Languages are those that filters.language.language_group tells apart, with their script.

    `thresholds[key][setting]` is a number in the measure's unit; a setting that is absent was not calibrated there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    keep: float = Field(gt=0, le=1, description="the share of clean texts of each language that passes all rules")
    min_length: int = Field(ge=0, description="shorter passages were not calibrated on, and are not judged by it")
    texts: Mapping[str, int] = Field(description="clean texts by language")
    kept: Mapping[str, float] = Field(description="the share of them that passes, by language or script")
    thresholds: Mapping[str, Mapping[str, float]]

    def threshold(self, setting: str, code: str) -> float | None:
        """The threshold for a language: its own, else its script's, else that for any; None: off."""
        language = calibration_key(code)
        for key in (language, language.rpartition("_")[2], ANY):
            if setting in self.thresholds.get(key, {}):
                return self.thresholds[key][setting]
        return None


@lru_cache(maxsize=65_536)
def calibration_key(code: str) -> str:
    """How a calibration names a language: its group with its script, e.g. ara_Arab for arb_Arab; `others` for und."""
    if code == UNKNOWN:
        return ANY
    _, _, script = code.partition("_")
    group = language_group(code)
    return f"{group}_{script}" if script else group


@lru_cache(maxsize=65_536)
def lookup_keys(code: str) -> tuple[str, ...]:
    """What thresholds by language are looked up by, in order: zho_Hans -> zho_Hans, zho, Hans."""
    if code == UNKNOWN:
        return ()
    _, _, script = code.partition("_")
    return tuple(dict.fromkeys(key for key in (code, language_group(code), script) if key))


@cache
def load_calibration(name: str) -> Calibration:
    """The calibration of a file, or a packaged one by its name (`clean`), read once per process.

    Raises CalibrationError where the file is missing or holds something else.
    """
    file = calibration_file(name)
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
        return Calibration.model_validate(content)
    except OSError:
        packaged = ", ".join(sorted(path.stem for path in _PACKAGED.glob("*.json")))
        raise CalibrationError(
            f"There is no calibration at {file}. Name a packaged one ({packaged}), or make a file from clean text of"
            " your own: pairmill filter --calibrate FILE --output calibration.json."
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CalibrationError(f"The calibration {file} is not JSON: {error}. Make it anew with --calibrate.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise CalibrationError(
            f"The calibration {file} is not what pairmill writes: `{place}`: {first['msg']}. Make it anew with"
            " --calibrate."
        ) from None


def calibration_file(name: str) -> Path:
    """Where a calibration lies: a packaged one by its bare name, else the path itself."""
    bare = "/" not in name and not name.endswith(".json")
    return _PACKAGED / f"{name}.json" if bare else Path(name)


def calibration_sha256(name: str) -> str:
    """The file's content hash, for a job's fingerprint: another calibration decides again. "" where it is missing."""
    file = calibration_file(name)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
