"""Training files of FlagEmbedding: a query, its positives and its negatives.

One pair for each entry of `pos`, with all of `neg` as negatives. An entry's score (`pos_scores`, of a reranker) is the
pair's `label`: on the scale of the file, and not touched by the job that measures relevance. Not read are `neg_scores`,
for which a pair has no place, `prompt` and `type`, which belong to a training run. Files in a folder whose name begins
with `parallel_` hold translations, as FlagEmbedding has it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sources.families.similarity import number_of
from sources.families.text_pairs import TextPairSettings, positives_of
from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawPair, record_source
from sources.schema import KINDS
from sources.source import Split


def _labels(scores: list[Any] | None, positives: list[Any]) -> list[float] | None:
    """The positives' scores. Raises BadRecord where they do not fit together."""
    if not scores:
        return None
    labels = [number for score in scores if (number := number_of(score)) is not None]
    if len(labels) != len(positives) or len(scores) != len(positives):
        raise BadRecord("wrong_number_of_scores", f"pos_scores has {len(labels)} scores for {len(positives)} positives")
    return labels


def _layouts(split: Split, settings: TextPairSettings) -> Sequence[Layout]:
    parallel = any(folder.startswith("parallel_") for folder in split.path.split("/")[:-1])
    kind = settings.kind or ("parallel" if parallel else "other")

    def several(record: Record, settings: TextPairSettings) -> Iterator[RawPair | BadRecord]:
        positives = record["pos"] or []
        labels = _labels(record.get("pos_scores"), positives)
        return positives_of(record["query"], positives, negatives=record.get("neg"), kind=kind, labels=labels)

    def one(record: Record, settings: TextPairSettings) -> Iterator[RawPair | BadRecord]:
        return positives_of(record["query"], [record["pos"] or ""], negatives=record.get("neg"), kind=kind)

    return [
        Layout({"query": str, "pos": list}, several, {"neg": list, "pos_scores": list}),
        Layout({"query": str, "pos": str}, one, {"neg": list}),
    ]


SOURCE: Final = record_source(
    name="flag_embedding",
    summary="Training files of FlagEmbedding (BGE), e.g. bge-m3-data",
    kinds=KINDS,
    languages="name one in `language`",
    layout="JSON lines: query, pos (list of texts), neg (list of texts), pos_scores, neg_scores, prompt, type",
    license="that of the texts",
    obtain="https://huggingface.co/datasets/Shitao/bge-m3-data",
    verified="the README of FlagEmbedding",
    layouts=_layouts,
    Settings=TextPairSettings,
)
