"""MLDR: questions that a model wrote about one paragraph of a long article, each with the whole article, in 13 languages.

Rows hold their texts (`query, positive_passages, negative_passages`), an article's id being its document's. Beside a
corpus, the judgements of dev and test make the same pairs.
"""

from typing import Final

from sources.judged.judged_files import JudgedFiles
from sources.judged.judged_source import Rows, judged_source
from sources.judged.passage_rows import passage_rows

LANGUAGES: Final = ["ar", "de", "en", "es", "fr", "hi", "it", "ja", "ko", "pt", "ru", "th", "zh"]

SOURCE: Final = judged_source(
    name="mldr",
    summary="questions about long articles in 13 languages",
    languages="as the names of the files say: ar de en es fr hi it ja ko pt ru th zh",
    layout=(
        "mldr-v1.0-{language}/{train,dev,test}.jsonl or {language}/{split}*.parquet: query_id, query, positive_passages,"
        " negative_passages (docid, text); or qrels.mldr-v1.0-{language}-{split}.tsv, topics.mldr-v1.0-{language}-{split}.tsv"
        " and mldr-v1.0-{language}/corpus.jsonl (docid, text)"
    ),
    license="MIT; the articles are their publishers'",
    obtain="https://huggingface.co/datasets/Shitao/MLDR",
    verified="the corpus's card; topics from memory",
    kinds=("question_context",),
    files=JudgedFiles(
        judgements=("qrels.mldr-v1.0-{language}-{split}.tsv",),
        queries=("topics.mldr-v1.0-{language}-{split}.tsv", "mldr-v1.0-{language}/{split}.jsonl"),
        passages=(
            "mldr-v1.0-{language}/corpus.jsonl",
            "corpus-{language}/*.parquet",
            "{language}/corpus.jsonl",
        ),
        languages=dict(zip(LANGUAGES, LANGUAGES, strict=True)),
    ),
    rows=Rows(
        names=(
            "mldr-v1.0-{language}/{split}*.jsonl",
            "{language}/{split}*.jsonl",
            "{language}/{split}*.parquet",
            "{split}*.jsonl",
            "{split}-*.parquet",
        ),
        layouts=(passage_rows("mldr"),),
    ),
)
