"""S2ORC and other releases of Semantic Scholar's papers, with the pairs of BGE's collection.

    title_abstract  the title of a paper, its abstract
    citation        the title of a paper, that of one it cites; its abstract, that of one it cites (`citation_texts`)

A paper without title or abstract gives no title_abstract, a cited paper that is not among the given files no citation.
Of each paper at most `max_citations` cited ones count, chosen by hash, so that long lists of references do not outweigh
all others. The ` ::: ` between the lines of some abstracts is left out. The document of a pair is the paper of its
positive.

Citations lead to any file of the release: one task reads all files once more and joins them in temporary files
(in TMPDIR; about as large as the texts of the release, sources.families.citations); titles and abstracts are read file by file,
in parallel. In Semantic Scholar's current release titles, abstracts and citations are in files of their own, so all
come from the join.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from sources.collector import without_collector
from sources.families.citations import Citations
from sources.files.partitions import MOST_PARTS, partition_count
from sources.files.reading import base_name, input_size, is_compressed
from sources.formats.hub_rows import is_hub_path
from sources.languages import language_code
from sources.record_formats import Format, Record, Records, open_records
from sources.records import BadRecord, Layout, RawPair, RecordSettings, chosen_kinds, record_source, text_of
from sources.schema import make_pairs
from sources.source import Extracted, InputFile, Source, SourceSettings, Split, extracted

NAME: Final = "s2orc"
KINDS: Final = ("title_abstract", "citation")
LANGUAGE: Final = "en"
FORMAT: Final = Format(lists="texts")
LONGEST_TEXT: Final = 20_000  # characters of a title or an abstract in the join
NOWHERE: Final = 1 << 62  # a byte that no file has: the split that joins all files starts and ends there

Text = Literal["title", "abstract"]


class S2orcSettings(RecordSettings):
    """Settings of the s2orc source."""

    max_citations: int = Field(5, ge=1, description="most cited papers of a paper, chosen by hash")
    citation_texts: tuple[Text, ...] = Field(
        ("title", "abstract"), min_length=1, description="texts of citing and cited paper that make a pair"
    )


def _paper(abstract: str, identity: str) -> Callable[[Record, Any], Iterator[RawPair]]:
    def pairs(record: Record, settings: S2orcSettings) -> Iterator[RawPair]:
        if record["title"] and record[abstract]:
            paper = str(record[identity])
            yield RawPair(
                record["title"],
                _in_one_piece(record[abstract]),
                document_id=_document_id(paper),
                url=record.get("s2_url") or record.get("s2Url") or record.get("url"),
            )

    return pairs


def _in_one_piece(abstract: str) -> str:
    """An abstract without the ` ::: ` that stands between its lines where it comes from Microsoft's graph."""
    return abstract.replace(" ::: ", " ") if " ::: " in abstract else abstract


def _document_id(paper: str) -> str:
    return f"{NAME}:{paper}"


def _of_fields(query: str, positive: str, kind: str) -> Callable[[Record, Any], Iterator[RawPair]]:
    def pairs(record: Record, settings: S2orcSettings) -> Iterator[RawPair]:
        yield RawPair(record[query], record[positive], kind)

    return pairs


def _list_of(kind: str) -> Callable[[Record, Any], Iterator[RawPair]]:
    def pairs(record: Record, settings: S2orcSettings) -> Iterator[RawPair]:
        texts = record["texts"]
        if not texts or len(texts) != 2:
            raise BadRecord("wrong_number_of_texts", f"{len(texts or ())} texts, expected two")
        yield RawPair(text_of(texts[0], "first text"), text_of(texts[1], "second text"), kind)

    return pairs


def _joined_only(record: Record, settings: S2orcSettings) -> Iterator[RawPair]:
    """What records give that hold a part of a paper: nothing before the join."""
    return iter(())


_ADDRESSES: Final = {"url": str}


def _layouts(split: Split, settings: S2orcSettings) -> Sequence[Layout]:
    kind = "citation" if "citation" in base_name(split.path).lower() else "title_abstract"
    return (
        Layout(
            {"paper_id": str, "title": str, "abstract": str},
            _paper("abstract", "paper_id"),
            {"outbound_citations": list, "s2_url": str},
        ),
        Layout(
            {"id": str, "title": str, "paperAbstract": str},
            _paper("paperAbstract", "id"),
            {"outCitations": list, "s2Url": str},
        ),
        Layout({"corpusid": int, "title": str, "abstract": str}, _paper("abstract", "corpusid"), _ADDRESSES),
        Layout({"title": str, "abstract": str}, _of_fields("title", "abstract", "title_abstract")),
        Layout({"title": str, "citation": str}, _of_fields("title", "citation", "citation")),
        Layout({"abstract": str, "citation": str}, _of_fields("abstract", "citation", "citation")),
        Layout({"texts": list}, _list_of(kind)),
        Layout({"corpusid": int, "title": str}, _joined_only),
        Layout({"corpusid": int, "abstract": str}, _joined_only),
        Layout({"citingcorpusid": int, "citedcorpusid": int}, _joined_only),
    )


_RECORDS: Final = record_source(
    name=NAME,
    summary="papers of Semantic Scholar: titles with abstracts, citations",
    kinds=KINDS,
    languages="English, by far most of it",
    layout="JSON lines: metadata/*.jsonl.gz of the release of 2020 (paper_id, title, abstract, outbound_citations); "
    "the older Open Research Corpus (id, title, paperAbstract, outCitations); shards of the current release (papers: "
    "corpusid, title; abstracts: corpusid, abstract; citations: citingcorpusid, citedcorpusid); sentence-transformers' "
    "S2ORC_*.jsonl.gz of [title, abstract] or, with `citation` in the name, of citing and cited texts; Parquet alike",
    license="ODC-By 1.0; the release of 2020 CC BY-NC 4.0",
    obtain="https://github.com/allenai/s2orc",
    verified="real rows (metadata of 2020, Open Research Corpus); all others: memory only",
    layouts=_layouts,
    Settings=S2orcSettings,
    language=LANGUAGE,
    format=FORMAT,
)


def gather(paths: Sequence[str], settings: S2orcSettings) -> list[InputFile]:
    """Every file by itself; the first of those that the join needs has all of these as companions."""
    joined = tuple(path for path in paths if _needs_join(path, settings))
    return (
        [InputFile(path, joined if path == joined[0] else ()) for path in paths] if joined else [*map(InputFile, paths)]
    )


# What the join needs of a record, in all layouts.
_JOINED_FIELDS: Final = frozenset(
    {
        *("paper_id", "id", "corpusid", "citingcorpusid", "citedcorpusid"),
        *("title", "abstract", "paperAbstract", "outbound_citations", "outCitations"),
    }
)


def _records(path: str, settings: S2orcSettings) -> Records:
    return open_records(Split(path), FORMAT, settings.max_record_bytes, _JOINED_FIELDS, _JOINED_FIELDS)


def _needs_join(path: str, settings: S2orcSettings) -> bool:
    citations = "citation" in chosen_kinds(NAME, settings, KINDS, KINDS)
    if is_hub_path(path):
        return False
    for batch in _records(path, settings):
        for record in filter(None, batch.records):
            if "paper_id" in record or "id" in record:
                return citations
            return "corpusid" in record or "citingcorpusid" in record
    return False


class _S2orc(Source):
    """A source whose files are read one by one, and once more together."""

    def input_splits(self, file: InputFile, settings: SourceSettings, target_bytes: int) -> list[Split]:
        """The splits of the file, and the one that joins its companions."""
        alone = super().input_splits(replace(file, companions=()), settings, target_bytes)
        return [*alone, Split(file.path, NOWHERE, NOWHERE, companions=file.companions)] if file.companions else alone


def read(split: Split, settings: S2orcSettings) -> Iterator[Extracted]:
    """Stream the records of a split, or join all files."""
    return without_collector(_join(split, settings)) if split.start == NOWHERE else _RECORDS.read(split, settings)


def _join(split: Split, settings: S2orcSettings) -> Iterator[Extracted]:
    """What no file gives alone. Records are counted, and bad ones quarantined, where the files are read one by one."""
    chosen = chosen_kinds(NAME, settings, KINDS, KINDS)
    citations = Citations(_part_count(split.companions))
    for path in split.companions:
        for batch in _records(path, settings):
            _add(citations, [record for record in batch.records if record is not None], "citation" in chosen)
            yield extracted(0, split.start)
    if "title_abstract" in chosen:
        for papers in citations.papers():
            whole = papers.filter(pc.and_(pc.is_valid(papers["title"]), pc.is_valid(papers["abstract"])))
            put_together = whole.filter(pc.invert(whole["complete"]))
            yield _step(split, settings, put_together, "title", "abstract", "id", "title_abstract")
    if "citation" in chosen:
        for citing in citations.joined(settings.max_citations):
            for text in settings.citation_texts:
                both = citing.filter(pc.and_(pc.is_valid(citing[text]), pc.is_valid(citing[f"cited_{text}"])))
                yield _step(split, settings, both, text, f"cited_{text}", "cited_id", "citation")


def _part_count(paths: Sequence[str]) -> int:
    """Parts for all files; more than for the papers alone, for each is stored again with those that cite it."""
    sizes = [(input_size(path), is_compressed(path)) for path in paths]
    count = partition_count(sum(size or 0 for size, _ in sizes), any(packed for _, packed in sizes))
    return min(MOST_PARTS, max(len(paths), 3 * count))


def _step(
    split: Split, settings: S2orcSettings, table: pa.Table, query: str, positive: str, identity: str, kind: str
) -> Extracted:
    language = language_code(settings.language or LANGUAGE)
    ids = pc.binary_join_element_wise(f"{NAME}:", table[identity], "")
    pairs, rejects = make_pairs(
        query=table[query],
        positive=table[positive],
        kind=kind,
        source=settings.label or NAME,
        document_id=ids,
        url=_addresses(table[identity]),
        query_lang=language,
        positive_lang=language,
        license=settings.license,
    )
    return extracted(0, split.start, pairs=pairs, rejects=rejects)


def _addresses(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Semantic Scholar's pages of papers: by number, or by the 40 hexadecimal digits of older releases."""
    number = pc.binary_join_element_wise("https://api.semanticscholar.org/CorpusID:", ids, "")
    digest = pc.binary_join_element_wise("https://www.semanticscholar.org/paper/", ids, "")
    return pc.if_else(pc.match_substring_regex(ids, pattern="^[0-9]+$"), number, digest)


def _add(citations: Citations, records: Sequence[Record], with_edges: bool) -> None:
    """Put the papers and edges of records into the join; records of other shape give nothing."""
    papers: list[tuple[str, str | None, str | None, bool]] = []
    citing: list[str] = []
    cited: list[str] = []
    for record in records:
        if "citingcorpusid" in record:
            ends = record["citingcorpusid"], record.get("citedcorpusid")
            if type(ends[0]) is int and type(ends[1]) is int:
                citing.append(str(ends[0]))
                cited.append(str(ends[1]))
            continue
        identity, abstract, references = _fields_of(record)
        if type(identity) not in (str, int):
            continue
        title = _text_or_none(record.get("title"))
        papers.append((str(identity), title, abstract, title is not None and abstract is not None))
        of_paper = [reference for reference in references if type(reference) is str]
        citing += [str(identity)] * len(of_paper)
        cited += of_paper
    if papers:
        citations.add_papers(*zip(*papers, strict=True))
    if with_edges and citing:
        citations.add_edges(citing, cited)


def _fields_of(record: Record) -> tuple[Any, str | None, Sequence[Any]]:
    """Id, abstract and ids of the cited papers, as each release names them."""
    if "paper_id" in record:
        identity, abstract, references = record["paper_id"], record.get("abstract"), record.get("outbound_citations")
    elif "corpusid" in record:
        identity, abstract, references = record["corpusid"], record.get("abstract"), None
    else:
        identity, abstract, references = record.get("id"), record.get("paperAbstract"), record.get("outCitations")
    text = _text_or_none(abstract)
    return identity, text and _in_one_piece(text), references if type(references) is list else ()


def _text_or_none(value: Any) -> str | None:
    """A text of the join: each citation of a paper repeats it, so what is longer than any title or abstract is none."""
    return value if type(value) is str and len(value) <= LONGEST_TEXT and value and not value.isspace() else None


SOURCE: Final = _S2orc(
    name=NAME,
    summary=_RECORDS.summary,
    kinds=KINDS,
    languages=_RECORDS.languages,
    layout=_RECORDS.layout,
    license=_RECORDS.license,
    obtain=_RECORDS.obtain,
    Settings=S2orcSettings,
    splits=_RECORDS.splits,
    read=read,
    gather=gather,
    verified=_RECORDS.verified,
)
