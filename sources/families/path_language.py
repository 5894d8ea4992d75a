"""The language that a file's path names, for corpora whose records do not say it."""

import re
from collections.abc import Callable

from sources.languages import is_language
from sources.source import Split

_CONFIGURATION = re.compile(r"[?&]config=([\w.-]+)", re.ASCII)


def language_of_path(pattern: str) -> Callable[[Split], str | None]:
    """A function that finds the language of a split: the first group of a regular expression, searched in its path.

    None where nothing matches. The pattern is of the corpus's own file names, so the tag is taken as it is. Of a data set
    on a hub it is the configuration, where that is a language.
    """
    compiled = re.compile(pattern)

    def language(split: Split) -> str | None:
        configuration = _CONFIGURATION.search(split.path)
        if configuration and is_language(configuration[1]):
            return configuration[1]
        found = compiled.search(split.path) or compiled.search(split.name or "")
        return found[1] if found else None

    return language
