"""DPR's Wikipedia of December 2018 in 21 million passages of 100 words: (article title, passage).

The texts are quoted as CSV has it (a quote doubled inside), but no cell holds a line break: so the file is read as
lines, which can be split, and the quotes come off here.
"""

from collections.abc import Iterator
from typing import Final

from sources.record_formats import Format, Record
from sources.records import Layout, RawPair, RecordSettings, record_id, record_source


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    title = _unquoted(record["title"])
    yield RawPair(title, _unquoted(record["text"]), document_id=record_id("dpr_wikipedia", title))


def _unquoted(cell: str | None) -> str | None:
    if cell is None or len(cell) < 2 or cell[0] != '"' or cell[-1] != '"':
        return cell
    return cell[1:-1].replace('""', '"')


SOURCE: Final = record_source(
    name="dpr_wikipedia",
    summary="the English Wikipedia in passages of 100 words (DPR's psgs_w100.tsv)",
    kinds=("title_body",),
    languages="eng_Latn",
    layout="psgs_w100.tsv: id, text, title, with a header; or hub rows of the same columns",
    license="CC BY-SA 3.0",
    obtain="https://github.com/facebookresearch/DPR",
    verified="a made-up row of the same columns; the quotes from DPR's own reader",
    layouts=(Layout({"text": str, "title": str}, _pairs),),
    format=Format(other="tsv", columns=(("id", "text", "title"),), quoting=False),
    language="eng_Latn",
)
