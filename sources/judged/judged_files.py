"""Which files of a retrieval set belong together, by their names: judgements, queries, passages and lists of negatives.

A name is written as the corpus writes it, with places for what varies:

    qrels.{split}.tsv    {language}_collection.tsv    candidates/*/*.json

`{split}` is train, dev or test, or one of those named (`{split:dev|test}`), `{language}` a word, `{year}` a year, `*`
anything but a slash. Names match the end of a path; an ending of compression may follow. Files belong together where they
agree in what varies and lie nearest to each other: in one folder, or below one, so that many sets may lie side by side.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

from sources.files.reading import without_compression
from sources.source import InputFile, SourceError

Role = Literal["judgements", "queries", "passages", "triples", "ranked"]
COMPANIONS: Final[tuple[Role, ...]] = ("queries", "passages", "triples", "ranked")
# How corpora call the part for development; queries for evaluation are never judged in public.
_SAME_SPLIT: Final = {"validation": "dev", "valid": "dev", "val": "dev"}
_PLACES: Final = {
    "split": "train|dev|test|validation|valid|val|eval",
    "language": "[A-Za-z]+(?:[-_][A-Za-z]{2,4})?",
    "year": r"\d{4}",
}


@dataclass(frozen=True)
class JudgedFiles:
    """The names of a corpus's files by role, those preferred first: of several that fit, only the first name is read.

    Judgements drive the reading: one input for each file of them, or for the files of one name in parts. Where there are
    none, `triples` of ids do. Where `by_language` is set, queries do, one input for each language of theirs: the
    judgements are shared. `optional` roles may lack.
    """

    judgements: tuple[str, ...]
    passages: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    triples: tuple[str, ...] = ()
    ranked: tuple[str, ...] = ()
    by_language: bool = False
    languages: Mapping[str, str] = field(default_factory=dict)  # the corpus's words for its languages, and their codes

    def names(self, role: Role) -> tuple[str, ...]:
        """The names of a role."""
        names: tuple[str, ...] = getattr(self, role)
        return names

    @property
    def all_names(self) -> tuple[str, ...]:
        """The names of all roles."""
        return tuple(name for role in ("judgements", *COMPANIONS) for name in getattr(self, role))


@dataclass(frozen=True)
class NamedFile:
    """A file whose name is one of a role's: the place of that name among them, and what varies in it."""

    path: str
    preference: int
    varies: Mapping[str, str]

    def agrees(self, other: "NamedFile") -> bool:
        """Whether what varies in both names is the same."""
        return all(other.varies.get(name, value) == value for name, value in self.varies.items())

    @property
    def folder(self) -> str:
        """The path up to the last slash."""
        return self.path.rpartition("/")[0]


def named_files(paths: Sequence[str], names: Sequence[str]) -> list[NamedFile]:
    """Those of the paths that have one of the names."""
    found = []
    for path in paths:
        plain = without_compression(path)
        for preference, name in enumerate(names):
            if match := _pattern(name).fullmatch(plain):
                varies = {place: _same(value) for place, value in match.groupdict().items()}
                found.append(NamedFile(path, preference, varies))
                break
    return found


def _same(value: str) -> str:
    return _SAME_SPLIT.get(value.lower(), value.lower())


@cache
def _pattern(name: str) -> re.Pattern[str]:
    pattern = ""
    for part in re.split(r"(\{[\w:|]+\}|\*)", name):
        if part == "*":
            pattern += "[^/]*"
        elif part.startswith("{"):
            place, _, values = part[1:-1].partition(":")
            pattern += f"(?P<{place}>{values or _PLACES[place]})"
        else:
            pattern += re.escape(part)
    return re.compile(rf"(?:.*[/!])?{pattern}", re.IGNORECASE | re.DOTALL)


def driver_names(files: JudgedFiles) -> tuple[str, ...]:
    """The names of files that may drive the reading."""
    return (*files.judgements, *files.triples, *(files.queries if files.by_language else ()))


def judged_inputs(name: str, files: JudgedFiles, paths: Sequence[str], split: str) -> list[InputFile]:
    """The inputs of a split: the file that drives, and its companions. Empty where no file is one of judgements.

    Raises SourceError where the judgements are of other splits only, and where queries or passages lack beside them.
    """
    judgements, triples = named_files(paths, files.judgements), named_files(paths, files.triples)
    chosen = of_split(judgements, split) or of_split(triples, split)
    judgements += triples
    if not judgements:
        return []
    if not chosen:
        splits = " and ".join(sorted({file.varies["split"] for file in judgements}))
        raise SourceError(
            f"source {name}: {judgements[0].path} and its like are judgements of {splits}, none of {split}: set `split`"
        )
    drivers = _by_language(files, paths, chosen, split) if files.by_language else _in_parts(chosen)
    return [_with_companions(name, files, paths, driver, split) for driver in drivers]


def of_split(files: Sequence[NamedFile], split: str) -> list[NamedFile]:
    """Those of a split, and those whose names say no split."""
    return [file for file in files if file.varies.get("split", split) == split]


def _in_parts(files: Sequence[NamedFile]) -> list[list[NamedFile]]:
    """Files of one folder that differ in nothing that is named are parts of one; the preferred name of each counts."""
    groups: dict[tuple[str, ...], list[NamedFile]] = {}
    for file in sorted(files, key=lambda file: (file.preference, file.path)):
        key = (file.folder, *(f"{name}={value}" for name, value in sorted(file.varies.items())))
        groups.setdefault(key, []).append(file)
    return [[file for file in group if file.preference == group[0].preference] for group in groups.values()]


def _by_language(
    files: JudgedFiles, paths: Sequence[str], judgements: Sequence[NamedFile], split: str
) -> list[list[NamedFile]]:
    """One driver for each file of queries, with the judgements that are nearest to it."""
    queries = of_split(named_files(paths, files.queries), split)
    return [[query, *_nearest(query, judgements)] for query in _preferred(queries)] or _in_parts(judgements)


def _preferred(files: Sequence[NamedFile]) -> list[NamedFile]:
    """Of the files that differ in nothing that is named, those of the preferred name."""
    return [group[0] for group in _in_parts(files)]


def _nearest(driver: NamedFile, files: Sequence[NamedFile]) -> list[NamedFile]:
    """Those that agree with the driver and share most of their folders with it; of these, those of the preferred name."""
    agreeing = [(_shared(driver.folder, file.folder), file) for file in files if driver.agrees(file)]
    if not agreeing:
        return []
    deepest = max(shared for shared, _ in agreeing)
    near = [file for shared, file in agreeing if shared == deepest]
    best = min(file.preference for file in near)
    return [file for file in near if file.preference == best]


def _shared(first: str, second: str) -> int:
    """How many folders two paths begin with alike."""
    count = 0
    for one, other in zip(first.split("/"), second.split("/"), strict=False):
        if one != other:
            break
        count += 1
    return count


def _with_companions(
    name: str, files: JudgedFiles, paths: Sequence[str], drivers: Sequence[NamedFile], split: str
) -> InputFile:
    driver = drivers[0]
    companions = [file.path for file in drivers[1:]]
    for role in COMPANIONS:
        names = files.names(role)
        if not names:
            continue
        found = _nearest(driver, of_split(named_files(paths, names), split))
        if not found and role in ("queries", "passages"):
            expected = " or ".join(_shown(name, driver) for name in names)
            raise SourceError(
                f"source {name}: {driver.path} found, but none of its {role} beside it: expected {expected}."
                " Give the folder that holds all of them, or name all of them"
            )
        companions += [file.path for file in found]
    return InputFile(driver.path, tuple(dict.fromkeys(path for path in companions if path != driver.path)))


def _shown(name: str, driver: NamedFile) -> str:
    """A name with what the driver's name says in its places."""
    return re.sub(r"\{(\w+)(:[\w|]+)?\}", lambda found: driver.varies.get(found[1], found[0]), name)


def of_role(files: JudgedFiles, role: Role, driver: str, companions: Sequence[str]) -> list[str]:
    """Which files of one input are of a role. Where no file is one of judgements, the triples are."""
    paths = [driver, *companions]
    if role == "judgements":
        return [file.path for file in named_files(paths, files.judgements)]
    return [file.path for file in named_files(paths, files.names(role))]


def folder_names(path: str) -> list[str]:
    """The names of the folders of a path, the innermost first."""
    return [name for name in reversed(path.split("/")[:-1]) if name]


def language_in_names(files: JudgedFiles, names: Sequence[str], paths: Sequence[str]) -> str | None:
    """The language that the first of the paths with one in its name says, as a tag; None where none is of the corpus."""
    for file in named_files(paths, names):
        said = file.varies.get("language", "")
        if said in files.languages or said in files.languages.values():
            return files.languages.get(said, said)
    return None
