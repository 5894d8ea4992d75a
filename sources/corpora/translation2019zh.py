"""translation2019zh (brightmart/nlp_chinese_corpus): English sentences and their Chinese translations."""

from collections.abc import Iterator
from typing import Final

from sources.record_formats import Record
from sources.records import Layout, RawPair, RecordSettings, record_source


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    yield RawPair(record["english"], record["chinese"], None, None, "eng_Latn", "zho_Hans")


SOURCE: Final = record_source(
    name="translation2019zh",
    summary="5.2 million English and Chinese sentences, parallel",
    kinds=("parallel",),
    languages="eng_Latn, zho_Hans",
    layout="JSON lines translation2019zh_{train,valid}.json: english, chinese",
    license="MIT for the collection; the texts are their publishers'",
    obtain="https://github.com/brightmart/nlp_chinese_corpus",
    verified="the corpus's README",
    layouts=(Layout({"english": str, "chinese": str}, _pairs),),
)
