"""AllNLI: SNLI and MultiNLI in one file, as sentence-transformers gives them.

A premise is a query, an entailed hypothesis its positive, contradicted ones its negatives. The table holds the splits of
both sets: one of them is read.
"""

from collections.abc import Iterator
from typing import Final, Literal

from pydantic import Field

from sources.families.inference import inference, inference_layouts, relation_of
from sources.families.negatives import RawNegative
from sources.families.text_pairs import texts_of
from sources.record_formats import Format, Record
from sources.records import BadRecord, Layout, NegativesSettings, RawPair, record_source


class AllNliSettings(NegativesSettings):
    """Settings of all_nli."""

    split: Literal["train", "dev", "test"] = Field(
        "train", description="rows of the table to read; others are no pairs"
    )


def _row(record: Record, settings: AllNliSettings) -> Iterator[RawPair | RawNegative]:
    if record["split"] == settings.split:
        yield from inference(record["sentence1"], record["sentence2"], relation_of(record["label"]))


def _list(record: Record, settings: AllNliSettings) -> Iterator[RawPair]:
    texts = texts_of(record["texts"], "texts")
    if len(texts) not in (2, 3):
        raise BadRecord("wrong_number_of_texts", f"{len(texts)} texts, expected anchor, entailment, contradiction")
    yield RawPair(texts[0], texts[1], "nli", negatives=texts[2:])


def _triplet(record: Record, settings: AllNliSettings) -> Iterator[RawPair]:
    negative = record.get("negative")
    yield RawPair(record["anchor"], record["positive"], "nli", negatives=[negative] if negative else None)


SOURCE: Final = record_source(
    name="all_nli",
    summary="SNLI and MultiNLI in one file",
    kinds=("nli",),
    languages="eng_Latn",
    layout="AllNLI.tsv.gz (split, dataset, filename, sentence1, sentence2, label); AllNLI.jsonl.gz (lines "
    "[anchor, entailment, contradiction]); hub rows: anchor, positive, negative, or premise, hypothesis, label",
    license="those of SNLI (CC-BY-SA-4.0) and MultiNLI",
    obtain="https://huggingface.co/datasets/sentence-transformers/all-nli",
    verified="the README of the collection (lines of lists); the table and hub rows: memory only",
    layouts=(
        Layout({"split": str, "sentence1": str, "sentence2": str, "label": str}, _row),
        Layout({"texts": list}, _list),
        Layout({"anchor": str, "positive": str}, _triplet, {"negative": str}),
        *inference_layouts("premise", "hypothesis", "label"),
    ),
    Settings=AllNliSettings,
    language="eng_Latn",
    format=Format(lists="texts"),
    gathers_negatives=True,
)
