"""T2Ranking: Chinese queries of a search engine with passages graded 0 to 3.

Passages graded 2 or 3 are relevant, as the corpus has it for retrieval, those graded 0 or 1 are negatives: the graded
judgements are preferred to `qrels.retrieval.*.tsv`, which holds the relevant ones alone. The first passages of
`train.mined.tsv`, or else of `train.bm25.tsv`, follow as negatives, without those judged relevant: they are found, not
judged, and some of them answer the query.
"""

from typing import Final

from sources.judged.judged_files import JudgedFiles
from sources.judged.judged_source import judged_source

SOURCE: Final = judged_source(
    name="t2ranking",
    summary="Chinese queries of a search engine with graded passages",
    kinds=("question_context",),
    languages="zho_Hans",
    layout=(
        "qrels.{train,dev}.tsv (qid, -, pid, grade) or qrels.retrieval.{train,dev}.tsv (qid, pid), queries.{train,dev}.tsv"
        " (qid, text), collection.tsv (pid, text); train.mined.tsv (qid, pid, index, score) or train.bm25.tsv (qid, pid,"
        " index) for negatives. With a header line or without"
    ),
    license="Apache-2.0",
    obtain="https://github.com/THUIR/T2Ranking",
    verified="the corpus's README; headers from memory",
    files=JudgedFiles(
        judgements=("qrels.{split}.tsv", "qrels.retrieval.{split}.tsv"),
        queries=("queries.{split}.tsv",),
        passages=("collection.tsv",),
        ranked=("{split}.mined.tsv", "{split}.bm25.tsv"),
    ),
    language="zho_Hans",
    min_grade=2,
    max_negative_grade=1,
)
