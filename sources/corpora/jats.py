"""Scientific articles in JATS XML: PubMed Central, PLOS, and other publishers.

    title_abstract    the title of an article, its abstract; translated titles with translated abstracts too
    subtitle_passage  the title and the headings above a section, the section's own text
    title_body        the title, the text before the first heading: letters, comments, editorials

Where an article has no abstract, its short summary counts. Sections about the article itself (funding, interests ...),
formulae, figures, tables and the numbers of references are left out. With `documents` an article is a document whose
sections are its abstract and those of its body.

Files are small and many: up to 500 of a folder, or of an archive, are read as one input.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

from pydantic import Field

from sources.families.jats_article import Article, parse_articles
from sources.files.reading import EXCERPT, base_name, one_split
from sources.files.text_files import content_of
from sources.formats.extracted_rows import ExtractedRows
from sources.records import BadRecord, RawPair, RecordSettings, chosen_kinds
from sources.source import Extracted, InputFile, Source, SourceError, Split
from sources.wikipedia import cut_passage

NAME: Final = "jats"
KINDS: Final = ("title_abstract", "subtitle_passage", "title_body")
FILES_AT_ONCE: Final = 500
MOST_HEADINGS: Final = 4_000_000  # characters of title and headings in all pairs of an article
FEW: Final = 3  # files: where none of so many holds an article, they are another corpus


class JatsSettings(RecordSettings):
    """Settings of the jats source."""

    min_passage_characters: int = Field(60, ge=1, description="a shorter section gives no pair")
    max_passage_characters: int = Field(2000, ge=100, description="a longer one is cut at the end of a sentence")


def gather(paths: Sequence[str], settings: JatsSettings) -> list[InputFile]:
    """Files of one folder together, FILES_AT_ONCE at most."""
    folders: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folders[path.rpartition("/")[0]].append(path)
    return [
        InputFile(files[first], tuple(files[first + 1 : first + FILES_AT_ONCE]))
        for _, files in sorted(folders.items())
        for first in range(0, len(files), FILES_AT_ONCE)
    ]


def splits(path: str, settings: JatsSettings, target_bytes: int) -> list[Split]:
    """One split a file."""
    return one_split(path)


def read(split: Split, settings: JatsSettings) -> Iterator[Extracted]:
    """Read the articles of a file and its companions. Raises SourceError where none of several files holds one."""
    chosen = chosen_kinds(NAME, settings, KINDS, KINDS)
    source = settings.label or NAME
    rows = ExtractedRows(source, split, "byte", KINDS, chosen, settings.language, settings.license)
    files = (split.path, *split.companions)
    right = 0
    for done, path in enumerate(files):
        position = (split.size or 0) * done // len(files)  # the share of the files stands for that of the first one
        rows.count()
        for number, article in enumerate(_articles(path, settings, rows)):
            right += number == 0
            try:
                _add(article, f"{base_name(path)}:{number}", settings, rows)
            except BadRecord as error:
                rows.bad(0, error.reason, error.detail, file=path)
            if rows.full:
                yield rows.take(position)
        if rows.full:
            yield rows.take(position)
    if not right and len(files) >= FEW:
        raise SourceError(f"{split.path}: neither it nor the {len(files) - 1} files beside it hold a JATS <article>")
    yield rows.take(split.size or 0)


def _articles(path: str, settings: JatsSettings, rows: ExtractedRows) -> list[Article]:
    """The articles of a file; where it cannot be used, it is quarantined and there are none."""
    data = b""
    try:
        data = content_of(path, settings.max_record_bytes, "utf-8")  # the file itself says what it is in
        return parse_articles(data)
    except BadRecord as error:
        rows.bad(0, error.reason, f"{error.detail} | ".encode() + data[:EXCERPT], file=path)
        return []


def _add(article: Article, place: str, settings: JatsSettings, rows: ExtractedRows) -> None:
    """Take the pairs of an article. Raises BadRecord where its headings are repeated in far too many of them."""
    if _size_of_headings(article) > MOST_HEADINGS:
        raise BadRecord(
            "too_many_pairs", f"{len(article.sections)} sections repeat more than {MOST_HEADINGS:,} characters"
        )
    identity, url = _identity(article) or (rows.place_id(place), None)

    def add(kind: str, query: str, positive: str, language: str | None) -> None:
        rows.add(RawPair(query, positive, kind, None, language, language, identity, url=url, license=article.license))

    for abstract in article.abstracts:
        add("title_abstract", abstract.title, abstract.text, abstract.language)
    for section in article.sections:
        if len(section.text) >= settings.min_passage_characters:
            text = cut_passage(section.text, settings.max_passage_characters)
            query = f"{article.title} {' > '.join(section.path)}" if section.path else article.title
            add("subtitle_passage" if section.path else "title_body", query, text, article.language)
    if settings.documents:
        own = [(("Abstract",), abstract.text) for abstract in article.abstracts[:1]]
        body = [(section.path, section.text) for section in article.sections]
        rows.add_document(
            identity, article.title, own + body, url=url, language=article.language, license=article.license
        )


def _size_of_headings(article: Article) -> int:
    """Characters of the title and the headings in all pairs: a long title of many sections would fill memory."""
    return sum(len(article.title) + sum(map(len, section.path)) for section in article.sections)


def _identity(article: Article) -> tuple[str, str | None] | None:
    """The id and the address of an article: by DOI, by PubMed Central, by PubMed; None where it has none of these."""
    ids = article.ids
    central = ids.get("pmc") or ids.get("pmcid") or ids.get("pmcaid")
    if doi := ids.get("doi"):
        return f"{NAME}:{doi}", f"https://doi.org/{quote(doi, safe='/:;()._-,')}"
    if central:
        number = central.upper().removeprefix("PMC")
        return f"{NAME}:PMC{number}", f"https://pmc.ncbi.nlm.nih.gov/articles/PMC{quote(number)}/"
    if "pmid" in ids:
        return f"{NAME}:pmid{ids['pmid']}", f"https://pubmed.ncbi.nlm.nih.gov/{quote(ids['pmid'])}/"
    return None


SOURCE: Final = Source(
    name=NAME,
    summary="scientific articles in JATS XML (PubMed Central, PLOS): abstracts and sections",
    kinds=KINDS,
    languages="as each article says",
    layout="one article a file, .xml or .nxml, plain or compressed, in folders or in .zip and .tar archives",
    license="as each article says (Creative Commons licences are recognised)",
    obtain="https://pmc.ncbi.nlm.nih.gov/tools/openftlist/ or https://api.plos.org/text-and-data-mining.html",
    Settings=JatsSettings,
    splits=splits,
    read=read,
    gather=gather,
    verified="real files (PLOS); PubMed Central's: from memory",
)
