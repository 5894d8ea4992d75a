"""Names of licences, as corpora write them, made one: close to SPDX ids, in lower case (https://spdx.org/licenses).

    "CC BY-SA 4.0", "Creative Commons Attribution-ShareAlike 4.0 International",
    "https://creativecommons.org/licenses/by-sa/4.0/deed.de"                        ->  cc-by-sa-4.0
    "Apache License, Version 2.0"                                                    ->  apache-2.0

What is not recognised stays as it is, in lower case and without spaces at its ends.
"""

import re
from functools import lru_cache
from typing import Final

# Said where nobody knows, or where nothing is granted.
_UNKNOWN: Final = frozenset(
    {"", "-", "?", "unknown", "unspecified", "not specified", "undefined", "other", "none", "null", "n/a", "na", "tbd"}
)
_PUBLIC_DOMAIN: Final = frozenset({"cc0", "cc-0", "cc-zero", "cczero", "creativecommons-zero", "publicdomain-zero"})
_URL: Final = re.compile(r"(?:https?:)?//(?:www\.)?([^\s/]+)(/[^\s?#]*)?")
_CC_PATH: Final = re.compile(r"/licenses/([a-z-]+)(?:/([0-9.]+))?(?:/([a-z]{2})\b)?")
_CC_PUBLIC: Final = re.compile(r"/publicdomain/(zero|mark)(?:/([0-9.]+))?")
_CC_ELEMENTS: Final = (
    ("attribution", "by"),
    ("non-?commercial", "nc"),
    ("no-?deriv(?:ative)?s?(?:-works)?", "nd"),
    ("share-?alike", "sa"),
)
# What stands behind the version restricts as well: "CC BY 4.0 NC" is no CC BY of New Caledonia.
_CC: Final = re.compile(r"cc-(by(?:-(?:nc|nd|sa))*)(?:-?v?([0-9]+(?:\.[0-9]+)?))?((?:-(?:nc|nd|sa))*)(?:-([a-z]{2}))?")
_CC_ZERO: Final = re.compile(r"(?:cc-?(?:0|zero)(?:-?v?1(?:\.0)?)?-?)+(?:public-domain)?")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_NOISE: Final = re.compile(
    r"-(?:international|unported|generic|universal|licen[cs]es?|public-domain-dedication|deed)(?=-|$)"
)
_FAMILIES: Final = (
    (re.compile(r"apache(?:-software)?-?(?:version-|v)?([0-9](?:\.[0-9])?)"), "apache"),
    (re.compile(r"(?:gnu-)?(?:gpl|general-public)-?(?:version-|v)?([0-9](?:\.[0-9])?)"), "gpl"),
    (re.compile(r"(?:gnu-)?(?:lgpl|lesser-general-public)-?(?:version-|v)?([0-9](?:\.[0-9])?)"), "lgpl"),
    (re.compile(r"(?:gnu-)?(?:agpl|affero-general-public)-?(?:version-|v)?([0-9](?:\.[0-9])?)"), "agpl"),
    (re.compile(r"(?:gnu-)?(?:gfdl|fdl|free-documentation)-?(?:version-|v)?([0-9](?:\.[0-9])?)"), "gfdl"),
    (re.compile(r"(?:mpl|mozilla-public)-?(?:version-|v)?([0-9](?:\.[0-9])?)"), "mpl"),
    (re.compile(r"(?:odbl|open-database)-?(?:version-|v)?([0-9](?:\.[0-9])?)"), "odbl"),
    (re.compile(r"(?:odc-by|open-data-commons-attribution)-?(?:version-|v)?([0-9](?:\.[0-9])?)"), "odc-by"),
)
_HOSTS: Final = {
    "apache.org": re.compile(r"/licenses/licen[cs]e-([0-9.]+?)(?:\.(?:txt|html))?/?$"),
    "opensource.org": re.compile(r"/licen[cs]es?/([a-z0-9.-]+?)(?:\.(?:php|html))?/?$"),
    "spdx.org": re.compile(r"/licenses/([a-z0-9.+-]+?)(?:\.html)?/?$"),
    "gnu.org": re.compile(r"/licenses/(?:old-licenses/)?([a-z0-9.-]+?)(?:\.(?:txt|html|en\.html))?/?$"),
    "opendatacommons.org": re.compile(r"/licenses/([a-z]+)(?:/([0-9](?:[.-][0-9])?))?"),
}
_OPEN_DATA: Final = {"odbl": "odbl", "by": "odc-by", "pddl": "pddl"}


@lru_cache(maxsize=4096)  # a corpus may have a name of its own in every row
def licence_id(text: str | None) -> str | None:
    """The licence's name in lower case, as SPDX writes it where it is known; None where none is said."""
    words = " ".join((text or "").lower().split()).strip(" .;,()[]{}\"'")
    if words in _UNKNOWN:
        return None
    url = _URL.fullmatch(words)
    if url is not None:
        return _of_url(url[1], url[2] or "/") or words
    return _of_words(words) or words


def licence_alternatives(text: str | None) -> tuple[frozenset[str], ...]:
    """The licences of an expression "A AND B OR C": each set holds all those that one alternative asks for.

    An operand that names no licence is left as it is written, and so is an expression with parentheses inside: as a whole.
    Nothing where none is said at all.
    """
    if licence_id(text) is None or text is None:
        return ()
    text = text.strip()
    if re.fullmatch(r"\([^()]*\)", text):
        text = text[1:-1]
    if re.search(r"[()]", text) and re.search(r"\s(?:AND|OR)\s", text):
        return (frozenset({" ".join(text.lower().split())}),)
    alternatives = (re.split(r"\s+AND\s+", each) for each in re.split(r"\s+OR\s+", text))
    return tuple(frozenset(licence_id(part) or part.strip().lower() for part in parts) for parts in alternatives)


def is_licence_id(name: str) -> bool:
    """Whether a licence_id is one word as SPDX has them, not a sentence; one that begins like Creative Commons' must be theirs."""
    if not _ID.fullmatch(name):
        return False
    return not name.startswith(("cc-", "cc0", "ccby")) or _of_words(name) == name


def _is_of(host: str, name: str) -> bool:
    return host == name or host.endswith(f".{name}")


def _of_url(host: str, path: str) -> str | None:
    if _is_of(host, "creativecommons.org"):
        public = _CC_PUBLIC.match(path)
        if public is not None:
            return f"cc0-{public[2] or '1.0'}" if public[1] == "zero" else f"pdm-{public[2] or '1.0'}"
        found = _CC_PATH.match(path)
        return "-".join(["cc", *(part for part in found.groups() if part)]) if found else None
    pattern = next((pattern for name, pattern in _HOSTS.items() if _is_of(host, name)), None)
    found = pattern.search(path) if pattern else None
    if found is None:
        return None
    if _is_of(host, "apache.org"):
        return f"apache-{_with_point(found[1])}"
    if _is_of(host, "opendatacommons.org"):
        name = _OPEN_DATA.get(found[1], found[1])
        return f"{name}-{_with_point((found[2] or '1-0').replace('-', '.'))}"
    return _of_words(found[1]) or found[1]


def _of_words(words: str) -> str | None:
    """The id of a name that is written out or abbreviated; None where it is neither."""
    name = re.sub(r"[\s_,/]+", "-", words.replace("®", "").replace("(", " ").replace(")", " ").strip())
    name = re.sub(r"-+", "-", name).strip("-")
    name = _NOISE.sub("", name.removeprefix("the-"))
    if name.startswith(("creative-commons", "creativecommons", "attribution")):
        name = "cc-" + re.sub(r"^creative-?commons-?", "", name)
    if _CC_ZERO.fullmatch(name) or name in _PUBLIC_DOMAIN:
        return "cc0-1.0"
    for pattern, short in _CC_ELEMENTS:
        if name.startswith("cc"):
            name = re.sub(pattern, short, name)
    name = re.sub(r"^ccby|^cc\.by", "cc-by", name)
    found = _CC.fullmatch(name)
    if found is not None:
        version = [_with_point(found[2])] if found[2] else []
        return "-".join([f"cc-{found[1]}{found[3]}", *version, *([found[4]] if found[4] else [])])
    for family, short in _FAMILIES:
        of_family = family.match(name)
        if of_family is not None:
            rest = name[of_family.end() :]
            return (
                f"{short}-{_with_point(of_family[1])}{rest}" if re.fullmatch(r"(?:-only|-or-later|\+)?", rest) else None
            )
    bsd = re.fullmatch(r"(?:new-|simplified-)?bsd-?([234])?(?:-clause)?", name)
    if bsd is not None:
        return f"bsd-{bsd[1]}-clause" if bsd[1] else "bsd"
    if name in ("mit", "expat"):
        return "mit"
    return name if name in ("public-domain", "publicdomain") else None


def _with_point(version: str) -> str:
    return version if "." in version else f"{version}.0"
