"""arXiv: the snapshot of the metadata of all its papers, (title, abstract).

Papers whose abstract says only that they were withdrawn are no pairs. Formulae stay as the authors wrote them, in
LaTeX.
"""

import re
from collections.abc import Iterator
from typing import Final

from sources.record_formats import Record
from sources.records import Layout, RawPair, RecordSettings, record_source

_WITHDRAWN: Final = re.compile(
    r"\s*(?:this|the) (?:paper|article|submission|manuscript|preprint|work)(?: by the authors?)?"
    r" (?:has been|is|was)(?: temporarily)? withdrawn",
    re.IGNORECASE,
)
_LICENSE: Final = re.compile(r"https?://creativecommons\.org/licenses/(by(?:-nc|-nd|-sa){0,2})/(\d\.\d)/?")
_PUBLIC_DOMAIN: Final = re.compile(r"https?://creativecommons\.org/publicdomain/zero/1\.0/?")


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    if not _WITHDRAWN.match(record["abstract"] or ""):
        identity = record["id"]
        yield RawPair(
            record["title"],
            record["abstract"],
            document_id=f"arxiv:{identity}" if identity else None,
            url=f"https://arxiv.org/abs/{identity}" if identity else None,
            license=_license(record.get("license")),
        )


def _license(address: str | None) -> str | None:
    """As SPDX writes it, where it is one of Creative Commons; arXiv's own is none."""
    if found := _LICENSE.fullmatch(address or ""):
        return f"CC-{found[1].upper()}-{found[2]}"
    return "CC0-1.0" if _PUBLIC_DOMAIN.fullmatch(address or "") else None


SOURCE: Final = record_source(
    name="arxiv",
    summary="titles and abstracts of all papers of arXiv",
    kinds=("title_abstract",),
    languages="English",
    layout="JSON lines arxiv-metadata-oai-snapshot.json: id, title, abstract, categories, license ...",
    license="CC0-1.0 for the metadata; each paper names its own",
    obtain="https://www.kaggle.com/datasets/Cornell-University/arxiv",
    verified="real rows (arxiv-metadata-oai-snapshot.json)",
    layouts=(Layout({"id": str, "title": str, "abstract": str}, _pairs, {"license": str}),),
    language="en",
)
