"""SciTLDR: computer-science papers with one-sentence summaries.

Pairs: (summary, abstract), one a summary, and (title, abstract). In the files of SciTLDR-A the source is the abstract; in
those of AIC it is abstract, introduction and conclusion, in FullText the whole paper.
"""

from collections.abc import Iterator
from typing import Final

from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawPair, RecordSettings, joined_texts, record_id, record_source, text_of


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair | BadRecord]:
    abstract = joined_texts(record["source"], " ", "source")
    identity = record_id("scitldr", record.get("paper_id"))
    for summary in record["target"] or ():
        yield RawPair(text_of(summary, "target"), abstract, "summary_body", document_id=identity)
    if record.get("title"):
        yield RawPair(record["title"], abstract, "title_abstract", document_id=identity)


SOURCE: Final = record_source(
    name="scitldr",
    summary="Papers of OpenReview with summaries of one sentence",
    kinds=("summary_body", "title_abstract"),
    languages="eng_Latn",
    layout="JSON lines SciTLDR-A/{train,dev,test}.jsonl: source, target, title, paper_id",
    license="Apache-2.0",
    obtain="https://github.com/allenai/scitldr",
    verified="real rows",
    layouts=(Layout({"source": list, "target": list}, _pairs, {"title": str, "paper_id": str}),),
    language="en",
)
