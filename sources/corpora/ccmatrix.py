"""CCMatrix (Schwenk et al. 2021): sentence pairs mined from the web by the margin of their LASER vectors.

It comes in three shapes: rows of the hub {"id", "score", "translation": {"en": ..., "nl": ...}}; the original tables
`en-nl.bitextf.tsv.gz` of score and both texts; and OPUS's Moses archives with CCMatrix.en-nl.en, .nl and .scores. The
margin is kept as `scores.bitext_margin`.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from sources.corpora import opus_moses
from sources.families.bitext import BitextSettings, bitext_languages, extract_rows, holds_records, translation_layout
from sources.files.reading import base_name, byte_splits
from sources.formats.tab_separated import read_rows
from sources.records import chosen_kinds, record_source
from sources.source import Extracted, InputFile, Source, Split

NAME: Final = "ccmatrix"
KINDS: Final = ("parallel",)
COLUMNS: Final = ("score", "source", "target")
SCORES: Final = {"bitext_margin": "score"}


class CcMatrixSettings(BitextSettings):
    """Settings of the ccmatrix source."""


def gather(paths: Sequence[str], settings: CcMatrixSettings) -> list[InputFile]:
    """Tables and rows of the hub alone, the files of a Moses archive together. Raises SourceError as opus_moses does."""
    alone = [path for path in paths if _is_table(path) or holds_records(path)]
    together = [path for path in paths if path not in set(alone)]
    return [InputFile(path) for path in alone] + opus_moses.gather(together, _moses(settings))


def splits(path: str, settings: CcMatrixSettings, target_bytes: int) -> list[Split]:
    """Byte ranges of plain tables and of rows of the hub; one split for a compressed file and for a Moses bitext."""
    if holds_records(path):
        return _HUB.splits(path, settings, target_bytes)
    return (
        byte_splits(path, target_bytes) if _is_table(path) else opus_moses.splits(path, _moses(settings), target_bytes)
    )


def read(split: Split, settings: CcMatrixSettings) -> Iterator[Extracted]:
    """Stream the pairs of a split. Raises SourceError where a file is none of CCMatrix's or does not say its languages."""
    if holds_records(split.path):
        yield from _HUB.read(split, settings)
    elif _is_table(split.path):
        yield from _read_table(split, settings)
    else:
        yield from opus_moses.read(split, _moses(settings))


def _is_table(path: str) -> bool:
    return base_name(path).lower().endswith(".tsv")


def _moses(settings: CcMatrixSettings) -> opus_moses.OpusMosesSettings:
    return opus_moses.OpusMosesSettings(**{**settings.model_dump(), "label": settings.label or NAME})


def _read_table(split: Split, settings: CcMatrixSettings) -> Iterator[Extracted]:
    chosen_kinds(NAME, settings, KINDS, KINDS)
    languages = bitext_languages(split.path, settings)
    for block in read_rows(split, COLUMNS, settings.label or NAME, settings.max_record_bytes):
        yield extract_rows(block, split, settings, NAME, languages, SCORES)


_HUB: Final = record_source(
    name=NAME,
    summary="",
    kinds=KINDS,
    languages="",
    layout="",
    license="",
    obtain="",
    verified="",
    layouts=(translation_layout(SCORES),),
    Settings=CcMatrixSettings,
)

SOURCE: Final = Source(
    name=NAME,
    summary="sentence pairs mined from the web, in 1,197 pairs of 90 languages",
    kinds=KINDS,
    languages="90; from the file's name, e.g. en-nl, from the rows, or the settings",
    layout=(
        "rows of the hub, JSON lines or Parquet: id, score, translation{source, target}; {source}-{target}.bitextf.tsv.gz:"
        " score, source, target; OPUS's Moses archive CCMatrix.{source}-{target}.{language} with .scores"
    ),
    license="that of Common Crawl and of the texts' owners",
    obtain="the data set yhavinga/ccmatrix, https://data.statmt.org/cc-matrix or https://opus.nlpl.eu",
    Settings=CcMatrixSettings,
    splits=splits,
    read=read,
    gather=gather,
    verified="the data set's card; no file of it",
)
