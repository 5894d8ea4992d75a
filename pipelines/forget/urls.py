"""One spelling for all the ways a URL is written, so that a page is forgotten however its sources and the request spell it.

RFC 3986, section 6.2: the case of scheme, host and escapes; characters that need no escape; the default port; an empty path. RFC 3987,
section 3.1: characters beyond ASCII. Beyond these, http and https, a slash at the end and the escapes of !'()*,:@ do not matter.
"""

import re
from typing import Final
from urllib.parse import quote, urlsplit

_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_AS_ITSELF: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!'()*,:@")
_LEFT_ALONE: Final = "%/?#[]!$&'()*+,;=:@"  # those that are not escaped; % begins an escape
_PORTS: Final = (None, 80, 443)


def one_spelling(url: str) -> str:
    """The URL as all its spellings become; what is no http(s) URL stays as it is."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url.strip())
        port, host = parts.port, parts.hostname
    except ValueError:
        return url
    if parts.scheme not in ("http", "https") or not host:
        return url
    user, at, _ = parts.netloc.rpartition("@")
    place = f"//{user}{at}{_host(host)}" + ("" if port in _PORTS else f":{port}")
    query = f"?{_escaped(parts.query)}" if parts.query else ""
    fragment = f"#{_escaped(parts.fragment)}" if parts.fragment else ""
    return f"{place}{_escaped(parts.path).rstrip('/')}{query}{fragment}"


def spellings_of_row(url: str) -> tuple[str, ...]:
    """What a row's URL answers to: its spelling and, where it names a part of a page (#), the page's."""
    spelled = one_spelling(url)
    page, sign, _ = spelled.partition("#")
    return (spelled, page.removesuffix("?").rstrip("/")) if sign and spelled != url else (spelled,)


def _host(host: str) -> str:
    host = host.rstrip(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def _escaped(part: str) -> str:
    if part.isascii() and part.replace("/", "").isalnum():
        return part
    return quote(_ESCAPE.sub(_plain, part), safe=_LEFT_ALONE, errors="surrogatepass")


def _plain(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _AS_ITSELF else escape[0].upper()
