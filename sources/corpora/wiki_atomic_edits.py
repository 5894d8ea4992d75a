"""WikiAtomicEdits (Faruqui et al. 2018): sentences of Wikipedia before and after an insertion or a deletion.

The original sentence is the query, the edited one the positive. The phrase in between is not used.
"""

import re
from collections.abc import Iterator
from typing import Final

from pydantic import Field

from sources.fields import default_ids
from sources.files.reading import byte_splits
from sources.formats.tab_separated import RowBlock, read_rows
from sources.languages import is_language, language_code
from sources.records import RecordSettings, chosen_kinds
from sources.schema import make_pairs
from sources.source import Extracted, Source, SourceError, Split, extracted

NAME: Final = "wiki_atomic_edits"
KINDS: Final = ("edit",)
LICENSE: Final = "CC-BY-SA-3.0"
COLUMNS: Final = ("original", "phrase", "edited")
HEADERS: Final = ("base_sentence", "original")  # the first cell of the releases that have one
LANGUAGES: Final = {
    "chinese": "zh",
    "english": "en",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "japanese": "ja",
    "russian": "ru",
    "spanish": "es",
}
_FOLDER: Final = re.compile(r"([^/]+)/[^/]*\Z")


class WikiAtomicEditsSettings(RecordSettings):
    """Settings of the wiki_atomic_edits source."""

    license: str | None = Field(LICENSE, description="licence written beside every pair")


def splits(path: str, settings: WikiAtomicEditsSettings, target_bytes: int) -> list[Split]:
    """Byte ranges of a plain table; one split for a compressed one."""
    return byte_splits(path, target_bytes)


def read(split: Split, settings: WikiAtomicEditsSettings) -> Iterator[Extracted]:
    """Stream the edits of a split. Raises SourceError where the file has other columns or nothing says its language."""
    chosen_kinds(NAME, settings, KINDS, KINDS)
    language = _language(split, settings)
    first = split.start == 0
    for block in read_rows(split, COLUMNS, settings.label or NAME, settings.max_record_bytes):
        yield _extract(block, split, settings, language, first)
        first = False


def _language(split: Split, settings: WikiAtomicEditsSettings) -> str:
    folder = _FOLDER.search(split.path)
    tag = settings.language or (LANGUAGES.get(folder[1].lower(), folder[1]) if folder else "")
    if not is_language(tag):
        raise SourceError(
            f"{split.path}: the folder {tag!r} is no language, expected for example german/insertions.tsv.gz: set `language`"
        )
    return language_code(tag)


def _extract(block: RowBlock, split: Split, settings: WikiAtomicEditsSettings, language: str, first: bool) -> Extracted:
    columns, offsets, records = block.columns, block.offsets, block.records
    if first and len(offsets) and columns["original"][0].as_py().strip().lower() in HEADERS:
        columns, offsets = {name: column.slice(1) for name, column in columns.items()}, offsets[1:]
        records -= 1
    if not len(offsets):
        return extracted(records, block.position, quarantine=block.quarantine)
    pairs, rejects = make_pairs(
        query=columns["original"],
        positive=columns["edited"],
        kind="edit",
        source=settings.label or NAME,
        document_id=default_ids(split, offsets.tolist(), None),
        query_lang=language,
        positive_lang=language,
        license=settings.license,
    )
    return extracted(records, block.position, pairs=pairs, rejects=rejects, quarantine=block.quarantine)


SOURCE: Final = Source(
    name=NAME,
    summary="sentences of Wikipedia before and after an edit of one phrase",
    kinds=KINDS,
    languages="8: from the folder's name, e.g. german or de, or the settings",
    layout="{language}/{insertions,deletions}.tsv.gz: original, phrase, edited, with a header or without",
    license=LICENSE,
    obtain="https://github.com/google-research-datasets/wiki-atomic-edits",
    Settings=WikiAtomicEditsSettings,
    splits=splits,
    read=read,
    verified="the corpus's README; no file of it",
)
