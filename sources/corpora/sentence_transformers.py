"""Training files of sentence-transformers: lines of lists, sets of texts, queries with positives, and tables of columns.

A list is (anchor, positive, negatives ...). Of a set, whose texts all mean the same, each text is paired with the next: all
texts come in, and a set of n gives n - 1 pairs. Rows of sentence1, sentence2 and score (or label) are pairs from
`min_score` on; the score is the `label`. Other tables are known by the names of their columns (sources.families.text_pairs).
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from sources.families.similarity import number_of
from sources.families.text_pairs import TextPairSettings, field_pair_layouts, positives_layout, texts_of
from sources.record_formats import Format, Record
from sources.records import BadRecord, Layout, RawPair, record_source
from sources.schema import KINDS


def _list(record: Record, settings: TextPairSettings) -> Iterator[RawPair]:
    texts = _two_or_more(record["texts"])
    score = number_of(record.get("label"))
    if score is None or score >= settings.min_score:
        yield RawPair(texts[0], texts[1], settings.kind or "other", negatives=texts[2:] or None, label=score)


def _set(record: Record, settings: TextPairSettings) -> Iterator[RawPair]:
    for first, second in pairwise(_two_or_more(record["set"])):
        yield RawPair(first, second, settings.kind or "paraphrase")


def _two_or_more(texts: list[Any] | None) -> list[str]:
    if not texts or len(texts) < 2:
        raise BadRecord("too_few_texts", f"{len(texts or ())} texts, expected two or more")
    return texts_of(texts, "list")


SOURCE: Final = record_source(
    name="sentence_transformers",
    summary="Training files of sentence-transformers, e.g. embedding-training-data",
    kinds=KINDS,
    languages="name one in `language`",
    layout='JSON lines: [anchor, positive, negative ...], {"set": [...]}, {"query", "pos", "neg"}, {"texts", "label"}; JSON '
    "lines, Parquet or tables with a header: anchor, positive, negative[_1 ... _n]; sentence1, sentence2, score or label; "
    "question, answer; title, abstract; english, non_english; and the like",
    license="that of the texts",
    obtain="https://huggingface.co/datasets/sentence-transformers/embedding-training-data",
    verified="the README of embedding-training-data (lists, sets, query with pos and neg); column names: memory only",
    layouts=(
        *(Layout({"texts": list}, _list, {"label": kind}) for kind in (float, str)),
        Layout({"set": list}, _set),
        positives_layout(),
        *field_pair_layouts(),
    ),
    Settings=TextPairSettings,
    format=Format(lists="texts"),
)
