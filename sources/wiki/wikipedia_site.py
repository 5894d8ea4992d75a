"""Which wiki a dump is of: what its <siteinfo> says, needed for every split of it."""

import re
from dataclasses import dataclass
from typing import Final

from sources.files.reading import ByteStream, base_name
from sources.languages import UNKNOWN, language_code
from sources.wiki.wikipedia_pages import PAGE
from sources.wiki.wikitext import unescape_entities

_SEARCHED: Final = 16 << 20  # bytes
_LANGUAGE: Final = re.compile(rb'<mediawiki[^>]*\bxml:lang="([\w-]+)"', re.ASCII)
_DBNAME: Final = re.compile(rb"<dbname>([\w-]+)</dbname>", re.ASCII)
_FILE_DBNAME: Final = re.compile(rb"([a-z_]+wiki)[-_.]")
_BASE: Final = re.compile(rb"<base>([^<]+)</base>")
_NAMESPACE: Final = re.compile(rb'<namespace key="(-?\d+)"[^>]*>([^<]+)</namespace>')
_WORDLESS: Final = (b"6", b"14")  # files and categories


@dataclass(frozen=True)
class Site:
    """The wiki of a dump."""

    name: str  # dbname: enwiki
    language: str  # eng_Latn
    base: str  # address of a page but for its title; empty where the dump does not say
    namespaces: frozenset[str]  # names of all namespaces but the main one
    wordless: tuple[str, ...]  # names of those whose links show no words; empty where the dump does not say

    @classmethod
    def of(cls, path: str, language: str | None) -> "Site":
        """Read the <siteinfo> of a dump; a file without one takes its language from <mediawiki>, else the one given."""
        head = _head(path)
        tag = _LANGUAGE.search(head)
        language = tag[1].decode() if tag else language or ""
        name = _DBNAME.search(head) or _FILE_DBNAME.match(base_name(path).encode())
        base = _BASE.search(head)
        namespaces = [
            (key, unescape_entities(namespace.decode("utf-8", "replace")))
            for key, namespace in _NAMESPACE.findall(head.partition(b"</namespaces>")[0])
        ]
        return cls(
            name=name[1].decode() if name else f"{language.replace('-', '_') or 'unknown'}wiki",
            language=language_code(language) if language else UNKNOWN,
            base=unescape_entities(base[1].decode("utf-8", "replace")).rpartition("/")[0] + "/" if base else "",
            namespaces=frozenset(namespace for _, namespace in namespaces),
            wordless=tuple(namespace for key, namespace in namespaces if key in _WORDLESS),
        )


def _head(path: str) -> bytes:
    head = b""
    for chunk in ByteStream(path):
        head += chunk
        if b"</siteinfo>" in head or PAGE in head or len(head) > _SEARCHED:
            break
    return head.partition(PAGE)[0]
