"""BAAI-MTP: the 300 million pairs that BGE was trained on. Its field names are not published.

Records are read where their fields have names that such sets use (those of sources.families.text_pairs, query with pos and neg,
text_pair); any other file fails with the names that were found: use jsonl then, and name the fields.
"""

from collections.abc import Iterator
from typing import Final

from sources.families.text_pairs import TextPairSettings, field_pair_layouts, positives_layout, texts_of
from sources.record_formats import Format, Record
from sources.records import BadRecord, Layout, RawPair, record_source
from sources.schema import KINDS


def _positive(record: Record, settings: TextPairSettings) -> Iterator[RawPair]:
    yield RawPair(record["query"], record["pos"], settings.kind or "other")


def _list(record: Record, settings: TextPairSettings) -> Iterator[RawPair]:
    texts = texts_of(record["text_pair"] or [], "text_pair")
    if len(texts) != 2:
        raise BadRecord("wrong_number_of_texts", f"{len(texts)} texts, expected two")
    yield RawPair(texts[0], texts[1], settings.kind or "other")


SOURCE: Final = record_source(
    name="mtp",
    summary="BAAI-MTP: 300 million English and Chinese pairs of texts",
    kinds=KINDS,
    languages="eng_Latn, zho_Hans: name one in `language`",
    layout="not published; accepted are JSON lines or Parquet with query and pos (and neg), text_pair, title and text, "
    "question and answer, and the like",
    license="the publisher's data agreement",
    obtain="https://data.baai.ac.cn/details/BAAI-MTP",
    verified="memory only",
    layouts=(
        positives_layout(),
        Layout({"query": str, "pos": str}, _positive),
        Layout({"text_pair": list}, _list),
        *field_pair_layouts(),
    ),
    Settings=TextPairSettings,
    format=Format(lists="text_pair"),
)
