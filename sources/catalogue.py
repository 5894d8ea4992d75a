"""The sources by name. Nothing of a source is imported before it is asked for."""

from difflib import get_close_matches
from importlib import import_module
from typing import Final

from sources.source import Source, SourceError

_MODULES: Final = {
    "gettext": "sources.gettext_catalogue",
    "jsonl": "sources.jsonl",
    "table": "sources.table",
    "wikipedia": "sources.wikipedia",
}


def source_names() -> list[str]:
    """The names of all sources, sorted."""
    return sorted(_MODULES)


def load_source(name: str) -> Source:
    """The source of a name. Raises SourceError naming the nearest known one for an unknown name."""
    if name not in _MODULES:
        nearest = get_close_matches(name.lower(), _MODULES, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(source_names())}"
        raise SourceError(f"unknown source {name!r}: {hint}")
    source = import_module(_MODULES[name]).SOURCE
    if not isinstance(source, Source):
        raise SourceError(f"{_MODULES[name]}.SOURCE is no Source")
    return source
