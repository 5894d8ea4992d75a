"""OPUS's Moses format: two texts aligned line by line, in a zip archive with licence, readme and often scores.

`CORPUS.SRC-TGT.SRC` and `CORPUS.SRC-TGT.TGT` hold the texts, `.scores` a number a line (the margin of mined corpora such
as CCMatrix), `.ids` the documents of each line. `.xml` holds the same alignment once more and is not read.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from sources.families.aligned_files import IDS, KINDS, SCORES, AlignedFiles, read_aligned
from sources.families.aligned_names import AlignedName, aligned_name, stands_apart
from sources.families.bitext import BitextSettings
from sources.files.reading import base_name, one_split
from sources.source import Extracted, InputFile, Source, SourceError, Split

NAME: Final = "opus_moses"


class OpusMosesSettings(BitextSettings):
    """Settings of the opus_moses source."""


def gather(paths: Sequence[str], settings: OpusMosesSettings) -> list[InputFile]:
    """The two texts of each bitext, with their scores and ids. Raises SourceError naming a file that stands alone."""
    texts: dict[str, list[tuple[AlignedName, str]]] = defaultdict(list)
    beside: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        name = base_name(path)
        if name.endswith((SCORES, IDS)):
            beside[path.rpartition("/")[0] + "/" + name.rpartition(".")[0]].append(path)
        elif not stands_apart(path) and not name.endswith(".xml"):
            found = _text_name(path)
            texts[found.group.removesuffix(".*")].append((found, path))
    units = [_unit(files, beside.pop(stem, [])) for stem, files in texts.items()]
    for alone in beside.values():
        raise SourceError(f"{alone[0]}: no texts beside it that it describes: name them too, or leave it out")
    return units


def _text_name(path: str) -> AlignedName:
    found = aligned_name(path)
    if found is None or not _says_pair(found):
        raise SourceError(
            f"{path}: the name is none of OPUS's Moses files, expected CORPUS.SOURCE-TARGET.LANGUAGE, as in"
            " Tatoeba.de-en.de: leave it out with a glob, or use aligned_lines for files of other names"
        )
    return found


def _says_pair(name: AlignedName) -> bool:
    """Whether the part before the language is a pair that holds it: `de-en` before `.de`."""
    pair = name.group.removesuffix(".*").rpartition("/")[2].rpartition(".")[2]
    return pair.startswith(f"{name.language}-") or pair.endswith(f"-{name.language}")


def _unit(files: list[tuple[AlignedName, str]], beside: list[str]) -> InputFile:
    if len(files) != 2:
        path = files[0][1]
        raise SourceError(
            f"{path}: {len(files)} texts of this bitext, expected 2: its partner, {files[0][0].group} with the other language,"
            " is missing or there twice: add the one, or remove the other"
        )
    (first, source), (second, target) = files
    pair = first.group.removesuffix(".*").rpartition(".")[2]
    if not pair.startswith(f"{first.language}-") or not pair.endswith(f"-{second.language}"):
        source, target = target, source
    return InputFile(target, (source, *sorted(beside)))


def splits(path: str, settings: OpusMosesSettings, target_bytes: int) -> list[Split]:
    """A bitext is one split: where a line of one text lies in the other is not known before it is reached."""
    return one_split(path)


def read(split: Split, settings: OpusMosesSettings) -> Iterator[Extracted]:
    """Stream the pairs of a bitext. Raises SourceError where a file cannot be opened."""
    source, *beside = split.companions
    target_name, source_name = _text_name(split.path), _text_name(source)
    ends = {base_name(path).rpartition(".")[2]: path for path in beside}
    files = AlignedFiles(
        (split.path, source),
        (
            AlignedName(target_name.group, settings.target_language or target_name.language),
            AlignedName(source_name.group, settings.source_language or source_name.language),
        ),
        ends.get("scores"),
        ends.get("ids"),
    )
    yield from read_aligned(files, split, settings, NAME)


SOURCE: Final = Source(
    name=NAME,
    summary="any bitext of OPUS as its Moses archives hold it",
    kinds=KINDS,
    languages="from the files' names, e.g. CCMatrix.en-nl.nl",
    layout="{corpus}.{source}-{target}.{source} and .{target}, with .scores and .ids, in a zip archive or beside each other",
    license="that of the corpus: LICENSE in the archive says",
    obtain="https://opus.nlpl.eu: `moses` of a corpus",
    Settings=OpusMosesSettings,
    splits=splits,
    read=read,
    gather=gather,
)
