"""Sources whose pairs are judgements: (query, passage judged relevant), the texts being in files of their own.

    SOURCE = judged_source(
        name="msmarco",
        files=JudgedFiles(judgements=("qrels.{split}.tsv",), queries=("queries.{split}.tsv",), passages=("collection.tsv",)),
        kinds=("question_context", "title_body"), ...)

How it reads: the judgements become arrays of numbers (sources.judged.judgements); the queries and then the passages that were
judged go to temporary files in one pass each (sources.files.stored_texts), the millions of others are passed over; the pairs
come in the order of the judgements, each with its grade as `label` and the passages judged irrelevant as `negatives`.

Judgements of ids that no text belongs to are quarantined as `unknown_query` and `unknown_passage`. Those below the least
relevant grade make no pair of their own, and passages that nobody judged none unless `title_body` is asked for.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sources.files.reading import stored_size
from sources.formats.hub_rows import is_hub_path
from sources.judged.judged_files import (
    JudgedFiles,
    driver_names,
    judged_inputs,
    language_in_names,
    named_files,
    of_split,
)
from sources.judged.judged_pairs import JudgedCorpus, JudgedExtraction, JudgedLayout, JudgedSettings
from sources.record_formats import Format
from sources.records import Layout, chosen_kinds, record_source
from sources.source import Extracted, InputFile, Source, SourceError, Split


@dataclass(frozen=True)
class Rows:
    """Files of a corpus whose rows hold their texts: names as in JudgedFiles, and layouts as of record_source."""

    names: tuple[str, ...]
    layouts: tuple[Layout, ...]
    format: Format = field(default_factory=Format)


def judged_source(
    *,
    name: str,
    summary: str,
    kinds: tuple[str, ...],
    languages: str,
    layout: str,
    license: str,
    obtain: str,
    verified: str,
    files: JudgedFiles,
    reads: JudgedLayout = JudgedLayout(),  # noqa: B008  # frozen
    Settings: type[JudgedSettings] = JudgedSettings,
    language: str | None = None,
    min_grade: float | Callable[[Split], float] = 1,
    max_negative_grade: float = 0,
    kind_of: Callable[[Split, Any], str] | None = None,
    document_prefix: Callable[[Split], str] | None = None,
    document_end: str | None = None,
    rows: Rows | None = None,
) -> Source:
    """A Source of judgements. The first of `kinds` is that of the pairs unless `kind_of` tells it of (split, settings).

    The kind `title_body`, where it is one of `kinds`, is for passages that nobody judged, and given only when asked for.
    `language` is that of texts where no record, setting or file name says it. A document's id is the corpus's name, or
    `document_prefix`, and the passage's id up to `document_end`. Where the corpus also comes as `rows` that hold their
    texts, those are read where there are no judgements of the split.
    """
    corpus = JudgedCorpus(
        name,
        kinds,
        files,
        reads,
        language,
        min_grade if callable(min_grade) else lambda split: min_grade,
        max_negative_grade,
        kind_of,
        document_prefix,
        document_end,
    )
    usual = tuple(kind for kind in kinds if kind != "title_body")
    row_names = rows.names if rows else ()
    row_source = rows and record_source(
        name=name,
        summary=summary,
        kinds=kinds,
        languages=languages,
        layout=layout,
        license=license,
        obtain=obtain,
        verified=verified,
        layouts=rows.layouts,
        Settings=Settings,
        usual_kinds=usual,
        language=lambda split: language_in_names(files, row_names, [split.path]) or language,
        format=rows.format,
    )

    def gather(paths: Sequence[str], settings: Any) -> list[InputFile]:
        alone = _row_files(paths, row_names, settings.split) if row_source else []
        try:
            inputs = judged_inputs(name, files, paths, settings.split)
        except SourceError:
            if not alone:
                raise
            inputs = []
        if inputs or alone:
            return inputs or [InputFile(path) for path in alone]
        expected = ", ".join((*files.judgements, *files.triples, *row_names))
        found = ", ".join(path.rpartition("/")[2] for path in paths[:10])
        raise SourceError(
            f"source {name}: none of the {len(paths)} files is one of judgements of {settings.split!r}: expected"
            f" {expected}; found {found}. Give the corpus's folder, its files named as the corpus names them"
        )

    def drives(path: str) -> bool:
        return bool(named_files([path], driver_names(files)))

    def splits(path: str, settings: Any, target_bytes: int) -> list[Split]:
        if row_source and not drives(path):
            return row_source.splits(path, settings, target_bytes)
        return [Split(path, size=stored_size(path))]

    def read(split: Split, settings: Any) -> Iterator[Extracted]:
        chosen = chosen_kinds(name, settings, kinds, usual)
        if row_source and not drives(split.path):
            return row_source.read(split, settings)
        return JudgedExtraction(corpus, split, settings, chosen).run()

    return Source(
        name=name,
        summary=summary,
        kinds=kinds,
        languages=languages,
        layout=layout,
        license=license,
        obtain=obtain,
        Settings=Settings,
        splits=splits,
        read=read,
        gather=gather,
        verified=verified,
    )


def _row_files(paths: Sequence[str], names: Sequence[str], split: str) -> list[str]:
    found = [file.path for file in of_split(named_files(paths, names), split)]
    return [*found, *(path for path in paths if is_hub_path(path))]
