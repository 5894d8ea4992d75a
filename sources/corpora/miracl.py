"""MIRACL: questions of native speakers in 18 languages, with passages of Wikipedia judged relevant (1) or not (0).

Each language is an input of its own. Passage `X#Y` is paragraph Y of article X: the article is the document. Rows that hold
their texts (`query, positive_passages, negative_passages`) make the same pairs.
"""

from typing import Final

from sources.judged.judged_files import JudgedFiles
from sources.judged.judged_source import Rows, judged_source
from sources.judged.passage_rows import passage_rows

LANGUAGES: Final = [
    "ar",
    "bn",
    "de",
    "en",
    "es",
    "fa",
    "fi",
    "fr",
    "hi",
    "id",
    "ja",
    "ko",
    "ru",
    "sw",
    "te",
    "th",
    "yo",
    "zh",
]

SOURCE: Final = judged_source(
    name="miracl",
    summary="questions in 18 languages with judged passages of Wikipedia",
    languages="as the names of the files say: ar bn de en es fa fi fr hi id ja ko ru sw te th yo zh",
    layout=(
        "miracl-v1.0-{language}/qrels/qrels.miracl-v1.0-{language}-{split}.tsv (qid Q0 docid grade),"
        " topics/topics.miracl-v1.0-{language}-{split}.tsv (qid, query), miracl-corpus-v1.0-{language}/docs-*.jsonl.gz"
        " (docid, title, text); or rows of query_id, query, positive_passages, negative_passages (docid, title, text) in"
        " {language}/{split}*.jsonl or .parquet"
    ),
    license="Apache-2.0; the passages CC-BY-SA",
    obtain="https://github.com/project-miracl/miracl",
    verified="real topics and judgements of 10 languages; the corpus's README for passages and rows",
    kinds=("question_context", "title_body"),
    files=JudgedFiles(
        judgements=("qrels.miracl-v1.0-{language}-{split}.tsv",),
        queries=("topics.miracl-v1.0-{language}-{split}.tsv",),
        passages=("miracl-corpus-v1.0-{language}/docs-*.jsonl", "miracl-corpus-v1.0-{language}/*.parquet"),
        languages=dict(zip(LANGUAGES, LANGUAGES, strict=True)),
    ),
    document_end="#",
    rows=Rows(
        names=(
            "miracl-v1.0-{language}/{split}*.jsonl",
            "miracl-v1.0-{language}/{split}*.parquet",
            "{language}/{split}*.jsonl",
            "{language}/{split}*.parquet",
            "{split}*.jsonl",
            "{split}-*.parquet",
        ),
        layouts=(passage_rows("miracl", document_end="#"),),
    ),
)
