"""SimCLUE: Chinese sentences that mean the same.

`train_pair` has labels: 1 makes a pair, 0 a negative of the pairs with the same first sentence. `train_pair_postive` holds
pairs only, `train_rank` a negative beside each.
"""

from collections.abc import Iterator
from typing import Final

from sources.families.negatives import RawNegative
from sources.families.similarity import similarity
from sources.record_formats import Record
from sources.records import Layout, NegativesSettings, RawPair, record_source


def _judged(record: Record, settings: NegativesSettings) -> Iterator[RawPair | RawNegative]:
    return similarity(record["sentence1"], record["sentence2"], record["label"])


def _ranked(record: Record, settings: NegativesSettings) -> Iterator[RawPair]:
    negative = record.get("neg_title")
    yield RawPair(record["query"], record["title"], negatives=[negative] if negative else None)


SOURCE: Final = record_source(
    name="simclue",
    summary="3 million Chinese pairs of sentences for similarity, of nine sets",
    kinds=("paraphrase",),
    languages="zho_Hans",
    layout="JSON lines train_pair.json (sentence1, sentence2, label 0/1), train_pair_postive.json (query, title), "
    "train_rank.json (query, title, neg_title)",
    license="none stated; the sets gathered in it have their own",
    obtain="https://github.com/CLUEbenchmark/SimCLUE",
    verified="the corpus's README",
    layouts=(
        *(Layout({"sentence1": str, "sentence2": str, "label": kind}, _judged) for kind in (str, int)),
        Layout({"query": str, "title": str}, _ranked, {"neg_title": str}),
    ),
    Settings=NegativesSettings,
    language="zho_Hans",
    gathers_negatives=True,
)
