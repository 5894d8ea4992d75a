"""MS MARCO passage ranking: questions typed into a search engine, and the passages that answer them.

Each judgement of qrels is a pair; `qidpidtriples.train.full.2.tsv` or `triples.train.ids.small.tsv` beside it give its
negatives by id. Without judgements, the triples of ids make the pairs; and where only `triples.train.small.tsv` is given,
which holds the texts themselves, each of its rows is a pair with one negative: the same pair comes again with others.
"""

from collections.abc import Iterator
from typing import Final

from sources.judged.judged_files import JudgedFiles
from sources.judged.judged_pairs import JudgedSettings
from sources.judged.judged_source import Rows, judged_source
from sources.record_formats import Format, Record
from sources.records import Layout, RawPair
from sources.schema import text_id

LAYOUT: Final = (
    "qrels.{train,dev}.tsv (qid 0 pid grade), queries.{train,dev}.tsv (qid, query), collection.tsv (pid, passage);"
    " qidpidtriples.train.full*.tsv (qid, positive, negative) for negatives; or triples.train.small.tsv (the texts of"
    " query, positive, negative) alone. In one folder, compressed or not"
)


def _pairs(record: Record, settings: JudgedSettings) -> Iterator[RawPair]:
    positive = record["positive"] or ""
    negatives = [record["negative"] or ""] if settings.max_negatives else None
    yield RawPair(record["query"], positive, negatives=negatives, document_id=f"msmarco:{text_id(positive).hex()}")


SOURCE: Final = judged_source(
    name="msmarco",
    summary="questions of a search engine with passages judged to answer them",
    languages="eng_Latn",
    layout=LAYOUT,
    license="Microsoft's terms: non-commercial research",
    obtain="https://microsoft.github.io/msmarco/Datasets",
    verified="the corpus's README, real judgements and queries of dev",
    kinds=("question_context",),
    files=JudgedFiles(
        judgements=(
            "qrels.{split}.tsv",
            "qrels.{split}.small.tsv",
            "qrels.msmarco-passage.{split}.txt",
            "qrels.msmarco-passage.{split}-subset.txt",
        ),
        queries=(
            "queries.{split}.tsv",
            "queries.{split}.small.tsv",
            "topics.msmarco-passage.{split}.txt",
            "topics.msmarco-passage.{split}-subset.txt",
        ),
        passages=("collection.tsv",),
        triples=(
            "qidpidtriples.{split}.full.2.tsv",
            "qidpidtriples.{split}.full.tsv",
            "qidpidtriples.{split}.small.tsv",
            "triples.{split}.ids.small.tsv",
        ),
    ),
    language="eng_Latn",
    rows=Rows(
        names=("triples.{split}.small.tsv", "triples.{split}.full.tsv"),
        layouts=(Layout({"query": str, "positive": str, "negative": str}, _pairs),),
        format=Format(columns=(("query", "positive", "negative"),)),
    ),
)
