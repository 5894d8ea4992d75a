"""Texts and figures as the page shows them. What is dangerous in HTML is escaped by jinja2; this is about what cannot be seen:
control characters, bidirectional overrides and lone surrogates are shown as \\u escapes, so that no text can hide or turn
around what stands beside it.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

SHORT_CHARACTERS: Final = 280
FULL_CHARACTERS: Final = 2_000

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)


def visible(value: Any) -> Any:
    """jinja2's `finalize`: every string that a template writes goes through here, before it is escaped."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return ""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Clipped:
    """A text of a pair: its beginning, and, where it is longer, as much as the page holds of it."""

    short: str
    full: str | None
    is_cut: bool  # even `full` is not all of it

    @classmethod
    def of(cls, text: str) -> "Clipped":
        if len(text) <= SHORT_CHARACTERS:
            return cls(text, None, False)
        short = text[:SHORT_CHARACTERS].rsplit(" ", 1)[0]
        if len(short) < SHORT_CHARACTERS // 2:  # a script without spaces
            short = text[:SHORT_CHARACTERS]
        return cls(short, text[:FULL_CHARACTERS], len(text) > FULL_CHARACTERS)


def count(value: float) -> str:
    return f"{value:,.0f}"


def numbered(value: int, one: str, several: str = "") -> str:
    """3 -> "3 pairs", 1 -> "1 pair"."""
    return f"{value:,} {one if value == 1 else several or one + 's'}"


def share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def size(value: float | None) -> str:
    """Bytes in decimal units."""
    if value is None:
        return "-"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def direction(value: float) -> str:
    """The class of a difference as it is shown, to three decimals."""
    return "same" if abs(value) < 0.0005 else "better" if value > 0 else "worse"


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
