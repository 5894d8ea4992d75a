"""Line-aligned text files in two or more languages: FLORES, NTREX, TICO-19, test sets of WMT, files of your own.

Which files go together, and in which language each is, their names say (sources.families.aligned_names); `names` says it for
others. By default each language is paired with English, or with the first in the alphabet where there is none.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from pydantic import Field

from sources.families.aligned_files import KINDS, AlignedFiles, read_aligned
from sources.families.aligned_names import AlignedName, aligned_name, name_pattern, stands_apart
from sources.files.reading import one_split
from sources.languages import language_code
from sources.records import RecordSettings
from sources.source import Extracted, InputFile, Source, SourceError, Split

NAME: Final = "aligned_lines"
_File = tuple[AlignedName, str]


class AlignedLinesSettings(RecordSettings):
    """Settings of the aligned_lines source."""

    names: str | None = Field(
        None,
        description="how the files are called, e.g. `{language}/train.txt` or `news-*.{language}`; default: told by themselves",
    )
    directions: Literal["pivot", "all"] = Field(
        "pivot", description="pivot: each language with one; all: every two languages"
    )
    pivot: str | None = Field(
        None, description="language that each other is paired with; default: English, else the first"
    )
    languages: tuple[str, ...] | None = Field(None, description="languages to read; default: all that there are")


def gather(paths: Sequence[str], settings: AlignedLinesSettings) -> list[InputFile]:
    """Each file with those that its lines are paired with. Raises SourceError naming a file that has no partner."""
    groups: dict[str, list[_File]] = defaultdict(list)
    pattern = name_pattern(settings.names) if settings.names else None
    wanted = None if settings.languages is None else {language_code(tag) for tag in settings.languages}
    for path in paths:
        name = aligned_name(path, pattern)
        if name is None:
            if stands_apart(path):
                continue
            raise SourceError(
                f"{path}: the name does not say a language, expected for example corpus.en: leave the file out with a glob, or"
                " set `names`, e.g. `{language}/train.txt`"
            )
        if wanted is None or language_code(name.language) in wanted:
            groups[name.group].append((name, path))
    return [unit for files in groups.values() for unit in _units(files, settings)]


def _units(files: list[_File], settings: AlignedLinesSettings) -> list[InputFile]:
    if len(files) < 2:
        name, path = files[0]
        raise SourceError(
            f"{path}: no file in another language beside it, expected {name.group} with a language for the *: add it, leave"
            " this one out, or set `names`"
        )
    pivot = _pivot(files, settings)
    others = [path for _, path in files if path != pivot]
    if settings.directions == "pivot":
        return [InputFile(path, (pivot,)) for path in others]
    ordered = [pivot, *others]
    return [InputFile(path, tuple(ordered[:at])) for at, path in enumerate(ordered) if at]


def _pivot(files: list[_File], settings: AlignedLinesSettings) -> str:
    """The source of a test set before its references, and `eng` before `eng-GB`."""
    code = language_code(settings.pivot or "en")
    found = [file for file in files if language_code(file[0].language) == code]
    if settings.pivot and not found:
        present = ", ".join(sorted(name.language for name, _ in files))
        raise SourceError(f"{files[0][1]}: no file in the pivot language {settings.pivot!r}; there are {present}")
    chosen = min(found or files, key=lambda file: ("-src." not in file[1], len(file[0].language), file[0].language))
    return chosen[1]


def splits(path: str, settings: AlignedLinesSettings, target_bytes: int) -> list[Split]:
    """A file is one split: where a line of one file lies in another is not known before it is reached."""
    return one_split(path)


def read(split: Split, settings: AlignedLinesSettings) -> Iterator[Extracted]:
    """Stream the pairs of a file's lines with those of its companions. Raises SourceError where one cannot be opened."""
    pattern = name_pattern(settings.names) if settings.names else None
    paths = (split.path, *split.companions)
    names = tuple(aligned_name(path, pattern) or AlignedName(path, "und") for path in paths)
    yield from read_aligned(AlignedFiles(paths, names), split, settings, NAME)


SOURCE: Final = Source(
    name=NAME,
    summary="text files in several languages that are aligned line by line",
    kinds=KINDS,
    languages="from the files' names, e.g. corpus.en, eng_Latn.dev, newstest2019-ref.deu.txt",
    layout="one file a language, as many lines in each; compressed or not, or members of an archive",
    license="that of the files",
    obtain="FLORES-200, NTREX-128, TICO-19, NLLB Seed, your own files",
    Settings=AlignedLinesSettings,
    splits=splits,
    read=read,
    gather=gather,
)
