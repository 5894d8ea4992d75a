"""mMARCO: MS MARCO passage ranking translated into 13 languages.

Each language is an input of its own: the queries and the collection of the language, the judgements of MS MARCO, and the
triples of ids for negatives. Where there are no judgements, as in the corpus's own folder for train, the pairs are the
distinct (query, positive) of the triples. Rows of the hub (query, positive, negative) are pairs with one negative each.
A passage has one id in all languages, and so has its document: its translations are held out and mined together.
"""

from collections.abc import Iterator
from typing import Final

from sources.judged.judged_files import JudgedFiles
from sources.judged.judged_pairs import JudgedSettings
from sources.judged.judged_source import Rows, judged_source
from sources.record_formats import Record
from sources.records import Layout, RawPair
from sources.schema import text_id

LANGUAGES: Final = {
    "arabic": "ar",
    "chinese": "zh",
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "hindi": "hi",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "vietnamese": "vi",
}


def _pairs(record: Record, settings: JudgedSettings) -> Iterator[RawPair]:
    positive = record["positive"] or ""
    negative = record.get("negative")
    negatives = [negative] if negative and settings.max_negatives else None
    yield RawPair(record["query"], positive, negatives=negatives, document_id=f"mmarco:{text_id(positive).hex()}")


SOURCE: Final = judged_source(
    name="mmarco",
    summary="MS MARCO passage ranking in 14 languages, by machine translation",
    languages="as the names of the files say: ar de en es fr hi id it ja nl pt ru vi zh",
    layout=(
        "{language}_queries.{split}.tsv (qid, query), {language}_collection.tsv (pid, passage), and"
        " triples.train.ids.small.tsv or MS MARCO's qrels.{split}.tsv; or rows of query, positive, negative as JSON lines or"
        " Parquet, the language in a folder's name or in `language`"
    ),
    license="Apache-2.0 for the translations; the texts under Microsoft's terms: non-commercial research",
    obtain="https://github.com/unicamp-dl/mMARCO",
    verified="the corpus's README and the names of its files",
    kinds=("question_context",),
    files=JudgedFiles(
        judgements=("qrels.{split}.tsv", "qrels.{split}.small.tsv"),
        queries=("{language}_queries.{split}.tsv", "{language}_queries.{split}.small.tsv"),
        passages=("{language}_collection.tsv",),
        triples=("triples.{split}.ids.small.tsv",),
        by_language=True,
        languages=LANGUAGES,
    ),
    rows=Rows(
        names=(
            "{language}/{split}*.jsonl",
            "{language}/{split}*.parquet",
            "{split}*.jsonl",
            "{split}*.parquet",
        ),
        layouts=(Layout({"query": str, "positive": str}, _pairs, {"negative": str}),),
    ),
)
