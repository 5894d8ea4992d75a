"""NLLB's mined bitexts (allenai/nllb): the raw tables, or rows of the hub with the same fields.

A raw file `{source}-{target}.gz` has nine columns without a header: both texts, the margin score of LASER3 (Heffernan et
al. 2022), the probability of each text's language, and where each came from. The margin is kept as
`scores.bitext_margin`; what of it is good enough is for the filter to say. The pairs of languages are listed in
sources.language_list.
"""

from collections.abc import Iterator
from typing import Final

from pydantic import Field

from sources.families.bitext import BitextSettings, bitext_languages, extract_rows, holds_records, translation_layout
from sources.files.reading import byte_splits
from sources.formats.tab_separated import read_rows
from sources.records import chosen_kinds, record_source
from sources.source import Extracted, Source, Split

NAME: Final = "nllb"
KINDS: Final = ("parallel",)
LICENSE: Final = "ODC-By-1.0"
SCORES: Final = {
    "bitext_margin": "laser_score",
    "query_language_probability": "source_sentence_lid",
    "positive_language_probability": "target_sentence_lid",
}
COLUMNS: Final = (
    "source",
    "target",
    *SCORES.values(),
    "",  # source_sentence_source: the crawl or corpus
    "source_sentence_url",
    "",  # target_sentence_source
    "",  # target_sentence_url
)


class NllbSettings(BitextSettings):
    """Settings of the nllb source."""

    license: str | None = Field(LICENSE, description="licence written beside every pair")


def splits(path: str, settings: NllbSettings, target_bytes: int) -> list[Split]:
    """Byte ranges of plain tables and of rows of the hub; one split for a compressed file."""
    return _HUB.splits(path, settings, target_bytes) if holds_records(path) else byte_splits(path, target_bytes)


def read(split: Split, settings: NllbSettings) -> Iterator[Extracted]:
    """Stream the pairs of a split. Raises SourceError where the file is none of NLLB's or does not say its languages."""
    if holds_records(split.path):
        yield from _HUB.read(split, settings)
        return
    chosen_kinds(NAME, settings, KINDS, KINDS)
    languages = bitext_languages(split.path, settings)
    for block in read_rows(split, COLUMNS, settings.label or NAME, settings.max_record_bytes):
        yield extract_rows(block, split, settings, NAME, languages, SCORES, "source_sentence_url")


_HUB: Final = record_source(
    name=NAME,
    summary="",
    kinds=KINDS,
    languages="",
    layout="",
    license="",
    obtain="",
    verified="",
    layouts=(translation_layout(SCORES, "source_sentence_url"),),
    Settings=NllbSettings,
)

SOURCE: Final = Source(
    name=NAME,
    summary="sentence pairs mined from the web for NLLB-200, in 2,656 pairs of languages",
    kinds=KINDS,
    languages="188; from the file's name, e.g. ces_Latn-ukr_Cyrl, or the settings",
    layout=(
        "{source}-{target}.gz: 9 columns without header, tab-separated (texts, laser_score, 2 language probabilities, 4 of"
        " provenance); or rows of the hub, JSON lines or Parquet: translation{source, target} and the same fields"
    ),
    license=LICENSE,
    obtain="the data set allenai/nllb: download its files, which are raw tables",
    Settings=NllbSettings,
    splits=splits,
    read=read,
    verified="the corpus's card",
)
