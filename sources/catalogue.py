"""The sources by name. Nothing of a source is imported before it is asked for.

Every module of sources.corpora is a source of its name. Other packages add theirs by an entry point in the group
`pairmill.sources` that names a Source: `my_corpus = "my_package.my_corpus:SOURCE"`.
"""

import pkgutil
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from sources import corpora
from sources.source import Source, SourceError

ENTRY_POINTS: Final = "pairmill.sources"
_MODULES: Final = {
    "documents": "sources.documents",
    "gettext": "sources.gettext_catalogue",
    "jsonl": "sources.jsonl",
    "table": "sources.table",
    "wikipedia": "sources.wikipedia",
}


def source_names() -> list[str]:
    """The names of all sources, sorted."""
    return sorted({*_modules(), *_added()})


def load_source(name: str) -> Source:
    """The source of a name.

    Raises SourceError naming the nearest known one for an unknown name, and for an entry point that holds no source.
    """
    if name in _modules():
        return _checked(import_module(_modules()[name]).SOURCE, name, _modules()[name])
    if name in _added():
        return _load_added(_added()[name])
    nearest = get_close_matches(name.lower(), source_names(), n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(source_names())}"
    raise SourceError(f"unknown source {name!r}: {hint}")


@cache
def _modules() -> dict[str, str]:
    found = (module.name for module in pkgutil.iter_modules(corpora.__path__))
    return _MODULES | {name: f"{corpora.__name__}.{name}" for name in found}


@cache
def _added() -> dict[str, EntryPoint]:
    """The sources of other packages; none of them takes the name of one of ours."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS) if entry.name not in _modules()}


def _load_added(entry: EntryPoint) -> Source:
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        raise SourceError(f"source {entry.name!r}: its entry point {entry.value} cannot be loaded: {error}") from error
    return _checked(found, entry.name, entry.value)


def _checked(found: Any, name: str, place: str) -> Source:
    if not isinstance(found, Source) or found.name != name:
        raise SourceError(f"source {name!r}: {place} holds no Source of that name: correct the entry point or the name")
    return found
